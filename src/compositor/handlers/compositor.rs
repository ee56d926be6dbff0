//! wl_compositor and wl_subcompositor: surfaces and their commits.

use smithay::backend::renderer::utils::on_commit_buffer_handler;
use smithay::delegate_compositor;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::Client;
use smithay::wayland::compositor::{
    get_role, is_sync_subsurface, with_states, CompositorClientState, CompositorHandler, CompositorState,
};
use smithay::wayland::shell::wlr_layer::LAYER_SURFACE_ROLE;
use smithay::wayland::shell::xdg::{XDG_POPUP_ROLE, XDG_TOPLEVEL_ROLE};

use crate::clients::ClientData;
use crate::compositor::State;
use crate::shell::{root_surface, send_preferred_scale};

impl CompositorHandler for State {
    fn compositor_state(&mut self) -> &mut CompositorState {
        &mut self.protocols.compositor
    }

    fn client_compositor_state<'a>(&self, client: &'a Client) -> &'a CompositorClientState {
        &ClientData::of(client).compositor
    }

    fn commit(&mut self, surface: &WlSurface) {
        on_commit_buffer_handler::<Self>(surface);
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
        self.input.pointer.invalidate(&root);
        let Some(id) = self.output_of(&root) else { return };
        if let Some(output) = self.outputs.get(id) {
            output.wl_output.enter(surface);
            with_states(surface, |states| send_preferred_scale(&output.wl_output, surface, states));
        }
        if self.shell.is_visible(&root) {
            self.committed_on(id, surface);
        }
    }

    fn destroyed(&mut self, surface: &WlSurface) {
        // Smithay keeps the surfaces that entered an output until they leave it, and walks all of
        // them for each new wl_output.
        for output in self.outputs.iter() {
            output.wl_output.leave(surface);
        }
    }
}

delegate_compositor!(State);
