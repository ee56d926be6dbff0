//! The service crashes, and is back: sockets, sessions and places outlive it.

use std::time::Instant;

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::{Ending, GpuSpec};
use serde_json::Value;

use crate::identity::{command, succeeds};
use crate::world::{Bench, World, GREEN, RED};

fn status(world: &World, log: &str) -> Result<Value> {
    Ok(serde_json::from_str(&succeeds(world, log, &["status", "--json"])?)?)
}

/// Inodes of the sockets' files.
fn inodes(world: &World, log: &str) -> Result<String> {
    let folder = "/run/user/65534";
    let files = [format!("{folder}/wayland-1"), format!("{folder}/geom-compositor.sock")];
    world.machine.run(log, &["stat", "-c", "%n %i", &files[0], &files[1]])?;
    Ok(std::fs::read_to_string(world.machine.folder().join(format!("{log}.log")))?)
}

fn lit(world: &World) -> Result<usize> {
    Ok(world.log()?.matches("displays lit").count())
}

#[test]
fn crashes_are_survived_and_a_loop_of_them_ends_in_safe_settings() -> Result<()> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 3)])?;
    let world = bench.start_with(
        "[displays.Virtual-3]\npower = false\n",
        &["--guard", "always"],
        &[("STATE_DIRECTORY", "/tmp/reports")],
    )?;
    let before = inodes(&world, "inodes")?;
    let guarded = status(&world, "first")?;
    ensure!(guarded["displays_lit"] == 2, "{guarded:#}");
    world.client("kiosk", &["--fullscreen", "Virtual-2", "--app-id", "kiosk"])?;
    world.until_shows("Virtual-2", RED)?;
    let mut pid = guarded["pid"].as_u64().context("pid")?;
    for (crash, signal) in ["-KILL", "-SEGV", "-KILL", "-ABRT", "-SEGV"].into_iter().enumerate() {
        let known = lit(&world)?;
        let start = Instant::now();
        world.machine.run(&format!("kill-{crash}"), &["kill", signal, &pid.to_string()])?;
        world.machine.until("displays lit again", |_| Ok(lit(&world)? > known))?;
        println!("back after {signal}: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
        let now = status(&world, &format!("after-{crash}"))?;
        let next = now["pid"].as_u64().context("pid")?;
        ensure!(next != pid, "{now:#}");
        pid = next;
        ensure!(inodes(&world, &format!("inodes-{crash}"))? == before, "other sockets");
        if crash == 0 {
            // An application that is back without being told where to is where it was.
            world.client("kiosk-again", &["--app-id", "kiosk", "--color", "00ff00"])?;
            world.until_shows("Virtual-2", GREEN)?;
        }
        let troubles = now["troubles"].to_string();
        let safe = crash == 4;
        ensure!(troubles.contains("safe settings") == safe, "{crash}: {now:#}");
        // The configuration switches one off, which safe settings know nothing of.
        ensure!(now["displays_lit"] == if safe { 3 } else { 2 }, "{now:#}");
    }
    // What it died of, what it drove, and what it did last.
    let reports = world.machine.list("/tmp/reports")?;
    ensure!(reports.len() == 3, "SIGKILL leaves none, the others one each: {reports:?}");
    let mut told = String::new();
    for report in &reports {
        told += &world.machine.read(&format!("/tmp/reports/{report}"))?;
    }
    for wanted in [
        "SIGSEGV",
        "SIGABRT",
        "sent by process",
        "Backtrace",
        "Virtual-2: Lit",
        "redraw",
        "/run/bin/geom_compositor(",
    ] {
        ensure!(told.contains(wanted), "no {wanted} in: {told}");
    }
    let doctor = ["/run/bin/geom_compositor", "doctor", "--report", "/tmp/bundle"];
    let doctor = world.machine.user("doctor", &doctor, &[("STATE_DIRECTORY", "/tmp/reports")])?;
    let ending = world.machine.wait(&doctor, std::time::Duration::from_secs(30))?;
    let found = std::fs::read_to_string(&doctor.log)?;
    ensure!(ending == Some(Ending::Exited(0)), "{ending:?}: {found}");
    for wanted in [
        "good  GPU card0: ",
        "poor  crashes: 3 reports",
        "poor  service: it runs, with troubles: crashed 5 times",
    ] {
        ensure!(found.contains(wanted), "no {wanted} in: {found}");
    }
    let bundle = world.machine.read("/tmp/bundle")?;
    ensure!(bundle.contains("==== findings") && bundle.contains("sent by process"), "{bundle}");
    // Another program in the same process, with all wishes again.
    let known = lit(&world)?;
    succeeds(&world, "upgrade", &["upgrade"])?;
    world.machine.until("displays lit by the next program", |_| Ok(lit(&world)? > known))?;
    let now = status(&world, "upgraded")?;
    ensure!(now["pid"].as_u64() == Some(pid) && now["displays_lit"] == 2, "{now:#}");
    ensure!(inodes(&world, "inodes-upgraded")? == before, "other sockets");
    // What is no such program is told, and nothing is lost.
    let (ending, said) = command(&world, "wrong", &["upgrade", "/bin/true"])?;
    ensure!(ending == Some(Ending::Exited(1)) && said.contains("does not answer --version"), "{said}");
    succeeds(&world, "stop", &["stop"])?;
    let ending = world.machine.wait(&world.compositor, std::time::Duration::from_secs(30))?;
    ensure!(ending == Some(Ending::Exited(0)), "{ending:?}");
    let left = world.machine.list("/run/user/65534")?;
    ensure!(!left.iter().any(|name| name.contains("wayland") || name.contains("geom")), "{left:?}");
    world.quiet()
}

/// A kernel that loses page flips: it is noticed, the client goes on, and other displays do not feel it.
#[test]
fn lost_page_flips_are_gone_on_from() -> Result<()> {
    let world = Bench::new(&[GpuSpec::new("gpu0", 2)])?.start("", &[])?;
    let client = world.client("anim", &["--fullscreen", "Virtual-1", "--animate", "small"])?;
    world.until_shows("Virtual-1", RED)?;
    let path = world
        .machine
        .list("/sys/kernel/debug/dri")?
        .into_iter()
        .map(|card| format!("/sys/kernel/debug/dri/{card}/lab_lose_flips"));
    let path = path.into_iter().find(|path| world.machine.read(path).is_ok()).context("no lab_lose_flips")?;
    world.machine.write(&path, "1")?;
    let started = Instant::now();
    world.until_logged("did not tell within 2 s that a frame is shown")?;
    println!("noticed after {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    ensure!(world.machine.read(&path)?.trim() == "0");
    let asked = std::cell::Cell::new(0);
    let frames = || -> Result<u64> {
        asked.set(asked.get() + 1);
        status(&world, &format!("frames-{}", asked.get()))?["frames"].as_u64().context("frames")
    };
    let before = frames()?;
    world.machine.until("frames again", |_| Ok(frames()? > before + 30))?;
    ensure!(status(&world, "told")?["troubles"].to_string().contains("Virtual-1: the kernel did not tell"));
    world.machine.signal(&client, 15)?;
    world.finish()
}
