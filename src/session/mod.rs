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

use anyhow::{anyhow, Result};
use smithay::backend::session::libseat::{LibSeatSession, LibSeatSessionNotifier};

/// Takes the seat from seatd, logind, or directly as root (libseat's "builtin").
///
/// # Errors
/// Where none of them gives a seat; the message says what to do.
pub fn open() -> Result<(LibSeatSession, LibSeatSessionNotifier)> {
    LibSeatSession::new().map_err(|error| {
        anyhow!(
            "no seat: {error}. geom_compositor needs one of: a running seatd whose group this user is in \
             (systemctl start seatd; usermod -aG video $USER), or a login session of logind on the machine's own \
             console, or to be root. LIBSEAT_BACKEND=seatd, logind or builtin asks for one of them. \
             Without monitors, use --backend=headless"
        )
    })
}
