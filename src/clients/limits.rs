//! Who may connect, how many, and how fast. Pure.

use std::collections::HashMap;

use geom_ipc::EndReason;

use super::heartbeat::Time;

/// What is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time, of both kinds together.
    pub connections: usize,
    /// Of one user.
    pub per_user: usize,
    /// Of one process.
    pub per_process: usize,
    /// Newcomers a second; as many may come at once.
    pub accept_rate: u32,
    /// Users that may connect beside the service's own and root.
    pub users: Vec<u32>,
    /// Groups whose members may connect.
    pub groups: Vec<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            per_user: 512,
            per_process: 64,
            accept_rate: 200,
            users: Vec::new(),
            groups: Vec::new(),
        }
    }
}

/// The newcomer's credentials, as far as they matter here.
#[derive(Debug, Clone, Copy)]
pub struct Newcomer<'a> {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
    pub groups: &'a [u32],
}

/// Why a newcomer is refused, in words for its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: EndReason,
    pub message: String,
}

/// Connections that are counted.
#[derive(Debug, Default)]
pub struct Counts {
    all: usize,
    by_user: HashMap<u32, usize>,
    by_process: HashMap<i32, usize>,
    /// Newcomers that may come without waiting, and when that was reckoned.
    allowance: f64,
    reckoned: Option<Time>,
}

impl Limits {
    /// Whether a newcomer belongs to those who may.
    pub fn allows(&self, newcomer: Newcomer<'_>, own: u32) -> bool {
        newcomer.uid == own
            || newcomer.uid == 0
            || self.users.contains(&newcomer.uid)
            || self.groups.contains(&newcomer.gid)
            || self.groups.iter().any(|group| newcomer.groups.contains(group))
    }
}

impl Counts {
    /// Counts a newcomer in.
    ///
    /// # Errors
    /// Why not; nothing is counted then but the attempt.
    pub fn admit(
        &mut self,
        limits: &Limits,
        newcomer: Newcomer<'_>,
        own: u32,
        now: Time,
    ) -> Result<(), Refusal> {
        let most = f64::from(limits.accept_rate.max(1));
        let passed = self.reckoned.map_or(f64::MAX, |then| now.saturating_sub(then).as_secs_f64() * most);
        self.allowance = (self.allowance + passed).min(most);
        self.reckoned = Some(now);
        if !limits.allows(newcomer, own) {
            let message = format!(
                "user {} may not connect; [clients] users and groups of the configuration name who may",
                newcomer.uid
            );
            return Err(Refusal { reason: EndReason::NotAllowed, message });
        }
        let over = |what: String| Err(Refusal { reason: EndReason::OverLimit, message: what });
        if self.allowance < 1.0 {
            return over(format!(
                "more than {} newcomers a second ([clients] accept_rate)",
                limits.accept_rate
            ));
        }
        self.allowance -= 1.0;
        let of_user = self.by_user.get(&newcomer.uid).copied().unwrap_or(0);
        let of_process = self.by_process.get(&newcomer.pid).copied().unwrap_or(0);
        if self.all >= limits.connections {
            return over(format!("{} clients are connected already ([clients] connections)", self.all));
        }
        if of_user >= limits.per_user {
            let uid = newcomer.uid;
            return over(format!("user {uid} has {of_user} connections already ([clients] per_user)"));
        }
        if of_process >= limits.per_process {
            let pid = newcomer.pid;
            return over(format!(
                "process {pid} has {of_process} connections already ([clients] per_process)"
            ));
        }
        self.readmit(newcomer.pid, newcomer.uid);
        Ok(())
    }

    /// Counts one in that was admitted before.
    pub fn readmit(&mut self, pid: i32, uid: u32) {
        self.all += 1;
        *self.by_user.entry(uid).or_default() += 1;
        *self.by_process.entry(pid).or_default() += 1;
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.all == 0 && self.by_user.is_empty() && self.by_process.is_empty()
    }

    /// Counts one out that was admitted.
    pub fn leave(&mut self, pid: i32, uid: u32) {
        self.all = self.all.saturating_sub(1);
        release(&mut self.by_user, uid);
        release(&mut self.by_process, pid);
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

    fn newcomer(pid: i32, uid: u32) -> Newcomer<'static> {
        Newcomer { pid, uid, gid: uid, groups: &[7] }
    }

    #[test]
    fn who_may() {
        let limits = Limits { users: vec![1001], groups: vec![7], ..Limits::default() };
        let bare = Limits::default();
        for (limits, uid, may) in [
            (&bare, OWN, true),
            (&bare, 0, true),
            (&bare, 1001, false),
            (&limits, 1001, true),
            (&limits, 1002, true),
        ] {
            assert_eq!(limits.allows(newcomer(1, uid), OWN), may, "{uid}");
        }
    }

    #[test]
    fn a_flood_is_slowed_and_then_let_in() {
        let limits = Limits { accept_rate: 10, per_process: 1000, ..Limits::default() };
        let mut counts = Counts::default();
        let mut try_at =
            |millis| counts.admit(&limits, newcomer(1, OWN), OWN, Duration::from_millis(millis)).is_ok();
        assert_eq!((0..50).filter(|_| try_at(1000)).count(), 10);
        assert_eq!((0..50).filter(|_| try_at(1500)).count(), 5);
    }

    proptest! {
        /// Whatever comes and goes: limits hold, and nothing of those who left stays.
        #[test]
        fn limits_hold(moves in prop::collection::vec((any::<bool>(), 0i32..4, 0u32..3), 1..200)) {
            let limits = Limits {
                connections: 12, per_user: 7, per_process: 4, accept_rate: 1_000_000, users: vec![1, 2], groups: vec![],
            };
            let mut counts = Counts::default();
            let mut present: Vec<(i32, u32)> = Vec::new();
            for (step, (comes, pid, uid)) in moves.into_iter().enumerate() {
                let now = Duration::from_secs(step as u64);
                if comes {
                    if counts.admit(&limits, newcomer(pid, uid), OWN, now).is_ok() {
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
