//! The guard: a small parent process that starts the service, holds its descriptors and restarts it
//! after a crash.
//!
//! It does what systemd does for a unit (FileDescriptorStoreMax=, Restart=), with the same
//! protocol, for a service that is started from a terminal. In a unit it makes a restart faster
//! than a second, because the unit's session and sandbox stay, and it forwards all notifications of
//! the service to the service manager.
//!
//! It is the service's watchdog: a service that sends no WATCHDOG=1 is aborted, so that it writes a
//! crash report that says where it hung, and restarted as after a crash. The service manager's
//! watchdog watches the guard.

use std::env;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use calloop::generic::Generic;
use calloop::signals::{Signal, Signals};
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, Interest, LoopHandle, LoopSignal, Mode, PostAction};
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{
    recvmsg, sendmsg_addr, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix,
};
use rustix::process::{kill_process, pidfd_open, Pid, PidfdFlags, Signal as Kill};
use tempfile::TempDir;
use tracing::{debug, info, warn};

use super::fd_store::{self, FdStore, FIRST_PASSED_FD};
use super::notifications::{Notification, Stored, MAX_STORED_FDS};
use super::spawn::own_executable;
use super::watchdog::{Action, Watchdog};
use crate::event_loop::backoff::Backoff;

/// Tells the service the process ID of its guard.
pub const VARIABLE: &str = "GEOM_COMPOSITOR_GUARD";

/// Prefix of the names of guards' sockets; the process ID follows.
const SOCKET_PREFIX: &str = "geom-compositor-guard-";

/// From a crash to the next start. The first 20 restarts are immediate.
const RESTART: Backoff =
    Backoff::new(Duration::from_millis(10), Duration::from_secs(5)).with_constant_delays(20);
/// After a run of this length, earlier crashes no longer count.
const CRASH_RESET: Duration = Duration::from_secs(60);

/// Signals that the guard forwards to the service.
const FORWARDED_SIGNALS: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// The descriptors that the guard stores, and the process that it watches.
struct Guard {
    stored: Stored,
    child: Option<Child>,
    /// The process that ended last: what it sent may be read after its end.
    ended: Option<Pid>,
    status: Option<ExitStatus>,
    stop: LoopSignal,
    /// Receives the service's notifications too, for example systemd.
    manager: Option<Manager>,
    watchdog: Watchdog,
}

/// The program that started the guard and gave it a NOTIFY_SOCKET (sd_notify(3)).
struct Manager {
    socket: UnixDatagram,
    address: SocketAddrUnix,
}

impl Manager {
    fn from_env() -> Option<Self> {
        let name = env::var_os("NOTIFY_SOCKET")?;
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
            _ => SocketAddrUnix::new(PathBuf::from(&name)),
        };
        Some(Self { socket: UnixDatagram::unbound().ok()?, address: address.ok()? })
    }

    fn forward(&self, text: &str, fds: &[OwnedFd]) {
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_STORED_FDS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let parts = [std::io::IoSlice::new(text.as_bytes())];
        if let Err(error) =
            sendmsg_addr(&self.socket, &self.address, &parts, &mut ancillary, SendFlags::NOSIGNAL)
        {
            debug!(%error, "cannot write to NOTIFY_SOCKET");
        }
    }
}

impl Guard {
    /// Handles a datagram if the service has sent it: any process of the user can write to the
    /// socket, and could have descriptors stored, or beat for a service that hangs.
    fn receive(&mut self, Datagram { text, fds, sender }: Datagram) {
        if sender.is_some() && (sender == self.pid() || sender == self.ended) {
            self.handle_notification(&text, fds);
        } else {
            debug!(?sender, "notification of another process ignored");
        }
    }

    /// Handles one datagram of the service: lines of `VARIABLE=value`, and descriptors.
    fn handle_notification(&mut self, text: &str, fds: Vec<OwnedFd>) {
        let notification = Notification::parse(text);
        // The guard beats by itself: the manager's watchdog is for the guard.
        if notification == Notification::Beat {
            self.watchdog.on_beat(Instant::now());
            return;
        }
        if let Some(manager) = &self.manager {
            manager.forward(text, &fds);
        }
        self.stored.apply(&notification, fds);
    }

    /// Tells the service manager that the guard works: the service beats, or is being restarted.
    fn beat(&self) {
        if let Some(manager) = &self.manager {
            manager.forward("WATCHDOG=1", &[]);
        }
    }

