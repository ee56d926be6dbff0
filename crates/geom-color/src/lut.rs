//! Look-up tables: one dimension per channel, and three dimensions with tetrahedral interpolation.

/// Points of our 3D LUTs along each axis: 3 of 8 bits are interpolated.
pub const LUT_3D_SIZE: usize = 33;

/// A 1D LUT with entries of 16 bits for red, green and blue, evenly spaced.
pub type Lut1d = Vec<[u16; 3]>;

/// Computes a 1D LUT. `value` gives each channel's output for an input from 0 to 1, and `quantize`
/// writes it as an entry.
pub(crate) fn lut_1d<T>(
    size: usize,
    quantize: impl Fn(f64) -> T,
    value: impl Fn(usize, f64) -> f64,
) -> Vec<[T; 3]> {
    let last = size.saturating_sub(1).max(1);
    let at = |index: usize| std::array::from_fn(|channel| value(channel, index as f64 / last as f64));
    let mut entries = Vec::with_capacity(size);
    let mut index = 0;
    let mut below: [f64; 3] = at(0);
    while entries.len() < size {
        let step = step(size, index).min(last.saturating_sub(index)).max(1);
        let above: [f64; 3] = at((index + step).min(last));
        for part in 0..step.min(size - entries.len()) {
            let fraction = part as f64 / step as f64;
            entries.push(std::array::from_fn(|channel| {
                quantize(below[channel] + (above[channel] - below[channel]) * fraction)
            }));
        }
        (index, below) = (index + step, above);
    }
    entries
}

/// Largest 1D LUT all of whose entries are computed.
const MAX_COMPUTED: usize = 4096;

/// Entries that are computed of each octave of a larger LUT: as many as the tables of monitor
/// profiles have in their upper half.
const PER_OCTAVE: usize = 128;

/// Returns how far the next entry is that is computed; those between are interpolated. Intel has
/// LUTs of 262145 entries, which would take 100 ms. Curves are steep near black, and the steps
/// there are small: the error is below an entry's precision.
fn step(size: usize, index: usize) -> usize {
    match size > MAX_COMPUTED {
        true => 1 << (index / PER_OCTAVE).max(1).ilog2(),
        false => 1,
    }
}

/// Looks up a channel of a 1D LUT, with linear interpolation as hardware does it.
///
/// Input (clamped) and result range from 0 to 1; `max` is the entry that stands for 1.
pub fn sample_1d<T: Copy + Into<f64>>(lut: &[[T; 3]], max: T, channel: usize, input: f64) -> f64 {
    let last = lut.len().saturating_sub(1);
    let position = input.clamp(0.0, 1.0) * last as f64;
    let entry =
        |index: usize| lut.get(index.min(last)).map_or(0.0, |entry| entry[channel].into() / max.into());
    let (below, fraction) = (position.floor() as usize, position.fract());
    entry(below) * (1.0 - fraction) + entry(below + 1) * fraction
}

/// Returns the points of a grid of [`LUT_3D_SIZE`], from 0 to 1, red slowest.
pub(crate) fn grid_points() -> impl Iterator<Item = [f64; 3]> {
    let steps = || (0..LUT_3D_SIZE).map(|step| step as f64 / (LUT_3D_SIZE - 1) as f64);
    steps().flat_map(move |red| steps().flat_map(move |green| steps().map(move |blue| [red, green, blue])))
}

