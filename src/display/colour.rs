//! Colours of our pictures, which are sRGB, as another colour space has them. Pure.
//!
//! decode (IEC 61966-2-1) → 3×3 matrix → encode, with the first two in tables whose entries are added up. Whites stay white: where the white points differ, Bradford's
//! adaptation goes between (ICC.1:2022, annex E). HDR puts our white at 203 cd/m², and HLG at 75 % of its signal (ITU-R BT.2408-7).

use std::sync::Arc;

use super::aim::{aim, Aim};
use super::description::{grid, Description};
use super::icc::{Icc, GRID};
use super::link::ColorSpace;
use super::sums::Sums;
use super::tone::Tone;

/// A point of the CIE 1931 diagram, x and y.
pub(super) type Point = (f64, f64);
pub type Matrix = [[f64; 3]; 3];

/// Red, green, blue and white.
pub type Primaries = [Point; 4];

const D65: Point = (0.3127, 0.3290);
pub const SRGB: Primaries = [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65];
pub const DISPLAY_P3: Primaries = [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65];
pub const BT2020: Primaries = [(0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65];

/// Our white in HDR, cd/m².
pub(super) const WHITE: f64 = 203.0;

fn multiply(left: &Matrix, right: &Matrix) -> Matrix {
    let cell = |row: usize, column: usize| (0..3).map(|step| left[row][step] * right[step][column]).sum();
    std::array::from_fn(|row| std::array::from_fn(|column| cell(row, column)))
}

pub(super) fn apply(matrix: &Matrix, vector: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|row| (0..3).map(|step| matrix[row][step] * vector[step]).sum())
}

/// None where the rows do not span space: primaries on a line.
pub(super) fn invert(of: &Matrix) -> Option<Matrix> {
    let minor = |row: usize, column: usize| {
        let (a, b) = ((row + 1) % 3, (row + 2) % 3);
        let (c, d) = ((column + 1) % 3, (column + 2) % 3);
        of[a][c] * of[b][d] - of[a][d] * of[b][c]
    };
    let determinant: f64 = (0..3).map(|column| of[0][column] * minor(0, column)).sum();
    (determinant.abs() > 1e-9)
        .then(|| std::array::from_fn(|row| std::array::from_fn(|column| minor(column, row) / determinant)))
}

pub(super) fn xyz((x, y): Point) -> Option<[f64; 3]> {
    (y > 1e-6).then(|| [x / y, 1.0, (1.0 - x - y) / y])
}

/// From light of these primaries to CIE XYZ.
pub(super) fn to_xyz(primaries: &Primaries) -> Option<Matrix> {
    let [red, green, blue, white] = *primaries;
    let columns = [xyz(red)?, xyz(green)?, xyz(blue)?];
    let matrix: Matrix = std::array::from_fn(|row| std::array::from_fn(|column| columns[column][row]));
    let scale = apply(&invert(&matrix)?, xyz(white)?);
    Some(std::array::from_fn(|row| std::array::from_fn(|column| matrix[row][column] * scale[column])))
}

/// What one white's colours look like under another.
fn adaptation(from: Point, to: Point) -> Option<Matrix> {
    const BRADFORD: Matrix =
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]];
    let (from, to) = (apply(&BRADFORD, xyz(from)?), apply(&BRADFORD, xyz(to)?));
    let mut scale = [[0.0; 3]; 3];
    for cone in 0..3 {
        scale[cone][cone] = to[cone] / from[cone];
    }
    Some(multiply(&invert(&BRADFORD)?, &multiply(&scale, &BRADFORD)))
}

pub(super) fn matrix(primaries: &Primaries) -> Option<Matrix> {
    between_primaries(&SRGB, primaries)
}

/// From light of some primaries to light of others, whites to whites. None where either make no colour space.
pub fn between_primaries(from: &Primaries, to: &Primaries) -> Option<Matrix> {
    let there = multiply(&adaptation(from[3], to[3])?, &to_xyz(from)?);
    Some(multiply(&invert(&to_xyz(to)?)?, &there))
}

pub(super) fn srgb_decode(signal: f64) -> f64 {
    if signal <= 0.04045 {
        signal / 12.92
    } else {
        ((signal + 0.055) / 1.055).powf(2.4)
    }
}

