//! How connections end: the client disconnects, is asked to close, is disconnected or killed. All
//! that belongs to a connection is removed then.

use std::os::fd::BorrowedFd;
use std::rc::Rc;

use geom_ipc::{CloseReason, Error, ErrorKind};
use rustix::net::{shutdown, Shutdown};
use tracing::{debug, info, warn};

use super::connection::{Connection, Transport};
use super::heartbeat::{Event, Liveness};
use super::listen::KIOSK_SANDBOX;
use super::peer::Process;
use super::{ClientId, Clients, Cx, Effect, Effects, EndedClient};
use crate::config::UnresponsivePolicy;
use crate::session::kiosk_kill;

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

    /// Kills a client's process; that of a kiosk program by its own user's helper.
    pub fn kill_process(&self, id: ClientId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let pid = connection.peer.pid;
        let is_kiosk = connection.context.as_deref() == Some(KIOSK_SANDBOX.name);
        let kill = |process: Rc<Process>| match process.kill() {
            Err(error) if is_kiosk && error.kind() == std::io::ErrorKind::PermissionDenied => {
                kiosk_kill::request(process.fd())
            }
            result => result,
        };
        match self.process(id).map(kill) {
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
            // The library reads the end of its input, and destroys the client in its next
            // dispatch. It must not do so while it dispatches the client's requests.
            Transport::Wayland(transport) => {
                let descriptor = transport.descriptor;
                if !self.has_ended(id) {
                    // SAFETY: the library keeps the socket open until it reports the client's end.
                    let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
                    if let Err(error) = shutdown(socket, Shutdown::Both) {
                        debug!(client = %id, %error, "the socket is closed already");
                    }
                }
                Effects::new()
            }
            Transport::Control(_) => {
                let goodbye = geom_ipc::Event::Goodbye { reason };
                let mut effects = self.send(id, &geom_ipc::ServerMessage::Event(goodbye));
                effects.extend(self.remove(id, reason, cx));
                effects
            }
        }
    }

    /// Removes the Wayland clients that the Wayland library has disconnected. It has destroyed
    /// their objects by the end of its next dispatch.
    pub fn reap(&mut self, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        let ended = {
            let mut ended = self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            std::mem::take(&mut *ended)
        };
        for EndedClient { id, .. } in ended {
            self.announce_if_new(id, cx, &mut effects);
            let ordered = self.close_reason(id);
            let Some(transport) = self.connections.get_mut(&id).and_then(Connection::wayland) else {
                continue;
            };
            let descriptor = transport.descriptor;
            let reason = match (transport.error.take(), ordered) {
                (Some(error), _) if error.is_no_memory() => {
                    warn!(client = %id, %error, "client is over a limit");
                    CloseReason::OverLimit
                }
                (Some(error), _) => {
                    warn!(client = %id, %error, "client violated the protocol");
                    CloseReason::ProtocolError
                }
                (None, ordered) => ordered.unwrap_or(CloseReason::ClientClosed),
            };
            // Its number may belong to a new client by now.
            if self.by_descriptor.get(&descriptor) == Some(&id) {
                self.by_descriptor.remove(&descriptor);
            }
            effects.extend(self.remove(id, reason, cx));
        }
        effects
    }

    /// Returns whether the Wayland library has disconnected clients since the last
    /// [`Clients::reap`].
    pub fn has_ended_clients(&self) -> bool {
        !self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_empty()
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
