//! Not reading one Wayland client for a moment.
//!
//! libwayland reads each client whose socket is ready, and offers no call to leave one out. Its
//! epoll is known, though (wl_event_loop_get_fd()), and the kernel lists what an epoll watches with
//! the data of each entry (proc_pid_fdinfo(5), since Linux 4.13). So an entry can be changed to
//! await nothing, and back. libwayland itself changes it back when a message to the client does not
//! fit its socket: then the client is read, and paused again.

use std::io::{BufRead, BufReader, Error, ErrorKind, Result};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::{fstat, Stat};

/// The entry of a client's socket in libwayland's epoll. libwayland watches a copy of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSource {
    descriptor: RawFd,
    data: u64,
    /// The inode number of the socket, which tells whether the descriptor still is a copy of it.
    inode: u64,
}

impl EventSource {
    /// Looks up the entry of a socket.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the epoll does not watch it; if `/proc` is not mounted.
    pub fn find(epoll: BorrowedFd<'_>, socket: BorrowedFd<'_>) -> Result<Self> {
        let wanted = fstat(socket)?;
        let file = std::fs::File::open(format!("/proc/self/fdinfo/{}", epoll.as_raw_fd()))?;
        for line in BufReader::new(file).lines() {
            let Some(source) = Self::parse(&line?) else { continue };
            if source.is(&wanted) {
                return Ok(source);
            }
        }
        Err(ErrorKind::NotFound.into())
    }

    /// Makes the epoll report nothing of the socket but its end.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the entry is not `socket`'s anymore.
    pub fn pause(&self, epoll: BorrowedFd<'_>, socket: BorrowedFd<'_>) -> Result<()> {
        self.set(epoll, socket, EventFlags::empty())
    }

    /// Makes the epoll report the socket again. libwayland then sends what waits for the client,
    /// and awaits what it needs.
    ///
    /// # Errors
    /// As [`EventSource::pause`].
    pub fn resume(&self, epoll: BorrowedFd<'_>, socket: BorrowedFd<'_>) -> Result<()> {
        self.set(epoll, socket, EventFlags::IN | EventFlags::OUT)
    }

    fn set(&self, epoll: BorrowedFd<'_>, socket: BorrowedFd<'_>, awaited: EventFlags) -> Result<()> {
        if !self.is(&fstat(socket)?) {
            return Err(ErrorKind::NotFound.into());
        }
        // SAFETY: `is` has just found the descriptor open, and nothing closes it during the call.
        let copy = unsafe { BorrowedFd::borrow_raw(self.descriptor) };
        epoll::modify(epoll, copy, EventData::new_u64(self.data), awaited).map_err(Error::from)
    }

    /// Parses a line of an epoll's fdinfo.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(|letter: char| letter == ':' || letter.is_ascii_whitespace());
        let mut after = |name: &str| {
            words.by_ref().find(|word| *word == name)?;
            words.by_ref().find(|word| !word.is_empty())
        };
        let descriptor = after("tfd")?.parse().ok().filter(|descriptor| *descriptor >= 0)?;
        let data = u64::from_str_radix(after("data")?, 16).ok()?;
        let inode = u64::from_str_radix(after("ino")?, 16).ok()?;
        Some(Self { descriptor, data, inode })
    }

    /// Returns whether this is the entry of a socket.
    fn is(&self, socket: &Stat) -> bool {
        if socket.st_ino != self.inode {
            return false;
        }
        // SAFETY: fstat(2) fails on a descriptor that is closed, and changes nothing.
        let found = fstat(unsafe { BorrowedFd::borrow_raw(self.descriptor) });
        found.is_ok_and(|found| (found.st_dev, found.st_ino) == (socket.st_dev, socket.st_ino))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::mem::MaybeUninit;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn entries_are_parsed() {
        let line = "tfd:        5 events:       19 data:     55d0c0ffee10  pos:0 ino:2a7 sdev:8";
        let source = EventSource { descriptor: 5, data: 0x55d0_c0ff_ee10, inode: 0x2a7 };
        assert_eq!(EventSource::parse(line), Some(source));
        for line in [
            "",
            "pos:\t0",
            "flags:\t02000002",
            "tfd: x",
            "tfd: -1 data: 1 ino: 1",
            "tfd: 5 events: 19",
            "tfd: 5 data: 1 ino:",
        ] {
            assert_eq!(EventSource::parse(line), None, "{line}");
        }
    }

    /// Returns the data of the entries that are ready.
    fn ready(epoll: BorrowedFd<'_>) -> Vec<u64> {
        let mut events = [const { MaybeUninit::uninit() }; 8];
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let (events, _) = epoll::wait(epoll, &mut events, Some(&timeout)).expect("waited");
        let mut ready: Vec<u64> = events.iter().map(|event| event.data.u64()).collect();
        ready.sort_unstable();
        ready
    }

    #[test]
    fn paused_socket_is_not_reported_until_it_is_resumed_or_ends() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll");
        let (own, mut peer) = UnixStream::pair().expect("sockets");
        let (other, mut other_peer) = UnixStream::pair().expect("sockets");
        // As libwayland does, the epoll watches copies.
        let copies = [&own, &other].map(|socket| socket.try_clone().expect("a copy"));
        for (copy, data) in copies.iter().zip([71, 72]) {
            epoll::add(&epoll, copy, EventData::new_u64(data), EventFlags::IN).expect("added");
        }
        let source = EventSource::find(epoll.as_fd(), own.as_fd()).expect("an entry");
        assert_eq!((source.descriptor, source.data), (copies[0].as_raw_fd(), 71));
        peer.write_all(b"x").expect("sent");
        other_peer.write_all(b"x").expect("sent");
        assert_eq!(ready(epoll.as_fd()), [71, 72]);
        source.pause(epoll.as_fd(), own.as_fd()).expect("paused");
        assert_eq!(ready(epoll.as_fd()), [72]);
        source.resume(epoll.as_fd(), own.as_fd()).expect("resumed");
        assert_eq!(ready(epoll.as_fd()), [71, 72]);
        source.pause(epoll.as_fd(), own.as_fd()).expect("paused");
        drop(peer);
        assert_eq!(ready(epoll.as_fd()), [71, 72], "its end is reported");
    }

    #[test]
    fn entry_of_a_closed_socket_is_not_changed() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll");
        let (own, _peer) = UnixStream::pair().expect("sockets");
        let copy = own.try_clone().expect("a copy");
        epoll::add(&epoll, &copy, EventData::new_u64(71), EventFlags::IN).expect("added");
        let source = EventSource::find(epoll.as_fd(), own.as_fd()).expect("an entry");
        let (other, _other_peer) = UnixStream::pair().expect("sockets");
        let error = source.pause(epoll.as_fd(), other.as_fd()).expect_err("another socket's");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = EventSource::find(epoll.as_fd(), other.as_fd()).expect_err("not watched");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
