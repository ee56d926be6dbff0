//! A client on the wire: its objects, and what it learns from events.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use geom_compositor::internals::fuzzing::wayland_server::backend::protocol::{ArgumentType, Interface};
use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::files::Files;

/// The id of the registry that each client creates first.
pub const REGISTRY: u32 = 2;
const DISPLAY: u32 = 1;
const FIRST_FREE: u32 = 3;

/// What was sent, in order.
enum Sent {
    Request(String),
    /// wl_display.sync with this callback.
    Sync(u32),
}

/// A live object.
#[derive(Clone, Copy)]
pub struct Object {
    pub id: u32,
    pub interface: &'static Interface,
    pub version: u32,
}

pub struct Client {
    /// The number of the connection.
    pub id: u64,
    stream: UnixStream,
    received: Vec<u8>,
    pub files: Files,
    pub objects: BTreeMap<u32, Object>,
    /// Ids of destroyed objects.
    pub dead: Vec<u32>,
    /// Name, interface, version.
    pub globals: Vec<(u32, String, u32)>,
    next_id: u32,
    /// Serials of input events; of presses, and of the pointer's arrival on a surface.
    pub serials: Vec<u32>,
    pub presses: Vec<u32>,
    pub enters: Vec<u32>,
    /// The serial that each object's latest event asks to be answered with.
    pub configured: BTreeMap<u32, u32>,
    /// The object whose event created an object.
    pub parents: BTreeMap<u32, u32>,
    sent: VecDeque<Sent>,
    /// Requests that were followed by an answered sync.
    pub accepted: Vec<String>,
    /// Object, code and message of the protocol error.
    pub error: Option<(u32, u32, String)>,
    pub is_closed: bool,
    answers_pings: bool,
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

/// Returns the bytes of a request.
pub fn message(object: u32, opcode: u16, body: &[u8]) -> Vec<u8> {
    let size = (body.len() + 8) as u32;
    let mut message = object.to_ne_bytes().to_vec();
    message.extend((size << 16 | u32::from(opcode)).to_ne_bytes());
    message.extend(body);
    message
}

/// Appends a string's or array's length and bytes.
pub fn push_bytes(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend((bytes.len() as u32).to_ne_bytes());
    body.extend(bytes);
    body.resize(body.len().next_multiple_of(4), 0);
}

impl Client {
    /// Asks for the registry.
    pub fn new(id: u64, stream: UnixStream, answers_pings: bool) -> Self {
        let mut client = Self {
            id,
            stream,
            received: Vec::new(),
            files: Files::default(),
            objects: BTreeMap::new(),
            dead: Vec::new(),
            globals: Vec::new(),
            next_id: FIRST_FREE,
            serials: Vec::new(),
            presses: Vec::new(),
            enters: Vec::new(),
            configured: BTreeMap::new(),
            parents: BTreeMap::new(),
            sent: VecDeque::new(),
            accepted: Vec::new(),
            error: None,
            is_closed: false,
            answers_pings,
        };
        client.send(&message(DISPLAY, 1, &REGISTRY.to_ne_bytes()), &[]);
        client
    }

    /// Returns the next id.
    pub fn new_id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Takes back the ids from this one on, of a request that was not sent: libwayland refuses ids
    /// with a gap.
    pub fn take_back(&mut self, id: u32) {
        self.next_id = id;
    }

    /// Returns the id that is used next.
    pub fn next_id(&self) -> u32 {
        self.next_id
    }

