//! What libwayland-server does that the crate wayland-server does not wrap: who sends requests,
//! which protocol errors are posted, and how much is queued for a client that does not read.
//!
//! The crate reports neither the sender of a request to the code that needs it for liveness, nor
//! the end of a client after a protocol error. libwayland passes every message to a protocol
//! logger (wayland-server-core.h, since 1.14), which sees both.

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::fmt;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use rustix::net::{recv, shutdown, RecvFlags, Shutdown};
use smithay::reexports::wayland_server::{DisplayHandle, Resource};
use smithay::utils::{Clock, Monotonic};
use tracing::debug;

/// A protocol error that was posted to a client: by the compositor, or by libwayland itself for a
/// malformed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostedError {
    interface: String,
    object: u32,
    code: u32,
    message: String,
}

impl PostedError {
    /// Whether the client had more than it may have, or there was no memory.
    pub fn is_no_memory(&self) -> bool {
        self.object == DISPLAY_ID && self.code == NO_MEMORY
    }
}

impl fmt::Display for PostedError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, object, code, message } = self;
        write!(formatter, "{interface}@{object}: error {code}: {message}")
    }
}

/// What was seen since the last [`ProtocolLog::take`]. Clients are named by their sockets.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Clients that sent requests, in order, and when the dispatch of each began, by the monotonic
    /// clock; most occur once.
    pub senders: Vec<(RawFd, Duration)>,
    /// With the inode number of the socket, which tells whether the descriptor still is the
    /// client's.
    pub errors: Vec<(RawFd, u64, PostedError)>,
}

/// What the protocol logger is called with.
#[derive(Default)]
struct Shared {
    traffic: RefCell<Traffic>,
    /// The maximum number of objects of a client. libwayland takes an id for a new object only if
    /// all lower ones are or were used, so that the highest id is the number of objects.
    max_objects: Cell<u32>,
}

/// The protocol logger of a display.
pub struct ProtocolLog {
    logger: *mut c_void,
    shared: Box<Shared>,
    /// Keeps the display until the logger is destroyed.
    display: DisplayHandle,
}

/// `struct wl_protocol_logger_message`
#[repr(C)]
struct Message {
    resource: *mut c_void,
    opcode: c_int,
    message: *const MessageType,
    arguments_count: c_int,
    arguments: *const Argument,
}

/// `struct wl_message`
#[repr(C)]
struct MessageType {
    name: *const c_char,
    signature: *const c_char,
    types: *const c_void,
}

/// `union wl_argument`, as far as `wl_display.error` needs it.
#[repr(C)]
union Argument {
    number: u32,
    string: *const c_char,
    object: *mut c_void,
}

/// `WL_PROTOCOL_LOGGER_REQUEST` of `enum wl_protocol_logger_type`.
const REQUEST: c_int = 0;
/// Each client's wl_display object has this id (wayland.xml).
const DISPLAY_ID: u32 = 1;
/// The opcode of the event `wl_display.error`.
const ERROR_OPCODE: c_int = 0;
/// `wl_display.error.no_memory`
const NO_MEMORY: u32 = 2;

#[link(name = "wayland-server")]
extern "C" {
    fn wl_display_add_protocol_logger(
        display: *mut c_void,
        function: unsafe extern "C" fn(*mut c_void, c_int, *const Message),
        user_data: *mut c_void,
    ) -> *mut c_void;
    fn wl_protocol_logger_destroy(logger: *mut c_void);
    fn wl_resource_get_client(resource: *mut c_void) -> *mut c_void;
    fn wl_resource_get_id(resource: *mut c_void) -> u32;
    fn wl_resource_get_class(resource: *mut c_void) -> *const c_char;
    fn wl_resource_post_error(resource: *mut c_void, code: u32, format: *const c_char, ...);
    fn wl_log_set_handler_server(handler: unsafe extern "C" fn(*const c_char, *mut c_void));
    fn wl_display_get_event_loop(display: *mut c_void) -> *mut c_void;
    fn wl_event_loop_get_fd(event_loop: *mut c_void) -> c_int;
    fn wl_client_get_fd(client: *mut c_void) -> c_int;
    fn wl_client_get_object(client: *mut c_void, id: u32) -> *mut c_void;
}

