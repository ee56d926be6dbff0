//! The process at the other end of a socket.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::OnceLock;

use rustix::process::{Pid, Signal};

/// The credentials of the process that connected, as the kernel recorded them at connect(2).
#[derive(Debug, Clone)]
pub struct Peer {
    /// The process, or 0 if it has no number here: it is in another PID namespace.
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups. Not read for root and the service's own user, which may do everything.
    pub groups: Vec<u32>,
    /// The process, if it cannot be read from the socket at any later time.
    pub process: Option<Rc<Process>>,
    /// The path of its executable, once that was looked up.
    pub executable: Option<String>,
}

impl Peer {
    /// Returns whether the process may command the service: as root, as the service's user `own`,
    /// or as a member of the configured group.
    pub fn may_command(&self, own: u32, control_group: Option<u32>) -> bool {
        let in_group = |group: u32| self.gid == group || self.groups.contains(&group);
        self.is_owner(own) || control_group.is_some_and(in_group)
    }

    /// Returns whether the process runs as root or as the service's user.
    pub fn is_owner(&self, own: u32) -> bool {
        self.uid == 0 || self.uid == own
    }
}

/// Reads a socket option that no safe crate wraps (socket(7), unix(7)). Returns the number of words
/// that the kernel wrote.
///
/// # Errors
/// The number of words that the kernel would have written.
fn socket_option(socket: &impl AsFd, option: libc::c_int, buffer: &mut [u32]) -> Result<usize, usize> {
    let mut length = size_of_val(buffer) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `buffer`, which is that long.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            buffer.as_mut_ptr().cast(),
            &mut length,
        )
    };
    let words = length as usize / size_of::<u32>();
    if result == 0 {
        Ok(words)
    } else {
        Err(words)
    }
}

/// Returns all supplementary groups of the process that connected.
fn supplementary_groups(socket: &impl AsFd) -> Vec<u32> {
    let mut groups = vec![0u32; 32];
    let read = socket_option(socket, libc::SO_PEERGROUPS, &mut groups).or_else(|needed| {
        // If the buffer is too small, the kernel returns the size that is needed (NGROUPS_MAX is
        // 65,536).
        groups.resize(needed.min(1 << 16), 0);
        socket_option(socket, libc::SO_PEERGROUPS, &mut groups)
    });
    groups.truncate(read.unwrap_or(0));
    groups
}

impl Peer {
    /// Returns the peer of a session that the previous process had, until its client returns.
    pub fn of_lost_session(uid: u32, gid: u32) -> Self {
        Self { pid: 0, uid, gid, groups: Vec::new(), process: None, executable: None }
    }

    /// Reads the credentials from a socket; not yet the process and the executable. `own` is the
    /// service's user.
    ///
    /// # Errors
    /// If the socket has no credentials: it is not a connected Unix stream socket.
    pub fn of(socket: &impl AsFd, own: u32) -> std::io::Result<Self> {
        // Not by rustix, whose type for the process has no 0.
        let mut credentials = [0u32; 3];
        if socket_option(socket, libc::SO_PEERCRED, &mut credentials) != Ok(credentials.len()) {
            return Err(std::io::Error::last_os_error());
        }
        Self::from_credentials(credentials, own, || supplementary_groups(socket))
    }

    /// Interprets `struct ucred` (unix(7)). `groups` reads the supplementary groups.
    fn from_credentials(
        [pid, uid, gid]: [u32; 3],
        own: u32,
        groups: impl FnOnce() -> Vec<u32>,
    ) -> std::io::Result<Self> {
        // The kernel writes this user for a socket without credentials (sock_getsockopt()).
        if uid == u32::MAX {
            return Err(std::io::Error::other("the socket has no credentials"));
        }
        let pid = i32::try_from(pid).unwrap_or(0);
        let groups = if uid == own || uid == 0 { Vec::new() } else { groups() };
        Ok(Self { pid, uid, gid, groups, process: None, executable: None })
    }
}

/// Returns a pidfd of the process at the other end, if the kernel has SO_PEERPIDFD.
fn peer_pidfd(socket: &impl AsFd) -> Option<OwnedFd> {
    let mut fd = [0u32];
    let is_supported = socket_option(socket, libc::SO_PEERPIDFD, &mut fd) == Ok(1);
    // SAFETY: the kernel has just created this descriptor for us.
    is_supported.then(|| unsafe { OwnedFd::from_raw_fd(fd[0] as i32) })
}

/// A process, by a pidfd: it stays the same process if its number is used again.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    fd: OwnedFd,
}

impl Process {
    /// Returns the process that connected: from the socket (Linux 6.5), or else by its number,
    /// which is correct just after the connection was made. `None` if it has ended and was waited
    /// for.
    pub fn of(socket: &impl AsFd, pid: i32) -> Option<Self> {
        let fd = match peer_pidfd(socket) {
            None if !Self::is_read_from_sockets() => {
                let flags = rustix::process::PidfdFlags::empty();
                rustix::process::pidfd_open(Pid::from_raw(pid)?, flags).ok()
            }
            pidfd => pidfd,
        };
        Some(Self { pid, fd: fd? })
    }

