//! An X server in memory for QEMU's window: `gl=on` needs one with GLX, because the other display
//! with OpenGL, egl-headless, needs a render node of the host.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{ensure, Context, Result};

/// A running Xvfb. Dropping it ends it.
pub struct XServer {
    process: Child,
    /// The value of `DISPLAY`.
    pub display: String,
}

impl XServer {
    /// Starts the server on the first free display number and waits until it accepts clients.
    pub fn start() -> Result<Self> {
        let mut process = Command::new("Xvfb")
            // It writes the display's number to this file descriptor once it is ready.
            .args([
                "-displayfd",
                "1",
                "-screen",
                "0",
                "1920x1200x24",
                "+extension",
                "GLX",
                "-nolisten",
                "tcp",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start Xvfb; its package: tools/packages.sh qemu")?;
        let output = process.stdout.take().context("Xvfb has no output")?;
        let mut server = Self { process, display: String::new() };
        let mut number = String::new();
        BufReader::new(output).read_line(&mut number)?;
        ensure!(!number.trim().is_empty(), "Xvfb has exited: {:?}", server.process.try_wait());
        server.display = format!(":{}", number.trim());
        Ok(server)
    }
}

impl Drop for XServer {
    fn drop(&mut self) {
        // SIGTERM, so that it removes its socket and lock file.
        if let Some(pid) = rustix::process::Pid::from_raw(self.process.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.process.wait();
    }
}
