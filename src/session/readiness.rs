//! Telling whoever started the service how it is (sd_notify(3)): systemd, or a program by its library.

use std::env;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// It accepts clients, and drives the displays that are there.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// How it is, for `systemctl status`.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// It is alive: said from the event loop and from nowhere else.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often that has to be said, where the manager watches (sd_watchdog_enabled(3)): at half the time that it waits.
pub fn interval() -> Option<Duration> {
    Some(sd_notify::watchdog_enabled()? / 2).filter(|interval| !interval.is_zero())
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
    tell_with(states, &[]);
}

/// Says something, and passes descriptors along.
pub(super) fn tell_with(states: &[NotifyState], fds: &[BorrowedFd<'_>]) {
    if env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let told = match fds {
        [] => sd_notify::notify(states),
        fds => sd_notify::notify_with_fds(states, fds),
    };
    if let Err(error) = told {
        // Whoever started the service is gone.
        debug!(%error, "NOTIFY_SOCKET can't be written to");
    }
}
