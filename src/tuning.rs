//! Colours of displays as they are wished for now: what is converted, what the hardware's table does, and the night light's time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use tracing::{debug, info, warn};

use crate::config::HardwareColor;
use crate::display::colour::Look;
use crate::display::icc::Icc;
use crate::display::link::ColorSpace;
use crate::display::night::NightLight;
use crate::display::pipeline::Pipeline;
use crate::display::plan::Wishes;
use crate::display::steps::{settings, Step};
use crate::display::tone::{Tone, NEUTRAL};
use crate::gpu::tables::Hardware;
use crate::scanout::surface::Target;
use crate::state::State;
use crate::timers::Timer;

/// What was read, and when to look at the clock.
#[derive(Default)]
pub struct Tuning {
    /// Profiles that are in use, by their files.
    profiles: HashMap<PathBuf, Result<Arc<Icc>, String>>,
    night: Option<Timer>,
    /// The road will be run for a window that took or left a display.
    due: bool,
    /// What the hardware's tables do, by display.
    tables: HashMap<String, Tone>,
    /// The hardware's conversions, and what they were made for.
    pipelines: HashMap<String, (Wanted, Option<Hardware>)>,
}

/// A look, the steps of the CRTC's tables, and those of its plane's pipelines.
type Wanted = (Look, Option<(usize, usize)>, Vec<Vec<Step>>);

