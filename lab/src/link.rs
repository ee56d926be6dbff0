//! The host's end of the serial line: requests out, replies matched to them by id.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{channel, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{anyhow, bail, Context, Result};

use crate::protocol::{Answer, Envelope, Reply, Request};

type Waiting = Arc<Mutex<Option<HashMap<u64, Sender<Result<Answer, String>>>>>>;

pub struct Link {
    writer: Mutex<UnixStream>,
    waiting: Waiting,
    next: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// Waits until the guest says that it is up.
    pub fn open(stream: UnixStream, bound: Duration) -> Result<Self> {
        let (hello, up) = channel();
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::from([(0, hello)]))));
        let reader = BufReader::new(stream.try_clone()?);
        let replies = waiting.clone();
        std::thread::spawn(move || {
            for line in reader.lines() {
                let Ok(line) = line else { break };
                let Ok(reply) = serde_json::from_str::<Reply>(&line) else { continue };
                if let Some(sender) = locked(&replies).as_mut().and_then(|map| map.remove(&reply.id)) {
                    let _ = sender.send(reply.result);
                }
            }
            // Those who wait learn that the machine is gone by their channel's end.
            locked(&replies).take();
        });
        match up.recv_timeout(bound) {
            Ok(_) => Ok(Self { writer: Mutex::new(stream), waiting, next: AtomicU64::new(1) }),
            Err(RecvTimeoutError::Timeout) => bail!("the guest did not come up within {bound:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("the guest ended while it booted"),
        }
    }

    pub fn call(&self, request: Request, bound: Duration) -> Result<Answer> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, reply) = channel();
        locked(&self.waiting).as_mut().context("the machine is gone")?.insert(id, sender);
        let what = format!("{request:?}");
        let mut line = serde_json::to_vec(&Envelope { id, request })?;
        line.push(b'\n');
        locked(&self.writer).write_all(&line).context("the machine is gone")?;
        match reply.recv_timeout(bound) {
            Ok(result) => result.map_err(|error| anyhow!("{what}: {error}")),
            Err(RecvTimeoutError::Timeout) => bail!("{what}: no reply within {bound:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("{what}: the machine is gone"),
        }
    }

    /// Sends what has no reply.
    pub fn post(&self, request: Request) {
        if let Ok(mut line) = serde_json::to_vec(&Envelope { id: u64::MAX, request }) {
            line.push(b'\n');
            let _ = locked(&self.writer).write_all(&line);
        }
    }
}
