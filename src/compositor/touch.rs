//! Touches: passes them to the seat, which sends them to clients.

use std::time::Duration;

use smithay::backend::input::{ButtonState, TouchSlot};
use smithay::input::touch::{
    DownEvent, GrabStartData, MotionEvent, OrientationEvent, ShapeEvent, TouchGrab, TouchInnerHandle,
    TouchTarget, UpEvent,
};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{IsAlive, Logical, Point, Serial, SERIAL_COUNTER};

use super::deadline::Deadline;
use super::State;
use crate::clients::client_of;
use crate::input::CursorEvent;
use crate::power::HeldInput;
use crate::shell::SurfaceAt;

/// The right button of a mouse (linux/input-event-codes.h).
const BTN_RIGHT: u32 = 0x111;

/// Passes each finger to the surface that it touched first. Smithay's own grab passes all fingers
/// to the surface of the first one, and cancels only those that have moved since the last frame.
pub struct Fingers {
    /// The finger that was put down last: its serial may begin a drag.
    start: GrabStartData<State>,
}

impl Fingers {
    /// Returns what the seat has while there is no finger.
    pub fn none() -> Box<dyn TouchGrab<State>> {
        let start = GrabStartData { focus: None, slot: TouchSlot::from(None), location: Point::default() };
        Box::new(Self { start })
    }
}

impl TouchGrab<State> for Fingers {
    fn down(
        &mut self,
        data: &mut State,
        handle: &mut TouchInnerHandle<'_, State>,
        focus: Option<SurfaceAt>,
        event: &DownEvent,
        seq: Serial,
    ) {
        handle.down(data, focus.clone(), event, seq);
        let start = GrabStartData { focus, slot: event.slot, location: event.location };
        handle.set_grab(self, data, event.serial, Self { start });
    }

    fn up(
        &mut self,
        data: &mut State,
        handle: &mut TouchInnerHandle<'_, State>,
        event: &UpEvent,
        seq: Serial,
    ) {
        handle.up(data, event, seq);
        if event.slot == self.start.slot {
            // Its serial may begin nothing any more.
            handle.unset_grab(self, data);
        }
    }

    fn motion(
        &mut self,
        data: &mut State,
        handle: &mut TouchInnerHandle<'_, State>,
        focus: Option<SurfaceAt>,
        event: &MotionEvent,
        seq: Serial,
    ) {
        handle.motion(data, focus, event, seq);
    }

    fn frame(&mut self, data: &mut State, handle: &mut TouchInnerHandle<'_, State>, seq: Serial) {
        handle.frame(data, seq);
    }

    /// Ends the touch points of the clients whose touches were cancelled.
    fn cancel(&mut self, data: &mut State, handle: &mut TouchInnerHandle<'_, State>, seq: Serial) {
        let seat = data.seat.clone();
        for surfaces in data.input.touch_points.take_cancelled() {
            // One that is gone does not lead to its client.
            if let Some(surface) = surfaces.iter().find(|surface| surface.alive()) {
                TouchTarget::cancel(surface, &seat, data, seq);
            }
        }
        handle.unset_grab(self, data);
    }

    fn shape(
        &mut self,
        data: &mut State,
        handle: &mut TouchInnerHandle<'_, State>,
        event: &ShapeEvent,
        seq: Serial,
    ) {
        handle.shape(data, event, seq);
    }

    fn orientation(
        &mut self,
        data: &mut State,
        handle: &mut TouchInnerHandle<'_, State>,
        event: &OrientationEvent,
        seq: Serial,
    ) {
        handle.orientation(data, event, seq);
    }

    fn start_data(&self) -> &GrabStartData<State> {
        &self.start
    }

    fn unset(&mut self, _data: &mut State) {}
}

impl State {
    /// A device reports a new finger, by the device's name in /dev/input and its own number of the
    /// finger. `location` returns where that is in the layout. `time` is in milliseconds.
    pub fn finger_down(
        &mut self,
        device: &str,
        slot: TouchSlot,
        location: impl FnOnce(&Self) -> Option<Point<f64, Logical>>,
        time: u32,
    ) {
        let Some(slot) = self.input.touch_points.down(device, slot) else { return };
        if self.press(HeldInput::Finger(slot), true) {
            return;
        }
        let Some(location) = location(self) else { return };
        let Some(touch) = self.seat.get_touch() else { return };
        self.cursor_event(CursorEvent::Touched);
        let is_drag = self.touch_drag().is_some();
        if self.press_at(location, !is_drag) {
            return;
        }
        let under = self.surface_at(location);
        let serial = SERIAL_COUNTER.next_serial();
        if let Some((surface, client)) =
            under.as_ref().and_then(|(surface, _)| Some((surface, client_of(surface)?)))
        {
            self.note_press(serial, Some(surface));
            // A drag ignores other fingers.
            if !is_drag {
                self.input.touch_points.set_target(slot, surface.clone(), client);
                self.begin_long_press(slot, location);
            }
        }
        touch.down(self, under, &DownEvent { slot, location, serial, time });
    }

    /// A device reports that a finger has moved.
    pub fn finger_moved(
        &mut self,
        device: &str,
        slot: TouchSlot,
        location: impl FnOnce(&Self) -> Option<Point<f64, Logical>>,
        time: u32,
    ) {
        self.activity();
        let Some(slot) = self.input.touch_points.slot(device, slot) else { return };
        if self.power.is_withheld(HeldInput::Finger(slot)) {
            return;
        }
        let target = self.input.touch_points.target(slot).cloned();
        if target.is_none() && self.touch_drag() != Some(slot) {
            return;
        }
        let Some(location) = location(self) else { return };
        self.input.long_press.moved(slot, location);
        if target.is_some_and(|target| !self.accepts_motion(&target)) {
            return;
        }
        let Some(touch) = self.seat.get_touch() else { return };
        let under = self.surface_at(location);
        touch.motion(self, under, &MotionEvent { slot, location, time });
    }

