//! How calls end: a status, and words for a person.

use std::cell::RefCell;
use std::ffi::{c_char, CStr, CString};
use std::panic::{catch_unwind, AssertUnwindSafe};

use geom_ipc::ErrorKind;

use crate::Error;

/// How a call ended.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum geom_status {
    GEOM_OK = 0,
    /// A value that the caller gave: a null pointer, no UTF-8, a time below 0, a value that the service refuses.
    GEOM_BAD_ARGUMENT = 1,
    /// No service answers.
    GEOM_NOT_RUNNING = 2,
    /// The service could not be started, or shows nothing.
    GEOM_START_FAILED = 3,
    /// geom_compositor_start() was not called, or geom_compositor_stop() was since.
    GEOM_NOT_STARTED = 4,
    /// The connection ended.
    GEOM_GONE = 5,
    /// No answer in time; of geom_events_next(): no event in time.
    GEOM_TIMED_OUT = 6,
    /// This user may not do that.
    GEOM_NOT_ALLOWED = 7,
    /// There is no such display, client or window.
    GEOM_NOT_FOUND = 8,
    /// The service tried and could not.
    GEOM_FAILED = 9,
    /// A mistake of the service's or of this library's.
    GEOM_INTERNAL = 10,
}

use geom_status::*;

impl From<&Error> for geom_status {
    fn from(error: &Error) -> Self {
        match error {
            Error::NotRunning(_) => GEOM_NOT_RUNNING,
            Error::Start(_) => GEOM_START_FAILED,
            Error::NotStarted => GEOM_NOT_STARTED,
            Error::Gone(_) => GEOM_GONE,
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
    static LAST: RefCell<CString> = RefCell::default();
}

/// What the last failing call of this thread said, for a person. Valid until the thread's next failing call; never null.
#[no_mangle]
pub extern "C" fn geom_last_error() -> *const c_char {
    LAST.with_borrow(|text| text.as_ptr())
}

/// Runs a call's body: its error and its panic become a status and words.
pub(super) fn call(body: impl FnOnce() -> Result<(), Error>) -> geom_status {
    let result = catch_unwind(AssertUnwindSafe(body));
    let (status, words) = match result {
        Ok(Ok(())) => return GEOM_OK,
        Ok(Err(error)) => (geom_status::from(&error), error.to_string()),
        Err(_) => (GEOM_INTERNAL, "a mistake in geom_client: it panicked".to_owned()),
    };
    LAST.set(c_string(&words));
    status
}

/// Without zero bytes, which C can't have inside a string.
pub(super) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// The object behind a pointer of the caller's.
///
/// # Safety
/// The pointer is null or points to a live object.
pub(super) unsafe fn object<'a, T>(pointer: *const T, what: &str) -> Result<&'a T, Error> {
    // SAFETY: the caller's promise.
    unsafe { pointer.as_ref() }.ok_or_else(|| Error::BadArgument(format!("{what} is null")))
}

/// A string of the caller's; none where it is null.
///
/// # Safety
/// The pointer is null or points to a string that ends with a zero byte.
pub(super) unsafe fn text(pointer: *const c_char, what: &str) -> Result<Option<String>, Error> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(pointer) }.to_str();
    text.map(|text| Some(text.to_owned())).map_err(|_| Error::BadArgument(format!("{what} is no UTF-8")))
}

/// As [`text`], where null is an error.
///
/// # Safety
/// As [`text`].
pub(super) unsafe fn needed(pointer: *const c_char, what: &str) -> Result<String, Error> {
    // SAFETY: the caller's promise.
    let text = unsafe { text(pointer, what) }?;
    text.ok_or_else(|| Error::BadArgument(format!("{what} is null")))
}

/// Puts a result where the caller wants it.
///
/// # Safety
/// The pointer is null or points to room for a `T`.
pub(super) unsafe fn give<T>(place: *mut T, value: T, what: &str) -> Result<(), Error> {
    if place.is_null() {
        return Err(Error::BadArgument(format!("{what} is null")));
    }
    // SAFETY: the caller's promise.
    unsafe { place.write(value) };
    Ok(())
}
