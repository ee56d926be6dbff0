//! Idle Wayland clients without a library: they bind xdg_wm_base, answer its pings, and do nothing
//! else.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use rustix::event::epoll;

/// Connections that may be waiting in the listening socket's queue, which has a limit.
const MAX_PENDING: usize = 64;
/// How long the server may take to accept all clients and send their globals.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Object ids of each client.
const DISPLAY: u32 = 1;
const REGISTRY: u32 = 2;
const WM_BASE: u32 = 3;

/// A number of idle clients.
pub struct IdleConnections {
    epoll: OwnedFd,
    streams: Vec<UnixStream>,
    /// Number of clients that have bound xdg_wm_base.
    bound: usize,
    /// The client that does not answer pings.
    pub unresponsive: Option<usize>,
    /// When that client got its first ping.
    pub pinged: Option<Instant>,
    /// Number of pings answered.
    pub answered: usize,
}

fn message(object: u32, opcode: u32, words: &[u32]) -> Vec<u8> {
    let size = (8 + words.len() * 4) as u32;
    let head = [object, size << 16 | opcode];
    head.iter().chain(words).flat_map(|word| word.to_ne_bytes()).collect()
}

/// Connects and sends `wl_display.get_registry`.
pub fn connect(socket: &Path) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(&message(DISPLAY, 1, &[REGISTRY]))?;
    Ok(stream)
}

impl IdleConnections {
    /// Connects `count` clients and waits until each has bound xdg_wm_base.
    pub fn new(socket: &Path, count: usize) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut clients =
            Self { epoll, streams: Vec::new(), bound: 0, unresponsive: None, pinged: None, answered: 0 };
        for index in 0..count {
            let stream = connect(socket)?;
            stream.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&clients.epoll, stream.as_fd(), data, epoll::EventFlags::IN)?;
            clients.streams.push(stream);
            if index % MAX_PENDING == MAX_PENDING - 1 {
                while clients.bound + MAX_PENDING < clients.streams.len() {
                    clients.dispatch(Duration::from_secs(5))?;
                }
            }
        }
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        while clients.bound < count {
            ensure!(Instant::now() < deadline, "{} of {count} clients got their globals", clients.bound);
            clients.dispatch(Duration::from_secs(1))?;
        }
        Ok(clients)
    }

    /// Waits for events up to `timeout` and handles them.
    pub fn dispatch(&mut self, timeout: Duration) -> Result<()> {
        let mut events = Vec::with_capacity(256);
        let timeout = rustix::event::Timespec {
            tv_sec: timeout.as_secs().try_into()?,
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let buffer = rustix::buffer::spare_capacity(&mut events);
        epoll::wait(&self.epoll, buffer, Some(&timeout))?;
        for event in events {
            self.read(usize::try_from(event.data.u64())?)?;
        }
        Ok(())
    }

    /// Handles events for `time`.
    pub fn dispatch_for(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.dispatch(left)?;
        }
        Ok(())
    }

    fn read(&mut self, index: usize) -> Result<()> {
        let stream = self.streams.get_mut(index).context("a stream")?;
        let mut bytes = [0u8; 8192];
        let count = match stream.read(&mut bytes) {
            Ok(0) => bail!("the service disconnected client {index}"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut rest = bytes.get(..count).unwrap_or_default();
        while rest.len() >= 8 {
            let word = |at: usize| {
                rest.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_ne_bytes)
            };
            let (object, opcode, size) = (word(0), word(4) & 0xffff, (word(4) >> 16) as usize);
            // The service writes whole messages, and few enough for one read.
            ensure!(size >= 8 && size <= rest.len(), "a message of {size} bytes in {} bytes", rest.len());
            let name = b"xdg_wm_base\0";
            if object == REGISTRY && opcode == 0 && rest.get(16..28) == Some(name) {
                let mut bind = message(REGISTRY, 0, &[word(8), 12, 0, 0, 0, 1, WM_BASE]);
                bind.get_mut(16..28).context("the interface's name")?.copy_from_slice(name);
                stream.write_all(&bind)?;
                self.bound += 1;
            } else if object == WM_BASE && opcode == 0 {
                if self.unresponsive == Some(index) {
                    self.pinged.get_or_insert_with(Instant::now);
                } else {
                    stream.write_all(&message(WM_BASE, 3, &[word(8)]))?;
                    self.answered += 1;
                }
            }
            rest = rest.get(size..).unwrap_or_default();
        }
        Ok(())
    }
}
