//! Image descriptions of color-management-v1, and the conversion of such images to a target.
//!
//! signal → linear (1 is the reference white) → primaries of the target → its luminance range →
//! its signal, computed at the points of a 3D LUT. Sources: color-management-v1.xml; SMPTE ST 2084;
//! ITU-R BT.2100-2 (HLG); BT.2390-10 (section 5.4, tone mapping to a display of lower luminance).

use std::hash::{Hash, Hasher};

use crate::color_space::ColorSpace;
use crate::glsl::Decode;
use crate::lut::grid_points;
use crate::primaries::{apply, conversion_matrix, Primaries, BT2020, DISPLAY_P3, SRGB};
use crate::target::ColorTarget;
use crate::target_encoding::TargetEncoding;
use crate::transfer::{hlg_decode, pq_decode, pq_encode, srgb_decode, srgb_encode, REFERENCE_WHITE};

/// Peak luminance in cd/m² that most HDR content is mastered for; used if none is given.
const HDR_PEAK: f64 = 1000.0;

/// A transfer function from signal to linear.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TransferFunction {
    /// IEC 61966-2-1.
    Srgb,
    /// A power law with this exponent, as 2.2.
    Power(f64),
    /// SMPTE ST 2084.
    Pq,
    /// ITU-R BT.2100 hybrid log-gamma.
    Hlg,
}

/// Luminances in cd/m².
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Luminances {
    /// Luminance of black.
    pub min: f64,
    /// Luminance of the maximum signal.
    pub max: f64,
    /// Luminance of the reference white, as of text and paper.
    pub reference: f64,
}

impl TransferFunction {
    /// Returns the default luminances (color-management-v1, `set_luminances`).
    pub fn luminances(self) -> Luminances {
        match self {
            Self::Srgb | Self::Power(_) => Luminances { min: 0.2, max: 80.0, reference: 80.0 },
            Self::Pq => Luminances { min: 0.0, max: 10_000.0, reference: 203.0 },
            Self::Hlg => Luminances { min: 0.005, max: 1000.0, reference: 203.0 },
        }
    }
}

/// The color of an image, as its client describes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageDescription {
    /// Primaries and white point.
    pub primaries: Primaries,
    /// Transfer function.
    pub transfer: TransferFunction,
    /// Luminances.
    pub luminances: Luminances,
    /// Maximum luminance of the mastering display in cd/m², if the client gives it.
    pub mastering_max: Option<f64>,
}

impl ImageDescription {
    /// The description of images that have none.
    pub const SRGB: Self = Self {
        primaries: SRGB,
        transfer: TransferFunction::Srgb,
        luminances: Luminances { min: 0.2, max: 80.0, reference: 80.0 },
        mastering_max: None,
    };

    /// Returns a description with the default luminances of the transfer function.
    pub fn new(primaries: Primaries, transfer: TransferFunction) -> Self {
        Self { primaries, transfer, luminances: transfer.luminances(), mastering_max: None }
    }

    /// Returns the description of what an output shows.
    pub fn for_target(target: &ColorTarget) -> Self {
        match target.space {
            ColorSpace::DisplayP3 => Self::new(DISPLAY_P3, TransferFunction::Srgb),
            ColorSpace::Bt2020 => Self::new(BT2020, TransferFunction::Srgb),
            ColorSpace::Bt2020Pq => Self::new(BT2020, TransferFunction::Pq),
            ColorSpace::Bt2020Hlg => Self::new(BT2020, TransferFunction::Hlg),
            ColorSpace::Native => {
                target.native.map_or(Self::SRGB, |native| Self::new(native, TransferFunction::Srgb))
            }
            // An ICC profile converts from sRGB.
            ColorSpace::Srgb | ColorSpace::Icc => Self::SRGB,
        }
    }

    /// Returns whether the description means the same as none. Gamma 2.2 does: sRGB displays have
    /// it.
    pub fn is_srgb(&self) -> bool {
        let is_usual = matches!(self.transfer, TransferFunction::Srgb | TransferFunction::Power(2.2));
        is_usual && self.primaries == SRGB && self.luminances.max == self.luminances.reference
    }

    /// Returns linear values for a signal, in which 1 is the reference white, as on the mastering
    /// display.
    fn decode(&self, signal: [f64; 3]) -> [f64; 3] {
        let Luminances { max, reference, .. } = self.luminances;
        match self.transfer {
            TransferFunction::Srgb => signal.map(|signal| srgb_decode(signal) * max / reference),
            TransferFunction::Power(exponent) => signal.map(|signal| signal.powf(exponent) * max / reference),
            TransferFunction::Pq => signal.map(|signal| pq_decode(signal) * 10_000.0 / reference),
            TransferFunction::Hlg => {
                let scene = signal.map(hlg_decode);
                // The system gamma of a display with 1000 cd/m², applied to luminance to keep hues.
                let luminance = 0.2627 * scene[0] + 0.6780 * scene[1] + 0.0593 * scene[2];
                let gain = if luminance > 0.0 { luminance.powf(0.2) } else { 0.0 };
                scene.map(|scene| scene * gain * max / reference)
            }
        }
    }

