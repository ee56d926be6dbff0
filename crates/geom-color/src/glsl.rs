//! Color conversions for a fragment shader: as formulas where the curves have them, or else as
//! look-up tables.

use crate::color_space::ColorSpace;
use crate::image_description::{image_lut, ImageDescription};
use crate::primaries::{conversion_matrix, Matrix, SRGB};
use crate::target::ColorTarget;
use crate::target_encoding::{EncodingCurve, TargetEncoding};
use crate::transfer::{self, srgb_decode};

/// A conversion from signals to a target's signals, all from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub enum ShaderConversion {
    /// A matrix between two curves that the shader computes.
    Formulas {
        /// From signals to linear values.
        decode: Decode,
        /// The matrix from linear values to the target's.
        matrix: Matrix,
        /// Factors for linear red, green and blue of the target, from 0 to 1.
        gains: [f64; 3],
        /// From the target's linear values to its signals.
        encode: Encode,
    },
    /// A matrix between two curves.
    Curves {
        /// Linear values for evenly spaced signals.
        linear: Vec<f32>,
        /// The matrix from linear values to the target's.
        matrix: Matrix,
        /// Signals of red, green and blue for evenly spaced fourth roots of linear values: near
        /// black, where the curves are steep, steps are small.
        signal: Vec<[f32; 3]>,
    },
    /// Signals at the points of a 3D LUT with [`LUT_3D_SIZE`](crate::lut::LUT_3D_SIZE) points along
    /// each axis, red slowest.
    Lut3d(Vec<[f32; 3]>),
}

/// The formula from a signal to a linear value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decode {
    /// sRGB's.
    Srgb,
    /// A power with this exponent.
    Power(f64),
}

/// The formula from a linear value, in which 1 is the reference white, to a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encode {
    /// sRGB's.
    Srgb,
    /// SMPTE ST 2084.
    Pq,
    /// ITU-R BT.2100 HLG.
    Hlg,
}

/// Entries of the linear table for codes of 8 bits: four steps per code, so that codes are exact.
const SIZE_8_BIT: usize = 4 * 255 + 1;
/// Entries of the linear table for codes of 10 bits.
const SIZE_10_BIT: usize = 1024;
/// Entries of the signal table.
const SIGNAL_SIZE: usize = 1024;

impl ShaderConversion {
    /// Returns the conversion of sRGB.
    ///
    /// `None` if the target shows sRGB unchanged, and if it has no valid primaries or ICC profile.
    pub fn for_srgb(target: &ColorTarget) -> Option<Self> {
        if target.needs_3d_lut() {
            let adjust = target.adjustments.adjust_signal();
            let point = |point: &[f32; 3]| {
                std::array::from_fn(|channel| adjust(channel, f64::from(point[channel])) as f32)
            };
            return Some(Self::Lut3d(target.icc.as_ref()?.lut.iter().map(point).collect()));
        }
        if target.space == ColorSpace::Srgb {
            if target.adjustments.is_neutral() && !target.has_color_layers {
                return None;
            }
        } else {
            TargetEncoding::of(target)?;
        }
        let matrix = conversion_matrix(&SRGB, &TargetEncoding::or_srgb(target).primaries)?;
        let formulas = Self::formulas(Decode::Srgb, matrix, target);
        Some(formulas.unwrap_or_else(|| Self::curves(SIZE_8_BIT, srgb_decode, matrix, target)))
    }

    /// Returns the conversion of an image with a description. `None` if the primaries span no color
    /// space. See [`ImageConversion::new`](crate::conversion::ImageConversion::new) for
    /// `perceptual`.
    pub fn for_image(description: &ImageDescription, perceptual: bool, target: &ColorTarget) -> Option<Self> {
        if let Some(curve) = description.curve().filter(|_| !target.needs_3d_lut()) {
            let primaries = TargetEncoding::or_srgb(target).primaries;
            let matrix = conversion_matrix(&description.primaries, &primaries)?;
            let (decode, scale) = curve;
            let scaled = matrix.map(|row| row.map(|cell| cell * scale));
            let formulas = Self::formulas(decode, scaled, target);
            return Some(formulas.unwrap_or_else(|| {
                Self::curves(SIZE_10_BIT, |signal| decode.linear(signal), scaled, target)
            }));
        }
        let lut = image_lut(description, target, perceptual)?;
        Some(Self::Lut3d(lut.into_iter().map(|point| point.map(|signal| signal as f32)).collect()))
    }

