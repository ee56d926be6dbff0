//! The signal format of an output: what is sent to the monitor besides the mode. Color space, bit
//! depth, quantization range, content type, scaling, variable refresh rate.
//!
//! Variants have the names of configuration and control protocol (`strum`), and the property `kms`
//! with the kernel's name of the value.
//!
//! Sources: the kernel's drm_connector.c (`Colorspace`, `HDR_OUTPUT_METADATA`, `max bpc`,
//! `Broadcast RGB`, `content type`), and CTA-861-H for the InfoFrames that they become.

use geom_color::color_space::ColorSpace;
use geom_color::primaries::Primaries;
use geom_edid::Edid;
use strum::{EnumProperty, IntoStaticStr, VariantArray};

/// Values of the connector's `Colorspace` property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, EnumProperty, VariantArray)]
pub enum Colorimetry {
    /// The monitor's default.
    #[default]
    #[strum(props(kms = "Default"))]
    Default,
    /// BT.2020 RGB.
    #[strum(props(kms = "BT2020_RGB"))]
    Bt2020Rgb,
    /// P3 RGB with white point D65.
    #[strum(props(kms = "DCI-P3_RGB_D65"))]
    DciP3RgbD65,
}

impl Colorimetry {
    /// Returns the colorimetry that is signaled for a color space.
    fn of(space: ColorSpace) -> Self {
        match space {
            ColorSpace::Srgb | ColorSpace::Native | ColorSpace::Icc => Self::Default,
            ColorSpace::DisplayP3 => Self::DciP3RgbD65,
            ColorSpace::Bt2020 | ColorSpace::Bt2020Pq | ColorSpace::Bt2020Hlg => Self::Bt2020Rgb,
        }
    }
}

/// Returns the EOTF that is signaled for a color space (CTA-861-H, table 45); `None` for SDR.
fn eotf(space: ColorSpace) -> Option<u8> {
    match space {
        ColorSpace::Bt2020Pq => Some(2),
        ColorSpace::Bt2020Hlg => Some(3),
        _ => None,
    }
}

/// Values of the connector's `Broadcast RGB` property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, EnumProperty, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum RgbRange {
    /// The range that the standard defines for the mode.
    #[default]
    #[strum(props(kms = "Automatic"))]
    Automatic,
    /// Full range.
    #[strum(props(kms = "Full"))]
    Full,
    /// Limited range: 16 to 235 of 255.
    #[strum(props(kms = "Limited 16:235"))]
    Limited,
}

/// Values of the connector's `content type` property (HDMI 1.4b, 8.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, EnumProperty, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum ContentType {
    /// Not signaled.
    #[default]
    #[strum(props(kms = "No Data"))]
    None,
    /// Text and graphics.
    #[strum(props(kms = "Graphics"))]
    Graphics,
    /// Still images.
    #[strum(props(kms = "Photo"))]
    Photo,
    /// Movies.
    #[strum(props(kms = "Cinema"))]
    Cinema,
    /// Games.
    #[strum(props(kms = "Game"))]
    Game,
}

/// Values of the connector's `scaling mode` property: how a panel with a fixed mode shows others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, EnumProperty, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Scaling {
    /// The monitor scales.
    #[default]
    #[strum(props(kms = "None"))]
    None,
    /// Stretched to the panel.
    #[strum(props(kms = "Full"))]
    Full,
    /// Centered, not scaled.
    #[strum(props(kms = "Center"))]
    Center,
    /// As large as possible with the same aspect ratio.
    #[strum(props(kms = "Full aspect"))]
    Aspect,
}

/// When the refresh rate is variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Vrr {
    /// Never.
    #[default]
    Off,
    /// Always.
    On,
    /// While the output has a fullscreen window.
    Fullscreen,
}

impl Vrr {
    /// Returns whether the refresh rate is variable now.
    pub fn is_on(self, fullscreen: bool) -> bool {
        self == Self::On || (self == Self::Fullscreen && fullscreen)
    }
}

impl From<bool> for Vrr {
    fn from(on: bool) -> Self {
        if on {
            Self::On
        } else {
            Self::Off
        }
    }
}

/// HDR static metadata type 1, in the units of the InfoFrame (CTA-861-H, 6.9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HdrMetadata {
    /// The EOTF (CTA-861-H, table 45).
    pub eotf: u8,
    /// x and y of red, green, blue and white in units of 0.00002.
    pub primaries: [(u16, u16); 4],
    /// Maximum luminance of the mastering display in cd/m².
    pub max_luminance: u16,
    /// Its minimum luminance in 0.0001 cd/m².
    pub min_luminance: u16,
    /// Maximum content light level in cd/m².
    pub max_content: u16,
    /// Maximum frame-average light level in cd/m².
    pub max_average: u16,
}

