//! Listening sockets: our own, which may be older than this process, or passed in by systemd; accepting from them, and refusing.

use std::cell::Cell;
use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{anyhow, Context, Result};
use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;
use rustix::net::{accept_with, SocketFlags};
use tracing::{info, warn};

use geom_ipc::{ClientKind, CloseReason, ErrorKind};

use super::limits::Refusal;
use crate::event_loop::reactor::Source;
use crate::session::fd_store::FdStore;
use crate::compositor::State;

/// A socket that clients connect to.
pub enum Listener {
    /// Ours; its files go at the end.
    Own { socket: UnixListener, files: Vec<PathBuf> },
    /// systemd's, which outlives us.
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
        // After a crash the next of us listens on.
        let Self::Own { files, .. } = self else { return };
        if std::thread::panicking() {
            return;
        }
        for file in files {
            if let Err(error) = std::fs::remove_file(&file) {
                warn!(file = %file.display(), %error, "a socket's file can't be removed");
            }
        }
    }
}

/// Where the service can be reached.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// The value for `WAYLAND_DISPLAY`.
    pub wayland: String,
    pub control: PathBuf,
}

const NO_FOLDER: &str = "XDG_RUNTIME_DIR must name a folder that this user may write to, \
     usually /run/user/<uid> (a login session or RuntimeDirectory= provides it)";

/// What to do about a socket that can't be made.
fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        IoErrorKind::StorageFull | IoErrorKind::QuotaExceeded => {
            "its file system is full: `df -h` and `df -i` tell, and what is not needed there may go"
        }
        IoErrorKind::ReadOnlyFilesystem => {
            "its file system is read-only: mount a tmpfs there, as a login session does"
        }
        _ => NO_FOLDER,
    }
}

fn unmade(what: &str, path: &Path, error: &std::io::Error) -> anyhow::Error {
    anyhow!("no {what} socket: {}: {error}: {}", path.display(), remedy(error))
}

/// A folder of somebody else's is theirs: a service of root's would leave files there that its owner's own can't remove.
fn check_owner(folder: &Path) -> Result<()> {
    let Ok(status) = std::fs::metadata(folder) else { return Ok(()) };
    let (owner, own) = (status.uid(), rustix::process::geteuid().as_raw());
    if owner != own && owner != 0 {
        anyhow::bail!(
            "XDG_RUNTIME_DIR={} belongs to user {owner}, and this is user {own}: start it as that user, or name a folder of its own \
             (sudo keeps the variable only by -E)",
            folder.display()
        );
    }
    Ok(())
}

/// Names in the store.
const WAYLAND: &str = "wayland";
const LOCK: &str = "wayland-lock";
const CONTROL: &str = "control";

fn path_of(socket: &UnixListener) -> PathBuf {
    let address = socket.local_addr().ok();
    address.and_then(|address| address.as_pathname().map(Path::to_owned)).unwrap_or_default()
}

/// Opens the listening sockets, Wayland's and then the control socket: systemd's, those of the run before us, or new ones.
///
/// # Errors
/// Where a socket can't be made, or another instance serves the control socket.
fn open(store: &mut FdStore) -> Result<(Addresses, Listener, Listener)> {
    let mut addresses = Addresses::default();
    let (mut wayland, mut control) = (None, None);
    for (name, socket) in store.sockets() {
        let socket = UnixListener::from(socket);
        let path = path_of(&socket);
        socket.set_nonblocking(true).context("systemd's socket")?;
        info!(name, socket = %path.display(), "listening on a socket of systemd's");
        // By FileDescriptorName=, or where one unit has both, by the name that clients look for.
        if name == CONTROL || path.file_name() == Some(geom_ipc::SOCKET_NAME.as_ref()) {
            (addresses.control, control) = (path, Some(Listener::Passed(socket)));
        } else {
            addresses.wayland = path.to_string_lossy().into_owned();
            wayland = Some(Listener::Passed(socket));
        }
    }
    let wayland = match (wayland, recover(store, WAYLAND)) {
        (Some(socket), _) => socket,
        (None, Some((socket, path))) => {
            // The lock is held by the store, and so by nobody else.
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
    Ok((addresses, wayland, control))
}

/// A socket of the run before us, where its file is there still.
fn recover(store: &mut FdStore, name: &str) -> Option<(UnixListener, PathBuf)> {
    let socket = UnixListener::from(store.recover(name)?);
    let path = path_of(&socket);
    let reachable = path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket());
    if !reachable {
        warn!(socket = %path.display(), "the socket of the run before is gone; listening on a new one");
        return None;
    }
    info!(socket = %path.display(), "listening on the socket of the run before");
    Some((socket, path))
}

/// The first of wayland-1 to wayland-32 that nobody has, which its lock file tells (wl_display_add_socket_auto's names and rules).
fn bind_wayland(store: &mut FdStore) -> Result<(String, Listener)> {
    let folder = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = folder.with_context(|| format!("no Wayland socket: {NO_FOLDER}"))?;
    check_owner(&folder)?;
    for number in 1..33 {
        let name = format!("wayland-{number}");
        let path = folder.join(&name);
        let lock_path = path.with_extension("lock");
        let lock =
            File::options().create(true).truncate(false).write(true).read(true).mode(0o660).open(&lock_path);
        let lock = lock.map_err(|error| unmade("Wayland", &lock_path, &error))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        // Its owner is gone.
        let stale = std::fs::remove_file(&path);
        if let Err(error) =
            stale.or_else(|error| (error.kind() == std::io::ErrorKind::NotFound).then_some(()).ok_or(error))
        {
            warn!(socket = %path.display(), %error, "a stale socket can't be removed");
            continue;
        }
        let socket = UnixListener::bind(&path).map_err(|error| unmade("Wayland", &path, &error))?;
        socket.set_nonblocking(true)?;
        store.hold(WAYLAND, socket.as_fd())?;
        store.hold(LOCK, lock.as_fd())?;
        return Ok((name, Listener::Own { socket, files: vec![path, lock_path] }));
    }
    anyhow::bail!("wayland-1 to wayland-32 in {} belong to others: end one of them", folder.display())
}

/// Our own control socket: where the environment says, or in the runtime folder.
fn own_control_path() -> PathBuf {
    geom_ipc::socket_paths(|name| std::env::var_os(name)).into_iter().next().unwrap_or_default()
}

fn bind_control(path: &Path) -> Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        anyhow::bail!(
            "the service runs already and listens at {0}: command it by `geom_compositor status` and so on, \
             end it by `geom_compositor stop`, or give this one another socket by GEOM_COMPOSITOR_SOCKET",
            path.display()
        );
    }
    // Nobody answers: what lies there is of a process that was killed.
    if let Err(error) = std::fs::remove_file(path) {
        if error.kind() != std::io::ErrorKind::NotFound {
            return Err(error).with_context(|| format!("remove the stale socket {}", path.display()));
        }
    }
    let socket = UnixListener::bind(path).map_err(|error| unmade("control", path, &error))?;
    socket.set_nonblocking(true)?;
    // Who may do what is decided by credentials, not by the file.
    Ok(socket)
}

