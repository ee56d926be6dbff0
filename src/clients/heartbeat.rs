//! The liveness of one connection, as a state machine.
//!
//! ```text
//!            Received          Deadline: no reply           Deadline: policy
//!  Accepted ──────────> Alive ───────────────────> Unresponsive ───────> Lost ──> Closed
//!     │                 ^ │ ^       Received            │                 │ ^
//!     │                 │ │ └───────────────────────────┘       Resumed   │ │ Broken, kept
//!     │                 └─│───────────────────────────────────────────────┘ │
//!     │                   └─────────────────────────────────────────────────┘
//!     └──────── Deadline: no handshake ──────────────────────────────────> Closed
//! ```
//!
//! Every message from the client proves that it is alive, so a busy client is never pinged. An idle
//! one is pinged. If it does not reply, it is first unresponsive, and then lost if the policy
//! closes such clients. `Lost` ends by resuming (control sessions that are kept) or by `Closed`.
//! From any state, [`Event::Close`] leads to `Closed`.

use std::time::Duration;

use geom_ipc::CloseReason;

/// Time since the epoch of the monotonic clock.
pub type Time = Duration;

/// The configured times, and what the connection can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatTimeouts {
    /// Time without a message from the client before it is pinged.
    pub interval: Duration,
    /// Time from an unanswered ping to `Unresponsive`.
    pub unresponsive: Duration,
    /// Time from an unanswered ping to `Lost`; `None` if the policy waits without end.
    pub lost: Option<Duration>,
    /// The client can be pinged.
    pub pingable: bool,
    /// The client has to send something within `unresponsive` after it connected.
    pub handshake: bool,
}

/// The liveness of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// The client has not sent anything yet.
    Accepted {
        since: Time,
    },
    Alive {
        last_received: Time,
        /// When the ping was sent that is not answered yet.
        pinged: Option<Time>,
    },
    Unresponsive {
        last_received: Time,
        pinged: Time,
    },
    /// The socket broke or the client was given up. What belongs to it is kept.
    Lost {
        since: Time,
    },
    Closed(CloseReason),
}

/// What can happen to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The client sent something.
    Received,
    /// The time that [`Liveness::deadline`] returned has come, or an earlier one.
    Deadline,
    /// Another component or a control client wants to know now whether the client is alive.
    PingRequested,
    /// The socket broke, and the session is kept.
    Broken,
    /// The client came back.
    Resumed,
    Close(CloseReason),
}

/// What to do about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    None,
    Ping,
    /// The client stopped replying: show that, withhold input, publish it.
    MarkUnresponsive,
    /// The client replies again: undo that.
    MarkResponsive,
    /// Apply the policy for lost clients.
    GiveUp,
    Resume,
    Close(CloseReason),
}

/// Pings are sent at multiples of this fraction of the interval, so that idle connections share
/// wake-ups.
const PINGS_PER_INTERVAL: u32 = 10;

impl Liveness {
    /// Returns when to bring [`Event::Deadline`], at the latest; `None` if nothing runs out.
    pub fn deadline(self, timeouts: &HeartbeatTimeouts) -> Option<Time> {
        match self {
            Self::Accepted { since } => timeouts.handshake.then_some(since + timeouts.unresponsive),
            Self::Alive { last_received, pinged: None } => timeouts
                .pingable
                .then(|| round_up(last_received + timeouts.interval, timeouts.interval / PINGS_PER_INTERVAL)),
            Self::Alive { pinged: Some(pinged), .. } => Some(pinged + timeouts.unresponsive),
            Self::Unresponsive { pinged, .. } => {
                timeouts.lost.map(|lost| pinged + lost.max(timeouts.unresponsive))
            }
            Self::Lost { .. } | Self::Closed(_) => None,
        }
    }

    /// Returns when the client last sent something.
    pub fn last_received(self) -> Option<Time> {
        match self {
            Self::Accepted { since: time }
            | Self::Alive { last_received: time, .. }
            | Self::Unresponsive { last_received: time, .. }
            | Self::Lost { since: time } => Some(time),
            Self::Closed(_) => None,
        }
    }

