//! What comes wrong from outside gets a message and costs nobody else anything.

use std::time::Duration;

use anyhow::{ensure, Result};
use geom_lab::protocol::GpuSpec;

use crate::world::{refused, Bench, World, CONFIG, GREEN, RED};

#[test]
fn a_broken_configuration_still_gives_a_picture() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 2)])?;
    let config = "renderer = \"vulkan\"\n[displays.Virtual-1]\nmode = \"1x1\"\nscale = \"big\"\n";
    let world = bench.start(config, &[])?;
    let log = world.log()?;
    for line in [
        format!("{CONFIG}:1: renderer = \"vulkan\" is not allowed; allowed: \"auto\""),
        format!("{CONFIG}:4: displays.\"Virtual-1\".scale = \"big\" is not allowed; allowed: a number from 0.25 to 8"),
        "mode 1x1 is not in the monitor's list; using 1024x768@60.00".to_owned(),
    ] {
        ensure!(log.contains(&line), "no {line:?} in:\n{log}");
    }
    // And on the diagnostic screen.
    world.until_picture("Virtual-1", "troubles", |picture| {
        picture.share(|pixel| pixel[0] > 0xa0 && pixel[2] < 0x80) > 0.001
    })?;
    // Worse: no TOML at all. What was sound stays.
    world.machine.write(CONFIG, "renderer = [\n")?;
    world.until_logged("geom_compositor.toml:")?;
    world.until_logged("not TOML")?;
    world.client("red", &[])?;
    world.until_shows("Virtual-1", RED)?;
    world.finish()
}

#[test]
fn a_missing_configuration_is_reported() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 1)])?;
    let world = bench.start("", &["--config", "/nowhere/file.toml"]);
    // clap takes one --config only.
    ensure!(world.is_err());
    let bench = Bench::new(&[GpuSpec::new("gpu0", 1)])?;
    let argv = [crate::world::COMPOSITOR, "--config", "/nowhere/file.toml"];
    let compositor = bench.machine.user("compositor", &argv, &[("NO_COLOR", "1")])?;
    bench.machine.until_logged(&compositor, "/nowhere/file.toml: cannot be read")?;
    bench.machine.until_logged(&compositor, "displays lit")?;
    Ok(())
}

#[test]
fn an_unknown_display_is_an_error_or_waited_for() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 2)])?;
    let compositor = bench.launch("", &["-w", "HDMI-A-9", "--connect-type=DISCONNECT_ONCE"], &[])?;
    refused(&bench.machine, &compositor, &["display HDMI-A-9 is not there; there are: Virtual-1, Virtual-2"])
}

#[test]
fn no_seat_ends_it_with_a_remedy() -> Result<()> {
    let bench = Bench::without_seat(&[GpuSpec::new("gpu0", 1)])?;
    let compositor = bench.launch("", &[], &[("LIBSEAT_BACKEND", "seatd")])?;
    refused(&bench.machine, &compositor, &["no seat", "systemctl start seatd"])
}

#[test]
fn no_permission_ends_it_with_a_remedy() -> Result<()> {
    // The seat daemon serves another user.
    let bench = Bench::without_seat(&[GpuSpec::new("gpu0", 1)])?;
    let seatd = bench.machine.root("seatd", &["seatd", "-u", "daemon"], &[])?;
    bench.machine.until_logged(&seatd, "seatd started")?;
    bench.machine.run("chmod", &["chmod", "600", "/run/seatd.sock"])?;
    let compositor = bench.launch("", &[], &[("LIBSEAT_BACKEND", "seatd")])?;
    refused(&bench.machine, &compositor, &["Permission denied", "usermod"])
}

#[test]
fn no_runtime_folder_ends_it_with_a_remedy() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 1)])?;
    let compositor = bench.launch("", &[], &[("XDG_RUNTIME_DIR", "/nowhere")])?;
    refused(&bench.machine, &compositor, &["XDG_RUNTIME_DIR must name a folder"])
}

/// The lab's switches of a GPU (lab/kernel/vkms-refuse.patch).
fn refusal(card: usize, switch: &str) -> String {
    format!("/sys/kernel/debug/dri/{card}/lab_{switch}")
}

#[test]
fn a_gpu_that_refuses_everything_leaves_the_others_alone() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 1), GpuSpec::new("gpu1", 1)])?;
    bench.machine.write(&refusal(1, "refuse"), "Y")?;
    let world = bench.start("", &[])?;
    world.until_logged("Virtual-2 stays off")?;
    let red = world.client("red", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    // The neighbour's screen says so as well, when its client is gone.
    world.machine.signal(&red, 15)?;
    world.until_picture("Virtual-1", "what went wrong", |picture| {
        picture.share(|pixel| pixel[0] > 0xa0 && pixel[2] < 0x80) > 0.001
    })?;
    // It is asked again at the next probe, and lights up when it gives in.
    world.machine.write(&refusal(1, "refuse"), "N")?;
    world.machine.unplug("gpu1", 0)?;
    world.machine.plug("gpu1", 0)?;
    world.client("green", &["--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    world.until_shows("Virtual-2", GREEN)?;
    world.finish()
}

#[test]
fn a_gpu_that_begins_to_refuse_keeps_its_picture() -> Result<()> {
    let world = World::monitors(2)?;
    world.client("red", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    world.machine.write(&refusal(0, "refuse"), "Y")?;
    // A change that it refuses, and frames that it refuses: nothing of it ends the service.
    world.machine.unplug("gpu0", 1)?;
    world.client("green", &["--fullscreen", "Virtual-1", "--color", "00ff00"])?;
    world.until_logged("WARN")?;
    ensure!(world.machine.wait(&world.compositor, Duration::ZERO)?.is_none(), "the service ended");
    world.machine.write(&refusal(0, "refuse"), "N")?;
    world.machine.plug("gpu0", 1)?;
    world.until_shows("Virtual-1", GREEN)?;
    world.finish()
}

#[test]
fn too_little_bandwidth_for_all_still_lights_all() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 2)])?;
    // 1024x768@60 takes 65,000 kHz: not both, but one of them beside a smaller one.
    bench.machine.write(&refusal(0, "max_khz"), "110000")?;
    let world = bench.start("", &[])?;
    world.until_logged("the kernel refuses its first choice of mode")?;
    for monitor in ["Virtual-1", "Virtual-2"] {
        world.client(monitor, &["--fullscreen", monitor])?;
        world.until_shows(monitor, RED)?;
    }
    world.finish()
}

#[test]
fn a_client_that_sends_garbage_is_thrown_out() -> Result<()> {
    let world = World::monitors(1)?;
    let good = world.client("green", &["--color", "00ff00"])?;
    world.until_shows("Virtual-1", GREEN)?;
    for round in 0..3 {
        let bad = world.client(&format!("garbage{round}"), &["--garbage"])?;
        world.machine.until_logged(&bad, "thrown out")?;
    }
    ensure!(world.machine.wait(&good, Duration::ZERO)?.is_none(), "the neighbour ended");
    world.until_shows("Virtual-1", GREEN)?;
    world.finish()
}

#[test]
fn a_buffer_of_ten_thousand_pixels() -> Result<()> {
    let world = World::monitors(1)?;
    let huge = world.client("huge", &["--size", "10000x10000", "--color", "00ff00"])?;
    world.until_shows("Virtual-1", GREEN)?;
    world.machine.signal(&huge, 15)?;
    world.client("red", &[])?;
    world.until_shows("Virtual-1", RED)?;
    world.finish()
}
