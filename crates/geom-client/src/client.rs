//! A connection that its program serves itself: blocking, or from an event loop.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use geom_ipc::{
    Answer, ConnectType, Display, EndReason, ErrorKind, Event, Frames, FromClient, FromServer, Reply,
    Request, Status, Welcome, Window,
};
use rustix::io::Errno;
use rustix::net::{recvmsg, send, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags};

use crate::wait::{readable, writable};
use crate::Error;

/// How to connect.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// The socket; found by the environment where it is not given ([`geom_ipc::socket_paths`]).
    pub socket: Option<PathBuf>,
    /// What the program calls itself.
    pub name: String,
    /// The server's configuration decides where it is not given.
    pub connect_type: Option<ConnectType>,
    /// Of a session that an earlier process had ([`Client::welcome`]): it is resumed where the service has kept it, and
    /// a new one begins otherwise.
    pub token: Option<String>,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            socket: None,
            name: String::new(),
            connect_type: None,
            token: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// A connection to the service, of one thread. Blocking programs call its requests and [`Client::next_event`]; programs
/// with an event loop watch [`Client::as_fd`](std::os::fd::AsFd) for reading and call [`Client::dispatch`]. The server's
/// pings are answered in any of these calls; a program that makes none for the server's `lost_ms` loses its session,
/// which [`Client::resume`] takes up again.
///
/// Dropping it says goodbye: the service keeps nothing of it.
#[derive(Debug)]
pub struct Client {
    options: ConnectOptions,
    stream: UnixStream,
    frames: Frames,
    fds: VecDeque<OwnedFd>,
    next: u64,
    events: VecDeque<Event>,
    replies: Vec<Reply>,
    welcome: Welcome,
    ended: Option<EndReason>,
    received: u64,
    /// Readable when waiting has become vain.
    pub(crate) interrupt: Option<Arc<OwnedFd>>,
}

/// So many events wait for being asked for; the oldest make room.
const EVENTS: usize = 4096;

impl Client {
    /// Connects and says hello.
    ///
    /// # Errors
    /// Where no service answers, or it refuses.
    pub fn connect(options: &ConnectOptions) -> Result<Self, Error> {
        match Self::open(options, options.token.clone(), None) {
            Err(Error::Server(error)) if options.token.is_some() && error.kind == ErrorKind::NotFound => {
                Self::open(options, None, None)
            }
            other => other,
        }
    }

    fn open(
        options: &ConnectOptions,
        token: Option<String>,
        interrupt: Option<Arc<OwnedFd>>,
    ) -> Result<Self, Error> {
        let paths = match &options.socket {
            Some(path) => vec![path.clone()],
            None => geom_ipc::socket_paths(|name| std::env::var_os(name)),
        };
        let stream = paths.iter().find_map(|path| UnixStream::connect(path).ok());
        let stream = stream.ok_or(Error::NotRunning(paths))?;
        stream.set_nonblocking(true)?;
        let welcome = Welcome {
            version: 0,
            server: String::new(),
            connection: 0,
            token: String::new(),
            resumed: false,
            heartbeat_ms: 0,
            lost_ms: 0,
            connect_type: None,
        };
        let mut client = Self {
            options: options.clone(),
            stream,
            frames: Frames::default(),
            fds: VecDeque::new(),
            next: 0,
            events: VecDeque::new(),
            replies: Vec::new(),
            welcome,
            ended: None,
            received: 0,
            interrupt,
        };
        let (name, connect_type) = (options.name.clone(), options.connect_type);
        let hello = Request::Hello { versions: vec![geom_ipc::VERSION], name, connect_type, token };
        match client.request(hello)? {
            Answer::Welcome(welcome) => client.welcome = welcome,
            other => return Err(unexpected(&other)),
        }
        Ok(client)
    }

    /// Takes the session up again after the connection ended: subscriptions hold, the number stays.
    ///
    /// # Errors
    /// Where the service is gone, or kept no session.
    pub fn resume(&mut self) -> Result<(), Error> {
        let token = Some(self.welcome.token.clone());
        *self = Self::open(&self.options, token, self.interrupt.clone())?;
        Ok(())
    }