pub(super) fn srgb_encode(light: f64) -> f64 {
    if light <= 0.003_130_8 {
        light * 12.92
    } else {
        1.055 * light.powf(1.0 / 2.4) - 0.055
    }
}

/// SMPTE ST 2084's constants.
const M1: f64 = 2610.0 / 16384.0;
const M2: f64 = 2523.0 / 4096.0 * 128.0;
const C1: f64 = 3424.0 / 4096.0;
const C2: f64 = 2413.0 / 4096.0 * 32.0;
const C3: f64 = 2392.0 / 4096.0 * 32.0;

/// SMPTE ST 2084's inverse EOTF, of light in which 1 is our white.
pub(super) fn pq_encode(light: f64) -> f64 {
    let power = (light * WHITE / 10_000.0).powf(M1);
    ((C1 + C2 * power) / (1.0 + C3 * power)).powf(M2)
}

/// SMPTE ST 2084's EOTF: of 10000 cd/m².
pub(super) fn pq_decode(signal: f64) -> f64 {
    let power = signal.max(0.0).powf(1.0 / M2);
    ((power - C1).max(0.0) / (C2 - C3 * power)).powf(1.0 / M1)
}

/// ITU-R BT.2100's constants for HLG; its third is [`hlg_c`].
const HLG_A: f64 = 0.178_832_77;
const HLG_B: f64 = 1.0 - 4.0 * HLG_A;

fn hlg_c() -> f64 {
    0.5 - HLG_A * (4.0 * HLG_A).ln()
}

/// BT.2100's OETF for HLG, scaled so that our white is 75 % of the signal.
pub(super) fn hlg_encode(light: f64) -> f64 {
    let scene = light * hlg_decode(0.75);
    if scene <= 1.0 / 12.0 {
        (3.0 * scene).sqrt()
    } else {
        HLG_A * (12.0 * scene - HLG_B).ln() + hlg_c()
    }
}

/// Its inverse: light of the scene from 0 to 1.
pub(super) fn hlg_decode(signal: f64) -> f64 {
    if signal <= 0.5 {
        signal * signal / 3.0
    } else {
        (((signal - hlg_c()) / HLG_A).exp() + HLG_B) / 12.0
    }
}

/// Our pictures leave other spaces so far at most, in light.
const MARGIN: f64 = 0.5;
/// Programs' pictures leave narrower ones further.
const WIDE_MARGIN: f64 = 0.75;

/// How a monitor wants its pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    pub space: ColorSpace,
    /// The monitor's own primaries, where it tells.
    pub native: Option<Primaries>,
    /// For [`ColorSpace::Icc`].
    pub icc: Option<Arc<Icc>>,
    /// What no hardware does for us.
    pub tone: Tone,
    /// Bits of a colour in its buffers: 8 or 10.
    pub bits: u32,
    /// Pictures of programs that describe their colours are among what it shows.
    pub layered: bool,
    /// The monitor's brightest, cd/m², where it tells.
    pub max_luminance: Option<f64>,
}

impl Look {
    /// More than a matrix between curves leads to it: a profile's tables.
    pub fn by_grid(&self) -> bool {
        self.space == ColorSpace::Icc && self.icc.as_ref().is_none_or(|icc| icc.shaper.is_none())
    }
}

impl Default for Look {
    fn default() -> Self {
        Self {
            space: ColorSpace::Srgb,
            native: None,
            icc: None,
            tone: Tone::default(),
            bits: 8,
            layered: false,
            max_luminance: None,
        }
    }
}

/// A signal from 0 to 1 as a code of so many bits.
fn code(signal: f64, bits: u32) -> u16 {
    let most = f64::from((1u32 << bits) - 1);
    (signal * most).round().clamp(0.0, most) as u16
}

/// From codes of ours to codes of the monitor's.
enum Way {
    Same,
    /// Each code by itself.
    Codes(Box<[[u16; 256]; 3]>),
    Matrix(Sums<256>),
    /// The monitor's codes at the points of a grid, 16 bits each.
    Grid(Vec<[u16; 3]>),
}

/// How pictures become another colour space's.
pub struct Conversion {
    way: Way,
    bits: u32,
}

