//! Event streams: one queue for each consumer, which reads it at its own pace.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use geom_ipc::{CloseReason, Event};
use rustix::event::{eventfd, EventfdFlags};

use crate::wait::readable;
use crate::Error;

/// The maximum number of unread events of a consumer. If it is exceeded, the queue is replaced by
/// [`Event::EventsLost`].
const MAX_UNREAD_EVENTS: usize = 4096;

#[derive(Debug, Default)]
struct Unread {
    events: VecDeque<Event>,
    /// Set when the session has ended, to the reason that the service gave.
    ended: Option<Option<CloseReason>>,
}

#[derive(Debug)]
struct Queue {
    unread: Mutex<Unread>,
    /// An eventfd that is readable while there are events, or the session has ended.
    readable: OwnedFd,
}

impl Queue {
    fn change(&self, change: impl FnOnce(&mut Unread)) {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut unread);
        // Fails if the counter is at its maximum. The descriptor is readable then as well.
        let _ = rustix::io::write(&self.readable, &1u64.to_ne_bytes());
    }
}

/// A stream of events for one consumer. A [`Session`](crate::Session) may have several streams, and
/// each gets every event.
///
/// At most 4096 unread events are kept. A slower consumer loses the unread ones and gets
/// [`Event::EventsLost`] in their place.
///
/// As an iterator, it waits for each event and ends with the session. A program with an event loop
/// polls [`as_fd`](AsFd::as_fd) for reading, and then calls [`Self::next_within`] with
/// [`Duration::ZERO`] until it returns `None`.
#[derive(Debug)]
pub struct Events(Arc<Queue>);

impl Events {
    /// Returns the next event, or `None` if there is none within `time`.
    ///
    /// # Errors
    /// [`Error::Disconnected`] if the session has ended and no unread event is left.
    pub fn next_within(&self, time: Duration) -> Result<Option<Event>, Error> {
        self.next_by(Some(Instant::now() + time))
    }

    /// Waits for the next event, without limit.
    ///
    /// # Errors
    /// [`Error::Disconnected`] if the session has ended and no unread event is left.
    pub fn wait(&self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.next_by(None)? {
                return Ok(event);
            }
        }
    }

    fn next_by(&self, deadline: Option<Instant>) -> Result<Option<Event>, Error> {
        loop {
            let mut unread = self.0.unread.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(event) = unread.events.pop_front() {
                if unread.events.is_empty() && unread.ended.is_none() {
                    let _ = rustix::io::read(&self.0.readable, &mut [0u8; 8]);
                }
                return Ok(Some(event));
            }
            if let Some(reason) = unread.ended {
                return Err(Error::Disconnected(reason));
            }
            drop(unread);
            if !readable(&[self.0.readable.as_fd()], deadline)? {
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
        self.0.readable.as_fd()
    }
}

/// The sending side of all event streams of a session.
#[derive(Debug, Default)]
pub(crate) struct EventQueues(Vec<Weak<Queue>>);

impl EventQueues {
    /// Creates a stream that gets all later events.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub fn add(&mut self) -> std::io::Result<Events> {
        let readable = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let queue = Arc::new(Queue { unread: Mutex::default(), readable });
        self.0.push(Arc::downgrade(&queue));
        Ok(Events(queue))
    }

    /// Removes dropped streams, and returns whether none is left.
    pub fn is_empty(&mut self) -> bool {
        self.0.retain(|queue| queue.strong_count() > 0);
        self.0.is_empty()
    }

    /// Appends an event to all streams.
    pub fn publish(&self, event: &Event) {
        for queue in self.0.iter().filter_map(Weak::upgrade) {
            queue.change(|unread| {
                if unread.events.len() >= MAX_UNREAD_EVENTS {
                    unread.events.clear();
                    unread.events.push_back(Event::EventsLost);
                }
                unread.events.push_back(event.clone());
            });
        }
    }

    /// Ends all streams.
    pub fn end(&self, reason: Option<CloseReason>) {
        for queue in self.0.iter().filter_map(Weak::upgrade) {
            queue.change(|unread| unread.ended = Some(reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_consumer_gets_events_lost() -> Result<(), Error> {
        let mut queues = EventQueues::default();
        let (slow, quick) = (queues.add()?, queues.add()?);
        for serial in 0..MAX_UNREAD_EVENTS as u64 + 2 {
            queues.publish(&Event::Ping { serial });
            assert_eq!(quick.next_within(Duration::ZERO)?, Some(Event::Ping { serial }));
        }
        assert_eq!(quick.next_within(Duration::ZERO)?, None);
        let left: Vec<Event> =
            std::iter::from_fn(|| slow.next_within(Duration::ZERO).ok().flatten()).collect();
        assert_eq!(left.first(), Some(&Event::EventsLost));
        assert_eq!(left.last(), Some(&Event::Ping { serial: MAX_UNREAD_EVENTS as u64 + 1 }));
        queues.end(None);
        assert!(matches!(slow.next_within(Duration::ZERO), Err(Error::Disconnected(None))));
        drop((slow, quick));
        assert!(queues.is_empty());
        Ok(())
    }
}
