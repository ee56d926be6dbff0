//! What an animated client and a control client notice of a hostile client of each kind.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use clap::ValueEnum;
use geom_lab::protocol::{ExitStatus, RUNTIME_DIR};
use geom_lab::{HostileKind, Machine};

use crate::compositors::{Compositor, CLIENT};
use crate::measure::{end, start_spec, stat, Started};
use crate::report::Results;

const HOSTILE: &str = "/run/bin/geom-lab-hostile";
const SESSION: &str = "/run/bin/geom-lab-session";
const CONFIG: &str = "/tmp/hostile.toml";
/// Hostile clients are another user's: limits are by user.
const OTHER_USER: &str = "daemon";
const AS_OTHER_USER: [&str; 4] = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups"];
/// Frames of the animated client, at 60 Hz.
const FRAMES: u32 = 300;
/// Requests of the control client: they take as long as the frames.
const REQUESTS: &str = "220";
/// Longer than the frames take: the hostile client is there until their end.
const SECONDS: &str = "8";
/// A process that needs a CPU as much as a hostile client may, and does not connect.
const BUSY: [&str; 5] = ["timeout", SECONDS, "sh", "-c", "while :; do :; done"];

/// Measures the service with nothing, with a busy process, and with each kind.
pub fn hostile(machine: &Machine, results: &mut Results) -> Result<()> {
    let own = std::env::current_exe()?;
    machine.install(&own.with_file_name("geom-lab-hostile"), HOSTILE)?;
    machine.install(&own.with_file_name("geom-lab-session"), SESSION)?;
    let mut spec = Compositor::Ours.spec(machine, "sleep 1000", "hostile")?;
    machine.write(CONFIG, &format!("[clients]\nusers = [\"{OTHER_USER}\"]\n"))?;
    spec.argv.push(format!("--config={CONFIG}"));
    let Started { program, .. } = start_spec(machine, spec, 1)?;
    let socket = Compositor::socket(machine)?;
    // The other user must reach the sockets.
    let sockets = format!("chmod a+x {RUNTIME_DIR}");
    machine.run_as_root("reach", &["sh", "-c", &sockets])?;
    let env = [("WAYLAND_DISPLAY", &*socket), ("XDG_RUNTIME_DIR", RUNTIME_DIR)];
    let mut measure = |name: &str, argv: Option<&[&str]>| -> Result<()> {
        let log = |what: &str| format!("{what}-{name}").replace(' ', "-");
        let hostile = argv
            .map(|argv| machine.spawn_as_root(&log("hostile"), &[&AS_OTHER_USER, argv].concat(), &env))
            .transpose()?;
        let frames = FRAMES.to_string();
        let argv = [CLIENT, "--fullscreen=", "--animate", "small", "--frames", &frames];
        let animated = machine.spawn_as_user(&log("animated"), &argv, &env)?;
        let argv =
            [SESSION, "--name", "control", "--connect-type", "DISCONNECT_ONCE", "--requests", REQUESTS];
        let control = machine.spawn_as_user(&log("control"), &argv, &env)?;
        for (program, key, what, unit) in [
            (&animated, "missed", "missed frames of 300", "count"),
            (&control, "answer_ms", "control answer, median", "ms"),
            (&control, "longest_ms", "control answer, longest", "ms"),
        ] {
            let status = machine.wait(program, Duration::from_secs(120))?;
            let text = std::fs::read_to_string(&program.log)?;
            ensure!(status == Some(ExitStatus::Exited(0)), "{key} with {name}: {status:?}\n{text}");
            let value = text.lines().find_map(|line| stat(line, key)).context(key)?;
            results.add(&format!("{what}, with {name}"), unit, Compositor::Ours, value);
        }
        if let Some(hostile) = hostile {
            machine.wait(&hostile, Duration::from_secs(60))?.context("the hostile client does not end")?;
            print!("{}", std::fs::read_to_string(&hostile.log)?);
        }
        Ok(())
    };
    measure("nothing", None)?;
    measure("a busy process", Some(&BUSY))?;
    for kind in HostileKind::value_variants() {
        let kind = kind.to_string();
        measure(&kind, Some(&[HOSTILE, &kind, "--seconds", SECONDS]))?;
    }
    end(machine, &program)
}