impl ProtocolLog {
    /// Sees all messages of a display from now on.
    pub fn new(display: &DisplayHandle) -> Self {
        // SAFETY: the function may be called at any time.
        unsafe { wl_log_set_handler_server(ignore_message) };
        let shared = Box::<Shared>::default();
        shared.max_objects.set(u32::MAX);
        let user_data: *const Shared = &*shared;
        // SAFETY: the display lives as long as its handle, and the box as long as the logger:
        // `drop` destroys the logger first.
        let logger = unsafe {
            wl_display_add_protocol_logger(
                display.backend_handle().display_ptr().cast(),
                on_message,
                user_data.cast_mut().cast(),
            )
        };
        Self { logger, shared, display: display.clone() }
    }

    /// Ends clients that create more objects than this.
    pub fn set_max_objects(&self, max: u32) {
        self.shared.max_objects.set(max);
    }

    /// Returns the epoll that libwayland waits with.
    pub fn epoll(&self) -> BorrowedFd<'_> {
        // SAFETY: the display, its event loop and the epoll live as long as the display's handle.
        unsafe {
            let event_loop = wl_display_get_event_loop(self.display.backend_handle().display_ptr().cast());
            BorrowedFd::borrow_raw(wl_event_loop_get_fd(event_loop))
        }
    }

    /// Returns the socket of the client whose request is being dispatched.
    pub fn current(&self) -> Option<RawFd> {
        self.shared.traffic.borrow().senders.last().map(|(socket, _)| *socket)
    }

    /// Returns whether an error was posted to the client with this socket since the last
    /// [`ProtocolLog::take`].
    pub fn has_error(&self, socket: RawFd) -> bool {
        self.shared.traffic.borrow().errors.iter().any(|(failed, ..)| *failed == socket)
    }

    /// Returns what was seen since the last call.
    pub fn take(&self) -> Traffic {
        self.shared.traffic.take()
    }
}

impl Drop for ProtocolLog {
    fn drop(&mut self) {
        if !self.logger.is_null() {
            // SAFETY: it was created by `new`, and its display still exists.
            unsafe { wl_protocol_logger_destroy(self.logger) };
        }
    }
}

/// Returns the time of the monotonic clock.
pub fn monotonic_time() -> Duration {
    Clock::<Monotonic>::new().now().into()
}

/// libwayland's messages go to stderr otherwise, as many as a client likes. What they say is in the
/// error that the client gets, and in our own log.
unsafe extern "C" fn ignore_message(_format: *const c_char, _arguments: *mut c_void) {}

/// libwayland calls this before it dispatches a request, and before it queues an event.
unsafe extern "C" fn on_message(user_data: *mut c_void, direction: c_int, message: *const Message) {
    // SAFETY: libwayland passes what `new` gave it, and a message that is valid during the call.
    let (shared, message) = unsafe { (&*user_data.cast::<Shared>(), &*message) };
    // SAFETY: the message's object exists during the call.
    let is_error = || unsafe {
        message.opcode == ERROR_OPCODE
            && message.arguments_count == 3
            && wl_resource_get_id(message.resource) == DISPLAY_ID
    };
    if direction != REQUEST && !is_error() {
        return;
    }
    // SAFETY: as above; an object belongs to a client as long as it exists.
    let socket = unsafe { wl_client_get_fd(wl_resource_get_client(message.resource)) };
    if direction == REQUEST {
        // SAFETY: the message is valid. Posting an error calls this function again, for an event.
        unsafe { check_new_object(message, shared.max_objects.get()) };
    }
    let Ok(mut traffic) = shared.traffic.try_borrow_mut() else { return };
    if direction == REQUEST {
        if traffic.senders.last().is_none_or(|(last, _)| *last != socket) {
            traffic.senders.push((socket, monotonic_time()));
        }
        return;
    }
    // SAFETY: `wl_display.error` has an object, a number and a string (wayland.xml).
    let error = unsafe { read_error(message.arguments) };
    // SAFETY: the client has the socket open during the call.
    let inode = inode(socket).unwrap_or_default();
    traffic.errors.push((socket, inode, error));
    // libwayland destroys a client with an error when it reads from it next, which the client
    // decides. At the end of its input, that is now; the error still reaches it.
    // SAFETY: the client has the socket open during the call.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) };
    if let Err(error) = shutdown(socket, Shutdown::Read) {
        debug!(%error, "the socket of a client with a protocol error is closed already");
    }
    discard_input(socket);
}