    /// Returns the formula from signal to linear for one channel, and a factor for its result;
    /// `None` if the image may exceed the reference white, or the channels depend on each other.
    pub(crate) fn curve(&self) -> Option<(Decode, f64)> {
        let in_range = self.luminances.max <= self.luminances.reference && self.mastering_max.is_none();
        let scale = self.luminances.max / self.luminances.reference;
        let decode = match self.transfer {
            TransferFunction::Srgb => Decode::Srgb,
            TransferFunction::Power(exponent) => Decode::Power(exponent),
            _ => return None,
        };
        in_range.then_some((decode, scale))
    }

    /// Returns the largest linear value of the image.
    fn peak(&self) -> f64 {
        let max = match self.transfer {
            TransferFunction::Pq => self.mastering_max.unwrap_or(HDR_PEAK),
            _ => self.mastering_max.unwrap_or(self.luminances.max),
        };
        max / self.luminances.reference
    }
}

impl Eq for ImageDescription {}

impl Hash for ImageDescription {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let numbers = self.primaries.iter().flat_map(|(x, y)| [*x, *y]);
        numbers.chain([self.luminances.max, self.luminances.reference]).for_each(|number| {
            number.to_bits().hash(state);
        });
    }
}

/// Returns the largest linear value that a target can show, in which 1 is its white.
fn target_peak(target: &ColorTarget) -> f64 {
    match target.space {
        ColorSpace::Bt2020Pq => {
            target.max_luminance.unwrap_or(HDR_PEAK).max(REFERENCE_WHITE) / REFERENCE_WHITE
        }
        ColorSpace::Bt2020Hlg => HDR_PEAK / REFERENCE_WHITE,
        _ => 1.0,
    }
}

/// Maps a linear value of an image with this peak to a target with that peak.
///
/// Dark values are unchanged, and bright ones roll off towards the peak of the target (BT.2390-10,
/// 5.4.1, in PQ; black stays black).
fn tone_map(linear: f64, peak: f64, target_peak: f64) -> f64 {
    let whole = pq_encode(peak);
    let max = pq_encode(target_peak) / whole;
    let knee = 1.5 * max - 0.5;
    let position = (pq_encode(linear) / whole).min(1.0);
    if position <= knee || max >= 1.0 {
        return linear.min(target_peak);
    }
    let part = (position - knee) / (1.0 - knee);
    let (square, cube) = (part * part, part * part * part);
    let rolled = (2.0 * cube - 3.0 * square + 1.0) * knee
        + (cube - 2.0 * square + part) * (1.0 - knee)
        + (3.0 * square - 2.0 * cube) * max;
    (pq_decode(rolled * whole) * 10_000.0 / REFERENCE_WHITE).min(target_peak)
}