    /// Returns `None` if the target's curve is not one of [`Encode`].
    fn formulas(decode: Decode, matrix: Matrix, target: &ColorTarget) -> Option<Self> {
        let encode = match TargetEncoding::or_srgb(target).curve {
            EncodingCurve::Srgb => Encode::Srgb,
            EncodingCurve::Pq => Encode::Pq,
            EncodingCurve::Hlg => Encode::Hlg,
            EncodingCurve::Profile(_) => return None,
        };
        let has_formula = target.adjustments.calibration.is_none();
        has_formula.then(|| Self::Formulas { decode, matrix, gains: target.adjustments.gains(), encode })
    }

    fn curves(size: usize, decode: impl Fn(f64) -> f64, matrix: Matrix, target: &ColorTarget) -> Self {
        let input = |index: usize, size: usize| index as f64 / (size - 1) as f64;
        let encode = TargetEncoding::or_srgb(target).encode(&target.adjustments);
        let signal = |index: usize| {
            let linear = input(index, SIGNAL_SIZE).powi(4);
            std::array::from_fn(|channel| encode(channel, linear) as f32)
        };
        Self::Curves {
            linear: (0..size).map(|index| decode(input(index, size)) as f32).collect(),
            matrix,
            signal: (0..SIGNAL_SIZE).map(signal).collect(),
        }
    }
}

impl Decode {
    /// Returns the linear value of a signal, both from 0 to 1.
    pub fn linear(self, signal: f64) -> f64 {
        match self {
            Self::Srgb => srgb_decode(signal),
            Self::Power(exponent) => signal.powf(exponent),
        }
    }

    /// Returns the GLSL function `vec3 decode(vec3 signal)` of a [`Decode::Power`] with the uniform
    /// `exponent`, or of another formula.
    pub fn source(self) -> &'static str {
        match self {
            Self::Srgb => {
                "vec3 decode(vec3 signal) {
    vec3 power = pow((signal + 0.055) / 1.055, vec3(2.4));
    return mix(power, signal / 12.92, lessThanEqual(signal, vec3(0.04045)));
}"
            }
            Self::Power(_) => {
                "uniform float exponent;
vec3 decode(vec3 signal) {
    return pow(signal, vec3(exponent));
}"
            }
        }
    }
}

