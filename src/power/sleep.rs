//! The system's sleep: nothing is asked of the kernel while it lasts, and everything is looked at anew when it ends.

use tracing::info;

use super::woken;
use crate::scanout::redraw::Event;
use crate::state::State;

impl State {
    /// The system is about to sleep.
    pub(super) fn fall_asleep(&mut self) {
        if self.backend.is_asleep() {
            return;
        }
        info!("the system goes to sleep");
        self.still();
        self.backend.set_asleep(true);
    }

    /// The system is awake. Monitors may have been changed meanwhile, and the hardware may have lost what it was told.
    pub(super) fn wake_up(&mut self, who: &str) {
        self.power.slept = woken::slept();
        info!(who, "the system is awake");
        self.backend.set_asleep(false);
        self.look_anew("awake again");
        self.activity();
    }

    /// The clock was set, or the system has slept and nobody said so before.
    pub(super) fn clock_jumped(&mut self) {
        let slept = woken::slept();
        let more = slept.saturating_sub(self.power.slept);
        if self.backend.is_asleep() {
            // logind tells the end of it.
        } else if more > woken::NOTHING {
            self.wake_up("clock");
        } else {
            info!("the clock was set");
            self.tune_all();
        }
    }

    /// No frame is begun.
    pub fn still(&mut self) {
        let names: Vec<String> = self.screens.iter().map(|screen| screen.name.clone()).collect();
        for name in names {
            self.redraw_event(&name, Event::Paused);
        }
        self.release_keys();
    }
}
