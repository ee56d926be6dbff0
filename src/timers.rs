//! Every deadline of the service, in one queue. Pure: when to look at it is the [`reactor`](crate::reactor)'s business.

use std::collections::BTreeMap;
use std::time::Duration;

/// A deadline that waits: its time on the monotonic clock, and which of those at that time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer(Duration, u64);

type Action<S> = Box<dyn FnOnce(&mut S)>;

/// What is to be done, and when, to a state of type `S`.
pub struct Timers<S> {
    queue: BTreeMap<Timer, Action<S>>,
    last: u64,
}

impl<S> Default for Timers<S> {
    fn default() -> Self {
        Self { queue: BTreeMap::new(), last: 0 }
    }
}

impl<S> Timers<S> {
    /// Does something at a time of the monotonic clock; at once where that is past.
    pub fn at(&mut self, time: Duration, action: impl FnOnce(&mut S) + 'static) -> Timer {
        self.last += 1;
        let timer = Timer(time, self.last);
        self.queue.insert(timer, Box::new(action));
        timer
    }

    /// Whether it still waited.
    pub fn cancel(&mut self, timer: Timer) -> bool {
        self.queue.remove(&timer).is_some()
    }

    /// The earliest time at which something is to be done.
    pub fn next(&self) -> Option<Duration> {
        self.queue.first_key_value().map(|(timer, _)| timer.0)
    }

    /// Takes what is due, the earliest first.
    pub fn pop(&mut self, now: Duration) -> Option<Action<S>> {
        let entry = self.queue.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Each that was not cancelled is done once, in the order of their times, those of one time in the order in which
        /// they were asked for; none before its time.
        #[test]
        fn in_order(wishes in prop::collection::vec((0u64..50, any::<bool>()), 0..60), steps in prop::collection::vec(0u64..30, 1..10)) {
            let mut timers = Timers::<Vec<usize>>::default();
            let mut expected = Vec::new();
            for (number, (millis, kept)) in wishes.into_iter().enumerate() {
                let time = Duration::from_millis(millis);
                let timer = timers.at(time, move |done: &mut Vec<usize>| done.push(number));
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
                while let Some(action) = timers.pop(now) {
                    action(&mut done);
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
