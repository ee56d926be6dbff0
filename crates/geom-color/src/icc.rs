//! ICC profiles of monitors: how they show sRGB colors, and their calibration curves.
//!
//! Little CMS parses the profiles, from bytes that a user chose. Sources: ICC.1:2022; Apple's
//! `vcgt` tag as Little CMS implements it.

use std::sync::Arc;

use lcms2::{
    ColorSpaceSignature, Flags, Intent, PixelFormat, Profile, Tag, TagSignature, ToneCurveRef, Transform,
};

use crate::adjustments::CalibrationCurves;
use crate::lut::{grid_points, LUT_3D_SIZE};
use crate::primaries::{apply, conversion_matrix, Primaries, SRGB};
use crate::transfer::srgb_decode;

/// Entries of a calibration curve.
const CALIBRATION_SIZE: usize = 256;

/// Maximum difference between a matrix shaper and Little CMS: half a code of 255.
const MAX_SHAPER_ERROR: f64 = 0.5 / 255.0;

/// The color of a monitor, by its ICC profile.
#[derive(Debug, PartialEq)]
pub struct IccProfile {
    /// 3D LUT from sRGB signals to the monitor's, from 0 to 1, with [`LUT_3D_SIZE`] points along
    /// each axis, red slowest.
    pub lut: Vec<[f32; 3]>,
    /// The calibration curves of the profile.
    pub calibration: Option<Arc<CalibrationCurves>>,
    /// The same conversion as a matrix and curves, if the profile consists of these.
    pub matrix_shaper: Option<Arc<MatrixShaper>>,
}

/// The primaries and curves of a monitor (ICC.1:2022, F.3: three-component matrix-based profiles).
#[derive(Debug, PartialEq)]
pub struct MatrixShaper {
    /// The primaries, adapted to D50 as in the profile connection space.
    pub primaries: Primaries,
    /// Linear values of red, green and blue for evenly spaced signals; monotonic.
    decode: [Vec<f64>; 3],
}

/// Entries of a matrix shaper's curves: four for each code of 10 bits.
const CURVE_SIZE: usize = 4093;

impl MatrixShaper {
    fn read(profile: &Profile) -> Option<Self> {
        use TagSignature::{
            BlueColorantTag, BlueTRCTag, GreenColorantTag, GreenTRCTag, RedColorantTag, RedTRCTag,
        };
        if !profile.is_matrix_shaper() {
            return None;
        }
        let xyz = |tag| match profile.read_tag(tag) {
            Tag::CIEXYZ(xyz) => Some([xyz.X, xyz.Y, xyz.Z]),
            _ => None,
        };
        let columns = [xyz(RedColorantTag)?, xyz(GreenColorantTag)?, xyz(BlueColorantTag)?];
        let white = std::array::from_fn(|axis| columns.iter().map(|column| column[axis]).sum());
        let chromaticity = |[x, y, z]: [f64; 3]| (x / (x + y + z), y / (x + y + z));
        let primaries = [columns[0], columns[1], columns[2], white].map(chromaticity);
        let decode = |tag| match profile.read_tag(tag) {
            Tag::ToneCurve(curve) => Some(sample_curve(curve, CURVE_SIZE)),
            _ => None,
        };
        let decode = [decode(RedTRCTag)?, decode(GreenTRCTag)?, decode(BlueTRCTag)?];
        let rises = |curve: &Vec<f64>| curve.is_sorted() && curve.last().is_some_and(|last| *last > 0.0);
        let valid = primaries.iter().all(|(x, y)| x.is_finite() && y.is_finite()) && decode.iter().all(rises);
        valid.then_some(Self { primaries, decode })
    }

    /// Returns a channel's signal for its linear value, both from 0 to 1.
    pub fn encode(&self, channel: usize, linear: f64) -> f64 {
        let curve = &self.decode[channel];
        let last = curve.len() - 1;
        let above = curve.partition_point(|value| *value < linear).min(last);
        let below = above.saturating_sub(1);
        let (low, high) = (curve[below], curve[above]);
        let fraction = if high > low { ((linear - low) / (high - low)).clamp(0.0, 1.0) } else { 0.0 };
        (below as f64 + fraction * (above - below) as f64) / last as f64
    }
}

impl IccProfile {
    /// Converts an sRGB signal to the monitor's, all from 0 to 1, with trilinear interpolation.
    pub fn convert(&self, signal: [f64; 3]) -> [f64; 3] {
        let cells = (LUT_3D_SIZE - 1) as f64;
        let located = signal.map(|signal| {
            let scaled = signal.clamp(0.0, 1.0) * cells;
            let cell = scaled.floor().min(cells - 1.0);
            (cell as usize, scaled - cell)
        });
        let mut sum = [0.0; 3];
        for corner in 0..8 {
            let (mut index, mut weight) = (0, 1.0);
            for (axis, (cell, fraction)) in located.iter().enumerate() {
                let far = corner >> axis & 1;
                index = index * LUT_3D_SIZE + cell + far;
                weight *= if far == 1 { *fraction } else { 1.0 - fraction };
            }
            let point = self.lut.get(index).copied().unwrap_or_default();
            sum.iter_mut().zip(point).for_each(|(sum, value)| *sum += f64::from(value) * weight);
        }
        sum
    }

