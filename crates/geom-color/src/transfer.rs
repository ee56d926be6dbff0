//! Transfer functions between signals (non-linear, 0 to 1) and linear values.

/// Luminance of SDR white in HDR, cd/m² (ITU-R BT.2408-7).
pub(crate) const REFERENCE_WHITE: f64 = 203.0;

/// The sRGB transfer function (IEC 61966-2-1): from signal to linear.
pub(crate) fn srgb_decode(signal: f64) -> f64 {
    if signal <= 0.04045 {
        signal / 12.92
    } else {
        ((signal + 0.055) / 1.055).powf(2.4)
    }
}

/// The inverse of [`srgb_decode`].
pub(crate) fn srgb_encode(linear: f64) -> f64 {
    if linear <= 0.003_130_8 {
        linear * 12.92
    } else {
        1.055 * linear.powf(1.0 / 2.4) - 0.055
    }
}

/// Constants of SMPTE ST 2084.
const M1: f64 = 2610.0 / 16384.0;
const M2: f64 = 2523.0 / 4096.0 * 128.0;
const C1: f64 = 3424.0 / 4096.0;
const C2: f64 = 2413.0 / 4096.0 * 32.0;
const C3: f64 = 2392.0 / 4096.0 * 32.0;

/// M1, M2, C1, C2 and C3 of SMPTE ST 2084.
pub(crate) const PQ_CONSTANTS: [f64; 5] = [M1, M2, C1, C2, C3];

/// The inverse EOTF of SMPTE ST 2084, from linear values in which 1 is the reference white.
pub(crate) fn pq_encode(linear: f64) -> f64 {
    let power = (linear * REFERENCE_WHITE / 10_000.0).powf(M1);
    ((C1 + C2 * power) / (1.0 + C3 * power)).powf(M2)
}

/// The EOTF of SMPTE ST 2084, to linear values in which 1 is 10000 cd/m².
pub(crate) fn pq_decode(signal: f64) -> f64 {
    let power = signal.max(0.0).powf(1.0 / M2);
    ((power - C1).max(0.0) / (C2 - C3 * power)).powf(1.0 / M1)
}

/// Constants of ITU-R BT.2100 for HLG; the third one is [`hlg_c`].
const HLG_A: f64 = 0.178_832_77;
const HLG_B: f64 = 1.0 - 4.0 * HLG_A;

fn hlg_c() -> f64 {
    0.5 - HLG_A * (4.0 * HLG_A).ln()
}

/// Returns a, b and c of ITU-R BT.2100 for HLG.
pub(crate) fn hlg_constants() -> [f64; 3] {
    [HLG_A, HLG_B, hlg_c()]
}

/// The OETF of BT.2100 HLG, scaled so that linear 1 is 75 % of the signal (ITU-R BT.2408-7).
pub(crate) fn hlg_encode(linear: f64) -> f64 {
    let scene = linear * hlg_decode(0.75);
    if scene <= 1.0 / 12.0 {
        (3.0 * scene).sqrt()
    } else {
        HLG_A * (12.0 * scene - HLG_B).ln() + hlg_c()
    }
}

/// The inverse OETF of BT.2100 HLG, unscaled: to scene linear values from 0 to 1.
pub(crate) fn hlg_decode(signal: f64) -> f64 {
    if signal <= 0.5 {
        signal * signal / 3.0
    } else {
        (((signal - hlg_c()) / HLG_A).exp() + HLG_B) / 12.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hlg_encode_and_decode_are_inverse_up_to_the_scale_of_white() {
        let white = hlg_decode(0.75);
        for linear in [0.01, 0.3, 1.0, 2.0] {
            assert!((hlg_decode(hlg_encode(linear)) - linear * white).abs() < 1e-6, "{linear}");
        }
    }
}
