//! Headsets: non-desktop monitors that programs lease (drm-lease-v1).

use anyhow::{ensure, Result};
use geom_lab::protocol::ExitStatus;

use crate::support::edids::{edid, headset, LG};
use crate::support::harness::{install_program, Setup, EXIT_TIMEOUT};
use crate::support::{GREEN, RED, SIGKILL};

/// A headset is no display: the service shows nothing on it. The program that leases it does, and
/// modesets and hotplug of other displays leave it alone.
#[test]
fn headset_belongs_to_the_program_that_leases_it() -> Result<()> {
    const LEASE: &str = "/run/bin/geom-lab-lease";
    let setup = Setup::with_monitors(2)?;
    setup.machine.set_monitor(&setup.gpus[0], 0, &edid(LG)?)?;
    setup.machine.set_monitor(&setup.gpus[0], 1, &headset()?)?;
    install_program(&setup.machine, "geom-lab-lease", LEASE)?;
    setup.machine.run_as_root("permit", &["chmod", "666", "/dev/dri/card0"])?;
    let service = setup.start("", &[])?;
    service.client("red", &["--fullscreen", "Virtual-1", "--animate", "small"])?;
    service.wait_for_color("Virtual-1", RED)?;
    ensure!(service.machine.screenshot("Virtual-2").is_err(), "the service drives the headset");
    let displays = service.displays()?;
    ensure!(displays.len() == 1, "the headset is a display: {displays:#?}");
    for round in 0..2 {
        let program = service.program(&format!("headset-{round}"), &[LEASE])?;
        service.wait_for_color("Virtual-2", GREEN)?;
        // It has leased this connector and one CRTC, and no more.
        service.machine.wait_for_log(&program, "leased 1 connectors, 1 CRTCs")?;
        // While it is leased, no other client is offered it.
        let second = service.program(&format!("second-{round}"), &[LEASE])?;
        let status = service.machine.wait(&second, EXIT_TIMEOUT)?;
        ensure!(status == Some(ExitStatus::Exited(1)), "a second lease: {status:?}");
        service.command(&["set", "Virtual-1", "--mode", "800x600"])?;
        service.wait_for_pixels("Virtual-1", "the new mode", |screenshot| screenshot.width == 800)?;
        service.machine.unplug("gpu0", 0)?;
        service.machine.plug("gpu0", 0)?;
        service.wait_for_color("Virtual-1", RED)?;
        service.wait_for_color("Virtual-2", GREEN)?;
        service.command(&["set", "Virtual-1", "--mode", "preferred"])?;
        // When the program is killed its CRTC is disabled, and the headset may be leased again.
        service.machine.signal(&program, SIGKILL)?;
        service.machine.wait_until("the headset without a CRTC", |machine| {
            Ok(machine.screenshot("Virtual-2").is_err())
        })?;
    }
    service.wait_for_color("Virtual-1", RED)?;
    service.finish()
}
