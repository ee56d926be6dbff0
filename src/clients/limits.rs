//! Limits on connections: which users may connect, how many connections there may be, and how fast
//! they may come. Pure.

use std::collections::HashMap;

use geom_ipc::CloseReason;

use super::heartbeat::Time;
pub use crate::config::Limits;

/// The credentials of a new client that matter here.
#[derive(Debug, Clone, Copy)]
pub struct NewClient<'a> {
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

/// The number of connections in total, by user and by process.
#[derive(Debug, Default)]
pub struct Counts {
    all: usize,
    by_user: HashMap<u32, usize>,
    by_process: HashMap<i32, usize>,
    /// The number of clients that may connect at once now (token bucket).
    allowance: f64,
    /// When the allowance was last refilled.
    refilled: Option<Time>,
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
    /// Counts a new client.
    ///
    /// # Errors
    /// Why the client is refused. Nothing but the attempt is counted then.
    pub fn admit(
        &mut self,
        limits: &Limits,
        new_client: NewClient<'_>,
        own: u32,
        now: Time,
    ) -> Result<(), Refusal> {
        let max = f64::from(limits.accept_rate.max(1));
        let refill = self.refilled.map_or(f64::MAX, |then| now.saturating_sub(then).as_secs_f64() * max);
        self.allowance = (self.allowance + refill).min(max);
        self.refilled = Some(now);
        if !limits.allows(new_client, own) {
            let message = format!(
                "user {} may not connect; [clients] users and groups of the configuration name who may",
                new_client.uid
            );
            return Err(Refusal { reason: CloseReason::NotAllowed, message });
        }
        let over = |message: String| Err(Refusal { reason: CloseReason::OverLimit, message });
        if self.allowance < 1.0 {
            return over(format!(
                "more than {} new clients per second ([clients] accept_rate)",
                limits.accept_rate
            ));
        }
        self.allowance -= 1.0;
        let of_user = self.by_user.get(&new_client.uid).copied().unwrap_or(0);
        let of_process = self.by_process.get(&new_client.pid).copied().unwrap_or(0);
        if self.all >= limits.connections {
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

    /// Counts a connection that was admitted before.
    pub fn readmit(&mut self, pid: i32, uid: u32) {
        self.all += 1;
        *self.by_user.entry(uid).or_default() += 1;
        *self.by_process.entry(pid).or_default() += 1;
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
    #[cfg(test)]
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
        NewClient { pid, uid, gid: uid, groups: &[7] }
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

    #[test]
    fn rate_limit_refills_with_time() {
        let limits = Limits { accept_rate: 10, per_process: 1000, ..Limits::default() };
        let mut counts = Counts::default();
        let mut try_at =
            |millis| counts.admit(&limits, new_client(1, OWN), OWN, Duration::from_millis(millis)).is_ok();
        assert_eq!((0..50).filter(|_| try_at(1000)).count(), 10);
        assert_eq!((0..50).filter(|_| try_at(1500)).count(), 5);
    }

    proptest! {
        /// Limits hold in any order of connects and disconnects, and no count stays behind.
        #[test]
        fn limits_hold_in_any_order(steps in prop::collection::vec((any::<bool>(), 0i32..4, 0u32..3), 1..200)) {
            let limits = Limits {
                connections: 12, per_user: 7, per_process: 4, accept_rate: 1_000_000, users: vec![1, 2], groups: vec![],
            };
            let mut counts = Counts::default();
            let mut present: Vec<(i32, u32)> = Vec::new();
            for (step, (connects, pid, uid)) in steps.into_iter().enumerate() {
                let now = Duration::from_secs(step as u64);
                if connects {
                    if counts.admit(&limits, new_client(pid, uid), OWN, now).is_ok() {
                        present.push((pid, uid));
                    }
                } else if !present.is_empty() {
                    let (pid, uid) = present.remove(pid as usize % present.len());
                    counts.leave(pid, uid);
                }
                prop_assert!(present.len() <= 12);
                for id in 0..4 {
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
