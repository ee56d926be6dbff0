//! What the keys of the configuration's shortcuts do.

use std::ffi::OsString;
use std::time::Duration;

use super::{notify_user, State};
use crate::config::Action;
use crate::power::Power;
use crate::session::spawn::own_executable;

/// How long `identify` shows the displays' names.
const IDENTIFY_TIME: Duration = Duration::from_secs(5);

/// Saves a screenshot by the command of that name: `$0` is the program, `$1` the folder, `$2` the
/// display and `$3` the file's name. It is not written by this process, because a file system can
/// be slow.
const SCREENSHOT: &str = "mkdir -p \"$1\" && exec \"$0\" screenshot \"$2\" \"$1/$3\"";

impl State {
    /// Does what the shortcut at this place of the configuration does.
    pub fn run_shortcut(&mut self, index: usize) {
        let Some(shortcut) = self.config.shortcuts.get(index) else { return };
        match shortcut.action.clone() {
            // This key, or a modifier that is held with it, has just unblanked them.
            Action::Blank if self.power.is_waking_key_held() => {}
            Action::Blank => self.run_power(Power::blank_until_input),
            Action::Identify => self.identify(IDENTIFY_TIME),
            Action::NextLayout => {
                if let Some(keyboard) = self.seat.get_keyboard() {
                    keyboard.with_xkb_state(self, |mut context| context.cycle_next_layout());
                }
            }
            Action::Screenshot { folder } => self.save_screenshot(folder.into()),
            Action::Run { command } => self.start_program(command, &[]),
        }
    }

    /// Saves a screenshot of the focused display, named by it and the local time.
    fn save_screenshot(&mut self, folder: OsString) {
        let focused = self.shell.focused_output().and_then(|id| self.outputs.get(id));
        let focused = focused.filter(|output| output.is_enabled());
        let shown = focused.or_else(|| self.outputs.in_layout().first().copied());
        let Some(display) = shown.map(|output| output.name.clone()) else { return };
        let own = match own_executable() {
            Ok(own) => own,
            Err(error) => {
                notify_user!(self, "no screenshot: the program's own path is unknown: {error}");
                return;
            }
        };
        let name = format!("{display}-{}.png", jiff::Zoned::now().strftime("%Y-%m-%d-%H%M%S"));
        let arguments = [own.into(), folder, display.into(), name.into()];
        self.start_program(SCREENSHOT.into(), &arguments);
    }
}
