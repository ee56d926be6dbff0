//! The cases that run in the lab. Each starts the compositor again, in a machine for that
//! compositor.

use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use clap::ValueEnum;
use geom_lab::protocol::{ExitStatus, GpuSpec, ProgramSpec, Trigger, USER_NAME};
use geom_lab::{BootOptions, Machine, Program};

use crate::compositors::{Compositor, CLIENT, FLIP, GEOM_COMPOSITOR};
use crate::hostile::hostile;
use crate::report::Results;

/// The line of an active CRTC in the kernel's state dump.
pub const ACTIVE_CRTC: &str = "\tactive=1";
/// Frames per animated client.
const FRAMES: u32 = 300;
/// Number of connections of which the median counts.
const CONNECTS: &str = "51";
/// Number of hotplugs per round.
const PLUGS: usize = 8;
/// Number of crashes per round: fewer than the crash loop after which the service uses safe
/// settings.
const CRASHES: usize = 4;

/// Returns a GPU with the given monitors connected.
fn gpu(connectors: &[bool]) -> GpuSpec {
    GpuSpec { connectors: connectors.to_vec(), ..GpuSpec::new("gpu0", connectors.len()) }
}

/// Boots a machine with a seat daemon and the programs; each case creates its GPU.
pub fn machine(compositor: &Path, processors: u32) -> Result<Machine> {
    let machine = Machine::boot(&BootOptions { processors, ..BootOptions::default() })?;
    Compositor::install(&machine, compositor)?;
    let seatd = machine.spawn_as_root("seatd", &["seatd", "-u", USER_NAME], &[])?;
    machine.wait_for_log(&seatd, "seatd started")?;
    // Puts all binaries into the guest's page cache, so that no compositor pays for reading them.
    machine.run_as_root("warm", &["cksum", "/usr/bin/sway", "/usr/bin/cage", GEOM_COMPOSITOR])?;
    Ok(machine)
}

/// Returns a process's CPU time in seconds (proc_pid_stat(5), fields 14 and 15).
pub fn cpu(machine: &Machine, pid: u32) -> Result<f64> {
    let text = machine.read(&format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).context("utime");
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// Returns the number after a key at the start of a line.
pub fn value(text: &str, key: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).with_context(|| key.to_owned())?;
    line.split_whitespace().next().and_then(|word| word.parse().ok()).with_context(|| key.to_owned())
}

/// Returns the voluntary context switches of all threads.
fn wakeups(machine: &Machine, pid: u32) -> Result<f64> {
    let mut total = 0.0;
    for thread in machine.read_dir(&format!("/proc/{pid}/task"))? {
        total +=
            value(&machine.read(&format!("/proc/{pid}/task/{thread}/status"))?, "voluntary_ctxt_switches:")?;
    }
    Ok(total)
}

/// Returns the number of a `key=number` in a line of statistics.
pub fn stat(line: &str, key: &str) -> Option<f64> {
    line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
}

/// A compositor that was started.
pub struct Started {
    pub program: Program,
    /// When it was started, in seconds of CLOCK_MONOTONIC.
    started: f64,
    /// Seconds until the CRTCs were active.
    elapsed: f64,
    /// The file with the kernel's dump of the card's state.
    state: String,
}

/// Starts the compositor with a client and waits until `crtcs` CRTCs are active.
pub fn start(
    compositor: Compositor,
    machine: &Machine,
    client: &str,
    log: &str,
    crtcs: usize,
) -> Result<Started> {
    start_spec(machine, compositor.spec(machine, client, log)?, crtcs)
}

/// See [`start`]; with a command of the caller's.
pub fn start_spec(machine: &Machine, spec: ProgramSpec, crtcs: usize) -> Result<Started> {
    let card = machine.create_gpu(&gpu(&[true, crtcs > 1, crtcs > 2]))?.card;
    let state = format!("/sys/kernel/debug/dri/{}/state", card.trim_start_matches("card"));
    let log = spec.log.clone();
    let measured = machine.measure(Trigger::Spawn(spec), &state, ACTIVE_CRTC, crtcs)?;
    let pid = measured.pid.context("a process")?;
    let program = Program { pid, log: machine.shared_dir().join(format!("{log}.log")) };
    Ok(Started { program, started: measured.started, elapsed: measured.elapsed, state })
}

