//! poll(2) on descriptors with a deadline.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::{poll, PollFd, PollFlags, Timespec};

/// Waits until a descriptor is readable, without limit if there is no deadline. Returns false if
/// the deadline passes first.
pub(crate) fn readable(fds: &[BorrowedFd<'_>], deadline: Option<Instant>) -> std::io::Result<bool> {
    ready(fds, PollFlags::IN, deadline)
}

/// Waits until a descriptor is writable. Returns false if the deadline passes first.
pub(crate) fn writable(fds: &[BorrowedFd<'_>], deadline: Option<Instant>) -> std::io::Result<bool> {
    ready(fds, PollFlags::OUT, deadline)
}

fn ready(fds: &[BorrowedFd<'_>], flags: PollFlags, deadline: Option<Instant>) -> std::io::Result<bool> {
    let mut fds: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, flags)).collect();
    loop {
        let timeout = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