impl std::fmt::Debug for Conversion {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Conversion").finish_non_exhaustive()
    }
}

impl Conversion {
    /// None where pictures are as the monitor wants them, and where `native` primaries make no colour space, or one so small that
    /// most of sRGB is outside.
    pub fn to(look: &Look) -> Option<Self> {
        let signal = look.tone.signal();
        let way = match look.space {
            ColorSpace::Srgb if look.tone.is_plain() && !look.layered => return None,
            ColorSpace::Srgb if look.tone.is_plain() => Way::Same,
            ColorSpace::Srgb => {
                let by_code =
                    |colour| std::array::from_fn(|step| code(signal(colour, step as f64 / 255.0), look.bits));
                Way::Codes(Box::new(std::array::from_fn(by_code)))
            }
            ColorSpace::Icc if look.by_grid() => {
                let point = |point: &[f32; 3]| {
                    std::array::from_fn(|colour| code(signal(colour, point[colour].into()), 16))
                };
                Way::Grid(look.icc.as_ref()?.grid.iter().map(point).collect())
            }
            _ => {
                let aim = aim(look)?;
                let matrix = matrix(&aim.primaries)?;
                let signal = aim.signal(&look.tone);
                let coded = |colour: usize, light: f64| code(signal(colour, light), look.bits);
                Way::Matrix(Sums::new(&matrix, MARGIN, srgb_decode, coded)?)
            }
        };
        Some(Self { way, bits: look.bits })
    }

    /// Codes of the monitor's, red, green and blue, of so many bits as the look says.
    fn codes(&self, [red, green, blue]: [u8; 3]) -> [u16; 3] {
        match &self.way {
            Way::Same => [red, green, blue].map(u16::from),
            Way::Codes(codes) => {
                let code = |colour: usize, code: u8| codes[colour][usize::from(code)];
                [code(0, red), code(1, green), code(2, blue)]
            }
            Way::Matrix(sums) => sums.codes([red, green, blue].map(usize::from)),
            Way::Grid(grid) => rounded(between(grid, [red, green, blue].map(u32::from), 255), self.bits),
        }
    }

    fn pixel(&self, [blue, green, red, rest]: [u8; 4]) -> [u8; 4] {
        self.packed(self.codes([red, green, blue]), rest)
    }

    /// A pixel of ours with transparency, and what is seen through it in the monitor's codes.
    pub fn over(&self, [blue, green, red, alpha]: [u8; 4], below: [u16; 3]) -> [u8; 4] {
        let alpha = u32::from(alpha);
        if alpha == 0 {
            return self.packed(below, 0);
        }
        // Colours come multiplied by their alpha.
        let whole = [red, green, blue].map(|code| (u32::from(code) * 255 / alpha).min(255) as u8);
        let above = self.codes(whole);
        let mixed = |colour: usize| {
            let sum = u32::from(above[colour]) * alpha + u32::from(below[colour]) * (255 - alpha);
            ((sum + 127) / 255) as u16
        };
        self.packed([mixed(0), mixed(1), mixed(2)], 0)
    }

    fn packed(&self, [red, green, blue]: [u16; 3], rest: u8) -> [u8; 4] {
        if self.bits == 10 {
            // XRGB2101010 (drm_fourcc.h), little endian.
            return (u32::from(red) << 20 | u32::from(green) << 10 | u32::from(blue)).to_le_bytes();
        }
        [blue as u8, green as u8, red as u8, rest]
    }

    /// Converts a row of XRGB8888 pixels (bytes in memory: blue, green, red, unused).
    pub fn row(&self, from: &[u8], to: &mut [u8]) {
        // Most pixels are as the one before.
        let mut last = (0, self.pixel([0; 4]));
        for (from, to) in from.chunks_exact(4).zip(to.chunks_exact_mut(4)) {
            let pixel = [from[0], from[1], from[2], from[3]];
            let word = u32::from_ne_bytes(pixel);
            if word != last.0 {
                last = (word, self.pixel(pixel));
            }
            to.copy_from_slice(&last.1);
        }
    }
}

/// How pictures that programs describe become a display's.
pub enum Bringing {
    /// A matrix between two curves, from codes of 10 bits.
    Exact(Sums<1024>),
    /// The display's codes at the points of a grid, 16 bits each, and the bits that it has.
    Grid(Vec<[u16; 3]>, u32),
}

