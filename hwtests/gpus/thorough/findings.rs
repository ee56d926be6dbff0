//! Known faults, each ignored with its rank in the list of findings until it is fixed.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use geom_lab::qemu::{Device, Suite};
use geom_lab::Screenshot;

use crate::gpus::rig::RunningRig;
use crate::support::{is_diagnostic_screen, RED};

/// A client draws on the GPU that the service announces, and its window is placed on a display of
/// the other GPU.
fn gl_client_on_another_gpu(devices: [Device; 2], home: usize) -> Result<()> {
    let rig = RunningRig::new(Suite::Sid, &devices)?;
    let other = 1 - home;
    rig.wait_for_pixels(other, 0, "the diagnostic screen", is_diagnostic_screen)?;
    rig.service.program("simple-egl", &["weston-simple-egl", "-f"])?;
    rig.service.wait_for_answer("its window", || rig.service.windows(), |windows| windows.len() == 1)?;
    rig.wait_for_pixels(home, 0, "the triangle on its own GPU", has_triangle)?;
    let window = rig.service.window()?;
    let connector = rig.connector(other, 0)?;
    rig.service.command(&["place", &window.id.to_string(), &connector])?;
    rig.wait_for_pixels(other, 0, "the triangle of weston-simple-egl", has_triangle)?;
    rig.service.end()
}

/// Whether each of red, green and blue dominates somewhere, as in weston-simple-egl's triangle.
fn has_triangle(screenshot: &Screenshot) -> bool {
    (0..3).all(|channel: usize| {
        let dominates = |pixel: [u8; 3]| {
            let others = [(channel + 1) % 3, (channel + 2) % 3];
            pixel[channel] > 0x40 && others.iter().all(|other| pixel[*other] < pixel[channel] / 2)
        };
        screenshot.fraction(dominates) > 0.002
    })
}

#[test]
#[ignore = "rank 2: a client's GPU buffer is shown only by the GPU that made it"]
fn gl_client_is_shown_by_another_gpu() -> Result<()> {
    gl_client_on_another_gpu([Device::VirtioGpuGl, Device::Bochs], 0)
}

/// A udmabuf has the format and the linear modifier that the service offers, and virtio-gpu cannot
/// import it.
#[test]
#[ignore = "rank 2: a dma-buf that the GPU cannot import ends its client"]
fn dmabuf_of_memory_is_shown_by_virgl() -> Result<()> {
    let rig = RunningRig::new(Suite::Sid, &[Device::VirtioGpuGl])?;
    rig.service.client("dmabuf", &["--fullscreen", "--buffer", "dmabuf"])?;
    rig.wait_for_color(0, 0, RED)?;
    rig.service.end()
}

/// Numbers of a GPU's device nodes, such as `226:0` and `226:128`.
fn nodes(rig: &RunningRig, device: usize) -> Result<Vec<String>> {
    let folder = format!("/sys/class/drm/{}/device/drm", rig.names(device)?.card);
    let names = rig.machine().read_dir(&folder)?;
    names
        .iter()
        .map(|name| Ok(rig.machine().read(&format!("{folder}/{name}/dev"))?.trim().to_owned()))
        .collect()
}

#[test]
#[ignore = "rank 5: dma-buf feedback is made once and names a GPU that is gone"]
fn feedback_names_a_gpu_that_is_there() -> Result<()> {
    let rig = RunningRig::new(Suite::Sid, &[Device::Bochs, Device::VirtioGpu { heads: 1 }])?;
    let nodes_of = [nodes(&rig, 0)?, nodes(&rig, 1)?];
    let old = rig.service.client("old", &["--feedback"])?;
    let main = old.wait_for_main_device("a main device", |_| true)?;
    let removed = nodes_of.iter().position(|nodes| nodes.contains(&main));
    let removed = removed.with_context(|| format!("{main} is none of {nodes_of:?}"))?;
    let left = 1 - removed;
    rig.hardware.remove(rig.machine(), removed)?;
    let is_left = |device: &str| nodes_of[left].iter().any(|node| node == device);
    let new = rig.service.client("new", &["--feedback"])?;
    new.wait_for_main_device("a new client's main device on the GPU that is left", is_left)?;
    old.wait_for_main_device("an old client's main device on the GPU that is left", is_left)?;
    rig.service.end()
}

/// Clients of a GPU whose driver comes after the start are sent its device.
#[test]
fn feedback_names_a_gpu_that_comes_late() -> Result<()> {
    let rig = crate::gpus::rig::Rig::without_drivers(Suite::Sid, &[Device::VirtioGpuGl])?.start_idle()?;
    rig.hardware.load_driver(rig.machine(), 0)?;
    rig.service.wait_for_enabled_displays()?;
    let own = nodes(&rig, 0)?;
    let client = rig.service.client("client", &["--feedback"])?;
    client.wait_for_main_device("the late GPU", |device| own.iter().any(|node| node == device))?;
    rig.service.end()
}

