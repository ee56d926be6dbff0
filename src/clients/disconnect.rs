//! How connections end: by themselves, asked to leave, cut, killed; and that nothing of them stays.

use geom_ipc::{CloseReason, Event as IpcEvent};
use smithay::reexports::wayland_server::backend::DisconnectReason;
use smithay::reexports::wayland_server::Resource;
use tracing::{debug, info, warn};

use super::heartbeat::Event;
use super::connection::{Transport, Connection};
use super::{ClientData, MAX_PLACEMENTS};
use crate::config::UnresponsivePolicy;
use crate::compositor::deadline::Deadline;
use crate::compositor::State;

/// From the first departures to giving back the memory of all.
const REST: std::time::Duration = std::time::Duration::from_secs(1);

impl State {
    /// The connection that a Wayland object belongs to.
    pub fn client_of(resource: &impl Resource) -> Option<u64> {
        resource.client().map(|client| ClientData::of(&client).id)
    }

    /// The app id of a Wayland client's newest window.
    pub fn app_id_of(&self, id: u64) -> Option<String> {
        self.shell.app_id_of(id)
    }

    /// Given up: by the policy of its application, or kept for resuming.
    pub fn give_up(&mut self, id: u64) {
        let Some(connection) = self.clients.connections.get(&id) else { return };
        match &connection.transport {
            Transport::Control(_) => self.session_lost(id),
            Transport::Wayland(_) => {
                let policy = self.config.clients.heartbeat(self.app_id_of(id).as_deref()).on_lost;
                warn!(client = id, ?policy, "client lost: no sign of life");
                if policy == UnresponsivePolicy::Kill {
                    self.kill_process(id);
                }
                self.disconnect(id, CloseReason::HeartbeatTimeout);
            }
        }
    }

    /// Asks a client to leave, and cuts its connection at the configured deadline.
    pub fn request_close(&mut self, id: u64, reason: CloseReason) {
        let at = self.now() + self.config.clients.close_time;
        let Some(connection) = self.clients.connections.get_mut(&id) else { return };
        connection.leaving = Some((reason, at));
        info!(client = id, ?reason, "client asked to leave");
        match &connection.transport {
            Transport::Control(_) => self.disconnect(id, reason),
            Transport::Wayland(_) => {
                if self.shell.request_close(id) {
                    self.set_deadline(id);
                } else {
                    // It has nothing to close.
                    self.disconnect(id, reason);
                }
            }
        }
    }

    /// Kills a client's process, by its descriptor: never another that got its number.
    pub fn kill_process(&mut self, id: u64) {
        let Some(connection) = self.clients.connections.get(&id) else { return };
        let pid = connection.peer.pid;
        match self.clients.process(id).map(|process| process.kill()) {
            Some(Ok(())) => info!(client = id, pid, "client killed"),
            Some(Err(error)) => warn!(client = id, pid, %error, "client can't be killed"),
            None => warn!(client = id, pid, "client can't be killed: its process has ended"),
        }
    }

    /// Ends a connection now.
    pub fn disconnect(&mut self, id: u64, reason: CloseReason) {
        let now = self.iteration_start();
        let Some(connection) = self.clients.connections.get_mut(&id) else { return };
        connection.leaving = Some((reason, now));
        match &mut connection.transport {
            Transport::Wayland(transport) => {
                let client = transport.client.clone();
                let backend = self.display_handle.backend_handle();
                backend.kill_client(client, DisconnectReason::ConnectionClosed);
                // The rest follows at the end of this turn: reap_ended().
            }
            Transport::Control(_) => {
                let goodbye = geom_ipc::ServerMessage::Event(IpcEvent::Goodbye { reason });
                self.send(id, &goodbye);
                self.forget(id, reason);
            }
        }
    }

