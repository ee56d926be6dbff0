//! Notices when the configuration file changes (inotify(7)).
//!
//! Its folder is watched, because editors and package managers replace a file by renaming another
//! over it. Nothing runs while nothing changes.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, LoopHandle, Mode, PostAction, RegistrationToken};

/// An open watch; readable when something in the folder changed.
struct Watch {
    fd: OwnedFd,
    name: OsString,
}

impl Watch {
    fn new(file: &Path) -> io::Result<Self> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // A file written in place closes once, when it is whole.
        inotify::add_watch(&fd, folder, WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::DELETE)?;
        Ok(Self { fd, name })
    }

    /// Reads what happened; whether it concerned the file.
    fn changed(&self) -> bool {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.fd, &mut space);
        let mut changed = false;
        while let Ok(event) = reader.next() {
            // A queue that overflowed may have lost ours.
            changed |= event.events().contains(ReadFlags::QUEUE_OVERFLOW)
                || event.file_name().is_some_and(|name| name.to_bytes() == self.name.as_bytes());
        }
        changed
    }
}

/// Calls `changed` whenever the file does.
///
/// # Errors
/// Without a folder to watch, or descriptors to spare.
pub fn follow<D>(
    handle: &LoopHandle<'_, D>,
    file: &Path,
    changed: impl Fn(&mut D) + 'static,
) -> io::Result<RegistrationToken> {
    let source = Generic::new(Watch::new(file)?, Interest::READ, Mode::Level);
    let inserted = handle.insert_source(source, move |_, watch, data| {
        if watch.changed() {
            changed(data);
        }
        Ok(PostAction::Continue)
    });
    inserted.map_err(|error| io::Error::other(error.to_string()))
}

impl std::os::fd::AsFd for Watch {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
