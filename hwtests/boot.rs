//! A machine that boots with Debian's systemd: the service is there, and always comes back.

use std::path::Path;

use anyhow::{ensure, Context, Result};
use geom_lab::{BootOptions, Machine, SystemdOptions};

use crate::install::install;
use crate::world::{lab_program, RED};

const SERVICE: &str = "geom-compositor.service";
const CONTROL: &str = "/run/user/995/geom-compositor.sock";

/// A booted machine of three monitors with the service and a kiosk program enabled.
struct Device {
    machine: Machine,
    asked: std::cell::Cell<u32>,
}

impl Device {
    fn boot() -> Result<Self> {
        let root = tempfile::tempdir()?;
        install("install", root.path())?;
        let put = |from: &Path, to: &str| -> Result<()> {
            let to = root.path().join(to);
            std::fs::create_dir_all(to.parent().context("a folder")?)?;
            std::fs::copy(from, &to).with_context(|| from.display().to_string())?;
            Ok(())
        };
        for program in ["geom-lab-client", "geom-lab-session"] {
            put(&lab_program(program)?, &format!("usr/local/bin/{program}"))?;
        }
        let kiosk = root.path().join("etc/default/geom-kiosk-red");
        std::fs::create_dir_all(kiosk.parent().context("a folder")?)?;
        std::fs::write(
            kiosk,
            "COMMAND='/usr/local/bin/geom-lab-client --fullscreen Virtual-2 --app-id kiosk'\n",
        )?;
        let enabled = vec![SERVICE.into(), "geom-kiosk@red.service".into()];
        let systemd = SystemdOptions { root: root.path().to_owned(), enabled, monitors: 3 };
        let machine = Machine::boot(&BootOptions { systemd: Some(systemd), ..BootOptions::default() })?;
        Ok(Self { machine, asked: std::cell::Cell::new(0) })
    }

    /// Runs a program as root; what it said.
    fn run(&self, argv: &[&str]) -> Result<String> {
        self.asked.set(self.asked.get() + 1);
        let log = format!("run-{}", self.asked.get());
        let program = self.machine.root(&log, argv, &[])?;
        self.machine.wait(&program, std::time::Duration::from_secs(30))?;
        Ok(std::fs::read_to_string(&program.log)?)
    }

    fn until_active(&self) -> Result<()> {
        let active = self.machine.until("the service", |_| Ok(self.property("ActiveState")? == "active"));
        if active.is_err() {
            println!("{}", self.run(&["journalctl", "-b", "--no-pager", "-n", "80"])?);
        }
        active
    }

    fn until_red(&self) -> Result<()> {
        self.machine.until("the kiosk's program", |machine| {
            Ok(machine.screenshot("Virtual-2")?.share(|pixel| pixel == RED) > 0.97)
        })
    }

    fn property(&self, name: &str) -> Result<String> {
        Ok(self.run(&["systemctl", "show", "--value", "-p", name, SERVICE])?.trim().to_owned())
    }
}

#[test]
fn the_service_is_there_at_boot_and_comes_back() -> Result<()> {
    let device = Device::boot()?;
    device.until_active()?;
    let status = device.run(&["systemctl", "status", "--no-pager", SERVICE])?;
    let lit = "3 lit: Virtual-1 1024x768@60.00, Virtual-2 1024x768@60.00, Virtual-3 1024x768@60.00";
    ensure!(status.contains(lit), "{status}");
    device.until_red()?;
    let sockets = ["/run/user/995/wayland-1", CONTROL];
    let inodes = || device.run(&["stat", "-c", "%n %i", sockets[0], sockets[1]]);
    let before = inodes()?;
    let argv =
        ["/usr/local/bin/geom-lab-session", "--name", "holder", "--connect-type", "KEEP_CONNECTION_OPEN"];
    let session = device.machine.root("session", &argv, &[("GEOM_COMPOSITOR_SOCKET", CONTROL)])?;
    let told = || -> Result<Vec<String>> {
        let text = std::fs::read_to_string(&session.log)?;
        Ok(text.lines().filter(|line| line.starts_with("session ")).map(str::to_owned).collect())
    };
    device.machine.until_logged(&session, "session ")?;

    let mut times = Vec::new();
    for crash in 0..20 {
        let signal = if crash % 2 == 0 { "KILL" } else { "SEGV" };
        let pid = device.property("MainPID")?;
        // Whoever connects meanwhile waits in the socket, and has the answer of the next.
        let deed = format!(
            "start=$(date +%s%N); kill -{signal} {pid}; GEOM_COMPOSITOR_SOCKET={CONTROL} \
             /usr/local/bin/geom_compositor status --json; echo took $((($(date +%s%N) - start) / 1000000))"
        );
        let answer = device.run(&["sh", "-c", &deed])?;
        let time = answer.lines().find_map(|line| line.strip_prefix("took ")).context("no time")?;
        times.push(time.parse::<u32>()?);
        ensure!(answer.contains("\"displays_lit\": 3"), "{crash}: {answer}");
        ensure!(device.property("MainPID")? != pid, "{signal} did not end it");
        ensure!(inodes()? == before, "other sockets");
        device.machine.until("the session again", |_| Ok(told()?.len() == crash + 2))?;
    }
    times.sort_unstable();
    println!("back after a crash: median {} ms, at most {} ms", times[10], times[19]);
    let sessions = told()?;
    ensure!(sessions.iter().all(|line| *line == sessions[0]), "{sessions:?}");
    device.until_red()?;

    // One that does not turn is ended by the watchdog.
    let pid = device.property("MainPID")?;
    device.run(&["kill", "-STOP", &pid])?;
    device.machine.until("the watchdog", |_| {
        let now = device.property("MainPID")?;
        Ok(now != pid && now != "0" && device.property("ActiveState")? == "active")
    })?;
    let journal = device.run(&["journalctl", "-b", "--no-pager", "-u", SERVICE])?;
    ensure!(journal.contains("Watchdog timeout"), "{journal}");
    // Its own words are those of its session, which logind has put it in.
    let own = device.run(&["journalctl", "-b", "--no-pager", "-t", "geom_compositor"])?;
    ensure!(own.contains("safe settings"), "twenty crashes are no loop: {own}");
    let reports = device.machine.list("/var/lib/geom-compositor")?;
    let count = reports.iter().filter(|name| name.starts_with("crash-")).count();
    ensure!((9..=10).contains(&count), "the last ten are kept: {reports:?}");

    // An end that is meant leaves no socket, and the next start knows nothing of crashes.
    device.run(&["systemctl", "restart", SERVICE])?;
    device.until_active()?;
    let status = device.run(&["systemctl", "status", "--no-pager", SERVICE])?;
    ensure!(status.contains(lit) && !status.contains("safe settings used"), "{status}");
    device.run(&["systemctl", "stop", SERVICE])?;
    let left = device.run(&["ls", "/run/user/995"])?;
    ensure!(!left.contains("wayland") && !left.contains("geom"), "{left}");
    Ok(())
}
