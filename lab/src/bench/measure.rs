//! The cases. Each starts the compositor anew in a machine of the contestant's own.

use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use clap::ValueEnum;
use geom_lab::protocol::{Deed, Ending, GpuSpec};
use geom_lab::{BootOptions, Machine, Program};

use crate::contestants::{Contestant, CLIENT, FLIP};
use crate::report::Results;

/// One CRTC that is on, in the kernel's state dump.
const LIT: &str = "\tactive=1";
const FRAMES: u32 = 300;
const CONNECTS: &str = "51";
const PLUGS: usize = 8;
/// Fewer than are a loop, which falls back to safe settings.
const CRASHES: usize = 4;

/// A GPU whose first monitors are plugged in.
fn gpu(connectors: &[bool]) -> GpuSpec {
    GpuSpec { connectors: connectors.to_vec(), ..GpuSpec::new("gpu0", connectors.len()) }
}

/// A machine with a seat and the programs; each case makes its GPU.
pub fn machine(compositor: &Path, processors: u32) -> Result<Machine> {
    let machine = Machine::boot(&BootOptions { processors, ..BootOptions::default() })?;
    Contestant::install(&machine, compositor)?;
    let seatd = machine.root("seatd", &["seatd", "-u", "nobody"], &[])?;
    machine.until_logged(&seatd, "seatd started")?;
    // What programs read first is in the guest's page cache for nobody or for all: for all.
    machine.run("warm", &["cksum", "/usr/bin/sway", "/usr/bin/cage", "/run/bin/geom_compositor"])?;
    Ok(machine)
}

/// Processor time of a program in seconds (proc_pid_stat(5), fields 14 and 15).
pub fn cpu(machine: &Machine, pid: u32) -> Result<f64> {
    let text = machine.read(&format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).context("utime");
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

pub fn value(text: &str, key: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).with_context(|| key.to_owned())?;
    line.split_whitespace().next().and_then(|word| word.parse().ok()).with_context(|| key.to_owned())
}

fn wakeups(machine: &Machine, pid: u32) -> Result<f64> {
    let mut total = 0.0;
    for thread in machine.list(&format!("/proc/{pid}/task"))? {
        total +=
            value(&machine.read(&format!("/proc/{pid}/task/{thread}/status"))?, "voluntary_ctxt_switches:")?;
    }
    Ok(total)
}

fn figure(line: &str, key: &str) -> Option<f64> {
    line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
}

/// A compositor that was started and timed.
struct Started {
    program: Program,
    began: f64,
    took: f64,
    /// The kernel's dump of its card's state.
    state: String,
}

/// Starts the compositor with a client and waits until so many CRTCs are lit.
fn start(contestant: Contestant, machine: &Machine, client: &str, log: &str, lit: usize) -> Result<Started> {
    let card = machine.create_gpu(&gpu(&[true, lit > 1, lit > 2]))?.card;
    let state = format!("/sys/kernel/debug/dri/{}/state", card.trim_start_matches("card"));
    let spec = contestant.spec(machine, client, log)?;
    let measured = machine.timed(Deed::Spawn(spec), &state, LIT, lit)?;
    let pid = measured.pid.context("a process")?;
    let program = Program { pid, log: machine.folder().join(format!("{log}.log")) };
    Ok(Started { program, began: measured.began, took: measured.took, state })
}

fn end(machine: &Machine, program: &Program) -> Result<()> {
    // cage may have ended with its client.
    let _ = machine.signal(program, 15);
    machine.wait(program, Duration::from_secs(20))?.context("the compositor does not end")?;
    // The kernel leaves CRTCs on when their master goes: a fresh GPU starts dark.
    // Its programs go first, as one may hold the card, and with it the number.
    let stragglers = machine.root("pkill", &["pkill", "-KILL", "-u", "nobody"], &[])?;
    machine.wait(&stragglers, Duration::from_secs(20))?;
    // The seat's daemon closes the card for those that were killed.
    machine.until("a card that nobody holds", |machine| {
        Ok(machine.read("/sys/kernel/debug/dri/0/clients")?.lines().count() <= 1)
    })?;
    remove_gpu(machine)
}

