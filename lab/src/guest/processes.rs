//! Programs of the guest: started as an ordinary user, waited for by process 1.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use geom_lab::protocol::{Ending, ProgramSpec, RUNTIME_DIR, SHARED, USER_ID};
use rustix::process::{kill_process, wait, Pid, Signal, WaitOptions};

#[derive(Default)]
struct Shared {
    ended: Mutex<HashMap<u32, Ending>>,
    changed: Condvar,
}

/// Every process that ended, by its number; process 1 inherits and reaps them all.
pub struct Processes(Arc<Shared>);

fn locked(shared: &Shared) -> MutexGuard<'_, HashMap<u32, Ending>> {
    shared.ended.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Processes {
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let reaper = shared.clone();
        std::thread::spawn(move || loop {
            match wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) => {
                    let ending = match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => Ending::Exited(code),
                        (_, Some(signal)) => Ending::Killed(signal),
                        _ => continue,
                    };
                    locked(&reaper).insert(pid.as_raw_nonzero().get() as u32, ending);
                    reaper.changed.notify_all();
                }
                // No child at all: look again when there may be one.
                _ => std::thread::sleep(Duration::from_millis(2)),
            }
        });
        Self(shared)
    }

    pub fn spawn(&self, spec: &ProgramSpec) -> Result<u32> {
        let (program, arguments) = spec.argv.split_first().context("no program named")?;
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
        let own_session = spec.tty.is_some();
        // SAFETY: only system calls that are safe between fork and exec.
        unsafe {
            command.pre_exec(move || {
                if own_session {
                    rustix::process::setsid()?;
                    rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
                }
                Ok(())
            });
        }
        // Numbers come round again: the end of another with this one's is forgotten before this one's own can be noted.
        let mut ended = locked(&self.0);
        let child = command.spawn().with_context(|| format!("start {program}"))?;
        ended.remove(&child.id());
        Ok(child.id())
    }

    /// How a process ended, or `None` where it still runs after `bound`.
    pub fn wait(&self, pid: u32, bound: Duration) -> Result<Option<Ending>> {
        let deadline = Instant::now() + bound;
        let mut ended = locked(&self.0);
        loop {
            if let Some(ending) = ended.get(&pid) {
                return Ok(Some(*ending));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            ended = match self.0.changed.wait_timeout(ended, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

pub fn signal(pid: u32, signal: i32) -> Result<()> {
    let pid = Pid::from_raw(pid as i32).context("no such process id")?;
    let signal = Signal::from_named_raw(signal).context("no such signal")?;
    kill_process(pid, signal).with_context(|| format!("signal process {}", pid.as_raw_nonzero()))
}
