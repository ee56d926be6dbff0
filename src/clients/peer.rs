//! Who is at the other end of a socket.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::OnceLock;

use rustix::process::{Pid, Signal};

/// Credentials of the process that connected, as the kernel took them at connect(2).
#[derive(Debug, Clone)]
pub struct Peer {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups; of root and of the service's own user they are not asked for, who may anything.
    pub groups: Vec<u32>,
    /// Where the connection's socket can't be asked for it at any time.
    pub process: Option<Rc<Process>>,
    /// Its program's file, once that was found out.
    pub executable: Option<String>,
}

/// Socket options that libc's crates do not wrap (socket(7), unix(7)): how many words the kernel wrote, or, as an error, how many
/// it would have.
fn socket_option(socket: &impl AsFd, option: libc::c_int, buffer: &mut [u32]) -> Result<usize, usize> {
    let mut length = size_of_val(buffer) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `buffer`, which has so many.
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

/// Of the process that connected: as many as it has.
fn supplementary_groups(socket: &impl AsFd) -> Vec<u32> {
    let mut groups = vec![0u32; 32];
    let asked = socket_option(socket, libc::SO_PEERGROUPS, &mut groups).or_else(|needed| {
        // Too little room says how much there has to be (NGROUPS_MAX is 65,536).
        groups.resize(needed.min(1 << 16), 0);
        socket_option(socket, libc::SO_PEERGROUPS, &mut groups)
    });
    groups.truncate(asked.unwrap_or(0));
    groups
}

impl Peer {
    /// Of a session that another run had, until its client is back.
    pub fn of_the_past(uid: u32, gid: u32) -> Self {
        Self { pid: 0, uid, gid, groups: Vec::new(), process: None, executable: None }
    }

    /// `own` is the service's user. Process and executable are still to be found out.
    ///
    /// # Errors
    /// Where the socket has no credentials: it is no Unix stream socket.
    pub fn of(socket: &impl AsFd, own: u32) -> std::io::Result<Self> {
        let credentials = rustix::net::sockopt::socket_peercred(socket)?;
        let pid = credentials.pid.as_raw_nonzero().get();
        let uid = credentials.uid.as_raw();
        let groups = if uid == own || uid == 0 { Vec::new() } else { supplementary_groups(socket) };
        Ok(Self { pid, uid, gid: credentials.gid.as_raw(), groups, process: None, executable: None })
    }
}

/// The process at the other end, where the kernel tells it of a socket.
fn told_by(socket: &impl AsFd) -> Option<OwnedFd> {
    let mut fd = [0u32];
    let told = socket_option(socket, libc::SO_PEERPIDFD, &mut fd) == Ok(1);
    // SAFETY: the kernel made this descriptor for us just now.
    told.then(|| unsafe { OwnedFd::from_raw_fd(fd[0] as i32) })
}

/// A process itself, which no reuse of its number can change.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    fd: OwnedFd,
}

impl Process {
    /// The process that connected: from the socket (Linux 6.5), or else by its number, which is sound while the socket is fresh.
    /// None where it has ended and been waited for.
    pub fn of(socket: &impl AsFd, pid: i32) -> Option<Self> {
        let fd = match told_by(socket) {
            None if !Self::told_by_sockets() => {
                let flags = rustix::process::PidfdFlags::empty();
                rustix::process::pidfd_open(Pid::from_raw(pid)?, flags).ok()
            }
            told => told,
        };
        Some(Self { pid, fd: fd? })
    }

    /// Whether a socket tells its peer's process, however old the socket is.
    pub fn told_by_sockets() -> bool {
        static TOLD: OnceLock<bool> = OnceLock::new();
        *TOLD.get_or_init(|| UnixStream::pair().is_ok_and(|(ours, _theirs)| told_by(&ours).is_some()))
    }

    pub fn has_ended(&self) -> bool {
        let mut poll = [rustix::event::PollFd::new(&self.fd, rustix::event::PollFlags::IN)];
        let now = rustix::event::Timespec::default();
        matches!(rustix::event::poll(&mut poll, Some(&now)), Ok(ready) if ready > 0)
    }

    /// Whether the process runs no more for now: stopped by a signal or a debugger (proc_pid_stat(5), field 3).
    pub fn is_stopped(&self) -> bool {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok();
        // Asked after the reading: what was read then is of this process.
        if self.has_ended() {
            return false;
        }
        let state = state.as_deref().and_then(|text| text.rsplit(')').next()?.trim_start().chars().next());
        matches!(state, Some('T' | 't'))
    }

    /// # Errors
    /// Where it has ended, or we may not.
    pub fn kill(&self) -> std::io::Result<()> {
        Ok(rustix::process::pidfd_send_signal(&self.fd, Signal::KILL)?)
    }
}

/// The file that a process runs (proc_pid_exe(5)).
pub fn executable(pid: i32) -> Option<String> {
    let path = std::fs::read_link(format!("/proc/{pid}/exe"));
    path.ok().map(|path| path.to_string_lossy().into_owned())
}

/// Bytes that the kernel holds for the peer and that it has not read (SIOCOUTQ, unix(7)).
pub fn unread(socket: RawFd) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the ioctl writes one int, and changes nothing whatever the number stands for.
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
    fn a_pair_s_peer_is_this_process() -> std::io::Result<()> {
        let (mut ours, theirs) = UnixStream::pair()?;
        // As if the service were another's: its groups are asked for.
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

    #[test]
    fn a_process_that_ended_is_known_to_have() -> Result<(), Box<dyn std::error::Error>> {
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
        // This process is at both ends.
        drop(theirs);
        assert!(Process::of(&ours, i32::try_from(std::process::id())?).is_some());
        Ok(())
    }
}
