//! What the client does about events.

use std::time::Duration;

use wayland_client::protocol::{
    wl_buffer, wl_callback, wl_compositor, wl_keyboard, wl_output, wl_pointer, wl_registry, wl_seat, wl_shm,
    wl_shm_pool, wl_surface, wl_touch,
};
use wayland_client::{delegate_noop, Connection, Dispatch, Proxy, QueueHandle, WEnum};
use wayland_protocols::wp::color_management::v1::client::wp_color_management_surface_v1::WpColorManagementSurfaceV1;
use wayland_protocols::wp::color_management::v1::client::wp_color_manager_v1::{
    RenderIntent, WpColorManagerV1,
};
use wayland_protocols::wp::color_management::v1::client::wp_image_description_creator_params_v1::WpImageDescriptionCreatorParamsV1;
use wayland_protocols::wp::color_management::v1::client::wp_image_description_v1::{
    self, WpImageDescriptionV1,
};
use wayland_protocols::wp::linux_dmabuf::zv1::client::{zwp_linux_buffer_params_v1, zwp_linux_dmabuf_v1};
use wayland_protocols::wp::presentation_time::client::{wp_presentation, wp_presentation_feedback};
use wayland_protocols::wp::single_pixel_buffer::v1::client::wp_single_pixel_buffer_manager_v1;
use wayland_protocols::wp::viewporter::client::{wp_viewport, wp_viewporter};
use wayland_protocols::xdg::shell::client::{xdg_surface, xdg_toplevel, xdg_wm_base};
use wayland_protocols_wlr::layer_shell::v1::client::{zwlr_layer_shell_v1, zwlr_layer_surface_v1};

use crate::buffers::Buffer;
use crate::timing::now;
use crate::{Animation, App, BufferKind};

delegate_noop!(App: ignore wl_compositor::WlCompositor);
delegate_noop!(App: ignore wl_shm::WlShm);
delegate_noop!(App: ignore WpColorManagerV1);
delegate_noop!(App: ignore WpColorManagementSurfaceV1);
delegate_noop!(App: ignore WpImageDescriptionCreatorParamsV1);
delegate_noop!(App: ignore wl_shm_pool::WlShmPool);
delegate_noop!(App: ignore zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1);
delegate_noop!(App: ignore zwp_linux_buffer_params_v1::ZwpLinuxBufferParamsV1);
delegate_noop!(App: ignore wp_presentation::WpPresentation);
delegate_noop!(App: ignore wp_single_pixel_buffer_manager_v1::WpSinglePixelBufferManagerV1);
delegate_noop!(App: ignore wp_viewporter::WpViewporter);
delegate_noop!(App: ignore wp_viewport::WpViewport);
delegate_noop!(App: ignore zwlr_layer_shell_v1::ZwlrLayerShellV1);

/// So large a square changes in a small animation.
const SQUARE: i32 = 64;

impl App {
    fn say(&self, text: std::fmt::Arguments<'_>) {
        if self.options.frames.is_none() {
            println!("{text}");
        }
    }

