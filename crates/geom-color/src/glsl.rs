//! Color conversions as look-up tables for a fragment shader.

use crate::color_space::ColorSpace;
use crate::image_description::{image_lut, ImageDescription};
use crate::primaries::{conversion_matrix, Matrix, SRGB};
use crate::target::ColorTarget;
use crate::target_encoding::TargetEncoding;
use crate::transfer::srgb_decode;

/// A conversion from signals to a target's signals, all from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub enum ShaderLuts {
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

/// Entries of the linear table for codes of 8 bits: four steps per code, so that codes are exact.
const SIZE_8_BIT: usize = 4 * 255 + 1;
/// Entries of the linear table for codes of 10 bits.
const SIZE_10_BIT: usize = 1024;
/// Entries of the signal table.
const SIGNAL_SIZE: usize = 1024;

impl ShaderLuts {
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
        Some(Self::curves(SIZE_8_BIT, srgb_decode, matrix, target))
    }

    /// Returns the conversion of an image with a description. `None` if the primaries span no color
    /// space. See [`ImageConversion::new`](crate::conversion::ImageConversion::new) for
    /// `perceptual`.
    pub fn for_image(description: &ImageDescription, perceptual: bool, target: &ColorTarget) -> Option<Self> {
        if let Some(curve) = description.curve().filter(|_| !target.needs_3d_lut()) {
            let primaries = TargetEncoding::or_srgb(target).primaries;
            let matrix = conversion_matrix(&description.primaries, &primaries)?;
            return Some(Self::curves(SIZE_10_BIT, curve, matrix, target));
        }
        let lut = image_lut(description, target, perceptual)?;
        Some(Self::Lut3d(lut.into_iter().map(|point| point.map(|signal| signal as f32)).collect()))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::adjustments::Adjustments;
    use crate::conversion::Conversion;
    use crate::icc::IccProfile;
    use crate::lut::LUT_3D_SIZE;
    use crate::primaries::apply;

    /// Computes what a shader makes of a pixel with these tables.
    fn shade(luts: &ShaderLuts, signal: [f64; 3]) -> [f64; 3] {
        let sample = |last: usize, input: f64, value: &dyn Fn(usize) -> f32| {
            let position = input.clamp(0.0, 1.0) * last as f64;
            let (below, fraction) = (position.floor() as usize, position.fract());
            f64::from(value(below)) * (1.0 - fraction) + f64::from(value((below + 1).min(last))) * fraction
        };
        match luts {
            ShaderLuts::Curves { linear: decode, matrix, signal: encode } => {
                let linear = signal.map(|signal| sample(decode.len() - 1, signal, &|index| decode[index]));
                let roots = apply(matrix, linear).map(|linear| linear.max(0.0).sqrt().sqrt());
                std::array::from_fn(|channel| {
                    sample(encode.len() - 1, roots[channel], &|index| encode[index][channel])
                })
            }
            ShaderLuts::Lut3d(_) => panic!("not curves"),
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
            let luts = ShaderLuts::for_srgb(&target).unwrap();
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

    #[test]
    fn srgb_and_unknown_primaries_have_no_luts() {
        assert_eq!(ShaderLuts::for_srgb(&ColorTarget::default()), None);
        let native = ColorTarget { space: ColorSpace::Native, ..ColorTarget::default() };
        assert_eq!(ShaderLuts::for_srgb(&native), None);
        let bytes = lcms2::Profile::new_srgb().icc().expect("bytes");
        let icc = IccProfile::parse(&bytes).expect("a profile");
        let icc = Some(Arc::new(IccProfile { matrix_shaper: None, ..icc }));
        let target = ColorTarget { space: ColorSpace::Icc, icc, ..ColorTarget::default() };
        let Some(ShaderLuts::Lut3d(points)) = ShaderLuts::for_srgb(&target) else { panic!("a 3D LUT") };
        assert_eq!(points.len(), LUT_3D_SIZE * LUT_3D_SIZE * LUT_3D_SIZE);
    }
}
