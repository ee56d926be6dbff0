//! One connection's life, as a state machine.
//!
//! ```text
//!              Heard             Deadline: unanswered          Deadline: policy
//!  Accepted ──────────> Alive ─────────────────────> Unresponsive ───────> Lost ──> Closed
//!     │                 ^ │ ^         Heard               │                 │ ^
//!     │                 │ │ └─────────────────────────────┘        Resumed  │ │ Broken, kept
//!     │                 └─│─────────────────────────────────────────────────┘ │
//!     │                   └───────────────────────────────────────────────────┘
//!     └──────── Deadline: no handshake ────────────────────────────────────> Closed
//! ```
//!
//! Whatever a connection sends counts as life, so a busy one is never asked. A silent one is pinged; without an
//! answer it is first unresponsive, then, where the policy closes such clients, lost. `Lost` is left by
//! resuming (control sessions that are kept) or for good. Any state ends in `Closed` when it is told to.

use std::time::Duration;

use geom_ipc::CloseReason;

/// Time since the monotonic clock's epoch.
pub type Time = Duration;

/// Times that are configured, and what the connection can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatTimeouts {
    /// Silence after which it is pinged.
    pub interval: Duration,
    /// From an unanswered ping to `Unresponsive`.
    pub unresponsive: Duration,
    /// From an unanswered ping to `Lost`; none where the policy waits for ever.
    pub lost: Option<Duration>,
    /// It can be asked for a sign of life.
    pub pingable: bool,
    /// It must say something within `unresponsive` of connecting.
    pub handshake: bool,
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Nothing was said yet.
    Accepted {
        since: Time,
    },
    Alive {
        heard: Time,
        /// A ping is unanswered since then.
        pinged: Option<Time>,
    },
    Unresponsive {
        heard: Time,
        pinged: Time,
    },
    /// Its socket is broken or given up; what belongs to it waits.
    Lost {
        since: Time,
    },
    Closed(CloseReason),
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It sent anything at all.
    Heard,
    /// The time that [`Liveness::deadline`] named has come, or an earlier one.
    Deadline,
    /// Somebody wants a sign of life now.
    Ask,
    /// Its socket broke, and it is kept for resuming.
    Broken,
    /// It came back.
    Resumed,
    Close(CloseReason),
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    None,
    Ping,
    /// It stopped answering: show it, spare it input, tell.
    MarkUnresponsive,
    /// It answers again: undo that.
    MarkResponsive,
    /// It is given up.
    GiveUp,
    Resume,
    Close(CloseReason),
}

/// Pings are sent at multiples of this share of the interval, so that silent connections share wake-ups.
const SHARE: u32 = 10;

impl Liveness {
    /// When to bring [`Event::Deadline`], at the latest; none where nothing runs out.
    pub fn deadline(self, timeouts: &HeartbeatTimeouts) -> Option<Time> {
        match self {
            Self::Accepted { since } => timeouts.handshake.then_some(since + timeouts.unresponsive),
            Self::Alive { heard, pinged: None } => {
                timeouts.pingable.then(|| shared(heard + timeouts.interval, timeouts.interval / SHARE))
            }
            Self::Alive { pinged: Some(pinged), .. } => Some(pinged + timeouts.unresponsive),
            Self::Unresponsive { pinged, .. } => timeouts.lost.map(|lost| pinged + lost.max(timeouts.unresponsive)),
            Self::Lost { .. } | Self::Closed(_) => None,
        }
    }

    /// When it was last heard of.
    pub fn heard(self) -> Option<Time> {
        match self {
            Self::Accepted { since: time }
            | Self::Alive { heard: time, .. }
            | Self::Unresponsive { heard: time, .. }
            | Self::Lost { since: time } => Some(time),
            Self::Closed(_) => None,
        }
    }

