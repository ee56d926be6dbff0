//! Whether the cursor is shown while `[cursor] visible` is `"auto"`. Pure.
//!
//! ```text
//!            used: motion, button, scroll
//!   ┌────────┐ ─────────────────────────────────> ┌───────┐ ──┐ used
//!   │ hidden │                                    │ shown │ <─┘
//!   └────────┘ <───────────────────────────────── └───────┘
//!     (start)   touched, no pointing device any more,
//!               not used for `hide_after`
//! ```
//!
//! Many things count as a pointing device and are never moved: the receiver of a keyboard, a
//! monitor's "consumer control", a KVM switch. So a device alone shows no cursor.
//!
//! While the cursor is hidden no timer is armed: it costs no wake-up.

use std::time::Duration;

use crate::config::{Cursor, CursorVisible};

/// What happens to the pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorEvent {
    /// A pointing device moved, pressed a button or scrolled.
    Used,
    /// A finger or a pen touched a screen.
    Touched,
    /// The last pointing device is gone.
    Gone,
    /// The timer that was armed last is due.
    Due,
}

/// What follows from an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CursorEffects {
    /// The cursor appeared or disappeared.
    pub changed: bool,
    /// Arm the timer for this time of the monotonic clock, in place of the one that is armed.
    pub arm: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Hidden,
    /// The time of the last use.
    Shown(Duration),
}

/// See the [module](self).
#[derive(Debug)]
pub struct CursorVisibility {
    visible: CursorVisible,
    /// Zero: never.
    hide_after: Duration,
    state: State,
    /// When the armed timer is due.
    armed: Option<Duration>,
}

impl CursorVisibility {
    /// Makes the state before the first motion.
    pub fn new(config: &Cursor) -> Self {
        Self { visible: config.visible, hide_after: config.hide_after, state: State::Hidden, armed: None }
    }

    /// Returns whether the cursor is shown, if there is a pointing device.
    pub fn is_visible(&self) -> bool {
        match self.visible {
            CursorVisible::Auto => self.state != State::Hidden,
            CursorVisible::Always => true,
            CursorVisible::Never => false,
        }
    }

    /// Returns whether a cursor may be shown at all, that of a pen included.
    pub fn is_allowed(&self) -> bool {
        self.visible != CursorVisible::Never
    }

    /// Applies a changed configuration.
    pub fn configure(&mut self, config: &Cursor) -> CursorEffects {
        let before = self.is_visible();
        (self.visible, self.hide_after) = (config.visible, config.hide_after);
        // A timer of the former time must neither come too late nor be waited for.
        self.armed = None;
        CursorEffects { changed: self.is_visible() != before, arm: self.arm() }
    }

    /// Handles an event at a time of the monotonic clock.
    pub fn on(&mut self, event: CursorEvent, now: Duration) -> CursorEffects {
        let before = self.is_visible();
        match event {
            CursorEvent::Used => self.state = State::Shown(now),
            CursorEvent::Touched | CursorEvent::Gone => self.state = State::Hidden,
            CursorEvent::Due => {
                self.armed = None;
                if self.hides_at().is_some_and(|at| at <= now) {
                    self.state = State::Hidden;
                }
            }
        }
        CursorEffects { changed: self.is_visible() != before, arm: self.arm() }
    }

    /// Returns when the cursor is to be hidden, if it is not used until then.
    fn hides_at(&self) -> Option<Duration> {
        match self.state {
            State::Shown(used) if self.visible == CursorVisible::Auto && !self.hide_after.is_zero() => {
                Some(used + self.hide_after)
            }
            _ => None,
        }
    }

