//! The layout of displays: mirrors, relative positions, and hubs.

use anyhow::{ensure, Context, Result};
use geom_ipc::Display;
use geom_lab::protocol::GpuSpec;
use geom_lab::Screenshot;

use crate::support::harness::{Service, Setup};
use crate::support::kms::debugfs;
use crate::support::{GREEN, RED};

fn position(service: &Service, name: &str) -> Result<(i32, i32)> {
    let logical = service.display(name)?.logical;
    Ok((logical.x, logical.y))
}

/// The mirror has another size and shape, and is turned; then it is a display of its own again.
#[test]
fn mirror_shows_the_content_of_another_display() -> Result<()> {
    let config = "[aliases]\nstage = \"Virtual-2\"\n[displays.Virtual-1]\nmode = \"1024x768\"\n[displays.stage]\nmode = \"1280x720\"\nmirror = \"Virtual-1\"\n[[input]]\nname = \"panel\"\ndisplay = \"stage\"\n";
    let service = Setup::with_monitors(2)?.start(config, &[])?;
    let red = service.client("red", &["--fullscreen", "Virtual-1", "--animate", "small"])?;
    service.wait_for_color("Virtual-1", RED)?;
    // 960 of 1280 pixels in width, centered.
    let centered = |screenshot: &Screenshot| {
        let fraction = screenshot.fraction(|pixel| pixel == RED);
        screenshot.pixel(640, 360) == RED
            && screenshot.pixel(80, 360) != RED
            && (0.70..0.76).contains(&fraction)
    };
    // Each frame is copied, in every buffer of the swapchain.
    for frame in 0..=10 {
        service.wait_for_pixels("Virtual-2", &format!("frame {frame}, centered"), centered)?;
    }
    ensure!(service.display("Virtual-2")?.mirror.as_deref() == Some("Virtual-1"));
    // A touch lands on what is seen there; on the black bar it lands on nothing.
    let touch = service.touch("panel")?;
    touch.tap(0.05, 0.5)?;
    touch.tap(0.5, 0.25)?;
    red.wait_for_touch(512, 192)?;
    ensure!(red.touches()? == [(512, 192)], "{:?}", red.touches()?);
    let status = service.status()?;
    ensure!(status.enabled_displays == 1, "the mirror is part of the layout: {status:#?}");
    // A display of its own again: clients get its wl_output.
    service.command(&["set", "stage", "--mirror", ""])?;
    red.wait_for_output("Virtual-2")?;
    service.client("green", &["--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    service.wait_for_color("Virtual-2", GREEN)?;
    // Mirroring again, turned; its window moves to the other display.
    service.command(&["set", "stage", "--mirror", "Virtual-1", "--transform", "90"])?;
    service.wait_for_color("Virtual-1", GREEN)?;
    service
        .wait_for_pixels("Virtual-2", "the same, turned", |screenshot| screenshot.pixel(640, 360) == GREEN)?;
    // Without the display that it mirrors it shows its own content.
    service.machine.unplug("gpu0", 0)?;
    service.wait_for_color("Virtual-2", GREEN)?;
    let alone = service.display("Virtual-2")?;
    let warning = alone.warnings.first().context("no warning")?;
    ensure!(warning.contains("mirror") && warning.contains("Virtual-1"), "{alone:#?}");
    service.finish()
}

#[test]
fn relative_positions_follow_the_other_display() -> Result<()> {
    let config = "[displays.Virtual-1]\nposition = \"below Virtual-2\"\n[displays.Virtual-3]\nposition = \"left-of Virtual-1\"\n";
    let service = Setup::with_monitors(3)?.start(config, &[])?;
    ensure!(position(&service, "Virtual-1")? == (0, 768));
    ensure!(position(&service, "Virtual-3")? == (-1024, 768));
    service.command(&["set", "Virtual-3", "--position", "right-of Virtual-2"])?;
    ensure!(position(&service, "Virtual-3")? == (1024, 0));
    // A timing that is in no mode list.
    service.command(&["set", "Virtual-2", "--mode", "720x480@75 cvt-rb"])?;
    let display = service.display("Virtual-2")?;
    let modeline = display.modeline.as_deref().unwrap_or_default();
    let expected = modeline.contains(" 720 768 800 880 480 ") && modeline.ends_with("+hsync -vsync");
    ensure!(expected, "{display:#?}");
    ensure!(position(&service, "Virtual-3")? == (720, 0));
    service.finish()
}

/// A hub's connectors get new names each time. A display behind it is identified by its port path.
#[test]
fn displays_behind_a_hub_keep_their_settings_and_windows() -> Result<()> {
    let config = "[displays.\"faux-gpu0/Virtual-1/1\"]\nscale = 2\n";
    let service = Setup::new(&[GpuSpec::new("gpu0", 2)])?.start(config, &[])?;
    // Its CRTC is needed for the monitor behind the hub.
    service.machine.unplug("gpu0", 1)?;
    let hub =
        |monitors: &str| service.machine.write(&format!("{}/lab_hub", debugfs(&service.gpus[0])), monitors);
    hub("1")?;
    service.machine.wait_until("a display behind the hub", |_| Ok(service.display("DP-1").is_ok()))?;
    let display = service.display("DP-1")?;
    let port = display.port.as_deref();
    ensure!(port == Some("faux-gpu0/Virtual-1/1") && display.scale == 2.0, "{display:#?}");
    service.client("red", &["--fullscreen", "DP-1", "--app-id", "red"])?;
    service.wait_for_window("red", "on the display behind the hub", |window| {
        window.assigned_output.as_deref() == Some("DP-1") && window.display.as_deref() == Some("DP-1")
    })?;
    for _ in 0..5 {
        hub("0")?;
        service.wait_for_color("Virtual-1", RED)?;
        hub("1")?;
        service.wait_for_window("red", "back on the display behind the hub", |window| {
            window.display.as_deref().is_some_and(|name| name.starts_with("DP-"))
        })?;
    }
    let displays = service.displays()?;
    let behind: Vec<&Display> = displays.iter().filter(|display| display.name.starts_with("DP-")).collect();
    ensure!(behind.len() == 1 && behind[0].disconnects == 5 && behind[0].scale == 2.0, "{behind:#?}");
    service.finish()
}
