//! Kills hung kiosk programs. They run as a user of their own, whose processes the service may not
//! kill, so the service sends their pidfds to a helper that runs as that user
//! (geom-kiosk-kill.service).

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use rustix::net::{
    recvmsg, sendmsg_addr, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix,
};
use rustix::process::{pidfd_send_signal, Signal};

use super::fd_store::FdStore;

/// The socket of geom-kiosk-kill.socket.
const SOCKET: &str = "/run/geom-compositor/kiosk-kill";

/// Asks the helper to kill a process. Does not wait for that.
///
/// # Errors
/// If there is no helper's socket, or too many requests wait there.
pub fn request(process: BorrowedFd<'_>) -> io::Result<()> {
    send(process, &SocketAddrUnix::new(SOCKET)?)
}

fn send(process: BorrowedFd<'_>, address: &SocketAddrUnix) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    let fds = [process];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let byte = [io::IoSlice::new(&[0])];
    sendmsg_addr(&socket, address, &byte, &mut ancillary, SendFlags::DONTWAIT)?;
    Ok(())
}

/// Runs the helper: kills the processes that the service has sent, and returns when no request
/// waits. The kernel lets it kill processes of its own user only.
///
/// # Errors
/// If systemd has not passed a socket, or a process cannot be killed.
pub fn run() -> io::Result<()> {
    let mut store = FdStore::inherit(std::process::id(), |name| std::env::var(name).ok());
    let Some((_, socket)) = store.sockets().pop() else {
        return Err(io::Error::new(
            ErrorKind::NotFound,
            "no socket was passed: this command is for geom-kiosk-kill.service; \
             use `geom_compositor kill`",
        ));
    };
    kill_all(&UnixDatagram::from(socket))
}

fn kill_all(socket: &UnixDatagram) -> io::Result<()> {
    let mut failed = None;
    while let Some(processes) = receive(socket)? {
        for process in processes {
            match pidfd_send_signal(&process, Signal::KILL) {
                // It has ended meanwhile.
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => failed = Some(error),
            }
        }
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Receives the descriptors of one request. `None` if no request waits.
fn receive(socket: &UnixDatagram) -> io::Result<Option<Vec<OwnedFd>>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut parts = [io::IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    match recvmsg(socket, &mut parts, &mut ancillary, flags) {
        Ok(_) => {}
        Err(rustix::io::Errno::AGAIN) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let rights = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok(Some(rights.flatten().collect()))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use rustix::process::{pidfd_open, Pid, PidfdFlags};

    use super::*;

    #[test]
    fn processes_that_were_sent_are_killed() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("kill");
        let socket = UnixDatagram::bind(&path)?;
        let address = SocketAddrUnix::new(&path)?;
        let mut children = Vec::new();
        for _ in 0..2 {
            let child = Command::new("sleep").arg("600").spawn()?;
            let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
            send(process.as_fd(), &address)?;
            children.push(child);
        }
        // A descriptor that is no process does not stop the others from being killed.
        send(socket.as_fd(), &address)?;
        let process = pidfd_open(Pid::from_child(&children[0]), PidfdFlags::empty())?;
        send(process.as_fd(), &address)?;
        assert!(kill_all(&socket).is_err());
        for mut child in children {
            assert_eq!(child.wait()?.signal(), Some(Signal::KILL.as_raw()));
        }
        assert!(kill_all(&socket).is_ok());
        Ok(())
    }
}