    /// Checks whether the service hangs. Returns the time until the next check.
    fn check_service(&mut self, now: Instant) -> Duration {
        let signal = match self.watchdog.on_tick(now) {
            Action::None => None,
            Action::Abort => {
                warn!(limit = ?self.watchdog.limit(), "service hangs: aborting it; see its crash report");
                Some(Kill::ABORT)
            }
            Action::Kill => {
                warn!("service did not end by SIGABRT: killing it");
                Some(Kill::KILL)
            }
        };
        if let Some((pid, signal)) = self.pid().zip(signal) {
            let _ = kill_process(pid, signal);
        }
        self.beat();
        self.watchdog.interval()
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.as_ref()?.id()).ok()?)
    }

    fn reap(&mut self) {
        self.ended = self.pid();
        if let Some(status) = self.child.as_mut().and_then(|child| child.wait().ok()) {
            self.child = None;
            self.status = Some(status);
            self.stop.stop();
        }
    }

    fn start(&mut self, notify: &PathBuf) -> Result<()> {
        let program = own_executable().context("cannot find this program (/proc/self/exe)")?;
        let mut command = Command::new(&program);
        command.args(env::args_os().skip(1));
        command
            .env_remove(fd_store::VARIABLE)
            .env("NOTIFY_SOCKET", notify)
            .env(VARIABLE, std::process::id().to_string());
        let in_unit = self.manager.is_some();
        let guard = rustix::process::getpid().as_raw_nonzero().get();
        if in_unit {
            // A unit's guard leads the session of the VT. If the service were in the session's
            // foreground process group, the guard's death would send it SIGHUP. It would then shut
            // down in order, and leave nothing for the next process.
            command.process_group(0);
        }
        let names: Vec<&str> = self.stored.iter().map(|(name, _)| name).collect();
        // No LISTEN_PID: the child's process ID is not known before fork(2). The child accepts the
        // descriptors because VARIABLE names its parent.
        command
            .env_remove("LISTEN_PID")
            // The service beats to the guard.
            .env_remove("WATCHDOG_PID")
            .env("WATCHDOG_USEC", self.watchdog.limit().as_micros().to_string())
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"));
        let sources: Vec<i32> = self.stored.iter().map(|(_, fd)| fd.as_raw_fd()).collect();
        // SAFETY: the closure changes a process attribute, the signal mask and descriptor numbers,
        // by system calls only.
        unsafe {
            command.pre_exec(move || {
                // logind moves the service into the scope of its session, where systemd does not
                // look for processes when the unit ends.
                if in_unit && libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                // The guard may have ended before that.
                if in_unit && libc::getppid() != guard {
                    return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
                }
                // Dropping Signals unblocks them.
                Signals::new(&FORWARDED_SIGNALS).map(drop).map_err(std::io::Error::from)?;
                renumber(&sources)
            });
        }
        self.child = Some(command.spawn().with_context(|| program.display().to_string())?);
        Ok(())
    }
}

/// Gives descriptors the numbers that the service expects. Runs between fork(2) and exec(2), so
/// nothing here allocates.
fn renumber(sources: &[i32]) -> std::io::Result<()> {
    let check = |result: i32| if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) };
    let mut copies = [0; MAX_STORED_FDS];
    let end = FIRST_PASSED_FD + sources.len() as i32;
    // First copy all of them beyond the range, because a source may have a number within it.
    for (copy, source) in copies.iter_mut().zip(sources) {
        // SAFETY: a system call on descriptor numbers that returns an unused one.
        *copy = check(unsafe { libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, end) })?;
    }
    for (number, copy) in (FIRST_PASSED_FD..end).zip(copies) {
        // SAFETY: as above. dup2(2) clears CLOEXEC, so that the service inherits the descriptor.
        check(unsafe { libc::dup2(copy, number) })?;
    }
    Ok(())
}

/// One notification.
struct Datagram {
    text: String,
    fds: Vec<OwnedFd>,
    /// The process that sent it, as the kernel says (SO_PASSCRED).
    sender: Option<Pid>,
}

/// Creates the socket for notifications.
fn bind(path: &Path) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::bind(path)?;
    set_socket_passcred(&socket, true)?;
    Ok(socket)
}

/// Reads one notification, or `None` if there is no more.
fn read(socket: &UnixDatagram) -> std::io::Result<Option<Datagram>> {
    let mut bytes = [0; 4096];
    let mut space =
        [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_STORED_FDS), ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    let length = match recvmsg(socket, &mut parts, &mut ancillary, flags) {
        Ok(message) => message.bytes,
        Err(error) if std::io::Error::from(error).kind() == ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (mut fds, mut sender) = (Vec::new(), None);
    for message in ancillary.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(passed) => fds.extend(passed),
            RecvAncillaryMessage::ScmCredentials(credentials) => sender = Some(credentials.pid),
            _ => {}
        }
    }
    let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned();
    Ok(Some(Datagram { text, fds, sender }))
}

