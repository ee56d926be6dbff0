//! Every monitor is enabled in the configured mode and position, with the right content.

use anyhow::{ensure, Result};
use geom_ipc::DisplayState;
use geom_lab::protocol::GpuSpec;

use crate::support::harness::{Service, Setup};
use crate::support::kms::{atomic_state, setup_with_parameter};
use crate::support::{is_diagnostic_screen, shows_notices, BACKGROUND, BLUE, CONFIG, GREEN, RED};

#[test]
fn one_to_four_monitors_show_the_diagnostic_screen() -> Result<()> {
    const MAX_REFUSED: usize = 4;
    let spec = GpuSpec { connectors: vec![false; MAX_REFUSED], ..GpuSpec::new("gpu0", MAX_REFUSED) };
    let mut setup = Setup::new(&[spec])?;
    for count in 1..=MAX_REFUSED {
        setup.machine.plug("gpu0", count - 1)?;
        let service = setup.start("", &[])?;
        ensure!(service.status()?.enabled_displays == count);
        for connector in &service.gpus[0].connectors[..count] {
            let screenshot = service.machine.screenshot(connector)?;
            ensure!((screenshot.width, screenshot.height) == (1024, 768), "{screenshot:?}");
            ensure!(screenshot.fraction(|pixel| pixel == BACKGROUND) > 0.95);
            let text = screenshot.fraction(|pixel| pixel[0] > 200);
            ensure!(text > 0.0005 && text < 0.02, "text covers {text}");
        }
        setup = service.into_setup()?;
    }
    Ok(())
}

/// The modeset brings the first frame with it: nothing empty is scanned out before.
#[test]
fn first_commit_shows_the_first_frame() -> Result<()> {
    let service = Service::with_monitors(2)?;
    // Only the frames of the modeset were shown, so what is there now came with it.
    let frames = service.status()?.frames;
    ensure!(frames == 2, "{frames} frames were shown");
    for connector in &service.gpus[0].connectors {
        ensure!(is_diagnostic_screen(&service.machine.screenshot(connector)?));
    }
    service.finish()
}

#[test]
fn two_gpus_drive_their_own_monitors() -> Result<()> {
    let service = Setup::new(&[GpuSpec::new("gpu0", 1), GpuSpec::new("gpu1", 2)])?.start("", &[])?;
    let displays = ["Virtual-1", "Virtual-2", "Virtual-3"];
    for (display, color) in displays.iter().zip(["ff0000", "00ff00", "0000ff"]) {
        service.client(display, &["--fullscreen", display, "--color", color])?;
    }
    for (display, color) in displays.iter().zip([RED, GREEN, BLUE]) {
        service.wait_for_color(display, color)?;
    }
    // The GPU with more monitors is the primary one: its monitors are the first of the layout.
    let mut layout = service.displays()?;
    layout.sort_by_key(|display| display.logical.x);
    let order: Vec<&str> = layout.iter().map(|display| display.name.as_str()).collect();
    ensure!(order == ["Virtual-2", "Virtual-3", "Virtual-1"], "{order:?}");
    service.finish()
}

/// Planes need not be alike: a CRTC shows a format of its own plane, and a client's buffer of
/// another one is drawn.
#[test]
fn each_crtc_shows_a_format_of_its_own_plane() -> Result<()> {
    let service = setup_with_parameter("formats", "Y", 2)?.start("", &[])?;
    for (display, color) in [("Virtual-1", "ff0000"), ("Virtual-2", "0000ff")] {
        let arguments = ["--fullscreen", display, "--color", color, "--buffer", "dmabuf"];
        service.client(display, &arguments)?;
    }
    service.wait_for_color("Virtual-1", RED)?;
    service.wait_for_color("Virtual-2", BLUE)?;
    let state = atomic_state(&service.machine, &service.gpus[0])?;
    // Of the planes that a CRTC shows (drm_atomic_plane_print_state()).
    let formats = |crtc: &str| -> Vec<String> {
        let planes = state.split("plane[").filter(|plane| plane.contains(&format!("\tcrtc={crtc}\n")));
        let lines = planes.flat_map(|plane| plane.lines().map(str::trim));
        let formats = lines.filter_map(|line| line.strip_prefix("format=")?.split(' ').next());
        formats.map(str::to_owned).collect()
    };
    ensure!(formats("crtc-0") == ["XR24"] && formats("crtc-1") == ["XB24"], "{state}");
    service.finish()
}

