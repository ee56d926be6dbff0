//! GPUs that refuse commits, lose page flips, or are reset: other displays and all clients go on.

use std::time::Instant;

use anyhow::{ensure, Context, Result};
use geom_ipc::DisplayState;
use geom_lab::protocol::{GpuSpec, RUNTIME_DIR};

use crate::support::harness::{Service, Setup};
use crate::support::kms::{debugfs, read_switch, set_switch};
use crate::support::{shows_notices, BLUE, GREEN, RED};

/// Errors with which drivers refuse commits (errno(3)).
const ERRORS: [(&str, i32); 7] = [
    ("EINVAL", 22),
    ("ENOSPC", 28),
    ("EBUSY", 16),
    ("EACCES", 13),
    ("ENOMEM", 12),
    ("ERANGE", 34),
    ("EIO", 5),
];

/// One of the lab's switches of a GPU.
fn switch(service: &Service, gpu: usize, name: &str, value: &str) -> Result<()> {
    set_switch(&service.machine, &service.gpus[gpu], name, value)
}

/// Calls `call` with each error in turn set as the kernel's reason for refusals. `call` gets the
/// error's name, and a color that is not the last one's.
fn with_each_error(
    service: &Service,
    mut call: impl FnMut(&str, (&str, [u8; 3])) -> Result<()>,
) -> Result<()> {
    let colors = [("00ff00", GREEN), ("0000ff", BLUE)];
    for ((error, errno), color) in ERRORS.into_iter().zip(colors.into_iter().cycle()) {
        switch(service, 0, "errno", &errno.to_string())?;
        call(error, color).context(error)?;
        ensure!(service.is_running(&service.compositor)?, "{error}: the service ended");
        let display = service.display("Virtual-1")?;
        ensure!(display.state == DisplayState::Enabled, "{error}: {display:#?}");
    }
    Ok(())
}

/// How many commits the kernel has refused because of a switch.
fn refusals(service: &Service) -> Result<u32> {
    read_switch(&service.machine, &service.gpus[0], "refused")
}

/// Waits until the kernel has refused this many commits.
fn wait_for_refusals(service: &Service, count: u32) -> Result<()> {
    service.machine.wait_until("refused commits", |_| Ok(refusals(service)? >= count))
}