/// Ends a compositor and removes its GPU.
pub fn end(machine: &Machine, program: &Program) -> Result<()> {
    // cage may have exited with its client.
    let _ = machine.signal(program, 15);
    machine.wait(program, Duration::from_secs(20))?.context("the compositor does not exit")?;
    // The kernel leaves CRTCs active when the DRM master exits, so each case gets a new GPU. The
    // compositor's programs end first, because one may hold the card open, and with it the number.
    let rest = machine.spawn_as_root("pkill", &["pkill", "-KILL", "-u", USER_NAME], &[])?;
    machine.wait(&rest, Duration::from_secs(20))?;
    // seatd closes the card of clients that were killed.
    machine.wait_until("a card without clients", |machine| {
        Ok(machine.read("/sys/kernel/debug/dri/0/clients")?.lines().count() <= 1)
    })?;
    remove_gpu(machine)
}

fn remove_gpu(machine: &Machine) -> Result<()> {
    machine.remove_gpu("gpu0")?;
    machine.wait_until("the card's removal", |machine| {
        Ok(!machine.read_dir("/sys/kernel/debug/dri")?.iter().any(|name| name == "0"))
    })
}

/// Returns the command line of a client that writes its statistics to a file in /tmp.
fn client(arguments: &str, output: &str) -> String {
    format!("{CLIENT} {arguments} > /tmp/{output} 2>&1")
}

/// Waits until a client's output contains a text and returns the output.
fn wait_for_output(machine: &Machine, output: &str, text: &str) -> Result<String> {
    let path = format!("/tmp/{output}");
    machine
        .wait_until(&format!("{text:?} of a client"), |machine| Ok(machine.read(&path)?.contains(text)))?;
    machine.read(&path)
}

/// What the client prints before the time of its first frame.
const FIRST_FRAME: &str = "first frame at";

/// Returns the time of the last client's first frame in a file, in seconds of CLOCK_MONOTONIC.
fn last_first_frame(text: &str) -> Result<f64> {
    let time = text.lines().rev().find_map(|line| line.strip_prefix(FIRST_FRAME));
    time.and_then(|time| time.trim().parse().ok()).context(FIRST_FRAME)
}

/// The cases in the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// CPU time and latency of frames.
    Frames,
    /// Time from connecting to the first configure event.
    Connect,
    /// Time from start to first modeset and first client frame.
    Startup,
    /// Time from a crash to the first client frame.
    Crash,
    /// CPU time, wake-ups and memory at rest.
    Rest,
    /// Time from hotplug to the new display's first frame.
    Plug,
    /// Missed frames and control answers while hostile clients run; not of the peers.
    Hostile,
}

/// Measures all cases of a compositor, or one.
pub fn all(compositor: Compositor, ours: &Path, only: Option<Case>, results: &mut Results) -> Result<()> {
    let wanted = |case| only.is_none_or(|only| only == case);
    if wanted(Case::Frames) || (wanted(Case::Connect) && compositor != Compositor::Floor) {
        // On one CPU: on two, a CPU that waits for a lock of the guest's kernel spins while the
        // host runs the other, which counts as the program's CPU time, and a process that is woken
        // on the other CPU may start with that CPU's next tick only, 4 ms later.
        let machine = machine(ours, 1)?;
        match compositor {
            Compositor::Floor => floor(&machine, results)?,
            _ => {
                if wanted(Case::Frames) {
                    frames(compositor, &machine, results)?;
                }
                if wanted(Case::Connect) {
                    connect(compositor, &machine, results)?;
                }
            }
        }
    }
    let others: [(_, fn(_, &_, &mut _) -> _); 4] =
        [(Case::Startup, startup), (Case::Crash, crash), (Case::Rest, at_rest), (Case::Plug, plug)];
    let others: Vec<_> = others.into_iter().filter(|(case, _)| wanted(*case)).collect();
    let is_hostile = wanted(Case::Hostile) && compositor == Compositor::Ours;
    if compositor == Compositor::Floor || (others.is_empty() && !is_hostile) {
        return Ok(());
    }
    let machine = machine(ours, 2)?;
    if is_hostile {
        hostile(&machine, results)?;
    }
    others.into_iter().try_for_each(|(_, measure)| measure(compositor, &machine, results))
}

fn frames(compositor: Compositor, machine: &Machine, results: &mut Results) -> Result<()> {
    // cage shows one window across all monitors, which does not compare.
    let monitors: &[_] = if compositor == Compositor::Cage { &[1] } else { &[1, 3] };
    for monitors in monitors {
        for case in ["full", "small"] {
            animate(compositor, machine, case, *monitors, results)?;
        }
    }
    Ok(())
}

