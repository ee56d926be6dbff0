//! Events as C structs.

use std::ffi::{c_char, c_int};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{null, null_mut};
use std::time::Duration;

use geom_ipc::Event;

use super::calls::geom_compositor;
use super::lists::{self, geom_client, geom_display, geom_strings, geom_window};
use super::status::{call, geom_status, object, write_result};
use crate::{Error, Events};

/// A stream of events.
pub struct geom_events(Events);

/// An event.
#[repr(C)]
pub struct geom_event {
    /// "display", "layout", "client_connected", "client_state", "client_disconnected", "window",
    /// "window_closed", "focus", "input_device_added", "input_device_removed", "calibration",
    /// "gpu_added", "gpu_removed", "session", "program_ended", "config_error", "config_applied" or
    /// "events_lost". docs/control.md describes each.
    pub name: *const c_char,
    /// The whole event as JSON.
    pub json: *const c_char,
    /// The display of the event "display", otherwise null.
    pub display: *const geom_display,
    /// The connection of "client_connected" and "client_state", otherwise null.
    pub client: *const geom_client,
    /// The window of the event "window", otherwise null.
    pub window: *const geom_window,
    /// Id of the connection or window that the event is about; for "focus", of the window that has
    /// the focus. 0 if there is none.
    pub id: u64,
    /// Private to the library.
    pub strings: *mut geom_strings,
}

pub(super) fn event(event: &Event) -> Result<geom_event, Error> {
    let wrong = |error: serde_json::Error| Error::Protocol(error.to_string());
    let value = serde_json::to_value(event).map_err(wrong)?;
    let name = value.get("event").and_then(serde_json::Value::as_str).unwrap_or_default();
    let mut strings = Box::<geom_strings>::default();
    let mut new = geom_event {
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
            new.display = Box::into_raw(Box::new(lists::display(display, &mut strings)));
        }
        Event::ClientConnected { client } | Event::ClientState { client } => {
            new.client = Box::into_raw(Box::new(lists::client(client, &mut strings)));
            new.id = client.id;
        }
        Event::Window { window } => {
            new.window = Box::into_raw(Box::new(lists::window(window, &mut strings)));
            new.id = window.id;
        }
        Event::ClientDisconnected { client, .. } => new.id = *client,
        Event::WindowClosed { window } => new.id = *window,
        Event::Focus { window } => new.id = window.unwrap_or(0),
        _ => {}
    }
    new.strings = Box::into_raw(strings);
    Ok(new)
}

/// Creates a stream of all events from now on. Free it with geom_events_free().
///
/// At most 4096 unread events are kept. If there are more, they are replaced by the event
/// "events_lost".
///
/// Fails with GEOM_NOT_STARTED, GEOM_DISCONNECTED or GEOM_TIMED_OUT.
///
/// # Safety
/// `compositor` must come from geom_compositor_new(). `events` must point to a variable.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_events(
    compositor: *mut geom_compositor,
    events: *mut *mut geom_events,
) -> geom_status {
    call(|| {
        // SAFETY: guaranteed by the caller.
        let new = Box::new(geom_events(unsafe { object(compositor, "compositor") }?.0.events()?));
        // SAFETY: guaranteed by the caller. Checks the pointer before the box is released.
        unsafe {
            write_result(events, null_mut(), "events")?;
            write_result(events, Box::into_raw(new), "events")
        }
    })
}

/// Returns a file descriptor that is readable while there are events, for poll(2). It belongs to
/// the stream and must not be closed. -1 for null.
///
/// # Safety
/// `events` must be null or come from geom_compositor_events().
#[no_mangle]
pub unsafe extern "C" fn geom_events_fd(events: *const geom_events) -> c_int {
    // SAFETY: guaranteed by the caller.
    unsafe { events.as_ref() }.map_or(-1, |events| events.0.as_fd().as_raw_fd())
}

/// Waits for the next event, up to `timeout_ms` milliseconds; without limit if that is negative.
/// Free the event with geom_event_free().
///
/// Fails with GEOM_TIMED_OUT if there is none in time, and with GEOM_DISCONNECTED if the session
/// has ended and no unread event is left.
///
/// # Safety
/// `events` must come from geom_compositor_events(). `next` must point to a variable.
#[no_mangle]
pub unsafe extern "C" fn geom_events_next(
    events: *mut geom_events,
    timeout_ms: c_int,
    next: *mut *mut geom_event,
) -> geom_status {
    call(|| {
        // SAFETY: guaranteed by the caller.
        let events = unsafe { object(events, "events") }?;
        // SAFETY: guaranteed by the caller. Checks the pointer before an event is taken.
        unsafe { write_result(next, null_mut(), "next") }?;
        let found = match u64::try_from(timeout_ms) {
            Ok(millis) => {
                let time = Duration::from_millis(millis);
                events.0.next_within(time)?.ok_or(Error::TimedOut(time))?
            }
            Err(_) => events.0.wait()?,
        };
        // SAFETY: guaranteed by the caller.
        unsafe { write_result(next, Box::into_raw(Box::new(event(&found)?)), "next") }
    })
}

/// Frees an event and all that it points to. Does nothing if it is null.
///
/// # Safety
/// `event` must be null or come unchanged from geom_events_next(), and must not be used again.
#[no_mangle]
pub unsafe extern "C" fn geom_event_free(event: *mut geom_event) {
    /// # Safety
    /// The pointer must be null or come from a box.
    unsafe fn free<T>(pointer: *const T) {
        if !pointer.is_null() {
            // SAFETY: guaranteed by the caller.
            drop(unsafe { Box::from_raw(pointer.cast_mut()) });
        }
    }
    if event.is_null() {
        return;
    }
    // SAFETY: guaranteed by the caller: geom_events_next() released these boxes.
    unsafe {
        let event = Box::from_raw(event);
        free(event.display);
        free(event.client);
        free(event.window);
        free(event.strings.cast_const());
    }
}

/// Ends and frees a stream. Does nothing if it is null.
///
/// # Safety
/// `events` must be null or come from geom_compositor_events(), and must not be used again.
#[no_mangle]
pub unsafe extern "C" fn geom_events_free(events: *mut geom_events) {
    if !events.is_null() {
        // SAFETY: guaranteed by the caller.
        drop(unsafe { Box::from_raw(events) });
    }
}
