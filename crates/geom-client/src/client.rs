//! A connection without a thread, for blocking programs and for event loops.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use geom_ipc::{
    ClientMessage, CloseReason, ConnectType, Display, ErrorKind, Event, InputDevice, LineBuffer, Reply,
    Request, Response, ServerMessage, Status, Welcome, Window,
};
use rustix::io::Errno;
use rustix::net::{recvmsg, send, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags};

use crate::wait::{readable, writable};
use crate::Error;

/// Options of a connection.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Path of the control socket. By default, the paths of [`geom_ipc::socket_paths`] are tried.
    pub socket: Option<PathBuf>,
    /// Name of the program, which the service shows in its list of clients.
    pub name: String,
    /// Connection type. By default, the service's configuration decides.
    pub connect_type: Option<ConnectType>,
    /// Token of the session to resume, from [`Client::welcome`] of an earlier process. If the
    /// service has not kept that session, a new one begins.
    pub token: Option<String>,
    /// Maximum time to wait for a reply. 10 seconds by default.
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

/// A connection to the service, used by one thread.
///
/// A blocking program calls the request methods and [`Self::next_event`]. A program with an event
/// loop polls [`as_fd`](AsFd::as_fd) for reading and then calls [`Self::dispatch`].
///
/// Each of these calls answers the service's heartbeats. A program that makes none for `lost_ms` of
/// [`Welcome`] loses its connection; [`Self::resume`] resumes the session. [`crate::Session`]
/// answers heartbeats in a thread.
///
/// Dropping it ends the session: the service keeps nothing of it.
#[derive(Debug)]
pub struct Client {
    options: ConnectOptions,
    stream: UnixStream,
    input: LineBuffer,
    fds: VecDeque<OwnedFd>,
    last_id: u64,
    events: VecDeque<Event>,
    replies: Vec<Reply>,
    welcome: Welcome,
    close_reason: Option<CloseReason>,
    received_bytes: u64,
    /// Cancels waiting for a reply while it is readable.
    pub(crate) cancel: Option<Arc<OwnedFd>>,
}

/// The maximum number of unread events. The oldest are dropped.
const MAX_UNREAD_EVENTS: usize = 4096;

/// Connects to the first of these sockets at which a service listens.
fn connect_any(paths: Vec<PathBuf>) -> Result<UnixStream, Error> {
    let mut forbidden = None;
    for path in &paths {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                forbidden.get_or_insert_with(|| path.clone());
            }
            Err(_) => {}
        }
    }
    Err(forbidden.map_or(Error::NotRunning(paths), Error::NotPermitted))
}

