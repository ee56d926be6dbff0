//! Runs one program on all displays, and restarts it when it fails or hangs.
//!
//! Starts the compositor if none runs. When the program exits with status 0, the kiosk stops the
//! compositor if it started that, and exits. Ctrl+C ends only the kiosk and its program: displays
//! stay enabled, and the next start of the kiosk uses the same compositor.
//!
//! ```text
//! $ cargo run -p geom-client --example kiosk -- weston-terminal --fullscreen
//! ```
//!
//! On a device, let systemd start the kiosk, or let the compositor start the program (`--exec`).

use std::ffi::OsString;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use geom_client::geom_ipc::{ConnectType, ConnectionState, Event, Request};
use geom_client::{Compositor, Config, Error, Events};

/// How often the program's exit is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// The delay before a restart. It doubles with each restart, up to [`MAX_DELAY`].
const MIN_DELAY: Duration = Duration::from_millis(500);
const MAX_DELAY: Duration = Duration::from_secs(30);

/// After this time, a program is considered healthy, and the next restart is quick again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let command: Vec<OsString> = std::env::args_os().skip(1).collect();
    if command.is_empty() {
        eprintln!("usage: kiosk PROGRAM [ARGUMENT...]");
        return ExitCode::FAILURE;
    }
    match run(&command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kiosk: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &[OsString]) -> Result<(), Error> {
    let compositor = Compositor::new(Config {
        window_title: Some("Kiosk".into()),
        // Unplugged displays and broken connections are waited for, any number of times.
        connect_type: Some(ConnectType::KEEP_CONNECTION_OPEN),
        ..Config::default()
    })?;
    let mut delay = MIN_DELAY;
    let mut owned = false;
    loop {
        // A compositor that this kiosk started and that has crashed is started again. One that a
        // service manager started is waited for: `start` does nothing while the session lasts.
        if owned && !compositor.owns_service() {
            compositor.stop()?;
        }
        compositor.start()?;
        owned = compositor.owns_service();
        let started = Instant::now();
        let status = run_once(&compositor, command)?;
        if status.success() {
            return compositor.stop();
        }
        if started.elapsed() >= HEALTHY_AFTER {
            delay = MIN_DELAY;
        }
        eprintln!("kiosk: the program ended with {status}; restarting it in {delay:?}");
        std::thread::sleep(delay);
        delay = (delay * 2).min(MAX_DELAY);
    }
}

/// Starts the program, and returns its exit status.
fn run_once(compositor: &Compositor, command: &[OsString]) -> Result<ExitStatus, Error> {
    // Subscribes before the program connects, so that no event about it is missed.
    let events = compositor.events()?;
    let status = compositor.status()?;
    let [program, arguments @ ..] = command else {
        return Err(Error::BadArgument("no program".into()));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env("WAYLAND_DISPLAY", &status.wayland_display)
        .spawn()
        .map_err(|error| Error::BadArgument(format!("{program:?}: {error}")))?;
    let result = supervise(compositor, &events, &mut child);
    if result.is_err() {
        // The program must not outlive its supervisor.
        let _ = child.kill();
        let _ = child.wait();
    }
    result
}

fn supervise(compositor: &Compositor, events: &Events, child: &mut Child) -> Result<ExitStatus, Error> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let event = events.next_within(CHECK_INTERVAL)?;
        if let Some(Event::ClientState { client }) = event {
            let is_ours = u32::try_from(client.pid) == Ok(child.id());
            if is_ours && client.state == ConnectionState::Unresponsive {
                eprintln!("kiosk: the program does not answer heartbeats; killing it");
                compositor.request(Request::Kill { client: client.id })?;
            }
        }
    }
}
