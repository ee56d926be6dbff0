//! Where the service of a test runs: in the lab, or on this machine (`HWTESTS=real`).

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use geom_lab::protocol::{ExitStatus, RUNTIME_DIR};
use geom_lab::{Machine, Program};
use rustix::process::{kill_process, Pid, Signal};

use super::harness::built_program;
use super::{SIGKILL, SIGTERM};

/// How long a single step may take; the same as in the lab.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long programs may take to end before they are killed.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the helpers of [`super::control`] need of the machine that the service runs on.
pub trait Host {
    /// The path of a program of the workspace on that machine.
    fn program(&self, name: &str) -> Result<String>;

    /// `XDG_RUNTIME_DIR` of the service's user.
    fn runtime_dir(&self) -> String;

    /// Spawns a program as the service's user. Its output goes to a log of this name.
    fn spawn(&self, log: &str, argv: &[&str], env: &[(&str, &str)]) -> Result<Program>;

    /// How a program ended, or `None` if it still runs after `timeout`.
    fn wait_for_exit(&self, program: &Program, timeout: Duration) -> Result<Option<ExitStatus>>;

    /// Sends a signal by number (signal(7)).
    fn send_signal(&self, pid: u32, signal: i32) -> Result<()>;

    /// The text of a file of that machine.
    fn read_file(&self, path: &str) -> Result<String>;

    /// Names in a folder of that machine.
    fn list(&self, path: &str) -> Result<Vec<String>>;

    /// Polls until `condition` returns true, for at most 30 s.
    fn poll(&self, what: &str, condition: &mut dyn FnMut() -> Result<bool>) -> Result<()>;
}

impl Host for Machine {
    fn program(&self, name: &str) -> Result<String> {
        Ok(format!("/run/bin/{name}"))
    }

    fn runtime_dir(&self) -> String {
        RUNTIME_DIR.to_owned()
    }

    fn spawn(&self, log: &str, argv: &[&str], env: &[(&str, &str)]) -> Result<Program> {
        self.spawn_as_user(log, argv, env)
    }

    fn wait_for_exit(&self, program: &Program, timeout: Duration) -> Result<Option<ExitStatus>> {
        self.wait(program, timeout)
    }

    fn send_signal(&self, pid: u32, signal: i32) -> Result<()> {
        self.signal(&Program { pid, log: PathBuf::new() }, signal)
    }

    fn read_file(&self, path: &str) -> Result<String> {
        self.read(path)
    }

    fn list(&self, path: &str) -> Result<Vec<String>> {
        self.read_dir(path)
    }

    fn poll(&self, what: &str, condition: &mut dyn FnMut() -> Result<bool>) -> Result<()> {
        self.wait_until(what, |_| condition())
    }
}

impl Host for Box<dyn Host> {
    fn program(&self, name: &str) -> Result<String> {
        (**self).program(name)
    }

    fn runtime_dir(&self) -> String {
        (**self).runtime_dir()
    }

    fn spawn(&self, log: &str, argv: &[&str], env: &[(&str, &str)]) -> Result<Program> {
        (**self).spawn(log, argv, env)
    }

    fn wait_for_exit(&self, program: &Program, timeout: Duration) -> Result<Option<ExitStatus>> {
        (**self).wait_for_exit(program, timeout)
    }

    fn send_signal(&self, pid: u32, signal: i32) -> Result<()> {
        (**self).send_signal(pid, signal)
    }

    fn read_file(&self, path: &str) -> Result<String> {
        (**self).read_file(path)
    }

    fn list(&self, path: &str) -> Result<Vec<String>> {
        (**self).list(path)
    }

    fn poll(&self, what: &str, condition: &mut dyn FnMut() -> Result<bool>) -> Result<()> {
        (**self).poll(what, condition)
    }
}

/// This machine, with its own seat, GPUs and monitors.
pub struct ThisMachine {
    /// Runtime folder, configuration and logs; nothing of the user's is touched.
    folder: tempfile::TempDir,
    children: Mutex<HashMap<u32, Child>>,
}

