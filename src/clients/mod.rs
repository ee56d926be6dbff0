//! Connections of clients, from accept to disconnect.
//!
//! [`Clients`] has one [`Connection`] for each Wayland client and each control client. Whether a
//! client is alive is decided by one pure state machine ([`heartbeat`]); one queue of deadlines
//! ([`deadlines`]) and one timer serve all connections.
//!
//! The component never sees the compositor's state. What it reads of others comes in a [`Cx`]; what
//! others have to do is returned as [`Effect`]s.

pub mod accept;
pub mod connection;
pub mod control_connection;
pub mod cpu_share;
pub mod deadlines;
pub mod disconnect;
pub mod effect;
pub mod event_source;
pub mod heartbeat;
pub mod heartbeat_driver;
pub mod invariants;
pub mod libwayland;
pub mod limits;
pub mod listen;
pub mod objects;
pub mod pauses;
pub mod peer;
pub mod placements;
pub mod received_file;
pub mod sandbox_socket;
pub mod saved_state;
pub mod sessions;
pub mod socket_files;
#[cfg(test)]
pub mod tests;
pub mod unresponsive;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use geom_ipc::ConnectType;
use serde::{Deserialize, Serialize};
use smithay::reexports::wayland_server::backend::{
    ClientData as BackendData, ClientId as WaylandClientId, DisconnectReason,
};
use smithay::reexports::wayland_server::{Client, DisplayHandle, Resource};
use smithay::wayland::compositor::CompositorClientState;
use tracing::{debug, error};

use self::connection::{Connection, Transport, WaylandTransport};
use self::cpu_share::UserAccounts;
use self::deadlines::Deadlines;
pub use self::effect::{Effect, Effects};
use self::heartbeat::{Event, Time};
use self::libwayland::ProtocolLog;
use self::limits::Counts;
use self::listen::{Addresses, Listening};
use self::objects::ObjectCounts;
use self::peer::Process;
use self::placements::Placements;
use crate::config::ClientsConfig;
use crate::event_loop::timers::Timer;

/// Identifies a connection. Numbers count from 1, and none is used twice, not even by the process
/// that continues after a crash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientId(u64);

impl From<u64> for ClientId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl From<ClientId> for u64 {
    fn from(id: ClientId) -> Self {
        id.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Wayland clients that the Wayland library has disconnected.
pub type Ended = Arc<Mutex<Vec<EndedClient>>>;

/// A Wayland client that the Wayland library has disconnected.
#[derive(Debug, Clone, Copy)]
pub struct EndedClient {
    pub id: ClientId,
    /// When, by the monotonic clock.
    pub at: Time,
}

/// The sandbox that a client connected through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sandbox<'a> {
    /// Engine, application and instance, as reported by `clients`.
    pub name: &'a str,
    /// The permissions of the listening socket's file decide who may connect, and not `users` and
    /// `groups` of the configuration.
    pub is_admitted: bool,
}

/// The data that the Wayland library keeps for each of its clients.
#[derive(Default)]
pub struct ClientData {
    pub compositor: CompositorClientState,
    /// The client's [`Connection`].
    pub id: ClientId,
    /// The client connected through the socket of a sandbox: that of a sandbox engine
    /// (wp_security_context_v1), or that of kiosk programs.
    pub is_sandboxed: bool,
    uid: u32,
    /// The client's user may command the service ([`Peer::may_command`](peer::Peer::may_command)).
    pub may_command: bool,
    ended: Ended,
    /// How many objects the client has.
    pub objects: ObjectCounts,
}

impl ClientData {
    /// Returns whether the client sees privileged globals, and may take the input of others: its
    /// user may command the service, and it is in no sandbox.
    pub fn is_privileged(&self) -> bool {
        self.may_command && !self.is_sandboxed
    }

    /// Returns whether a new window of the client may take the keyboard from one of `other`: it is
    /// the same user's, or its user may command the service.
    pub fn may_take_focus_from(&self, other: &Self) -> bool {
        self.may_command || self.uid == other.uid
    }