fn remove_gpu(machine: &Machine) -> Result<()> {
    machine.remove_gpu("gpu0")?;
    machine.until("the card's end", |machine| {
        Ok(!machine.list("/sys/kernel/debug/dri")?.iter().any(|name| name == "0"))
    })
}

/// A client's command line that writes its figures where we can read them.
fn client(arguments: &str, output: &str) -> String {
    format!("{CLIENT} {arguments} > /tmp/{output} 2>&1")
}

fn until_written(machine: &Machine, output: &str, text: &str) -> Result<String> {
    let path = format!("/tmp/{output}");
    machine.until(&format!("{text:?} of a client"), |machine| Ok(machine.read(&path)?.contains(text)))?;
    machine.read(&path)
}

/// What a client says of its first frame, before the time.
const FIRST_FRAME: &str = "first frame at";

/// When the last client that wrote into a file had its first frame, in seconds of CLOCK_MONOTONIC.
fn last_first_frame(text: &str) -> Result<f64> {
    let time = text.lines().rev().find_map(|line| line.strip_prefix(FIRST_FRAME));
    time.and_then(|time| time.trim().parse().ok()).context(FIRST_FRAME)
}

/// What is measured in the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Case {
    Frames,
    Connect,
    Startup,
    Crash,
    Rest,
    Plug,
}

/// All cases, or one.
pub fn all(
    contestant: Contestant,
    compositor: &Path,
    only: Option<Case>,
    results: &mut Results,
) -> Result<()> {
    let wanted = |case| only.is_none_or(|only| only == case);
    if wanted(Case::Frames) {
        // On one processor: on two, one that waits for a lock of the guest's kernel spins while the host runs the other, and that
        // counts as its program's time.
        let machine = machine(compositor, 1)?;
        match contestant {
            Contestant::Floor => floor(&machine, results)?,
            _ => frames(contestant, &machine, results)?,
        }
    }
    let others: [(_, fn(_, &_, &mut _) -> _); 5] = [
        (Case::Connect, connect),
        (Case::Startup, startup),
        (Case::Crash, crash),
        (Case::Rest, at_rest),
        (Case::Plug, plug),
    ];
    let others: Vec<_> = others.into_iter().filter(|(case, _)| wanted(*case)).collect();
    if contestant == Contestant::Floor || others.is_empty() {
        return Ok(());
    }
    let machine = machine(compositor, 2)?;
    others.into_iter().try_for_each(|(_, measure)| measure(contestant, &machine, results))
}

fn frames(contestant: Contestant, machine: &Machine, results: &mut Results) -> Result<()> {
    // cage spans one window over all monitors: nothing to compare there.
    let monitors: &[_] = if contestant == Contestant::Cage { &[1] } else { &[1, 3] };
    for monitors in monitors {
        for case in ["full", "small"] {
            animate(contestant, machine, case, *monitors, results)?;
        }
    }
    Ok(())
}

fn startup(contestant: Contestant, machine: &Machine, results: &mut Results) -> Result<()> {
    // Once before it counts: file caches.
    for counts in [false, true] {
        let output = format!("first-{counts}");
        let command = client("--animate small --frames 100000", &output);
        let Started { program, began, took, .. } =
            start(contestant, machine, &command, &format!("startup-{counts}"), 1)?;
        let text = until_written(machine, &output, FIRST_FRAME)?;
        let shown = last_first_frame(&text)?;
        if counts {
            results.add("start to first mode set", "ms", contestant, took * 1000.0);
            results.add("start to first client frame", "ms", contestant, (shown - began) * 1000.0);
        }
        end(machine, &program)?;
    }
    Ok(())
}