    /// The Wayland library has let a client go.
    pub fn on_wayland_disconnect(&mut self, id: u64, why: DisconnectReason) {
        self.announce_if_unannounced(id);
        let reason = match &why {
            DisconnectReason::ProtocolError(error) => {
                warn!(client = id, %error, "client broke the protocol");
                CloseReason::ProtocolError
            }
            DisconnectReason::ConnectionClosed => self.close_reason(id, CloseReason::ClientClosed),
        };
        let Some(transport) = self.clients.connections.get_mut(&id).and_then(Connection::wayland) else { return };
        transport.descriptor = None;
        let client = transport.client.clone();
        // Lets the library destroy what it held: the client's objects, its socket.
        let display = self.display.clone();
        let cleaned = display.borrow_mut().backend().dispatch_single_client(self, client);
        debug!(client = id, ?cleaned, "objects destroyed");
        self.forget(id, reason);
    }

    /// A window that is destroyed because its connection ended, and not by order: its display is kept for when an
    /// application of its name is back.
    pub fn save_placement(&mut self, client: u64, app_id: Option<String>, assigned_output: Option<String>) {
        let keeps = self.connect_type().contains(geom_ipc::ConnectType::KEEP_CONNECTION_OPEN);
        let reason = self.close_reason(client, CloseReason::ClientClosed);
        let ordered = matches!(reason, CloseReason::Requested | CloseReason::Shutdown);
        if !keeps || ordered || !self.clients.has_ended(client) {
            return;
        }
        let Some((app_id, assigned_output)) = app_id.zip(assigned_output) else { return };
        if self.clients.places.len() < MAX_PLACEMENTS || self.clients.places.contains_key(&app_id) {
            debug!(client, app_id, assigned_output, "its place is kept");
            self.clients.places.insert(app_id, assigned_output);
            self.keep();
        }
    }

    /// Removes the connection: nothing of a gone client stays.
    pub fn forget(&mut self, id: u64, reason: CloseReason) {
        self.announce_if_unannounced(id);
        let Some(mut connection) = self.clients.connections.remove(&id) else { return };
        self.clients.deadlines.remove(id);
        self.clients.unpinged.remove(&id);
        self.clients.counts.leave(connection.peer.pid, connection.peer.uid);
        self.frame_awaited.retain(|(waiting, _)| *waiting != id);
        match &mut connection.transport {
            Transport::Wayland(_) => {}
            Transport::Control(control) => {
                control.close(&self.handle);
                self.keep();
            }
        }
        for (connection, request) in connection.waiting {
            let error = geom_ipc::Error::new(geom_ipc::ErrorKind::Failed, "the client is gone");
            self.reply(connection, Some(request), Err(error));
        }
        info!(client = id, ?reason, "client disconnected");
        self.publish_event(&IpcEvent::ClientDisconnected { client: id, reason });
        self.destroy_disabled_globals();
        self.schedule_trim();
        self.stop_if_clients_gone();
    }

    /// After a crowd has left, once for all of it.
    fn schedule_trim(&mut self) {
        if !self.clients.should_trim() {
            return;
        }
        self.clients.resting = true;
        let at = self.now() + REST;
        self.timers.at(at, Deadline::TrimMemory);
    }

    /// Ends the service when all Wayland clients have left, who are asked to, or at the deadline for that.
    pub fn shut_down(&mut self) {
        if std::mem::replace(&mut self.shutting_down, true) {
            return;
        }
        let connections = self.clients.connections.values();
        let wayland =
            connections.filter(|connection| matches!(connection.transport, Transport::Wayland(_))).map(|connection| connection.id);
        for id in wayland.collect::<Vec<_>>() {
            self.request_close(id, CloseReason::Shutdown);
        }
        self.stop_if_clients_gone();
    }

    /// Nobody is left to wait for.
    fn stop_if_clients_gone(&mut self) {
        let stays = |connection: &Connection| matches!(connection.transport, Transport::Wayland(_));
        if self.shutting_down && !self.clients.connections.values().any(stays) {
            self.stop();
        }
    }

    /// The service ends: everyone is told.
    pub fn disconnect_all(&mut self) {
        let all: Vec<u64> = self.clients.connections.keys().copied().collect();
        for id in all {
            self.on_connection_event(id, Event::Close(CloseReason::Shutdown));
        }
    }
}
