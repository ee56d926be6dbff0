//! Blanking of outputs (DPMS): a blanked output keeps its mode, its place in the layout, its
//! `wl_output` and its windows.

use std::io;

use geom_ipc::Event as IpcEvent;
use tracing::{info, warn};

use super::State;
use crate::output::redraw::Event;
use crate::output::scanout::{Scanout, Target};

impl State {
    /// Blanks or unblanks an enabled output on request. A request to unblank counts as user
    /// activity, which ends idle blanking.
    ///
    /// # Errors
    /// As [`State::set_blanked`].
    pub fn blank(&mut self, name: &str, blank: bool) -> Result<(), String> {
        if !blank {
            self.activity();
        }
        self.set_blanked(name, blank)
    }

    /// Blanks or unblanks an enabled output.
    ///
    /// # Errors
    /// If the output is not enabled, or the kernel refuses; it stays as it was.
    pub fn set_blanked(&mut self, name: &str, blank: bool) -> Result<(), String> {
        let output = self.outputs.named(name).filter(|output| output.is_enabled());
        let output = output.ok_or_else(|| format!("display {name} is not enabled"))?;
        if output.blanked == blank {
            return Ok(());
        }
        let id = output.id;
        let target = output.scanout.as_ref().map(|scanout| scanout.target);
        let done = match target {
            Some(Target::Crtc { gpu, .. }) if !self.backend.is_paused() => match self.backend.gpu_mut(gpu) {
                Some(gpu) => gpu.device.set_active(name, !blank),
                None => Err(io::ErrorKind::NotFound.into()),
            },
            Some(Target::Crtc { .. }) => Err(io::Error::other(self.backend.pause_reason())),
            Some(Target::Memory) | None => Ok(()),
        };
        if let Err(error) = done {
            warn!(display = name, blank, %error, "the kernel refuses to change ACTIVE");
            return Err(format!("{name}: {error}"));
        }
        if let Some(output) = self.outputs.get_mut(id) {
            output.blanked = blank;
            // The content of our buffers is unknown after blanking.
            output.scanout.iter_mut().filter(|_| !blank).for_each(Scanout::forget);
        }
        info!(display = name, blank, "display blanked or unblanked");
        self.redraw_event(id, if blank { Event::Paused } else { Event::Resumed });
        self.send_power_mode(name, blank);
        if let Some(display) = self.outputs.named(name).map(|output| self.ipc_display(output)) {
            self.publish_event(&IpcEvent::Display { display });
        }
        Ok(())
    }
}