    pub fn new(id: ClientId, uid: u32, is_sandboxed: bool, may_command: bool, ended: Ended) -> Self {
        Self {
            compositor: CompositorClientState::default(),
            id,
            uid,
            is_sandboxed,
            may_command,
            ended,
            objects: ObjectCounts::default(),
        }
    }

    /// Returns the data that a client was inserted with.
    pub fn of(client: &Client) -> &Self {
        static UNKNOWN: LazyLock<ClientData> = LazyLock::new(ClientData::default);
        client.get_data::<Self>().unwrap_or_else(|| {
            error!("a Wayland client has no data: Clients::accept() did not insert it");
            &UNKNOWN
        })
    }
}

impl BackendData for ClientData {
    /// The library destroys the client now, and its objects after that. It may hold its lock here,
    /// so the rest is done by [`Clients::reap`]. It does not report the end of a client with a
    /// protocol error ([`Clients::dispatched`]).
    fn disconnected(&self, _client: WaylandClientId, _reason: DisconnectReason) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(EndedClient::now(self.id));
    }
}

impl EndedClient {
    fn now(id: ClientId) -> Self {
        Self { id, at: libwayland::monotonic_time() }
    }
}

/// Returns the connection that a Wayland object belongs to.
pub fn client_of(resource: &impl Resource) -> Option<ClientId> {
    resource.client().map(|client| ClientData::of(&client).id)
}

/// What this component reads of the shell.
pub trait Windows {
    /// Returns the app id of a Wayland client's newest window.
    fn app_id(&self, id: ClientId) -> Option<String>;
    /// Returns whether a client has a toplevel window that can be asked to close.
    fn has_toplevel(&self, id: ClientId) -> bool;
}

/// What this component reads of the rest of the compositor.
pub struct Cx<'a> {
    /// The time of this iteration of the event loop. Liveness and deadlines are judged by it.
    pub now: Time,
    /// Returns the exact time, for round-trip times.
    pub clock: &'a dyn Fn() -> Time,
    pub config: &'a ClientsConfig,
    /// The connection type of clients that do not choose one themselves.
    pub connect_type: ConnectType,
    pub windows: &'a dyn Windows,
}

/// All connections.
pub struct Clients {
    /// The user that the service runs as.
    own_user: u32,
    listeners: Vec<Listening>,
    addresses: Addresses,
    connections: BTreeMap<ClientId, Connection>,
    /// What the Wayland library sends and receives.
    protocol_log: Option<ProtocolLog>,
    /// The connections of the Wayland library's sockets.
    by_descriptor: BTreeMap<RawFd, ClientId>,
    /// Clients with a protocol error whose socket is not closed yet: connection, socket, inode
    /// number of the socket.
    failed: Vec<(ClientId, RawFd, u64)>,
    /// Wayland clients that cannot be pinged, or not yet: they have not bound xdg_wm_base.
    unpinged: BTreeSet<ClientId>,
    /// Clients whose executable was not looked up yet. That reads /proc, which must not delay a
    /// client's first round trip.
    unidentified: Vec<ClientId>,
    /// Clients of which no event was published yet.
    unannounced: Vec<ClientId>,
    announcement_armed: bool,
    /// The maximum number of connections since memory was last returned to the system.
    peak: usize,
    trim_armed: bool,
    last_id: ClientId,
    /// Ids up to this one are saved as used, so that not every connection has to be saved.
    reserved_id: ClientId,
    deadlines: Deadlines,
    /// The time that the timer for all deadlines is armed for.
    armed: Option<Time>,
    /// The timer itself, which the compositor sets when it applies [`Effect::ArmDeadline`].
    timer: Option<Timer>,
    counts: Counts,
    /// The time that the requests of each user have taken, but the service's own user and root.
    user_cpu: UserAccounts,
    /// Wayland clients that are paused.
    paused: BTreeSet<ClientId>,
    /// The log says already that a client could not be paused.
    has_pause_failed: bool,
    ended: Ended,
    /// The number of connections refused since the start.
    refused: u64,
    /// Control clients that get events.
    subscribers: BTreeSet<ClientId>,
    placements: Placements,
    /// Sessions or placements have changed since [`Clients::take_unsaved`].
    unsaved: bool,
    /// The service ends once all Wayland clients are disconnected.
    shutting_down: bool,
}

