//! The limit of open file descriptors: the hard limit for this process, the usual one for the
//! programs that it starts.

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use tracing::warn;

/// Raises the soft limit of open descriptors to the hard limit, because each client needs one.
/// Returns the previous limit, for the programs that we start: some of them use select(2), which
/// fails for descriptors from 1024 on.
pub fn raise_limit() -> Rlimit {
    let previous = getrlimit(Resource::Nofile);
    if previous.current != previous.maximum {
        let raised = Rlimit { current: previous.maximum, maximum: previous.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            warn!(
                %error, limit = previous.current,
                "cannot raise the limit of open descriptors: set LimitNOFILE= if clients are refused"
            );
        }
    }
    previous
}

/// Restores the limit in a child process.
///
/// # Errors
/// If the kernel refuses it.
pub fn restore_limit(previous: Rlimit) -> std::io::Result<()> {
    Ok(setrlimit(Resource::Nofile, previous)?)
}
