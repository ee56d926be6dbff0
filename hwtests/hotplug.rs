//! Cables and whole Gpus come and go; clients and layout stay.

use std::time::Duration;

use anyhow::{ensure, Result};
use geom_lab::protocol::GpuSpec;

use crate::world::{Bench, World, BLUE, GREEN, GROUND, RED};

const COLORS: [(&str, [u8; 3]); 3] = [("ff0000", RED), ("00ff00", GREEN), ("0000ff", BLUE)];

fn colored(world: &World) -> Result<()> {
    for (connector, (hex, color)) in world.gpus[0].connectors.iter().zip(COLORS) {
        world.client(connector, &["--fullscreen", connector, "--color", hex])?;
        world.until_shows(connector, color)?;
    }
    Ok(())
}

#[test]
fn a_monitor_comes_goes_and_comes_back_in_every_order() -> Result<()> {
    let world = World::monitors(3)?;
    colored(&world)?;
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for (out, back) in orders.iter().zip(orders.iter().rev()) {
        for connector in out {
            world.machine.unplug("gpu0", *connector)?;
        }
        for connector in back {
            world.machine.plug("gpu0", *connector)?;
            // Its own window, or one that waits here for its monitor.
            world.until_picture(&world.gpus[0].connectors[*connector], "one of the windows", |picture| {
                COLORS.iter().any(|(_, color)| picture.share(|pixel| pixel == *color) > 0.97)
            })?;
        }
        for (connector, (_, color)) in world.gpus[0].connectors.iter().zip(COLORS) {
            world.until_shows(connector, color)?;
        }
    }
    world.finish()
}

#[test]
fn windows_wait_on_a_neighbour() -> Result<()> {
    let world = World::monitors(2)?;
    let client = world.client("red", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    world.machine.unplug("gpu0", 0)?;
    world.until_shows("Virtual-2", RED)?;
    world.machine.until_logged(&client, "output gone Virtual-1")?;
    world.machine.plug("gpu0", 0)?;
    world.until_shows("Virtual-1", RED)?;
    world.until_picture("Virtual-2", "its diagnostic screen", |picture| {
        picture.share(|pixel| pixel == GROUND) > 0.9
    })?;
    // Layout kept: the monitor's global comes back in its old place.
    ensure!(world.count("monitor gone")? == 1);
    world.finish()
}

#[test]
fn clients_live_on_without_any_monitor() -> Result<()> {
    let world = World::monitors(2)?;
    let client = world.client("red", &["--fullscreen", "Virtual-2"])?;
    world.until_shows("Virtual-2", RED)?;
    world.machine.unplug("gpu0", 0)?;
    world.machine.unplug("gpu0", 1)?;
    world.machine.until_logged(&client, "output gone Virtual-2")?;
    // A new client comes while there is nothing to show it on.
    let late = world.client("late", &["--color", "00ff00"])?;
    world.machine.until_logged(&late, "configured")?;
    ensure!(world.machine.wait(&client, Duration::ZERO)?.is_none(), "the client ended");
    world.machine.plug("gpu0", 1)?;
    world.until_picture("Virtual-2", "one of the clients", |picture| {
        picture.share(|pixel| pixel == RED || pixel == GREEN) > 0.97
    })?;
    ensure!(world.machine.wait(&late, Duration::ZERO)?.is_none(), "the late client ended");
    world.finish()
}

#[test]
fn a_gpu_is_pulled_and_put_back() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 2), GpuSpec::new("gpu1", 1)])?;
    let world = bench.start("", &[])?;
    world.client("red", &["--fullscreen", "Virtual-3"])?;
    world.until_shows("Virtual-3", RED)?;
    world.machine.remove_gpu("gpu1")?;
    world.until_logged("GPU closed")?;
    world.until_picture("Virtual-2", "the window from the lost GPU", |picture| {
        picture.share(|pixel| pixel == RED) > 0.97
    })?;
    let names = world.machine.create_gpu(&GpuSpec::new("gpu1", 1))?;
    world.until_shows(&names.connectors[0], RED)?;
    ensure!(!world.log()?.contains("still holds"), "something holds the GPU's descriptor");
    world.finish()
}

