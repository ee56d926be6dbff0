//! Programs of `--exec`: starts them, and publishes how they end.

use geom_ipc::Event as IpcEvent;
use rustix::process::Rlimit;

use super::{notify_user, State};
use crate::session::spawn::{self, EndedChild, Environment, Exit};

impl State {
    /// Starts a shell command as a client. `descriptors` is its limit of open descriptors.
    pub fn start_program(&mut self, command: String, descriptors: Rlimit) {
        let addresses = self.clients.addresses();
        let environment = Environment {
            wayland: &addresses.wayland,
            control: &addresses.control,
            cursor: (&self.config.cursor_theme, self.config.cursor_size.into()),
        };
        match spawn::start(&command, environment, descriptors) {
            Ok(pid) => self.programs.started(pid, command),
            Err(error) => notify_user!(self, "{error:#}"),
        }
    }

    /// Publishes which programs have ended, and how.
    pub fn children_ended(&mut self, ended: Vec<EndedChild>) {
        for EndedChild { pid, exit } in ended {
            let Some(command) = self.programs.ended(pid) else { continue };
            let (exit_code, signal) = match exit {
                Exit::Code(code) => (Some(code), None),
                Exit::Signal(signal) => (None, Some(signal)),
            };
            self.publish_event(&IpcEvent::ProgramEnded { command, pid, exit_code, signal });
        }
    }
}
