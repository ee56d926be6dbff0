//! Colours of our pictures, which are sRGB, as another colour space has them. Pure.
//!
//! decode (IEC 61966-2-1) → 3×3 matrix → encode, with the first two in tables whose entries are added up. Whites stay white: where the white points differ, Bradford's
//! adaptation goes between (ICC.1:2022, annex E). HDR puts our white at 203 cd/m², and HLG at 75 % of its signal (ITU-R BT.2408-7).

use super::link::ColorSpace;

/// A point of the CIE 1931 diagram, x and y.
type Point = (f64, f64);
type Matrix = [[f64; 3]; 3];

/// Red, green, blue and white.
pub type Primaries = [Point; 4];

const D65: Point = (0.3127, 0.3290);
const SRGB: Primaries = [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65];
const DISPLAY_P3: Primaries = [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65];
const BT2020: Primaries = [(0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65];

/// Our white in HDR, cd/m².
const WHITE: f64 = 203.0;

fn multiply(left: &Matrix, right: &Matrix) -> Matrix {
    let cell = |row: usize, column: usize| (0..3).map(|step| left[row][step] * right[step][column]).sum();
    std::array::from_fn(|row| std::array::from_fn(|column| cell(row, column)))
}

fn apply(matrix: &Matrix, vector: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|row| (0..3).map(|step| matrix[row][step] * vector[step]).sum())
}

/// None where the rows do not span space: primaries on a line.
fn invert(of: &Matrix) -> Option<Matrix> {
    let minor = |row: usize, column: usize| {
        let (a, b) = ((row + 1) % 3, (row + 2) % 3);
        let (c, d) = ((column + 1) % 3, (column + 2) % 3);
        of[a][c] * of[b][d] - of[a][d] * of[b][c]
    };
    let determinant: f64 = (0..3).map(|column| of[0][column] * minor(0, column)).sum();
    (determinant.abs() > 1e-9)
        .then(|| std::array::from_fn(|row| std::array::from_fn(|column| minor(column, row) / determinant)))
}

fn xyz((x, y): Point) -> Option<[f64; 3]> {
    (y > 1e-6).then(|| [x / y, 1.0, (1.0 - x - y) / y])
}

/// From light of these primaries to CIE XYZ.
fn to_xyz(primaries: &Primaries) -> Option<Matrix> {
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

fn matrix(primaries: &Primaries) -> Option<Matrix> {
    let there = multiply(&adaptation(SRGB[3], primaries[3])?, &to_xyz(&SRGB)?);
    Some(multiply(&invert(&to_xyz(primaries)?)?, &there))
}

fn srgb_decode(signal: f64) -> f64 {
    if signal <= 0.04045 {
        signal / 12.92
    } else {
        ((signal + 0.055) / 1.055).powf(2.4)
    }
}

fn srgb_encode(light: f64) -> f64 {
    if light <= 0.003_130_8 {
        light * 12.92
    } else {
        1.055 * light.powf(1.0 / 2.4) - 0.055
    }
}

/// SMPTE ST 2084's inverse EOTF, of light in which 1 is our white.
fn pq_encode(light: f64) -> f64 {
    const M1: f64 = 2610.0 / 16384.0;
    const M2: f64 = 2523.0 / 4096.0 * 128.0;
    const C1: f64 = 3424.0 / 4096.0;
    const C2: f64 = 2413.0 / 4096.0 * 32.0;
    const C3: f64 = 2392.0 / 4096.0 * 32.0;
    let power = (light * WHITE / 10_000.0).powf(M1);
    ((C1 + C2 * power) / (1.0 + C3 * power)).powf(M2)
}

/// ITU-R BT.2100's OETF for HLG, scaled so that our white is 75 % of the signal.
fn hlg_encode(light: f64) -> f64 {
    const A: f64 = 0.178_832_77;
    const B: f64 = 1.0 - 4.0 * A;
    let c = 0.5 - A * (4.0 * A).ln();
    let white = (((0.75 - c) / A).exp() + B) / 12.0;
    let scene = light * white;
    if scene <= 1.0 / 12.0 {
        (3.0 * scene).sqrt()
    } else {
        A * (12.0 * scene - B).ln() + c
    }
}

/// Light of one colour in a number: so many bits from this much below black to as much above white.
const LANE: u32 = 20;
const MARGIN: f64 = 0.5;
/// Three lanes and room between them stand in one word, which adds up all three at once.
const SHIFTS: [u32; 3] = [0, 21, 42];
/// The bits of a lane that its code depends on.
const INDEX: u32 = 16;

/// How pictures become another colour space's.
pub struct Conversion {
    /// What each code of red, green and blue brings to red, green and blue light.
    light: Box<[[u64; 256]; 3]>,
    /// Codes by light, margins included.
    encode: Vec<u8>,
}

impl std::fmt::Debug for Conversion {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Conversion").finish_non_exhaustive()
    }
}

