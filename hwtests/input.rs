//! Keys, clicks and touches arrive where they should.

use anyhow::{ensure, Result};
use geom_lab::keys::KeyCode;
use geom_lab::protocol::GpuSpec;

use crate::world::{Bench, World, GREEN, RED};

#[test]
fn typed_text_arrives_in_foot() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 2)])?;
    let world = bench.start("[[rules]]\napp_id = \"foot\"\ndisplay = \"Virtual-2\"\n", &[])?;
    let keyboard = world.machine.keyboard("keyboard")?;
    world
        .program("foot", &["foot", "sh", "-c", "read line; echo \"$line\" > /tmp/typed; exec sleep 1000"])?;
    world.until_logged("window shown app_id=\"foot\"")?;
    ensure!(world.log()?.contains("home=\"Virtual-2\""), "the rule did not decide");
    keyboard.type_text("Hello, Lab! 1+1=2\n")?;
    world
        .machine
        .until("the typed line", |machine| Ok(machine.read("/tmp/typed")? == "Hello, Lab! 1+1=2\n"))?;
    world.finish()
}

#[test]
fn keyboards_come_and_go() -> Result<()> {
    let world = World::monitors(1)?;
    let client = world.client("red", &[])?;
    world.machine.until_logged(&client, "focus")?;
    for name in ["first", "second"] {
        let keyboard = world.machine.keyboard(name)?;
        world.machine.until("the device", |_| {
            Ok(world.count(&format!("input device added device=\"{name}\""))? == 1)
        })?;
        keyboard.chord(&[KeyCode::KEY_A])?;
        keyboard.remove()?;
        world.machine.until("its end", |_| {
            Ok(world.count(&format!("input device removed device=\"{name}\""))? == 1)
        })?;
    }
    world.machine.until("two keys", |_| {
        Ok(std::fs::read_to_string(&client.log)?.matches("key 30 down").count() == 2)
    })?;
    world.finish()
}

#[test]
fn focus_follows_clicks() -> Result<()> {
    let world = World::monitors(2)?;
    let pointer = world.machine.pointer("mouse")?;
    world.until_logged("input device added")?;
    let first = world.client("first", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    let second = world.client("second", &["--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    world.until_shows("Virtual-2", GREEN)?;
    world.machine.until_logged(&first, "blur")?;
    // The pointer begins in the middle of the first display.
    pointer.motion(1, 0)?;
    pointer.click()?;
    world.machine.until_logged(&second, "blur")?;
    pointer.wheel(1)?;
    world.machine.until_logged(&first, "wheel")?;
    // Far to the right, in steps that no acceleration makes too short.
    for _ in 0..40 {
        pointer.motion(100, 0)?;
    }
    pointer.click()?;
    world.machine.until_logged(&second, "button 272 Pressed")?;
    world.finish()
}

#[test]
fn touches_land_on_their_display() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 2)])?;
    let world = bench.start("[touch.panel]\ndisplay = \"Virtual-2\"\n", &[])?;
    let touch = world.machine.touch("panel")?;
    world.until_logged("input device added")?;
    world.client("first", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    let second = world.client("second", &["--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    world.until_shows("Virtual-2", GREEN)?;
    touch.tap(0.5, 0.25)?;
    world.machine.until_logged(&second, "touch 512 192")?;
    world.machine.until_logged(&second, "touch up")?;
    touch.tap(1.0, 1.0)?;
    world.machine.until("the far corner", |_| {
        let log = std::fs::read_to_string(&second.log)?;
        Ok(log.contains("touch 1024 768") || log.contains("touch 1023 767"))
    })?;
    world.finish()
}
