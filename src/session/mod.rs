//! The process and its session: the seat (libseat), signals, programs that it starts, what outlives
//! a crash, the service manager, logs, and the user whose profile applies.

pub mod active_user;
pub mod crash;
pub mod fd_store;
pub mod guard;
pub mod journal;
pub mod kiosk_kill;
pub mod libseat;
pub mod logind;
pub mod notifications;
pub mod rlimit;
pub mod sd_notify;
pub mod signals;
pub mod spawn;
pub mod user_profile;
pub mod users;
mod watchdog;

use std::time::Duration;

use anyhow::{anyhow, Result};
use tracing::debug;

use crate::event_loop::backoff::Backoff;

/// After a crash, the seat daemon may not have noticed yet that the previous process is gone.
const SEAT_RETRY: Backoff =
    Backoff::new(Duration::from_millis(50), Duration::from_millis(50)).with_max_retries(5);

/// Takes the seat from seatd, from logind, or directly as root (libseat's "builtin").
///
/// # Errors
/// If none of them gives a seat; the message says what to do.
pub fn open() -> Result<(libseat::Session, libseat::Events)> {
    let mut retry = SEAT_RETRY;
    loop {
        let error = match libseat::Session::open() {
            Ok(session) => return Ok(session),
            Err(error) => error,
        };
        // Only the guard starts us right after a crash.
        let delay = std::env::var_os(guard::VARIABLE).and_then(|_| retry.next_delay());
        let Some(delay) = delay else {
            return Err(anyhow!(
                "no seat: {error}. geom_compositor needs one of: a running seatd whose group this user \
                 is in (systemctl start seatd; usermod -aG video $USER), or a login session of logind on \
                 the machine's own console, or to be root. LIBSEAT_BACKEND=seatd, logind or builtin \
                 selects one of them. Without monitors, use --backend=headless"
            ));
        };
        debug!(%error, ?delay, "no seat yet; retrying");
        std::thread::sleep(delay);
    }
}
