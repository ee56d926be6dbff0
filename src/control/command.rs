//! Requests of control clients, decoded and checked as far as that is possible without the state
//! of the service. Pure.

use std::path::PathBuf;
use std::time::Duration;

use geom_display::output_config::OutputConfig;
use geom_ipc::{Error, ErrorKind, Request};

use super::displays;
use crate::clients::peer::Peer;
use crate::clients::ClientId;

/// A request that is valid in itself, and that its client may make, by what it concerns.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Query(Query),
    Display(DisplayCommand),
    /// For a window, by its id.
    Window(u64, WindowCommand),
    Client(ClientId, ClientCommand),
    Calibration(CalibrationCommand),
    Service(ServiceCommand),
    Session(SessionCommand),
}

/// A request for a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    Displays,
    Clients,
    Windows,
    InputDevices,
    Metrics,
    Status,
}

/// Names of displays are as the client wrote them.
#[derive(Debug, Clone, PartialEq)]
pub enum DisplayCommand {
    Set { display: String, change: Box<DisplaySettings> },
    Confirm { display: String, keep: bool },
    Blank { display: String, blank: bool },
    Identify(Duration),
    Screenshot { display: String },
    AwaitFrame,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowCommand {
    Focus,
    Place { display: String },
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCommand {
    Ping,
    Disconnect,
    Kill,
}

/// For the calibration of a touchscreen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CalibrationCommand {
    /// Of a device, by its name or its name in /dev/input. `None` is the only touchscreen.
    Start(Option<String>),
    Cancel,
}

/// A command for the service itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceCommand {
    /// `None` reads the present profile again.
    UseProfile(Option<String>),
    Reload,
    /// `None` for the installed program.
    Upgrade(Option<PathBuf>),
    Stop,
}

/// A request about the client's own session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionCommand {
    Subscribe(bool),
    Pong(u64),
    Heartbeat,
    Goodbye,
}

impl Command {
    /// Returns whether carrying it out may take milliseconds in the event loop: commits, files, or
    /// all connections.
    pub fn takes_long(&self) -> bool {
        match self {
            Self::Display(command) => match command {
                DisplayCommand::Set { .. }
                | DisplayCommand::Confirm { .. }
                | DisplayCommand::Blank { .. }
                | DisplayCommand::Identify(_) => true,
                // The client waits for its job; jobs limit themselves.
                DisplayCommand::Screenshot { .. } | DisplayCommand::AwaitFrame => false,
            },
            Self::Service(command) => match command {
                ServiceCommand::UseProfile(_) | ServiceCommand::Reload | ServiceCommand::Stop => true,
                ServiceCommand::Upgrade(_) => false,
            },
            Self::Query(_)
            | Self::Window(..)
            | Self::Client(..)
            | Self::Calibration(_)
            | Self::Session(_) => false,
        }
    }
}

/// The settings of `set_display`. Names of displays in them are as the client wrote them.
#[derive(Debug, Clone, PartialEq)]
pub struct DisplaySettings {
    pub config: OutputConfig,
    /// The mode goes back to that of the configuration, or else to the preferred one.
    pub reset_mode: bool,
    /// The change is rolled back if it is not confirmed within this time.
    pub confirm_within: Option<Duration>,
}

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// Change something, or see what displays show.
    pub command: bool,
    /// Name a program that replaces the service: it runs as the service's user.
    pub name_program: bool,
}

impl Permissions {
    /// Returns the permissions of a process. `own` is the user of the service, `control_group` the
    /// configured group whose members may command it.
    pub fn of(peer: &Peer, own: u32, control_group: Option<u32>) -> Self {
        Self { command: peer.may_command(own, control_group), name_program: peer.is_owner(own) }
    }
}

pub fn not_found(message: String) -> Error {
    Error::new(ErrorKind::NotFound, message)
}

pub fn bad_value(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadValue, message)
}

pub fn failed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Failed, message)
}

fn not_allowed(message: &str) -> Error {
    Error::new(ErrorKind::NotAllowed, message)
}

/// Returns a number of seconds as a duration.
fn seconds(what: &str, value: u32, range: std::ops::RangeInclusive<u32>) -> Result<Duration, Error> {
    if range.contains(&value) {
        return Ok(Duration::from_secs(value.into()));
    }
    let (first, last) = (range.start(), range.end());
    Err(bad_value(format!("{what} {value} is not allowed; write a number from {first} to {last}")))
}