/// Looks up a 3D LUT of [`LUT_3D_SIZE`] in integers, red slowest: inputs from 0 to `max`, results
/// of 16 bits.
///
/// The interpolation is tetrahedral, so grays stay on the diagonal of their cell.
pub(crate) fn sample_3d(lut: &[[u16; 3]], codes: [u32; 3], max: u32) -> [u32; 3] {
    const CELLS: u32 = LUT_3D_SIZE as u32 - 1;
    // The cell, and the position in it in units of 1/max.
    let locate = |code: u32| {
        let scaled = code.min(max) * CELLS;
        let cell = (scaled / max).min(CELLS - 1);
        (cell as usize, scaled - cell * max)
    };
    let [red, green, blue] = codes.map(locate);
    let strides = [LUT_3D_SIZE * LUT_3D_SIZE, LUT_3D_SIZE, 1];
    let base = red.0 * strides[0] + green.0 * strides[1] + blue.0;
    // From the first corner of the cell to its last one, along the largest fraction first.
    let mut fractions = [(red.1, strides[0]), (green.1, strides[1]), (blue.1, strides[2])];
    fractions.sort_unstable_by_key(|(fraction, _)| std::cmp::Reverse(*fraction));
    let point = |index: usize| lut.get(index).copied().unwrap_or_default();
    let mut corner = base;
    let mut weight = max - fractions[0].0;
    let mut sum = point(corner).map(|code| u32::from(code) * weight);
    for (index, (fraction, stride)) in fractions.iter().enumerate() {
        corner += stride;
        weight = fraction - fractions.get(index + 1).map_or(0, |(next, _)| *next);
        let point = point(corner);
        for (sum, code) in sum.iter_mut().zip(point) {
            *sum += u32::from(code) * weight;
        }
    }
    sum.map(|sum| (sum + max / 2) / max)
}

/// Looks up a 3D LUT of `size` points along each axis, red fastest, as the kernel specifies it
/// (DRM_COLOROP_LUT3D_INTERPOLATION_TETRAHEDRAL).
pub(crate) fn sample_colorop_3d(lut: &[[u32; 3]], size: usize, signal: [f64; 3]) -> [f64; 3] {
    let last = (size - 1) as f64;
    let located = signal.map(|signal| {
        let scaled = signal.clamp(0.0, 1.0) * last;
        let cell = scaled.floor().min(last - 1.0);
        (cell as usize, scaled - cell)
    });
    let strides = [1, size, size * size];
    let mut corner = located.iter().zip(strides).map(|((cell, _), stride)| cell * stride).sum::<usize>();
    let mut fractions: Vec<(f64, usize)> =
        located.iter().zip(strides).map(|((_, fraction), stride)| (*fraction, stride)).collect();
    fractions.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let point = |index: usize| lut.get(index).copied().unwrap_or_default().map(f64::from);
    let mut sum = point(corner).map(|value| value * (1.0 - fractions[0].0));
    for (index, (fraction, stride)) in fractions.iter().enumerate() {
        corner += stride;
        let weight = fraction - fractions.get(index + 1).map_or(0.0, |(next, _)| *next);
        sum.iter_mut().zip(point(corner)).for_each(|(sum, value)| *sum += value * weight);
    }
    sum.map(|sum| sum / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::transfer::{pq_encode, srgb_encode};

    /// GAMMA_LUT_SIZE of Intel since generation 11.
    const LARGE: usize = 262_145;

    #[test]
    fn large_luts_are_interpolated_within_the_precision_of_an_entry() {
        let curves: [fn(f64) -> f64; 3] = [srgb_encode, pq_encode, |signal| signal.powf(0.4)];
        let computed = Cell::new(0);
        let lut = lut_1d(
            LARGE,
            |value| value,
            |channel, signal| {
                computed.set(computed.get() + 1);
                curves[channel](signal)
            },
        );
        assert!(computed.get() < 3 * 2048, "{} values were computed", computed.get());
        assert_eq!(lut.len(), LARGE);
        for (index, entry) in lut.iter().enumerate() {
            for (value, curve) in entry.iter().zip(curves) {
                let exact = curve(index as f64 / (LARGE - 1) as f64);
                assert!((value - exact).abs() * 65_535.0 < 0.5, "{index}: {value} instead of {exact}");
            }
        }
    }

    #[test]
    fn all_entries_of_other_luts_are_computed() {
        for size in [0, 1, 2, 17, 256, 1024, MAX_COMPUTED] {
            let lut = lut_1d(size, |value| value, |_, signal| srgb_encode(signal));
            let last = size.saturating_sub(1).max(1) as f64;
            let exact = |index: usize| [srgb_encode(index as f64 / last); 3];
            assert_eq!(lut, (0..size).map(exact).collect::<Vec<_>>());
        }
    }

    #[test]
    fn large_luts_of_any_size_have_their_ends() {
        for size in [MAX_COMPUTED + 1, 5000, 65_536, LARGE] {
            let lut = lut_1d(size, |value| value, |_, signal| 1.0 - signal);
            assert_eq!((lut.len(), lut[0], lut[size - 1]), (size, [1.0; 3], [0.0; 3]));
        }
    }
}
