//! Functions of the compositor handle.

use std::ffi::{c_char, CString};
use std::io::Write;
use std::path::PathBuf;
use std::ptr::null_mut;

use geom_ipc::{ConnectType, Request};

use super::lists::{
    client_list, display_list, geom_client_list, geom_display_list, geom_window_list, window_list,
};
use super::status::{c_string, call, geom_status, object, optional_text, required_text, write_result};
use crate::{Compositor, Config, Error};

/// The first disconnect of the display or of the connection is final.
pub const GEOM_DISCONNECT_ONCE: u32 = 1;
/// Disconnects are survived: the display or the session is kept until it returns. With both flags,
/// the first disconnect is survived and the second is final.
pub const GEOM_KEEP_CONNECTION_OPEN: u32 = 2;

/// The display manager, for a program that starts, commands and stops it.
pub struct geom_compositor(pub(super) Compositor);

/// Configuration of a geom_compositor. Initialize it with GEOM_CONFIG_INIT, then set fields; null
/// and 0 are the defaults.
///
/// `connect_type`, `socket`, `name`, `token` and the timeouts always apply. The other fields apply
/// only to a service that is started, not to one that runs already.
#[repr(C)]
pub struct geom_config {
    /// sizeof(geom_config). Later versions add fields at the end.
    pub size: usize,
    /// Title of the service, on its diagnostic screen and in its status.
    pub window_title: *const c_char,
    /// GEOM_DISCONNECT_ONCE, GEOM_KEEP_CONNECTION_OPEN or both. By default, the service's
    /// configuration decides.
    pub connect_type: u32,
    /// Maximum time to start, including the first frame, in milliseconds. 30000 by default.
    pub start_timeout_ms: u32,
    /// Maximum time to wait for a reply, in milliseconds. 10000 by default.
    pub timeout_ms: u32,
    /// "auto", "kms" or "headless".
    pub backend: *const c_char,
    /// Array of the names of the displays to drive, terminated by a null pointer. By default, all.
    pub displays: *const *const c_char,
    /// "auto", "pixman", "gles" or "llvmpipe".
    pub renderer: *const c_char,
    /// Path of the configuration file.
    pub config: *const c_char,
    /// Array of shell commands that the service starts as its clients, terminated by a null
    /// pointer.
    pub exec: *const *const c_char,
    /// Log filter, such as "info" or "debug,smithay=warn".
    pub log: *const c_char,
    /// File that the log is appended to. By default, the log goes to standard error.
    pub log_file: *const c_char,
    /// Path of the program to start. By default, the one that GEOM_COMPOSITOR_EXECUTABLE names,
    /// geom_compositor in PATH, or the installed one.
    pub executable: *const c_char,
    /// Path of the control socket. By default, GEOM_COMPOSITOR_SOCKET, or the user's service, then
    /// the system service.
    pub socket: *const c_char,
    /// Name of this program in the service's list of clients. By default, the window title.
    pub name: *const c_char,
    /// Token of the session to resume, from geom_compositor_token() of an earlier process. If the
    /// service has not kept that session, a new one begins.
    pub token: *const c_char,
}

/// Reads an array of strings that is terminated by a null pointer.
///
/// # Safety
/// The pointer must be null or point to such an array.
unsafe fn texts(mut pointer: *const *const c_char, what: &str) -> Result<Vec<String>, Error> {
    let mut list = Vec::new();
    // SAFETY: guaranteed by the caller: every element up to the null pointer is valid.
    unsafe {
        while let Some(element) = pointer.as_ref() {
            let Some(entry) = optional_text(*element, what)? else { break };
            list.push(entry);
            pointer = pointer.add(1);
        }
    }
    Ok(list)
}

