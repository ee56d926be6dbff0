//! The session protocol: framing, `hello`, resuming by token. What remains are requests, decoded.

use geom_ipc::{
    ClientMessage, CloseReason, ConnectType, Error, ErrorKind, LineTooLong, Request, Response, Welcome,
    OLDEST_VERSION, VERSION,
};

use super::command::{decode, Command, Permissions};
use crate::clients::control_connection::Incoming;
use crate::clients::heartbeat::Event;
use crate::clients::sessions::ResumeError;
use crate::clients::{ClientId, Clients, Cx, Effect, Effects};

/// The maximum length of a client's name, in characters.
const MAX_NAME_LENGTH: usize = 256;

/// What a control client's socket had.
#[derive(Debug, PartialEq)]
pub enum Input {
    /// A request to carry out and to reply to, by this number.
    Command(u64, Command),
    /// A message that needs nothing but its effects.
    Handled,
    /// No whole message yet: the event loop watches the socket.
    Nothing,
    /// The client's next messages have to wait, or it is gone: the event loop ignores the socket.
    Stopped,
}

/// Reads and handles the next message of a control client.
pub fn read(clients: &mut Clients, id: ClientId, cx: &Cx<'_>) -> (Input, Effects) {
    let Some(control) = clients.control(id).filter(|control| !control.is_paused()) else {
        return (Input::Stopped, Effects::new());
    };
    match control.read_line() {
        Incoming::Line(line) => {
            let mut effects = clients.on(id, Event::Received, cx);
            let input = on_line(clients, id, &line, cx, &mut effects);
            (input, effects)
        }
        Incoming::Nothing => (Input::Nothing, Effects::new()),
        Incoming::TooLong => {
            let error = Error::new(ErrorKind::TooLong, LineTooLong.to_string());
            let mut effects = clients.reply(id, None, Err(error));
            effects.extend(clients.disconnect(id, CloseReason::ProtocolError, cx));
            (Input::Stopped, effects)
        }
        Incoming::Broken => (Input::Stopped, clients.broken(id, cx)),
    }
}

fn on_line(clients: &mut Clients, id: ClientId, line: &[u8], cx: &Cx<'_>, effects: &mut Effects) -> Input {
    let message = match ClientMessage::parse(line) {
        Ok(message) => message,
        Err(wrong) => {
            effects.extend(clients.reply(id, wrong.id, Err(wrong.error)));
            return Input::Handled;
        }
    };
    let number = message.id;
    let is_greeted = clients.control(id).is_some_and(|control| control.greeted);
    match message.request {
        Request::Hello { versions, name, connect_type, token } if !is_greeted => {
            let hello = Hello { versions, name, connect_type, token };
            on_hello(clients, id, number, hello, cx, effects);
        }
        _ if !is_greeted => {
            let error = Error::new(ErrorKind::Handshake, "the first request is hello");
            effects.extend(clients.reply(id, Some(number), Err(error)));
            effects.extend(clients.disconnect(id, CloseReason::ProtocolError, cx));
        }
        request => {
            let Some(connection) = clients.get(id) else { return Input::Stopped };
            let group = cx.config.control_group;
            let permissions = Permissions::of(&connection.peer, clients.own_user(), group);
            match decode(request, permissions) {
                Ok(command) => return Input::Command(number, command),
                Err(error) => effects.extend(clients.reply(id, Some(number), Err(error))),
            }
        }
    }
    Input::Handled
}

struct Hello {
    versions: Vec<u32>,
    name: String,
    connect_type: Option<ConnectType>,
    token: Option<String>,
}

fn on_hello(
    clients: &mut Clients,
    id: ClientId,
    number: u64,
    hello: Hello,
    cx: &Cx<'_>,
    effects: &mut Effects,
) {
    if !hello.versions.iter().any(|version| (OLDEST_VERSION..=VERSION).contains(version)) {
        let message = format!("this service speaks versions {OLDEST_VERSION} to {VERSION}");
        let error = Error::new(ErrorKind::Version, message);
        effects.extend(clients.reply(id, Some(number), Err(error)));
        effects.extend(clients.disconnect(id, CloseReason::ProtocolError, cx));
        return;
    }
    let name = hello.name.chars().take(MAX_NAME_LENGTH).collect();
    clients.set_greeted(id, name, hello.connect_type);
    let Some(token) = hello.token else { return welcome(clients, id, number, false, cx, effects) };
    match clients.resume(id, &token, cx, effects) {
        Ok(session) => {
            welcome(clients, session, number, true, cx, effects);
            // The client may have sent more than `hello` already.
            effects.push(Effect::ReadControl(session));
        }
        Err(error) => {
            // The client may begin a new session.
            if let Some(control) = clients.control(id) {
                control.greeted = false;
            }
            let (kind, message) = match error {
                ResumeError::Unknown => (
                    ErrorKind::NotFound,
                    "no session of your user has this token: it has ended, or the service was restarted",
                ),
                ResumeError::Final => {
                    (ErrorKind::Failed, "the session cannot be resumed: its last disconnect was final")
                }
                ResumeError::NoDescriptors => {
                    (ErrorKind::Failed, "the service has no file descriptor left; try again")
                }
            };
            effects.extend(clients.reply(id, Some(number), Err(Error::new(kind, message))));
        }
    }
}

