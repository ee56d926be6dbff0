//! The seat is taken away and given back; the end leaves a usable VT.

use std::time::Duration;

use anyhow::{ensure, Result};
use geom_lab::keys::KeyCode;
use geom_lab::protocol::Ending;

use crate::world::{World, GREEN, RED};

/// seatd takes the first VT that is active when a session is made: VT 1.
pub const OWN: u32 = 1;

fn red_on_one(world: &World) -> Result<()> {
    world.client("red", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    Ok(())
}

/// The VT is in text mode, takes keys, and switches. (seatd goes on deciding about switches.)
fn usable(world: &World) -> Result<()> {
    const K_OFF: i32 = 4;
    world.machine.until("a VT in text mode with a keyboard", |machine| {
        let vt = machine.vt(OWN)?;
        Ok(!vt.graphics && vt.keyboard != K_OFF)
    })?;
    world.machine.activate_vt(OWN + 1)?;
    world.machine.activate_vt(OWN)
}

#[test]
fn vt_switch_and_return() -> Result<()> {
    let world = World::monitors(2)?;
    red_on_one(&world)?;
    ensure!(world.machine.vt(OWN)?.graphics, "the VT is in text mode under the compositor");
    for round in 1..=3 {
        world.machine.activate_vt(OWN + 1)?;
        world.machine.until("the pause", |_| Ok(world.count("session paused")? == round))?;
        // A cable is pulled while nobody looks.
        world.machine.unplug("gpu0", 1)?;
        world.machine.activate_vt(OWN)?;
        world.machine.until("the resume", |_| Ok(world.count("kms: session resumed")? == round))?;
        world.until_shows("Virtual-1", RED)?;
        world.machine.until("the second display dark", |_| Ok(world.count("monitor gone")? == round))?;
        world.machine.plug("gpu0", 1)?;
        world.until_picture("Virtual-2", "lit", |picture| picture.width == 1024)?;
    }
    world.finish()
}

#[test]
fn keys_switch_vts_and_end_the_compositor() -> Result<()> {
    let world = World::monitors(1)?;
    let keyboard = world.machine.keyboard("keyboard")?;
    world.until_logged("input device added")?;
    keyboard.chord(&[KeyCode::KEY_LEFTCTRL, KeyCode::KEY_LEFTALT, KeyCode::KEY_F3])?;
    world.until_logged("session paused")?;
    world.machine.until("VT 3", |machine| Ok(machine.vt(3)?.active == 3))?;
    world.machine.activate_vt(OWN)?;
    world.until_logged("session resumed")?;
    red_on_one(&world)?;
    keyboard.chord(&[KeyCode::KEY_LEFTCTRL, KeyCode::KEY_LEFTALT, KeyCode::KEY_BACKSPACE])?;
    let ending = world.machine.wait(&world.compositor, Duration::from_secs(30))?;
    ensure!(ending == Some(Ending::Exited(0)), "{ending:?}");
    usable(&world)?;
    world.quiet()
}

#[test]
fn every_signal_gives_the_vt_back() -> Result<()> {
    for signal in [1, 2, 3, 15] {
        let world = World::monitors(1)?;
        world.machine.signal(&world.compositor, signal)?;
        let ending = world.machine.wait(&world.compositor, Duration::from_secs(30))?;
        ensure!(ending == Some(Ending::Exited(0)), "signal {signal}: {ending:?}");
        usable(&world)?;
        world.quiet()?;
    }
    Ok(())
}

#[test]
fn a_killed_compositor_leaves_a_usable_vt() -> Result<()> {
    let world = World::monitors(1)?;
    red_on_one(&world)?;
    world.machine.signal(&world.compositor, 9)?;
    let ending = world.machine.wait(&world.compositor, Duration::from_secs(30))?;
    ensure!(ending == Some(Ending::Killed(9)), "{ending:?}");
    usable(&world)?;
    // And the next one starts as if nothing had been.
    let again =
        world.machine.user("again", &[crate::world::COMPOSITOR, "--backend=kms"], &[("NO_COLOR", "1")])?;
    world.machine.until_logged(&again, "displays lit")?;
    ensure!(world.machine.kernel_warnings()?.is_empty());
    Ok(())
}

#[test]
fn a_killed_client_leaves_no_trace() -> Result<()> {
    let world = World::monitors(1)?;
    world.client("green", &["--color", "00ff00"])?;
    world.until_shows("Virtual-1", GREEN)?;
    let red = world.client("red", &[])?;
    world.until_shows("Virtual-1", RED)?;
    world.machine.signal(&red, 9)?;
    world.until_shows("Virtual-1", GREEN)?;
    world.finish()
}