#[test]
fn configured_mode_scale_transform_and_power_apply() -> Result<()> {
    let config = r#"
        [displays.Virtual-1]
        mode = "800x600"
        transform = "90"
        [displays.Virtual-2]
        scale = 2.0
        position = [5000, 0]
        [displays.Virtual-3]
        enabled = false
    "#;
    let service = Setup::with_monitors(3)?.start(config, &[])?;
    let turned = service.client("turned", &["--fullscreen", "Virtual-1", "--color", "00ff00"])?;
    turned.wait_for_configured(600, 800)?;
    let screenshot = service.wait_for_color("Virtual-1", GREEN)?;
    ensure!((screenshot.width, screenshot.height) == (800, 600));
    let scaled = service.client("scaled", &["--fullscreen", "Virtual-2", "--color", "0000ff"])?;
    scaled.wait_for_configured(512, 384)?;
    service.wait_for_color("Virtual-2", BLUE)?;
    ensure!(service.machine.screenshot("Virtual-3").is_err(), "a disabled display has a CRTC");
    service.finish()
}

#[test]
fn changed_configuration_applies_at_once() -> Result<()> {
    let service = Service::with_monitors(2)?;
    service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    let events = service.subscribe()?;
    // The guest must see the change, so the guest writes it.
    let text = "unknown_key = 1\n[displays.Virtual-1]\nmode = \"640x480\"\n";
    service.machine.write(CONFIG, text)?;
    ensure!(std::fs::read_to_string(service.machine.shared_dir().join("geom_compositor.toml"))? == text);
    events.wait_for_config_error(&["geom_compositor.toml:1", "unknown_key"])?;
    service.wait_for_pixels("Virtual-1", "640x480 in red", |screenshot| {
        (screenshot.width, screenshot.height) == (640, 480)
            && screenshot.fraction(|pixel| pixel == RED) > 0.97
    })?;
    service.finish()
}

#[test]
fn only_named_displays_are_driven() -> Result<()> {
    let arguments = ["--connect-type=KEEP_CONNECTION_OPEN", "-w", "Virtual-2"];
    let service = Setup::with_monitors(3)?.start("", &arguments)?;
    ensure!(is_diagnostic_screen(&service.machine.screenshot("Virtual-2")?));
    for other in ["Virtual-1", "Virtual-3"] {
        ensure!(service.machine.screenshot(other).is_err(), "{other} has a CRTC");
    }
    service.finish()
}

#[test]
fn monitor_without_a_crtc_is_enabled_when_one_becomes_free() -> Result<()> {
    let spec = GpuSpec { crtcs: 2, ..GpuSpec::new("gpu0", 3) };
    let service = Setup::new(&[spec])?.start("", &[])?;
    let failed = service.display("Virtual-3")?;
    ensure!(failed.state == DisplayState::Failed, "{failed:#?}");
    ensure!(failed.reason.as_ref().is_some_and(|reason| reason.contains("CRTC")), "{failed:#?}");
    service.wait_for_notice("Virtual-3")?;
    for connector in ["Virtual-1", "Virtual-2"] {
        service.wait_for_pixels(connector, "the notice", shows_notices)?;
    }
    service.machine.unplug("gpu0", 0)?;
    service.wait_for_pixels("Virtual-3", "its diagnostic screen", is_diagnostic_screen)?;
    service.finish()
}

#[test]
fn refused_monitor_leaves_the_others_enabled() -> Result<()> {
    // Two connectors share an encoder: there are enough CRTCs and planes, and still the kernel
    // refuses to enable both, in every mode.
    let spec = GpuSpec { encoders: 2, ..GpuSpec::new("gpu0", 3) };
    let service = Setup::new(&[spec])?.start("", &[])?;
    let failed = service.display("Virtual-3")?;
    ensure!(failed.state == DisplayState::Failed, "{failed:#?}");
    ensure!(failed.reason.as_ref().is_some_and(|reason| reason.contains("mode")), "{failed:#?}");
    service.wait_for_notice("Virtual-3")?;
    for connector in ["Virtual-1", "Virtual-2"] {
        ensure!(is_diagnostic_screen(&service.machine.screenshot(connector)?));
    }
    service.machine.unplug("gpu0", 0)?;
    service.wait_for_pixels("Virtual-3", "its diagnostic screen", is_diagnostic_screen)?;
    service.finish()
}
