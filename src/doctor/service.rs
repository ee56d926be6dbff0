//! Checks the service itself: configuration, profile, control socket, unit, free space for its
//! files, and crash reports.

use geom_client::{Client, ConnectOptions, Error as ClientError};

use super::{Files, Finding, Machine};
use crate::config::{self, profile, Problem};
use crate::session::crash;

const UNIT: &str = "geom-compositor.service";
/// The folders of units and of links to them (systemd.unit(5)).
const UNIT_FOLDERS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];

pub fn check(machine: &Machine, files: &Files) -> Vec<Finding> {
    let mut findings = vec![configuration(files), user_profile(files)];
    if machine.is_here() {
        findings.push(running());
        findings.push(free_space(files));
    }
    findings.extend(unit(machine));
    findings.extend(kiosks(machine));
    findings.extend(crashes());
    findings
}

fn mistakes(what: &str, file: &std::path::Path, problems: &[Problem], usable: bool) -> Finding {
    let first = problems.first().map(ToString::to_string).unwrap_or_default();
    let rest = match problems.len() {
        0 => return Finding::good(what, file.display().to_string()),
        1 => String::new(),
        more => format!(" (and {} more)", more - 1),
    };
    let remedy = match usable {
        true => "fix the line; the rest of the file applies",
        false => "fix the file; until then, defaults apply",
    };
    Finding::poor(what, first + &rest, remedy)
}

fn configuration(files: &Files) -> Finding {
    const WHAT: &str = "configuration";
    if !files.config.exists() {
        return Finding::good(WHAT, format!("defaults, because {} does not exist", files.config.display()));
    }
    let (read, problems) = config::load(&files.config);
    mistakes(WHAT, &files.config, &problems, read.is_some())
}

fn user_profile(files: &Files) -> Finding {
    let what = format!("profile of {}", files.user);
    let Some(file) = profile::file_of(&files.userdata, &files.user) else {
        return Finding::bad(&what, "that is not a user name", "name a user by --user");
    };
    if !file.exists() {
        return Finding::good(&what, "none: the system's configuration applies");
    }
    let (read, problems) = profile::load(&file);
    mistakes(&what, &file, &problems, read.is_some())
}

fn running() -> Finding {
    const WHAT: &str = "service";
    let options = ConnectOptions { name: "doctor".into(), ..ConnectOptions::default() };
    match Client::connect(&options).and_then(|mut client| client.status()) {
        Ok(status) if status.version != env!("CARGO_PKG_VERSION") => Finding::poor(
            WHAT,
            format!("version {} runs, but this is version {}", status.version, env!("CARGO_PKG_VERSION")),
            "geom_compositor upgrade replaces it by the installed one",
        ),
        Ok(status) if !status.notices.is_empty() => Finding::poor(
            WHAT,
            format!("it runs, with notices: {}", status.notices.join("; ")),
            "each notice has its remedy",
        ),
        Ok(status) if status.enabled_displays == 0 => {
            Finding::poor(
                WHAT,
                "it runs, but no display is enabled",
                "geom_compositor displays prints the reason of each",
            )
        }
        Ok(status) => Finding::good(WHAT, format!("it runs, {} enabled", status.enabled_displays)),
        Err(ClientError::NotRunning(_)) => Finding::poor(
            WHAT,
            "none answers this user",
            format!(
                "start it: systemctl start {UNIT}, or geom_compositor; GEOM_COMPOSITOR_SOCKET names the socket \
                 of another user's service"
            ),
        ),
        Err(error @ ClientError::NotPermitted(_)) => Finding::poor(
            WHAT,
            error.to_string(),
            "run this as the service's user or root; docs/install.md explains the sockets of systemd",
        ),
        Err(error) => Finding::bad(
            WHAT,
            format!("it does not answer: {error}"),
            format!("systemctl restart {UNIT}; journalctl -u {UNIT} has details"),
        ),
    }
}

/// Checks whether profiles and crash reports can be written.
fn free_space(files: &Files) -> Finding {
    const WHAT: &str = "free space";
    const MIN_FREE_BYTES: u64 = 1 << 20;
    for folder in crash::folders().chain([files.userdata.clone()]) {
        // The folder, or the one in which it will be created.
        let Some(existing) = folder.ancestors().find(|folder| folder.exists()) else { continue };
        let Ok(file_system) = rustix::fs::statvfs(existing) else { continue };
        if file_system.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
            return Finding::poor(
                WHAT,
                format!("{} is on a read-only file system", folder.display()),
                "mount it read-write, or name another folder by --userdata; profiles cannot be saved there",
            );
        }
        if file_system.f_bavail.saturating_mul(file_system.f_frsize) < MIN_FREE_BYTES {
            return Finding::poor(
                WHAT,
                format!("{} is full", folder.display()),
                "free some space; profiles and crash reports cannot be written",
            );
        }
    }
    Finding::good(WHAT, "enough")
}

