//! Work that takes too long for the event loop, on threads of its own.
//!
//! What runs on a thread returns its errors as values. A panic there is a crash of the service as
//! anywhere else: the release build aborts (`panic = "abort"`), and the guard starts it again.

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smithay::reexports::calloop::channel::{channel, Event};
use smithay::reexports::calloop::LoopHandle;

/// Runs `work` on a thread, and then `done` with its result in the event loop.
///
/// # Errors
/// If the thread cannot be started, or descriptors run out.
pub fn run<D: 'static, T: Send + 'static>(
    handle: &LoopHandle<'static, D>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
    done: impl FnOnce(&mut D, T) + 'static,
) -> io::Result<()> {
    let (sender, receiver) = channel();
    let mut done = Some(done);
    let inserted = handle.insert_source(receiver, move |event, (), data| {
        // The source ends with its second event, which says that the thread has ended.
        if let (Event::Msg(result), Some(done)) = (event, done.take()) {
            done(data, result);
        }
    });
    let token = inserted.map_err(|error| io::Error::other(error.error.to_string()))?;
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
        // The receiver is gone if the service stops.
        let _ = sender.send(work());
    });
    if let Err(error) = thread {
        handle.remove(token);
        return Err(error);
    }
    Ok(())
}

/// Work on a thread whose result may be taken before it gets to the event loop.
pub struct Pending<T> {
    result: Arc<Mutex<Option<T>>>,
    ended: Receiver<()>,
}

impl<T> Pending<T> {
    /// Waits for the result, but not longer than this. A result that is not taken here gets to the
    /// event loop.
    pub fn wait(self, timeout: Duration) -> Option<T> {
        self.ended.recv_timeout(timeout).ok()?;
        take(&self.result)
    }
}

fn take<T>(result: &Mutex<Option<T>>) -> Option<T> {
    result.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Runs `work` as [`run`] does, and returns a handle that can wait for its result here.
///
/// # Errors
/// As [`run`].
pub fn start<D: 'static, T: Send + 'static>(
    handle: &LoopHandle<'static, D>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
    done: impl FnOnce(&mut D, T) + 'static,
) -> io::Result<Pending<T>> {
    let result = Arc::new(Mutex::new(None));
    let (sender, ended) = mpsc::channel();
    let (left, taken) = (result.clone(), result.clone());
    let work = move || {
        let value = work();
        *left.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        // The receiver is gone if nothing waits here.
        let _ = sender.send(());
    };
    run(handle, name, work, move |data: &mut D, ()| {
        if let Some(value) = take(&taken) {
            done(data, value);
        }
    })?;
    Ok(Pending { result, ended })
}

/// Decides when work runs of which only the newest request counts: one at a time, and one that
/// waits.
#[derive(Debug)]
pub struct Newest<T> {
    is_running: bool,
    waiting: Option<T>,
}

impl<T> Default for Newest<T> {
    fn default() -> Self {
        Self { is_running: false, waiting: None }
    }
}

impl<T> Newest<T> {
    /// Returns a request to start now, or keeps it in place of the one that waits.
    /// [`Self::finished`] must follow what is started.
    pub fn submit(&mut self, request: T) -> Option<T> {
        if self.is_running {
            self.waiting = Some(request);
            return None;
        }
        self.is_running = true;
        Some(request)
    }

    /// Notes that what was started has ended. Returns the request to start next.
    pub fn finished(&mut self) -> Option<T> {
        let next = self.waiting.take();
        self.is_running = next.is_some();
        next
    }

    /// Returns whether something was started that has not ended.
    #[cfg(test)]
    pub fn is_running(&self) -> bool {
        self.is_running
    }

    /// Drops the request that waits.
    pub fn cancel_waiting(&mut self) {
        self.waiting = None;
    }
}

#[cfg(test)]
mod tests {
    use smithay::reexports::calloop::EventLoop;

    use super::*;

    #[test]
    fn result_arrives_in_the_event_loop_once() -> Result<(), Box<dyn std::error::Error>> {
        let mut event_loop = EventLoop::<Vec<u32>>::try_new()?;
        for number in [1, 2] {
            run(&event_loop.handle(), "test", move || number, |results: &mut Vec<u32>, n| results.push(n))?;
        }
        let mut results = Vec::new();
        while results.len() < 2 {
            event_loop.dispatch(None, &mut results)?;
        }
        event_loop.dispatch(Some(Duration::ZERO), &mut results)?;
        results.sort_unstable();
        assert_eq!(results, [1, 2]);
        Ok(())
    }

    #[test]
    fn result_is_taken_where_it_is_waited_for_or_in_the_event_loop() -> Result<(), Box<dyn std::error::Error>>
    {
        let mut event_loop = EventLoop::<Vec<u32>>::try_new()?;
        let add = |results: &mut Vec<u32>, number| results.push(number);
        let quick = start(&event_loop.handle(), "test", || 1, add)?;
        assert_eq!(quick.wait(Duration::from_secs(60)), Some(1));
        let (go_on, wait) = mpsc::channel::<()>();
        let slow = start(&event_loop.handle(), "test", move || if wait.recv().is_ok() { 2 } else { 3 }, add)?;
        assert_eq!(slow.wait(Duration::from_millis(1)), None);
        go_on.send(())?;
        let mut results = Vec::new();
        while results.is_empty() {
            event_loop.dispatch(None, &mut results)?;
        }
        event_loop.dispatch(Some(Duration::ZERO), &mut results)?;
        assert_eq!(results, [2], "each once");
        Ok(())
    }

    #[test]
    fn only_the_newest_request_waits() {
        let mut newest = Newest::default();
        assert_eq!(newest.submit(1), Some(1));
        assert_eq!((newest.submit(2), newest.submit(3)), (None, None));
        assert_eq!(newest.finished(), Some(3));
        assert_eq!(newest.finished(), None);
        assert_eq!(newest.submit(4), Some(4));
        assert_eq!(newest.submit(5), None);
        newest.cancel_waiting();
        assert_eq!(newest.finished(), None);
    }
}