/// A Gpu that can't be opened, or not be had, when udev tells of it: the kernel tells a moment before it may be opened, and whoever opens it
/// first is its master.
#[test]
fn a_gpu_that_is_not_to_be_had_yet() -> Result<()> {
    for (obstacle, said) in [
        (
            "mount --bind /dev/zero /dev/dri/card0; echo there; read end; umount /dev/dri/card0",
            "GPU left out",
        ),
        ("exec 3<>/dev/dri/card0; echo there; read end", "not master of a GPU; trying again"),
    ] {
        let bench = Bench::new(&[])?;
        let compositor = bench.launch("", &["--guard=never"], &[])?;
        let machine = &bench.machine;
        machine.until_logged(&compositor, "no GPU yet; waiting for udev to show one")?;
        machine.signal(&compositor, 19)?;
        machine.create_gpu(&GpuSpec::new("gpu0", 1))?;
        let line = format!("mkfifo /run/end && exec 0<>/run/end && {obstacle}");
        let other = machine.root("obstacle", &["sh", "-c", &line], &[])?;
        machine.until_logged(&other, "there")?;
        machine.signal(&compositor, 18)?;
        machine.until_logged(&compositor, said)?;
        machine.run("end", &["sh", "-c", "echo >/run/end"])?;
        machine.until_logged(&compositor, "displays lit")?;
    }
    Ok(())
}

#[test]
fn the_only_gpu_is_pulled() -> Result<()> {
    let world = World::monitors(1)?;
    let client = world.client("red", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    world.machine.remove_gpu("gpu0")?;
    world.until_logged("GPU closed")?;
    ensure!(world.machine.wait(&client, Duration::ZERO)?.is_none(), "the client ended");
    let names = world.machine.create_gpu(&GpuSpec::new("gpu0", 1))?;
    world.until_shows(&names.connectors[0], RED)?;
    world.finish()
}

#[test]
fn the_gpu_comes_after_the_start() -> Result<()> {
    let bench = Bench::new(&[])?;
    let compositor = bench.launch("", &[], &[])?;
    bench.machine.until_logged(&compositor, "no GPU yet; waiting for udev to show one")?;
    bench.machine.create_gpu(&GpuSpec::new("gpu0", 1))?;
    bench.machine.until_logged(&compositor, "displays lit")?;
    ensure!(bench.machine.screenshot("Virtual-1")?.share(|pixel| pixel == GROUND) > 0.9);
    Ok(())
}

#[test]
fn a_named_display_is_waited_for() -> Result<()> {
    let spec = GpuSpec { connectors: vec![true, false], ..GpuSpec::new("gpu0", 2) };
    let bench = Bench::new(&[spec])?;
    let compositor = bench.launch("", &["-w", "Virtual-2"], &[])?;
    bench.machine.until_logged(&compositor, "waiting for the display")?;
    ensure!(bench.machine.screenshot("Virtual-1").is_err(), "another display is driven");
    bench.machine.plug("gpu0", 1)?;
    bench.machine.until_logged(&compositor, "displays lit")?;
    Ok(())
}

#[test]
fn the_loss_of_a_named_display_is_taken_as_the_flags_say() -> Result<()> {
    use geom_lab::protocol::Ending;
    // Losses that are survived, by flags; the next is final.
    for (flags, survived) in
        [("DISCONNECT_ONCE", 0), ("DISCONNECT_ONCE|KEEP_CONNECTION_OPEN", 1), ("KEEP_CONNECTION_OPEN", 3)]
    {
        let bench = Bench::new(&[GpuSpec::new("gpu0", 1)])?;
        let world = bench.start("", &["-w", "Virtual-1", "--connect-type", flags])?;
        for loss in 1..=survived {
            world.machine.unplug("gpu0", 0)?;
            world.machine.until(&format!("loss {loss}"), |_| Ok(world.count("monitor gone")? == loss))?;
            world.machine.plug("gpu0", 0)?;
            world.until_picture("Virtual-1", "lit again", |picture| {
                picture.share(|pixel| pixel == GROUND) > 0.9
            })?;
        }
        if flags == "KEEP_CONNECTION_OPEN" {
            world.finish()?;
            continue;
        }
        world.machine.unplug("gpu0", 0)?;
        let ending = world.machine.wait(&world.compositor, Duration::from_secs(30))?;
        ensure!(ending == Some(Ending::Exited(0)), "{flags}: {ending:?}");
    }
    Ok(())
}
