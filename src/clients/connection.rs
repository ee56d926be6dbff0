//! What is kept of one connection.

use std::os::fd::RawFd;
use std::time::Duration;

use geom_ipc::{ClientKind, ConnectType, ConnectionState, CloseReason, Rtt};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::wayland::shell::xdg::ShellClient;

use super::heartbeat::{Liveness, Time};
use super::peer::{unread, Peer};
use crate::control::connection::ControlConnection;

/// A Wayland client's connection.
pub struct WaylandTransport {
    pub client: ClientId,
    /// The number of the Wayland library's socket, for asking the kernel about it, until the library lets go of it.
    pub descriptor: Option<RawFd>,
    /// What it can be pinged through, once it has bound xdg_wm_base.
    pub shell: Option<ShellClient>,
}

/// How a connection is reached.
pub enum Transport {
    Wayland(WaylandTransport),
    Control(Box<ControlConnection>),
}

/// One connection from accept to close.
pub struct Connection {
    pub id: u64,
    pub peer: Peer,
    /// The sandbox that it came through: engine, application, instance.
    pub context: Option<String>,
    pub since: Time,
    pub connect_type: ConnectType,
    pub state: Liveness,
    pub transport: Transport,
    pub rtt: Option<Rtt>,
    /// When the ping went out that is not answered yet.
    pub asked: Option<Time>,
    /// When the last ping went out that was answered: all that it was sent before has been seen to.
    pub acked_until: Option<Time>,
    /// Control requests that want to know when it answers: connection and request.
    pub waiting: Vec<(u64, u64)>,
    /// It was told to leave: why, and when its connection is cut.
    pub leaving: Option<(CloseReason, Time)>,
    /// Somebody chose to wait: its notice is hidden until then.
    pub wait_until: Option<Time>,
    /// Keys it was sent while it was unresponsive.
    pub keys_held: u32,
}

impl Connection {
    pub fn new(id: u64, peer: Peer, now: Time, connect_type: ConnectType, transport: Transport) -> Self {
        Self {
            id,
            peer,
            context: None,
            since: now,
            connect_type,
            state: Liveness::Accepted { since: now },
            transport,
            rtt: None,
            asked: None,
            acked_until: None,
            waiting: Vec::new(),
            leaving: None,
            wait_until: None,
            keys_held: 0,
        }
    }

    pub fn kind(&self) -> ClientKind {
        match self.transport {
            Transport::Wayland(_) => ClientKind::Wayland,
            Transport::Control(_) => ClientKind::Control,
        }
    }

    pub fn is_unresponsive(&self) -> bool {
        matches!(self.state, Liveness::Unresponsive { .. })
    }

    /// It can't be pinged: a Wayland client without xdg_wm_base.
    pub fn needs_polling(&self) -> bool {
        matches!(&self.transport, Transport::Wayland(transport) if transport.shell.is_none())
    }

    pub fn control(&mut self) -> Option<&mut ControlConnection> {
        match &mut self.transport {
            Transport::Control(control) => Some(control),
            Transport::Wayland(_) => None,
        }
    }

    pub fn wayland(&mut self) -> Option<&mut WaylandTransport> {
        match &mut self.transport {
            Transport::Wayland(wayland) => Some(wayland),
            Transport::Control(_) => None,
        }
    }

    /// Bytes that it has not read.
    pub fn unread_bytes(&self) -> u64 {
        match &self.transport {
            Transport::Wayland(wayland) => wayland.descriptor.map_or(0, unread),
            Transport::Control(control) => control.unread_bytes(),
        }
    }

    /// Whether it has seen to all that it was sent before a time, as far as can be told.
    pub fn has_acked(&self, time: Time) -> bool {
        let answered = self.since >= time || self.acked_until.is_some_and(|asked| asked >= time);
        answered || (self.needs_polling() && self.unread_bytes() == 0)
    }

    /// An answer to the ping came.
    pub fn answered(&mut self, now: Time) -> Option<Duration> {
        let asked = self.asked.take()?;
        self.acked_until = Some(asked);
        let rtt = now.saturating_sub(asked);
        let last = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        let known = self.rtt.unwrap_or(Rtt { last, min: last, max: last });
        self.rtt = Some(Rtt { last, min: known.min.min(last), max: known.max.max(last) });
        Some(rtt)
    }

    pub fn ipc_state(&self) -> ConnectionState {
        match self.state {
            Liveness::Accepted { .. } => ConnectionState::Accepted,
            Liveness::Alive { .. } => ConnectionState::Alive,
            Liveness::Unresponsive { .. } => ConnectionState::Unresponsive,
            Liveness::Lost { .. } => ConnectionState::Lost,
            Liveness::Closed(_) => ConnectionState::Closed,
        }
    }
}
