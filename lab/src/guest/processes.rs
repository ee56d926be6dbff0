//! The guest's programs: starts them, and reaps all processes as process 1 must.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use geom_lab::protocol::{ExitStatus, ProgramSpec, RUNTIME_DIR, SHARED, USER_ID};
use rustix::process::{kill_process, wait, Pid, Signal, WaitOptions};

#[derive(Default)]
struct Shared {
    /// How processes exited, by process id.
    exited: Mutex<HashMap<u32, ExitStatus>>,
    changed: Condvar,
}

/// All processes that exited; process 1 inherits and reaps orphans too.
pub struct Processes(Arc<Shared>);

fn locked(shared: &Shared) -> MutexGuard<'_, HashMap<u32, ExitStatus>> {
    shared.exited.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Processes {
    /// Starts the thread that reaps.
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let reaper = shared.clone();
        std::thread::spawn(move || loop {
            match wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) => {
                    let exit = match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => ExitStatus::Exited(code),
                        (_, Some(signal)) => ExitStatus::Signaled(signal),
                        _ => continue,
                    };
                    locked(&reaper).insert(pid.as_raw_nonzero().get() as u32, exit);
                    reaper.changed.notify_all();
                }
                // There is no child yet.
                _ => std::thread::sleep(Duration::from_millis(2)),
            }
        });
        Self(shared)
    }

    /// Starts a program and returns its process id.
    pub fn spawn(&self, spec: &ProgramSpec) -> Result<u32> {
        let (program, arguments) = spec.argv.split_first().context("argv is empty")?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(Path::new(SHARED).join(format!("{}.log", spec.log)))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", "/tmp/home")
            .env("XDG_RUNTIME_DIR", RUNTIME_DIR)
            .env("LANG", "C.UTF-8")
            .env("TERM", "linux")
            .env("SHELL", "/bin/sh")
            .envs(&spec.env)
            .current_dir("/tmp")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if !spec.root {
            command.uid(USER_ID).gid(USER_ID);
        }
        if let Some(vt) = spec.tty {
            let path = format!("/dev/tty{vt}");
            std::os::unix::fs::chown(&path, (!spec.root).then_some(USER_ID), None)?;
            command.stdin(File::options().read(true).write(true).open(&path).context(path)?);
        }
        let has_tty = spec.tty.is_some();
        // SAFETY: the closure makes only async-signal-safe system calls.
        unsafe {
            command.pre_exec(move || {
                // As in a login session. Of the kernel, init has 0.
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
                if has_tty {
                    rustix::process::setsid()?;
                    rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
                }
                Ok(())
            });
        }
        // Process ids are reused: the lock keeps the reaper from recording this process before the
        // record of an earlier one with its id is removed.
        let mut exited = locked(&self.0);
        let child = command.spawn().with_context(|| format!("start {program}"))?;
        exited.remove(&child.id());
        Ok(child.id())
    }

    /// Returns how a process exited, or `None` if it still runs after `timeout`.
    pub fn wait(&self, pid: u32, timeout: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        let mut exited = locked(&self.0);
        loop {
            if let Some(exit) = exited.get(&pid) {
                return Ok(Some(*exit));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            exited = match self.0.changed.wait_timeout(exited, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

/// Sends a signal by number.
pub fn signal(pid: u32, signal: i32) -> Result<()> {
    let pid = Pid::from_raw(pid as i32).context("no such process id")?;
    let signal = Signal::from_named_raw(signal).context("no such signal")?;
    kill_process(pid, signal).with_context(|| format!("signal process {}", pid.as_raw_nonzero()))
}
