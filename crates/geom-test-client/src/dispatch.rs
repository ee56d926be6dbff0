//! Records events in [`ClientState`] and passes them to the [`Handler`].

use std::time::Duration;

use wayland_client::protocol::wl_buffer::{self, WlBuffer};
use wayland_client::protocol::wl_callback::{self, WlCallback};
use wayland_client::protocol::wl_compositor::{self, WlCompositor};
use wayland_client::protocol::wl_output::{self, WlOutput};
use wayland_client::protocol::wl_registry::{self, WlRegistry};
use wayland_client::protocol::wl_shm::{self, WlShm};
use wayland_client::protocol::wl_shm_pool::{self, WlShmPool};
use wayland_client::protocol::wl_surface::{self, WlSurface};
use wayland_client::{Connection, Dispatch, Proxy, QueueHandle};
use wayland_protocols::wp::presentation_time::client::wp_presentation::{self, WpPresentation};
use wayland_protocols::wp::presentation_time::client::wp_presentation_feedback::{
    self, WpPresentationFeedback,
};
use wayland_protocols::xdg::shell::client::xdg_surface::{self, XdgSurface};
use wayland_protocols::xdg::shell::client::xdg_toplevel::{self, XdgToplevel};
use wayland_protocols::xdg::shell::client::xdg_wm_base::{self, XdgWmBase};

use crate::{ClientState, Event, Handler, Output};

impl<S: Handler> Dispatch<WlRegistry, (), S> for ClientState {
    fn event(
        state: &mut S,
        registry: &WlRegistry,
        event: wl_registry::Event,
        (): &(),
        _: &Connection,
        queue: &QueueHandle<S>,
    ) {
        match event {
            wl_registry::Event::Global { name, interface, version } => {
                let client = state.as_mut();
                match interface.as_str() {
                    "wl_compositor" => {
                        client.compositor = Some(registry.bind(name, version.min(4), queue, ()));
                    }
                    "wl_shm" => client.shm = Some(registry.bind(name, 1, queue, ())),
                    "xdg_wm_base" => {
                        let wanted = client.wm_base_version.unwrap_or(3);
                        client.wm_base = Some(registry.bind(name, version.min(wanted), queue, ()));
                    }
                    "wp_presentation" => client.presentation = Some(registry.bind(name, 1, queue, ())),
                    "wl_output" => {
                        let output = registry.bind(name, version.min(4), queue, ());
                        client.outputs.push(Output { global: name, output, name: String::new() });
                    }
                    other => state.on_global(registry, name, other, version, queue),
                }
            }
            wl_registry::Event::GlobalRemove { name } => {
                let outputs = &mut state.as_mut().outputs;
                let index = outputs.iter().position(|output| output.global == name);
                if let Some(removed) = index.map(|index| outputs.remove(index)) {
                    if removed.output.version() >= wl_output::REQ_RELEASE_SINCE {
                        removed.output.release();
                    }
                    state.on_event(Event::OutputRemoved(removed.name), queue);
                }
            }
            _ => {}
        }
    }
}

impl<S: Handler> Dispatch<WlOutput, (), S> for ClientState {
    fn event(
        state: &mut S,
        output: &WlOutput,
        event: wl_output::Event,
        (): &(),
        _: &Connection,
        queue: &QueueHandle<S>,
    ) {
        if let wl_output::Event::Name { name } = event {
            if let Some(known) = state.as_mut().outputs.iter_mut().find(|known| known.output == *output) {
                known.name.clone_from(&name);
            }
            state.on_event(Event::OutputAdded(name), queue);
        }
    }
}

impl<S: Handler> Dispatch<WlSurface, (), S> for ClientState {
    fn event(
        state: &mut S,
        surface: &WlSurface,
        event: wl_surface::Event,
        (): &(),
        _: &Connection,
        queue: &QueueHandle<S>,
    ) {
        let client = state.as_mut();
        let Some(index) = client.windows.iter().position(|window| window.surface == *surface) else {
            return;
        };
        match event {
            wl_surface::Event::Enter { output } => {
                let name = client.output_name(&output);
                client.windows[index].outputs.push(name.clone());
                state.on_event(Event::Enter(index, name), queue);
            }
            wl_surface::Event::Leave { output } => {
                let name = client.output_name(&output);
                let outputs = &mut client.windows[index].outputs;
                // The name of an output that was removed is not known any more.
                match outputs.iter().position(|on| *on == name) {
                    Some(position) => drop(outputs.remove(position)),
                    None => drop(outputs.pop()),
                }
                state.on_event(Event::Leave(index, name), queue);
            }
            _ => {}
        }
    }
}

