//! A color conversion in a CRTC's color pipeline: DEGAMMA_LUT, CTM, GAMMA_LUT.
//!
//! Source: the kernel's drm_color_mgmt.c. LUTs with few entries are too coarse for some color
//! spaces, so the result of the hardware is computed beforehand and compared with the exact one.

use crate::accuracy::{exact_conversion, max_error, MAX_ERROR};
use crate::lut::{lut_1d, sample_1d, Lut1d};
use crate::primaries::{apply, conversion_matrix, s31_32, Matrix, SRGB};
use crate::target::ColorTarget;
use crate::target_encoding::TargetEncoding;
use crate::transfer::srgb_decode;

/// The values of a CRTC's color properties.
#[derive(Debug, Clone, PartialEq)]
pub struct CrtcPipeline {
    /// DEGAMMA_LUT: from signal to linear.
    pub degamma: Lut1d,
    matrix: Matrix,
    /// GAMMA_LUT: from linear to signal.
    pub gamma: Lut1d,
}

fn quantize(value: f64) -> u16 {
    (value.clamp(0.0, 1.0) * 65_535.0).round() as u16
}

impl CrtcPipeline {
    /// Returns the pipeline for a target, by the sizes of the hardware's LUTs.
    ///
    /// `None` if the target needs no conversion, if a matrix is not enough (ICC profiles with
    /// tables), and if the LUTs are too coarse: more than one code of 255 off.
    pub fn for_target(target: &ColorTarget, degamma_size: usize, gamma_size: usize) -> Option<Self> {
        if degamma_size < 2 || gamma_size < 2 {
            return None;
        }
        let encoding = TargetEncoding::of(target)?;
        let matrix = conversion_matrix(&SRGB, &encoding.primaries)?;
        let encode = encoding.encode(&target.adjustments);
        let clamped = |channel: usize, linear: f64| encode(channel, linear.clamp(0.0, 1.0));
        let pipeline = Self {
            degamma: lut_1d(degamma_size, quantize, |_, signal| srgb_decode(signal)),
            matrix,
            gamma: lut_1d(gamma_size, quantize, clamped),
        };
        let error = max_error(exact_conversion(target)?, |signal| pipeline.convert(signal));
        (error <= MAX_ERROR).then_some(pipeline)
    }

    /// Returns what the hardware makes of a signal, from 0 to 1.
    pub fn convert(&self, signal: [f64; 3]) -> [f64; 3] {
        let linear =
            std::array::from_fn(|channel| sample_1d(&self.degamma, u16::MAX, channel, signal[channel]));
        let linear = apply(&self.matrix, linear);
        std::array::from_fn(|channel| sample_1d(&self.gamma, u16::MAX, channel, linear[channel]))
    }

    /// Returns the matrix row by row in S31.32 sign-magnitude format (`struct drm_color_ctm` in
    /// drm_mode.h).
    pub fn ctm(&self) -> [u64; 9] {
        std::array::from_fn(|cell| s31_32(self.matrix[cell / 3][cell % 3]))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::adjustments::Adjustments;
    use crate::color_space::ColorSpace;
    use crate::icc::IccProfile;

    fn target(space: ColorSpace) -> ColorTarget {
        ColorTarget { space, ..ColorTarget::default() }
    }

    /// 256 entries are enough for SDR; HDR near black needs more.
    #[test]
    fn luts_that_are_too_coarse_are_refused() {
        for (space, size, accepted) in [
            (ColorSpace::DisplayP3, 256, true),
            (ColorSpace::Bt2020, 256, true),
            (ColorSpace::Bt2020, 33, false),
            (ColorSpace::Bt2020Pq, 256, false),
            (ColorSpace::Bt2020Pq, 4096, false),
            (ColorSpace::Bt2020Hlg, 4096, true),
            (ColorSpace::Srgb, 256, false),
            (ColorSpace::Icc, 4096, false),
            (ColorSpace::DisplayP3, 0, false),
        ] {
            assert_eq!(
                CrtcPipeline::for_target(&target(space), size, size).is_some(),
                accepted,
                "{space:?} by {size}"
            );
        }
    }

    #[test]
    fn p3_pipeline_gives_published_codes_and_applies_brightness() {
        let pipeline =
            CrtcPipeline::for_target(&target(ColorSpace::DisplayP3), 256, 256).expect("a pipeline");
        let codes = |signal: [f64; 3]| pipeline.convert(signal).map(|signal| (signal * 255.0).round() as u8);
        assert_eq!(codes([1.0, 0.0, 0.0]), [234, 51, 35]);
        assert_eq!(codes([1.0; 3]), [255; 3]);
        let adjustments = Adjustments { brightness: 0.5, ..Adjustments::default() };
        let dimmed = ColorTarget { adjustments, ..target(ColorSpace::DisplayP3) };
        let dimmed = CrtcPipeline::for_target(&dimmed, 256, 256).expect("a pipeline");
        assert_eq!(dimmed.convert([1.0; 3]).map(|signal| (signal * 255.0).round()), [188.0; 3]);
    }

    #[test]
    fn matrix_shaper_profile_fits_the_pipeline() {
        let bytes = lcms2::Profile::new_srgb().icc().expect("bytes");
        let icc = Some(Arc::new(IccProfile::parse(&bytes).expect("a profile")));
        let target = ColorTarget { icc, ..target(ColorSpace::Icc) };
        let pipeline = CrtcPipeline::for_target(&target, 1024, 1024).expect("a pipeline");
        let gray = pipeline.convert([0.5; 3]);
        assert!(gray.iter().all(|signal| (signal - 0.5).abs() < 0.004), "{gray:?}");
    }

    #[test]
    fn ctm_is_sign_magnitude() {
        let pipeline =
            CrtcPipeline { degamma: vec![], matrix: [[1.0, -0.5, 0.0], [0.0; 3], [0.0; 3]], gamma: vec![] };
        assert_eq!(pipeline.ctm()[..3], [1 << 32, 1 << 31 | 1 << 63, 0]);
    }
}
