//! Frames keep to the refresh rate on drivers without vblank interrupts.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use geom_lab::qemu::{Device, Suite};

use crate::gpus::rig::RunningRig;

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
fn frames_keep_to_the_refresh_rate_of_virtio_on_6_12() -> Result<()> {
    frames_keep_to_the_refresh_rate(Suite::Trixie, Device::VirtioGpu { heads: 1 })
}

#[test]
fn frames_keep_to_the_refresh_rate_of_bochs_on_6_12() -> Result<()> {
    frames_keep_to_the_refresh_rate(Suite::Trixie, Device::Bochs)
}

#[test]
fn frames_keep_to_the_refresh_rate_of_virtio_on_7() -> Result<()> {
    frames_keep_to_the_refresh_rate(Suite::Sid, Device::VirtioGpu { heads: 1 })
}