impl ThisMachine {
    /// Checks that a test can run here.
    ///
    /// # Errors
    /// Without a GPU.
    pub fn new() -> Result<Self> {
        if connectors()?.is_empty() {
            bail!("HWTESTS=real needs a GPU with KMS, and /sys/class/drm has no connector; run `make hwtests` for the lab");
        }
        let folder = tempfile::Builder::new().prefix("geom-hwtests-").tempdir()?;
        Ok(Self { folder, children: Mutex::default() })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Checks that a monitor is connected, once a DRM master has probed the connectors.
///
/// # Errors
/// Without a monitor. The message has the connectors.
pub fn ensure_monitor() -> Result<()> {
    let connectors = connectors()?;
    if !connectors.iter().any(|(_, status)| status == "connected") {
        let found: Vec<_> = connectors.iter().map(|(name, status)| format!("{name} {status}")).collect();
        bail!("HWTESTS=real needs a monitor, and none is connected: {}", found.join(", "));
    }
    Ok(())
}

/// Connectors of this machine, such as `card0-HDMI-A-1`, each with its status in sysfs. Writeback
/// connectors are none.
fn connectors() -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/sys/class/drm").into_iter().flatten() {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let status = std::fs::read_to_string(entry.path().join("status"));
        if let (false, Ok(status)) = (name.contains("Writeback"), status) {
            found.push((name, status.trim().to_owned()));
        }
    }
    found.sort();
    Ok(found)
}

fn exit_status(status: std::process::ExitStatus) -> ExitStatus {
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitStatus::Exited(code),
        (None, signal) => ExitStatus::Signaled(signal.unwrap_or_default()),
    }
}

impl Host for ThisMachine {
    fn program(&self, name: &str) -> Result<String> {
        Ok(built_program(name)?.display().to_string())
    }

    fn runtime_dir(&self) -> String {
        self.folder().display().to_string()
    }

    fn spawn(&self, log: &str, argv: &[&str], env: &[(&str, &str)]) -> Result<Program> {
        let (program, arguments) = argv.split_first().context("argv is empty")?;
        let log = self.folder().join(format!("{log}.log"));
        let output = std::fs::File::options().create(true).append(true).open(&log)?;
        let child = Command::new(program)
            .args(arguments)
            .env("XDG_RUNTIME_DIR", self.folder())
            .env("STATE_DIRECTORY", self.folder())
            .env_remove("WAYLAND_DISPLAY")
            .env_remove("GEOM_COMPOSITOR_SOCKET")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| (*program).to_owned())?;
        let pid = child.id();
        self.children.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, child);
        Ok(Program { pid, log })
    }

    fn wait_for_exit(&self, program: &Program, timeout: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        loop {
            let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
            let child = children.get_mut(&program.pid).context("not a program of this test")?;
            // The standard library keeps the status, so that it may be asked for again.
            if let Some(status) = child.try_wait()? {
                return Ok(Some(exit_status(status)));
            }
            drop(children);
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn send_signal(&self, pid: u32, signal: i32) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(pid)?).context("process 0")?;
        let signal = Signal::from_named_raw(signal).context("no such signal")?;
        Ok(kill_process(pid, signal)?)
    }

    fn read_file(&self, path: &str) -> Result<String> {
        std::fs::read_to_string(path).with_context(|| path.to_owned())
    }

    fn list(&self, path: &str) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(path).with_context(|| path.to_owned())?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn poll(&self, what: &str, condition: &mut dyn FnMut() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            let last = match condition() {
                Ok(true) => return Ok(()),
                Ok(false) => None,
                Err(error) => Some(error),
            };
            if Instant::now() > deadline {
                let why = last.map(|error| format!(": {error:#}")).unwrap_or_default();
                bail!("timed out after {STEP_TIMEOUT:?} waiting for: {what}{why}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Ends the programs of a test that failed, so that the next one has the seat.
impl Drop for ThisMachine {
    fn drop(&mut self) {
        let pids: Vec<u32> =
            self.children.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        let programs: Vec<Program> =
            pids.into_iter().map(|pid| Program { pid, log: PathBuf::new() }).collect();
        let is_running = |program: &Program| matches!(self.wait_for_exit(program, Duration::ZERO), Ok(None));
        for program in programs.iter().filter(|program| is_running(program)) {
            let _ = self.send_signal(program.pid, SIGTERM);
        }
        for program in &programs {
            if !matches!(self.wait_for_exit(program, EXIT_TIMEOUT), Ok(Some(_))) {
                let _ = self.send_signal(program.pid, SIGKILL);
            }
        }
    }
}
