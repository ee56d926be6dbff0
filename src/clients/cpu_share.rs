//! How much of the service's time the requests of one client, and of one user, may take. Pure.
//!
//! The event loop has one thread. A client whose requests take all of its time leaves too little
//! for the frames of the others, although each of its turns is short. A client that has used more
//! than its share is not read for as long as it takes until its share makes up for that.

use std::time::Duration;

use super::heartbeat::Time;
use crate::config::CpuPercent;

/// What may be used at once, before the share counts: programs start with many requests.
const BURST: Duration = Duration::from_millis(25);

/// The longest time for which a client is not read. Pings are answered long after that.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// The time that requests have taken beyond the share, as in a leaky bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CpuAccount {
    level: Duration,
    at: Time,
}

impl CpuAccount {
    /// Adds the time that requests have taken. Returns for how long no more are to be read, or
    /// `None` if there is share left.
    pub fn charge(&mut self, used: Duration, percent: CpuPercent, now: Time) -> Option<Duration> {
        if !percent.is_limit() {
            *self = Self { level: Duration::ZERO, at: now };
            return None;
        }
        self.level = self.level_at(percent, now).saturating_add(used);
        self.at = now;
        let over = self.level.checked_sub(BURST).filter(|over| !over.is_zero())?;
        let pause = over.saturating_mul(100) / percent.0;
        // What a longest pause does not make up for is forgiven, or a slow turn of the service
        // itself would stop the client for as long as it likes.
        if pause > MAX_PAUSE {
            self.level = BURST + MAX_PAUSE * percent.0 / 100;
        }
        Some(pause.min(MAX_PAUSE))
    }

    fn level_at(&self, percent: CpuPercent, now: Time) -> Duration {
        let drained = now.saturating_sub(self.at).saturating_mul(percent.0) / 100;
        self.level.saturating_sub(drained)
    }

    /// Returns whether nothing of the account is left: it is as good as none.
    pub fn is_empty_at(&self, percent: CpuPercent, now: Time) -> bool {
        self.level_at(percent, now).is_zero()
    }
}

/// Divides the time of a dispatch among its senders by the numbers of their requests.
pub fn divide(used: Duration, requests: u32, of: u32) -> Duration {
    used.saturating_mul(requests) / of.max(1)
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
            prop_assert!(account.is_empty_at(CpuPercent(percent), now));
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

    #[test]
    fn time_is_divided_by_requests() {
        assert_eq!(divide(MILLISECOND * 10, 9, 10), MILLISECOND * 9);
        assert_eq!(divide(MILLISECOND, 0, 0), Duration::ZERO);
    }
}
