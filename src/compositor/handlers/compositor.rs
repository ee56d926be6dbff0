//! wl_compositor and wl_subcompositor: surfaces and their commits.

use smithay::backend::renderer::utils::on_commit_buffer_handler;
use smithay::delegate_compositor;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::Client;
use smithay::wayland::compositor::{
    get_role, is_sync_subsurface, CompositorClientState, CompositorHandler, CompositorState,
};
use smithay::wayland::shell::xdg::{XDG_POPUP_ROLE, XDG_TOPLEVEL_ROLE};

use crate::clients::ClientData;
use crate::shell::windows::{root, send_preferred_scale};
use crate::compositor::State;

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
        let root = root(surface);
        if let Some(managed) = self.window_of(&root) {
            managed.window.on_commit();
        }
        match get_role(surface) {
            Some(XDG_TOPLEVEL_ROLE) => self.window_committed(surface),
            Some(XDG_POPUP_ROLE) => self.popup_committed(surface),
            Some("zwlr_layer_surface_v1") => self.layer_committed(surface),
            _ => {}
        }
        self.pointer.committed(&root);
        let Some(id) = self.output_of(&root) else { return };
        if let Some(output) = self.outputs.get(id) {
            output.wl_output.enter(surface);
            smithay::wayland::compositor::with_states(surface, |states| {
                send_preferred_scale(&output.wl_output, surface, states)
            });
        }
        if self.is_visible(id, &root) {
            self.committed_on(id, surface);
        }
    }

    fn destroyed(&mut self, surface: &WlSurface) {
        // The library keeps the surfaces that entered an output until they leave it, and looks at all of them for each new wl_output.
        for output in self.outputs.iter() {
            output.wl_output.leave(surface);
        }
    }
}

delegate_compositor!(State);
