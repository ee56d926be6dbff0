//! Displays, clients and windows as C structs.

use std::ffi::{c_char, CString};
use std::ptr::null;

use geom_ipc::{Client, ClientKind, ConnectionState, Display, DisplayState, Mode, Window};

use super::status::c_string;

/// The memory that the entries of a list point to. Private to the library.
#[derive(Default)]
pub struct geom_strings {
    strings: Vec<CString>,
    modes: Vec<Box<[geom_mode]>>,
}

impl geom_strings {
    pub(super) fn keep(&mut self, text: &str) -> *const c_char {
        let string = c_string(text);
        let pointer = string.as_ptr();
        self.strings.push(string);
        pointer
    }

    fn keep_some(&mut self, text: Option<&String>) -> *const c_char {
        text.map_or(null(), |text| self.keep(text))
    }
}

/// A display mode.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct geom_mode {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Refresh rate in millihertz.
    pub refresh: u32,
}

impl From<Mode> for geom_mode {
    fn from(mode: Mode) -> Self {
        Self { width: mode.width, height: mode.height, refresh: mode.refresh }
    }
}

/// The lifecycle state of a display.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum geom_display_state {
    /// It is part of the layout.
    GEOM_DISPLAY_ENABLED = 0,
    /// The monitor is connected, and the configuration or a command has disabled it.
    GEOM_DISPLAY_DISABLED = 1,
    /// The monitor is unplugged. Its windows and its settings are kept.
    GEOM_DISPLAY_DISCONNECTED = 2,
    /// The monitor is connected and the kernel refuses every configuration for it.
    GEOM_DISPLAY_FAILED = 3,
}

/// A monitor that the service drives, or drove until it was unplugged.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct geom_display {
    /// Connector name, such as "HDMI-A-1".
    pub name: *const c_char,
    /// Lifecycle state.
    pub state: geom_display_state,
    /// Why the display failed; null in other states.
    pub reason: *const c_char,
    /// Current mode; all 0 unless the display is enabled.
    pub mode: geom_mode,
    /// Modes that the display offers, best first.
    pub modes: *const geom_mode,
    /// Number of modes.
    pub mode_count: usize,
    /// Left edge in the layout, in logical pixels.
    pub x: i32,
    /// Top edge in the layout, in logical pixels.
    pub y: i32,
    /// Width in logical pixels.
    pub width: i32,
    /// Height in logical pixels.
    pub height: i32,
    /// Device pixels per logical pixel.
    pub scale: f64,
    /// "normal", "90", "180", "270", "flipped", "flipped-90", "flipped-180" or "flipped-270".
    pub transform: *const c_char,
    /// Number of times that its monitor was unplugged.
    pub disconnects: u32,
    /// Whether it has the keyboard focus.
    pub focused: bool,
}

pub(super) fn display(display: &Display, strings: &mut geom_strings) -> geom_display {
    let modes: Box<[geom_mode]> = display.modes.iter().map(|mode| (*mode).into()).collect();
    let (pointer, mode_count) = (modes.as_ptr(), modes.len());
    strings.modes.push(modes);
    geom_display {
        name: strings.keep(&display.name),
        state: match display.state {
            DisplayState::Enabled => geom_display_state::GEOM_DISPLAY_ENABLED,
            DisplayState::Disabled => geom_display_state::GEOM_DISPLAY_DISABLED,
            DisplayState::Disconnected => geom_display_state::GEOM_DISPLAY_DISCONNECTED,
            DisplayState::Failed => geom_display_state::GEOM_DISPLAY_FAILED,
        },
        reason: strings.keep_some(display.reason.as_ref()),
        mode: display.mode.map_or(geom_mode { width: 0, height: 0, refresh: 0 }, geom_mode::from),
        modes: pointer,
        mode_count,
        x: display.logical.x,
        y: display.logical.y,
        width: display.logical.width,
        height: display.logical.height,
        scale: display.scale,
        transform: strings.keep(&display.transform),
        disconnects: display.disconnects,
        focused: display.focused,
    }
}

