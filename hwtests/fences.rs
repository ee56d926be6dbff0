//! Clients whose GPU is not done: their windows stay as they were, and no other one waits.

use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use geom_lab::Machine;

use crate::support::client::TestClient;
use crate::support::harness::{Service, Setup};
use crate::support::kms::setup_with_parameter;
use crate::support::{is_diagnostic_screen, GREEN, RED, SIGKILL};

/// The inverse of red.
const CYAN: [u8; 3] = [0, 0xff, 0xff];

/// Exists once the client's buffer is ready.
const READY: &str = "/run/lab/ready";

/// Frames of another client, within this time: more than the 10 s of a fence of vgem would be
/// needed if they waited for it.
const FRAMES: u32 = 60;
const FRAMES_WITHIN: Duration = Duration::from_secs(8);

/// Adds a card of vgem, which has no KMS, and returns its render node. The ordinary user may open
/// it once udev has seen it.
fn add_vgem(machine: &Machine) -> Result<String> {
    let nodes = || -> Result<Vec<String>> {
        let names = machine.read_dir("/dev/dri")?;
        Ok(names.into_iter().filter(|name| name.starts_with("renderD")).collect())
    };
    let before = nodes()?;
    machine.write("/sys/module/vgem/parameters/lab_create", "1")?;
    machine.run_as_root("settle-vgem", &["udevadm", "settle"])?;
    let node = nodes()?.into_iter().find(|name| !before.contains(name)).context("no render node of vgem")?;
    Ok(format!("/dev/dri/{node}"))
}

/// A service with two displays next to a card of vgem, and that card's render node.
fn with_vgem() -> Result<(Service, String)> {
    let setup = Setup::with_monitors(2)?;
    let node = add_vgem(&setup.machine)?;
    Ok((setup.start("", &[])?, node))
}

/// A red window that becomes cyan when a fence is signaled, as soon as its buffer with that fence
/// is committed.
fn fenced<'a>(service: &'a Service, node: &str) -> Result<TestClient<'a>> {
    let arguments = ["--fullscreen", "Virtual-1", "--buffer", "dmabuf", "--fence", node];
    let client = service.client("fenced", &[&arguments[..], &["--ready-file", READY]].concat())?;
    client.wait_for_fence()?;
    Ok(client)
}

/// Frames of another client are presented on the other display.
fn ensure_frames_go_on(service: &Service, name: &str) -> Result<()> {
    let started = Instant::now();
    let arguments = ["--fullscreen", "Virtual-2", "--animate", "small", "--frames", "60"];
    service.client(name, &arguments)?.wait_for_frames_presented(FRAMES)?;
    let elapsed = started.elapsed();
    ensure!(elapsed < FRAMES_WITHIN, "{FRAMES} frames of another client took {elapsed:?}");
    Ok(())
}

/// The window stays as it was, and another client does not notice.
fn ensure_only_the_window_waits(service: &Service) -> Result<()> {
    ensure_frames_go_on(service, "animated")?;
    service.wait_for_color("Virtual-1", RED).map(drop)
}

/// The buffer is shown once its fence is signaled.
fn ensure_signal_shows(service: &Service, fenced: &TestClient<'_>) -> Result<()> {
    service.machine.write(READY, "")?;
    fenced.wait_for_buffer_ready(2)?;
    service.wait_for_color("Virtual-1", CYAN).map(drop)
}

#[test]
fn card_without_kms_is_no_notice() -> Result<()> {
    let (service, _) = with_vgem()?;
    ensure!(service.machine.read_dir("/dev/dri")?.iter().any(|name| name == "card1"));
    for display in ["Virtual-1", "Virtual-2"] {
        service.wait_for_pixels(display, "the diagnostic screen", is_diagnostic_screen)?;
    }
    let status = service.status()?;
    ensure!(status.notices.is_empty() && status.gpus.len() == 1, "{status:#?}");
    service.finish()
}

/// Implicit synchronization: the fence is in the dma-buf.
#[test]
fn window_is_shown_when_the_fence_of_its_buffer_is_signaled() -> Result<()> {
    let (service, node) = with_vgem()?;
    let fenced = fenced(&service, &node)?;
    ensure_only_the_window_waits(&service)?;
    // Nothing else of the service waits either.
    service.command(&["set", "Virtual-2", "--scale", "2"])?;
    service.wait_for_color("Virtual-1", RED)?;
    ensure_signal_shows(&service, &fenced)?;
    service.finish()
}

