//! Other people's tools, as their users run them: wlr-randr, kanshi, gammastep.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::{Ending, GpuSpec};

use crate::colour::{self, properties, values};
use crate::identity::{display, succeeds};
use crate::world::{Bench, World, GREEN, RED};

fn tool(world: &World, log: &str, argv: &[&str]) -> Result<(Option<Ending>, String)> {
    let program = world.program(log, argv)?;
    let ending = world.machine.wait(&program, Duration::from_secs(30))?;
    Ok((ending, std::fs::read_to_string(&program.log)?))
}

#[test]
fn wlr_randr_sees_and_changes_displays() -> Result<()> {
    let world = Bench::new(&[GpuSpec::new("gpu0", 2)])?.start("", &[])?;
    world.client("red", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    // Later than the other, so that it stays on top when that has to stand in here.
    world.client("green", &["--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    world.until_shows("Virtual-2", GREEN)?;
    let (ending, text) = tool(&world, "list", &["wlr-randr"])?;
    ensure!(ending == Some(Ending::Exited(0)), "{ending:?}: {text}");
    for part in ["Virtual-1", "Virtual-2", "1024x768 px", "current", "Enabled: yes", "Position: 1024,0"] {
        ensure!(text.contains(part), "no {part:?} in {text}");
    }
    let change = ["--mode", "800x600", "--scale", "1.25", "--transform", "90", "--pos", "40,50"];
    let (ending, text) =
        tool(&world, "change", &[&["wlr-randr", "--output", "Virtual-1"], &change[..]].concat())?;
    ensure!(ending == Some(Ending::Exited(0)), "{ending:?}: {text}");
    let shown = display(&world, "changed", "Virtual-1")?;
    ensure!(
        shown["mode"]["width"] == 800 && shown["scale"] == 1.25 && shown["transform"] == "90",
        "{shown:#}"
    );
    ensure!(shown["place"]["x"] == 40 && shown["place"]["y"] == 50, "{shown:#}");
    world.until_picture("Virtual-1", "the new mode", |picture| picture.width == 800)?;

    // One off: the neighbour goes on with its own. Both off is refused, and so is a mode that is not there.
    let (ending, text) = tool(&world, "off", &["wlr-randr", "--output", "Virtual-1", "--off"])?;
    ensure!(ending == Some(Ending::Exited(0)), "{ending:?}: {text}");
    ensure!(display(&world, "is-off", "Virtual-1")?["state"] == "off");
    world.until_shows("Virtual-2", GREEN)?;
    let (ending, text) = tool(&world, "all-off", &["wlr-randr", "--output", "Virtual-2", "--off"])?;
    ensure!(ending != Some(Ending::Exited(0)), "everything went off: {text}");
    let (ending, text) =
        tool(&world, "no-mode", &["wlr-randr", "--output", "Virtual-2", "--custom-mode", "9000x9000"])?;
    ensure!(ending != Some(Ending::Exited(0)), "a mode that the kernel can't have: {text}");
    world.until_shows("Virtual-2", GREEN)?;
    // A size that is in no list is had by formula.
    let (ending, text) =
        tool(&world, "custom", &["wlr-randr", "--output", "Virtual-2", "--custom-mode", "700x500@50"])?;
    ensure!(ending == Some(Ending::Exited(0)), "{ending:?}: {text}");
    world.until_picture("Virtual-2", "a mode by formula", |picture| {
        (picture.width, picture.height) == (700, 500)
    })?;
    let shown = display(&world, "custom-shown", "Virtual-2")?;
    ensure!(
        shown["modeline"].is_string()
            && shown["mode"]["refresh"].as_u64().is_some_and(|hz| hz.abs_diff(50_000) < 200),
        "{shown:#}"
    );
    world.until_shows("Virtual-2", GREEN)?;
    let (ending, text) = tool(&world, "on", &["wlr-randr", "--output", "Virtual-1", "--on"])?;
    ensure!(ending == Some(Ending::Exited(0)), "{ending:?}: {text}");
    world.until_shows("Virtual-1", RED)?;
    world.until_shows("Virtual-2", GREEN)?;
    world.finish()
}

/// kanshi applies its profile at the start, and another when a monitor comes.
#[test]
fn kanshi_follows_the_cables() -> Result<()> {
    let world = Bench::new(&[GpuSpec::new("gpu0", 2)])?.start("", &[])?;
    world.machine.unplug("gpu0", 1)?;
    world.until_logged("monitor gone")?;
    let config = "profile alone {\n output Virtual-1 enable mode 800x600 scale 2\n}\n\
        profile both {\n output Virtual-1 enable mode 1024x768 position 1280,0 scale 1\n output Virtual-2 enable mode 1280x720 position 0,0\n}\n";
    world.machine.write("/tmp/kanshi", config)?;
    let kanshi = world.program("kanshi", &["kanshi", "-c", "/tmp/kanshi"])?;
    let mut asked = 0;
    let mut until = |what: &str, wanted: &dyn Fn(&serde_json::Value) -> bool| {
        world.machine.until(what, |_| {
            asked += 1;
            Ok(wanted(&display(&world, &format!("asked-{asked}"), "Virtual-1")?))
        })
    };
    until("the profile for one", &|shown| shown["mode"]["width"] == 800 && shown["scale"] == 2.0)?;
    world.machine.plug("gpu0", 1)?;
    until("the profile for both", &|shown| {
        shown["mode"]["width"] == 1024 && shown["place"]["x"] == 1280 && shown["scale"] == 1.0
    })?;
    let second = display(&world, "second", "Virtual-2")?;
    ensure!(second["mode"]["width"] == 1280 && second["place"]["x"] == 0, "{second:#}");
    world.machine.unplug("gpu0", 1)?;
    until("the profile for one again", &|shown| shown["mode"]["width"] == 800)?;
    world.machine.signal(&kanshi, 15)?;
    world.finish()
}

/// gammastep's table is on the hardware while it runs, and through hotplug of a neighbour and a change of mode; it ends with gammastep.
#[test]
fn gammastep_warms_the_display() -> Result<()> {
    let bench = colour::bench(2, &[])?;
    let world = bench.start("", &[])?;
    world.client("red", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    let gammastep = world.program("gammastep", &["gammastep", "-m", "wayland", "-P", "-O", "3500"])?;
    let mut asked = 0;
    let mut tables = || -> Result<Vec<String>> {
        asked += 1;
        let all = properties(&world.machine, &format!("tables-{asked}"), &[])?;
        Ok(values(&all, "GAMMA_LUT").into_iter().map(str::to_owned).collect())
    };
    let mut warm = Vec::new();
    world.machine.until("tables", |_| {
        warm = tables()?;
        Ok(warm.iter().all(|table| table != "0"))
    })?;
    // The last step: all of red, less of green, least of blue.
    let last = warm[0].get(warm[0].len() - 16..).context("a table")?;
    let word = |at: usize| u16::from_str_radix(&last[at..at + 4], 16).map(u16::swap_bytes);
    let (red, green, blue) = (word(0)?, word(4)?, word(8)?);
    ensure!(red >= 0xff00 && green < 0xe000 && blue < green && blue > 0, "{red:x} {green:x} {blue:x}");
    let (ending, text) = tool(&world, "mode", &["wlr-randr", "--output", "Virtual-1", "--mode", "800x600"])?;
    ensure!(ending == Some(Ending::Exited(0)), "{ending:?}: {text}");
    ensure!(tables()?[0] == warm[0], "a change of mode took the table away");
    world.machine.signal(&gammastep, 9)?;
    world.machine.until("plain tables", |_| Ok(tables()?.iter().all(|table| table == "0")))?;
    world.until_shows("Virtual-1", RED)?;
    world.finish()
}

/// The light goes off and on as the kernel has it; a cable that is pulled and plugged in meanwhile brings it back.
#[test]
fn light_goes_off_and_on() -> Result<()> {
    let world = Bench::new(&[GpuSpec::new("gpu0", 2)])?.start("", &[])?;
    world.client("red", &["--fullscreen", "Virtual-1", "--animate", "small"])?;
    world.until_shows("Virtual-1", RED)?;
    let card = world.gpus[0].card.trim_start_matches("card");
    let active = |count: usize| {
        world.machine.until("CRTCs with light", |machine| {
            let state = machine.read(&format!("/sys/kernel/debug/dri/{card}/state"))?;
            Ok(state.matches("\tactive=1").count() == count)
        })
    };
    active(2)?;
    succeeds(&world, "blank", &["blank", "Virtual-1"])?;
    active(1)?;
    let shown = display(&world, "dark", "Virtual-1")?;
    ensure!(shown["blank"] == true && shown["state"] == "lit", "{shown:#}");
    succeeds(&world, "all", &["blank"])?;
    active(0)?;
    // Another display's change leaves it dark.
    succeeds(&world, "scale", &["set", "Virtual-2", "--scale", "2"])?;
    active(0)?;
    succeeds(&world, "on", &["unblank", "Virtual-1"])?;
    active(1)?;
    world.until_shows("Virtual-1", RED)?;
    world.machine.unplug("gpu0", 1)?;
    world.until_logged("monitor gone")?;
    world.machine.plug("gpu0", 1)?;
    active(2)?;
    world.finish()
}
