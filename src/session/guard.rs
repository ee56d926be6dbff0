//! A process of few words that starts the service, holds what outlives it, and starts it again when it crashes: what systemd does for a unit
//! (FileDescriptorStoreMax=, Restart=), by the same protocol. From a terminal there is nobody else for it. In a unit it spares a crash what makes
//! the manager's way longer than a second, the unit's session and sandbox, and hands on to the manager all that the service says.

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
use calloop::{EventLoop, Interest, LoopSignal, Mode, PostAction};
use rustix::net::{
    recvmsg, sendmsg_addr, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix,
};
use rustix::process::{kill_process, pidfd_open, Pid, PidfdFlags, Signal as Kill};
use tracing::{debug, info, warn};

use super::programs::own_file;
use super::store::{self, Store};

/// Names the guard's process to the service.
pub const VARIABLE: &str = "GEOM_COMPOSITOR_GUARD";

/// What its socket is named, before the number of its process.
const SOCKET: &str = "geom-compositor-guard-";

/// From a crash to the next start: for the first few of them, and at most.
const DELAY: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(5);
/// So many come back at once; from then on it takes twice as long each time.
const FEW: u32 = 20;
/// So long a run forgives those before.
const STEADY: Duration = Duration::from_secs(60);
/// So many descriptors at most, as a unit has (FileDescriptorStoreMax=).
const MOST: usize = 16;

/// Signals that are the service's business.
const PASSED_ON: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// What it holds, and whom it watches.
struct Guard {
    held: Vec<(String, OwnedFd)>,
    child: Option<Child>,
    ended: Option<ExitStatus>,
    stop: LoopSignal,
    /// Who started us and wants to hear, systemd for one.
    above: Option<Above>,
}

/// NOTIFY_SOCKET of ours (sd_notify(3)).
struct Above {
    socket: UnixDatagram,
    address: SocketAddrUnix,
}

impl Above {
    fn open() -> Option<Self> {
        let name = env::var_os("NOTIFY_SOCKET")?;
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
            _ => SocketAddrUnix::new(PathBuf::from(&name)),
        };
        Some(Self { socket: UnixDatagram::unbound().ok()?, address: address.ok()? })
    }

    fn pass_on(&self, text: &str, fds: &[OwnedFd]) {
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let parts = [std::io::IoSlice::new(text.as_bytes())];
        if let Err(error) =
            sendmsg_addr(&self.socket, &self.address, &parts, &mut ancillary, SendFlags::NOSIGNAL)
        {
            debug!(%error, "NOTIFY_SOCKET can't be written to");
        }
    }
}

impl Guard {
    /// One datagram of the service's: `VARIABLE=value` lines, and descriptors.
    fn take(&mut self, text: &str, fds: Vec<OwnedFd>) {
        if let Some(above) = &self.above {
            above.pass_on(text, &fds);
        }
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let Some(name) = value("FDNAME") else { return };
        if value("FDSTOREREMOVE") == Some("1") {
            self.held.retain(|(known, _)| known != name);
        } else if value("FDSTORE") == Some("1") {
            for fd in fds {
                if self.held.len() < MOST {
                    self.held.push((name.to_owned(), fd));
                }
            }
        }
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.as_ref()?.id()).ok()?)
    }

    fn reap(&mut self) {
        if let Some(status) = self.child.as_mut().and_then(|child| child.wait().ok()) {
            self.child = None;
            self.ended = Some(status);
            self.stop.stop();
        }
    }

    fn start(&mut self, notify: &PathBuf) -> Result<()> {
        let program = own_file().context("where the program is (/proc/self/exe)")?;
        let mut command = Command::new(&program);
        command.args(env::args_os().skip(1));
        command
            .env_remove(store::VARIABLE)
            .env("NOTIFY_SOCKET", notify)
            .env(VARIABLE, std::process::id().to_string());
        if self.above.is_some() {
            // A unit's guard leads the VT's session. Were the service in its foreground, the guard's death would be a hangup to it, and so an end
            // with leave, after which nothing is held for the next.
            command.process_group(0);
        }
        let names: Vec<&str> = self.held.iter().map(|(name, _)| name.as_str()).collect();
        // The child's own number is not known before it is there, and it knows us: no LISTEN_PID.
        command
            .env_remove("LISTEN_PID")
            // It is the one that has to say that it is alive.
            .env_remove("WATCHDOG_PID")
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"));
        let sources: Vec<i32> = self.held.iter().map(|(_, fd)| fd.as_raw_fd()).collect();
        let in_unit = self.above.is_some();
        // SAFETY: the signal mask and descriptors' numbers, by plain system calls.
        unsafe {
            command.pre_exec(move || {
                // What is dropped unblocks its signals.
                // logind has the service's process in the scope of its session, where the manager does not look when the unit ends.
                if in_unit && libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Signals::new(&PASSED_ON).map(drop).map_err(std::io::Error::from)?;
                place(&sources)
            });
        }
        self.child = Some(command.spawn().with_context(|| program.display().to_string())?);
        Ok(())
    }
}