impl HdrMetadata {
    /// Returns `struct hdr_output_metadata` (include/uapi/drm/drm_mode.h) as bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        // HDMI_STATIC_METADATA_TYPE1 is 0: 32 bits, and 8 bits again after the EOTF.
        let mut bytes = [0; 32];
        bytes[4] = self.eotf;
        let primaries = self.primaries.iter().flat_map(|(x, y)| [*x, *y]);
        let words =
            primaries.chain([self.max_luminance, self.min_luminance, self.max_content, self.max_average]);
        for (to, word) in bytes[6..].chunks_exact_mut(2).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

/// What a connector and its monitor support.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Values of `Colorspace`; empty without the property.
    pub colorimetries: Vec<Colorimetry>,
    /// Whether the connector has `HDR_OUTPUT_METADATA`.
    pub hdr_metadata: bool,
    /// Minimum and maximum of `max bpc`.
    pub depth: Option<(u8, u8)>,
    /// `max bpc` set by the previous DRM master. Kept if nothing is configured, because changing it
    /// forces a full modeset.
    pub inherited_depth: Option<u8>,
    /// Whether the connector has `Broadcast RGB`.
    pub rgb_range: bool,
    /// Whether the connector has `content type`.
    pub content_type: bool,
    /// Values of `scaling mode`; empty without the property.
    pub scalings: Vec<Scaling>,
    /// Whether the refresh rate can be variable.
    pub vrr: bool,
    /// Whether the renderer can convert to other color spaces than sRGB.
    pub converts: bool,
    /// What the monitor supports.
    pub monitor: MonitorColor,
}

/// The color that a monitor supports, from its EDID.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MonitorColor {
    /// BT.2020 RGB.
    pub bt2020_rgb: bool,
    /// DCI-P3.
    pub dci_p3: bool,
    /// SMPTE ST 2084 with static metadata type 1.
    pub pq: bool,
    /// Hybrid log-gamma.
    pub hlg: bool,
    /// x and y of red, green, blue and white in units of 0.00002.
    pub primaries: Option<[(u16, u16); 4]>,
    /// Maximum luminance in cd/m².
    pub max_luminance: Option<u16>,
    /// Maximum frame-average luminance in cd/m².
    pub max_average: Option<u16>,
    /// Minimum luminance in 0.0001 cd/m².
    pub min_luminance: Option<u16>,
}

/// Units of a chromaticity: 0.00002.
const UNITS_PER_ONE: f64 = 50_000.0;

/// The primaries of BT.2020 and D65, in units of 0.00002.
const BT2020: [(u16, u16); 4] = [(35_400, 14_600), (8_500, 39_850), (6_550, 2_300), (15_635, 16_450)];

impl From<&Edid> for MonitorColor {
    fn from(edid: &Edid) -> Self {
        let units = |value: f64| (value * UNITS_PER_ONE).round().clamp(0.0, 65_535.0) as u16;
        let point = |(x, y): (f64, f64)| (units(x), units(y));
        let color = &edid.chromaticity;
        let primaries = [color.red, color.green, color.blue, color.white].map(point);
        let is_given = primaries.iter().all(|(x, y)| *x > 0 && *y > 0);
        let hdr = edid.hdr.as_ref();
        let rounded = |value: Option<f64>| value.map(|value| value.round().clamp(0.0, 65_535.0) as u16);
        Self {
            bt2020_rgb: edid.colorimetry.bt2020_rgb,
            dci_p3: edid.colorimetry.dci_p3,
            pq: hdr.is_some_and(|hdr| hdr.pq && hdr.type1),
            hlg: hdr.is_some_and(|hdr| hdr.hlg),
            primaries: is_given.then_some(primaries),
            max_luminance: rounded(hdr.and_then(|hdr| hdr.max_luminance)),
            max_average: rounded(hdr.and_then(|hdr| hdr.max_frame_average)),
            min_luminance: rounded(hdr.and_then(|hdr| hdr.min_luminance).map(|value| value * 10_000.0)),
        }
    }
}

impl MonitorColor {
    /// Returns the primaries as chromaticities.
    pub fn points(&self) -> Option<Primaries> {
        let one = |units: u16| f64::from(units) / UNITS_PER_ONE;
        self.primaries.map(|primaries| primaries.map(|(x, y)| (one(x), one(y))))
    }
}

/// The configured signal format; `None` leaves the choice to [`resolve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SignalConfig {
    /// Color space.
    pub color_space: Option<ColorSpace>,
    /// Bits per color.
    pub bit_depth: Option<u8>,
    /// RGB quantization range.
    pub rgb_range: Option<RgbRange>,
    /// Content type.
    pub content_type: Option<ContentType>,
    /// Scaling.
    pub scaling: Option<Scaling>,
    /// Variable refresh rate.
    pub vrr: Option<Vrr>,
}

