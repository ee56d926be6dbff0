//! The link: what goes down the cable beside the mode. Colour space, bit depth, range, refresh that varies. Pure.
//!
//! Sources: the kernel's drm_connector.c (Colorspace, HDR_OUTPUT_METADATA, max bpc, Broadcast RGB, content type), CTA-861-H for
//! what they become on the wire.

use super::colour::Primaries;
use super::edid::Edid;

/// What a profile may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ColorSpace {
    #[default]
    Srgb,
    DisplayP3,
    /// BT.2020's primaries, SDR.
    Bt2020,
    /// HDR by SMPTE ST 2084.
    Bt2020Pq,
    /// HDR by ITU-R BT.2100 hybrid log-gamma.
    Bt2020Hlg,
    /// The panel's own primaries, from its EDID.
    Native,
    /// By an ICC profile, which goes beside.
    Icc,
}

impl ColorSpace {
    pub const NAMES: [(&'static str, Self); 6] = [
        ("srgb", Self::Srgb),
        ("display-p3", Self::DisplayP3),
        ("bt2020", Self::Bt2020),
        ("bt2020-pq", Self::Bt2020Pq),
        ("bt2020-hlg", Self::Bt2020Hlg),
        ("native", Self::Native),
    ];

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, space)| *space == self).map_or("icc", |(name, _)| name)
    }

    /// What the monitor is told of the pixels' primaries.
    fn colorimetry(self) -> Colorimetry {
        match self {
            Self::Srgb | Self::Native | Self::Icc => Colorimetry::Default,
            Self::DisplayP3 => Colorimetry::DciP3RgbD65,
            Self::Bt2020 | Self::Bt2020Pq | Self::Bt2020Hlg => Colorimetry::Bt2020Rgb,
        }
    }

    /// What it is told of their transfer function (CTA-861-H, table 45).
    fn eotf(self) -> Option<u8> {
        match self {
            Self::Bt2020Pq => Some(2),
            Self::Bt2020Hlg => Some(3),
            _ => None,
        }
    }
}

/// Values of the connector's `Colorspace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Colorimetry {
    #[default]
    Default,
    Bt2020Rgb,
    DciP3RgbD65,
}

