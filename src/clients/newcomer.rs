//! Newcomers: let in or refused at once, then answered, then asked who they are.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use geom_ipc::{ClientKind, Event as IpcEvent};
use tracing::{info, warn};

use super::limits::Newcomer;
use super::listen::refuse;
use super::peer::{Peer, Process};
use super::record::{Link, Record, WaylandLink};
use super::{ClientData, SEND_BUFFER};
use crate::control::link::ControlLink;
use crate::reactor::Source;
use crate::state::State;

/// Connecting, asking for the globals and a window's first size are three round trips.
const INTRODUCTION: Duration = Duration::from_millis(100);

impl State {
    /// Takes a connected socket, or tells it why not. Its connection's id. `context` is the sandbox's whose socket it
    /// came through.
    pub fn newcomer(&mut self, stream: UnixStream, kind: ClientKind, context: Option<&str>) -> Option<u64> {
        let now = self.turn_time();
        let own = self.clients.own_user;
        let mut peer = match Peer::of(&stream, own) {
            Ok(peer) => peer,
            Err(error) => {
                warn!(%error, "a newcomer's credentials can't be read");
                return None;
            }
        };
        let newcomer = Newcomer { pid: peer.pid, uid: peer.uid, gid: peer.gid, groups: &peer.groups };
        if let Err(refusal) = self.clients.counts.admit(&self.config.clients.limits, newcomer, own, now) {
            self.clients.refused += 1;
            warn!(pid = peer.pid, uid = peer.uid, ?kind, "newcomer refused: {}", refusal.message);
            refuse(stream, kind, &refusal);
            return None;
        }
        let (pid, uid) = (peer.pid, peer.uid);
        let id = self.clients.next_id();
        // A control client's session may outlive this socket.
        if kind == ClientKind::Control || !Process::told_by_sockets() {
            peer.process = Process::of(&stream, pid).map(Rc::new);
        }
        let link = match kind {
            ClientKind::Wayland => self.wayland_link(id, stream, context.is_some()),
            ClientKind::Control => self.control_link(id, stream),
        };
        let link = match link {
            Ok(link) => link,
            Err(error) => {
                warn!(pid, uid, ?kind, %error, "a newcomer was gone before it was accepted");
                self.clients.counts.leave(pid, uid);
                return None;
            }
        };
        let mut record = Record::new(id, peer, now, self.connect_type(), link);
        record.context = context.map(str::to_owned);
        if matches!(record.link, Link::Wayland(_)) {
            self.clients.unpinged.insert(id);
        }
        self.clients.records.insert(id, record);
        self.clients.peak = self.clients.peak.max(self.clients.records.len());
        self.clients.unknown.push(id);
        self.clients.strangers.push(id);
        if !std::mem::replace(&mut self.clients.introducing, true) {
            self.timers.at(now + INTRODUCTION, |state| {
                state.clients.introducing = false;
                state.introduce_strangers();
            });
        }
        self.set_deadline(id);
        Some(id)
    }

    fn wayland_link(&mut self, id: u64, stream: UnixStream, sandboxed: bool) -> std::io::Result<Link> {
        let descriptor = stream.as_raw_fd();
        // It goes out of the reactor when the Wayland library closes it.
        self.reactor.add(&stream, Source::Client(id))?;
        let data = ClientData { id, sandboxed, ended: self.clients.ended.clone(), ..ClientData::default() };
        let client = self.display_handle.insert_client(stream, Arc::new(data))?;
        client.set_max_buffer_size(&self.display_handle, SEND_BUFFER);
        Ok(Link::Wayland(WaylandLink { client: client.id(), descriptor: Some(descriptor), shell: None }))
    }

    fn control_link(&mut self, id: u64, stream: UnixStream) -> std::io::Result<Link> {
        let mut control = ControlLink::new(stream, self.clients.token()?);
        control.listen(&self.handle, id)?;
        Ok(Link::Control(Box::new(control)))
    }

    /// Tells of newcomers: before anything else is told of them, or else when they have had their first answers.
    pub fn introduce_strangers(&mut self) {
        for id in std::mem::take(&mut self.clients.strangers) {
            self.introduce(id);
        }
    }

    /// Something is told of a client, which may have come a moment ago.
    pub fn introduce_if_stranger(&mut self, id: u64) {
        if self.clients.strangers.contains(&id) {
            self.introduce_strangers();
        }
    }

    fn introduce(&mut self, id: u64) {
        self.clients.learn_programs();
        let Some(record) = self.clients.records.get(&id) else { return };
        let (kind, pid, uid) = (record.kind(), record.peer.pid, record.peer.uid);
        let (executable, context) = (record.peer.executable.as_deref(), record.context.as_deref());
        info!(client = id, ?kind, pid, uid, executable, context, "client connected");
        self.tell_client(id, |client| IpcEvent::ClientConnected { client });
    }
}
