//! Displays, connections and windows as C has them.

use std::ffi::{c_char, CString};
use std::ptr::null;

use geom_ipc::{Client, ClientKind, ConnectionState, Display, DisplayState, Mode, Window};

use super::status::c_string;

/// The strings that a list's entries point to; they move nowhere.
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
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Millihertz.
    pub refresh: u32,
}

impl From<Mode> for geom_mode {
    fn from(mode: Mode) -> Self {
        Self { width: mode.width, height: mode.height, refresh: mode.refresh }
    }
}

/// Where a display's life stands.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum geom_display_state {
    GEOM_DISPLAY_LIT = 0,
    /// Switched off, its monitor is there.
    GEOM_DISPLAY_OFF = 1,
    /// Its monitor is gone; its windows wait.
    GEOM_DISPLAY_DARK = 2,
    /// The kernel refuses to light it.
    GEOM_DISPLAY_FAILED = 3,
}

/// A monitor that is driven, or was.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct geom_display {
    /// The connector's name, "HDMI-A-1" and so on.
    pub name: *const c_char,
    pub state: geom_display_state,
    /// Why it failed; null where it did not.
    pub reason: *const c_char,
    /// All 0 while it is not lit.
    pub mode: geom_mode,
    /// The modes that it can be set to, best first.
    pub modes: *const geom_mode,
    pub mode_count: usize,
    /// The top left corner in the layout, in logical pixels.
    pub x: i32,
    pub y: i32,
    /// Logical pixels.
    pub width: i32,
    pub height: i32,
    /// Device pixels for one logical pixel.
    pub scale: f64,
    /// "normal", "90", "180", "270", "flipped", "flipped-90", "flipped-180" or "flipped-270".
    pub transform: *const c_char,
    /// How often its monitor was lost.
    pub losses: u32,
    pub focused: bool,
}

pub(super) fn display(display: &Display, strings: &mut geom_strings) -> geom_display {
    let modes: Box<[geom_mode]> = display.modes.iter().map(|mode| (*mode).into()).collect();
    let (pointer, mode_count) = (modes.as_ptr(), modes.len());
    strings.modes.push(modes);
    geom_display {
        name: strings.keep(&display.name),
        state: match display.state {
            DisplayState::Lit => geom_display_state::GEOM_DISPLAY_LIT,
            DisplayState::Off => geom_display_state::GEOM_DISPLAY_OFF,
            DisplayState::Dark => geom_display_state::GEOM_DISPLAY_DARK,
            DisplayState::Failed => geom_display_state::GEOM_DISPLAY_FAILED,
        },
        reason: strings.keep_some(display.reason.as_ref()),
        mode: display.mode.map_or(geom_mode { width: 0, height: 0, refresh: 0 }, geom_mode::from),
        modes: pointer,
        mode_count,
        x: display.place.x,
        y: display.place.y,
        width: display.place.width,
        height: display.place.height,
        scale: display.scale,
        transform: strings.keep(&display.transform),
        losses: display.losses,
        focused: display.focused,
    }
}

/// What a client speaks.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum geom_client_kind {
    GEOM_CLIENT_WAYLAND = 0,
    GEOM_CLIENT_CONTROL = 1,
}

/// Where a connection's life stands.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum geom_connection_state {
    /// Connected, and nothing said yet.
    GEOM_CONNECTION_ACCEPTED = 0,
    GEOM_CONNECTION_ALIVE = 1,
    /// It did not answer in time.
    GEOM_CONNECTION_UNRESPONSIVE = 2,
    /// A control client whose socket broke or whose heartbeat stopped; its session waits.
    GEOM_CONNECTION_LOST = 3,
    GEOM_CONNECTION_CLOSED = 4,
}

/// One connection.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct geom_client {
    pub id: u64,
    pub kind: geom_client_kind,
    pub state: geom_connection_state,
    pub pid: i32,
    pub uid: u32,
    /// The path of its program; null where the kernel does not tell.
    pub executable: *const c_char,
    /// Of a Wayland client's newest window, or the name that a control client gave itself; may be null.
    pub app_id: *const c_char,
    /// GEOM_DISCONNECT_ONCE, GEOM_KEEP_CONNECTION_OPEN or both.
    pub connect_type: u32,
    /// Since it was accepted.
    pub connected_seconds: f64,
    /// Since it was last heard of.
    pub silent_seconds: f64,
    /// The last heartbeat's round trip in microseconds; 0 where there was none.
    pub rtt_us: u64,
    /// Bytes that it has not read.
    pub queued: u64,
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
        silent_seconds: client.silent_s,
        rtt_us: client.rtt_us.map_or(0, |rtt| rtt.last),
        queued: client.queued,
        windows: client.windows,
    }
}

