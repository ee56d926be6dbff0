//! CrtcColor of displays as they are wished for now: what is converted, what the hardware's table does, and the night light's time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use tracing::{debug, info, warn};
use geom_color::target::ColorTarget;
use geom_color::icc::IccProfile;
use geom_color::color_space::ColorSpace;
use geom_color::night_light::NightLight;
use geom_color::pipeline::CrtcPipeline;
use geom_display::output_config::OutputConfigs;
use geom_color::colorop_solver::{solve, Colorop};
use geom_color::adjustments::{Adjustments, NEUTRAL_WHITE_POINT};

use crate::config::HardwareColor;
use crate::gpu::color_luts::Hardware;
use crate::output::scanout::Target;
use crate::compositor::deadline::Deadline;
use crate::compositor::State;
use crate::output::OutputId;
use crate::event_loop::timers::Timer;

/// What was read, and when to look at the clock.
#[derive(Default)]
pub struct OutputColor {
    /// Profiles that are in use, by their files.
    profiles: HashMap<PathBuf, Result<Arc<IccProfile>, String>>,
    night: Option<Timer>,
    /// The road will be run for a window that took or left a display.
    pub due: bool,
    /// What the hardware's tables do, by display.
    tables: HashMap<String, Adjustments>,
    /// The hardware's conversions, and what they were made for.
    pipelines: HashMap<String, (Wanted, Option<Hardware>)>,
}

/// A look, the steps of the CRTC's tables, and those of its plane's pipelines.
type Wanted = (ColorTarget, Option<(usize, usize)>, Vec<Vec<Colorop>>);

/// Hardware that is good enough: the CRTC's, which converts all planes, or else the plane's.
fn conversion((look, sizes, steps): &Wanted) -> Option<Hardware> {
    let by_tables = sizes.and_then(|(degamma, gamma)| CrtcPipeline::for_target(look, degamma, gamma));
    let by_plane = || {
        let mut each = steps.iter().enumerate();
        each.find_map(|(place, steps)| Some(Hardware::Plane(place, solve(look, steps)?)))
    };
    by_tables.map(Hardware::Crtc).or_else(by_plane)
}

/// Minutes of the local day.
fn minute_of_day() -> f64 {
    let now = jiff::Zoned::now().time();
    f64::from(now.hour()) * 60.0 + f64::from(now.minute()) + f64::from(now.second()) / 60.0
}

impl State {
    /// Displays that a window has for itself.
    pub fn fullscreen_displays(&self) -> BTreeSet<String> {
        self.shell.fullscreen_outputs(&self.outputs)
    }

    /// A window may have taken or left a display whose refresh varies with it.
    pub fn check_fullscreen(&mut self) {
        let fullscreen = self.fullscreen_displays();
        let differs = self.outputs.iter().any(|output| {
            output.is_in_layout() && output.fullscreen_vrr.is_some_and(|was| was != fullscreen.contains(&output.name))
        });
        if differs && !self.color.due {
            self.color.due = true;
            // Not now: displays may be changing.
            let now = self.now();
            self.timers.at(now, Deadline::FullscreenChanged);
        }
    }

    /// Reads the profiles that are wished for. Where one can't be used, its wish is taken back and the reason is told, by display.
    pub fn read_icc(&mut self, wishes: &mut OutputConfigs) -> BTreeMap<String, String> {
        let mut warnings = BTreeMap::new();
        let mut used = HashMap::new();
        for (name, wish) in &mut wishes.outputs {
            let Some(path) = wish.icc.clone().filter(|_| wish.signal.color_space == Some(ColorSpace::Icc))
            else {
                continue;
            };
            let known = self.color.profiles.remove(&path).or_else(|| used.remove(&path));
            let read = known.unwrap_or_else(|| IccProfile::load(&path).map(Arc::new));
            if let Err(error) = &read {
                let path = path.display();
                warnings.insert(name.clone(), format!("color_space {path} can't be: {error}; using srgb"));
                (wish.icc, wish.signal.color_space) = (None, None);
            }
            used.insert(path, read);
        }
        // Files that failed are read again, as they may have been mended.
        used.retain(|_, read| read.is_ok());
        self.color.profiles = used;
        warnings
    }

