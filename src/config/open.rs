//! Opens files that users own: profiles and ICC profiles. Their owner chooses what is there, so
//! that nothing is read, and no driver's `open` runs, before the file's type, owner and size are
//! known.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{openat, readlinkat, FileType, Mode, OFlags, CWD};

/// Maximum size of a profile or configuration, in bytes.
pub const MAX_TOML_BYTES: u64 = 1 << 20;

/// Maximum size of an EDID, in bytes: 256 blocks.
pub const MAX_EDID_BYTES: u64 = 256 * 128;

/// Maximum size of an ICC profile, in bytes; a monitor's profile is far smaller.
pub const MAX_ICC_BYTES: u64 = 16 << 20;

/// Maximum number of symbolic links from a path to its file.
const MAX_LINKS: usize = 8;

/// The users whose files and symbolic links are accepted anywhere.
#[derive(Debug, Clone, Copy)]
struct Owners {
    /// May also make symbolic links, and the files that these name are its own: root.
    system: u32,
    service: u32,
}

impl Owners {
    fn of_process() -> Self {
        Self { system: 0, service: rustix::process::geteuid().as_raw() }
    }

    /// Checks a file's owner. `folder` is the owner of the file's folder, and `linked` says that a
    /// symbolic link led there.
    fn check(self, owner: u32, folder: u32, linked: bool) -> io::Result<()> {
        if owner == self.system || (!linked && (owner == self.service || owner == folder)) {
            return Ok(());
        }
        let reason = if linked {
            "it is a symbolic link to a file that is not root's; replace it by a copy of the file".to_owned()
        } else {
            format!(
                "it belongs to user {owner}, not to its folder's owner, the service's user or root; \
                 change its owner (chown)"
            )
        };
        Err(io::Error::other(reason))
    }
}

/// Opens a file's folder without access to its content. Symbolic links are followed here: above a
/// user's folder only root can make them, and the file itself is checked whatever its folder is.
fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens a regular file of at most `limit` bytes.
fn open(path: &Path, limit: u64, owners: Owners) -> io::Result<File> {
    let mut path = path.to_owned();
    for links in 0..MAX_LINKS {
        let folder = open_folder(&path)?;
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        // O_PATH: the open(2) of a FIFO waits, and that of a device may do something.
        let place = openat(&folder, &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let place = File::from(place);
        let found = place.metadata()?;
        match FileType::from_raw_mode(found.mode()) {
            FileType::Symlink => {
                if found.uid() != owners.system {
                    let reason = "it is a symbolic link; replace it by a copy of the file";
                    return Err(io::Error::other(reason));
                }
                // The link's own text, from the descriptor that was checked: its
                // owner cannot exchange it meanwhile.
                let target = readlinkat(&place, "", Vec::new())?;
                path.pop();
                path = path.join(Path::new(OsStr::from_bytes(target.as_bytes())));
            }
            FileType::RegularFile => {
                owners.check(found.uid(), File::from(folder.try_clone()?).metadata()?.uid(), links > 0)?;
                if found.len() > limit {
                    return Err(too_large(limit));
                }
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
                let file = File::from(openat(&folder, &name, flags | OFlags::CLOEXEC, Mode::empty())?);
                let opened = file.metadata()?;
                if (opened.dev(), opened.ino()) != (found.dev(), found.ino()) {
                    return Err(io::Error::other("it was replaced while it was opened; try again"));
                }
                return Ok(file);
            }
            _ => return Err(io::Error::other("it is not a regular file; replace it by one")),
        }
    }
    Err(io::Error::other("too many symbolic links lead to it; replace it by a copy of the file"))
}

fn too_large(limit: u64) -> io::Error {
    let limit = match limit >> 20 {
        0 => format!("{} KiB", limit >> 10),
        mebibytes => format!("{mebibytes} MiB"),
    };
    io::Error::other(format!("it is larger than {limit}; replace it by a smaller file"))
}

/// Reads at most `limit` bytes: the file may grow after it was checked.
fn read(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(limit));
    }
    Ok(bytes)
}

/// Reads a file of a user. It must be a regular file of at most `limit` bytes, of root, of the
/// service's user or of the owner of its folder. Symbolic links to it must be root's, as the file
/// then must be.
///
/// # Errors
/// What is wrong with the file and what to do; the message does not name the file.
pub fn read_user_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read(open(path, limit, Owners::of_process())?, limit)
}

