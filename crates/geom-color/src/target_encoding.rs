//! The primaries of a target, and its encoding from linear values to signals.

use std::sync::Arc;

use crate::adjustments::Adjustments;
use crate::color_space::ColorSpace;
use crate::icc::MatrixShaper;
use crate::primaries::{Primaries, BT2020, DISPLAY_P3, SRGB};
use crate::target::ColorTarget;
use crate::transfer::{hlg_encode, pq_encode, srgb_encode};

/// The curve from linear values, in which 1 is the reference white, to signals.
pub(crate) enum EncodingCurve {
    Srgb,
    Pq,
    Hlg,
    /// The curves of a monitor's ICC profile.
    Profile(Arc<MatrixShaper>),
}

/// What a matrix and curves convert to.
pub(crate) struct TargetEncoding {
    pub primaries: Primaries,
    pub curve: EncodingCurve,
}

impl TargetEncoding {
    /// Returns the encoding of a target.
    ///
    /// `None` for sRGB itself, for an ICC profile that needs a 3D LUT, and for a monitor without
    /// known primaries.
    pub fn of(target: &ColorTarget) -> Option<Self> {
        let (primaries, curve) = match target.space {
            ColorSpace::Srgb => return None,
            ColorSpace::Icc => {
                let shaper = target.icc.as_ref()?.matrix_shaper.clone()?;
                (shaper.primaries, EncodingCurve::Profile(shaper))
            }
            ColorSpace::DisplayP3 => (DISPLAY_P3, EncodingCurve::Srgb),
            ColorSpace::Bt2020 => (BT2020, EncodingCurve::Srgb),
            ColorSpace::Bt2020Pq => (BT2020, EncodingCurve::Pq),
            ColorSpace::Bt2020Hlg => (BT2020, EncodingCurve::Hlg),
            ColorSpace::Native => (target.native?, EncodingCurve::Srgb),
        };
        Some(Self { primaries, curve })
    }

    /// Returns the encoding of a target, or sRGB if [`TargetEncoding::of`] has none.
    pub fn or_srgb(target: &ColorTarget) -> Self {
        Self::of(target).unwrap_or(Self { primaries: SRGB, curve: EncodingCurve::Srgb })
    }

    /// Returns the function from a channel's linear value to its signal, both from 0 to 1, with
    /// adjustments applied.
    pub fn encode(self, adjustments: &Adjustments) -> impl Fn(usize, f64) -> f64 + '_ {
        let gains = adjustments.gains();
        move |channel, linear| {
            let linear = linear * gains[channel];
            let signal = match &self.curve {
                EncodingCurve::Srgb => srgb_encode(linear),
                EncodingCurve::Pq => pq_encode(linear),
                EncodingCurve::Hlg => hlg_encode(linear),
                EncodingCurve::Profile(shaper) => shaper.encode(channel, linear),
            };
            adjustments.calibrate(channel, signal)
        }
    }
}