/// Kills a compositor that somebody starts again, with its client.
fn crash(contestant: Contestant, machine: &Machine, results: &mut Results) -> Result<()> {
    let output = "crash";
    let command = format!("{CLIENT} --animate small --frames 100000 >> /tmp/{output} 2>&1");
    machine.create_gpu(&gpu(&[true]))?;
    let program = machine.spawn(contestant.guarded(machine, &command, output)?)?;
    until_written(machine, output, FIRST_FRAME)?;
    for crashes in 1..=CRASHES {
        let log = format!("crash-{crashes}");
        let child = machine.root(&log, &["pgrep", "-P", &program.pid.to_string()], &[])?;
        machine.wait(&child, Duration::from_secs(20))?;
        let pid = std::fs::read_to_string(&child.log)?.trim().parse().context("one child")?;
        let deed = Deed::Signal { pid, signal: 9 };
        let file = format!("/tmp/{output}");
        let measured = machine.timed(deed, &file, FIRST_FRAME, crashes + 1)?;
        let shown = last_first_frame(&machine.read(&file)?)?;
        results.add("crash to first client frame", "ms", contestant, (shown - measured.began) * 1000.0);
    }
    end(machine, &program)
}

fn at_rest(contestant: Contestant, machine: &Machine, results: &mut Results) -> Result<()> {
    let command = client("--color 00ff00", "still");
    let Started { program, .. } = start(contestant, machine, &command, "rest", 1)?;
    machine.until("the client's picture", |machine| {
        Ok(machine.screenshot("Virtual-1")?.share(|pixel| pixel == [0, 0xff, 0]) > 0.9)
    })?;
    let mut before = wakeups(machine, program.pid)?;
    // At rest after a second in which little happens, for those who never rest.
    std::thread::sleep(Duration::from_secs(2));
    before = wakeups(machine, program.pid)?.max(before);
    let cpu_before = cpu(machine, program.pid)?;
    std::thread::sleep(Duration::from_secs(5));
    results.add("wake-ups in 5 s idle", "count", contestant, wakeups(machine, program.pid)? - before);
    results.add("CPU in 5 s idle", "ms", contestant, (cpu(machine, program.pid)? - cpu_before) * 1000.0);
    let memory = machine.read(&format!("/proc/{}/smaps_rollup", program.pid))?;
    results.add("resident memory", "KiB", contestant, value(&memory, "Rss:")?);
    results.add("proportional memory", "KiB", contestant, value(&memory, "Pss:")?);
    end(machine, &program)
}

/// Animated clients, one on each monitor, from before they start to after their last frame.
fn animate(
    contestant: Contestant,
    machine: &Machine,
    case: &str,
    monitors: usize,
    results: &mut Results,
) -> Result<()> {
    let log = format!("animate-{case}-{monitors}");
    let Started { program, .. } = start(contestant, machine, "sleep 1000", &log, monitors)?;
    let socket = Contestant::socket(machine)?;
    // What starting up leaves to do is no part of a frame.
    std::thread::sleep(Duration::from_secs(1));
    let before = cpu(machine, program.pid)?;
    let mut clients = Vec::new();
    for monitor in 1..=monitors {
        let name = if monitors == 1 { String::new() } else { format!("Virtual-{monitor}") };
        let (fullscreen, frames) = (format!("--fullscreen={name}"), FRAMES.to_string());
        let argv = [CLIENT, &fullscreen, "--animate", case, "--frames", &frames];
        clients.push(machine.user(&format!("{log}-{monitor}"), &argv, &[("WAYLAND_DISPLAY", &socket)])?);
    }
    // The guest waits by itself: a harness that asks takes processor time from those it measures.
    for client in &clients {
        let ending = machine.wait(client, Duration::from_secs(120))?;
        ensure!(ending == Some(Ending::Exited(0)), "a client of {} ended with {ending:?}", contestant.name());
    }
    let used = (cpu(machine, program.pid)? - before) * 1000.0 / f64::from(FRAMES) / monitors as f64;
    let name = |what: &str| match monitors {
        1 => format!("{what}, {case} client"),
        _ => format!("{what}, {case} clients on three monitors"),
    };
    results.add(&name("CPU per frame"), "ms", contestant, used);
    if monitors == 1 {
        add_figures(&std::fs::read_to_string(&clients[0].log)?, contestant, name, results);
    }
    end(machine, &program)
}

