//! The session: libseat's seat, signals, programs to start.

pub mod active;
pub mod crash;
pub mod descriptors;
pub mod guard;
pub mod journal;
pub mod profile;
pub mod programs;
pub mod readiness;
pub mod signals;
pub mod store;

use std::time::Duration;

use anyhow::{anyhow, Result};
use smithay::backend::session::libseat::{LibSeatSession, LibSeatSessionNotifier};
use tracing::debug;

/// After a crash the seat may be the last run's still: so often it is asked for again, after so long.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// Takes the seat from seatd, logind, or directly as root (libseat's "builtin").
///
/// # Errors
/// Where none of them gives a seat; the message says what to do.
pub fn open() -> Result<(LibSeatSession, LibSeatSessionNotifier)> {
    let tries = if std::env::var_os(guard::VARIABLE).is_some() { TRIES } else { 0 };
    for _ in 0..tries {
        match LibSeatSession::new() {
            Ok(session) => return Ok(session),
            Err(error) => debug!(%error, "no seat yet"),
        }
        std::thread::sleep(PAUSE);
    }
    LibSeatSession::new().map_err(|error| {
        anyhow!(
            "no seat: {error}. geom_compositor needs one of: a running seatd whose group this user is in \
             (systemctl start seatd; usermod -aG video $USER), or a login session of logind on the machine's own \
             console, or to be root. LIBSEAT_BACKEND=seatd, logind or builtin asks for one of them. \
             Without monitors, use --backend=headless"
        )
    })
}
