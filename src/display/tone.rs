//! White point, brightness and calibration curves: what a table for each colour does, on the hardware or after a conversion. Pure.

use std::sync::Arc;

use super::colour::{invert, srgb_decode, srgb_encode, to_xyz, xyz, Point, SRGB};

/// White as our pictures have it (D65), in kelvin.
pub const NEUTRAL: u16 = 6500;

/// A calibration's curve for red, green and blue: outputs for evenly spaced inputs, 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves(pub [Vec<f64>; 3]);

impl Curves {
    /// A curve at a place from 0 to 1.
    fn at(&self, colour: usize, place: f64) -> f64 {
        let curve = &self.0[colour];
        let last = curve.len().saturating_sub(1);
        let place = place.clamp(0.0, 1.0) * last as f64;
        let (below, part) = (place.floor(), place.fract());
        let value = |index: usize| curve.get(index.min(last)).copied().unwrap_or(place);
        value(below as usize) * (1.0 - part) + value(below as usize + 1) * part
    }
}

/// What is wished of a display's light; `None` leaves it alone.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ToneWish {
    /// Kelvin, from 1000 to 10000.
    pub white: Option<u16>,
    /// Of the light that it could give, from 0.1 to 1.
    pub brightness: Option<f64>,
    /// Whether the night light is for it.
    pub night_light: Option<bool>,
}

impl ToneWish {
    /// The same, with what `over` says instead.
    pub fn under(self, over: Self) -> Self {
        Self {
            white: over.white.or(self.white),
            brightness: over.brightness.or(self.brightness),
            night_light: over.night_light.or(self.night_light),
        }
    }
}

/// How a display's light differs from what its pictures say.
#[derive(Debug, Clone, PartialEq)]
pub struct Tone {
    /// Kelvin, from 1000 to 10000.
    pub white: u16,
    /// Of the light that it could give, from 0.1 to 1.
    pub brightness: f64,
    pub curves: Option<Arc<Curves>>,
}

impl Default for Tone {
    fn default() -> Self {
        Self { white: NEUTRAL, brightness: 1.0, curves: None }
    }
}

