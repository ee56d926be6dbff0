//! xdg-shell: windows, dialogs, popups.

use smithay::delegate_xdg_shell;
use smithay::desktop::{
    find_popup_root_surface, PopupKeyboardGrab, PopupKind, PopupPointerGrab, PopupUngrabStrategy,
};
use smithay::input::pointer::Focus;
use smithay::input::Seat;
use smithay::output::Output;
use smithay::reexports::wayland_server::protocol::{wl_output::WlOutput, wl_seat::WlSeat};
use smithay::utils::Serial;
use smithay::wayland::shell::xdg::{
    PopupSurface, PositionerState, ShellClient, ToplevelSurface, XdgShellHandler, XdgShellState,
};
use tracing::debug;

use crate::clients::client_of;
use crate::compositor::State;

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
        self.shell.add_popup(popup, positioner, &self.outputs);
    }

    fn reposition_request(&mut self, popup: PopupSurface, positioner: PositionerState, token: u32) {
        self.shell.reposition_popup(&popup, positioner, token, &self.outputs);
    }

    fn popup_destroyed(&mut self, popup: PopupSurface) {
        self.with_shell(|shell, cx| shell.remove_popup(popup, cx.outputs));
    }

    fn grab(&mut self, popup: PopupSurface, seat: WlSeat, serial: Serial) {
        let Some(seat) = Seat::<Self>::from_resource(&seat) else { return };
        let kind = PopupKind::from(popup);
        let Ok(root) = find_popup_root_surface(&kind) else { return };
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

delegate_xdg_shell!(State);
