//! Another program takes the service's place: the same process, with what outlives a crash (execve(2)).

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use geom_ipc::{Response, Error, ErrorKind};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::process::{pidfd_open, Pid, PidfdFlags};
use tracing::{error, info};

use super::requests::{bad_value, Outcome};
use crate::session::spawn::own_executable;
use crate::compositor::deadline::Deadline;
use crate::compositor::State;

/// A program that takes longer to say its version is none of ours.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// What a program says of its version; an error in words where it is none of ours.
fn version(program: &Path) -> Result<String, String> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let ended = i32::try_from(child.id()).ok().and_then(Pid::from_raw).and_then(|pid| {
        let ending = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        poll(&mut [PollFd::new(&ending, PollFlags::IN)], Some(&PATIENCE)).ok()
    });
    if ended != Some(1) {
        let _ = child.kill();
    }
    let mut text = String::new();
    if let Some(said) = &mut child.stdout {
        let _ = said.take(256).read_to_string(&mut text);
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    match text.trim().strip_prefix("geom_compositor ") {
        Some(version) if status.success() => Ok(version.to_owned()),
        _ => Err("it does not answer --version as geom_compositor does".into()),
    }
}

impl State {
    /// Checks a program, and lets it take our place when the answer is out.
    pub(super) fn upgrade(&mut self, id: u64, program: Option<String>) -> Outcome {
        let uid = self.clients.connections.get(&id).map(|connection| connection.peer.uid);
        let is_own = uid == Some(0) || uid == Some(self.clients.own_user);
        if program.is_some() && !is_own {
            let message = "only the service's own user and root name a program; upgrade without one";
            return Err(Error::new(ErrorKind::NotAllowed, message));
        }
        let installed = || own_executable().map_err(|error| bad_value(format!("/proc/self/exe: {error}")));
        let program = program.map(PathBuf::from).map_or_else(installed, Ok)?;
        if !program.is_absolute() {
            return Err(bad_value(format!("{} is no absolute path", program.display())));
        }
        let version =
            version(&program).map_err(|error| bad_value(format!("{}: {error}", program.display())))?;
        info!(program = %program.display(), version, "another program takes over");
        let now = self.now();
        self.timers.at(now, Deadline::ExecNewVersion { program });
        Ok(Response::Done)
    }

    /// Returns only where nothing came of it.
    pub fn exec_new_version(&mut self, program: &Path) {
        self.keep();
        self.write_saved_state();
        if let Some(Err(error)) = self.state_file.as_mut().map(|state_file| state_file.set_expected(true)) {
            error!(%error, "what is kept of connections can't be written; staying");
            return;
        }
        let mut command = Command::new(program);
        command.args(std::env::args_os().skip(1));
        let failure = self.store.exec(&mut command);
        error!(program = %program.display(), error = %failure, "it can't take over; staying");
        self.notices.add(format!("{} can't take over: {failure}", program.display()));
        let _ = self.state_file.as_mut().map(|state_file| state_file.set_expected(false));
    }
}