impl Bringing {
    /// Exactly, where a matrix between two curves is all that it takes, or else by a grid. None where there is no way from these colours
    /// to the display's.
    pub fn new(description: &Description, perceptual: bool, look: &Look) -> Option<Self> {
        if let Some(sums) = Self::exact(description, look) {
            return Some(Self::Exact(sums));
        }
        let grid = grid(description, look, look.max_luminance, perceptual)?;
        Some(Self::Grid(grid.iter().map(|point| point.map(|signal| code(signal, 16))).collect(), look.bits))
    }

    fn exact(description: &Description, look: &Look) -> Option<Sums<1024>> {
        let curve = description.curve().filter(|_| !look.by_grid())?;
        let aim = Aim::or_srgb(look);
        let matrix = between_primaries(&description.primaries, &aim.primaries)?;
        let signal = aim.signal(&look.tone);
        let coded = |colour: usize, light: f64| code(signal(colour, light), look.bits);
        Sums::new(&matrix, WIDE_MARGIN, curve, coded)
    }

    /// The display's codes for codes of 10 bits.
    pub fn codes(&self, codes: [u32; 3]) -> [u16; 3] {
        match self {
            Self::Exact(sums) => sums.codes(codes.map(|code| code as usize)),
            Self::Grid(grid, bits) => rounded(between(grid, codes, 1023), *bits),
        }
    }
}

/// Codes of 16 bits as codes of fewer.
fn rounded(codes: [u32; 3], bits: u32) -> [u16; 3] {
    let most = (1u64 << bits) - 1;
    codes.map(|code| ((u64::from(code) * most + 32_767) / 65_535) as u16)
}

