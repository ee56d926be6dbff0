//! The system's sleep: nothing is asked of the kernel while it lasts, and everything is looked at anew when it ends.

use tracing::info;

use super::resume_detect;
use crate::output::redraw::Event;
use crate::compositor::State;

impl State {
    /// The system is about to sleep.
    pub(super) fn prepare_for_sleep(&mut self) {
        if self.backend.is_asleep() {
            return;
        }
        info!("the system goes to sleep");
        self.still();
        self.backend.set_asleep(true);
    }

    /// The system is awake. Monitors may have been changed meanwhile, and the hardware may have lost what it was told.
    pub(super) fn resume_from_sleep(&mut self, who: &str) {
        self.power.slept = resume_detect::slept();
        info!(who, "the system is awake");
        self.backend.set_asleep(false);
        self.rescan("awake again");
        self.activity();
    }

    /// The clock was set, or the system has slept and nobody said so before.
    pub(super) fn clock_jumped(&mut self) {
        let slept = resume_detect::slept();
        let more = slept.saturating_sub(self.power.slept);
        if self.backend.is_asleep() {
            // logind tells the end of it.
        } else if more > resume_detect::NOTHING {
            self.resume_from_sleep("clock");
        } else {
            info!("the clock was set");
            self.update_all_gamma();
        }
    }

    /// No frame is begun.
    pub fn still(&mut self) {
        let ids: Vec<_> = self.outputs.iter().map(|output| output.id).collect();
        for id in ids {
            self.redraw_event(id, Event::Paused);
        }
        self.release_keys();
    }
}
