//! Commands of the CLI, by the service's own user, by another and by root; and the event stream.

use anyhow::{ensure, Result};
use geom_ipc::{ClientKind, CloseReason, ConnectionState, Display, DisplayState, Event};
use geom_lab::protocol::{ExitStatus, GpuSpec, RUNTIME_DIR};

use crate::heartbeat::FAST;
use crate::support::control::CommandResult;
use crate::support::harness::{unique, Service, Setup, EXIT_TIMEOUT};
use crate::support::{COMPOSITOR, CONFIG, NAME_BACKGROUND, RED, SIGCONT, SIGKILL, SIGSTOP};

#[test]
fn every_command_does_what_it_says() -> Result<()> {
    let service = Service::with_monitors(2)?;
    service.client("red", &["--app-id", "red", "--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    let table = service.command(&["displays"])?;
    let row = table.lines().find(|line| line.starts_with("Virtual-2")).unwrap_or_default();
    let cells: Vec<&str> = row.split_whitespace().take(4).collect();
    ensure!(table.starts_with("DISPLAY"), "{table}");
    ensure!(cells == ["Virtual-2", "enabled", "1024x768@60.00", "1024,0"], "{table}");
    ensure!(service.command(&["inputs"])?.starts_with("DEVICE"));
    let status = service.command(&["status"])?;
    ensure!(status.contains("/dev/dri/card0") && status.contains("atomic"), "{status}");
    let enabled = status.lines().find(|line| line.contains("displays")).unwrap_or_default();
    ensure!(enabled.ends_with(" 2"), "{status}");

    let window = service.window()?.id.to_string();
    service.command(&["place", &window, "Virtual-2"])?;
    service.wait_for_color("Virtual-2", RED)?;
    service.command(&["set", "Virtual-2", "--mode", "800x600", "--position", "0,768"])?;
    service.wait_for_pixels("Virtual-2", "the mode", |screenshot| {
        (screenshot.width, screenshot.height) == (800, 600)
    })?;
    // Errors name what there is instead.
    service
        .try_command(&["set", "Virtual-2", "--mode", "1x1"])?
        .ensure_fails(1, &["Virtual-2", "1024x768"])?;
    let absent = service.try_command(&["screenshot", "HDMI-A-9"])?;
    absent.ensure_fails(5, &["HDMI-A-9", "Virtual-1", "Virtual-2"])?;
    service.command(&["set", "Virtual-1", "--power", "off"])?;
    ensure!(service.display("Virtual-1")?.state == DisplayState::Disabled);
    service.command(&["set", "Virtual-1", "--power", "on"])?;
    service.command(&["identify", "--seconds", "60"])?;
    service.wait_for_pixels("Virtual-1", "its name", |screenshot| {
        screenshot.fraction(|pixel| pixel == NAME_BACKGROUND) > 0.01
    })?;
    let client = service.client_by_app_id("red")?.id;
    let ping = service.command(&["ping", &client.to_string()])?;
    ensure!(ping.contains(" ms"), "{ping}");
    service.command(&["screenshot", "Virtual-2", "/tmp/shot.png"])?;
    // A second service on the same socket is refused; the message names the command to use instead.
    service.try_command(&["--backend=headless"])?.ensure_fails(1, &["geom_compositor stop"])?;
    let events = service.subscribe()?;
    service.command(&["kill", &client.to_string()])?;
    events.wait_for("the client is killed", |event| {
        *event == Event::ClientDisconnected { client, reason: CloseReason::Requested }
    })?;
    service.command(&["stop"])?;
    service.wait_until_ended()?;
    service.try_command(&["status"])?.ensure_fails(3, &["geom_compositor"])?;
    service.ensure_no_errors()
}

/// Runs the CLI as another user, to whom the runtime folder is open.
fn command_as_daemon(service: &Service, command: &str) -> Result<CommandResult> {
    let line =
        format!("GEOM_COMPOSITOR_SOCKET={RUNTIME_DIR}/geom-compositor.sock exec {COMPOSITOR} {command}");
    let argv = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups", "sh", "-c", &line];
    let program = service.machine.spawn_as_root(&unique("daemon"), &argv, &[])?;
    let status = service.machine.wait(&program, EXIT_TIMEOUT)?;
    Ok(CommandResult { status, text: std::fs::read_to_string(&program.log)? })
}

#[test]
fn other_users_may_only_read_and_only_if_configured() -> Result<()> {
    let service = Service::with_monitors(1)?;
    service.machine.run_as_root("open", &["chmod", "a+x", RUNTIME_DIR])?;
    // The kernel does not let it through to the socket.
    command_as_daemon(&service, "displays")?.ensure_fails(4, &[RUNTIME_DIR])?;
    let events = service.subscribe()?;
    service.machine.write(CONFIG, "[clients]\nusers = [\"daemon\"]\n")?;
    events.wait_for_config_applied()?;
    let CommandResult { status, text } = command_as_daemon(&service, "displays")?;
    ensure!(status == Some(ExitStatus::Exited(0)) && text.contains("Virtual-1"), "{status:?}: {text}");
    for command in [
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
    ] {
        let result = command_as_daemon(&service, command)?;
        ensure!(
            result.status == Some(ExitStatus::Exited(4)),
            "{command}: {:?}: {}",
            result.status,
            result.text
        );
    }
    // Root may do anything.
    let line =
        format!("GEOM_COMPOSITOR_SOCKET={RUNTIME_DIR}/geom-compositor.sock exec {COMPOSITOR} identify");
    service.machine.run_as_root("root", &["sh", "-c", &line])?;
    service.finish()
}

/// The parts of an event that a test can foresee.
fn summary(event: &Event) -> String {
    match event {
        Event::Display { display: Display { name, state, .. } } => format!("{name} {state:?}"),
        Event::Layout { cause, enabled } => format!("layout {cause} {}", enabled.join(" ")),
        Event::ClientConnected { client } => format!("connected {:?}", client.kind),
        Event::ClientState { client } => format!("client {:?}", client.state),
        Event::ClientDisconnected { reason, .. } => format!("disconnected {reason:?}"),
        Event::Window { window } => {
            let name = |name: &Option<String>| name.clone().unwrap_or_default();
            format!("window {} on {}", name(&window.app_id), name(&window.display))
        }
        Event::WindowClosed { .. } => "window closed".to_owned(),
        Event::Focus { window } => format!("focus {}", window.is_some()),
        other => format!("{other:?}"),
    }
}

#[test]
fn events_report_each_change_once_and_in_order() -> Result<()> {
    let gpu = GpuSpec { connectors: vec![true, false], ..GpuSpec::new("gpu0", 2) };
    let service = Setup::new(&[gpu])?.start(FAST, &[])?;
    // People read the events without --json.
    let readable = service.spawn_command(&["events"])?;
    service.machine.wait_until("the readable events", |_| {
        // Each command's own connection is an event.
        service.command(&["status"])?;
        Ok(!std::fs::read(&readable.log)?.is_empty())
    })?;
    let events = service.subscribe()?;

    service.machine.plug("gpu0", 1)?;
    events.wait_for_display("Virtual-2", "enabled", |display| display.state == DisplayState::Enabled)?;
    let red = service.client("red", &["--app-id", "red", "--fullscreen", "Virtual-2"])?;
    service.wait_for_color("Virtual-2", RED)?;
    let pid = red.program.pid as i32;
    let is = |event: &Event, state| matches!(event, Event::ClientState { client } if client.pid == pid && client.state == state);
    red.signal(SIGSTOP)?;
    events.wait_for("unresponsive", |event| is(event, ConnectionState::Unresponsive))?;
    red.signal(SIGCONT)?;
    events.wait_for("alive", |event| is(event, ConnectionState::Alive))?;
    service.machine.unplug("gpu0", 1)?;
    let disconnected = |display: &Display| display.state == DisplayState::Disconnected;
    events.wait_for_display("Virtual-2", "disconnected", disconnected)?;
    service.wait_for_color("Virtual-1", RED)?;
    red.signal(SIGKILL)?;
    events.wait_for("the client's end", |event| matches!(event, Event::ClientDisconnected { .. }))?;

    let all = events.all()?;
    let is_client = |event: &&Event| !matches!(event, Event::ClientConnected { client } if client.kind == ClientKind::Control);
    // Before the first display's event are the ends of the commands that made sure of the
    // subscription.
    let after = all.iter().skip_while(|event| !matches!(event, Event::Display { .. })).filter(is_client);
    let found: Vec<String> = after.map(summary).collect();
    let expected = [
        "Virtual-2 Enabled",
        "layout hotplug Virtual-1 Virtual-2",
        "connected Wayland",
        "window red on Virtual-2",
        "focus true",
        "client Unresponsive",
        "client Alive",
        "Virtual-2 Disconnected",
        "window red on Virtual-1",
        "layout hotplug Virtual-1",
        "window closed",
        "focus false",
        "disconnected ClientClosed",
    ];
    ensure!(found == expected, "{found:#?}");
    // The readable stream has the same events, one per line. It may be a moment behind.
    service.machine.wait_until("the same events in readable form", |_| {
        let text = std::fs::read_to_string(&readable.log)?;
        let count = text.lines().skip_while(|line| !line.starts_with("display")).count();
        ensure!(count <= expected.len(), "{text}");
        Ok(count == expected.len())
    })?;
    service.finish()
}
