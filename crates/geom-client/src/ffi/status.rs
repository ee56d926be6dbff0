//! Status codes and error messages.

use std::cell::RefCell;
use std::ffi::{c_char, CStr, CString};
use std::panic::{catch_unwind, AssertUnwindSafe};

use geom_ipc::ErrorKind;

use crate::Error;

/// The result of a call.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum geom_status {
    /// The call succeeded.
    GEOM_OK = 0,
    /// An argument is a null pointer, not UTF-8 or out of range, or the service refuses its value.
    GEOM_BAD_ARGUMENT = 1,
    /// No service accepts connections at the control socket.
    GEOM_NOT_RUNNING = 2,
    /// The service could not be started, or presented no frame in time.
    GEOM_START_FAILED = 3,
    /// geom_compositor_start() was not called, or geom_compositor_stop() was called since.
    GEOM_NOT_STARTED = 4,
    /// The connection ended.
    GEOM_DISCONNECTED = 5,
    /// The service did not reply in time. From geom_events_next(): there was no event in time.
    GEOM_TIMED_OUT = 6,
    /// This user may not do that.
    GEOM_NOT_ALLOWED = 7,
    /// There is no such display, client or window.
    GEOM_NOT_FOUND = 8,
    /// The service tried and did not succeed.
    GEOM_FAILED = 9,
    /// A bug of the service or of this library.
    GEOM_INTERNAL = 10,
}

use geom_status::*;

impl From<&Error> for geom_status {
    fn from(error: &Error) -> Self {
        match error {
            Error::NotRunning(_) => GEOM_NOT_RUNNING,
            Error::StartFailed(_) => GEOM_START_FAILED,
            Error::NotPermitted(_) => GEOM_NOT_ALLOWED,
            Error::NotStarted => GEOM_NOT_STARTED,
            Error::Disconnected(_) => GEOM_DISCONNECTED,
            Error::TimedOut(_) => GEOM_TIMED_OUT,
            Error::BadArgument(_) => GEOM_BAD_ARGUMENT,
            Error::Protocol(_) => GEOM_INTERNAL,
            Error::Io(_) => GEOM_FAILED,
            Error::Server(error) => match error.kind {
                ErrorKind::NotAllowed => GEOM_NOT_ALLOWED,
                ErrorKind::NotFound => GEOM_NOT_FOUND,
                ErrorKind::BadValue | ErrorKind::BadMessage | ErrorKind::UnknownRequest => GEOM_BAD_ARGUMENT,
                _ => GEOM_FAILED,
            },
        }
    }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// Returns the message of this thread's last failed call, for people. It is valid until the next
/// failed call of the thread. Never null; empty if no call has failed.
#[no_mangle]
pub extern "C" fn geom_last_error() -> *const c_char {
    LAST_ERROR.with_borrow(|message| message.as_ptr())
}

/// Runs the body of a call. Converts its error or panic to a status and keeps the message.
pub(super) fn call(body: impl FnOnce() -> Result<(), Error>) -> geom_status {
    let result = catch_unwind(AssertUnwindSafe(body));
    let (status, message) = match result {
        Ok(Ok(())) => return GEOM_OK,
        Ok(Err(error)) => (geom_status::from(&error), error.to_string()),
        Err(_) => (GEOM_INTERNAL, "a bug in geom_client: it panicked".to_owned()),
    };
    LAST_ERROR.set(c_string(&message));
    status
}

/// Converts a string, without its zero bytes, which a C string can't contain.
pub(super) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// Returns the object that a caller's pointer points to.
///
/// # Errors
/// If the pointer is null. `what` names it in the message.
///
/// # Safety
/// The pointer must be null or point to a live object.
pub(super) unsafe fn object<'a, T>(pointer: *const T, what: &str) -> Result<&'a T, Error> {
    // SAFETY: guaranteed by the caller.
    unsafe { pointer.as_ref() }.ok_or_else(|| Error::BadArgument(format!("{what} is null")))
}

/// Returns a caller's string, or `None` if the pointer is null.
///
/// # Errors
/// If the string is not UTF-8. `what` names it in the message.
///
/// # Safety
/// The pointer must be null or point to a string that ends with a zero byte.
pub(super) unsafe fn optional_text(pointer: *const c_char, what: &str) -> Result<Option<String>, Error> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: guaranteed by the caller.
    let text = unsafe { CStr::from_ptr(pointer) }.to_str();
    text.map(|text| Some(text.to_owned())).map_err(|_| Error::BadArgument(format!("{what} is not UTF-8")))
}

/// Returns a caller's string.
///
/// # Errors
/// If the pointer is null or the string is not UTF-8. `what` names it in the message.
///
/// # Safety
/// As [`optional_text`].
pub(super) unsafe fn required_text(pointer: *const c_char, what: &str) -> Result<String, Error> {
    // SAFETY: guaranteed by the caller.
    let text = unsafe { optional_text(pointer, what) }?;
    text.ok_or_else(|| Error::BadArgument(format!("{what} is null")))
}

/// Writes a result to the caller's variable.
///
/// # Errors
/// If the pointer is null. `what` names it in the message.
///
/// # Safety
/// The pointer must be null or point to memory for a `T`.
pub(super) unsafe fn write_result<T>(pointer: *mut T, value: T, what: &str) -> Result<(), Error> {
    if pointer.is_null() {
        return Err(Error::BadArgument(format!("{what} is null")));
    }
    // SAFETY: guaranteed by the caller.
    unsafe { pointer.write(value) };
    Ok(())
}
