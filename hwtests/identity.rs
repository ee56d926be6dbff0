//! Monitors are identified by their EDID, with the EDIDs of real monitors on the lab's connectors.

use anyhow::{ensure, Context, Result};
use geom_ipc::Display;

use crate::support::edids::{edid, AOC, LG};
use crate::support::harness::Setup;
use crate::support::{GREEN, RED};

/// A machine with an AOC on Virtual-1 and an LG on Virtual-2.
fn two_monitors() -> Result<Setup> {
    let setup = Setup::with_monitors(2)?;
    setup.machine.set_monitor(&setup.gpus[0], 0, &edid(AOC)?)?;
    setup.machine.set_monitor(&setup.gpus[0], 1, &edid(LG)?)?;
    Ok(setup)
}

fn make(display: &Display) -> &str {
    display.monitor.as_ref().map_or("", |monitor| &monitor.make)
}

fn width(display: &Display) -> u32 {
    display.mode.map_or(0, |mode| mode.width)
}

#[test]
fn monitors_are_named_by_make_model_and_serial() -> Result<()> {
    let config = "[displays.\"AOC 1970W*\"]\nscale = 2\n[[rules]]\napp_id = \"green\"\ndisplay = \"GSM *\"\n";
    let service = two_monitors()?.start(config, &[])?;
    let first = service.display("Virtual-1")?;
    let model = first.monitor.as_ref().map(|monitor| monitor.model.as_str());
    ensure!(make(&first) == "AOC" && model == Some("1970W"), "{first:#?}");
    // The monitor's preferred mode, and the scale that is configured for this monitor.
    ensure!(width(&first) == 1366 && first.scale == 2.0, "{first:#?}");
    let second = service.display("Virtual-2")?;
    ensure!(make(&second) == "GSM" && second.scale == 1.0, "{second:#?}");
    ensure!(second.mode.is_some_and(|mode| (mode.width, mode.height) == (1280, 1024)), "{second:#?}");

    // Rules and commands take the monitor's name.
    service.client("green", &["--app-id", "green", "--color", "00ff00"])?;
    service.wait_for_color("Virtual-2", GREEN)?;
    let monitor = second.monitor.context("a monitor")?;
    let lg = match monitor.serial {
        Some(serial) => format!("{} {} {serial}", monitor.make, monitor.model),
        None => format!("{} {}", monitor.make, monitor.model),
    };
    service.command(&["set", &lg, "--scale", "1.25"])?;
    ensure!(service.display("Virtual-2")?.scale == 1.25);
    // An override by a command is added to the file's settings for the monitor; it does not replace
    // them.
    service.command(&["set", "AOC *", "--position", "2000,0"])?;
    let first = service.display("Virtual-1")?;
    ensure!(first.scale == 2.0 && first.logical.x == 2000, "{first:#?}");
    service.command(&["screenshot", &lg, "/tmp/lg.png"])?;
    let ambiguous = service.try_command(&["set", "Virtual-*", "--scale", "1"])?;
    ambiguous.ensure_fails(1, &["Virtual-1", "Virtual-2"])?;
    let unknown = service.try_command(&["set", "DEL U2720Q", "--scale", "1"])?;
    unknown.ensure_fails(5, &["DEL U2720Q", "Virtual-1", "AOC 1970W"])?;
    service.finish()
}

#[test]
fn only_the_named_monitor_is_driven_on_any_connector() -> Result<()> {
    let service = two_monitors()?.start("", &["-w", "GSM L1751SQ 0x00002135"])?;
    service.client("red", &[])?;
    service.wait_for_color("Virtual-2", RED)?;
    ensure!(service.machine.screenshot("Virtual-1").is_err(), "another monitor is driven");
    // It comes back at another connector.
    service.machine.unplug("gpu0", 1)?;
    service.wait_for_status("no enabled display", |status| status.enabled_displays == 0)?;
    service.machine.set_monitor(&service.gpus[0], 0, &edid(LG)?)?;
    service.machine.unplug("gpu0", 0)?;
    service.machine.plug("gpu0", 0)?;
    service.wait_for_color("Virtual-1", RED)?;
    service.finish()
}

/// Two monitors are swapped: each keeps its settings, windows, position and count of disconnects.
#[test]
fn settings_and_windows_follow_the_monitor_to_another_connector() -> Result<()> {
    let service = two_monitors()?.start("[displays.\"AOC *\"]\nscale = 2\n", &[])?;
    let red = service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    for connector in [0, 1] {
        service.machine.unplug("gpu0", connector)?;
    }
    red.wait_for_output_removed("Virtual-1")?;
    service.machine.set_monitor(&service.gpus[0], 0, &edid(LG)?)?;
    service.machine.set_monitor(&service.gpus[0], 1, &edid(AOC)?)?;
    for connector in [0, 1] {
        service.machine.plug("gpu0", connector)?;
    }
    service.wait_for_pixels("Virtual-2", "the window in the other monitor's mode", |screenshot| {
        (screenshot.width, screenshot.height) == (1366, 768)
            && screenshot.fraction(|pixel| pixel == RED) > 0.97
    })?;
    let moved = service.display("Virtual-2")?;
    ensure!(make(&moved) == "AOC" && moved.scale == 2.0, "{moved:#?}");
    ensure!(moved.logical.x == 0 && moved.disconnects == 1, "{moved:#?}");
    let other = service.display("Virtual-1")?;
    ensure!(make(&other) == "GSM" && other.scale == 1.0, "{other:#?}");
    ensure!(other.logical.x == 683 && other.disconnects == 1, "{other:#?}");
    let window = service.window()?;
    let outputs = (window.assigned_output.as_deref(), window.display.as_deref());
    ensure!(outputs == (Some("Virtual-2"), Some("Virtual-2")), "{window:#?}");
    service.finish()
}

/// A monitor is replaced while the kernel reports no disconnect in between.
#[test]
fn replaced_monitor_is_another_display() -> Result<()> {
    let setup = Setup::with_monitors(2)?;
    setup.machine.set_monitor(&setup.gpus[0], 0, &edid(AOC)?)?;
    let service = setup.start("", &[])?;
    let red = service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    service.machine.set_monitor(&service.gpus[0], 0, &edid(LG)?)?;
    // The other connector's hotplug event makes the service probe.
    service.machine.unplug("gpu0", 1)?;
    red.wait_for_output_removed("Virtual-1")?;
    service.wait_for_pixels("Virtual-1", "the window in the new monitor's mode", |screenshot| {
        (screenshot.width, screenshot.height) == (1280, 1024)
            && screenshot.fraction(|pixel| pixel == RED) > 0.97
    })?;
    let new = service.display("Virtual-1")?;
    ensure!(make(&new) == "GSM" && new.disconnects == 0, "{new:#?}");
    ensure!(new.logical.x == 0, "it is not at the old one's position: {new:#?}");
    // The window stays assigned to the old monitor, and returns with it.
    service.machine.set_monitor(&service.gpus[0], 1, &edid(AOC)?)?;
    service.machine.plug("gpu0", 1)?;
    service.wait_for_pixels("Virtual-2", "the window on its own monitor", |screenshot| {
        (screenshot.width, screenshot.height) == (1366, 768)
            && screenshot.fraction(|pixel| pixel == RED) > 0.97
    })?;
    let old = service.display("Virtual-2")?;
    ensure!(old.disconnects == 1, "{old:#?}");
    service.finish()
}