/// A toplevel window.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct geom_window {
    pub id: u64,
    /// Of its connection.
    pub client: u64,
    /// May be null.
    pub app_id: *const c_char,
    /// May be null.
    pub title: *const c_char,
    /// The display that it belongs to; may be null.
    pub home: *const c_char,
    /// The lit display that it is shown on; may be null.
    pub display: *const c_char,
    pub fullscreen: bool,
    pub focused: bool,
}

pub(super) fn window(window: &Window, strings: &mut geom_strings) -> geom_window {
    geom_window {
        id: window.id,
        client: window.client,
        app_id: strings.keep_some(window.app_id.as_ref()),
        title: strings.keep_some(window.title.as_ref()),
        home: strings.keep_some(window.home.as_ref()),
        display: strings.keep_some(window.display.as_ref()),
        fullscreen: window.fullscreen,
        focused: window.focused,
    }
}

/// Entries, how many, and what they point to, as a list holds them.
fn boxed<S, T>(
    list: &[S],
    convert: impl Fn(&S, &mut geom_strings) -> T,
) -> (usize, *const T, *mut geom_strings) {
    let mut strings = Box::<geom_strings>::default();
    let items: Box<[T]> = list.iter().map(|entry| convert(entry, &mut strings)).collect();
    (items.len(), Box::into_raw(items).cast::<T>().cast_const(), Box::into_raw(strings))
}

/// # Safety
/// These are of [`boxed`], and used no more.
unsafe fn unbox<T>(count: usize, items: *const T, strings: *mut geom_strings) {
    // SAFETY: the caller's promise: these are the boxes that made it.
    unsafe {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(items.cast_mut(), count)));
        drop(Box::from_raw(strings));
    }
}

/// Displays.
#[repr(C)]
pub struct geom_display_list {
    pub count: usize,
    pub items: *const geom_display,
    /// Of the library's.
    pub strings: *mut geom_strings,
}

pub(super) fn display_list(list: &[Display]) -> *mut geom_display_list {
    let (count, items, strings) = boxed(list, display);
    Box::into_raw(Box::new(geom_display_list { count, items, strings }))
}

/// Frees the list and all that it points to. Null is fine.
///
/// # Safety
/// The list is null or of this library and unchanged, and used no more.
#[no_mangle]
pub unsafe extern "C" fn geom_display_list_free(list: *mut geom_display_list) {
    if !list.is_null() {
        // SAFETY: the caller's promise.
        unsafe {
            let list = Box::from_raw(list);
            unbox(list.count, list.items, list.strings);
        }
    }
}

/// Connections.
#[repr(C)]
pub struct geom_client_list {
    pub count: usize,
    pub items: *const geom_client,
    /// Of the library's.
    pub strings: *mut geom_strings,
}

pub(super) fn client_list(list: &[Client]) -> *mut geom_client_list {
    let (count, items, strings) = boxed(list, client);
    Box::into_raw(Box::new(geom_client_list { count, items, strings }))
}

/// Frees the list and all that it points to. Null is fine.
///
/// # Safety
/// The list is null or of this library and unchanged, and used no more.
#[no_mangle]
pub unsafe extern "C" fn geom_client_list_free(list: *mut geom_client_list) {
    if !list.is_null() {
        // SAFETY: the caller's promise.
        unsafe {
            let list = Box::from_raw(list);
            unbox(list.count, list.items, list.strings);
        }
    }
}

/// Windows.
#[repr(C)]
pub struct geom_window_list {
    pub count: usize,
    pub items: *const geom_window,
    /// Of the library's.
    pub strings: *mut geom_strings,
}

pub(super) fn window_list(list: &[Window]) -> *mut geom_window_list {
    let (count, items, strings) = boxed(list, window);
    Box::into_raw(Box::new(geom_window_list { count, items, strings }))
}

/// Frees the list and all that it points to. Null is fine.
///
/// # Safety
/// The list is null or of this library and unchanged, and used no more.
#[no_mangle]
pub unsafe extern "C" fn geom_window_list_free(list: *mut geom_window_list) {
    if !list.is_null() {
        // SAFETY: the caller's promise.
        unsafe {
            let list = Box::from_raw(list);
            unbox(list.count, list.items, list.strings);
        }
    }
}
