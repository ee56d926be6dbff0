//! xdg-shell: windows, dialogs, popups.

use smithay::delegate_xdg_shell;
use smithay::desktop::{
    find_popup_root_surface, get_popup_toplevel_coords, layer_map_for_output, PopupKeyboardGrab, PopupKind,
    PopupPointerGrab, PopupUngrabStrategy, WindowSurfaceType,
};
use smithay::input::pointer::Focus;
use smithay::input::Seat;
use smithay::reexports::wayland_server::protocol::{
    wl_output::WlOutput, wl_seat::WlSeat, wl_surface::WlSurface,
};
use smithay::utils::{Logical, Rectangle, Serial};
use smithay::wayland::shell::xdg::{
    PopupSurface, PositionerState, ShellClient, ToplevelSurface, XdgShellHandler, XdgShellState,
};
use tracing::debug;

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
        self.new_window(toplevel);
    }

    fn toplevel_destroyed(&mut self, toplevel: ToplevelSurface) {
        self.window_destroyed(&toplevel);
    }

    fn new_popup(&mut self, popup: PopupSurface, positioner: PositionerState) {
        popup.with_pending_state(|state| {
            state.geometry = positioner.get_geometry();
            state.positioner = positioner;
        });
        self.unconstrain_popup(&popup);
        if let Err(error) = self.shell.popups.track_popup(PopupKind::from(popup)) {
            debug!(%error, "a popup is gone already");
        }
    }

    fn reposition_request(&mut self, popup: PopupSurface, positioner: PositionerState, token: u32) {
        popup.with_pending_state(|state| {
            state.geometry = positioner.get_geometry();
            state.positioner = positioner;
        });
        self.unconstrain_popup(&popup);
        popup.send_repositioned(token);
    }

    fn popup_destroyed(&mut self, popup: PopupSurface) {
        if let Ok(root) = find_popup_root_surface(&PopupKind::from(popup)) {
            if let Some(id) = self.output_of(&root) {
                self.queue_redraw(id);
            }
        }
    }

    fn grab(&mut self, popup: PopupSurface, seat: WlSeat, serial: Serial) {
        let Some(seat) = Seat::<Self>::from_resource(&seat) else { return };
        let kind = PopupKind::from(popup);
        let Ok(root) = find_popup_root_surface(&kind) else { return };
        let mut grab = match self.shell.popups.grab_popup(root, kind, &seat, serial) {
            Ok(grab) => grab,
            Err(error) => {
                debug!(%error, "a popup gets no grab");
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
        // Every window fills its display already; the protocol wants an answer.
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
        self.set_fullscreen(&toplevel, true, output);
    }

    fn unfullscreen_request(&mut self, toplevel: ToplevelSurface) {
        self.set_fullscreen(&toplevel, false, None);
    }

    fn parent_changed(&mut self, toplevel: ToplevelSurface) {
        let managed =
            self.window_of(toplevel.wl_surface()).filter(|managed| managed.shown_on.is_some()).cloned();
        if let Some(managed) = managed {
            self.configure_window(&managed);
        }
    }
}

impl State {
    pub fn popup_committed(&mut self, surface: &WlSurface) {
        self.shell.popups.commit(surface);
        let Some(PopupKind::Xdg(popup)) = self.shell.popups.find_popup(surface) else { return };
        if !popup.is_initial_configure_sent() {
            if let Err(error) = popup.send_configure() {
                debug!(?error, "a popup can't be configured");
            }
        }
        if let Some(id) = self.output_of(surface) {
            self.queue_redraw(id);
        }
    }

    /// Moves a popup as its positioner allows, so that all of it is on its parent's display.
    pub fn unconstrain_popup(&self, popup: &PopupSurface) {
        let kind = PopupKind::from(popup.clone());
        let Ok(root) = find_popup_root_surface(&kind) else { return };
        let Some(output) = self.output_of(&root).and_then(|id| self.outputs.get(id)) else { return };
        let origin = match self.window_of(&root) {
            Some(managed) => self.window_location(managed),
            None => {
                let layers = layer_map_for_output(&output.wl_output);
                let layer = layers.layer_for_surface(&root, WindowSurfaceType::TOPLEVEL);
                layer.and_then(|layer| layers.layer_geometry(layer)).map(|geometry| geometry.loc)
            }
        };
        let Some(origin) = origin else { return };
        let mut target: Rectangle<i32, Logical> = Rectangle::from_size(output.geometry().size);
        target.loc -= origin + get_popup_toplevel_coords(&kind);
        popup
            .with_pending_state(|state| state.geometry = state.positioner.get_unconstrained_geometry(target));
    }
}

delegate_xdg_shell!(State);
