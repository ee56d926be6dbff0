//! How connections end: the client disconnects, is asked to close, is disconnected or killed. All
//! that belongs to a connection is removed then.

use geom_ipc::{CloseReason, Error, ErrorKind};
use smithay::reexports::wayland_server::backend::DisconnectReason;
use tracing::{info, warn};

use super::connection::{Connection, Transport};
use super::heartbeat::{Event, Liveness};
use super::{ClientId, Clients, Cx, Effect, Effects};
use crate::config::UnresponsivePolicy;

impl Clients {
    /// Handles a client that has not replied in time or whose socket broke. The policy of its
    /// application decides about a Wayland client, the connection type about a control session.
    pub(super) fn give_up(&mut self, id: ClientId, cx: &Cx<'_>, effects: &mut Effects) {
        let Some(connection) = self.connections.get(&id) else { return };
        match &connection.transport {
            Transport::Control(_) => self.lose_session(id, cx, effects),
            Transport::Wayland(_) => {
                let policy = cx.config.heartbeat(cx.windows.app_id(id).as_deref()).on_lost;
                warn!(client = %id, ?policy, "client lost: it does not reply");
                if policy == UnresponsivePolicy::Kill {
                    effects.push(Effect::KillProcess(id));
                }
                effects.extend(self.disconnect(id, CloseReason::HeartbeatTimeout, cx));
            }
        }
    }

    /// Asks a client to close. It is disconnected at the configured time after that, or now if it
    /// has no window to close.
    pub fn request_close(&mut self, id: ClientId, reason: CloseReason, cx: &Cx<'_>) -> Effects {
        let Some(connection) = self.connections.get_mut(&id) else { return Effects::new() };
        info!(client = %id, ?reason, "asking the client to close");
        let is_wayland = matches!(connection.transport, Transport::Wayland(_));
        if !is_wayland || !cx.windows.has_toplevel(id) {
            return self.disconnect(id, reason, cx);
        }
        connection.leaving = Some((reason, cx.now + cx.config.close_time));
        let mut effects = vec![Effect::CloseWindows(id)];
        self.set_deadline(id, cx, &mut effects);
        effects
    }

    /// Kills a client's process.
    pub fn kill_process(&self, id: ClientId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let pid = connection.peer.pid;
        match self.process(id).map(|process| process.kill()) {
            Some(Ok(())) => info!(client = %id, pid, "client killed"),
            Some(Err(error)) => warn!(client = %id, pid, %error, "cannot kill the client"),
            None => warn!(client = %id, pid, "cannot kill the client: its process has ended"),
        }
    }

    /// Disconnects a client now.
    pub fn disconnect(&mut self, id: ClientId, reason: CloseReason, cx: &Cx<'_>) -> Effects {
        let Some(connection) = self.connections.get_mut(&id) else { return Effects::new() };
        if std::mem::replace(&mut connection.is_closing, true) {
            return Effects::new();
        }
        connection.leaving = Some((reason, cx.now));
        match &connection.transport {
            // reap() continues at the end of the iteration.
            Transport::Wayland(transport) => vec![Effect::CloseWayland(transport.client.clone())],
            Transport::Control(_) => {
                let goodbye = geom_ipc::Event::Goodbye { reason };
                let mut effects = self.send(id, &geom_ipc::ServerMessage::Event(goodbye));
                effects.extend(self.remove(id, reason, cx));
                effects
            }
        }
    }

    /// Handles the Wayland clients that the Wayland library has disconnected since the last call.
    pub fn reap(&mut self, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        let ended = {
            let mut ended = self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            std::mem::take(&mut *ended)
        };
        for (id, why) in ended {
            self.announce_if_new(id, cx, &mut effects);
            let reason = match &why {
                DisconnectReason::ProtocolError(error) => {
                    warn!(client = %id, %error, "client violated the protocol");
                    CloseReason::ProtocolError
                }
                DisconnectReason::ConnectionClosed => {
                    self.close_reason(id).unwrap_or(CloseReason::ClientClosed)
                }
            };
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            connection.ended = Some(reason);
            let Some(transport) = connection.wayland() else { continue };
            transport.descriptor = None;
            let client = transport.client.clone();
            effects.push(Effect::DestroyObjects { id, client });
        }
        effects
    }

    /// Removes a Wayland client whose objects are destroyed.
    pub fn objects_destroyed(&mut self, id: ClientId, cx: &Cx<'_>) -> Effects {
        let reason = self.connections.get(&id).and_then(|connection| connection.ended);
        self.remove(id, reason.unwrap_or(CloseReason::ClientClosed), cx)
    }

    /// Returns why a connection ends, if the client did not close it itself.
    pub(super) fn close_reason(&self, id: ClientId) -> Option<CloseReason> {
        let connection = self.connections.get(&id)?;
        match (connection.leaving, connection.state) {
            (Some((reason, _)), _) | (None, Liveness::Closed(reason)) => Some(reason),
            _ => None,
        }
    }

    /// Removes a connection that has ended.
    pub fn remove(&mut self, id: ClientId, reason: CloseReason, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        self.announce_if_new(id, cx, &mut effects);
        let Some(mut connection) = self.connections.remove(&id) else { return effects };
        self.deadlines.remove(id);
        self.unpinged.remove(&id);
        self.subscribers.remove(&id);
        self.counts.leave(connection.peer.pid, connection.peer.uid);
        if let Some(control) = connection.control() {
            effects.extend(control.close().map(Effect::Unwatch));
            self.mark_unsaved();
        }
        for (waiter, request) in connection.ping_waiters {
            let error = Error::new(ErrorKind::Failed, "the client is disconnected");
            effects.extend(self.reply(waiter, Some(request), Err(error)));
        }
        info!(client = %id, ?reason, "client disconnected");
        effects.push(Effect::Disconnected { id, reason });
        effects.push(Effect::CheckDisabledGlobals);
        self.arm_trim(cx, &mut effects);
        self.stop_if_closed(&mut effects);
        effects
    }

    /// Asks all Wayland clients to close. [`Effect::StopService`] follows once they are
    /// disconnected.
    pub fn shut_down(&mut self, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        if std::mem::replace(&mut self.shutting_down, true) {
            return effects;
        }
        let ids: Vec<ClientId> = self.wayland().map(|connection| connection.id).collect();
        for id in ids {
            effects.extend(self.request_close(id, CloseReason::Shutdown, cx));
        }
        self.stop_if_closed(&mut effects);
        effects
    }

    fn stop_if_closed(&self, effects: &mut Effects) {
        if self.shutting_down && self.wayland().next().is_none() {
            effects.push(Effect::StopService);
        }
    }

    /// Disconnects all clients: the service stops.
    pub fn disconnect_all(&mut self, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        let ids: Vec<ClientId> = self.iter().map(|connection: &Connection| connection.id).collect();
        for id in ids {
            effects.extend(self.on(id, Event::Close(CloseReason::Shutdown), cx));
        }
        effects
    }
}