/// Returns a path of the service's file system, if it is absolute.
fn absolute(path: String) -> Result<PathBuf, Error> {
    let path = PathBuf::from(path);
    match path.is_absolute() {
        true => Ok(path),
        false => {
            let path = path.display();
            let message = format!("{path} is not an absolute path; the service has its own folder");
            Err(bad_value(message))
        }
    }
}

/// Decodes a request.
///
/// # Errors
/// If the client may not make it, or a value in it is not allowed.
pub fn decode(request: Request, permissions: Permissions) -> Result<Command, Error> {
    if request.is_privileged() && !permissions.command {
        return Err(not_allowed(
            "you may query and not command: that needs the service's own user, root, or a member of \
             the group in [clients] control_group of the configuration",
        ));
    }
    Ok(match request {
        Request::Hello { .. } => {
            return Err(Error::new(ErrorKind::Handshake, "hello was sent already"));
        }
        Request::Displays => Command::Query(Query::Displays),
        Request::Clients => Command::Query(Query::Clients),
        Request::Windows => Command::Query(Query::Windows),
        Request::InputDevices => Command::Query(Query::InputDevices),
        Request::Metrics => Command::Query(Query::Metrics),
        Request::Status => Command::Query(Query::Status),
        Request::SetDisplay { display, change, confirm_within } => {
            let reset_mode = change.mode.as_deref() == Some("preferred");
            let within = confirm_within.map(|value| seconds("confirm_within", value, 1..=600));
            let change = DisplaySettings {
                config: displays::decode(*change)?,
                reset_mode,
                confirm_within: within.transpose()?,
            };
            Command::Display(DisplayCommand::Set { display, change: Box::new(change) })
        }
        Request::ConfirmDisplay { display, keep } => {
            Command::Display(DisplayCommand::Confirm { display, keep })
        }
        Request::BlankDisplay { display, blank } => {
            Command::Display(DisplayCommand::Blank { display, blank })
        }
        Request::Identify { seconds: value } => {
            Command::Display(DisplayCommand::Identify(seconds("seconds", value, 1..=60)?))
        }
        Request::Screenshot { display } => Command::Display(DisplayCommand::Screenshot { display }),
        Request::AwaitFrame => Command::Display(DisplayCommand::AwaitFrame),
        Request::FocusWindow { window } => Command::Window(window, WindowCommand::Focus),
        Request::PlaceWindow { window, display } => Command::Window(window, WindowCommand::Place { display }),
        Request::CloseWindow { window } => Command::Window(window, WindowCommand::Close),
        Request::Ping { client } => Command::Client(client.into(), ClientCommand::Ping),
        Request::Disconnect { client } => Command::Client(client.into(), ClientCommand::Disconnect),
        Request::Kill { client } => Command::Client(client.into(), ClientCommand::Kill),
        Request::Calibrate { device } => Command::Calibration(CalibrationCommand::Start(device)),
        Request::CancelCalibration => Command::Calibration(CalibrationCommand::Cancel),
        Request::UseProfile { user } => Command::Service(ServiceCommand::UseProfile(user)),
        Request::Reload => Command::Service(ServiceCommand::Reload),
        Request::Upgrade { program: Some(_) } if !permissions.name_program => {
            return Err(not_allowed(
                "only the service's own user and root may name a program; upgrade without one",
            ));
        }
        Request::Upgrade { program } => {
            Command::Service(ServiceCommand::Upgrade(program.map(absolute).transpose()?))
        }
        Request::Stop => Command::Service(ServiceCommand::Stop),
        Request::Subscribe => Command::Session(SessionCommand::Subscribe(true)),
        Request::Unsubscribe => Command::Session(SessionCommand::Subscribe(false)),
        Request::Pong { serial } => Command::Session(SessionCommand::Pong(serial)),
        Request::Heartbeat => Command::Session(SessionCommand::Heartbeat),
        Request::Goodbye => Command::Session(SessionCommand::Goodbye),
    })
}

#[cfg(test)]
mod tests {
    use geom_ipc::DisplayChange;

