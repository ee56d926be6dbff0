//! Errors of the library.

use std::path::PathBuf;
use std::time::Duration;

use geom_ipc::CloseReason;

/// The error of a call. Its `Display` text tells a person the cause and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No service accepted a connection at any of these paths.
    #[error("no geom_compositor answers at {}: start it, or name its socket by GEOM_COMPOSITOR_SOCKET", list(.0))]
    NotRunning(Vec<PathBuf>),
    /// This user may not open the socket at this path, and no other one answered.
    #[error(
        "this user may not open {}: [clients] of the service's configuration must name the user or a \
         group of it, and a socket of systemd must belong to such a group",
        .0.display()
    )]
    NotPermitted(PathBuf),
    /// The service could not be started, ended during the start, or presented no frame in time.
    #[error("geom_compositor could not be started: {0}")]
    StartFailed(String),
    /// [`Compositor::start`](crate::Compositor::start) was not called, or
    /// [`Compositor::stop`](crate::Compositor::stop) was called since.
    #[error("not started: call start() first")]
    NotStarted,
    /// The service replied with an error.
    #[error(transparent)]
    Server(#[from] geom_ipc::Error),
    /// The connection ended, for the reason that the service gave, if any.
    /// [`Client::resume`](crate::Client::resume) may resume the session.
    #[error("the connection to geom_compositor ended{}", .0.map(|reason| format!(" ({reason:?})")).unwrap_or_default())]
    Disconnected(Option<CloseReason>),
    /// The service did not reply within this time.
    #[error("geom_compositor did not answer within {0:?}")]
    TimedOut(Duration),
    /// The service sent a message that violates the protocol.
    #[error("geom_compositor violated the control protocol: {0}")]
    Protocol(String),
    /// The caller passed a value that is not allowed.
    #[error("{0}")]
    BadArgument(String),
    /// A system call on the control socket or on a file failed.
    #[error("the control socket: {0}")]
    Io(#[from] std::io::Error),
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(" or ")
}