impl Conversion {
    /// None for sRGB itself, and where `native` primaries make no colour space, or one so small that most of sRGB is outside.
    pub fn to(space: ColorSpace, native: Option<&Primaries>) -> Option<Self> {
        let (primaries, encode): (&Primaries, fn(f64) -> f64) = match space {
            ColorSpace::Srgb => return None,
            ColorSpace::DisplayP3 => (&DISPLAY_P3, srgb_encode),
            ColorSpace::Bt2020 => (&BT2020, srgb_encode),
            ColorSpace::Bt2020Pq => (&BT2020, pq_encode),
            ColorSpace::Bt2020Hlg => (&BT2020, hlg_encode),
            ColorSpace::Native => (native?, srgb_encode),
        };
        let matrix = matrix(primaries)?;
        // Rows add up to 1, so what lies below black is all that can lie above white. A lane is not left for another.
        let below = |row: &[f64; 3]| row.iter().map(|cell| cell.min(0.0)).sum::<f64>();
        if matrix.iter().any(|row| !(-MARGIN + 0.01..=0.0).contains(&below(row))) {
            return None;
        }
        let unit = f64::from(1u32 << LANE) / (1.0 + 2.0 * MARGIN);
        let word = |colour: usize, code: usize| {
            let light = srgb_decode(code as f64 / 255.0);
            // A third of the margin comes with each colour.
            let lane = |row: &[f64; 3]| ((row[colour] * light + MARGIN / 3.0) * unit).round() as i64;
            let lanes = matrix.iter().zip(SHIFTS).map(|(row, shift)| lane(row) << shift);
            // A negative one borrows from the next, which gets it back when all three are added.
            lanes.fold(0i64, i64::wrapping_add) as u64
        };
        let mut light = Box::new([[0; 256]; 3]);
        for (colour, table) in light.iter_mut().enumerate() {
            for (code, entry) in table.iter_mut().enumerate() {
                *entry = word(colour, code);
            }
        }
        let steps = f64::from(1u32 << INDEX);
        let code = |step: f64| {
            let light = (step + 0.5) / steps * (1.0 + 2.0 * MARGIN) - MARGIN;
            (encode(light.clamp(0.0, 1.0)) * 255.0).round().clamp(0.0, 255.0) as u8
        };
        Some(Self { light, encode: (0..1u32 << INDEX).map(|step| code(step.into())).collect() })
    }

    fn pixel(&self, [blue, green, red, rest]: [u8; 4]) -> [u8; 4] {
        let [reds, greens, blues] = &*self.light;
        let light = reds[usize::from(red)]
            .wrapping_add(greens[usize::from(green)])
            .wrapping_add(blues[usize::from(blue)]);
        let code = |shift: u32| {
            let index = (light >> (shift + LANE - INDEX)) as usize & ((1 << INDEX) - 1);
            self.encode.get(index).copied().unwrap_or(0)
        };
        [code(SHIFTS[2]), code(SHIFTS[1]), code(SHIFTS[0]), rest]
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

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(space: ColorSpace, rgb: [u8; 3]) -> [u8; 3] {
        let conversion = Conversion::to(space, None).expect("a conversion");
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
            let conversion = Conversion::to(space, Some(&native)).expect("a conversion");
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
            let conversion = Conversion::to(space, Some(&native)).expect("a conversion");
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
            assert!(Conversion::to(ColorSpace::Native, Some(&primaries)).is_none(), "{primaries:?}");
        }
    }
}
