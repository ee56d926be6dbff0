//! Checks the seat and the folder for sockets.

use super::{Finding, Machine};

/// The socket of seatd, unless SEATD_SOCK names another.
const SEATD_SOCKET: &str = "/run/seatd.sock";

pub fn check(machine: &Machine) -> Vec<Finding> {
    vec![seat(machine), runtime_folder(machine)]
}

fn seat(machine: &Machine) -> Finding {
    const WHAT: &str = "seat";
    let seatd = machine.variable("SEATD_SOCK").unwrap_or(SEATD_SOCKET);
    // How systemd's own libraries see that logind runs (login-util.h, logind_running()).
    let logind = machine.exists("/run/systemd/seats");
    let session = machine.variable("XDG_SESSION_ID").and_then(|id| machine.login_session(id));
    let seat_of_session = session.and_then(|session| Some((session.seat?, session.is_active)));
    if machine.exists(seatd) {
        let is_allowed = !machine.is_here()
            || rustix::fs::access(machine.path(seatd), rustix::fs::Access::WRITE_OK).is_ok();
        return match is_allowed {
            true => Finding::good(WHAT, format!("seatd at {seatd}")),
            false => Finding::bad(
                WHAT,
                format!("this user may not connect to {seatd}"),
                "add the user to the group of the socket (ls -l; usermod -aG video USER) and log in again",
            ),
        };
    }
    match seat_of_session {
        Some((seat, true)) => Finding::good(WHAT, format!("logind, an active session on {seat}")),
        Some((seat, false)) => Finding::bad(
            WHAT,
            format!("logind, but another session is active on {seat}"),
            "switch to this session's VT (loginctl activate, or Ctrl+Alt+F1 to F12)",
        ),
        None if machine.user == 0 => Finding::good(WHAT, "root needs none (libseat's builtin)"),
        None if logind => Finding::bad(
            WHAT,
            "logind runs, but this session has no seat (ssh or su)",
            "log in on the machine's own console, run geom-compositor.service, or start seatd",
        ),
        None => Finding::bad(
            WHAT,
            "neither seatd nor logind runs",
            "install and start seatd (systemctl enable --now seatd), or start systemd-logind",
        ),
    }
}

fn runtime_folder(machine: &Machine) -> Finding {
    const WHAT: &str = "folder for sockets";
    let Some(folder) = machine.variable("XDG_RUNTIME_DIR") else {
        return Finding::bad(
            WHAT,
            "XDG_RUNTIME_DIR is not set",
            "log in by a logind session, or set it to a folder of this user with mode 0700",
        );
    };
    let path = machine.path(folder);
    let Ok(metadata) = std::fs::metadata(&path) else {
        return Finding::bad(
            WHAT,
            format!("{folder} does not exist"),
            "create it with mode 0700, or log in again",
        );
    };
    use std::os::unix::fs::MetadataExt;
    if machine.is_here() && metadata.uid() != machine.user {
        let owner = metadata.uid();
        return Finding::bad(
            WHAT,
            format!("{folder} belongs to user {owner}"),
            "use this user's own folder (sudo keeps that of the caller: use sudo -i, or unset XDG_RUNTIME_DIR)",
        );
    }
    if machine.is_here() && rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_err() {
        return Finding::bad(
            WHAT,
            format!("{folder} is not writable"),
            "mount its file system read-write, or set another folder",
        );
    }
    Finding::good(WHAT, folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;
    use crate::session::logind::LoginSession;

    #[test]
    fn seat_needs_seatd_or_an_active_session() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let session =
            |seat: Option<&str>, is_active| LoginSession { seat: seat.map(str::to_owned), is_active };
        let found = |variables: &[(&str, &str)], session: LoginSession| {
            seat(&Machine::at(root.path(), variables).with_session("c1", session))
        };
        let found_without_id = || found(&[], session(None, false));
        assert!(found_without_id().grade == Grade::Bad && found_without_id().remedy.contains("seatd"));
        std::fs::create_dir_all(root.path().join("run/systemd/seats"))?;
        assert!(found_without_id().found.contains("ssh"));
        let with_id = [("XDG_SESSION_ID", "c1")];
        assert!(found(&with_id, session(Some("seat0"), false)).remedy.contains("VT"));
        assert_eq!(found(&with_id, session(Some("seat0"), true)).grade, Grade::Good);
        // A session over ssh has no seat.
        assert_eq!(found(&with_id, session(None, true)).grade, Grade::Bad);
        std::fs::write(root.path().join("run/seatd.sock"), "")?;
        assert!(found_without_id().found.contains("seatd at"));
        Ok(())
    }

    #[test]
    fn folder_for_sockets_must_exist() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let grade = |variables: &[(&str, &str)]| runtime_folder(&Machine::at(root.path(), variables)).grade;
        assert_eq!(grade(&[]), Grade::Bad);
        assert_eq!(grade(&[("XDG_RUNTIME_DIR", "/run/user/1000")]), Grade::Bad);
        std::fs::create_dir_all(root.path().join("run/user/1000"))?;
        assert_eq!(grade(&[("XDG_RUNTIME_DIR", "/run/user/1000")]), Grade::Good);
        Ok(())
    }
}
