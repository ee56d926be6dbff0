//! Listening sockets: those of systemd, those of the previous process, or new ones; and accepting
//! and refusing connections.

use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, Context, Result};
use geom_ipc::{ClientKind, CloseReason, ErrorKind};
use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;
use rustix::net::{accept_with, SocketFlags};
use smithay::reexports::wayland_server::DisplayHandle;
use tracing::{info, warn};

use super::heartbeat::Time;
use super::limits::Refusal;
use super::{Clients, Cx, Effect, Effects, Sandbox};
use crate::event_loop::reactor::{Reactor, Source};
use crate::session::fd_store::FdStore;

/// A socket that clients connect to.
pub enum Listener {
    /// Created by this program, which removes its files at the end.
    Own { socket: UnixListener, files: Vec<PathBuf> },
    /// Passed by systemd, and kept by it.
    Passed(UnixListener),
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own { socket, .. } | Self::Passed(socket) => socket.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Self::Own { files, .. } = self else { return };
        // After a crash, the next process continues to listen.
        if std::thread::panicking() {
            return;
        }
        for file in files {
            if let Err(error) = std::fs::remove_file(&file) {
                warn!(file = %file.display(), %error, "cannot remove the file of a socket");
            }
        }
    }
}

/// The addresses at which clients reach the service.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// The value of `WAYLAND_DISPLAY` for clients.
    pub wayland: String,
    /// The path of the control socket.
    pub control: PathBuf,
}

const NO_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR must name a folder that this user may write to, \
     usually /run/user/<uid> (a login session or RuntimeDirectory= provides it)";

/// Returns what to do about a socket that cannot be created.
fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        IoErrorKind::StorageFull | IoErrorKind::QuotaExceeded => {
            "its file system is full: check `df -h` and `df -i`, and remove what is not needed there"
        }
        IoErrorKind::ReadOnlyFilesystem => {
            "its file system is read-only: mount a tmpfs there, as a login session does"
        }
        _ => NO_RUNTIME_DIR,
    }
}

fn cannot_create(what: &str, path: &Path, error: &std::io::Error) -> anyhow::Error {
    anyhow!("no {what} socket: {}: {error}: {}", path.display(), remedy(error))
}

/// Refuses a folder of another user: a service of root would leave files there that the owner's own
/// service cannot remove.
fn check_owner(folder: &Path) -> Result<()> {
    let Ok(status) = std::fs::metadata(folder) else { return Ok(()) };
    let (owner, own) = (status.uid(), rustix::process::geteuid().as_raw());
    if owner != own && owner != 0 {
        anyhow::bail!(
            "XDG_RUNTIME_DIR={} belongs to user {owner}, and this is user {own}: start it as that \
             user, or name a folder of its own (sudo keeps the variable only with -E)",
            folder.display()
        );
    }
    Ok(())
}

/// Names in the descriptor store.
const WAYLAND: &str = "wayland";
const LOCK: &str = "wayland-lock";
const CONTROL: &str = "control";

/// The name that a unit gives to its sockets for sandboxed Wayland clients (FileDescriptorName= of
/// geom-kiosk.socket).
const KIOSK: &str = "kiosk";

/// The sandbox of clients that connect to such a socket.
pub(super) const KIOSK_SANDBOX: Sandbox<'static> = Sandbox { name: "geom-kiosk", is_admitted: true };

fn path_of(socket: &UnixListener) -> PathBuf {
    let address = socket.local_addr().ok();
    address.and_then(|address| address.as_pathname().map(Path::to_owned)).unwrap_or_default()
}