/// A grid's value between its points, in the tetrahedron of the cell that the colour lies in: greys stay on the cell's diagonal.
fn between(grid: &[[u16; 3]], codes: [u32; 3], most: u32) -> [u32; 3] {
    const CELLS: u32 = GRID as u32 - 1;
    // The cell, and the place in it in parts of the codes' range.
    let place = |code: u32| {
        let at = code.min(most) * CELLS;
        let cell = (at / most).min(CELLS - 1);
        (cell as usize, at - cell * most)
    };
    let [red, green, blue] = codes.map(place);
    let strides = [GRID * GRID, GRID, 1];
    let base = red.0 * strides[0] + green.0 * strides[1] + blue.0;
    // From the cell's first corner to its last, along the largest part first.
    let mut parts = [(red.1, strides[0]), (green.1, strides[1]), (blue.1, strides[2])];
    parts.sort_unstable_by_key(|(part, _)| std::cmp::Reverse(*part));
    let point = |index: usize| grid.get(index).copied().unwrap_or_default();
    let mut corner = base;
    let mut weight = most - parts[0].0;
    let mut sum = point(corner).map(|code| u32::from(code) * weight);
    for (step, (part, stride)) in parts.iter().enumerate() {
        corner += stride;
        weight = part - parts.get(step + 1).map_or(0, |(next, _)| *next);
        let point = point(corner);
        for (sum, code) in sum.iter_mut().zip(point) {
            *sum += u32::from(code) * weight;
        }
    }
    sum.map(|sum| (sum + most / 2) / most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(space: ColorSpace, rgb: [u8; 3]) -> [u8; 3] {
        let conversion = Conversion::to(&Look { space, ..Look::default() }).expect("a conversion");
        let mut to = [0; 4];
        conversion.row(&[rgb[2], rgb[1], rgb[0], 0], &mut to);
        [to[2], to[1], to[0]]
    }

    /// Published figures: BT.2408's 203 cd/m² at 58 % of PQ and 75 % of HLG; BT.2087's matrix; sRGB's red in Display P3.
    #[test]
    fn known_colours() {
        assert_eq!(convert(ColorSpace::Bt2020Pq, [255; 3]), [148; 3]);
        assert_eq!(convert(ColorSpace::Bt2020Hlg, [255; 3]), [191; 3]);
        assert_eq!(convert(ColorSpace::DisplayP3, [255; 3]), [255; 3]);
        assert_eq!(convert(ColorSpace::DisplayP3, [255, 0, 0]), [234, 51, 35]);
        let bt2087 = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]];
        let ours = matrix(&BT2020).expect("a matrix");
        for (ours, published) in ours.iter().flatten().zip(bt2087.iter().flatten()) {
            assert!((ours - published).abs() < 6e-5, "{ours} {published}");
        }
        for space in [ColorSpace::DisplayP3, ColorSpace::Bt2020] {
            for grey in 0..=255 {
                assert_eq!(convert(space, [grey; 3]), [grey; 3], "{space:?}");
            }
        }
    }

    /// A whole cube of colours against the same sums in floating point: half a step of rounding, and as much of fixed point.
    #[test]
    fn fixed_point_is_as_good_as_floating() {
        let native: Primaries = [(0.661, 0.321), (0.272, 0.665), (0.146, 0.052), (0.299, 0.315)];
        for (space, primaries, encode, bound) in [
            (ColorSpace::DisplayP3, &DISPLAY_P3, srgb_encode as fn(f64) -> f64, 0.75),
            (ColorSpace::Bt2020, &BT2020, srgb_encode, 0.75),
            (ColorSpace::Bt2020Pq, &BT2020, pq_encode, 1.0),
            (ColorSpace::Bt2020Hlg, &BT2020, hlg_encode, 0.75),
            (ColorSpace::Native, &native, srgb_encode, 0.75),
        ] {
            let conversion = Conversion::to(&Look { space, native: Some(native), ..Look::default() })
                .expect("a conversion");
            let matrix = matrix(primaries).expect("a matrix");
            let steps = || (0..=255u8).step_by(15);
            for (red, green, blue) in steps()
                .flat_map(|red| steps().flat_map(move |green| steps().map(move |blue| (red, green, blue))))
            {
                let [b, g, r, _] = conversion.pixel([blue, green, red, 0]);
                let light = [red, green, blue].map(|code| srgb_decode(f64::from(code) / 255.0));
                let exact = apply(&matrix, light).map(|light| encode(light.clamp(0.0, 1.0)) * 255.0);
                for (got, exact) in [r, g, b].into_iter().zip(exact) {
                    let off = (f64::from(got) - exact).abs();
                    assert!(off <= bound, "{space:?} of {red} {green} {blue}: {got}, exactly {exact}");
                }
            }
        }
    }

    /// Little CMS, given the same primaries, comes to the same colours: at most one code of 255 apart.
    #[test]
    fn little_cms_agrees() {
        use lcms2::{CIExyY, CIExyYTRIPLE, Flags, Intent, PixelFormat, Profile, ToneCurve, Transform};
        let native: Primaries = [(0.661, 0.321), (0.272, 0.665), (0.146, 0.052), (0.299, 0.315)];
        let point = |(x, y): Point| CIExyY { x, y, Y: 1.0 };
        let profile = |primaries: &Primaries| {
            // IEC 61966-2-1's curve in Little CMS' own parameters (its parametric type 4).
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
            let conversion = Conversion::to(&Look { space, native: Some(native), ..Look::default() })
                .expect("a conversion");
            let steps = || (0..=255u8).step_by(15);
            for (red, green, blue) in steps()
                .flat_map(|red| steps().flat_map(move |green| steps().map(move |blue| (red, green, blue))))
            {
                let mut theirs = [[0.0; 3]];
                transform.transform_pixels(&[[red, green, blue]], &mut theirs);
                let [b, g, r, _] = conversion.pixel([blue, green, red, 0]);
                for (ours, theirs) in [r, g, b].into_iter().zip(theirs[0]) {
                    let off = (f64::from(ours) - theirs.clamp(0.0, 1.0) * 255.0).abs();
                    assert!(
                        off <= 1.0,
                        "{space:?} of {red} {green} {blue}: {ours}, Little CMS {}",
                        theirs * 255.0
                    );
                }
            }
        }
    }

    #[test]
    fn primaries_that_make_no_space_are_refused() {
        for primaries in [[(0.3, 0.3); 4], [(0.0, 0.0); 4], [(0.6, 0.3), (0.3, 0.6), (0.45, 0.45), D65]] {
            let look = Look { space: ColorSpace::Native, native: Some(primaries), ..Look::default() };
            assert!(Conversion::to(&look).is_none(), "{primaries:?}");
        }
    }

    fn srgb_icc() -> Arc<Icc> {
        let bytes = lcms2::Profile::new_srgb().icc().expect("bytes");
        Arc::new(Icc::parse(&bytes).expect("a profile"))
    }

    /// A monitor's ICC profile, by its matrix and curves or by a grid, against Little CMS without a grid between.
    #[test]
    fn icc_profiles_as_little_cms_has_them() {
        use lcms2::{CIExyY, CIExyYTRIPLE, Intent, PixelFormat, Profile, ToneCurve, Transform};
        let point = |x, y| CIExyY { x, y, Y: 1.0 };
        let triple =
            CIExyYTRIPLE { Red: point(0.661, 0.321), Green: point(0.272, 0.665), Blue: point(0.146, 0.052) };
        let curve = ToneCurve::new(2.2);
        let profile =
            Profile::new_rgb(&point(0.3127, 0.329), &triple, &[&curve, &curve, &curve]).expect("a profile");
        let icc = Icc::parse(&profile.icc().expect("bytes")).expect("a monitor's profile");
        assert!(icc.shaper.is_some());
        let by_grid = Icc { grid: icc.grid.clone(), curves: icc.curves.clone(), shaper: None };
        let transform: Transform<[u8; 3], [f64; 3]> = Transform::new(
            &Profile::new_srgb(),
            PixelFormat::RGB_8,
            &profile,
            PixelFormat::RGB_DBL,
            Intent::RelativeColorimetric,
        )
        .expect("a transform");
        let (icc, by_grid) = (Arc::new(icc), Arc::new(by_grid));
        for (icc, bits, bound) in [(&icc, 8, 1.0), (&icc, 10, 0.5), (&by_grid, 8, 1.5), (&by_grid, 10, 1.5)] {
            let look = Look { space: ColorSpace::Icc, icc: Some(icc.clone()), bits, ..Look::default() };
            let conversion = Conversion::to(&look).expect("a conversion");
            let most = f64::from((1u32 << bits) - 1);
            let steps = || (0..=255u8).step_by(15);
            for (red, green, blue) in steps()
                .flat_map(|red| steps().flat_map(move |green| steps().map(move |blue| (red, green, blue))))
            {
                let mut theirs = [[0.0; 3]];
                transform.transform_pixels(&[[red, green, blue]], &mut theirs);
                let ours = conversion.codes([red, green, blue]);
                for (ours, theirs) in ours.into_iter().zip(theirs[0]) {
                    let off = (f64::from(ours) / most - theirs.clamp(0.0, 1.0)) * 255.0;
                    assert!(
                        off.abs() <= bound,
                        "{bits} bits, {red} {green} {blue}: {ours}, Little CMS {}",
                        theirs * most
                    );
                }
            }
        }
    }

    #[test]
    fn tones_and_depths() {
        let icc = Some(srgb_icc());
        for space in [ColorSpace::Srgb, ColorSpace::Bt2020, ColorSpace::Icc] {
            let tone = Tone { brightness: 0.5, ..Tone::default() };
            let look = Look { space, icc: icc.clone(), tone, bits: 10, ..Look::default() };
            let dimmed = Conversion::to(&look).expect("a conversion");
            // Half the light of white, 10 bits: sRGB's encoding of it is 0.735.
            for code in dimmed.codes([255; 3]) {
                assert!(code.abs_diff(752) <= 1, "{space:?}: {code}");
            }
            let [blue, green, red, rest] = dimmed.pixel([0, 0, 255, 7]);
            let word = u32::from_le_bytes([blue, green, red, rest]);
            assert!(word >> 30 == 0 && (word >> 20) & 1023 > 0, "{space:?}");
        }
        // HDR's brightness is of its light as well.
        let tone = Tone { brightness: 0.5, ..Tone::default() };
        let look = Look { space: ColorSpace::Bt2020Pq, tone, ..Look::default() };
        let code = Conversion::to(&look).map(|dimmed| dimmed.codes([255; 3])[0]);
        assert_eq!(code, Some((pq_encode(0.5) * 255.0).round() as u16));
    }
}