/// The protocol of a client.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum geom_client_kind {
    /// A Wayland client.
    GEOM_CLIENT_WAYLAND = 0,
    /// A client of the control protocol, such as this library.
    GEOM_CLIENT_CONTROL = 1,
}

/// The state of a connection.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum geom_connection_state {
    /// Accepted; the client has not sent a request yet.
    GEOM_CONNECTION_ACCEPTED = 0,
    /// The client answers heartbeats.
    GEOM_CONNECTION_ALIVE = 1,
    /// The client did not answer a heartbeat in time.
    GEOM_CONNECTION_UNRESPONSIVE = 2,
    /// A control client whose socket broke or whose heartbeat stopped. Its session is kept.
    GEOM_CONNECTION_LOST = 3,
    /// The connection ended.
    GEOM_CONNECTION_CLOSED = 4,
}

/// A connection, of a Wayland client or of a control client.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct geom_client {
    /// Id of the connection, unique while the service runs. Never 0.
    pub id: u64,
    /// Protocol that the client speaks.
    pub kind: geom_client_kind,
    /// State of the connection.
    pub state: geom_connection_state,
    /// Process id; 0 if the process is in another PID namespace.
    pub pid: i32,
    /// User id.
    pub uid: u32,
    /// Path of the client's executable; null if the kernel does not allow to read it.
    pub executable: *const c_char,
    /// Application id of a Wayland client's newest window, or the name of a control client; may be
    /// null.
    pub app_id: *const c_char,
    /// GEOM_DISCONNECT_ONCE, GEOM_KEEP_CONNECTION_OPEN or both.
    pub connect_type: u32,
    /// Seconds since the connection was accepted.
    pub connected_seconds: f64,
    /// Seconds since the client last sent anything.
    pub idle_seconds: f64,
    /// Round-trip time of the last heartbeat in microseconds; 0 before the first one is answered.
    pub rtt_us: u64,
    /// Bytes sent to the client that it has not read.
    pub unread_bytes: u64,
    /// Number of its toplevel windows.
    pub windows: usize,
}

pub(super) fn client(client: &Client, strings: &mut geom_strings) -> geom_client {
    geom_client {
        id: client.id,
        kind: match client.kind {
            ClientKind::Wayland => geom_client_kind::GEOM_CLIENT_WAYLAND,
            ClientKind::Control => geom_client_kind::GEOM_CLIENT_CONTROL,
        },
        state: match client.state {
            ConnectionState::Accepted => geom_connection_state::GEOM_CONNECTION_ACCEPTED,
            ConnectionState::Alive => geom_connection_state::GEOM_CONNECTION_ALIVE,
            ConnectionState::Unresponsive => geom_connection_state::GEOM_CONNECTION_UNRESPONSIVE,
            ConnectionState::Lost => geom_connection_state::GEOM_CONNECTION_LOST,
            ConnectionState::Closed => geom_connection_state::GEOM_CONNECTION_CLOSED,
        },
        pid: client.pid,
        uid: client.uid,
        executable: strings.keep_some(client.executable.as_ref()),
        app_id: strings.keep_some(client.app_id.as_ref()),
        connect_type: client.connect_type.bits(),
        connected_seconds: client.connected_s,
        idle_seconds: client.idle_s,
        rtt_us: client.rtt_us.map_or(0, |rtt| rtt.last),
        unread_bytes: client.unread_bytes,
        windows: client.windows,
    }
}

/// A toplevel window.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct geom_window {
    /// Id of the window, unique while the service runs. Never 0.
    pub id: u64,
    /// Id of its client.
    pub client: u64,
    /// Application id; null if the client has not set one.
    pub app_id: *const c_char,
    /// Title; null if the client has not set one.
    pub title: *const c_char,
    /// Name of the display that the window is assigned to; may be null.
    pub assigned_output: *const c_char,
    /// Name of the enabled display that shows the window: the assigned one, or its neighbor while
    /// that is disconnected. Null if there is none.
    pub display: *const c_char,
    /// Whether the client asked for fullscreen.
    pub fullscreen: bool,
    /// Whether it has the keyboard focus.
    pub focused: bool,
}