    /// Draws a window and commits it.
    fn draw(&mut self, index: usize, queue: &QueueHandle<Self>) {
        let Some(window) = self.windows.get(index) else { return };
        let size = window.size.unwrap_or(window.wished);
        let color = window.color;
        let place = match window.buffers.free(size) {
            Some(place) => place,
            None => match Buffer::new(self, queue, size, color) {
                Ok(buffer) => {
                    let buffers = &mut self.windows[index].buffers.0;
                    buffers.push(buffer);
                    buffers.len() - 1
                }
                Err(error) => {
                    println!("no buffer: {error:#}");
                    self.closed = true;
                    return;
                }
            },
        };
        let shade = (now().as_millis() as u32 / 4) & 0xff;
        let changed = match self.options.animate.filter(|_| index == 0) {
            Some(Animation::Full) => (0, 0, size.0, size.1),
            Some(Animation::Small) => (0, 0, SQUARE.min(size.0), SQUARE.min(size.1)),
            None => (0, 0, 0, 0),
        };
        let animated = changed.2 > 0;
        let window = &mut self.windows[index];
        let buffer = &mut window.buffers.0[place];
        if animated {
            buffer.paint(changed, color ^ shade);
        }
        buffer.busy = true;
        window.surface.attach(Some(&buffer.wl), 0, 0);
        if let Some(viewport) = &window.viewport {
            viewport.set_destination(size.0, size.1);
        }
        let (x, y, width, height) = if animated { changed } else { (0, 0, i32::MAX, i32::MAX) };
        window.surface.damage_buffer(x, y, width, height);
        // One callback at a time: a second configure must not start a second animation.
        if animated && !self.awaits_frame {
            self.awaits_frame = true;
            window.surface.frame(queue, ());
        }
        if animated {
            if let Some(presentation) = &self.presentation {
                presentation.feedback(&window.surface, queue, now());
            }
        }
        window.surface.commit();
    }
}

impl Dispatch<wl_registry::WlRegistry, ()> for App {
    fn event(
        app: &mut Self,
        registry: &wl_registry::WlRegistry,
        event: wl_registry::Event,
        _: &(),
        _: &Connection,
        queue: &QueueHandle<Self>,
    ) {
        match event {
            wl_registry::Event::Global { name, interface, version } => {
                macro_rules! bind {
                    ($field:ident, $most:expr) => {
                        app.$field = Some(registry.bind(name, version.min($most), queue, ()))
                    };
                }
                let options = &app.options;
                let pixel = options.buffer == BufferKind::Pixel;
                // Only what it uses: beside a compositor that offers more, one that offers less is asked as much.
                match interface.as_str() {
                    "wl_compositor" => bind!(compositor, 4),
                    "wl_shm" => bind!(shm, 1),
                    "zwp_linux_dmabuf_v1" if options.buffer == BufferKind::Dmabuf => bind!(dmabuf, 3),
                    "wp_presentation" => bind!(presentation, 1),
                    "wp_color_manager_v1" if options.colors.is_some() => bind!(color_manager, 1),
                    "wp_single_pixel_buffer_manager_v1" if pixel => bind!(pixel, 1),
                    "wp_viewporter" if pixel => bind!(viewporter, 1),
                    "xdg_wm_base" => bind!(wm_base, 2),
                    "zwlr_layer_shell_v1" if options.panel.is_some() => bind!(layer_shell, 1),
                    "wl_seat" => bind!(seat, 7),
                    "wl_output" => {
                        let output = registry.bind(name, version.min(4), queue, name);
                        app.outputs.push((output, String::new()));
                    }
                    _ => {}
                }
            }
            wl_registry::Event::GlobalRemove { name } => {
                if let Some(place) =
                    app.outputs.iter().position(|(output, _)| output.data::<u32>() == Some(&name))
                {
                    let (output, gone) = app.outputs.remove(place);
                    app.say(format_args!("output gone {gone}"));
                    output.release();
                }
            }
            _ => {}
        }
    }
}

impl Dispatch<wl_output::WlOutput, u32> for App {
    fn event(
        app: &mut Self,
        output: &wl_output::WlOutput,
        event: wl_output::Event,
        _: &u32,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_output::Event::Name { name } = event {
            app.say(format_args!("output {name}"));
            if let Some(entry) = app.outputs.iter_mut().find(|(known, _)| known == output) {
                entry.1 = name;
            }
        }
    }
}

impl Dispatch<wl_surface::WlSurface, ()> for App {
    fn event(
        app: &mut Self,
        _: &wl_surface::WlSurface,
        event: wl_surface::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let name = |output: &wl_output::WlOutput| {
            let known = app.outputs.iter().find(|(known, _)| known == output);
            known.map(|(_, name)| name.clone()).unwrap_or_default()
        };
        match event {
            wl_surface::Event::Enter { output } => app.say(format_args!("enter {}", name(&output))),
            wl_surface::Event::Leave { output } => app.say(format_args!("leave {}", name(&output))),
            _ => {}
        }
    }
}