    use super::*;

    const ALL: Permissions = Permissions { command: true, name_program: true };
    const QUERY: Permissions = Permissions { command: false, name_program: false };

    fn kind(request: Request, permissions: Permissions) -> Option<ErrorKind> {
        decode(request, permissions).err().map(|error| error.kind)
    }

    fn set_display(change: DisplayChange, confirm_within: Option<u32>) -> Request {
        Request::SetDisplay { display: "DP-1".into(), change: Box::new(change), confirm_within }
    }

    #[test]
    fn clients_that_may_only_query_do_not_command() {
        let query = [
            Request::Displays,
            Request::InputDevices,
            Request::Status,
            Request::Subscribe,
            Request::AwaitFrame,
        ];
        for request in query {
            assert_eq!(kind(request.clone(), QUERY), None, "{request:?}");
        }
        let privileged = [
            Request::Stop,
            Request::Kill { client: 1 },
            set_display(DisplayChange::default(), None),
            Request::Screenshot { display: "DP-1".into() },
        ];
        for request in privileged {
            let denied = kind(request.clone(), QUERY);
            assert_eq!(denied, Some(ErrorKind::NotAllowed), "{request:?}");
            assert_eq!(kind(request.clone(), ALL), None, "{request:?}");
        }
    }

    #[test]
    fn only_the_owner_names_a_program() {
        let member = Permissions { command: true, name_program: false };
        let named = || Request::Upgrade { program: Some("/bin/new".into()) };
        assert_eq!(kind(named(), member), Some(ErrorKind::NotAllowed));
        let upgrade = |program| Ok(Command::Service(ServiceCommand::Upgrade(program)));
        assert_eq!(decode(Request::Upgrade { program: None }, member), upgrade(None));
        assert_eq!(decode(named(), ALL), upgrade(Some("/bin/new".into())));
    }

    #[test]
    fn values_out_of_range_are_errors() {
        let brightness = DisplayChange { brightness: Some(0.0), ..DisplayChange::default() };
        let wrong = [
            Request::Identify { seconds: 0 },
            Request::Identify { seconds: 61 },
            set_display(DisplayChange::default(), Some(0)),
            set_display(DisplayChange::default(), Some(601)),
            set_display(brightness, None),
            Request::Upgrade { program: Some("new".into()) },
        ];
        for request in wrong {
            assert_eq!(kind(request.clone(), ALL), Some(ErrorKind::BadValue), "{request:?}");
        }
        let identify = decode(Request::Identify { seconds: 60 }, ALL);
        let minute = DisplayCommand::Identify(Duration::from_secs(60));
        assert_eq!(identify, Ok(Command::Display(minute)));
    }

    #[test]
    fn second_hello_is_an_error() {
        let hello =
            Request::Hello { versions: vec![1], name: String::new(), connect_type: None, token: None };
        assert_eq!(kind(hello, ALL), Some(ErrorKind::Handshake));
    }

    #[test]
    fn preferred_mode_resets_the_mode() {
        let change = DisplayChange { mode: Some("preferred".into()), ..DisplayChange::default() };
        let decoded = decode(set_display(change, Some(15)), ALL);
        let Ok(Command::Display(DisplayCommand::Set { change, .. })) = decoded else { panic!("no command") };
        assert!(change.reset_mode && change.config.mode.is_none());
        assert_eq!(change.confirm_within, Some(Duration::from_secs(15)));
    }

    #[test]
    fn group_members_may_command() {
        let peer =
            |uid, gid, groups: &[u32]| Peer { groups: groups.to_vec(), ..Peer::of_lost_session(uid, gid) };
        let command = |peer: Peer, group| Permissions::of(&peer, 1000, group).command;
        assert!(command(peer(1000, 1000, &[]), None));
        assert!(command(peer(0, 0, &[]), None));
        assert!(!command(peer(1001, 1001, &[7]), None));
        assert!(command(peer(1001, 1001, &[7]), Some(7)));
        assert!(command(peer(1001, 7, &[]), Some(7)));
        assert!(!command(peer(1001, 1001, &[8]), Some(7)));
        assert!(!Permissions::of(&peer(1001, 7, &[]), 1000, Some(7)).name_program);
    }
}
