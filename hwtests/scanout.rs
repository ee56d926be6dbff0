//! How content gets to CRTCs: planes, renderers, legacy KMS, frame pacing, and no work when idle.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::GpuSpec;
use geom_lab::Screenshot;

use crate::support::harness::{Service, Setup};
use crate::support::kms::{atomic_state, debugfs, set_switch};
use crate::support::{GREEN, RED};

fn kms_state(service: &Service) -> Result<String> {
    atomic_state(&service.machine, &service.gpus[0])
}

fn shows_cursor(screenshot: &Screenshot) -> bool {
    screenshot.fraction(|pixel| pixel != RED) > 0.0001
}

#[test]
fn cursor_has_its_own_plane() -> Result<()> {
    let service = Service::with_monitors(1)?;
    service.client("red", &[])?;
    service.wait_for_color("Virtual-1", RED)?;
    let pointer = service.pointer("mouse")?;
    pointer.motion(7, 5)?;
    service.wait_for_pixels("Virtual-1", "a cursor", shows_cursor)?;
    service.machine.wait_until("two planes on the CRTC", |_| {
        Ok(kms_state(&service)?.matches("crtc=crtc-0").count() >= 2)
    })?;
    pointer.motion(-2000, -2000)?;
    service.wait_for_pixels("Virtual-1", "the cursor in the corner", |screenshot| {
        screenshot.pixel(1, 1) != RED || screenshot.pixel(2, 2) != RED || screenshot.pixel(3, 5) != RED
    })?;
    pointer.remove()?;
    service.wait_for_pixels("Virtual-1", "no cursor", |screenshot| {
        screenshot.fraction(|pixel| pixel == RED) == 1.0
    })?;
    service.finish()
}

#[test]
fn cursor_is_drawn_without_a_cursor_plane() -> Result<()> {
    let spec = GpuSpec { cursor: false, ..GpuSpec::new("gpu0", 1) };
    let service = Setup::new(&[spec])?.start("", &[])?;
    service.client("red", &[])?;
    service.wait_for_color("Virtual-1", RED)?;
    service.pointer("mouse")?.motion(7, 5)?;
    service.wait_for_pixels("Virtual-1", "a cursor", |screenshot| {
        shows_cursor(screenshot) && screenshot.fraction(|pixel| pixel != RED) < 0.01
    })?;
    service.finish()
}

#[test]
fn every_buffer_is_drawn_completely() -> Result<()> {
    let service = Service::with_monitors(1)?;
    // After its first frame only a corner is damaged. The rest of each buffer was drawn before.
    let client = service.client("red", &["--animate", "small"])?;
    service.wait_for_pixels("Virtual-1", "the window", |screenshot| {
        screenshot.fraction(|pixel| pixel == RED) > 0.9
    })?;
    for number in 0..40 {
        let fraction = service.machine.screenshot("Virtual-1")?.fraction(|pixel| pixel == RED);
        ensure!(fraction > 0.9, "screenshot {number} has {fraction} of the window");
    }
    client.terminate()?;
    service.finish()
}

/// Whether a plane scans out a buffer that was imported from another process: the service allocates
/// its own as dumb buffers (drm_framebuffer_info() and drm_gem_print_info()).
fn scans_out_imported_buffer(service: &Service) -> Result<bool> {
    let state = kms_state(service)?;
    let shown: Vec<&str> = state.lines().filter_map(|line| line.trim().strip_prefix("fb=")).collect();
    let framebuffers = service.machine.read(&format!("{}/framebuffer", debugfs(&service.gpus[0])))?;
    Ok(framebuffers.split("framebuffer[").skip(1).any(|info| {
        let id = info.split(']').next().unwrap_or_default();
        shown.contains(&id) && info.contains("imported=yes")
    }))
}