    /// A device reports that a finger was lifted.
    pub fn finger_up(&mut self, device: &str, slot: TouchSlot, time: u32) {
        let Some(slot) = self.input.touch_points.slot(device, slot) else { return };
        let drag = self.touch_drag();
        let is_known = self.input.touch_points.target(slot).is_some() || drag == Some(slot);
        if drag.is_some_and(|drag| drag != slot) {
            // The drag would keep it from its client, for which it would stay down for ever.
            self.input.touch_points.cancel(slot);
        }
        self.end_finger(slot, time);
        let Some(touch) = self.seat.get_touch().filter(|_| is_known) else { return };
        touch.up(self, &UpEvent { slot, serial: SERIAL_COUNTER.next_serial(), time });
        self.send_cancels();
    }

    /// A device reports that a finger was none, such as a palm.
    pub fn finger_cancelled(&mut self, device: &str, slot: TouchSlot, time: u32) {
        let Some(slot) = self.input.touch_points.slot(device, slot) else { return };
        self.cancel_finger(slot);
        self.end_finger(slot, time);
        self.send_cancels();
    }

    /// Cancels the fingers of a device that is gone.
    pub fn cancel_fingers_of(&mut self, device: &str) {
        let time = self.now().as_millis() as u32;
        for slot in self.input.touch_points.of_device(device) {
            self.cancel_finger(slot);
            self.end_finger(slot, time);
        }
        self.send_cancels();
    }

    /// Forgets a finger that is no longer down.
    fn end_finger(&mut self, slot: TouchSlot, time: u32) {
        self.power.release(HeldInput::Finger(slot));
        self.input.touch_points.up(slot);
        if !self.input.long_press.is_resting_without(slot) {
            self.cancel_long_press_timer();
        }
        if self.input.long_press.up(slot) {
            self.send_button(BTN_RIGHT, ButtonState::Released, time);
        }
    }

    /// Cancels what a finger does; a drag of it ends.
    fn cancel_finger(&mut self, slot: TouchSlot) {
        self.input.touch_points.cancel(slot);
        if self.touch_drag() == Some(slot) {
            if let Some(touch) = self.seat.get_touch() {
                // Smithay drops what is dragged at the end; there must be no target any more.
                let time = self.now().as_millis() as u32;
                touch.motion(self, None, &MotionEvent { slot, location: Point::default(), time });
                touch.unset_grab(self);
            }
        }
    }

    /// Sends the cancels that are due. While a drag lasts they wait for its end: in Smithay, each
    /// cancel ends the drag.
    fn send_cancels(&mut self) {
        let Some(touch) = self.seat.get_touch() else { return };
        if self.touch_drag().is_none() && self.input.touch_points.has_cancelled() {
            touch.cancel(self);
        }
    }

    /// Returns the finger that drags something.
    fn touch_drag(&self) -> Option<TouchSlot> {
        let touch = self.seat.get_touch()?;
        // Smithay forgets a grab whose surface is gone with the next event.
        let drag = |grab: &dyn TouchGrab<Self>| {
            let start = grab.start_data();
            let is_alive = start.focus.as_ref().is_some_and(|(surface, _)| surface.alive());
            (is_alive && !grab.is::<Fingers>()).then_some(start.slot)
        };
        touch.with_grab(|_, grab| drag(grab)).flatten()
    }

    fn begin_long_press(&mut self, slot: TouchSlot, location: Point<f64, Logical>) {
        let (count, now) = (self.input.touch_points.len(), self.iteration_start());
        let until = self.input.long_press.down(slot, location, count, self.config.long_press, now);
        self.cancel_long_press_timer();
        self.long_press_timer = until.map(|until| self.timers.at(until, Deadline::LongPress));
    }

    fn cancel_long_press_timer(&mut self) {
        if let Some(timer) = self.long_press_timer.take() {
            self.timers.cancel(timer);
        }
    }

    /// A finger may have rested long enough: what it does becomes a right click.
    pub fn long_press_due(&mut self) {
        self.long_press_timer = None;
        let now: Duration = self.iteration_start();
        let Some((slot, location)) = self.input.long_press.due(now) else { return };
        let target = self.input.touch_points.target(slot).cloned();
        let pressed = target.filter(|target| self.can_click(target));
        // A drag has begun, its client is gone or gets no motion, or a mouse button is held.
        let Some(surface) = pressed.filter(|_| self.touch_drag().is_none()) else {
            self.input.long_press.forget();
            return;
        };
        self.cancel_finger(slot);
        self.send_cancels();
        let time = now.as_millis() as u32;
        // No cursor appears, as none does for a touch.
        self.move_pointer(location, time, None);
        let focus = self.seat.get_pointer().and_then(|pointer| pointer.current_focus());
        if focus.is_some_and(|focus| focus == surface) {
            self.send_button(BTN_RIGHT, ButtonState::Pressed, time);
        } else {
            self.input.long_press.forget();
        }
    }

    /// Returns whether the pointer can be put onto a surface and pressed there.
    fn can_click(&mut self, surface: &WlSurface) -> bool {
        let pointer = self.seat.get_pointer();
        pointer.is_some_and(|pointer| !pointer.is_grabbed()) && self.accepts_motion(surface)
    }
}
