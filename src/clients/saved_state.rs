//! State that outlives the process: control sessions and placements, in memory files that the next
//! process reads. Also counts crashes.

use std::collections::BTreeMap;
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

/// The maximum number of bytes that are read. The limits below keep what is written under it.
const MAX_STATE_BYTES: u64 = 4 << 20;

/// The maximum number of sessions that are saved, of a user and of all users.
const MAX_SESSIONS_PER_USER: usize = 512;
const MAX_SESSIONS: usize = 1024;

/// The maximum length of a session's name, in bytes.
const MAX_NAME_BYTES: usize = 1024;

/// The maximum number of crashes that are remembered.
const MAX_CRASHES: usize = 16;

/// The version of the format. Version 0, of earlier programs, was one JSON object for everything.
/// A reader of another version takes what it knows from the first line and nothing else.
const VERSION: u32 = 1;

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
    /// No connection of the next process has this id or one before.
    pub last_id: ClientId,
    /// Displays of applications, by app id.
    pub placements: Placements,
    pub sessions: Vec<SavedSession>,
}

/// What one process leaves to the next, besides sessions and placements: the first line of a file,
/// so that it survives whatever follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    #[serde(default)]
    version: u32,
    /// Counts the writes.
    generation: u64,
    /// The times of crashes, in milliseconds since boot.
    crashes: Vec<u64>,
    /// There was a crash loop: the configuration is ignored until a person starts the service.
    safe: bool,
    /// The process replaces itself by another program, which is not a crash.
    replaced: bool,
}

/// Everything that a file has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct SavedState {
    header: Header,
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

