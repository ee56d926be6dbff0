//! What the client does on events.

use geom_test_client::{now, Event, Handler};
use wayland_client::protocol::{wl_keyboard, wl_pointer, wl_registry, wl_seat, wl_surface, wl_touch};
use wayland_client::{delegate_noop, Connection, Dispatch, QueueHandle, WEnum};
use wayland_protocols::wp::color_management::v1::client::wp_color_management_surface_v1::WpColorManagementSurfaceV1;
use wayland_protocols::wp::color_management::v1::client::wp_color_manager_v1::{
    RenderIntent, WpColorManagerV1,
};
use wayland_protocols::wp::color_management::v1::client::wp_image_description_creator_params_v1::WpImageDescriptionCreatorParamsV1;
use wayland_protocols::wp::color_management::v1::client::wp_image_description_v1::{
    self, WpImageDescriptionV1,
};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_dmabuf_feedback_v1::{
    self, ZwpLinuxDmabufFeedbackV1,
};
use wayland_protocols::wp::linux_dmabuf::zv1::client::{zwp_linux_buffer_params_v1, zwp_linux_dmabuf_v1};
use wayland_protocols::wp::linux_drm_syncobj::v1::client::wp_linux_drm_syncobj_manager_v1::WpLinuxDrmSyncobjManagerV1;
use wayland_protocols::wp::linux_drm_syncobj::v1::client::wp_linux_drm_syncobj_surface_v1::WpLinuxDrmSyncobjSurfaceV1;
use wayland_protocols::wp::linux_drm_syncobj::v1::client::wp_linux_drm_syncobj_timeline_v1::WpLinuxDrmSyncobjTimelineV1;
use wayland_protocols::wp::single_pixel_buffer::v1::client::wp_single_pixel_buffer_manager_v1;
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_manager_v2::ZwpTabletManagerV2;
use wayland_protocols::wp::viewporter::client::{wp_viewport, wp_viewporter};
use wayland_protocols_wlr::layer_shell::v1::client::{zwlr_layer_shell_v1, zwlr_layer_surface_v1};

use crate::buffers;
use crate::fences::Fence;
use crate::{Animation, App, BufferKind};

geom_test_client::delegate_test_client!(App);
delegate_noop!(App: ignore WpColorManagerV1);
delegate_noop!(App: ignore WpColorManagementSurfaceV1);
delegate_noop!(App: ignore WpImageDescriptionCreatorParamsV1);
delegate_noop!(App: ignore zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1);
delegate_noop!(App: ignore zwp_linux_buffer_params_v1::ZwpLinuxBufferParamsV1);
delegate_noop!(App: ignore WpLinuxDrmSyncobjManagerV1);
delegate_noop!(App: ignore WpLinuxDrmSyncobjSurfaceV1);
delegate_noop!(App: ignore WpLinuxDrmSyncobjTimelineV1);
delegate_noop!(App: ignore wp_single_pixel_buffer_manager_v1::WpSinglePixelBufferManagerV1);
delegate_noop!(App: ignore wp_viewporter::WpViewporter);
delegate_noop!(App: ignore wp_viewport::WpViewport);
delegate_noop!(App: ignore zwlr_layer_shell_v1::ZwlrLayerShellV1);

/// The first version of zwp_linux_dmabuf_v1 with feedback.
const FEEDBACK_VERSION: u32 = 4;

/// Side of the square that changes in a small animation, in pixels.
const SMALL_SQUARE: i32 = 64;

impl App {
    /// Prints an event, unless the client measures frames.
    pub fn print(&self, text: std::fmt::Arguments<'_>) {
        if self.options.frames.is_none() {
            println!("{text}");
        }
    }

