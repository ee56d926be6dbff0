//! White point, brightness and calibration curves: adjustments that one curve per channel applies,
//! in the hardware's gamma LUT or after a conversion in software.

use std::sync::Arc;

use crate::lut::lut_1d;
use crate::primaries::{apply, invert, to_xyz, xyz, Chromaticity, SRGB};
use crate::transfer::{srgb_decode, srgb_encode};

/// The white point of sRGB (D65), in kelvin.
pub const NEUTRAL_WHITE_POINT: u16 = 6500;

/// Calibration curves for red, green and blue: outputs from 0 to 1 for evenly spaced inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationCurves(pub [Vec<f64>; 3]);

impl CalibrationCurves {
    /// Returns the output of a channel's curve for an input from 0 to 1.
    fn sample(&self, channel: usize, input: f64) -> f64 {
        let curve = &self.0[channel];
        let last = curve.len().saturating_sub(1);
        let position = input.clamp(0.0, 1.0) * last as f64;
        let (below, fraction) = (position.floor(), position.fract());
        let value = |index: usize| curve.get(index.min(last)).copied().unwrap_or(position);
        value(below as usize) * (1.0 - fraction) + value(below as usize + 1) * fraction
    }
}

/// The configured adjustments of an output; `None` means that nothing is configured.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AdjustmentConfig {
    /// White point in kelvin, from 1000 to 10000.
    pub white_point: Option<u16>,
    /// Brightness in linear light, from 0.1 to 1.
    pub brightness: Option<f64>,
    /// Whether the night light applies to this output.
    pub night_light: Option<bool>,
}

impl AdjustmentConfig {
    /// Returns this configuration with the fields that `over` sets replaced.
    #[must_use]
    pub fn overridden_by(self, over: Self) -> Self {
        Self {
            white_point: over.white_point.or(self.white_point),
            brightness: over.brightness.or(self.brightness),
            night_light: over.night_light.or(self.night_light),
        }
    }
}

/// The adjustments of an output in effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Adjustments {
    /// White point in kelvin, from 1000 to 10000.
    pub white_point: u16,
    /// Brightness in linear light, from 0.1 to 1.
    pub brightness: f64,
    /// Calibration curves of the ICC profile.
    pub calibration: Option<Arc<CalibrationCurves>>,
}

impl Default for Adjustments {
    fn default() -> Self {
        Self { white_point: NEUTRAL_WHITE_POINT, brightness: 1.0, calibration: None }
    }
}

/// Returns the chromaticity of a color temperature.
///
/// From 5000 K on it is on the daylight locus (CIE 15:2004, 3.1), up to 4000 K on the Planckian
/// locus (Kim et al., US patent 7024034, eq. 2 and 3), and interpolated between them.
fn locus(kelvin: f64) -> Chromaticity {
    let daylight = |kelvin: f64| {
        let [a, b, c, d] = match kelvin <= 7000.0 {
            true => [0.244_063, 0.099_11e3, 2.967_8e6, -4.607e9],
            false => [0.237_04, 0.247_48e3, 1.901_8e6, -2.006_4e9],
        };
        let x = a + b / kelvin + c / kelvin.powi(2) + d / kelvin.powi(3);
        (x, -3.0 * x * x + 2.87 * x - 0.275)
    };
    let planck = |kelvin: f64| {
        // The fit is valid from 1667 K on and diverges below.
        let kelvin = kelvin.max(1667.0);
        let x = -0.266_123_9e9 / kelvin.powi(3) - 0.234_358_9e6 / kelvin.powi(2)
            + 0.877_695_6e3 / kelvin
            + 0.179_91;
        let [a, b, c, d] = match kelvin <= 2222.0 {
            true => [-1.106_381_4, -1.348_110_2, 2.185_558_32, -0.202_196_83],
            false => [-0.954_947_6, -1.374_185_93, 2.091_370_15, -0.167_488_67],
        };
        (x, a * x.powi(3) + b * x.powi(2) + c * x + d)
    };
    let fraction = ((kelvin - 4000.0) / 1000.0).clamp(0.0, 1.0);
    let (low, high) = (planck(kelvin.min(5000.0)), daylight(kelvin.max(4000.0)));
    (low.0 + (high.0 - low.0) * fraction, low.1 + (high.1 - low.1) * fraction)
}