/// Opens the listening sockets, Wayland's and then the control socket: those of systemd, those of
/// the previous process, or new ones. Sockets for sandboxed clients follow; only systemd has those.
///
/// # Errors
/// If a socket cannot be created, or another instance serves the control socket.
fn open(store: &mut FdStore) -> Result<(Addresses, Vec<Listening>)> {
    let mut addresses = Addresses::default();
    let (mut wayland, mut control) = (None, None);
    let mut kiosks = Vec::new();
    for (name, socket) in store.sockets() {
        let socket = UnixListener::from(socket);
        let path = path_of(&socket);
        socket.set_nonblocking(true).context("set systemd's socket to non-blocking")?;
        info!(name, socket = %path.display(), "listening on a socket of systemd");
        // By FileDescriptorName=, or if one unit has both sockets, by the name that clients use.
        if name == CONTROL || path.file_name() == Some(geom_ipc::SOCKET_NAME.as_ref()) {
            (addresses.control, control) = (path, Some(Listener::Passed(socket)));
        } else if name == KIOSK {
            let listener = Listener::Passed(socket);
            kiosks.push(Listening::new(listener, ClientKind::Wayland, Some(KIOSK_SANDBOX)));
        } else {
            addresses.wayland = path.to_string_lossy().into_owned();
            wayland = Some(Listener::Passed(socket));
        }
    }
    let wayland = match (wayland, recover(store, WAYLAND)) {
        (Some(socket), _) => socket,
        (None, Some((socket, path))) => {
            // The store holds the lock, so no other process does.
            store.recover(LOCK);
            let lock = path.with_extension("lock");
            addresses.wayland = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Listener::Own { socket, files: vec![path, lock] }
        }
        (None, None) => {
            let (name, listener) = bind_wayland(store)?;
            addresses.wayland = name;
            listener
        }
    };
    let control = match (control, recover(store, CONTROL)) {
        (Some(socket), _) => socket,
        (None, Some((socket, path))) => {
            addresses.control.clone_from(&path);
            Listener::Own { socket, files: vec![path] }
        }
        (None, None) => {
            addresses.control = own_control_path();
            let socket = bind_control(&addresses.control)?;
            store.hold(CONTROL, socket.as_fd())?;
            Listener::Own { socket, files: vec![addresses.control.clone()] }
        }
    };
    let mut all = vec![
        Listening::new(wayland, ClientKind::Wayland, None),
        Listening::new(control, ClientKind::Control, None),
    ];
    all.append(&mut kiosks);
    Ok((addresses, all))
}

/// Returns a socket of the previous process, if its file still exists.
fn recover(store: &mut FdStore, name: &str) -> Option<(UnixListener, PathBuf)> {
    let socket = UnixListener::from(store.recover(name)?);
    let path = path_of(&socket);
    let is_reachable = path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket());
    if !is_reachable {
        let socket = path.display();
        warn!(%socket, "the previous process's socket file is gone; creating a new socket");
        return None;
    }
    info!(socket = %path.display(), "listening on the socket of the previous process");
    Some((socket, path))
}

/// Binds the first of wayland-1 to wayland-32 whose lock file is not locked (names and rules of
/// wl_display_add_socket_auto()).
fn bind_wayland(store: &mut FdStore) -> Result<(String, Listener)> {
    let folder = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = folder.with_context(|| format!("no Wayland socket: {NO_RUNTIME_DIR}"))?;
    check_owner(&folder)?;
    for number in 1..33 {
        let name = format!("wayland-{number}");
        let path = folder.join(&name);
        let lock_path = path.with_extension("lock");
        let mut options = File::options();
        let lock = options.create(true).truncate(false).write(true).read(true).mode(0o660).open(&lock_path);
        let lock = lock.map_err(|error| cannot_create("Wayland", &lock_path, &error))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        // The process that created the socket is gone.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != IoErrorKind::NotFound => {
                warn!(socket = %path.display(), %error, "cannot remove a stale socket; trying the next name");
                continue;
            }
            _ => {}
        }
        let socket = UnixListener::bind(&path).map_err(|error| cannot_create("Wayland", &path, &error))?;
        socket.set_nonblocking(true)?;
        store.hold(WAYLAND, socket.as_fd())?;
        store.hold(LOCK, lock.as_fd())?;
        return Ok((name, Listener::Own { socket, files: vec![path, lock_path] }));
    }
    let folder = folder.display();
    anyhow::bail!("wayland-1 to wayland-32 in {folder} are in use: end one of their servers")
}

/// Returns the path of the control socket: from the environment, or in the runtime folder.
fn own_control_path() -> PathBuf {
    geom_ipc::socket_paths(|name| std::env::var_os(name)).into_iter().next().unwrap_or_default()
}