fn startup(compositor: Compositor, machine: &Machine, results: &mut Results) -> Result<()> {
    // The first run fills the file caches and does not count.
    for counts in [false, true] {
        let output = format!("first-{counts}");
        let command = client("--animate small --frames 100000", &output);
        let Started { program, started, elapsed, .. } =
            start(compositor, machine, &command, &format!("startup-{counts}"), 1)?;
        let text = wait_for_output(machine, &output, FIRST_FRAME)?;
        let first_frame = last_first_frame(&text)?;
        if counts {
            results.add("start to first modeset", "ms", compositor, elapsed * 1000.0);
            results.add("start to first client frame", "ms", compositor, (first_frame - started) * 1000.0);
        }
        end(machine, &program)?;
    }
    Ok(())
}

/// Kills a compositor whose supervisor restarts it with its client.
fn crash(compositor: Compositor, machine: &Machine, results: &mut Results) -> Result<()> {
    let output = "crash";
    let command = format!("{CLIENT} --animate small --frames 100000 >> /tmp/{output} 2>&1");
    machine.create_gpu(&gpu(&[true]))?;
    let program = machine.spawn(compositor.guarded(machine, &command, output)?)?;
    wait_for_output(machine, output, FIRST_FRAME)?;
    for crashes in 1..=CRASHES {
        let log = format!("crash-{crashes}");
        let child = machine.spawn_as_root(&log, &["pgrep", "-P", &program.pid.to_string()], &[])?;
        machine.wait(&child, Duration::from_secs(20))?;
        let pid = std::fs::read_to_string(&child.log)?.trim().parse().context("one child")?;
        let trigger = Trigger::Signal { pid, signal: 9 };
        let file = format!("/tmp/{output}");
        let measured = machine.measure(trigger, &file, FIRST_FRAME, crashes + 1)?;
        let first_frame = last_first_frame(&machine.read(&file)?)?;
        results.add(
            "crash to first client frame",
            "ms",
            compositor,
            (first_frame - measured.started) * 1000.0,
        );
    }
    end(machine, &program)
}

fn at_rest(compositor: Compositor, machine: &Machine, results: &mut Results) -> Result<()> {
    let command = client("--color 00ff00", "still");
    let Started { program, .. } = start(compositor, machine, &command, "rest", 1)?;
    machine.wait_until("the client's color", |machine| {
        Ok(machine.screenshot("Virtual-1")?.fraction(|pixel| pixel == [0, 0xff, 0]) > 0.9)
    })?;
    let mut before = wakeups(machine, program.pid)?;
    // Lets compositors settle; some never become idle.
    std::thread::sleep(Duration::from_secs(2));
    before = wakeups(machine, program.pid)?.max(before);
    let cpu_before = cpu(machine, program.pid)?;
    std::thread::sleep(Duration::from_secs(5));
    results.add("wake-ups in 5 s idle", "count", compositor, wakeups(machine, program.pid)? - before);
    results.add("CPU in 5 s idle", "ms", compositor, (cpu(machine, program.pid)? - cpu_before) * 1000.0);
    let memory = machine.read(&format!("/proc/{}/smaps_rollup", program.pid))?;
    results.add("resident memory", "KiB", compositor, value(&memory, "Rss:")?);
    results.add("proportional memory", "KiB", compositor, value(&memory, "Pss:")?);
    end(machine, &program)
}

/// Animated clients, one on each monitor, from before they start to after their last frame.
fn animate(
    compositor: Compositor,
    machine: &Machine,
    case: &str,
    monitors: usize,
    results: &mut Results,
) -> Result<()> {
    let log = format!("animate-{case}-{monitors}");
    let Started { program, .. } = start(compositor, machine, "sleep 1000", &log, monitors)?;
    let socket = Compositor::socket(machine)?;
    // Work left over from the start is no part of a frame.
    std::thread::sleep(Duration::from_secs(1));
    let before = cpu(machine, program.pid)?;
    let mut clients = Vec::new();
    for monitor in 1..=monitors {
        let name = if monitors == 1 { String::new() } else { format!("Virtual-{monitor}") };
        let (fullscreen, frames) = (format!("--fullscreen={name}"), FRAMES.to_string());
        let argv = [CLIENT, &fullscreen, "--animate", case, "--frames", &frames];
        clients.push(machine.spawn_as_user(
            &format!("{log}-{monitor}"),
            &argv,
            &[("WAYLAND_DISPLAY", &socket)],
        )?);
    }
    // The guest waits: polling from the host would take CPU time from the programs measured.
    for client in &clients {
        let status = machine.wait(client, Duration::from_secs(120))?;
        ensure!(
            status == Some(ExitStatus::Exited(0)),
            "a client of {} exited: {status:?}",
            compositor.name()
        );
    }
    let used = (cpu(machine, program.pid)? - before) * 1000.0 / f64::from(FRAMES) / monitors as f64;
    let name = |what: &str| match monitors {
        1 => format!("{what}, {case} client"),
        _ => format!("{what}, {case} clients on three monitors"),
    };
    results.add(&name("CPU per frame"), "ms", compositor, used);
    if monitors == 1 {
        add_frame_stats(&std::fs::read_to_string(&clients[0].log)?, compositor, name, results);
    }
    end(machine, &program)
}