/// Where a colour temperature's white lies: on the daylight locus (CIE 15:2004, 3.1) from 5000 K on, on the Planckian one up to 4000 K
/// (Kim et al., US patent 7024034, eq. 2 and 3), between them in between.
fn locus(kelvin: f64) -> Point {
    let daylight = |kelvin: f64| {
        let [a, b, c, d] = match kelvin <= 7000.0 {
            true => [0.244_063, 0.099_11e3, 2.967_8e6, -4.607e9],
            false => [0.237_04, 0.247_48e3, 1.901_8e6, -2.006_4e9],
        };
        let x = a + b / kelvin + c / kelvin.powi(2) + d / kelvin.powi(3);
        (x, -3.0 * x * x + 2.87 * x - 0.275)
    };
    let planck = |kelvin: f64| {
        // Fitted from 1667 K on; below that they run away.
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
    let part = ((kelvin - 4000.0) / 1000.0).clamp(0.0, 1.0);
    let (one, other) = (planck(kelvin.min(5000.0)), daylight(kelvin.max(4000.0)));
    (one.0 + (other.0 - one.0) * part, one.1 + (other.1 - one.1) * part)
}

impl Tone {
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// How much of its red, green and blue light a display gives, from 0 to 1.
    pub(super) fn gains(&self) -> [f64; 3] {
        if self.white == NEUTRAL {
            return [self.brightness; 3];
        }
        let light = |kelvin: f64| {
            let inverse = invert(&to_xyz(&SRGB)?)?;
            Some(super::colour::apply(&inverse, xyz(locus(kelvin))?))
        };
        // Measured against the locus' own neutral, which is D65 to three digits.
        let both = light(f64::from(self.white)).zip(light(f64::from(NEUTRAL)));
        let Some((wished, neutral)) = both else { return [self.brightness; 3] };
        let gains: [f64; 3] = std::array::from_fn(|colour| (wished[colour] / neutral[colour]).max(0.0));
        // Below what the fit covers the last of green and blue goes evenly.
        let low = (f64::from(self.white) / 1667.0).min(1.0);
        let most = gains.iter().copied().fold(f64::EPSILON, f64::max);
        let fade = [1.0, low, low];
        std::array::from_fn(|colour| gains[colour] / most * fade[colour] * self.brightness)
    }

    /// What becomes of a colour's signal, both from 0 to 1.
    pub fn signal(&self) -> impl Fn(usize, f64) -> f64 + '_ {
        let gains = self.gains();
        move |colour, signal| {
            let toned = match gains[colour] {
                gain if (gain - 1.0).abs() < 1e-9 => signal,
                gain => srgb_encode(srgb_decode(signal) * gain),
            };
            self.calibrated(colour, toned)
        }
    }

    /// The calibration's part of it.
    pub(super) fn calibrated(&self, colour: usize, signal: f64) -> f64 {
        self.curves.as_ref().map_or(signal, |curves| curves.at(colour, signal)).clamp(0.0, 1.0)
    }

    /// The table that hardware takes: `size` steps of 16 bits for red, green and blue (drm_color_lut in drm_mode.h).
    pub fn table(&self, size: usize) -> Vec<[u16; 3]> {
        let signal = self.signal();
        let last = size.saturating_sub(1).max(1) as f64;
        let step = |index: usize| {
            std::array::from_fn(|colour| (signal(colour, index as f64 / last) * 65_535.0).round() as u16)
        };
        (0..size).map(step).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plain_tone_changes_nothing() {
        let table = Tone::default().table(256);
        assert!(Tone::default().is_plain());
        assert!((0..256).all(|step| table[step] == [step as u16 * 257; 3]));
    }

    /// The loci's own published points: illuminants A (2856 K) and D50 (5003 K).
    #[test]
    fn known_whites() {
        for (kelvin, (x, y)) in
            [(2856.0, (0.4476, 0.4074)), (5003.0, (0.3457, 0.3585)), (6504.0, (0.3127, 0.3290))]
        {
            let point = locus(kelvin);
            assert!((point.0 - x).abs() < 0.0015 && (point.1 - y).abs() < 0.0015, "{kelvin}: {point:?}");
        }
    }

    #[test]
    fn warm_is_red_and_cold_is_blue() {
        let gains = |white| Tone { white, ..Tone::default() }.gains();
        let [red, green, blue] = gains(3400);
        assert!((red - 1.0).abs() < 1e-9 && green < red && blue < green, "{red} {green} {blue}");
        let [red, green, blue] = gains(9000);
        assert!((blue - 1.0).abs() < 1e-9 && green < blue && red < green, "{red} {green} {blue}");
    }

    #[test]
    fn brightness_is_of_light() {
        let table = Tone { brightness: 0.5, ..Tone::default() }.table(256);
        // Half the light is 73.5 % of sRGB's signal.
        assert_eq!(table[255].map(|code| (f64::from(code) / 655.35).round()), [74.0; 3]);
    }

    #[test]
    fn curves_come_last() {
        let curves = Curves([vec![0.0, 0.8], vec![0.0, 1.0], vec![0.1, 1.0]]);
        let table = Tone { curves: Some(Arc::new(curves)), ..Tone::default() }.table(3);
        assert_eq!(table, [[0, 0, 6554], [26214, 32768, 36044], [52428, 65535, 65535]]);
    }

    proptest! {
        /// Colder white never has less blue for its red; tables rise and stay in bounds.
        #[test]
        fn whites_go_one_way(white in 1000u16..9990, brightness in 0.1f64..=1.0) {
            let ratio = |white| { let [red, _, blue] = Tone { white, brightness, curves: None }.gains(); blue / red };
            prop_assert!(ratio(white) <= ratio(white + 10) + 1e-9, "{white}");
            let table = Tone { white, brightness, curves: None }.table(64);
            prop_assert!(table.windows(2).all(|pair| (0..3).all(|colour| pair[0][colour] <= pair[1][colour])));
        }
    }
}
