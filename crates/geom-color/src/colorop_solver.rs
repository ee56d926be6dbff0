//! A color conversion in a plane's color pipeline: colorops in an order that the hardware fixes,
//! some of which can be bypassed.
//!
//! Source: the kernel's Documentation/gpu/rfc/color_pipeline.rst and `enum drm_colorop_type`
//! (drm_mode.h).

use crate::accuracy::{exact_conversion, max_error, MAX_ERROR};
use crate::lut::{lut_1d, sample_1d, sample_colorop_3d};
use crate::primaries::{apply, conversion_matrix, s31_32, Matrix, SRGB};
use crate::target::ColorTarget;
use crate::target_encoding::{EncodingCurve, TargetEncoding};
use crate::transfer::{srgb_decode, REFERENCE_WHITE};

/// Luminance in cd/m² that 1 stands for in the kernel's "PQ 125" curves: 125 is 10000 cd/m².
const PQ_125_UNIT: f64 = 80.0;

/// A curve that the kernel names (CURVE_1D_TYPE).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedCurve {
    /// From sRGB signal to linear.
    SrgbDecode,
    /// From linear to sRGB signal.
    SrgbEncode,
    /// From linear, in which 125 is 10000 cd/m², to PQ signal.
    PqEncode,
}

impl NamedCurve {
    /// The curves with the kernel's names.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::SrgbDecode, "sRGB EOTF"),
        (Self::SrgbEncode, "sRGB Inverse EOTF"),
        (Self::PqEncode, "PQ 125 Inverse EOTF"),
    ];
}

/// The type of a colorop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColoropKind {
    /// 1D curve: one of these.
    Curves(Vec<NamedCurve>),
    /// 1D LUT with this number of entries per channel.
    Lut1d(usize),
    /// 3×4 matrix.
    Matrix,
    /// 3D LUT with this number of points along each axis, red fastest.
    Lut3d(usize),
    /// A type that is not used here.
    Other,
}

/// A colorop of a plane's color pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Colorop {
    /// Its type.
    pub kind: ColoropKind,
    /// Whether it has the BYPASS property.
    pub can_bypass: bool,
}

/// The value of a colorop.
#[derive(Debug, Clone, PartialEq)]
pub enum ColoropSetting {
    /// Bypassed.
    Bypass,
    /// A named curve.
    Curve(NamedCurve),
    /// Entries of a 1D or 3D LUT: red, green and blue of 32 bits.
    Lut(Vec<[u32; 3]>),
    /// A matrix.
    Matrix(Matrix),
}

impl ColoropSetting {
    /// Returns a matrix as rows of three factors and an offset of zero, in S31.32 sign-magnitude
    /// format (`struct drm_color_ctm_3x4` in drm_mode.h).
    pub fn ctm(matrix: &Matrix) -> [u64; 12] {
        std::array::from_fn(|cell| if cell % 4 == 3 { 0 } else { s31_32(matrix[cell / 4][cell % 4]) })
    }
}

fn quantize(value: f64) -> u32 {
    (value.clamp(0.0, 1.0) * f64::from(u32::MAX)).round() as u32
}

/// Returns one setting per colorop that converts sRGB to a target.
///
/// `None` if the colorops do not come within one code of 255 of the exact conversion.
pub fn solve(target: &ColorTarget, colorops: &[Colorop]) -> Option<Vec<ColoropSetting>> {
    solve_with_curves(target, colorops).or_else(|| solve_with_3d_lut(target, colorops))
}

/// Completes the settings: all other colorops are bypassed. `None` if one of them cannot be.
fn bypass_others(colorops: &[Colorop], used: Vec<(usize, ColoropSetting)>) -> Option<Vec<ColoropSetting>> {
    let is_unused = |index: &usize| used.iter().all(|(used, _)| used != index);
    if (0..colorops.len()).filter(is_unused).any(|index| !colorops[index].can_bypass) {
        return None;
    }
    let mut all = vec![ColoropSetting::Bypass; colorops.len()];
    for (index, setting) in used {
        all[index] = setting;
    }
    Some(all)
}

