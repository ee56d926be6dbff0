//! The QEMU Machine Protocol (docs/interop/qmp-spec.rst): one JSON object per line.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use serde_json::{json, Value};

/// Upper limit for the reply to a command.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to QEMU's monitor.
pub struct Qmp(Mutex<BufReader<UnixStream>>);

impl Qmp {
    /// Takes QEMU's greeting and enables commands.
    pub fn open(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        let mut reader = BufReader::new(stream);
        let greeting = receive(&mut reader)?;
        ensure!(greeting.get("QMP").is_some(), "not QEMU's greeting: {greeting}");
        let qmp = Self(Mutex::new(reader));
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Executes a command and returns its result.
    pub fn execute(&self, command: &str, arguments: Value) -> Result<Value> {
        let mut reader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        reader.get_mut().write_all(line.as_bytes()).with_context(|| format!("QMP {command}"))?;
        loop {
            let mut message = receive(&mut reader).with_context(|| format!("QMP {command}"))?;
            if let Some(error) = message.get("error") {
                bail!("QMP {command} {arguments}: {error}");
            }
            // Other messages are events.
            if let Some(result) = message.get_mut("return") {
                return Ok(result.take());
            }
        }
    }
}

fn receive(reader: &mut BufReader<UnixStream>) -> Result<Value> {
    let mut line = String::new();
    ensure!(reader.read_line(&mut line)? > 0, "QEMU has closed the connection");
    serde_json::from_str(&line).with_context(|| line.clone())
}
