//! Connections: who is connected, whether each is alive, and how each ends.
//!
//! One [`Record`] a connection, of either kind; one pure state machine ([`heartbeat`]); one queue of deadlines
//! ([`deadlines`]) and one timer for all of them.

pub mod deadlines;
pub mod ending;
pub mod heartbeat;
pub mod laws;
pub mod limits;
pub mod listen;
pub mod manager;
pub mod patience;
pub mod peer;
pub mod record;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use smithay::reexports::wayland_server::backend::{ClientData as BackendData, ClientId, DisconnectReason};
use smithay::reexports::wayland_server::Client;
use smithay::wayland::compositor::CompositorClientState;
use tracing::error;

use self::deadlines::Deadlines;
use self::limits::Counts;
use self::listen::{Addresses, Listening};
use self::peer::Peer;
use self::record::Record;
use crate::timers::Timer;

/// Ids of Wayland clients that the library has let go of, and why.
type Ended = Arc<Mutex<Vec<(u64, DisconnectReason)>>>;

/// What the Wayland library keeps for each of its clients.
#[derive(Default)]
pub struct ClientData {
    pub compositor: CompositorClientState,
    /// Of its [`Record`].
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
            error!("a client has no data: it was not accepted by newcomer()");
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
    pub records: BTreeMap<u64, Record>,
    /// Wayland clients that can't be pinged, or not yet.
    unpinged: BTreeSet<u64>,
    /// The most records since memory was last given back, and whether it is about to be.
    peak: usize,
    resting: bool,
    last: u64,
    deadlines: Deadlines,
    timer: Option<(heartbeat::Time, Timer)>,
    counts: Counts,
    processes: HashMap<i32, Weak<OwnedFd>>,
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
const CROWD: usize = 128;

/// So many places are kept.
const PLACES: usize = 1024;

impl Default for Clients {
    fn default() -> Self {
        Self {
            own_user: rustix::process::geteuid().as_raw(),
            listeners: Vec::new(),
            addresses: Addresses::default(),
            records: BTreeMap::new(),
            unpinged: BTreeSet::new(),
            peak: 0,
            resting: false,
            last: 0,
            deadlines: Deadlines::default(),
            timer: None,
            counts: Counts::default(),
            processes: HashMap::new(),
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

    /// One descriptor a process, however many connections it has.
    fn share_process(&mut self, mut peer: Peer) -> Peer {
        let known = self.processes.get(&peer.pid).and_then(Weak::upgrade);
        let same = known.map(|process| Peer { process: Some(process), ..peer.clone() });
        // While the known one runs its number is nobody else's.
        if let Some(same) = same.filter(|same| !same.has_ended()) {
            return same;
        }
        if let Some(process) = &mut peer.process {
            self.processes.insert(peer.pid, Rc::downgrade(process));
        }
        if self.processes.len() > 2 * self.records.len() + 16 {
            self.processes.retain(|_, process| process.strong_count() > 0);
        }
        peer
    }

    /// Whether the Wayland library has let go of a client in this turn.
    fn has_ended(&self, id: u64) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.iter().any(|(ended, _)| *ended == id)
    }

    /// Whether nobody is connected and nothing waits.
    #[cfg(test)]
    pub fn is_quiet(&self) -> bool {
        self.records.is_empty() && self.deadlines.next().is_none() && self.counts.is_empty()
    }

    /// Whether so many have left that what the allocator keeps of them should go back to the system. glibc gives back only what
    /// lies at the heap's end.
    fn is_bloated(&self) -> bool {
        !self.resting && self.peak >= CROWD && self.records.len() <= self.peak / 2
    }

    fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}
