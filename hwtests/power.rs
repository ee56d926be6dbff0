//! Idle blanking, the lid, the power button, and the commands `blank` and `unblank`.

use anyhow::{ensure, Result};
use geom_ipc::{Display, DisplayState, Event};
use geom_lab::keys::KeyCode;
use geom_lab::protocol::{ExitStatus, GpuSpec};

use crate::support::harness::{Service, Setup, EXIT_TIMEOUT};
use crate::support::kms::debugfs;
use crate::support::{COMPOSITOR, CONFIG, RED};

/// Displays are blanked when idle, stay so when their monitors reconnect, and wake by input that
/// has no other effect.
#[test]
fn idle_displays_are_blanked_until_there_is_input() -> Result<()> {
    let setup = Setup::new(&[GpuSpec { connectors: vec![true, true, false], ..GpuSpec::new("gpu0", 3) }])?;
    let service = setup.start("[power]\nblank_after = 2\n", &[])?;
    let keyboard = service.machine.keyboard("keyboard")?;
    let touch = service.machine.touch("touch")?;
    let pointer = service.machine.pointer("pointer")?;
    let red = service.client("red", &["--fullscreen", "Virtual-1"])?;
    let swayidle =
        service.program("swayidle", &["swayidle", "timeout", "1", "echo idle", "resume", "echo active"])?;
    // What swayidle runs, in order.
    let notified = || -> Result<Vec<String>> {
        let text = std::fs::read_to_string(&swayidle.log)?;
        let lines = text.lines().filter(|line| matches!(*line, "idle" | "active"));
        Ok(lines.map(str::to_owned).collect())
    };
    service.machine.wait_until("the idle notification", |_| Ok(!notified()?.is_empty()))?;
    service.wait_for_active_crtcs(0)?;
    let events = service.subscribe()?;
    // Monitors that power down drop their hotplug line, and raise it again.
    for _ in 0..3 {
        service.machine.unplug("gpu0", 0)?;
        events.wait_for_display("Virtual-1", "disconnected", |display| {
            display.state == DisplayState::Disconnected
        })?;
        service.machine.plug("gpu0", 0)?;
        events.wait_for_display("Virtual-1", "enabled", |display| display.state == DisplayState::Enabled)?;
        service.wait_for_active_crtcs(0)?;
    }
    let unblanked = |event: &Event| match event {
        Event::Display { display } => display.state == DisplayState::Enabled && !display.blanked,
        _ => false,
    };
    ensure!(events.count(unblanked)? == 0, "a reconnected monitor woke the displays");

    keyboard.chord(&[KeyCode::KEY_A])?;
    service.wait_for_active_crtcs(2)?;
    service.wait_for_color("Virtual-1", RED)?;
    service
        .machine
        .wait_until("the resume notification", |_| Ok(notified()?.iter().any(|line| line == "active")))?;
    keyboard.chord(&[KeyCode::KEY_B])?;
    red.wait_for_key_released(KeyCode::KEY_B.code())?;
    red.ensure_no_key(KeyCode::KEY_A.code())?;

    service.wait_for_active_crtcs(0)?;
    touch.tap(0.5, 0.5)?;
    service.wait_for_active_crtcs(2)?;
    touch.tap(0.5, 0.5)?;
    red.wait_for_touch_released()?;
    ensure!(red.touches_released()? == 1, "the touch that woke the displays reached the client");

    service.wait_for_active_crtcs(0)?;
    pointer.click()?;
    service.wait_for_active_crtcs(2)?;
    red.ensure_no_button()?;
    service.finish()
}

/// `lid = "disable"`: a closed lid disables its display while there is another, and blanks it
/// otherwise.
#[test]
fn closed_lid_disables_or_blanks_its_display() -> Result<()> {
    let config = "[power]\nlid = \"disable\"\nlid_displays = [\"Virtual-1\"]\n";
    let service = Setup::with_monitors(2)?.start(config, &[])?;
    let lid = service.lid("lid")?;
    let keyboard = service.keyboard("keyboard")?;
    service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    lid.set_closed(true)?;
    service.wait_for_active_crtcs(1)?;
    service.wait_for_color("Virtual-2", RED)?;
    lid.set_closed(false)?;
    service.wait_for_active_crtcs(2)?;
    service.wait_for_color("Virtual-1", RED)?;

    let events = service.subscribe()?;
    service.machine.unplug("gpu0", 1)?;
    service.wait_for_active_crtcs(1)?;
    lid.set_closed(true)?;
    service.wait_for_active_crtcs(0)?;
    // Keys that the lid presses do not wake.
    keyboard.chord(&[KeyCode::KEY_A])?;
    service.machine.plug("gpu0", 1)?;
    events.wait_for_display("Virtual-2", "enabled and not blanked", |display| {
        display.state == DisplayState::Enabled && !display.blanked
    })?;
    service.wait_for_active_crtcs(1)?;
    service.wait_for_color("Virtual-2", RED)?;
    service.machine.unplug("gpu0", 1)?;
    service.wait_for_active_crtcs(0)?;
    lid.set_closed(false)?;
    service.wait_for_active_crtcs(1)?;
    service.wait_for_color("Virtual-1", RED)?;
    service.finish()
}