impl SignalConfig {
    /// Returns whether a signal format is as configured.
    pub fn matches(&self, signal: &SignalFormat) -> bool {
        self.color_space.is_none_or(|space| space == signal.color_space)
            && self.bit_depth.is_none_or(|depth| Some(depth) == signal.bit_depth)
            && self.rgb_range.is_none_or(|range| range == signal.rgb_range)
            && self.content_type.is_none_or(|content| content == signal.content_type)
            && self.scaling.is_none_or(|scaling| scaling == signal.scaling)
            && self.vrr.is_none_or(|vrr| vrr == Vrr::Fullscreen || vrr.is_on(false) == signal.vrr)
    }

    /// Returns this configuration with the fields that `over` sets replaced.
    #[must_use]
    pub fn overridden_by(self, over: Self) -> Self {
        Self {
            color_space: over.color_space.or(self.color_space),
            bit_depth: over.bit_depth.or(self.bit_depth),
            rgb_range: over.rgb_range.or(self.rgb_range),
            content_type: over.content_type.or(self.content_type),
            scaling: over.scaling.or(self.scaling),
            vrr: over.vrr.or(self.vrr),
        }
    }
}

/// The signal format of an output, as it is set in KMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SignalFormat {
    /// Color space of the framebuffer after conversion.
    pub color_space: ColorSpace,
    /// `Colorspace`.
    pub colorimetry: Colorimetry,
    /// `HDR_OUTPUT_METADATA`.
    pub hdr: Option<HdrMetadata>,
    /// `max bpc`: maximum bits per color. `None` without the property, and if its value is left as
    /// it is.
    pub bit_depth: Option<u8>,
    /// `Broadcast RGB`.
    pub rgb_range: RgbRange,
    /// `content type`.
    pub content_type: ContentType,
    /// `scaling mode`.
    pub scaling: Scaling,
    /// `VRR_ENABLED`.
    pub vrr: bool,
}

/// Bits per color that SDR needs.
const SDR_DEPTH: u8 = 8;
/// Bits per color that HDR needs.
const HDR_DEPTH: u8 = 10;
/// Luminance in cd/m² that most HDR content is mastered for.
const HDR_MAX_LUMINANCE: u16 = 1000;

/// Returns the signal format for a configuration, and as text each setting that cannot be applied.
///
/// `fullscreen` is whether the output has a fullscreen window.
pub fn resolve(
    config: SignalConfig,
    capabilities: &Capabilities,
    fullscreen: bool,
) -> (SignalFormat, Vec<String>) {
    let mut warnings = Vec::new();
    let mut signal = SignalFormat::default();
    if let Some(space) = config.color_space {
        match obstacle(space, capabilities) {
            None => {
                signal.color_space = space;
                signal.colorimetry = Colorimetry::of(space);
                signal.hdr = eotf(space).map(|eotf| hdr_metadata(eotf, &capabilities.monitor));
            }
            Some(why) => {
                let name = space.name();
                warnings.push(format!("color_space {name} cannot be applied: {why}; using srgb"));
            }
        }
    }
    signal.bit_depth = capabilities.depth.and_then(|(min, max)| {
        let inherited = capabilities.inherited_depth;
        // Some drivers begin with 0, which is not a valid value to set.
        let is_unset = inherited.is_some_and(|inherited| !(min..=max).contains(&inherited));
        if is_unset && signal.hdr.is_none() && config.bit_depth.is_none() {
            return None;
        }
        let sdr = inherited.unwrap_or(SDR_DEPTH);
        let default = if signal.hdr.is_some() { sdr.max(HDR_DEPTH) } else { sdr };
        let wanted = config.bit_depth.unwrap_or(default);
        let used = wanted.clamp(min, max.max(min));
        if config.bit_depth.is_some_and(|configured| configured != used) {
            warnings.push(format!(
                "bit_depth {wanted} cannot be applied: the connector supports {min} to {max}; using {used}"
            ));
        }
        Some(used)
    });
    let mut applies = |is_configured: bool, has_property: bool, what: &str| {
        if is_configured && !has_property {
            warnings.push(format!("{what} cannot be applied: the connector has no such property"));
        }
        is_configured && has_property
    };
    applies(config.bit_depth.is_some(), capabilities.depth.is_some(), "bit_depth");
    if applies(config.rgb_range.is_some(), capabilities.rgb_range, "rgb_range") {
        signal.rgb_range = config.rgb_range.unwrap_or_default();
    }
    if applies(config.content_type.is_some(), capabilities.content_type, "content_type") {
        signal.content_type = config.content_type.unwrap_or_default();
    }
    match config.scaling {
        Some(scaling) if capabilities.scalings.contains(&scaling) => signal.scaling = scaling,
        Some(_) if capabilities.scalings.is_empty() => {
            warnings.push("scaling cannot be applied: the connector has no such property".into());
        }
        Some(_) => warnings.push("scaling cannot be applied: the connector has no such value".into()),
        // The monitor scales if the property has that value; a panel's own scaler lacks it.
        None => {
            let defaults = [Scaling::None, Scaling::Aspect, Scaling::Full];
            let default = defaults.into_iter().find(|default| capabilities.scalings.contains(default));
            signal.scaling = default.unwrap_or_default();
        }
    }
    if let Some(vrr) = config.vrr.filter(|vrr| *vrr != Vrr::Off) {
        signal.vrr = capabilities.vrr && vrr.is_on(fullscreen);
        if !capabilities.vrr {
            warnings.push("vrr cannot be applied: the monitor has no variable refresh rate".into());
        }
    }
    (signal, warnings)
}