pub(super) fn window(window: &Window, strings: &mut geom_strings) -> geom_window {
    geom_window {
        id: window.id,
        client: window.client,
        app_id: strings.keep_some(window.app_id.as_ref()),
        title: strings.keep_some(window.title.as_ref()),
        assigned_output: strings.keep_some(window.assigned_output.as_ref()),
        display: strings.keep_some(window.display.as_ref()),
        fullscreen: window.fullscreen,
        focused: window.focused,
    }
}

/// Converts entries. Returns their number, the array, and the memory that the entries point to.
fn boxed<S, T>(
    list: &[S],
    convert: impl Fn(&S, &mut geom_strings) -> T,
) -> (usize, *const T, *mut geom_strings) {
    let mut strings = Box::<geom_strings>::default();
    let items: Box<[T]> = list.iter().map(|entry| convert(entry, &mut strings)).collect();
    (items.len(), Box::into_raw(items).cast::<T>().cast_const(), Box::into_raw(strings))
}

/// Frees what [`boxed`] returned.
///
/// # Safety
/// The arguments must come from one call of [`boxed`], and must not be used again.
unsafe fn unbox<T>(count: usize, items: *const T, strings: *mut geom_strings) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(items.cast_mut(), count)));
        drop(Box::from_raw(strings));
    }
}

/// A list of displays.
#[repr(C)]
pub struct geom_display_list {
    /// Number of displays.
    pub count: usize,
    /// Array of the displays, valid until the list is freed.
    pub items: *const geom_display,
    /// Private to the library.
    pub strings: *mut geom_strings,
}

pub(super) fn display_list(list: &[Display]) -> *mut geom_display_list {
    let (count, items, strings) = boxed(list, display);
    Box::into_raw(Box::new(geom_display_list { count, items, strings }))
}

/// Frees a list of displays and all that it points to. Does nothing if it is null.
///
/// # Safety
/// `list` must be null or come unchanged from geom_compositor_displays(), and must not be used
/// again.
#[no_mangle]
pub unsafe extern "C" fn geom_display_list_free(list: *mut geom_display_list) {
    if !list.is_null() {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let list = Box::from_raw(list);
            unbox(list.count, list.items, list.strings);
        }
    }
}

/// A list of connections.
#[repr(C)]
pub struct geom_client_list {
    /// Number of connections.
    pub count: usize,
    /// Array of the connections, valid until the list is freed.
    pub items: *const geom_client,
    /// Private to the library.
    pub strings: *mut geom_strings,
}

pub(super) fn client_list(list: &[Client]) -> *mut geom_client_list {
    let (count, items, strings) = boxed(list, client);
    Box::into_raw(Box::new(geom_client_list { count, items, strings }))
}

/// Frees a list of connections and all that it points to. Does nothing if it is null.
///
/// # Safety
/// `list` must be null or come unchanged from geom_compositor_clients(), and must not be used
/// again.
#[no_mangle]
pub unsafe extern "C" fn geom_client_list_free(list: *mut geom_client_list) {
    if !list.is_null() {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let list = Box::from_raw(list);
            unbox(list.count, list.items, list.strings);
        }
    }
}

/// A list of windows.
#[repr(C)]
pub struct geom_window_list {
    /// Number of windows.
    pub count: usize,
    /// Array of the windows, valid until the list is freed.
    pub items: *const geom_window,
    /// Private to the library.
    pub strings: *mut geom_strings,
}

pub(super) fn window_list(list: &[Window]) -> *mut geom_window_list {
    let (count, items, strings) = boxed(list, window);
    Box::into_raw(Box::new(geom_window_list { count, items, strings }))
}

/// Frees a list of windows and all that it points to. Does nothing if it is null.
///
/// # Safety
/// `list` must be null or come unchanged from geom_compositor_windows(), and must not be used
/// again.
#[no_mangle]
pub unsafe extern "C" fn geom_window_list_free(list: *mut geom_window_list) {
    if !list.is_null() {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let list = Box::from_raw(list);
            unbox(list.count, list.items, list.strings);
        }
    }
}
