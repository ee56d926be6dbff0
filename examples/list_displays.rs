//! Lists the displays of the running service.
//!
//! ```text
//! $ cargo run -p geom-client --example list_displays
//! HDMI-A-1  enabled  1920x1080@60.00 Hz  scale 1  at 0,0  GSM L1751SQ 0x00002135
//! ```

use std::process::ExitCode;

use geom_client::geom_ipc::{Display, DisplayState};
use geom_client::{Client, ConnectOptions, Error};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("list_displays: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    // The service shows the name in `geom_compositor clients`.
    let options = ConnectOptions { name: "list_displays".into(), ..ConnectOptions::default() };
    let mut client = Client::connect(&options)?;
    for display in client.displays()? {
        println!("{}", describe(&display));
    }
    Ok(())
}

fn describe(display: &Display) -> String {
    let state = match display.state {
        DisplayState::Enabled => "enabled".to_owned(),
        DisplayState::Disabled => "disabled".to_owned(),
        DisplayState::Disconnected => "disconnected".to_owned(),
        DisplayState::Failed => format!("failed: {}", display.reason.as_deref().unwrap_or("no reason")),
    };
    let mut columns = vec![display.name.clone(), state];
    // Only an enabled display has a mode. Refresh rates are in millihertz.
    if let Some(mode) = display.mode {
        let hertz = f64::from(mode.refresh) / 1000.0;
        columns.push(format!("{}x{}@{hertz:.2} Hz", mode.width, mode.height));
        columns.push(format!("scale {}", display.scale));
        columns.push(format!("at {},{}", display.logical.x, display.logical.y));
    }
    // A monitor without an EDID has no identity.
    if let Some(monitor) = &display.monitor {
        let serial = monitor.serial.as_deref().unwrap_or_default();
        columns.push(format!("{} {} {serial}", monitor.make, monitor.model).trim_end().to_owned());
    }
    columns.join("  ")
}
