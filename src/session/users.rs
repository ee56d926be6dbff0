//! Names of users (getpwuid(3)).

use nix::unistd::{getuid, User};

/// Returns the name of the user that this process runs as, or `None` if the user database has none.
pub fn own_name() -> Option<String> {
    User::from_uid(getuid()).ok().flatten().map(|user| user.name)
}
