//! Notices when a file changes, or a symbolic link on the way to it (inotify(7)).
//!
//! Folders are watched, not the file: editors and package managers replace a file by renaming
//! another one over it, and Kubernetes, ostree or stow replace a link. Nothing runs while nothing
//! changes. A link that changed may lead to other folders, so that its file is watched again then.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, LoopHandle, Mode, PostAction, RegistrationToken};

/// Events of one dispatch; more wait for the next one. The folder's owner may cause events as
/// fast as they are read.
const MAX_EVENTS: usize = 1024;

/// Maximum number of symbolic links on the way to a file, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// How often links that change are looked at again.
const MAX_LOOKS: usize = 3;

/// A folder, and the name in it that leads to the file.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    folder: PathBuf,
    name: OsString,
    /// The name is a symbolic link, or does not exist. A link is complete when it is created, a
    /// file when it is closed.
    counts_when_created: bool,
}

/// Returns the places of all symbolic links on the way to a file, and that of the file, or of the
/// first folder that is missing.
fn places(file: &Path) -> io::Result<Vec<Place>> {
    let parts = |path: &Path| -> VecDeque<OsString> {
        path.components().map(|part| part.as_os_str().to_owned()).collect()
    };
    let mut rest = parts(&std::path::absolute(file)?);
    let (mut folder, mut places) = (PathBuf::from("/"), Vec::new());
    while let Some(part) = rest.pop_front() {
        let name = match Path::new(&part).components().next() {
            Some(Component::Normal(name)) => name.to_owned(),
            Some(Component::ParentDir) => {
                folder.pop();
                continue;
            }
            Some(Component::RootDir) => {
                folder = PathBuf::from("/");
                continue;
            }
            _ => continue,
        };
        let path = folder.join(&name);
        let target = std::fs::read_link(&path);
        let is_missing = target.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if target.is_ok() || is_missing || rest.is_empty() {
            let counts_when_created = target.is_ok() || is_missing;
            places.push(Place { folder: folder.clone(), name, counts_when_created });
        }
        if is_missing {
            break;
        }
        match target {
            Ok(_) if places.len() > MAX_LINKS => return Err(Errno::LOOP.into()),
            Ok(target) => {
                let mut parts = parts(&target);
                parts.append(&mut rest);
                rest = parts;
            }
            Err(_) => folder = path,
        }
    }
    Ok(places)
}

/// An inotify instance; readable when something in the folders has changed.
#[derive(Debug)]
pub struct Watch {
    fd: OwnedFd,
    /// By watch descriptor.
    places: Vec<(i32, Place)>,
}

impl Watch {
    /// Watches a file. Finding it may wait for a file system.
    ///
    /// # Errors
    /// If the file's folder may not be read, links lead in a circle, or the limit of open
    /// descriptors or of inotify instances is reached.
    pub fn new(file: &Path) -> io::Result<Self> {
        file.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // CLOSE_WRITE, not MODIFY: a file that is written in place is complete when it is closed.
        let events = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::CREATE;
        let watch = |place: Place| {
            let watch = inotify::add_watch(&fd, &place.folder, events | WatchFlags::ONLYDIR);
            (watch, place)
        };
        let look = || io::Result::Ok(places(file)?.into_iter().map(watch).collect::<Vec<_>>());
        let mut watched = look()?;
        // A link may have changed before its folder was watched.
        for _ in 0..MAX_LOOKS {
            let before = std::mem::replace(&mut watched, look()?);
            if watched == before {
                break;
            }
        }
        // A folder on the way may have links that everyone follows, but not be readable.
        if let Some((Err(error), _)) = watched.last() {
            return Err((*error).into());
        }
        let places = watched.into_iter().filter_map(|(watch, place)| Some((watch.ok()?, place)));
        Ok(Self { places: places.collect(), fd })
    }

    /// Calls `on_change` whenever the file has changed, or what leads to it.
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
            let is_creation = event.events().contains(ReadFlags::CREATE);
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let concerns = |(watch, place): &(i32, Place)| {
                *watch == event.wd()
                    && name == Some(&place.name)
                    && (place.counts_when_created || !is_creation)
            };
            // If the queue overflowed, an event about the file may be lost.
            changed |= event.events().contains(ReadFlags::QUEUE_OVERFLOW) || self.places.iter().any(concerns);
        }
        changed
    }
}

