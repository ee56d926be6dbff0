//! A control client that a test drives step by step.

use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use geom_ipc::{ClientKind, Event, LineBuffer, Reply, Request, Response, ServerMessage};
use rustix::io::Errno;
use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::json;

use super::Fixture;

/// A control client that writes lines of text, so that it can also write invalid ones.
pub struct Control {
    pub stream: UnixStream,
    lines: LineBuffer,
    pub replies: Vec<Reply>,
    pub events: Vec<Event>,
    pub answers_pings: bool,
    /// The service closed the connection.
    pub closed: bool,
    /// The id of the last request.
    pub last_id: u64,
    /// Descriptors that came with replies.
    pub fds: Vec<OwnedFd>,
}

/// Receives bytes and descriptors (SCM_RIGHTS).
fn receive(stream: &UnixStream, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let iov = &mut [IoSliceMut::new(buffer)];
    let received = recvmsg(stream, iov, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok(received.bytes)
}

impl Control {
    /// Connects without `hello`.
    pub fn raw(fixture: &mut Fixture) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        for stream in [&ours, &theirs] {
            stream.set_nonblocking(true).expect("a socket option");
        }
        fixture.compositor.state.new_client(ours, ClientKind::Control, None);
        Self {
            stream: theirs,
            lines: LineBuffer::default(),
            replies: vec![],
            events: vec![],
            answers_pings: true,
            closed: false,
            last_id: 0,
            fds: vec![],
        }
    }

    /// Connects and says `hello`, with these members in addition.
    pub fn greeted(fixture: &mut Fixture, hello: serde_json::Value) -> Self {
        let mut control = Self::raw(fixture);
        let mut line = json!({"request": "hello", "versions": [1], "name": "test"});
        for (key, value) in hello.as_object().expect("an object") {
            line[key] = value.clone();
        }
        let reply = control.request_json(fixture, line);
        assert!(matches!(reply, Ok(Response::Welcome(_))), "{reply:?}");
        control
    }

    /// Writes bytes. Returns whether the socket took them.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Reads what is there, and answers pings.
    pub fn poll(&mut self) {
        while self.receive() {}
        self.handle_lines();
    }

    /// Reads once, from a socket that is ready, and answers pings.
    pub fn poll_once(&mut self) {
        self.receive();
        self.handle_lines();
    }

    /// Reads once. Returns whether there may be more.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match receive(&self.stream, &mut buffer, &mut self.fds) {
            Ok(0) => self.closed = true,
            Ok(count) => {
                self.lines.extend(&buffer[..count]);
                return true;
            }
            Err(Errno::AGAIN) => {}
            Err(_) => self.closed = true,
        }
        false
    }

    fn handle_lines(&mut self) {
        while let Ok(Some(line)) = self.lines.next_line() {
            match ServerMessage::parse(&line).expect("the protocol") {
                ServerMessage::Event(Event::Ping { serial }) if self.answers_pings => {
                    self.write(
                        format!("{}\n", json!({"id": 0, "request": "pong", "serial": serial})).as_bytes(),
                    );
                }
                ServerMessage::Event(event) => self.events.push(event),
                ServerMessage::Reply(reply) => self.replies.push(reply),
            }
        }
    }

    /// Sends a request that may be invalid, and waits for its reply.
    pub fn request_json(
        &mut self,
        fixture: &mut Fixture,
        mut line: serde_json::Value,
    ) -> Result<Response, geom_ipc::Error> {
        self.last_id += 1;
        line["id"] = self.last_id.into();
        assert!(self.write(format!("{line}\n").as_bytes()));
        self.reply(fixture)
    }

    /// Waits for the reply to the last request.
    fn reply(&mut self, fixture: &mut Fixture) -> Result<Response, geom_ipc::Error> {
        let wanted = Some(self.last_id);
        let mut found = None;
        fixture.until("a reply", |_| {
            self.poll();
            let position = self.replies.iter().position(|reply| reply.id == wanted);
            found = position.map(|position| self.replies.swap_remove(position));
            found.is_some()
        });
        found.expect("a reply").into_result()
    }

    /// Sends a request and waits for its reply.
    pub fn request(&mut self, fixture: &mut Fixture, request: Request) -> Result<Response, geom_ipc::Error> {
        self.request_json(fixture, serde_json::to_value(request).expect("JSON"))
    }

    /// Requests the list of clients.
    pub fn clients(&mut self, fixture: &mut Fixture) -> Vec<geom_ipc::Client> {
        match self.request(fixture, Request::Clients) {
            Ok(Response::Clients(clients)) => clients,
            other => panic!("{other:?}"),
        }
    }

    /// Runs iterations until an event is received; `what` names it if it never is.
    pub fn until_event(&mut self, fixture: &mut Fixture, what: &str, wanted: impl Fn(&Event) -> bool) {
        fixture.until(what, |_| {
            self.poll();
            self.events.iter().any(&wanted)
        });
    }
}
