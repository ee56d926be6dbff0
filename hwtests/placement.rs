//! Windows fill the display that they belong to.

use anyhow::{ensure, Result};
use geom_lab::protocol::GpuSpec;

use crate::world::{Bench, World, BLUE, GREEN, RED};

#[test]
fn rules_decide_by_app_id_and_title() -> Result<()> {
    let config = r#"
        [[rules]]
        app_id = "org.example.*"
        title = "wall *"
        display = "Virtual-3"
        [[rules]]
        app_id = "org.example.*"
        display = "Virtual-2"
    "#;
    let world = Bench::new(&[GpuSpec::new("gpu0", 3)])?.start(config, &[])?;
    world.client("a", &["--app-id", "org.example.Player", "--title", "wall 7", "--color", "0000ff"])?;
    world.until_shows("Virtual-3", BLUE)?;
    world.client("b", &["--app-id", "org.example.Player", "--color", "00ff00"])?;
    world.until_shows("Virtual-2", GREEN)?;
    world.client("c", &["--app-id", "other", "--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    world.finish()
}

#[test]
fn without_a_rule_the_focused_display_takes_it() -> Result<()> {
    let world = World::monitors(2)?;
    world.client("a", &["--fullscreen", "Virtual-2", "--color", "0000ff"])?;
    world.until_shows("Virtual-2", BLUE)?;
    world.client("b", &["--color", "00ff00"])?;
    world.until_shows("Virtual-2", GREEN)?;
    world.finish()
}

#[test]
fn small_windows_and_dialogs_are_centred() -> Result<()> {
    let world = World::monitors(1)?;
    world.client("under", &["--color", "0000ff"])?;
    world.until_shows("Virtual-1", BLUE)?;
    // A window that keeps its size stands on black, not on the one behind it; its dialog is
    // above its middle.
    world.client("small", &["--size", "400x300", "--color", "00ff00", "--dialog", "100x100"])?;
    let picture = world.until_picture("Virtual-1", "window and dialog", |picture| {
        picture.pixel(512, 384) == [0xff, 0, 0xff] && picture.pixel(330, 250) == GREEN
    })?;
    ensure!(picture.pixel(10, 10) == [0; 3], "behind a small window: {:?}", picture.pixel(10, 10));
    ensure!(picture.pixel(311, 384) == [0; 3] && picture.pixel(312, 384) == GREEN);
    ensure!(picture.pixel(461, 384) == GREEN && picture.pixel(462, 384) == [0xff, 0, 0xff]);
    world.finish()
}

#[test]
fn panels_take_their_room() -> Result<()> {
    let world = World::monitors(1)?;
    world.client("panel", &["--panel", "40", "--color", "0000ff"])?;
    let window = world.client("window", &[])?;
    world.machine.until_logged(&window, "configured 1024x728")?;
    world.until_picture("Virtual-1", "panel above window", |picture| {
        picture.pixel(512, 39) == BLUE && picture.pixel(512, 40) == RED && picture.pixel(5, 767) == RED
    })?;
    // The whole display hides it.
    world.client("fullscreen", &["--fullscreen", "--color", "00ff00"])?;
    world.until_shows("Virtual-1", GREEN)?;
    world.finish()
}

#[test]
fn programs_of_debian() -> Result<()> {
    let config = "[[rules]]\napp_id = \"foot\"\ndisplay = \"Virtual-2\"\n\
                  [[rules]]\napp_id = \"*simple-shm\"\ndisplay = \"Virtual-1\"\n\
                  [[rules]]\napp_id = \"*gtk3*\"\ndisplay = \"Virtual-3\"\n";
    let world = Bench::new(&[GpuSpec::new("gpu0", 3)])?.start(config, &[])?;
    world.program("foot", &["foot"])?;
    world.program("shm", &["weston-simple-shm"])?;
    world.program("gtk", &["gtk3-demo"])?;
    // foot's dark ground with a prompt; the moving pattern on black; GTK's light window.
    world.until_picture("Virtual-2", "foot", |picture| {
        picture.share(|pixel| pixel == [0x11, 0x11, 0x11]) > 0.9
    })?;
    world.until_picture("Virtual-1", "simple-shm", |picture| {
        let black = picture.share(|pixel| pixel == [0; 3]);
        picture.pixel(512, 384) != [0; 3] && black > 0.85
    })?;
    world.until_picture("Virtual-3", "gtk3-demo", |picture| {
        picture.share(|pixel| pixel.iter().all(|channel| *channel > 0xe0)) > 0.5
    })?;
    world.finish()
}

#[test]
fn programs_are_started_with_the_compositor() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 1)])?;
    let world =
        bench.start("", &["--exec", "/run/bin/geom-lab-client --color 00ff00", "--exec", "exit 3"])?;
    world.until_shows("Virtual-1", GREEN)?;
    world.until_logged("program ended with an error")?;
    world.finish()
}
