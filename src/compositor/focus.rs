//! Who has the keyboard and the pointer. Whatever changes calls [`State::refresh_focus`], and the
//! answer is found once, by [`State::settle_focus`]: at the end of the iteration, or before input.

use geom_ipc::Event as IpcEvent;
use smithay::input::pointer::{ClickGrab, MotionEvent, PointerHandle};
use smithay::reexports::wayland_server::protocol::wl_pointer;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Client, Resource};
use smithay::utils::{Logical, Point, Serial, SERIAL_COUNTER};

use super::State;
use crate::clients::client_of;
use crate::shell::{KeyboardFocus, SurfaceAt};

/// libwayland destroys the objects of a client that ends one by one. An event that names one of
/// those that are left ends the service: wayland-backend does not find its client.
pub(super) fn is_ending(surface: &WlSurface) -> bool {
    surface.is_alive() && surface.client().is_none()
}

impl State {
    /// Something changed that may decide who has the keyboard or the pointer.
    pub fn refresh_focus(&mut self) {
        self.focus_refresh_pending = true;
    }

    /// Something changed that may decide who has the pointer, but not who has the keyboard.
    pub fn refresh_pointer_focus(&mut self) {
        self.pointer_refresh_pending = true;
    }

    /// Returns the surface that has the keyboard.
    pub fn keyboard_focus(&self) -> Option<WlSurface> {
        self.seat.get_keyboard()?.current_focus()
    }

    /// Gives keyboard and pointer to the surfaces that they belong to now, if anything changed.
    pub fn settle_focus(&mut self) {
        let is_pointer_due = std::mem::take(&mut self.pointer_refresh_pending);
        if !std::mem::take(&mut self.focus_refresh_pending) {
            self.pointer_refresh_pending = is_pointer_due && !self.settle_devices();
            return;
        }
        let (focus, effects) = self.shell.update_keyboard(&self.outputs);
        self.apply_shell_effects(effects);
        let is_settled = self.focus_keyboard(focus) && self.settle_devices();
        // Tried again when the objects of a client that ends are destroyed.
        self.focus_refresh_pending = !is_settled;
    }

    /// Puts pens, the pointer and pads on the surfaces that they belong to. Returns whether it is
    /// done.
    fn settle_devices(&mut self) -> bool {
        if std::mem::take(&mut self.pad_refresh_pending) {
            self.refresh_pads();
        }
        self.check_calibration();
        // A pen may move the pointer.
        let is_settled = self.settle_pens();
        self.settle_pointer() && is_settled
    }

    /// Returns whether it is done.
    fn focus_keyboard(&mut self, focus: KeyboardFocus) -> bool {
        let Some(keyboard) = self.seat.get_keyboard() else { return true };
        let before = keyboard.current_focus();
        let KeyboardFocus { surface, window } = focus;
        if before != surface {
            if before.iter().chain(&surface).any(is_ending) {
                return false;
            }
            keyboard.set_focus(self, surface, SERIAL_COUNTER.next_serial());
        }
        if std::mem::replace(&mut self.focused_window, window) != window {
            self.publish_event(&IpcEvent::Focus { window });
        }
        true
    }

    /// Returns the surface that the pointer is on at a point of the layout: what is seen there,
    /// unless its client hangs, or another client has popups that take all input.
    pub(super) fn pointer_target(&self, point: Point<f64, Logical>) -> Option<SurfaceAt> {
        let under = self.shell.surface_at(point, &self.outputs)?;
        let grabbing = self.shell.grabbing_client();
        let receives = grabbing.is_none_or(|grabbing| client_of(&under.0) == Some(grabbing));
        (receives && !self.is_unresponsive(&under.0)).then_some(under)
    }

    /// The pointer enters what is under it, and leaves what was, without motion. Returns whether it
    /// is done.
    fn settle_pointer(&mut self) -> bool {
        let Some(pointer) = self.seat.get_pointer() else { return true };
        let location = self.input.pointer().location();
        // Without a pointing device, nothing would move it away from where a finger rested.
        let is_used = self.input.pointer().is_present() || self.input.long_press.is_clicked();
        let target = self.pointer_target(location).filter(|_| is_used);
        let focus = pointer.current_focus();
        if focus.iter().chain(target.iter().map(|(surface, _)| surface)).any(is_ending) {
            return false;
        }
        let time = self.now().as_millis() as u32;
        let holds = pointer.with_grab(|_, grab| grab.downcast_ref::<ClickGrab<Self>>().is_some());
        if holds == Some(true) {
            // While a button is held, the pointer stays on the surface that it was pressed on.
            if focus.is_none_or(|surface| self.shell.is_seen(&surface, &self.outputs)) {
                return true;
            }
            self.end_pointer_grab(&pointer, SERIAL_COUNTER.next_serial(), time);
        }
        let is_same = target == self.pointer_entered
            && (pointer.is_grabbed()
                || pointer.current_focus().as_ref() == target.as_ref().map(|(surface, _)| surface));
        if !is_same {
            self.send_pointer(&pointer, target, location, time);
        }
        true
    }

    /// Ends the grab of a pressed button: the pointer moves freely.
    pub(super) fn end_pointer_grab(&mut self, pointer: &PointerHandle<Self>, serial: Serial, time: u32) {
        pointer.unset_grab(self, serial, time);
        pointer.frame(self);
    }

    /// Sends the pointer's location to the surface that it is on.
    pub(super) fn send_pointer(
        &mut self,
        pointer: &PointerHandle<Self>,
        target: Option<SurfaceAt>,
        location: Point<f64, Logical>,
        time: u32,
    ) {
        self.pointer_entered.clone_from(&target);
        let motion = MotionEvent { location, serial: SERIAL_COUNTER.next_serial(), time };
        pointer.motion(self, target, &motion);
        pointer.frame(self);
    }

    /// A client creates a pointer. If the seat's pointer is on one of its surfaces, it enters it.
    pub(super) fn enter_new_pointer(&self, client: &Client) {
        let Some(pointer) = self.seat.get_pointer() else { return };
        let Some((surface, origin)) = &self.pointer_entered else { return };
        let is_on = pointer.current_focus().as_ref() == Some(surface)
            && surface.client().is_some_and(|owner| owner.id() == client.id());
        let Some(serial) = pointer.last_enter().filter(|_| is_on) else { return };
        let at = pointer.current_location() - *origin;
        if let Some(newest) = pointer.client_pointers(client).last() {
            newest.enter(serial.into(), surface, at.x, at.y);
            if newest.version() >= wl_pointer::EVT_FRAME_SINCE {
                newest.frame();
            }
        }
    }

    /// The user presses a button or touches a point of the layout: dismisses popups of other
    /// programs, and focuses what is there if `focuses`. Returns whether no surface gets the press,
    /// because the overlay for unresponsive clients is there.
    pub(super) fn press_at(&mut self, point: Point<f64, Logical>, focuses: bool) -> bool {
        self.settle_focus();
        let under = self.shell.surface_at(point, &self.outputs);
        let client = under.and_then(|(surface, _)| client_of(&surface));
        self.with_shell(|shell, cx| shell.dismiss_grabs_outside(client, cx.outputs));
        if self.press_unresponsive_overlay(point) {
            self.settle_focus();
            return true;
        }
        if focuses {
            self.with_shell(|shell, cx| shell.focus_at(point, cx));
        }
        self.settle_focus();
        false
    }
}
