//! File descriptors of all kinds.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use rustix::pipe::{pipe_with, PipeFlags};

use super::bytes::Bytes;

/// Descriptors that stay open here: other ends, and memory that is truncated later.
#[derive(Default)]
pub struct Files {
    ends: Vec<OwnedFd>,
    memory: Vec<OwnedFd>,
    /// The address of the socket that listens for sandboxed clients.
    address: Option<SocketAddr>,
}

/// The maximum number of descriptors that stay open.
const MAX_KEPT: usize = 24;

fn memory(size: u64) -> std::io::Result<OwnedFd> {
    let file = memfd_create("fuzz", MemfdFlags::CLOEXEC)?;
    ftruncate(&file, size)?;
    Ok(file)
}

impl Files {
    /// Returns a descriptor that a client sends: memory of `wanted` bytes in most cases.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub fn make(&mut self, bytes: &mut Bytes<'_>, wanted: u64) -> std::io::Result<OwnedFd> {
        self.ends.drain(..self.ends.len().saturating_sub(MAX_KEPT));
        self.memory.drain(..self.memory.len().saturating_sub(MAX_KEPT));
        let pair = |kept: &mut Vec<OwnedFd>, keeps: bool, ours: OwnedFd, theirs: OwnedFd| {
            if keeps {
                kept.push(ours);
            }
            theirs
        };
        Ok(match bytes.byte() {
            0..190 => {
                let file = memory(wanted)?;
                self.memory.push(file.try_clone()?);
                file
            }
            190..200 => memory(u64::from(bytes.number()) % (1 << 22))?,
            200..218 => {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
                match bytes.one_in(2) {
                    true => pair(&mut self.ends, bytes.one_in(2), read, write),
                    false => pair(&mut self.ends, bytes.one_in(2), write, read),
                }
            }
            218..228 => File::options().read(true).write(true).open("/dev/null")?.into(),
            228..234 => File::open("/dev/zero")?.into(),
            234..242 => File::open("/")?.into(),
            242..246 => File::open("/proc/self/stat")?.into(),
            _ => {
                let (one, two) = UnixStream::pair()?;
                pair(&mut self.ends, bytes.one_in(2), one.into(), two.into())
            }
        })
    }

    /// Returns memory of a size in most cases.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub fn make_memory(&mut self, bytes: &mut Bytes<'_>, size: u64) -> std::io::Result<OwnedFd> {
        if bytes.one_in(16) {
            return self.make(bytes, size);
        }
        let file = memory(size)?;
        self.memory.push(file.try_clone()?);
        Ok(file)
    }

    /// Returns a socket that listens in most cases.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub fn make_listener(&mut self, bytes: &mut Bytes<'_>) -> std::io::Result<OwnedFd> {
        if bytes.one_in(4) {
            return self.make(bytes, 0);
        }
        // The kernel chooses an abstract name.
        let address = SocketAddr::from_abstract_name(b"")?;
        let listener = UnixListener::bind_addr(&address)?;
        self.address = Some(listener.local_addr()?);
        Ok(listener.into())
    }

    /// Connects to the socket that listens for sandboxed clients, and sends nothing.
    pub fn connect(&mut self) {
        if let Some(stream) = self.address.as_ref().and_then(|to| UnixStream::connect_addr(to).ok()) {
            self.ends.push(stream.into());
        }
    }

    /// Truncates memory that the compositor may have mapped.
    pub fn truncate(&mut self, bytes: &mut Bytes<'_>) {
        let index = bytes.below(self.memory.len());
        if let Some(file) = self.memory.get(index) {
            let _ = ftruncate(file, u64::from(bytes.byte()) * 64);
        }
    }
}
