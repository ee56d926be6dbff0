//! One GPU renders for the displays of all, and clients are sent its device.

use anyhow::{Context, Result};
use geom_lab::qemu::{Device, Suite};
use geom_lab::Screenshot;

use crate::gpus::rig::{Rig, RunningRig};
use crate::support::is_diagnostic_screen;

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
pub fn has_triangle(screenshot: &Screenshot) -> bool {
    (0..3).all(|channel: usize| {
        let dominates = |pixel: [u8; 3]| {
            let others = [(channel + 1) % 3, (channel + 2) % 3];
            pixel[channel] > 0x40 && others.iter().all(|other| pixel[*other] < pixel[channel] / 2)
        };
        screenshot.fraction(dominates) > 0.002
    })
}

#[test]
fn gl_client_is_shown_by_another_gpu() -> Result<()> {
    gl_client_on_another_gpu([Device::VirtioGpuGl, Device::Bochs], 0)
}

/// The GPU that renders is the one that accelerates GLES, not the first one.
#[test]
fn gl_client_is_shown_by_a_gpu_that_came_first() -> Result<()> {
    gl_client_on_another_gpu([Device::Bochs, Device::VirtioGpuGl], 1)
}

/// Numbers of a GPU's device nodes, such as `226:0` and `226:128`.
pub fn nodes(rig: &RunningRig, device: usize) -> Result<Vec<String>> {
    let folder = format!("/sys/class/drm/{}/device/drm", rig.names(device)?.card);
    let names = rig.machine().read_dir(&folder)?;
    names
        .iter()
        .map(|name| Ok(rig.machine().read(&format!("{folder}/{name}/dev"))?.trim().to_owned()))
        .collect()
}

#[test]
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
    let rig = Rig::without_drivers(Suite::Sid, &[Device::VirtioGpuGl])?.start_idle()?;
    rig.hardware.load_driver(rig.machine(), 0)?;
    rig.service.wait_for_enabled_displays()?;
    let own = nodes(&rig, 0)?;
    let client = rig.service.client("client", &["--feedback"])?;
    client.wait_for_main_device("the late GPU", |device| own.iter().any(|node| node == device))?;
    rig.service.end()
}
