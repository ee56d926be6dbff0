//! What is kept of one connection.

use std::os::fd::RawFd;
use std::time::Duration;

use geom_ipc::{ClientKind, ConnectType, ConnectionState, EndReason, Rtt};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::wayland::shell::xdg::ShellClient;

use super::heartbeat::{Connection, Time};
use super::peer::{unread, Peer};
use crate::control::link::ControlLink;

/// A Wayland client's connection.
pub struct WaylandLink {
    pub client: ClientId,
    /// The number of the Wayland library's socket, for asking the kernel about it, until the library lets go of it.
    pub descriptor: Option<RawFd>,
    /// What it can be pinged through, once it has bound xdg_wm_base.
    pub shell: Option<ShellClient>,
}

/// How a connection is reached.
pub enum Link {
    Wayland(WaylandLink),
    Control(Box<ControlLink>),
}

/// One connection from accept to close.
pub struct Record {
    pub id: u64,
    pub peer: Peer,
    /// The sandbox that it came through: engine, application, instance.
    pub context: Option<String>,
    pub since: Time,
    pub connect_type: ConnectType,
    pub state: Connection,
    pub link: Link,
    pub rtt: Option<Rtt>,
    /// When the ping went out that is not answered yet.
    pub asked: Option<Time>,
    /// When the last ping went out that was answered: all that it was sent before has been seen to.
    pub come_to: Option<Time>,
    /// Control requests that want to know when it answers: connection and request.
    pub waiting: Vec<(u64, u64)>,
    /// It was told to leave: why, and when its connection is cut.
    pub leaving: Option<(EndReason, Time)>,
    /// Somebody chose to wait: its notice is hidden until then.
    pub patience: Option<Time>,
    /// Keys it was sent while it was unresponsive.
    pub keys_held: u32,
}

impl Record {
    pub fn new(id: u64, peer: Peer, now: Time, connect_type: ConnectType, link: Link) -> Self {
        Self {
            id,
            peer,
            context: None,
            since: now,
            connect_type,
            state: Connection::Accepted { since: now },
            link,
            rtt: None,
            asked: None,
            come_to: None,
            waiting: Vec::new(),
            leaving: None,
            patience: None,
            keys_held: 0,
        }
    }

    pub fn kind(&self) -> ClientKind {
        match self.link {
            Link::Wayland(_) => ClientKind::Wayland,
            Link::Control(_) => ClientKind::Control,
        }
    }

    pub fn is_unresponsive(&self) -> bool {
        matches!(self.state, Connection::Unresponsive { .. })
    }

    /// It can't be pinged: a Wayland client without xdg_wm_base.
    pub fn is_watched(&self) -> bool {
        matches!(&self.link, Link::Wayland(link) if link.shell.is_none())
    }

    pub fn control(&mut self) -> Option<&mut ControlLink> {
        match &mut self.link {
            Link::Control(control) => Some(control),
            Link::Wayland(_) => None,
        }
    }

    pub fn wayland(&mut self) -> Option<&mut WaylandLink> {
        match &mut self.link {
            Link::Wayland(wayland) => Some(wayland),
            Link::Control(_) => None,
        }
    }

    /// Bytes that it has not read.
    pub fn queued(&self) -> u64 {
        match &self.link {
            Link::Wayland(wayland) => wayland.descriptor.map_or(0, unread),
            Link::Control(control) => control.queued(),
        }
    }

    /// Whether it has seen to all that it was sent before a time, as far as can be told.
    pub fn has_come_to(&self, time: Time) -> bool {
        let answered = self.since >= time || self.come_to.is_some_and(|asked| asked >= time);
        answered || (self.is_watched() && self.queued() == 0)
    }

    /// An answer to the ping came.
    pub fn answered(&mut self, now: Time) -> Option<Duration> {
        let asked = self.asked.take()?;
        self.come_to = Some(asked);
        let rtt = now.saturating_sub(asked);
        let last = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        let known = self.rtt.unwrap_or(Rtt { last, least: last, most: last });
        self.rtt = Some(Rtt { last, least: known.least.min(last), most: known.most.max(last) });
        Some(rtt)
    }

    pub fn ipc_state(&self) -> ConnectionState {
        match self.state {
            Connection::Accepted { .. } => ConnectionState::Accepted,
            Connection::Alive { .. } => ConnectionState::Alive,
            Connection::Unresponsive { .. } => ConnectionState::Unresponsive,
            Connection::Lost { .. } => ConnectionState::Lost,
            Connection::Closed(_) => ConnectionState::Closed,
        }
    }
}
