//! A finger that rests is a right click, if the configuration says so. Pure.
//!
//! ```text
//!            first finger down            time is over
//!   nothing ------------------> resting ----------------> clicked
//!      ^                           |                         |
//!      +---------------------------+-------------------------+
//!        it moves or is lifted,         it is lifted
//!        another finger comes
//! ```

use std::time::Duration;

use smithay::backend::input::TouchSlot;
use smithay::utils::{Logical, Point};

/// How far a finger that rests may move, in logical pixels.
const MAX_MOVE: f64 = 10.0;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Finger {
    slot: TouchSlot,
    location: Point<f64, Logical>,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum State {
    #[default]
    Nothing,
    Resting {
        finger: Finger,
        until: Duration,
    },
    Clicked(Finger),
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct LongPress(State);

impl LongPress {
    /// A finger touches a client's surface. `count` is the number of fingers that are down, this
    /// one included, `after` the configured time. Returns when [`LongPress::due`] is to be called.
    pub fn down(
        &mut self,
        slot: TouchSlot,
        location: Point<f64, Logical>,
        count: usize,
        after: Option<Duration>,
        now: Duration,
    ) -> Option<Duration> {
        if matches!(self.0, State::Clicked(_)) {
            return None;
        }
        self.0 = State::Nothing;
        let until = now.saturating_add(after.filter(|_| count == 1)?);
        self.0 = State::Resting { finger: Finger { slot, location }, until };
        Some(until)
    }

    /// A finger moves to a location.
    pub fn moved(&mut self, slot: TouchSlot, location: Point<f64, Logical>) {
        let State::Resting { finger, .. } = self.0 else { return };
        let moved = location - finger.location;
        if finger.slot == slot && moved.x.hypot(moved.y) > MAX_MOVE {
            self.0 = State::Nothing;
        }
    }

    /// A finger is lifted, or its touch was cancelled by its device. Returns whether the right
    /// button is to be released.
    pub fn up(&mut self, slot: TouchSlot) -> bool {
        match self.0 {
            State::Resting { finger, .. } if finger.slot == slot => self.0 = State::Nothing,
            State::Clicked(finger) if finger.slot == slot => {
                self.0 = State::Nothing;
                return true;
            }
            _ => {}
        }
        false
    }

    /// Returns whether the right button is held by a finger.
    pub fn is_clicked(&self) -> bool {
        matches!(self.0, State::Clicked(_))
    }

    /// Returns whether another finger than this one is resting.
    pub fn is_resting_without(&self, slot: TouchSlot) -> bool {
        matches!(self.0, State::Resting { finger, .. } if finger.slot != slot)
    }

    /// Time has passed. Returns the finger that has rested long enough, and where: its touch is to
    /// be cancelled, and the right button to be pressed there.
    pub fn due(&mut self, now: Duration) -> Option<(TouchSlot, Point<f64, Logical>)> {
        let State::Resting { finger, until } = self.0 else { return None };
        if now < until {
            return None;
        }
        self.0 = State::Clicked(finger);
        Some((finger.slot, finger.location))
    }

    /// The press of the right button had no effect: there is nothing to release.
    pub fn forget(&mut self) {
        self.0 = State::Nothing;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AFTER: Option<Duration> = Some(Duration::from_millis(700));

    fn slot(number: u32) -> TouchSlot {
        TouchSlot::from(Some(number))
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn finger_that_rests_is_a_click_until_it_is_lifted() {
        let mut press = LongPress::default();
        assert_eq!(press.down(slot(0), (50.0, 60.0).into(), 1, AFTER, at(1000)), Some(at(1700)));
        press.moved(slot(0), (55.0, 65.0).into());
        assert_eq!(press.due(at(1699)), None);
        assert_eq!(press.due(at(1700)), Some((slot(0), (50.0, 60.0).into())));
        assert_eq!(press.due(at(1800)), None, "once");
        press.moved(slot(0), (500.0, 600.0).into());
        assert_eq!(press.down(slot(1), (0.0, 0.0).into(), 2, AFTER, at(1900)), None);
        assert!(!press.up(slot(1)) && press.up(slot(0)) && !press.up(slot(0)));
    }

    #[test]
    fn motion_lift_and_second_finger_end_it() {
        let rested = |change: fn(&mut LongPress)| {
            let mut press = LongPress::default();
            press.down(slot(0), (50.0, 60.0).into(), 1, AFTER, at(0));
            change(&mut press);
            press.due(at(2000)).is_some()
        };
        assert!(rested(|_| {}));
        assert!(rested(|press| press.moved(slot(1), (500.0, 60.0).into())), "another finger moves");
        assert!(!rested(|press| press.moved(slot(0), (50.0, 71.0).into())));
        assert!(!rested(|press| {
            press.up(slot(0));
        }));
        assert!(!rested(|press| {
            press.down(slot(1), (0.0, 0.0).into(), 2, AFTER, at(1));
        }));
        // Not configured.
        assert_eq!(LongPress::default().down(slot(0), (0.0, 0.0).into(), 1, None, at(0)), None);
    }

    #[derive(Debug, Clone, Copy)]
    enum Event {
        Down(u32),
        Move(u32, f64),
        Up(u32),
        Wait(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0..3u32).prop_map(Event::Down),
            (0..3u32, 0.0..20.0).prop_map(|(slot, x)| Event::Move(slot, x)),
            (0..3u32).prop_map(Event::Up),
            (0..800u64).prop_map(Event::Wait),
        ]
    }

    proptest! {
        /// Each press of the button is released once, by the finger that caused it, and no other
        /// one begins before that.
        #[test]
        fn each_click_is_released(events in prop::collection::vec(event(), 0..200)) {
            let (mut press, mut now) = (LongPress::default(), 0);
            let (mut down, mut clicked) = (Vec::new(), None);
            for event in events {
                match event {
                    Event::Down(finger) if !down.contains(&finger) => {
                        down.push(finger);
                        press.down(slot(finger), (0.0, 0.0).into(), down.len(), AFTER, at(now));
                    }
                    Event::Down(_) => {}
                    Event::Move(finger, x) => press.moved(slot(finger), (x, 0.0).into()),
                    Event::Up(finger) => {
                        down.retain(|other| *other != finger);
                        let released = press.up(slot(finger));
                        prop_assert_eq!(released, clicked == Some(slot(finger)));
                        if released {
                            clicked = None;
                        }
                    }
                    Event::Wait(millis) => now += millis,
                }
                if let Some((finger, _)) = press.due(at(now)) {
                    prop_assert!(clicked.is_none() && down.iter().any(|down| slot(*down) == finger));
                    clicked = Some(finger);
                }
            }
        }
    }
}
