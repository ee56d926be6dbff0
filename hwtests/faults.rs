//! What is wrong with the machine: each fault gets a message with its remedy, and disturbs nobody else.

use std::time::Duration;

use anyhow::{ensure, Result};
use geom_lab::protocol::{GpuSpec, RUNTIME_DIR};
use geom_lab::Machine;

use crate::device::{Device, SERVICE};
use crate::world::{refused, Bench, World, COMPOSITOR, RED};

/// Makes /run/full and /run/ro, file systems of the user's: one with these options and filled by this line of shell, the other read-only.
fn folders(machine: &Machine, options: &str, filled: &str) -> Result<()> {
    let line = format!(
        "cd /run && mkdir full ro && user=$(stat -c %u /run/user/* | head -n 1) && \
         mount -t tmpfs -o mode=700,uid=$user,{options} tmpfs full && {filled} && \
         mount -t tmpfs -o mode=700,uid=$user tmpfs ro && mount -o remount,ro ro"
    );
    machine.run("folders", &["sh", "-c", &line])
}

#[test]
fn folders_of_sockets_that_can_t_be() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 1)])?;
    folders(&bench.machine, "nr_inodes=2", "touch full/filled")?;
    bench.machine.run("other", &["sh", "-c", "cd /run && mkdir -m 777 other && chown daemon other"])?;
    for (folder, texts) in [
        ("/run/full", ["/run/full/wayland-1", "file system is full", "df -h"]),
        ("/run/ro", ["/run/ro/wayland-1", "read-only", "mount a tmpfs there"]),
        ("/run/other", ["/run/other", "belongs to user 1", "start it as that user"]),
    ] {
        let env = [("XDG_RUNTIME_DIR", folder), ("NO_COLOR", "1")];
        let log = folder.replace('/', "-");
        let compositor = bench.machine.user(&log, &[COMPOSITOR, "--backend=kms"], &env)?;
        refused(&bench.machine, &compositor, &texts)?;
    }
    ensure!(bench.machine.list("/run/other")?.is_empty(), "it left something in a folder of others");
    Ok(())
}

/// A socket that nobody listens at is taken over; one that somebody listens at is not.
#[test]
fn sockets_of_others() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 1)])?;
    let first = bench.launch("", &["--guard=never"], &[])?;
    bench.machine.until_logged(&first, "displays lit")?;
    bench.machine.signal(&first, 9)?;
    bench.machine.wait(&first, Duration::from_secs(30))?;
    let again =
        bench.machine.user("again", &[COMPOSITOR, "--backend=kms", "--guard=never"], &[("NO_COLOR", "1")])?;
    bench.machine.until_logged(&again, "displays lit")?;
    let log = std::fs::read_to_string(&again.log)?;
    ensure!(log.contains("address=\"wayland-1\""), "another name: {log}");

    // A second one on the same seat, with the same folder and with another.
    let second = [COMPOSITOR, "--backend=kms", "--guard=never"];
    let compositor = bench.machine.user("second", &second, &[("NO_COLOR", "1")])?;
    refused(&bench.machine, &compositor, &["the service runs already", "geom_compositor stop"])?;
    let elsewhere = [("GEOM_COMPOSITOR_SOCKET", "/tmp/second.sock"), ("NO_COLOR", "1")];
    let third = bench.machine.user("third", &second, &elsewhere)?;
    let ended = bench.machine.wait(&third, Duration::from_secs(5))?;
    let log = std::fs::read_to_string(&third.log)?;
    ensure!(!log.contains("panicked") && !log.contains("displays lit"), "{ended:?}: {log}");
    ensure!(log.contains("seat") || log.contains("GPU"), "{ended:?}: {log}");
    let world = World { machine: bench.machine, gpus: bench.gpus, compositor: again };
    world.client("red", &[])?;
    world.until_shows("Virtual-1", RED)?;
    Ok(())
}

/// Full or read-only folders of the user, and none at all: there is a picture, and what can't be written is said.
#[test]
fn folders_of_the_user_that_can_t_be() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 1)])?;
    let filled =
        "mkdir full/nobody && chown $user full/nobody && (yes | dd of=full/filled bs=4k status=none || true)";
    folders(&bench.machine, "size=16k", filled)?;
    let config = "metrics_file = \"/run/full/metrics.prom\"\nmetrics_interval = 1\n";
    let env =
        [("HOME", "/nowhere"), ("XDG_STATE_HOME", "/run/ro/state"), ("STATE_DIRECTORY", "/run/ro/state")];
    let world = bench.start_with(config, &["--userdata", "/run/full", "--user", "nobody"], &env)?;
    world.client("red", &[])?;
    world.until_shows("Virtual-1", RED)?;
    world.until_logged("metrics can't be written; trying again")?;
    let save = [COMPOSITOR, "profile", "save", "--userdata", "/run/full", "--user", "nobody"];
    let saved = world.machine.user("save", &save, &[])?;
    refused(&world.machine, &saved, &["/run/full/nobody/displays.toml", "No space left"])?;
    ensure!(world.machine.list("/run/full/nobody")?.is_empty(), "half a profile is left");
    ensure!(world.count("metrics can't be written")? == 1, "said again and again");
    world.finish()
}

/// Another VT than the service's is shown when it starts: logind brings its own to the front.
#[test]
fn another_vt_is_shown() -> Result<()> {
    let device = Device::boot(&[SERVICE], &[])?;
    let machine = &device.machine;
    device.until_active()?;
    device.run(&["systemctl", "stop", SERVICE])?;
    machine.activate_vt(3)?;
    device.run(&["systemctl", "start", SERVICE])?;
    ensure!(machine.vt(1)?.active == 1, "VT {} is shown", machine.vt(1)?.active);
    let own = device.run(&["journalctl", "-b", "--no-pager", "-t", "geom_compositor"])?;
    ensure!(own.matches("displays lit").count() == 2, "{own}");
    Ok(())
}

/// The driver does what drivers do: the context is lost (by order of a file, as no driver of the lab has resets), and no client is.
#[test]
fn a_gpu_that_is_reset() -> Result<()> {
    // In a folder of the user's, who removes it.
    let order = format!("{RUNTIME_DIR}/lose");
    let env = [("GEOM_COMPOSITOR_LOSE_CONTEXT", order.as_str())];
    let bench = Bench::new(&[GpuSpec::new("gpu0", 2)])?;
    let world = bench.start_with("", &["--renderer=llvmpipe"], &env)?;
    // One that draws once, and one that never stops.
    let still = world.client("still", &["--fullscreen=Virtual-1"])?;
    let moving = world.client("moving", &["--fullscreen=Virtual-2", "--animate", "small"])?;
    world.until_shows("Virtual-1", RED)?;
    let count = |text: &str| -> Result<usize> { Ok(world.log()?.matches(text).count()) };
    for reset in 1..=3 {
        world.machine.run(&format!("lose-{reset}"), &["touch", &order])?;
        world.machine.until("another renderer", |_| Ok(count("the GPU draws again")? == reset))?;
        // Drawn by the new one: nothing of it is on the screen before.
        world.machine.unplug("gpu0", 0)?;
        world.machine.plug("gpu0", 0)?;
        world.until_shows("Virtual-1", RED)?;
    }
    world.machine.run("lose-4", &["touch", &order])?;
    world.machine.until("an end of it", |_| Ok(count("drawing without it")? > 0))?;
    world.until_shows("Virtual-1", RED)?;
    for client in [&still, &moving] {
        world.machine.list(&format!("/proc/{}", client.pid))?;
    }
    ensure!(count("client disconnected")? == 0, "a client was lost");
    world.finish()
}
