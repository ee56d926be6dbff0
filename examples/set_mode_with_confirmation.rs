//! Sets the mode of a display, and keeps it only if the user confirms it within 15 seconds.
//!
//! The service rolls the change back by itself if no confirmation arrives. So the display returns
//! even if the new mode shows nothing, or if this program is killed.
//!
//! ```text
//! $ cargo run -p geom-client --example set_mode_with_confirmation HDMI-A-1 1280x720@60
//! HDMI-A-1 has the mode 1280x720@60.00 Hz. Keep it? Type y and Enter within 15 s:
//! ```

use std::io::Write;
use std::process::ExitCode;
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::time::Duration;

use geom_client::geom_ipc::{DisplayChange, ErrorKind, Request, Response};
use geom_client::{ConnectOptions, Error, Session};

/// Seconds until the service rolls the change back.
const CONFIRM_WITHIN: u32 = 15;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [display, mode] = arguments.as_slice() else {
        eprintln!("usage: set_mode_with_confirmation DISPLAY MODE");
        return ExitCode::FAILURE;
    };
    match run(display, mode) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("set_mode_with_confirmation: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether the mode was kept.
fn run(display: &str, mode: &str) -> Result<bool, Error> {
    // A `Session` answers heartbeats while this program waits for the user.
    let options = ConnectOptions { name: "set_mode".into(), ..ConnectOptions::default() };
    let session = Session::connect(&options)?;

    // Fields that are left out do not change. A mode that the display does not offer, or that the
    // kernel refuses, is an error, and the display stays as it was.
    let change = DisplayChange { mode: Some(mode.to_owned()), ..DisplayChange::default() };
    let response = session.request(Request::SetDisplay {
        display: display.to_owned(),
        change: Box::new(change),
        confirm_within: Some(CONFIRM_WITHIN),
    })?;
    if let Response::Displays(displays) = response {
        let changed = displays.iter().find(|known| known.name == display);
        if let Some(mode) = changed.and_then(|display| display.mode) {
            let hertz = f64::from(mode.refresh) / 1000.0;
            print!("{display} has the mode {}x{}@{hertz:.2} Hz. ", mode.width, mode.height);
        }
    }

    let keep = ask_to_keep()?;
    let confirm = Request::ConfirmDisplay { display: display.to_owned(), keep };
    match session.request(confirm) {
        Ok(_) => {
            println!("{}", if keep { "kept" } else { "rolled back" });
            Ok(keep)
        }
        // The time ran out: the service has rolled the change back.
        Err(Error::Server(error)) if error.kind == ErrorKind::NotFound => {
            println!("rolled back");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Returns whether the user types `y` in time. No answer and the end of the input mean no.
fn ask_to_keep() -> Result<bool, Error> {
    print!("Keep it? Type y and Enter within {CONFIRM_WITHIN} s: ");
    std::io::stdout().flush()?;
    // Reading from a terminal has no timeout, so a thread reads.
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let result = std::io::stdin().read_line(&mut line).map(|_| line);
        // Fails if the time has run out. No one waits for the answer then.
        let _ = sender.send(result);
    });
    match receiver.recv_timeout(Duration::from_secs(CONFIRM_WITHIN.into())) {
        Ok(line) => Ok(line?.trim().eq_ignore_ascii_case("y")),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(false),
    }
}