fn bind_control(path: &Path) -> Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        anyhow::bail!(
            "the service runs already and listens at {0}: command it by `geom_compositor status` and \
             so on, end it by `geom_compositor stop`, or give this one another socket by \
             GEOM_COMPOSITOR_SOCKET",
            path.display()
        );
    }
    // No process listens there: the file is left from a process that was killed.
    if let Err(error) = std::fs::remove_file(path) {
        if error.kind() != IoErrorKind::NotFound {
            return Err(error).with_context(|| format!("remove the stale socket {}", path.display()));
        }
    }
    let socket = UnixListener::bind(path).map_err(|error| cannot_create("control", path, &error))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A listening socket from which clients are accepted.
pub struct Listening {
    listener: Listener,
    kind: ClientKind,
    /// The sandbox of all clients that connect here.
    sandbox: Option<Sandbox<'static>>,
    /// A descriptor that is closed to accept and refuse a client if no other is left.
    reserve: Option<File>,
    /// The last iteration of the event loop in which a client waited here.
    last_busy: u64,
    /// When the first of `refused` clients was refused.
    refused_since: Time,
    refused: u32,
}

/// The result of one accept(2).
enum Accepted {
    Stream(UnixStream),
    /// No client waits.
    Nothing,
    /// The client disconnected before it was accepted.
    Aborted,
    Failed(Errno),
}

/// The maximum number of clients that are accepted from one socket in one iteration, so that other
/// clients are served as well.
const MAX_PER_DISPATCH: usize = 64;

/// The clients that wait in the kernel, at most: behind clients that are refused, others wait for
/// eight pauses. More of them wait in connect(2).
const BACKLOG: i32 = 128;
/// The clients that are refused in a row, at most, before a pause.
const MAX_REFUSALS: u32 = 16;
const REFUSAL_PAUSE: Duration = Duration::from_millis(10);
/// The pause is at least this many times as long as refusing took.
const REFUSAL_SHARE: u32 = 3;

/// Returns until when no clients are accepted after refusals of this iteration.
fn end_of_pause(cx: &Cx<'_>) -> Time {
    let now = (cx.clock)();
    now + REFUSAL_PAUSE.max(now.saturating_sub(cx.now) * REFUSAL_SHARE)
}

impl Listening {
    pub(super) fn new(listener: Listener, kind: ClientKind, sandbox: Option<Sandbox<'static>>) -> Self {
        // An error leaves it as it was.
        let _ = rustix::net::listen(&listener, BACKLOG);
        Self {
            listener,
            kind,
            sandbox,
            reserve: reserve(),
            last_busy: 0,
            refused_since: Time::ZERO,
            refused: 0,
        }
    }

    pub(super) fn listener(&self) -> &Listener {
        &self.listener
    }

    pub(super) fn kind(&self) -> ClientKind {
        self.kind
    }

    fn accept(&self) -> Accepted {
        match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(fd) => Accepted::Stream(UnixStream::from(fd)),
            Err(Errno::AGAIN) => Accepted::Nothing,
            Err(Errno::CONNABORTED | Errno::INTR) => Accepted::Aborted,
            Err(error) => Accepted::Failed(error),
        }
    }

    /// Counts a refused client. Returns whether there were too many in a row: clients that connect
    /// again at once would take all of a processor, and wait in the kernel instead.
    fn count_refusal(&mut self, now: Time) -> bool {
        if now.saturating_sub(self.refused_since) > REFUSAL_PAUSE {
            (self.refused_since, self.refused) = (now, 0);
        }
        self.refused += 1;
        self.refused >= MAX_REFUSALS
    }

    /// Refuses a client although no descriptor is left: the reserved one is used to accept it.
    /// Without that, the socket would stay readable and the event loop would spin.
    fn refuse_without_descriptors(&mut self) {
        drop(self.reserve.take());
        if let Accepted::Stream(stream) = self.accept() {
            let message = "the service has no file descriptor left".to_owned();
            refuse(stream, self.kind, &Refusal { reason: CloseReason::OverLimit, message });
        }
        self.reserve = reserve();
    }
}

impl Clients {
    /// Opens the listening sockets.
    ///
    /// # Errors
    /// If a socket cannot be created, or another instance serves the control socket.
    pub fn listen(&mut self, store: &mut FdStore, reactor: &Reactor) -> Result<()> {
        let (addresses, all) = open(store)?;
        for listening in all {
            let index = self.listeners.len() as u64;
            reactor.add(&listening.listener, Source::Listener(index)).context("listen for clients")?;
            self.listeners.push(listening);
        }
        info!(address = addresses.wayland, control = %addresses.control.display(), "accepting clients");
        self.addresses = addresses;
        Ok(())
    }

