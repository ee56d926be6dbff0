//! xdg-shell: windows, dialogs, popups.

use smithay::input::pointer::{ClickGrab, PointerHandle};
use smithay::input::Seat;
use smithay::output::Output;
use smithay::reexports::wayland_protocols::xdg::shell::server::{xdg_popup, xdg_wm_base};
use smithay::reexports::wayland_server::protocol::{wl_output::WlOutput, wl_seat::WlSeat};
use smithay::reexports::wayland_server::{Client, Resource};
use smithay::utils::Serial;
use smithay::wayland::compositor::with_states;
use smithay::wayland::shell::xdg::{
    PopupSurface, PositionerState, ShellClient, ToplevelSurface, XdgPopupSurfaceData, XdgShellHandler,
    XdgShellState,
};
use tracing::debug;

use super::security_context::is_trusted;
use crate::clients::client_of;
use crate::compositor::guards::xdg_shell::{check_popup_parents, post_wm_base_error};
use crate::compositor::State;
use crate::shell::popups::{popup_root, NotTopmost};

impl State {
    /// Returns whether a popup may take all input. A popup that did without the user's doing would
    /// get what is typed into other programs: so its client was sent the press that it names, its
    /// root is visible, and no lock is above.
    fn may_grab(&self, popup: &PopupSurface, serial: Serial) -> bool {
        let surface = popup.wl_surface();
        let Ok(root) = popup_root(surface) else { return false };
        let lock = self.shell.exclusive_layer(&self.outputs);
        let client = client_of(surface).unwrap_or_default();
        self.input.presses.were_sent(serial, client)
            && surface.client().is_some_and(|client| is_trusted(&client) || self.has_focus(&client))
            && self.shell.is_visible(&root)
            && lock.is_none_or(|lock| lock == root)
    }

    /// Returns whether a client has the keyboard.
    fn has_focus(&self, client: &Client) -> bool {
        self.keyboard_focus().and_then(|focus| focus.client()).is_some_and(|focus| focus.id() == client.id())
    }
}

/// Returns whether a popup was committed, after which it cannot take all input any more.
fn is_committed(popup: &PopupSurface) -> bool {
    with_states(popup.wl_surface(), |states| {
        let data = states.data_map.get::<XdgPopupSurfaceData>();
        let data = data.map(|data| data.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        data.is_some_and(|data| data.committed)
    })
}

impl XdgShellHandler for State {
    fn xdg_shell_state(&mut self) -> &mut XdgShellState {
        &mut self.protocols.xdg_shell
    }

    fn new_client(&mut self, client: ShellClient) {
        self.shell_bound(client);
    }

    fn client_pong(&mut self, client: ShellClient) {
        self.shell_pong(&client);
    }

    fn new_toplevel(&mut self, toplevel: ToplevelSurface) {
        let client = client_of(toplevel.wl_surface()).unwrap_or_default();
        self.shell.add_window(client, toplevel);
    }

    fn toplevel_destroyed(&mut self, toplevel: ToplevelSurface) {
        self.with_shell(|shell, cx| shell.remove_window(&toplevel, cx));
    }

    fn new_popup(&mut self, popup: PopupSurface, positioner: PositionerState) {
        if check_popup_parents(&popup) {
            self.shell.add_popup(popup, positioner, &self.outputs);
        }
    }

    fn reposition_request(&mut self, popup: PopupSurface, positioner: PositionerState, token: u32) {
        self.shell.reposition_popup(&popup, positioner, token, &self.outputs);
    }

    fn popup_destroyed(&mut self, popup: PopupSurface) {
        self.with_shell(|shell, cx| shell.remove_popup(&popup, cx.outputs));
    }

    fn grab(&mut self, popup: PopupSurface, seat: WlSeat, serial: Serial) {
        let Some(seat) = Seat::<Self>::from_resource(&seat) else { return };
        if !self.may_grab(&popup, serial) {
            debug!(client = client_of(popup.wl_surface()).map(u64::from), "popup grab refused");
            popup.send_popup_done();
            return;
        }
        if is_committed(&popup) {
            popup.xdg_popup().post_error(xdg_popup::Error::InvalidGrab, "the popup is already mapped");
            return;
        }
        let pointer = seat.get_pointer();
        // A button that is held elsewhere does not matter, but a drag and drop would end.
        let is_drag = |pointer: &PointerHandle<Self>| {
            pointer.with_grab(|_, grab| grab.downcast_ref::<ClickGrab<Self>>().is_none()) == Some(true)
        };
        if pointer.as_ref().is_some_and(is_drag) {
            debug!(
                client = client_of(popup.wl_surface()).map(u64::from),
                "popup grab refused: something is dragged"
            );
            popup.send_popup_done();
            return;
        }
        let client = client_of(popup.wl_surface()).unwrap_or_default();
        let mut is_topmost = true;
        self.with_shell(|shell, cx| {
            shell.grab_popup(&popup, client, cx.outputs).unwrap_or_else(|_| {
                is_topmost = false;
                Vec::new()
            })
        });
        if !is_topmost {
            post_wm_base_error(&popup, xdg_wm_base::Error::NotTheTopmostPopup, &NotTopmost.to_string());
            return;
        }
        // The press that opened the menu: the pointer can move into it while the button is held.
        let is_taken = self.shell.is_in_grabbing_popup(popup.wl_surface());
        if let Some(pointer) = pointer.filter(|pointer| is_taken && pointer.has_grab(serial)) {
            let time = self.now().as_millis() as u32;
            self.end_pointer_grab(&pointer, serial, time);
        }
    }

    fn maximize_request(&mut self, toplevel: ToplevelSurface) {
        // Every window fills its output already, but the protocol requires an answer.
        if toplevel.is_initial_configure_sent() {
            toplevel.send_configure();
        }
    }

    fn unmaximize_request(&mut self, toplevel: ToplevelSurface) {
        if toplevel.is_initial_configure_sent() {
            toplevel.send_configure();
        }
    }

    fn fullscreen_request(&mut self, toplevel: ToplevelSurface, output: Option<WlOutput>) {
        let output = output.as_ref().and_then(Output::from_resource);
        self.with_shell(|shell, cx| shell.set_fullscreen(&toplevel, true, output.as_ref(), cx));
    }

    fn unfullscreen_request(&mut self, toplevel: ToplevelSurface) {
        self.with_shell(|shell, cx| shell.set_fullscreen(&toplevel, false, None, cx));
    }

    fn parent_changed(&mut self, toplevel: ToplevelSurface) {
        self.with_shell(|shell, cx| shell.parent_changed(&toplevel, cx));
    }
}
