//! Limits on connections: which users may connect, how many connections there may be, and how fast
//! they may come. Pure.

use std::collections::HashMap;
use std::time::Duration;

use geom_ipc::{ClientKind, CloseReason};

use super::heartbeat::Time;
pub use crate::config::Limits;

/// What matters here of a new client: its protocol and its credentials.
#[derive(Debug, Clone, Copy)]
pub struct NewClient<'a> {
    pub kind: ClientKind,
    /// 0 if it is not known; then the limits per process do not apply.
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
    pub groups: &'a [u32],
}

/// Why a new client is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: CloseReason,
    /// Cause and remedy, for people.
    pub message: String,
}

/// One of this many connections is reserved for the service's own user and root.
const RESERVED_CONNECTIONS: usize = 16;

/// The minimum time between two lines in the log about refused clients of one user.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The number of entries about the rate of new clients, and of those about refused ones. Entries
/// that say nothing anymore are removed when there are more.
const MAX_ENTRIES: usize = 64;

/// A token bucket: the number of clients that may connect at once now. It is full after a second.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    refilled: Time,
}

impl Bucket {
    fn full(rate: f64, now: Time) -> Self {
        Self { tokens: rate, refilled: now }
    }

    fn refill(&mut self, rate: f64, now: Time) {
        let time = now.saturating_sub(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + time * rate).min(rate);
        self.refilled = now;
    }

    fn is_full_at(&self, now: Time) -> bool {
        now.saturating_sub(self.refilled) >= Duration::from_secs(1)
    }
}

/// Those whose new clients one bucket counts. Each kind of client has its own, so that programs
/// still show their windows while another one floods the control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Origin {
    /// All users but the service's own and root.
    Users(ClientKind),
    User(ClientKind, u32),
    Process(ClientKind, i32),
}

/// What the log says about the refused clients of one user.
#[derive(Debug, Clone, Copy)]
struct RefusalLog {
    last_line: Time,
    /// Refused clients since then.
    suppressed: u64,
}

/// The number of connections in total, by user and by process, and how fast new ones come.
#[derive(Debug, Default)]
pub struct Counts {
    all: usize,
    by_user: HashMap<u32, usize>,
    by_process: HashMap<i32, usize>,
    rates: HashMap<Origin, Bucket>,
    refusals: HashMap<u32, RefusalLog>,
}

impl Limits {
    /// Returns whether a client's user may connect. `own` is the service's user.
    pub fn allows(&self, new_client: NewClient<'_>, own: u32) -> bool {
        new_client.uid == own
            || new_client.uid == 0
            || self.users.contains(&new_client.uid)
            || self.groups.contains(&new_client.gid)
            || self.groups.iter().any(|group| new_client.groups.contains(group))
    }
}

impl Counts {
    /// Counts a new client. `is_admitted` says that its user may connect whatever the configuration
    /// says.
    ///
    /// # Errors
    /// Why the client is refused. Nothing but the attempt is counted then.
    pub fn admit(
        &mut self,
        limits: &Limits,
        new_client: NewClient<'_>,
        own: u32,
        is_admitted: bool,
        now: Time,
    ) -> Result<(), Refusal> {
        if !is_admitted && !limits.allows(new_client, own) {
            let message = format!(
                "user {} may not connect; [clients] users and groups of the configuration name who may",
                new_client.uid
            );
            return Err(Refusal { reason: CloseReason::NotAllowed, message });
        }
        let over = |message: String| Err(Refusal { reason: CloseReason::OverLimit, message });
        let is_owner = new_client.uid == own || new_client.uid == 0;
        self.check_rate(limits, new_client, is_owner, now).or_else(over)?;
        let of_user = self.by_user.get(&new_client.uid).copied().unwrap_or(0);
        let of_process = self.by_process.get(&new_client.pid).copied().unwrap_or(0);
        let reserved = if is_owner { 0 } else { limits.connections / RESERVED_CONNECTIONS };
        if self.all.saturating_add(reserved) >= limits.connections {
            return over(format!("{} clients are connected already ([clients] connections)", self.all));
        }
        if of_user >= limits.per_user {
            let uid = new_client.uid;
            return over(format!("user {uid} has {of_user} connections already ([clients] per_user)"));
        }
        if of_process >= limits.per_process {
            let pid = new_client.pid;
            return over(format!(
                "process {pid} has {of_process} connections already ([clients] per_process)"
            ));
        }
        self.readmit(new_client.pid, new_client.uid);
        Ok(())
    }

