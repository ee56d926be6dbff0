//! How much of the service's time the requests of one client, and of one user, may take. Pure.
//!
//! The event loop has one thread. A client whose requests take all of its time leaves too little
//! for the frames of the others, although each of its turns is short. A client that has used more
//! than its share is not read for as long as it takes until its share makes up for that.

use std::collections::HashMap;
use std::time::Duration;

use super::heartbeat::Time;
use crate::config::CpuPercent;

/// What may be used at once, before the share counts: programs start with many requests.
const BURST: Duration = Duration::from_millis(25);

/// The longest time for which a client is not read, unless its user has taken too much.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// The longest time for which the clients of a user are not read in a row.
const MAX_USER_PAUSE: Duration = Duration::from_secs(4);

/// The number of users that have an account; accounts that say nothing anymore are removed when
/// there are more.
const MAX_USER_ACCOUNTS: usize = 64;

/// The time that requests have taken beyond the share, as in a leaky bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CpuAccount {
    level: Duration,
    at: Time,
}

impl CpuAccount {
    /// Adds the time that requests of one client have taken. Returns for how long no more are to be
    /// read, or `None` if there is share left.
    pub fn charge(&mut self, used: Duration, percent: CpuPercent, now: Time) -> Option<Duration> {
        self.add(used, percent, MAX_PAUSE, now);
        self.pause(percent, now)
    }

    /// Adds the time that requests have taken. What a longest pause does not make up for is
    /// forgiven, or one slow turn would stop the client for as long.
    fn add(&mut self, used: Duration, percent: CpuPercent, longest: Duration, now: Time) {
        self.level = match percent.is_limit() {
            true => self.level_at(percent, now).saturating_add(used),
            false => Duration::ZERO,
        };
        self.level = self.level.min(BURST + longest * percent.0 / 100);
        self.at = now;
    }

    /// Returns how long it takes until there is share left, or `None` if there is.
    fn pause(&self, percent: CpuPercent, now: Time) -> Option<Duration> {
        let over = self.level_at(percent, now).checked_sub(BURST).filter(|over| !over.is_zero())?;
        Some(over.saturating_mul(100) / percent.0.max(1))
    }

    fn level_at(&self, percent: CpuPercent, now: Time) -> Duration {
        let drained = now.saturating_sub(self.at).saturating_mul(percent.0) / 100;
        self.level.saturating_sub(drained)
    }
}

/// The accounts of users, for all clients of each together.
#[derive(Debug, Default)]
pub struct UserAccounts(HashMap<u32, CpuAccount>);

impl UserAccounts {
    /// Adds the time that requests of a user's client have taken.
    pub fn charge(&mut self, user: u32, used: Duration, percent: CpuPercent, now: Time) {
        let percent = percent.of_user();
        if self.0.len() >= MAX_USER_ACCOUNTS {
            self.0.retain(|_, account| !account.level_at(percent, now).is_zero());
        }
        self.0.entry(user).or_default().add(used, percent, MAX_USER_PAUSE, now);
    }

    /// Returns for how long the user's clients are not to be read, or `None` if there is share
    /// left.
    pub fn pause(&self, user: u32, percent: CpuPercent, now: Time) -> Option<Duration> {
        self.0.get(&user)?.pause(percent.of_user(), now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    proptest! {
        /// A client that sends whenever it is read takes no more than its share and the burst,
        /// whatever its turns cost; one that takes less than its share is never paused.
        #[test]
        fn share_is_kept(
            turns in prop::collection::vec(1u32..5_000, 1..400),
            percent in 1u32..100,
        ) {
            let mut account = CpuAccount::default();
            let (mut now, mut used) = (Duration::from_secs(1000), Duration::ZERO);
            let began = now;
            for turn in turns {
                let turn = Duration::from_micros(turn.into());
                used += turn;
                now += turn;
                let pause = account.charge(turn, CpuPercent(percent), now).unwrap_or_default();
                prop_assert!(pause <= MAX_PAUSE);
                now += pause;
                let share = (now - began) * percent / 100;
                prop_assert!(used <= share + BURST + MILLISECOND, "{used:?} of {:?}", now - began);
            }
        }

        #[test]
        fn client_below_its_share_is_not_paused(
            turns in prop::collection::vec(1u32..25_000, 1..400),
            percent in 1u32..100,
        ) {
            let mut account = CpuAccount::default();
            let mut now = Duration::from_secs(1000);
            for turn in turns {
                let turn = Duration::from_micros(turn.into());
                prop_assert_eq!(account.charge(turn, CpuPercent(percent), now), None);
                now += turn * 100 / percent + Duration::from_micros(1);
            }
        }
    }

    #[test]
    fn one_slow_turn_pauses_for_the_longest_time_once() {
        let (mut account, percent) = (CpuAccount::default(), CpuPercent(25));
        let now = Duration::from_secs(1000);
        assert_eq!(account.charge(Duration::from_secs(9), percent, now), Some(MAX_PAUSE));
        // After the pause, only what is new counts.
        let pause = account.charge(MILLISECOND, percent, now + MAX_PAUSE);
        assert_eq!(pause, Some(MILLISECOND * 4));
    }

    #[test]
    fn hundred_percent_is_no_limit() {
        let mut account = CpuAccount::default();
        let now = Duration::from_secs(1000);
        assert_eq!(account.charge(Duration::from_secs(9), CpuPercent(100), now), None);
        assert_eq!(CpuPercent(30).of_user(), CpuPercent(60));
        assert_eq!(CpuPercent(60).of_user(), CpuPercent(100));
    }

    /// However many clients a user has: each is read again when its own pause and that of the user
    /// are over.
    #[test]
    fn share_of_a_user_does_not_depend_on_the_number_of_its_clients() {
        let percent = CpuPercent(25);
        for clients in [2, 20, 500] {
            let (mut users, mut own) = (UserAccounts::default(), vec![CpuAccount::default(); clients]);
            let mut paused_until = vec![Duration::ZERO; clients];
            let (mut now, mut used, turn) = (Duration::from_secs(1000), Duration::ZERO, MILLISECOND);
            let began = now;
            while now < began + Duration::from_secs(60) {
                let next = (0..clients).min_by_key(|client| paused_until[*client]).expect("clients");
                now = now.max(paused_until[next]);
                if let Some(pause) = users.pause(7, percent, now) {
                    paused_until[next] = now + pause;
                    continue;
                }
                (now, used) = (now + turn, used + turn);
                users.charge(7, turn, percent, now);
                let pause = own[next].charge(turn, percent, now).max(users.pause(7, percent, now));
                paused_until[next] = now + pause.unwrap_or_default();
            }
            let most = (now - began) / 2 + BURST + MILLISECOND;
            assert!(used <= most, "{clients} clients: {used:?} of {:?}", now - began);
            assert!(clients < 3 || used >= most * 9 / 10, "{clients} clients: {used:?}");
            assert_eq!(users.pause(8, percent, now), None, "another user");
        }
    }
}
