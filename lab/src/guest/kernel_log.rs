//! The guest kernel's log, searched for what tells of a bug.

use std::io::Read;
use std::sync::{Arc, Mutex};

use anyhow::Result;

/// Parts of messages that a sound kernel and a sound user of it never cause.
const ALARMS: [&str; 12] = [
    "WARNING:",
    "BUG:",
    "Oops",
    "kernel BUG",
    "general protection",
    "refcount_t:",
    "list_del corruption",
    "list_add corruption",
    "blocked for more than",
    "flip_done timed out",
    "commit wait timed out",
    "leaked",
];

pub struct KernelLog(Arc<Mutex<Vec<String>>>);

impl KernelLog {
    /// Follows `/dev/kmsg`, which gives one record a read (Documentation/ABI/testing/dev-kmsg).
    pub fn start() -> Result<Self> {
        let mut log = std::fs::File::open("/dev/kmsg")?;
        let alarms = Arc::new(Mutex::new(Vec::new()));
        let found = alarms.clone();
        std::thread::spawn(move || {
            let mut record = [0; 8192];
            loop {
                match log.read(&mut record) {
                    Ok(0) => break,
                    Ok(length) => {
                        let text = String::from_utf8_lossy(&record[..length]);
                        let message = text.split_once(';').map_or(&*text, |(_, message)| message);
                        if ALARMS.iter().any(|alarm| message.contains(alarm)) {
                            let line = message.lines().next().unwrap_or_default().to_owned();
                            found.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(line);
                        }
                    }
                    // Overwritten before it was read: go on with the oldest that is left.
                    Err(error) if error.raw_os_error() == Some(32) => {}
                    Err(_) => break,
                }
            }
        });
        Ok(Self(alarms))
    }

    pub fn warnings(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}
