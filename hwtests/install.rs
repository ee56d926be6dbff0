//! What `make install` lays out: files, units, a service that tells how it is; and what is left when it is taken away.

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};

const LIB: &str = "usr/local/share/GeometryOS/system/lib/compositor";
const CONF: &str = "usr/local/share/GeometryOS/system/conf/geom_compositor.toml";

/// Runs tools/install.sh with what this test was built with; what it said.
pub fn install(what: &str, root: &Path) -> Result<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = Path::new(env!("CARGO_BIN_EXE_geom_compositor")).parent().context("its folder")?;
    let output = Command::new(here.join("tools/install.sh"))
        .arg(what)
        .env("DESTDIR", root)
        .env("FROM", built)
        .env("LIBRARY", built)
        .env_remove("PREFIX")
        .output()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{what}: {text}");
    Ok(text)
}

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
fn what_is_installed_is_whole_and_what_users_wrote_stays() -> Result<()> {
    let root = tempfile::tempdir()?;
    install("install", root.path())?;
    let laid = files(root.path())?;
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
        ensure!(laid.iter().any(|file| file == part), "no {part} in {laid:#?}");
    }
    for file in &laid {
        let text = std::fs::read(root.path().join(file)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        ensure!(text.starts_with('\u{7f}') || !text.contains("@LIBDIR@"), "{file} is not filled in");
    }
    // A configuration that was changed stays, and what differs is told.
    let conf = root.path().join(CONF);
    let text =
        std::fs::read_to_string(&conf)?.replace("diagnostic_screen = true", "diagnostic_screen = false");
    std::fs::write(&conf, &text)?;
    let said = install("install", root.path())?;
    ensure!(said.contains("stays") && said.contains("+diagnostic_screen = true"), "{said}");
    ensure!(std::fs::read_to_string(&conf)? == text, "the configuration was overwritten");
    let own = root.path().join("usr/local/share/GeometryOS/userdata/ann/displays.toml");
    std::fs::create_dir_all(own.parent().context("a folder")?)?;
    std::fs::write(&own, "# mine\n")?;
    install("uninstall", root.path())?;
    let left = files(root.path())?;
    ensure!(left == [CONF, "usr/local/share/GeometryOS/userdata/ann/displays.toml"], "{left:#?}");
    Ok(())
}

/// systemd's own opinion of the units, with paths as they are installed here.
#[test]
fn units_are_sound() -> Result<()> {
    let root = tempfile::tempdir()?;
    install("install", root.path())?;
    let units = root.path().join("usr/local/lib/systemd/system");
    for unit in [
        "geom-compositor.service",
        "geom-compositor.socket",
        "geom-kiosk@.service",
        "geom-splash-leaves.service",
        "geom-splash-ends.service",
    ] {
        let file = units.join(unit);
        let text = std::fs::read_to_string(&file)?;
        let there = root.path().join("usr/local/share").display().to_string();
        std::fs::write(&file, text.replace("/usr/local/share", &there))?;
        let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let own: Vec<&str> = said.lines().filter(|line| line.contains("geom-")).collect();
        ensure!(own.is_empty(), "{unit}: {own:#?}");
    }
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--threshold=30", "--no-pager"])
        .arg(units.join("geom-compositor.service"))
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "more exposed than 3.0: {}", said.lines().last().unwrap_or_default());
    Ok(())
}

/// READY, a status that a person can read, and a watchdog that only a turning event loop feeds.
#[test]
fn the_service_tells_how_it_is() -> Result<()> {
    let root = tempfile::tempdir()?;
    install("install", root.path())?;
    let folder = tempfile::tempdir()?;
    let manager = UnixDatagram::bind(folder.path().join("notify"))?;
    manager.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut child = Command::new(root.path().join(LIB).join("geom_compositor"))
        .args(["--backend=headless", "--config"])
        .arg(root.path().join(CONF))
        .env("XDG_RUNTIME_DIR", folder.path())
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .env("WATCHDOG_USEC", "200000")
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let mut heard = String::new();
    let listen = |heard: &mut String, until: &dyn Fn(&str) -> bool, bound: Duration| -> bool {
        let end = Instant::now() + bound;
        let mut bytes = [0; 4096];
        while Instant::now() < end {
            if until(heard) {
                return true;
            }
            if let Ok(length) = manager.recv(&mut bytes) {
                heard.push_str(&String::from_utf8_lossy(&bytes[..length]));
                heard.push('\n');
            }
        }
        until(heard)
    };
    let fed = |heard: &str| heard.matches("WATCHDOG=1").count() >= 4;
    let fine = listen(&mut heard, &fed, Duration::from_secs(20));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP)?;
    // What was on its way; then silence for longer than the manager would wait.
    listen(&mut String::new(), &|_| false, Duration::from_millis(200));
    let mut stopped = String::new();
    listen(&mut stopped, &|_| false, Duration::from_millis(600));
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    child.wait()?;
    ensure!(fine, "{heard}");
    ensure!(
        heard.contains("READY=1") && heard.contains("STATUS=1 lit: HEADLESS-1 1920x1080@60.00"),
        "{heard}"
    );
    ensure!(!stopped.contains("WATCHDOG=1"), "a stopped process feeds the watchdog: {stopped}");
    Ok(())
}
