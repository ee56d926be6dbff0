//! Programs that the service starts: those of `--exec` and of shortcuts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use calloop::signals::Signals;
use rustix::fs::{Mode, OFlags};
use rustix::process::{waitpid, Pid, Rlimit, WaitOptions};
use tracing::{info, warn};

use super::rlimit::restore_limit;
use super::signals::WATCHED;

/// The least OOM score (oom_score_adj in proc(5)) of a program.
const MIN_OOM_SCORE: i32 = 0;

/// What a program learns of the service by environment variables.
#[derive(Debug, Clone, Copy)]
pub struct Environment<'a> {
    /// The value of `WAYLAND_DISPLAY`.
    pub wayland: &'a str,
    /// The path of the control socket.
    pub control: &'a Path,
    /// The theme of the cursor, and its size in logical pixels, for programs that draw their own
    /// one. `None` leaves what the service's own environment has.
    pub cursor_theme: Option<&'a str>,
    pub cursor_size: Option<u8>,
}

/// Starts a shell command as a client, with arguments from `$0` on. `limit` is the limit of open
/// descriptors for the program. Returns its process id.
///
/// # Errors
/// If /bin/sh cannot be started.
fn start(command: &str, arguments: &[OsString], environment: Environment<'_>, limit: Rlimit) -> Result<u32> {
    let child = shell(command, environment, limit, MIN_OOM_SCORE).args(arguments).spawn();
    let child = child.with_context(|| format!("cannot start {command:?}"))?;
    info!(command, pid = child.id(), "program started");
    Ok(child.id())
}

fn shell(command: &str, environment: Environment<'_>, limit: Rlimit, min_oom_score: i32) -> Command {
    let Environment { wayland, control, cursor_theme, cursor_size } = environment;
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", command])
        .env("WAYLAND_DISPLAY", wayland)
        // That of a login at a TTY is "tty", from which toolkits take it that there is no Wayland.
        .env("XDG_SESSION_TYPE", "wayland")
        .envs(cursor_theme.map(|theme| ("XCURSOR_THEME", theme.to_owned())))
        .envs(cursor_size.map(|size| ("XCURSOR_SIZE", size.to_string())))
        .env(geom_ipc::SOCKET_VARIABLE, control)
        .env_remove("DISPLAY")
        // Sockets that systemd passed are for this process only (sd_listen_fds(3)).
        .env_remove("LISTEN_FDS")
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDNAMES")
        .env_remove(super::guard::VARIABLE)
        .env_remove(super::fd_store::VARIABLE)
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::null());
    // SAFETY: the closure only sets the thread's signal mask, a limit and its OOM score, by system
    // calls. It is needed because the signals of WATCHED are blocked in this process, and a child
    // would inherit that.
    unsafe {
        shell.pre_exec(move || {
            // Dropping Signals unblocks them.
            Signals::new(&WATCHED).map(drop).map_err(std::io::Error::from)?;
            raise_oom_score(min_oom_score);
            restore_limit(limit)
        });
    }
    shell
}

/// Raises this process' OOM score to at least `minimum`. The unit protects the service
/// (OOMScoreAdjust=), and its programs would inherit that: the kernel would kill sshd before a
/// program that leaks. Raising needs no privilege; if /proc is not mounted, nothing changes. Runs
/// between fork(2) and exec(2), so nothing here allocates.
fn raise_oom_score(minimum: i32) {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(c"/proc/self/oom_score_adj", flags, Mode::empty()) else { return };
    let mut bytes = [0; 16];
    let length = rustix::io::read(&file, &mut bytes).unwrap_or(0);
    let text = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let score = text.and_then(|text| text.trim_end().parse::<i32>().ok());
    if score.is_some_and(|score| score < minimum) {
        let mut text = [0; 16];
        let mut rest = &mut text[..];
        let _ = write!(rest, "{minimum}");
        let unused = rest.len();
        let _ = rustix::io::write(&file, text.get(..16 - unused).unwrap_or_default());
    }
}

/// How a child process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    /// By this signal (signal(7)).
    Signal(i32),
}

/// A child process that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedChild {
    pub pid: u32,
    pub exit: Exit,
}

/// How many programs may run. A shortcut that is pressed again and again starts no more.
const MAX_PROGRAMS: usize = 256;

/// The running programs: process ids and commands.
#[derive(Debug)]
pub struct Programs {
    running: BTreeMap<u32, String>,
    /// Their limit of open descriptors.
    limit: Rlimit,
}

impl Programs {
    /// `limit` is the programs' limit of open descriptors.
    pub fn new(limit: Rlimit) -> Self {
        Self { running: BTreeMap::new(), limit }
    }