    /// Returns the time to arm the timer for. One that is armed is waited for: to arm it again with
    /// each motion would be more work than one wake-up per `hide_after`.
    fn arm(&mut self) -> Option<Duration> {
        let at = self.hides_at().filter(|_| self.armed.is_none())?;
        self.armed = Some(at);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODES: [CursorVisible; 3] = [CursorVisible::Auto, CursorVisible::Always, CursorVisible::Never];

    fn config(visible: CursorVisible, seconds: u64) -> Cursor {
        Cursor { visible, hide_after: Duration::from_secs(seconds), ..Cursor::default() }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn cursor_is_hidden_until_a_pointer_is_used_and_after_a_touch() {
        let mut cursor = CursorVisibility::new(&config(CursorVisible::Auto, 0));
        assert!(!cursor.is_visible());
        let shown = cursor.on(CursorEvent::Used, seconds(1));
        assert_eq!(shown, CursorEffects { changed: true, arm: None }, "without a time no timer");
        assert!(cursor.is_visible());
        assert_eq!(cursor.on(CursorEvent::Used, seconds(2)), CursorEffects::default());
        assert!(cursor.on(CursorEvent::Touched, seconds(3)).changed && !cursor.is_visible());
        assert!(!cursor.on(CursorEvent::Touched, seconds(3)).changed);
        assert!(cursor.on(CursorEvent::Used, seconds(4)).changed && cursor.is_visible());
        // A KVM switch takes the mouse away: it may come back as one that is never moved.
        assert!(cursor.on(CursorEvent::Gone, seconds(5)).changed && !cursor.is_visible());
    }

    #[test]
    fn cursor_that_is_not_used_is_hidden_by_one_timer() {
        let mut cursor = CursorVisibility::new(&config(CursorVisible::Auto, 3));
        assert_eq!(cursor.on(CursorEvent::Used, seconds(10)).arm, Some(seconds(13)));
        assert_eq!(cursor.on(CursorEvent::Used, seconds(12)).arm, None, "armed already");
        let early = cursor.on(CursorEvent::Due, seconds(13));
        assert_eq!(early, CursorEffects { changed: false, arm: Some(seconds(15)) });
        let hidden = cursor.on(CursorEvent::Due, seconds(15));
        assert_eq!(hidden, CursorEffects { changed: true, arm: None }, "no wake-up while it is hidden");
        // A touch while the timer is armed: it finds nothing to do.
        assert!(cursor.on(CursorEvent::Used, seconds(20)).arm.is_some());
        cursor.on(CursorEvent::Touched, seconds(21));
        assert_eq!(cursor.on(CursorEvent::Due, seconds(23)), CursorEffects::default());
    }

    #[test]
    fn changed_configuration_applies_at_once() {
        let mut cursor = CursorVisibility::new(&config(CursorVisible::Always, 0));
        assert!(cursor.is_visible());
        assert!(cursor.configure(&config(CursorVisible::Never, 0)).changed && !cursor.is_visible());
        assert_eq!(cursor.on(CursorEvent::Used, seconds(1)), CursorEffects::default());
        let effects = cursor.configure(&config(CursorVisible::Auto, 60));
        assert_eq!(effects, CursorEffects { changed: true, arm: Some(seconds(61)) });
        let effects = cursor.configure(&config(CursorVisible::Auto, 2));
        assert_eq!(effects, CursorEffects { changed: false, arm: Some(seconds(3)) }, "sooner");
    }

    fn event() -> impl Strategy<Value = CursorEvent> {
        prop_oneof![Just(CursorEvent::Used), Just(CursorEvent::Touched), Just(CursorEvent::Gone)]
    }

    proptest! {
        /// In any order of events, with a timer that is due at the time that was asked for: the
        /// cursor is shown exactly if its last event was its use and that is recent enough; each
        /// change is reported; and no timer is left when the cursor has been hidden for its time.
        #[test]
        fn cursor_is_shown_exactly_while_it_is_used(
            mode in prop::sample::select(&MODES[..]),
            hide_after in 0u64..5,
            steps in prop::collection::vec((event(), 0u64..4), 0..60),
        ) {
            let mut cursor = CursorVisibility::new(&config(mode, hide_after));
            let (mut now, mut timer, mut was_visible) = (seconds(1), None, cursor.is_visible());
            let mut used: Option<Duration> = None;
            let last = steps.len();
            for (step, (event, wait)) in steps.into_iter().chain([(CursorEvent::Gone, 100)]).enumerate() {
                now += seconds(wait);
                while let Some(at) = timer.filter(|at| *at <= now) {
                    let effects = cursor.on(CursorEvent::Due, at);
                    prop_assert_eq!(effects.changed, cursor.is_visible() != was_visible);
                    was_visible = cursor.is_visible();
                    timer = effects.arm;
                }
                if step == last {
                    prop_assert_eq!(timer, None);
                    break;
                }
                let effects = cursor.on(event, now);
                prop_assert_eq!(effects.changed, cursor.is_visible() != was_visible);
                was_visible = cursor.is_visible();
                if let Some(at) = effects.arm {
                    prop_assert!(timer.is_none() && at > now && mode == CursorVisible::Auto);
                    timer = Some(at);
                }
                used = (event == CursorEvent::Used).then_some(now);
                let is_recent = used.is_some_and(|used| hide_after == 0 || now < used + seconds(hide_after));
                let expected = match mode {
                    CursorVisible::Auto => is_recent,
                    CursorVisible::Always => true,
                    CursorVisible::Never => false,
                };
                prop_assert_eq!(was_visible, expected);
            }
            let _ = used;
        }
    }
}