    pub fn on(self, event: Event, now: Time, timeouts: &HeartbeatTimeouts) -> (Self, Action) {
        let due = self.deadline(timeouts).is_some_and(|deadline| now >= deadline);
        match (self, event) {
            (Self::Closed(_), _) => (self, Action::None),
            (_, Event::Close(reason)) => (Self::Closed(reason), Action::Close(reason)),
            (Self::Lost { .. }, Event::Resumed) => {
                (Self::Alive { last_received: now, pinged: None }, Action::Resume)
            }
            (Self::Lost { .. }, _) => (self, Action::None),
            (_, Event::Broken) => (Self::Lost { since: now }, Action::GiveUp),

            (Self::Unresponsive { .. }, Event::Received) => {
                (Self::Alive { last_received: now, pinged: None }, Action::MarkResponsive)
            }
            (_, Event::Received) => (Self::Alive { last_received: now, pinged: None }, Action::None),

            (Self::Alive { last_received, pinged: None }, Event::PingRequested) if timeouts.pingable => {
                (Self::Alive { last_received, pinged: Some(now) }, Action::Ping)
            }

            (Self::Accepted { .. }, Event::Deadline) if due => {
                let reason = CloseReason::HeartbeatTimeout;
                (Self::Closed(reason), Action::Close(reason))
            }
            (Self::Alive { last_received, pinged: None }, Event::Deadline) if due => {
                (Self::Alive { last_received, pinged: Some(now) }, Action::Ping)
            }
            (Self::Alive { last_received, pinged: Some(pinged) }, Event::Deadline) if due => {
                (Self::Unresponsive { last_received, pinged }, Action::MarkUnresponsive)
            }
            (Self::Unresponsive { .. }, Event::Deadline) if due => {
                (Self::Lost { since: now }, Action::GiveUp)
            }
            _ => (self, Action::None),
        }
    }
}

/// Returns the first multiple of `step` that is not before `time`.
fn round_up(time: Time, step: Duration) -> Time {
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
    const TIMEOUTS: HeartbeatTimeouts = HeartbeatTimeouts {
        interval: Duration::from_secs(10),
        unresponsive: Duration::from_secs(10),
        lost: Some(Duration::from_secs(60)),
        pingable: true,
        handshake: false,
    };

    #[test]
    fn idle_client_is_pinged_then_unresponsive_then_given_up() {
        let mut at = SECOND * 100;
        let mut connection = Liveness::Accepted { since: at }.on(Event::Received, at, &TIMEOUTS).0;
        let mut actions = Vec::new();
        while let Some(deadline) = connection.deadline(&TIMEOUTS) {
            at = deadline;
            let (next, action) = connection.on(Event::Deadline, at, &TIMEOUTS);
            actions.push((at.as_secs(), action));
            connection = next;
        }
        assert_eq!(actions, [(110, Action::Ping), (120, Action::MarkUnresponsive), (170, Action::GiveUp)]);
    }

    #[test]
    fn idle_connections_are_pinged_together() {
        let pinged =
            |last_received: Duration| Liveness::Alive { last_received, pinged: None }.deadline(&TIMEOUTS);
        assert_eq!(pinged(SECOND * 5 + SECOND / 3), pinged(SECOND * 6));
    }

    #[test]
    fn client_without_handshake_is_closed() {
        let timeouts = HeartbeatTimeouts { handshake: true, ..TIMEOUTS };
        let accepted = Liveness::Accepted { since: SECOND };
        assert_eq!(accepted.deadline(&timeouts), Some(SECOND * 11));
        let reason = CloseReason::HeartbeatTimeout;
        assert_eq!(accepted.on(Event::Deadline, SECOND * 11, &timeouts).1, Action::Close(reason));
        assert_eq!(accepted.deadline(&TIMEOUTS), None);
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Received),
            6 => Just(Event::Deadline),
            1 => Just(Event::PingRequested),
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
        /// Any history of events.
        #[test]
        fn invariants_hold_for_any_history(timeouts in timeouts(), history in prop::collection::vec((event(), 0u64..30_000), 1..200)) {
            let history = history.into_iter().map(|(event, later)| (event, Duration::from_millis(later)));
            prop_assert_eq!(invariants::hold(&timeouts, history), Ok(()));
        }

        /// Without messages, a bounded number of deadlines leads to a state without one.
        #[test]
        fn deadlines_end_without_messages(timeouts in timeouts()) {
            let mut connection = Liveness::Alive { last_received: SECOND, pinged: None };
            for _ in 0..4 {
                if let Some(deadline) = connection.deadline(&timeouts) {
                    connection = connection.on(Event::Deadline, deadline, &timeouts).0;
                }
            }
            prop_assert_eq!(connection.deadline(&timeouts), None);
        }
    }
}
