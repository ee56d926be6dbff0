//! Errors in the configuration: each is reported with file and line, and the rest applies.

use anyhow::{ensure, Result};
use geom_ipc::DisplayState;

use crate::support::edids::{edid, LG};
use crate::support::harness::Setup;
use crate::support::{shows_notices, COMPOSITOR, CONFIG, RED};

#[test]
fn broken_configuration_still_enables_displays() -> Result<()> {
    let config = "renderer = \"vulkan\"\n[displays.Virtual-1]\nmode = \"1x1\"\nscale = \"big\"\n";
    let service = Setup::with_monitors(2)?.start(config, &[])?;
    // Each error names the file, the line, the key and what is allowed.
    let notices = service.status()?.notices;
    for named in [
        vec![format!("{CONFIG}:1"), "renderer".into(), "\"vulkan\"".into(), "\"auto\"".into()],
        vec![format!("{CONFIG}:4"), "scale".into(), "\"big\"".into(), "0.25".into(), "8".into()],
        vec!["Virtual-1".into(), "1x1".into(), "1024x768@60.00".into()],
    ] {
        let names_all = |notice: &String| named.iter().all(|name| notice.contains(name));
        ensure!(notices.iter().any(names_all), "no notice of {named:?} in {notices:#?}");
    }
    service.wait_for_pixels("Virtual-1", "the notices", shows_notices)?;
    // A file that is no TOML: the last good configuration stays.
    let events = service.subscribe()?;
    service.machine.write(CONFIG, "renderer = [\n")?;
    events.wait_for_config_error(&["geom_compositor.toml:", "TOML"])?;
    service.client("red", &[])?;
    service.wait_for_color("Virtual-1", RED)?;
    service.finish()
}

#[test]
fn missing_configuration_is_reported() -> Result<()> {
    let setup = Setup::with_monitors(1)?;
    let argv = [COMPOSITOR, "--config", "/nowhere/file.toml"];
    let compositor = setup.machine.spawn_as_user("compositor", &argv, &[("NO_COLOR", "1")])?;
    let service = setup.into_service(compositor)?;
    service.wait_for_enabled_displays()?;
    service.wait_for_notice("/nowhere/file.toml")?;
    Ok(())
}

/// As behind a KVM switch that hides the monitor.
#[test]
fn connector_without_a_monitor_is_used_as_configured() -> Result<()> {
    let setup = Setup::with_monitors(2)?;
    setup.machine.unplug("gpu0", 0)?;
    let forced = "[connectors.Virtual-1]\nconnected = true\n";
    let service = setup.start(&format!("{forced}[displays.Virtual-1]\nmode = \"1280x720\"\n"), &[])?;
    service.client("red", &["--fullscreen", "Virtual-1"])?;
    let screenshot = service.wait_for_color("Virtual-1", RED)?;
    ensure!(
        (screenshot.width, screenshot.height) == (1280, 720),
        "{}x{}",
        screenshot.width,
        screenshot.height
    );

    // The EDID of its monitor, without a restart.
    std::fs::write(service.machine.shared_dir().join("monitor.edid"), edid(LG)?)?;
    service.machine.write(CONFIG, &format!("{forced}edid = \"/run/lab/monitor.edid\"\n"))?;
    service.machine.wait_until("the EDID's monitor", |_| {
        let display = service.display("Virtual-1")?;
        let is_lg = display.monitor.is_some_and(|monitor| monitor.make == "GSM");
        Ok(is_lg && display.mode.is_some_and(|mode| (mode.width, mode.height) == (1280, 1024)))
    })?;
    service.wait_for_color("Virtual-1", RED)?;

    // And the other way round: a monitor that is to be ignored.
    service.machine.write(
        CONFIG,
        "[connectors.Virtual-2]\nconnected = false\n[connectors.Virtual-1]\nconnected = true\n",
    )?;
    service.machine.wait_until("one display", |_| {
        let state = service.display("Virtual-2")?.state;
        Ok(state == DisplayState::Disconnected)
    })?;
    service.finish()
}