impl Adjustments {
    /// Returns whether the adjustments change nothing.
    pub fn is_neutral(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the factors for linear red, green and blue, from 0 to 1.
    pub(crate) fn gains(&self) -> [f64; 3] {
        if self.white_point == NEUTRAL_WHITE_POINT {
            return [self.brightness; 3];
        }
        let linear = |kelvin: f64| {
            let inverse = invert(&to_xyz(&SRGB)?)?;
            Some(apply(&inverse, xyz(locus(kelvin))?))
        };
        // Relative to the neutral point of the locus itself, which is D65 to three digits.
        let both = linear(f64::from(self.white_point)).zip(linear(f64::from(NEUTRAL_WHITE_POINT)));
        let Some((configured, neutral)) = both else { return [self.brightness; 3] };
        let gains: [f64; 3] =
            std::array::from_fn(|channel| (configured[channel] / neutral[channel]).max(0.0));
        // Below the range of the fit, the rest of green and blue fades evenly.
        let low = (f64::from(self.white_point) / 1667.0).min(1.0);
        let max = gains.iter().copied().fold(f64::EPSILON, f64::max);
        let fade = [1.0, low, low];
        std::array::from_fn(|channel| gains[channel] / max * fade[channel] * self.brightness)
    }

    /// Returns the function that adjusts a channel's sRGB signal, both from 0 to 1.
    pub fn adjust_signal(&self) -> impl Fn(usize, f64) -> f64 + '_ {
        let gains = self.gains();
        move |channel, signal| {
            let scaled = match gains[channel] {
                gain if (gain - 1.0).abs() < 1e-9 => signal,
                gain => srgb_encode(srgb_decode(signal) * gain),
            };
            self.calibrate(channel, scaled)
        }
    }

    /// Applies the calibration curve to a channel's signal, both from 0 to 1.
    pub(crate) fn calibrate(&self, channel: usize, signal: f64) -> f64 {
        self.calibration.as_ref().map_or(signal, |curves| curves.sample(channel, signal)).clamp(0.0, 1.0)
    }

    /// Returns the gamma LUT for the hardware, with `size` entries of 16 bits (`struct
    /// drm_color_lut` in drm_mode.h).
    pub fn gamma_lut(&self, size: usize) -> Vec<[u16; 3]> {
        let adjust = self.adjust_signal();
        lut_1d(size, |signal| (signal * 65_535.0).round() as u16, adjust)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neutral_adjustments_give_an_identity_lut() {
        let lut = Adjustments::default().gamma_lut(256);
        assert!(Adjustments::default().is_neutral());
        assert!((0..256).all(|index| lut[index] == [index as u16 * 257; 3]));
    }

    /// Published chromaticities: illuminant A (2856 K), D50 (5003 K) and D65 (6504 K).
    #[test]
    fn locus_matches_published_illuminants() {
        for (kelvin, (x, y)) in
            [(2856.0, (0.4476, 0.4074)), (5003.0, (0.3457, 0.3585)), (6504.0, (0.3127, 0.3290))]
        {
            let point = locus(kelvin);
            assert!((point.0 - x).abs() < 0.0015 && (point.1 - y).abs() < 0.0015, "{kelvin}: {point:?}");
        }
    }

    #[test]
    fn warm_white_reduces_blue_and_cold_white_reduces_red() {
        let gains = |white_point| Adjustments { white_point, ..Adjustments::default() }.gains();
        let [red, green, blue] = gains(3400);
        assert!((red - 1.0).abs() < 1e-9 && green < red && blue < green, "{red} {green} {blue}");
        let [red, green, blue] = gains(9000);
        assert!((blue - 1.0).abs() < 1e-9 && green < blue && red < green, "{red} {green} {blue}");
    }

    #[test]
    fn brightness_applies_to_linear_light() {
        let lut = Adjustments { brightness: 0.5, ..Adjustments::default() }.gamma_lut(256);
        // sRGB encodes half the light as 73.5 %.
        assert_eq!(lut[255].map(|code| (f64::from(code) / 655.35).round()), [74.0; 3]);
    }

    #[test]
    fn calibration_curves_are_applied_last() {
        let curves = CalibrationCurves([vec![0.0, 0.8], vec![0.0, 1.0], vec![0.1, 1.0]]);
        let adjustments = Adjustments { calibration: Some(Arc::new(curves)), ..Adjustments::default() };
        let lut = adjustments.gamma_lut(3);
        assert_eq!(lut, [[0, 0, 6554], [26214, 32768, 36044], [52428, 65535, 65535]]);
    }

    proptest! {
        /// A colder white point never reduces blue relative to red, and LUTs are monotonic.
        #[test]
        fn white_points_are_monotonic(white_point in 1000u16..9990, brightness in 0.1f64..=1.0) {
            let adjustments = |white_point| Adjustments { white_point, brightness, calibration: None };
            let ratio = |white_point| {
                let [red, _, blue] = adjustments(white_point).gains();
                blue / red
            };
            prop_assert!(ratio(white_point) <= ratio(white_point + 10) + 1e-9, "{white_point}");
            let lut = adjustments(white_point).gamma_lut(64);
            let rises = |pair: &[[u16; 3]]| (0..3).all(|channel| pair[0][channel] <= pair[1][channel]);
            prop_assert!(lut.windows(2).all(rises));
        }
    }
}
