//! Whose requests are handled next: a share of each iteration of the event loop for each user, and
//! a queue for the clients whose share is used up. Pure.

use std::collections::{HashMap, VecDeque};

use crate::clients::ClientId;

/// The maximum number of bytes of requests and replies of one client in one iteration. A longer
/// line is handled, and is then the only one.
const MAX_CLIENT_BYTES: usize = 64 << 10;

/// The maximum number of bytes of requests and replies of one user's clients in one iteration.
const MAX_USER_BYTES: usize = 256 << 10;

/// The maximum number of messages of one client in one iteration, so that other clients are served
/// as well.
const MAX_CLIENT_MESSAGES: usize = 256;

/// What one client has used of an iteration: it is served until its turn is over.
#[derive(Debug, Default)]
pub struct Turn {
    messages: usize,
    bytes: usize,
    took_long: bool,
}

impl Turn {
    /// Returns whether the client's other messages have to wait.
    pub fn is_over(&self) -> bool {
        self.took_long || self.messages >= MAX_CLIENT_MESSAGES || self.bytes >= MAX_CLIENT_BYTES
    }

    /// Returns whether one of its requests took long: the time of a modeset is not that of its
    /// client.
    pub fn took_long(&self) -> bool {
        self.took_long
    }
}

/// Clients that wait until their requests are handled, and what users have used of this iteration.
#[derive(Debug, Default)]
pub struct Turns {
    /// In the order of their turns.
    queue: VecDeque<(ClientId, u32)>,
    iteration: u64,
    /// Bytes in this iteration, by user.
    used: HashMap<u32, usize>,
    is_armed: bool,
}

impl Turns {
    fn begin(&mut self, iteration: u64) {
        if self.iteration != iteration {
            self.iteration = iteration;
            self.used.clear();
        }
    }

    /// Returns whether a client's requests may be handled now. Otherwise the client is queued, and
    /// [`Turns::take`] returns it in a later iteration: its user's share is used up, or another
    /// client of that user has waited for longer.
    pub fn request(&mut self, client: ClientId, user: u32, iteration: u64) -> bool {
        self.begin(iteration);
        let is_waiting = self.queue.iter().any(|(_, waiting)| *waiting == user);
        let may = !is_waiting && self.used.get(&user).is_none_or(|used| *used < MAX_USER_BYTES);
        if !may {
            self.wait(client, user);
        }
        may
    }

    /// Queues a client that has more requests.
    pub fn wait(&mut self, client: ClientId, user: u32) {
        if !self.queue.iter().any(|(waiting, _)| *waiting == client) {
            self.queue.push_back((client, user));
        }
    }

    /// Notes that a client's message was handled, with this number of bytes of request and replies.
    /// After a request that takes long, the user's next requests are handled in the next iteration.
    pub fn handled(&mut self, turn: &mut Turn, user: u32, bytes: usize, took_long: bool, iteration: u64) {
        turn.messages += 1;
        turn.bytes = turn.bytes.saturating_add(bytes);
        turn.took_long |= took_long;
        self.charge(user, bytes, iteration);
        if took_long {
            self.charge_all(user, iteration);
        }
    }

    /// Charges a user for bytes of requests and replies.
    fn charge(&mut self, user: u32, bytes: usize, iteration: u64) {
        self.begin(iteration);
        let used = self.used.entry(user).or_default();
        *used = used.saturating_add(bytes);
    }

    /// Charges a user for a whole iteration.
    fn charge_all(&mut self, user: u32, iteration: u64) {
        self.charge(user, MAX_USER_BYTES, iteration);
    }

    /// Returns the number of clients that wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Returns whether the compositor has to arm a deadline for the clients that wait. Then it has
    /// one until [`Turns::disarm`].
    pub fn arm(&mut self) -> bool {
        !self.queue.is_empty() && !std::mem::replace(&mut self.is_armed, true)
    }

    /// Notes that the deadline has come.
    pub fn disarm(&mut self) {
        self.is_armed = false;
    }

    /// Removes and returns the first client that waits and whose user has a share left.
    pub fn take(&mut self, iteration: u64) -> Option<ClientId> {
        self.begin(iteration);
        let may = |(_, user): &(ClientId, u32)| self.used.get(user).is_none_or(|used| *used < MAX_USER_BYTES);
        let index = self.queue.iter().position(may)?;
        self.queue.remove(index).map(|(client, _)| client)
    }

    /// Removes a client that is disconnected.
    pub fn remove(&mut self, client: ClientId) {
        self.queue.retain(|(waiting, _)| *waiting != client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_of_a_user_does_not_depend_on_the_number_of_its_clients() {
        let mut turns = Turns::default();
        let many = (1..=20).filter(|client| {
            let may = turns.request((*client).into(), 1000, 1);
            if may {
                turns.charge(1000, MAX_CLIENT_BYTES, 1);
            }
            may
        });
        assert_eq!(many.count(), MAX_USER_BYTES / MAX_CLIENT_BYTES);
        assert!(turns.request(99.into(), 0, 1), "another user waits");
        // The rest are served in the next iterations, in order.
        let mut served = Vec::new();
        for iteration in 2..6 {
            while let Some(client) = turns.take(iteration) {
                served.push(u64::from(client));
                turns.charge(1000, MAX_CLIENT_BYTES, iteration);
            }
        }
        assert_eq!(served, (5..=20).collect::<Vec<u64>>());
    }

    #[test]
    fn client_that_waits_is_before_one_that_has_new_requests() {
        let mut turns = Turns::default();
        assert!(turns.request(1.into(), 1000, 1));
        turns.charge_all(1000, 1);
        assert!(!turns.request(2.into(), 1000, 1));
        // The first client is faster in the next iteration.
        assert!(!turns.request(1.into(), 1000, 2));
        assert_eq!(turns.take(2), Some(2.into()));
        turns.charge_all(1000, 2);
        assert_eq!(turns.take(2), None);
        assert_eq!(turns.take(3), Some(1.into()));
        assert_eq!(turns.len(), 0);
    }

    #[test]
    fn turn_ends_after_bytes_messages_or_a_long_request() {
        let mut turns = Turns::default();
        let messages_until_the_end = |turns: &mut Turns, user, bytes, long_at| {
            let mut turn = Turn::default();
            let handled = (1..).find(|message| {
                turns.handled(&mut turn, user, bytes, *message == long_at, 1);
                turn.is_over()
            });
            (handled, turn.took_long())
        };
        assert_eq!(messages_until_the_end(&mut turns, 1, 1, 0), (Some(MAX_CLIENT_MESSAGES), false));
        assert_eq!(messages_until_the_end(&mut turns, 2, MAX_CLIENT_BYTES / 4, 0), (Some(4), false));
        assert_eq!(messages_until_the_end(&mut turns, 3, 1 << 20, 0), (Some(1), false), "a long line");
        assert_eq!(messages_until_the_end(&mut turns, 4, 1, 3), (Some(3), true));
        let may = |turns: &mut Turns, user| turns.request(9.into(), user, 1);
        assert!(may(&mut turns, 1) && may(&mut turns, 2), "their users' shares are not used up");
        assert!(!may(&mut turns, 3) && !may(&mut turns, 4));
    }

    #[test]
    fn client_waits_once_and_not_after_its_end() {
        let mut turns = Turns::default();
        turns.wait(1.into(), 7);
        turns.wait(1.into(), 7);
        turns.wait(2.into(), 7);
        assert_eq!(turns.len(), 2);
        turns.remove(1.into());
        assert_eq!((turns.take(1), turns.take(1)), (Some(2.into()), None));
    }
}
