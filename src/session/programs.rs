//! Programs that `--exec` starts.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use calloop::signals::Signals;
use rustix::process::{waitpid, Pid, Rlimit, WaitOptions};
use tracing::{info, warn};

use super::descriptors::restore_limit;
use super::signals::WATCHED;
use crate::clients::listen::Addresses;

/// Starts a shell command as a Wayland client.
///
/// # Errors
/// Where there is no shell to run it.
pub fn start(command: &str, addresses: &Addresses, descriptors: Rlimit) -> Result<()> {
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", command])
        .env("WAYLAND_DISPLAY", &addresses.wayland)
        .env(geom_ipc::SOCKET_VARIABLE, &addresses.control)
        .env_remove("DISPLAY")
        // systemd's sockets are ours (sd_listen_fds(3)).
        .env_remove("LISTEN_FDS")
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDNAMES")
        .env_remove(super::guard::VARIABLE)
        .env_remove(super::store::VARIABLE)
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::null());
    // SAFETY: sets this thread's signal mask and a limit, nothing else. Ours has signals blocked that the loop
    // reads; programs must not inherit that.
    unsafe {
        shell.pre_exec(move || {
            // What is dropped unblocks its signals.
            Signals::new(&WATCHED).map(drop).map_err(std::io::Error::from)?;
            restore_limit(descriptors)
        });
    }
    let child = shell.spawn().with_context(|| format!("start {command:?}"))?;
    info!(command, pid = child.id(), "program started");
    Ok(())
}

/// The file of this program, or what was installed in its place meanwhile.
///
/// # Errors
/// Without /proc.
pub fn own_file() -> std::io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    // proc_pid_exe(5): so a file ends that was replaced.
    let text = own.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| own.clone(), PathBuf::from))
}

/// Collects programs that ended.
pub fn reap() {
    while let Ok(Some((pid, status))) = waitpid(None::<Pid>, WaitOptions::NOHANG) {
        let pid = pid.as_raw_nonzero();
        match (status.exit_status(), status.terminating_signal()) {
            (Some(0), _) => info!(%pid, "program ended"),
            (Some(code), _) => warn!(%pid, code, "program ended with an error"),
            (_, Some(signal)) => warn!(%pid, signal, "program was killed"),
            _ => {}
        }
    }
}
