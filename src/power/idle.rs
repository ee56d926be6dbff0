//! Time since the last input, and the timers that wait for it. Pure: time is an argument.

use std::time::Duration;

/// Identifies a client's idle timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleTimerId(pub(super) u64);

/// A timer that runs out after a time without input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleTimer {
    timeout: Duration,
    /// Inhibitors (idle-inhibit) hold the timer off.
    is_inhibitable: bool,
    /// The timer has run out, and there was no input since.
    pub(super) is_idle: bool,
}

impl IdleTimer {
    /// Returns a timer that has not run out.
    pub fn new(timeout: Duration, is_inhibitable: bool) -> Self {
        Self { timeout, is_inhibitable, is_idle: false }
    }
}

/// The latest times that idle timers count from, on the monotonic clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Idle {
    last_input: Duration,
    /// The latest time at which an inhibitor was in effect.
    last_inhibited: Duration,
}

impl Idle {
    /// Notes input from the user.
    pub fn note_input(&mut self, now: Duration) {
        self.last_input = now;
    }

    /// Notes that an inhibitor is in effect, or was until now.
    pub fn note_inhibited(&mut self, now: Duration) {
        self.last_inhibited = now;
    }

    fn due(&self, timer: &IdleTimer) -> Duration {
        let since = match timer.is_inhibitable {
            true => self.last_input.max(self.last_inhibited),
            false => self.last_input,
        };
        since + timer.timeout
    }

    /// Returns whether a timer runs out now.
    pub fn is_due(&self, timer: &IdleTimer, now: Duration) -> bool {
        !timer.is_idle && self.due(timer) <= now
    }

    /// Returns the time at which the first of the timers may run out.
    pub fn next<'a>(&self, timers: impl Iterator<Item = &'a IdleTimer>) -> Option<Duration> {
        timers.filter(|timer| !timer.is_idle).map(|timer| self.due(timer)).min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Wait(u64),
        Input,
        Inhibit,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![3 => (1u64..40).prop_map(Step::Wait), 1 => Just(Step::Input), 1 => Just(Step::Inhibit)]
    }

    proptest! {
        /// Checked at the times that `next` returns and never in between, a timer runs out exactly
        /// when its timeout has passed without input and, if it is inhibitable, without an
        /// inhibitor.
        #[test]
        fn timer_runs_out_after_its_timeout_without_input(
            steps in prop::collection::vec(step(), 1..60),
            timeout in 1u64..60,
            is_inhibitable in any::<bool>(),
        ) {
            let seconds = Duration::from_secs;
            let mut timer = IdleTimer::new(seconds(timeout), is_inhibitable);
            let mut idle = Idle::default();
            let (mut now, mut quiet_since) = (0, 0);
            for step in steps {
                match step {
                    Step::Wait(wait) => {
                        let until = now + wait;
                        let expected = quiet_since + timeout;
                        if let Some(at) = idle.next([timer].iter()) {
                            prop_assert_eq!(at, seconds(expected));
                            prop_assert!(!idle.is_due(&timer, at - Duration::from_nanos(1)));
                            if at <= seconds(until) {
                                prop_assert!(idle.is_due(&timer, at));
                                timer.is_idle = true;
                            }
                        } else {
                            prop_assert!(timer.is_idle);
                        }
                        now = until;
                    }
                    Step::Input => {
                        idle.note_input(seconds(now));
                        timer.is_idle = false;
                        quiet_since = now;
                    }
                    Step::Inhibit => {
                        idle.note_inhibited(seconds(now));
                        if is_inhibitable && !timer.is_idle {
                            quiet_since = now;
                        }
                    }
                }
            }
        }
    }
}