    /// Files may have changed.
    pub fn forget_profiles(&mut self) {
        self.color.profiles.clear();
    }

    /// What a display's light should be like now.
    fn tone_of(&self, name: &str) -> Adjustments {
        let Some(output) = self.outputs.named(name) else { return Adjustments::default() };
        let wish = output.adjustments;
        let day = wish.white_point.unwrap_or(NEUTRAL_WHITE_POINT);
        let night = self.night_light().filter(|_| wish.night_light != Some(false));
        Adjustments {
            white_point: night.map_or(day, |night| night.white_point_at(minute_of_day(), day)),
            brightness: wish.brightness.unwrap_or(1.0),
            calibration: self.icc_of(name).and_then(|icc| icc.calibration.clone()),
        }
    }

    fn icc_of(&self, name: &str) -> Option<Arc<IccProfile>> {
        let output = self.outputs.named(name).filter(|output| output.signal.color_space == ColorSpace::Icc)?;
        self.color.profiles.get(output.icc.as_ref()?)?.as_ref().ok().cloned()
    }

    /// The night light's next step is due.
    pub fn night_light_changed(&mut self) {
        self.color.night = None;
        if !self.backend.is_paused() {
            for id in self.outputs.enabled() {
                self.update_color_conversion(id);
            }
        }
        self.update_all_gamma();
        self.redraw_all();
    }

    fn night_light(&self) -> Option<NightLight> {
        self.profile.settings.night_light.or(self.config.night_light)
    }

    /// How a lit display's pictures are converted: by the hardware where that is good enough, or else by us. For sRGB the tone is the
    /// gamma table's business alone.
    pub fn update_color_conversion(&mut self, id: OutputId) {
        let Some(name) = self.outputs.name(id).map(str::to_owned) else { return };
        let name = name.as_str();
        let tone = self.tone_of(name);
        let icc = self.icc_of(name);
        let by_hardware = self.config.hardware_color;
        let Some(output) = self.outputs.get_mut(id) else { return };
        let Some(scanout) = &mut output.scanout else { return };
        let Target::Crtc { gpu, index } = scanout.target else {
            // A virtual display has no color but sRGB; pictures of others are brought to it.
            let look = ColorTarget { has_color_layers: !output.described.is_empty(), ..ColorTarget::default() };
            if let Err(error) = scanout.set_color_conversion(look, false) {
                warn!(display = name, %error, "color that programs describe are not converted");
            }
            return;
        };
        let Some(gpu) = self.backend.gpu_mut(gpu) else { return };
        let layered = !output.described.is_empty() && gpu.renderer.converts();
        let space = output.signal.color_space;
        let by_table = space == ColorSpace::Srgb && gpu.has_gamma(index);
        let deep = output.signal.bit_depth.is_some_and(|depth| depth >= 10);
        let look = ColorTarget {
            space,
            native: output.monitor.primaries.filter(|_| space == ColorSpace::Native),
            icc,
            adjustments: if by_table { Adjustments::default() } else { tone },
            bits: if deep && space != ColorSpace::Srgb { gpu.max_bits(index) } else { 8 },
            has_color_layers: layered,
            max_luminance: output.monitor.max_luminance.map(f64::from),
        };
        // The hardware would convert what is converted already.
        let sizes = gpu.pipeline_sizes(index).filter(|_| by_hardware == HardwareColor::Any && !layered);
        let by_plane = by_hardware != HardwareColor::Never && !layered;
        let steps = if by_plane { gpu.plane_steps(index) } else { Vec::new() };
        let key = (look, sizes, steps);
        let known = self.color.pipelines.get(name).filter(|(known, _)| *known == key);
        let hardware = match known {
            Some((_, hardware)) => hardware.clone(),
            None => {
                let made = conversion(&key);
                self.color.pipelines.insert(name.to_owned(), (key.clone(), made.clone()));
                made
            }
        };
        let mut look = key.0;
        let wanted = hardware.is_some();
        match gpu.set_hardware(name, hardware) {
            Ok(()) if wanted => look = ColorTarget::default(),
            Ok(()) => {}
            Err(error) => {
                warn!(display = name, %error, "the kernel takes no conversion; pictures are converted")
            }
        }
        if !layered && space == ColorSpace::Srgb && look.adjustments.is_neutral() {
            look = ColorTarget::default();
        }
        if look != ColorTarget::default() && !gpu.renderer.converts() {
            output.complain(match space {
                ColorSpace::Srgb => {
                    "white_point, brightness and night_light can't be: its hardware has no gamma table"
                }
                _ => "color_space can't be: its hardware's tables are too coarse, and its GPU's GLES is too old to convert",
            });
            return;
        }
        match scanout.set_color_conversion(look, gpu.renderer.is_gles()) {
            Ok(true) => {
                debug!(display = name, space = space.name(), "its pictures are converted another way")
            }
            Ok(false) => {}
            Err(error) => {
                warn!(display = name, %error, "its color are not converted");
                output.complain(&format!("its color are not converted: {error}"));
            }
        }
    }

