//! Each driver: its displays, their modes, windows, and monitors that come and go.

use anyhow::{ensure, Context, Result};
use geom_lab::qemu::{Device, Suite};

use crate::gpus::rig::{Rig, RunningRig};
use crate::support::{is_diagnostic_screen, BLUE, GREEN, RED};

/// One GPU with one monitor.
pub fn one_display(suite: Suite, device: Device) -> Result<RunningRig> {
    let rig = RunningRig::new(suite, &[device])?;
    rig.wait_for_pixels(0, 0, "the diagnostic screen", is_diagnostic_screen)?;
    rig.show(0, 0, RED)?;
    let display = rig.ensure_driven(0, 0)?;
    let port = display.port.as_deref().context("the display has no port")?;
    ensure!(port.contains("pci"), "{port}");
    let notices = rig.service.status()?.notices;
    ensure!(notices.is_empty(), "{notices:?}");
    Ok(rig)
}

/// Monitors of a virtio-gpu with three heads in an order other than that of the connectors.
fn monitors_come_and_go(suite: Suite) -> Result<()> {
    let rig = RunningRig::new(suite, &[Device::VirtioGpu { heads: 3 }])?;
    rig.show(0, 0, RED)?;
    rig.hardware.plug(0, 2, 1024, 768)?;
    rig.show(0, 2, GREEN)?;
    rig.hardware.plug(0, 1, 1280, 720)?;
    rig.show(0, 1, BLUE)?;
    for head in 0..3 {
        rig.ensure_driven(0, head)?;
    }
    // The first display's window moves to a neighbor, and back to the monitor that returns with
    // another size.
    rig.hardware.unplug(0, 0)?;
    let first = rig.connector(0, 0)?;
    rig.service.wait_for_display(&first, "disconnected", |display| display.disconnects == 1)?;
    rig.hardware.plug(0, 0, 800, 600)?;
    rig.wait_for_color(0, 0, RED)?;
    let display = rig.ensure_driven(0, 0)?;
    ensure!(display.mode.is_some_and(|mode| (mode.width, mode.height) == (800, 600)), "{display:#?}");
    rig.wait_for_color(0, 1, BLUE)?;
    rig.wait_for_color(0, 2, GREEN)?;
    rig.service.end()
}

#[test]
fn virtio_on_6_1() -> Result<()> {
    monitors_come_and_go(Suite::Bookworm)
}

#[test]
fn virtio_on_6_12() -> Result<()> {
    monitors_come_and_go(Suite::Trixie)
}

#[test]
fn virtio_on_7() -> Result<()> {
    monitors_come_and_go(Suite::Sid)
}

#[test]
fn bochs_on_6_1() -> Result<()> {
    one_display(Suite::Bookworm, Device::Bochs)?.service.end()
}

#[test]
fn bochs_on_6_12() -> Result<()> {
    one_display(Suite::Trixie, Device::Bochs)?.service.end()
}

#[test]
fn bochs_on_7() -> Result<()> {
    one_display(Suite::Sid, Device::Bochs)?.service.end()
}

#[test]
fn qxl_on_6_12() -> Result<()> {
    one_display(Suite::Trixie, Device::Qxl)?.service.end()
}

#[test]
fn qxl_on_7() -> Result<()> {
    one_display(Suite::Sid, Device::Qxl)?.service.end()
}

/// virgl: frames are drawn with GLES, and clients draw on the same GPU.
pub fn draws_with_gles(suite: Suite) -> Result<()> {
    let rig = one_display(suite, Device::VirtioGpuGl)?;
    let gpu = rig.service.gpu()?;
    ensure!(gpu.renderer == "gles", "{gpu:#?}");
    let client = rig.service.program("simple-egl", &["weston-simple-egl", "-f"])?;
    rig.wait_for_pixels(0, 0, "the triangle of weston-simple-egl", |screenshot| {
        screenshot.fraction(|pixel| pixel != RED) > 0.9
    })?;
    // It has the GPU's render node open, which a software rasterizer does not.
    let links = rig.machine().read_dir(&format!("/proc/{}/fd", client.pid))?;
    let has_node = links.iter().any(|fd| {
        let target = rig.machine().read_link(&format!("/proc/{}/fd/{fd}", client.pid));
        target.is_ok_and(|target| target.starts_with("/dev/dri/"))
    });
    ensure!(has_node, "weston-simple-egl does not use the GPU");
    rig.service.end()
}

#[test]
fn virgl_on_6_1() -> Result<()> {
    draws_with_gles(Suite::Bookworm)
}

#[test]
fn virgl_on_6_12() -> Result<()> {
    draws_with_gles(Suite::Trixie)
}

/// A GPU whose driver is loaded after the service has started; until then, efifb drives the
/// firmware's framebuffer, without KMS.
#[test]
fn driver_may_be_loaded_after_the_start() -> Result<()> {
    let rig = Rig::without_drivers(Suite::Sid, &[Device::StdVga])?;
    let framebuffers = rig.setup.machine.read("/proc/fb")?;
    ensure!(framebuffers.contains("EFI"), "not the firmware's framebuffer: {framebuffers:?}");
    let rig = rig.start_idle()?;
    ensure!(rig.service.status()?.enabled_displays == 0, "a display without KMS");
    // A client that is there before any display.
    let client = rig.service.client("early", &["--fullscreen"])?;
    client.wait_for_any_configure()?;
    rig.hardware.load_driver(rig.machine(), 0)?;
    rig.service.wait_for_enabled_displays()?;
    rig.wait_for_color(0, 0, RED)?;
    rig.ensure_driven(0, 0)?;
    rig.service.end()
}

/// Two GPUs of different drivers on each kernel, and a client's dma-buf on each.
fn windows_on_two_drivers(suite: Suite, devices: [Device; 2]) -> Result<()> {
    let rig = RunningRig::new(suite, &devices)?;
    rig.show(0, 0, RED)?;
    rig.show(1, 0, GREEN)?;
    for device in 0..2 {
        rig.ensure_driven(device, 0)?;
        // virtio-gpu, which imports all dma-bufs here, cannot import this one: see findings.rs.
        if devices.contains(&Device::VirtioGpuGl) {
            continue;
        }
        let connector = rig.connector(device, 0)?;
        let arguments = ["--fullscreen", &connector, "--color", "0000ff", "--buffer", "dmabuf"];
        rig.service.client(&format!("dmabuf-{device}"), &arguments)?;
        rig.wait_for_color(device, 0, BLUE)?;
    }
    rig.service.end()
}

#[test]
fn bochs_and_virtio_on_6_12() -> Result<()> {
    windows_on_two_drivers(Suite::Trixie, [Device::Bochs, Device::VirtioGpu { heads: 1 }])
}

#[test]
fn qxl_and_virtio_on_7() -> Result<()> {
    windows_on_two_drivers(Suite::Sid, [Device::Qxl, Device::VirtioGpu { heads: 1 }])
}

#[test]
fn virgl_and_bochs_on_7() -> Result<()> {
    windows_on_two_drivers(Suite::Sid, [Device::VirtioGpuGl, Device::Bochs])
}

/// A card without connectors next to a GPU does not change the GPU's displays.
#[test]
fn vgem_does_not_disturb_a_gpu() -> Result<()> {
    let rig = RunningRig::new(Suite::Sid, &[Device::Vgem, Device::Bochs])?;
    rig.show(1, 0, RED)?;
    rig.ensure_driven(1, 0)?;
    ensure!(rig.service.displays()?.len() == 1);
    rig.service.end()
}
