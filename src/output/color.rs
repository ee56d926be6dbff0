//! Color of outputs: ICC profiles, white point and night light, and how frames are converted to
//! what the monitor expects.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use geom_color::adjustments::{Adjustments, NEUTRAL_WHITE_POINT};
use geom_color::color_space::ColorSpace;
use geom_color::colorop_solver::{solve, Colorop};
use geom_color::icc::IccProfile;
use geom_color::night_light::NightLight;
use geom_color::pipeline::CrtcPipeline;
use geom_color::target::ColorTarget;
use geom_display::output_config::OutputConfigs;
use geom_kms::HardwareConversion;
use tracing::{debug, warn};

use super::icc_files::IccFiles;
use super::outputs::Outputs;
use super::scanout::Target;
use super::Output;
use crate::config::HardwareColor;
use crate::gpu::Gpu;
use crate::render::renderer::Renderer;

/// ICC profiles that are in use, and what was computed from them.
#[derive(Default)]
pub struct OutputColor {
    pub icc_files: IccFiles,
    /// What the CRTC's gamma LUT does, by display.
    gamma: HashMap<String, Adjustments>,
    /// Conversions in hardware, and what they were computed for, by display.
    conversions: HashMap<String, (ConversionKey, Option<HardwareConversion>)>,
}

/// What a hardware conversion depends on: the target, the sizes of the CRTC's degamma and gamma
/// LUTs, and the colorops of each pipeline of the primary plane.
type ConversionKey = (ColorTarget, Option<(usize, usize)>, Vec<Vec<Colorop>>);

/// Returns hardware that converts exactly enough: the CRTC's LUTs, which convert all planes, or
/// else the plane's colorops.
fn hardware_conversion((target, sizes, pipelines): &ConversionKey) -> Option<HardwareConversion> {
    let by_crtc = sizes.and_then(|(degamma, gamma)| CrtcPipeline::for_target(target, degamma, gamma));
    let by_plane = || {
        let mut pipelines = pipelines.iter().enumerate();
        pipelines
            .find_map(|(index, colorops)| Some(HardwareConversion::Plane(index, solve(target, colorops)?)))
    };
    by_crtc.map(HardwareConversion::Crtc).or_else(by_plane)
}

/// Returns what the frames of a GPU's output are to be converted to. In sRGB, adjustments are left
/// to the gamma LUT if there is one.
fn wanted_target(
    output: &Output,
    gpu: &Gpu,
    crtc: usize,
    icc: Option<Arc<IccProfile>>,
    adjustments: Adjustments,
) -> ColorTarget {
    let space = output.state.signal.color_space;
    let by_gamma_lut = space == ColorSpace::Srgb && gpu.device.has_gamma(crtc);
    let is_deep = output.state.signal.bit_depth.is_some_and(|depth| depth >= 10) && space != ColorSpace::Srgb;
    ColorTarget {
        space,
        native: output.state.monitor.primaries.filter(|_| space == ColorSpace::Native),
        icc,
        adjustments: if by_gamma_lut { Adjustments::default() } else { adjustments },
        bits: if is_deep { gpu.max_bits(crtc) } else { 8 },
        has_color_layers: !output.described_surfaces.is_empty() && gpu.renderer.converts(),
        max_luminance: output.state.monitor.max_luminance.map(f64::from),
    }
}

/// Converts the frames of a GPU's output to what the hardware leaves of a target.
fn convert_while_rendering(output: &mut Output, renderer: &Renderer, mut target: ColorTarget) {
    let space = output.state.signal.color_space;
    let has_color_layers = !output.described_surfaces.is_empty() && renderer.converts();
    if !has_color_layers && space == ColorSpace::Srgb && target.adjustments.is_neutral() {
        target = ColorTarget::default();
    }
    if target != ColorTarget::default() && !renderer.converts() {
        output.add_warning(match space {
            ColorSpace::Srgb => {
                "white_point, brightness and night_light cannot be applied: the CRTC has no gamma LUT"
            }
            _ => {
                "color_space cannot be applied: the hardware's LUTs are too coarse, and the GPU's GLES is too old to convert"
            }
        });
        return;
    }
    let name = output.name.as_str();
    let Some(scanout) = &mut output.scanout else { return };
    match scanout.set_color_conversion(target, renderer.is_gles()) {
        Ok(true) => debug!(display = name, space = space.name(), "color conversion changed"),
        Ok(false) => {}
        Err(error) => {
            warn!(display = name, %error, "cannot convert colors");
            output.add_warning(&format!("colors are not converted: {error}"));
        }
    }
}

