//! Connections: who is connected, whether each is alive, and how each ends.
//!
//! One [`Connection`] a connection, of either kind; one pure state machine ([`heartbeat`]); one queue of deadlines
//! ([`deadlines`]) and one timer for all of them.

pub mod accept;
pub mod connection;
pub mod deadlines;
pub mod disconnect;
pub mod heartbeat;
pub mod heartbeat_driver;
pub mod invariants;
pub mod limits;
pub mod listen;
pub mod peer;
pub mod saved_state;
pub mod unresponsive;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use smithay::reexports::wayland_server::backend::{ClientData as BackendData, ClientId, DisconnectReason};
use smithay::reexports::wayland_server::Client;
use smithay::wayland::compositor::CompositorClientState;
use tracing::error;

use self::deadlines::Deadlines;
use self::limits::Counts;
use self::listen::{Addresses, Listening};
use self::peer::Process;
use self::connection::{Transport, Connection, WaylandTransport};
use crate::event_loop::timers::Timer;

/// Ids of Wayland clients that the library has let go of, and why.
type Ended = Arc<Mutex<Vec<(u64, DisconnectReason)>>>;

/// What the Wayland library keeps for each of its clients.
#[derive(Default)]
pub struct ClientData {
    pub compositor: CompositorClientState,
    /// Of its [`Connection`].
    pub id: u64,
    /// It came through a sandbox's socket (security-context).
    pub sandboxed: bool,
    ended: Ended,
}

impl ClientData {
    /// The data that a client was inserted with.
    pub fn of(client: &Client) -> &Self {
        static NOBODY: LazyLock<ClientData> = LazyLock::new(ClientData::default);
        client.get_data::<Self>().unwrap_or_else(|| {
            error!("a client has no data: it was not accepted by new_client()");
            &NOBODY
        })
    }
}

impl BackendData for ClientData {
    fn disconnected(&self, _client: ClientId, reason: DisconnectReason) {
        // The library's lock is held here: what follows from it happens at the turn's end.
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push((self.id, reason));
    }
}

/// All connections.
pub struct Clients {
    /// The service's.
    pub own_user: u32,
    listeners: Vec<Rc<Listening>>,
    pub addresses: Addresses,
    pub connections: BTreeMap<u64, Connection>,
    /// Wayland clients that can't be pinged, or not yet.
    unpinged: BTreeSet<u64>,
    /// Newcomers of whom it is still to be found out which programs they are: after their first answer, which needs nothing of it.
    unknown: Vec<u64>,
    /// Newcomers that are still to be told of, and whether a timer is set for that.
    unannounced: Vec<u64>,
    pub introducing: bool,
    /// The most connections since memory was last given back, and whether it is about to be.
    peak: usize,
    resting: bool,
    last: u64,
    deadlines: Deadlines,
    pub timer: Option<(heartbeat::Time, Timer)>,
    counts: Counts,
    ended: Ended,
    /// Newcomers that were refused since the start.
    pub refused: u64,
    /// Control clients that get events.
    pub subscribers: BTreeSet<u64>,
    /// The Wayland client whose requests are being read.
    pub current: Option<u64>,
    /// Displays kept for applications that left without being told to, by app id.
    pub places: HashMap<String, String>,
}

/// So much is kept for a Wayland client that does not read, before its connection ends: motion events of many
/// minutes. libwayland's own default of 4 kB lets a moving mouse kill a client that hangs for a second.
pub const SEND_BUFFER: usize = 1 << 20;

/// So many connections are worth giving memory back for, some 10 KiB each.
const TRIM_THRESHOLD: usize = 128;

/// So many places are kept.
const MAX_PLACEMENTS: usize = 1024;

impl Default for Clients {
    fn default() -> Self {
        Self {
            own_user: rustix::process::geteuid().as_raw(),
            listeners: Vec::new(),
            addresses: Addresses::default(),
            connections: BTreeMap::new(),
            unpinged: BTreeSet::new(),
            unknown: Vec::new(),
            unannounced: Vec::new(),
            introducing: false,
            peak: 0,
            resting: false,
            last: 0,
            deadlines: Deadlines::default(),
            timer: None,
            counts: Counts::default(),
            ended: Ended::default(),
            refused: 0,
            subscribers: BTreeSet::new(),
            current: None,
            places: HashMap::new(),
        }
    }
}

impl Clients {
    /// What clients have to set as `WAYLAND_DISPLAY`.
    pub fn address(&self) -> &str {
        &self.addresses.wayland
    }

    /// Finds out which programs the newcomers are, while they run: some end in a moment.
    pub fn learn_programs(&mut self) {
        for id in std::mem::take(&mut self.unknown) {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.peer.executable = peer::executable(connection.peer.pid);
            }
        }
    }

    /// A connection's process.
    pub fn process(&self, id: u64) -> Option<Rc<Process>> {
        let connection = self.connections.get(&id)?;
        match &connection.transport {
            // Once the library has let go of the socket, its number may be another's.
            Transport::Wayland(WaylandTransport { descriptor: Some(descriptor), .. })
                if connection.peer.process.is_none() && !self.has_ended(id) =>
            {
                // SAFETY: the library keeps it open until it says that the client has ended.
                let socket = unsafe { BorrowedFd::borrow_raw(*descriptor) };
                Process::of(&socket, connection.peer.pid).map(Rc::new)
            }
            _ => connection.peer.process.clone(),
        }
    }

    /// Whether the Wayland library has let go of a client in this turn.
    fn has_ended(&self, id: u64) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.iter().any(|(ended, _)| *ended == id)
    }

    /// Whether nobody is connected and nothing waits.
    #[cfg(test)]
    pub fn is_quiet(&self) -> bool {
        self.connections.is_empty() && self.deadlines.next().is_none() && self.counts.is_empty()
    }

    /// Whether so many have left that what the allocator keeps of them should go back to the system. glibc gives back only what
    /// lies at the heap's end.
    fn should_trim(&self) -> bool {
        !self.resting && self.peak >= TRIM_THRESHOLD && self.connections.len() <= self.peak / 2
    }

    /// Returns freed memory to the system after many clients disconnected.
    pub fn trim_memory(&mut self) {
        self.resting = false;
        self.peak = self.connections.len();
        // SAFETY: it moves nothing that is in use (malloc_trim(3)).
        unsafe { libc::malloc_trim(0) };
    }

    /// The number of the connection that came last.
    pub fn last_id(&self) -> u64 {
        self.last
    }

    /// Numbers go on after another run's.
    pub fn go_on_after(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    /// Counts a session in that was admitted by another run.
    pub fn count_in(&mut self, peer: &peer::Peer) {
        self.counts.readmit(peer.pid, peer.uid);
    }

    fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}
