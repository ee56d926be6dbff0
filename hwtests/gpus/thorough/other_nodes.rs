//! Device nodes that are no KMS devices: cards that only render, and render nodes.

use anyhow::{ensure, Context, Result};
use geom_lab::qemu::{Device, Suite};

use crate::gpus::rig::RunningRig;
use crate::support::{is_diagnostic_screen, RED};

#[test]
fn vgem_is_no_notice() -> Result<()> {
    let rig = RunningRig::new(Suite::Sid, &[Device::Bochs, Device::Vgem])?;
    rig.wait_for_pixels(0, 0, "the diagnostic screen", is_diagnostic_screen)?;
    let notices = rig.service.status()?.notices;
    ensure!(notices.is_empty(), "{notices:?}");
    rig.service.end()
}

#[test]
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
