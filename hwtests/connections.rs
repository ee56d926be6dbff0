//! Clients that hang, leave and come back; commands to the service, by its own user and by another.

use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use geom_lab::protocol::{Ending, GpuSpec};
use geom_lab::Program;

use crate::world::{Bench, World, COMPOSITOR, CONFIG, GREEN, RED};

/// Soon enough for a test.
const FAST: &str = "[clients]\ninterval = 1\nunresponsive = 1\nlost = 3\n";
const STOP: i32 = 19;
const CONT: i32 = 18;

impl World {
    /// Runs the CLI as the service's own user, and gives its output.
    fn command(&self, log: &str, arguments: &[&str]) -> Result<String> {
        let (ending, text) = self.try_command(log, arguments)?;
        ensure!(ending == Some(Ending::Exited(0)), "{arguments:?}: {ending:?}: {text}");
        Ok(text)
    }

    fn try_command(&self, log: &str, arguments: &[&str]) -> Result<(Option<Ending>, String)> {
        let mut argv = vec![COMPOSITOR];
        argv.extend(arguments);
        let program = self.machine.user(log, &argv, &[])?;
        let ending = self.machine.wait(&program, Duration::from_secs(30))?;
        Ok((ending, std::fs::read_to_string(&program.log)?))
    }

    /// The number of the client that shows this app id.
    fn client_number(&self, log: &str, app_id: &str) -> Result<u64> {
        let clients: Vec<serde_json::Value> =
            serde_json::from_str(&self.command(log, &["clients", "--json"])?)?;
        let found = clients.iter().find(|client| client["app_id"] == app_id);
        found
            .and_then(|client| client["id"].as_u64())
            .ok_or_else(|| anyhow::anyhow!("no {app_id} in {clients:#?}"))
    }

    fn foot(&self) -> Result<Program> {
        let foot = self.program("foot", &["foot", "--override=colors.background=00ff00", "sleep", "1000"])?;
        self.until_picture("Virtual-1", "foot", |picture| picture.share(|pixel| pixel == GREEN) > 0.8)?;
        Ok(foot)
    }
}

#[test]
fn a_stopped_terminal_is_shown_spared_and_forgiven() -> Result<()> {
    let world = Bench::new(&[GpuSpec::new("gpu0", 1)])?.start(FAST, &[])?;
    let pointer = world.machine.pointer("mouse")?;
    world.until_logged("input device added")?;
    let foot = world.foot()?;
    world.machine.signal(&foot, STOP)?;
    world.until_logged("client does not answer")?;
    let veiled = world.until_picture("Virtual-1", "the veil", |picture| {
        picture.share(|pixel| pixel == GREEN) < 0.01 && picture.share(|pixel| pixel[0] > 0xc0) > 0.001
    })?;
    veiled.save(&std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("unresponsive.png"))?;
    // For a minute, as somebody does who wonders: 2 events of some 20 bytes each, and a hundred motions are more than
    // libwayland's own buffer.
    let minute = Instant::now() + Duration::from_secs(60);
    let mut motions = 0;
    while Instant::now() < minute {
        pointer.motion(if motions % 2 == 0 { 3 } else { -3 }, 1)?;
        motions += 1;
    }
    ensure!(motions > 1000, "only {motions} motions in a minute");
    ensure!(world.machine.wait(&foot, Duration::ZERO)?.is_none(), "motion killed it");
    ensure!(world.count("client does not answer")? == 1, "it was suspected anew");
    world.machine.signal(&foot, CONT)?;
    world.until_logged("client answers again")?;
    world.until_picture("Virtual-1", "foot again", |picture| picture.share(|pixel| pixel == GREEN) > 0.8)?;
    world.finish()
}