/// Returns why a color space cannot be used.
fn obstacle(space: ColorSpace, capabilities: &Capabilities) -> Option<&'static str> {
    let monitor = &capabilities.monitor;
    let can_signal = capabilities.colorimetries.contains(&Colorimetry::of(space));
    let is_supported = match space {
        ColorSpace::Srgb | ColorSpace::Icc => true,
        ColorSpace::DisplayP3 => monitor.dci_p3,
        ColorSpace::Bt2020 => monitor.bt2020_rgb,
        ColorSpace::Bt2020Pq => monitor.bt2020_rgb && monitor.pq,
        ColorSpace::Bt2020Hlg => monitor.bt2020_rgb && monitor.hlg,
        ColorSpace::Native => monitor.primaries.is_some(),
    };
    match () {
        () if space != ColorSpace::Srgb && !capabilities.converts => {
            Some("the GPU's renderer does not convert colors")
        }
        () if !is_supported => Some("the monitor's EDID does not offer it"),
        () if Colorimetry::of(space) != Colorimetry::Default && !can_signal => {
            Some("the connector cannot signal it to the monitor")
        }
        () if eotf(space).is_some() && !capabilities.hdr_metadata => {
            Some("the connector sends no HDR metadata")
        }
        () => None,
    }
}

/// Returns the metadata for an EOTF; what the monitor does not give is as most HDR content has it.
fn hdr_metadata(eotf: u8, monitor: &MonitorColor) -> HdrMetadata {
    let max = monitor.max_luminance.filter(|value| *value > 0).unwrap_or(HDR_MAX_LUMINANCE);
    HdrMetadata {
        eotf,
        primaries: monitor.primaries.unwrap_or(BT2020),
        max_luminance: max,
        min_luminance: monitor.min_luminance.unwrap_or(1),
        max_content: max,
        max_average: monitor.max_average.unwrap_or(max),
    }
}

impl SignalFormat {
    /// Returns what to try if the kernel refuses this format, best first, itself included: fewer
    /// bits, then a fixed refresh rate, then sRGB.
    pub fn fallbacks(self) -> Vec<Self> {
        let mut fallbacks = vec![self];
        let depths = [16, 12, 10, SDR_DEPTH].into_iter();
        let lower = depths.filter(|depth| self.bit_depth.is_some_and(|own| *depth < own));
        fallbacks.extend(lower.map(|depth| Self { bit_depth: Some(depth), ..self }));
        let last = fallbacks.last().copied().unwrap_or(self);
        fallbacks.push(Self { vrr: false, ..last });
        fallbacks.push(Self { bit_depth: last.bit_depth, ..Self::default() });
        fallbacks.dedup();
        fallbacks
    }

    /// Returns as text what a format lacks of this one; `None` if it lacks nothing.
    pub fn differences(&self, found: &Self) -> Option<String> {
        let mut lacking = Vec::new();
        if found.color_space != self.color_space {
            let (own, found) = (self.color_space.name(), found.color_space.name());
            lacking.push(format!("color_space {own}, using {found}"));
        }
        if let (Some(own), Some(found)) = (self.bit_depth, found.bit_depth) {
            if own != found {
                lacking.push(format!("bit_depth {own}, using {found}"));
            }
        }
        for (differs, what) in [
            (found.rgb_range != self.rgb_range, "rgb_range"),
            (found.content_type != self.content_type, "content_type"),
            (found.scaling != self.scaling, "scaling"),
            (found.vrr != self.vrr, "vrr"),
        ] {
            if differs {
                lacking.push(what.to_owned());
            }
        }
        (!lacking.is_empty()).then(|| lacking.join("; "))
    }
}

#[cfg(test)]
mod tests;
