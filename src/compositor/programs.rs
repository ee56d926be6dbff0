//! Programs of `--exec` and of shortcuts: starts them, and publishes how they end.

use std::ffi::OsString;

use geom_ipc::Event as IpcEvent;

use super::{notify_user, State};
use crate::config::Config;
use crate::session::spawn::{EndedChild, Environment, Exit};

/// Returns a setting for a variable, if it differs from the default or the variable is not set.
fn configured<'a, T: PartialEq + ?Sized>(setting: &'a T, default: &T, variable: &str) -> Option<&'a T> {
    (setting != default || std::env::var_os(variable).is_none()).then_some(setting)
}

impl State {
    /// Starts a shell command as a client, with arguments from `$0` on.
    pub fn start_program(&mut self, command: String, arguments: &[OsString]) {
        let addresses = self.clients.addresses();
        let default = Config::default();
        let environment = Environment {
            wayland: &addresses.wayland,
            control: &addresses.control,
            cursor_theme: configured(&self.config.cursor.theme, &default.cursor.theme, "XCURSOR_THEME"),
            cursor_size: configured(&self.config.cursor.size, &default.cursor.size, "XCURSOR_SIZE").copied(),
        };
        if let Err(error) = self.programs.start(command, arguments, environment) {
            notify_user!(self, "{error:#}");
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
