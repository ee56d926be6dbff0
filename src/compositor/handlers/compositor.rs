//! wl_compositor and wl_subcompositor: surfaces and their commits.

use smithay::backend::renderer::utils::{on_commit_buffer_handler, Buffer, RendererSurfaceStateUserData};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::Client;
use smithay::wayland::compositor::{
    add_pre_commit_hook, get_role, is_sync_subsurface, with_states, CompositorClientState, CompositorHandler,
    CompositorState, SurfaceAttributes,
};
use smithay::wayland::dmabuf::get_dmabuf;
use smithay::wayland::shell::wlr_layer::LAYER_SURFACE_ROLE;
use smithay::wayland::shell::xdg::{XDG_POPUP_ROLE, XDG_TOPLEVEL_ROLE};

use crate::clients::ClientData;
use crate::compositor::State;
use crate::shell::{root_surface, send_preferred_scale};

/// Returns a surface's buffer, if it is in GPU memory and a commit replaces it.
fn shown_dmabuf(surface: &WlSurface) -> Option<Buffer> {
    with_states(surface, |states| {
        states.cached_state.get::<SurfaceAttributes>().current().buffer.as_ref()?;
        let state = states.data_map.get::<RendererSurfaceStateUserData>()?.lock().ok()?;
        state.buffer().filter(|buffer| get_dmabuf(buffer).is_ok()).cloned()
    })
}

impl State {
    /// Holds a buffer that a surface does not show any more until the frame is shown that may still
    /// read it: the client draws into a buffer that is released.
    fn hold_buffer(&mut self, surface: &WlSurface, buffer: &Buffer) {
        if let Some(output) = self.output_of(&root_surface(surface)) {
            self.outputs.hold_buffer(output, buffer);
        }
    }
}

impl CompositorHandler for State {
    fn compositor_state(&mut self) -> &mut CompositorState {
        &mut self.protocols.compositor
    }

    fn client_compositor_state<'a>(&self, client: &'a Client) -> &'a CompositorClientState {
        &ClientData::of(client).compositor
    }

    fn new_surface(&mut self, surface: &WlSurface) {
        add_pre_commit_hook::<Self, _>(surface, |state, _, surface| state.await_buffer(surface));
    }

    fn commit(&mut self, surface: &WlSurface) {
        let shown = shown_dmabuf(surface);
        on_commit_buffer_handler::<Self>(surface);
        if let Some(shown) = shown {
            self.hold_buffer(surface, &shown);
        }
        if is_sync_subsurface(surface) {
            return;
        }
        let root = root_surface(surface);
        if let Some(window) = self.shell.window_of(&root) {
            window.handle.on_commit();
        }
        match get_role(surface) {
            Some(XDG_TOPLEVEL_ROLE) => self.with_shell(|shell, cx| shell.commit_window(surface, cx)),
            Some(XDG_POPUP_ROLE) => self.with_shell(|shell, cx| shell.commit_popup(surface, cx.outputs)),
            Some(LAYER_SURFACE_ROLE) => {
                self.with_shell(|shell, cx| shell.commit_layer_surface(surface, cx.outputs));
            }
            _ => {}
        }
        self.input.pointer_mut().invalidate(&root);
        let has_frames =
            matches!(get_role(&root), Some(XDG_TOPLEVEL_ROLE | XDG_POPUP_ROLE | LAYER_SURFACE_ROLE));
        let Some(id) = self.output_of(&root) else {
            if has_frames {
                self.hidden_committed(surface);
            }
            return;
        };
        if let Some(output) = self.outputs.get(id) {
            output.wl_output().enter(surface);
            with_states(surface, |states| send_preferred_scale(output.wl_output(), surface, states));
        }
        let is_visible = self.shell.is_visible(&root);
        let is_drawn = is_visible && self.shows(id) && self.shell.is_drawn(&root, &self.outputs);
        if has_frames && !is_drawn {
            self.hidden_committed(surface);
        }
        if is_visible {
            // The surface may have another size or input region.
            let pointer = self.input.pointer();
            let has_pointer = pointer.is_present() && pointer.output(&self.outputs) == Some(id);
            if has_pointer || self.has_pens() {
                self.refresh_pointer_focus();
            }
            self.committed_on(id, surface);
        }
    }

    fn destroyed(&mut self, surface: &WlSurface) {
        self.end_waits_of(surface);
        if self.shell.remove_grabbing_surface(surface) {
            self.refresh_focus();
        }
        self.refresh_pointer_focus();
        // Smithay keeps the surfaces that entered an output until they leave it, and walks all of
        // them for each new wl_output.
        for output in self.outputs.iter() {
            output.wl_output().leave(surface);
        }
    }
}
