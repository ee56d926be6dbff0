//! The soak: connects and disconnects clients and monitors for an hour, and compares the service's
//! resources with those after the first minute.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::{ExitStatus, GpuSpec, RUNTIME_DIR};
use geom_lab::{Machine, Program};
use serde::Serialize;

use crate::compositors::{Compositor, CLIENT, GEOM_COMPOSITOR};
use crate::measure::{cpu, machine, value, ACTIVE_CRTC};

const SESSION: &str = "/run/bin/geom-lab-session";
const MONITORS: usize = 3;
const MINUTE: Duration = Duration::from_secs(60);

/// The service's resources with no client and all monitors connected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Resources {
    /// Seconds since the first round.
    seconds: u64,
    rounds: usize,
    /// Resident and proportional memory in KiB (proc_pid_smaps_rollup).
    resident: f64,
    proportional: f64,
    descriptors: usize,
    /// Framebuffers that the kernel has.
    framebuffers: usize,
    /// CPU seconds used so far.
    cpu: f64,
}

struct Soak<'a> {
    machine: &'a Machine,
    service: &'a Program,
    start: Instant,
    rounds: usize,
    /// Programs started so far. Each has a log, which is removed when it exits.
    programs: usize,
}

impl Soak<'_> {
    fn resources(&self) -> Result<Resources> {
        let pid = self.service.pid;
        let memory = self.machine.read(&format!("/proc/{pid}/smaps_rollup"))?;
        let framebuffers = self.machine.read("/sys/kernel/debug/dri/0/framebuffer")?;
        Ok(Resources {
            seconds: self.start.elapsed().as_secs(),
            rounds: self.rounds,
            resident: value(&memory, "Rss:")?,
            proportional: value(&memory, "Pss:")?,
            descriptors: self.machine.read_dir(&format!("/proc/{pid}/fd"))?.len(),
            framebuffers: framebuffers.lines().filter(|line| line.starts_with("framebuffer[")).count(),
            cpu: cpu(self.machine, pid)?,
        })
    }

    /// Returns the resources once they are stable: swapchains grow with the second frame, and
    /// sockets close in the event loop iteration after a disconnect.
    fn stable_resources(&self) -> Result<Resources> {
        let mut last = self.resources()?;
        self.machine.wait_until("stable resources", |_| {
            std::thread::sleep(Duration::from_millis(500));
            let next = self.resources()?;
            let values = |of: &Resources| (of.resident.to_bits(), of.descriptors, of.framebuffers);
            let same = values(&next) == values(&last);
            last = next;
            Ok(same)
        })?;
        Ok(last)
    }

    fn program(&mut self, argv: &[&str]) -> Result<Program> {
        self.programs += 1;
        let socket = format!("{RUNTIME_DIR}/geom-compositor.sock");
        let env = [("WAYLAND_DISPLAY", "wayland-1"), ("GEOM_COMPOSITOR_SOCKET", socket.as_str())];
        self.machine.spawn_as_user(&format!("soak-{}", self.programs), argv, &env)
    }

    /// Waits for a program, which must exit with status 0.
    fn expect_success(&self, program: &Program, what: &str) -> Result<()> {
        let (status, output) = self.wait(program)?;
        ensure!(status == ExitStatus::Exited(0), "{what}: {status:?}: {output}");
        Ok(())
    }

    /// Waits for a program and returns how it exited, and its output.
    fn wait(&self, program: &Program) -> Result<(ExitStatus, String)> {
        let status = self.machine.wait(program, Duration::from_secs(60))?;
        let status = status
            .with_context(|| format!("a program of the soak does not exit: {}", program.log.display()))?;
        let output = std::fs::read_to_string(&program.log)?;
        std::fs::remove_file(&program.log)?;
        Ok((status, output))
    }

    /// One round: a window on each monitor, of which one client exits by itself, one is killed, and
    /// one may lose its monitor; commands and a control session at the same time.
    fn round(&mut self) -> Result<()> {
        let short =
            self.program(&[CLIENT, "--fullscreen=Virtual-1", "--animate", "full", "--frames", "40"])?;
        let killed = self.program(&[CLIENT, "--fullscreen=Virtual-2", "--animate", "small"])?;
        let waiting = self.program(&[CLIENT, "--fullscreen=Virtual-3", "--app-id", "soak"])?;
        // Each window must be on its monitor before one is disconnected: a window that starts
        // without its monitor goes to another, where it hides that one's window.
        for program in [&killed, &waiting] {
            self.machine.wait_for_log(program, "configure")?;
        }
        let session = self.program(&[SESSION, "--name", "soak", "--connect-type", "DISCONNECT_ONCE"])?;
        let monitor = 1 + self.rounds % 2;
        self.machine.unplug("gpu0", monitor)?;
        let query = self.program(&[GEOM_COMPOSITOR, "status", "--json"])?;
        let scale = if self.rounds.is_multiple_of(2) { "2" } else { "1" };
        let change = self.program(&[GEOM_COMPOSITOR, "set", "Virtual-1", "--scale", scale])?;
        self.expect_success(&query, "status")?;
        self.expect_success(&change, "set")?;
        self.machine.plug("gpu0", monitor)?;
        self.expect_success(&short, "the client of 40 frames")?;
        for (program, signal) in [(&killed, 9), (&waiting, 15), (&session, 9)] {
            self.machine.signal(program, signal)?;
            self.wait(program)?;
        }
        self.rounds += 1;
        Ok(())
    }
}