fn welcome(
    clients: &mut Clients,
    id: ClientId,
    number: u64,
    resumed: bool,
    cx: &Cx<'_>,
    effects: &mut Effects,
) {
    let timeouts = cx.config.heartbeat(None);
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let connect_type = clients.get(id).map(|connection| connection.connect_type);
    let Some(control) = clients.control(id) else { return };
    let welcome = Welcome {
        version: VERSION,
        server: format!("geom_compositor {}", env!("CARGO_PKG_VERSION")),
        connection: id.into(),
        token: control.token.clone(),
        resumed,
        heartbeat_ms: millis(timeouts.interval),
        lost_ms: millis(timeouts.lost),
        connect_type,
    };
    effects.extend(clients.reply(id, Some(number), Ok(Response::Welcome(welcome))));
}

#[cfg(test)]
mod tests {
    use geom_ipc::{Reply, ReplyResult, MAX_LINE};

    use super::*;
    use crate::clients::tests::{ClientsFixture, ControlPeer};
    use crate::control::command::{Query, ServiceCommand};

    const KEEP: ConnectType = ConnectType::KEEP_CONNECTION_OPEN;

    /// Reads messages until there is none. Returns the commands, and how reading ended.
    fn read_all(world: &mut ClientsFixture, id: ClientId) -> (Vec<(u64, Command)>, Input) {
        let mut commands = Vec::new();
        loop {
            let (input, effects) = world.with(|clients, cx| read(clients, id, cx));
            world.apply(effects);
            world.reap();
            match input {
                Input::Command(number, command) => commands.push((number, command)),
                Input::Handled => {}
                end => return (commands, end),
            }
        }
    }

    fn only_reply(peer: &mut ControlPeer) -> Reply {
        let mut replies = peer.replies();
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies.remove(0)
    }

    fn welcome_of(peer: &mut ControlPeer) -> Welcome {
        match only_reply(peer).result {
            ReplyResult::Response(Response::Welcome(welcome)) => welcome,
            other => panic!("{other:?}"),
        }
    }

