//! Wayland clients that stop answering: they are shown as unresponsive, get no pointer input, and
//! are closed if the configuration says so.

use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Result};
use geom_ipc::{CloseReason, ConnectionState, Event};
use geom_lab::protocol::{ExitStatus, GpuSpec};
use geom_lab::Program;

use crate::support::harness::{Service, Setup, EXIT_TIMEOUT};
use crate::support::{GREEN, RED, SIGCONT, SIGKILL, SIGSTOP};
use crate::vt_switch::OWN_VT;

/// Heartbeat times that are short enough for a test.
pub const FAST: &str = "[clients]\ninterval = 1\nunresponsive = 1\nlost = 3\n";

/// Several times what fits into the buffers to a client, 4 KiB of libwayland's and some 280
/// messages in the socket: the kernel accounts at least 768 bytes for each (`net.core.wmem_default`
/// is 208 KiB).
const MOTIONS: usize = 2000;
/// The heartbeat time `lost` of [`FAST`], three times.
const LONG: Duration = Duration::from_secs(9);

/// Starts foot with a green background.
fn start_foot(service: &Service) -> Result<Program> {
    let argv = ["foot", "--override=colors.background=00ff00", "sleep", "1000"];
    let foot = service.program("foot", &argv)?;
    wait_until_foot_shown(service)?;
    Ok(foot)
}

fn wait_until_foot_shown(service: &Service) -> Result<()> {
    let is_shown = |screenshot: &geom_lab::Screenshot| screenshot.fraction(|pixel| pixel == GREEN) > 0.8;
    service.wait_for_pixels("Virtual-1", "foot", is_shown).map(drop)
}

fn is_in_state(event: &Event, program: &Program, state: ConnectionState) -> bool {
    matches!(event, Event::ClientState { client } if client.pid == program.pid as i32 && client.state == state)
}

#[test]
fn stopped_client_is_marked_unresponsive_and_survives_pointer_motion() -> Result<()> {
    let service = Setup::with_monitors(1)?.start(FAST, &[])?;
    let pointer = service.pointer("mouse")?;
    let foot = start_foot(&service)?;
    let events = service.subscribe()?;
    service.machine.signal(&foot, SIGSTOP)?;
    let unresponsive = |event: &Event| is_in_state(event, &foot, ConnectionState::Unresponsive);
    events.wait_for("foot is unresponsive", unresponsive)?;
    let notice = service.wait_for_pixels("Virtual-1", "the notice over foot", |screenshot| {
        screenshot.fraction(|pixel| pixel == GREEN) < 0.01
            && screenshot.fraction(|pixel| pixel[0] > 0xc0) > 0.001
    })?;
    notice.save(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("unresponsive.png"))?;
    for motion in 0..MOTIONS {
        pointer.motion(if motion % 2 == 0 { 3 } else { -3 }, 1)?;
    }
    let pid = foot.pid as i32;
    service.wait_for_answer(
        "a long time without an answer",
        || service.clients(),
        |clients| clients.iter().any(|client| client.pid == pid && client.idle_s > LONG.as_secs_f64()),
    )?;
    ensure!(service.is_running(&foot)?, "pointer motion ended it");
    ensure!(events.count(unresponsive)? == 1, "it was reported again");
    service.machine.signal(&foot, SIGCONT)?;
    events.wait_for("foot answers", |event| is_in_state(event, &foot, ConnectionState::Alive))?;
    wait_until_foot_shown(&service)?;
    service.finish()
}

#[test]
fn stopped_client_is_killed_by_policy_and_its_neighbor_misses_no_frame() -> Result<()> {
    let config = format!("{FAST}[[clients.rules]]\napp_id = \"foot\"\non_lost = \"kill\"\n[[rules]]\napp_id = \"foot\"\ndisplay = \"Virtual-1\"\n");
    let service = Setup::new(&[GpuSpec::new("gpu0", 2)])?.start(&config, &[])?;
    let arguments = ["--fullscreen", "Virtual-2", "--animate", "small", "--frames", "500"];
    let red = service.client("red", &arguments)?;
    let foot = start_foot(&service)?;
    let events = service.subscribe()?;
    service.machine.signal(&foot, SIGSTOP)?;
    let status = service.machine.wait(&foot, EXIT_TIMEOUT)?;
    ensure!(status == Some(ExitStatus::Signaled(SIGKILL)), "{status:?}");
    events.wait_for("foot is disconnected", |event| {
        matches!(event, Event::ClientDisconnected { reason: CloseReason::HeartbeatTimeout, .. })
    })?;
    // The other client ends by itself when all of its frames were presented.
    let status = service.machine.wait(&red.program, 2 * EXIT_TIMEOUT)?;
    ensure!(status == Some(ExitStatus::Exited(0)), "{status:?}");
    service.finish()
}

/// A GL program with one thread waits for its frame callback before it answers a ping. It is killed
/// neither while its window is covered, nor while its display is blanked, nor on another VT.
#[test]
fn client_without_frames_is_not_unresponsive() -> Result<()> {
    let service = Setup::with_monitors(1)?.start(&format!("{FAST}on_lost = \"kill\"\n"), &[])?;
    let program = service.program("simple-egl", &["weston-simple-egl"])?;
    service.wait_for_answer("its window", || service.windows(), |windows| windows.len() == 1)?;
    let events = service.subscribe()?;
    let ensure_lives = |what: &str| -> Result<()> {
        let start = service.metrics()?.uptime_s;
        service.machine.wait_until(&format!("a long time: {what}"), |_| {
            Ok(service.metrics()?.uptime_s - start > LONG.as_secs_f64())
        })?;
        ensure!(service.is_running(&program)?, "it was killed: {what}");
        let unresponsive = |event: &Event| is_in_state(event, &program, ConnectionState::Unresponsive);
        ensure!(events.count(unresponsive)? == 0, "it counts as unresponsive: {what}");
        Ok(())
    };
    let above = service.client("above", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    ensure_lives("covered")?;
    above.terminate()?;
    service.command(&["blank"])?;
    service.wait_for_active_crtcs(0)?;
    ensure_lives("blanked")?;
    service.command(&["unblank"])?;
    service.machine.activate_vt(OWN_VT + 1)?;
    events.wait_for("the disabled session", |event| *event == Event::Session { active: false })?;
    ensure_lives("on another VT")?;
    service.machine.activate_vt(OWN_VT)?;
    events.wait_for("the enabled session", |event| *event == Event::Session { active: true })?;
    // While it is shown, it is found if it hangs.
    service.machine.signal(&program, SIGSTOP)?;
    let status = service.machine.wait(&program, EXIT_TIMEOUT)?;
    ensure!(status == Some(ExitStatus::Signaled(SIGKILL)), "{status:?}");
    service.finish()
}

#[test]
fn killed_client_is_placed_on_its_display_again() -> Result<()> {
    let service = Service::with_monitors(2)?;
    let first = service.client("first", &["--app-id", "kiosk", "--fullscreen", "Virtual-2"])?;
    service.wait_for_color("Virtual-2", RED)?;
    let events = service.subscribe()?;
    let id = service.client_by_app_id("kiosk")?.id;
    first.signal(SIGKILL)?;
    events.wait_for(
        "it is disconnected",
        |event| matches!(event, Event::ClientDisconnected { client, .. } if *client == id),
    )?;
    // It names no display this time.
    service.client("second", &["--app-id", "kiosk", "--color", "00ff00"])?;
    service.wait_for_color("Virtual-2", GREEN)?;
    service.finish()
}