    /// Accepts the clients that wait at a listening socket. `iteration` counts the iterations of
    /// the event loop: if a client waited in the previous one too, many are accepted at once;
    /// otherwise one, which saves the system call that finds no second one.
    pub fn accept_waiting(
        &mut self,
        index: u64,
        iteration: u64,
        display: &mut DisplayHandle,
        cx: &Cx<'_>,
    ) -> Effects {
        let mut effects = Effects::new();
        let Ok(position) = usize::try_from(index) else { return effects };
        let Some(listening) = self.listeners.get_mut(position) else { return effects };
        let (kind, sandbox) = (listening.kind, listening.sandbox);
        let was_busy = std::mem::replace(&mut listening.last_busy, iteration) + 1 == iteration;
        let mut accepted_wayland = false;
        for _ in 0..if was_busy { MAX_PER_DISPATCH } else { 1 } {
            let Some(listening) = self.listeners.get_mut(position) else { break };
            match listening.accept() {
                Accepted::Stream(stream) => {
                    let (id, accepted) = self.accept(stream, kind, sandbox, display, cx);
                    effects.extend(accepted);
                    accepted_wayland |= id.is_some() && kind == ClientKind::Wayland;
                    if id.is_none() {
                        let listening = self.listeners.get_mut(position);
                        if listening.is_some_and(|listening| listening.count_refusal(cx.now)) {
                            effects.push(Effect::PauseListener { index, until: end_of_pause(cx) });
                            break;
                        }
                    }
                }
                Accepted::Nothing => break,
                Accepted::Aborted => {}
                Accepted::Failed(error @ (Errno::MFILE | Errno::NFILE)) => {
                    listening.refuse_without_descriptors();
                    self.refused += 1;
                    if listening.count_refusal(cx.now) {
                        effects.push(Effect::PauseListener { index, until: end_of_pause(cx) });
                    }
                    warn!(%error, "client refused: no file descriptor left; raise LimitNOFILE=");
                    break;
                }
                Accepted::Failed(error) => {
                    warn!(%error, "cannot accept a client");
                    break;
                }
            }
        }
        if accepted_wayland {
            effects.push(Effect::Dispatch);
        }
        effects
    }

    /// Returns the listening socket with an index.
    pub fn listener(&self, index: u64) -> Option<BorrowedFd<'_>> {
        let listening = self.listeners.get(usize::try_from(index).ok()?)?;
        Some(listening.listener.as_fd())
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Sends a new client the reason for its refusal in its own protocol, and disconnects it.
pub fn refuse(mut stream: UnixStream, kind: ClientKind, refusal: &Refusal) {
    let text = refusal.message.as_str();
    let message = match kind {
        ClientKind::Wayland => wayland_error(text),
        ClientKind::Control => {
            let error = match refusal.reason {
                CloseReason::NotAllowed => ErrorKind::NotAllowed,
                _ => ErrorKind::OverLimit,
            };
            let error = geom_ipc::Error::new(error, text);
            geom_ipc::ServerMessage::Reply(geom_ipc::Reply::new(None, Err(error))).to_line()
        }
    };
    // The buffer of a new socket takes it. A client that has left already needs no message.
    let _ = stream.write_all(&message);
}

/// Returns the bytes of `wl_display.error` on the display itself with code `implementation`
/// (wayland.xml).
fn wayland_error(text: &str) -> Vec<u8> {
    const IMPLEMENTATION: u32 = 3;
    let text: Vec<u8> = text.bytes().take(1000).chain([0]).collect();
    let padded = text.len().next_multiple_of(4);
    let size = 8 + 12 + padded;
    let words = [1, (size as u32) << 16, 1, IMPLEMENTATION, text.len() as u32];
    let mut message: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    message.extend(text);
    message.resize(size, 0);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_is_a_whole_wayland_message() {
        let message = wayland_error("too many");
        let word = |at: usize| u32::from_ne_bytes(message[at..at + 4].try_into().unwrap());
        assert_eq!((word(0), word(4) & 0xffff, (word(4) >> 16) as usize), (1, 0, message.len()));
        assert_eq!(&message[20..28], b"too many");
    }
}