/// Runs for a number of minutes and writes soak.json and soak.md to `out`.
///
/// # Errors
/// If the service exits, or uses over 1 % more than after the first minute.
pub fn soak(compositor: &Path, minutes: u64, out: &Path) -> Result<()> {
    let machine = machine(compositor, 1)?;
    machine.install(&std::env::current_exe()?.with_file_name("geom-lab-session"), SESSION)?;
    machine.create_gpu(&GpuSpec::new("gpu0", MONITORS))?;
    let service = machine.spawn(Compositor::Ours.spec(&machine, "true", "service")?)?;
    machine.wait_until("all displays", |machine| {
        Ok(machine.read("/sys/kernel/debug/dri/0/state")?.matches(ACTIVE_CRTC).count() == MONITORS)
    })?;
    Compositor::socket(&machine)?;
    let mut soak =
        Soak { machine: &machine, service: &service, start: Instant::now(), rounds: 0, programs: 0 };
    let mut samples: Vec<Resources> = Vec::new();
    while samples.len() as u64 <= minutes.saturating_sub(1) {
        let next = MINUTE * (samples.len() as u32 + 1);
        while soak.start.elapsed() < next || soak.rounds % 2 == 1 {
            soak.round()?;
        }
        let now = soak.stable_resources()?;
        println!("{now:?}");
        samples.push(now);
        write(out, &samples)?;
    }
    machine.signal(&service, 15)?;
    let status = machine.wait(&service, Duration::from_secs(30))?;
    ensure!(status == Some(ExitStatus::Exited(0)), "the service exited: {status:?}");
    let warnings = machine.kernel_warnings()?;
    ensure!(warnings.is_empty(), "the guest's kernel reports bugs: {warnings:#?}");
    let (first, last) = samples.first().zip(samples.last()).context("no minute was measured")?;
    // Proportional memory is not compared: it changes with the number of processes that map the
    // files.
    for (what, before, after) in [
        ("resident memory", first.resident, last.resident),
        ("descriptors", first.descriptors as f64, last.descriptors as f64),
        ("framebuffers", first.framebuffers as f64, last.framebuffers as f64),
    ] {
        println!(
            "{what}: {before} after the first minute, {after} after {minutes} ({:+.2} %)",
            (after / before - 1.0) * 100.0
        );
        ensure!(after <= before * 1.01, "{what} grew by more than 1 %");
    }
    Ok(())
}

/// Writes all measurements after each minute, so that an aborted run keeps them.
fn write(out: &Path, samples: &[Resources]) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    std::fs::write(out.join("soak.json"), serde_json::to_string_pretty(samples)?)?;
    let mut table = String::from(
        "| minute | rounds | resident KiB | proportional KiB | descriptors | framebuffers | CPU s |\n|---|---|---|---|---|---|---|\n",
    );
    for (minute, now) in samples.iter().enumerate() {
        let Resources { rounds, resident, proportional, descriptors, framebuffers, cpu, .. } = now;
        writeln!(
            table,
            "| {} | {rounds} | {resident} | {proportional} | {descriptors} | {framebuffers} | {cpu:.1} |",
            minute + 1
        )?;
    }
    std::fs::write(out.join("soak.md"), table)?;
    Ok(())
}