impl Dispatch<wl_buffer::WlBuffer, ()> for App {
    fn event(
        app: &mut Self,
        buffer: &wl_buffer::WlBuffer,
        event: wl_buffer::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_buffer::Event::Release = event {
            for window in &mut app.windows {
                window
                    .buffers
                    .0
                    .iter_mut()
                    .filter(|known| known.wl == *buffer)
                    .for_each(|known| known.busy = false);
            }
        }
    }
}

impl Dispatch<xdg_wm_base::XdgWmBase, ()> for App {
    fn event(
        _: &mut Self,
        wm_base: &xdg_wm_base::XdgWmBase,
        event: xdg_wm_base::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_wm_base::Event::Ping { serial } = event {
            wm_base.pong(serial);
        }
    }
}

impl Dispatch<xdg_toplevel::XdgToplevel, usize> for App {
    fn event(
        app: &mut Self,
        _: &xdg_toplevel::XdgToplevel,
        event: xdg_toplevel::Event,
        index: &usize,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            xdg_toplevel::Event::Configure { width, height, .. } if width > 0 && height > 0 => {
                if let Some(window) = app.windows.get_mut(*index) {
                    window.wished = (width, height);
                }
            }
            xdg_toplevel::Event::Close => {
                app.say(format_args!("closed"));
                app.closed = true;
            }
            _ => {}
        }
    }
}

impl Dispatch<xdg_surface::XdgSurface, usize> for App {
    fn event(
        app: &mut Self,
        surface: &xdg_surface::XdgSurface,
        event: xdg_surface::Event,
        index: &usize,
        _: &Connection,
        queue: &QueueHandle<Self>,
    ) {
        if let xdg_surface::Event::Configure { serial } = event {
            surface.ack_configure(serial);
            if let Some(window) = app.windows.get(*index) {
                app.say(format_args!("configured {}x{}", window.wished.0, window.wished.1));
            }
            app.timing.configured();
            // A picture is not what these are asked for, and it would leave nothing else in the processor's cache.
            if app.options.connects.is_none() {
                app.draw(*index, queue);
            }
        }
    }
}

impl Dispatch<zwlr_layer_surface_v1::ZwlrLayerSurfaceV1, ()> for App {
    fn event(
        app: &mut Self,
        panel: &zwlr_layer_surface_v1::ZwlrLayerSurfaceV1,
        event: zwlr_layer_surface_v1::Event,
        _: &(),
        _: &Connection,
        queue: &QueueHandle<Self>,
    ) {
        match event {
            zwlr_layer_surface_v1::Event::Configure { serial, width, height } => {
                panel.ack_configure(serial);
                app.say(format_args!("configured {width}x{height}"));
                if let Some(window) = app.windows.first_mut() {
                    window.wished = (width as i32, height as i32);
                }
                app.draw(0, queue);
            }
            zwlr_layer_surface_v1::Event::Closed => {
                app.say(format_args!("closed"));
                app.closed = true;
            }
            _ => {}
        }
    }
}

impl Dispatch<wl_callback::WlCallback, ()> for App {
    fn event(
        app: &mut Self,
        _: &wl_callback::WlCallback,
        event: wl_callback::Event,
        _: &(),
        _: &Connection,
        queue: &QueueHandle<Self>,
    ) {
        if let wl_callback::Event::Done { .. } = event {
            app.awaits_frame = false;
            app.timing.callback(now());
            app.closed |= app.timing.is_done();
            app.draw(0, queue);
        }
    }
}