/// Puts descriptors where the service looks for them, between fork(2) and exec(2): nothing here allocates.
fn place(sources: &[i32]) -> std::io::Result<()> {
    let check = |result: i32| if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) };
    let mut moved = [0; MOST];
    let beyond = store::FIRST + sources.len() as i32;
    // All of them out of the way first: some may lie where others have to go.
    for (copy, source) in moved.iter_mut().zip(sources) {
        // SAFETY: a plain system call on numbers, which takes a free one.
        *copy = check(unsafe { libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, beyond) })?;
    }
    for (place, copy) in (store::FIRST..beyond).zip(moved) {
        // SAFETY: as above. Without CLOEXEC, it is the service's.
        check(unsafe { libc::dup2(copy, place) })?;
    }
    Ok(())
}

/// Reads what the service says; none where there is nothing more.
fn read(socket: &UnixDatagram) -> std::io::Result<Option<(String, Vec<OwnedFd>)>> {
    let mut bytes = [0; 4096];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    let length = match recvmsg(socket, &mut parts, &mut ancillary, flags) {
        Ok(message) => message.bytes,
        Err(error) if std::io::Error::from(error).kind() == ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            fds.extend(passed);
        }
    }
    Ok(Some((String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned(), fds)))
}

/// The socket's file, which goes with us.
struct Address(PathBuf);

impl Drop for Address {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Sockets of guards that were killed go.
fn sweep(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_guard = entry.file_name().as_bytes().starts_with(SOCKET.as_bytes());
        let refused = || {
            let connected = UnixDatagram::unbound().and_then(|socket| socket.connect(entry.path()));
            connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        };
        if is_guard && refused() {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Runs the service until it ends with leave; its status.
///
/// # Errors
/// Without a folder for the socket between us, and where the service can't be started.
pub fn run() -> Result<ExitCode> {
    let folder = env::var_os("XDG_RUNTIME_DIR").map_or_else(env::temp_dir, PathBuf::from);
    sweep(&folder);
    let address = Address(folder.join(format!("{SOCKET}{}", std::process::id())));
    let _ = std::fs::remove_file(&address.0);
    let socket = UnixDatagram::bind(&address.0).with_context(|| address.0.display().to_string())?;
    let mut event_loop: EventLoop<'_, Guard> = EventLoop::try_new().context("epoll")?;
    let handle = event_loop.handle();
    let stop = event_loop.get_signal();
    // What the manager held while there was none of us.
    let held = Store::inherit(std::process::id(), |name| env::var(name).ok()).into_passed();
    let mut guard = Guard { held, child: None, ended: None, stop, above: Above::open() };
    let source = Generic::new(socket, Interest::READ, Mode::Level);
    handle.insert_source(source, |_, socket, guard| {
        while let Some((text, fds)) = read(socket)? {
            guard.take(&text, fds);
        }
        Ok(PostAction::Continue)
    })?;
    let signals = Signals::new(&PASSED_ON).context("signalfd")?;
    handle.insert_source(signals, |event, &mut (), guard| {
        let signal = Kill::from_named_raw(event.signal() as i32);
        if let Some((pid, signal)) = guard.pid().zip(signal) {
            let _ = kill_process(pid, signal);
        }
    })?;
    let mut crashes = 0u32;
    loop {
        let started = Instant::now();
        guard.start(&address.0)?;
        let Some(pid) = guard.pid() else { anyhow::bail!("the service has no process") };
        let ending = pidfd_open(pid, PidfdFlags::empty()).context("pidfd_open")?;
        handle.insert_source(Generic::new(ending, Interest::READ, Mode::OneShot), |_, _, guard| {
            guard.reap();
            Ok(PostAction::Remove)
        })?;
        event_loop.run(None, &mut guard, |_| {}).context("wait for the service")?;
        let Some(status) = guard.ended.take() else { continue };
        match (status.code(), status.signal()) {
            // A panic's status is 101; all others are meant.
            (Some(code), _) if code != 101 => {
                return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
            }
            (_, Some(libc::SIGTERM | libc::SIGINT | libc::SIGHUP)) => return Ok(ExitCode::FAILURE),
            (_, signal) => {
                crashes = if started.elapsed() > STEADY { 1 } else { crashes.saturating_add(1) };
                let delay = DELAY * 2u32.pow(crashes.saturating_sub(FEW).min(10));
                let delay = delay.min(LONGEST);
                match signal {
                    Some(signal) => warn!(signal, ?delay, "the service crashed; it is started again"),
                    None => warn!(?delay, "the service panicked; it is started again"),
                }
                std::thread::sleep(delay);
            }
        }
        info!(descriptors = guard.held.len(), "starting it again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_held_by_name() -> Result<()> {
        let event_loop: EventLoop<'_, Guard> = EventLoop::try_new()?;
        let stop = event_loop.get_signal();
        let mut guard = Guard { held: Vec::new(), child: None, ended: None, stop, above: None };
        let fd = || std::fs::File::open("/dev/null").map(OwnedFd::from);
        guard.take("FDSTORE=1\nFDNAME=geom.control\nFDPOLL=0", vec![fd()?]);
        guard.take("FDSTORE=1\nFDNAME=geom.wayland", vec![fd()?]);
        guard.take("STATUS=fine\nREADY=1", vec![]);
        guard.take("FDSTOREREMOVE=1\nFDNAME=geom.control", vec![]);
        let names: Vec<&str> = guard.held.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["geom.wayland"]);
        for _ in 0..100 {
            guard.take("FDSTORE=1\nFDNAME=geom.records", vec![fd()?]);
        }
        assert_eq!(guard.held.len(), MOST);
        Ok(())
    }
}