impl geom_config {
    /// # Safety
    /// Each pointer must be null or point to what the documentation of its field says.
    unsafe fn read(&self) -> Result<Config, Error> {
        if self.size != size_of::<Self>() {
            return Err(Error::BadArgument(format!(
                "config.size is {} and not {}: initialize it with GEOM_CONFIG_INIT, and build against this \
                 library's header",
                self.size,
                size_of::<Self>()
            )));
        }
        let connect_type = match ConnectType::from_bits(self.connect_type) {
            Some(none) if none.is_empty() => None,
            Some(flags) => Some(flags),
            None => {
                let message = format!("connect_type {:#x} has unknown bits", self.connect_type);
                return Err(Error::BadArgument(message));
            }
        };
        let seconds = |millis: u32| (millis > 0).then(|| f64::from(millis) / 1000.0);
        // SAFETY: guaranteed by the caller.
        unsafe {
            let path = |pointer, what| Ok::<_, Error>(optional_text(pointer, what)?.map(PathBuf::from));
            Ok(Config {
                window_title: optional_text(self.window_title, "window_title")?,
                connect_type,
                backend: optional_text(self.backend, "backend")?,
                display: texts(self.displays, "displays")?,
                renderer: optional_text(self.renderer, "renderer")?,
                config: path(self.config, "config")?,
                exec: texts(self.exec, "exec")?,
                log: optional_text(self.log, "log")?,
                log_file: path(self.log_file, "log_file")?,
                executable: path(self.executable, "executable")?,
                socket: path(self.socket, "socket")?,
                name: optional_text(self.name, "name")?,
                token: optional_text(self.token, "token")?,
                start_timeout: seconds(self.start_timeout_ms),
                timeout: seconds(self.timeout_ms),
            })
        }
    }
}

/// Creates a handle. It neither connects nor starts anything. A null `config` means the defaults.
///
/// Fails with GEOM_BAD_ARGUMENT if the configuration is invalid; `*compositor` is null then, or
/// unchanged.
///
/// # Safety
/// `config` must be null or initialized with GEOM_CONFIG_INIT, with valid strings and arrays.
/// `compositor` must point to a variable.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_new(
    config: *const geom_config,
    compositor: *mut *mut geom_compositor,
) -> geom_status {
    call(|| {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let config = config.as_ref().map(|config| config.read()).transpose()?.unwrap_or_default();
            let new = Box::new(geom_compositor(Compositor::new(config)?));
            // Checks the pointer before the box is released.
            write_result(compositor, null_mut(), "compositor")?;
            write_result(compositor, Box::into_raw(new), "compositor")
        }
    })
}

/// Stops it as geom_compositor_stop() does, and frees the handle. Does nothing if it is null.
///
/// # Safety
/// `compositor` must be null or come from geom_compositor_new(), and must not be used again.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_free(compositor: *mut geom_compositor) {
    if !compositor.is_null() {
        // SAFETY: guaranteed by the caller: geom_compositor_new() released this box.
        drop(unsafe { Box::from_raw(compositor) });
    }
}

/// Connects to the running service, or starts one. Returns after a frame was presented on a
/// display. Does nothing if it was started before and its session has not ended.
///
/// Fails with GEOM_START_FAILED if the service can't run or presents no frame in time, and with
/// GEOM_NOT_ALLOWED if this user may not command the service.
///
/// # Safety
/// `compositor` must come from geom_compositor_new().
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_start(compositor: *mut geom_compositor) -> geom_status {
    // SAFETY: guaranteed by the caller.
    call(|| unsafe { object(compositor, "compositor") }?.0.start())
}

/// Reverts geom_compositor_start(): stops the service and its clients if that call started it, and
/// otherwise only ends this program's session. Does nothing if nothing was started.
///
/// # Safety
/// `compositor` must come from geom_compositor_new().
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_stop(compositor: *mut geom_compositor) -> geom_status {
    // SAFETY: guaranteed by the caller.
    call(|| unsafe { object(compositor, "compositor") }?.0.stop())
}

/// Returns whether it was started and its session has not ended. False for null.
///
/// # Safety
/// `compositor` must be null or come from geom_compositor_new().
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_is_running(compositor: *const geom_compositor) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe { compositor.as_ref() }.is_some_and(|compositor| compositor.0.is_running())
}

/// Returns whether geom_compositor_start() started the service and it runs. False for null.
///
/// # Safety
/// `compositor` must be null or come from geom_compositor_new().
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_owns_service(compositor: *const geom_compositor) -> bool {
    // SAFETY: guaranteed by the caller.
    unsafe { compositor.as_ref() }.is_some_and(|compositor| compositor.0.owns_service())
}

/// Lists the displays. Free the list with geom_display_list_free().
///
/// Fails with GEOM_NOT_STARTED, GEOM_DISCONNECTED or GEOM_TIMED_OUT.
///
/// # Safety
/// `compositor` must come from geom_compositor_new(). `displays` must point to a variable.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_displays(
    compositor: *mut geom_compositor,
    displays: *mut *mut geom_display_list,
) -> geom_status {
    // SAFETY: guaranteed by the caller.
    call(|| unsafe {
        write_result(displays, display_list(&object(compositor, "compositor")?.0.displays()?), "displays")
    })
}