#[test]
fn fullscreen_dmabuf_is_scanned_out_directly() -> Result<()> {
    let service = Service::with_monitors(1)?;
    let client = service.client("green", &["--fullscreen", "--color", "00ff00", "--buffer", "dmabuf"])?;
    service.machine.wait_until("direct scanout", |_| scans_out_imported_buffer(&service))?;
    service.wait_for_color("Virtual-1", GREEN)?;
    client.terminate()?;
    service.wait_for_pixels("Virtual-1", "the diagnostic screen", |screenshot| {
        screenshot.fraction(|pixel| pixel == GREEN) == 0.0
    })?;
    ensure!(!scans_out_imported_buffer(&service)?, "the client's buffer is still scanned out");
    service.finish()
}

#[test]
fn direct_scanout_can_be_disabled() -> Result<()> {
    let service = Setup::with_monitors(1)?.start("direct_scanout = false", &[])?;
    service.client("green", &["--fullscreen", "--color", "00ff00", "--buffer", "dmabuf"])?;
    service.wait_for_color("Virtual-1", GREEN)?;
    ensure!(!scans_out_imported_buffer(&service)?, "a client's buffer is scanned out");
    service.finish()
}

#[test]
fn single_pixel_buffer_fills_a_display() -> Result<()> {
    let service = Service::with_monitors(1)?;
    service.client("green", &["--color", "00ff00", "--buffer", "pixel"])?;
    service.wait_for_color("Virtual-1", GREEN)?;
    service.finish()
}

/// A window moves to the other display on hotplug, and back.
fn ensure_window_follows_hotplug(service: &Service) -> Result<()> {
    service.client("green", &["--color", "00ff00"])?;
    service.wait_for_color("Virtual-1", GREEN)?;
    service.machine.unplug("gpu0", 0)?;
    service.wait_for_color("Virtual-2", GREEN)?;
    service.machine.plug("gpu0", 0)?;
    service.wait_for_color("Virtual-1", GREEN)?;
    Ok(())
}

#[test]
fn gles_draws_with_llvmpipe() -> Result<()> {
    let service = Setup::with_monitors(2)?.start("", &["--renderer=llvmpipe"])?;
    let gpu = service.gpu()?;
    ensure!(gpu.renderer == "gles", "{gpu:#?}");
    ensure_window_follows_hotplug(&service)?;
    service.finish()
}

#[test]
fn legacy_kms_is_used_without_atomic() -> Result<()> {
    let env = [("GEOM_COMPOSITOR_NO_ATOMIC", "1")];
    let service = Setup::with_monitors(2)?.start_with("", &[], &env)?;
    let gpu = service.gpu()?;
    ensure!(!gpu.atomic, "{gpu:#?}");
    ensure_window_follows_hotplug(&service)?;
    service.finish()
}

#[test]
fn animation_is_paced_by_the_display_and_counted() -> Result<()> {
    const FRAMES: u32 = 60;
    let config = "metrics_file = \"/tmp/geom.prom\"\nmetrics_interval = 1\n";
    let service = Setup::with_monitors(1)?.start(config, &[])?;
    let client = service.client("animated", &["--animate", "small", "--frames", "60"])?;
    client.wait_for_frames_presented(FRAMES)?;
    // Frames are counted in the text format of Prometheus, as an answer and in a file.
    let frames = |text: &str| -> Option<u32> {
        let name = "geom_compositor_frames_total{display=\"Virtual-1\"} ";
        text.lines().find_map(|line| line.strip_prefix(name))?.parse().ok()
    };
    let text = service.command(&["metrics"])?;
    ensure!(frames(&text).is_some_and(|count| count >= FRAMES), "{text}");
    ensure!(text.contains("geom_compositor_clients{state=\"alive\"}"), "{text}");
    service.machine.wait_until("the metrics file", |machine| {
        Ok(frames(&machine.read("/tmp/geom.prom").unwrap_or_default()).is_some_and(|count| count >= FRAMES))
    })?;
    service.finish()
}

