//! Color conversion of pixels on the CPU: of sRGB frames, and of images with a description.
//!
//! decode (IEC 61966-2-1) → 3×3 matrix → encode, the first two by tables whose entries are added
//! up. HDR shows SDR white at 203 cd/m², and HLG at 75 % of its signal (ITU-R BT.2408-7).

use crate::color_space::ColorSpace;
use crate::image_description::{image_lut, ImageDescription};
use crate::lut::sample_3d;
use crate::packed_matrix_lut::PackedMatrixLut;
use crate::primaries::{conversion_matrix, SRGB};
use crate::target::ColorTarget;
use crate::target_encoding::TargetEncoding;
use crate::transfer::srgb_decode;

/// How far sRGB colors may leave the range of a target, in linear values.
const SRGB_MARGIN: f64 = 0.5;
/// The same for images with a description, which may be of wider gamut.
const IMAGE_MARGIN: f64 = 0.75;

/// Returns a signal from 0 to 1 as a code of this number of bits.
fn quantize(signal: f64, bits: u32) -> u16 {
    let max = f64::from((1u32 << bits) - 1);
    (signal * max).round().clamp(0.0, max) as u16
}

enum Method {
    Identity,
    /// A table for each channel.
    Curves(Box<[[u16; 256]; 3]>),
    Matrix(PackedMatrixLut<256>),
    /// Codes of 16 bits at the points of a 3D LUT.
    Lut3d(Vec<[u16; 3]>),
}

/// The conversion of sRGB frames with 8 bits per channel to a target.
pub struct Conversion {
    method: Method,
    bits: u32,
}

impl std::fmt::Debug for Conversion {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Conversion").finish_non_exhaustive()
    }
}

impl Conversion {
    /// Computes the conversion.
    ///
    /// `None` if the target shows sRGB unchanged, if its primaries span no color space, and if they
    /// span one so small that most of sRGB is outside.
    pub fn new(target: &ColorTarget) -> Option<Self> {
        let adjust = target.adjustments.adjust_signal();
        let method = match target.space {
            ColorSpace::Srgb if target.adjustments.is_neutral() && !target.has_color_layers => return None,
            ColorSpace::Srgb if target.adjustments.is_neutral() => Method::Identity,
            ColorSpace::Srgb => {
                let curve = |channel| {
                    let adjusted = |code: usize| adjust(channel, code as f64 / 255.0);
                    std::array::from_fn(|code| quantize(adjusted(code), target.bits))
                };
                Method::Curves(Box::new(std::array::from_fn(curve)))
            }
            ColorSpace::Icc if target.needs_3d_lut() => {
                let point = |point: &[f32; 3]| {
                    std::array::from_fn(|channel| quantize(adjust(channel, point[channel].into()), 16))
                };
                Method::Lut3d(target.icc.as_ref()?.lut.iter().map(point).collect())
            }
            _ => {
                let encoding = TargetEncoding::of(target)?;
                let matrix = conversion_matrix(&SRGB, &encoding.primaries)?;
                let encode = encoding.encode(&target.adjustments);
                let code = |channel: usize, linear: f64| quantize(encode(channel, linear), target.bits);
                Method::Matrix(PackedMatrixLut::new(&matrix, SRGB_MARGIN, srgb_decode, code)?)
            }
        };
        Some(Self { method, bits: target.bits })
    }

    /// Converts red, green and blue to the target's codes.
    fn convert(&self, [red, green, blue]: [u8; 3]) -> [u16; 3] {
        match &self.method {
            Method::Identity => [red, green, blue].map(u16::from),
            Method::Curves(curves) => {
                let code = |channel: usize, code: u8| curves[channel][usize::from(code)];
                [code(0, red), code(1, green), code(2, blue)]
            }
            Method::Matrix(lut) => lut.convert([red, green, blue].map(usize::from)),
            Method::Lut3d(lut) => {
                reduce_bits(sample_3d(lut, [red, green, blue].map(u32::from), 255), self.bits)
            }
        }
    }

