//! One queue for the deadlines of all connections: one timer serves them, and no scan is needed.

use std::collections::{BTreeSet, HashMap};

use super::heartbeat::Time;
use super::ClientId;

/// Connections in the order of their deadlines.
///
/// Each message from a client moves its deadline back. That is found out only when the earlier
/// deadline has come, so a busy connection costs nothing here.
#[derive(Debug, Default)]
pub struct Deadlines {
    order: BTreeSet<(Time, ClientId)>,
    of: HashMap<ClientId, Time>,
}

impl Deadlines {
    /// Sets a connection's deadline to `time`, unless it has an earlier one.
    pub fn at_latest(&mut self, id: ClientId, time: Time) {
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

    /// Removes a connection's deadline.
    pub fn remove(&mut self, id: ClientId) {
        if let Some(time) = self.of.remove(&id) {
            self.order.remove(&(time, id));
        }
    }

    /// Returns the earliest deadline.
    pub fn next(&self) -> Option<Time> {
        self.order.first().map(|(time, _)| *time)
    }

    /// Returns a connection's deadline.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn of(&self, id: ClientId) -> Option<Time> {
        self.of.get(&id).copied()
    }

    /// Returns the connections that have a deadline.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn ids(&self) -> impl Iterator<Item = ClientId> + '_ {
        self.of.keys().copied()
    }

    /// Removes and returns a connection whose deadline has come.
    pub fn pop(&mut self, now: Time) -> Option<ClientId> {
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
        /// Each connection is returned once, in order, at its earliest deadline.
        #[test]
        fn earliest_deadlines_are_returned_in_order(
            requests in prop::collection::vec((0u64..20, 0u64..1000), 0..100),
        ) {
            let mut queue = Deadlines::default();
            let mut earliest: HashMap<ClientId, Time> = HashMap::new();
            for (id, time) in requests {
                let (id, time) = (ClientId::from(id), Duration::from_millis(time));
                queue.at_latest(id, time);
                let known = earliest.entry(id).or_insert(time);
                *known = (*known).min(time);
            }
            prop_assert_eq!(queue.next(), earliest.values().min().copied());
            let mut wanted: Vec<(Time, ClientId)> = earliest.into_iter().map(|(id, time)| (time, id)).collect();
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
