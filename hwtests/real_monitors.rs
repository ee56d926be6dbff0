//! Tests that are safe on real monitors. They run in the lab, and with `HWTESTS=real make hwtests`
//! on this machine's own seat, GPUs and monitors.
//!
//! With `HWTESTS=real`, from a VT of a machine whose display server is stopped, `make hwtests` runs
//! these tests and no others, one after the other:
//!
//! | test | what it changes, and how that is restored |
//! |---|---|
//! | `connected_monitors_are_enabled_in_a_listed_mode` | nothing |
//! | `fullscreen_window_covers_each_display` | nothing |
//! | `scale_and_transform_apply_and_are_reset` | scale and transform; set back |
//! | `set_mode_is_rolled_back_when_not_confirmed` | the mode, for 2 seconds; the service sets it back |
//! | `confirmed_mode_is_kept` | the mode; set to `preferred` |
//! | `blanked_display_is_powered_down_and_comes_back` | DPMS; set back |
//! | `frames_are_presented_at_the_refresh_rate` | nothing |
//! | `crashed_service_enables_the_displays_again` | nothing |
//!
//! Each test starts its own service, with an empty configuration and a temporary runtime folder,
//! and stops it at the end: the VT and the monitors are then as before, and no file of a user is
//! read or written. A test fails, and says why, if there is no monitor or the seat is taken.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use geom_ipc::{Display, DisplayState, Mode};
use geom_lab::protocol::{ExitStatus, GpuSpec};
use geom_lab::Program;

use crate::support::harness::{install_program, unique, Service, Setup, EXIT_TIMEOUT};
use crate::support::host::{ensure_monitor, Host, ThisMachine};
use crate::support::{GREEN, SIGTERM};

type AnyService = Service<Box<dyn Host>>;

/// Starts the service on the lab's monitors, or with `HWTESTS=real` on this machine's.
fn start() -> Result<AnyService> {
    start_with(&["--guard=never"])
}

fn start_with(arguments: &[&str]) -> Result<AnyService> {
    let is_real = std::env::var("HWTESTS").is_ok_and(|value| value == "real");
    let (host, folder): (Box<dyn Host>, PathBuf) = if is_real {
        let machine = ThisMachine::new()?;
        let folder = machine.folder().to_owned();
        (Box::new(machine), folder)
    } else {
        (Box::new(Setup::with_monitors(2)?.machine), PathBuf::from("/tmp"))
    };
    let program = host.program("geom_compositor")?;
    let folder = folder.display().to_string();
    // Neither the system's configuration nor a user's profile.
    let mut argv =
        vec![program.as_str(), "--backend=kms", "--config", "/dev/null", "--userdata", folder.as_str()];
    argv.extend(arguments);
    let compositor = host.spawn("compositor", &argv, &[("NO_COLOR", "1")])?;
    let service = Service { machine: host, gpus: Vec::new(), compositor };
    let help = || {
        let log = std::fs::read_to_string(&service.compositor.log).unwrap_or_default();
        format!(
            "run this from a VT (Ctrl+Alt+F3), with other display servers stopped. The service's log:\n{log}"
        )
    };
    service.wait_until_answering().with_context(help)?;
    if is_real {
        ensure_monitor()?;
    }
    service.wait_for_enabled_displays().with_context(help)?;
    Ok(service)
}

/// Stops the service, which must have reported no bug.
fn finish(service: &AnyService) -> Result<()> {
    service.stop()?;
    service.ensure_no_errors_logged()
}

fn enabled_displays(service: &AnyService) -> Result<Vec<Display>> {
    let displays = service.displays()?;
    Ok(displays.into_iter().filter(|display| display.state == DisplayState::Enabled).collect())
}

/// A mode of the display's list that is not its current one.
fn other_mode(display: &Display) -> Result<(Mode, String)> {
    let current = display.mode.context("no mode")?;
    let other =
        display.modes.iter().find(|mode| (mode.width, mode.height) != (current.width, current.height));
    let mode = *other.with_context(|| format!("{} has one mode only", display.name))?;
    Ok((mode, format!("{}x{}@{:.2}", mode.width, mode.height, f64::from(mode.refresh) / 1000.0)))
}

/// An attribute of a display's connector in sysfs.
fn connector_attribute(service: &AnyService, display: &str, attribute: &str) -> Result<String> {
    let names = service.machine.list("/sys/class/drm")?;
    let is_display = |name: &&String| name.split_once('-').is_some_and(|(_, connector)| connector == display);
    let name = names.iter().find(is_display).with_context(|| format!("no connector {display}"))?;
    let text = service.machine.read_file(&format!("/sys/class/drm/{name}/{attribute}"))?;
    Ok(text.trim().to_owned())
}