#[test]
fn a_stopped_terminal_is_closed_by_policy_and_its_neighbour_shown_on() -> Result<()> {
    let config = format!("{FAST}[[clients.rules]]\napp_id = \"foot\"\non_lost = \"kill\"\n[[rules]]\napp_id = \"foot\"\ndisplay = \"Virtual-1\"\n");
    let world = Bench::new(&[GpuSpec::new("gpu0", 2)])?.start(&config, &[])?;
    let red = world.client("red", &["--fullscreen", "Virtual-2", "--animate", "small", "--frames", "500"])?;
    let foot = world.foot()?;
    world.machine.signal(&foot, STOP)?;
    let ending = world.machine.wait(&foot, Duration::from_secs(30))?;
    ensure!(ending == Some(Ending::Killed(9)), "{ending:?}");
    world.until_logged("client lost: no sign of life")?;
    // The neighbour showed all of its frames: it tells of them at its end.
    let ending = world.machine.wait(&red, Duration::from_secs(60))?;
    ensure!(ending == Some(Ending::Exited(0)), "{ending:?}");
    world.finish()
}

#[test]
fn a_killed_program_finds_its_display_again() -> Result<()> {
    let world = World::monitors(2)?;
    let first = world.client("first", &["--app-id", "kiosk", "--fullscreen", "Virtual-2"])?;
    world.until_shows("Virtual-2", RED)?;
    world.machine.signal(&first, 9)?;
    world.until_logged("client disconnected")?;
    // It asks for no display this time.
    world.client("second", &["--app-id", "kiosk", "--color", "00ff00"])?;
    world.until_shows("Virtual-2", GREEN)?;
    world.finish()
}