/// Checks the systemd unit. `None` without systemd.
fn unit(machine: &Machine) -> Option<Finding> {
    const WHAT: &str = "unit";
    if !machine.exists("/run/systemd/system") {
        return None;
    }
    if !UNIT_FOLDERS.iter().any(|folder| machine.exists(&format!("{folder}/{UNIT}"))) {
        return Some(Finding::poor(
            WHAT,
            format!("{UNIT} is not installed"),
            "run make install, or install the package geom-compositor",
        ));
    }
    let wanted = UNIT_FOLDERS.iter().any(|folder| {
        let wants = |name: &String| name.ends_with(".wants");
        let mut targets = machine.names(folder).into_iter().filter(wants);
        targets.any(|target| machine.path(&format!("{folder}/{target}/{UNIT}")).is_symlink())
    });
    Some(match wanted {
        true => Finding::good(WHAT, format!("{UNIT} is enabled")),
        false => Finding::poor(
            WHAT,
            format!("{UNIT} is not enabled"),
            format!("to start it at boot: systemctl enable {UNIT}"),
        ),
    })
}

/// Checks that enabled kiosk programs can connect. `None` if there are none.
fn kiosks(machine: &Machine) -> Option<Finding> {
    const WHAT: &str = "kiosk programs";
    /// The socket of geom-kiosk.socket.
    const SOCKET: &str = "/run/geom-compositor/kiosk";
    let names = UNIT_FOLDERS.iter().flat_map(|folder| machine.names(&format!("{folder}/{UNIT}.wants")));
    let mut instances: Vec<String> = names
        .filter_map(|name| Some(name.strip_prefix("geom-kiosk@")?.strip_suffix(".service")?.to_owned()))
        .collect();
    instances.sort();
    if instances.is_empty() {
        return None;
    }
    if machine.exists(SOCKET) {
        return Some(Finding::good(WHAT, instances.join(", ")));
    }
    Some(Finding::poor(
        WHAT,
        format!("{}: there is no {SOCKET}", instances.join(", ")),
        format!("systemd passes it to the service at a start: systemctl daemon-reload && systemctl restart {UNIT}"),
    ))
}

fn crashes() -> Option<Finding> {
    let reports: Vec<_> = crash::folders().flat_map(|folder| crash::reports(&folder)).collect();
    let newest = reports.last()?;
    let text = format!("{} reports, the newest {}", reports.len(), newest.display());
    Some(Finding::poor(
        "crashes",
        text,
        "geom_compositor doctor --report FILE collects them for the developers",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn mistakes_in_files_are_found() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let config = root.path().join("conf.toml");
        let userdata = root.path().join("userdata");
        let files = Files { config: config.clone(), userdata: userdata.clone(), user: "ann".into() };
        assert!(configuration(&files).found.contains("defaults"));
        std::fs::write(&config, "renderer = \"pixman\"\n")?;
        assert_eq!(configuration(&files).grade, Grade::Good);
        std::fs::write(&config, "renderer = \"vulkan\"\ncolour = 1\n")?;
        let found = configuration(&files);
        assert!(found.found.contains("conf.toml:1") && found.found.contains("1 more"), "{found:?}");
        std::fs::write(&config, "= no")?;
        assert!(configuration(&files).remedy.contains("until then, defaults apply"));
        std::fs::create_dir_all(userdata.join("ann"))?;
        std::fs::write(userdata.join("ann/displays.toml"), "[displays.x]\nmode = 7\n")?;
        assert_eq!(user_profile(&files).grade, Grade::Poor);
        Ok(())
    }

    #[test]
    fn unit_must_be_installed_and_enabled() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let machine = Machine::at(root.path(), &[]);
        assert_eq!(unit(&machine), None);
        std::fs::create_dir_all(root.path().join("run/systemd/system"))?;
        assert!(unit(&machine).is_some_and(|found| found.found.contains("not installed")));
        let units = root.path().join("usr/local/lib/systemd/system");
        std::fs::create_dir_all(&units)?;
        std::fs::write(units.join(UNIT), "")?;
        assert!(unit(&machine).is_some_and(|found| found.remedy.contains("systemctl enable")));
        let wants = root.path().join("etc/systemd/system/graphical.target.wants");
        std::fs::create_dir_all(&wants)?;
        std::os::unix::fs::symlink(
            "/usr/local/lib/systemd/system/geom-compositor.service",
            wants.join(UNIT),
        )?;
        assert!(unit(&machine).is_some_and(|found| found.grade == Grade::Good));
        Ok(())
    }

    #[test]
    fn enabled_kiosk_programs_need_their_socket() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let machine = Machine::at(root.path(), &[]);
        let wants = root.path().join("etc/systemd/system/geom-compositor.service.wants");
        std::fs::create_dir_all(&wants)?;
        std::fs::write(wants.join("another.service"), "")?;
        assert_eq!(kiosks(&machine), None);
        std::fs::write(wants.join("geom-kiosk@board.service"), "")?;
        let found = kiosks(&machine).filter(|found| found.grade == Grade::Poor);
        assert!(found.is_some_and(|found| found.found.starts_with("board:")));
        std::fs::create_dir_all(root.path().join("run/geom-compositor"))?;
        std::fs::write(root.path().join("run/geom-compositor/kiosk"), "")?;
        assert!(kiosks(&machine).is_some_and(|found| found.grade == Grade::Good));
        Ok(())
    }
}