    fn error_of(peer: &mut ControlPeer) -> ErrorKind {
        match only_reply(peer).result {
            ReplyResult::Error(error) => error.kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hello_begins_a_session_and_requests_follow() {
        let mut world = ClientsFixture::new();
        let (id, mut peer) = world.raw_control();
        world.clients.take_unsaved();
        peer.send(
            r#"{"id":1,"request":"hello","versions":[1,7],"name":"me","connect_type":"DISCONNECT_ONCE"}"#,
        );
        peer.send(r#"{"id":2,"request":"status"}"#);
        let (commands, end) = read_all(&mut world, id);
        assert_eq!((commands, end), (vec![(2, Command::Query(Query::Status))], Input::Nothing));
        let welcome = welcome_of(&mut peer);
        assert_eq!((welcome.connection, welcome.resumed), (id.into(), false));
        assert_eq!((welcome.version, welcome.heartbeat_ms), (VERSION, 10_000));
        assert_eq!(welcome.connect_type, Some(ConnectType::DISCONNECT_ONCE));
        assert_eq!(welcome.token, world.token(id));
        assert_eq!(world.clients.control(id).map(|control| control.name.clone()), Some("me".into()));
        assert!(world.clients.take_unsaved());
    }

    #[test]
    fn session_begins_with_hello_and_a_common_version() {
        for (line, kind) in [
            (r#"{"id":1,"request":"status"}"#, ErrorKind::Handshake),
            (r#"{"id":1,"request":"hello","versions":[9]}"#, ErrorKind::Version),
        ] {
            let mut world = ClientsFixture::new();
            let (id, mut peer) = world.raw_control();
            peer.send(line);
            assert_eq!(read_all(&mut world, id), (vec![], Input::Stopped), "{line}");
            let messages = peer.messages();
            let [geom_ipc::ServerMessage::Reply(reply), geom_ipc::ServerMessage::Event(goodbye)] =
                &messages[..]
            else {
                panic!("{messages:?}")
            };
            let is_kind = matches!(&reply.result, ReplyResult::Error(error) if error.kind == kind);
            assert!(is_kind, "{line}: {reply:?}");
            assert_eq!(*goodbye, geom_ipc::Event::Goodbye { reason: CloseReason::ProtocolError });
            assert!(world.clients.is_quiet() && peer.is_closed());
        }
    }

    #[test]
    fn invalid_messages_are_answered_and_end_nothing() {
        let mut world = ClientsFixture::new();
        let (id, mut peer) = world.control(KEEP);
        for (line, kind) in [
            ("\u{fffd}\0", ErrorKind::BadMessage),
            ("[1,2", ErrorKind::BadMessage),
            (r#"{"id":3,"request":"dance"}"#, ErrorKind::UnknownRequest),
            (r#"{"id":4,"request":"hello","versions":[1]}"#, ErrorKind::Handshake),
            (r#"{"id":5,"request":"identify","seconds":0}"#, ErrorKind::BadValue),
        ] {
            peer.send(line);
            assert_eq!(read_all(&mut world, id), (vec![], Input::Nothing), "{line}");
            assert_eq!(error_of(&mut peer), kind, "{line}");
        }
        peer.send(r#"{"id":6,"request":"stop"}"#);
        assert_eq!(read_all(&mut world, id).0, [(6, Command::Service(ServiceCommand::Stop))]);
    }

    #[test]
    fn line_without_an_end_ends_the_connection() {
        let mut world = ClientsFixture::new();
        let (id, mut peer) = world.control(KEEP);
        let chunk = vec![b'x'; 1 << 16];
        let mut end = Input::Nothing;
        for _ in 0..2 * MAX_LINE / chunk.len() {
            let _ = std::io::Write::write_all(&mut peer.stream, &chunk);
            end = read_all(&mut world, id).1;
        }
        assert_eq!(end, Input::Stopped);
        assert!(world.clients.is_quiet());
    }

    #[test]
    fn broken_socket_keeps_a_session_and_no_other_connection() {
        let mut world = ClientsFixture::new();
        let (session, peer) = world.control(KEEP);
        drop(peer);
        assert_eq!(read_all(&mut world, session).1, Input::Stopped);
        assert!(world.clients.get(session).is_some_and(|connection| connection.is_lost()));
        let (raw, peer) = world.raw_control();
        drop(peer);
        assert_eq!(read_all(&mut world, raw).1, Input::Stopped);
        assert!(world.clients.get(raw).is_none());
    }

    #[test]
    fn token_resumes_a_session_and_an_unknown_one_may_begin_a_session() {
        let mut world = ClientsFixture::new();
        let (session, old) = world.control(KEEP);
        let token = world.token(session);
        drop(old);
        read_all(&mut world, session);
        let (id, mut peer) = world.raw_control();
        peer.send(r#"{"id":1,"request":"hello","versions":[1],"token":"guessed"}"#);
        assert_eq!(read_all(&mut world, id).1, Input::Nothing);
        assert_eq!(error_of(&mut peer), ErrorKind::NotFound);
        world.take_effects();
        peer.send(&format!(r#"{{"id":2,"request":"hello","versions":[1],"token":"{token}"}}"#));
        peer.send(r#"{"id":3,"request":"status"}"#);
        assert_eq!(read_all(&mut world, id).1, Input::Stopped);
        let welcome = welcome_of(&mut peer);
        assert!(welcome.resumed && welcome.connection == u64::from(session));
        // The session's socket is watched from now on, and what was received is not lost.
        assert_eq!(world.take_effects().last(), Some(&Effect::ReadControl(session)));
        assert_eq!(read_all(&mut world, session), (vec![(3, Command::Query(Query::Status))], Input::Nothing));
    }

    #[test]
    fn requests_wait_for_a_job_and_for_replies_to_be_read() {
        let mut world = ClientsFixture::new();
        let (id, mut peer) = world.control(KEEP);
        peer.send(r#"{"id":1,"request":"status"}"#);
        world.clients.begin_job(id, 1);
        assert_eq!(read_all(&mut world, id), (vec![], Input::Stopped));
        world.clients.end_job(id, 1);
        assert_eq!(read_all(&mut world, id), (vec![(1, Command::Query(Query::Status))], Input::Nothing));
        let displays = || Ok(Response::Displays(Vec::new()));
        while world.clients.control(id).is_some_and(|control| !control.is_paused()) {
            world.run(|clients, _| clients.reply(id, Some(1), displays()));
        }
        peer.send(r#"{"id":2,"request":"status"}"#);
        assert_eq!(read_all(&mut world, id), (vec![], Input::Stopped));
        while world.clients.flush(id) {
            peer.messages();
        }
        assert_eq!(read_all(&mut world, id).0, [(2, Command::Query(Query::Status))]);
    }
}
