//! A thousand random cables: nothing crashes, leaks or goes missing.

use std::time::Duration;

use anyhow::{ensure, Context, Result};

use crate::world::{World, BLUE, GREEN, GROUND, RED};

/// splitmix64 (Steele, Lea, Flood 2014): the same storm each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }
}

/// What the compositor holds: descriptors, framebuffers, and the machine's shared memory in MiB.
fn holdings(world: &World) -> Result<(usize, usize, u64)> {
    let descriptors = world.machine.list(&format!("/proc/{}/fd", world.compositor.pid))?.len();
    let framebuffers = world.machine.read("/sys/kernel/debug/dri/0/framebuffer")?;
    let framebuffers = framebuffers.lines().filter(|line| line.starts_with("framebuffer[")).count();
    let memory = world.machine.read("/proc/meminfo")?;
    let shared =
        memory.lines().find_map(|line| line.strip_prefix("Shmem:")).context("Shmem in /proc/meminfo")?;
    let kilobytes: u64 = shared.trim().trim_end_matches("kB").trim().parse()?;
    Ok((descriptors, framebuffers, kilobytes / 1024))
}

#[test]
fn a_thousand_random_cables() -> Result<()> {
    const CONNECTORS: usize = 4;
    const EVENTS: usize = 1000;
    let world = World::monitors(CONNECTORS)?;
    let colors = [("ff0000", RED), ("00ff00", GREEN), ("0000ff", BLUE)];
    let mut clients = Vec::new();
    for (connector, (hex, color)) in world.gpus[0].connectors.iter().zip(colors) {
        clients.push(world.client(connector, &["--fullscreen", connector, "--color", hex])?);
        world.until_shows(connector, color)?;
    }
    let last = &world.gpus[0].connectors[3];
    // Each shows its own window, or one that waits there for its monitor.
    let right_pictures = |plugged: &[bool]| -> Result<()> {
        let all = plugged.iter().all(|plugged| *plugged);
        let lit = world.gpus[0].connectors.iter().enumerate().filter(|(index, _)| plugged[*index]);
        for (index, connector) in lit {
            world.until_picture(connector, "the right picture", |picture| match colors.get(index) {
                Some((_, color)) if all => picture.share(|pixel| pixel == *color) > 0.97,
                _ => [RED, GREEN, BLUE, GROUND]
                    .iter()
                    .any(|color| picture.share(|pixel| pixel == *color) > 0.9),
            })?;
        }
        Ok(())
    };
    // One round through everything first, so that what is made once is made.
    for connector in 0..CONNECTORS {
        world.machine.unplug("gpu0", connector)?;
        world.machine.plug("gpu0", connector)?;
    }
    right_pictures(&[true; CONNECTORS])?;
    world.until_picture(last, "its diagnostic screen", |picture| {
        picture.share(|pixel| pixel == GROUND) > 0.9
    })?;
    let before = settled(&world)?;

    let mut random = Random(20_261_123);
    let mut plugged = [true; CONNECTORS];
    for event in 0..EVENTS {
        let connector = random.below(CONNECTORS as u64) as usize;
        plugged[connector] = !plugged[connector];
        if plugged[connector] {
            world.machine.plug("gpu0", connector)?;
        } else {
            world.machine.unplug("gpu0", connector)?;
        }
        if event % 100 == 99 {
            right_pictures(&plugged)?;
        }
    }
    for (connector, plugged) in plugged.iter_mut().enumerate().filter(|(_, plugged)| !**plugged) {
        world.machine.plug("gpu0", connector)?;
        *plugged = true;
    }
    right_pictures(&plugged)?;
    world.until_picture(last, "its diagnostic screen", |picture| {
        picture.share(|pixel| pixel == GROUND) > 0.9
    })?;
    for client in &clients {
        ensure!(world.machine.wait(client, Duration::ZERO)?.is_none(), "a client was lost");
    }
    let after = settled(&world)?;
    println!("descriptors, framebuffers, shared MiB: {before:?} before, {after:?} after {EVENTS} events");
    ensure!(after.0 <= before.0, "descriptors leak: {before:?} {after:?}");
    ensure!(after.1 <= before.1, "framebuffers leak: {before:?} {after:?}");
    ensure!(after.2 <= before.2 + 1, "buffers leak: {before:?} {after:?}");
    world.finish()
}

/// Holdings once they stand still: the last swapchain buffer is made with the second frame.
fn settled(world: &World) -> Result<(usize, usize, u64)> {
    let mut known = holdings(world)?;
    world.machine.until("holdings that stand still", |_| {
        std::thread::sleep(Duration::from_millis(500));
        let next = holdings(world)?;
        let same = next == known;
        known = next;
        Ok(same)
    })?;
    Ok(known)
}