/// The maximum of what is queued for a Wayland client that does not read, in bytes; then it is
/// disconnected. libwayland before 1.23 has 4 KiB, and `unresponsive` spares clients that do not
/// read so that this is enough.
pub const SEND_BUFFER: usize = 1 << 20;

/// The number of ids that are saved as used before they are.
const RESERVED_IDS: u64 = 255;

/// The number of connections that makes returning memory worthwhile: each takes some 10 KiB.
const TRIM_THRESHOLD: usize = 128;

/// The delay between the first of many disconnects and returning memory to the system, once for all
/// of them.
const TRIM_DELAY: Duration = Duration::from_secs(1);

impl Default for Clients {
    fn default() -> Self {
        Self {
            own_user: rustix::process::geteuid().as_raw(),
            listeners: Vec::new(),
            addresses: Addresses::default(),
            connections: BTreeMap::new(),
            protocol_log: None,
            by_descriptor: BTreeMap::new(),
            failed: Vec::new(),
            unpinged: BTreeSet::new(),
            unidentified: Vec::new(),
            unannounced: Vec::new(),
            announcement_armed: false,
            peak: 0,
            trim_armed: false,
            last_id: ClientId::default(),
            reserved_id: ClientId::default(),
            deadlines: Deadlines::default(),
            armed: None,
            timer: None,
            counts: Counts::default(),
            user_cpu: UserAccounts::default(),
            paused: BTreeSet::new(),
            has_pause_failed: false,
            ended: Ended::default(),
            refused: 0,
            subscribers: BTreeSet::new(),
            placements: Placements::default(),
            unsaved: false,
            shutting_down: false,
        }
    }
}

impl Clients {
    /// Serves the Wayland clients of a display.
    pub fn attach(&mut self, display: &DisplayHandle) {
        if !libwayland::set_send_buffer(display, SEND_BUFFER) {
            debug!("libwayland is older than 1.23: it queues 4 KiB for a client that does not read");
        }
        self.protocol_log = Some(ProtocolLog::new(display));
    }

    /// Sets the maximum number of objects of each Wayland client.
    pub fn set_max_objects(&self, max: u32) {
        if let Some(log) = &self.protocol_log {
            log.set_max_objects(max);
        }
    }

    /// Returns the Wayland client whose request is being dispatched.
    pub fn current(&self) -> Option<ClientId> {
        let descriptor = self.protocol_log.as_ref()?.current()?;
        self.by_descriptor.get(&descriptor).copied()
    }

    /// Handles what the Wayland library has received in a dispatch: its senders are alive, and each
    /// is charged for the time of its requests.
    pub fn dispatched(&mut self, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        let Some(traffic) = self.protocol_log.as_ref().map(ProtocolLog::take) else { return effects };
        for (descriptor, inode, error) in traffic.errors {
            let Some(id) = self.by_descriptor.get(&descriptor).copied() else { continue };
            let connection = self.connections.get_mut(&id);
            if let Some(transport) = connection.and_then(Connection::wayland) {
                transport.error.get_or_insert(error);
                self.failed.push((id, descriptor, inode));
            }
        }
        self.report_failed();
        if traffic.senders.is_empty() {
            return effects;
        }
        let now = (cx.clock)();
        let ends = traffic.senders.iter().map(|(_, began)| *began).skip(1).chain([now]);
        for ((descriptor, began), mut end) in traffic.senders.iter().zip(ends) {
            // What follows is the destruction of another client's objects.
            if let Some(destroyed) = self.first_end_after(*began) {
                end = end.min(destroyed);
            }
            if let Some(id) = self.by_descriptor.get(descriptor).copied() {
                effects.extend(self.on(id, Event::Received, cx));
                effects.extend(self.charge(id, end.saturating_sub(*began), now, cx));
            }
        }
        effects
    }