impl Colorimetry {
    pub const NAMES: [(&'static str, Self); 3] =
        [("Default", Self::Default), ("BT2020_RGB", Self::Bt2020Rgb), ("DCI-P3_RGB_D65", Self::DciP3RgbD65)];
}

/// Values of `Broadcast RGB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RgbRange {
    #[default]
    Automatic,
    Full,
    Limited,
}

impl RgbRange {
    pub const NAMES: [(&'static str, Self); 3] =
        [("automatic", Self::Automatic), ("full", Self::Full), ("limited", Self::Limited)];
    pub const KMS: [(&'static str, Self); 3] =
        [("Automatic", Self::Automatic), ("Full", Self::Full), ("Limited 16:235", Self::Limited)];
}

/// Values of `content type` (HDMI 1.4b, 8.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ContentType {
    #[default]
    None,
    Graphics,
    Photo,
    Cinema,
    Game,
}

impl ContentType {
    pub const NAMES: [(&'static str, Self); 5] = [
        ("none", Self::None),
        ("graphics", Self::Graphics),
        ("photo", Self::Photo),
        ("cinema", Self::Cinema),
        ("game", Self::Game),
    ];
    pub const KMS: [(&'static str, Self); 5] = [
        ("No Data", Self::None),
        ("Graphics", Self::Graphics),
        ("Photo", Self::Photo),
        ("Cinema", Self::Cinema),
        ("Game", Self::Game),
    ];
}

/// Values of `scaling mode`: how a panel with one mode of its own shows others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scaling {
    /// Left to the monitor.
    #[default]
    None,
    /// Stretched.
    Full,
    /// Pixel for pixel, in the middle.
    Center,
    /// As large as its shape allows.
    Aspect,
}

impl Scaling {
    pub const NAMES: [(&'static str, Self); 4] =
        [("none", Self::None), ("full", Self::Full), ("center", Self::Center), ("aspect", Self::Aspect)];
    pub const KMS: [(&'static str, Self); 4] =
        [("None", Self::None), ("Full", Self::Full), ("Center", Self::Center), ("Full aspect", Self::Aspect)];
}

/// Whether the refresh varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Vrr {
    #[default]
    Off,
    On,
    /// While a window has the whole display.
    Fullscreen,
}

impl Vrr {
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

/// HDR static metadata type 1, in the units of the wire (CTA-861-H, 6.9.1): what our pictures are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HdrMetadata {
    pub eotf: u8,
    /// Red, green, blue and white: x and y in steps of 0.00002.
    pub primaries: [(u16, u16); 4],
    /// cd/m².
    pub max_luminance: u16,
    /// 0.0001 cd/m².
    pub min_luminance: u16,
    /// cd/m²: the brightest pixel and the brightest average of a frame.
    pub max_content: u16,
    pub max_average: u16,
}

impl HdrMetadata {
    /// `struct hdr_output_metadata` (include/uapi/drm/drm_mode.h) as bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        // HDMI_STATIC_METADATA_TYPE1 is 0, as 32 bits and again as 8.
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

/// What a connector and its monitor can.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Abilities {
    /// Of the connector's property; empty without one.
    pub colorimetries: Vec<Colorimetry>,
    pub hdr_metadata: bool,
    /// Bits of a colour, from and to.
    pub depth: Option<(u8, u8)>,
    /// What whoever lit it before us had of them. Other bits are another mode setting, and a dark moment, which nobody wished for.
    pub depth_before: Option<u8>,
    pub rgb_range: bool,
    pub content_type: bool,
    /// Of the connector's property; empty without one.
    pub scalings: Vec<Scaling>,
    /// The monitor's refresh may vary.
    pub vrr: bool,
    /// Our pictures can be had in another colour space than sRGB.
    pub converts: bool,
    /// By its EDID.
    pub monitor: MonitorColour,
}

/// What a monitor says of its colours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MonitorColour {
    pub bt2020_rgb: bool,
    pub dci_p3: bool,
    pub pq: bool,
    pub hlg: bool,
    /// Red, green, blue and white in steps of 0.00002, where it tells.
    pub primaries: Option<[(u16, u16); 4]>,
    /// cd/m².
    pub max_luminance: Option<u16>,
    pub max_average: Option<u16>,
    /// 0.0001 cd/m².
    pub min_luminance: Option<u16>,
}

/// BT.2020's primaries and D65, in steps of 0.00002.
const BT2020: [(u16, u16); 4] = [(35_400, 14_600), (8_500, 39_850), (6_550, 2_300), (15_635, 16_450)];

fn step(value: f64) -> u16 {
    (value * 50_000.0).round().clamp(0.0, 65_535.0) as u16
}

impl From<&Edid> for MonitorColour {
    fn from(edid: &Edid) -> Self {
        let point = |(x, y): (f64, f64)| (step(x), step(y));
        let colour = &edid.chromaticity;
        let primaries = [colour.red, colour.green, colour.blue, colour.white].map(point);
        let told = primaries.iter().all(|(x, y)| *x > 0 && *y > 0);
        let hdr = edid.hdr.as_ref();
        let nits = |value: Option<f64>| value.map(|value| value.round().clamp(0.0, 65_535.0) as u16);
        Self {
            bt2020_rgb: edid.colorimetry.bt2020_rgb,
            dci_p3: edid.colorimetry.dci_p3,
            pq: hdr.is_some_and(|hdr| hdr.pq && hdr.type1),
            hlg: hdr.is_some_and(|hdr| hdr.hlg),
            primaries: told.then_some(primaries),
            max_luminance: nits(hdr.and_then(|hdr| hdr.max_luminance)),
            max_average: nits(hdr.and_then(|hdr| hdr.max_frame_average)),
            min_luminance: nits(hdr.and_then(|hdr| hdr.min_luminance).map(|value| value * 10_000.0)),
        }
    }
}

/// What is wished of a link; `None` leaves it to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkWish {
    pub color_space: Option<ColorSpace>,
    /// Bits of a colour.
    pub bit_depth: Option<u8>,
    pub rgb_range: Option<RgbRange>,
    pub content_type: Option<ContentType>,
    pub scaling: Option<Scaling>,
    pub vrr: Option<Vrr>,
}

impl LinkWish {
    /// Whether a link has all of it.
    pub fn is_met_by(&self, link: &Link) -> bool {
        self.color_space.is_none_or(|wished| wished == link.color_space)
            && self.bit_depth.is_none_or(|wished| Some(wished) == link.bit_depth)
            && self.rgb_range.is_none_or(|wished| wished == link.rgb_range)
            && self.content_type.is_none_or(|wished| wished == link.content_type)
            && self.scaling.is_none_or(|wished| wished == link.scaling)
            && self.vrr.is_none_or(|wished| wished == Vrr::Fullscreen || wished.is_on(false) == link.vrr)
    }

    /// The same, with what `over` says instead.
    pub fn under(self, over: Self) -> Self {
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

/// One display's link as it is asked of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Link {
    pub color_space: ColorSpace,
    pub colorimetry: Colorimetry,
    pub hdr: Option<HdrMetadata>,
    /// Bits of a colour at most; none where the connector has no such property.
    pub bit_depth: Option<u8>,
    pub rgb_range: RgbRange,
    pub content_type: ContentType,
    pub scaling: Scaling,
    pub vrr: bool,
}

/// Bits of a colour that pictures of ours need, and HDR's.
const SDR_DEPTH: u8 = 8;
const HDR_DEPTH: u8 = 10;

/// The link for a wish, of a display that a window has for itself or not, and what of the wish can't be.
pub fn resolve(wish: LinkWish, abilities: &Abilities, fullscreen: bool) -> (Link, Vec<String>) {
    let mut complaints = Vec::new();
    let mut link = Link::default();
    if let Some(space) = wish.color_space {
        match obstacle(space, abilities) {
            None => {
                link.color_space = space;
                link.colorimetry = space.colorimetry();
                link.hdr = space.eotf().map(|eotf| metadata(eotf, &abilities.monitor));
            }
            Some(why) => complaints.push(format!("color_space {} can't be: {why}; using srgb", space.name())),
        }
    }
    link.bit_depth = abilities.depth.and_then(|(least, most)| {
        let before = abilities.depth_before;
        // Some drivers begin with none, which can't be asked for.
        let unset = before.is_some_and(|before| !(least..=most).contains(&before));
        if unset && link.hdr.is_none() && wish.bit_depth.is_none() {
            return None;
        }
        let sdr = before.unwrap_or(SDR_DEPTH);
        let usual = if link.hdr.is_some() { sdr.max(HDR_DEPTH) } else { sdr };
        let wanted = wish.bit_depth.unwrap_or(usual);
        let got = wanted.clamp(least, most.max(least));
        if wish.bit_depth.is_some_and(|wanted| wanted != got) {
            complaints.push(format!(
                "bit_depth {wanted} can't be: its connector has {least} to {most}; using {got}"
            ));
        }
        Some(got)
    });
    let mut lacks = |wished: bool, able: bool, what: &str| {
        if wished && !able {
            complaints.push(format!("{what} can't be: its connector has no such property"));
        }
        wished && able
    };
    if wish.bit_depth.is_some() {
        lacks(true, abilities.depth.is_some(), "bit_depth");
    }
    if lacks(wish.rgb_range.is_some(), abilities.rgb_range, "rgb_range") {
        link.rgb_range = wish.rgb_range.unwrap_or_default();
    }
    if lacks(wish.content_type.is_some(), abilities.content_type, "content_type") {
        link.content_type = wish.content_type.unwrap_or_default();
    }
    match wish.scaling {
        Some(scaling) if abilities.scalings.contains(&scaling) => link.scaling = scaling,
        Some(_) if abilities.scalings.is_empty() => {
            complaints.push("scaling can't be: its connector has no such property".into());
        }
        Some(_) => complaints.push("scaling can't be: its connector does not know this one".into()),
        // Left to the monitor where that can be said; a panel's own scaler knows no such word.
        None => {
            let usual = [Scaling::None, Scaling::Aspect, Scaling::Full];
            let usual = usual.into_iter().find(|usual| abilities.scalings.contains(usual));
            link.scaling = usual.unwrap_or_default();
        }
    }
    if let Some(vrr) = wish.vrr.filter(|vrr| *vrr != Vrr::Off) {
        link.vrr = abilities.vrr && vrr.is_on(fullscreen);
        if !abilities.vrr {
            complaints.push("vrr can't be: the monitor's refresh does not vary".into());
        }
    }
    (link, complaints)
}

/// What keeps a colour space from being shown.
fn obstacle(space: ColorSpace, abilities: &Abilities) -> Option<&'static str> {
    let monitor = &abilities.monitor;
    let told = abilities.colorimetries.contains(&space.colorimetry());
    let understood = match space {
        ColorSpace::Srgb | ColorSpace::Icc => true,
        ColorSpace::DisplayP3 => monitor.dci_p3,
        ColorSpace::Bt2020 => monitor.bt2020_rgb,
        ColorSpace::Bt2020Pq => monitor.bt2020_rgb && monitor.pq,
        ColorSpace::Bt2020Hlg => monitor.bt2020_rgb && monitor.hlg,
        ColorSpace::Native => monitor.primaries.is_some(),
    };
    match () {
        () if space != ColorSpace::Srgb && !abilities.converts => {
            Some("its GPU's renderer does not convert colours")
        }
        () if !understood => Some("the monitor's EDID does not offer it"),
        () if space.colorimetry() != Colorimetry::Default && !told => {
            Some("its connector can't tell the monitor")
        }
        () if space.eotf().is_some() && !abilities.hdr_metadata => {
            Some("its connector sends no HDR metadata")
        }
        () => None,
    }
}

fn metadata(eotf: u8, monitor: &MonitorColour) -> HdrMetadata {
    // Where it does not tell, what most HDR content is mastered for.
    let max = monitor.max_luminance.filter(|nits| *nits > 0).unwrap_or(1000);
    HdrMetadata {
        eotf,
        primaries: monitor.primaries.unwrap_or(BT2020),
        max_luminance: max,
        min_luminance: monitor.min_luminance.unwrap_or(1),
        max_content: max,
        max_average: monitor.max_average.unwrap_or(max),
    }
}

impl MonitorColour {
    /// Its primaries as points of the CIE 1931 diagram.
    pub fn points(&self) -> Option<Primaries> {
        let point = |step: u16| f64::from(step) / 50_000.0;
        self.primaries.map(|primaries| primaries.map(|(x, y)| (point(x), point(y))))
    }
}

impl Link {
    /// What to ask for instead when the kernel refuses, best first, itself included: fewer bits, then a steady refresh, then plain
    /// colours.
    pub fn ladder(self) -> Vec<Self> {
        let mut rungs = vec![self];
        let depths = [16, 12, 10, SDR_DEPTH].into_iter();
        let lower = depths.filter(|depth| self.bit_depth.is_some_and(|own| *depth < own));
        rungs.extend(lower.map(|depth| Self { bit_depth: Some(depth), ..self }));
        let last = rungs.last().copied().unwrap_or(self);
        rungs.push(Self { vrr: false, ..last });
        rungs.push(Self { bit_depth: last.bit_depth, ..Self::default() });
        rungs.dedup();
        rungs
    }

    /// What `given` lacks of this, in words; none where it is all there.
    pub fn given_up(&self, given: &Self) -> Option<String> {
        let mut lost = Vec::new();
        if given.color_space != self.color_space {
            lost.push(format!("color_space {}, using {}", self.color_space.name(), given.color_space.name()));
        }
        if let (Some(wished), Some(given)) = (self.bit_depth, given.bit_depth) {
            if wished != given {
                lost.push(format!("{wished} bits of a colour, using {given}"));
            }
        }
        for (differs, what) in [
            (given.rgb_range != self.rgb_range, "rgb_range"),
            (given.content_type != self.content_type, "content_type"),
            (given.scaling != self.scaling, "scaling"),
            (given.vrr != self.vrr, "vrr"),
        ] {
            if differs {
                lost.push(what.to_owned());
            }
        }
        (!lost.is_empty()).then(|| lost.join("; "))
    }
}

#[cfg(test)]
mod tests;