/// Solves with a decoding curve, a matrix and encoding curves.
fn solve_with_curves(target: &ColorTarget, colorops: &[Colorop]) -> Option<Vec<ColoropSetting>> {
    let encoding = TargetEncoding::of(target)?;
    let plain_matrix = conversion_matrix(&SRGB, &encoding.primaries)?;
    let exact = exact_conversion(target)?;
    // A named curve takes linear values in its own unit. The matrix applies the unit and the gains.
    let named = match encoding.curve {
        _ if target.adjustments.calibration.is_some() => None,
        EncodingCurve::Srgb => Some((NamedCurve::SrgbEncode, 1.0)),
        EncodingCurve::Pq => Some((NamedCurve::PqEncode, REFERENCE_WHITE / PQ_125_UNIT)),
        EncodingCurve::Hlg | EncodingCurve::Profile(_) => None,
    };
    let encode = encoding.encode(&target.adjustments);
    let clamped = |channel: usize, linear: f64| encode(channel, linear.clamp(0.0, 1.0));
    let gains = target.adjustments.gains();
    let decoder = |colorop: &Colorop| match &colorop.kind {
        ColoropKind::Curves(curves) => {
            let has = curves.contains(&NamedCurve::SrgbDecode);
            has.then_some(ColoropSetting::Curve(NamedCurve::SrgbDecode))
        }
        ColoropKind::Lut1d(size) if *size > 1 => {
            Some(ColoropSetting::Lut(lut_1d(*size, quantize, |_, signal| srgb_decode(signal))))
        }
        _ => None,
    };
    let encoder = |colorop: &Colorop| match (&colorop.kind, named) {
        (ColoropKind::Curves(curves), Some((curve, unit))) if curves.contains(&curve) => {
            let row = |row: usize| plain_matrix[row].map(|cell| cell * gains[row] * unit);
            Some((ColoropSetting::Curve(curve), std::array::from_fn(row)))
        }
        (ColoropKind::Lut1d(size), _) if *size > 1 => {
            Some((ColoropSetting::Lut(lut_1d(*size, quantize, clamped)), plain_matrix))
        }
        _ => None,
    };
    let from = |first: usize| colorops.iter().enumerate().skip(first);
    for (first, decode) in from(0).filter_map(|(index, colorop)| Some((index, decoder(colorop)?))) {
        let matrices = from(first + 1).filter(|(_, colorop)| colorop.kind == ColoropKind::Matrix);
        for middle in matrices.map(|(index, _)| index) {
            let encoders = from(middle + 1).filter_map(|(index, colorop)| Some((index, encoder(colorop)?)));
            for (last, (encode, matrix)) in encoders {
                let hardware = |signal: [f64; 3]| {
                    let linear = match &decode {
                        ColoropSetting::Lut(lut) => {
                            std::array::from_fn(|channel| sample_1d(lut, u32::MAX, channel, signal[channel]))
                        }
                        _ => signal.map(srgb_decode),
                    };
                    match &encode {
                        ColoropSetting::Lut(lut) => {
                            let linear = apply(&matrix, linear);
                            std::array::from_fn(|channel| sample_1d(lut, u32::MAX, channel, linear[channel]))
                        }
                        // The kernel defines named curves by the same standards.
                        _ => {
                            let linear = apply(&plain_matrix, linear);
                            std::array::from_fn(|channel| clamped(channel, linear[channel]))
                        }
                    }
                };
                if max_error(&exact, hardware) > MAX_ERROR {
                    continue;
                }
                let used =
                    vec![(first, decode.clone()), (middle, ColoropSetting::Matrix(matrix)), (last, encode)];
                if let Some(settings) = bypass_others(colorops, used) {
                    return Some(settings);
                }
            }
        }
    }
    None
}