#[test]
fn gpu_that_refuses_every_commit_leaves_the_others_alone() -> Result<()> {
    let setup = Setup::new(&[GpuSpec::new("gpu0", 1), GpuSpec::new("gpu1", 1)])?;
    setup.machine.write(&format!("{}/lab_refuse", debugfs(&setup.gpus[1])), "Y")?;
    let service = setup.start("", &[])?;
    let failed = service.display("Virtual-2")?;
    ensure!(failed.state == DisplayState::Failed && failed.reason.is_some(), "{failed:#?}");
    service.wait_for_notice("Virtual-2")?;
    let red = service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    // The diagnostic screen of the other display has the notice, once its client is gone.
    red.terminate()?;
    service.wait_for_pixels("Virtual-1", "the notice", shows_notices)?;
    // It is asked again at the next hotplug event, and enabled once it accepts.
    switch(&service, 1, "refuse", "N")?;
    service.machine.unplug("gpu1", 0)?;
    service.machine.plug("gpu1", 0)?;
    service.client("green", &["--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    service.wait_for_color("Virtual-2", GREEN)?;
    service.finish()
}

#[test]
fn gpu_that_begins_to_refuse_keeps_its_displays() -> Result<()> {
    let service = Service::with_monitors(2)?;
    service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    switch(&service, 0, "refuse", "Y")?;
    // It refuses the change and the frames, and the service reports it and goes on.
    service.machine.unplug("gpu0", 1)?;
    service.client("green", &["--fullscreen", "Virtual-1", "--color", "00ff00"])?;
    service.wait_for_notice("/dev/dri/card0")?;
    ensure!(service.is_running(&service.compositor)?, "the service ended");
    switch(&service, 0, "refuse", "N")?;
    service.machine.plug("gpu0", 1)?;
    service.wait_for_color("Virtual-1", GREEN)?;
    service.finish()
}

/// The kernel refuses each frame, with any error: the display stays enabled, and shows the newest
/// content once frames are accepted again.
fn newest_content_is_shown_when_frames_are_accepted_again(buffer: &str) -> Result<()> {
    let service = Service::with_monitors(1)?;
    service.client("red", &["--fullscreen", "--buffer", buffer])?;
    service.wait_for_color("Virtual-1", RED)?;
    with_each_error(&service, |error, (text, color)| {
        let before = refusals(&service)?;
        switch(&service, 0, "refuse_flips", "Y")?;
        let client = service.client(error, &["--fullscreen", "--buffer", buffer, "--color", text])?;
        wait_for_refusals(&service, before + 3)?;
        switch(&service, 0, "refuse_flips", "N")?;
        service.wait_for_color("Virtual-1", color)?;
        client.terminate()?;
        service.wait_for_color("Virtual-1", RED).map(drop)
    })?;
    service.finish()
}

#[test]
fn newest_content_is_shown_when_drawn_frames_are_accepted_again() -> Result<()> {
    newest_content_is_shown_when_frames_are_accepted_again("shm")
}

#[test]
fn newest_content_is_shown_when_clients_buffers_are_accepted_again() -> Result<()> {
    newest_content_is_shown_when_frames_are_accepted_again("dmabuf")
}

/// A mode that the kernel refuses with any error: the command fails, and the display keeps its
/// mode.
#[test]
fn mode_that_is_refused_with_any_error_is_not_set() -> Result<()> {
    let service = Service::with_monitors(1)?;
    service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    switch(&service, 0, "refuse_size", &(1280 << 16 | 720).to_string())?;
    with_each_error(&service, |_, _| {
        service.try_command(&["set", "Virtual-1", "--mode", "1280x720"])?.ensure_fails(1, &["1280x720"])?;
        let mode = service.display("Virtual-1")?.mode.context("no mode")?;
        ensure!((mode.width, mode.height) == (1024, 768), "{mode:?}");
        service.wait_for_color("Virtual-1", RED).map(drop)
    })?;
    switch(&service, 0, "refuse_size", "0")?;
    service.command(&["set", "Virtual-1", "--mode", "1280x720"])?;
    service.wait_for_color("Virtual-1", RED)?;
    service.finish()
}

/// The kernel refuses everything, with any error, while a monitor is plugged in.
#[test]
fn monitor_is_enabled_once_the_kernel_accepts_it() -> Result<()> {
    let spec = GpuSpec { connectors: vec![true, false], ..GpuSpec::new("gpu0", 2) };
    let service = Setup::new(&[spec])?.start("", &[])?;
    service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    with_each_error(&service, |_, _| {
        let before = refusals(&service)?;
        switch(&service, 0, "refuse", "Y")?;
        service.machine.plug("gpu0", 1)?;
        wait_for_refusals(&service, before + 1)?;
        switch(&service, 0, "refuse", "N")?;
        // The next event is another chance, if the service has not asked again by itself.
        service.machine.unplug("gpu0", 1)?;
        service.machine.plug("gpu0", 1)?;
        service.wait_for_active_crtcs(2)?;
        service.wait_for_color("Virtual-1", RED)?;
        service.machine.unplug("gpu0", 1)?;
        service.wait_for_active_crtcs(1)
    })?;
    service.finish()
}

#[test]
fn limited_bandwidth_enables_all_displays_in_smaller_modes() -> Result<()> {
    let setup = Setup::with_monitors(2)?;
    // 1024x768@60 takes 65,000 kHz: one display has it, and the other a smaller mode.
    setup.machine.write(&format!("{}/lab_max_khz", debugfs(&setup.gpus[0])), "110000")?;
    let service = setup.start("", &[])?;
    let displays = service.displays()?;
    let (full, reduced): (Vec<_>, Vec<_>) =
        displays.iter().partition(|display| display.mode.is_some_and(|mode| mode.width == 1024));
    ensure!(full.len() == 1 && reduced.len() == 1, "{displays:#?}");
    ensure!(full[0].warnings.is_empty() && !reduced[0].warnings.is_empty(), "{displays:#?}");
    for monitor in ["Virtual-1", "Virtual-2"] {
        service.client(monitor, &["--fullscreen", monitor])?;
        service.wait_for_color(monitor, RED)?;
    }
    service.finish()
}

/// The kernel loses a page flip: the service reports it, the client goes on, and other displays are
/// not disturbed.
#[test]
fn lost_page_flip_is_recovered_from() -> Result<()> {
    let service = Service::with_monitors(2)?;
    let client = service.client("animated", &["--fullscreen", "Virtual-1", "--animate", "small"])?;
    service.wait_for_color("Virtual-1", RED)?;
    switch(&service, 0, "lose_flips", "1")?;
    let started = Instant::now();
    service.wait_for_notice("Virtual-1")?;
    println!("reported after {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    let left = service.machine.read(&format!("{}/lab_lose_flips", debugfs(&service.gpus[0])))?;
    ensure!(left.trim() == "0", "no page flip was lost");
    let before = service.status()?.frames;
    service.wait_for_status("frames again", |status| status.frames > before + 30)?;
    client.terminate()?;
    service.finish()
}

/// Frames that a display has shown.
fn frames(service: &Service, name: &str) -> Result<u64> {
    let metrics = service.metrics()?;
    let display = metrics.displays.iter().find(|display| display.name == name);
    Ok(display.context("no such display")?.frames)
}

/// The graphics context is lost, as after a reset of the GPU, whenever a file appears: no driver of
/// the lab has resets. Three resets in a minute are recovered from; after the fourth the GPU is not
/// used for drawing.
#[test]
fn gpu_reset_loses_no_client() -> Result<()> {
    // The service's user removes it, so it is in that user's folder.
    let trigger = format!("{RUNTIME_DIR}/lose");
    let env = [("GEOM_COMPOSITOR_LOSE_CONTEXT", trigger.as_str())];
    let service = Setup::with_monitors(2)?.start_with("", &["--renderer=llvmpipe"], &env)?;
    // One client draws once, the other all the time.
    let still = service.client("still", &["--fullscreen=Virtual-1"])?;
    let animated = service.client("animated", &["--fullscreen=Virtual-2", "--animate", "small"])?;
    service.wait_for_color("Virtual-1", RED)?;
    let reset = |number: usize| -> Result<()> {
        service.machine.run_as_root(&format!("reset-{number}"), &["touch", &trigger])?;
        service.machine.wait_until("the lost context", |machine| {
            Ok(!machine.read_dir(RUNTIME_DIR)?.iter().any(|name| name == "lose"))
        })
    };
    for number in 1..=3 {
        reset(number)?;
        let before = frames(&service, "Virtual-2")?;
        service
            .machine
            .wait_until("frames of a new renderer", |_| Ok(frames(&service, "Virtual-2")? > before + 2))?;
        // Drawn by the new renderer: the modeset begins with a new frame.
        service.machine.unplug("gpu0", 0)?;
        service.machine.plug("gpu0", 0)?;
        service.wait_for_color("Virtual-1", RED)?;
        let notices = service.status()?.notices;
        ensure!(notices.is_empty(), "reset {number}: {notices:?}");
    }
    reset(4)?;
    service.wait_for_notice("/dev/dri/card0")?;
    service.wait_for_color("Virtual-1", RED)?;
    let clients = service.clients()?;
    for client in [&still, &animated] {
        let pid = client.program.pid;
        ensure!(clients.iter().any(|known| known.pid == pid as i32), "{pid} was lost: {clients:#?}");
    }
    service.finish()
}