/// What an animated client told of its frames. cage answers no presentation feedback.
fn add_figures(text: &str, contestant: Contestant, name: impl Fn(&str) -> String, results: &mut Results) {
    let line = text.lines().find(|line| line.starts_with("figures")).unwrap_or_default();
    for (what, unit, key) in [
        ("CPU per frame", "ms", "cpu_ms"),
        ("commit to presentation, median", "ms", "median_ms"),
        ("commit to presentation, p99", "ms", "p99_ms"),
        ("missed frames of 300", "count", "missed"),
    ] {
        if let Some(value) = figure(line, key) {
            results.add(&name(what), unit, contestant, value);
        }
    }
}

/// Page flips without a compositor, with and without a copy of the whole picture.
fn floor(machine: &Machine, results: &mut Results) -> Result<()> {
    for (case, copy) in [("full", true), ("small", false)] {
        machine.create_gpu(&gpu(&[true]))?;
        let argv: &[&str] = if copy { &[FLIP, "--copy"] } else { &[FLIP] };
        let flip = machine.root(&format!("flip-{case}"), argv, &[])?;
        let ending = machine.wait(&flip, Duration::from_secs(120))?;
        ensure!(ending == Some(Ending::Exited(0)), "{FLIP} ended with {ending:?}");
        let text = std::fs::read_to_string(&flip.log)?;
        add_figures(&text, Contestant::Floor, |what| format!("{what}, {case} client"), results);
        remove_gpu(machine)?;
    }
    Ok(())
}

/// Clients that come one after the other, on a display that shows nothing else.
fn connect(contestant: Contestant, machine: &Machine, results: &mut Results) -> Result<()> {
    let Started { program, .. } = start(contestant, machine, "sleep 1000", "connect", 1)?;
    let socket = Contestant::socket(machine)?;
    std::thread::sleep(Duration::from_secs(1));
    let argv = [CLIENT, "--fullscreen=", "--connects", CONNECTS];
    let client = machine.user("connects", &argv, &[("WAYLAND_DISPLAY", &socket)])?;
    let ending = machine.wait(&client, Duration::from_secs(60))?;
    ensure!(ending == Some(Ending::Exited(0)), "{CLIENT} ended with {ending:?}");
    let text = std::fs::read_to_string(&client.log)?;
    let median = text.lines().find_map(|line| figure(line, "configured_ms")).context("configured_ms")?;
    results.add("connect to first configure", "ms", contestant, median);
    end(machine, &program)
}

fn plug(contestant: Contestant, machine: &Machine, results: &mut Results) -> Result<()> {
    let Started { program, state, .. } =
        start(contestant, machine, &client("--color 0000ff", "plug"), "plug", 1)?;
    Contestant::socket(machine)?;
    machine.until("the client's picture", |machine| {
        Ok(machine.screenshot("Virtual-1")?.share(|pixel| pixel == [0, 0, 0xff]) > 0.9)
    })?;
    let deed = Deed::Plug { gpu: "gpu0".into(), connector: 1 };
    for _ in 0..PLUGS {
        let measured = machine.timed(deed.clone(), &state, LIT, 2)?;
        results.add("plug to first frame", "ms", contestant, measured.took * 1000.0);
        machine.unplug("gpu0", 1)?;
        machine.until("the monitor's end", |machine| Ok(machine.read(&state)?.matches(LIT).count() == 1))?;
    }
    end(machine, &program)
}