#[test]
fn power_button_blanks_displays() -> Result<()> {
    let service = Setup::with_monitors(2)?.start("[power]\npower_button = \"blank\"\n", &[])?;
    let keyboard = service.keyboard("keyboard")?;
    let red = service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    for _ in 0..2 {
        keyboard.chord(&[KeyCode::KEY_POWER])?;
        service.wait_for_active_crtcs(0)?;
        keyboard.chord(&[KeyCode::KEY_POWER])?;
        service.wait_for_active_crtcs(2)?;
    }
    keyboard.chord(&[KeyCode::KEY_B])?;
    red.wait_for_key_released(KeyCode::KEY_B.code())?;
    red.ensure_no_key(KeyCode::KEY_POWER.code())?;

    // An action of logind's is reported if there is no logind.
    let events = service.subscribe()?;
    service.machine.write(CONFIG, "[power]\npower_button = \"suspend\"\n")?;
    events.wait_for_config_applied()?;
    keyboard.chord(&[KeyCode::KEY_POWER])?;
    let status = service.wait_for_notice("logind")?;
    ensure!(status.notices.iter().any(|notice| notice.contains("suspend")), "{:?}", status.notices);
    service.finish()
}

/// The kernel refuses to power displays up when a key is pressed, and takes it again later: they
/// come back by themselves.
#[test]
fn displays_that_are_not_unblanked_at_once_come_back_by_themselves() -> Result<()> {
    let setup = Setup::with_monitors(2)?;
    let refuse = format!("{}/lab_refuse", debugfs(&setup.gpus[0]));
    let service = setup.start("[power]\npower_button = \"blank\"\n", &[])?;
    let keyboard = service.keyboard("keyboard")?;
    service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    keyboard.chord(&[KeyCode::KEY_POWER])?;
    service.wait_for_active_crtcs(0)?;
    service.machine.write(&refuse, "Y")?;
    keyboard.chord(&[KeyCode::KEY_A])?;
    let status = service.wait_for_notice("Virtual-1 stays blanked")?;
    ensure!(status.notices.iter().any(|notice| notice.starts_with("Virtual-2")), "{:?}", status.notices);
    ensure!(service.display("Virtual-1")?.blanked && service.display("Virtual-2")?.blanked);
    let unblank = service.program("unblank", &[COMPOSITOR, "unblank"])?;
    let exit = service.machine.wait(&unblank, EXIT_TIMEOUT)?;
    ensure!(exit != Some(ExitStatus::Exited(0)), "`unblank` says that displays are on");
    service.machine.write(&refuse, "N")?;
    service.wait_for_active_crtcs(2)?;
    service.wait_for_color("Virtual-1", RED)?;
    ensure!(!service.display("Virtual-1")?.blanked);
    service.finish()
}

/// Drivers without atomic modesetting are blanked by a property of their connectors.
#[test]
fn displays_are_blanked_without_atomic() -> Result<()> {
    let env = [("GEOM_COMPOSITOR_NO_ATOMIC", "1")];
    let service = Setup::with_monitors(2)?.start_with("", &[], &env)?;
    ensure!(!service.gpu()?.atomic, "commits are atomic");
    service.client("red", &["--fullscreen", "Virtual-1", "--animate", "small"])?;
    service.wait_for_color("Virtual-1", RED)?;
    service.wait_for_active_crtcs(2)?;
    service.command(&["blank", "Virtual-1"])?;
    service.wait_for_active_crtcs(1)?;
    service.command(&["blank"])?;
    service.wait_for_active_crtcs(0)?;
    service.command(&["unblank", "Virtual-1"])?;
    service.wait_for_active_crtcs(1)?;
    service.wait_for_color("Virtual-1", RED)?;
    service.finish()
}

/// Blanked displays stay in the layout. A monitor that is plugged in again is not blanked.
#[test]
fn blanked_displays_stay_in_the_layout() -> Result<()> {
    let service = Service::with_monitors(2)?;
    service.client("red", &["--fullscreen", "Virtual-1", "--animate", "small"])?;
    service.wait_for_color("Virtual-1", RED)?;
    service.wait_for_active_crtcs(2)?;
    service.command(&["blank", "Virtual-1"])?;
    service.wait_for_active_crtcs(1)?;
    let display = service.display("Virtual-1")?;
    ensure!(display.blanked && display.state == DisplayState::Enabled, "{display:#?}");
    service.command(&["blank"])?;
    service.wait_for_active_crtcs(0)?;
    // A change of another display leaves it blanked.
    service.command(&["set", "Virtual-2", "--scale", "2"])?;
    service.wait_for_active_crtcs(0)?;
    service.command(&["unblank", "Virtual-1"])?;
    service.wait_for_active_crtcs(1)?;
    service.wait_for_color("Virtual-1", RED)?;
    service.machine.unplug("gpu0", 1)?;
    let disconnected = |display: &Display| display.state == DisplayState::Disconnected;
    service.wait_for_display("Virtual-2", "disconnected", disconnected)?;
    service.machine.plug("gpu0", 1)?;
    service.wait_for_active_crtcs(2)?;
    service.finish()
}