/// Reads a file: the header, and sessions and placements if they are complete.
fn read(file: &File) -> Option<(Header, Option<SavedClients>)> {
    let length = file.metadata().ok()?.len();
    let mut bytes = vec![0; usize::try_from(length.min(MAX_STATE_BYTES)).ok()?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let header: Header = serde_json::from_slice(lines.next()?).ok()?;
    let clients = lines.next().filter(|_| header.version == VERSION);
    Some((header, clients.and_then(|clients| serde_json::from_slice(clients).ok())))
}

/// Bounds the sessions: of each user the newest ones, and of all users as many of each. Keeps their
/// order.
fn limit_sessions(sessions: Vec<SavedSession>) -> Vec<SavedSession> {
    let mut counts = BTreeMap::<u32, usize>::new();
    let mut ranked: Vec<(usize, SavedSession)> = Vec::with_capacity(sessions.len());
    let mut newest_first = sessions;
    newest_first.sort_by_key(|session| std::cmp::Reverse(session.id));
    for session in newest_first {
        let rank = counts.entry(session.uid).or_default();
        *rank += 1;
        if *rank <= MAX_SESSIONS_PER_USER && session.name.len() <= MAX_NAME_BYTES {
            ranked.push((*rank, session));
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.truncate(MAX_SESSIONS);
    let mut kept: Vec<SavedSession> = ranked.into_iter().map(|(_, session)| session).collect();
    kept.sort_by_key(|session| session.id);
    kept
}

impl Header {
    /// Counts a crash: the previous process has not removed its state.
    fn count_crash(&mut self, now: u64) {
        self.crashes.push(now);
        self.crashes.retain(|crash| now.saturating_sub(*crash) <= CRASH_LOOP_WINDOW_MS);
        self.crashes.drain(..self.crashes.len().saturating_sub(MAX_CRASHES));
        self.safe |= self.crashes.len() >= CRASH_LOOP_COUNT;
    }
}

impl StateFile {
    /// Reads the state of the previous process, or creates new files.
    ///
    /// # Errors
    /// If memory or descriptors run out.
    pub fn open(store: &mut FdStore) -> io::Result<Self> {
        let mut slots = Vec::new();
        let mut newest = (None::<Header>, None::<(u64, SavedClients)>);
        let mut is_first = true;
        for name in ["connections-0", "connections-1"] {
            let file = match store.recover(name).map(File::from) {
                Some(file) => {
                    is_first = false;
                    if let Some((header, clients)) = read(&file) {
                        let generation = header.generation;
                        let clients = clients.map(|clients| (generation, clients));
                        if newest.1.as_ref().is_none_or(|(known, _)| *known < generation) {
                            newest.1 = clients.or(newest.1);
                        }
                        if newest.0.as_ref().is_none_or(|known| known.generation < generation) {
                            newest.0 = Some(header);
                        }
                    }
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
        let mut state = SavedState {
            header: Header { version: VERSION, ..newest.0.unwrap_or_default() },
            clients: newest.1.unwrap_or_default().1,
        };
        if !is_first && !std::mem::take(&mut state.header.replaced) {
            state.header.count_crash(boot_time());
        }
        let slots = slots.try_into().map_err(|_| io::ErrorKind::Other)?;
        let mut state_file = Self { slots, state };
        state_file.write()?;
        Ok(state_file)
    }

    /// Returns whether there was a crash loop: safe settings are used.
    pub fn is_safe(&self) -> bool {
        self.state.header.safe
    }

    /// Returns the number of recent crashes.
    pub fn crashes(&self) -> usize {
        self.state.header.crashes.len()
    }

    /// Returns the sessions and placements that the previous process saved.
    pub fn clients(&self) -> &SavedClients {
        &self.state.clients
    }

    /// Saves sessions and placements, if they have changed.
    pub fn save(&mut self, mut clients: SavedClients) {
        clients.sessions = limit_sessions(clients.sessions);
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
        self.state.header.replaced = replaced;
        if replaced {
            self.state.header.safe = false;
            self.state.header.crashes.clear();
        }
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        self.state.header.generation += 1;
        let mut bytes = serde_json::to_vec(&self.state.header)?;
        bytes.push(b'\n');
        serde_json::to_writer(&mut bytes, &self.state.clients)?;
        let [first, second] = &self.slots;
        let slot = if self.state.header.generation % 2 == 0 { first } else { second };
        // A truncated file is not valid JSON: the other file has the state before.
        slot.set_len(0)?;
        slot.write_all_at(&bytes, 0)
    }
}

impl Clients {
    /// Continues the sessions of the previous process, which wait for their clients, and its
    /// placements. Returns the number of sessions.
    pub fn restore(&mut self, saved: SavedClients, now: Time) -> usize {
        self.last_id = self.last_id.max(saved.last_id);
        self.reserved_id = self.reserved_id.max(self.last_id);
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
        SavedClients { last_id: self.reserved_id, placements, sessions: sessions.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_crashes_in_a_minute_are_a_crash_loop() {
        let mut state = Header::default();
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
        let newest = &file.slots[usize::from(file.state.header.generation % 2 == 1)];
        newest.set_len(newest.metadata()?.len() - 1)?;
        let file = StateFile::open(&mut store.inherited())?;
        assert_eq!(file.clients(), &saved);
        Ok(())
    }

    #[test]
    fn replacement_is_no_crash_and_ends_safe_settings() -> io::Result<()> {
        let mut store = FdStore::default();
        let mut file = StateFile::open(&mut store)?;
        file.state.header.safe = true;
        file.set_replaced(true)?;
        let file = StateFile::open(&mut store.inherited())?;
        assert_eq!((file.crashes(), file.is_safe()), (0, false));
        // That was noted once: the next end without removal is a crash.
        assert_eq!(StateFile::open(&mut store.inherited())?.crashes(), 1);
        Ok(())
    }

    fn session(id: u64, uid: u32, name: String) -> SavedSession {
        let token = "0".repeat(32);
        let connect_type = ConnectType::KEEP_CONNECTION_OPEN;
        SavedSession { id: id.into(), uid, gid: uid, name, token, connect_type, disconnects: 0, open: true }
    }

    #[test]
    fn largest_state_is_read_again() -> io::Result<()> {
        let mut store = FdStore::default();
        let mut file = StateFile::open(&mut store)?;
        // Each of these characters takes six bytes in JSON.
        let long = |number: u64, length: usize| format!("{number:08}{}", "\u{1}".repeat(length - 8));
        let placements = (0..3000).map(|number| (long(number, 256), "D".repeat(256))).collect::<Placements>();
        let sessions = (0..3000).map(|id| session(id, 1000 + id as u32 % 3, long(id, 256))).collect();
        file.save(SavedClients { last_id: 3000.into(), placements, sessions });
        let file = StateFile::open(&mut store.inherited())?;
        let saved = file.clients();
        assert_eq!((saved.last_id, saved.sessions.len(), file.crashes()), (3000.into(), MAX_SESSIONS, 1));
        // The newest ones.
        assert!(saved.sessions.iter().all(|session| session.id >= (3000 - MAX_SESSIONS as u64 - 3).into()));
        assert!(saved.placements.get(&long(2999, 256)).is_some());
        assert!(saved.placements.get(&long(3000 - 1025, 256)).is_none());
        for slot in &file.slots {
            assert!(slot.metadata()?.len() < MAX_STATE_BYTES);
        }
        Ok(())
    }

    #[test]
    fn too_long_app_id_is_not_saved_and_nothing_else_is_lost() {
        let mut placements = Placements::from([("app".to_owned(), "DP-1".to_owned())]);
        placements.insert("\u{1}".repeat(4000), "DP-1".to_owned());
        assert_eq!(placements, Placements::from([("app".to_owned(), "DP-1".to_owned())]));
    }

    #[test]
    fn one_user_s_sessions_do_not_displace_another_s() {
        let mut sessions: Vec<SavedSession> = vec![session(1, 0, "root".into())];
        sessions.extend((2..5000).map(|id| session(id, 1000 + id as u32 % 4, "other".into())));
        let kept = limit_sessions(sessions);
        assert_eq!((kept.len(), kept[0].uid), (MAX_SESSIONS, 0));
        assert!(kept.is_sorted_by_key(|session| session.id));
        let own = (0..600).map(|id| session(id, 7, String::new())).collect();
        let kept = limit_sessions(own);
        assert_eq!((kept.len(), kept[0].id), (MAX_SESSIONS_PER_USER, 88.into()));
    }

    #[test]
    fn crash_counter_survives_unreadable_sessions() -> io::Result<()> {
        let mut store = FdStore::default();
        let file = StateFile::open(&mut store)?;
        for crash in 1..=4 {
            for slot in &file.slots {
                let length = slot.metadata()?.len();
                let Some(last) = length.checked_sub(1) else { continue };
                // What comes after the first line is damaged, incomplete, or of a later version.
                slot.write_all_at(b"#", last)?;
                slot.set_len(length + (5 << 20) * u64::from(crash == 2))?;
            }
            let file = StateFile::open(&mut store.inherited())?;
            assert_eq!((file.crashes(), file.clients()), (crash, &SavedClients::default()));
        }
        assert!(StateFile::open(&mut store.inherited())?.is_safe());
        Ok(())
    }

    #[test]
    fn state_of_another_version_counts_crashes() -> io::Result<()> {
        for text in [
            r#"{"generation":5,"crashes":[],"safe":true,"replaced":false,"clients":{"last_id":7,"placements":{},"sessions":[]}}"#,
            "{\"version\":2,\"generation\":5,\"crashes\":[],\"safe\":true,\"replaced\":false,\"new\":1}\nother",
        ] {
            let mut store = FdStore::default();
            let file = StateFile::open(&mut store)?;
            file.slots[0].set_len(0)?;
            file.slots[0].write_all_at(text.as_bytes(), 0)?;
            let file = StateFile::open(&mut store.inherited())?;
            assert_eq!((file.crashes(), file.is_safe(), file.clients()), (1, true, &SavedClients::default()));
        }
        Ok(())
    }
}
