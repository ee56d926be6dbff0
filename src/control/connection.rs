//! One control client's socket: bounded reading, bounded writing, and no waiting for either.

use std::collections::VecDeque;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use geom_ipc::{LineBuffer, LineTooLong};
use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, LoopHandle, Mode, PostAction, RegistrationToken};
use tracing::debug;

use crate::clients::peer::unread;
use crate::compositor::State;

/// With so many bytes unsent nothing more is read: who does not take replies gets to ask no more.
const PAUSE: usize = 64 << 10;
/// With so many bytes unsent a stream of events is given up.
pub const STREAM: usize = 256 << 10;

/// A line on its way, and a descriptor that goes with its first byte.
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fd: Option<OwnedFd>,
}

/// What reading brought.
pub enum Incoming {
    Line(Vec<u8>),
    /// No whole line now.
    Nothing,
    TooLong,
    /// The peer hung up.
    Broken,
}

/// One control client.
pub struct ControlConnection {
    stream: Option<Rc<UnixStream>>,
    frames: LineBuffer,
    out: VecDeque<Outgoing>,
    out_bytes: usize,
    reader: Option<RegistrationToken>,
    writer: Option<RegistrationToken>,
    /// As it called itself.
    pub name: String,
    /// Resumes its session.
    pub token: String,
    /// It said hello, in a version that we speak.
    pub greeted: bool,
    /// Of the last ping.
    pub serial: u64,
    pub disconnects: u32,
}

impl ControlConnection {
    pub fn new(stream: UnixStream, token: String) -> Self {
        let unknown = Self::lost(token, String::new());
        Self { stream: Some(Rc::new(stream)), greeted: false, ..unknown }
    }

    /// Of a session whose client is away.
    pub fn lost(token: String, name: String) -> Self {
        Self {
            stream: None,
            frames: LineBuffer::default(),
            out: VecDeque::new(),
            out_bytes: 0,
            reader: None,
            writer: None,
            name,
            token,
            greeted: true,
            serial: 0,
            disconnects: 0,
        }
    }

    pub fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Reads from now on, for the connection of this id.
    pub fn listen(&mut self, handle: &LoopHandle<'static, State>, id: u64) -> std::io::Result<()> {
        let Some(stream) = self.stream.clone() else { return Ok(()) };
        let source = Generic::new(stream, Interest::READ, Mode::Level);
        let inserted = handle.insert_source(source, move |_, _, state| {
            Ok(if state.read_control(id) { PostAction::Continue } else { PostAction::Remove })
        });
        let token = inserted.map_err(|error| std::io::Error::other(error.error.to_string()))?;
        self.reader = Some(token);
        Ok(())
    }

    /// Whether so much is unsent that nothing more should be asked.
    pub fn is_choked(&self) -> bool {
        self.out_bytes > PAUSE
    }

    /// Bytes that the peer has not read.
    pub fn unread_bytes(&self) -> u64 {
        let kernel = self.stream.as_ref().map_or(0, |stream| unread(stream.as_raw_fd()));
        kernel + self.out_bytes as u64
    }

    pub fn unsent(&self) -> usize {
        self.out_bytes
    }

    /// A line that was read, or what there is instead.
    pub fn read_line(&mut self) -> Incoming {
        loop {
            match self.frames.next_line() {
                Ok(Some(line)) => return Incoming::Line(line),
                Ok(None) => {}
                Err(LineTooLong) => return Incoming::TooLong,
            }
            let Some(stream) = &self.stream else { return Incoming::Broken };
            let mut buffer = [0; 16 << 10];
            match (&**stream).read(&mut buffer) {
                Ok(0) => return Incoming::Broken,
                Ok(count) => self.frames.extend(buffer.get(..count).unwrap_or_default()),
                Err(error) => match error.kind() {
                    std::io::ErrorKind::WouldBlock => return Incoming::Nothing,
                    std::io::ErrorKind::Interrupted => {}
                    _ => return Incoming::Broken,
                },
            }
        }
    }

    /// Queues a line; [`Self::flush`] sends it.
    pub fn push(&mut self, bytes: Vec<u8>, fd: Option<OwnedFd>) {
        if self.is_open() {
            self.out_bytes += bytes.len();
            self.out.push_back(Outgoing { bytes, sent: 0, fd });
        }
    }

    /// Sends what the socket takes. True where something is left.
    pub fn flush(&mut self) -> bool {
        let Some(stream) = self.stream.clone() else { return false };
        while let Some(first) = self.out.front_mut() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            let fds = first.fd.as_ref().map(|fd| [fd.as_fd()]);
            if let Some(fds) = &fds {
                ancillary.push(SendAncillaryMessage::ScmRights(fds));
            }
            let rest = first.bytes.get(first.sent..).unwrap_or_default();
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match sendmsg(&*stream, &[IoSlice::new(rest)], &mut ancillary, flags) {
                Ok(count) => {
                    first.fd = None;
                    first.sent += count;
                    self.out_bytes = self.out_bytes.saturating_sub(count);
                    if first.sent >= first.bytes.len() {
                        self.out.pop_front();
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return true,
                Err(error) => {
                    // Reading will tell that the peer is gone.
                    debug!(%error, "a control client takes nothing more");
                    self.out.clear();
                    self.out_bytes = 0;
                    return false;
                }
            }
        }
        false
    }

    /// Waits for room in the socket, once.
    pub fn await_room(&mut self, handle: &LoopHandle<'static, State>, id: u64) -> std::io::Result<()> {
        let (Some(stream), None) = (&self.stream, &self.writer) else { return Ok(()) };
        // Another descriptor: epoll takes each only once, and reading has this one.
        let source = Generic::new(stream.try_clone()?, Interest::WRITE, Mode::Level);
        let inserted = handle.insert_source(source, move |_, _, state| {
            Ok(if state.write_control(id) { PostAction::Continue } else { PostAction::Remove })
        });
        self.writer = Some(inserted.map_err(|error| std::io::Error::other(error.error.to_string()))?);
        Ok(())
    }

    /// There is nothing left to wait for.
    pub fn has_room(&mut self) {
        self.writer = None;
    }

    /// Reading stopped; whether it was going on.
    pub fn reading_stopped(&mut self) -> bool {
        self.reader.take().is_some()
    }

    pub fn is_reading(&self) -> bool {
        self.reader.is_some()
    }

    /// Lets go of the socket; the session may stay.
    pub fn close(&mut self, handle: &LoopHandle<'static, State>) {
        self.flush();
        for token in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            handle.remove(token);
        }
        self.stream = None;
        self.frames = LineBuffer::default();
        self.out.clear();
        self.out_bytes = 0;
    }

    /// The socket once more, for the session that takes it over.
    ///
    /// # Errors
    /// Without a socket, or a descriptor to spare.
    pub fn duplicate(&self) -> std::io::Result<UnixStream> {
        self.stream.as_ref().ok_or(std::io::ErrorKind::NotConnected)?.try_clone()
    }

    /// Goes on with another socket.
    pub fn resume(&mut self, stream: UnixStream, name: String) {
        (self.stream, self.name) = (Some(Rc::new(stream)), name);
    }
}
