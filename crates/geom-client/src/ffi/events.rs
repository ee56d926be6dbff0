//! Events as C has them.

use std::ffi::{c_char, c_int};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{null, null_mut};
use std::time::Duration;

use geom_ipc::Event;

use super::calls::geom_compositor;
use super::lists::{self, geom_client, geom_display, geom_strings, geom_window};
use super::status::{call, geom_status, give, object};
use crate::{Error, Events};

/// A stream of events.
pub struct geom_events(Events);

/// What happened.
#[repr(C)]
pub struct geom_event {
    /// "display", "layout", "client_connected", "client_state", "client_gone", "window", "window_closed", "focus",
    /// "config_error", "config_applied", "stream_lost": docs/control.md tells of each.
    pub name: *const c_char,
    /// All of it, as JSON.
    pub json: *const c_char,
    /// The display that it is about, or null.
    pub display: *const geom_display,
    /// The connection that it is about, or null.
    pub client: *const geom_client,
    /// The window that it is about, or null.
    pub window: *const geom_window,
    /// The number of the connection or window that is gone or has the focus; 0 where it is about none.
    pub id: u64,
    /// Of the library's.
    pub strings: *mut geom_strings,
}

fn event(event: &Event) -> Result<geom_event, Error> {
    let wrong = |error: serde_json::Error| Error::Protocol(error.to_string());
    let value = serde_json::to_value(event).map_err(wrong)?;
    let name = value.get("event").and_then(serde_json::Value::as_str).unwrap_or_default();
    let mut strings = Box::<geom_strings>::default();
    let mut made = geom_event {
        name: strings.keep(name),
        json: strings.keep(&value.to_string()),
        display: null(),
        client: null(),
        window: null(),
        id: 0,
        strings: null_mut(),
    };
    match event {
        Event::Display { display } => {
            made.display = Box::into_raw(Box::new(lists::display(display, &mut strings)));
        }
        Event::ClientConnected { client } | Event::ClientState { client } => {
            made.client = Box::into_raw(Box::new(lists::client(client, &mut strings)));
            made.id = client.id;
        }
        Event::Window { window } => {
            made.window = Box::into_raw(Box::new(lists::window(window, &mut strings)));
            made.id = window.id;
        }
        Event::ClientGone { client, .. } => made.id = *client,
        Event::WindowClosed { window } => made.id = *window,
        Event::Focus { window } => made.id = window.unwrap_or(0),
        _ => {}
    }
    made.strings = Box::into_raw(strings);
    Ok(made)
}

/// Listens to events from now on; freed by geom_events_free().
///
/// # Safety
/// The handle is of geom_compositor_new(); `events` has room.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_events(
    compositor: *mut geom_compositor,
    events: *mut *mut geom_events,
) -> geom_status {
    call(|| {
        // SAFETY: the caller's promise.
        let made = Box::new(geom_events(unsafe { object(compositor, "compositor") }?.0.events()?));
        // SAFETY: the caller's promise; checked first, as what is made must not be lost.
        unsafe {
            give(events, null_mut(), "events")?;
            give(events, Box::into_raw(made), "events")
        }
    })
}

/// A descriptor that is readable while there are events, for poll(2). Of the stream's: not to be closed. -1 for null.
///
/// # Safety
/// The stream is null or of geom_compositor_events().
#[no_mangle]
pub unsafe extern "C" fn geom_events_fd(events: *const geom_events) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { events.as_ref() }.map_or(-1, |events| events.0.as_fd().as_raw_fd())
}

/// The next event, freed by geom_event_free(); GEOM_TIMED_OUT where none comes in so many milliseconds, where below 0
/// waits for ever; GEOM_GONE at the session's end.
///
/// # Safety
/// The stream is of geom_compositor_events(); `next` has room.
#[no_mangle]
pub unsafe extern "C" fn geom_events_next(
    events: *mut geom_events,
    timeout_ms: c_int,
    next: *mut *mut geom_event,
) -> geom_status {
    call(|| {
        // SAFETY: the caller's promise.
        let events = unsafe { object(events, "events") }?;
        // SAFETY: the caller's promise; checked first, as an event that is taken must not be lost.
        unsafe { give(next, null_mut(), "next") }?;
        let found = match u64::try_from(timeout_ms) {
            Ok(millis) => {
                let time = Duration::from_millis(millis);
                events.0.next_within(time)?.ok_or(Error::TimedOut(time))?
            }
            Err(_) => events.0.wait()?,
        };
        // SAFETY: as above.
        unsafe { give(next, Box::into_raw(Box::new(event(&found)?)), "next") }
    })
}

/// Frees an event. Null is fine.
///
/// # Safety
/// The event is null or of geom_events_next() and unchanged, and used no more.
#[no_mangle]
pub unsafe extern "C" fn geom_event_free(event: *mut geom_event) {
    /// # Safety
    /// The pointer is null or of a box.
    unsafe fn free<T>(pointer: *const T) {
        if !pointer.is_null() {
            // SAFETY: the caller's promise.
            drop(unsafe { Box::from_raw(pointer.cast_mut()) });
        }
    }
    if event.is_null() {
        return;
    }
    // SAFETY: the caller's promise: these are the boxes that made it.
    unsafe {
        let event = Box::from_raw(event);
        free(event.display);
        free(event.client);
        free(event.window);
        free(event.strings.cast_const());
    }
}

/// Ends the stream. Null is fine.
///
/// # Safety
/// The stream is null or of geom_compositor_events(), and used no more.
#[no_mangle]
pub unsafe extern "C" fn geom_events_free(events: *mut geom_events) {
    if !events.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(events) });
    }
}