#[test]
#[ignore = "rank 16: a card without KMS is reported as a notice"]
fn vgem_is_no_notice() -> Result<()> {
    let rig = RunningRig::new(Suite::Sid, &[Device::Bochs, Device::Vgem])?;
    rig.wait_for_pixels(0, 0, "the diagnostic screen", is_diagnostic_screen)?;
    let notices = rig.service.status()?.notices;
    ensure!(notices.is_empty(), "{notices:?}");
    rig.service.end()
}

#[test]
#[ignore = "rank 16: a render node that appears late is opened as a card"]
fn late_render_node_is_no_notice() -> Result<()> {
    let rig = RunningRig::new(Suite::Sid, &[Device::VirtioGpuGl])?;
    let events = rig.service.subscribe()?;
    let folder = format!("/sys/class/drm/{}/device/drm", rig.names(0)?.card);
    let names = rig.machine().read_dir(&folder)?;
    let node = names.iter().find(|name| name.starts_with("renderD")).context("no render node")?;
    rig.machine().write(&format!("{folder}/{node}/uevent"), "add")?;
    rig.machine().run_as_root("settle-again", &["udevadm", "settle"])?;
    // The card's event comes after the render node's, and causes a rescan.
    rig.machine().write(&format!("/sys/class/drm/{}/uevent", rig.names(0)?.card), "change")?;
    rig.machine().run_as_root("settle-card", &["udevadm", "settle"])?;
    let client = rig.show(0, 0, RED)?;
    client.terminate()?;
    events.wait_for("the end of the client", |event| {
        matches!(event, geom_ipc::Event::ClientDisconnected { .. })
    })?;
    let notices = rig.service.status()?.notices;
    ensure!(notices.is_empty(), "{notices:?}");
    rig.service.end()
}

/// A GPU's frames per second, from the service's own counters, over at least this time.
fn frame_rate(rig: &RunningRig, connector: &str) -> Result<f64> {
    const SPAN: Duration = Duration::from_secs(4);
    let read = || -> Result<(f64, u64)> {
        let metrics = rig.service.metrics()?;
        let display = metrics.displays.iter().find(|display| display.name == connector);
        Ok((metrics.uptime_s, display.context("no such display")?.frames))
    };
    let (start, first) = read()?;
    let mut last = (start, first);
    rig.machine().wait_until("the end of the measurement", |_| {
        last = read()?;
        Ok(last.0 - start >= SPAN.as_secs_f64())
    })?;
    Ok((last.1 - first) as f64 / (last.0 - start))
}

/// An animated client gets no more frames than the mode has.
///
/// A debug build, or a loaded host, may be too slow to exceed the rate: a pass on 6.12 proves
/// nothing. `HWTESTS_PROGRAMS=target/release` measures more.
fn frames_keep_to_the_refresh_rate(suite: Suite, device: Device) -> Result<()> {
    let rig = RunningRig::new(suite, &[device])?;
    let connector = rig.connector(0, 0)?;
    rig.service.client("animated", &["--size", "64x64", "--color", "00ff00", "--animate", "small"])?;
    rig.service.wait_for_answer("its window", || rig.service.windows(), |windows| windows.len() == 1)?;
    let mode = rig.service.display(&connector)?.mode.context("no mode")?;
    let refresh = f64::from(mode.refresh) / 1000.0;
    let rate = frame_rate(&rig, &connector)?;
    println!("{rate:.1} frames per second at {refresh:.1} Hz");
    ensure!(rate > 5.0, "only {rate:.1} frames per second");
    ensure!(rate < refresh * 1.05, "{rate:.1} frames per second at {refresh:.1} Hz");
    rig.service.end()
}

#[test]
#[ignore = "rank 11: page flips of drivers without vblank are not throttled"]
fn frames_keep_to_the_refresh_rate_of_virtio_on_6_12() -> Result<()> {
    frames_keep_to_the_refresh_rate(Suite::Trixie, Device::VirtioGpu { heads: 1 })
}

#[test]
#[ignore = "rank 11: page flips of drivers without vblank are not throttled"]
fn frames_keep_to_the_refresh_rate_of_bochs_on_6_12() -> Result<()> {
    frames_keep_to_the_refresh_rate(Suite::Trixie, Device::Bochs)
}

#[test]
fn frames_keep_to_the_refresh_rate_of_virtio_on_7() -> Result<()> {
    frames_keep_to_the_refresh_rate(Suite::Sid, Device::VirtioGpu { heads: 1 })
}