/// Reads a text file of a user, as [`read_user_file`] does.
///
/// # Errors
/// As [`read_user_file`], and if it is not UTF-8.
pub fn read_user_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read_user_file(path, limit)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// Reads a file that an administrator names: the configuration, and what it names. Any user may own
/// it, and it may be reached through whatever symbolic links; /dev/null is an empty one.
///
/// # Errors
/// If it is another device, a FIFO, a folder, or larger than `limit`.
pub fn read_system_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let real = std::fs::canonicalize(path)?;
    if real == Path::new("/dev/null") {
        return Ok(Vec::new());
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if !std::fs::metadata(&real)?.is_file() {
        return Err(io::Error::other("it is not a regular file; replace it by one"));
    }
    read(File::from(openat(CWD, &real, flags, Mode::empty())?), limit)
}

/// Reads a text file, as [`read_system_file`] does.
///
/// # Errors
/// As [`read_system_file`], and if it is not UTF-8.
pub fn read_system_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read_system_file(path, limit)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use super::*;

    /// The files of these tests are of a user that is not trusted by itself.
    const OTHERS: Owners = Owners { system: u32::MAX, service: u32::MAX };

    fn text(path: &Path, owners: Owners) -> Result<String, String> {
        let bytes = open(path, 100, owners).and_then(|file| read(file, 100));
        bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn regular_file_of_the_folder_s_owner_is_read() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("file");
        std::fs::write(&file, "text")?;
        assert_eq!(text(&file, OTHERS), Ok("text".into()));
        std::fs::write(&file, [b'x'; 100])?;
        assert!(text(&file, OTHERS).is_ok());
        let missing = open(&folder.path().join("missing"), 100, OTHERS).map(drop);
        assert_eq!(missing.map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
        Ok(())
    }

    #[test]
    fn only_regular_files_are_opened() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(CWD, &fifo, Mode::RWXU)?;
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket)?;
        for path in [&fifo, &socket, &folder.path().to_owned(), &PathBuf::from("/dev/zero")] {
            let error = text(path, Owners::of_process()).expect_err("it is not a file");
            assert!(error.contains("not a regular file"), "{}: {error}", path.display());
        }
        for target in ["/dev/zero", "fifo"] {
            let link = folder.path().join("link");
            symlink(target, &link)?;
            let error = text(&link, OTHERS).expect_err("it is a link");
            assert!(error.contains("symbolic link"), "{target}: {error}");
            // Root's link does not change what it leads to.
            let owners = Owners { system: link.symlink_metadata()?.uid(), ..OTHERS };
            let error = text(&link, owners).expect_err("it is not a file");
            assert!(error.contains("not a regular file"), "{target}: {error}");
            std::fs::remove_file(link)?;
        }
        Ok(())
    }

    #[test]
    fn large_file_is_not_read() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("sparse");
        File::create(&file)?.set_len(1 << 40)?;
        assert!(text(&file, OTHERS).is_err_and(|error| error.contains("larger than")));
        // One that grows after the check.
        std::fs::write(&file, "small")?;
        let opened = open(&file, 100, OTHERS)?;
        File::options().write(true).open(&file)?.set_len(1 << 40)?;
        assert!(read(opened, 100).is_err_and(|error| error.to_string().contains("larger than")));
        Ok(())
    }

    #[test]
    fn only_the_system_s_links_to_its_own_files_are_followed() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "text")?;
        symlink("file", &link)?;
        let uid = file.metadata()?.uid();
        assert!(text(&link, Owners { system: u32::MAX, service: uid }).is_err());
        assert_eq!(text(&link, Owners { system: uid, service: u32::MAX }), Ok("text".into()));
        let endless = folder.path().join("endless");
        symlink("endless", &endless)?;
        let error = text(&endless, Owners { system: uid, service: u32::MAX });
        assert!(error.is_err_and(|error| error.contains("too many symbolic links")));
        Ok(())
    }

    #[test]
    fn file_of_another_user_is_refused() {
        let owners = Owners { system: 0, service: 990 };
        for (owner, folder, linked, accepted) in [
            (1000, 1000, false, true),
            (990, 1000, false, true),
            (0, 1000, false, true),
            (1001, 1000, false, false),
            (1000, 0, false, false),
            // Root's link to a user's file.
            (1000, 1000, true, false),
            (0, 1000, true, true),
        ] {
            assert_eq!(owners.check(owner, folder, linked).is_ok(), accepted, "{owner} {folder} {linked}");
        }
    }

    #[test]
    fn configuration_may_be_a_link_and_nothing_endless() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "text")?;
        symlink(&file, &link)?;
        assert_eq!(read_system_text(&link, 100)?, "text");
        assert_eq!(read_system_text(Path::new("/dev/null"), 100)?, "");
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(CWD, &fifo, Mode::RWXU)?;
        for path in [fifo.as_path(), Path::new("/dev/zero"), folder.path()] {
            assert!(read_system_text(path, 100).is_err(), "{}", path.display());
        }
        File::create(&file)?.set_len(1 << 40)?;
        assert!(read_system_text(&file, 100).is_err());
        Ok(())
    }
}
