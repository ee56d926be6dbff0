//! Requests of control clients, decoded and checked as far as that is possible without the state
//! of the service. Pure.

use std::path::PathBuf;
use std::time::Duration;

use geom_display::output_config::OutputConfig;
use geom_ipc::{Error, ErrorKind, Request};

use super::displays;
use crate::clients::peer::Peer;
use crate::clients::ClientId;

/// A request that is valid in itself, and that its client may make.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Displays,
    Clients,
    Windows,
    InputDevices,
    Metrics,
    Status,
    SetDisplay {
        display: String,
        change: Box<DisplayCommand>,
    },
    ConfirmDisplay {
        display: String,
        keep: bool,
    },
    BlankDisplay {
        display: String,
        blank: bool,
    },
    Identify(Duration),
    Screenshot {
        display: String,
    },
    FocusWindow(u64),
    PlaceWindow {
        window: u64,
        display: String,
    },
    CloseWindow(u64),
    Ping(ClientId),
    Disconnect(ClientId),
    Kill(ClientId),
    AwaitFrame,
    UseProfile(Option<String>),
    Reload,
    /// `None` for the installed program.
    Upgrade(Option<PathBuf>),
    Stop,
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
            Self::SetDisplay { .. }
            | Self::ConfirmDisplay { .. }
            | Self::BlankDisplay { .. }
            | Self::Identify(_)
            | Self::UseProfile(_)
            | Self::Reload
            | Self::Stop => true,
            Self::Displays
            | Self::Clients
            | Self::Windows
            | Self::InputDevices
            | Self::Metrics
            | Self::Status
            // The client waits for their jobs, which limit themselves.
            | Self::Screenshot { .. }
            | Self::Upgrade(_)
            | Self::FocusWindow(_)
            | Self::PlaceWindow { .. }
            | Self::CloseWindow(_)
            | Self::Ping(_)
            | Self::Disconnect(_)
            | Self::Kill(_)
            | Self::AwaitFrame
            | Self::Subscribe(_)
            | Self::Pong(_)
            | Self::Heartbeat
            | Self::Goodbye => false,
        }
    }
}

/// The settings of `set_display`. Names of displays in them are as the client wrote them.
#[derive(Debug, Clone, PartialEq)]
pub struct DisplayCommand {
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
        Request::Displays => Command::Displays,
        Request::Clients => Command::Clients,
        Request::Windows => Command::Windows,
        Request::InputDevices => Command::InputDevices,
        Request::Metrics => Command::Metrics,
        Request::Status => Command::Status,
        Request::SetDisplay { display, change, confirm_within } => {
            let reset_mode = change.mode.as_deref() == Some("preferred");
            let within = confirm_within.map(|value| seconds("confirm_within", value, 1..=600));
            let change = DisplayCommand {
                config: displays::decode(*change)?,
                reset_mode,
                confirm_within: within.transpose()?,
            };
            Command::SetDisplay { display, change: Box::new(change) }
        }
        Request::ConfirmDisplay { display, keep } => Command::ConfirmDisplay { display, keep },
        Request::BlankDisplay { display, blank } => Command::BlankDisplay { display, blank },
        Request::Identify { seconds: value } => Command::Identify(seconds("seconds", value, 1..=60)?),
        Request::Screenshot { display } => Command::Screenshot { display },
        Request::FocusWindow { window } => Command::FocusWindow(window),
        Request::PlaceWindow { window, display } => Command::PlaceWindow { window, display },
        Request::CloseWindow { window } => Command::CloseWindow(window),
        Request::Ping { client } => Command::Ping(client.into()),
        Request::Disconnect { client } => Command::Disconnect(client.into()),
        Request::Kill { client } => Command::Kill(client.into()),
        Request::AwaitFrame => Command::AwaitFrame,
        Request::UseProfile { user } => Command::UseProfile(user),
        Request::Reload => Command::Reload,
        Request::Upgrade { program: Some(_) } if !permissions.name_program => {
            return Err(not_allowed(
                "only the service's own user and root may name a program; upgrade without one",
            ));
        }
        Request::Upgrade { program } => Command::Upgrade(program.map(absolute).transpose()?),
        Request::Stop => Command::Stop,
        Request::Subscribe => Command::Subscribe(true),
        Request::Unsubscribe => Command::Subscribe(false),
        Request::Pong { serial } => Command::Pong(serial),
        Request::Heartbeat => Command::Heartbeat,
        Request::Goodbye => Command::Goodbye,
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
        assert_eq!(decode(Request::Upgrade { program: None }, member), Ok(Command::Upgrade(None)));
        assert_eq!(decode(named(), ALL), Ok(Command::Upgrade(Some("/bin/new".into()))));
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
        assert_eq!(identify, Ok(Command::Identify(Duration::from_secs(60))));
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
        let Ok(Command::SetDisplay { change, .. }) = decode(set_display(change, Some(15)), ALL) else {
            panic!("no command")
        };
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