/// A socket that is accepted from.
pub struct Listening {
    listener: Listener,
    kind: ClientKind,
    /// A descriptor kept for saying no when there is no other.
    reserve: Cell<Option<File>>,
    /// The turn that somebody waited here last: who comes alone costs no second look for others.
    busy: Cell<u64>,
}

/// So many newcomers a turn, in a crowd: others have their turn as well.
const MAX_PER_DISPATCH: usize = 64;

impl State {
    /// Opens the listening sockets and accepts from them.
    ///
    /// # Errors
    /// Where a socket can't be made, or another instance serves the control socket.
    pub fn listen(&mut self) -> Result<()> {
        let (addresses, wayland, control) = open(&mut self.store)?;
        for (listener, kind) in [(wayland, ClientKind::Wayland), (control, ClientKind::Control)] {
            let place = self.clients.listeners.len() as u64;
            self.reactor.add(&listener, Source::Listener(place)).context("listen for clients")?;
            let listening = Listening { listener, kind, reserve: Cell::new(reserve()), busy: Cell::new(0) };
            self.clients.listeners.push(Rc::new(listening));
        }
        info!(address = addresses.wayland, control = %addresses.control.display(), "accepting clients");
        self.clients.addresses = addresses;
        Ok(())
    }

    /// Newcomers wait at a listening socket.
    pub fn accept(&mut self, place: u64) {
        let listening = usize::try_from(place).ok().and_then(|place| self.clients.listeners.get(place));
        let Some(listening) = listening.cloned() else { return };
        let Listening { listener, kind, reserve, busy } = &*listening;
        let crowded = busy.replace(self.iteration) + 1 == self.iteration;
        for _ in 0..if crowded { MAX_PER_DISPATCH } else { 1 } {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match accept_with(listener, flags) {
                Ok(fd) => {
                    let id = self.new_client(UnixStream::from(fd), *kind, None);
                    if let Some(id) = id.filter(|_| *kind == ClientKind::Wayland) {
                        // Most have asked for something by now.
                        self.dispatch_client(id);
                    }
                }
                Err(Errno::AGAIN) => break,
                // The new_client left meanwhile.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(error @ (Errno::MFILE | Errno::NFILE)) => {
                    // It stays readable until it is accepted: the reserve takes it and lets go.
                    drop(reserve.take());
                    if let Ok(fd) = accept_with(listener, flags) {
                        let message = "the service has no descriptor left".to_owned();
                        let refusal = Refusal { reason: CloseReason::OverLimit, message };
                        refuse(UnixStream::from(fd), *kind, &refusal);
                    }
                    reserve.set(self::reserve());
                    self.clients.refused += 1;
                    warn!(%error, "a new_client was refused: no descriptor left; raise LimitNOFILE=");
                    break;
                }
                Err(error) => {
                    warn!(%error, "a new_client could not be accepted");
                    break;
                }
            }
        }
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Tells a new_client in its own protocol why it may not stay, and hangs up.
pub fn refuse(mut stream: UnixStream, kind: ClientKind, refusal: &Refusal) {
    let why = refusal.message.as_str();
    let message = match kind {
        ClientKind::Wayland => wayland_error(why),
        ClientKind::Control => {
            let error = match refusal.reason {
                CloseReason::NotAllowed => ErrorKind::NotAllowed,
                _ => ErrorKind::OverLimit,
            };
            let error = geom_ipc::Error::new(error, why);
            geom_ipc::ServerMessage::Reply(geom_ipc::Reply::new(None, Err(error))).to_line()
        }
    };
    // A fresh socket's buffer takes it; whoever does not listen need not be told.
    let _ = stream.write_all(&message);
}

/// `wl_display.error` on the display itself with code `implementation` (wayland.xml), as bytes.
fn wayland_error(why: &str) -> Vec<u8> {
    const IMPLEMENTATION: u32 = 3;
    let text: Vec<u8> = why.bytes().take(1000).chain([0]).collect();
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
    fn a_refusal_is_a_whole_message() {
        let message = wayland_error("too many");
        let word = |at: usize| u32::from_ne_bytes(message[at..at + 4].try_into().unwrap());
        assert_eq!((word(0), word(4) & 0xffff, (word(4) >> 16) as usize), (1, 0, message.len()));
        assert_eq!(&message[20..28], b"too many");
    }
}
