//! Starting the service as a process of this program's, and ending it.

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

/// Where the program is installed.
const INSTALLED: &str = "/usr/local/share/GeometryOS/system/lib/compositor/geom_compositor";

/// So long the service may take to end when it is told to: its clients are asked to leave before.
const GRACE: Duration = Duration::from_secs(15);

/// A running service that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Service {
    child: Child,
    process: OwnedFd,
    /// As long as the service may say something.
    ready: Readiness,
}

/// How to start it.
#[derive(Debug, Default)]
pub(crate) struct Launch {
    pub executable: Option<PathBuf>,
    pub arguments: Vec<OsString>,
    /// Its control socket, and the variable that names it.
    pub socket: Option<PathBuf>,
    /// Gets its log; this program's standard error does otherwise.
    pub log_file: Option<PathBuf>,
}

/// The program: as configured, as the environment says, in `PATH`, or where it is installed.
fn find(wished: Option<&Path>) -> PathBuf {
    let named = wished
        .map(Path::to_owned)
        .or_else(|| std::env::var_os("GEOM_COMPOSITOR_EXECUTABLE").map(PathBuf::from));
    named.unwrap_or_else(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::env::split_paths(&path).map(|folder| folder.join("geom_compositor"));
        places.find(|place| place.is_file()).unwrap_or_else(|| INSTALLED.into())
    })
}

impl Service {
    /// Starts it and waits until it accepts clients, and drives the displays that are there.
    ///
    /// # Errors
    /// Where it can't be run, or ends, with what it said; [`Error::TimedOut`].
    pub fn start(launch: &Launch, deadline: Instant) -> Result<Self, Error> {
        let program = find(launch.executable.as_deref());
        let failed = |what: String| Error::Start(format!("{}: {what}", program.display()));
        let ready = Readiness::new()?;
        let mut command = Command::new(&program);
        // A process group of its own: Ctrl+C is for this program, which then ends it in order.
        command
            .args(&launch.arguments)
            .env("NOTIFY_SOCKET", ready.address())
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
            return Err(failed("the kernel gave it no number".into()));
        };
        let process = pidfd_open(pid, PidfdFlags::empty()).map_err(std::io::Error::from)?;
        let mut service = Self { child, process, ready };
        let mut said = None;
        loop {
            if !readable(&[service.ready.socket.as_fd(), service.process.as_fd()], Some(deadline))? {
                return Err(failed(said.unwrap_or_else(|| "it does not say that it is ready".into())));
            }
            let mut message = [0; 4096];
            while let Ok(length) = service.ready.socket.recv(&mut message) {
                let text = String::from_utf8_lossy(message.get(..length).unwrap_or_default()).into_owned();
                if text.lines().any(|line| line == "READY=1") {
                    return Ok(service);
                }
                said = text.lines().find_map(|line| line.strip_prefix("STATUS=")).map(str::to_owned).or(said);
            }
            if let Some(status) = service.child.try_wait()? {
                let said = said.unwrap_or_else(|| "its log tells why".into());
                return Err(failed(format!("{said} ({status})")));
            }
        }
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it in order, and by force where it does not within some seconds.
    ///
    /// # Errors
    /// Where the kernel refuses, which it does not for a child.
    pub fn stop(&mut self) -> Result<ExitStatus, Error> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        pidfd_send_signal(self.process.as_fd(), Signal::TERM).map_err(std::io::Error::from)?;
        if !readable(&[self.process.as_fd()], Some(Instant::now() + GRACE))? {
            self.child.kill()?;
        }
        Ok(self.child.wait()?)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The kernel refuses nothing here, and there is nobody to tell.
        let _ = self.stop();
    }
}

/// A socket that the service says on that it is ready (sd_notify(3)), in a folder that is this user's alone.
#[derive(Debug)]
struct Readiness {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Readiness {
    fn new() -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("geom-compositor-").tempdir()?;
        let socket = UnixDatagram::bind(folder.path().join("ready"))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, folder })
    }

    fn address(&self) -> PathBuf {
        self.folder.path().join("ready")
    }
}