impl Dispatch<wp_presentation_feedback::WpPresentationFeedback, Duration> for App {
    fn event(
        app: &mut Self,
        _: &wp_presentation_feedback::WpPresentationFeedback,
        event: wp_presentation_feedback::Event,
        committed: &Duration,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wp_presentation_feedback::Event::Presented { tv_sec_hi, tv_sec_lo, tv_nsec, refresh, .. } => {
                let seconds = (u64::from(tv_sec_hi) << 32) | u64::from(tv_sec_lo);
                let presented = Duration::new(seconds, tv_nsec);
                app.timing.shown(*committed, presented, Duration::from_nanos(refresh.into()));
                app.closed |= app.timing.is_done();
            }
            wp_presentation_feedback::Event::Discarded => app.timing.discarded(),
            _ => {}
        }
    }
}

impl Dispatch<wl_seat::WlSeat, ()> for App {
    fn event(
        _: &mut Self,
        seat: &wl_seat::WlSeat,
        event: wl_seat::Event,
        _: &(),
        _: &Connection,
        queue: &QueueHandle<Self>,
    ) {
        if let wl_seat::Event::Capabilities { capabilities: WEnum::Value(capabilities) } = event {
            if capabilities.contains(wl_seat::Capability::Keyboard) {
                seat.get_keyboard(queue, ());
            }
            if capabilities.contains(wl_seat::Capability::Pointer) {
                seat.get_pointer(queue, ());
            }
            if capabilities.contains(wl_seat::Capability::Touch) {
                seat.get_touch(queue, ());
            }
        }
    }
}

impl Dispatch<wl_keyboard::WlKeyboard, ()> for App {
    fn event(
        app: &mut Self,
        _: &wl_keyboard::WlKeyboard,
        event: wl_keyboard::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wl_keyboard::Event::Enter { .. } => app.say(format_args!("focus")),
            wl_keyboard::Event::Leave { .. } => app.say(format_args!("blur")),
            wl_keyboard::Event::Key { key, state: WEnum::Value(state), .. } => {
                app.say(format_args!(
                    "key {key} {}",
                    if state == wl_keyboard::KeyState::Pressed { "down" } else { "up" }
                ));
            }
            wl_keyboard::Event::RepeatInfo { rate, delay } => app.say(format_args!("repeat {rate} {delay}")),
            _ => {}
        }
    }
}

impl Dispatch<wl_pointer::WlPointer, ()> for App {
    fn event(
        app: &mut Self,
        _: &wl_pointer::WlPointer,
        event: wl_pointer::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wl_pointer::Event::Enter { surface_x, surface_y, .. } => {
                app.say(format_args!("pointer enter {surface_x} {surface_y}"));
            }
            wl_pointer::Event::Leave { .. } => app.say(format_args!("pointer leave")),
            wl_pointer::Event::Button { button, state: WEnum::Value(state), .. } => {
                app.say(format_args!("button {button} {state:?}"));
            }
            wl_pointer::Event::AxisDiscrete { discrete, .. } => app.say(format_args!("wheel {discrete}")),
            _ => {}
        }
    }
}

impl Dispatch<wl_touch::WlTouch, ()> for App {
    fn event(
        app: &mut Self,
        _: &wl_touch::WlTouch,
        event: wl_touch::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wl_touch::Event::Down { x, y, .. } => app.say(format_args!("touch {x:.0} {y:.0}")),
            wl_touch::Event::Up { .. } => app.say(format_args!("touch up")),
            _ => {}
        }
    }
}

/// A surface's colours, once the server knows them; they come with its next commit.
impl Dispatch<WpImageDescriptionV1, wl_surface::WlSurface> for App {
    fn event(
        app: &mut Self,
        description: &WpImageDescriptionV1,
        event: wp_image_description_v1::Event,
        surface: &wl_surface::WlSurface,
        _: &Connection,
        queue: &QueueHandle<Self>,
    ) {
        let Some(manager) = &app.color_manager else { return };
        match event {
            wp_image_description_v1::Event::Ready { .. } => {
                let colours = manager.get_surface(surface, queue, ());
                colours.set_image_description(description, RenderIntent::Perceptual);
                println!("described");
            }
            wp_image_description_v1::Event::Failed { msg, .. } => println!("not described: {msg}"),
            _ => {}
        }
    }
}
