//! The compositor's handle: new, start, stop, ask.

use std::ffi::{c_char, CString};
use std::io::Write;
use std::path::PathBuf;
use std::ptr::null_mut;

use geom_ipc::{ConnectType, Request};

use super::lists::{
    client_list, display_list, geom_client_list, geom_display_list, geom_window_list, window_list,
};
use super::status::{c_string, call, geom_status, give, needed, object, text};
use crate::{Compositor, Config, Error};

/// A loss of the display or of the connection is final.
pub const GEOM_DISCONNECT_ONCE: u32 = 1;
/// A loss is waited out. With both, the first is waited out and the second is final.
pub const GEOM_KEEP_CONNECTION_OPEN: u32 = 2;

/// The display manager, as a program starts, commands and stops it.
pub struct geom_compositor(pub(super) Compositor);

/// What a program wishes. Set it to GEOM_CONFIG_INIT and then what is wished; null and 0 are the defaults. All but
/// `connect_type`, `socket`, `name`, `token` and the times are of a service that is started, and not of one that runs already.
#[repr(C)]
pub struct geom_config {
    /// sizeof(geom_config): later versions add fields at the end.
    pub size: usize,
    /// What the service is called on its diagnostic screen and in its status.
    pub window_title: *const c_char,
    /// GEOM_DISCONNECT_ONCE, GEOM_KEEP_CONNECTION_OPEN or both; 0 for the service's default.
    pub connect_type: u32,
    /// The most that starting may take, the first frame included, in milliseconds; 0 for 30 s.
    pub start_timeout_ms: u32,
    /// The most that an answer may take, in milliseconds; 0 for 10 s.
    pub timeout_ms: u32,
    /// "auto", "kms" or "headless".
    pub backend: *const c_char,
    /// Drive only these displays: connector names, ended by a null pointer.
    pub displays: *const *const c_char,
    /// "auto", "pixman", "gles" or "llvmpipe".
    pub renderer: *const c_char,
    /// The configuration file.
    pub config: *const c_char,
    /// Shell commands to start as clients, ended by a null pointer.
    pub exec: *const *const c_char,
    /// What is logged: "info", "debug,smithay=warn" and so on.
    pub log: *const c_char,
    /// The file that the log is appended to; standard error without.
    pub log_file: *const c_char,
    /// The program; GEOM_COMPOSITOR_EXECUTABLE, PATH or the place of installation without.
    pub executable: *const c_char,
    /// The control socket; GEOM_COMPOSITOR_SOCKET or its default places without.
    pub socket: *const c_char,
    /// What this program is called among the service's clients; the window title without.
    pub name: *const c_char,
    /// Of a session to resume (geom_compositor_token()); a new one begins where the service has not kept it.
    pub token: *const c_char,
}

/// A list of strings that a null pointer ends.
///
/// # Safety
/// The pointer is null or points to such a list.
unsafe fn texts(mut pointer: *const *const c_char, what: &str) -> Result<Vec<String>, Error> {
    let mut list = Vec::new();
    // SAFETY: the caller's promise: each place up to the null pointer is one of the list's.
    unsafe {
        while let Some(place) = pointer.as_ref() {
            let Some(entry) = text(*place, what)? else { break };
            list.push(entry);
            pointer = pointer.add(1);
        }
    }
    Ok(list)
}

impl geom_config {
    /// # Safety
    /// Its pointers are null or point to what their fields say.
    unsafe fn read(&self) -> Result<Config, Error> {
        if self.size != size_of::<Self>() {
            return Err(Error::BadArgument(format!(
                "config.size is {} and not {}: set it to GEOM_CONFIG_INIT, and build against this library's header",
                self.size,
                size_of::<Self>()
            )));
        }
        let connect_type = match ConnectType::from_bits(self.connect_type) {
            Some(none) if none.is_empty() => None,
            Some(flags) => Some(flags),
            None => {
                let message = format!("connect_type {:#x} has bits that mean nothing", self.connect_type);
                return Err(Error::BadArgument(message));
            }
        };
        let seconds = |millis: u32| (millis > 0).then(|| f64::from(millis) / 1000.0);
        // SAFETY: the caller's promise.
        unsafe {
            let path = |pointer, what| Ok::<_, Error>(text(pointer, what)?.map(PathBuf::from));
            Ok(Config {
                window_title: text(self.window_title, "window_title")?,
                connect_type,
                backend: text(self.backend, "backend")?,
                display: texts(self.displays, "displays")?,
                renderer: text(self.renderer, "renderer")?,
                config: path(self.config, "config")?,
                exec: texts(self.exec, "exec")?,
                log: text(self.log, "log")?,
                log_file: path(self.log_file, "log_file")?,
                executable: path(self.executable, "executable")?,
                socket: path(self.socket, "socket")?,
                name: text(self.name, "name")?,
                token: text(self.token, "token")?,
                start_timeout: seconds(self.start_timeout_ms),
                timeout: seconds(self.timeout_ms),
            })
        }
    }
}

/// Makes a handle; nothing runs yet. Without a config, everything is as by default.
///
/// # Safety
/// `config` is null or what GEOM_CONFIG_INIT made, with strings and lists where it has any; `compositor` has room.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_new(
    config: *const geom_config,
    compositor: *mut *mut geom_compositor,
) -> geom_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let config = config.as_ref().map(|config| config.read()).transpose()?.unwrap_or_default();
            let made = Box::new(geom_compositor(Compositor::new(config)?));
            give(compositor, null_mut(), "compositor")?;
            give(compositor, Box::into_raw(made), "compositor")
        }
    })
}

