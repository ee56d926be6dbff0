//! Gestures of touchpads (pointer-gestures): they go to the surface that the pointer is on.

use smithay::backend::input::{
    Event, GestureBeginEvent, GestureEndEvent, GesturePinchUpdateEvent as _, GestureSwipeUpdateEvent as _,
    InputEvent,
};
use smithay::backend::libinput::LibinputInputBackend;
use smithay::input::pointer::{
    GestureHoldBeginEvent, GestureHoldEndEvent, GesturePinchBeginEvent, GesturePinchEndEvent,
    GesturePinchUpdateEvent, GestureSwipeBeginEvent, GestureSwipeEndEvent, GestureSwipeUpdateEvent,
};
use smithay::utils::{Logical, Point, SERIAL_COUNTER};

use super::focus::is_ending;
use super::State;

/// How soon after a gesture another one is that of the same fingers, in milliseconds.
const SAME_FINGERS_TIME: u32 = 200;

/// The kind of a gesture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GestureKind {
    Swipe,
    Pinch,
    /// Fingers that lie still.
    Hold,
}

/// What happens in a gesture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gesture {
    Begin {
        kind: GestureKind,
        fingers: u32,
    },
    Swipe {
        delta: Point<f64, Logical>,
    },
    /// `scale` is since the beginning, `rotation` in degrees since the last event.
    Pinch {
        delta: Point<f64, Logical>,
        scale: f64,
        rotation: f64,
    },
    End {
        kind: GestureKind,
        cancelled: bool,
    },
}

/// Returns a gesture's event, if it is one, with its time in milliseconds.
pub(super) fn gesture_of(event: &InputEvent<LibinputInputBackend>) -> Option<(Gesture, u32)> {
    use GestureKind::{Hold, Pinch, Swipe};
    let begin = |kind, fingers| Gesture::Begin { kind, fingers };
    let end = |kind, cancelled| Gesture::End { kind, cancelled };
    Some(match event {
        InputEvent::GestureSwipeBegin { event } => (begin(Swipe, event.fingers()), event.time_msec()),
        InputEvent::GestureSwipeUpdate { event } => {
            (Gesture::Swipe { delta: event.delta() }, event.time_msec())
        }
        InputEvent::GestureSwipeEnd { event } => (end(Swipe, event.cancelled()), event.time_msec()),
        InputEvent::GesturePinchBegin { event } => (begin(Pinch, event.fingers()), event.time_msec()),
        InputEvent::GesturePinchUpdate { event } => {
            let (delta, scale, rotation) = (event.delta(), event.scale(), event.rotation());
            (Gesture::Pinch { delta, scale, rotation }, event.time_msec())
        }
        InputEvent::GesturePinchEnd { event } => (end(Pinch, event.cancelled()), event.time_msec()),
        InputEvent::GestureHoldBegin { event } => (begin(Hold, event.fingers()), event.time_msec()),
        InputEvent::GestureHoldEnd { event } => (end(Hold, event.cancelled()), event.time_msec()),
        _ => return None,
    })
}

impl State {
    /// Passes a gesture's event to the surface that the pointer is on. `time` is in milliseconds.
    ///
    /// Smithay sends updates and ends of gestures only to the surface that one began on, and
    /// cancels a gesture whose surface the pointer leaves.
    pub fn gesture(&mut self, gesture: Gesture, time: u32) {
        let unblanks = self.activity();
        self.settle_focus();
        let Some(pointer) = self.seat.get_pointer() else { return };
        if !matches!(gesture, Gesture::Begin { .. }) {
            if let Some(last) = &mut self.input.withheld_gesture {
                *last = time;
            }
        }
        let focus = pointer.current_focus();
        let serial = SERIAL_COUNTER.next_serial();
        match gesture {
            Gesture::Begin { kind, fingers } => {
                // A gesture that unblanks displays does nothing else. Nor does what the same
                // fingers go on with: a swipe begins where a hold is cancelled.
                let goes_on = |last: u32| time.wrapping_sub(last) < SAME_FINGERS_TIME;
                let is_withheld = unblanks || self.input.withheld_gesture.is_some_and(goes_on);
                self.input.withheld_gesture = is_withheld.then_some(time);
                if is_withheld || focus.is_none_or(|surface| is_ending(&surface)) {
                    return;
                }
                match kind {
                    GestureKind::Swipe => {
                        pointer.gesture_swipe_begin(self, &GestureSwipeBeginEvent { serial, time, fingers });
                    }
                    GestureKind::Pinch => {
                        pointer.gesture_pinch_begin(self, &GesturePinchBeginEvent { serial, time, fingers });
                    }
                    GestureKind::Hold => {
                        pointer.gesture_hold_begin(self, &GestureHoldBeginEvent { serial, time, fingers });
                    }
                }
            }
            // As motion, not to a client that does not read it.
            Gesture::Swipe { .. } | Gesture::Pinch { .. }
                if focus.as_ref().is_none_or(|surface| !self.accepts_motion(surface)) => {}
            Gesture::Swipe { delta } => {
                pointer.gesture_swipe_update(self, &GestureSwipeUpdateEvent { time, delta });
            }
            Gesture::Pinch { delta, scale, rotation } => {
                let event = GesturePinchUpdateEvent { time, delta, scale, rotation };
                pointer.gesture_pinch_update(self, &event);
            }
            Gesture::End { kind, cancelled } => match kind {
                GestureKind::Swipe => {
                    pointer.gesture_swipe_end(self, &GestureSwipeEndEvent { serial, time, cancelled });
                }
                GestureKind::Pinch => {
                    pointer.gesture_pinch_end(self, &GesturePinchEndEvent { serial, time, cancelled });
                }
                GestureKind::Hold => {
                    pointer.gesture_hold_end(self, &GestureHoldEndEvent { serial, time, cancelled });
                }
            },
        }
    }
}
