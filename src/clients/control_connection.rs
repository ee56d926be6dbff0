//! One control client's socket: reads and writes are bounded, and neither blocks.

use std::collections::VecDeque;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use geom_ipc::{LineBuffer, LineTooLong};
use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use smithay::reexports::calloop::RegistrationToken;
use tracing::debug;

use super::peer::unread;

/// With more unsent bytes than this, no more requests are read: a client that does not read its
/// replies cannot send more requests.
const READ_PAUSE_BACKLOG: usize = 64 << 10;

/// With more unsent bytes than this, a client's subscription to events ends.
pub const EVENT_BACKLOG_LIMIT: usize = 256 << 10;

/// The kernel counts at least this for a message that the peer has not read: the size of its own
/// structures (SKB_TRUESIZE() in skbuff.h).
const MIN_MESSAGE_BYTES: u64 = 512;

/// The bytes that are read at once, and how often in a row, for one line.
const PART: usize = 16 << 10;
const MAX_PARTS: usize = 4;

/// A line to send, and a descriptor that goes with its first byte.
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fd: Option<OwnedFd>,
}

/// The result of reading.
#[derive(Debug)]
pub enum Incoming {
    Line(Vec<u8>),
    /// There is no whole line yet, or a long one is being read.
    Nothing,
    TooLong,
    /// The peer closed the connection.
    Broken,
}

/// A request that is carried out on another thread, by a number that is never used again.
pub type Ticket = u64;

/// A control client's socket and session.
pub struct ControlConnection {
    stream: Option<Rc<UnixStream>>,
    frames: LineBuffer,
    out: VecDeque<Outgoing>,
    out_bytes: usize,
    /// Bytes of lines read and queued since [`Self::take_work`].
    work: usize,
    /// The maximum number of descriptors that the peer has not received.
    unread_fds: usize,
    /// The event source that reads requests.
    reader: Option<RegistrationToken>,
    /// The event source that waits until the socket can take more.
    writer: Option<RegistrationToken>,
    /// Such a source exists or was requested.
    awaits_writable: bool,
    /// The request of this client that is carried out on another thread. The client's next
    /// requests wait for it.
    pending_job: Option<Ticket>,
    /// The client's requests have taken more than its share: it is not read for a moment.
    is_over_share: bool,
    /// The name that the client gives itself.
    pub name: String,
    /// The secret that resumes the session.
    pub token: String,
    /// The client has sent `hello` with a version that the service speaks.
    pub greeted: bool,
    /// The serial of the last ping.
    pub serial: u64,
    pub disconnects: u32,
}

impl ControlConnection {
    pub fn new(stream: UnixStream, token: String) -> Self {
        let session = Self::lost(token, String::new());
        Self { stream: Some(Rc::new(stream)), greeted: false, ..session }
    }