/// A virtual output shows sRGB; surfaces with other image descriptions are converted to it.
fn convert_virtual(output: &mut Output) {
    let has_color_layers = !output.described_surfaces.is_empty();
    let target = ColorTarget { has_color_layers, ..ColorTarget::default() };
    let converted = output.scanout.as_mut().map(|scanout| scanout.set_color_conversion(target, false));
    if let Some(Err(error)) = converted {
        warn!(display = output.name, %error, "cannot convert surfaces with image descriptions");
    }
}

impl OutputColor {
    /// Looks up the ICC profiles that outputs are configured with. An output whose profile was not
    /// read yet keeps its color space. A profile that cannot be used is removed from its output's
    /// configuration. Returns the reasons, by display.
    pub fn look_up_icc(
        &mut self,
        configs: &mut OutputConfigs,
        outputs: &Outputs,
    ) -> BTreeMap<String, String> {
        let mut warnings = BTreeMap::new();
        let mut used = HashSet::new();
        for (name, config) in &mut configs.outputs {
            let wants_icc = config.signal.color_space == Some(ColorSpace::Icc);
            let Some(path) = config.icc.clone().filter(|_| wants_icc) else { continue };
            match self.icc_files.look(&path) {
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let path = path.display();
                    let warning = format!("color_space {path} cannot be used: {error}; using srgb");
                    warnings.insert(name.clone(), warning);
                    (config.icc, config.signal.color_space) = (None, None);
                }
                None => {
                    debug!(display = name, path = %path.display(), "reading an ICC profile");
                    (config.icc, config.signal.color_space) = self.present_color(outputs.named(name));
                    used.extend(config.icc.clone());
                }
            }
            used.insert(path);
        }
        // A test may plan without what is shown.
        used.extend(outputs.iter().filter_map(|output| output.state().icc.clone()));
        self.icc_files.retain(&used);
        warnings
    }

    /// Returns the color space that an output has now, and its ICC profile.
    fn present_color(&self, output: Option<&Output>) -> (Option<PathBuf>, Option<ColorSpace>) {
        let Some(state) = output.map(Output::state).filter(|state| state.mode.is_some()) else {
            return (None, None);
        };
        if state.signal.color_space != ColorSpace::Icc {
            return (None, Some(state.signal.color_space));
        }
        let path = state.icc.clone().filter(|path| self.icc_files.profile(path).is_some());
        let space = path.as_ref().map(|_| ColorSpace::Icc);
        (path, space)
    }

    /// Returns the ICC profile of an output whose color space is one.
    fn icc(&self, output: &Output) -> Option<Arc<IccProfile>> {
        let path =
            output.state.icc.as_ref().filter(|_| output.state.signal.color_space == ColorSpace::Icc)?;
        self.icc_files.profile(path).cloned()
    }

    /// Returns white point, brightness and calibration of an output. `minute` returns the minute of
    /// the local day; it is called only for an output with a night light, because the time zone is
    /// looked up in many files.
    pub fn adjustments(
        &self,
        output: &Output,
        night_light: Option<NightLight>,
        minute: impl FnOnce() -> f64,
    ) -> Adjustments {
        let config = output.state.adjustments;
        let day = config.white_point.unwrap_or(NEUTRAL_WHITE_POINT);
        let night_light = night_light.filter(|_| config.night_light != Some(false));
        Adjustments {
            white_point: night_light.map_or(day, |night| night.white_point_at(minute(), day)),
            brightness: config.brightness.unwrap_or(1.0),
            calibration: self.icc(output).and_then(|icc| icc.calibration.clone()),
        }
    }

    /// Chooses how an output's frames are converted: by the hardware if that is exact enough, or
    /// else while rendering. In sRGB, adjustments are left to the gamma LUT. `gpu` is `None` for a
    /// virtual output. What cannot be applied is added to the output's warnings.
    pub fn update_conversion(
        &mut self,
        output: &mut Output,
        gpu: Option<&mut Gpu>,
        hardware_color: HardwareColor,
        adjustments: Adjustments,
    ) {
        let icc = self.icc(output);
        let crtc = output.scanout.as_ref().map(|scanout| scanout.target());
        match (crtc, gpu) {
            (None, _) => {}
            (Some(Target::Crtc { index, .. }), Some(gpu)) => {
                let target = wanted_target(output, gpu, index, icc, adjustments);
                let target = self.convert_in_hardware(&output.name, gpu, index, hardware_color, target);
                convert_while_rendering(output, &gpu.renderer, target);
            }
            (Some(_), _) => convert_virtual(output),
        }
    }

    /// Gives a conversion to the hardware if that is exact enough. Returns what is left to convert
    /// while rendering.
    fn convert_in_hardware(
        &mut self,
        name: &str,
        gpu: &mut Gpu,
        crtc: usize,
        hardware_color: HardwareColor,
        target: ColorTarget,
    ) -> ColorTarget {
        // Frames with color layers are converted while rendering; the hardware would convert them
        // twice.
        let by_crtc = hardware_color == HardwareColor::Any && !target.has_color_layers;
        let by_plane = hardware_color != HardwareColor::Never && !target.has_color_layers;
        let sizes = gpu.device.crtc_lut_sizes(crtc).filter(|_| by_crtc);
        let pipelines = if by_plane { gpu.device.plane_colorops(crtc) } else { Vec::new() };
        let key = (target, sizes, pipelines);
        let hardware = match self.conversions.get(name).filter(|(known, _)| *known == key) {
            Some((_, hardware)) => hardware.clone(),
            None => {
                let hardware = hardware_conversion(&key);
                self.conversions.insert(name.to_owned(), (key.clone(), hardware.clone()));
                hardware
            }
        };
        let has_hardware = hardware.is_some();
        match gpu.device.set_conversion(name, hardware) {
            Ok(()) if has_hardware => ColorTarget::default(),
            Ok(()) => key.0,
            Err(error) => {
                warn!(display = name, %error, "the kernel refuses a color conversion; converting while rendering");
                key.0
            }
        }
    }

    /// Returns what an output's gamma LUT has to do if that differs from what it does. Outside sRGB
    /// it does nothing.
    pub fn pending_gamma(&self, output: &Output, adjustments: Adjustments) -> Option<Adjustments> {
        let is_srgb = output.state.signal.color_space == ColorSpace::Srgb;
        let wanted = if is_srgb { adjustments } else { Adjustments::default() };
        let applied = self.gamma.get(&output.name);
        let is_applied = applied.map_or(wanted.is_neutral(), |applied| *applied == wanted);
        (!is_applied).then_some(wanted)
    }

    /// An output's gamma LUT does this now.
    pub fn gamma_applied(&mut self, display: &str, adjustments: Adjustments) {
        self.gamma.insert(display.to_owned(), adjustments);
    }

    /// What an output's gamma LUT does is not ours: a tool has set it.
    pub fn gamma_taken(&mut self, display: &str) {
        self.gamma.remove(display);
    }

    /// Forgets outputs that are not enabled any more. Returns their names.
    pub fn retain(&mut self, is_enabled: impl Fn(&str) -> bool) -> Vec<String> {
        let gone: Vec<String> = self.conversions.keys().filter(|name| !is_enabled(name)).cloned().collect();
        for name in &gone {
            self.conversions.remove(name);
            self.gamma.remove(name);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use geom_display::mode::Mode;
    use geom_display::output_config::OutputConfig;

    use super::*;
    use crate::config::open::MAX_ICC_BYTES;
    use crate::output::icc_files::load_icc;

    #[test]
    fn unusable_icc_profile_falls_back_to_srgb_with_a_warning() {
        let (mut color, outputs) = (OutputColor::default(), Outputs::default());
        let mut configs = OutputConfigs::default();
        let mut config = OutputConfig { icc: Some("/no/such.icc".into()), ..OutputConfig::default() };
        config.signal.color_space = Some(ColorSpace::Icc);
        configs.outputs.insert("A".into(), config);
        let unread = color.look_up_icc(&mut configs.clone(), &outputs);
        assert!(unread.is_empty(), "{unread:?}");
        let paths = color.icc_files.take_to_read();
        for path in &paths {
            assert!(color.icc_files.read_ended(path, load_icc(path)));
        }
        let warnings = color.look_up_icc(&mut configs, &outputs);
        assert!(warnings["A"].contains("/no/such.icc"), "{warnings:?}");
        assert_eq!(configs.outputs["A"].signal.color_space, None);
        color.look_up_icc(&mut configs, &outputs);
        assert!(color.icc_files.profile(&paths[0]).is_none(), "it is read again next time");
    }

    #[test]
    fn output_keeps_its_color_space_while_its_icc_profile_is_read() {
        let (mut color, mut outputs) = (OutputColor::default(), Outputs::default());
        let mut configs = OutputConfigs::default();
        let mut config = OutputConfig { icc: Some("/a.icc".into()), ..OutputConfig::default() };
        config.signal.color_space = Some(ColorSpace::Icc);
        configs.outputs.insert("A".into(), config);
        let mut planned = |outputs: &Outputs| {
            let mut configs = configs.clone();
            color.look_up_icc(&mut configs, outputs);
            let config = &configs.outputs["A"];
            (config.icc.clone(), config.signal.color_space)
        };
        assert_eq!(planned(&outputs), (None, None), "it has none yet");
        let state = outputs.entry("A").state_mut();
        (state.mode, state.signal.color_space) = (Some(Mode::new(800, 600, 60_000)), ColorSpace::DisplayP3);
        assert_eq!(planned(&outputs), (None, Some(ColorSpace::DisplayP3)));
        // The one before was dropped, as its display was gone.
        let state = outputs.entry("A").state_mut();
        (state.icc, state.signal.color_space) = (Some("/before.icc".into()), ColorSpace::Icc);
        assert_eq!(planned(&outputs), (None, None));
    }

    #[test]
    fn gamma_lut_is_set_once_per_change() {
        let mut color = OutputColor::default();
        let mut outputs = Outputs::default();
        let output = outputs.entry("A");
        let neutral = color.adjustments(output, None, || unreachable!("no night light"));
        assert_eq!(color.pending_gamma(output, neutral), None, "nothing to do at the start");
        output.state.adjustments.white_point = Some(4000);
        let warm = color.adjustments(output, None, || unreachable!("no night light"));
        assert_eq!(color.pending_gamma(output, warm.clone()), Some(warm.clone()));
        color.gamma_applied("A", warm.clone());
        assert_eq!(color.pending_gamma(output, warm.clone()), None);
        // In another color space frames are converted instead.
        output.state.signal.color_space = ColorSpace::DisplayP3;
        assert_eq!(color.pending_gamma(output, warm.clone()), Some(Adjustments::default()));
        color.gamma_taken("A");
        assert_eq!(color.pending_gamma(output, warm), None);
    }

    #[test]
    fn icc_profile_that_is_no_file_is_refused() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let fifo = folder.path().join("fifo.icc");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU)?;
        let large = folder.path().join("large.icc");
        std::fs::File::create(&large)?.set_len(MAX_ICC_BYTES + 1)?;
        let text = folder.path().join("text.icc");
        std::fs::write(&text, "not a profile")?;
        for (path, reason) in [
            (fifo.as_path(), "not a regular file"),
            (Path::new("/dev/zero"), "not a regular file"),
            (large.as_path(), "larger than 16 MiB"),
            (text.as_path(), "not an ICC profile"),
        ] {
            let error = load_icc(path).expect_err("no profile");
            assert!(error.contains(reason), "{}: {error}", path.display());
        }
        Ok(())
    }
}
