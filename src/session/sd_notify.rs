//! Notifications to the program that started the service (sd_notify(3)): systemd, the guard, or a
//! program that uses the client library.

use std::env;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use ::sd_notify::NotifyState;
use tracing::debug;

/// Reports that the service accepts clients and drives the displays that are present.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Sets the status line of `systemctl status`.
pub fn status(text: &str) {
    send(&[NotifyState::Status(text)]);
}

/// Resets the watchdog. Called only from the event loop, so that a stuck loop is noticed.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// Returns the interval for [`alive`] if the service manager has a watchdog
/// (sd_watchdog_enabled(3)): half of the watchdog's timeout.
pub fn watchdog_interval() -> Option<Duration> {
    Some(::sd_notify::watchdog_enabled()? / 2).filter(|interval| !interval.is_zero())
}

/// Reports that the service fails, and why.
pub fn failed(reason: &str) {
    // The protocol has one variable per line.
    send(&[NotifyState::Status(&reason.replace('\n', " ")), NotifyState::Errno(1)]);
}

/// Reports an orderly shutdown.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

fn send(states: &[NotifyState]) {
    send_with_fds(states, &[]);
}

/// Sends a notification and passes descriptors with it.
pub(super) fn send_with_fds(states: &[NotifyState], fds: &[BorrowedFd<'_>]) {
    if env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let sent = match fds {
        [] => ::sd_notify::notify(states),
        fds => ::sd_notify::notify_with_fds(states, fds),
    };
    if let Err(error) = sent {
        // The program that started the service is gone.
        debug!(%error, "cannot write to NOTIFY_SOCKET");
    }
}