/// Adds an animated client's frame statistics. cage sends no presentation feedback.
fn add_frame_stats(text: &str, compositor: Compositor, name: impl Fn(&str) -> String, results: &mut Results) {
    let line = text.lines().find(|line| line.starts_with("stats")).unwrap_or_default();
    for (what, unit, key) in [
        ("CPU per frame", "ms", "cpu_ms"),
        ("commit to presentation, median", "ms", "median_ms"),
        ("commit to presentation, p99", "ms", "p99_ms"),
        ("missed frames of 300", "count", "missed"),
    ] {
        if let Some(value) = stat(line, key) {
            results.add(&name(what), unit, compositor, value);
        }
    }
}

/// Measures page flips without a compositor, with and without a copy of the whole image.
fn floor(machine: &Machine, results: &mut Results) -> Result<()> {
    for (case, copy) in [("full", true), ("small", false)] {
        machine.create_gpu(&gpu(&[true]))?;
        let argv: &[&str] = if copy { &[FLIP, "--copy"] } else { &[FLIP] };
        let flip = machine.spawn_as_root(&format!("flip-{case}"), argv, &[])?;
        let status = machine.wait(&flip, Duration::from_secs(120))?;
        ensure!(status == Some(ExitStatus::Exited(0)), "{FLIP} exited: {status:?}");
        let text = std::fs::read_to_string(&flip.log)?;
        add_frame_stats(&text, Compositor::Floor, |what| format!("{what}, {case} client"), results);
        remove_gpu(machine)?;
    }
    Ok(())
}

/// Measures clients that connect one after the other, on a display that shows nothing else.
fn connect(compositor: Compositor, machine: &Machine, results: &mut Results) -> Result<()> {
    let Started { program, .. } = start(compositor, machine, "sleep 1000", "connect", 1)?;
    let socket = Compositor::socket(machine)?;
    std::thread::sleep(Duration::from_secs(1));
    let argv = [CLIENT, "--fullscreen=", "--connects", CONNECTS];
    let client = machine.spawn_as_user("connects", &argv, &[("WAYLAND_DISPLAY", &socket)])?;
    let status = machine.wait(&client, Duration::from_secs(60))?;
    ensure!(status == Some(ExitStatus::Exited(0)), "{CLIENT} exited: {status:?}");
    let text = std::fs::read_to_string(&client.log)?;
    let median = text.lines().find_map(|line| stat(line, "configured_ms")).context("configured_ms")?;
    results.add("connect to first configure", "ms", compositor, median);
    end(machine, &program)
}

fn plug(compositor: Compositor, machine: &Machine, results: &mut Results) -> Result<()> {
    let Started { program, state, .. } =
        start(compositor, machine, &client("--color 0000ff", "plug"), "plug", 1)?;
    Compositor::socket(machine)?;
    machine.wait_until("the client's color", |machine| {
        Ok(machine.screenshot("Virtual-1")?.fraction(|pixel| pixel == [0, 0, 0xff]) > 0.9)
    })?;
    let trigger = Trigger::Plug { gpu: "gpu0".into(), connector: 1 };
    for _ in 0..PLUGS {
        let measured = machine.measure(trigger.clone(), &state, ACTIVE_CRTC, 2)?;
        results.add("hotplug to first frame", "ms", compositor, measured.elapsed * 1000.0);
        machine.unplug("gpu0", 1)?;
        machine.wait_until("the monitor's removal", |machine| {
            Ok(machine.read(&state)?.matches(ACTIVE_CRTC).count() == 1)
        })?;
    }
    end(machine, &program)
}
