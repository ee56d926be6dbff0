//! The control protocol of geom_compositor: one JSON object per line over a Unix stream socket.
//!
//! ```text
//! > {"id":1,"request":"hello","versions":[1],"name":"my program"}
//! < {"id":1,"response":{"welcome":{"version":1,"connection":7,"token":"4bf0…",…}}}
//! > {"id":2,"request":"displays"}
//! < {"id":2,"response":{"displays":[{"name":"HDMI-A-1","state":"enabled",…}]}}
//! < {"event":"ping","serial":1}
//! > {"id":3,"request":"pong","serial":1}
//! ```
//!
//! Rules for both sides:
//!
//! - The first request is `hello`. Its response names the protocol version of the connection.
//! - Each request has an id that the client chooses. Exactly one reply carries it. Replies may come
//!   in another order than the requests. Events have no id.
//! - Unknown fields are ignored. The server replies to an unknown request with the error
//!   `unknown_request`; a client parses an unknown event as [`Event::Unknown`].
//! - A line has at most [`MAX_LINE`] bytes, including its newline.
//! - The server sends `ping` to a client that has been idle for a while. Any message from the
//!   client proves that it is alive.
//!
//! `docs/control.schema.json` is generated from these types. The protocol is stable within a
//! [`VERSION`] from release 1.0 on: fields, requests and events are added, and none is changed or
//! removed.

#![warn(missing_docs)]

mod calibration;
mod connect_type;
mod event;
mod line_buffer;
mod metrics;
mod model;
mod reply;
mod request;
mod schema;

pub use calibration::{Calibration, CalibrationState};
pub use connect_type::ConnectType;
pub use event::Event;
pub use line_buffer::{LineBuffer, LineTooLong};
pub use metrics::{DisplayMetrics, Metrics};
pub use model::{
    Client, ClientKind, CloseReason, ConnectionState, Display, DisplayState, Gpu, InputCapability,
    InputDevice, InputSettings, LogicalRect, Mode, Monitor, Rtt, Signal, Status, Window,
};
pub use reply::{Error, ErrorKind, Reply, ReplyResult, Response, ServerMessage, Welcome};
pub use request::{ClientMessage, DisplayChange, Request, RequestError, Vrr, VrrCondition};
pub use schema::schema;

/// The newest protocol version that this crate speaks.
pub const VERSION: u32 = 1;

/// The oldest protocol version that this crate speaks.
pub const OLDEST_VERSION: u32 = 1;

/// The maximum length of a line in bytes, including its newline.
pub const MAX_LINE: usize = 1 << 20;

/// The environment variable with the path of the control socket.
pub const SOCKET_VARIABLE: &str = "GEOM_COMPOSITOR_SOCKET";

/// The file name of the control socket in `XDG_RUNTIME_DIR`.
pub const SOCKET_NAME: &str = "geom-compositor.sock";

/// The path of the system service's control socket.
pub const SYSTEM_SOCKET: &str = "/run/geom-compositor/geom-compositor.sock";

/// Returns the paths at which to look for the control socket, in this order.
///
/// Only the path in `GEOM_COMPOSITOR_SOCKET` if that is set; otherwise the user's own service in
/// `XDG_RUNTIME_DIR`, then the system service. `variable` returns the value of an environment
/// variable.
///
/// ```
/// let paths = geom_ipc::socket_paths(|name| std::env::var_os(name));
/// assert!(!paths.is_empty());
/// ```
pub fn socket_paths(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Vec<std::path::PathBuf> {
    if let Some(path) = variable(SOCKET_VARIABLE).filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let runtime_dir = variable("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
    let own = runtime_dir.map(|folder| std::path::Path::new(&folder).join(SOCKET_NAME));
    own.into_iter().chain([SYSTEM_SOCKET.into()]).collect()
}
