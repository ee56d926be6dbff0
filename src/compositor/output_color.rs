//! Applies color settings: conversions, gamma LUTs and the night light's schedule. Also watches
//! which outputs have a fullscreen window, which VRR may depend on.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use geom_color::night_light::NightLight;
use tracing::{info, warn};

use super::deadline::Deadline;
use super::State;
use crate::event_loop::background::{self, Pending};
use crate::output::icc_files::{load_icc, IccResult};
use crate::output::scanout::Target;
use crate::output::OutputId;

/// Returns the minute of the local day.
fn minute_of_day() -> f64 {
    let now = jiff::Zoned::now().time();
    f64::from(now.hour()) * 60.0 + f64::from(now.minute()) + f64::from(now.second()) / 60.0
}

impl State {
    /// Returns the names of outputs whose front window is fullscreen.
    pub fn fullscreen_displays(&self) -> BTreeSet<String> {
        self.shell.fullscreen_outputs(&self.outputs)
    }

    /// A window may have become or ceased to be fullscreen: queues a reconfiguration if the VRR of
    /// its output depends on that.
    pub fn check_fullscreen(&mut self) {
        let fullscreen = self.fullscreen_displays();
        let differs = self.outputs.iter().any(|output| {
            let is_fullscreen = fullscreen.contains(&output.name);
            output.is_in_layout()
                && output.state().fullscreen_vrr.is_some_and(|before| before != is_fullscreen)
        });
        if differs && !std::mem::replace(&mut self.fullscreen_change_queued, true) {
            // Not now: a reconfiguration may be under way.
            let now = self.now();
            self.timers.at(now, Deadline::FullscreenChanged);
        }
    }

    /// Runs the reconfiguration that [`Self::check_fullscreen`] queued.
    pub fn fullscreen_changed(&mut self) {
        self.fullscreen_change_queued = false;
        self.reconfigure("fullscreen");
    }

    /// Has the ICC profiles read that were looked up and are not known.
    pub fn read_icc_files(&mut self) -> Vec<Pending<(PathBuf, IccResult)>> {
        let mut pending = Vec::new();
        for path in self.color.icc_files.take_to_read() {
            let file = path.clone();
            let work = move || (file.clone(), load_icc(&file));
            let done = |state: &mut Self, (path, result): (PathBuf, IccResult)| {
                if state.color.icc_files.read_ended(&path, result) {
                    state.reconfigure("ICC profile");
                }
            };
            match background::start(&self.handle, "ICC profile", work, done) {
                Ok(started) => pending.push(started),
                Err(error) => {
                    warn!(path = %path.display(), %error, "cannot start a thread that reads an ICC profile");
                    if self.color.icc_files.read_failed(&path, format!("cannot be read: {error}")) {
                        // Not now: a reconfiguration looks for it.
                        let now = self.now();
                        self.timers.at(now, Deadline::Reconfigure("ICC profile"));
                    }
                }
            }
        }
        pending
    }

    /// Starts to read the ICC profiles that the configuration names, before the first modeset.
    pub fn start_icc_files(&mut self) -> Vec<Pending<(PathBuf, IccResult)>> {
        let configs = self.config.outputs.outputs.values();
        for path in configs.filter_map(|config| config.icc.as_deref()) {
            self.color.icc_files.look(path);
        }
        self.read_icc_files()
    }

    /// Waits until a time for ICC profiles that are being read.
    pub fn await_icc_files(&mut self, pending: Vec<Pending<(PathBuf, IccResult)>>, until: Duration) {
        for pending in pending {
            let left = until.saturating_sub(self.now());
            if let Some((path, result)) = pending.wait(left) {
                self.color.icc_files.read_ended(&path, result);
            }
        }
    }

    fn night_light(&self) -> Option<NightLight> {
        self.profile.settings.night_light.or(self.config.night_light)
    }

    /// The night light's next step is due.
    pub fn night_light_changed(&mut self) {
        self.night_light_timer = None;
        if !self.backend.is_paused() {
            for id in self.outputs.enabled() {
                self.update_color_conversion(id);
            }
        }
        self.update_all_gamma();
        self.redraw_all();
    }

    /// Chooses again how an output's frames are converted.
    pub fn update_color_conversion(&mut self, id: OutputId) {
        let night_light = self.night_light();
        let hardware_color = self.config.hardware_color;
        let Some(output) = self.outputs.get_mut(id) else { return };
        let adjustments = self.color.adjustments(output, night_light, minute_of_day);
        let gpu = match output.scanout.as_ref().map(|scanout| scanout.target()) {
            Some(Target::Crtc { gpu, .. }) => self.backend.gpu_mut(gpu),
            _ => None,
        };
        self.color.update_conversion(output, gpu, hardware_color, adjustments);
    }

    /// Updates the gamma LUT of every enabled output, and arms the night light's next step.
    pub fn update_all_gamma(&mut self) {
        if self.backend.is_paused() {
            // Runs again after resume, with the reconfiguration.
            return;
        }
        let outputs = &self.outputs;
        let is_enabled = |name: &str| outputs.named(name).is_some_and(|output| output.is_enabled());
        for name in self.color.retain(is_enabled) {
            self.backend.gpus_mut().for_each(|gpu| gpu.device.remove_color(&name));
        }
        for name in self.outputs.enabled_names() {
            self.update_gamma(&name);
        }
        if let Some(timer) = self.night_light_timer.take() {
            self.timers.cancel(timer);
        }
        if let Some(night_light) = self.night_light() {
            let at = self.now() + night_light.next_change(minute_of_day());
            self.night_light_timer = Some(self.timers.at(at, Deadline::NightLight));
        }
    }

    /// Updates the gamma LUT of an output, unless a tool has set it (wlr-gamma-control).
    pub fn update_gamma(&mut self, name: &str) {
        if self.protocols.gamma.contains_key(name) {
            self.color.gamma_taken(name);
            return;
        }
        let Some(output) = self.outputs.named(name) else { return };
        let adjustments = self.color.adjustments(output, self.night_light(), minute_of_day);
        let (id, Some(wanted)) = (output.id, self.color.pending_gamma(output, adjustments)) else { return };
        let Some((device, size)) = self.gamma_of(name) else { return };
        let lut = (!wanted.is_neutral()).then(|| wanted.gamma_lut(size));
        match device.set_gamma(name, lut.as_deref()) {
            Ok(()) => {
                let (white_point, brightness) = (wanted.white_point, wanted.brightness);
                info!(display = name, white_point, brightness, "gamma LUT set");
                self.color.gamma_applied(name, wanted);
                self.queue_redraw(id);
            }
            Err(error) => {
                warn!(display = name, %error, "the kernel refuses a gamma LUT");
                if let Some(output) = self.outputs.get_mut(id) {
                    output.add_warning(&format!(
                        "white_point, brightness and night_light cannot be applied: the kernel refuses a gamma LUT: {error}"
                    ));
                }
            }
        }
    }

    /// A tool has given the gamma LUT back.
    pub fn restore_gamma(&mut self, name: &str) {
        self.color.gamma_taken(name);
        self.update_gamma(name);
    }
}
