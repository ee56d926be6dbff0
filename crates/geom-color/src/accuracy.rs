//! How close hardware comes to the exact conversion.

use std::sync::Arc;

use crate::icc::IccProfile;
use crate::primaries::{apply, conversion_matrix, Matrix, SRGB};
use crate::target::ColorTarget;
use crate::target_encoding::TargetEncoding;
use crate::transfer::srgb_decode;

/// Maximum error in codes of 255. Beyond it, software converts instead of the hardware.
pub(crate) const MAX_ERROR: f64 = 1.0;

/// Returns the largest error of the hardware over all grays and a cube of colors, in codes of 255.
pub(crate) fn max_error(
    exact: impl Fn([f64; 3]) -> [f64; 3],
    hardware: impl Fn([f64; 3]) -> [f64; 3],
) -> f64 {
    let error = |codes: [u8; 3]| {
        let signal = codes.map(|code| f64::from(code) / 255.0);
        let (exact, found) = (exact(signal), hardware(signal));
        (0..3).map(|channel| (exact[channel] - found[channel]).abs()).fold(0.0, f64::max)
    };
    let grays = (0..=255).map(|code| [code; 3]);
    let steps = || (0..=255u8).step_by(17);
    let cube =
        steps().flat_map(|red| steps().flat_map(move |green| steps().map(move |blue| [red, green, blue])));
    grays.chain(cube).map(error).fold(0.0, f64::max) * 255.0
}

/// Returns the exact conversion from sRGB signals to signals of a target.
///
/// `None` if the target is sRGB, and if the target has no valid primaries or ICC profile.
pub(crate) fn exact_conversion(target: &ColorTarget) -> Option<impl Fn([f64; 3]) -> [f64; 3] + '_> {
    enum Method<F> {
        Matrix(Matrix, F),
        Profile(Arc<IccProfile>),
    }
    let adjust = target.adjustments.adjust_signal();
    let method = match TargetEncoding::of(target) {
        Some(encoding) => {
            let matrix = conversion_matrix(&SRGB, &encoding.primaries)?;
            Method::Matrix(matrix, encoding.encode(&target.adjustments))
        }
        None => Method::Profile(target.icc.clone().filter(|_| target.needs_3d_lut())?),
    };
    Some(move |signal: [f64; 3]| match &method {
        Method::Matrix(matrix, encode) => {
            let linear = apply(matrix, signal.map(srgb_decode));
            std::array::from_fn(|channel| encode(channel, linear[channel].clamp(0.0, 1.0)))
        }
        Method::Profile(icc) => {
            let converted = icc.convert(signal);
            std::array::from_fn(|channel| adjust(channel, converted[channel]))
        }
    })
}
