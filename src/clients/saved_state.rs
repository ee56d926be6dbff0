//! What is kept of connections and places beyond the process: written into memory that outlives it, read by the next of us.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{memfd_create, MemfdFlags};
use serde::{Deserialize, Serialize};
use tracing::warn;

use geom_ipc::ConnectType;

use super::peer::Peer;
use super::connection::{Transport, Connection};
use crate::clients::heartbeat::Liveness;
use crate::control::connection::ControlConnection;
use crate::session::fd_store::FdStore;
use crate::compositor::{notify_user, State};

/// So many ends without leave within [`LOOP`] milliseconds are a loop.
const CRASHES: usize = 5;
const LOOP: u64 = 60_000;

/// More than this is no connection of ours.
const MOST: u64 = 4 << 20;

/// A control client's session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    id: u64,
    uid: u32,
    gid: u32,
    name: String,
    token: String,
    connect_type: ConnectType,
    disconnects: u32,
    open: bool,
}

/// What one run leaves to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedState {
    /// Writings so far.
    generation: u64,
    /// When runs ended without leave, in milliseconds since the machine started.
    crashes: Vec<u64>,
    /// They came so fast that wishes were given up.
    safe: bool,
    /// The run ended to let another take its place.
    expected: bool,
    /// The last connection's number: none is given twice.
    last: u64,
    /// Displays of applications, by app id.
    places: BTreeMap<String, String>,
    sessions: Vec<Session>,
}

/// Two files in memory, written in turns: one is whole at any time.
pub struct StateFile {
    slots: [File; 2],
    kept: SavedState,
    /// Something changed since it was written.
    pub touched: bool,
}

/// Since the machine started, suspended or not (CLOCK_BOOTTIME).
fn boot_time() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

fn read(file: &File) -> Option<SavedState> {
    let length = file.metadata().ok()?.len();
    let mut bytes = vec![0; usize::try_from(length.min(MOST)).ok()?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    serde_json::from_slice(&bytes).ok()
}

impl SavedState {
    /// The run before ended without leave: whether that is a loop now.
    fn crashed(&mut self, now: u64) {
        self.crashes.push(now);
        self.crashes.retain(|crash| now.saturating_sub(*crash) <= LOOP);
        self.safe |= self.crashes.len() >= CRASHES;
    }
}

impl StateFile {
    /// What the run before left, or a new one.
    ///
    /// # Errors
    /// Without memory or descriptors.
    pub fn open(store: &mut FdStore) -> io::Result<Self> {
        let (mut slots, mut left) = (Vec::new(), None::<SavedState>);
        let mut is_first = true;
        for name in ["connections-0", "connections-1"] {
            let file = match store.recover(name).map(File::from) {
                Some(file) => {
                    is_first = false;
                    let newer = read(&file)
                        .filter(|kept| left.as_ref().is_none_or(|known| known.generation < kept.generation));
                    left = newer.or(left);
                    file
                }
                None => {
                    let file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
                    store.hold(name, file.as_fd())?;
                    file
                }
            };
            slots.push(file);
        }
        let mut kept = left.unwrap_or_default();
        if !is_first && !std::mem::take(&mut kept.expected) {
            kept.crashed(boot_time());
        }
        let slots = slots.try_into().map_err(|_| io::ErrorKind::Other)?;
        let mut state_file = Self { slots, kept, touched: false };
        state_file.write()?;
        Ok(state_file)
    }

    pub fn is_safe(&self) -> bool {
        self.kept.safe
    }

    /// The next run follows by our own will, and with all wishes; or does not after all.
    ///
    /// # Errors
    /// Without memory.
    pub fn set_expected(&mut self, expected: bool) -> io::Result<()> {
        self.kept.expected = expected;
        if expected {
            self.kept.safe = false;
            self.kept.crashes.clear();
        }
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        self.kept.generation += 1;
        let bytes = serde_json::to_vec(&self.kept)?;
        let slot = &self.slots[(self.kept.generation % 2) as usize];
        // What is cut off is no JSON: half of it is never taken for all.
        slot.set_len(0)?;
        slot.write_all_at(&bytes, 0)
    }
}

impl State {
    /// Goes on with what the run before left: places, and sessions, which wait for their clients. Numbers go on as well.
    pub fn restore(&mut self, state_file: StateFile) {
        let now = self.now();
        let kept = state_file.kept.clone();
        self.state_file = Some(state_file);
        self.clients.go_on_after(kept.last);
        self.clients.places.extend(kept.places);
        let mut waiting = 0;
        for session in kept.sessions {
            let disconnects = session.disconnects + u32::from(session.open);
            if session.connect_type.is_final(disconnects) && session.open {
                continue;
            }
            let peer = Peer::of_the_past(session.uid, session.gid);
            let mut control = ControlConnection::lost(session.token, session.name);
            control.disconnects = disconnects;
            let transport = Transport::Control(Box::new(control));
            let mut connection = Connection::new(session.id, peer, now, session.connect_type, transport);
            connection.state = Liveness::Lost { since: now };
            self.clients.count_in(&connection.peer);
            self.clients.connections.insert(session.id, connection);
            waiting += 1;
        }
        if !kept.crashes.is_empty() {
            warn!(
                crashes = kept.crashes.len(),
                sessions = waiting,
                "the run before ended without leave; going on"
            );
        }
        if kept.safe {
            notify_user!(self, "crashed 5 times in a minute: safe settings are used (no profile, no configuration, pixman) until it is started anew by hand");
        }
    }

    /// Something changed that should outlive us; written at the turn's end.
    pub fn keep(&mut self) {
        if let Some(state_file) = &mut self.state_file {
            state_file.touched = true;
        }
    }

    /// The turn's end: writes what changed.
    pub fn write_saved_state(&mut self) {
        if !self.state_file.as_ref().is_some_and(|state_file| state_file.touched) {
            return;
        }
        let mut places: BTreeMap<String, String> =
            self.clients.places.iter().map(|(app_id, assigned_output)| (app_id.clone(), assigned_output.clone())).collect();
        places.extend(self.shell.placements());
        let sessions = self.clients.connections.values().filter_map(|connection| {
            let Transport::Control(control) = &connection.transport else { return None };
            Some(Session {
                id: connection.id,
                uid: connection.peer.uid,
                gid: connection.peer.gid,
                name: control.name.clone(),
                token: control.token.clone(),
                connect_type: connection.connect_type,
                disconnects: control.disconnects,
                open: control.is_open(),
            })
            .filter(|_| control.greeted)
        });
        let sessions = sessions.collect();
        let last = self.clients.last_id();
        let Some(state_file) = &mut self.state_file else { return };
        state_file.touched = false;
        let now = SavedState { last, places, sessions, crashes: state_file.kept.crashes.clone(), ..state_file.kept };
        if now != state_file.kept {
            state_file.kept = now;
            if let Err(error) = state_file.write() {
                warn!(%error, "what is kept of connections can't be written");
            }
        }
    }

    /// The end is meant: the next run begins anew.
    pub fn let_go(&mut self) {
        self.state_file = None;
        self.store.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_in_a_minute_are_a_loop() {
        let mut kept = SavedState::default();
        for crash in 0..4 {
            kept.crashed(crash * 1000);
        }
        assert!(!kept.safe);
        // The first two are forgotten by then.
        kept.crashed(61_500);
        assert!(!kept.safe && kept.crashes.len() == 3);
        kept.crashed(61_600);
        kept.crashed(61_700);
        assert!(kept.safe);
        // It stays so until somebody starts it anew.
        kept.crashed(900_000);
        assert!(kept.safe && kept.crashes == [900_000]);
    }
}
