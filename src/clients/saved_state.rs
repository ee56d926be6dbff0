//! State that outlives the process: control sessions and placements, in memory files that the next
//! process reads. Also counts crashes.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use geom_ipc::ConnectType;
use rustix::fs::{memfd_create, MemfdFlags};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::connection::{Connection, Transport};
use super::control_connection::ControlConnection;
use super::heartbeat::{Liveness, Time};
use super::peer::Peer;
use super::placements::Placements;
use super::{ClientId, Clients};
use crate::session::fd_store::FdStore;

/// This many crashes within [`CRASH_LOOP_WINDOW_MS`] are a crash loop.
const CRASH_LOOP_COUNT: usize = 5;
const CRASH_LOOP_WINDOW_MS: u64 = 60_000;

/// The maximum number of bytes that are read. We never write more.
const MAX_STATE_BYTES: u64 = 4 << 20;

/// The session of a control client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSession {
    id: ClientId,
    uid: u32,
    gid: u32,
    name: String,
    token: String,
    connect_type: ConnectType,
    disconnects: u32,
    /// The client was connected when this was saved.
    open: bool,
}

/// The part of the state that [`Clients`] has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedClients {
    /// The id of the newest connection: none is used twice.
    pub last_id: ClientId,
    /// Displays of applications, by app id.
    pub placements: Placements,
    pub sessions: Vec<SavedSession>,
}

/// What one process leaves to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SavedState {
    /// Counts the writes.
    generation: u64,
    /// The times of crashes, in milliseconds since boot.
    crashes: Vec<u64>,
    /// There was a crash loop: the configuration is ignored until a person starts the service.
    safe: bool,
    /// The process replaces itself by another program, which is not a crash.
    replaced: bool,
    clients: SavedClients,
}

/// The memory files. There are two, written in turn, so that one is complete at any time.
pub struct StateFile {
    slots: [File; 2],
    state: SavedState,
}

/// Returns the milliseconds since boot, including suspend (CLOCK_BOOTTIME).
fn boot_time() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let millis = u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000;
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + millis
}