    /// Draws a window and commits it.
    fn draw(&mut self, index: usize, queue: &QueueHandle<Self>) {
        let (Some(window), Some(drawing)) = (self.client.windows.get(index), self.drawings.get(index)) else {
            return;
        };
        let size = drawing.fixed_size.unwrap_or(window.size);
        let color = window.color;
        let slot = match drawing.buffers.free(size) {
            Some(slot) => slot,
            None => match buffers::create(self, queue, size, color) {
                Ok(buffer) => {
                    let buffers = &mut self.drawings[index].buffers.0;
                    buffers.push(buffer);
                    buffers.len() - 1
                }
                Err(error) => {
                    println!("cannot create a buffer: {error:#}");
                    self.closed = true;
                    return;
                }
            },
        };
        let shade = (now().as_millis() as u32 / 4) & 0xff;
        let changed = match self.options.animate.filter(|_| index == 0) {
            Some(Animation::Full) => (0, 0, size.0, size.1),
            Some(Animation::Small) => (0, 0, SMALL_SQUARE.min(size.0), SMALL_SQUARE.min(size.1)),
            None => (0, 0, 0, 0),
        };
        let animated = changed.2 > 0;
        let fence = self.fence.as_ref().filter(|_| index == 0);
        let awaits_first = fence.is_some_and(Fence::is_waiting);
        let is_fenced = fence.is_some_and(Fence::is_attached);
        let drawing = &mut self.drawings[index];
        let surface = &self.client.windows[index].surface;
        let buffer = &mut drawing.buffers.0[slot];
        if animated {
            buffer.paint(changed, color ^ shade);
        }
        buffer.busy = true;
        if let Some(points) = self.sync_points.as_mut().filter(|_| index == 0) {
            points.attach();
        }
        surface.attach(Some(&buffer.wl), 0, 0);
        if let Some(viewport) = &drawing.viewport {
            viewport.set_destination(size.0, size.1);
        }
        let (x, y, width, height) = if animated { changed } else { (0, 0, i32::MAX, i32::MAX) };
        surface.damage_buffer(x, y, width, height);
        // One callback at a time: a second configure event must not start a second animation.
        if (animated || awaits_first) && !self.awaits_frame {
            self.awaits_frame = true;
            surface.frame(queue, ());
        }
        if animated {
            if let Some(presentation) = &self.client.presentation {
                presentation.feedback(surface, queue, now());
            }
        }
        surface.commit();
        if is_fenced {
            self.print(format_args!("fenced"));
        }
    }

    /// The first frame of a window with a fence is shown: it changes its color in a new buffer.
    fn change_color(&mut self) {
        let Some(fence) = self.fence.as_mut().filter(|fence| fence.is_waiting()) else { return };
        fence.first_is_shown();
        if let (Some(window), Some(drawing)) = (self.client.windows.first_mut(), self.drawings.first_mut()) {
            window.color = !window.color & 0x00ff_ffff;
            drawing.buffers.0.clear();
        }
    }
}

impl Handler for App {
    fn on_global(
        &mut self,
        registry: &wl_registry::WlRegistry,
        name: u32,
        interface: &str,
        version: u32,
        queue: &QueueHandle<Self>,
    ) {
        macro_rules! bind {
            ($field:ident, $newest:expr) => {
                self.$field = Some(registry.bind(name, version.min($newest), queue, ()))
            };
        }
        let options = &self.options;
        let pixel = options.buffer == BufferKind::Pixel;
        // Binds only what it uses, so that the bench compares compositors with different globals by
        // the same requests.
        match interface {
            "zwp_linux_dmabuf_v1" if options.feedback && version >= FEEDBACK_VERSION => {
                bind!(dmabuf, FEEDBACK_VERSION)
            }
            "zwp_linux_dmabuf_v1" if options.buffer == BufferKind::Dmabuf => bind!(dmabuf, 3),
            "wp_linux_drm_syncobj_manager_v1" if options.sync_points.is_some() => bind!(syncobj, 1),
            "wp_color_manager_v1" if options.colors.is_some() => bind!(color_manager, 1),
            "wp_single_pixel_buffer_manager_v1" if pixel => bind!(pixel, 1),
            "wp_viewporter" if pixel => bind!(viewporter, 1),
            "zwlr_layer_shell_v1" if options.panel.is_some() => bind!(layer_shell, 1),
            "wl_seat" => {
                bind!(seat, 7);
                self.watch_tablets(queue);
            }
            "zwp_tablet_manager_v2" if options.tablet => {
                self.tablet = Some(registry.bind::<ZwpTabletManagerV2, _, _>(name, 1, queue, ()).into());
                self.watch_tablets(queue);
            }
            _ => {}
        }
    }

