//! The command line: options of the service, and commands to a running service over its control
//! socket.

mod calibrate;
mod doctor;
mod edid;
mod error;
mod inputs;
pub mod options;
mod profile;
mod set;
mod tables;
pub mod terminal;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Subcommand};
use geom_client::{Client, ConnectOptions};
use geom_ipc::{Request, Response};
use serde::Serialize;

use self::error::Error;
use self::options::Options;
use crate::session::kiosk_kill;

/// A request to a running service, or a task that needs none.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// List displays: state, mode, position
    Displays(Format),
    /// List connections: process, state, displays
    Clients(Format),
    /// List windows
    Windows(Format),
    /// Calibrate a touchscreen: its display shows crosses to touch, and the result is printed or
    /// saved
    Calibrate(calibrate::Calibrate),
    /// List input devices: kind, port, display, and settings with their source
    #[command(alias = "input-devices")]
    Inputs(Format),
    /// Print the state of the service
    Status(Format),
    /// Print events until interrupted
    Events(Format),
    /// Change a display until the configuration is read again
    Set(Box<set::Set>),
    /// Focus a window and raise it
    Focus { window: u64 },
    /// Move a window to a display
    Place { window: u64, display: String },
    /// Ask a window to close
    Close { window: u64 },
    /// Ping a client and print the round-trip time
    Ping { client: u64 },
    /// Ask a client to close, and disconnect it if it does not
    Disconnect { client: u64 },
    /// Disconnect a client and kill its process
    Kill { client: u64 },
    /// Power displays down (DPMS); they stay part of the layout
    Blank {
        /// All displays by default
        #[arg(default_value = "*")]
        display: String,
    },
    /// Power displays up again
    Unblank {
        /// All displays by default
        #[arg(default_value = "*")]
        display: String,
    },
    /// Show each display's name on it
    Identify {
        /// From 1 to 60
        #[arg(long, default_value_t = 5)]
        seconds: u32,
    },
    /// Save what a display shows as PNG
    Screenshot {
        display: String,
        /// "-" is standard output
        #[arg(default_value = "screenshot.png")]
        file: PathBuf,
    },
    /// Print metrics of frames, connections and the process in the format of Prometheus
    Metrics(Format),
    /// Read the configuration again
    Reload,
    /// Replace the running program by another version; it takes over sockets, control sessions and
    /// window placement
    Upgrade {
        /// The installed one by default
        program: Option<PathBuf>,
    },
    /// Stop the service
    Stop,
    /// Decode EDIDs from files: identity and capabilities of a monitor
    Edid(edid::Files),
    /// Manage a user's settings for displays: save, show, edit, apply, reset, check
    #[command(subcommand)]
    Profile(profile::Profile),
    /// Examine the machine: seat, GPUs, monitors, configuration, sockets, units; each finding has a
    /// remedy
    Doctor(doctor::Doctor),
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
    /// Write the manual pages into a folder
    Man { folder: PathBuf },
    /// Kill the processes that the service has sent (geom-kiosk-kill.service)
    #[command(hide = true)]
    KillKioskPrograms,
}

/// The format of a result.
#[derive(Debug, Clone, Copy, Args)]
pub struct Format {
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

/// Runs a command and prints its result, or its error and the remedy.
pub fn run(command: Command) -> ExitCode {
    match perform(command) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has closed it.
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            terminal::print_error(&error.to_string());
            ExitCode::from(error.exit_status())
        }
    }
}

/// Connects to the service. The session ends with the command.
fn connect() -> Result<Client, geom_client::Error> {
    let once = Some(geom_ipc::ConnectType::DISCONNECT_ONCE);
    Client::connect(&ConnectOptions {
        name: "geom_compositor".into(),
        connect_type: once,
        timeout: Duration::from_secs(30),
        ..ConnectOptions::default()
    })
}

fn perform(command: Command) -> Result<(), Error> {
    let request = match command {
        Command::Displays(format) => return show(format, &connect()?.displays()?, tables::displays),
        Command::Clients(format) => return show(format, &connect()?.clients()?, tables::clients),
        Command::Windows(format) => return show(format, &connect()?.windows()?, tables::windows),
        Command::Inputs(format) => return show(format, &connect()?.input_devices()?, inputs::inputs),
        Command::Status(format) => return show(format, &connect()?.status()?, tables::status),
        Command::Metrics(format) => {
            return match connect()?.request(Request::Metrics)? {
                Response::Metrics(metrics) => show(format, &metrics, geom_ipc::Metrics::prometheus),
                _ => Err(Error::UnsupportedByService("metrics")),
            };
        }
        Command::Calibrate(options) => return calibrate::run(&options),
        Command::Events(format) => return events(format),
        Command::Screenshot { display, file } => return screenshot(&display, &file),
        Command::Edid(files) => return edid::run(&files),
        Command::Doctor(options) => return doctor::run(options),
        Command::Profile(command) => return profile::run(command),
        Command::Completions { shell } => {
            let mut command = Options::command();
            clap_complete::generate(shell, &mut command, "geom_compositor", &mut io::stdout());
            return Ok(());
        }
        Command::Man { folder } => return Ok(clap_mangen::generate_to(Options::command(), folder)?),
        Command::KillKioskPrograms => return Ok(kiosk_kill::run()?),
        Command::Set(change) => return set::run(*change),
        Command::Focus { window } => Request::FocusWindow { window },
        Command::Place { window, display } => Request::PlaceWindow { window, display },
        Command::Close { window } => Request::CloseWindow { window },
        Command::Ping { client } => Request::Ping { client },
        Command::Disconnect { client } => Request::Disconnect { client },
        Command::Kill { client } => Request::Kill { client },
        Command::Blank { display } => Request::BlankDisplay { display, blank: true },
        Command::Unblank { display } => Request::BlankDisplay { display, blank: false },
        Command::Identify { seconds } => Request::Identify { seconds },
        Command::Reload => Request::Reload,
        Command::Upgrade { program } => {
            let absolute = program.map(std::path::absolute).transpose()?;
            Request::Upgrade { program: absolute.map(|path| path.to_string_lossy().into_owned()) }
        }
        Command::Stop => Request::Stop,
    };
    match connect()?.request(request)? {
        Response::Pong { rtt_us } => {
            writeln!(io::stdout(), "reply after {:.2} ms", rtt_us as f64 / 1000.0)?;
        }
        Response::Displays(displays) => writeln!(io::stdout(), "{}", tables::displays(&displays))?,
        _ => {}
    }
    Ok(())
}

fn show<T: Serialize + ?Sized>(format: Format, value: &T, table: impl Fn(&T) -> String) -> Result<(), Error> {
    let text = match format.json {
        true => terminal::json(value)?,
        false => terminal::lines(&table(value)),
    };
    Ok(writeln!(io::stdout(), "{text}")?)
}

fn events(format: Format) -> Result<(), Error> {
    let mut client = connect()?;
    client.subscribe()?;
    loop {
        if let Some(event) = client.next_event(Duration::from_secs(3600))? {
            let text = match format.json {
                true => terminal::json_line(&event)?,
                false => tables::event(&event),
            };
            writeln!(io::stdout(), "{text}")?;
        }
    }
}

fn screenshot(display: &str, file: &std::path::Path) -> Result<(), Error> {
    let mut png = std::fs::File::from(connect()?.screenshot(display)?);
    if file == std::path::Path::new("-") {
        io::copy(&mut png, &mut io::stdout())?;
        return Ok(());
    }
    let mut to = std::fs::File::create(file).map_err(Error::at(file))?;
    io::copy(&mut png, &mut to).map_err(Error::at(file))?;
    Ok(())
}
