//! Frame callbacks of surfaces that no output shows.

use std::time::Duration;

use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;

use super::deadline::Deadline;
use super::State;
use crate::backend::Backend;
use crate::clients::ClientId;
use crate::output::outputs::Outputs;
use crate::output::OutputId;
use crate::shell::has_callbacks;

/// How often hidden surfaces get frame callbacks, as in other compositors.
const HIDDEN_FRAME_INTERVAL: Duration = Duration::from_secs(1);

/// Returns whether an output shows frames.
fn shows(outputs: &Outputs, backend: &Backend, id: OutputId) -> bool {
    let is_on = outputs.get(id).is_some_and(|output| output.is_enabled() && !output.state().blanked);
    is_on && !backend.is_paused()
}

impl State {
    /// Returns whether an output shows frames: it is enabled, not blanked, and ours.
    pub fn shows(&self, id: OutputId) -> bool {
        shows(&self.outputs, &self.backend, id)
    }

    /// Windows may have been hidden or shown since the last iteration.
    pub fn update_hidden(&mut self) {
        if !std::mem::take(&mut self.visibility_changed) {
            return;
        }
        let Self { shell, outputs, backend, .. } = self;
        let shows = |id| shows(outputs, backend, id);
        shell.update_hidden(shows);
        if shell.has_hidden_callbacks(outputs, shows) {
            self.arm_hidden_frames();
        }
    }

    /// A surface committed that no output shows.
    pub fn hidden_committed(&mut self, surface: &WlSurface) {
        if !self.hidden_frames_armed && has_callbacks(surface) {
            self.arm_hidden_frames();
        }
    }

    fn arm_hidden_frames(&mut self) {
        if !std::mem::replace(&mut self.hidden_frames_armed, true) {
            let at = self.now() + HIDDEN_FRAME_INTERVAL;
            self.timers.at(at, Deadline::HiddenFrames);
        }
    }

    /// Sends the frame callbacks of hidden surfaces. The next time follows from a commit that
    /// requests another one.
    pub fn send_hidden_frames(&mut self) {
        self.hidden_frames_armed = false;
        let now = self.now();
        let Self { shell, outputs, backend, .. } = self;
        shell.send_hidden_callbacks(outputs, |id| shows(outputs, backend, id), now);
    }

    /// Sends a client the frame callbacks that it waits for, hidden or not: it may read a ping only
    /// after them. A visible surface has had its callback long ago, unless frames fail.
    pub fn send_frames_to(&mut self, client: ClientId) {
        self.shell.send_callbacks_of(client, &self.outputs, self.now());
    }
}
