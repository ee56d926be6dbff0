//! Checks the program that is to replace the service. Takes too long for the event loop: it waits
//! for the program.

// It runs on a thread, where nothing may panic (`event_loop/background.rs`).
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use geom_ipc::Error;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{pidfd_open, Pid, PidfdFlags};
use tracing::info;

use super::command::bad_value;
use crate::session::spawn::ReapPause;

/// A program that takes longer to print its version is not geom_compositor.
const VERSION_TIMEOUT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The maximum number of bytes that are read of a program's output.
const MAX_VERSION_LENGTH: u64 = 256;

/// Variables that only the service may use: a program that is not geom_compositor could report with
/// them that the service has ended.
const PRIVATE_VARIABLES: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// Identifies a version of a file: writing to it or replacing it changes this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileVersion {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl FileVersion {
    /// Returns the version of a program that no other user can change.
    ///
    /// # Errors
    /// If the file is not a regular one of root or of this process's user, or if others may write
    /// to it.
    pub fn of(program: &Path) -> Result<Self, String> {
        let file = std::fs::metadata(program).map_err(|error| error.to_string())?;
        let own = rustix::process::geteuid().as_raw();
        if !file.is_file() || ![0, own].contains(&file.uid()) || file.mode() & 0o022 != 0 {
            return Err("a program that replaces the service must belong to root or to the service's \
                 user, and be writable by no one else (chmod go-w)"
                .into());
        }
        Ok(Self { device: file.dev(), inode: file.ino(), changed: (file.ctime(), file.ctime_nsec()) })
    }
}

/// A program that may replace the service.
#[derive(Debug)]
pub struct Candidate {
    pub program: PathBuf,
    /// Set once it is checked: the file that is executed later is this one.
    pub version: Option<FileVersion>,
    /// Leaves the program's exit status to the thread that checks it.
    _pause: ReapPause,
}

impl Candidate {
    pub fn new(program: PathBuf) -> Self {
        Self { program, version: None, _pause: ReapPause::new() }
    }

    /// Runs the program with `--version`.
    ///
    /// # Errors
    /// If it does not answer as geom_compositor does.
    pub fn check(&mut self) -> Result<(), Error> {
        let file = FileVersion::of(&self.program);
        let program = self.program.display();
        let file = file.map_err(|error| bad_value(format!("{program}: {error}")))?;
        self.version = Some(file);
        let version = self.print_version().map_err(|error| bad_value(format!("{program}: {error}")))?;
        info!(%program, version, "program checked: it can replace the service");
        Ok(())
    }

    fn print_version(&self) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        for name in PRIVATE_VARIABLES {
            command.env_remove(name);
        }
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let ended = i32::try_from(child.id()).ok().and_then(Pid::from_raw).and_then(|pid| {
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&VERSION_TIMEOUT)).ok()
        });
        if ended != Some(1) {
            let _ = child.kill();
        }
        let mut text = Vec::new();
        if let Some(output) = &mut child.stdout {
            // Non-blocking: another process that the program started may have the pipe open.
            let _ = rustix::io::ioctl_fionbio(&*output, true);
            let _ = output.take(MAX_VERSION_LENGTH).read_to_end(&mut text);
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        match String::from_utf8_lossy(&text).trim().strip_prefix("geom_compositor ") {
            Some(version) if status.success() => Ok(version.to_owned()),
            _ => Err("it does not answer --version as geom_compositor does".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a shell script.
    fn check(script: &str) -> std::io::Result<Result<(), Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("program");
        // Another process writes it: a process that a test in another thread starts at this moment
        // would inherit our descriptor, and the kernel executes no file that is open for writing.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 755 \"$0\"";
        let status = Command::new("sh").args(["-c", write]).arg(&path).arg(script).status()?;
        assert!(status.success());
        Ok(Candidate::new(path).check())
    }

    #[test]
    fn only_a_program_of_this_name_is_accepted() -> std::io::Result<()> {
        assert!(check("echo geom_compositor 9.9.9")?.is_ok());
        assert!(check("echo other 9.9.9")?.is_err());
        assert!(check("echo geom_compositor 9.9.9; exit 1")?.is_err());
        assert!(check("exec sleep 60")?.is_err());
        assert!(check("sleep 3 & echo geom_compositor 9.9.9")?.is_ok(), "a child has the pipe");
        assert!(Candidate::new("/nonexistent".into()).check().is_err());
        Ok(())
    }

    #[test]
    fn program_that_others_may_write_is_not_executed() -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("program");
        std::fs::write(&path, "#!/bin/sh\n")?;
        let permit = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode));
        permit(0o755)?;
        let checked = FileVersion::of(&path);
        assert!(checked.is_ok());
        for mode in [0o775, 0o757] {
            permit(mode)?;
            assert!(FileVersion::of(&path).is_err(), "{mode:o}");
        }
        assert!(FileVersion::of(folder.path()).is_err(), "a folder");
        // Another file in its place is another version.
        let new = folder.path().join("new");
        std::fs::copy(&path, &new)?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755))?;
        std::fs::rename(&new, &path)?;
        assert!(FileVersion::of(&path).is_ok_and(|version| Ok(version) != checked));
        Ok(())
    }
}
