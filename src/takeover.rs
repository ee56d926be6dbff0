//! Taking a GPU over from whoever showed pictures on it before us, a boot splash or the run that crashed, without a dark moment: the device of the
//! run before is kept open until its pictures are ours, and they stay until there is something to show instead.
//!
//! Source: the kernel's drm_file.c: framebuffers go with the last descriptor of a device's file, and CRTCs that show them go dark.

use std::os::fd::AsFd;

use rustix::fs::{major, minor, Dev};
use tracing::{debug, info, warn};

use crate::display::mode::Mode;
use crate::options::GuardChoice;
use crate::render::inherited::Before;
use crate::state::State;

/// Names in the store: this, and the device's number.
const NAME: &str = "gpu-";

fn stored(id: Dev) -> String {
    format!("{NAME}{}-{}", major(id), minor(id))
}

impl State {
    /// Lets go of devices that the run before us left and that are not there any more.
    pub fn release_gone_gpus(&mut self) {
        for left in self.store.left(NAME) {
            if !self.backend.gpus().any(|gpu| stored(gpu.id) == left) {
                self.store.release(&left);
            }
        }
    }

    /// A GPU's pictures are ours: those of the run before may go, and ours are to outlive us.
    pub fn hold_gpu(&mut self, id: Dev) {
        let name = stored(id);
        self.store.release(&name);
        let Some(gpu) = self.backend.gpu(id) else { return };
        if let Err(error) = self.store.hold(&name, gpu.card.as_fd()) {
            warn!(gpu = %gpu.path.display(), %error, "its displays will go dark should the service crash");
        }
    }

    /// It is closed, or the run before us still has its master.
    pub fn release_gpu(&mut self, id: Dev) {
        self.store.release(&stored(id));
    }

    /// Whether what was shown before us is worth keeping. A console that somebody typed our name at is not.
    fn keeps_pictures(&self) -> bool {
        let succeeds = !self.store.left(NAME).is_empty();
        let in_unit = self.options.guard == GuardChoice::Always;
        // What has to be told comes first.
        (succeeds || in_unit) && !self.config.keep_picture.is_zero() && self.troubles.recent().is_empty()
    }

    /// Before a display's first mode setting on a GPU: what it shows already stays behind the windows that will come.
    pub fn inherit_picture(&mut self, id: Dev, crtc: usize, name: &str, mode: &Mode) {
        // Another mode is another picture.
        if let Some(screen) = self.screens.get_mut(name) {
            screen.inherited = None;
        }
        let Some(gpu) = self.backend.gpu(id).filter(|gpu| gpu.is_new) else { return };
        let Some(timing) = gpu.kms_mode(name, mode).filter(|_| self.keeps_pictures()) else { return };
        let picture = match gpu.inherited(name, crtc, &timing) {
            Ok(Some(picture)) => picture,
            Ok(None) => return,
            Err(error) => {
                debug!(display = name, %error, "what is shown on it can't be read");
                return;
            }
        };
        let time = self.config.keep_picture;
        let Some(screen) = self.screens.get_mut(name) else { return };
        // What was drawn for the monitor's own colours would be converted again.
        if screen.scanout.as_ref().is_none_or(|scanout| scanout.converts()) {
            return;
        }
        screen.inherited = Some(Before::new(picture, screen.output.current_transform()));
        info!(display = name, "what it shows stays until there is a window");
        let (at, name) = (self.now() + time, name.to_owned());
        self.timers.at(at, move |state| {
            let had = state.screens.get_mut(&name).and_then(|screen| screen.inherited.take());
            if had.is_some() {
                state.queue_redraw(&name);
            }
        });
    }
}
