//! Monitors known by what they say of themselves: real EDIDs on the lab's connectors.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::{Ending, GpuSpec};

use crate::edid::corpus;
use crate::world::{Bench, World, COMPOSITOR, GREEN, RED};

/// The EDID of a real monitor, by its vendor and model in the data set.
pub fn edid(model: &str) -> Result<Vec<u8>> {
    let found = corpus()?.into_iter().find(|(path, _)| path.contains(model));
    Ok(found.with_context(|| format!("no {model} in the corpus"))?.1)
}

pub const AOC: &str = "AOC1970";
pub const LG: &str = "GSM43F1";

/// Runs the CLI: how it ended, and what it said.
pub fn command(world: &World, log: &str, arguments: &[&str]) -> Result<(Option<Ending>, String)> {
    let mut argv = vec![COMPOSITOR];
    argv.extend(arguments);
    let program = world.machine.user(log, &argv, &[])?;
    let ending = world.machine.wait(&program, Duration::from_secs(30))?;
    Ok((ending, std::fs::read_to_string(&program.log)?))
}

pub fn succeeds(world: &World, log: &str, arguments: &[&str]) -> Result<String> {
    let (ending, text) = command(world, log, arguments)?;
    ensure!(ending == Some(Ending::Exited(0)), "{arguments:?}: {ending:?}: {text}");
    Ok(text)
}

/// What `displays --json` says of a connector.
pub fn display(world: &World, log: &str, name: &str) -> Result<serde_json::Value> {
    let all: Vec<serde_json::Value> = serde_json::from_str(&succeeds(world, log, &["displays", "--json"])?)?;
    all.into_iter().find(|display| display["name"] == name).with_context(|| format!("no {name}"))
}

#[test]
fn monitors_are_named_by_who_they_are() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 2)])?;
    bench.machine.set_monitor(&bench.gpus[0], 0, &edid(AOC)?)?;
    bench.machine.set_monitor(&bench.gpus[0], 1, &edid(LG)?)?;
    let config = "[displays.\"AOC 1970W*\"]\nscale = 2\n[[rules]]\napp_id = \"green\"\ndisplay = \"GSM *\"\n";
    let world = bench.start(config, &[])?;
    let first = display(&world, "first", "Virtual-1")?;
    ensure!(first["monitor"]["make"] == "AOC" && first["monitor"]["model"] == "1970W", "{first:#}");
    // The mode that the monitor prefers, and what the configuration wishes for this monitor.
    ensure!(first["mode"]["width"] == 1366 && first["scale"] == 2.0, "{first:#}");
    let second = display(&world, "second", "Virtual-2")?;
    ensure!(second["monitor"]["make"] == "GSM" && second["scale"] == 1.0, "{second:#}");
    ensure!(second["mode"]["width"] == 1280 && second["mode"]["height"] == 1024, "{second:#}");

    // A rule, and commands, by the monitor's name.
    world.client("green", &["--app-id", "green", "--color", "00ff00"])?;
    world.until_shows("Virtual-2", GREEN)?;
    let lg = format!("GSM {}", second["monitor"]["model"].as_str().context("a model")?);
    let lg = match second["monitor"]["serial"].as_str() {
        Some(serial) => format!("{lg} {serial}"),
        None => lg,
    };
    succeeds(&world, "set", &["set", &lg, "--scale", "1.25"])?;
    ensure!(display(&world, "scaled", "Virtual-2")?["scale"] == 1.25);
    // What is changed by hand lies over the file's wish for the monitor, and not in its place.
    succeeds(&world, "move", &["set", "AOC *", "--position", "2000,0"])?;
    let first = display(&world, "moved", "Virtual-1")?;
    ensure!(first["scale"] == 2.0 && first["place"]["x"] == 2000, "{first:#}");
    succeeds(&world, "shot", &["screenshot", &lg, "/tmp/lg.png"])?;
    let (ending, text) = command(&world, "any", &["set", "Virtual-*", "--scale", "1"])?;
    ensure!(
        ending == Some(Ending::Exited(1)) && text.contains("may be any of Virtual-1, Virtual-2"),
        "{ending:?}: {text}"
    );
    let (ending, text) = command(&world, "none", &["set", "DEL U2720Q", "--scale", "1"])?;
    ensure!(ending == Some(Ending::Exited(5)) && text.contains("Virtual-1 (AOC 1970W"), "{ending:?}: {text}");
    world.finish()
}

