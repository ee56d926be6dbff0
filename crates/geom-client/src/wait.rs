//! Waiting for descriptors.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::{poll, PollFd, PollFlags, Timespec};

/// Waits until one of them can be read from, or for ever without a deadline; false where it passes first.
pub(crate) fn readable(fds: &[BorrowedFd<'_>], deadline: Option<Instant>) -> std::io::Result<bool> {
    ready(fds, PollFlags::IN, deadline)
}

/// Waits until one of them can be written to.
pub(crate) fn writable(fds: &[BorrowedFd<'_>], deadline: Option<Instant>) -> std::io::Result<bool> {
    ready(fds, PollFlags::OUT, deadline)
}

fn ready(fds: &[BorrowedFd<'_>], flags: PollFlags, deadline: Option<Instant>) -> std::io::Result<bool> {
    let mut wanted: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, flags)).collect();
    loop {
        let left = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        match poll(&mut wanted, left.as_ref()) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
