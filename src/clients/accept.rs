//! New clients: refused at once or accepted, served, and announced to subscribers after that.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use geom_ipc::ClientKind;
use smithay::reexports::wayland_server::DisplayHandle;
use tracing::{info, warn};

use super::connection::{Connection, Transport, WaylandTransport};
use super::control_connection::ControlConnection;
use super::limits::NewClient;
use super::listen::refuse;
use super::peer::{Peer, Process};
use super::{ClientData, ClientId, Clients, Cx, Effect, Effects, Sandbox};

/// The delay from accept to the event `client_connected`, unless another event about the client
/// comes first. Connecting, binding the globals and a window's first configure take three round
/// trips, which reading /proc must not delay.
const ANNOUNCE_DELAY: Duration = Duration::from_millis(100);

impl Clients {
    /// Takes a connected socket, or refuses the client with a reason. Returns the connection's id.
    /// `sandbox` is the one that the client connected through.
    pub fn accept(
        &mut self,
        stream: UnixStream,
        kind: ClientKind,
        sandbox: Option<Sandbox<'_>>,
        display: &mut DisplayHandle,
        cx: &Cx<'_>,
    ) -> (Option<ClientId>, Effects) {
        let mut effects = Effects::new();
        let own = self.own_user;
        let mut peer = match Peer::of(&stream, own) {
            Ok(peer) => peer,
            Err(error) => {
                warn!(%error, "cannot read a new client's credentials");
                return (None, effects);
            }
        };
        let new_client =
            NewClient { kind, pid: peer.pid, uid: peer.uid, gid: peer.gid, groups: &peer.groups };
        let is_admitted = sandbox.is_some_and(|sandbox| sandbox.is_admitted);
        if let Err(refusal) = self.counts.admit(&cx.config.limits, new_client, own, is_admitted, cx.now) {
            self.refused += 1;
            let (pid, uid) = (peer.pid, peer.uid);
            if let Some(suppressed) = self.counts.log_refusal(uid, cx.now) {
                warn!(pid, uid, ?kind, cause = refusal.message, suppressed, "client refused");
            }
            refuse(stream, kind, &refusal);
            return (None, effects);
        }
        let (pid, uid) = (peer.pid, peer.uid);
        let id = self.next_id();
        // The session of a control client may outlive this socket.
        if kind == ClientKind::Control || !Process::is_read_from_sockets() {
            peer.process = Process::of(&stream, pid).map(Rc::new);
        }
        let transport = match kind {
            ClientKind::Wayland => {
                let may_command = peer.may_command(own, cx.config.control_group);
                let data = ClientData::new(id, uid, sandbox.is_some(), may_command, self.ended.clone());
                self.insert_wayland(id, stream, data, display)
            }
            ClientKind::Control => super::sessions::new_token()
                .map(|token| Transport::Control(Box::new(ControlConnection::new(stream, token)))),
        };
        let transport = match transport {
            Ok(transport) => transport,
            Err(error) => {
                warn!(pid, uid, ?kind, %error, "cannot accept a client");
                self.counts.leave(pid, uid);
                return (None, effects);
            }
        };
        let mut connection = Connection::new(id, peer, cx.now, cx.connect_type, transport);
        connection.context = sandbox.map(|sandbox| sandbox.name.to_owned());
        if connection.needs_polling() {
            self.unpinged.insert(id);
        }
        self.connections.insert(id, connection);
        self.peak = self.peak.max(self.connections.len());
        self.unidentified.push(id);
        self.unannounced.push(id);
        if !std::mem::replace(&mut self.announcement_armed, true) {
            effects.push(Effect::ArmAnnouncement(cx.now + ANNOUNCE_DELAY));
        }
        self.set_deadline(id, cx, &mut effects);
        if kind == ClientKind::Control {
            effects.push(Effect::ReadControl(id));
        }
        (Some(id), effects)
    }

    fn insert_wayland(
        &mut self,
        id: ClientId,
        stream: UnixStream,
        data: ClientData,
        display: &mut DisplayHandle,
    ) -> std::io::Result<Transport> {
        let descriptor = stream.as_raw_fd();
        display.insert_client(stream, Arc::new(data))?;
        self.by_descriptor.insert(descriptor, id);
        Ok(Transport::Wayland(WaylandTransport {
            descriptor,
            error: None,
            ping_target: None,
            event_source: None,
        }))
    }

    /// Publishes all unannounced clients: before any other event, or when their first round trips
    /// are over.
    pub fn announce(&mut self, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        if self.unannounced.is_empty() {
            return effects;
        }
        self.identify_new();
        for id in std::mem::take(&mut self.unannounced) {
            let Some(connection) = self.connections.get(&id) else { continue };
            let (kind, pid, uid) = (connection.kind(), connection.peer.pid, connection.peer.uid);
            let executable = connection.peer.executable.as_deref();
            let context = connection.context.as_deref();
            info!(client = %id, ?kind, pid, uid, executable, context, "client connected");
            if self.has_subscribers() {
                effects.push(Effect::Connected(Box::new(connection.describe(cx.now))));
            }
        }
        effects
    }

    /// Handles the time that [`Effect::ArmAnnouncement`] named.
    pub fn announcement_due(&mut self, cx: &Cx<'_>) -> Effects {
        self.announcement_armed = false;
        self.announce(cx)
    }

    /// Announces new clients if this is one: an event about it follows.
    pub(super) fn announce_if_new(&mut self, id: ClientId, cx: &Cx<'_>, effects: &mut Effects) {
        if self.unannounced.contains(&id) {
            effects.extend(self.announce(cx));
        }
    }
}