    /// Creates the connection of a session whose client is not there.
    pub fn lost(token: String, name: String) -> Self {
        Self {
            stream: None,
            frames: LineBuffer::default(),
            out: VecDeque::new(),
            out_bytes: 0,
            work: 0,
            unread_fds: 0,
            reader: None,
            writer: None,
            awaits_writable: false,
            pending_job: None,
            is_over_share: false,
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

    /// Returns the socket, for an event source that reads from it.
    pub fn stream(&self) -> Option<Rc<UnixStream>> {
        self.stream.clone()
    }

    /// Returns whether the next requests have to wait: for the client to read its replies, for a
    /// request on another thread, or until the client's share makes up for what it has used.
    pub fn is_paused(&self) -> bool {
        self.out_bytes > READ_PAUSE_BACKLOG || self.pending_job.is_some() || self.is_over_share
    }

    /// Sets whether the client's requests have taken more than its share.
    pub fn set_over_share(&mut self, is_over_share: bool) {
        self.is_over_share = is_over_share;
    }

    /// Returns the maximum number of descriptors that the peer has not received.
    pub fn unread_fds(&mut self) -> usize {
        if self.unread_fds > 0 {
            let messages = self.unread_bytes() / MIN_MESSAGE_BYTES;
            self.unread_fds = self.unread_fds.min(usize::try_from(messages).unwrap_or(usize::MAX));
        }
        self.unread_fds
    }

    /// Returns the number of bytes of lines read and queued since the last call.
    pub fn take_work(&mut self) -> usize {
        std::mem::take(&mut self.work)
    }

    /// Returns the number of bytes that the peer has not read.
    pub fn unread_bytes(&self) -> u64 {
        let kernel = self.stream.as_ref().map_or(0, |stream| unread(stream.as_raw_fd()));
        kernel + self.out_bytes as u64
    }

    /// Returns the number of bytes that the socket has not taken yet.
    pub fn unsent_bytes(&self) -> usize {
        self.out_bytes
    }

    /// Returns the next line, or why there is none. Of a long line, only a part is read at once;
    /// the socket stays ready.
    pub fn read_line(&mut self) -> Incoming {
        let mut parts = 0..MAX_PARTS;
        loop {
            match self.frames.next_line() {
                Ok(Some(line)) => {
                    self.work += line.len();
                    return Incoming::Line(line);
                }
                Ok(None) => {}
                Err(LineTooLong) => return Incoming::TooLong,
            }
            if parts.next().is_none() {
                return Incoming::Nothing;
            }
            let Some(stream) = &self.stream else { return Incoming::Broken };
            let mut buffer = [0; PART];
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
            self.work += bytes.len();
            self.unread_fds += usize::from(fd.is_some());
            self.out.push_back(Outgoing { bytes, sent: 0, fd });
        }
    }

    /// Sends as much as the socket takes. Returns whether something is left.
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
                    // The next read reports that the peer is gone.
                    debug!(%error, "cannot send to a control client");
                    self.out.clear();
                    self.out_bytes = 0;
                    return false;
                }
            }
        }
        false
    }

    /// Requests an event source that waits until the socket can take more. Returns false if there
    /// is one already.
    pub fn request_writable(&mut self) -> bool {
        !std::mem::replace(&mut self.awaits_writable, true)
    }

    /// Sets the event source that waits until the socket can take more, or `None` if it ended.
    pub fn set_writer(&mut self, writer: Option<RegistrationToken>) {
        self.awaits_writable = writer.is_some();
        self.writer = writer;
    }

    /// Sets the event source that reads requests.
    pub fn set_reader(&mut self, reader: RegistrationToken) {
        self.reader = Some(reader);
    }

    /// Returns the event source that reads requests, to be removed.
    pub fn take_reader(&mut self) -> Option<RegistrationToken> {
        self.reader.take()
    }

    pub fn is_reading(&self) -> bool {
        self.reader.is_some()
    }

    /// Makes further requests wait for one that is carried out on another thread.
    pub fn begin_job(&mut self, ticket: Ticket) {
        self.pending_job = Some(ticket);
    }

    /// Returns whether the client waits for a request on another thread.
    pub fn awaits_job(&self, ticket: Ticket) -> bool {
        self.pending_job == Some(ticket)
    }

    /// Ends the wait for a request on another thread. Returns false if the client that sent it has
    /// left.
    pub fn end_job(&mut self, ticket: Ticket) -> bool {
        self.pending_job.take_if(|pending| *pending == ticket).is_some()
    }

    /// Closes the socket; the session may stay. Returns the event sources to remove.
    pub fn close(&mut self) -> impl Iterator<Item = RegistrationToken> {
        self.flush();
        self.stream = None;
        self.frames = LineBuffer::default();
        self.out.clear();
        self.out_bytes = 0;
        self.awaits_writable = false;
        self.pending_job = None;
        [self.reader.take(), self.writer.take()].into_iter().flatten()
    }

    /// Takes what another connection needs to continue over this one's socket: a copy of the
    /// socket, and what was received and not read yet.
    ///
    /// # Errors
    /// If there is no socket, or the limit of open descriptors is reached.
    pub fn hand_over(&mut self) -> std::io::Result<(UnixStream, LineBuffer)> {
        let stream = self.stream.as_ref().ok_or(std::io::ErrorKind::NotConnected)?.try_clone()?;
        Ok((stream, std::mem::take(&mut self.frames)))
    }

    /// Continues the session over another connection's socket.
    pub fn resume(&mut self, (stream, frames): (UnixStream, LineBuffer), name: String) {
        self.stream = Some(Rc::new(stream));
        self.frames = frames;
        self.name = name;
    }
}