/// Starts a fullscreen window of one color.
fn show_green(service: &AnyService, display: &str, arguments: &[&str]) -> Result<Program> {
    let client = service.machine.program("geom-lab-client")?;
    let mut argv = vec![client.as_str(), "--fullscreen", display, "--color", "00ff00"];
    argv.extend(arguments);
    let address = service.status()?.wayland_display;
    service.machine.spawn(&unique("client"), &argv, &[("WAYLAND_DISPLAY", &address)])
}

fn wait_until_green(service: &AnyService, display: &str) -> Result<()> {
    service.machine.poll(&format!("a green {display}"), &mut || {
        Ok(service.screenshot(display)?.fraction(|pixel| pixel == GREEN) > 0.97)
    })
}

#[test]
fn connected_monitors_are_enabled_in_a_listed_mode() -> Result<()> {
    let service = start()?;
    let displays = service.displays()?;
    for display in &displays {
        ensure!(display.state == DisplayState::Enabled, "{display:#?}");
        ensure!(display.mode.is_some_and(|mode| display.modes.contains(&mode)), "{display:#?}");
        ensure!(connector_attribute(&service, &display.name, "status")? == "connected");
        ensure!(connector_attribute(&service, &display.name, "enabled")? == "enabled");
    }
    finish(&service)
}

#[test]
fn fullscreen_window_covers_each_display() -> Result<()> {
    let service = start()?;
    for display in enabled_displays(&service)? {
        let client = show_green(&service, &display.name, &[])?;
        wait_until_green(&service, &display.name)?;
        let screenshot = service.screenshot(&display.name)?;
        let mode = display.mode.context("no mode")?;
        ensure!((screenshot.width, screenshot.height) == (mode.width, mode.height), "{display:#?}");
        service.machine.send_signal(client.pid, SIGTERM)?;
        service.machine.wait_for_exit(&client, EXIT_TIMEOUT)?;
    }
    finish(&service)
}

#[test]
fn scale_and_transform_apply_and_are_reset() -> Result<()> {
    let service = start()?;
    for before in enabled_displays(&service)? {
        let name = before.name.as_str();
        service.command(&["set", name, "--scale", "2", "--transform", "90"])?;
        let changed = service.display(name)?;
        ensure!(changed.scale == 2.0 && changed.transform == "90", "{changed:#?}");
        let mode = changed.mode.context("no mode")?;
        let size = (changed.logical.width, changed.logical.height);
        ensure!(size == (mode.height as i32 / 2, mode.width as i32 / 2), "{changed:#?}");
        service.command(&[
            "set",
            name,
            "--scale",
            &before.scale.to_string(),
            "--transform",
            &before.transform,
        ])?;
        let reset = service.display(name)?;
        ensure!(reset.logical == before.logical && reset.transform == before.transform, "{reset:#?}");
    }
    finish(&service)
}

#[test]
fn set_mode_is_rolled_back_when_not_confirmed() -> Result<()> {
    const CONFIRM_WITHIN: Duration = Duration::from_secs(2);
    let service = start()?;
    let before = enabled_displays(&service)?.into_iter().next().context("no display")?;
    let (mode, text) = other_mode(&before)?;
    let events = service.subscribe()?;
    // `sleep` keeps standard input open without an answer.
    let program = service.machine.program("geom_compositor")?;
    let line = format!("sleep 5 | {program} set {} --mode {text} --confirm=2", before.name);
    let start = Instant::now();
    let asking = service.machine.spawn(&unique("set"), &["sh", "-c", &line], &[])?;
    events.wait_for_display(&before.name, "the mode is set", |display| display.mode == Some(mode))?;
    events
        .wait_for_display(&before.name, "the mode is rolled back", |display| display.mode == before.mode)?;
    ensure!(start.elapsed() >= CONFIRM_WITHIN, "rolled back after {:?}", start.elapsed());
    // The command fails without a confirmation.
    let status = service.machine.wait_for_exit(&asking, EXIT_TIMEOUT)?;
    ensure!(status == Some(ExitStatus::Exited(1)), "{status:?}");
    ensure!(service.display(&before.name)?.mode == before.mode);
    finish(&service)
}

#[test]
fn confirmed_mode_is_kept() -> Result<()> {
    let service = start()?;
    let before = enabled_displays(&service)?.into_iter().next().context("no display")?;
    let (mode, text) = other_mode(&before)?;
    let program = service.machine.program("geom_compositor")?;
    let line = format!("echo y | {program} set {} --mode {text} --confirm=60", before.name);
    let asking = service.machine.spawn(&unique("set"), &["sh", "-c", &line], &[])?;
    let status = service.machine.wait_for_exit(&asking, EXIT_TIMEOUT)?;
    ensure!(status == Some(ExitStatus::Exited(0)), "{status:?}");
    ensure!(service.display(&before.name)?.mode == Some(mode));
    service.command(&["set", &before.name, "--mode", "preferred"])?;
    ensure!(service.display(&before.name)?.mode == before.mode);
    finish(&service)
}

