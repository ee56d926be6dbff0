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

/// Returns whether a popup may take a device: nothing grabs it, or what grabs it is the press that
/// the popup names, or the popup's parent. `previous` is the serial of the parent's grab. The same
/// holds for keyboard and pointer: a popup that had only one of them would be closed by the other's
/// next event.
fn may_replace(
    is_grabbed: bool,
    has_grab: impl Fn(Serial) -> bool,
    serial: Serial,
    previous: Option<Serial>,
) -> bool {
    !is_grabbed || has_grab(serial) || previous.is_some_and(has_grab)
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
        let previous = grab.previous_serial();
        let (keyboard, pointer) = (seat.get_keyboard(), seat.get_pointer());
        let may_take = keyboard.as_ref().is_none_or(|keyboard| {
            may_replace(keyboard.is_grabbed(), |serial| keyboard.has_grab(serial), serial, previous)
        }) && pointer.as_ref().is_none_or(|pointer| {
            may_replace(pointer.is_grabbed(), |serial| pointer.has_grab(serial), serial, previous)
        });
        if !may_take {
            grab.ungrab(PopupUngrabStrategy::All);
            return;
        }
        if let Some(keyboard) = keyboard {
            keyboard.set_focus(self, grab.current_grab(), serial);
            keyboard.set_grab(self, PopupKeyboardGrab::new(&grab), serial);
        }
        if let Some(pointer) = pointer {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn popup_takes_a_device_only_from_its_press_or_its_parent() {
        let [named, parent, other] = [1, 2, 3].map(Serial::from);
        let may = |grab: Option<Serial>, previous| {
            may_replace(grab.is_some(), |serial| grab == Some(serial), named, previous)
        };
        assert!(may(None, None) && may(None, Some(parent)));
        assert!(may(Some(named), None) && may(Some(parent), Some(parent)));
        assert!(!may(Some(other), None), "another grab, and no parent");
        assert!(!may(Some(other), Some(parent)));
    }
}
