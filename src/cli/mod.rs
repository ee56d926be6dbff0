//! Commands to a running service, over its control socket.

mod doctor;
mod edid;
mod profile;
mod set;
mod tables;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Subcommand};
use geom_client::{Client, ConnectOptions, Error};
use geom_ipc::{Answer, ErrorKind, Request};
use serde::Serialize;

use crate::options::Options;

/// Exit statuses beside 0, and clap's 2 for a wrong command line.
const FAILED: u8 = 1;
const NOT_RUNNING: u8 = 3;
const NOT_ALLOWED: u8 = 4;
const NOT_FOUND: u8 = 5;

/// What to ask a running service.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// List displays: state, mode, place
    Displays(Output),
    /// List connections: who, how alive, where
    Clients(Output),
    /// List windows
    Windows(Output),
    /// Tell how the service is
    Status(Output),
    /// Print events as they come, until interrupted
    Events(Output),
    /// Change a display until the configuration is read again
    Set(Box<set::Set>),
    /// Give a window the keyboard and put it in front
    Focus { window: u64 },
    /// Move a window to a display
    Place { window: u64, display: String },
    /// Ask a window to close
    Close { window: u64 },
    /// Ask a client for a sign of life, and tell how long it took
    Ping { client: u64 },
    /// Ask a client to leave, and cut its connection if it does not
    Disconnect { client: u64 },
    /// Cut a client's connection and kill its process
    Kill { client: u64 },
    /// Switch displays' light off; they keep all else
    Blank {
        /// All where none is named
        #[arg(default_value = "*")]
        display: String,
    },
    /// Switch displays' light on again
    Unblank {
        /// All where none is named
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
        /// Where to; "-" is standard output
        #[arg(default_value = "screenshot.png")]
        file: PathBuf,
    },
    /// Show figures of frames, connections and the process, as Prometheus reads them
    Metrics(Output),
    /// Read the configuration again
    Reload,
    /// Let another program take the running one's place, with its sockets, sessions and places
    Upgrade {
        /// The installed one where none is named
        program: Option<PathBuf>,
    },
    /// End the service
    Stop,
    /// Decode EDIDs from files: who the monitor is, and what it can do
    Edid(edid::Files),
    /// Wishes for monitors that a user keeps: save, show, edit, apply, reset, check
    #[command(subcommand)]
    Profile(profile::Profile),
    /// Examine the machine: seat, GPUs, monitors, configuration, sockets, units, and what to do about each finding
    Doctor(doctor::Doctor),
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
    /// Write the manual pages into a folder
    Man { folder: PathBuf },
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, Args)]
pub struct Output {
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
}

/// Does it and says how it went, in words and as the exit status.
pub fn run(command: Command) -> ExitCode {
    match perform(command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads from us has seen enough.
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("geom_compositor: {error}");
            ExitCode::from(match error {
                Error::NotRunning(_) => NOT_RUNNING,
                Error::Server(error) => match error.kind {
                    ErrorKind::NotAllowed => NOT_ALLOWED,
                    ErrorKind::NotFound => NOT_FOUND,
                    _ => FAILED,
                },
                _ => FAILED,
            })
        }
    }
}

fn connect() -> Result<Client, Error> {
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
        Command::Displays(output) => return show(output, &connect()?.displays()?, tables::displays),
        Command::Clients(output) => return show(output, &connect()?.clients()?, tables::clients),
        Command::Windows(output) => return show(output, &connect()?.windows()?, tables::windows),
        Command::Status(output) => return show(output, &connect()?.status()?, tables::status),
        Command::Metrics(output) => {
            return match connect()?.request(Request::Metrics)? {
                Answer::Metrics(metrics) => show(output, &metrics, geom_ipc::Metrics::prometheus),
                _ => Err(Error::BadArgument("the service knows no metrics: upgrade it".into())),
            };
        }
        Command::Events(output) => return events(output),
        Command::Screenshot { display, file } => return screenshot(&display, &file),
        Command::Edid(files) => return edid::run(&files),
        Command::Doctor(asked) => return doctor::run(asked),
        Command::Profile(command) => return profile::run(command),
        Command::Completions { shell } => {
            let mut command = Options::command();
            clap_complete::generate(shell, &mut command, "geom_compositor", &mut io::stdout());
            return Ok(());
        }
        Command::Man { folder } => return Ok(clap_mangen::generate_to(Options::command(), folder)?),
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
        Answer::Pong { rtt_us } => writeln!(io::stdout(), "answered after {:.2} ms", rtt_us as f64 / 1000.0)?,
        Answer::Displays(displays) => writeln!(io::stdout(), "{}", tables::displays(&displays))?,
        _ => {}
    }
    Ok(())
}

fn show<T: Serialize + ?Sized>(output: Output, value: &T, table: impl Fn(&T) -> String) -> Result<(), Error> {
    let text = match output.json {
        true => serde_json::to_string_pretty(value).map_err(|error| Error::Protocol(error.to_string()))?,
        false => table(value),
    };
    Ok(writeln!(io::stdout(), "{text}")?)
}

fn events(output: Output) -> Result<(), Error> {
    let mut client = connect()?;
    client.subscribe()?;
    loop {
        if let Some(event) = client.next_event(Duration::from_secs(3600))? {
            let text = match output.json {
                true => serde_json::to_string(&event).map_err(|error| Error::Protocol(error.to_string()))?,
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
    let named = |error: io::Error| Error::BadArgument(format!("{}: {error}", file.display()));
    let mut to = std::fs::File::create(file).map_err(named)?;
    io::copy(&mut png, &mut to).map_err(named)?;
    Ok(())
}