    /// Reports the end of clients with a protocol error once libwayland has closed their sockets.
    fn report_failed(&mut self) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        self.failed.retain(|(id, descriptor, inode)| {
            let is_open = libwayland::inode(*descriptor) == Some(*inode);
            if !is_open && !ended.iter().any(|one| one.id == *id) {
                ended.push(EndedClient::now(*id));
            }
            is_open
        });
    }

    /// Returns the addresses at which clients reach the service.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Returns the user that the service runs as.
    pub fn own_user(&self) -> u32 {
        self.own_user
    }

    /// Returns the number of connections refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    pub fn get(&self, id: ClientId) -> Option<&Connection> {
        self.connections.get(&id)
    }

    /// Returns all connections, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.connections.values()
    }

    /// Returns the connections of Wayland clients.
    pub fn wayland(&self) -> impl Iterator<Item = &Connection> {
        self.iter().filter(|connection| matches!(connection.transport, Transport::Wayland(_)))
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Returns the number of connections.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Looks up the executables of new clients now, while they run: some end within milliseconds.
    pub fn identify_new(&mut self) {
        for id in std::mem::take(&mut self.unidentified) {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.peer.executable = peer::executable(connection.peer.pid);
            }
        }
    }

    /// Returns a client's process, or `None` if it has ended.
    pub fn process(&self, id: ClientId) -> Option<Rc<Process>> {
        let connection = self.connections.get(&id)?;
        match &connection.transport {
            // Once the library has closed the socket, its number may belong to another one.
            Transport::Wayland(WaylandTransport { descriptor, .. })
                if connection.peer.process.is_none() && !self.has_ended(id) =>
            {
                // SAFETY: the library keeps the socket open until it reports the client's end.
                let socket = unsafe { BorrowedFd::borrow_raw(*descriptor) };
                Process::of(&socket, connection.peer.pid).map(Rc::new)
            }
            _ => connection.peer.process.clone(),
        }
    }

    /// Returns whether the Wayland library has disconnected a client, or is about to because of a
    /// protocol error.
    fn has_ended(&self, id: ClientId) -> bool {
        let ended = || self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let is_reported = || ended().iter().any(|one| one.id == id);
        let has_failed = || self.failed.iter().any(|(failed, ..)| *failed == id);
        is_reported() || has_failed() || self.has_error(id)
    }

    /// Returns whether a protocol error was posted to a client in the present dispatch.
    fn has_error(&self, id: ClientId) -> bool {
        match self.connections.get(&id).map(|connection| &connection.transport) {
            Some(Transport::Wayland(transport)) => {
                self.protocol_log.as_ref().is_some_and(|log| log.has_error(transport.descriptor))
            }
            _ => false,
        }
    }

    /// Returns whether nothing is connected and nothing is pending.
    #[cfg(test)]
    pub fn is_quiet(&self) -> bool {
        self.connections.is_empty() && self.deadlines.next().is_none() && self.counts.is_empty()
    }

    /// Arms the timer for [`Clients::trim_memory`] after many clients have disconnected.
    fn arm_trim(&mut self, cx: &Cx<'_>, effects: &mut Effects) {
        let many_left = self.peak >= TRIM_THRESHOLD && self.connections.len() <= self.peak / 2;
        if many_left && !std::mem::replace(&mut self.trim_armed, true) {
            effects.push(Effect::ArmTrim(cx.now + TRIM_DELAY));
        }
    }

    /// Returns freed memory to the system. glibc does so by itself only for memory at the end of
    /// the heap.
    pub fn trim_memory(&mut self) {
        self.trim_armed = false;
        self.peak = self.connections.len();
        // SAFETY: it moves nothing that is in use (malloc_trim(3)).
        unsafe { libc::malloc_trim(0) };
    }

    /// Notes that sessions or placements have changed: the compositor saves them at the end of the
    /// iteration.
    pub fn mark_unsaved(&mut self) {
        self.unsaved = true;
    }

    /// Returns whether there is something to save, and clears that.
    pub fn take_unsaved(&mut self) -> bool {
        std::mem::take(&mut self.unsaved)
    }

    fn next_id(&mut self) -> ClientId {
        self.last_id.0 += 1;
        if self.last_id > self.reserved_id {
            self.reserved_id.0 = self.last_id.0 + RESERVED_IDS;
            self.mark_unsaved();
        }
        self.last_id
    }
}
