//! One connection's record.

use std::os::fd::RawFd;
use std::time::Duration;

use geom_ipc::{ClientKind, CloseReason, ConnectType, ConnectionState, Rtt};
use smithay::utils::SERIAL_COUNTER;
use smithay::wayland::shell::xdg::ShellClient;

use super::control_connection::ControlConnection;
use super::cpu_share::CpuAccount;
use super::event_source::EventSource;
use super::heartbeat::{Liveness, Time};
use super::libwayland::PostedError;
use super::peer::{unread, Peer};
use super::ClientId;

/// What a Wayland client can be pinged through.
pub trait PingTarget {
    /// Returns whether the object still exists.
    fn is_alive(&self) -> bool;
    /// Sends a ping. Returns false if an earlier ping was not answered yet: the protocol object
    /// has one at a time.
    fn send_ping(&self) -> bool;
}

impl PingTarget for ShellClient {
    fn is_alive(&self) -> bool {
        self.alive()
    }

    fn send_ping(&self) -> bool {
        Self::send_ping(self, SERIAL_COUNTER.next_serial()).is_ok()
    }
}

/// A Wayland client's connection.
pub struct WaylandTransport {
    /// The number of the Wayland library's socket, for queries to the kernel, until the library
    /// closes it.
    pub descriptor: RawFd,
    /// The first protocol error that was posted to the client.
    pub error: Option<PostedError>,
    /// Set once the client has bound xdg_wm_base.
    pub ping_target: Option<Box<dyn PingTarget>>,
    /// Set once the client has been paused.
    pub event_source: Option<EventSource>,
}

/// How messages reach a client.
pub enum Transport {
    Wayland(WaylandTransport),
    Control(Box<ControlConnection>),
}

/// One connection, from accept to disconnect.
pub struct Connection {
    pub id: ClientId,
    pub peer: Peer,
    /// The sandbox that the client connected through: engine, application, instance.
    pub context: Option<String>,
    pub since: Time,
    pub connect_type: ConnectType,
    pub state: Liveness,
    pub transport: Transport,
    pub rtt: Option<Rtt>,
    /// When the ping was sent that is not answered yet.
    pub ping_sent_at: Option<Time>,
    /// When the last answered ping was sent: the client has processed all messages before it.
    pub acked_until: Option<Time>,
    /// Control requests that wait for the client's next answer: connection and request.
    pub ping_waiters: Vec<(ClientId, u64)>,
    /// The client was asked to close: why, and when it is disconnected.
    pub leaving: Option<(CloseReason, Time)>,
    /// The client is being disconnected: nothing else happens to it.
    pub is_closing: bool,
    /// The user chose to wait: the dialog about the hung client is hidden until then.
    pub wait_until: Option<Time>,
    /// Key events for the client since it is unresponsive.
    pub keys_while_unresponsive: u32,
    /// The client was not sent all key events.
    pub has_dropped_keys: bool,
    /// The client gets no input until it reads.
    pub is_input_withheld: bool,
    /// The time that its requests have taken.
    pub cpu: CpuAccount,
    /// The client is not read until then: its requests have taken more than its share.
    pub paused_until: Option<Time>,
}

impl Connection {
    pub fn new(id: ClientId, peer: Peer, now: Time, connect_type: ConnectType, transport: Transport) -> Self {
        Self {
            id,
            peer,
            context: None,
            since: now,
            connect_type,
            state: Liveness::Accepted { since: now },
            transport,
            rtt: None,
            ping_sent_at: None,
            acked_until: None,
            ping_waiters: Vec::new(),
            leaving: None,
            is_closing: false,
            wait_until: None,
            keys_while_unresponsive: 0,
            has_dropped_keys: false,
            is_input_withheld: false,
            cpu: CpuAccount::default(),
            paused_until: None,
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

    pub fn is_lost(&self) -> bool {
        matches!(self.state, Liveness::Lost { .. })
    }

    /// Returns whether the client is polled because it cannot be pinged: it is a Wayland client
    /// without xdg_wm_base.
    pub fn needs_polling(&self) -> bool {
        matches!(&self.transport, Transport::Wayland(transport) if transport.ping_target.is_none())
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

    /// Returns the number of bytes sent to the client that it has not read.
    pub fn unread_bytes(&self) -> u64 {
        match &self.transport {
            Transport::Wayland(wayland) => unread(wayland.descriptor),
            Transport::Control(control) => control.unread_bytes(),
        }
    }

    /// Returns whether the client has processed all messages that were sent to it before a time.
    /// For a client that cannot be pinged, an empty socket buffer counts as that.
    pub fn has_acked(&self, time: Time) -> bool {
        let acked = self.since >= time || self.acked_until.is_some_and(|sent| sent >= time);
        acked || (self.needs_polling() && self.unread_bytes() == 0)
    }

    /// Notes the answer to a ping. Returns the round-trip time, or `None` if no ping was pending.
    pub fn on_pong(&mut self, now: Time) -> Option<Duration> {
        let sent_at = self.ping_sent_at.take()?;
        self.acked_until = Some(sent_at);
        let rtt = now.saturating_sub(sent_at);
        let last = micros(rtt);
        let known = self.rtt.unwrap_or(Rtt { last, min: last, max: last });
        self.rtt = Some(Rtt { last, min: known.min.min(last), max: known.max.max(last) });
        Some(rtt)
    }

    /// Returns the state as the control protocol names it.
    pub fn ipc_state(&self) -> ConnectionState {
        match self.state {
            Liveness::Accepted { .. } => ConnectionState::Accepted,
            Liveness::Alive { .. } => ConnectionState::Alive,
            Liveness::Unresponsive { .. } => ConnectionState::Unresponsive,
            Liveness::Lost { .. } => ConnectionState::Lost,
            Liveness::Closed(_) => ConnectionState::Closed,
        }
    }

    /// Returns the connection as the control protocol describes it, except for what the shell
    /// knows: a Wayland client's app id, windows and displays.
    pub fn describe(&self, now: Time) -> geom_ipc::Client {
        let app_id = match &self.transport {
            Transport::Wayland(_) => None,
            Transport::Control(control) => Some(control.name.clone()).filter(|name| !name.is_empty()),
        };
        let last_received = self.state.last_received();
        geom_ipc::Client {
            id: self.id.into(),
            kind: self.kind(),
            state: self.ipc_state(),
            pid: self.peer.pid,
            uid: self.peer.uid,
            executable: self.peer.executable.clone(),
            app_id,
            security_context: self.context.clone(),
            connect_type: self.connect_type,
            connected_s: now.saturating_sub(self.since).as_secs_f64(),
            idle_s: last_received.map_or(0.0, |time| now.saturating_sub(time).as_secs_f64()),
            rtt_us: self.rtt,
            unread_bytes: self.unread_bytes(),
            displays: Vec::new(),
            windows: 0,
        }
    }
}

/// Returns a duration in whole microseconds.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