/// A GPU that hangs: the kernel ends the fence after a time, here vgem after 10 s.
#[test]
fn window_is_shown_when_the_kernel_gives_up_the_fence_of_its_buffer() -> Result<()> {
    let (service, node) = with_vgem()?;
    let _fenced = fenced(&service, &node)?;
    ensure_only_the_window_waits(&service)?;
    service.wait_for_color("Virtual-1", CYAN)?;
    service.finish()
}

/// A GPU that is reset: the fence ends with an error (dma_fence_set_error()), and with it the wait.
#[test]
fn window_is_shown_when_the_fence_of_its_buffer_ends_with_an_error() -> Result<()> {
    let service = Service::with_monitors(2)?;
    let folder = "/sys/kernel/debug/sync";
    service.machine.run_as_root("open-debugfs", &["chmod", "a+rwx", "/sys/kernel/debug", folder])?;
    let device = format!("{folder}/sw_sync");
    service.machine.run_as_root("open-sw_sync", &["chmod", "a+rw", &device])?;
    let fenced = fenced(&service, &device)?;
    ensure_only_the_window_waits(&service)?;
    ensure_signal_shows(&service, &fenced)?;
    service.finish()
}

/// The client ends, and its fence with it.
#[test]
fn client_that_ends_with_an_unsignaled_fence_is_removed() -> Result<()> {
    let (service, node) = with_vgem()?;
    let fenced = fenced(&service, &node)?;
    service.wait_for_color("Virtual-1", RED)?;
    fenced.signal(SIGKILL)?;
    service.wait_for_pixels("Virtual-1", "the diagnostic screen", is_diagnostic_screen)?;
    ensure_frames_go_on(&service, "animated")?;
    service.finish()
}

/// A service whose GPU has a render node and timelines, with two displays, and that node.
fn with_timelines() -> Result<(Service, String)> {
    let setup = setup_with_parameter("timelines", "Y", 2)?;
    // The ordinary user may open the node then.
    setup.machine.run_as_root("settle-gpu", &["udevadm", "settle"])?;
    let names = setup.machine.read_dir("/dev/dri")?;
    let node = names.iter().find(|name| name.starts_with("renderD")).context("no render node")?;
    let node = format!("/dev/dri/{node}");
    Ok((setup.start("", &[])?, node))
}

/// A green window whose first buffer is ready when the file exists.
fn explicit<'a>(service: &'a Service, node: &str) -> Result<TestClient<'a>> {
    let arguments = ["--fullscreen", "Virtual-1", "--buffer", "dmabuf", "--color", "00ff00"];
    let points = ["--sync-points", node, "--ready-file", READY];
    let client = service.client("explicit", &[&arguments[..], &points[..]].concat())?;
    client.wait_for_configured(1024, 768)?;
    Ok(client)
}

/// Explicit synchronization: the sync point of a commit comes late.
#[test]
fn window_is_shown_when_its_sync_point_comes() -> Result<()> {
    let (service, node) = with_timelines()?;
    let explicit = explicit(&service, &node)?;
    ensure_frames_go_on(&service, "animated")?;
    service.wait_for_pixels("Virtual-1", "nothing of the window", is_diagnostic_screen)?;
    service.machine.write(READY, "")?;
    explicit.wait_for_buffer_ready(1)?;
    service.wait_for_color("Virtual-1", GREEN)?;
    // Another size needs another buffer.
    service.command(&["set", "Virtual-1", "--mode", "800x600"])?;
    explicit.wait_for_buffer_released(1)?;
    service.wait_for_color("Virtual-1", GREEN)?;
    service.finish()
}

/// The sync point of the first commit never comes. The second one has another.
#[test]
fn window_whose_sync_point_never_comes_shows_its_next_buffer() -> Result<()> {
    let (service, node) = with_timelines()?;
    let explicit = explicit(&service, &node)?;
    ensure_frames_go_on(&service, "animated")?;
    service.wait_for_pixels("Virtual-1", "nothing of the window", is_diagnostic_screen)?;
    service.command(&["set", "Virtual-1", "--mode", "800x600"])?;
    explicit.wait_for_configured(800, 600)?;
    explicit.wait_for_buffer_ready(2)?;
    // After the 10 s for which the service waits for the first point.
    service.wait_for_color("Virtual-1", GREEN)?;
    service.finish()
}