    /// Starts a shell command as a client, with arguments from `$0` on.
    ///
    /// # Errors
    /// If /bin/sh cannot be started, or too many programs run.
    pub fn start(
        &mut self,
        command: String,
        arguments: &[OsString],
        environment: Environment<'_>,
    ) -> Result<()> {
        let count = self.running.len();
        anyhow::ensure!(count < MAX_PROGRAMS, "cannot start {command:?}: {count} programs run already");
        let pid = start(&command, arguments, environment, self.limit)?;
        self.started(pid, command);
        Ok(())
    }

    /// Notes a program that was started.
    pub fn started(&mut self, pid: u32, command: String) {
        self.running.insert(pid, command);
    }

    /// Removes a program. Returns its command, or `None` if the child process is no such program:
    /// the previous version of the service started it, or it is a helper of ours.
    pub fn ended(&mut self, pid: u32) -> Option<String> {
        self.running.remove(&pid)
    }
}

/// Returns the path of this program's executable, or of the file that was installed in its place.
///
/// # Errors
/// If /proc is not mounted.
pub fn own_executable() -> std::io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    // The link of a file that was replaced ends with this (proc_pid_exe(5)).
    let text = own.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| own.clone(), PathBuf::from))
}

/// The number of [`ReapPause`]s.
static REAP_PAUSES: AtomicUsize = AtomicUsize::new(0);

/// A child process ended during a [`ReapPause`].
static REAP_MISSED: AtomicBool = AtomicBool::new(false);

/// While one exists, [`reap`] does nothing: another thread waits for its own child process, whose
/// exit status is lost once another waitpid(2) has returned it. Call [`reap_missed`] after dropping
/// it.
#[derive(Debug)]
pub struct ReapPause(());

impl ReapPause {
    /// Call this on the event loop's thread, before the child process starts.
    pub fn new() -> Self {
        REAP_PAUSES.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for ReapPause {
    fn drop(&mut self) {
        REAP_PAUSES.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Reaps the child processes that ended during a [`ReapPause`], and returns them.
#[must_use]
pub fn reap_missed() -> Vec<EndedChild> {
    match REAP_MISSED.swap(false, Ordering::SeqCst) {
        true => reap(),
        false => Vec::new(),
    }
}

/// Reaps all child processes that ended, logs how, and returns them.
pub(super) fn reap() -> Vec<EndedChild> {
    let mut ended = Vec::new();
    if REAP_PAUSES.load(Ordering::SeqCst) > 0 {
        REAP_MISSED.store(true, Ordering::SeqCst);
        return ended;
    }
    while let Ok(Some((pid, status))) = waitpid(None::<Pid>, WaitOptions::NOHANG) {
        let pid = pid.as_raw_nonzero();
        let exit = match (status.exit_status(), status.terminating_signal()) {
            (Some(0), _) => {
                info!(%pid, "program ended");
                Exit::Code(0)
            }
            (Some(code), _) => {
                warn!(%pid, code, "program failed; its own output says why");
                Exit::Code(code)
            }
            (_, Some(signal)) => {
                warn!(%pid, signal, "program was killed by a signal");
                Exit::Signal(signal)
            }
            _ => continue,
        };
        ended.push(EndedChild { pid: pid.get().unsigned_abs(), exit });
    }
    ended
}

#[cfg(test)]
mod tests {
    use rustix::process::{getrlimit, Resource};

    use super::*;

    fn output(command: &str, min_oom_score: i32) -> std::io::Result<String> {
        let environment = Environment {
            wayland: "wayland-9",
            control: Path::new("/none"),
            cursor_theme: Some("Large"),
            cursor_size: Some(48),
        };
        let mut shell = shell(command, environment, getrlimit(Resource::Nofile), min_oom_score);
        Ok(String::from_utf8_lossy(&shell.output()?.stdout).into_owned())
    }

    /// Also if the service was started from a TTY, whose login says XDG_SESSION_TYPE=tty.
    #[test]
    fn programs_learn_of_wayland_and_of_the_cursor() -> std::io::Result<()> {
        let command = "echo $WAYLAND_DISPLAY $XDG_SESSION_TYPE $XCURSOR_THEME $XCURSOR_SIZE";
        assert_eq!(output(command, MIN_OOM_SCORE)?, "wayland-9 wayland Large 48\n");
        Ok(())
    }

    /// 900 stands in for 0: only a privileged test could set a negative score of its own.
    #[test]
    fn program_does_not_inherit_a_low_oom_score() -> std::io::Result<()> {
        let score = |minimum: i32| {
            let score = output("cat /proc/self/oom_score_adj", minimum)?;
            score.trim().parse::<i32>().map_err(std::io::Error::other)
        };
        let own = score(-1000)?;
        assert_eq!(score(900)?, own.max(900));
        assert_eq!(score(MIN_OOM_SCORE)?, own.max(0));
        Ok(())
    }
}
