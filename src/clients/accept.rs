//! Newcomers: let in or refused at once, then answered, then asked who they are.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use geom_ipc::{ClientKind, Event as IpcEvent};
use tracing::{info, warn};

use super::limits::NewClient;
use super::listen::refuse;
use super::peer::{Peer, Process};
use super::connection::{Transport, Connection, WaylandTransport};
use super::{ClientData, SEND_BUFFER};
use crate::control::connection::ControlConnection;
use crate::event_loop::reactor::Source;
use crate::compositor::deadline::Deadline;
use crate::compositor::State;

/// Connecting, asking for the globals and a window's first size are three round trips.
const ANNOUNCE_DELAY: Duration = Duration::from_millis(100);

impl State {
    /// Takes a connected socket, or tells it why not. Its connection's id. `context` is the sandbox's whose socket it
    /// came through.
    pub fn new_client(&mut self, stream: UnixStream, kind: ClientKind, context: Option<&str>) -> Option<u64> {
        let now = self.iteration_start();
        let own = self.clients.own_user;
        let mut peer = match Peer::of(&stream, own) {
            Ok(peer) => peer,
            Err(error) => {
                warn!(%error, "a new_client's credentials can't be read");
                return None;
            }
        };
        let new_client = NewClient { pid: peer.pid, uid: peer.uid, gid: peer.gid, groups: &peer.groups };
        if let Err(refusal) = self.clients.counts.admit(&self.config.clients.limits, new_client, own, now) {
            self.clients.refused += 1;
            warn!(pid = peer.pid, uid = peer.uid, ?kind, "new_client refused: {}", refusal.message);
            refuse(stream, kind, &refusal);
            return None;
        }
        let (pid, uid) = (peer.pid, peer.uid);
        let id = self.clients.next_id();
        // A control client's session may outlive this socket.
        if kind == ClientKind::Control || !Process::told_by_sockets() {
            peer.process = Process::of(&stream, pid).map(Rc::new);
        }
        let transport = match kind {
            ClientKind::Wayland => self.wayland_link(id, stream, context.is_some()),
            ClientKind::Control => self.control_link(id, stream),
        };
        let transport = match transport {
            Ok(transport) => transport,
            Err(error) => {
                warn!(pid, uid, ?kind, %error, "a new_client was gone before it was accepted");
                self.clients.counts.leave(pid, uid);
                return None;
            }
        };
        let mut connection = Connection::new(id, peer, now, self.connect_type(), transport);
        connection.context = context.map(str::to_owned);
        if matches!(connection.transport, Transport::Wayland(_)) {
            self.clients.unpinged.insert(id);
        }
        self.clients.connections.insert(id, connection);
        self.clients.peak = self.clients.peak.max(self.clients.connections.len());
        self.clients.unknown.push(id);
        self.clients.unannounced.push(id);
        if !std::mem::replace(&mut self.clients.introducing, true) {
            self.timers.at(now + ANNOUNCE_DELAY, Deadline::AnnounceClients);
        }
        self.set_deadline(id);
        Some(id)
    }

    fn wayland_link(&mut self, id: u64, stream: UnixStream, sandboxed: bool) -> std::io::Result<Transport> {
        let descriptor = stream.as_raw_fd();
        // It goes out of the reactor when the Wayland library closes it.
        self.reactor.add(&stream, Source::Client(id))?;
        let data = ClientData { id, sandboxed, ended: self.clients.ended.clone(), ..ClientData::default() };
        let client = self.display_handle.insert_client(stream, Arc::new(data))?;
        client.set_max_buffer_size(&self.display_handle, SEND_BUFFER);
        Ok(Transport::Wayland(WaylandTransport { client: client.id(), descriptor: Some(descriptor), shell: None }))
    }

    fn control_link(&mut self, id: u64, stream: UnixStream) -> std::io::Result<Transport> {
        let mut control = ControlConnection::new(stream, self.clients.token()?);
        control.listen(&self.handle, id)?;
        Ok(Transport::Control(Box::new(control)))
    }

    /// Tells of newcomers: before anything else is told of them, or else when they have had their first answers.
    pub fn announce_clients(&mut self) {
        for id in std::mem::take(&mut self.clients.unannounced) {
            self.introduce(id);
        }
    }

    /// Something is told of a client, which may have come a moment ago.
    pub fn announce_if_unannounced(&mut self, id: u64) {
        if self.clients.unannounced.contains(&id) {
            self.announce_clients();
        }
    }

    fn introduce(&mut self, id: u64) {
        self.clients.learn_programs();
        let Some(connection) = self.clients.connections.get(&id) else { return };
        let (kind, pid, uid) = (connection.kind(), connection.peer.pid, connection.peer.uid);
        let (executable, context) = (connection.peer.executable.as_deref(), connection.context.as_deref());
        info!(client = id, ?kind, pid, uid, executable, context, "client connected");
        self.publish_client(id, |client| IpcEvent::ClientConnected { client });
    }
}
