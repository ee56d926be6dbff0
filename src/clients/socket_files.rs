//! Whom the kernel lets through to the files of our own sockets. Those of systemd have the modes
//! that their units give.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use geom_ipc::ClientKind;
use tracing::warn;

use super::limits::Limits;
use super::listen::Listener;
use super::Clients;

/// Only the service's user, and root.
const OWNER: u32 = 0o600;
/// Everyone: `connect(2)` needs write permission, and then the credentials decide.
const ALL: u32 = 0o666;

/// Returns the mode of a socket's file. Without `users` and `groups`, the kernel turns other users
/// away, and they cannot even make us refuse them.
fn mode(limits: &Limits) -> u32 {
    match limits.users.is_empty() && limits.groups.is_empty() {
        true => OWNER,
        false => ALL,
    }
}

/// Returns whether the folder's mode keeps users who neither own it nor are in its group from its
/// files.
fn is_closed(folder: &Path) -> bool {
    const SEARCH_BY_OTHERS: u32 = 0o001;
    folder.metadata().is_ok_and(|metadata| metadata.mode() & SEARCH_BY_OTHERS == 0)
}

/// How notices about the folder begin.
pub const FOLDER_NOTICE: &str = "users and groups of [clients] cannot reach";

impl Clients {
    /// Opens the files of our own sockets to the users and groups of the configuration, or closes
    /// them. Returns a notice if they are in a folder that may let none of these users in.
    ///
    /// Modes do not depend on the umask: with the usual 022 no other user could connect.
    pub fn set_socket_modes(&self, limits: &Limits) -> Option<String> {
        let mode = mode(limits);
        let mut notice = None;
        for listening in &self.listeners {
            let Listener::Own { files, .. } = listening.listener() else { continue };
            // The socket itself comes before the lock.
            let Some(file) = files.first() else { continue };
            if let Err(error) = std::fs::set_permissions(file, Permissions::from_mode(mode)) {
                warn!(socket = %file.display(), %error, "cannot set the mode of a socket");
            }
            let is_out_of_reach = || mode == ALL && file.parent().is_some_and(is_closed);
            if listening.kind() == ClientKind::Wayland && is_out_of_reach() {
                notice = Some(format!(
                    "{FOLDER_NOTICE} {}: others may not enter its folder; start the service with an \
                     XDG_RUNTIME_DIR that they may enter (mode 0711), or use geom-compositor.socket",
                    file.display()
                ));
            }
        }
        notice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_open_to_others_if_the_configuration_names_some() {
        assert_eq!(mode(&Limits::default()), OWNER);
        assert_eq!(mode(&Limits { users: vec![1001], ..Limits::default() }), ALL);
        assert_eq!(mode(&Limits { groups: vec![1001], ..Limits::default() }), ALL);
    }

    #[test]
    fn folder_that_others_may_not_enter_is_closed() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        for (mode, expected) in [(0o700, true), (0o750, true), (0o711, false), (0o755, false)] {
            std::fs::set_permissions(folder.path(), Permissions::from_mode(mode))?;
            assert_eq!(is_closed(folder.path()), expected, "{mode:o}");
        }
        Ok(())
    }
}