#[test]
fn only_a_named_monitor_is_driven() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 2)])?;
    bench.machine.set_monitor(&bench.gpus[0], 0, &edid(AOC)?)?;
    bench.machine.set_monitor(&bench.gpus[0], 1, &edid(LG)?)?;
    let world = bench.start("", &["-w", "GSM L1751SQ 0x00002135"])?;
    world.client("red", &[])?;
    world.until_shows("Virtual-2", RED)?;
    ensure!(world.machine.screenshot("Virtual-1").is_err(), "another monitor is driven");
    // It goes, and comes back at another connector.
    world.machine.unplug("gpu0", 1)?;
    world.until_logged("waiting for the display")?;
    world.machine.set_monitor(&world.gpus[0], 0, &edid(LG)?)?;
    world.machine.unplug("gpu0", 0)?;
    world.machine.plug("gpu0", 0)?;
    world.until_shows("Virtual-1", RED)?;
    world.finish()
}

/// The cables change places: what is wished for a monitor goes with it, and so do its windows, its place and its losses.
#[test]
fn wishes_go_with_the_monitor() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 2)])?;
    bench.machine.set_monitor(&bench.gpus[0], 0, &edid(AOC)?)?;
    bench.machine.set_monitor(&bench.gpus[0], 1, &edid(LG)?)?;
    let world = bench.start("[displays.\"AOC *\"]\nscale = 2\n", &[])?;
    let red = world.client("red", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    for connector in [0, 1] {
        world.machine.unplug("gpu0", connector)?;
    }
    world.machine.until_logged(&red, "output gone Virtual-1")?;
    world.machine.set_monitor(&world.gpus[0], 0, &edid(LG)?)?;
    world.machine.set_monitor(&world.gpus[0], 1, &edid(AOC)?)?;
    for connector in [0, 1] {
        world.machine.plug("gpu0", connector)?;
    }
    world.until_picture("Virtual-2", "the window in the other monitor's mode", |picture| {
        (picture.width, picture.height) == (1366, 768) && picture.share(|pixel| pixel == RED) > 0.97
    })?;
    world.until_logged("monitor came back elsewhere")?;
    let moved = display(&world, "moved", "Virtual-2")?;
    ensure!(moved["monitor"]["make"] == "AOC" && moved["scale"] == 2.0, "{moved:#}");
    ensure!(moved["place"]["x"] == 0 && moved["losses"] == 1, "{moved:#}");
    let other = display(&world, "other", "Virtual-1")?;
    ensure!(other["monitor"]["make"] == "GSM" && other["scale"] == 1.0, "{other:#}");
    ensure!(other["place"]["x"] == 683 && other["losses"] == 1, "{other:#}");
    let windows: serde_json::Value =
        serde_json::from_str(&succeeds(&world, "windows", &["windows", "--json"])?)?;
    ensure!(windows[0]["home"] == "Virtual-2" && windows[0]["display"] == "Virtual-2", "{windows:#}");
    world.finish()
}

/// One monitor is exchanged for another without the kernel telling of the moment between.
#[test]
fn an_exchanged_monitor_is_another() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 2)])?;
    bench.machine.set_monitor(&bench.gpus[0], 0, &edid(AOC)?)?;
    let world = bench.start("", &[])?;
    let red = world.client("red", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    world.machine.set_monitor(&world.gpus[0], 0, &edid(LG)?)?;
    // The other cable makes it look.
    world.machine.unplug("gpu0", 1)?;
    world.machine.until_logged(&red, "output gone Virtual-1")?;
    world.until_picture("Virtual-1", "the window in the new monitor's mode", |picture| {
        (picture.width, picture.height) == (1280, 1024) && picture.share(|pixel| pixel == RED) > 0.97
    })?;
    let new = display(&world, "display", "Virtual-1")?;
    ensure!(new["monitor"]["make"] == "GSM" && new["losses"] == 0, "{new:#}");
    ensure!(new["place"]["x"] == 0, "it stands where the old one stood: {new:#}");
    // The window was only lent: it goes where the old monitor comes back.
    world.machine.set_monitor(&world.gpus[0], 1, &edid(AOC)?)?;
    world.machine.plug("gpu0", 1)?;
    world.until_picture("Virtual-2", "the window on its own monitor", |picture| {
        (picture.width, picture.height) == (1366, 768) && picture.share(|pixel| pixel == RED) > 0.97
    })?;
    let old = display(&world, "again", "Virtual-2")?;
    ensure!(old["losses"] == 1, "{old:#}");
    world.finish()
}
