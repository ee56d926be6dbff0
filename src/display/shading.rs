//! Conversions as a shader does them: a curve, a matrix and curves back, or a grid, in tables of numbers. Pure.

use super::aim::{aim, Aim};
use super::colour::{between_primaries, Look, Matrix, SRGB};
use super::description::{grid, Description};
use super::icc::GRID;
use super::link::ColorSpace;

/// From signals, 0 to 1, to a display's signals.
#[derive(Debug, Clone, PartialEq)]
pub enum Shading {
    Curves {
        /// Light by evenly spaced signals.
        light: Vec<f32>,
        matrix: Matrix,
        /// Signals of red, green and blue by evenly spaced fourth roots of their light: near black, where signals rise steeply, steps
        /// are small.
        signal: Vec<[f32; 3]>,
    },
    /// Signals at the points of a grid of 33 a side, red slowest.
    Grid(Vec<[f32; 3]>),
}

/// Four steps for each code of 8 bits: the codes themselves are exact.
const OF_EIGHT: usize = 4 * 255 + 1;
/// Each code of 10 bits.
const OF_TEN: usize = 1024;
const SIGNALS: usize = 1024;

/// Points of a grid along one of its sides.
pub const SIDE: usize = GRID;

impl Shading {
    /// For our own pictures, which are sRGB. None where they are as the display wants them, and for a monitor that does not tell its primaries.
    pub fn of_ours(look: &Look) -> Option<Self> {
        if look.by_grid() {
            let signal = look.tone.signal();
            let point = |point: &[f32; 3]| {
                std::array::from_fn(|colour| signal(colour, f64::from(point[colour])) as f32)
            };
            return Some(Self::Grid(look.icc.as_ref()?.grid.iter().map(point).collect()));
        }
        if look.space == ColorSpace::Srgb {
            if look.tone.is_plain() && !look.layered {
                return None;
            }
        } else {
            aim(look)?;
        }
        let matrix = between_primaries(&SRGB, &Aim::or_srgb(look).primaries)?;
        Some(Self::curves(OF_EIGHT, super::colour::srgb_decode, matrix, look))
    }

    /// For a program's pictures. None where there is no way from these colours to the display's.
    pub fn of_described(description: &Description, perceptual: bool, look: &Look) -> Option<Self> {
        if let Some(curve) = description.curve().filter(|_| !look.by_grid()) {
            let matrix = between_primaries(&description.primaries, &Aim::or_srgb(look).primaries)?;
            return Some(Self::curves(OF_TEN, curve, matrix, look));
        }
        let grid = grid(description, look, look.max_luminance, perceptual)?;
        Some(Self::Grid(grid.into_iter().map(|point| point.map(|signal| signal as f32)).collect()))
    }

    fn curves(steps: usize, decode: impl Fn(f64) -> f64, matrix: Matrix, look: &Look) -> Self {
        let even = |step: usize, steps: usize| step as f64 / (steps - 1) as f64;
        let aim = Aim::or_srgb(look);
        let signal = aim.signal(&look.tone);
        let of_root = |step: usize| {
            let light = even(step, SIGNALS).powi(4);
            std::array::from_fn(|colour| signal(colour, light) as f32)
        };
        Self::Curves {
            light: (0..steps).map(|step| decode(even(step, steps)) as f32).collect(),
            matrix,
            signal: (0..SIGNALS).map(of_root).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::display::colour::{apply, Conversion};
    use crate::display::icc::Icc;
    use crate::display::tone::Tone;

    /// What a shader makes of a pixel, by the same tables.
    fn shaded(shading: &Shading, signal: [f64; 3]) -> [f64; 3] {
        let between = |last: usize, place: f64, value: &dyn Fn(usize) -> f32| {
            let place = place.clamp(0.0, 1.0) * last as f64;
            let (below, part) = (place.floor() as usize, place.fract());
            f64::from(value(below)) * (1.0 - part) + f64::from(value((below + 1).min(last))) * part
        };
        match shading {
            Shading::Curves { light, matrix, signal: signals } => {
                let light = signal.map(|signal| between(light.len() - 1, signal, &|step| light[step]));
                let light = apply(matrix, light).map(|light| light.max(0.0).sqrt().sqrt());
                std::array::from_fn(|colour| {
                    between(signals.len() - 1, light[colour], &|step| signals[step][colour])
                })
            }
            Shading::Grid(_) => panic!("no curves"),
        }
    }

    /// Within a code of 255 of what the processor does, which is checked against Little CMS.
    #[test]
    fn shaders_agree_with_the_processor() {
        let bright = Tone { white: 5000, brightness: 0.7, ..Tone::default() };
        let looks = [
            Look { space: ColorSpace::DisplayP3, ..Look::default() },
            Look { space: ColorSpace::Bt2020, tone: bright.clone(), ..Look::default() },
            Look { space: ColorSpace::Bt2020Pq, ..Look::default() },
            Look { space: ColorSpace::Bt2020Hlg, ..Look::default() },
            Look { tone: bright, ..Look::default() },
            Look { layered: true, ..Look::default() },
        ];
        for look in looks {
            let (shading, conversion) = (Shading::of_ours(&look).unwrap(), Conversion::to(&look).unwrap());
            let steps = || (0..=255u8).step_by(15);
            for (red, green, blue) in steps()
                .flat_map(|red| steps().flat_map(move |green| steps().map(move |blue| (red, green, blue))))
            {
                let ours = shaded(&shading, [red, green, blue].map(|code| f64::from(code) / 255.0));
                let mut theirs = [0; 4];
                conversion.row(&[blue, green, red, 0], &mut theirs);
                for (ours, theirs) in ours.into_iter().zip([theirs[2], theirs[1], theirs[0]]) {
                    let off = (ours * 255.0 - f64::from(theirs)).abs();
                    assert!(
                        off <= 1.0,
                        "{:?} of {red} {green} {blue}: {}, {theirs}",
                        look.space,
                        ours * 255.0
                    );
                }
            }
        }
    }

    #[test]
    fn what_needs_none_and_what_has_none() {
        assert_eq!(Shading::of_ours(&Look::default()), None);
        assert_eq!(Shading::of_ours(&Look { space: ColorSpace::Native, ..Look::default() }), None);
        let bytes = lcms2::Profile::new_srgb().icc().expect("bytes");
        let icc = Icc::parse(&bytes).expect("a profile");
        let icc = Some(Arc::new(Icc { shaper: None, ..icc }));
        let look = Look { space: ColorSpace::Icc, icc, ..Look::default() };
        let Some(Shading::Grid(points)) = Shading::of_ours(&look) else { panic!("a grid") };
        assert_eq!(points.len(), SIDE * SIDE * SIDE);
    }
}
