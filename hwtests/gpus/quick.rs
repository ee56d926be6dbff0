//! A few machines, for `make test`.

use anyhow::{ensure, Result};
use geom_ipc::Event;
use geom_lab::qemu::{Device, Suite};

use super::rig::RunningRig;
use super::thorough::drivers::{draws_with_gles, one_display};
use crate::support::{BLUE, GREEN, RED};

/// The newest kernel; two GPUs of different drivers, each with a window; the monitors of one come
/// and go.
#[test]
fn gpus_of_two_drivers_show_windows_and_monitors_come_and_go() -> Result<()> {
    let rig = RunningRig::new(Suite::Sid, &[Device::VirtioGpu { heads: 2 }, Device::Bochs])?;
    rig.show(0, 0, RED)?;
    rig.show(1, 0, GREEN)?;
    rig.ensure_driven(0, 0)?;
    rig.ensure_driven(1, 0)?;
    rig.hardware.plug(0, 1, 1024, 768)?;
    rig.show(0, 1, BLUE)?;
    let display = rig.ensure_driven(0, 1)?;
    ensure!(display.mode.is_some_and(|mode| (mode.width, mode.height) == (1024, 768)), "{display:#?}");
    let events = rig.service.subscribe()?;
    rig.hardware.unplug(0, 1)?;
    let connector = rig.connector(0, 1)?;
    events.wait_for("the disconnect", |event| {
        matches!(event, Event::Display { display } if display.name == connector && display.mode.is_none())
    })?;
    rig.hardware.plug(0, 1, 1280, 720)?;
    rig.wait_for_color(0, 1, BLUE)?;
    rig.service.end()
}

#[test]
fn frames_and_clients_are_drawn_by_a_gpu() -> Result<()> {
    draws_with_gles(Suite::Sid)
}

#[test]
fn oldest_kernel_shows_windows() -> Result<()> {
    one_display(Suite::Bookworm, Device::Qxl)?.service.end()
}
