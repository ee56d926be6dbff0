//! The Rust programs of `examples/`, with a headless service. `libraries` runs the C, C++ and
//! Python ones.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use geom_client::geom_ipc::{DisplayChange, DisplayState, Request, SOCKET_NAME};
use geom_client::{Client, ConnectOptions};

const COMPOSITOR: &str = env!("CARGO_BIN_EXE_geom_compositor");
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The program of an example, which `cargo test` builds with the tests of geom-client.
fn example(name: &str, runtime_dir: &Path) -> Result<Command> {
    let program = Path::new(COMPOSITOR).with_file_name("examples").join(name);
    ensure!(program.is_file(), "no {}; build it: cargo build -p geom-client --examples", program.display());
    let mut command = Command::new(program);
    set_environment(&mut command, runtime_dir);
    Ok(command)
}

fn set_environment(command: &mut Command, runtime_dir: &Path) {
    command
        .env("XDG_RUNTIME_DIR", runtime_dir)
        .env("GEOM_COMPOSITOR_EXECUTABLE", COMPOSITOR)
        .env("GEOM_COMPOSITOR_BACKEND", "headless")
        .env_remove("GEOM_COMPOSITOR_SOCKET");
}

/// Runs a command; its standard output, and whether its exit status is 0.
fn run(command: &mut Command, input: &str) -> Result<(String, bool)> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success()))
}

/// A headless service, and a connection to it.
struct Service {
    runtime_dir: tempfile::TempDir,
    child: Child,
    client: Client,
}

impl Service {
    fn start() -> Result<Self> {
        let runtime_dir = tempfile::tempdir()?;
        let mut command = Command::new(COMPOSITOR);
        set_environment(&mut command, runtime_dir.path());
        let mut child = command.stdin(Stdio::null()).spawn()?;
        match connect(&runtime_dir.path().join(SOCKET_NAME)) {
            Ok(client) => Ok(Self { runtime_dir, child, client }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    fn example(&self, name: &str) -> Result<Command> {
        example(name, self.runtime_dir.path())
    }

    /// Width and height of the display's mode.
    fn size(&mut self) -> Result<(u32, u32)> {
        let display = self.client.displays()?.into_iter().next().context("no display")?;
        ensure!(display.state == DisplayState::Enabled, "{display:?}");
        display.mode.map(|mode| (mode.width, mode.height)).context("no mode")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects, and waits until a frame was presented.
fn connect(socket: &Path) -> Result<Client> {
    let options = ConnectOptions { socket: Some(socket.to_owned()), ..ConnectOptions::default() };
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        match Client::connect(&options) {
            Ok(mut client) => {
                client.request(Request::AwaitFrame)?;
                return Ok(client);
            }
            Err(error) if Instant::now() >= deadline => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[test]
fn list_displays_prints_each_display() -> Result<()> {
    let service = Service::start()?;
    let (text, success) = run(&mut service.example("list_displays")?, "")?;
    ensure!(success && text == "HEADLESS-1  enabled  1920x1080@60.00 Hz  scale 1  at 0,0\n", "{text}");
    Ok(())
}

#[test]
fn list_displays_fails_without_a_service() -> Result<()> {
    let runtime_dir = tempfile::tempdir()?;
    let (text, success) = run(&mut example("list_displays", runtime_dir.path())?, "")?;
    ensure!(!success && text.is_empty(), "{text}");
    Ok(())
}

#[test]
fn set_mode_with_confirmation_keeps_or_rolls_back() -> Result<()> {
    let mut service = Service::start()?;
    for (mode, input, kept, size) in [
        ("1280x720@60 cvt", "y\n", true, (1280, 720)),
        ("1600x900@60 cvt", "n\n", false, (1280, 720)),
        // The end of the input is no confirmation.
        ("1600x900@60 cvt", "", false, (1280, 720)),
    ] {
        let mut command = service.example("set_mode_with_confirmation")?;
        let (text, success) = run(command.args(["HEADLESS-1", mode]), input)?;
        let result = if kept { "kept\n" } else { "rolled back\n" };
        ensure!(success == kept && text.ends_with(result), "{mode}: {text}");
        ensure!(text.starts_with(&format!("HEADLESS-1 has the mode {}", &mode[..7])), "{text}");
        ensure!(service.size()? == size, "{mode}: {:?}", service.size()?);
    }
    Ok(())
}

#[test]
fn watch_events_prints_changes_of_displays() -> Result<()> {
    let mut service = Service::start()?;
    let mut child = service.example("watch_events")?.stdout(Stdio::piped()).spawn()?;
    let output = BufReader::new(child.stdout.take().context("no standard output")?);
    let result = (|| {
        let mut lines = output.lines();
        let first = lines.next().context("no output")??;
        ensure!(first == "displays: HEADLESS-1 Enabled", "{first}");
        for (enabled, state) in [(false, "Disabled"), (true, "Enabled")] {
            let change = Box::new(DisplayChange { enabled: Some(enabled), ..DisplayChange::default() });
            let display = "HEADLESS-1".to_owned();
            service.client.request(Request::SetDisplay { display, change, confirm_within: None })?;
            let wanted = format!("display: HEADLESS-1 {state}");
            // Waits without a deadline: the service's reply has come, so the event has been sent.
            while lines.next().context("the output ended")?? != wanted {}
        }
        Ok(())
    })();
    child.kill()?;
    child.wait()?;
    result
}

#[test]
fn kiosk_restarts_its_program_and_ends_with_it() -> Result<()> {
    let runtime_dir = tempfile::tempdir()?;
    let runs = runtime_dir.path().join("runs");
    // Fails the first time, and succeeds the second time.
    let script = format!("echo \"$WAYLAND_DISPLAY\" >> {0}; test $(wc -l < {0}) -eq 2", runs.display());
    let (_, success) = run(example("kiosk", runtime_dir.path())?.args(["/bin/sh", "-c", &script]), "")?;
    let runs = std::fs::read_to_string(runs)?;
    ensure!(success && runs.lines().count() == 2, "{runs}");
    ensure!(runs.lines().all(|line| line.starts_with("wayland-")), "{runs}");
    let socket = Some(runtime_dir.path().join(SOCKET_NAME));
    let options = ConnectOptions { socket, ..ConnectOptions::default() };
    ensure!(Client::connect(&options).is_err(), "the compositor outlived the kiosk that started it");
    Ok(())
}