    /// Every lit display's table, and the next time to look at the clock.
    pub fn update_all_gamma(&mut self) {
        if self.backend.is_paused() {
            // The way back to our VT ends here as well.
            return;
        }
        let gone = |name: &String| self.outputs.named(name).is_none_or(|output| !output.is_enabled());
        let gone: Vec<String> = self.color.pipelines.keys().filter(|name| gone(name)).cloned().collect();
        for name in gone {
            self.color.pipelines.remove(&name);
            self.color.tables.remove(&name);
            self.backend.gpus_mut().for_each(|gpu| gpu.forget_tables(&name));
        }
        for name in self.outputs.enabled_names() {
            self.update_gamma(&name);
        }
        if let Some(timer) = self.color.night.take() {
            self.timers.cancel(timer);
        }
        if let Some(night) = self.night_light() {
            let at = self.now() + night.next_change(minute_of_day());
            self.color.night = Some(self.timers.at(at, Deadline::NightLight));
        }
    }

    /// The hardware's table of a display, where no tool has it.
    pub fn update_gamma(&mut self, name: &str) {
        if self.protocols.gamma.contains_key(name) {
            self.color.tables.remove(name);
            return;
        }
        let srgb = self.outputs.named(name).is_some_and(|output| output.signal.color_space == ColorSpace::Srgb);
        let tone = if srgb { self.tone_of(name) } else { Adjustments::default() };
        if self.color.tables.get(name).map_or(tone.is_neutral(), |known| *known == tone) {
            return;
        }
        let Some((gpu, size)) = self.gamma_of(name) else { return };
        let table = (!tone.is_neutral()).then(|| tone.gamma_lut(size));
        match gpu.set_gamma(name, table.as_deref()) {
            Ok(()) => {
                info!(display = name, white = tone.white_point, brightness = tone.brightness, "tone");
                self.color.tables.insert(name.to_owned(), tone);
                if let Some(id) = self.outputs.id(name) {
                    self.queue_redraw(id);
                }
            }
            Err(error) => {
                warn!(display = name, %error, "the kernel takes no gamma table");
                if let Some(output) = self.outputs.named_mut(name) {
                    output.complain(&format!("white_point, brightness and night_light can't be: the kernel takes no gamma table: {error}"));
                }
            }
        }
    }

    /// A tool has given the table back.
    pub fn schedule_gamma_update(&mut self, name: &str) {
        self.color.tables.remove(name);
        self.update_gamma(name);
    }
}
