//! The system's sleep: nothing is asked of the kernel while it lasts, and everything is looked at anew when it ends.

use tracing::info;

use super::woken;
use crate::display::screen::Screen;
use crate::scanout::redraw::Event;
use crate::scanout::surface::Target;
use crate::state::State;

impl State {
    /// The system is about to sleep.
    pub(super) fn fall_asleep(&mut self) {
        if std::mem::replace(&mut self.power.asleep, true) {
            return;
        }
        info!("the system goes to sleep");
        self.still();
        self.backend.set_asleep(true);
    }

    /// The system is awake. Monitors may have been changed meanwhile, and the hardware may have lost what it was told.
    pub(super) fn wake_up(&mut self, who: &str) {
        self.power.asleep = false;
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
        if self.power.asleep {
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

    /// Frames of virtual displays go on; those of others do with the mode set, once that comes off.
    pub fn stir(&mut self) {
        let is_virtual =
            |screen: &Screen| screen.scanout.as_ref().is_some_and(|scanout| scanout.target == Target::Memory);
        let lit = self.screens.iter().filter(|screen| screen.is_lit() && !screen.blank && is_virtual(screen));
        let names: Vec<String> = lit.map(|screen| screen.name.clone()).collect();
        for name in names {
            self.redraw_event(&name, Event::Resumed);
        }
    }
}
