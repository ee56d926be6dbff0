//! The service's own: configuration, profile, sockets, units, room for what it writes, and crashes that it had.

use geom_client::{Client, ConnectOptions, Error as ClientError};

use super::{Files, Finding, Machine};
use crate::config::{self, profile, Problem};
use crate::session::crash;

const UNIT: &str = "geom-compositor.service";
/// Where units and links to them may lie (systemd.unit(5)).
const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];

pub fn check(machine: &Machine, files: &Files) -> Vec<Finding> {
    let mut findings = vec![configuration(files), wishes(files)];
    if machine.is_here() {
        findings.push(running());
        findings.push(room(files));
    }
    findings.extend(unit(machine));
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
    let remedy = "mend the line; what is sound of the file applies, defaults for the rest".to_owned();
    if usable {
        Finding::poor(what, first + &rest, remedy)
    } else {
        Finding::poor(what, first + &rest, "mend the file; defaults apply meanwhile")
    }
}

fn configuration(files: &Files) -> Finding {
    const WHAT: &str = "configuration";
    if !files.config.exists() {
        return Finding::good(WHAT, format!("defaults, as there is no {}", files.config.display()));
    }
    let (read, problems) = config::load(&files.config);
    mistakes(WHAT, &files.config, &problems, read.is_some())
}

fn wishes(files: &Files) -> Finding {
    let what = format!("profile of {}", files.user);
    let Some(file) = profile::file_of(&files.userdata, &files.user) else {
        return Finding::bad(&what, "that is no user's name", "name one by --user");
    };
    if !file.exists() {
        return Finding::good(&what, "none: the system's wishes apply");
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
            format!("version {} runs, and this is {}", status.version, env!("CARGO_PKG_VERSION")),
            "geom_compositor upgrade lets the installed one take over",
        ),
        Ok(status) if !status.troubles.is_empty() => Finding::poor(
            WHAT,
            format!("it runs, with troubles: {}", status.troubles.join("; ")),
            "see each of them",
        ),
        Ok(status) if status.displays_lit == 0 => {
            Finding::poor(WHAT, "it runs, and no display is lit", "geom_compositor displays says why of each")
        }
        Ok(status) => Finding::good(WHAT, format!("it runs, {} lit", status.displays_lit)),
        Err(ClientError::NotRunning(_)) => Finding::poor(
            WHAT,
            "none answers this user",
            format!("start it: systemctl start {UNIT}, or geom_compositor; another user's is named by GEOM_COMPOSITOR_SOCKET"),
        ),
        Err(error) => Finding::bad(
            WHAT,
            format!("it does not answer: {error}"),
            format!("systemctl restart {UNIT}; its journal says more"),
        ),
    }
}

/// Room where files are written: profiles, reports.
fn room(files: &Files) -> Finding {
    const WHAT: &str = "room for files";
    const LITTLE: u64 = 1 << 20;
    let places = crash::folders().chain([files.userdata.clone()]);
    for place in places {
        // The folder, or where it will be made.
        let Some(there) = place.ancestors().find(|folder| folder.exists()) else { continue };
        let Ok(facts) = rustix::fs::statvfs(there) else { continue };
        if facts.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
            let place = place.display();
            return Finding::poor(
                WHAT,
                format!("{place} is on a read-only file system"),
                "profiles can't be saved there: mount it for writing, or name another by --userdata",
            );
        }
        if facts.f_bavail.saturating_mul(facts.f_frsize) < LITTLE {
            return Finding::poor(
                WHAT,
                format!("{} is full", place.display()),
                "make room: profiles and reports can't be written",
            );
        }
    }
    Finding::good(WHAT, "enough")
}

/// The unit, where there is one. None without systemd.
fn unit(machine: &Machine) -> Option<Finding> {
    const WHAT: &str = "unit";
    if !machine.exists("/run/systemd/system") {
        return None;
    }
    if !UNITS.iter().any(|folder| machine.exists(&format!("{folder}/{UNIT}"))) {
        return Some(Finding::poor(
            WHAT,
            format!("{UNIT} is not installed"),
            "make install, or the package geom-compositor",
        ));
    }
    let wanted = UNITS.iter().any(|folder| {
        let wants = |name: &String| name.ends_with(".wants");
        let mut targets = machine.names(folder).into_iter().filter(wants);
        targets.any(|target| machine.path(&format!("{folder}/{target}/{UNIT}")).is_symlink())
    });
    Some(match wanted {
        true => Finding::good(WHAT, format!("{UNIT} is enabled")),
        false => Finding::poor(
            WHAT,
            format!("{UNIT} is not enabled"),
            format!("for displays from boot on: systemctl enable {UNIT}"),
        ),
    })
}

fn crashes() -> Option<Finding> {
    let reports: Vec<_> = crash::folders().flat_map(|folder| crash::reports(&folder)).collect();
    let newest = reports.last()?;
    let text = format!("{} reports, the newest {}", reports.len(), newest.display());
    Some(Finding::poor(
        "crashes",
        text,
        "geom_compositor doctor --report FILE bundles them for who can mend it",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn files_with_mistakes() -> std::io::Result<()> {
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
        assert!(configuration(&files).remedy.contains("defaults apply meanwhile"));
        std::fs::create_dir_all(userdata.join("ann"))?;
        std::fs::write(userdata.join("ann/displays.toml"), "[displays.x]\nmode = 7\n")?;
        assert_eq!(wishes(&files).grade, Grade::Poor);
        Ok(())
    }

    #[test]
    fn units() -> std::io::Result<()> {
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
}