/// Solves with a 3D LUT alone, as for ICC profiles with tables.
fn solve_with_3d_lut(target: &ColorTarget, colorops: &[Colorop]) -> Option<Vec<ColoropSetting>> {
    let exact = exact_conversion(target)?;
    colorops.iter().enumerate().find_map(|(index, colorop)| {
        let ColoropKind::Lut3d(size) = colorop.kind else { return None };
        if size < 2 {
            return None;
        }
        let last = (size - 1) as f64;
        let input = |index: usize| (index % size) as f64 / last;
        let point = |index: usize| {
            exact([input(index), input(index / size), input(index / size / size)]).map(quantize)
        };
        let lut: Vec<[u32; 3]> = (0..size.pow(3)).map(point).collect();
        let is_close = max_error(&exact, |signal| sample_colorop_3d(&lut, size, signal)) <= MAX_ERROR;
        bypass_others(colorops, vec![(index, ColoropSetting::Lut(lut))]).filter(|_| is_close)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::adjustments::Adjustments;
    use crate::color_space::ColorSpace;
    use crate::icc::IccProfile;

    fn colorop(kind: ColoropKind) -> Colorop {
        Colorop { kind, can_bypass: true }
    }

    /// Returns the pipeline of the kernel's vkms.
    fn vkms_pipeline() -> Vec<Colorop> {
        let curves = || colorop(ColoropKind::Curves(vec![NamedCurve::SrgbDecode, NamedCurve::SrgbEncode]));
        vec![curves(), colorop(ColoropKind::Matrix), colorop(ColoropKind::Matrix), curves()]
    }

    fn target(space: ColorSpace) -> ColorTarget {
        ColorTarget { space, ..ColorTarget::default() }
    }

    #[test]
    fn named_curves_are_used_and_the_matrix_applies_brightness() {
        let settings = solve(&target(ColorSpace::Bt2020), &vkms_pipeline()).expect("settings");
        assert_eq!(settings[0], ColoropSetting::Curve(NamedCurve::SrgbDecode));
        let ColoropSetting::Matrix(matrix) = &settings[1] else { panic!("{settings:?}") };
        assert!((matrix[0][0] - 0.6274).abs() < 1e-3);
        assert_eq!(settings[2..], [ColoropSetting::Bypass, ColoropSetting::Curve(NamedCurve::SrgbEncode)]);
        let adjustments = Adjustments { brightness: 0.5, ..Adjustments::default() };
        let dimmed = ColorTarget { adjustments, ..target(ColorSpace::Bt2020) };
        let Some(ColoropSetting::Matrix(half)) =
            solve(&dimmed, &vkms_pipeline()).map(|settings| settings[1].clone())
        else {
            panic!("a matrix");
        };
        assert!((half[0][0] - matrix[0][0] / 2.0).abs() < 1e-9);
        // vkms has no curve for HLG, and sRGB needs no conversion.
        assert_eq!(solve(&target(ColorSpace::Bt2020Hlg), &vkms_pipeline()), None);
        assert_eq!(solve(&target(ColorSpace::Srgb), &vkms_pipeline()), None);
    }

    /// In the kernel's PQ curve 1 is 80 cd/m², and the reference white has 203 cd/m².
    #[test]
    fn matrix_scales_to_the_unit_of_the_pq_curve() {
        let colorops = [
            colorop(ColoropKind::Curves(vec![NamedCurve::SrgbDecode])),
            colorop(ColoropKind::Matrix),
            colorop(ColoropKind::Curves(vec![NamedCurve::PqEncode])),
        ];
        let settings = solve(&target(ColorSpace::Bt2020Pq), &colorops).expect("settings");
        let ColoropSetting::Matrix(matrix) = &settings[1] else { panic!("{settings:?}") };
        let white: f64 = matrix[0].iter().sum();
        assert!((white - 203.0 / 80.0).abs() < 1e-6, "{white}");
    }

    #[test]
    fn colorop_that_cannot_be_bypassed_prevents_a_solution() {
        let mut colorops = vec![
            colorop(ColoropKind::Lut1d(4096)),
            colorop(ColoropKind::Matrix),
            colorop(ColoropKind::Other),
            colorop(ColoropKind::Lut1d(4096)),
        ];
        assert!(solve(&target(ColorSpace::DisplayP3), &colorops).is_some());
        let pq = solve(&target(ColorSpace::Bt2020Pq), &colorops);
        assert_eq!(pq, None, "the LUT is too coarse near black");
        colorops[2].can_bypass = false;
        assert_eq!(solve(&target(ColorSpace::DisplayP3), &colorops), None);
    }

    #[test]
    fn profile_with_tables_needs_a_3d_lut_of_sufficient_size() {
        let bytes = lcms2::Profile::new_srgb().icc().expect("bytes");
        let profile = IccProfile::parse(&bytes).expect("a profile");
        let icc = IccProfile { matrix_shaper: None, ..profile };
        let icc_target = ColorTarget { icc: Some(Arc::new(icc)), ..target(ColorSpace::Icc) };
        let colorops = |size| [colorop(ColoropKind::Other), colorop(ColoropKind::Lut3d(size))];
        let settings = solve(&icc_target, &colorops(17));
        let Some([ColoropSetting::Bypass, ColoropSetting::Lut(lut)]) = settings.as_deref() else {
            panic!("a 3D LUT: {settings:?}");
        };
        assert_eq!(lut.len(), 17 * 17 * 17);
        // Red is fastest.
        assert!(lut[16][0] > u32::MAX / 2 && lut[16][2] < u32::MAX / 100);
        assert!(solve(&target(ColorSpace::Bt2020Pq), &colorops(2)).is_none());
    }
}
