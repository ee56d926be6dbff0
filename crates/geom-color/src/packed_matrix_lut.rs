//! A 3×3 matrix between two curves, by table look-ups and integer additions.
//!
//! For each code of red, green and blue, one word holds its contribution to linear red, green and
//! blue. The sum of three words is the linear color of a pixel; a second table encodes it.

use crate::primaries::Matrix;

/// Bits of one linear channel, from `margin` below black to `margin` above white.
const LANE_BITS: u32 = 20;
/// Positions of the three lanes in a word, with a spare bit between them: one addition adds all
/// three.
const SHIFTS: [u32; 3] = [0, 21, 42];
/// The high bits of a lane, which select the encoded value.
const INDEX_BITS: u32 = 16;

/// Tables for inputs with `CODES` different values in each channel.
pub struct PackedMatrixLut<const CODES: usize> {
    /// Packed linear contributions by channel and code.
    linear: Box<[[u64; CODES]; 3]>,
    /// Encoded values by the high bits of a lane, for red, green and blue.
    encode: [Vec<u16>; 3],
}

impl<const CODES: usize> PackedMatrixLut<CODES> {
    /// Computes the tables.
    ///
    /// `decode` maps a signal to linear, `encode` a channel's linear value (0 to 1) to its code.
    /// `margin` is how far linear values may leave the range from 0 to 1. `None` if the matrix goes
    /// beyond it. A larger margin costs precision near black.
    pub fn new(
        matrix: &Matrix,
        margin: f64,
        decode: impl Fn(f64) -> f64,
        encode: impl Fn(usize, f64) -> u16,
    ) -> Option<Self> {
        // Rows add up to 1, so a row reaches as far above white as it reaches below black. Lanes do
        // not overflow into each other.
        let below = |row: &[f64; 3]| row.iter().map(|cell| cell.min(0.0)).sum::<f64>();
        if matrix.iter().any(|row| !(-margin + 0.01..=0.0).contains(&below(row))) {
            return None;
        }
        let range = 1.0 + 2.0 * margin;
        let unit = f64::from(1u32 << LANE_BITS) / range;
        let word = |channel: usize, code: usize| {
            let linear = decode(code as f64 / (CODES - 1) as f64);
            // Each channel adds a third of the margin.
            let lane = |row: &[f64; 3]| ((row[channel] * linear + margin / 3.0) * unit).round() as i64;
            let lanes = matrix.iter().zip(SHIFTS).map(|(row, shift)| lane(row) << shift);
            // A negative lane borrows from the next one, which is undone when all three are added.
            lanes.fold(0i64, i64::wrapping_add) as u64
        };
        let mut linear = Box::new([[0; CODES]; 3]);
        for (channel, table) in linear.iter_mut().enumerate() {
            for (code, entry) in table.iter_mut().enumerate() {
                *entry = word(channel, code);
            }
        }
        let steps = f64::from(1u32 << INDEX_BITS);
        let entry = |channel: usize, step: u32| {
            let linear = (f64::from(step) + 0.5) / steps * range - margin;
            encode(channel, linear.clamp(0.0, 1.0))
        };
        let encode =
            std::array::from_fn(|channel| (0..1u32 << INDEX_BITS).map(|step| entry(channel, step)).collect());
        Some(Self { linear, encode })
    }

    /// Converts codes of red, green and blue.
    #[inline(always)]
    pub fn convert(&self, [red, green, blue]: [usize; 3]) -> [u16; 3] {
        let [reds, greens, blues] = &*self.linear;
        let entry = |table: &[u64; CODES], code: usize| table.get(code).copied().unwrap_or(0);
        let linear = entry(reds, red).wrapping_add(entry(greens, green)).wrapping_add(entry(blues, blue));
        let code = |channel: usize| {
            let index =
                (linear >> (SHIFTS[channel] + LANE_BITS - INDEX_BITS)) as usize & ((1 << INDEX_BITS) - 1);
            self.encode[channel].get(index).copied().unwrap_or(0)
        };
        [code(0), code(1), code(2)]
    }
}
