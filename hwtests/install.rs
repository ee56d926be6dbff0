//! `make install` and `make uninstall`: files, units, and the service's notifications to systemd.

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};

use crate::support::device::install;

const LIB: &str = "usr/local/share/GeometryOS/system/lib/compositor";
const CONF: &str = "usr/local/share/GeometryOS/system/conf/geom_compositor.toml";

/// All files below a folder, sorted.
fn files(folder: &Path) -> Result<Vec<String>> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else {
                all.push(path.strip_prefix(folder)?.display().to_string());
            }
        }
    }
    all.sort();
    Ok(all)
}

#[test]
fn installation_is_complete_and_keeps_files_of_users() -> Result<()> {
    let root = tempfile::tempdir()?;
    install("install", root.path())?;
    let installed = files(root.path())?;
    for part in [
        "usr/local/bin/geom_compositor",
        "usr/local/lib/systemd/system/geom-compositor.service",
        "usr/local/lib/systemd/user/geom-compositor.service",
        "usr/local/lib/udev/rules.d/71-geom-compositor.rules",
        "usr/local/share/man/man1/geom_compositor-set.1",
        "usr/local/share/bash-completion/completions/geom_compositor",
        "usr/local/include/geom_compositor.hpp",
        "etc/pam.d/geom-compositor",
        CONF,
    ] {
        ensure!(installed.iter().any(|file| file == part), "no {part} in {installed:#?}");
    }
    for file in &installed {
        let text = std::fs::read(root.path().join(file)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        ensure!(text.starts_with('\u{7f}') || !text.contains("@LIBDIR@"), "{file} is not filled in");
    }
    // A changed configuration stays, and the difference to the default is printed.
    let conf = root.path().join(CONF);
    let text =
        std::fs::read_to_string(&conf)?.replace("diagnostic_screen = true", "diagnostic_screen = false");
    std::fs::write(&conf, &text)?;
    let output = install("install", root.path())?;
    ensure!(output.contains("+diagnostic_screen = true"), "{output}");
    ensure!(std::fs::read_to_string(&conf)? == text, "the configuration was overwritten");
    let own = root.path().join("usr/local/share/GeometryOS/userdata/ann/displays.toml");
    std::fs::create_dir_all(own.parent().context("a folder")?)?;
    std::fs::write(&own, "# mine\n")?;
    install("uninstall", root.path())?;
    let left = files(root.path())?;
    ensure!(left == [CONF, "usr/local/share/GeometryOS/userdata/ann/displays.toml"], "{left:#?}");
    Ok(())
}

/// By systemd-analyze(1), with the paths of this installation.
#[test]
fn units_are_valid_and_confined() -> Result<()> {
    let root = tempfile::tempdir()?;
    install("install", root.path())?;
    let units = root.path().join("usr/local/lib/systemd/system");
    for unit in [
        "geom-compositor.service",
        "geom-compositor.socket",
        "geom-compositor-memory.service",
        "geom-kiosk@.service",
        "geom-kiosk.socket",
        "geom-kiosk-kill.service",
        "geom-kiosk-kill.socket",
        "geom-plymouth-deactivate.service",
        "geom-plymouth-quit.service",
    ] {
        let file = units.join(unit);
        let text = std::fs::read_to_string(&file)?;
        let share = root.path().join("usr/local/share").display().to_string();
        std::fs::write(&file, text.replace("/usr/local/share", &share))?;
        let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output()?;
        let messages = String::from_utf8_lossy(&output.stderr);
        let own: Vec<&str> = messages.lines().filter(|line| line.contains("geom-")).collect();
        ensure!(own.is_empty(), "{unit}: {own:#?}");
    }
    // The figures are in docs/security.md.
    for (unit, exposure) in [
        ("geom-compositor.service", 15),
        ("geom-kiosk@.service", 29),
        ("geom-kiosk-kill.service", 6),
        ("geom-compositor-memory.service", 28),
    ] {
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=yes", "--no-pager"])
            .arg(format!("--threshold={exposure}"))
            .arg(units.join(unit))
            .output()?;
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = report.lines().last().unwrap_or_default();
        ensure!(output.status.success(), "{unit}: more exposed than {exposure} of 100: {last}");
    }
    Ok(())
}

/// What a service manager receives (sd_notify(3)).
struct Manager {
    socket: UnixDatagram,
    received: String,
}

impl Manager {
    /// Receives until `expected` holds, for at most `timeout`; whether it holds.
    fn receive_until(&mut self, expected: impl Fn(&str) -> bool, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut bytes = [0; 4096];
        while Instant::now() < deadline && !expected(&self.received) {
            if let Ok(length) = self.socket.recv(&mut bytes) {
                self.received.push_str(&String::from_utf8_lossy(&bytes[..length]));
                self.received.push('\n');
            }
        }
        expected(&self.received)
    }
}

/// READY, a status that names the displays, and a watchdog that only a running event loop feeds.
#[test]
fn service_notifies_the_service_manager() -> Result<()> {
    let root = tempfile::tempdir()?;
    install("install", root.path())?;
    let folder = tempfile::tempdir()?;
    let socket = UnixDatagram::bind(folder.path().join("notify"))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut manager = Manager { socket, received: String::new() };
    let mut child = Command::new(root.path().join(LIB).join("geom_compositor"))
        .args(["--backend=headless", "--config"])
        .arg(root.path().join(CONF))
        .env("XDG_RUNTIME_DIR", folder.path())
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .env("WATCHDOG_USEC", "200000")
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let is_fed = |received: &str| received.matches("WATCHDOG=1").count() >= 4;
    let fed = manager.receive_until(is_fed, Duration::from_secs(20));
    let received = std::mem::take(&mut manager.received);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP)?;
    // Datagrams that were sent before it stopped; then silence for longer than the manager waits.
    manager.receive_until(|_| false, Duration::from_millis(200));
    manager.received.clear();
    manager.receive_until(|_| false, Duration::from_millis(600));
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    child.wait()?;
    ensure!(fed && received.contains("READY=1"), "{received}");
    let status = received.lines().find(|line| line.starts_with("STATUS=")).unwrap_or_default();
    ensure!(status.contains("HEADLESS-1 1920x1080@60.00"), "{received}");
    let silence = &manager.received;
    ensure!(!silence.contains("WATCHDOG=1"), "a stopped process feeds the watchdog: {silence}");
    Ok(())
}