impl Encode {
    /// Returns the GLSL function `vec3 encode(vec3 linear)` for values from 0 to 1.
    pub fn source(self) -> String {
        match self {
            Self::Srgb => "vec3 encode(vec3 linear) {
    vec3 power = 1.055 * pow(linear, vec3(1.0 / 2.4)) - 0.055;
    return mix(power, linear * 12.92, lessThanEqual(linear, vec3(0.0031308)));
}"
            .to_owned(),
            Self::Pq => {
                let [m1, m2, c1, c2, c3] = transfer::PQ_CONSTANTS;
                let scale = transfer::REFERENCE_WHITE / 10_000.0;
                format!(
                    "vec3 encode(vec3 linear) {{
    vec3 power = pow(linear * {scale:?}, vec3({m1:?}));
    return pow(({c1:?} + {c2:?} * power) / (1.0 + {c3:?} * power), vec3({m2:?}));
}}"
                )
            }
            Self::Hlg => {
                let [a, b, c] = transfer::hlg_constants();
                let scale = transfer::hlg_decode(0.75);
                format!(
                    "vec3 encode(vec3 linear) {{
    vec3 scene = linear * {scale:?};
    vec3 high = {a:?} * log(max(12.0 * scene - {b:?}, 1e-6)) + {c:?};
    return mix(high, sqrt(3.0 * scene), lessThanEqual(scene, vec3(1.0 / 12.0)));
}}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::adjustments::{Adjustments, CalibrationCurves};
    use crate::conversion::Conversion;
    use crate::icc::IccProfile;
    use crate::lut::LUT_3D_SIZE;
    use crate::primaries::apply;

    /// Computes what a shader makes of a pixel with these tables.
    fn shade(luts: &ShaderConversion, signal: [f64; 3]) -> [f64; 3] {
        let sample = |last: usize, input: f64, value: &dyn Fn(usize) -> f32| {
            let position = input.clamp(0.0, 1.0) * last as f64;
            let (below, fraction) = (position.floor() as usize, position.fract());
            f64::from(value(below)) * (1.0 - fraction) + f64::from(value((below + 1).min(last))) * fraction
        };
        match luts {
            ShaderConversion::Formulas { decode, matrix, gains, encode } => {
                let linear = apply(matrix, signal.map(|signal| decode.linear(signal)));
                std::array::from_fn(|channel| {
                    let linear = linear[channel].clamp(0.0, 1.0) * gains[channel];
                    match encode {
                        Encode::Srgb => transfer::srgb_encode(linear),
                        Encode::Pq => transfer::pq_encode(linear),
                        Encode::Hlg => transfer::hlg_encode(linear),
                    }
                })
            }
            ShaderConversion::Curves { linear: decode, matrix, signal: encode } => {
                let linear = signal.map(|signal| sample(decode.len() - 1, signal, &|index| decode[index]));
                let roots = apply(matrix, linear).map(|linear| linear.max(0.0).sqrt().sqrt());
                std::array::from_fn(|channel| {
                    sample(encode.len() - 1, roots[channel], &|index| encode[index][channel])
                })
            }
            ShaderConversion::Lut3d(_) => panic!("not curves"),
        }
    }

    /// Within one code of 255 of the conversion on the CPU, which is tested against Little CMS.
    #[test]
    fn shader_agrees_with_cpu_conversion() {
        let adjustments = Adjustments { white_point: 5000, brightness: 0.7, ..Adjustments::default() };
        let targets = [
            ColorTarget { space: ColorSpace::DisplayP3, ..ColorTarget::default() },
            ColorTarget {
                space: ColorSpace::Bt2020,
                adjustments: adjustments.clone(),
                ..ColorTarget::default()
            },
            ColorTarget { space: ColorSpace::Bt2020Pq, ..ColorTarget::default() },
            ColorTarget { space: ColorSpace::Bt2020Hlg, ..ColorTarget::default() },
            ColorTarget { adjustments, ..ColorTarget::default() },
            ColorTarget { has_color_layers: true, ..ColorTarget::default() },
        ];
        for target in targets {
            let luts = ShaderConversion::for_srgb(&target).unwrap();
            let conversion = Conversion::new(&target).unwrap();
            let steps = || (0..=255u8).step_by(15);
            for (red, green, blue) in steps()
                .flat_map(|red| steps().flat_map(move |green| steps().map(move |blue| (red, green, blue))))
            {
                let shaded = shade(&luts, [red, green, blue].map(|code| f64::from(code) / 255.0));
                let mut converted = [0; 4];
                conversion.convert_row(&[blue, green, red, 0], &mut converted);
                for (shaded, converted) in shaded.into_iter().zip([converted[2], converted[1], converted[0]])
                {
                    let error = (shaded * 255.0 - f64::from(converted)).abs();
                    assert!(
                        error <= 1.0,
                        "{:?} of {red} {green} {blue}: {}, {converted}",
                        target.space,
                        shaded * 255.0
                    );
                }
            }
        }
    }

    /// A matrix and curves in an ICC profile, and calibration curves, have no formula.
    #[test]
    fn conversions_are_formulas_where_curves_have_them() {
        let kind = |target: &ColorTarget| match ShaderConversion::for_srgb(target) {
            Some(ShaderConversion::Formulas { encode, .. }) => Some(encode),
            _ => None,
        };
        let of = |space| ColorTarget { space, ..ColorTarget::default() };
        assert_eq!(kind(&of(ColorSpace::DisplayP3)), Some(Encode::Srgb));
        assert_eq!(kind(&of(ColorSpace::Bt2020Pq)), Some(Encode::Pq));
        assert_eq!(kind(&of(ColorSpace::Bt2020Hlg)), Some(Encode::Hlg));
        let curve = vec![0.0, 0.4, 1.0];
        let calibration = Some(Arc::new(CalibrationCurves([curve.clone(), curve.clone(), curve])));
        let adjustments = Adjustments { calibration, ..Adjustments::default() };
        assert_eq!(kind(&ColorTarget { adjustments, ..of(ColorSpace::DisplayP3) }), None);
    }

    #[test]
    fn srgb_and_unknown_primaries_have_no_luts() {
        assert_eq!(ShaderConversion::for_srgb(&ColorTarget::default()), None);
        let native = ColorTarget { space: ColorSpace::Native, ..ColorTarget::default() };
        assert_eq!(ShaderConversion::for_srgb(&native), None);
        let bytes = lcms2::Profile::new_srgb().icc().expect("bytes");
        let icc = IccProfile::parse(&bytes).expect("a profile");
        let icc = Some(Arc::new(IccProfile { matrix_shaper: None, ..icc }));
        let target = ColorTarget { space: ColorSpace::Icc, icc, ..ColorTarget::default() };
        let Some(ShaderConversion::Lut3d(points)) = ShaderConversion::for_srgb(&target) else {
            panic!("a 3D LUT")
        };
        assert_eq!(points.len(), LUT_3D_SIZE * LUT_3D_SIZE * LUT_3D_SIZE);
    }
}
