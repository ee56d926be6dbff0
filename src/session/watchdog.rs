//! The guard's watchdog: decides when the service hangs, and what to do about it. Pure; the guard
//! sends the signals.
//!
//! ```text
//!   starting --beat--> beating --no beat for the limit--> aborted --1 s--> killed
//!      \--no beat for START_LIMIT--------------------------^
//! ```
//!
//! Time is that of the monotonic clock, which stops while the machine sleeps.

use std::time::{Duration, Instant};

/// The limit if no service manager gives one.
const DEFAULT_LIMIT: Duration = Duration::from_secs(10);

/// The time from start to the first beat. A start waits for seats and GPUs.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The time for a crash report after SIGABRT.
const REPORT_TIME: Duration = Duration::from_secs(1);

/// What is to be done about the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It responds, or has time left.
    None,
    /// It hangs: it must write its crash report (SIGABRT).
    Abort,
    /// It has not ended after that (SIGKILL).
    Kill,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting { since: Instant },
    Beating { last: Instant },
    Aborted { at: Instant },
    Killed,
}

/// Watches one process of the service.
#[derive(Debug, Clone, Copy)]
pub struct Watchdog {
    /// The longest time between two beats.
    limit: Duration,
    state: State,
    /// The last call of [`Watchdog::on_tick`].
    ticked: Instant,
}

impl Watchdog {
    /// Starts with a new process. `limit` is the service manager's watchdog.
    pub fn new(limit: Option<Duration>, now: Instant) -> Self {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        Self { limit, state: State::Starting { since: now }, ticked: now }
    }

    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Returns the time until the next call of [`Watchdog::on_tick`].
    pub fn interval(&self) -> Duration {
        match self.state {
            State::Aborted { .. } => REPORT_TIME,
            _ => self.limit / 4,
        }
    }

    /// The process has sent a beat (WATCHDOG=1).
    pub fn on_beat(&mut self, now: Instant) {
        if let State::Starting { .. } | State::Beating { .. } = self.state {
            self.state = State::Beating { last: now };
        }
    }

    /// Some time has passed.
    pub fn on_tick(&mut self, now: Instant) -> Action {
        // The guard itself did not run, and neither may the service have (SIGSTOP, for example).
        let was_late = now.saturating_duration_since(self.ticked) > self.limit / 2;
        self.ticked = now;
        let expired = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        let (state, action) = match self.state {
            State::Beating { .. } if was_late => (State::Beating { last: now }, Action::None),
            State::Beating { last } if expired(last, self.limit) => {
                (State::Aborted { at: now }, Action::Abort)
            }
            State::Starting { since } if expired(since, START_LIMIT.max(self.limit)) => {
                (State::Aborted { at: now }, Action::Abort)
            }
            State::Aborted { at } if expired(at, REPORT_TIME) => (State::Killed, Action::Kill),
            other => (other, Action::None),
        };
        self.state = state;
        action
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Ticks at every interval for a time. Returns the actions, with the seconds since `start`.
    fn run(watchdog: &mut Watchdog, from: Instant, time: Duration) -> Vec<(f64, Action)> {
        let (mut now, mut actions) = (from, Vec::new());
        while now < from + time {
            now += watchdog.interval();
            match watchdog.on_tick(now) {
                Action::None => {}
                action => actions.push(((now - from).as_secs_f64(), action)),
            }
        }
        actions
    }

    #[test]
    fn silent_service_is_aborted_and_then_killed() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(None, start);
        watchdog.on_beat(start);
        assert_eq!(run(&mut watchdog, start, SECOND * 60), [(10.0, Action::Abort), (11.0, Action::Kill)]);
        // A beat that was on its way does not undo that.
        watchdog.on_beat(start + SECOND * 61);
        assert_eq!(run(&mut watchdog, start + SECOND * 61, SECOND * 60), []);
    }

    #[test]
    fn beating_service_is_left_alone() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(Some(SECOND * 4), start);
        for second in 0..100 {
            let now = start + SECOND * second;
            watchdog.on_beat(now);
            assert_eq!(watchdog.on_tick(now), Action::None);
        }
    }

    #[test]
    fn start_may_take_longer_than_a_beat() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(None, start);
        assert_eq!(run(&mut watchdog, start, SECOND * 50), []);
        let mut watchdog = Watchdog::new(None, start);
        assert_eq!(run(&mut watchdog, start, SECOND * 70)[0], (60.0, Action::Abort));
    }

    #[test]
    fn service_is_not_blamed_if_the_guard_did_not_run_either() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(None, start);
        watchdog.on_beat(start);
        let later = start + SECOND * 600;
        assert_eq!(watchdog.on_tick(later), Action::None);
        assert_eq!(run(&mut watchdog, later, SECOND * 30)[0], (10.0, Action::Abort));
    }
}
