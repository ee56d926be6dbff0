//! The soak: clients that come and go, monitors that are plugged and pulled, for an hour; what the service then holds beside what it
//! held after the first minute.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::{Ending, GpuSpec, RUNTIME_DIR};
use geom_lab::{Machine, Program};
use serde::Serialize;

use crate::contestants::{Contestant, CLIENT, OURS};
use crate::measure::{cpu, machine, value};

const SESSION: &str = "/run/bin/geom-lab-session";
const MONITORS: usize = 3;
const MINUTE: Duration = Duration::from_secs(60);

/// What the service holds with no client there and all monitors plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Holdings {
    /// Seconds since the first round.
    seconds: u64,
    rounds: usize,
    /// Resident and proportional memory in KiB (proc_pid_smaps_rollup).
    resident: f64,
    proportional: f64,
    descriptors: usize,
    /// Framebuffers that the kernel knows.
    framebuffers: usize,
    /// Processor seconds used so far.
    processor: f64,
}

struct Soak<'a> {
    machine: &'a Machine,
    service: &'a Program,
    start: Instant,
    rounds: usize,
    /// Programs started so far: each has a log of its own, which goes with it.
    programs: usize,
}

impl Soak<'_> {
    fn holdings(&self) -> Result<Holdings> {
        let pid = self.service.pid;
        let memory = self.machine.read(&format!("/proc/{pid}/smaps_rollup"))?;
        let framebuffers = self.machine.read("/sys/kernel/debug/dri/0/framebuffer")?;
        Ok(Holdings {
            seconds: self.start.elapsed().as_secs(),
            rounds: self.rounds,
            resident: value(&memory, "Rss:")?,
            proportional: value(&memory, "Pss:")?,
            descriptors: self.machine.list(&format!("/proc/{pid}/fd"))?.len(),
            framebuffers: framebuffers.lines().filter(|line| line.starts_with("framebuffer[")).count(),
            processor: cpu(self.machine, pid)?,
        })
    }

    /// Once they stand still: swapchains grow with the second frame, and sockets close with the turn after a client's end.
    fn settled(&self) -> Result<Holdings> {
        let mut known = self.holdings()?;
        self.machine.until("holdings that stand still", |_| {
            std::thread::sleep(Duration::from_millis(500));
            let next = self.holdings()?;
            let held = |of: &Holdings| (of.resident.to_bits(), of.descriptors, of.framebuffers);
            let same = held(&next) == held(&known);
            known = next;
            Ok(same)
        })?;
        Ok(known)
    }

    fn program(&mut self, argv: &[&str]) -> Result<Program> {
        self.programs += 1;
        let socket = format!("{RUNTIME_DIR}/geom-compositor.sock");
        let env = [("WAYLAND_DISPLAY", "wayland-1"), ("GEOM_COMPOSITOR_SOCKET", socket.as_str())];
        self.machine.user(&format!("soak-{}", self.programs), argv, &env)
    }

    /// It has to end well.
    fn well(&self, program: &Program, what: &str) -> Result<()> {
        let (ending, said) = self.ended(program)?;
        ensure!(ending == Ending::Exited(0), "{what}: {ending:?}: {said}");
        Ok(())
    }

    /// How it ended, and what it said.
    fn ended(&self, program: &Program) -> Result<(Ending, String)> {
        let ending = self.machine.wait(program, Duration::from_secs(60))?;
        let ending = ending
            .with_context(|| format!("a program of the soak does not end: {}", program.log.display()))?;
        let said = std::fs::read_to_string(&program.log)?;
        std::fs::remove_file(&program.log)?;
        Ok((ending, said))
    }

    /// A window on each monitor, one that goes by itself, one that is killed and one that waits for a monitor that is pulled; commands
    /// and a control session meanwhile.
    fn round(&mut self) -> Result<()> {
        let short =
            self.program(&[CLIENT, "--fullscreen=Virtual-1", "--animate", "full", "--frames", "40"])?;
        let killed = self.program(&[CLIENT, "--fullscreen=Virtual-2", "--animate", "small"])?;
        let waiting = self.program(&[CLIENT, "--fullscreen=Virtual-3", "--app-id", "soak"])?;
        // Each on its own monitor before one is pulled: a window that finds its monitor gone goes where it hides another.
        for program in [&killed, &waiting] {
            self.machine.until_logged(program, "configure")?;
        }
        let session = self.program(&[SESSION, "--name", "soak", "--connect-type", "DISCONNECT_ONCE"])?;
        let pulled = 1 + self.rounds % 2;
        self.machine.unplug("gpu0", pulled)?;
        let asked = self.program(&[OURS, "status", "--json"])?;
        let scale = if self.rounds.is_multiple_of(2) { "2" } else { "1" };
        let changed = self.program(&[OURS, "set", "Virtual-1", "--scale", scale])?;
        self.well(&asked, "status")?;
        self.well(&changed, "set")?;
        self.machine.plug("gpu0", pulled)?;
        self.well(&short, "the client of 40 frames")?;
        for (program, signal) in [(&killed, 9), (&waiting, 15), (&session, 9)] {
            self.machine.signal(program, signal)?;
            self.ended(program)?;
        }
        self.rounds += 1;
        Ok(())
    }
}

/// Runs for so many minutes; soak.json and soak.md go to `out`.
///
/// # Errors
/// Where the service ends, or holds over 1 % more than after the first minute.
pub fn soak(compositor: &Path, minutes: u64, out: &Path) -> Result<()> {
    let machine = machine(compositor, 1)?;
    machine.install(&std::env::current_exe()?.with_file_name("geom-lab-session"), SESSION)?;
    machine.create_gpu(&GpuSpec::new("gpu0", MONITORS))?;
    let service = machine.spawn(Contestant::Ours.spec(&machine, "true", "service")?)?;
    machine.until_logged(&service, "displays lit")?;
    let mut soak =
        Soak { machine: &machine, service: &service, start: Instant::now(), rounds: 0, programs: 0 };
    let mut told: Vec<Holdings> = Vec::new();
    while told.len() as u64 <= minutes.saturating_sub(1) {
        let next = MINUTE * (told.len() as u32 + 1);
        while soak.start.elapsed() < next || soak.rounds % 2 == 1 {
            soak.round()?;
        }
        let now = soak.settled()?;
        println!("{now:?}");
        told.push(now);
        write(out, &told)?;
    }
    machine.signal(&service, 15)?;
    let ending = machine.wait(&service, Duration::from_secs(30))?;
    ensure!(ending == Some(Ending::Exited(0)), "the service ended with {ending:?}");
    let warnings = machine.kernel_warnings()?;
    ensure!(warnings.is_empty(), "the guest's kernel complains: {warnings:#?}");
    let (first, last) = told.first().zip(told.last()).context("no minute was measured")?;
    // Proportional memory is told and not judged: it changes with who else has the same files open.
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

/// All that was measured, after each minute: an hour that is cut short keeps what it has.
fn write(out: &Path, told: &[Holdings]) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    std::fs::write(out.join("soak.json"), serde_json::to_string_pretty(told)?)?;
    let mut table = String::from(
        "| minute | rounds | resident KiB | proportional KiB | descriptors | framebuffers | processor s |\n|---|---|---|---|---|---|---|\n",
    );
    for (minute, now) in told.iter().enumerate() {
        let Holdings { rounds, resident, proportional, descriptors, framebuffers, processor, .. } = now;
        writeln!(table, "| {} | {rounds} | {resident} | {proportional} | {descriptors} | {framebuffers} | {processor:.1} |", minute + 1)?;
    }
    std::fs::write(out.join("soak.md"), table)?;
    Ok(())
}
