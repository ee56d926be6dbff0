//! Clients whose GPU is not done: their windows stay as they were, and no other one waits.

use anyhow::Result;
use geom_lab::qemu::{Device, Suite};

use crate::gpus::rig::RunningRig;
use crate::support::client::TestClient;
use crate::support::{is_diagnostic_screen, GREEN};

/// Exists once the client's first buffer is ready.
const READY: &str = "/run/lab/ready";

/// A window with a buffer whose sync point comes when a file exists.
fn start(rig: &RunningRig) -> Result<TestClient<'_>> {
    let folder = format!("/sys/class/drm/{}/device/drm", rig.names(0)?.card);
    let names = rig.machine().read_dir(&folder)?;
    let node = names.iter().find(|name| name.starts_with("renderD"));
    let node = format!("/dev/dri/{}", node.map_or(rig.names(0)?.card, String::clone));
    let points = ["--sync-points", &node, "--ready-file", READY];
    rig.service.client(
        "explicit",
        &[&["--fullscreen", "--buffer", "dmabuf", "--color", "00ff00"], &points[..]].concat(),
    )
}

#[test]
fn window_is_shown_when_its_sync_point_comes_and_its_buffer_is_released_by_one() -> Result<()> {
    let rig = RunningRig::new(Suite::Sid, &[Device::VirtioGpu { heads: 1 }])?;
    rig.wait_for_pixels(0, 0, "the diagnostic screen", is_diagnostic_screen)?;
    let explicit = start(&rig)?;
    explicit.wait_for_any_configure()?;
    // Frames of others are presented meanwhile.
    let animated = rig.service.client("animated", &["--animate", "full", "--frames", "30"])?;
    animated.wait_for_frames_presented(30)?;
    rig.wait_for_pixels(0, 0, "no frame of the window", |screenshot| {
        screenshot.fraction(|pixel| pixel == GREEN) == 0.0
    })?;
    rig.machine().write(READY, "")?;
    explicit.wait_for_buffer_ready(1)?;
    rig.wait_for_color(0, 0, GREEN)?;
    // Another size needs another buffer.
    rig.service.command(&["set", &rig.connector(0, 0)?, "--mode", "1024x768"])?;
    explicit.wait_for_configured(1024, 768)?;
    explicit.wait_for_buffer_released(1)?;
    rig.wait_for_color(0, 0, GREEN)?;
    rig.service.end()
}
