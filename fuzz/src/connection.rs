//! One connection's life, from any history.

use std::time::Duration;

use geom_compositor::clients::heartbeat::{Event, Terms};
use geom_compositor::clients::laws;
use geom_ipc::EndReason;

use crate::Broken;

/// Four bytes of terms, then two an event: what happens, and after how many tenths of a second.
///
/// # Errors
/// The law that the history broke.
pub fn connection(bytes: &[u8]) -> Result<(), Broken> {
    let [interval, unresponsive, lost, flags, history @ ..] = bytes else { return Ok(()) };
    let seconds = |byte: u8| Duration::from_secs(u64::from(byte) + 1);
    let terms = Terms {
        interval: seconds(*interval),
        unresponsive: seconds(*unresponsive),
        lost: (flags & 1 == 0).then(|| seconds(*lost)),
        pingable: flags & 2 == 0,
        handshake: flags & 4 != 0,
    };
    let events = history.chunks_exact(2).map(|pair| {
        let event = match pair[0] % 8 {
            0..=1 => Event::Heard,
            2..=3 => Event::Deadline,
            4 => Event::Ask,
            5 => Event::Broken,
            6 => Event::Resumed,
            _ => Event::Close(EndReason::Ordered),
        };
        (event, Duration::from_millis(u64::from(pair[1]) * 100))
    });
    laws::hold(&terms, events)
}
