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
        Self::NAMES.iter().find(|(_, space)| *space == self).map_or("srgb", |(name, _)| name)
    }

    /// What the monitor is told of the pixels' primaries.
    fn colorimetry(self) -> Colorimetry {
        match self {
            Self::Srgb | Self::Native => Colorimetry::Default,
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
    pub rgb_range: bool,
    pub content_type: bool,
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
    pub vrr: Option<bool>,
}

impl LinkWish {
    /// Whether a link has all of it.
    pub fn is_met_by(&self, link: &Link) -> bool {
        self.color_space.is_none_or(|wished| wished == link.color_space)
            && self.bit_depth.is_none_or(|wished| Some(wished) == link.bit_depth)
            && self.rgb_range.is_none_or(|wished| wished == link.rgb_range)
            && self.content_type.is_none_or(|wished| wished == link.content_type)
            && self.vrr.is_none_or(|wished| wished == link.vrr)
    }

    /// The same, with what `over` says instead.
    pub fn under(self, over: Self) -> Self {
        Self {
            color_space: over.color_space.or(self.color_space),
            bit_depth: over.bit_depth.or(self.bit_depth),
            rgb_range: over.rgb_range.or(self.rgb_range),
            content_type: over.content_type.or(self.content_type),
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
    pub vrr: bool,
}

/// Bits of a colour that pictures of ours need, and HDR's.
const SDR_DEPTH: u8 = 8;
const HDR_DEPTH: u8 = 10;

/// The link for a wish, and what of the wish can't be.
pub fn resolve(wish: LinkWish, abilities: &Abilities) -> (Link, Vec<String>) {
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
    link.bit_depth = abilities.depth.map(|(least, most)| {
        let usual = if link.hdr.is_some() { HDR_DEPTH } else { SDR_DEPTH };
        let wanted = wish.bit_depth.unwrap_or(usual);
        let got = wanted.clamp(least, most.max(least));
        if wish.bit_depth.is_some_and(|wanted| wanted != got) {
            complaints.push(format!(
                "bit_depth {wanted} can't be: its connector has {least} to {most}; using {got}"
            ));
        }
        got
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
    if wish.vrr == Some(true) {
        link.vrr = abilities.vrr;
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
        ColorSpace::Srgb => true,
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn able() -> Abilities {
        Abilities {
            colorimetries: Colorimetry::NAMES.map(|(_, value)| value).to_vec(),
            hdr_metadata: true,
            depth: Some((8, 16)),
            rgb_range: true,
            content_type: true,
            vrr: true,
            converts: true,
            monitor: MonitorColour {
                bt2020_rgb: true,
                dci_p3: true,
                pq: true,
                hlg: true,
                primaries: Some(BT2020),
                max_luminance: Some(600),
                max_average: Some(400),
                min_luminance: Some(500),
            },
        }
    }

    #[test]
    fn hdr_brings_its_metadata_and_ten_bits() {
        let wish = LinkWish { color_space: Some(ColorSpace::Bt2020Pq), ..LinkWish::default() };
        let (link, complaints) = resolve(wish, &able());
        assert_eq!(complaints, Vec::<String>::new());
        assert_eq!((link.colorimetry, link.bit_depth), (Colorimetry::Bt2020Rgb, Some(10)));
        let bytes = link.hdr.map(HdrMetadata::to_bytes).unwrap_or_default();
        // Type 0, EOTF 2, type 0, then red's x and y; the last is the frames' average.
        assert_eq!(&bytes[..6], [0, 0, 0, 0, 2, 0]);
        assert_eq!(u16::from_ne_bytes([bytes[6], bytes[7]]), 35_400);
        assert_eq!(u16::from_ne_bytes([bytes[28], bytes[29]]), 400);
        assert_eq!(&bytes[30..], [0, 0]);
    }

    #[test]
    fn what_can_t_be_is_told_and_the_rest_applies() {
        let wish = LinkWish {
            color_space: Some(ColorSpace::Bt2020Hlg),
            bit_depth: Some(16),
            rgb_range: Some(RgbRange::Full),
            content_type: Some(ContentType::Game),
            vrr: Some(true),
        };
        let poor =
            Abilities { depth: Some((8, 12)), content_type: true, converts: true, ..Abilities::default() };
        let (link, complaints) = resolve(wish, &poor);
        assert_eq!(link, Link { bit_depth: Some(12), content_type: ContentType::Game, ..Link::default() });
        assert_eq!(
            complaints,
            [
                "color_space bt2020-hlg can't be: the monitor's EDID does not offer it; using srgb",
                "bit_depth 16 can't be: its connector has 8 to 12; using 12",
                "rgb_range can't be: its connector has no such property",
                "vrr can't be: the monitor's refresh does not vary",
            ]
        );
    }

    #[test]
    fn fewer_bits_come_before_plain_colours() {
        let wish = LinkWish {
            color_space: Some(ColorSpace::Bt2020Pq),
            bit_depth: Some(12),
            vrr: Some(true),
            ..LinkWish::default()
        };
        let (link, _) = resolve(wish, &able());
        let rungs: Vec<_> =
            link.ladder().iter().map(|rung| (rung.color_space.name(), rung.bit_depth, rung.vrr)).collect();
        assert_eq!(
            rungs,
            [
                ("bt2020-pq", Some(12), true),
                ("bt2020-pq", Some(10), true),
                ("bt2020-pq", Some(8), true),
                ("bt2020-pq", Some(8), false),
                ("srgb", Some(8), false),
            ]
        );
        let last = link.ladder().pop().unwrap_or_default();
        assert_eq!(
            link.given_up(&last).as_deref(),
            Some("color_space bt2020-pq, using srgb; 12 bits of a colour, using 8; vrr")
        );
        assert_eq!(Link::default().ladder(), [Link::default()]);
    }

    proptest! {
        /// Whatever is wished of whatever can be: nothing is asked that the connector lacks, and the ladder ends plain.
        #[test]
        fn nothing_is_asked_that_can_t_be(
            space in prop::option::of(prop::sample::select(ColorSpace::NAMES.map(|(_, space)| space).to_vec())),
            bits in prop::option::of(0u8..20), range in prop::option::of(Just(RgbRange::Full)),
            content in prop::option::of(Just(ContentType::Photo)), vrr in prop::option::of(any::<bool>()),
            flags in any::<[bool; 9]>(), depth in prop::option::of((6u8..12, 8u8..17)),
        ) {
            let whole = able();
            let abilities = Abilities {
                colorimetries: if flags[0] { whole.colorimetries } else { Vec::new() },
                hdr_metadata: flags[1],
                depth,
                rgb_range: flags[2],
                content_type: flags[3],
                vrr: flags[4],
                converts: whole.converts,
                monitor: MonitorColour { bt2020_rgb: flags[5], pq: flags[6], hlg: flags[7], dci_p3: flags[8], ..whole.monitor },
            };
            let wish = LinkWish { color_space: space, bit_depth: bits, rgb_range: range, content_type: content, vrr };
            let (link, _) = resolve(wish, &abilities);
            for rung in link.ladder() {
                prop_assert!(rung.colorimetry == Colorimetry::Default || abilities.colorimetries.contains(&rung.colorimetry));
                prop_assert!(rung.hdr.is_none() || abilities.hdr_metadata);
                prop_assert_eq!(rung.bit_depth.is_some(), depth.is_some());
                prop_assert!(rung.rgb_range == RgbRange::Automatic || abilities.rgb_range);
                prop_assert!(!rung.vrr || abilities.vrr);
            }
            let last = link.ladder().pop().unwrap_or_default();
            prop_assert_eq!(Link { bit_depth: None, ..last }, Link::default());
        }
    }
}