#[test]
fn blanked_display_is_powered_down_and_comes_back() -> Result<()> {
    let service = start()?;
    let wait_for_dpms = |display: &str, expected: &str| {
        service.machine.poll(&format!("{display}: DPMS {expected}"), &mut || {
            Ok(connector_attribute(&service, display, "dpms")? == expected)
        })
    };
    for display in enabled_displays(&service)? {
        service.command(&["blank", &display.name])?;
        wait_for_dpms(&display.name, "Off")?;
        ensure!(service.display(&display.name)?.blanked);
        service.command(&["unblank", &display.name])?;
        wait_for_dpms(&display.name, "On")?;
        service.machine.poll(&format!("{}: unblanked", display.name), &mut || {
            Ok(!service.display(&display.name)?.blanked)
        })?;
    }
    finish(&service)
}

/// Frames that a display has shown.
fn frames(service: &AnyService, display: &str) -> Result<u64> {
    let metrics = service.metrics()?;
    let metrics = metrics.displays.iter().find(|metrics| metrics.name == display);
    Ok(metrics.context("no metrics")?.frames)
}

#[test]
fn frames_are_presented_at_the_refresh_rate() -> Result<()> {
    const FRAMES: u64 = 90;
    let service = start()?;
    for display in enabled_displays(&service)? {
        let before = frames(&service, &display.name)?;
        let start = Instant::now();
        let client = show_green(&service, &display.name, &["--animate", "small", "--frames", "90"])?;
        let status = service.machine.wait_for_exit(&client, EXIT_TIMEOUT)?;
        ensure!(status == Some(ExitStatus::Exited(0)), "{}: {status:?}", display.name);
        let shown = frames(&service, &display.name)? - before;
        ensure!(shown >= FRAMES, "{}: {shown} frames", display.name);
        // Never more than the monitor shows; a few are drawn for the window's start and end.
        let refresh = f64::from(display.mode.context("no mode")?.refresh) / 1000.0;
        let most = start.elapsed().as_secs_f64() * refresh + 5.0;
        ensure!(shown as f64 <= most, "{}: {shown} frames, at most {most:.0}", display.name);
    }
    finish(&service)
}

#[test]
fn crashed_service_enables_the_displays_again() -> Result<()> {
    let service = start_with(&["--guard=always"])?;
    let before = enabled_displays(&service)?;
    let pid = service.status()?.pid;
    service.machine.send_signal(pid, 11)?;
    service.wait_for_status("the next process", |status| {
        status.pid != pid && status.enabled_displays == before.len()
    })?;
    let names = |displays: &[Display]| -> Vec<(String, Option<Mode>)> {
        displays.iter().map(|display| (display.name.clone(), display.mode)).collect()
    };
    ensure!(names(&enabled_displays(&service)?) == names(&before));
    service.stop()
}

/// Runs one of these tests with `HWTESTS=real` inside a lab machine, whose monitors are then the
/// machine's own: its exit status and output.
fn run_for_real(setup: &Setup, test: &str) -> Result<(Option<ExitStatus>, String)> {
    let machine = &setup.machine;
    machine.install(&std::env::current_exe()?, "/run/bin/hwtests")?;
    for program in ["geom-lab-client", "geom_compositor"] {
        install_program(machine, program, &format!("/run/bin/{program}"))?;
    }
    let argv = ["/run/bin/hwtests", "--exact", test, "--test-threads=1"];
    let env = [("HWTESTS", "real"), ("HWTESTS_PROGRAMS", "/run/bin")];
    let program = machine.spawn_as_user(&unique("real"), &argv, &env)?;
    let status = machine.wait(&program, 2 * EXIT_TIMEOUT)?;
    Ok((status, std::fs::read_to_string(&program.log)?))
}

#[test]
fn real_mode_runs_on_the_machine_s_own_monitors() -> Result<()> {
    let setup = Setup::with_monitors(2)?;
    for test in ["fullscreen_window_covers_each_display", "blanked_display_is_powered_down_and_comes_back"] {
        let (status, output) = run_for_real(&setup, &format!("real_monitors::{test}"))?;
        ensure!(status == Some(ExitStatus::Exited(0)), "{status:?}: {output}");
        ensure!(output.contains("1 passed"), "{output}");
    }
    Ok(())
}

#[test]
fn real_mode_fails_without_a_monitor_and_says_so() -> Result<()> {
    let test = "real_monitors::connected_monitors_are_enabled_in_a_listed_mode";
    let ensure_fails = |setup: &Setup, named: &str| -> Result<()> {
        let (status, output) = run_for_real(setup, test)?;
        ensure!(status == Some(ExitStatus::Exited(101)), "{status:?}: {output}");
        ensure!(output.contains(named), "{output}");
        Ok(())
    };
    let setup = Setup::new(&[])?;
    ensure_fails(&setup, "no connector")?;
    let spec = GpuSpec { connectors: vec![false, false], ..GpuSpec::new("gpu0", 2) };
    setup.machine.create_gpu(&spec)?;
    ensure_fails(&setup, "card0-Virtual-1 disconnected")
}
