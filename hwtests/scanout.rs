//! How pictures get onto CRTCs: planes, renderers, the old calls, and nothing when nothing changes.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::GpuSpec;

use crate::identity::succeeds;
use crate::world::{Bench, World, GREEN, RED};

/// The kernel's own account of a card's planes.
fn kms_state(world: &World) -> Result<String> {
    world.machine.read("/sys/kernel/debug/dri/0/state")
}

#[test]
fn the_cursor_has_its_plane() -> Result<()> {
    let world = World::monitors(1)?;
    world.client("red", &[])?;
    world.until_shows("Virtual-1", RED)?;
    let pointer = world.machine.pointer("mouse")?;
    world.until_logged("input device added")?;
    world.until_picture("Virtual-1", "a cursor", |picture| picture.share(|pixel| pixel != RED) > 0.0001)?;
    let active = |state: &str| state.matches("crtc=crtc-0").count() >= 2;
    world.machine.until("two planes on the CRTC", |_| Ok(active(&kms_state(&world)?)))?;
    pointer.motion(-2000, -2000)?;
    world.until_picture("Virtual-1", "the cursor in the corner", |picture| {
        picture.pixel(1, 1) != RED || picture.pixel(2, 2) != RED || picture.pixel(3, 5) != RED
    })?;
    pointer.remove()?;
    world.until_picture("Virtual-1", "no cursor", |picture| picture.share(|pixel| pixel == RED) == 1.0)?;
    world.finish()
}

#[test]
fn without_a_cursor_plane_it_is_drawn() -> Result<()> {
    let spec = GpuSpec { cursor: false, ..GpuSpec::new("gpu0", 1) };
    let world = Bench::new(&[spec])?.start("", &[])?;
    world.client("red", &[])?;
    world.until_shows("Virtual-1", RED)?;
    let _pointer = world.machine.pointer("mouse")?;
    world.until_picture("Virtual-1", "a cursor", |picture| {
        let changed = picture.share(|pixel| pixel != RED);
        changed > 0.0001 && changed < 0.01
    })?;
    world.finish()
}

#[test]
fn every_buffer_has_the_whole_picture() -> Result<()> {
    let world = World::monitors(1)?;
    // After its first frame only a corner changes: what else a buffer shows is what it was drawn with.
    let client = world.client("red", &["--animate", "small"])?;
    world.until_picture("Virtual-1", "the window", |picture| picture.share(|pixel| pixel == RED) > 0.9)?;
    for number in 0..40 {
        let share = world.machine.screenshot("Virtual-1")?.share(|pixel| pixel == RED);
        ensure!(share > 0.9, "picture {number} shows {share} of the window");
    }
    world.machine.signal(&client, 15)?;
    world.finish()
}

#[test]
fn a_fullscreen_buffer_is_scanned_out_directly() -> Result<()> {
    let world = World::monitors(1)?;
    let client = world.client("green", &["--fullscreen", "--color", "00ff00", "--buffer", "dmabuf"])?;
    world.until_logged("scanned out directly")?;
    world.until_shows("Virtual-1", GREEN)?;
    world.machine.signal(&client, 15)?;
    world.until_picture("Virtual-1", "the diagnostic screen", |picture| {
        picture.share(|pixel| pixel == GREEN) == 0.0
    })?;
    world.finish()
}

#[test]
fn direct_scanout_can_be_switched_off() -> Result<()> {
    let world = Bench::new(&[GpuSpec::new("gpu0", 1)])?.start("direct_scanout = false", &[])?;
    world.client("green", &["--fullscreen", "--color", "00ff00", "--buffer", "dmabuf"])?;
    world.until_shows("Virtual-1", GREEN)?;
    ensure!(world.count("scanned out directly")? == 0);
    world.finish()
}

#[test]
fn one_pixel_fills_a_display() -> Result<()> {
    let world = World::monitors(1)?;
    world.client("green", &["--color", "00ff00", "--buffer", "pixel"])?;
    world.until_shows("Virtual-1", GREEN)?;
    world.finish()
}

/// A window follows cables, whatever draws it and sets its mode.
fn follows_cables(world: &World) -> Result<()> {
    world.client("green", &["--color", "00ff00"])?;
    world.until_shows("Virtual-1", GREEN)?;
    world.machine.unplug("gpu0", 0)?;
    world.until_shows("Virtual-2", GREEN)?;
    world.machine.plug("gpu0", 0)?;
    world.until_shows("Virtual-1", GREEN)?;
    Ok(())
}

#[test]
fn gles_on_the_processor() -> Result<()> {
    let world = Bench::new(&[GpuSpec::new("gpu0", 2)])?.start("", &["--renderer=llvmpipe"])?;
    ensure!(world.log()?.contains("drawing with GLES"), "GLES was not had");
    follows_cables(&world)?;
    world.finish()
}

#[test]
fn the_old_calls_where_atomic_is_missing() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 2)])?;
    let world = bench.start_with("", &[], &[("GEOM_COMPOSITOR_NO_ATOMIC", "1")])?;
    ensure!(world.log()?.contains("atomic=false"));
    follows_cables(&world)?;
    world.finish()
}

#[test]
fn animation_is_paced_by_the_display() -> Result<()> {
    let config = "metrics_file = \"/tmp/geom.prom\"\nmetrics_interval = 1\n";
    let world = Bench::new(&[GpuSpec::new("gpu0", 1)])?.start(config, &[])?;
    let client = world.client("anim", &["--animate", "small", "--frames", "60"])?;
    world.machine.until_logged(&client, "figures frames=60")?;
    // Who counts frames has them, by request and in a file that is written again and again.
    let frames = |text: &str| -> Option<u64> {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("geom_compositor_frames_total{display=\"Virtual-1\"} "));
        line?.parse().ok()
    };
    let told = succeeds(&world, "metrics", &["metrics"])?;
    ensure!(frames(&told).is_some_and(|count| count >= 60), "{told}");
    ensure!(told.contains("geom_compositor_clients{state=\"alive\"}"), "{told}");
    world.machine.until("the file of metrics", |machine| {
        Ok(frames(&machine.read("/tmp/geom.prom").unwrap_or_default()).is_some_and(|count| count >= 60))
    })?;
    world.finish()
}

#[test]
fn an_idle_compositor_does_not_wake_up() -> Result<()> {
    let world = World::monitors(3)?;
    let _keyboard = world.machine.keyboard("keyboard")?;
    let _mouse = world.machine.pointer("mouse")?;
    world.client("red", &[])?;
    world.until_shows("Virtual-1", RED)?;
    let switches = || -> Result<u64> {
        let status = world.machine.read(&format!("/proc/{}/status", world.compositor.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        Ok(line.context("context switches")?.trim().parse()?)
    };
    // The watch over page flips ends once, after the last.
    world.until_logged("no frame is awaited")?;
    let mut before = switches()?;
    world.machine.until("the compositor at rest", |_| {
        std::thread::sleep(Duration::from_millis(300));
        let now = switches()?;
        Ok(std::mem::replace(&mut before, now) == now)
    })?;
    // Measured over time, as nothing is what has to happen.
    std::thread::sleep(Duration::from_secs(3));
    let woken = switches()? - before;
    ensure!(woken == 0, "{woken} wake-ups in 3 s of idling");
    world.finish()
}
