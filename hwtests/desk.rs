//! Displays beside, behind and instead of each other: mirrors, hubs, monitors that are none.

use anyhow::{ensure, Result};
use geom_lab::protocol::GpuSpec;

use crate::identity::{display, edid, succeeds, AOC, LG};
use crate::world::{lab_program, Bench, World, GREEN, RED};

fn at(world: &World, log: &str, name: &str) -> Result<(i64, i64)> {
    let place = display(world, log, name)?["place"].clone();
    Ok((place["x"].as_i64().unwrap_or(-1), place["y"].as_i64().unwrap_or(-1)))
}

/// A presenter's second picture: smaller, of another shape, turned; and back to a display of its own.
#[test]
fn a_mirror_shows_another_s_picture() -> Result<()> {
    let config = "[aliases]\nstage = \"Virtual-2\"\n[displays.Virtual-1]\nmode = \"1024x768\"\n[displays.stage]\nmode = \"1280x720\"\nmirror = \"Virtual-1\"\n[touch.panel]\ndisplay = \"stage\"\n";
    let world = Bench::new(&[GpuSpec::new("gpu0", 2)])?.start(config, &[])?;
    let red = world.client("red", &["--fullscreen", "Virtual-1", "--animate", "small"])?;
    world.until_shows("Virtual-1", RED)?;
    // 960 of 1280 pixels in width, in the middle.
    let middle = |picture: &geom_lab::Picture| {
        let share = picture.share(|pixel| pixel == RED);
        picture.pixel(640, 360) == RED && picture.pixel(80, 360) != RED && (0.70..0.76).contains(&share)
    };
    world.until_picture("Virtual-2", "the other's picture in the middle", middle)?;
    // Each frame comes over, in every buffer.
    for _ in 0..10 {
        world.until_picture("Virtual-2", "the next frame", middle)?;
    }
    ensure!(display(&world, "mirror", "Virtual-2")?["mirror"] == "Virtual-1");
    // A finger on it touches what is seen there; on a bar, nothing.
    let touch = world.machine.touch("panel")?;
    world.until_logged("input device added")?;
    touch.tap(0.05, 0.5)?;
    touch.tap(0.5, 0.25)?;
    world.machine.until_logged(&red, "touch 512 192")?;
    let told = std::fs::read_to_string(&red.log)?;
    let touches: Vec<_> =
        told.lines().filter(|line| line.starts_with("touch ") && *line != "touch up").collect();
    ensure!(touches == ["touch 512 192"], "{touches:?}");
    let layout: serde_json::Value =
        serde_json::from_str(&succeeds(&world, "status", &["status", "--json"])?)?;
    ensure!(layout["displays_lit"] == 1, "a mirror is a part of the layout: {layout:#}");
    // A display of its own again: programs hear of it.
    succeeds(&world, "own", &["set", "stage", "--mirror", ""])?;
    world.machine.until_logged(&red, "output Virtual-2")?;
    world.client("green", &["--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    world.until_shows("Virtual-2", GREEN)?;
    // And the other way round; what was on it stands in on the other.
    succeeds(&world, "again", &["set", "stage", "--mirror", "Virtual-1", "--transform", "90"])?;
    world.until_picture("Virtual-1", "the window that lost its display", |picture| {
        picture.share(|pixel| pixel == GREEN) > 0.97
    })?;
    world.until_picture("Virtual-2", "the same, turned", |picture| picture.pixel(640, 360) == GREEN)?;
    // Its picture goes with what it shows.
    world.machine.unplug("gpu0", 0)?;
    world.until_shows("Virtual-2", GREEN)?;
    let shown = display(&world, "alone", "Virtual-2")?;
    ensure!(shown["complaints"][0] == "mirror can't be: Virtual-1 is not lit", "{shown:#}");
    world.finish()
}

#[test]
fn displays_stand_beside_each_other() -> Result<()> {
    let config = "[displays.Virtual-1]\nposition = \"below Virtual-2\"\n[displays.Virtual-3]\nposition = \"left-of Virtual-1\"\n";
    let world = Bench::new(&[GpuSpec::new("gpu0", 3)])?.start(config, &[])?;
    world.until_logged("displays lit")?;
    ensure!(at(&world, "first", "Virtual-1")? == (0, 768));
    ensure!(at(&world, "third", "Virtual-3")? == (-1024, 768));
    succeeds(&world, "move", &["set", "Virtual-3", "--position", "right-of Virtual-2"])?;
    ensure!(at(&world, "moved", "Virtual-3")? == (1024, 0));
    // A timing that stands in no list.
    succeeds(&world, "mode", &["set", "Virtual-2", "--mode", "720x480@75 cvt-rb"])?;
    let shown = display(&world, "shown", "Virtual-2")?;
    let line = shown["modeline"].as_str().unwrap_or_default();
    ensure!(line.contains(" 720 768 800 880 480 ") && line.ends_with("+hsync -vsync"), "{shown:#}");
    ensure!(at(&world, "beside", "Virtual-3")? == (720, 0));
    world.finish()
}

/// Connectors of a hub are new ones each time; a display behind it is the same by the way to it.
#[test]
fn hubs_come_and_go() -> Result<()> {
    let config = "[displays.\"faux-gpu0/Virtual-1/1\"]\nscale = 2\n";
    let world = Bench::new(&[GpuSpec::new("gpu0", 2)])?.start(config, &[])?;
    world.until_logged("displays lit")?;
    // Its CRTC is for the hub's monitor.
    world.machine.unplug("gpu0", 1)?;
    let hub = |monitors: &str| {
        let card = world.gpus[0].card.trim_start_matches("card");
        world.machine.write(&format!("/sys/kernel/debug/dri/{card}/lab_hub"), monitors)
    };
    hub("1")?;
    world.machine.until("a display behind the hub", |_| Ok(display(&world, "hub", "DP-1").is_ok()))?;
    let shown = display(&world, "shown", "DP-1")?;
    ensure!(shown["port"] == "faux-gpu0/Virtual-1/1" && shown["scale"] == 2.0, "{shown:#}");
    world.client("red", &["--fullscreen", "DP-1"])?;
    world.until_logged("home=\"DP-1\" display=\"DP-1\"")?;
    let mut asked = 0;
    for _ in 0..5 {
        hub("0")?;
        world.until_shows("Virtual-1", RED)?;
        hub("1")?;
        world.machine.until("its window on it", |_| {
            asked += 1;
            let windows: serde_json::Value = serde_json::from_str(&succeeds(
                &world,
                &format!("windows-{asked}"),
                &["windows", "--json"],
            )?)?;
            Ok(windows[0]["display"].as_str().is_some_and(|name| name.starts_with("DP-")))
        })?;
    }
    let all: Vec<serde_json::Value> =
        serde_json::from_str(&succeeds(&world, "all", &["displays", "--json"])?)?;
    let behind: Vec<_> = all
        .iter()
        .filter(|display| display["name"].as_str().is_some_and(|name| name.starts_with("DP-")))
        .collect();
    ensure!(behind.len() == 1 && behind[0]["losses"] == 5 && behind[0]["scale"] == 2.0, "{behind:#?}");
    world.finish()
}

/// A headset is no monitor: nothing of ours is shown on it. Its program leases it, shows what it will, and whatever happens to our
/// displays meanwhile leaves it alone.
#[test]
fn a_headset_is_its_program_s() -> Result<()> {
    const LEASE: &str = "/run/bin/geom-lab-lease";
    let bench = Bench::new(&[GpuSpec::new("gpu0", 2)])?;
    bench.machine.set_monitor(&bench.gpus[0], 0, &edid(LG)?)?;
    bench.machine.set_monitor(&bench.gpus[0], 1, &headset()?)?;
    bench.machine.install(&lab_program("geom-lab-lease")?, LEASE)?;
    bench.machine.run("permit", &["chmod", "666", "/dev/dri/card0"])?;
    let world = bench.start("", &[])?;
    world.client("red", &["--fullscreen", "Virtual-1", "--animate", "small"])?;
    world.until_shows("Virtual-1", RED)?;
    ensure!(world.machine.screenshot("Virtual-2").is_err(), "the headset shows something");
    let all: Vec<serde_json::Value> =
        serde_json::from_str(&succeeds(&world, "all", &["displays", "--json"])?)?;
    ensure!(all.len() == 1, "the headset is a display: {all:#?}");
    for round in 0..2 {
        let program = world.program(&format!("headset-{round}"), &[LEASE])?;
        world.machine.until_logged(&program, "leased 1 connectors, 1 CRTCs")?;
        world.machine.until_logged(&program, "shown")?;
        world.until_shows("Virtual-2", GREEN)?;
        // Nobody else can have it.
        let second = world.program(&format!("second-{round}"), &[LEASE])?;
        world.machine.until_logged(&second, "nothing is offered")?;
        // Modes of ours, and a cable.
        succeeds(&world, &format!("mode-{round}"), &["set", "Virtual-1", "--mode", "800x600"])?;
        world.until_picture("Virtual-1", "another mode", |picture| picture.width == 800)?;
        world.machine.unplug("gpu0", 0)?;
        world.machine.plug("gpu0", 0)?;
        world.until_shows("Virtual-1", RED)?;
        world.until_shows("Virtual-2", GREEN)?;
        succeeds(&world, &format!("back-{round}"), &["set", "Virtual-1", "--mode", "preferred"])?;
        // Killed: it goes dark, and may be leased again.
        world.machine.signal(&program, 9)?;
        world.machine.until("a dark headset", |machine| Ok(machine.screenshot("Virtual-2").is_err()))?;
    }
    world.until_shows("Virtual-1", RED)?;
    world.finish()
}

/// The EDID of one that the kernel knows for a headset (HVR 0xaa01, edid_quirk_list in its drm_edid.c).
pub fn headset() -> Result<Vec<u8>> {
    let mut bytes = edid(AOC)?;
    bytes[8..12].copy_from_slice(&[0x22, 0xd2, 0x01, 0xaa]);
    bytes[127] = 0;
    bytes[127] = bytes[..127].iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    Ok(bytes)
}