    fn convert_pixel(&self, [blue, green, red, unused]: [u8; 4]) -> [u8; 4] {
        self.pack(self.convert([red, green, blue]), unused)
    }

    /// Converts a pixel of ARGB8888 with premultiplied alpha, and blends it over the target's
    /// codes.
    #[inline]
    pub fn blend_over(&self, [blue, green, red, alpha]: [u8; 4], below: [u16; 3]) -> [u8; 4] {
        let alpha = u32::from(alpha);
        if alpha == 0 {
            return self.pack(below, 0);
        }
        let straight = [red, green, blue].map(|code| (u32::from(code) * 255 / alpha).min(255) as u8);
        let above = self.convert(straight);
        let blended = |channel: usize| {
            let sum = u32::from(above[channel]) * alpha + u32::from(below[channel]) * (255 - alpha);
            ((sum + 127) / 255) as u16
        };
        self.pack([blended(0), blended(1), blended(2)], 0)
    }

    /// Returns a pixel of XRGB8888 or XRGB2101010 (drm_fourcc.h), little endian.
    fn pack(&self, [red, green, blue]: [u16; 3], unused: u8) -> [u8; 4] {
        if self.bits == 10 {
            return (u32::from(red) << 20 | u32::from(green) << 10 | u32::from(blue)).to_le_bytes();
        }
        [blue as u8, green as u8, red as u8, unused]
    }

    /// Converts a row of XRGB8888 pixels (bytes in memory: blue, green, red, unused).
    pub fn convert_row(&self, from: &[u8], to: &mut [u8]) {
        // Most pixels equal the previous one.
        let mut last = (0, self.convert_pixel([0; 4]));
        for (from, to) in from.chunks_exact(4).zip(to.chunks_exact_mut(4)) {
            let pixel = [from[0], from[1], from[2], from[3]];
            let word = u32::from_ne_bytes(pixel);
            if word != last.0 {
                last = (word, self.convert_pixel(pixel));
            }
            to.copy_from_slice(&last.1);
        }
    }
}

enum ImageMethod {
    Matrix(PackedMatrixLut<1024>),
    /// Codes of 16 bits at the points of a 3D LUT, and the bits of the target.
    Lut3d(Vec<[u16; 3]>, u32),
}

/// The conversion of an image with a description to a target.
pub struct ImageConversion(ImageMethod);

impl ImageConversion {
    /// Computes the conversion: exact if a matrix between two curves is enough, or else by a 3D
    /// LUT.
    ///
    /// If `perceptual`, luminances above the target's peak roll off, or else they are clipped.
    /// `None` if the primaries span no color space.
    pub fn new(description: &ImageDescription, perceptual: bool, target: &ColorTarget) -> Option<Self> {
        if let Some(lut) = Self::exact(description, target) {
            return Some(Self(ImageMethod::Matrix(lut)));
        }
        let lut = image_lut(description, target, perceptual)?;
        let lut = lut.iter().map(|point| point.map(|signal| quantize(signal, 16))).collect();
        Some(Self(ImageMethod::Lut3d(lut, target.bits)))
    }

    fn exact(description: &ImageDescription, target: &ColorTarget) -> Option<PackedMatrixLut<1024>> {
        let (decode, scale) = description.curve().filter(|_| !target.needs_3d_lut())?;
        let curve = move |signal: f64| decode.linear(signal) * scale;
        let encoding = TargetEncoding::or_srgb(target);
        let matrix = conversion_matrix(&description.primaries, &encoding.primaries)?;
        let encode = encoding.encode(&target.adjustments);
        let code = |channel: usize, linear: f64| quantize(encode(channel, linear), target.bits);
        PackedMatrixLut::new(&matrix, IMAGE_MARGIN, curve, code)
    }

