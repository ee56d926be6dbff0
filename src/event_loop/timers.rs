//! The queue of all deadlines. Pure: the [`reactor`](super::reactor) waits for them.

use std::collections::BTreeMap;
use std::time::Duration;

/// A pending deadline: its time on the monotonic clock, and a number that orders deadlines of the
/// same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer(Duration, u64);

/// A queue of deadlines of type `D`.
#[derive(Debug)]
pub struct Timers<D> {
    queue: BTreeMap<Timer, D>,
    last: u64,
}

impl<D> Default for Timers<D> {
    fn default() -> Self {
        Self { queue: BTreeMap::new(), last: 0 }
    }
}

impl<D> Timers<D> {
    /// Queues a deadline for `time` of the monotonic clock; a past time is due at once.
    pub fn at(&mut self, time: Duration, deadline: D) -> Timer {
        self.last += 1;
        let timer = Timer(time, self.last);
        self.queue.insert(timer, deadline);
        timer
    }

    /// Removes a deadline. Returns whether it was still pending.
    pub fn cancel(&mut self, timer: Timer) -> bool {
        self.queue.remove(&timer).is_some()
    }

    /// Returns the time of the earliest deadline.
    pub fn next(&self) -> Option<Duration> {
        self.queue.first_key_value().map(|(timer, _)| timer.0)
    }

    /// Returns the number of the newest deadline, for [`Timers::pop`].
    pub fn newest(&self) -> u64 {
        self.last
    }

    /// Removes and returns the earliest deadline that is due at `now`, of those up to number
    /// `newest`: what an action queues for now waits until others had their turn.
    pub fn pop(&mut self, now: Duration, newest: u64) -> Option<D> {
        let due = self.queue.range(..=Timer(now, u64::MAX));
        let timer = due.map(|(timer, _)| *timer).find(|timer| timer.1 <= newest)?;
        self.queue.remove(&timer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn deadline_that_is_queued_meanwhile_waits() {
        let (mut timers, now) = (Timers::default(), Duration::from_secs(1));
        timers.at(now, "first");
        timers.at(now, "second");
        let newest = timers.newest();
        assert_eq!(timers.pop(now, newest), Some("first"));
        timers.at(now, "again");
        timers.at(Duration::ZERO, "overdue");
        assert_eq!((timers.pop(now, newest), timers.pop(now, newest)), (Some("second"), None));
        let newest = timers.newest();
        assert_eq!((timers.pop(now, newest), timers.pop(now, newest)), (Some("overdue"), Some("again")));
    }

    proptest! {
        /// Each deadline that was not cancelled is returned once, ordered by time and then by the
        /// order of the calls, and none before its time.
        #[test]
        fn deadlines_are_returned_once_in_order(
            requests in prop::collection::vec((0u64..50, any::<bool>()), 0..60),
            steps in prop::collection::vec(0u64..30, 1..10),
        ) {
            let mut timers = Timers::<usize>::default();
            let mut expected = Vec::new();
            for (number, (millis, kept)) in requests.into_iter().enumerate() {
                let time = Duration::from_millis(millis);
                let timer = timers.at(time, number);
                if kept {
                    expected.push((time, number));
                } else {
                    prop_assert!(timers.cancel(timer));
                    prop_assert!(!timers.cancel(timer));
                }
            }
            expected.sort_unstable();
            let mut done = Vec::new();
            let mut now = Duration::ZERO;
            for step in steps {
                now += Duration::from_millis(step);
                while let Some(number) = timers.pop(now, timers.newest()) {
                    done.push(number);
                }
                let wanted: Vec<usize> =
                    expected.iter().filter(|(time, _)| *time <= now).map(|(_, number)| *number).collect();
                prop_assert_eq!(&done, &wanted);
                let next = expected.iter().map(|(time, _)| *time).find(|time| *time > now);
                prop_assert_eq!(timers.next(), next);
            }
        }
    }
}