fn read(file: &File) -> Option<SavedState> {
    let length = file.metadata().ok()?.len();
    let mut bytes = vec![0; usize::try_from(length.min(MAX_STATE_BYTES)).ok()?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    serde_json::from_slice(&bytes).ok()
}

impl SavedState {
    /// Counts a crash: the previous process has not removed its state.
    fn count_crash(&mut self, now: u64) {
        self.crashes.push(now);
        self.crashes.retain(|crash| now.saturating_sub(*crash) <= CRASH_LOOP_WINDOW_MS);
        self.safe |= self.crashes.len() >= CRASH_LOOP_COUNT;
    }
}

impl StateFile {
    /// Reads the state of the previous process, or creates new files.
    ///
    /// # Errors
    /// If memory or descriptors run out.
    pub fn open(store: &mut FdStore) -> io::Result<Self> {
        let (mut slots, mut newest) = (Vec::new(), None::<SavedState>);
        let mut is_first = true;
        for name in ["connections-0", "connections-1"] {
            let file = match store.recover(name).map(File::from) {
                Some(file) => {
                    is_first = false;
                    let is_newer = |state: &SavedState| {
                        newest.as_ref().is_none_or(|known| known.generation < state.generation)
                    };
                    let newer = read(&file).filter(is_newer);
                    newest = newer.or(newest);
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
        let mut state = newest.unwrap_or_default();
        if !is_first && !std::mem::take(&mut state.replaced) {
            state.count_crash(boot_time());
        }
        let slots = slots.try_into().map_err(|_| io::ErrorKind::Other)?;
        let mut state_file = Self { slots, state };
        state_file.write()?;
        Ok(state_file)
    }

    /// Returns whether there was a crash loop: safe settings are used.
    pub fn is_safe(&self) -> bool {
        self.state.safe
    }

    /// Returns the number of recent crashes.
    pub fn crashes(&self) -> usize {
        self.state.crashes.len()
    }

    /// Returns the sessions and placements that the previous process saved.
    pub fn clients(&self) -> &SavedClients {
        &self.state.clients
    }

    /// Saves sessions and placements, if they have changed.
    pub fn save(&mut self, clients: SavedClients) {
        if clients == self.state.clients {
            return;
        }
        self.state.clients = clients;
        if let Err(error) = self.write() {
            warn!(%error, "cannot save sessions and placements: they will not survive a crash");
        }
    }

    /// Notes that this process replaces itself by another program, or does not after all. The new
    /// program uses the whole configuration, even after a crash loop.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn set_replaced(&mut self, replaced: bool) -> io::Result<()> {
        self.state.replaced = replaced;
        if replaced {
            self.state.safe = false;
            self.state.crashes.clear();
        }
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        self.state.generation += 1;
        let bytes = serde_json::to_vec(&self.state)?;
        let [first, second] = &self.slots;
        let slot = if self.state.generation % 2 == 0 { first } else { second };
        // A truncated file is not valid JSON: a partial state is never read.
        slot.set_len(0)?;
        slot.write_all_at(&bytes, 0)
    }
}

impl Clients {
    /// Continues the sessions of the previous process, which wait for their clients, and its
    /// placements. Returns the number of sessions.
    pub fn restore(&mut self, saved: SavedClients, now: Time) -> usize {
        self.last_id = self.last_id.max(saved.last_id);
        self.add_placements(saved.placements);
        let mut restored = 0;
        for session in saved.sessions {
            // A session that was open has lost its client by the crash.
            let disconnects = session.disconnects + u32::from(session.open);
            if session.connect_type.is_final(disconnects) && session.open {
                continue;
            }
            let peer = Peer::of_lost_session(session.uid, session.gid);
            let mut control = ControlConnection::lost(session.token, session.name);
            control.disconnects = disconnects;
            let transport = Transport::Control(Box::new(control));
            let mut connection = Connection::new(session.id, peer, now, session.connect_type, transport);
            connection.state = Liveness::Lost { since: now };
            self.counts.readmit(connection.peer.pid, connection.peer.uid);
            self.connections.insert(session.id, connection);
            restored += 1;
        }
        restored
    }

    /// Returns what to save. `placements` are those of the windows that are open now.
    pub fn to_saved(&self, windows: impl Iterator<Item = (String, String)>) -> SavedClients {
        let mut placements = self.placements().clone();
        placements.extend(windows);
        let sessions = self.iter().filter_map(|connection| {
            let Transport::Control(control) = &connection.transport else { return None };
            control.greeted.then(|| SavedSession {
                id: connection.id,
                uid: connection.peer.uid,
                gid: connection.peer.gid,
                name: control.name.clone(),
                token: control.token.clone(),
                connect_type: connection.connect_type,
                disconnects: control.disconnects,
                open: control.is_open(),
            })
        });
        SavedClients { last_id: self.last_id, placements, sessions: sessions.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_crashes_in_a_minute_are_a_crash_loop() {
        let mut state = SavedState::default();
        for crash in 0..4 {
            state.count_crash(crash * 1000);
        }
        assert!(!state.safe);
        // The first two are too old by then.
        state.count_crash(61_500);
        assert!(!state.safe && state.crashes.len() == 3);
        state.count_crash(61_600);
        state.count_crash(61_700);
        assert!(state.safe);
        // Safe settings stay until a person starts the service.
        state.count_crash(900_000);
        assert!(state.safe && state.crashes == [900_000]);
    }

    #[test]
    fn state_survives_a_crash_and_counts_it() -> io::Result<()> {
        let mut store = FdStore::default();
        let mut file = StateFile::open(&mut store)?;
        assert_eq!((file.crashes(), file.is_safe()), (0, false));
        let placements = Placements::from([("app".to_owned(), "DP-1".to_owned())]);
        let saved = SavedClients { last_id: 7.into(), placements, sessions: Vec::new() };
        file.save(saved.clone());
        // Each later write goes to the other file.
        file.save(SavedClients { last_id: 8.into(), ..saved.clone() });
        file.save(SavedClients { last_id: 9.into(), ..saved.clone() });
        let mut store = store.inherited();
        let file = StateFile::open(&mut store)?;
        assert_eq!(file.clients(), &SavedClients { last_id: 9.into(), ..saved });
        assert_eq!(file.crashes(), 1);
        Ok(())
    }

    #[test]
    fn incomplete_write_leaves_the_earlier_state() -> io::Result<()> {
        let mut store = FdStore::default();
        let mut file = StateFile::open(&mut store)?;
        let saved = SavedClients { last_id: 7.into(), ..SavedClients::default() };
        file.save(saved.clone());
        file.save(SavedClients { last_id: 8.into(), ..saved.clone() });
        let newest = &file.slots[usize::from(file.state.generation % 2 == 1)];
        newest.set_len(newest.metadata()?.len() - 1)?;
        let file = StateFile::open(&mut store.inherited())?;
        assert_eq!(file.clients(), &saved);
        Ok(())
    }

    #[test]
    fn replacement_is_no_crash_and_ends_safe_settings() -> io::Result<()> {
        let mut store = FdStore::default();
        let mut file = StateFile::open(&mut store)?;
        file.state.safe = true;
        file.set_replaced(true)?;
        let file = StateFile::open(&mut store.inherited())?;
        assert_eq!((file.crashes(), file.is_safe()), (0, false));
        // That was noted once: the next end without removal is a crash.
        assert_eq!(StateFile::open(&mut store.inherited())?.crashes(), 1);
        Ok(())
    }
}
