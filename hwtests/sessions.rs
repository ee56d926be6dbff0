//! Control sessions whose programs are killed and stopped: the right column of the design's table of connection types.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::{Ending, GpuSpec};
use geom_lab::Program;

use crate::world::{lab_program, Bench, World, COMPOSITOR, CONFIG};

const SESSION: &str = "/run/bin/geom-lab-session";
const STOP: i32 = 19;
const CONT: i32 = 18;
const KILL: i32 = 9;

const ONCE: &str = "DISCONNECT_ONCE";
const KEEP: &str = "KEEP_CONNECTION_OPEN";
const BOTH: &str = "DISCONNECT_ONCE|KEEP_CONNECTION_OPEN";

/// A program that holds a session.
struct Holder {
    program: Program,
    number: u64,
    token: String,
}

/// What the program last said of its session: number and token.
fn told(log: &str) -> Option<(u64, String)> {
    let line = log.lines().rev().find_map(|line| line.strip_prefix("session "))?;
    let (number, token) = line.split_once(' ')?;
    Some((number.parse().ok()?, token.to_owned()))
}

fn world(config: &str) -> Result<World> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", 1)])?;
    bench.machine.install(&lab_program("geom-lab-session")?, SESSION)?;
    bench.start(config, &[])
}

fn hold(world: &World, log: &str, flags: &str, token: Option<&str>) -> Result<Holder> {
    let mut argv = vec![SESSION, "--name", "holder", "--connect-type", flags];
    argv.extend(token.map(|token| ["--token", token]).iter().flatten());
    let program = world.machine.user(log, &argv, &[])?;
    world.machine.until_logged(&program, "session ")?;
    let (number, token) = told(&std::fs::read_to_string(&program.log)?).context("the session's number")?;
    Ok(Holder { program, number, token })
}

/// The state of a connection by its number, as the service tells; none where it has no record of it.
fn state(world: &World, number: u64) -> Result<Option<String>> {
    // A log each: they are appended to.
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let log = format!("clients-{}", ASKED.fetch_add(1, Ordering::Relaxed));
    let program = world.machine.user(&log, &[COMPOSITOR, "clients", "--json"], &[])?;
    let ending = world.machine.wait(&program, Duration::from_secs(30))?;
    ensure!(ending == Some(Ending::Exited(0)), "{ending:?}");
    let clients: Vec<serde_json::Value> = serde_json::from_str(&std::fs::read_to_string(&program.log)?)?;
    let found = clients.iter().find(|client| client["id"] == number);
    Ok(found.and_then(|client| client["state"].as_str()).map(str::to_owned))
}

fn until_state(world: &World, number: u64, wanted: Option<&str>) -> Result<()> {
    world.machine.until(&format!("connection {number} is {wanted:?}"), |_| {
        Ok(state(world, number)?.as_deref() == wanted)
    })
}

#[test]
fn killed_programs_find_their_session_as_its_type_says() -> Result<()> {
    // Losses that are survived; the next is final.
    for (row, flags, survived) in [(0, ONCE, 0), (1, KEEP, 3), (2, BOTH, 1)] {
        let world = world("")?;
        let mut holder = hold(&world, &format!("holder-{row}"), flags, None)?;
        let number = holder.number;
        for loss in 1..=survived {
            world.machine.signal(&holder.program, KILL)?;
            until_state(&world, number, Some("lost"))?;
            holder = hold(&world, &format!("holder-{row}-{loss}"), flags, Some(&holder.token))?;
            ensure!(holder.number == number, "{flags}: resumed as {} and not {number}", holder.number);
            until_state(&world, number, Some("alive"))?;
        }
        world.machine.signal(&holder.program, KILL)?;
        if flags == KEEP {
            until_state(&world, number, Some("lost"))?;
            world.finish()?;
            continue;
        }
        // Nothing of it stays, and its token means nothing any more.
        until_state(&world, number, None)?;
        let newcomer = hold(&world, &format!("newcomer-{row}"), flags, Some(&holder.token))?;
        ensure!(
            newcomer.number != number && newcomer.token != holder.token,
            "{flags}: resumed after its end"
        );
        world.finish()?;
    }
    Ok(())
}

#[test]
fn stopped_programs_lose_their_session_as_its_type_says() -> Result<()> {
    for (row, flags, survived) in [(0, ONCE, 0), (1, KEEP, 2), (2, BOTH, 1)] {
        let world = world("[clients]\ninterval = 1\nunresponsive = 1\nlost = 2\n")?;
        let holder = hold(&world, &format!("holder-{row}"), flags, None)?;
        for loss in 1..=survived {
            world.machine.signal(&holder.program, STOP)?;
            until_state(&world, holder.number, Some("lost"))?;
            world.machine.signal(&holder.program, CONT)?;
            // It resumes by itself, with the number that it had.
            world.machine.until("its session again", |_| {
                let log = std::fs::read_to_string(&holder.program.log)?;
                Ok(log.matches(&format!("session {} ", holder.number)).count() == loss + 1)
            })?;
        }
        if flags == KEEP {
            world.finish()?;
            continue;
        }
        world.machine.signal(&holder.program, STOP)?;
        until_state(&world, holder.number, None)?;
        world.machine.signal(&holder.program, CONT)?;
        let ending = world.machine.wait(&holder.program, Duration::from_secs(30))?;
        let log = std::fs::read_to_string(&holder.program.log)?;
        ensure!(ending == Some(Ending::Exited(0)) && log.contains("ended"), "{flags}: {ending:?}: {log}");
        world.finish()?;
    }
    Ok(())
}

/// Another user may connect here, and has found the token: it is worth nothing to it.
#[test]
fn a_token_of_another_user_resumes_nothing() -> Result<()> {
    let world = world("[clients]\nusers = [\"daemon\"]\n")?;
    world.machine.run("open", &["chmod", "-R", "a+rwX", "/run/user/65534"])?;
    let holder = hold(&world, "holder", KEEP, None)?;
    let thief = format!(
        "GEOM_COMPOSITOR_SOCKET=/run/user/65534/geom-compositor.sock exec {SESSION} --name thief \
         --connect-type {KEEP} --token {}",
        holder.token
    );
    let as_daemon = |log: &str| -> Result<Program> {
        let argv = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups", "sh", "-c", &thief];
        world.machine.root(log, &argv, &[])
    };
    // While its owner has it, and when it waits for its owner.
    for round in ["held", "waiting"] {
        let program = as_daemon(round)?;
        world.machine.until_logged(&program, "session ")?;
        let (number, token) = told(&std::fs::read_to_string(&program.log)?).context("the thief's session")?;
        ensure!(number != holder.number && token != holder.token, "{round}: the token was taken");
        if round == "held" {
            until_state(&world, holder.number, Some("alive"))?;
            world.machine.signal(&holder.program, KILL)?;
            until_state(&world, holder.number, Some("lost"))?;
        }
    }
    let again = hold(&world, "again", KEEP, Some(&holder.token))?;
    ensure!(again.number == holder.number, "its owner can't resume it");
    // A user who may connect no more is told so, whatever it brings.
    world.machine.write(CONFIG, "")?;
    world.until_logged("configuration applied")?;
    let program = as_daemon("refused")?;
    world.machine.until_logged(&program, "may not connect")?;
    world.finish()
}