/// Discards what waits in a socket that is shut down. libwayland would dispatch a first request of
/// it before the error counts, and the crate panics if that is `wl_registry.bind`: an error that is
/// not the answer to a request, for example of a timer, leaves its client to be read again.
fn discard_input(socket: BorrowedFd<'_>) {
    let mut buffer = [0; 4096];
    // The end is the first that reads nothing: the client can send no more.
    while recv(socket, &mut buffer, RecvFlags::DONTWAIT).is_ok_and(|(_, count)| count > 0) {}
}

/// Returns the inode number of an open file, or `None` if the descriptor is closed.
pub fn inode(descriptor: RawFd) -> Option<u64> {
    // SAFETY: fstat(2) fails on a descriptor that is closed, and changes nothing.
    rustix::fs::fstat(unsafe { BorrowedFd::borrow_raw(descriptor) }).ok().map(|stat| stat.st_ino)
}

/// Ends a client that creates more than `max` objects.
///
/// # Safety
/// The message must be valid, and a request.
unsafe fn check_new_object(message: &Message, max: u32) {
    // SAFETY: the caller's; a signature has one letter for each argument, and may have digits (the
    // version) and question marks (arguments that may be null) before letters.
    unsafe {
        let signature = CStr::from_ptr((*message.message).signature).to_bytes();
        let types = signature.iter().filter(|letter| letter.is_ascii_alphabetic());
        let Some(index) = types.clone().position(|letter| *letter == b'n') else { return };
        if (*message.arguments.add(index)).number > max {
            let text = format!("more than {max} objects ([clients.objects] objects)");
            if let Ok(text) = CString::new(text) {
                post_no_memory_for(message.resource, &text);
            }
        }
    }
}

/// # Safety
/// The arguments must be those of `wl_display.error`.
unsafe fn read_error(arguments: *const Argument) -> PostedError {
    // SAFETY: the caller's. An object that libwayland passes is a resource.
    unsafe {
        let object = (*arguments).object;
        let (interface, id) = match object.is_null() {
            true => (String::new(), 0),
            false => (text(wl_resource_get_class(object)), wl_resource_get_id(object)),
        };
        let code = (*arguments.add(1)).number;
        let message = text((*arguments.add(2)).string);
        PostedError { interface, object: id, code, message }
    }
}

/// # Safety
/// The string must be valid or null.
unsafe fn text(string: *const c_char) -> String {
    match string.is_null() {
        true => String::new(),
        // SAFETY: the caller's.
        false => unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned(),
    }
}

/// Posts `wl_display.error.no_memory` to the client of an object, which ends the client.
pub fn post_no_memory(resource: &impl Resource, message: &str) {
    let Ok(message) = CString::new(message) else { return };
    let object = resource.id().as_ptr();
    if object.is_null() {
        return;
    }
    // SAFETY: the object exists, so its client and the client's wl_display do.
    unsafe { post_no_memory_for(object.cast(), &message) };
    // wayland-backend learns of an error only by its own call. libwayland sends no second one.
    resource.post_error(NO_MEMORY, String::new());
}

/// # Safety
/// The object must exist.
unsafe fn post_no_memory_for(object: *mut c_void, message: &CStr) {
    // SAFETY: the caller's. Without a wl_display, the client is being destroyed already.
    unsafe {
        let display = wl_client_get_object(wl_resource_get_client(object), DISPLAY_ID);
        if !display.is_null() {
            wl_resource_post_error(display, NO_MEMORY, c"%s".as_ptr(), message.as_ptr());
        }
    }
}

/// Sets the maximum of what is queued for each client that does not read, in bytes. Returns false
/// if the library is older than 1.23, which queues 4 KiB.
pub fn set_send_buffer(display: &DisplayHandle, bytes: usize) -> bool {
    type SetSize = unsafe extern "C" fn(*mut c_void, usize);
    let name = c"wl_display_set_default_max_buffer_size";
    // SAFETY: dlsym(3) takes any name.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if symbol.is_null() {
        return false;
    }
    // SAFETY: libwayland's function has this type (wayland-server-core.h, since 1.23).
    let set_size = unsafe { std::mem::transmute::<*mut c_void, SetSize>(symbol) };
    // SAFETY: the display lives as long as its handle.
    unsafe { set_size(display.backend_handle().display_ptr().cast(), bytes) };
    true
}