/// Lists the connections. Free the list with geom_client_list_free().
///
/// Fails with GEOM_NOT_STARTED, GEOM_DISCONNECTED or GEOM_TIMED_OUT.
///
/// # Safety
/// `compositor` must come from geom_compositor_new(). `clients` must point to a variable.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_clients(
    compositor: *mut geom_compositor,
    clients: *mut *mut geom_client_list,
) -> geom_status {
    // SAFETY: guaranteed by the caller.
    call(|| unsafe {
        write_result(clients, client_list(&object(compositor, "compositor")?.0.clients()?), "clients")
    })
}

/// Lists the toplevel windows. Free the list with geom_window_list_free().
///
/// Fails with GEOM_NOT_STARTED, GEOM_DISCONNECTED or GEOM_TIMED_OUT.
///
/// # Safety
/// `compositor` must come from geom_compositor_new(). `windows` must point to a variable.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_windows(
    compositor: *mut geom_compositor,
    windows: *mut *mut geom_window_list,
) -> geom_status {
    // SAFETY: guaranteed by the caller.
    call(|| unsafe {
        write_result(windows, window_list(&object(compositor, "compositor")?.0.windows()?), "windows")
    })
}

/// Takes a screenshot of a display, and writes it to a PNG file. An existing file is overwritten.
///
/// Fails with GEOM_NOT_FOUND if there is no such display, with GEOM_NOT_ALLOWED if this user may
/// not command the service, with GEOM_FAILED if the file can't be written, and as
/// geom_compositor_displays().
///
/// # Safety
/// `compositor` must come from geom_compositor_new(). `display` and `path` must be strings.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_screenshot(
    compositor: *mut geom_compositor,
    display: *const c_char,
    path: *const c_char,
) -> geom_status {
    call(|| {
        // SAFETY: guaranteed by the caller.
        let (compositor, display, path) = unsafe {
            (
                object(compositor, "compositor")?,
                required_text(display, "display")?,
                required_text(path, "path")?,
            )
        };
        let png = compositor.0.screenshot(&display)?;
        let with_path = |error: std::io::Error| std::io::Error::new(error.kind(), format!("{path}: {error}"));
        std::fs::File::create(&path).and_then(|mut file| file.write_all(&png)).map_err(with_path)?;
        Ok(())
    })
}

/// Sends any request of the control protocol (docs/control.md) as JSON without an id, such as
/// `{"request":"identify","seconds":3}`. Writes the response as JSON to `*response`, unless
/// `response` is null. Free it with geom_string_free().
///
/// Fails with GEOM_BAD_ARGUMENT if the request is invalid, with the status for the service's error,
/// and as geom_compositor_displays().
///
/// # Safety
/// `compositor` must come from geom_compositor_new(). `request` must be a string. `response` must
/// be null or point to a variable.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_request(
    compositor: *mut geom_compositor,
    request: *const c_char,
    response: *mut *mut c_char,
) -> geom_status {
    call(|| {
        // SAFETY: guaranteed by the caller.
        let (compositor, text) =
            unsafe { (object(compositor, "compositor")?, required_text(request, "request")?) };
        let request: Request =
            serde_json::from_str(&text).map_err(|error| Error::BadArgument(format!("request: {error}")))?;
        let result = compositor.0.request(request)?;
        let json = serde_json::to_string(&result).map_err(|error| Error::Protocol(error.to_string()))?;
        if !response.is_null() {
            // SAFETY: guaranteed by the caller.
            unsafe { response.write(c_string(&json).into_raw()) };
        }
        Ok(())
    })
}

/// Returns the token that resumes the session from another process (geom_config.token), for
/// programs that may be killed. It is a secret. Free it with geom_string_free().
///
/// Fails with GEOM_NOT_STARTED.
///
/// # Safety
/// `compositor` must come from geom_compositor_new(). `token` must point to a variable.
#[no_mangle]
pub unsafe extern "C" fn geom_compositor_token(
    compositor: *mut geom_compositor,
    token: *mut *mut c_char,
) -> geom_status {
    // SAFETY: guaranteed by the caller.
    call(|| unsafe {
        write_result(token, c_string(&object(compositor, "compositor")?.0.token()?).into_raw(), "token")
    })
}

/// Frees a string from geom_compositor_request() or geom_compositor_token(). Does nothing if it is
/// null.
///
/// # Safety
/// `string` must be null or come from this library, and must not be used again.
#[no_mangle]
pub unsafe extern "C" fn geom_string_free(string: *mut c_char) {
    if !string.is_null() {
        // SAFETY: guaranteed by the caller: into_raw() released it.
        drop(unsafe { CString::from_raw(string) });
    }
}