    /// Takes a token of each bucket that counts the client. The service's own user and root have
    /// the whole rate each, the other users together too, but each of them half of it, and each
    /// process half of what its user has: no user and no process takes all of the rate of others.
    fn check_rate(
        &mut self,
        limits: &Limits,
        new_client: NewClient<'_>,
        is_owner: bool,
        now: Time,
    ) -> Result<(), String> {
        let half = |rate: f64| (rate / 2.0).floor().max(1.0);
        let NewClient { kind, pid, uid, .. } = new_client;
        let rate = f64::from(limits.accept_rate.max(1));
        let of_user = if is_owner { rate } else { half(rate) };
        let buckets = [
            (!is_owner).then_some((Origin::Users(kind), rate)),
            Some((Origin::User(kind, uid), of_user)),
            (pid > 0).then_some((Origin::Process(kind, pid), half(of_user))),
        ];
        if self.rates.len() >= MAX_ENTRIES {
            // A full bucket is as good as none.
            self.rates.retain(|_, bucket| !bucket.is_full_at(now));
        }
        for (origin, rate) in buckets.into_iter().flatten() {
            let bucket = self.rates.entry(origin).or_insert_with(|| Bucket::full(rate, now));
            bucket.refill(rate, now);
            if bucket.tokens < 1.0 {
                let whose = match origin {
                    Origin::Users(_) => String::new(),
                    Origin::User(_, uid) => format!(" of user {uid}"),
                    Origin::Process(_, pid) => format!(" of process {pid}"),
                };
                let kind = match kind {
                    ClientKind::Wayland => "Wayland",
                    ClientKind::Control => "control",
                };
                return Err(format!(
                    "more than {rate} new {kind} clients per second{whose} ([clients] accept_rate)"
                ));
            }
        }
        for (origin, _) in buckets.into_iter().flatten() {
            if let Some(bucket) = self.rates.get_mut(&origin) {
                bucket.tokens -= 1.0;
            }
        }
        Ok(())
    }

    /// Notes a refused client. Returns `None` if the log has a line about this user of less than a
    /// second ago; otherwise the number of refused clients without a line since then.
    pub fn log_refusal(&mut self, uid: u32, now: Time) -> Option<u64> {
        let is_recent = |log: &RefusalLog| now.saturating_sub(log.last_line) < REFUSAL_LOG_INTERVAL;
        if self.refusals.len() >= MAX_ENTRIES {
            self.refusals.retain(|_, log| is_recent(log));
        }
        // More users at the same time share an entry.
        let is_known = self.refusals.contains_key(&uid);
        let key = if is_known || self.refusals.len() < MAX_ENTRIES { uid } else { u32::MAX };
        match self.refusals.get_mut(&key) {
            Some(log) if is_recent(log) => {
                log.suppressed += 1;
                None
            }
            log => {
                let suppressed = log.map_or(0, |log| log.suppressed);
                self.refusals.insert(key, RefusalLog { last_line: now, suppressed: 0 });
                Some(suppressed)
            }
        }
    }

    /// Counts a connection that was admitted before.
    pub fn readmit(&mut self, pid: i32, uid: u32) {
        self.all += 1;
        *self.by_user.entry(uid).or_default() += 1;
        if pid > 0 {
            *self.by_process.entry(pid).or_default() += 1;
        }
    }

    /// Stops counting a connection that was admitted.
    pub fn leave(&mut self, pid: i32, uid: u32) {
        self.all = self.all.saturating_sub(1);
        release(&mut self.by_user, uid);
        release(&mut self.by_process, pid);
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.all == 0 && self.by_user.is_empty() && self.by_process.is_empty()
    }

