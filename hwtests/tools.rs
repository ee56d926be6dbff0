//! Tools of others, as their users run them: wlr-randr, kanshi, gammastep.

use anyhow::{ensure, Context, Result};
use geom_ipc::{Display, DisplayState};
use geom_lab::protocol::ExitStatus;

use crate::support::harness::Service;
use crate::support::kms::{self, Properties};
use crate::support::{GREEN, RED, SIGKILL, SIGTERM};

/// Runs `wlr-randr` on an output; whether it succeeded, and its output.
fn wlr_randr(service: &Service, output: &str, options: &[&str]) -> Result<(bool, String)> {
    let (status, text) = service.run_program(&[&["wlr-randr", "--output", output], options].concat())?;
    Ok((status == Some(ExitStatus::Exited(0)), text))
}

fn ensure_wlr_randr(service: &Service, output: &str, options: &[&str]) -> Result<()> {
    let (good, text) = wlr_randr(service, output, options)?;
    ensure!(good, "{options:?}: {text}");
    Ok(())
}

fn width(display: &Display) -> u32 {
    display.mode.map_or(0, |mode| mode.width)
}

#[test]
fn wlr_randr_lists_and_changes_displays() -> Result<()> {
    let service = Service::with_monitors(2)?;
    service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    // Later than the other, so that it stays in front of it on this display.
    service.client("green", &["--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    service.wait_for_color("Virtual-2", GREEN)?;
    let (status, text) = service.run_program(&["wlr-randr"])?;
    ensure!(status == Some(ExitStatus::Exited(0)), "{status:?}: {text}");
    for part in ["Virtual-1", "Virtual-2", "1024x768 px", "current", "Enabled: yes", "Position: 1024,0"] {
        ensure!(text.contains(part), "no {part:?} in {text}");
    }
    let change = ["--mode", "800x600", "--scale", "1.25", "--transform", "90", "--pos", "40,50"];
    ensure_wlr_randr(&service, "Virtual-1", &change)?;
    let display = service.display("Virtual-1")?;
    ensure!(width(&display) == 800 && display.scale == 1.25 && display.transform == "90", "{display:#?}");
    ensure!((display.logical.x, display.logical.y) == (40, 50), "{display:#?}");
    service.wait_for_pixels("Virtual-1", "the new mode", |screenshot| screenshot.width == 800)?;

    ensure_wlr_randr(&service, "Virtual-1", &["--off"])?;
    ensure!(service.display("Virtual-1")?.state == DisplayState::Disabled);
    service.wait_for_color("Virtual-2", GREEN)?;
    // To disable the last display is refused, and so is a mode that the kernel refuses.
    let (good, text) = wlr_randr(&service, "Virtual-2", &["--off"])?;
    ensure!(!good, "every display was disabled: {text}");
    let (good, text) = wlr_randr(&service, "Virtual-2", &["--custom-mode", "9000x9000"])?;
    ensure!(!good, "a mode that the kernel refuses: {text}");
    service.wait_for_color("Virtual-2", GREEN)?;
    // A size that is in no mode list gets a timing by formula.
    ensure_wlr_randr(&service, "Virtual-2", &["--custom-mode", "700x500@50"])?;
    service.wait_for_pixels("Virtual-2", "a mode by formula", |screenshot| {
        (screenshot.width, screenshot.height) == (700, 500)
    })?;
    let display = service.display("Virtual-2")?;
    let refresh = display.mode.context("a mode")?.refresh;
    ensure!(display.modeline.is_some() && refresh.abs_diff(50_000) < 200, "{display:#?}");
    service.wait_for_color("Virtual-2", GREEN)?;
    ensure_wlr_randr(&service, "Virtual-1", &["--on"])?;
    service.wait_for_color("Virtual-1", RED)?;
    service.wait_for_color("Virtual-2", GREEN)?;
    service.finish()
}

/// kanshi applies a profile at its start, and another on hotplug.
#[test]
fn kanshi_applies_profiles_on_hotplug() -> Result<()> {
    let service = Service::with_monitors(2)?;
    service.machine.unplug("gpu0", 1)?;
    service.wait_for_display("Virtual-2", "disconnected", |display| {
        display.state == DisplayState::Disconnected
    })?;
    let config = "profile alone {\n output Virtual-1 enable mode 800x600 scale 2\n}\n\
        profile both {\n output Virtual-1 enable mode 1024x768 position 1280,0 scale 1\n output Virtual-2 enable mode 1280x720 position 0,0\n}\n";
    service.machine.write("/tmp/kanshi", config)?;
    let kanshi = service.program("kanshi", &["kanshi", "-c", "/tmp/kanshi"])?;
    service.wait_for_display("Virtual-1", "the profile for one", |display| {
        width(display) == 800 && display.scale == 2.0
    })?;
    service.machine.plug("gpu0", 1)?;
    service.wait_for_display("Virtual-1", "the profile for both", |display| {
        width(display) == 1024 && display.logical.x == 1280 && display.scale == 1.0
    })?;
    let second = service.display("Virtual-2")?;
    ensure!(width(&second) == 1280 && second.logical.x == 0, "{second:#?}");
    service.machine.unplug("gpu0", 1)?;
    service.wait_for_display("Virtual-1", "the profile for one again", |display| width(display) == 800)?;
    service.machine.signal(&kanshi, SIGTERM)?;
    service.finish()
}

/// gammastep's table is on the CRTCs while it runs, also through a modeset, and ends with
/// gammastep.
#[test]
fn gammastep_table_is_applied_until_it_ends() -> Result<()> {
    let service = kms::setup(2, &[])?.start("", &[])?;
    service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    let argv = ["gammastep", "-m", "wayland", "-P", "-O", "3500"];
    let gammastep = service.program("gammastep", &argv)?;
    let tables = || -> Result<Vec<String>> {
        let all = Properties::read(&service.machine)?;
        Ok(all.values("GAMMA_LUT").into_iter().map(str::to_owned).collect())
    };
    let mut warm = Vec::new();
    service.machine.wait_until("tables", |_| {
        warm = tables()?;
        Ok(warm.iter().all(|table| table != "0"))
    })?;
    // The last entry: all of red, less green, least blue.
    let last = warm[0].get(warm[0].len() - 16..).context("a table")?;
    let word = |at: usize| u16::from_str_radix(&last[at..at + 4], 16).map(u16::swap_bytes);
    let (red, green, blue) = (word(0)?, word(4)?, word(8)?);
    ensure!(red >= 0xff00 && green < 0xe000 && blue < green && blue > 0, "{red:x} {green:x} {blue:x}");
    ensure_wlr_randr(&service, "Virtual-1", &["--mode", "800x600"])?;
    ensure!(tables()?[0] == warm[0], "a modeset removed the table");
    service.machine.signal(&gammastep, SIGKILL)?;
    service.machine.wait_until("no tables", |_| Ok(tables()?.iter().all(|table| table == "0")))?;
    service.wait_for_color("Virtual-1", RED)?;
    service.finish()
}