    /// Sends bytes with descriptors. Returns false if the socket is full, and nothing was sent.
    pub fn send(&mut self, bytes: &[u8], files: &[OwnedFd]) -> bool {
        let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(28))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&files));
        }
        match sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Ok(count) => {
                // A part of a message would make the rest of the stream garbage.
                self.is_closed |= count < bytes.len();
                true
            }
            Err(rustix::io::Errno::AGAIN) => false,
            Err(_) => {
                self.is_closed = true;
                true
            }
        }
    }

    /// Notes that a request was sent.
    pub fn note(&mut self, interface: &str, request: &str) {
        self.sent.push_back(Sent::Request(format!("{interface}.{request}")));
    }

    /// Sends wl_display.sync, and returns its callback.
    pub fn sync(&mut self) -> u32 {
        let callback = self.new_id();
        if self.send(&message(DISPLAY, 0, &callback.to_ne_bytes()), &[]) {
            self.sent.push_back(Sent::Sync(callback));
        } else {
            self.next_id -= 1;
        }
        callback
    }

    /// Returns whether all that was sent has been answered.
    pub fn is_answered(&self) -> bool {
        self.sent.is_empty()
    }

    pub fn insert(&mut self, id: u32, interface: &'static Interface, version: u32) {
        self.objects.insert(id, Object { id, interface, version });
    }

    pub fn remove(&mut self, id: u32) {
        if self.objects.remove(&id).is_some() {
            self.dead.push(id);
        }
    }

    /// Returns live objects of an interface, oldest first.
    pub fn of(&self, interface: &str) -> Vec<Object> {
        self.objects.values().filter(|object| object.interface.name == interface).copied().collect()
    }

    /// Reads events. Descriptors that come with them are closed by the kernel.
    pub fn read(&mut self) {
        let mut buffer = [0; 1 << 14];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(count) if count > 0 => self.received.extend(buffer.iter().take(count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                _ => {
                    self.is_closed = true;
                    break;
                }
            }
        }
        let received = std::mem::take(&mut self.received);
        let mut rest = received.as_slice();
        while let (Some(object), Some(word)) = (number(rest, 0), number(rest, 4)) {
            let Some(body) = rest.get(8..(word >> 16) as usize) else { break };
            self.event(object, (word & 0xffff) as usize, body);
            rest = rest.get((word >> 16) as usize..).unwrap_or_default();
        }
        self.received = rest.to_vec();
    }

    fn event(&mut self, object: u32, opcode: usize, body: &[u8]) {
        let text = |at: usize| {
            let length = number(body, at).unwrap_or(1) as usize;
            let bytes = body.get(at + 4..(at + 3).saturating_add(length)).unwrap_or_default();
            (String::from_utf8_lossy(bytes).into_owned(), at + 4 + length.next_multiple_of(4))
        };
        let first = number(body, 0).unwrap_or(0);
        match (object, opcode) {
            (DISPLAY, 0) => self.error = Some((first, number(body, 4).unwrap_or(0), text(8).0)),
            (DISPLAY, _) => self.remove(first),
            (REGISTRY, 0) => {
                let (interface, end) = text(4);
                self.globals.push((first, interface, number(body, end).unwrap_or(1)));
            }
            (REGISTRY, _) => self.globals.retain(|(name, ..)| *name != first),
            _ => self.object_event(object, opcode, body, first),
        }
    }

    fn object_event(&mut self, object: u32, opcode: usize, body: &[u8], first: u32) {
        let Some(Object { interface, version, .. }) = self.objects.get(&object).copied() else {
            self.callback_done(object);
            return;
        };
        let Some(event) = interface.events.get(opcode) else { return };
        match (interface.name, event.name) {
            ("xdg_wm_base", "ping") if self.answers_pings => {
                self.send(&message(object, 3, &first.to_ne_bytes()), &[]);
            }
            (_, "configure" | "done") if event.signature.first() == Some(&ArgumentType::Uint) => {
                self.configured.insert(object, first);
            }
            ("wl_pointer", "enter") => {
                self.serials.push(first);
                self.enters.push(first);
            }
            ("wl_pointer" | "wl_keyboard", "button" | "key") => {
                self.serials.push(first);
                if number(body, 12) == Some(1) {
                    self.presses.push(first);
                }
            }
            ("wl_touch", "down") => {
                self.serials.push(first);
                self.presses.push(first);
            }
            ("wl_pointer" | "wl_keyboard" | "wl_data_device", "enter" | "leave" | "modifiers")
            | ("wl_touch", "up") => self.serials.push(first),
            _ => {}
        }
        let mut at = 0;
        for kind in event.signature {
            match kind {
                ArgumentType::NewId => {
                    if let (Some(id), Some(child)) = (number(body, at), event.child_interface) {
                        self.insert(id, child, version);
                        self.parents.insert(id, object);
                    }
                    at += 4;
                }
                ArgumentType::Str(_) | ArgumentType::Array => {
                    at += 4 + (number(body, at).unwrap_or(0) as usize).next_multiple_of(4);
                }
                ArgumentType::Fd => {}
                _ => at += 4,
            }
        }
        if event.is_destructor {
            self.remove(object);
        }
    }

    /// All that was sent before a sync was accepted.
    fn callback_done(&mut self, callback: u32) {
        if !self.sent.iter().any(|sent| matches!(sent, Sent::Sync(id) if *id == callback)) {
            return;
        }
        while let Some(sent) = self.sent.pop_front() {
            match sent {
                Sent::Request(name) => self.accepted.push(name),
                Sent::Sync(id) if id == callback => break,
                Sent::Sync(_) => {}
            }
        }
    }
}
