//! Notices when a file changes (inotify(7)).
//!
//! Its folder is watched, because editors and package managers replace a file by renaming another
//! one over it. Nothing runs while nothing changes.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, LoopHandle, Mode, PostAction, RegistrationToken};

/// Events of one dispatch; more wait for the next one. The folder's owner may cause events as
/// fast as they are read.
const MAX_EVENTS: usize = 1024;

/// An inotify instance; readable when something in the folder has changed.
#[derive(Debug)]
pub struct Watch {
    fd: OwnedFd,
    name: OsString,
}

impl Watch {
    /// Watches a file. Finding its folder may wait for a file system.
    ///
    /// # Errors
    /// If the folder does not exist, or the limit of open descriptors or of inotify instances is
    /// reached.
    pub fn new(file: &Path) -> io::Result<Self> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // CLOSE_WRITE, not MODIFY: a file that is written in place is complete when it is closed.
        let events = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
        inotify::add_watch(&fd, folder, events | WatchFlags::ONLYDIR)?;
        Ok(Self { fd, name })
    }

    /// Calls `on_change` whenever the file has changed.
    ///
    /// # Errors
    /// If the event loop cannot watch it.
    pub fn listen<D>(
        self,
        handle: &LoopHandle<'_, D>,
        on_change: impl Fn(&mut D) + 'static,
    ) -> io::Result<RegistrationToken> {
        let source = Generic::new(self, Interest::READ, Mode::Level);
        let inserted = handle.insert_source(source, move |_, watch, data| {
            if watch.read_events() {
                on_change(data);
            }
            Ok(PostAction::Continue)
        });
        inserted.map_err(|error| io::Error::other(error.to_string()))
    }

    /// Reads pending events, at most [`MAX_EVENTS`]. Returns whether one of them is about the file.
    fn read_events(&self) -> bool {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.fd, &mut space);
        let mut changed = false;
        for _ in 0..MAX_EVENTS {
            let Ok(event) = reader.next() else { break };
            // If the queue overflowed, an event about the file may be lost.
            changed |= event.events().contains(ReadFlags::QUEUE_OVERFLOW)
                || event.file_name().is_some_and(|name| name.to_bytes() == self.name.as_bytes());
        }
        changed
    }
}

impl std::os::fd::AsFd for Watch {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