    /// Returns whether the counts are those of these processes and users.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn are_of(&self, peers: impl Iterator<Item = (i32, u32)>) -> bool {
        let mut expected = Self::default();
        peers.for_each(|(pid, uid)| expected.readmit(pid, uid));
        (self.all, &self.by_user, &self.by_process) == (expected.all, &expected.by_user, &expected.by_process)
    }
}

fn release<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const OWN: u32 = 1000;

    fn new_client(pid: i32, uid: u32) -> NewClient<'static> {
        NewClient { kind: ClientKind::Wayland, pid, uid, gid: uid, groups: &[7] }
    }

    #[test]
    fn own_user_root_and_configured_users_may_connect() {
        let limits = Limits { users: vec![1001], groups: vec![7], ..Limits::default() };
        let bare = Limits::default();
        for (limits, uid, may) in [
            (&bare, OWN, true),
            (&bare, 0, true),
            (&bare, 1001, false),
            (&limits, 1001, true),
            (&limits, 1002, true),
        ] {
            assert_eq!(limits.allows(new_client(1, uid), OWN), may, "{uid}");
        }
    }

    /// The number of connections is limited all the same.
    #[test]
    fn admitted_client_needs_no_entry_in_the_configuration() {
        let limits = Limits { per_user: 1, ..Limits::default() };
        let (mut counts, now) = (Counts::default(), Duration::from_secs(1));
        let other = new_client(2, 1001);
        let refused = counts.admit(&limits, other, OWN, false, now).expect_err("not in the configuration");
        assert_eq!(refused.reason, CloseReason::NotAllowed);
        assert_eq!(counts.admit(&limits, other, OWN, true, now), Ok(()));
        let refused = counts.admit(&limits, other, OWN, true, now).expect_err("a second connection");
        assert_eq!(refused.reason, CloseReason::OverLimit);
    }

    #[test]
    fn rate_limit_refills_with_time() {
        let limits = Limits { accept_rate: 10, ..Limits::default() };
        let (mut counts, mut pid) = (Counts::default(), 0);
        let mut try_at = |millis| {
            pid += 1;
            counts.admit(&limits, new_client(pid, OWN), OWN, false, Duration::from_millis(millis)).is_ok()
        };
        assert_eq!((0..50).filter(|_| try_at(1000)).count(), 10);
        assert_eq!((0..50).filter(|_| try_at(1500)).count(), 5);
    }

    #[test]
    fn one_user_does_not_take_the_rate_of_others() {
        let limits =
            Limits { accept_rate: 10, per_process: 1000, users: vec![1001, 1002, 1003], ..Limits::default() };
        let mut counts = Counts::default();
        let mut accepted = |uid| {
            let now = Duration::from_secs(5);
            (1..100)
                .filter(|pid| counts.admit(&limits, new_client(*pid, uid), OWN, false, now).is_ok())
                .count()
        };
        assert_eq!(accepted(1001), 5);
        assert_eq!((accepted(1002), accepted(1003)), (5, 0), "all users together");
        // Root and the service's own user have their own.
        assert_eq!((accepted(0), accepted(OWN)), (10, 10));
    }

    /// A program that connects again and again, and that of a device's only user.
    #[test]
    fn one_process_does_not_take_the_rate_of_its_user() {
        let limits = Limits { accept_rate: 10, users: vec![1001], ..Limits::default() };
        let mut counts = Counts::default();
        let mut accepted = |uid, pid| {
            let now = Duration::from_secs(5);
            (0..100).filter(|_| counts.admit(&limits, new_client(pid, uid), OWN, false, now).is_ok()).count()
        };
        assert_eq!((accepted(OWN, 1), accepted(OWN, 2), accepted(OWN, 3)), (5, 5, 0));
        assert_eq!((accepted(1001, 4), accepted(1001, 5), accepted(1001, 6)), (2, 2, 1));
    }

    /// Scripts that run the CLI without end do not keep programs from showing their windows.
    #[test]
    fn control_clients_do_not_take_the_rate_of_wayland_clients() {
        let limits = Limits { accept_rate: 10, users: vec![1001], ..Limits::default() };
        for uid in [OWN, 0, 1001] {
            let mut counts = Counts::default();
            let mut accepted = |kind| {
                let now = Duration::from_secs(5);
                let new = |pid| NewClient { kind, ..new_client(pid, uid) };
                (1..100).filter(|pid| counts.admit(&limits, new(*pid), OWN, false, now).is_ok()).count()
            };
            let rate = if uid == 1001 { 5 } else { 10 };
            assert_eq!((accepted(ClientKind::Control), accepted(ClientKind::Wayland)), (rate, rate), "{uid}");
        }
    }

    #[test]
    fn connections_are_reserved_for_root() {
        let limits = Limits { connections: 32, accept_rate: 1000, users: vec![1001], ..Limits::default() };
        let mut counts = Counts::default();
        let mut accepted = |uid| {
            let now = Duration::from_secs(5);
            (0..100)
                .filter(|pid| counts.admit(&limits, new_client(*pid + 1, uid), OWN, false, now).is_ok())
                .count()
        };
        assert_eq!((accepted(1001), accepted(0)), (30, 2));
    }

    #[test]
    fn users_without_traffic_are_forgotten() {
        let users: Vec<u32> = (1000..2000).collect();
        let limits = Limits { users: users.clone(), connections: 10_000, ..Limits::default() };
        let mut counts = Counts::default();
        for (second, uid) in users.into_iter().enumerate() {
            let now = Duration::from_secs(second as u64);
            assert!(counts.admit(&limits, new_client(1 + uid as i32, uid), 7, false, now).is_ok());
            assert_eq!(counts.log_refusal(uid, now), Some(0));
            assert!(counts.rates.len() < MAX_ENTRIES + 3 && counts.refusals.len() <= MAX_ENTRIES);
        }
    }

    #[test]
    fn refusals_have_a_line_per_second_and_user() {
        let mut counts = Counts::default();
        let mut lines = |uid: u32, millis: u64| counts.log_refusal(uid, Duration::from_millis(millis));
        assert_eq!(lines(1001, 0), Some(0));
        assert!((0..500).all(|millis| lines(1001, millis).is_none()));
        assert_eq!(lines(1002, 500), Some(0), "another user");
        assert_eq!((lines(1001, 1000), lines(1001, 1001)), (Some(500), None));
        // A process with many user numbers (user_namespaces(7)) does not fill the log.
        assert!((5000..9000).filter_map(|uid| lines(uid, 1002)).count() <= MAX_ENTRIES);
    }

    #[test]
    fn unknown_processes_have_no_limit_per_process() {
        let limits = Limits { per_process: 1, ..Limits::default() };
        let mut counts = Counts::default();
        let now = Duration::from_secs(5);
        for _ in 0..3 {
            assert_eq!(counts.admit(&limits, new_client(0, OWN), OWN, false, now), Ok(()));
        }
        for _ in 0..3 {
            counts.leave(0, OWN);
        }
        assert!(counts.is_empty());
    }

    proptest! {
        /// Limits hold in any order of connects and disconnects, and no count stays behind.
        #[test]
        fn limits_hold_in_any_order(steps in prop::collection::vec((any::<bool>(), 1i32..5, 0u32..3), 1..200)) {
            let limits = Limits {
                connections: 12, per_user: 7, per_process: 4, accept_rate: 1_000_000, users: vec![1, 2],
                ..Limits::default()
            };
            let mut counts = Counts::default();
            let mut present: Vec<(i32, u32)> = Vec::new();
            for (step, (connects, pid, uid)) in steps.into_iter().enumerate() {
                let now = Duration::from_secs(step as u64);
                if connects {
                    if counts.admit(&limits, new_client(pid, uid), OWN, false, now).is_ok() {
                        present.push((pid, uid));
                    }
                } else if !present.is_empty() {
                    let (pid, uid) = present.remove(pid as usize % present.len());
                    counts.leave(pid, uid);
                }
                prop_assert!(present.len() <= 12);
                for id in 0..5 {
                    prop_assert!(present.iter().filter(|(pid, _)| *pid == id).count() <= 4);
                    prop_assert!(present.iter().filter(|(_, uid)| *uid as i32 == id).count() <= 7);
                }
            }
            for (pid, uid) in present {
                counts.leave(pid, uid);
            }
            prop_assert!(counts.is_empty());
        }
    }
}
