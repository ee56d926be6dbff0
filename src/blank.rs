//! Displays without light: they keep their mode, place, `wl_output` and windows, and come back at once.

use std::io;

use geom_ipc::Event as IpcEvent;
use tracing::{info, warn};

use crate::scanout::redraw::Event;
use crate::scanout::surface::{Scanout, Target};
use crate::state::State;

impl State {
    /// Switches a lit display's light off, or on again, as somebody wishes. Who wants light from one that is dark as nobody is there, is there.
    ///
    /// # Errors
    /// As [`State::switch_light`].
    pub fn blank(&mut self, name: &str, blank: bool) -> Result<(), String> {
        if !blank {
            self.activity();
        }
        self.switch_light(name, blank)
    }

    /// Switches a lit display's light off, or on again.
    ///
    /// # Errors
    /// In words: the kernel's refusal, or a display that is not lit. It stays as it was.
    pub fn switch_light(&mut self, name: &str, blank: bool) -> Result<(), String> {
        let screen = self.screens.get(name).filter(|screen| screen.is_lit());
        let screen = screen.ok_or_else(|| format!("{name} is not lit"))?;
        if screen.blank == blank {
            return Ok(());
        }
        let target = screen.scanout.as_ref().map(|scanout| scanout.target);
        let done = match target {
            Some(Target::Crtc { gpu, .. }) if !self.backend.is_paused() => match self.backend.gpu_mut(gpu) {
                Some(gpu) => gpu.set_active(name, !blank),
                None => Err(io::ErrorKind::NotFound.into()),
            },
            Some(Target::Crtc { .. }) => Err(io::Error::other(self.backend.pause())),
            Some(Target::Memory) | None => Ok(()),
        };
        if let Err(error) = done {
            warn!(display = name, blank, %error, "the kernel does not switch the light");
            return Err(format!("{name}: {error}"));
        }
        if let Some(screen) = self.screens.get_mut(name) {
            screen.blank = blank;
            // What is on it while it is dark is of no use once there is light.
            screen.scanout.iter_mut().filter(|_| !blank).for_each(Scanout::forget);
        }
        info!(display = name, blank, "light switched");
        self.redraw_event(name, if blank { Event::Paused } else { Event::Resumed });
        self.tell_power(name, blank);
        if let Some(display) = self.screens.get(name).map(|screen| self.report_display(screen)) {
            self.publish_event(&IpcEvent::Display { display });
        }
        Ok(())
    }
}
