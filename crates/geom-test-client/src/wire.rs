//! A Wayland client that sends any bytes: requests that no client library would send.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

/// An argument of a request.
#[derive(Clone, Copy)]
pub enum Arg<'a> {
    /// A number, an object or a new id.
    Uint(u32),
    /// A number.
    Int(i32),
    /// A string.
    Text(&'a str),
    /// A string of length 0, which stands for null.
    Null,
}

/// A protocol error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireError {
    /// The object to which it was posted.
    pub object: u32,
    /// A value of the interface's enum `error`.
    pub code: u32,
    /// What is wrong.
    pub message: String,
}

/// The object that each connection starts with.
pub const DISPLAY: u32 = 1;
/// The registry that [`Wire::new`] creates.
pub const REGISTRY: u32 = 2;
const FIRST_FREE: u32 = 3;
/// File descriptors of a message, at most.
pub const MAX_FILES: usize = 28;

/// See the [module](self).
pub struct Wire {
    stream: UnixStream,
    /// Requests that are sent by the next [`Wire::exchange`].
    unsent: Vec<u8>,
    received: Vec<u8>,
    globals: BTreeMap<String, (u32, u32)>,
    next_id: u32,
    free: Vec<u32>,
    /// Events of objects other than the registry: object, opcode, arguments.
    pub events: Vec<(u32, u16, Vec<u8>)>,
    /// The protocol error that ends the connection.
    pub error: Option<WireError>,
    /// Whether the compositor has closed the connection.
    pub is_closed: bool,
}

impl Wire {
    /// Uses a connected socket, and asks for the globals.
    ///
    /// # Errors
    /// If the socket's options can't be set.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let mut wire = Self {
            stream,
            unsent: Vec::new(),
            received: Vec::new(),
            globals: BTreeMap::new(),
            next_id: FIRST_FREE,
            free: Vec::new(),
            events: Vec::new(),
            error: None,
            is_closed: false,
        };
        wire.send(DISPLAY, op::GET_REGISTRY, &[Arg::Uint(REGISTRY)]);
        Ok(wire)
    }

    /// Returns whether a global was announced.
    pub fn has_global(&self, interface: &str) -> bool {
        self.globals.contains_key(interface)
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
    ///
    /// # Errors
    /// If the socket is full.
    pub fn send_with(
        &mut self,
        object: u32,
        opcode: u16,
        args: &[Arg<'_>],
        files: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        self.flush();
        let sent = self.unsent.is_empty() && self.try_send(&Self::request(object, opcode, args), files);
        if sent || self.is_closed {
            return Ok(());
        }
        Err(ErrorKind::WouldBlock.into())
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

    /// Sends bytes, at most 4 KiB with up to [`MAX_FILES`] files, and returns whether the socket
    /// took them.
    pub fn try_send(&mut self, bytes: &[u8], files: &[BorrowedFd<'_>]) -> bool {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(files));
        }
        let flags = SendFlags::NOSIGNAL;
        match sendmsg(self.stream.as_fd(), &[IoSlice::new(bytes)], &mut control, flags) {
            // A stream socket takes a message of this size whole or not at all.
            Ok(_) => true,
            Err(rustix::io::Errno::AGAIN) => false,
            Err(_) => {
                self.is_closed = true;
                true
            }
        }
    }

    /// Returns the socket, for polling, or for a thread that sends without end: it does not block.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Returns the arguments of the last event of an object with an opcode.
    pub fn event(&self, object: u32, opcode: u16) -> Option<&[u8]> {
        let is_it = |event: &&(u32, u16, Vec<u8>)| (event.0, event.1) == (object, opcode);
        self.events.iter().rev().find(is_it).map(|event| &event.2[..])
    }

    /// Returns a new id.
    pub fn id(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.next_id += 1;
            self.next_id - 1
        })
    }

    /// Uses the ids of objects again that the compositor has destroyed.
    pub fn free(&mut self, ids: &[u32]) {
        self.free.extend(ids);
    }

    /// Returns whether requests wait for space in the socket.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Binds a global in its offered version, and returns the object; if it was not announced, an
    /// object that does not exist.
    pub fn bind(&mut self, interface: &str) -> u32 {
        let Some((name, version)) = self.globals.get(interface).copied() else { return 0 };
        let id = self.id();
        let args = [Arg::Uint(name), Arg::Text(interface), Arg::Uint(version), Arg::Uint(id)];
        self.send(REGISTRY, op::BIND, &args);
        id
    }

    /// The name of a global, if it was announced.
    pub fn global_name(&self, interface: &str) -> Option<u32> {
        self.globals.get(interface).map(|(name, _)| *name)
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
        let received = std::mem::take(&mut self.received);
        let mut rest = &received[..];
        while let Some((object, word)) = number(rest, 0).zip(number(rest, 4)) {
            let size = (word >> 16) as usize;
            let Some(body) = rest.get(HEADER..size) else { break };
            self.take(object, (word & 0xffff) as u16, body);
            rest = &rest[size..];
        }
        self.received = rest.to_vec();
    }

    fn take(&mut self, object: u32, opcode: u16, body: &[u8]) {
        if (object, opcode) == (DISPLAY, DISPLAY_ERROR) {
            let ids = number(body, 0).zip(number(body, 4));
            self.error = ids.map(|(object, code)| WireError { object, code, message: text(body, 8) });
        } else if (object, opcode) == (REGISTRY, REGISTRY_GLOBAL) {
            let version_at = 8 + (number(body, 4).unwrap_or_default() as usize).next_multiple_of(4);
            if let Some(global) = number(body, 0).zip(number(body, version_at)) {
                self.globals.insert(text(body, 4), global);
            }
        } else {
            self.events.push((object, opcode, body.to_vec()));
        }
    }
}

