//! A control client of the in-process tests.

use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use geom_ipc::{ClientKind, Event, LineBuffer, Reply, Request, Response, ServerMessage};
use rustix::io::Errno;
use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::json;

use super::Fixture;

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

/// A control client that sends lines, so that it can send invalid ones.
pub struct Control {
    pub stream: UnixStream,
    pub frames: LineBuffer,
    pub replies: Vec<Reply>,
    pub events: Vec<Event>,
    /// Answers pings.
    pub polite: bool,
    pub broken: bool,
    pub next: u64,
    /// Descriptors that came with replies.
    pub fds: Vec<OwnedFd>,
}

impl Control {
    pub fn raw(fixture: &mut Fixture) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        for stream in [&ours, &theirs] {
            stream.set_nonblocking(true).expect("a socket option");
        }
        fixture.compositor.state.new_client(ours, ClientKind::Control, None);
        let frames = LineBuffer::default();
        Self {
            stream: theirs,
            frames,
            replies: vec![],
            events: vec![],
            polite: true,
            broken: false,
            next: 0,
            fds: vec![],
        }
    }

    pub fn greeted(fixture: &mut Fixture, hello: serde_json::Value) -> Self {
        let mut control = Self::raw(fixture);
        let mut line = json!({"request": "hello", "versions": [1], "name": "test"});
        for (key, value) in hello.as_object().expect("an object") {
            line[key] = value.clone();
        }
        let answer = control.ask_json(fixture, line);
        assert!(matches!(answer, Ok(Response::Welcome(_))), "{answer:?}");
        control
    }

    pub fn say(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub fn turn(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match receive(&self.stream, &mut buffer, &mut self.fds) {
                Ok(0) => break self.broken = true,
                Ok(count) => self.frames.extend(&buffer[..count]),
                Err(Errno::AGAIN) => break,
                Err(_) => break self.broken = true,
            }
        }
        while let Ok(Some(line)) = self.frames.next_line() {
            match ServerMessage::parse(&line).expect("the protocol") {
                ServerMessage::Event(Event::Ping { serial }) if self.polite => {
                    self.say(
                        format!("{}\n", json!({"id": 0, "request": "pong", "serial": serial})).as_bytes(),
                    );
                }
                ServerMessage::Event(event) => self.events.push(event),
                ServerMessage::Reply(reply) => self.replies.push(reply),
            }
        }
    }

    pub fn ask_json(
        &mut self,
        fixture: &mut Fixture,
        mut line: serde_json::Value,
    ) -> Result<Response, geom_ipc::Error> {
        self.next += 1;
        line["id"] = self.next.into();
        assert!(self.say(format!("{line}\n").as_bytes()));
        self.answer(fixture)
    }

    pub fn answer(&mut self, fixture: &mut Fixture) -> Result<Response, geom_ipc::Error> {
        let wanted = Some(self.next);
        let mut found = None;
        fixture.until("an answer", |_| {
            self.turn();
            let place = self.replies.iter().position(|reply| reply.id == wanted);
            found = place.map(|place| self.replies.swap_remove(place));
            found.is_some()
        });
        found.expect("an answer").into_result()
    }

    pub fn ask(&mut self, fixture: &mut Fixture, request: Request) -> Result<Response, geom_ipc::Error> {
        self.ask_json(fixture, serde_json::to_value(request).expect("JSON"))
    }

    pub fn clients(&mut self, fixture: &mut Fixture) -> Vec<geom_ipc::Client> {
        match self.ask(fixture, Request::Clients) {
            Ok(Response::Clients(clients)) => clients,
            other => panic!("{other:?}"),
        }
    }

    pub fn until_event(&mut self, fixture: &mut Fixture, what: &str, wanted: impl Fn(&Event) -> bool) {
        fixture.until(what, |_| {
            self.turn();
            self.events.iter().any(&wanted)
        });
    }
}
