//! What can go wrong.

use std::path::PathBuf;
use std::time::Duration;

use geom_ipc::EndReason;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No socket answered.
    #[error("no geom_compositor answers at {}: start it, or name its socket by GEOM_COMPOSITOR_SOCKET", list(.0))]
    NotRunning(Vec<PathBuf>),
    /// The service was started and ended, or shows nothing.
    #[error("geom_compositor could not be started: {0}")]
    Start(String),
    /// The program did not call [`crate::Compositor::start`], or called [`crate::Compositor::stop`] since.
    #[error("not started: call start() first")]
    NotStarted,
    /// The server refused or failed.
    #[error(transparent)]
    Server(#[from] geom_ipc::Error),
    /// The connection is gone; [`crate::Client::resume`] may bring the session back.
    #[error("the connection to geom_compositor ended{}", .0.map(|reason| format!(" ({reason:?})")).unwrap_or_default())]
    Gone(Option<EndReason>),
    #[error("geom_compositor did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("geom_compositor said what is not in the protocol: {0}")]
    Protocol(String),
    /// A value that the caller gave.
    #[error("{0}")]
    BadArgument(String),
    #[error("the control socket: {0}")]
    Io(#[from] std::io::Error),
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(" or ")
}