/// The size of a message's header: the object, its size and its opcode.
const HEADER: usize = 8;
/// The opcodes of the events that a [`Wire`] reads itself.
const DISPLAY_ERROR: u16 = 0;
const REGISTRY_GLOBAL: u16 = 0;

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Returns a string argument: its length with the final zero, and its bytes.
fn text(bytes: &[u8], at: usize) -> String {
    let length = number(bytes, at).unwrap_or_default() as usize;
    let bytes = bytes.get(at + 4..(at + 3 + length).max(at + 4)).unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

/// Opcodes of requests, in the order of wayland.xml and xdg-shell.xml.
pub mod op {
    #![allow(missing_docs)]
    pub const GET_REGISTRY: u16 = 1;
    pub const SYNC: u16 = 0;
    pub const BIND: u16 = 0;
    pub const CREATE_SURFACE: u16 = 0;
    pub const CREATE_REGION: u16 = 1;
    pub const CREATE_POOL: u16 = 0;
    pub const POOL_RESIZE: u16 = 2;
    pub const GET_SUBSURFACE: u16 = 1;
    pub const SUBSURFACE_PLACE_ABOVE: u16 = 2;
    pub const SURFACE_DESTROY: u16 = 0;
    pub const SURFACE_COMMIT: u16 = 6;
    pub const REGION_ADD: u16 = 1;
    pub const CREATE_POSITIONER: u16 = 1;
    pub const GET_XDG_SURFACE: u16 = 2;
    pub const GET_TOPLEVEL: u16 = 1;
    pub const GET_POPUP: u16 = 2;
    pub const POSITIONER_SET_SIZE: u16 = 1;
    pub const POSITIONER_SET_ANCHOR_RECT: u16 = 2;
    pub const POSITIONER_SET_PARENT_SIZE: u16 = 8;
    pub const XDG_SURFACE_SET_GEOMETRY: u16 = 3;
    pub const TOPLEVEL_SET_PARENT: u16 = 1;
    pub const TOPLEVEL_SET_TITLE: u16 = 2;
    pub const TOPLEVEL_SET_MAX_SIZE: u16 = 7;
    pub const TOPLEVEL_SET_MIN_SIZE: u16 = 8;
    pub const SURFACE_DAMAGE: u16 = 2;
    pub const SURFACE_DAMAGE_BUFFER: u16 = 9;
    pub const REGION_SUBTRACT: u16 = 2;
    pub const GET_LAYER_SURFACE: u16 = 0;
    pub const LAYER_SET_SIZE: u16 = 0;
    pub const GET_POINTER: u16 = 0;
    pub const SHAPE_GET_POINTER: u16 = 1;
    pub const POOL_CREATE_BUFFER: u16 = 0;
    pub const SURFACE_ATTACH: u16 = 1;
    pub const ACK_CONFIGURE: u16 = 4;
    pub const POPUP_GRAB: u16 = 1;
    pub const POSITIONER_SET_OFFSET: u16 = 6;
    pub const GET_KEYBOARD: u16 = 1;
    pub const SUBSURFACE_SET_POSITION: u16 = 1;
    pub const LAYER_SET_ANCHOR: u16 = 1;
    pub const LAYER_SET_EXCLUSIVE_ZONE: u16 = 2;
    pub const LAYER_SET_MARGIN: u16 = 3;
    pub const LAYER_ACK_CONFIGURE: u16 = 6;
    pub const CREATE_DATA_SOURCE: u16 = 0;
    pub const GET_DATA_DEVICE: u16 = 1;
    pub const SOURCE_OFFER: u16 = 0;
    pub const START_DRAG: u16 = 0;
}
