//! Collects the messages of the guest kernel's log that report a bug.

use std::io::Read;
use std::sync::{Arc, Mutex};

use anyhow::Result;

/// Parts of messages that neither a correct kernel nor a correct KMS client causes.
const BUG_MESSAGES: [&str; 12] = [
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

/// The warnings found so far, which a thread appends to.
pub struct KernelLog(Arc<Mutex<Vec<String>>>);

impl KernelLog {
    /// Starts following `/dev/kmsg`, which returns one record per read
    /// (Documentation/ABI/testing/dev-kmsg).
    pub fn start() -> Result<Self> {
        let mut log = std::fs::File::open("/dev/kmsg")?;
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let found = warnings.clone();
        std::thread::spawn(move || {
            let mut record = [0; 8192];
            loop {
                match log.read(&mut record) {
                    Ok(0) => break,
                    Ok(length) => {
                        let text = String::from_utf8_lossy(&record[..length]);
                        let message = text.split_once(';').map_or(&*text, |(_, message)| message);
                        if BUG_MESSAGES.iter().any(|bug| message.contains(bug)) {
                            let line = message.lines().next().unwrap_or_default().to_owned();
                            found.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(line);
                        }
                    }
                    // EPIPE: the record was overwritten before it was read. Continue with the
                    // oldest.
                    Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                    Err(_) => break,
                }
            }
        });
        Ok(Self(warnings))
    }

    /// Returns the warnings since boot.
    pub fn warnings(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}