    /// Converts red, green and blue of 10 bits to the target's codes.
    #[inline]
    pub fn convert(&self, codes: [u32; 3]) -> [u16; 3] {
        match &self.0 {
            ImageMethod::Matrix(lut) => lut.convert(codes.map(|code| code as usize)),
            ImageMethod::Lut3d(lut, bits) => reduce_bits(sample_3d(lut, codes, 1023), *bits),
        }
    }
}

/// Rounds codes of 16 bits to fewer bits.
fn reduce_bits(codes: [u32; 3], bits: u32) -> [u16; 3] {
    let max = (1u64 << bits) - 1;
    codes.map(|code| ((u64::from(code) * max + 32_767) / 65_535) as u16)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::adjustments::Adjustments;
    use crate::icc::IccProfile;
    use crate::primaries::{apply, Chromaticity, Primaries, BT2020, D65, DISPLAY_P3};
    use crate::transfer::{hlg_encode, pq_encode, srgb_encode};

    fn convert(space: ColorSpace, rgb: [u8; 3]) -> [u8; 3] {
        let conversion =
            Conversion::new(&ColorTarget { space, ..ColorTarget::default() }).expect("a conversion");
        let mut to = [0; 4];
        conversion.convert_row(&[rgb[2], rgb[1], rgb[0], 0], &mut to);
        [to[2], to[1], to[0]]
    }

    /// BT.2408: 203 cd/m² at 58 % of PQ and 75 % of HLG; the matrix of BT.2087; sRGB's red in
    /// Display P3.
    #[test]
    fn conversion_gives_published_values() {
        assert_eq!(convert(ColorSpace::Bt2020Pq, [255; 3]), [148; 3]);
        assert_eq!(convert(ColorSpace::Bt2020Hlg, [255; 3]), [191; 3]);
        assert_eq!(convert(ColorSpace::DisplayP3, [255; 3]), [255; 3]);
        assert_eq!(convert(ColorSpace::DisplayP3, [255, 0, 0]), [234, 51, 35]);
        let bt2087 = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]];
        let ours = conversion_matrix(&SRGB, &BT2020).expect("a matrix");
        for (ours, published) in ours.iter().flatten().zip(bt2087.iter().flatten()) {
            assert!((ours - published).abs() < 6e-5, "{ours} {published}");
        }
        for space in [ColorSpace::DisplayP3, ColorSpace::Bt2020] {
            for gray in 0..=255 {
                assert_eq!(convert(space, [gray; 3]), [gray; 3], "{space:?}");
            }
        }
    }

    /// A cube of colors against floating point: half a code of rounding, and as much of fixed
    /// point.
    #[test]
    fn fixed_point_is_within_one_code_of_floating_point() {
        let native: Primaries = [(0.661, 0.321), (0.272, 0.665), (0.146, 0.052), (0.299, 0.315)];
        for (space, primaries, encode, bound) in [
            (ColorSpace::DisplayP3, &DISPLAY_P3, srgb_encode as fn(f64) -> f64, 0.75),
            (ColorSpace::Bt2020, &BT2020, srgb_encode, 0.75),
            (ColorSpace::Bt2020Pq, &BT2020, pq_encode, 1.0),
            (ColorSpace::Bt2020Hlg, &BT2020, hlg_encode, 0.75),
            (ColorSpace::Native, &native, srgb_encode, 0.75),
        ] {
            let conversion =
                Conversion::new(&ColorTarget { space, native: Some(native), ..ColorTarget::default() })
                    .expect("a conversion");
            let matrix = conversion_matrix(&SRGB, primaries).expect("a matrix");
            let steps = || (0..=255u8).step_by(15);
            for (red, green, blue) in steps()
                .flat_map(|red| steps().flat_map(move |green| steps().map(move |blue| (red, green, blue))))
            {
                let [b, g, r, _] = conversion.convert_pixel([blue, green, red, 0]);
                let linear = [red, green, blue].map(|code| srgb_decode(f64::from(code) / 255.0));
                let exact = apply(&matrix, linear).map(|linear| encode(linear.clamp(0.0, 1.0)) * 255.0);
                for (found, exact) in [r, g, b].into_iter().zip(exact) {
                    let error = (f64::from(found) - exact).abs();
                    assert!(error <= bound, "{space:?} of {red} {green} {blue}: {found}, exactly {exact}");
                }
            }
        }
    }

    /// At most one code of 255 apart, with the same primaries.
    #[test]
    fn conversion_agrees_with_little_cms() {
        use lcms2::{CIExyY, CIExyYTRIPLE, Flags, Intent, PixelFormat, Profile, ToneCurve, Transform};
        let native: Primaries = [(0.661, 0.321), (0.272, 0.665), (0.146, 0.052), (0.299, 0.315)];
        let point = |(x, y): Chromaticity| CIExyY { x, y, Y: 1.0 };
        let profile = |primaries: &Primaries| {
            // The curve of IEC 61966-2-1, as Little CMS' parametric type 4.
            let curve =
                ToneCurve::new_parametric(4, &[2.4, 1.0 / 1.055, 0.055 / 1.055, 1.0 / 12.92, 0.04045]);
            let curve = curve.expect("a curve");
            let [red, green, blue, white] = primaries.map(point);
            let triple = CIExyYTRIPLE { Red: red, Green: green, Blue: blue };
            Profile::new_rgb(&white, &triple, &[&curve, &curve, &curve]).expect("a profile")
        };
        for (space, primaries) in [
            (ColorSpace::DisplayP3, &DISPLAY_P3),
            (ColorSpace::Bt2020, &BT2020),
            (ColorSpace::Native, &native),
        ] {
            let transform: Transform<[u8; 3], [f64; 3]> = Transform::new_flags(
                &profile(&SRGB),
                PixelFormat::RGB_8,
                &profile(primaries),
                PixelFormat::RGB_DBL,
                Intent::RelativeColorimetric,
                Flags::NO_CACHE,
            )
            .expect("a transform");
            let conversion =
                Conversion::new(&ColorTarget { space, native: Some(native), ..ColorTarget::default() })
                    .expect("a conversion");
            let steps = || (0..=255u8).step_by(15);
            for (red, green, blue) in steps()
                .flat_map(|red| steps().flat_map(move |green| steps().map(move |blue| (red, green, blue))))
            {
                let mut theirs = [[0.0; 3]];
                transform.transform_pixels(&[[red, green, blue]], &mut theirs);
                let [b, g, r, _] = conversion.convert_pixel([blue, green, red, 0]);
                for (ours, theirs) in [r, g, b].into_iter().zip(theirs[0]) {
                    let error = (f64::from(ours) - theirs.clamp(0.0, 1.0) * 255.0).abs();
                    assert!(
                        error <= 1.0,
                        "{space:?} of {red} {green} {blue}: {ours}, Little CMS {}",
                        theirs * 255.0
                    );
                }
            }
        }
    }

    #[test]
    fn primaries_that_span_no_color_space_are_refused() {
        for primaries in [[(0.3, 0.3); 4], [(0.0, 0.0); 4], [(0.6, 0.3), (0.3, 0.6), (0.45, 0.45), D65]] {
            let target =
                ColorTarget { space: ColorSpace::Native, native: Some(primaries), ..ColorTarget::default() };
            assert!(Conversion::new(&target).is_none(), "{primaries:?}");
        }
    }

    fn srgb_icc() -> Arc<IccProfile> {
        let bytes = lcms2::Profile::new_srgb().icc().expect("bytes");
        Arc::new(IccProfile::parse(&bytes).expect("a profile"))
    }

    /// With matrix and curves, and with a 3D LUT, against Little CMS without a LUT.
    #[test]
    fn icc_conversion_agrees_with_little_cms() {
        use lcms2::{CIExyY, CIExyYTRIPLE, Intent, PixelFormat, Profile, ToneCurve, Transform};
        let point = |x, y| CIExyY { x, y, Y: 1.0 };
        let triple =
            CIExyYTRIPLE { Red: point(0.661, 0.321), Green: point(0.272, 0.665), Blue: point(0.146, 0.052) };
        let curve = ToneCurve::new(2.2);
        let profile =
            Profile::new_rgb(&point(0.3127, 0.329), &triple, &[&curve, &curve, &curve]).expect("a profile");
        let icc = IccProfile::parse(&profile.icc().expect("bytes")).expect("a monitor profile");
        assert!(icc.matrix_shaper.is_some());
        let by_lut =
            IccProfile { lut: icc.lut.clone(), calibration: icc.calibration.clone(), matrix_shaper: None };
        let transform: Transform<[u8; 3], [f64; 3]> = Transform::new(
            &Profile::new_srgb(),
            PixelFormat::RGB_8,
            &profile,
            PixelFormat::RGB_DBL,
            Intent::RelativeColorimetric,
        )
        .expect("a transform");
        let (icc, by_lut) = (Arc::new(icc), Arc::new(by_lut));
        for (icc, bits, bound) in [(&icc, 8, 1.0), (&icc, 10, 0.5), (&by_lut, 8, 1.5), (&by_lut, 10, 1.5)] {
            let target = ColorTarget {
                space: ColorSpace::Icc,
                icc: Some(icc.clone()),
                bits,
                ..ColorTarget::default()
            };
            let conversion = Conversion::new(&target).expect("a conversion");
            let max = f64::from((1u32 << bits) - 1);
            let steps = || (0..=255u8).step_by(15);
            for (red, green, blue) in steps()
                .flat_map(|red| steps().flat_map(move |green| steps().map(move |blue| (red, green, blue))))
            {
                let mut theirs = [[0.0; 3]];
                transform.transform_pixels(&[[red, green, blue]], &mut theirs);
                let ours = conversion.convert([red, green, blue]);
                for (ours, theirs) in ours.into_iter().zip(theirs[0]) {
                    let error = (f64::from(ours) / max - theirs.clamp(0.0, 1.0)) * 255.0;
                    assert!(
                        error.abs() <= bound,
                        "{bits} bits, {red} {green} {blue}: {ours}, Little CMS {}",
                        theirs * max
                    );
                }
            }
        }
    }

    #[test]
    fn adjustments_apply_to_linear_light_at_any_depth() {
        let icc = Some(srgb_icc());
        for space in [ColorSpace::Srgb, ColorSpace::Bt2020, ColorSpace::Icc] {
            let adjustments = Adjustments { brightness: 0.5, ..Adjustments::default() };
            let target =
                ColorTarget { space, icc: icc.clone(), adjustments, bits: 10, ..ColorTarget::default() };
            let dimmed = Conversion::new(&target).expect("a conversion");
            // sRGB encodes half the light of white as 0.735: 752 of 10 bits.
            for code in dimmed.convert([255; 3]) {
                assert!(code.abs_diff(752) <= 1, "{space:?}: {code}");
            }
            let [blue, green, red, unused] = dimmed.convert_pixel([0, 0, 255, 7]);
            let word = u32::from_le_bytes([blue, green, red, unused]);
            assert!(word >> 30 == 0 && (word >> 20) & 1023 > 0, "{space:?}");
        }
        // The same in HDR.
        let adjustments = Adjustments { brightness: 0.5, ..Adjustments::default() };
        let target = ColorTarget { space: ColorSpace::Bt2020Pq, adjustments, ..ColorTarget::default() };
        let code = Conversion::new(&target).map(|dimmed| dimmed.convert([255; 3])[0]);
        assert_eq!(code, Some((pq_encode(0.5) * 255.0).round() as u16));
    }
}