#[test]
fn commands_of_every_kind() -> Result<()> {
    let world = World::monitors(2)?;
    world.client("red", &["--app-id", "red", "--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    let table = world.command("displays", &["displays"])?;
    ensure!(
        table.starts_with("DISPLAY") && table.contains("Virtual-2  lit    1024x768@60.00  1024,0"),
        "{table}"
    );
    ensure!(world.command("status", &["status"])?.contains("displays lit     2"));
    let windows: Vec<serde_json::Value> =
        serde_json::from_str(&world.command("windows", &["windows", "--json"])?)?;
    let window = windows[0]["id"].to_string();
    world.command("place", &["place", &window, "Virtual-2"])?;
    world.until_shows("Virtual-2", RED)?;
    world.command("set", &["set", "Virtual-2", "--mode", "800x600", "--position", "0,768"])?;
    world.until_picture("Virtual-2", "the mode", |picture| (picture.width, picture.height) == (800, 600))?;
    let (ending, text) = world.try_command("bad", &["set", "Virtual-2", "--mode", "1x1"])?;
    ensure!(ending == Some(Ending::Exited(1)) && text.contains("it offers"), "{ending:?}: {text}");
    let (ending, text) = world.try_command("absent", &["screenshot", "HDMI-A-9"])?;
    ensure!(
        ending == Some(Ending::Exited(5)) && text.contains("lit are: Virtual-1, Virtual-2"),
        "{ending:?}: {text}"
    );
    world.command("power", &["set", "Virtual-1", "--power", "off"])?;
    ensure!(world.command("off", &["displays"])?.contains("Virtual-1  off"));
    world.command("on", &["set", "Virtual-1", "--power", "on"])?;
    world.command("identify", &["identify", "--seconds", "60"])?;
    world.until_picture("Virtual-1", "its name", |picture| {
        picture.share(|pixel| pixel == [0x10, 0x40, 0xa0]) > 0.01
    })?;
    let client = world.client_number("clients", "red")?.to_string();
    ensure!(world.command("ping", &["ping", &client])?.contains("answered after"));
    world.command("shot", &["screenshot", "Virtual-2", "/tmp/shot.png"])?;
    // A second service on the same socket says what to do instead.
    let (ending, text) = world.try_command("second", &["--backend=headless"])?;
    ensure!(
        ending == Some(Ending::Exited(1)) && text.contains("the service runs already"),
        "{ending:?}: {text}"
    );
    world.command("kill", &["kill", &client])?;
    world.until_logged("client killed")?;
    world.command("stop", &["stop"])?;
    let ending = world.machine.wait(&world.compositor, Duration::from_secs(30))?;
    ensure!(ending == Some(Ending::Exited(0)), "{ending:?}");
    let (ending, text) = world.try_command("gone", &["status"])?;
    ensure!(
        ending == Some(Ending::Exited(3)) && text.contains("no geom_compositor answers"),
        "{ending:?}: {text}"
    );
    world.quiet()
}

#[test]
fn another_user_may_do_nothing() -> Result<()> {
    let world = World::monitors(1)?;
    world.machine.run("open", &["chmod", "-R", "a+rwX", "/run/user/65534"])?;
    let as_daemon = |log: &str, command: &str| -> Result<(Option<Ending>, String)> {
        let command = format!(
            "GEOM_COMPOSITOR_SOCKET=/run/user/65534/geom-compositor.sock exec {COMPOSITOR} {command}"
        );
        let argv = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups", "sh", "-c", &command];
        let program = world.machine.root(log, &argv, &[])?;
        let ending = world.machine.wait(&program, Duration::from_secs(30))?;
        Ok((ending, std::fs::read_to_string(&program.log)?))
    };
    // Not among those who may connect.
    let (ending, text) = as_daemon("refused", "displays")?;
    ensure!(ending == Some(Ending::Exited(4)) && text.contains("may not connect"), "{ending:?}: {text}");
    // May connect and look, and nothing else.
    world.machine.write(CONFIG, "[clients]\nusers = [\"daemon\"]\n")?;
    world.until_logged("configuration applied")?;
    let (ending, text) = as_daemon("look", "displays")?;
    ensure!(ending == Some(Ending::Exited(0)) && text.contains("Virtual-1"), "{ending:?}: {text}");
    for (number, command) in [
        "stop",
        "set Virtual-1 --power off",
        "identify",
        "reload",
        "kill 1",
        "disconnect 1",
        "close 1",
        "focus 1",
        "place 1 Virtual-1",
        "ping 1",
        "screenshot Virtual-1 -",
    ]
    .iter()
    .enumerate()
    {
        let (ending, text) = as_daemon(&format!("command-{number}"), command)?;
        ensure!(
            ending == Some(Ending::Exited(4)) && text.contains("you may look"),
            "{command}: {ending:?}: {text}"
        );
    }
    // Root may.
    let stop =
        format!("GEOM_COMPOSITOR_SOCKET=/run/user/65534/geom-compositor.sock exec {COMPOSITOR} identify");
    world.machine.run("root", &["sh", "-c", &stop])?;
    world.finish()
}

/// Everything that happens is told, in its order and once.
#[test]
fn events_tell_the_story() -> Result<()> {
    let gpu = GpuSpec { connectors: vec![true, false], ..GpuSpec::new("gpu0", 2) };
    let world = Bench::new(&[gpu])?.start(FAST, &[])?;
    let events = world.machine.user("events", &[COMPOSITOR, "events"], &[])?;
    world.until_logged("client connected")?;
    // Subscribed: a question of a later connection is answered after.
    world.command("subscribed", &["status"])?;

    let told = |what: &str| world.machine.until_logged(&events, what);
    world.machine.plug("gpu0", 1)?;
    told("display Virtual-2 is lit")?;
    let red = world.client("red", &["--app-id", "red", "--fullscreen", "Virtual-2"])?;
    world.until_shows("Virtual-2", RED)?;
    world.machine.signal(&red, STOP)?;
    told("is unresponsive")?;
    world.machine.signal(&red, CONT)?;
    told("is alive")?;
    world.machine.unplug("gpu0", 1)?;
    told("display Virtual-2 is dark")?;
    world.machine.signal(&red, 9)?;
    told("client 3 is gone: left")?;
    let text = std::fs::read_to_string(&events.log)?;
    // What came before the story is the question that made sure of the subscription.
    let story: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("display")).collect();
    let expected = [
        "display Virtual-2 is lit",
        "hotplug: lit are Virtual-1, Virtual-2",
        "client 3 connected: wayland of process",
        "window 1 of client 3 is on Virtual-2: red",
        "window 1 has the keyboard",
        "client 3 is unresponsive",
        "client 3 is alive",
        "display Virtual-2 is dark",
        "window 1 of client 3 is on Virtual-1: red",
        "hotplug: lit are Virtual-1",
        "window 1 closed",
        "no window has the keyboard",
        "client 3 is gone: left",
    ];
    let same = story.len() == expected.len()
        && story.iter().zip(expected).all(|(line, expected)| line.starts_with(expected));
    ensure!(same, "{text}");
    world.finish()
}
