//! A stream of events that one consumer reads at its own pace.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use geom_ipc::{EndReason, Event};
use rustix::event::{eventfd, EventfdFlags};

use crate::wait::readable;
use crate::Error;

/// So many events wait for a consumer; one that is slower loses them and is told so by [`Event::StreamLost`].
const MOST: usize = 4096;

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    /// No more will come, and why.
    ended: Option<Option<EndReason>>,
}

#[derive(Debug)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Readable while there is something to take.
    signal: OwnedFd,
}

impl Queue {
    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut waiting);
        // A counter that is full is readable as well.
        let _ = rustix::io::write(&self.signal, &1u64.to_ne_bytes());
    }
}

/// What happens, for one consumer. Several may listen to one [`crate::Session`], each hears everything.
///
/// An iterator that waits for each event and ends with the session; [`Self::next_within`] waits for a bounded time.
/// Programs with an event loop watch [`AsFd::as_fd`] for reading and then call [`Self::next_within`] with no time
/// until it brings none.
#[derive(Debug)]
pub struct Events(Arc<Queue>);

impl Events {
    /// The next event; none where none comes in time.
    ///
    /// # Errors
    /// [`Error::Gone`] where the session has ended and everything was taken.
    pub fn next_within(&self, time: Duration) -> Result<Option<Event>, Error> {
        self.next_by(Some(Instant::now() + time))
    }

    /// The next event, however long it takes.
    ///
    /// # Errors
    /// [`Error::Gone`] where the session has ended and everything was taken.
    pub fn wait(&self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.next_by(None)? {
                return Ok(event);
            }
        }
    }

    fn next_by(&self, deadline: Option<Instant>) -> Result<Option<Event>, Error> {
        loop {
            let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(event) = waiting.events.pop_front() {
                if waiting.events.is_empty() && waiting.ended.is_none() {
                    let _ = rustix::io::read(&self.0.signal, &mut [0u8; 8]);
                }
                return Ok(Some(event));
            }
            if let Some(reason) = waiting.ended {
                return Err(Error::Gone(reason));
            }
            drop(waiting);
            if !readable(&[self.0.signal.as_fd()], deadline)? {
                return Ok(None);
            }
        }
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.wait().ok()
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.signal.as_fd()
    }
}

/// Everyone who listens.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Vec<Weak<Queue>>);

impl Listeners {
    /// # Errors
    /// Without a descriptor to spare.
    pub fn add(&mut self) -> std::io::Result<Events> {
        let signal = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let queue = Arc::new(Queue { waiting: Mutex::default(), signal });
        self.0.push(Arc::downgrade(&queue));
        Ok(Events(queue))
    }

    pub fn are_there(&mut self) -> bool {
        self.0.retain(|queue| queue.strong_count() > 0);
        !self.0.is_empty()
    }

    pub fn tell(&self, event: &Event) {
        for queue in self.0.iter().filter_map(Weak::upgrade) {
            queue.change(|waiting| {
                if waiting.events.len() >= MOST {
                    waiting.events.clear();
                    waiting.events.push_back(Event::StreamLost);
                }
                waiting.events.push_back(event.clone());
            });
        }
    }

    pub fn end(&self, reason: Option<EndReason>) {
        for queue in self.0.iter().filter_map(Weak::upgrade) {
            queue.change(|waiting| waiting.ended = Some(reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_consumer_is_told_that_it_missed_something() -> Result<(), Error> {
        let mut listeners = Listeners::default();
        let (slow, quick) = (listeners.add()?, listeners.add()?);
        for serial in 0..MOST as u64 + 2 {
            listeners.tell(&Event::Ping { serial });
            assert_eq!(quick.next_within(Duration::ZERO)?, Some(Event::Ping { serial }));
        }
        assert_eq!(quick.next_within(Duration::ZERO)?, None);
        let left: Vec<Event> =
            std::iter::from_fn(|| slow.next_within(Duration::ZERO).ok().flatten()).collect();
        assert_eq!(left.first(), Some(&Event::StreamLost));
        assert_eq!(left.last(), Some(&Event::Ping { serial: MOST as u64 + 1 }));
        listeners.end(None);
        assert!(matches!(slow.next_within(Duration::ZERO), Err(Error::Gone(None))));
        drop((slow, quick));
        assert!(!listeners.are_there());
        Ok(())
    }
}
