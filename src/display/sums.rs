//! A 3×3 matrix between a curve and another, as sums of whole numbers: what each code of red, green and blue brings to red, green and blue
//! light stands in one word, and three words added up are the light of a pixel. Pure.

use super::colour::Matrix;

/// Light of one colour in a number: so many bits from `margin` below black to as much above white.
const LANE: u32 = 20;
/// Three lanes and room between them stand in one word, which adds up all three at once.
const SHIFTS: [u32; 3] = [0, 21, 42];
/// The bits of a lane that its code depends on.
const INDEX: u32 = 16;

/// From so many codes.
pub struct Sums<const CODES: usize> {
    light: Box<[[u64; CODES]; 3]>,
    /// Codes by light, margins included, for red, green and blue.
    encode: [Vec<u16>; 3],
}

impl<const CODES: usize> Sums<CODES> {
    /// `decode` from signal to light, `code` from the light of a colour (0 to 1) to what becomes of it. None where the matrix reaches
    /// beyond the margin, which costs evenness near black.
    pub fn new(
        matrix: &Matrix,
        margin: f64,
        decode: impl Fn(f64) -> f64,
        code: impl Fn(usize, f64) -> u16,
    ) -> Option<Self> {
        // Rows add up to 1, so what lies below black is all that can lie above white. A lane is not left for another.
        let below = |row: &[f64; 3]| row.iter().map(|cell| cell.min(0.0)).sum::<f64>();
        if matrix.iter().any(|row| !(-margin + 0.01..=0.0).contains(&below(row))) {
            return None;
        }
        let range = 1.0 + 2.0 * margin;
        let unit = f64::from(1u32 << LANE) / range;
        let word = |colour: usize, code: usize| {
            let light = decode(code as f64 / (CODES - 1) as f64);
            // A third of the margin comes with each colour.
            let lane = |row: &[f64; 3]| ((row[colour] * light + margin / 3.0) * unit).round() as i64;
            let lanes = matrix.iter().zip(SHIFTS).map(|(row, shift)| lane(row) << shift);
            // A negative one borrows from the next, which gets it back when all three are added.
            lanes.fold(0i64, i64::wrapping_add) as u64
        };
        let mut light = Box::new([[0; CODES]; 3]);
        for (colour, table) in light.iter_mut().enumerate() {
            for (code, entry) in table.iter_mut().enumerate() {
                *entry = word(colour, code);
            }
        }
        let steps = f64::from(1u32 << INDEX);
        let entry = |colour: usize, step: u32| {
            let light = (f64::from(step) + 0.5) / steps * range - margin;
            code(colour, light.clamp(0.0, 1.0))
        };
        let encode =
            std::array::from_fn(|colour| (0..1u32 << INDEX).map(|step| entry(colour, step)).collect());
        Some(Self { light, encode })
    }

    /// What becomes of red, green and blue codes.
    #[inline(always)]
    pub fn codes(&self, [red, green, blue]: [usize; 3]) -> [u16; 3] {
        let [reds, greens, blues] = &*self.light;
        let of = |table: &[u64; CODES], code: usize| table.get(code).copied().unwrap_or(0);
        let light = of(reds, red).wrapping_add(of(greens, green)).wrapping_add(of(blues, blue));
        let code = |colour: usize| {
            let index = (light >> (SHIFTS[colour] + LANE - INDEX)) as usize & ((1 << INDEX) - 1);
            self.encode[colour].get(index).copied().unwrap_or(0)
        };
        [code(0), code(1), code(2)]
    }
}