    pub fn on(self, event: Event, now: Time, timeouts: &HeartbeatTimeouts) -> (Self, Action) {
        let due = self.deadline(timeouts).is_some_and(|deadline| now >= deadline);
        match (self, event) {
            (Self::Closed(_), _) => (self, Action::None),
            (_, Event::Close(reason)) => (Self::Closed(reason), Action::Close(reason)),
            (Self::Lost { .. }, Event::Resumed) => (Self::Alive { heard: now, pinged: None }, Action::Resume),
            (Self::Lost { .. }, _) => (self, Action::None),
            (_, Event::Broken) => (Self::Lost { since: now }, Action::GiveUp),

            (Self::Unresponsive { .. }, Event::Heard) => {
                (Self::Alive { heard: now, pinged: None }, Action::MarkResponsive)
            }
            (_, Event::Heard) => (Self::Alive { heard: now, pinged: None }, Action::None),

            (Self::Alive { heard, pinged: None }, Event::Ask) if timeouts.pingable => {
                (Self::Alive { heard, pinged: Some(now) }, Action::Ping)
            }

            (Self::Accepted { .. }, Event::Deadline) if due => {
                let reason = CloseReason::HeartbeatTimeout;
                (Self::Closed(reason), Action::Close(reason))
            }
            (Self::Alive { heard, pinged: None }, Event::Deadline) if due => {
                (Self::Alive { heard, pinged: Some(now) }, Action::Ping)
            }
            (Self::Alive { heard, pinged: Some(pinged) }, Event::Deadline) if due => {
                (Self::Unresponsive { heard, pinged }, Action::MarkUnresponsive)
            }
            (Self::Unresponsive { .. }, Event::Deadline) if due => (Self::Lost { since: now }, Action::GiveUp),
            _ => (self, Action::None),
        }
    }
}

/// The first multiple of `step` that is not before `time`.
fn shared(time: Time, step: Duration) -> Time {
    let step = step.as_nanos().max(1);
    let steps = time.as_nanos().div_ceil(step);
    Duration::from_nanos(u64::try_from(steps * step).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clients::invariants;

    const SECOND: Duration = Duration::from_secs(1);
    const TERMS: HeartbeatTimeouts = HeartbeatTimeouts {
        interval: Duration::from_secs(10),
        unresponsive: Duration::from_secs(10),
        lost: Some(Duration::from_secs(60)),
        pingable: true,
        handshake: false,
    };

    #[test]
    fn silence_is_asked_about_shown_and_given_up() {
        let mut at = SECOND * 100;
        let mut connection = Liveness::Accepted { since: at }.on(Event::Heard, at, &TERMS).0;
        let mut actions = Vec::new();
        while let Some(deadline) = connection.deadline(&TERMS) {
            at = deadline;
            let (next, action) = connection.on(Event::Deadline, at, &TERMS);
            actions.push((at.as_secs(), action));
            connection = next;
        }
        assert_eq!(actions, [(110, Action::Ping), (120, Action::MarkUnresponsive), (170, Action::GiveUp)]);
    }

    #[test]
    fn silent_connections_are_asked_together() {
        let asked = |heard: Duration| Liveness::Alive { heard, pinged: None }.deadline(&TERMS);
        assert_eq!(asked(SECOND * 5 + SECOND / 3), asked(SECOND * 6));
    }

    #[test]
    fn who_says_nothing_at_all_is_cut() {
        let timeouts = HeartbeatTimeouts { handshake: true, ..TERMS };
        let accepted = Liveness::Accepted { since: SECOND };
        assert_eq!(accepted.deadline(&timeouts), Some(SECOND * 11));
        let reason = CloseReason::HeartbeatTimeout;
        assert_eq!(accepted.on(Event::Deadline, SECOND * 11, &timeouts).1, Action::Close(reason));
        assert_eq!(accepted.deadline(&TERMS), None);
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Heard),
            6 => Just(Event::Deadline),
            1 => Just(Event::Ask),
            1 => Just(Event::Broken),
            1 => Just(Event::Resumed),
            1 => Just(Event::Close(CloseReason::Requested)),
        ]
    }

    fn timeouts() -> impl Strategy<Value = HeartbeatTimeouts> {
        (1u64..20, 1u64..20, prop::option::of(1u64..90), any::<bool>(), any::<bool>()).prop_map(
            |(interval, unresponsive, lost, pingable, handshake)| HeartbeatTimeouts {
                interval: SECOND * interval as u32,
                unresponsive: SECOND * unresponsive as u32,
                lost: lost.map(Duration::from_secs),
                pingable,
                handshake,
            },
        )
    }

    proptest! {
        /// Whatever happens in whatever order.
        #[test]
        fn any_history(timeouts in timeouts(), history in prop::collection::vec((event(), 0u64..30_000), 1..200)) {
            let history = history.into_iter().map(|(event, later)| (event, Duration::from_millis(later)));
            prop_assert_eq!(invariants::hold(&timeouts, history), Ok(()));
        }

        /// A bounded number of deadlines leads to a state without one, or to being heard of again.
        #[test]
        fn silence_ends(timeouts in timeouts()) {
            let mut connection = Liveness::Alive { heard: SECOND, pinged: None };
            for _ in 0..4 {
                if let Some(deadline) = connection.deadline(&timeouts) {
                    connection = connection.on(Event::Deadline, deadline, &timeouts).0;
                }
            }
            prop_assert_eq!(connection.deadline(&timeouts), None);
        }
    }
}
