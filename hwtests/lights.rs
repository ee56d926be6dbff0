//! Every monitor is lit, in the mode and place that is wished, with the right picture on it.

use anyhow::{ensure, Result};
use geom_lab::protocol::GpuSpec;

use crate::world::{Bench, World, BLUE, GREEN, GROUND, RED};

#[test]
fn one_to_four_monitors() -> Result<()> {
    for count in 1..=4 {
        let world = World::monitors(count)?;
        for connector in &world.gpus[0].connectors {
            let picture = world.machine.screenshot(connector)?;
            ensure!((picture.width, picture.height) == (1024, 768), "{picture:?}");
            // The diagnostic screen: dark ground, some bright letters.
            ensure!(picture.share(|pixel| pixel == GROUND) > 0.95);
            let ink = picture.share(|pixel| pixel[0] > 200);
            ensure!(ink > 0.0005 && ink < 0.02, "letters cover {ink}");
        }
        world.finish()?;
    }
    Ok(())
}

#[test]
fn the_first_commit_shows_the_first_frame() -> Result<()> {
    let world = World::monitors(2)?;
    // "displays lit" is logged right after the mode was set: the picture must be there already.
    for connector in &world.gpus[0].connectors {
        ensure!(world.machine.screenshot(connector)?.share(|pixel| pixel == GROUND) > 0.9);
    }
    world.finish()
}

#[test]
fn two_gpus_drive_their_own_monitors() -> Result<()> {
    let world = Bench::new(&[GpuSpec::new("gpu0", 1), GpuSpec::new("gpu1", 2)])?.start("", &[])?;
    let displays = ["Virtual-1", "Virtual-2", "Virtual-3"];
    for (display, color) in displays.iter().zip(["ff0000", "00ff00", "0000ff"]) {
        world.client(display, &["--fullscreen", display, "--color", color])?;
    }
    for (display, color) in displays.iter().zip([RED, GREEN, BLUE]) {
        world.until_shows(display, color)?;
    }
    // The one with more monitors is the primary: its monitors come first in the layout.
    let order = "displays=\"Virtual-2 Virtual-3 Virtual-1\"";
    ensure!(world.log()?.contains(order), "not in this order: {order}");
    world.finish()
}

#[test]
fn configured_mode_scale_transform_and_power() -> Result<()> {
    let config = r#"
        [displays.Virtual-1]
        mode = "800x600"
        transform = "90"
        [displays.Virtual-2]
        scale = 2.0
        position = [5000, 0]
        [displays.Virtual-3]
        power = false
    "#;
    let world = Bench::new(&[GpuSpec::new("gpu0", 3)])?.start(config, &[])?;
    let turned = world.client("turned", &["--fullscreen", "Virtual-1", "--color", "00ff00"])?;
    world.machine.until_logged(&turned, "configured 600x800")?;
    let picture = world.until_shows("Virtual-1", GREEN)?;
    ensure!((picture.width, picture.height) == (800, 600));
    let scaled = world.client("scaled", &["--fullscreen", "Virtual-2", "--color", "0000ff"])?;
    world.machine.until_logged(&scaled, "configured 512x384")?;
    world.until_shows("Virtual-2", BLUE)?;
    ensure!(world.machine.screenshot("Virtual-3").is_err(), "a display whose power is off is driven");
    world.finish()
}

#[test]
fn a_changed_configuration_applies_at_once() -> Result<()> {
    let world = World::monitors(2)?;
    world.client("red", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    let path = world.machine.folder().join("geom_compositor.toml");
    // The guest must see the change, so the guest writes it.
    let text = "colour = 1\n[displays.Virtual-1]\nmode = \"640x480\"\n";
    world.machine.write(crate::world::CONFIG, text)?;
    ensure!(std::fs::read_to_string(path)? == text);
    world.until_logged("unknown key colour")?;
    world.until_picture("Virtual-1", "640x480 in red", |picture| {
        (picture.width, picture.height) == (640, 480) && picture.share(|pixel| pixel == RED) > 0.97
    })?;
    world.finish()
}

#[test]
fn only_named_displays_are_driven() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 3)])?;
    let world = bench.start("", &["--connect-type=KEEP_CONNECTION_OPEN", "-w", "Virtual-2"])?;
    ensure!(world.machine.screenshot("Virtual-2")?.share(|pixel| pixel == GROUND) > 0.9);
    for other in ["Virtual-1", "Virtual-3"] {
        ensure!(world.machine.screenshot(other).is_err(), "{other} is driven");
    }
    world.finish()
}

#[test]
fn a_kernel_with_too_few_crtcs_leaves_one_monitor_off() -> Result<()> {
    let spec = GpuSpec { crtcs: 2, ..GpuSpec::new("gpu0", 3) };
    let world = Bench::new(&[spec])?.start("", &[])?;
    world.until_logged("Virtual-3 stays off: the GPU has no free CRTC")?;
    for connector in ["Virtual-1", "Virtual-2"] {
        world.until_picture(connector, "a report", |picture| {
            picture.share(|pixel| pixel[0] > 0xa0 && pixel[2] < 0x80) > 0.0005
        })?;
    }
    // A CRTC that becomes free is given to the one that waits.
    world.machine.unplug("gpu0", 0)?;
    world.until_picture("Virtual-3", "lit", |picture| picture.share(|pixel| pixel == GROUND) > 0.9)?;
    world.finish()
}

#[test]
fn what_the_kernel_refuses_costs_nobody_else_their_picture() -> Result<()> {
    // Two connectors share an encoder: there are CRTCs and planes enough, and yet the kernel
    // refuses to light both, in every mode.
    let spec = GpuSpec { encoders: 2, ..GpuSpec::new("gpu0", 3) };
    let world = Bench::new(&[spec])?.start("", &[])?;
    world
        .until_logged("Virtual-3 stays off: the kernel refuses every mode of it beside the other monitors")?;
    for connector in ["Virtual-1", "Virtual-2"] {
        ensure!(world.machine.screenshot(connector)?.share(|pixel| pixel == GROUND) > 0.9);
    }
    world.machine.unplug("gpu0", 0)?;
    world.until_picture("Virtual-3", "lit", |picture| picture.share(|pixel| pixel == GROUND) > 0.9)?;
    world.finish()
}