    /// Connects anew, in place of a session that can't be resumed: nothing of that holds.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn begin_again(&mut self) -> Result<(), Error> {
        *self = Self::open(&self.options, None, self.interrupt.clone())?;
        Ok(())
    }

    /// What the server said at the start.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Asks and waits for the answer; events that come meanwhile are kept for [`Self::next_event`].
    ///
    /// # Errors
    /// The server's, or where no answer comes in time.
    pub fn request(&mut self, request: Request) -> Result<Answer, Error> {
        let id = self.send(request)?;
        let deadline = Instant::now() + self.options.timeout;
        loop {
            if let Some(place) = self.replies.iter().position(|reply| reply.id == Some(id)) {
                return Ok(self.replies.swap_remove(place).into_result()?);
            }
            // An error without an id is about the connection: a refusal, a line too long.
            if let Some(place) = self.replies.iter().position(|reply| reply.id.is_none()) {
                return Ok(self.replies.swap_remove(place).into_result()?);
            }
            if !self.wait(deadline)? {
                return Err(Error::TimedOut(self.options.timeout));
            }
            self.dispatch()?;
        }
    }

    /// Sends a request; its reply is [`Self::reply`]'s.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub fn send(&mut self, request: Request) -> Result<u64, Error> {
        self.next += 1;
        let id = self.next;
        let line = serde_json::to_vec(&FromClient { id, request });
        let mut line = line.map_err(|error| Error::Protocol(error.to_string()))?;
        line.push(b'\n');
        let deadline = Instant::now() + self.options.timeout;
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            // A C program would be ended by SIGPIPE, which Rust's ignore.
            match send(&self.stream, rest, SendFlags::NOSIGNAL) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN) => {
                    if !writable(&[self.stream.as_fd()], Some(deadline))? {
                        return Err(Error::TimedOut(self.options.timeout));
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::PIPE) => {
                    // What it said before it hung up tells why.
                    let _ = self.dispatch();
                    if self.replies.iter().any(|reply| reply.id.is_none()) {
                        return Ok(id);
                    }
                    return Err(Error::Gone(self.ended));
                }
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
        }
        Ok(id)
    }

    /// A reply that has come.
    pub fn reply(&mut self, id: u64) -> Option<Result<Answer, geom_ipc::Error>> {
        let place = self.replies.iter().position(|reply| reply.id == Some(id))?;
        Some(self.replies.swap_remove(place).into_result())
    }

    /// Reads what has come, without waiting, and answers pings.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub fn dispatch(&mut self) -> Result<(), Error> {
        let mut gone = false;
        loop {
            let mut buffer = [0; 16 << 10];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let received = recvmsg(&self.stream, &mut parts, &mut ancillary, flags);
            match received {
                Ok(message) => {
                    for part in ancillary.drain() {
                        if let RecvAncillaryMessage::ScmRights(fds) = part {
                            self.fds.extend(fds);
                        }
                    }
                    if message.bytes == 0 {
                        gone = true;
                        break;
                    }
                    self.received += message.bytes as u64;
                    self.frames.extend(buffer.get(..message.bytes).unwrap_or_default());
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => {
                    gone = true;
                    break;
                }
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
        }
        while let Some(line) = self.frames.next_line().map_err(|error| Error::Protocol(error.to_string()))? {
            match FromServer::parse(&line).map_err(|error| Error::Protocol(error.to_string()))? {
                FromServer::Event(Event::Ping { serial }) => {
                    // The answer to a pong is of no interest: forgotten by its id.
                    let _ = self.send(Request::Pong { serial });
                }
                FromServer::Event(Event::Goodbye { reason }) => self.ended = Some(reason),
                FromServer::Event(event) => {
                    if self.events.len() == EVENTS {
                        self.events.pop_front();
                    }
                    self.events.push_back(event);
                }
                FromServer::Reply(reply) => self.replies.push(reply),
            }
        }
        if gone && self.replies.is_empty() && self.events.is_empty() {
            return Err(Error::Gone(self.ended));
        }
        Ok(())
    }

    /// The next event; none where none comes in time. Events come after [`Self::subscribe`].
    ///
    /// # Errors
    /// Where the connection is gone.
    pub fn next_event(&mut self, timeout: Duration) -> Result<Option<Event>, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            // Answers to pongs: nobody asks for them.
            self.replies.clear();
            if !self.wait(deadline)? {
                return Ok(None);
            }
            self.dispatch()?;
        }
    }

    /// Asks for every event from now on.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn subscribe(&mut self) -> Result<(), Error> {
        self.request(Request::Subscribe).map(drop)
    }

    /// # Errors
    /// As [`Self::request`].
    pub fn displays(&mut self) -> Result<Vec<Display>, Error> {
        match self.request(Request::Displays)? {
            Answer::Displays(displays) => Ok(displays),
            other => Err(unexpected(&other)),
        }
    }

    /// # Errors
    /// As [`Self::request`].
    pub fn clients(&mut self) -> Result<Vec<geom_ipc::Client>, Error> {
        match self.request(Request::Clients)? {
            Answer::Clients(clients) => Ok(clients),
            other => Err(unexpected(&other)),
        }
    }

    /// # Errors
    /// As [`Self::request`].
    pub fn windows(&mut self) -> Result<Vec<Window>, Error> {
        match self.request(Request::Windows)? {
            Answer::Windows(windows) => Ok(windows),
            other => Err(unexpected(&other)),
        }
    }

    /// # Errors
    /// As [`Self::request`].
    pub fn status(&mut self) -> Result<Status, Error> {
        match self.request(Request::Status)? {
            Answer::Status(status) => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    /// A PNG of what a display shows, as a file in memory.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn screenshot(&mut self, display: &str) -> Result<OwnedFd, Error> {
        self.fds.clear();
        self.request(Request::Screenshot { display: display.to_owned(), path: None })?;
        self.fds.pop_front().ok_or_else(|| Error::Protocol("a screenshot without its descriptor".into()))
    }

    /// Bytes read since the start.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    pub(crate) fn take_events(&mut self) -> VecDeque<Event> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }

    /// The oldest descriptor that came and was not taken.
    pub(crate) fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop_front()
    }

    /// Waits for something to read; false where none comes in time.
    fn wait(&self, deadline: Instant) -> Result<bool, Error> {
        let Some(interrupt) = &self.interrupt else {
            return Ok(readable(&[self.stream.as_fd()], Some(deadline))?);
        };
        let came = readable(&[self.stream.as_fd(), interrupt.as_fd()], Some(deadline))?;
        if came && readable(&[interrupt.as_fd()], Some(Instant::now()))? {
            return Err(Error::Gone(None));
        }
        Ok(came)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.welcome.version == 0 {
            return;
        }
        // Who is not there any more, or has not read for so long, need not hear it.
        let goodbye = serde_json::to_vec(&FromClient { id: self.next + 1, request: Request::Goodbye });
        if let Ok(mut line) = goodbye {
            line.push(b'\n');
            let _ = send(&self.stream, &line, SendFlags::NOSIGNAL);
        }
    }
}

pub(crate) fn unexpected(answer: &Answer) -> Error {
    Error::Protocol(format!("an answer to another request: {answer:?}"))
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
