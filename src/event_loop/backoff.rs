//! Delays between retries of an operation that failed. Pure: the caller waits.

use std::time::Duration;

/// Delays that double with each consecutive failure, up to a maximum.
///
/// [`Backoff::delay_after`] is for callers that count failures themselves, for example in a timed
/// action; [`Backoff::next_delay`] counts them here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    max_retries: Option<u32>,
    /// How many failures are followed by the first delay before it begins to double.
    constant: u32,
    failures: u32,
}

impl Backoff {
    /// Delays from `first` to `max`, without a limit on retries.
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, max_retries: None, constant: 1, failures: 0 }
    }

    /// Gives up after `retries` delays.
    pub const fn with_max_retries(self, retries: u32) -> Self {
        Self { max_retries: Some(retries), ..self }
    }

    /// Uses the first delay for the first `count` failures.
    pub const fn with_constant_delays(self, count: u32) -> Self {
        Self { constant: count, ..self }
    }

    /// Returns the delay after this many consecutive failures (from 1), or `None` if the caller is
    /// to give up.
    pub fn delay_after(&self, failures: u32) -> Option<Duration> {
        if self.max_retries.is_some_and(|max| failures > max) {
            return None;
        }
        let doublings = failures.saturating_sub(self.constant);
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        Some(self.first.saturating_mul(factor).min(self.max))
    }

    /// Counts a failure and returns the delay before the next try, or `None` if the caller is to
    /// give up.
    pub fn next_delay(&mut self) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        self.delay_after(self.failures)
    }

    /// Forgets earlier failures, after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn delays(mut backoff: Backoff, count: usize) -> Vec<Option<u128>> {
        (0..count).map(|_| backoff.next_delay().map(|delay| delay.as_millis())).collect()
    }

    #[test]
    fn delays_double_up_to_the_maximum() {
        let backoff = Backoff::new(10 * MS, 70 * MS);
        assert_eq!(delays(backoff, 5), [10, 20, 40, 70, 70].map(Some));
    }

    #[test]
    fn first_delay_is_repeated_if_requested() {
        let backoff = Backoff::new(10 * MS, 1000 * MS).with_constant_delays(3);
        assert_eq!(delays(backoff, 5), [10, 10, 10, 20, 40].map(Some));
    }

    #[test]
    fn retries_are_limited() {
        let backoff = Backoff::new(MS, MS).with_max_retries(2);
        assert_eq!(delays(backoff, 4), [Some(1), Some(1), None, None]);
    }

    #[test]
    fn success_starts_over() {
        let mut backoff = Backoff::new(MS, 100 * MS).with_max_retries(2);
        while backoff.next_delay().is_some() {}
        backoff.reset();
        assert_eq!(backoff.next_delay(), Some(MS));
    }

    #[test]
    fn many_failures_do_not_overflow() {
        let backoff = Backoff::new(Duration::from_secs(3600), Duration::MAX);
        for failures in [0, 1, 31, 32, 33, u32::MAX] {
            assert!(backoff.delay_after(failures).is_some());
        }
        assert_eq!(Backoff::new(MS, 5 * MS).delay_after(u32::MAX), Some(5 * MS));
    }
}