/// A driver without vblank interrupts reports a page flip as soon as it has the frame: clients draw
/// as many frames as the mode has, all the same.
#[test]
fn frames_keep_to_the_refresh_rate_without_vblanks() -> Result<()> {
    const FRAMES: u32 = 180;
    let setup = Setup::with_monitors(1)?;
    set_switch(&setup.machine, &setup.gpus[0], "no_vblank", "Y")?;
    let service = setup.start("", &[])?;
    let client = service.client("animated", &["--animate", "small", "--frames", "180"])?;
    // By the times that the service sends, and by those at which callbacks arrive.
    let presented = client.wait_for_statistic(FRAMES, "busiest")?;
    let callbacks = client.wait_for_statistic(FRAMES, "callbacks")?;
    println!("frames in the busiest second: {presented} presented, {callbacks} callbacks");
    // The mode has 60; the first one and the last one may both be within a second. Callbacks of a
    // busy host come late, and the next ones do not.
    ensure!((30.0..=61.0).contains(&presented), "{presented} frames in a second");
    ensure!((30.0..=66.0).contains(&callbacks), "{callbacks} frame callbacks in a second");
    service.finish()
}

/// Seconds until the first timer of a process expires, by its timerfds' fdinfo
/// (proc_pid_fdinfo(5)).
fn next_timer(service: &Service) -> Result<Option<u64>> {
    let machine = &service.machine;
    let process = format!("/proc/{}", service.compositor.pid);
    let mut next = None;
    for fd in machine.read_dir(&format!("{process}/fd"))? {
        if !machine.read_link(&format!("{process}/fd/{fd}"))?.contains("[timerfd]") {
            continue;
        }
        let info = machine.read(&format!("{process}/fdinfo/{fd}"))?;
        let value = info.lines().find_map(|line| line.strip_prefix("it_value: (")).context("it_value")?;
        let (seconds, nanoseconds) = value.trim_end_matches(')').split_once(", ").context("it_value")?;
        let (seconds, nanoseconds): (u64, u64) = (seconds.parse()?, nanoseconds.parse()?);
        // Zero is a disarmed timer (timerfd_gettime(2)).
        if (seconds, nanoseconds) != (0, 0) {
            next = Some(next.map_or(seconds, |next: u64| next.min(seconds)));
        }
    }
    Ok(next)
}

#[test]
fn idle_service_does_not_wake_up() -> Result<()> {
    /// Nothing has to happen for this long. There is no event to wait for.
    const QUIET: Duration = Duration::from_secs(3);
    let service = Setup::with_monitors(3)?.start("[cursor]\nhide_after = 1\n", &[])?;
    let _keyboard = service.machine.keyboard("keyboard")?;
    let mouse = service.pointer("mouse")?;
    service.client("red", &[])?;
    service.wait_for_color("Virtual-1", RED)?;
    mouse.motion(7, 5)?;
    service.wait_for_pixels("Virtual-1", "a cursor", shows_cursor)?;
    service
        .wait_for_pixels("Virtual-1", "the cursor hidden by time", |screenshot| !shows_cursor(screenshot))?;
    let switches = || -> Result<u64> {
        let status = service.machine.read(&format!("/proc/{}/status", service.compositor.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        Ok(line.context("context switches")?.trim().parse()?)
    };
    // The page-flip watchdog expires once, after the last frame.
    service.machine.wait_until("no timer soon", |_| {
        Ok(next_timer(&service)?.is_none_or(|seconds| seconds > QUIET.as_secs()))
    })?;
    let mut before = switches()?;
    service.machine.wait_until("the service at rest", |_| {
        std::thread::sleep(Duration::from_millis(300));
        let now = switches()?;
        Ok(std::mem::replace(&mut before, now) == now)
    })?;
    std::thread::sleep(QUIET);
    let woken = switches()? - before;
    ensure!(woken == 0, "{woken} wake-ups in {QUIET:?} of idling");
    service.finish()
}
