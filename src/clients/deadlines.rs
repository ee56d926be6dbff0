//! One queue for the deadlines of all connections: one timer, and no scan.

use std::collections::{BTreeSet, HashMap};

use super::heartbeat::Time;

/// Connections in the order in which they want attention.
///
/// A connection that sends something moves its deadline back each time; that is noticed only when the old one
/// comes, so a busy connection costs nothing here.
#[derive(Debug, Default)]
pub struct Deadlines {
    order: BTreeSet<(Time, u64)>,
    of: HashMap<u64, Time>,
}

impl Deadlines {
    /// Wants attention for a connection at `time`, or earlier where it already is to have some.
    pub fn at_latest(&mut self, id: u64, time: Time) {
        match self.of.get(&id) {
            Some(known) if *known <= time => {}
            known => {
                if let Some(known) = known {
                    self.order.remove(&(*known, id));
                }
                self.order.insert((time, id));
                self.of.insert(id, time);
            }
        }
    }

    pub fn remove(&mut self, id: u64) {
        if let Some(time) = self.of.remove(&id) {
            self.order.remove(&(time, id));
        }
    }

    /// The first time at which one is due.
    pub fn next(&self) -> Option<Time> {
        self.order.first().map(|(time, _)| *time)
    }

    /// Takes one that is due.
    pub fn pop(&mut self, now: Time) -> Option<u64> {
        let (time, id) = *self.order.first()?;
        if time > now {
            return None;
        }
        self.remove(id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Each comes once, in order, at the earliest of its wishes.
        #[test]
        fn in_order(wishes in prop::collection::vec((0u64..20, 0u64..1000), 0..100)) {
            let mut queue = Deadlines::default();
            let mut earliest: HashMap<u64, Time> = HashMap::new();
            for (id, time) in wishes {
                let time = Duration::from_millis(time);
                queue.at_latest(id, time);
                let known = earliest.entry(id).or_insert(time);
                *known = (*known).min(time);
            }
            prop_assert_eq!(queue.next(), earliest.values().min().copied());
            let mut wanted: Vec<(Time, u64)> = earliest.into_iter().map(|(id, time)| (time, id)).collect();
            wanted.sort_unstable();
            let mut found = Vec::new();
            while let Some(next) = queue.next() {
                let early = next.checked_sub(Duration::from_nanos(1)).and_then(|early| queue.pop(early));
                prop_assert_eq!(early, None);
                found.extend(queue.pop(next).map(|id| (next, id)));
            }
            prop_assert_eq!(found, wanted);
        }
    }
}
