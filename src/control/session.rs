//! Control sessions: hello, events, loss and return.

use std::os::fd::OwnedFd;

use geom_ipc::{
    Response, CloseReason, Error, ErrorKind, Event as IpcEvent, ClientMessage, ServerMessage, Reply, Request, Welcome,
    OLDEST_VERSION, VERSION,
};
use tracing::{info, warn};

use super::connection::{Incoming, STREAM};
use crate::clients::heartbeat::{Event, Liveness};
use crate::clients::connection::Connection;
use crate::clients::Clients;
use crate::compositor::State;

/// So many lost sessions are kept; the one lost longest makes room.
const KEPT: usize = 64;

/// So many requests of one client a turn: others have their turn as well.
const MAX_PER_DISPATCH: usize = 256;

impl Clients {
    /// What only its owner knows: 128 random bits.
    pub fn token(&self) -> std::io::Result<String> {
        let mut bytes = [0u8; 16];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl State {
    /// Reads a control client's requests. False where its source has to go.
    pub fn read_control(&mut self, id: u64) -> bool {
        for _ in 0..MAX_PER_DISPATCH {
            let Some(control) = self.clients.connections.get_mut(&id).and_then(Connection::control) else {
                return false;
            };
            if control.is_choked() {
                control.reading_stopped();
                return false;
            }
            match control.read_line() {
                Incoming::Line(line) => {
                    self.heard(id);
                    self.take_line(id, &line);
                }
                Incoming::Nothing => return true,
                Incoming::TooLong => {
                    control.reading_stopped();
                    let error = Error::new(ErrorKind::TooLong, geom_ipc::LineTooLong.to_string());
                    self.reply(id, None, Err(error));
                    self.disconnect(id, CloseReason::ProtocolError);
                    return false;
                }
                Incoming::Broken => {
                    control.reading_stopped();
                    self.broken(id);
                    return false;
                }
            }
        }
        true
    }

    /// Sends a control client what waits for room. False where nothing is left.
    pub fn write_control(&mut self, id: u64) -> bool {
        let Some(control) = self.clients.connections.get_mut(&id).and_then(Connection::control) else { return false };
        if control.flush() {
            return true;
        }
        control.has_room();
        if !control.is_reading() && control.is_open() {
            if let Err(error) = control.listen(&self.handle, id) {
                warn!(client = id, %error, "a control client can't be read from");
            }
        }
        false
    }

    fn take_line(&mut self, id: u64, line: &[u8]) {
        let greeted =
            self.clients.connections.get_mut(&id).and_then(Connection::control).is_some_and(|link| link.greeted);
        match ClientMessage::parse(line) {
            Err(wrong) => self.reply(id, wrong.id, Err(wrong.error)),
            Ok(ClientMessage {
                id: request,
                request: Request::Hello { versions, name, connect_type, token },
            }) => {
                if greeted {
                    let error = Error::new(ErrorKind::Handshake, "hello was said already");
                    return self.reply(id, Some(request), Err(error));
                }
                if !versions.iter().any(|version| (OLDEST_VERSION..=VERSION).contains(version)) {
                    let message = format!("this server speaks versions {OLDEST_VERSION} to {VERSION}");
                    self.reply(id, Some(request), Err(Error::new(ErrorKind::Version, message)));
                    return self.disconnect(id, CloseReason::ProtocolError);
                }
                if let Some(connection) = self.clients.connections.get_mut(&id) {
                    connection.connect_type = connect_type.unwrap_or(connection.connect_type);
                    if let Some(control) = connection.control() {
                        (control.greeted, control.name) = (true, name.chars().take(256).collect());
                    }
                }
                match token {
                    Some(token) => self.resume_session(id, request, &token),
                    None => self.welcome(id, request, false),
                }
            }
            Ok(ClientMessage { id: request, .. }) if !greeted => {
                let error = Error::new(ErrorKind::Handshake, "the first request is hello");
                self.reply(id, Some(request), Err(error));
                self.disconnect(id, CloseReason::ProtocolError);
            }
            Ok(ClientMessage { id: request, request: asked }) => self.request(id, request, asked),
        }
    }

    fn welcome(&mut self, id: u64, request: u64, resumed: bool) {
        let timeouts = self.config.clients.heartbeat(None);
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let Some(connection) = self.clients.connections.get_mut(&id) else { return };
        let connect_type = Some(connection.connect_type);
        let Some(control) = connection.control() else { return };
        let welcome = Welcome {
            version: VERSION,
            server: format!("geom_compositor {}", env!("CARGO_PKG_VERSION")),
            connection: id,
            token: control.token.clone(),
            resumed,
            heartbeat_ms: millis(timeouts.interval),
            lost_ms: millis(timeouts.lost),
            connect_type,
        };
        self.keep();
        self.reply(id, Some(request), Ok(Response::Welcome(welcome)));
    }

    /// Goes on with the session that has this token, over the new_client's socket.
    fn resume_session(&mut self, id: u64, request: u64, token: &str) {
        let uid = self.clients.connections.get(&id).map(|connection| connection.peer.uid);
        let session = self.clients.connections.iter_mut().find_map(|(known, connection)| {
            let same = *known != id && Some(connection.peer.uid) == uid;
            (same && connection.control().is_some_and(|control| control.token == token)).then_some(*known)
        });
        let Some(session) = session else {
            let message =
                "no session of yours has this token: it was released, or the service was started anew";
            if let Some(control) = self.clients.connections.get_mut(&id).and_then(Connection::control) {
                // It may go on with a new session.
                control.greeted = false;
            }
            return self.reply(id, Some(request), Err(Error::new(ErrorKind::NotFound, message)));
        };
        // A peer that returns before its old socket was seen to break.
        if !matches!(
            self.clients.connections.get(&session).map(|connection| connection.state),
            Some(Liveness::Lost { .. })
        ) {
            self.on_connection_event(session, Event::Broken);
        }
        let taken = self
            .clients
            .connections
            .get_mut(&id)
            .and_then(Connection::control)
            .map(|control| (control.duplicate(), std::mem::take(&mut control.name)));
        let (Some((Ok(stream), name)), true) = (taken, self.clients.connections.contains_key(&session)) else {
            let error =
                Error::new(ErrorKind::Failed, "the session can't be resumed: its second loss was final");
            return self.reply(id, Some(request), Err(error));
        };
        let handle = self.handle.clone();
        if let Some(connection) = self.clients.connections.get_mut(&session) {
            if let Some(control) = connection.control() {
                control.resume(stream, name);
                if let Err(error) = control.listen(&handle, session) {
                    warn!(client = session, %error, "a resumed session can't be read from");
                }
            }
        }
        // Its process is the session's now.
        let peer = self.clients.connections.get(&id).map(|connection| connection.peer.clone());
        if let Some((connection, peer)) = self.clients.connections.get_mut(&session).zip(peer) {
            let before = std::mem::replace(&mut connection.peer, peer);
            if let Some(connection) = self.clients.connections.get_mut(&id) {
                connection.peer = before;
            }
        }
        // Its connection is of the session now; the socket lives on in that.
        self.forget(id, CloseReason::ClientClosed);
        self.on_connection_event(session, Event::Resumed);
        self.welcome(session, request, true);
        self.publish_client(session, |client| IpcEvent::ClientState { client });
    }

    /// A control client's socket broke.
    fn broken(&mut self, id: u64) {
        let greeted =
            self.clients.connections.get_mut(&id).and_then(Connection::control).is_some_and(|link| link.greeted);
        if greeted {
            self.on_connection_event(id, Event::Broken);
        } else {
            self.forget(id, CloseReason::ClientClosed);
        }
    }

    /// A session without its client: kept or final, as the connection type says.
    pub fn session_lost(&mut self, id: u64) {
        let handle = self.handle.clone();
        let Some(connection) = self.clients.connections.get_mut(&id) else { return };
        let connect_type = connection.connect_type;
        let Some(control) = connection.control() else { return };
        control.disconnects += 1;
        let disconnects = control.disconnects;
        control.close(&handle);
        if connect_type.is_final(disconnects) {
            info!(client = id, disconnects, %connect_type, "session lost for good");
            return self.forget(id, CloseReason::HeartbeatTimeout);
        }
        self.keep();
        info!(client = id, disconnects, %connect_type, "session lost; it waits to be resumed");
        self.publish_client(id, |client| IpcEvent::ClientState { client });
        let lost = self.clients.connections.iter().filter_map(|(id, connection)| match connection.state {
            Liveness::Lost { since } => Some((since, *id)),
            _ => None,
        });
        let lost: Vec<_> = lost.collect();
        if lost.len() > KEPT {
            if let Some((_, oldest)) = lost.into_iter().min() {
                self.forget(oldest, CloseReason::OverLimit);
            }
        }
    }

    /// Answers a request.
    pub fn reply(&mut self, id: u64, request: Option<u64>, result: Result<Response, Error>) {
        self.send(id, &ServerMessage::Reply(Reply::new(request, result)));
    }

    pub fn send(&mut self, id: u64, message: &ServerMessage) {
        self.send_line(id, message.to_line(), None);
    }

    pub fn send_line(&mut self, id: u64, line: Vec<u8>, fd: Option<OwnedFd>) {
        let handle = self.handle.clone();
        let Some(control) = self.clients.connections.get_mut(&id).and_then(Connection::control) else { return };
        control.push(line, fd);
        if control.flush() {
            if let Err(error) = control.await_room(&handle, id) {
                warn!(client = id, %error, "a control client can't be written to");
            }
        }
    }

    /// Tells those who subscribed.
    pub fn publish_event(&mut self, event: &IpcEvent) {
        if self.clients.subscribers.is_empty() {
            return;
        }
        // Nothing is told of a client before its arrival.
        self.announce_clients();
        let line = ServerMessage::Event(event.clone()).to_line();
        for id in self.clients.subscribers.clone() {
            let Some(control) = self.clients.connections.get_mut(&id).and_then(Connection::control) else {
                self.clients.subscribers.remove(&id);
                continue;
            };
            if !control.is_open() {
                continue;
            }
            if control.unsent() > STREAM {
                warn!(client = id, "a control client reads too slowly: its stream of events ends");
                self.clients.subscribers.remove(&id);
                self.send(id, &ServerMessage::Event(IpcEvent::EventsLost));
                continue;
            }
            self.send_line(id, line.clone(), None);
        }
    }

    /// Tells those who subscribed about a connection.
    pub fn publish_client(&mut self, id: u64, event: impl FnOnce(geom_ipc::Client) -> IpcEvent) {
        if self.clients.subscribers.is_empty() {
            return;
        }
        if let Some(client) = self.ipc_client(id) {
            self.publish_event(&event(client));
        }
    }
}
