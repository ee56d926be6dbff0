//! Whether a seat can be had.

use super::{Finding, Machine};

/// Where libseat looks for seatd (SEATD_SOCK).
const SEATD: &str = "/run/seatd.sock";

pub fn check(machine: &Machine) -> Vec<Finding> {
    vec![seat(machine), runtime_folder(machine)]
}

fn seat(machine: &Machine) -> Finding {
    const WHAT: &str = "seat";
    let seatd = machine.variable("SEATD_SOCK").unwrap_or(SEATD);
    let logind = machine.exists("/run/systemd/seats");
    let session = machine.variable("XDG_SESSION_ID").and_then(|id| session(machine, id));
    if machine.exists(seatd) {
        let may = !machine.is_here()
            || rustix::fs::access(machine.path(seatd), rustix::fs::Access::WRITE_OK).is_ok();
        return match may {
            true => Finding::good(WHAT, format!("seatd at {seatd}")),
            false => Finding::bad(
                WHAT,
                format!("seatd's {seatd} is not for this user"),
                "put the user into the socket's group (usermod -aG video USER, or as `ls -l` says) and log in again",
            ),
        };
    }
    match session {
        Some(Session { seat, active: true, .. }) => {
            Finding::good(WHAT, format!("logind, an active session on {seat}"))
        }
        Some(Session { seat, active: false, .. }) => Finding::bad(
            WHAT,
            format!("logind, but another session is active on {seat}"),
            "switch to this session's VT (loginctl activate, or Ctrl+Alt+F1 to F12)",
        ),
        None if machine.user == 0 => Finding::good(WHAT, "none is needed by root (libseat's builtin)"),
        None if logind => Finding::bad(
            WHAT,
            "logind runs, and this is no session of a seat (over ssh, or by su)",
            "log in on the machine's own console, run geom-compositor.service, or start seatd",
        ),
        None => Finding::bad(
            WHAT,
            "neither seatd nor logind runs",
            "install and start seatd (systemctl enable --now seatd), or start systemd-logind",
        ),
    }
}

struct Session {
    seat: String,
    active: bool,
}

/// What logind keeps of a session; none where it has no seat.
fn session(machine: &Machine, id: &str) -> Option<Session> {
    let text = machine.text(&format!("/run/systemd/sessions/{id}"))?;
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    Some(Session { seat: value("SEAT")?.to_owned(), active: value("ACTIVE") == Some("1") })
}

fn runtime_folder(machine: &Machine) -> Finding {
    const WHAT: &str = "sockets' folder";
    let Some(folder) = machine.variable("XDG_RUNTIME_DIR") else {
        return Finding::bad(
            WHAT,
            "XDG_RUNTIME_DIR is not set",
            "log in by a session of logind's, or set it to a folder of this user's, mode 0700",
        );
    };
    let path = machine.path(folder);
    let Ok(facts) = std::fs::metadata(&path) else {
        return Finding::bad(WHAT, format!("{folder} is not there"), "make it, mode 0700, or log in again");
    };
    use std::os::unix::fs::MetadataExt;
    if machine.is_here() && facts.uid() != machine.user {
        let owner = facts.uid();
        return Finding::bad(
            WHAT,
            format!("{folder} belongs to user {owner}"),
            "use this user's own (sudo keeps the caller's: sudo -i, or unset XDG_RUNTIME_DIR)",
        );
    }
    if machine.is_here() && rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_err() {
        return Finding::bad(
            WHAT,
            format!("{folder} can't be written to"),
            "mount it for writing, or name another",
        );
    }
    Finding::good(WHAT, folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn seats() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let machine = |variables: &[(&str, &str)]| Machine::at(root.path(), variables);
        let found = |variables: &[(&str, &str)]| seat(&machine(variables));
        assert!(found(&[]).grade == Grade::Bad && found(&[]).remedy.contains("seatd"));
        let sessions = root.path().join("run/systemd/sessions");
        std::fs::create_dir_all(&sessions)?;
        std::fs::create_dir_all(root.path().join("run/systemd/seats"))?;
        assert!(found(&[]).found.contains("ssh"));
        std::fs::write(sessions.join("c1"), "UID=1000\nSEAT=seat0\nACTIVE=0\n")?;
        assert!(found(&[("XDG_SESSION_ID", "c1")]).remedy.contains("VT"));
        std::fs::write(sessions.join("c1"), "UID=1000\nSEAT=seat0\nACTIVE=1\n")?;
        assert_eq!(found(&[("XDG_SESSION_ID", "c1")]).grade, Grade::Good);
        // One over ssh has none.
        std::fs::write(sessions.join("c2"), "UID=1000\nACTIVE=1\n")?;
        assert_eq!(found(&[("XDG_SESSION_ID", "c2")]).grade, Grade::Bad);
        std::fs::write(root.path().join("run/seatd.sock"), "")?;
        assert!(found(&[]).found.contains("seatd at"));
        Ok(())
    }

    #[test]
    fn folders_for_sockets() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let grade = |variables: &[(&str, &str)]| runtime_folder(&Machine::at(root.path(), variables)).grade;
        assert_eq!(grade(&[]), Grade::Bad);
        assert_eq!(grade(&[("XDG_RUNTIME_DIR", "/run/user/1000")]), Grade::Bad);
        std::fs::create_dir_all(root.path().join("run/user/1000"))?;
        assert_eq!(grade(&[("XDG_RUNTIME_DIR", "/run/user/1000")]), Grade::Good);
        Ok(())
    }
}