    /// Returns whether the kernel returns a socket's peer process at any time.
    pub fn is_read_from_sockets() -> bool {
        static SUPPORTED: OnceLock<bool> = OnceLock::new();
        *SUPPORTED.get_or_init(|| UnixStream::pair().is_ok_and(|(ours, _theirs)| peer_pidfd(&ours).is_some()))
    }

    pub fn has_ended(&self) -> bool {
        let mut poll = [rustix::event::PollFd::new(&self.fd, rustix::event::PollFlags::IN)];
        let now = rustix::event::Timespec::default();
        matches!(rustix::event::poll(&mut poll, Some(&now)), Ok(ready) if ready > 0)
    }

    /// Returns whether the process is stopped by a signal or a debugger (proc_pid_stat(5), field
    /// 3).
    pub fn is_stopped(&self) -> bool {
        if self.pid <= 0 {
            return false;
        }
        let state = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok();
        // Checked after the read: if the process still runs, the file was this process's.
        if self.has_ended() {
            return false;
        }
        let state = state.as_deref().and_then(|text| text.rsplit(')').next()?.trim_start().chars().next());
        matches!(state, Some('T' | 't'))
    }

    /// Kills the process.
    ///
    /// # Errors
    /// If it has ended, or this process may not kill it.
    pub fn kill(&self) -> std::io::Result<()> {
        Ok(rustix::process::pidfd_send_signal(&self.fd, Signal::KILL)?)
    }

    /// Returns the pidfd.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Returns the path of a process's executable (proc_pid_exe(5)), or `None` if it is not known.
pub fn executable(pid: i32) -> Option<String> {
    if pid <= 0 {
        return None;
    }
    let path = std::fs::read_link(format!("/proc/{pid}/exe"));
    path.ok().map(|path| path.to_string_lossy().into_owned())
}

/// Returns the number of bytes in the kernel that the peer has not read (SIOCOUTQ, unix(7)).
pub fn unread(socket: RawFd) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the ioctl writes one int, and changes nothing even if the number is not a socket's.
    let result = unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &mut bytes) };
    if result == 0 {
        u64::try_from(bytes).unwrap_or(0)
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn peer_of_a_socket_pair_is_this_process() -> std::io::Result<()> {
        let (mut ours, theirs) = UnixStream::pair()?;
        // With another service user, the groups are read.
        let peer = Peer::of(&theirs, u32::MAX)?;
        assert_eq!(peer.pid, std::process::id() as i32);
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        let own = rustix::process::getgroups()?;
        assert_eq!(peer.groups, own.iter().map(|group| group.as_raw()).collect::<Vec<_>>());
        let process = Process::of(&theirs, peer.pid).ok_or_else(|| std::io::Error::other("no process"))?;
        assert!(!process.has_ended() && !process.is_stopped());
        assert_eq!(executable(peer.pid).map(Into::into), std::env::current_exe().ok());
        assert_eq!(unread(ours.as_raw_fd()), 0);
        ours.write_all(b"unread")?;
        assert!(unread(ours.as_raw_fd()) >= 6);
        Ok(())
    }

    /// SO_PEERCRED of a client outside our PID namespace, and of a socket that is not connected.
    #[test]
    fn peer_of_another_pid_namespace_has_no_process() -> std::io::Result<()> {
        let peer = Peer::from_credentials([0, 1000, 100], 7, || vec![5])?;
        assert_eq!((peer.pid, peer.uid, peer.gid, &peer.groups[..]), (0, 1000, 100, &[5][..]));
        assert_eq!(executable(peer.pid), None);
        assert!(Peer::from_credentials([0, u32::MAX, u32::MAX], 7, Vec::new).is_err());
        let (ours, _theirs) = UnixStream::pair()?;
        let fd =
            rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())?;
        assert!(!Process { pid: 0, fd }.is_stopped());
        if !Process::is_read_from_sockets() {
            assert!(Process::of(&ours, 0).is_none());
        }
        Ok(())
    }

    #[test]
    fn ended_process_is_neither_stopped_nor_killed() -> Result<(), Box<dyn std::error::Error>> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut child = std::process::Command::new("true").spawn()?;
        let pid = i32::try_from(child.id())?;
        let fd = rustix::process::pidfd_open(
            Pid::from_raw(pid).ok_or("a pid")?,
            rustix::process::PidfdFlags::empty(),
        )?;
        child.wait()?;
        let process = Process { pid, fd };
        assert!(process.has_ended() && !process.is_stopped());
        assert!(process.kill().is_err());
        // This process has both ends.
        drop(theirs);
        assert!(Process::of(&ours, i32::try_from(std::process::id())?).is_some());
        Ok(())
    }
}
