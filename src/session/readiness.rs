//! Telling whoever started the service how it is (sd_notify(3)): systemd, or a program by its library.

use std::env;

use sd_notify::NotifyState;
use tracing::debug;

/// It accepts clients, and drives the displays that are there.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It ends, and why.
pub fn failed(reason: &str) {
    // One line: the protocol has one variable a line.
    tell(&[NotifyState::Status(&reason.replace('\n', " ")), NotifyState::Errno(1)]);
}

pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState]) {
    if env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    if let Err(error) = sd_notify::notify(states) {
        // Whoever started the service is gone.
        debug!(%error, "NOTIFY_SOCKET can't be written to");
    }
}
