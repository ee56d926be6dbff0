//! Control clients: messages to them, their subscriptions, and sessions that outlive their socket.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use geom_ipc::{
    ClientKind, CloseReason, ConnectType, Error, Event as IpcEvent, Reply, Response, ServerMessage,
};
use tracing::{info, warn};

use super::connection::Connection;
use super::control_connection::{ControlConnection, Ticket, EVENT_BACKLOG_LIMIT};
use super::heartbeat::{Event, Liveness};
use super::{ClientId, Clients, Cx, Effect, Effects};

/// The maximum number of lost sessions of one user that are kept. Then the session that was lost
/// first is removed.
pub const MAX_LOST_SESSIONS_PER_USER: usize = 64;

/// The maximum number of lost sessions of all users. Then that one is removed which the user with
/// the most lost sessions lost first.
pub const MAX_LOST_SESSIONS: usize = 256;

/// Returns a secret for resuming a session: 128 random bits.
///
/// # Errors
/// If the kernel has no random numbers.
pub fn new_token() -> std::io::Result<String> {
    let mut bytes = [0u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Why a session cannot be resumed.
#[derive(Debug, PartialEq, Eq)]
pub enum ResumeError {
    /// No session of this user has the token.
    Unknown,
    /// The session's last disconnect was final.
    Final,
    /// The limit of open descriptors is reached.
    NoDescriptors,
}

impl Clients {
    /// Returns a control client's socket.
    pub fn control(&mut self, id: ClientId) -> Option<&mut ControlConnection> {
        self.connections.get_mut(&id).and_then(Connection::control)
    }

    /// Sets what a client chose in `hello`.
    pub fn set_greeted(&mut self, id: ClientId, name: String, connect_type: Option<ConnectType>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.connect_type = connect_type.unwrap_or(connection.connect_type);
        if let Some(control) = connection.control() {
            (control.greeted, control.name) = (true, name);
            self.mark_unsaved();
        }
    }

    /// Replies to a request.
    pub fn reply(&mut self, id: ClientId, request: Option<u64>, result: Result<Response, Error>) -> Effects {
        self.send(id, &ServerMessage::Reply(Reply::new(request, result)))
    }

    /// Replies to a request with a descriptor.
    pub fn reply_with_fd(
        &mut self,
        id: ClientId,
        request: u64,
        response: Response,
        fd: Option<OwnedFd>,
    ) -> Effects {
        let reply = Reply::new(Some(request), Ok(response));
        self.send_line(id, ServerMessage::Reply(reply).to_line(), fd)
    }

    pub(super) fn send(&mut self, id: ClientId, message: &ServerMessage) -> Effects {
        self.send_line(id, message.to_line(), None)
    }

    fn send_line(&mut self, id: ClientId, line: Vec<u8>, fd: Option<OwnedFd>) -> Effects {
        let Some(control) = self.control(id) else { return Effects::new() };
        control.push(line, fd);
        match control.flush() && control.request_writable() {
            true => vec![Effect::AwaitWritable(id)],
            false => Effects::new(),
        }
    }

    /// Sends what is queued for a control client. Returns whether something is left.
    pub fn flush(&mut self, id: ClientId) -> bool {
        let Some(control) = self.control(id) else { return false };
        if control.flush() {
            return true;
        }
        control.set_writer(None);
        false
    }

    /// Subscribes a control client to events, or ends its subscription.
    pub fn subscribe(&mut self, id: ClientId, subscribed: bool) {
        if subscribed && self.connections.contains_key(&id) {
            self.subscribers.insert(id);
        } else {
            self.subscribers.remove(&id);
        }
    }

    pub fn has_subscribers(&self) -> bool {
        !self.subscribers.is_empty()
    }

    /// Sends an event to all subscribers. Events about new clients come first: see
    /// [`Clients::announce`].
    pub fn publish(&mut self, event: &IpcEvent) -> Effects {
        let mut effects = Effects::new();
        let line = ServerMessage::Event(event.clone()).to_line();
        for id in self.subscribers.clone() {
            let Some(control) = self.control(id) else { continue };
            if !control.is_open() {
                continue;
            }
            if control.unsent_bytes() > EVENT_BACKLOG_LIMIT {
                warn!(client = %id, "control client reads too slowly: its subscription ends");
                self.subscribers.remove(&id);
                effects.extend(self.send(id, &ServerMessage::Event(IpcEvent::EventsLost)));
                continue;
            }
            effects.extend(self.send_line(id, line.clone(), None));
        }
        effects
    }

    /// Publishes a connection's state.
    pub(super) fn publish_state(&mut self, id: ClientId, cx: &Cx<'_>, effects: &mut Effects) {
        if !self.has_subscribers() {
            return;
        }
        self.announce_if_new(id, cx, effects);
        if let Some(connection) = self.connections.get(&id) {
            effects.push(Effect::StateChanged(Box::new(connection.describe(cx.now))));
        }
    }

    /// Handles a control client's socket that broke.
    pub fn broken(&mut self, id: ClientId, cx: &Cx<'_>) -> Effects {
        match self.control(id).is_some_and(|control| control.greeted) {
            true => self.on(id, Event::Broken, cx),
            false => self.remove(id, CloseReason::ClientClosed, cx),
        }
    }

    /// Closes the socket of a session. The connection type decides whether the session is kept.
    pub(super) fn lose_session(&mut self, id: ClientId, cx: &Cx<'_>, effects: &mut Effects) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let connect_type = connection.connect_type;
        let Some(control) = connection.control() else { return };
        control.disconnects += 1;
        let disconnects = control.disconnects;
        effects.extend(control.close().map(Effect::Unwatch));
        if connect_type.is_final(disconnects) {
            info!(client = %id, disconnects, %connect_type, "session lost, and not kept");
            return effects.extend(self.remove(id, CloseReason::HeartbeatTimeout, cx));
        }
        self.mark_unsaved();
        info!(client = %id, disconnects, %connect_type, "session lost, and kept");
        self.publish_state(id, cx, effects);
        self.limit_lost_sessions(cx, effects);
    }

    fn limit_lost_sessions(&mut self, cx: &Cx<'_>, effects: &mut Effects) {
        let mut lost: BTreeMap<u32, Vec<_>> = BTreeMap::new();
        for connection in self.connections.values().filter(|one| one.kind() == ClientKind::Control) {
            if let Liveness::Lost { since } = connection.state {
                lost.entry(connection.peer.uid).or_default().push((since, connection.id));
            }
        }
        let all: usize = lost.values().map(Vec::len).sum();
        let Some(most) = lost.into_values().max_by_key(Vec::len) else { return };
        if most.len() > MAX_LOST_SESSIONS_PER_USER || all > MAX_LOST_SESSIONS {
            if let Some((_, oldest)) = most.into_iter().min() {
                effects.extend(self.remove(oldest, CloseReason::OverLimit, cx));
            }
        }
    }

    /// Continues the session that has this token over the socket of connection `id`, which is
    /// removed then. Returns the session's connection.
    ///
    /// # Errors
    /// If there is no such session of the same user, or no longer. The connection stays, and its
    /// client may begin a new session.
    pub fn resume(
        &mut self,
        id: ClientId,
        token: &str,
        cx: &Cx<'_>,
        effects: &mut Effects,
    ) -> Result<ClientId, ResumeError> {
        let uid = self.connections.get(&id).map(|connection| connection.peer.uid);
        let session = self.connections.values_mut().find_map(|connection| {
            let is_candidate = connection.id != id && Some(connection.peer.uid) == uid;
            let has_token = connection.control().is_some_and(|control| control.token == token);
            (is_candidate && has_token).then_some(connection.id)
        });
        let session = session.ok_or(ResumeError::Unknown)?;
        // The client may return before its old socket is seen to break.
        if !self.connections.get(&session).is_some_and(Connection::is_lost) {
            effects.extend(self.on(session, Event::Broken, cx));
        }
        if !self.connections.contains_key(&session) {
            return Err(ResumeError::Final);
        }
        let Some(connection) = self.connections.get_mut(&id) else { return Err(ResumeError::Unknown) };
        // The session belongs to the new process now. Each connection stays counted for its own.
        let peer = connection.peer.clone();
        let Some(control) = connection.control() else { return Err(ResumeError::Unknown) };
        let socket = control.hand_over().map_err(|_| ResumeError::NoDescriptors)?;
        let name = std::mem::take(&mut control.name);
        if let Some(connection) = self.connections.get_mut(&session) {
            let old_peer = std::mem::replace(&mut connection.peer, peer);
            if let Some(control) = connection.control() {
                control.resume(socket, name);
            }
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.peer = old_peer;
            }
        }
        effects.extend(self.remove(id, CloseReason::ClientClosed, cx));
        effects.extend(self.on(session, Event::Resumed, cx));
        self.publish_state(session, cx, effects);
        Ok(session)
    }

    /// Makes a control client's further requests wait for one that is carried out on another
    /// thread.
    pub fn begin_job(&mut self, id: ClientId, ticket: Ticket) {
        if let Some(control) = self.control(id) {
            control.begin_job(ticket);
        }
    }

    /// Ends that wait. Returns false if the client has left meanwhile.
    pub fn end_job(&mut self, id: ClientId, ticket: Ticket) -> bool {
        self.control(id).is_some_and(|control| control.end_job(ticket))
    }
}