/// The path of the guard's socket, which is removed when the guard ends.
struct SocketPath(PathBuf);

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Removes the sockets of guards that were killed.
fn remove_stale_sockets(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_guard = entry.file_name().as_bytes().starts_with(SOCKET_PREFIX.as_bytes());
        let is_stale = || {
            let connected = UnixDatagram::unbound().and_then(|socket| socket.connect(entry.path()));
            connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        };
        if is_guard && is_stale() {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Returns the folder for the socket, and what removes it at the end if it is only ours. Another
/// user could take the socket's name in a folder that all users may write to.
fn socket_folder() -> Result<(PathBuf, Option<TempDir>)> {
    if let Some(folder) = env::var_os("XDG_RUNTIME_DIR") {
        return Ok((PathBuf::from(folder), None));
    }
    let private = tempfile::Builder::new().prefix(SOCKET_PREFIX).tempdir();
    let private = private.context("create a folder for the guard's socket")?;
    Ok((private.path().to_owned(), Some(private)))
}

/// Watches the guard's timer, its socket, and the signals that it passes on to the service.
fn watch(handle: &LoopHandle<'_, Guard>, socket: UnixDatagram, interval: Duration) -> Result<()> {
    let timer = Timer::from_duration(interval);
    handle
        .insert_source(timer, |_, (), guard| TimeoutAction::ToDuration(guard.check_service(Instant::now())))
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let source = Generic::new(socket, Interest::READ, Mode::Level);
    handle.insert_source(source, |_, socket, guard| {
        while let Some(datagram) = read(socket)? {
            guard.receive(datagram);
        }
        Ok(PostAction::Continue)
    })?;
    let signals = Signals::new(&FORWARDED_SIGNALS).context("create a signalfd")?;
    handle.insert_source(signals, |event, &mut (), guard| {
        let signal = Kill::from_named_raw(event.signal() as i32);
        if let Some((pid, signal)) = guard.pid().zip(signal) {
            let _ = kill_process(pid, signal);
        }
    })?;
    Ok(())
}

/// Returns the guard's exit status if the service ended and is not to be started again.
fn final_status(status: ExitStatus) -> Option<ExitCode> {
    match (status.code(), status.signal()) {
        // The status of a panic is 101; any other one is intended.
        (Some(101), _) => None,
        (Some(code), _) => Some(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        (None, Some(libc::SIGTERM | libc::SIGINT | libc::SIGHUP)) => Some(ExitCode::FAILURE),
        (None, _) => None,
    }
}

/// Runs the service until it ends without a crash. Returns its exit status.
///
/// # Errors
/// If the socket for notifications cannot be created, or the service cannot be started.
pub fn run() -> Result<ExitCode> {
    let (folder, _private) = socket_folder()?;
    remove_stale_sockets(&folder);
    let path = SocketPath(folder.join(format!("{SOCKET_PREFIX}{}", std::process::id())));
    let _ = std::fs::remove_file(&path.0);
    let socket = bind(&path.0).with_context(|| path.0.display().to_string())?;
    let mut event_loop: EventLoop<'_, Guard> =
        EventLoop::try_new().context("create an event loop (epoll)")?;
    let handle = event_loop.handle();
    let stop = event_loop.get_signal();
    // What the service manager held while no guard was running.
    let passed = FdStore::inherit(std::process::id(), |name| env::var(name).ok()).into_passed();
    let stored = Stored::new(passed);
    let limit = ::sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
    let watchdog = Watchdog::new(limit, Instant::now());
    let manager = Manager::from_env();
    let mut guard = Guard { stored, child: None, ended: None, status: None, stop, manager, watchdog };
    watch(&handle, socket, guard.watchdog.interval())?;
    let mut restart = RESTART;
    loop {
        let started = Instant::now();
        guard.watchdog = Watchdog::new(limit, started);
        guard.start(&path.0)?;
        let Some(pid) = guard.pid() else { anyhow::bail!("the service has no process ID") };
        let exit = pidfd_open(pid, PidfdFlags::empty()).context("pidfd_open")?;
        handle.insert_source(Generic::new(exit, Interest::READ, Mode::OneShot), |_, _, guard| {
            guard.reap();
            Ok(PostAction::Remove)
        })?;
        event_loop.run(None, &mut guard, |_| {}).context("wait for the service")?;
        let Some(status) = guard.status.take() else { continue };
        if let Some(status) = final_status(status) {
            return Ok(status);
        }
        if started.elapsed() > CRASH_RESET {
            restart.reset();
        }
        let delay = restart.next_delay().unwrap_or_default();
        match status.signal() {
            Some(signal) => warn!(signal, ?delay, "service crashed: restarting it"),
            None => warn!(?delay, "service panicked: restarting it"),
        }
        // A delay is shorter than the manager's watchdog.
        guard.beat();
        std::thread::sleep(delay);
        guard.beat();
        info!(descriptors = guard.stored.iter().count(), "restarting the service");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(limit: Option<Duration>, now: Instant) -> Result<Guard> {
        let event_loop: EventLoop<'_, Guard> = EventLoop::try_new()?;
        let (stop, watchdog) = (event_loop.get_signal(), Watchdog::new(limit, now));
        Ok(Guard {
            stored: Stored::default(),
            child: None,
            ended: None,
            status: None,
            stop,
            manager: None,
            watchdog,
        })
    }

    #[test]
    fn only_crashes_and_panics_start_the_service_again() {
        let exit = |code: i32| ExitStatus::from_raw(code << 8);
        for status in [exit(101), ExitStatus::from_raw(libc::SIGSEGV), ExitStatus::from_raw(libc::SIGKILL)] {
            assert_eq!(final_status(status), None, "{status:?}");
        }
        let failure = Some(ExitCode::FAILURE);
        for (status, code) in [
            (exit(0), Some(ExitCode::SUCCESS)),
            (exit(1), failure),
            (ExitStatus::from_raw(libc::SIGTERM), failure),
        ] {
            assert_eq!(final_status(status), code, "{status:?}");
        }
    }

    #[test]
    fn hung_service_is_aborted() -> Result<()> {
        let start = Instant::now();
        let mut guard = guard(Some(Duration::from_secs(8)), start)?;
        guard.child = Some(Command::new("sleep").arg("1000").spawn()?);
        guard.handle_notification("WATCHDOG=1\n", Vec::new());
        let mut now = Instant::now();
        for _ in 0..5 {
            now += guard.check_service(now);
        }
        guard.reap();
        assert_eq!(guard.status.and_then(|status| status.signal()), Some(libc::SIGABRT));
        Ok(())
    }

    #[test]
    fn descriptors_are_stored_by_name() -> Result<()> {
        let mut guard = guard(None, Instant::now())?;
        let fd = || std::fs::File::open("/dev/null").map(OwnedFd::from);
        guard.handle_notification("FDSTORE=1\nFDNAME=geom.control\nFDPOLL=0", vec![fd()?]);
        guard.handle_notification("FDSTORE=1\nFDNAME=geom.wayland", vec![fd()?]);
        guard.handle_notification("STATUS=fine\nREADY=1", vec![]);
        guard.handle_notification("FDSTOREREMOVE=1\nFDNAME=geom.control", vec![]);
        let names: Vec<&str> = guard.stored.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["geom.wayland"]);
        for _ in 0..100 {
            guard.handle_notification("FDSTORE=1\nFDNAME=geom.connections", vec![fd()?]);
        }
        assert_eq!(guard.stored.iter().count(), MAX_STORED_FDS);
        Ok(())
    }

    #[test]
    fn notification_of_another_process_is_ignored() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("notify");
        let (socket, sending) = (bind(&path)?, UnixDatagram::unbound()?);
        let mut guard = guard(None, Instant::now())?;
        let mut stored = |pid: Option<Pid>, text: &str| -> Result<usize> {
            guard.ended = pid;
            let manager = Manager { socket: sending.try_clone()?, address: SocketAddrUnix::new(&path)? };
            manager.forward(text, &[std::fs::File::open("/dev/null")?.into()]);
            while let Some(datagram) = read(&socket)? {
                guard.receive(datagram);
            }
            Ok(guard.stored.iter().count())
        };
        let parent = rustix::process::getppid();
        assert_eq!(stored(parent, "FDSTORE=1\nFDNAME=geom.control")?, 0);
        assert_eq!(stored(None, "FDSTORE=1\nFDNAME=geom.control")?, 0);
        assert_eq!(stored(Some(rustix::process::getpid()), "FDSTORE=1\nFDNAME=geom.control")?, 1);
        Ok(())
    }
}