impl<S: Handler> Dispatch<WlBuffer, (), S> for ClientState {
    fn event(
        state: &mut S,
        buffer: &WlBuffer,
        event: wl_buffer::Event,
        (): &(),
        _: &Connection,
        queue: &QueueHandle<S>,
    ) {
        if let wl_buffer::Event::Release = event {
            state.on_event(Event::BufferReleased(buffer.clone()), queue);
        }
    }
}

impl<S: Handler> Dispatch<XdgWmBase, (), S> for ClientState {
    fn event(
        _: &mut S,
        wm_base: &XdgWmBase,
        event: xdg_wm_base::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<S>,
    ) {
        if let xdg_wm_base::Event::Ping { serial } = event {
            wm_base.pong(serial);
        }
    }
}

impl<S: Handler> Dispatch<XdgToplevel, usize, S> for ClientState {
    fn event(
        state: &mut S,
        _: &XdgToplevel,
        event: xdg_toplevel::Event,
        index: &usize,
        _: &Connection,
        queue: &QueueHandle<S>,
    ) {
        match event {
            xdg_toplevel::Event::Configure { width, height, states } => {
                let Some(window) = state.as_mut().windows.get_mut(*index) else { return };
                if width > 0 && height > 0 {
                    window.size = (width, height);
                }
                let has = |flag: xdg_toplevel::State| {
                    let flag = (flag as u32).to_ne_bytes();
                    states.chunks_exact(4).any(|state| *state == flag)
                };
                window.fullscreen = has(xdg_toplevel::State::Fullscreen);
                window.suspended = has(xdg_toplevel::State::Suspended);
            }
            xdg_toplevel::Event::Close => state.on_event(Event::CloseRequested(*index), queue),
            _ => {}
        }
    }
}

impl<S: Handler> Dispatch<XdgSurface, Option<usize>, S> for ClientState {
    fn event(
        state: &mut S,
        surface: &XdgSurface,
        event: xdg_surface::Event,
        index: &Option<usize>,
        _: &Connection,
        queue: &QueueHandle<S>,
    ) {
        let xdg_surface::Event::Configure { serial } = event else { return };
        surface.ack_configure(serial);
        // A popup's has no index.
        let Some(index) = *index else { return };
        if let Some(window) = state.as_mut().windows.get_mut(index) {
            window.configured += 1;
        }
        state.on_event(Event::Configured(index), queue);
    }
}

impl<S: Handler> Dispatch<WlCallback, (), S> for ClientState {
    fn event(
        state: &mut S,
        _: &WlCallback,
        event: wl_callback::Event,
        (): &(),
        _: &Connection,
        queue: &QueueHandle<S>,
    ) {
        if let wl_callback::Event::Done { .. } = event {
            state.on_event(Event::FrameDone, queue);
        }
    }
}

impl<S: Handler> Dispatch<WpPresentationFeedback, Duration, S> for ClientState {
    fn event(
        state: &mut S,
        _: &WpPresentationFeedback,
        event: wp_presentation_feedback::Event,
        committed: &Duration,
        _: &Connection,
        queue: &QueueHandle<S>,
    ) {
        use wp_presentation_feedback::Event::{Discarded, Presented};
        match event {
            Presented { tv_sec_hi, tv_sec_lo, tv_nsec, refresh, .. } => {
                let seconds = (u64::from(tv_sec_hi) << 32) | u64::from(tv_sec_lo);
                let event = Event::Presented {
                    committed: *committed,
                    presented: Duration::new(seconds, tv_nsec),
                    refresh: Duration::from_nanos(refresh.into()),
                };
                state.on_event(event, queue);
            }
            Discarded => state.on_event(Event::Discarded, queue),
            _ => {}
        }
    }
}

/// Ignores the events of an interface.
macro_rules! ignore {
    ($($interface:ty, $event:ty);* $(;)?) => {$(
        impl<S: Handler> Dispatch<$interface, (), S> for ClientState {
            fn event(_: &mut S, _: &$interface, _: $event, (): &(), _: &Connection, _: &QueueHandle<S>) {}
        }
    )*};
}
ignore! {
    WlCompositor, wl_compositor::Event;
    WlShm, wl_shm::Event;
    WlShmPool, wl_shm_pool::Event;
    WpPresentation, wp_presentation::Event;
}