impl std::os::fd::AsFd for Watch {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: &Path) -> io::Result<()> {
        fs::create_dir_all(path.parent().expect("a folder"))?;
        fs::write(path, "x")
    }

    /// Replaces a link at once, as `ln -sfT` and `mv -T` do.
    fn replace_link(link: &Path, target: &str) -> io::Result<()> {
        let new = link.with_file_name("new link");
        symlink(target, &new)?;
        fs::rename(new, link)
    }

    #[test]
    fn file_is_noticed_when_it_is_written_replaced_created_or_removed() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("conf.toml");
        let watch = Watch::new(&file)?;
        fs::write(folder.path().join("other.toml"), "x")?;
        assert!(!watch.read_events(), "another file");
        fs::write(&file, "x")?;
        assert!(watch.read_events(), "created");
        let watch = Watch::new(&file)?;
        fs::write(&file, "y")?;
        assert!(watch.read_events(), "written");
        fs::rename(folder.path().join("other.toml"), &file)?;
        assert!(watch.read_events(), "replaced");
        fs::remove_file(&file)?;
        assert!(watch.read_events(), "removed");
        fs::File::create(&file)?;
        assert!(watch.read_events(), "closed");
        let watch = Watch::new(&folder.path().join("later/conf.toml"))?;
        fs::create_dir(folder.path().join("later"))?;
        assert!(watch.read_events(), "its folder is created");
        assert!(Watch::new(Path::new("/")).is_err());
        Ok(())
    }

    /// stow, NixOS and ostree: a link to a link, of which any one or the file changes.
    #[test]
    fn changes_behind_links_are_noticed() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let root = root.path().canonicalize()?;
        write(&root.join("store/a/conf.toml"))?;
        write(&root.join("store/b/conf.toml"))?;
        symlink("a", root.join("store/current"))?;
        fs::create_dir(root.join("etc"))?;
        let link = root.join("etc/conf.toml");
        symlink("../store/current/conf.toml", &link)?;

        let watch = Watch::new(&link)?;
        write(&root.join("store/b/conf.toml"))?;
        assert!(!watch.read_events(), "a file that it does not lead to");
        write(&root.join("store/a/conf.toml"))?;
        assert!(watch.read_events(), "the file");
        replace_link(&root.join("store/current"), "b")?;
        assert!(watch.read_events(), "a link in the middle");
        let watch = Watch::new(&link)?;
        write(&root.join("store/b/conf.toml"))?;
        assert!(watch.read_events(), "the new file");
        let target = root.join("store/a/conf.toml");
        replace_link(&link, target.to_str().expect("UTF-8"))?;
        assert!(watch.read_events(), "the first link");
        fs::remove_file(&link)?;
        let watch = Watch::new(&link)?;
        symlink(target, &link)?;
        assert!(watch.read_events(), "a link that was missing");
        replace_link(&link, "../store/none/conf.toml")?;
        let watch = Watch::new(&link)?;
        symlink("a", root.join("store/none"))?;
        assert!(watch.read_events(), "a link that led nowhere");
        Ok(())
    }

    /// Kubernetes replaces the link `..data` of a mounted ConfigMap.
    #[test]
    fn exchanged_config_map_is_noticed() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let root = root.path().canonicalize()?;
        write(&root.join("..1/conf.toml"))?;
        write(&root.join("..2/conf.toml"))?;
        symlink("..1", root.join("..data"))?;
        symlink("..data/conf.toml", root.join("conf.toml"))?;
        let watch = Watch::new(&root.join("conf.toml"))?;
        replace_link(&root.join("..data"), "..2")?;
        assert!(watch.read_events());
        let place = |folder: &str, name: &str, counts_when_created| Place {
            folder: root.join(folder).components().collect(),
            name: name.into(),
            counts_when_created,
        };
        let expected =
            [place("", "conf.toml", true), place("", "..data", true), place("..2", "conf.toml", false)];
        let found = places(&root.join("conf.toml"))?;
        assert_eq!(
            found.iter().filter(|one| one.folder.starts_with(&root)).collect::<Vec<_>>(),
            expected.iter().collect::<Vec<_>>()
        );
        Ok(())
    }

    #[test]
    fn links_in_a_circle_are_an_error() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        symlink("b", root.path().join("a"))?;
        symlink("a", root.path().join("b"))?;
        let error = Watch::new(&root.path().join("a")).expect_err("a circle");
        assert_eq!(error.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
        Ok(())
    }
}
