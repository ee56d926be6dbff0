//! wl_compositor and wl_subcompositor: surfaces and their commits.

use smithay::backend::renderer::utils::on_commit_buffer_handler;
use smithay::reexports::calloop::Interest;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Client, Resource};
use smithay::wayland::compositor::{
    add_blocker, add_pre_commit_hook, get_role, is_sync_subsurface, with_states, BufferAssignment,
    CompositorClientState, CompositorHandler, CompositorState, SurfaceAttributes,
};
use smithay::wayland::dmabuf::get_dmabuf;
use smithay::wayland::shell::wlr_layer::LAYER_SURFACE_ROLE;
use smithay::wayland::shell::xdg::{XDG_POPUP_ROLE, XDG_TOPLEVEL_ROLE};

use tracing::warn;

use crate::clients::ClientData;
use crate::compositor::State;
use crate::shell::{root_surface, send_preferred_scale};

impl State {
    /// Delays a commit until the client's GPU has finished the buffer. Drawing would wait for it,
    /// and all displays with it.
    fn await_buffer(&mut self, surface: &WlSurface) {
        let dmabuf = with_states(surface, |states| {
            match states.cached_state.get::<SurfaceAttributes>().pending().buffer.as_ref() {
                Some(BufferAssignment::NewBuffer(buffer)) => get_dmabuf(buffer).ok().cloned(),
                _ => None,
            }
        });
        let Some((client, dmabuf)) = surface.client().zip(dmabuf) else { return };
        // Fails if the buffer is finished already.
        let Ok((blocker, source)) = dmabuf.generate_blocker(Interest::READ) else { return };
        let inserted = self.handle.insert_source(source, move |(), _, state: &mut State| {
            let display = state.display_handle.clone();
            let data = ClientData::of(&client);
            data.compositor.blocker_cleared(state, &display);
            Ok(())
        });
        match inserted {
            Ok(_) => add_blocker(surface, blocker),
            Err(error) => warn!(error = %error.error, "cannot wait for a buffer; drawing waits for it"),
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
        self.input.pointer_mut().invalidate(&root);
        let Some(id) = self.output_of(&root) else { return };
        if let Some(output) = self.outputs.get(id) {
            output.wl_output().enter(surface);
            with_states(surface, |states| send_preferred_scale(output.wl_output(), surface, states));
        }
        if self.shell.is_visible(&root) {
            self.committed_on(id, surface);
        }
    }

    fn destroyed(&mut self, surface: &WlSurface) {
        // Smithay keeps the surfaces that entered an output until they leave it, and walks all of
        // them for each new wl_output.
        for output in self.outputs.iter() {
            output.wl_output().leave(surface);
        }
    }
}
