//! VT switches, and the VT that the service leaves at its end.

use anyhow::{ensure, Result};
use geom_ipc::Event;
use geom_lab::keys::KeyCode;
use geom_lab::protocol::{ExitStatus, GpuSpec};

use crate::support::harness::{start_seat_daemon, Service, Setup, EXIT_TIMEOUT};
use crate::support::{COMPOSITOR, RED, SIGKILL};

/// seatd takes the VT that is active when a session is opened: VT 1.
pub const OWN_VT: u32 = 1;

fn show_red(service: &Service) -> Result<()> {
    service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    Ok(())
}

/// The VT is in text mode, takes keys, and can be switched. (seatd keeps deciding about switches.)
fn ensure_usable_vt(service: &Service) -> Result<()> {
    const K_OFF: i32 = 4;
    service.machine.wait_until("a VT in text mode with a keyboard", |machine| {
        let vt = machine.vt_state(OWN_VT)?;
        Ok(!vt.graphics && vt.keyboard != K_OFF)
    })?;
    service.machine.activate_vt(OWN_VT + 1)?;
    service.machine.activate_vt(OWN_VT)
}

/// A monitor that is unplugged while another VT is active is disconnected on return.
#[test]
fn displays_are_probed_again_after_a_vt_switch() -> Result<()> {
    let service = Service::with_monitors(2)?;
    show_red(&service)?;
    ensure!(service.machine.vt_state(OWN_VT)?.graphics, "the service's VT is in text mode");
    let events = service.subscribe()?;
    for round in 1..=3 {
        service.machine.activate_vt(OWN_VT + 1)?;
        events.wait_for("the disabled session", |event| *event == Event::Session { active: false })?;
        ensure!(!service.status()?.session_active);
        service.machine.unplug("gpu0", 1)?;
        service.machine.activate_vt(OWN_VT)?;
        events.wait_for("the enabled session", |event| *event == Event::Session { active: true })?;
        service.wait_for_color("Virtual-1", RED)?;
        service
            .wait_for_display("Virtual-2", "disconnected", |display| display.disconnects as usize == round)?;
        service.machine.plug("gpu0", 1)?;
        service.wait_for_pixels("Virtual-2", "enabled", |screenshot| screenshot.width == 1024)?;
    }
    service.finish()
}

/// The seat daemon is killed and started again: the service takes the seat again, and its clients
/// live.
#[test]
fn seat_is_taken_again_after_its_daemon_was_killed() -> Result<()> {
    let setup = Setup::without_seat(&[GpuSpec::new("gpu0", 2)])?;
    let daemon = setup.start_seat_daemon("nobody")?;
    let service = setup.start("", &[])?;
    let red = service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    let keyboard = service.keyboard("keyboard")?;
    let events = service.subscribe()?;
    service.machine.signal(&daemon, SIGKILL)?;
    events.wait_for("the lost session", |event| *event == Event::Session { active: false })?;
    service.wait_for_notice("seat daemon")?;
    start_seat_daemon(&service.machine, "nobody")?;
    events.wait_for("the session", |event| *event == Event::Session { active: true })?;
    service.wait_for_active_crtcs(2)?;
    service.wait_for_color("Virtual-1", RED)?;
    let notices = service.status()?.notices;
    ensure!(notices.is_empty(), "{notices:?}");
    ensure!(service.is_running(&red.program)?, "the client ended");
    service.machine.wait_until("the keyboard", |_| {
        Ok(service.input_devices()?.iter().any(|device| device.name == "keyboard"))
    })?;
    keyboard.chord(&[KeyCode::KEY_B])?;
    red.wait_for_key_released(KeyCode::KEY_B.code())?;
    service.finish()
}

#[test]
fn keys_switch_vts_and_end_the_service() -> Result<()> {
    let service = Service::with_monitors(1)?;
    let keyboard = service.keyboard("keyboard")?;
    service.switch_away(&keyboard, KeyCode::KEY_F3)?;
    service.machine.wait_until("VT 3", |machine| Ok(machine.vt_state(3)?.active == 3))?;
    service.machine.activate_vt(OWN_VT)?;
    show_red(&service)?;
    keyboard.chord(&[KeyCode::KEY_LEFTCTRL, KeyCode::KEY_LEFTALT, KeyCode::KEY_BACKSPACE])?;
    service.wait_until_ended()?;
    ensure_usable_vt(&service)?;
    service.ensure_no_errors()
}

#[test]
fn every_signal_leaves_a_usable_vt() -> Result<()> {
    let mut setup = Setup::with_monitors(1)?;
    // SIGHUP, SIGINT, SIGQUIT, SIGTERM.
    for signal in [1, 2, 3, 15] {
        let service = setup.start("", &[])?;
        service.machine.signal(&service.compositor, signal)?;
        service.wait_until_ended()?;
        ensure_usable_vt(&service)?;
        service.ensure_no_errors()?;
        setup = Setup { machine: service.machine, gpus: service.gpus };
    }
    Ok(())
}

#[test]
fn killed_service_leaves_a_usable_vt() -> Result<()> {
    let service = Service::with_monitors(1)?;
    show_red(&service)?;
    service.machine.signal(&service.compositor, SIGKILL)?;
    let status = service.machine.wait(&service.compositor, EXIT_TIMEOUT)?;
    ensure!(status == Some(ExitStatus::Signaled(SIGKILL)), "{status:?}");
    ensure_usable_vt(&service)?;
    // The next one starts as usual.
    let setup = Setup { machine: service.machine, gpus: service.gpus };
    let argv = [COMPOSITOR, "--backend=kms"];
    let again = setup.machine.spawn_as_user("again", &argv, &[("NO_COLOR", "1")])?;
    let service = setup.into_service(again)?;
    service.wait_for_enabled_displays()?;
    let warnings = service.machine.kernel_warnings()?;
    ensure!(warnings.is_empty(), "{warnings:#?}");
    Ok(())
}