    /// Parses the profile of a monitor.
    ///
    /// # Errors
    ///
    /// Returns as text why the bytes are not a monitor's ICC profile.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let context = |what: &'static str| move |error: lcms2::Error| format!("{what}: {error}");
        let profile = Profile::new_icc(bytes).map_err(context("not an ICC profile"))?;
        if profile.color_space() != ColorSpaceSignature::RgbData {
            return Err("not the profile of a monitor: its color space is not RGB".into());
        }
        let flags = Flags::NO_CACHE | Flags::HIGHRES_PRECALC | Flags::NO_OPTIMIZE;
        let transform: Transform<[f32; 3], [f32; 3]> = Transform::new_flags(
            &Profile::new_srgb(),
            PixelFormat::RGB_FLT,
            &profile,
            PixelFormat::RGB_FLT,
            Intent::RelativeColorimetric,
            flags,
        )
        .map_err(context("no conversion from sRGB to the profile"))?;
        let points: Vec<[f32; 3]> = grid_points().map(|point| point.map(|value| value as f32)).collect();
        let mut lut = vec![[0.0; 3]; points.len()];
        transform.transform_pixels(&points, &mut lut);
        for value in lut.iter_mut().flatten() {
            *value = if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 };
        }
        let calibration = match profile.read_tag(TagSignature::VcgtTag) {
            Tag::VcgtCurves(curves) => {
                let curves = curves.map(|curve| sample_curve(curve, CALIBRATION_SIZE));
                Some(Arc::new(CalibrationCurves(curves)))
            }
            _ => None,
        };
        let matrix_shaper = MatrixShaper::read(&profile).filter(|shaper| agrees(shaper, &points, &lut));
        Ok(Self { lut, calibration, matrix_shaper: matrix_shaper.map(Arc::new) })
    }
}

/// Returns whether a matrix shaper gives the results of Little CMS, within [`MAX_SHAPER_ERROR`].
fn agrees(shaper: &MatrixShaper, points: &[[f32; 3]], lut: &[[f32; 3]]) -> bool {
    let Some(matrix) = conversion_matrix(&SRGB, &shaper.primaries) else { return false };
    points.iter().zip(lut).all(|(point, theirs)| {
        let linear = apply(&matrix, point.map(|signal| srgb_decode(f64::from(signal))));
        let is_close = |channel: usize| {
            let ours = shaper.encode(channel, linear[channel]);
            (ours - f64::from(theirs[channel])).abs() < MAX_SHAPER_ERROR
        };
        (0..3).all(is_close)
    })
}

fn sample_curve(curve: &ToneCurveRef, size: usize) -> Vec<f64> {
    let value = |index: usize| f64::from(curve.eval(index as f32 / (size - 1) as f32));
    (0..size).map(value).map(|value| if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn srgb() -> Vec<u8> {
        Profile::new_srgb().icc().unwrap_or_default()
    }

    #[test]
    fn srgb_profile_is_an_identity() -> Result<(), String> {
        let icc = IccProfile::parse(&srgb())?;
        let point =
            |red: usize, green: usize, blue: usize| icc.lut[(red * LUT_3D_SIZE + green) * LUT_3D_SIZE + blue];
        for (red, green, blue) in [(0, 0, 0), (32, 32, 32), (32, 0, 0), (7, 19, 30)] {
            let expected = [red, green, blue].map(|step| step as f32 / 32.0);
            for (found, expected) in point(red, green, blue).into_iter().zip(expected) {
                assert!((found - expected).abs() < 0.002, "{found} {expected}");
            }
        }
        assert_eq!(icc.calibration, None);
        Ok(())
    }

    #[test]
    fn files_that_are_not_monitor_profiles_are_refused() {
        assert!(IccProfile::parse(b"not a profile").is_err_and(|why| why.contains("not an ICC profile")));
        let lab = Profile::new_lab4_context(
            lcms2::GlobalContext::new(),
            lcms2::white_point_from_temp(5000.0).as_ref().expect("a white point"),
        );
        let lab = lab.and_then(|profile| profile.icc()).unwrap_or_default();
        assert!(IccProfile::parse(&lab).is_err_and(|why| why.contains("not the profile of a monitor")));
    }

    proptest! {
        /// A truncated or altered profile gives an error, or a LUT in range.
        #[test]
        fn damaged_profiles_give_an_error_or_a_lut_in_range(
            cut in 0usize..4000,
            changes in prop::collection::vec((0usize..4000, any::<u8>()), 0..8),
        ) {
            let mut bytes = srgb();
            for (offset, value) in changes {
                if let Some(byte) = bytes.get_mut(offset) {
                    *byte = value;
                }
            }
            bytes.truncate(cut);
            if let Ok(icc) = IccProfile::parse(&bytes) {
                prop_assert!(icc.lut.iter().flatten().all(|value| (0.0..=1.0).contains(value)));
            }
        }
    }
}
