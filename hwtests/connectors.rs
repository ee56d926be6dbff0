//! Connectors whose link fails, whose driver does not know whether there is a monitor, or whose
//! monitor sends its EDID late.

use anyhow::{ensure, Result};
use geom_ipc::{Display, DisplayState};
use geom_lab::protocol::GpuSpec;
use geom_lab::Machine;

use crate::support::edids::{edid, AOC};
use crate::support::harness::{Service, Setup};
use crate::support::kms::{crtc_modesets, crtc_of, read_switch, set_switch, settle};
use crate::support::{GREEN, RED};

/// The link to one monitor fails, then that to the other: the display gets one modeset, which
/// trains the link again, and the other display gets none.
#[test]
fn failed_link_gets_one_modeset_and_the_other_display_none() -> Result<()> {
    let service = Service::with_monitors(2)?;
    let (machine, gpu) = (&service.machine, &service.gpus[0]);
    service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.client("green", &["--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    for (connector, name) in gpu.connectors.iter().enumerate() {
        service.wait_for_color("Virtual-1", RED)?;
        service.wait_for_color("Virtual-2", GREEN)?;
        let mut expected = crtc_modesets(machine, gpu)?;
        expected[crtc_of(machine, gpu, name)?] += 1;
        set_switch(machine, gpu, "link_bad", &(1 << connector).to_string())?;
        machine.wait_until("a good link", |machine| Ok(read_switch(machine, gpu, "link_bad")? == 0))?;
        settle(&service)?;
        let modesets = crtc_modesets(machine, gpu)?;
        ensure!(modesets == expected, "{name}: {modesets:?}, not {expected:?}");
    }
    service.wait_for_color("Virtual-1", RED)?;
    service.wait_for_color("Virtual-2", GREEN)?;
    let notices = service.status()?.notices;
    ensure!(notices.is_empty(), "{notices:?}");
    service.finish()
}

/// Makes the driver unable to tell whether the connector of that index has a monitor
/// (connector_status_unknown in drm_connector.h).
fn set_unknown(machine: &Machine, connector: usize) -> Result<()> {
    machine.write(&format!("/sys/kernel/config/vkms/gpu0/connectors/connector{connector}/status"), "3")
}

fn is_enabled(display: &Display) -> bool {
    display.state == DisplayState::Enabled
}

#[test]
fn unknown_connector_is_used_while_none_is_connected() -> Result<()> {
    let setup = Setup::new(&[GpuSpec { connectors: vec![false; 2], ..GpuSpec::new("gpu0", 2) }])?;
    set_unknown(&setup.machine, 0)?;
    let service = setup.start("", &[])?;
    service.client("red", &[])?;
    service.wait_for_color("Virtual-1", RED)?;
    // Its signal goes nowhere for all that is known: a monitor that is connected takes its place.
    service.machine.plug("gpu0", 1)?;
    service.wait_for_color("Virtual-2", RED)?;
    service.wait_for_display("Virtual-1", "not enabled", |display| !is_enabled(display))?;
    service.machine.unplug("gpu0", 1)?;
    service.wait_for_display("Virtual-1", "enabled", is_enabled)?;
    service.wait_for_color("Virtual-1", RED)?;
    service.finish()
}

/// A monitor that wakes slowly: it has no mode at first, and no event comes with its EDID.
#[test]
fn monitor_whose_edid_comes_late_is_enabled() -> Result<()> {
    let setup = Setup::with_monitors(2)?;
    set_switch(&setup.machine, &setup.gpus[0], "needs_edid", "2")?;
    let service = setup.start("", &[])?;
    let displays = service.displays()?;
    let enabled: Vec<&str> =
        displays.iter().filter(|display| is_enabled(display)).map(|display| display.name.as_str()).collect();
    ensure!(enabled == ["Virtual-1"], "{displays:#?}");
    service.machine.set_monitor(&service.gpus[0], 1, &edid(AOC)?)?;
    let display = service.wait_for_display("Virtual-2", "enabled", is_enabled)?;
    ensure!(display.mode.is_some_and(|mode| (mode.width, mode.height) == (1366, 768)), "{display:#?}");
    service.client("green", &["--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    service.wait_for_color("Virtual-2", GREEN)?;
    service.finish()
}
