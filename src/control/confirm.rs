//! Changes of displays that somebody has to confirm: on a screen that went black nobody can, and then they are taken back.

use std::time::Duration;

use tracing::{info, warn};

use crate::display::plan::Wish;
use crate::state::State;
use crate::timers::Timer;

/// A change that is not confirmed yet: what was wished before, and when it is again.
pub struct Unconfirmed {
    before: Wish,
    timer: Timer,
}

impl State {
    /// A display was changed from what `before` says, until somebody confirms it in time.
    pub fn await_confirmation(&mut self, display: &str, before: Wish, within: Duration) {
        // Of a change over an unconfirmed one, what was confirmed last comes back.
        let before = match self.unconfirmed.remove(display) {
            Some(earlier) => {
                self.timers.cancel(earlier.timer);
                earlier.before
            }
            None => before,
        };
        let at = self.now() + within;
        let name = display.to_owned();
        let timer = self.timers.at(at, move |state| {
            warn!(display = name, "the change was not confirmed; taken back");
            state.take_back(&name);
        });
        self.unconfirmed.insert(display.to_owned(), Unconfirmed { before, timer });
    }

    /// Somebody sees the display, or says that it is no good. Whether there was anything to say.
    pub fn confirm(&mut self, name: &str, keep: bool) -> bool {
        let Some(change) = self.unconfirmed.get(name) else { return false };
        self.timers.cancel(change.timer);
        info!(display = name, keep, "the change of the display is answered for");
        if keep {
            self.unconfirmed.remove(name);
        } else {
            self.take_back(name);
        }
        true
    }

    /// What was changed by hand lies over files only until these are read again.
    pub fn forget_changes(&mut self) {
        self.overrides.clear();
        self.unconfirmed.clear();
    }

    fn take_back(&mut self, display: &str) {
        let Some(change) = self.unconfirmed.remove(display) else { return };
        self.overrides.insert(display.to_owned(), change.before);
        self.reconfigure("not confirmed");
    }
}
