//! Idleness, the lid, the power button, on the kernel's own displays and input devices.

use anyhow::{ensure, Result};
use geom_lab::keys::KeyCode;
use geom_lab::protocol::GpuSpec;

use crate::world::{Bench, World, CONFIG, RED};

/// Waits until so many CRTCs have light.
fn lit(world: &World, count: usize) -> Result<()> {
    let card = world.gpus[0].card.trim_start_matches("card");
    world.machine.until(&format!("{count} CRTCs with light"), |machine| {
        let state = machine.read(&format!("/sys/kernel/debug/dri/{card}/state"))?;
        Ok(state.matches("\tactive=1").count() == count)
    })
}

/// Nobody is there: displays go dark, stay so when their monitors drop their link, and are lit by what does nothing else then.
#[test]
fn displays_sleep_until_somebody_comes() -> Result<()> {
    let bench = Bench::new(&[GpuSpec { connectors: vec![true, true, false], ..GpuSpec::new("gpu0", 3) }])?;
    let world = bench.start("[power]\nblank_after = 2\n", &[])?;
    let keyboard = world.machine.keyboard("keyboard")?;
    let touch = world.machine.touch("touch")?;
    let pointer = world.machine.pointer("pointer")?;
    let red = world.client("red", &["--fullscreen", "Virtual-1"])?;
    let idle =
        world.program("swayidle", &["swayidle", "timeout", "1", "echo nobody", "resume", "echo somebody"])?;
    let heard = |text: &str| -> Result<bool> { Ok(std::fs::read_to_string(&red.log)?.contains(text)) };
    world.machine.until_logged(&idle, "nobody")?;
    lit(&world, 0)?;
    // The monitor's own doing.
    for _ in 0..3 {
        let gone = world.count("monitor gone")?;
        world.machine.unplug("gpu0", 0)?;
        world.machine.until("its end", |_| Ok(world.count("monitor gone")? > gone))?;
        let set = world.count("mode set display=\"Virtual-1\"")?;
        world.machine.plug("gpu0", 0)?;
        world.machine.until("its return", |_| Ok(world.count("mode set display=\"Virtual-1\"")? > set))?;
        lit(&world, 0)?;
    }
    ensure!(world.count("displays have light again")? == 0, "it woke itself");

    keyboard.chord(&[KeyCode::KEY_A])?;
    lit(&world, 2)?;
    world.until_shows("Virtual-1", RED)?;
    world.machine.until_logged(&idle, "somebody")?;
    keyboard.chord(&[KeyCode::KEY_B])?;
    world.machine.until_logged(&red, "key 48 up")?;
    ensure!(!heard("key 30")?, "the key that woke came through");

    lit(&world, 0)?;
    touch.tap(0.5, 0.5)?;
    lit(&world, 2)?;
    touch.tap(0.5, 0.5)?;
    world.machine.until_logged(&red, "touch up")?;
    let touches = std::fs::read_to_string(&red.log)?.matches("touch up").count();
    ensure!(touches == 1, "the touch that woke came through");

    lit(&world, 0)?;
    pointer.click()?;
    lit(&world, 2)?;
    ensure!(!heard("button")?, "the click that woke came through");
    world.end()
}

/// `lid = "off"`: its display leaves the layout while there is another, and goes dark where there is none.
#[test]
fn a_closed_lid_hides_its_display() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 2)])?;
    let world = bench.start("[power]\nlid = \"off\"\nlid_displays = [\"Virtual-1\"]\n", &[])?;
    let lid = world.machine.lid("lid")?;
    let keyboard = world.machine.keyboard("keyboard")?;
    world.until_logged("input device added device=\"keyboard\"")?;
    world.client("red", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    lid.shut(true)?;
    lit(&world, 1)?;
    world.until_shows("Virtual-2", RED)?;
    lid.shut(false)?;
    lit(&world, 2)?;
    world.until_shows("Virtual-1", RED)?;

    world.machine.unplug("gpu0", 1)?;
    lit(&world, 1)?;
    lid.shut(true)?;
    lit(&world, 0)?;
    // Keys that the lid presses.
    keyboard.chord(&[KeyCode::KEY_A])?;
    world.machine.plug("gpu0", 1)?;
    world.until_logged("displays have light again")?;
    lit(&world, 1)?;
    world.until_shows("Virtual-2", RED)?;
    world.machine.unplug("gpu0", 1)?;
    lit(&world, 0)?;
    lid.shut(false)?;
    lit(&world, 1)?;
    world.until_shows("Virtual-1", RED)?;
    world.end()
}

#[test]
fn the_power_button_blanks() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 2)])?;
    let world = bench.start("[power]\npower_button = \"blank\"\n", &[])?;
    let keyboard = world.machine.keyboard("keyboard")?;
    world.until_logged("input device added device=\"keyboard\"")?;
    let red = world.client("red", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    for _ in 0..2 {
        keyboard.chord(&[KeyCode::KEY_POWER])?;
        lit(&world, 0)?;
        keyboard.chord(&[KeyCode::KEY_POWER])?;
        lit(&world, 2)?;
    }
    keyboard.chord(&[KeyCode::KEY_B])?;
    world.machine.until_logged(&red, "key 48 up")?;
    ensure!(!std::fs::read_to_string(&red.log)?.contains("key 116"), "it came through");

    // Where logind is to do it and there is none, that is said.
    let config = "[power]\npower_button = \"suspend\"\n";
    world.machine.write(CONFIG, config)?;
    world.until_logged("configuration applied")?;
    keyboard.chord(&[KeyCode::KEY_POWER])?;
    world.until_logged("can't suspend: there is no logind")?;
    world.end()
}
