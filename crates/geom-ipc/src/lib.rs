//! The control protocol of geom_compositor: JSON objects, one a line, over a Unix stream socket.
//!
//! ```text
//! > {"id":1,"request":"hello","versions":[1],"name":"my program"}
//! < {"id":1,"answer":{"welcome":{"version":1,"server":"geom_compositor 0.1.0","connection":7,…}}}
//! > {"id":2,"request":"displays"}
//! < {"id":2,"answer":{"displays":[{"name":"HDMI-A-1","state":"lit",…}]}}
//! < {"event":"ping","serial":1}
//! > {"id":3,"request":"pong","serial":1}
//! ```
//!
//! Rules, for both sides:
//!
//! - The first request is `hello`; its answer names the version that holds from then on.
//! - Each request has an id of the client's choice; exactly one reply carries it. Replies may overtake each
//!   other. Events have no id.
//! - Fields that a side does not know are ignored. A request that the server does not know is answered with
//!   the error `unknown_request`; an event that a client does not know is [`Event::Unknown`].
//! - A line has at most [`MAX_LINE`] bytes, its newline included.
//! - The server sends `ping` when a client was silent for a while; any message is a sign of life.
//!
//! `docs/control.schema.json` is generated from these types. This crate keeps its promises: within a
//! [`VERSION`], fields, requests and events are added and none is changed or removed.

mod connect_type;
mod event;
mod frame;
mod metrics;
mod model;
mod reply;
mod request;
mod schema;

pub use connect_type::ConnectType;
pub use event::Event;
pub use frame::{Frames, TooLong};
pub use metrics::{DisplayMetrics, Metrics};
pub use model::{
    Client, ClientKind, ConnectionState, Display, DisplayState, EndReason, Link, Mode, Monitor, Place, Rtt,
    Status, Window,
};
pub use reply::{Answer, Error, ErrorKind, FromServer, Outcome, Reply, Welcome};
pub use request::{DisplayChange, FromClient, Request, RequestError, Vrr, VrrWhile};
pub use schema::schema;

/// The newest version of the protocol that this crate speaks, and the oldest.
pub const VERSION: u32 = 1;
pub const OLDEST_VERSION: u32 = 1;

/// The most bytes of one line, its newline included.
pub const MAX_LINE: usize = 1 << 20;

/// The environment variable that names the control socket.
pub const SOCKET_VARIABLE: &str = "GEOM_COMPOSITOR_SOCKET";

/// The control socket's name in `XDG_RUNTIME_DIR`.
pub const SOCKET_NAME: &str = "geom-compositor.sock";

/// Where a system service has its control socket.
pub const SYSTEM_SOCKET: &str = "/run/geom-compositor/geom-compositor.sock";

/// The places where the control socket may be, best first: what `GEOM_COMPOSITOR_SOCKET` names and nothing
/// else, or the user's own and then the system service's.
pub fn socket_paths(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Vec<std::path::PathBuf> {
    if let Some(path) = variable(SOCKET_VARIABLE).filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let own = variable("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
    let own = own.map(|folder| std::path::Path::new(&folder).join(SOCKET_NAME));
    own.into_iter().chain([SYSTEM_SOCKET.into()]).collect()
}