/// Computes a 3D LUT from an image's signals to a target's, from 0 to 1, red slowest.
///
/// If `perceptual`, luminances above the target's peak roll off, or else they are clipped. `None`
/// if the primaries span no color space.
pub(crate) fn image_lut(
    from: &ImageDescription,
    target: &ColorTarget,
    perceptual: bool,
) -> Option<Vec<[f64; 3]>> {
    let encoding = TargetEncoding::or_srgb(target);
    let matrix = conversion_matrix(&from.primaries, &encoding.primaries)?;
    let (peak, target_peak) = (from.peak(), target_peak(target));
    let (adjust, encode) = (target.adjustments.adjust_signal(), encoding.encode(&target.adjustments));
    let convert = |signal: [f64; 3]| {
        let mut linear = apply(&matrix, from.decode(signal)).map(|value| value.max(0.0));
        let max = linear.iter().copied().fold(0.0, f64::max);
        if perceptual && peak > target_peak && max > 0.0 {
            let factor = tone_map(max, peak, target_peak) / max;
            linear = linear.map(|value| value * factor);
        }
        let linear = linear.map(|value| value.min(target_peak));
        match &target.icc {
            Some(icc) if target.needs_3d_lut() => {
                let signal = icc.convert(linear.map(srgb_encode));
                std::array::from_fn(|channel| adjust(channel, signal[channel]))
            }
            _ => std::array::from_fn(|channel| encode(channel, linear[channel])),
        }
    };
    Some(grid_points().map(convert).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use strum::VariantArray;

    use super::*;
    use crate::lut::LUT_3D_SIZE;

    fn at(lut: &[[f64; 3]], point: [usize; 3]) -> [f64; 3] {
        lut[(point[0] * LUT_3D_SIZE + point[1]) * LUT_3D_SIZE + point[2]]
    }

    fn target(space: ColorSpace) -> ColorTarget {
        ColorTarget { space, ..ColorTarget::default() }
    }

    fn assert_close(one: [f64; 3], other: [f64; 3], tolerance: f64) {
        let is_close = one.iter().zip(other).all(|(one, other)| (one - other).abs() < tolerance);
        assert!(is_close, "{one:?} {other:?}");
    }

    #[test]
    fn image_in_the_color_of_its_target_is_unchanged() {
        for space in [ColorSpace::Srgb, ColorSpace::DisplayP3, ColorSpace::Bt2020, ColorSpace::Bt2020Pq] {
            let target = ColorTarget { max_luminance: Some(1000.0), ..target(space) };
            let lut = image_lut(&ImageDescription::for_target(&target), &target, true).expect("a LUT");
            for point in [[0, 0, 0], [16, 16, 16], [16, 8, 4], [20, 3, 11]] {
                assert_close(at(&lut, point), point.map(|step| step as f64 / 32.0), 0.001);
            }
        }
    }

    /// P3's red exceeds sRGB and is clipped; sRGB's red is inside P3.
    #[test]
    fn primaries_are_converted_between_srgb_and_p3() {
        let p3 = ImageDescription::new(DISPLAY_P3, TransferFunction::Srgb);
        let to_srgb = image_lut(&p3, &target(ColorSpace::Srgb), true).expect("a LUT");
        assert_close(at(&to_srgb, [32, 0, 0]), [1.0, 0.0, 0.0], 0.001);
        assert_close(at(&to_srgb, [32, 32, 32]), [1.0; 3], 0.001);
        let to_p3 = image_lut(&ImageDescription::SRGB, &target(ColorSpace::DisplayP3), true).expect("a LUT");
        assert_close(at(&to_p3, [32, 0, 0]), [0.9175, 0.2003, 0.1386], 0.001);
    }

    /// On an SDR display, the reference white of HDR is white if highlights are clipped, and less
    /// if they roll off.
    #[test]
    fn hdr_reference_white_leaves_room_for_highlights_on_sdr() {
        let pq = ImageDescription::new(BT2020, TransferFunction::Pq);
        let white = pq_encode(1.0);
        let shown = |signal: f64, perceptual| {
            let lut = image_lut(&pq, &target(ColorSpace::Srgb), perceptual).expect("a LUT");
            let position = signal * 32.0;
            let (below, fraction) = (position.floor() as usize, position.fract());
            at(&lut, [below; 3])[0] * (1.0 - fraction) + at(&lut, [below + 1; 3])[0] * fraction
        };
        // Interpolation rounds the edge of the clipped range.
        assert!((shown(white, false) - 1.0).abs() < 0.04, "{}", shown(white, false));
        assert!((0.75..0.99).contains(&shown(white, true)), "{}", shown(white, true));
        assert!(shown(0.9, true) >= shown(white, true));
    }

    /// BT.2408: the reference white is at 75 % of an HLG signal and at 58 % of a PQ signal.
    #[test]
    fn hlg_reference_white_becomes_pq_reference_white() {
        let hlg = ImageDescription::new(BT2020, TransferFunction::Hlg);
        let target = ColorTarget { max_luminance: Some(1000.0), ..target(ColorSpace::Bt2020Pq) };
        let lut = image_lut(&hlg, &target, true).expect("a LUT");
        assert_close(at(&lut, [24, 24, 24]), [0.58; 3], 0.005);
        assert_close(at(&lut, [32, 32, 32]), [0.7518; 3], 0.005);
    }

    #[test]
    fn only_srgb_and_gamma_2_2_are_srgb() {
        assert!(ImageDescription::SRGB.is_srgb());
        assert!(ImageDescription::new(SRGB, TransferFunction::Power(2.2)).is_srgb());
        assert!(
            !ImageDescription::new(SRGB, TransferFunction::Pq).is_srgb()
                && !ImageDescription::new(BT2020, TransferFunction::Srgb).is_srgb()
        );
    }

    proptest! {
        /// Any description gives, for any target, signals in range and monotonic grays, or no LUT.
        #[test]
        fn signals_are_in_range_and_grays_monotonic(
            x in 0.0f64..0.8, y in 0.0f64..0.9, which in 0usize..4, max in 1.0f64..20_000.0,
            reference in 1.0f64..1000.0, space in 0usize..6, perceptual: bool,
        ) {
            let transfer = [
                TransferFunction::Srgb,
                TransferFunction::Power(2.4),
                TransferFunction::Pq,
                TransferFunction::Hlg,
            ][which];
            let primaries = [(x, y), (0.17, 0.797), (0.131, 0.046), (0.3127, 0.329)];
            let luminances = Luminances { min: 0.0, max, reference };
            let from = ImageDescription { primaries, transfer, luminances, mastering_max: None };
            let space = ColorSpace::VARIANTS[space];
            let target = ColorTarget { native: Some(DISPLAY_P3), ..target(space) };
            if let Some(lut) = image_lut(&from, &target, perceptual) {
                prop_assert!(lut.iter().flatten().all(|signal| (0.0..=1.0).contains(signal)));
                let grays: Vec<f64> = (0..LUT_3D_SIZE).map(|step| at(&lut, [step; 3])[1]).collect();
                prop_assert!(grays.windows(2).all(|pair| pair[0] <= pair[1] + 1e-6), "{grays:?}");
            }
        }
    }
}
