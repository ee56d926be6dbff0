//! Listening sockets that a sandbox engine hands over (security-context).
//!
//! The engine still has the socket: it may make it block, or take a client that `poll` has
//! announced, and its clients may connect as fast as they can. So each socket has a thread of its
//! own, which passes on a few clients at a time.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{accept_with, sockopt, SocketFlags};
use smithay::reexports::calloop::channel::{sync_channel, Channel, SyncSender};
use tracing::warn;

/// The number of sockets that are listened at, at most: each has a thread and three descriptors.
const MAX_SOCKETS: usize = 256;
/// Clients that wait for the event loop.
const QUEUE: usize = 4;
/// Clients that are accepted in a row, at most, before a pause.
const MAX_IN_A_ROW: u32 = 16;
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// The delay before another try when no descriptor is left.
const RETRY: Duration = Duration::from_millis(200);
/// A thread needs little more than the arguments of system calls.
const STACK: usize = 64 << 10;

/// The sockets that are listened at.
#[derive(Debug, Default)]
pub struct SandboxSockets {
    count: Arc<AtomicUsize>,
}

/// One of the counted sockets.
struct CountedSocket(Arc<AtomicUsize>);

impl Drop for CountedSocket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SandboxSockets {
    /// Returns whether there may be one more.
    pub fn is_full(&self) -> bool {
        self.count.load(Ordering::Relaxed) >= MAX_SOCKETS
    }

    /// Accepts clients from `listener` until `close` signals a hangup. They come out of the
    /// returned channel, which ends with the socket.
    ///
    /// # Errors
    /// If no thread can be started, or the socket takes no options.
    pub fn listen(&self, listener: OwnedFd, close: OwnedFd) -> io::Result<Channel<UnixStream>> {
        rustix::io::ioctl_fionbio(&listener, true)?;
        let (sender, clients) = sync_channel(QUEUE);
        self.count.fetch_add(1, Ordering::Relaxed);
        let counted = CountedSocket(self.count.clone());
        let thread = std::thread::Builder::new().name("sandbox-socket".into()).stack_size(STACK);
        thread.spawn(move || {
            let _counted = counted;
            if let Err(error) = accept_all(&listener, &close, &sender) {
                warn!(%error, "sandbox socket failed; it accepts no more clients");
            }
        })?;
        Ok(clients)
    }
}

/// Returns whether a descriptor is a socket that is listened at.
pub fn is_listening(fd: &OwnedFd) -> bool {
    sockopt::socket_acceptconn(fd).unwrap_or(false)
}

/// Returns whether the engine has closed its end.
fn is_closed(close: &OwnedFd) -> bool {
    let mut wait = [PollFd::new(close, PollFlags::empty())];
    poll(&mut wait, Some(&Timespec::default())).is_ok_and(|count| count > 0)
}

fn accept_all(listener: &OwnedFd, close: &OwnedFd, clients: &SyncSender<UnixStream>) -> io::Result<()> {
    let (mut since, mut accepted) = (Instant::now(), 0);
    loop {
        let mut wait = [PollFd::new(listener, PollFlags::IN), PollFd::new(close, PollFlags::empty())];
        match poll(&mut wait, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let [_, closed] = &wait;
        if !closed.revents().is_empty() {
            return Ok(());
        }
        match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(stream) => {
                // It may have been closed while accept(2) waited. The receiver is gone if the
                // service stops.
                if is_closed(close) || clients.send(stream.into()).is_err() {
                    return Ok(());
                }
                accepted += 1;
            }
            Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => {}
            Err(Errno::MFILE | Errno::NFILE) => std::thread::sleep(RETRY),
            Err(error) => return Err(error.into()),
        }
        if accepted >= MAX_IN_A_ROW {
            std::thread::sleep(ACCEPT_PAUSE.saturating_sub(since.elapsed()));
            (since, accepted) = (Instant::now(), 0);
        }
    }
}
