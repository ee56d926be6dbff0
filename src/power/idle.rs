//! How long nobody has given a sign of life, and who waits for that. Pure: time is told, and devices are elsewhere.

use std::time::Duration;

/// Somebody who wants to know when nobody has been there for some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleTimer {
    pub timeout: Duration,
    /// Whether programs may hold it off (idle-inhibit).
    pub yields: bool,
    /// Nobody has been there for that long.
    pub idle: bool,
}

impl IdleTimer {
    pub fn new(timeout: Duration, yields: bool) -> Self {
        Self { timeout, yields, idle: false }
    }
}

/// The latest signs of life, on the monotonic clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Idle {
    input: Duration,
    /// The latest time at which a program was known to hold idleness off.
    held: Duration,
}

impl Idle {
    /// Somebody is there.
    pub fn input(&mut self, now: Duration) {
        self.input = now;
    }

    /// A program holds idleness off, or has just ceased to.
    pub fn hold(&mut self, now: Duration) {
        self.held = now;
    }

    fn due(&self, watch: &IdleTimer) -> Duration {
        let since = if watch.yields { self.input.max(self.held) } else { self.input };
        since + watch.timeout
    }

    /// Whether this one's time has come.
    pub fn is_due(&self, watch: &IdleTimer, now: Duration) -> bool {
        !watch.idle && self.due(watch) <= now
    }

    /// The next time at which one of them may be due.
    pub fn next<'a>(&self, watches: impl Iterator<Item = &'a IdleTimer>) -> Option<Duration> {
        watches.filter(|watch| !watch.idle).map(|watch| self.due(watch)).min()
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
        Hold,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![3 => (1u64..40).prop_map(Step::Wait), 1 => Just(Step::Input), 1 => Just(Step::Hold)]
    }

    proptest! {
        /// Looked at when it says and never between, each watch is due exactly when its time has passed without what counts for it.
        #[test]
        fn due_when_its_time_has_passed(steps in prop::collection::vec(step(), 1..60), timeout in 1u64..60, yields in any::<bool>()) {
            let seconds = Duration::from_secs;
            let mut watch = IdleTimer::new(seconds(timeout), yields);
            let mut idle = Idle::default();
            let (mut now, mut quiet_since) = (0, 0);
            for step in steps {
                match step {
                    Step::Wait(wait) => {
                        let until = now + wait;
                        let expected = quiet_since + timeout;
                        if let Some(at) = idle.next([watch].iter()) {
                            prop_assert_eq!(at, seconds(expected));
                            prop_assert!(!idle.is_due(&watch, at - Duration::from_nanos(1)));
                            if at <= seconds(until) {
                                prop_assert!(idle.is_due(&watch, at));
                                watch.idle = true;
                            }
                        } else {
                            prop_assert!(watch.idle);
                        }
                        now = until;
                    }
                    Step::Input => {
                        idle.input(seconds(now));
                        watch.idle = false;
                        quiet_since = now;
                    }
                    Step::Hold => {
                        idle.hold(seconds(now));
                        if yields && !watch.idle {
                            quiet_since = now;
                        }
                    }
                }
            }
        }
    }
}
