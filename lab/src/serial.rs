//! The host's end of the serial line to the guest: writes requests and matches replies by their id.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{channel, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{anyhow, bail, Context, Result};

use crate::protocol::{Envelope, Reply, Request, Response};

/// Requests without a reply by id; `None` after the guest has closed the line.
type Pending = Arc<Mutex<Option<HashMap<u64, Sender<Result<Response, String>>>>>>;

/// The host's end of the line.
pub struct SerialLine {
    writer: Mutex<UnixStream>,
    pending: Pending,
    next_id: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SerialLine {
    /// Starts the reader thread and waits for the guest's first reply, which has the id 0.
    pub fn open(stream: UnixStream, timeout: Duration) -> Result<Self> {
        let (hello, up) = channel();
        let pending: Pending = Arc::new(Mutex::new(Some(HashMap::from([(0, hello)]))));
        let reader = BufReader::new(stream.try_clone()?);
        let replies = pending.clone();
        std::thread::spawn(move || {
            for line in reader.lines() {
                let Ok(line) = line else { break };
                // UEFI firmware clears the screen of each serial line before the guest uses it.
                let object = &line[line.find('{').unwrap_or(line.len())..];
                let Ok(reply) = serde_json::from_str::<Reply>(object) else { continue };
                if let Some(sender) = locked(&replies).as_mut().and_then(|map| map.remove(&reply.id)) {
                    let _ = sender.send(reply.result);
                }
            }
            // Drops the senders, which ends the wait of all pending calls.
            locked(&replies).take();
        });
        match up.recv_timeout(timeout) {
            Ok(_) => Ok(Self { writer: Mutex::new(stream), pending, next_id: AtomicU64::new(1) }),
            Err(RecvTimeoutError::Timeout) => bail!("the guest did not boot within {timeout:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("the guest powered off while booting"),
        }
    }

    /// Sends a request and waits for its reply.
    pub fn call(&self, request: Request, timeout: Duration) -> Result<Response> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, reply) = channel();
        locked(&self.pending).as_mut().context("the machine is off")?.insert(id, sender);
        let description = format!("{request:?}");
        let mut line = serde_json::to_vec(&Envelope { id, request })?;
        line.push(b'\n');
        locked(&self.writer).write_all(&line).context("the machine is off")?;
        match reply.recv_timeout(timeout) {
            Ok(result) => result.map_err(|error| anyhow!("{description}: {error}")),
            Err(RecvTimeoutError::Timeout) => bail!("{description}: no reply within {timeout:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("{description}: the machine is off"),
        }
    }

    /// Sends a request that has no reply.
    pub fn post(&self, request: Request) {
        if let Ok(mut line) = serde_json::to_vec(&Envelope { id: u64::MAX, request }) {
            line.push(b'\n');
            let _ = locked(&self.writer).write_all(&line);
        }
    }
}
