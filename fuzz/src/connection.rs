//! The state machine of a connection, with any history.

use std::time::Duration;

use geom_compositor::internals::heartbeat::{Event, HeartbeatTimeouts};
use geom_compositor::internals::invariants;
use geom_ipc::CloseReason;

use crate::Violation;

/// Checks a history of events. Four bytes are the timeouts; then each event has two: the event, and
/// the time since the one before in units of 100 ms.
///
/// # Errors
/// If the history violates an invariant.
pub fn connection(bytes: &[u8]) -> Result<(), Violation> {
    let [interval, unresponsive, lost, flags, history @ ..] = bytes else { return Ok(()) };
    let seconds = |byte: u8| Duration::from_secs(u64::from(byte) + 1);
    let timeouts = HeartbeatTimeouts {
        interval: seconds(*interval),
        unresponsive: seconds(*unresponsive),
        lost: (flags & 1 == 0).then(|| seconds(*lost)),
        pingable: flags & 2 == 0,
        handshake: flags & 4 != 0,
    };
    let events = history.chunks_exact(2).map(|pair| {
        let event = match pair[0] % 8 {
            0..=1 => Event::Received,
            2..=3 => Event::Deadline,
            4 => Event::PingRequested,
            5 => Event::Broken,
            6 => Event::Resumed,
            _ => Event::Close(CloseReason::Requested),
        };
        (event, Duration::from_millis(u64::from(pair[1]) * 100))
    });
    invariants::hold(&timeouts, events)
}
