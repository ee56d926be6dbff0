//! The service as a child process of the program: start, readiness, stop.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{pidfd_open, pidfd_send_signal, Pid, PidfdFlags, Signal};
use tempfile::TempDir;

use crate::wait::readable;
use crate::Error;

/// The path of the installed program.
const INSTALLED_EXECUTABLE: &str = "/usr/local/share/GeometryOS/system/lib/compositor/geom_compositor";

/// The time from SIGTERM to SIGKILL. The service asks its clients to close in it.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// A running service. Dropping it stops the service.
#[derive(Debug)]
pub(crate) struct Service {
    child: Child,
    pidfd: OwnedFd,
    /// Kept open while the service may send notifications.
    notify: NotifySocket,
}

/// How to start the service.
#[derive(Debug, Default)]
pub(crate) struct Launch {
    pub executable: Option<PathBuf>,
    pub arguments: Vec<OsString>,
    /// Path of its control socket, passed in `GEOM_COMPOSITOR_SOCKET`.
    pub socket: Option<PathBuf>,
    /// File that its log is appended to. By default, the log goes to this program's standard error.
    pub log_file: Option<PathBuf>,
}

/// Returns the program to start: the configured one, the one that `GEOM_COMPOSITOR_EXECUTABLE`
/// names, `geom_compositor` in `PATH`, or the installed one.
fn find_executable(configured: Option<&Path>) -> PathBuf {
    let named = configured
        .map(Path::to_owned)
        .or_else(|| std::env::var_os("GEOM_COMPOSITOR_EXECUTABLE").map(PathBuf::from));
    named.unwrap_or_else(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut candidates = std::env::split_paths(&path).map(|folder| folder.join("geom_compositor"));
        candidates.find(|candidate| candidate.is_file()).unwrap_or_else(|| INSTALLED_EXECUTABLE.into())
    })
}

impl Service {
    /// Starts the service and waits until it accepts clients and has enabled the connected
    /// displays.
    ///
    /// # Errors
    /// [`Error::StartFailed`] with the service's last status if it can't be run, ends, or is not
    /// ready by the deadline.
    pub fn start(launch: &Launch, deadline: Instant) -> Result<Self, Error> {
        let program = find_executable(launch.executable.as_deref());
        let failed = |what: String| Error::StartFailed(format!("{}: {what}", program.display()));
        let notify = NotifySocket::new()?;
        let mut command = Command::new(&program);
        // In its own process group, so that Ctrl+C interrupts only this program, which then stops
        // the service orderly.
        command
            .args(&launch.arguments)
            .env("NOTIFY_SOCKET", notify.path())
            .stdin(Stdio::null())
            .process_group(0);
        if let Some(socket) = &launch.socket {
            command.env(geom_ipc::SOCKET_VARIABLE, socket);
        }
        if let Some(path) = &launch.log_file {
            let file = File::options().create(true).append(true).open(path);
            let file = file.map_err(|error| failed(format!("its log {}: {error}", path.display())))?;
            command.stderr(file);
        }
        let child = command.spawn().map_err(|error| {
            failed(format!("{error}; name the program by \"executable\" or GEOM_COMPOSITOR_EXECUTABLE"))
        })?;
        let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
            return Err(failed("the kernel returned an invalid process id".into()));
        };
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(std::io::Error::from)?;
        let mut service = Self { child, pidfd, notify };
        let mut last_status = None;
        loop {
            if !readable(&[service.notify.socket.as_fd(), service.pidfd.as_fd()], Some(deadline))? {
                return Err(failed(last_status.unwrap_or_else(|| "it did not become ready in time".into())));
            }
            let mut message = [0; 4096];
            while let Ok(length) = service.notify.socket.recv(&mut message) {
                let text = String::from_utf8_lossy(message.get(..length).unwrap_or_default()).into_owned();
                if text.lines().any(|line| line == "READY=1") {
                    return Ok(service);
                }
                let status = text.lines().find_map(|line| line.strip_prefix("STATUS=")).map(str::to_owned);
                last_status = status.or(last_status);
            }
            if let Some(status) = service.child.try_wait()? {
                let why = last_status.unwrap_or_else(|| "its log has the reason".into());
                return Err(failed(format!("{why} ({status})")));
            }
        }
    }

    /// Returns whether the process runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Stops the service by SIGTERM, and by SIGKILL if it still runs after [`STOP_TIMEOUT`].
    ///
    /// # Errors
    /// If the kernel refuses to signal the process, which it does not for a child.
    pub fn stop(&mut self) -> Result<ExitStatus, Error> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        pidfd_send_signal(self.pidfd.as_fd(), Signal::TERM).map_err(std::io::Error::from)?;
        if !readable(&[self.pidfd.as_fd()], Some(Instant::now() + STOP_TIMEOUT))? {
            self.child.kill()?;
        }
        Ok(self.child.wait()?)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The kernel does not refuse to signal a child, and drop has no way to report an error.
        let _ = self.stop();
    }
}

/// A socket for sd_notify(3) messages, in a directory that only this user can access.
#[derive(Debug)]
struct NotifySocket {
    socket: UnixDatagram,
    folder: TempDir,
}

impl NotifySocket {
    fn new() -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("geom-compositor-").tempdir()?;
        let socket = UnixDatagram::bind(folder.path().join("ready"))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, folder })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("ready")
    }
}
