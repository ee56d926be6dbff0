//! A Wayland client that sends any bytes: requests that no client library would send.

use std::collections::BTreeMap;
use std::io::{ErrorKind, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::Fixture;

/// An argument of a request.
#[derive(Clone, Copy)]
pub enum Arg<'a> {
    /// A number, an object or a new id.
    Uint(u32),
    Int(i32),
    Text(&'a str),
    /// A string of length 0, which stands for null.
    Null,
}

/// A protocol error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireError {
    pub object: u32,
    pub code: u32,
    pub message: String,
}

/// Ids of the objects that a [`Wire`] creates itself.
const REGISTRY: u32 = 2;
const FIRST_FREE: u32 = 3;

/// See the [module](self).
pub struct Wire {
    stream: UnixStream,
    /// Requests that are sent by the next [`Wire::exchange`].
    unsent: Vec<u8>,
    received: Vec<u8>,
    globals: BTreeMap<String, (u32, u32)>,
    next_id: u32,
    /// Events of objects other than the registry: object, opcode, arguments.
    pub events: Vec<(u32, u16, Vec<u8>)>,
    pub error: Option<WireError>,
    pub is_closed: bool,
}

impl Wire {
    /// Connects, and waits for the globals.
    pub fn new(fixture: &mut Fixture) -> Self {
        let stream = fixture.connect();
        stream.set_nonblocking(true).expect("a socket option");
        let mut wire = Self {
            stream,
            unsent: Vec::new(),
            received: Vec::new(),
            globals: BTreeMap::new(),
            next_id: FIRST_FREE,
            events: Vec::new(),
            error: None,
            is_closed: false,
        };
        wire.send(1, 1, &[Arg::Uint(REGISTRY)]);
        fixture.until("globals", |_| {
            wire.exchange();
            wire.globals.contains_key("xdg_wm_base") && wire.globals.contains_key("wl_seat")
        });
        wire
    }

    /// Returns the bytes of a request.
    pub fn request(object: u32, opcode: u16, args: &[Arg<'_>]) -> Vec<u8> {
        let mut body = Vec::new();
        for arg in args {
            match arg {
                Arg::Uint(number) => body.extend(number.to_ne_bytes()),
                Arg::Int(number) => body.extend(number.to_ne_bytes()),
                Arg::Null => body.extend(0u32.to_ne_bytes()),
                Arg::Text(text) => {
                    let length = text.len() + 1;
                    body.extend((length as u32).to_ne_bytes());
                    body.extend(text.as_bytes());
                    body.resize(body.len() + 1 + (4 - length % 4) % 4, 0);
                }
            }
        }
        let size = (body.len() + 8) as u32;
        let mut message = object.to_ne_bytes().to_vec();
        message.extend((size << 16 | u32::from(opcode)).to_ne_bytes());
        message.extend(body);
        message
    }

    /// Sends a request with the next [`Wire::exchange`].
    pub fn send(&mut self, object: u32, opcode: u16, args: &[Arg<'_>]) {
        self.unsent.extend(Self::request(object, opcode, args));
    }

    /// Sends a request with file descriptors, and all before it.
    pub fn send_with(&mut self, object: u32, opcode: u16, args: &[Arg<'_>], files: &[BorrowedFd<'_>]) {
        self.flush();
        let sent = self.unsent.is_empty() && self.try_send(&Self::request(object, opcode, args), files);
        assert!(sent || self.is_closed, "the socket is full");
    }

    fn flush(&mut self) {
        while !self.unsent.is_empty() {
            let part: Vec<u8> = self.unsent.iter().take(1 << 12).copied().collect();
            if !self.try_send(&part, &[]) {
                break;
            }
            self.unsent.drain(..part.len());
        }
    }

    /// Sends bytes if the socket takes them.
    pub fn try_send(&mut self, bytes: &[u8], files: &[BorrowedFd<'_>]) -> bool {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(28))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(files)), "at most 28 descriptors");
        }
        let flags = SendFlags::NOSIGNAL;
        match sendmsg(self.stream.as_fd(), &[IoSlice::new(bytes)], &mut control, flags) {
            Ok(count) => {
                assert_eq!(count, bytes.len(), "a message is sent whole");
                true
            }
            Err(rustix::io::Errno::AGAIN) => false,
            Err(_) => {
                self.is_closed = true;
                true
            }
        }
    }

    /// Returns the socket, for a thread that sends without end.
    pub fn blocking_stream(&self) -> UnixStream {
        let stream = self.stream.try_clone().expect("a descriptor");
        stream.set_nonblocking(false).expect("a socket option");
        stream
    }

    /// Returns the arguments of the last event of an object with an opcode.
    pub fn event(&self, object: u32, opcode: u16) -> Option<&[u8]> {
        let is_it = |event: &&(u32, u16, Vec<u8>)| (event.0, event.1) == (object, opcode);
        self.events.iter().rev().find(is_it).map(|event| &event.2[..])
    }

    /// Returns a new id.
    pub fn id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Binds a global in its offered version, and returns the object.
    pub fn bind(&mut self, interface: &str) -> u32 {
        let (name, version) = self.globals[interface];
        let id = self.id();
        let args = [Arg::Uint(name), Arg::Text(interface), Arg::Uint(version), Arg::Uint(id)];
        self.send(REGISTRY, 0, &args);
        id
    }

    /// The name of a global.
    pub fn global_name(&self, interface: &str) -> u32 {
        self.globals[interface].0
    }

    /// Creates an object by a request whose first argument is its id.
    pub fn create(&mut self, object: u32, opcode: u16, rest: &[Arg<'_>]) -> u32 {
        let id = self.id();
        let args: Vec<Arg<'_>> = [Arg::Uint(id)].into_iter().chain(rest.iter().copied()).collect();
        self.send(object, opcode, &args);
        id
    }

    /// Sends what the socket takes, and reads what has arrived.
    pub fn exchange(&mut self) {
        self.flush();
        let mut buffer = [0; 1 << 14];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.is_closed = true;
                    break;
                }
                Ok(count) => self.received.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.is_closed = true;
                    break;
                }
            }
        }
        let number =
            |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let mut at = 0;
        while self.received.len() >= at + 8 {
            let (object, word) = (number(&self.received, at), number(&self.received, at + 4));
            let size = (word >> 16) as usize;
            if self.received.len() < at + size {
                break;
            }
            let body = &self.received[at + 8..at + size];
            let text = |at: usize| {
                let length = number(body, at) as usize;
                String::from_utf8_lossy(&body[at + 4..at + 3 + length]).into_owned()
            };
            match (object, word & 0xffff) {
                (1, 0) => {
                    let (object, code) = (number(body, 0), number(body, 4));
                    self.error = Some(WireError { object, code, message: text(8) });
                }
                (REGISTRY, 0) => {
                    let interface = text(4);
                    let padded = (number(body, 4) as usize).next_multiple_of(4);
                    let version = number(body, 8 + padded);
                    self.globals.insert(interface, (number(body, 0), version));
                }
                _ => self.events.push((object, (word & 0xffff) as u16, body.to_vec())),
            }
            at += size;
        }
        self.received.drain(..at);
    }
}