impl Client {
    /// Connects to the service and begins a session, or resumes the one of
    /// [`ConnectOptions::token`].
    ///
    /// # Errors
    /// [`Error::NotRunning`] if no service accepts the connection, [`Error::NotPermitted`] if this
    /// user may not open its socket, [`Error::Server`] if it refuses the client,
    /// [`Error::TimedOut`].
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
        cancel: Option<Arc<OwnedFd>>,
    ) -> Result<Self, Error> {
        let paths = match &options.socket {
            Some(path) => vec![path.clone()],
            None => geom_ipc::socket_paths(|name| std::env::var_os(name)),
        };
        let stream = connect_any(paths)?;
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
            input: LineBuffer::default(),
            fds: VecDeque::new(),
            last_id: 0,
            events: VecDeque::new(),
            replies: Vec::new(),
            welcome,
            close_reason: None,
            received_bytes: 0,
            cancel,
        };
        let (name, connect_type) = (options.name.clone(), options.connect_type);
        let hello = Request::Hello { versions: vec![geom_ipc::VERSION], name, connect_type, token };
        match client.request(hello)? {
            Response::Welcome(welcome) => client.welcome = welcome,
            other => return Err(unexpected(&other)),
        }
        Ok(client)
    }

    /// Connects again and resumes the session, with its id and its subscription.
    ///
    /// # Errors
    /// [`Error::Server`] with [`ErrorKind::NotFound`] if the service has not kept the session;
    /// otherwise as [`Self::connect`].
    pub fn resume(&mut self) -> Result<(), Error> {
        let token = Some(self.welcome.token.clone());
        *self = Self::open(&self.options, token, self.cancel.clone())?;
        Ok(())
    }

    /// Connects again and begins a new session, for example if the old one can't be resumed.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn reconnect(&mut self) -> Result<(), Error> {
        *self = Self::open(&self.options, None, self.cancel.clone())?;
        Ok(())
    }

    /// Returns the service's response to `hello`.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Sends a request and waits for the response. Events that arrive meanwhile are kept for
    /// [`Self::next_event`].
    ///
    /// # Errors
    /// [`Error::Server`] if the service replies with an error, [`Error::TimedOut`] if it does not
    /// reply within [`ConnectOptions::timeout`], [`Error::Disconnected`] if the connection ends.
    pub fn request(&mut self, request: Request) -> Result<Response, Error> {
        let id = self.send(request)?;
        let deadline = Instant::now() + self.options.timeout;
        loop {
            if let Some(result) = self.take_reply(id) {
                return Ok(result?);
            }
            // An error without an id concerns the connection: it was refused, or a line was too
            // long.
            if let Some(index) = self.replies.iter().position(|reply| reply.id.is_none()) {
                return Ok(self.replies.swap_remove(index).into_result()?);
            }
            if !self.wait(deadline)? {
                return Err(Error::TimedOut(self.options.timeout));
            }
            self.dispatch()?;
        }
    }

    /// Sends a request and returns its id, for [`Self::take_reply`].
    ///
    /// # Errors
    /// [`Error::Disconnected`] if the connection ended, [`Error::TimedOut`] if the service does not
    /// read.
    pub fn send(&mut self, request: Request) -> Result<u64, Error> {
        self.last_id += 1;
        let id = self.last_id;
        let line = serde_json::to_vec(&ClientMessage { id, request });
        let mut line = line.map_err(|error| Error::Protocol(error.to_string()))?;
        line.push(b'\n');
        let deadline = Instant::now() + self.options.timeout;
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            // NOSIGNAL: SIGPIPE would end a C program. Rust's runtime ignores the signal.
            match send(&self.stream, rest, SendFlags::NOSIGNAL) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN) => {
                    if !writable(&[self.stream.as_fd()], Some(deadline))? {
                        return Err(Error::TimedOut(self.options.timeout));
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::PIPE) => {
                    // The service may have sent the reason before it closed the connection.
                    let _ = self.dispatch();
                    if self.replies.iter().any(|reply| reply.id.is_none()) {
                        return Ok(id);
                    }
                    return Err(Error::Disconnected(self.close_reason));
                }
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
        }
        Ok(id)
    }

    /// Removes and returns the reply to the request with this id, if [`Self::dispatch`] has read
    /// it.
    pub fn take_reply(&mut self, id: u64) -> Option<Result<Response, geom_ipc::Error>> {
        let index = self.replies.iter().position(|reply| reply.id == Some(id))?;
        Some(self.replies.swap_remove(index).into_result())
    }

    /// Reads all messages that have arrived, without waiting, and answers heartbeats.
    ///
    /// # Errors
    /// [`Error::Disconnected`] if the connection ended and no unread reply or event is left,
    /// [`Error::Protocol`] if a message violates the protocol.
    pub fn dispatch(&mut self) -> Result<(), Error> {
        let mut closed = false;
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
                        closed = true;
                        break;
                    }
                    self.received_bytes += message.bytes as u64;
                    self.input.extend(buffer.get(..message.bytes).unwrap_or_default());
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => {
                    closed = true;
                    break;
                }
                Err(error) => return Err(std::io::Error::from(error).into()),
            }
        }
        while let Some(line) = self.input.next_line().map_err(|error| Error::Protocol(error.to_string()))? {
            match ServerMessage::parse(&line).map_err(|error| Error::Protocol(error.to_string()))? {
                ServerMessage::Event(Event::Ping { serial }) => {
                    // The reply to the pong is ignored: no caller knows its id.
                    let _ = self.send(Request::Pong { serial });
                }
                ServerMessage::Event(Event::Goodbye { reason }) => self.close_reason = Some(reason),
                ServerMessage::Event(event) => {
                    if self.events.len() == MAX_UNREAD_EVENTS {
                        self.events.pop_front();
                    }
                    self.events.push_back(event);
                }
                ServerMessage::Reply(reply) => self.replies.push(reply),
            }
        }
        if closed && self.replies.is_empty() && self.events.is_empty() {
            return Err(Error::Disconnected(self.close_reason));
        }
        Ok(())
    }

    /// Returns the next event, or `None` if there is none within `timeout`. Events arrive after
    /// [`Self::subscribe`]. At most 4096 unread events are kept; the oldest are dropped.
    ///
    /// # Errors
    /// [`Error::Disconnected`] if the connection ended and no unread event is left.
    pub fn next_event(&mut self, timeout: Duration) -> Result<Option<Event>, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            // Replies to pongs, which no caller takes.
            self.replies.clear();
            if !self.wait(deadline)? {
                return Ok(None);
            }
            self.dispatch()?;
        }
    }

    /// Subscribes to all events.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn subscribe(&mut self) -> Result<(), Error> {
        self.request(Request::Subscribe).map(drop)
    }

    /// Lists the displays.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn displays(&mut self) -> Result<Vec<Display>, Error> {
        match self.request(Request::Displays)? {
            Response::Displays(displays) => Ok(displays),
            other => Err(unexpected(&other)),
        }
    }

    /// Lists the connections.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn clients(&mut self) -> Result<Vec<geom_ipc::Client>, Error> {
        match self.request(Request::Clients)? {
            Response::Clients(clients) => Ok(clients),
            other => Err(unexpected(&other)),
        }
    }

    /// Lists the toplevel windows.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn windows(&mut self) -> Result<Vec<Window>, Error> {
        match self.request(Request::Windows)? {
            Response::Windows(windows) => Ok(windows),
            other => Err(unexpected(&other)),
        }
    }

    /// Lists the input devices.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn input_devices(&mut self) -> Result<Vec<InputDevice>, Error> {
        match self.request(Request::InputDevices)? {
            Response::InputDevices(devices) => Ok(devices),
            other => Err(unexpected(&other)),
        }
    }

    /// Queries the state of the service.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn status(&mut self) -> Result<Status, Error> {
        match self.request(Request::Status)? {
            Response::Status(status) => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes a screenshot of a display. Returns a file in memory with the PNG, at offset 0.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn screenshot(&mut self, display: &str) -> Result<OwnedFd, Error> {
        self.fds.clear();
        self.request(Request::Screenshot { display: display.to_owned() })?;
        self.take_fd().ok_or_else(no_descriptor)
    }

    /// Returns the number of bytes received on this connection.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    pub(crate) fn take_events(&mut self) -> VecDeque<Event> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }

    /// Removes and returns the oldest received file descriptor.
    pub(crate) fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop_front()
    }

    /// Waits until the socket is readable. Returns false if the deadline passes first.
    fn wait(&self, deadline: Instant) -> Result<bool, Error> {
        let Some(cancel) = &self.cancel else {
            return Ok(readable(&[self.stream.as_fd()], Some(deadline))?);
        };
        let ready = readable(&[self.stream.as_fd(), cancel.as_fd()], Some(deadline))?;
        if ready && readable(&[cancel.as_fd()], Some(Instant::now()))? {
            return Err(Error::Disconnected(None));
        }
        Ok(ready)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.welcome.version == 0 {
            return;
        }
        let goodbye = serde_json::to_vec(&ClientMessage { id: self.last_id + 1, request: Request::Goodbye });
        if let Ok(mut line) = goodbye {
            line.push(b'\n');
            // A service that is gone or does not read does not need it.
            let _ = send(&self.stream, &line, SendFlags::NOSIGNAL);
        }
    }
}

/// The error for a response of the wrong kind.
pub(crate) fn unexpected(response: &Response) -> Error {
    Error::Protocol(format!("a response to another request: {response:?}"))
}

/// The error for a screenshot without its file descriptor.
pub(crate) fn no_descriptor() -> Error {
    Error::Protocol("a screenshot without a file descriptor".into())
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