    fn on_event(&mut self, event: Event, queue: &QueueHandle<Self>) {
        match event {
            Event::OutputAdded(name) => self.print(format_args!("output {name}")),
            Event::OutputRemoved(name) => self.print(format_args!("output removed {name}")),
            Event::Enter(_, output) => self.print(format_args!("enter {output}")),
            Event::Leave(_, output) => self.print(format_args!("leave {output}")),
            Event::Configured(index) => {
                let (width, height) = self.client.windows[index].size;
                self.print(format_args!("configured {width}x{height}"));
                self.timing.configured();
                // Drawing is not part of the measured time, and would evict everything else from
                // the CPU's cache.
                if self.options.connects.is_none() {
                    self.draw(index, queue);
                }
            }
            Event::CloseRequested(_) => {
                self.print(format_args!("closed"));
                self.closed = true;
            }
            Event::BufferReleased(released) => {
                let buffers = self.drawings.iter_mut().flat_map(|drawing| &mut drawing.buffers.0);
                buffers.filter(|buffer| buffer.wl == released).for_each(|buffer| buffer.busy = false);
            }
            Event::FrameDone => {
                self.awaits_frame = false;
                self.timing.callback(now());
                self.closed = self.closed || self.timing.is_done();
                self.change_color();
                self.draw(0, queue);
            }
            Event::Presented { committed, presented, refresh } => {
                self.timing.presented(committed, presented, refresh);
                self.closed = self.closed || self.timing.is_done();
            }
            Event::Discarded => self.timing.discarded(),
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
                app.print(format_args!("configured {width}x{height}"));
                if let Some(window) = app.client.windows.first_mut() {
                    window.size = (width as i32, height as i32);
                }
                app.draw(0, queue);
            }
            zwlr_layer_surface_v1::Event::Closed => {
                app.print(format_args!("closed"));
                app.closed = true;
            }
            _ => {}
        }
    }
}

impl Dispatch<ZwpLinuxDmabufFeedbackV1, ()> for App {
    fn event(
        app: &mut Self,
        _: &ZwpLinuxDmabufFeedbackV1,
        event: zwp_linux_dmabuf_feedback_v1::Event,
        _: &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        // A dev_t in the native byte order.
        if let zwp_linux_dmabuf_feedback_v1::Event::MainDevice { device } = event {
            match <[u8; size_of::<rustix::fs::Dev>()]>::try_from(device) {
                Ok(bytes) => {
                    let device = rustix::fs::Dev::from_ne_bytes(bytes);
                    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
                    app.print(format_args!("main device {major}:{minor}"));
                }
                Err(bytes) => app.print(format_args!("main device of {} bytes", bytes.len())),
            }
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
            wl_keyboard::Event::Enter { .. } => app.print(format_args!("keyboard enter")),
            wl_keyboard::Event::Leave { .. } => app.print(format_args!("keyboard leave")),
            wl_keyboard::Event::Key { key, state: WEnum::Value(state), .. } => {
                app.print(format_args!(
                    "key {key} {}",
                    if state == wl_keyboard::KeyState::Pressed { "down" } else { "up" }
                ));
            }
            wl_keyboard::Event::RepeatInfo { rate, delay } => {
                app.print(format_args!("repeat {rate} {delay}"))
            }
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
        queue: &QueueHandle<Self>,
    ) {
        match event {
            wl_pointer::Event::Enter { surface_x, surface_y, .. } => {
                app.print(format_args!("pointer enter {surface_x} {surface_y}"));
            }
            wl_pointer::Event::Leave { .. } => app.print(format_args!("pointer leave")),
            wl_pointer::Event::Button { button, serial, state: WEnum::Value(state), .. } => {
                app.print(format_args!("button {button} {state:?}"));
                if state == wl_pointer::ButtonState::Pressed {
                    app.open_menu(serial, queue);
                }
            }
            wl_pointer::Event::AxisDiscrete { discrete, .. } => app.print(format_args!("wheel {discrete}")),
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
        queue: &QueueHandle<Self>,
    ) {
        match event {
            wl_touch::Event::Down { x, y, serial, .. } => {
                app.print(format_args!("touch {x:.0} {y:.0}"));
                app.open_menu(serial, queue);
            }
            wl_touch::Event::Up { .. } => app.print(format_args!("touch up")),
            wl_touch::Event::Cancel => app.print(format_args!("touch cancel")),
            _ => {}
        }
    }
}

/// Sets a surface's image description once it is ready; the surface's next commit applies it.
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
                let color = manager.get_surface(surface, queue, ());
                color.set_image_description(description, RenderIntent::Perceptual);
                println!("image description set");
            }
            wp_image_description_v1::Event::Failed { msg, .. } => println!("image description failed: {msg}"),
            _ => {}
        }
    }
}