/// Stops it where it runs, and frees the handle. Null is fine.
///
/// # Safety
/// The handle is null or of geom_compositor_new(), and used no more.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_free(compositor: *mut geom_compositor) {
    if !compositor.is_null() {
        // SAFETY: the caller's promise: it is ours, and this is its end.
        drop(unsafe { Box::from_raw(compositor) });
    }
}

/// Connects to the service that runs, or starts one. Returns when a frame is on a display. Does nothing where it was
/// started already.
///
/// # Safety
/// The handle is of geom_compositor_new().
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_start(compositor: *mut geom_compositor) -> geom_status {
    // SAFETY: the caller's promise.
    call(|| unsafe { object(compositor, "compositor") }?.0.start())
}

/// Ends what geom_compositor_start() started: the service, or, where that ran already, this connection only.
///
/// # Safety
/// The handle is of geom_compositor_new().
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_stop(compositor: *mut geom_compositor) -> geom_status {
    // SAFETY: the caller's promise.
    call(|| unsafe { object(compositor, "compositor") }?.0.stop())
}

/// Whether it was started, and its session goes on. False for null.
///
/// # Safety
/// The handle is null or of geom_compositor_new().
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_is_running(compositor: *const geom_compositor) -> bool {
    // SAFETY: the caller's promise.
    unsafe { compositor.as_ref() }.is_some_and(|compositor| compositor.0.is_running())
}

/// Whether geom_compositor_start() began the service, and it runs. False for null.
///
/// # Safety
/// The handle is null or of geom_compositor_new().
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_owns_service(compositor: *const geom_compositor) -> bool {
    // SAFETY: the caller's promise.
    unsafe { compositor.as_ref() }.is_some_and(|compositor| compositor.0.owns_service())
}

/// The displays; freed by geom_display_list_free().
///
/// # Safety
/// The handle is of geom_compositor_new(); `displays` has room.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_displays(
    compositor: *mut geom_compositor,
    displays: *mut *mut geom_display_list,
) -> geom_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        give(displays, display_list(&object(compositor, "compositor")?.0.displays()?), "displays")
    })
}

/// The connections; freed by geom_client_list_free().
///
/// # Safety
/// The handle is of geom_compositor_new(); `clients` has room.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_clients(
    compositor: *mut geom_compositor,
    clients: *mut *mut geom_client_list,
) -> geom_status {
    // SAFETY: the caller's promise.
    call(|| unsafe { give(clients, client_list(&object(compositor, "compositor")?.0.clients()?), "clients") })
}

/// The windows; freed by geom_window_list_free().
///
/// # Safety
/// The handle is of geom_compositor_new(); `windows` has room.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_windows(
    compositor: *mut geom_compositor,
    windows: *mut *mut geom_window_list,
) -> geom_status {
    // SAFETY: the caller's promise.
    call(|| unsafe { give(windows, window_list(&object(compositor, "compositor")?.0.windows()?), "windows") })
}

/// Saves what a display shows as a PNG file.
///
/// # Safety
/// The handle is of geom_compositor_new(); both strings are strings.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_screenshot(
    compositor: *mut geom_compositor,
    display: *const c_char,
    path: *const c_char,
) -> geom_status {
    call(|| {
        // SAFETY: the caller's promise.
        let (compositor, display, path) = unsafe {
            (object(compositor, "compositor")?, needed(display, "display")?, needed(path, "path")?)
        };
        let png = compositor.0.screenshot(&display)?;
        let named = |error: std::io::Error| std::io::Error::new(error.kind(), format!("{path}: {error}"));
        std::fs::File::create(&path).and_then(|mut file| file.write_all(&png)).map_err(named)?;
        Ok(())
    })
}

/// Asks for anything that the protocol has, as docs/control.md shows it, without an id:
/// `{"request":"identify","seconds":3}`. The answer is JSON as well; freed by geom_string_free(). `answer` may be null.
///
/// # Safety
/// The handle is of geom_compositor_new(); `request` is a string; `answer` is null or has room.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_request(
    compositor: *mut geom_compositor,
    request: *const c_char,
    answer: *mut *mut c_char,
) -> geom_status {
    call(|| {
        // SAFETY: the caller's promise.
        let (compositor, text) = unsafe { (object(compositor, "compositor")?, needed(request, "request")?) };
        let request: Request =
            serde_json::from_str(&text).map_err(|error| Error::BadArgument(format!("request: {error}")))?;
        let said = compositor.0.request(request)?;
        let said = serde_json::to_string(&said).map_err(|error| Error::Protocol(error.to_string()))?;
        if !answer.is_null() {
            // SAFETY: the caller's promise.
            unsafe { answer.write(c_string(&said).into_raw()) };
        }
        Ok(())
    })
}

/// What resumes the session from another process, should this one be killed; freed by geom_string_free().
///
/// # Safety
/// The handle is of geom_compositor_new(); `token` has room.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_token(
    compositor: *mut geom_compositor,
    token: *mut *mut c_char,
) -> geom_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        give(token, c_string(&object(compositor, "compositor")?.0.token()?).into_raw(), "token")
    })
}

/// Frees what geom_compositor_request() and geom_compositor_token() gave. Null is fine.
///
/// # Safety
/// The string is null or of this library, and used no more.
#[no_mangle]
pub unsafe extern "C" fn geom_string_free(string: *mut c_char) {
    if !string.is_null() {
        // SAFETY: the caller's promise: it came from into_raw().
        drop(unsafe { CString::from_raw(string) });
    }
}
