//! How many descriptors there may be: as many as we are allowed for ourselves, what is usual for programs.

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use tracing::warn;

/// Raises the limit of open descriptors to the hard one: each client takes one. The limit that was, for programs that
/// we start: some use select(2), which ends at 1024.
pub fn raise_limit() -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    if before.current != before.maximum {
        let raised = Rlimit { current: before.maximum, maximum: before.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            warn!(%error, "the limit of open descriptors stays as it is");
        }
    }
    before
}

/// In a program that is being started.
pub fn restore_limit(before: Rlimit) -> std::io::Result<()> {
    Ok(setrlimit(Resource::Nofile, before)?)
}
