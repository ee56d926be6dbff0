//! xdg-shell: windows, dialogs, popups.

use smithay::desktop::{PopupKeyboardGrab, PopupKind, PopupPointerGrab, PopupUngrabStrategy};
use smithay::input::pointer::Focus;
use smithay::input::Seat;
use smithay::output::Output;
use smithay::reexports::wayland_server::protocol::{wl_output::WlOutput, wl_seat::WlSeat};
use smithay::reexports::wayland_server::{Client, Resource};
use smithay::utils::Serial;
use smithay::wayland::shell::xdg::{
    PopupSurface, PositionerState, ShellClient, ToplevelSurface, XdgShellHandler, XdgShellState,
};
use tracing::debug;

use super::security_context::is_trusted;
use crate::clients::client_of;
use crate::compositor::guards::xdg_shell::check_popup_parents;
use crate::compositor::State;
use crate::shell::popups::popup_root;

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
        self.with_shell(|shell, cx| shell.remove_popup(popup, cx.outputs));
    }

    fn grab(&mut self, popup: PopupSurface, seat: WlSeat, serial: Serial) {
        let Some(seat) = Seat::<Self>::from_resource(&seat) else { return };
        if !self.may_grab(&popup, serial) {
            debug!(client = client_of(popup.wl_surface()).map(u64::from), "popup grab refused");
            popup.send_popup_done();
            return;
        }
        let Ok(root) = popup_root(popup.wl_surface()) else { return };
        let kind = PopupKind::from(popup);
        let mut grab = match self.shell.popups.grab_popup(root, kind, &seat, serial) {
            Ok(grab) => grab,
            Err(error) => {
                debug!(%error, "popup grab refused");
                return;
            }
        };
        if let Some(keyboard) = seat.get_keyboard() {
            if keyboard.is_grabbed()
                && !(keyboard.has_grab(serial)
                    || grab.previous_serial().is_some_and(|previous| keyboard.has_grab(previous)))
            {
                grab.ungrab(PopupUngrabStrategy::All);
                return;
            }
            keyboard.set_focus(self, grab.current_grab(), serial);
            keyboard.set_grab(self, PopupKeyboardGrab::new(&grab), serial);
        }
        if let Some(pointer) = seat.get_pointer() {
            if pointer.is_grabbed()
                && !(pointer.has_grab(serial)
                    || grab.previous_serial().is_none_or(|previous| pointer.has_grab(previous)))
            {
                grab.ungrab(PopupUngrabStrategy::All);
                return;
            }
            pointer.set_grab(self, PopupPointerGrab::new(&grab), serial, Focus::Keep);
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