/// Hardware that is good enough: the CRTC's, which converts all planes, or else the plane's.
fn conversion((look, sizes, steps): &Wanted) -> Option<Hardware> {
    let by_tables = sizes.and_then(|(degamma, gamma)| Pipeline::for_look(look, degamma, gamma));
    let by_plane = || {
        let mut each = steps.iter().enumerate();
        each.find_map(|(place, steps)| Some(Hardware::Plane(place, settings(look, steps)?)))
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
        let lit = self.screens.lit_names();
        let has = |name: &String| self.seen_windows(name).last().is_some_and(|managed| managed.fullscreen);
        lit.into_iter().filter(has).collect()
    }

    /// A window may have taken or left a display whose refresh varies with it.
    pub fn check_fullscreen(&mut self) {
        let fullscreen = self.fullscreen_displays();
        let differs = self.screens.iter().any(|screen| {
            screen.is_part() && screen.by_window.is_some_and(|was| was != fullscreen.contains(&screen.name))
        });
        if differs && !self.tuning.due {
            self.tuning.due = true;
            // Not now: displays may be changing.
            let now = self.now();
            self.timers.at(now, |state| {
                state.tuning.due = false;
                state.reconfigure("fullscreen");
            });
        }
    }

    /// Reads the profiles that are wished for. Where one can't be used, its wish is taken back and the reason is told, by display.
    pub fn read_icc(&mut self, wishes: &mut Wishes) -> BTreeMap<String, String> {
        let mut complaints = BTreeMap::new();
        let mut used = HashMap::new();
        for (name, wish) in &mut wishes.displays {
            let Some(path) = wish.icc.clone().filter(|_| wish.link.color_space == Some(ColorSpace::Icc))
            else {
                continue;
            };
            let known = self.tuning.profiles.remove(&path).or_else(|| used.remove(&path));
            let read = known.unwrap_or_else(|| Icc::load(&path).map(Arc::new));
            if let Err(error) = &read {
                let path = path.display();
                complaints.insert(name.clone(), format!("color_space {path} can't be: {error}; using srgb"));
                (wish.icc, wish.link.color_space) = (None, None);
            }
            used.insert(path, read);
        }
        // Files that failed are read again, as they may have been mended.
        used.retain(|_, read| read.is_ok());
        self.tuning.profiles = used;
        complaints
    }

    /// Files may have changed.
    pub fn forget_profiles(&mut self) {
        self.tuning.profiles.clear();
    }

    /// What a display's light should be like now.
    fn tone_of(&self, name: &str) -> Tone {
        let Some(screen) = self.screens.get(name) else { return Tone::default() };
        let wish = screen.tone;
        let day = wish.white.unwrap_or(NEUTRAL);
        let night = self.night_light().filter(|_| wish.night_light != Some(false));
        Tone {
            white: night.map_or(day, |night| night.white(minute_of_day(), day)),
            brightness: wish.brightness.unwrap_or(1.0),
            curves: self.icc_of(name).and_then(|icc| icc.curves.clone()),
        }
    }

    fn icc_of(&self, name: &str) -> Option<Arc<Icc>> {
        let screen = self.screens.get(name).filter(|screen| screen.link.color_space == ColorSpace::Icc)?;
        self.tuning.profiles.get(screen.icc.as_ref()?)?.as_ref().ok().cloned()
    }

    fn night_light(&self) -> Option<NightLight> {
        self.profile.wishes.night_light.or(self.config.night_light)
    }

    /// How a lit display's pictures are converted: by the hardware where that is good enough, or else by us. For sRGB the tone is the
    /// gamma table's business alone.
    pub fn dress(&mut self, name: &str) {
        let tone = self.tone_of(name);
        let icc = self.icc_of(name);
        let by_hardware = self.config.hardware_color;
        let Some(screen) = self.screens.get_mut(name) else { return };
        let Some(scanout) = &mut screen.scanout else { return };
        let Target::Crtc { gpu, index } = scanout.target else {
            // A virtual display has no colours but sRGB; pictures of others are brought to it.
            let look = Look { layered: !screen.described.is_empty(), ..Look::default() };
            if let Err(error) = scanout.show_as(look, false) {
                warn!(display = name, %error, "colours that programs describe are not converted");
            }
            return;
        };
        let Some(gpu) = self.backend.gpu_mut(gpu) else { return };
        let layered = !screen.described.is_empty() && gpu.renderer.converts();
        let space = screen.link.color_space;
        let by_table = space == ColorSpace::Srgb && gpu.has_gamma(index);
        let deep = screen.link.bit_depth.is_some_and(|depth| depth >= 10);
        let look = Look {
            space,
            native: screen.monitor.primaries.filter(|_| space == ColorSpace::Native),
            icc,
            tone: if by_table { Tone::default() } else { tone },
            bits: if deep && space != ColorSpace::Srgb { gpu.most_bits(index) } else { 8 },
            layered,
            max_luminance: screen.monitor.max_luminance.map(f64::from),
        };
        // The hardware would convert what is converted already.
        let sizes = gpu.pipeline_sizes(index).filter(|_| by_hardware == HardwareColor::Any && !layered);
        let by_plane = by_hardware != HardwareColor::Never && !layered;
        let steps = if by_plane { gpu.plane_steps(index) } else { Vec::new() };
        let key = (look, sizes, steps);
        let known = self.tuning.pipelines.get(name).filter(|(known, _)| *known == key);
        let hardware = match known {
            Some((_, hardware)) => hardware.clone(),
            None => {
                let made = conversion(&key);
                self.tuning.pipelines.insert(name.to_owned(), (key.clone(), made.clone()));
                made
            }
        };
        let mut look = key.0;
        let wanted = hardware.is_some();
        match gpu.set_hardware(name, hardware) {
            Ok(()) if wanted => look = Look::default(),
            Ok(()) => {}
            Err(error) => {
                warn!(display = name, %error, "the kernel takes no conversion; pictures are converted")
            }
        }
        if !layered && space == ColorSpace::Srgb && look.tone.is_plain() {
            look = Look::default();
        }
        if look != Look::default() && !gpu.renderer.converts() {
            screen.complain(match space {
                ColorSpace::Srgb => {
                    "white_point, brightness and night_light can't be: its hardware has no gamma table"
                }
                _ => "color_space can't be: its hardware's tables are too coarse, and its GPU's GLES is too old to convert",
            });
            return;
        }
        match scanout.show_as(look, gpu.renderer.is_gles()) {
            Ok(true) => {
                debug!(display = name, space = space.name(), "its pictures are converted another way")
            }
            Ok(false) => {}
            Err(error) => {
                warn!(display = name, %error, "its colours are not converted");
                screen.complain(&format!("its colours are not converted: {error}"));
            }
        }
    }

    /// Every lit display's table, and the next time to look at the clock.
    pub fn tune_all(&mut self) {
        if self.backend.is_paused() {
            // The way back to our VT ends here as well.
            return;
        }
        let gone = |name: &String| self.screens.get(name).is_none_or(|screen| !screen.is_lit());
        let gone: Vec<String> = self.tuning.pipelines.keys().filter(|name| gone(name)).cloned().collect();
        for name in gone {
            self.tuning.pipelines.remove(&name);
            self.tuning.tables.remove(&name);
            self.backend.gpus_mut().for_each(|gpu| gpu.forget_tables(&name));
        }
        for name in self.screens.lit_names() {
            self.tune(&name);
        }
        if let Some(timer) = self.tuning.night.take() {
            self.timers.cancel(timer);
        }
        if let Some(night) = self.night_light() {
            let at = self.now() + night.next(minute_of_day());
            self.tuning.night = Some(self.timers.at(at, |state| {
                state.tuning.night = None;
                if !state.backend.is_paused() {
                    state.screens.lit_names().iter().for_each(|name| state.dress(name));
                }
                state.tune_all();
                state.redraw_all();
            }));
        }
    }

    /// The hardware's table of a display, where no tool has it.
    pub fn tune(&mut self, name: &str) {
        if self.protocols.gamma.contains_key(name) {
            self.tuning.tables.remove(name);
            return;
        }
        let srgb = self.screens.get(name).is_some_and(|screen| screen.link.color_space == ColorSpace::Srgb);
        let tone = if srgb { self.tone_of(name) } else { Tone::default() };
        if self.tuning.tables.get(name).map_or(tone.is_plain(), |known| *known == tone) {
            return;
        }
        let Some((gpu, size)) = self.gamma_of(name) else { return };
        let table = (!tone.is_plain()).then(|| tone.table(size));
        match gpu.set_gamma(name, table.as_deref()) {
            Ok(()) => {
                info!(display = name, white = tone.white, brightness = tone.brightness, "tone");
                self.tuning.tables.insert(name.to_owned(), tone);
                self.queue_redraw(name);
            }
            Err(error) => {
                warn!(display = name, %error, "the kernel takes no gamma table");
                if let Some(screen) = self.screens.get_mut(name) {
                    screen.complain(&format!("white_point, brightness and night_light can't be: the kernel takes no gamma table: {error}"));
                }
            }
        }
    }

    /// A tool has given the table back.
    pub fn tune_again(&mut self, name: &str) {
        self.tuning.tables.remove(name);
        self.tune(name);
    }
}
