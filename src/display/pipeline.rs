//! A conversion for a CRTC's own colour pipeline: a table that takes signals to light, a matrix, a table that takes light to signals. Pure.
//!
//! Source: the kernel's drm_color_mgmt.c (DEGAMMA_LUT, CTM, GAMMA_LUT). Hardware of few steps is too coarse for some spaces:
//! what it would make of our pictures is computed beforehand.

use std::sync::Arc;

use super::aim::aim;
use super::colour::{apply, matrix, srgb_decode, Look, Matrix};
use super::icc::Icc;

/// Tables have red, green and blue of 16 bits a step, evenly spaced.
pub type Table = Vec<[u16; 3]>;

/// More than this, in codes of 255, and a picture is better converted by us.
pub(super) const COARSE: f64 = 1.0;

#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    pub degamma: Table,
    matrix: Matrix,
    pub gamma: Table,
}

fn full(value: f64) -> u16 {
    (value.clamp(0.0, 1.0) * 65_535.0).round() as u16
}

/// Of so many steps, each as `full` writes what is from 0 to 1.
pub(super) fn table<T>(
    size: usize,
    full: impl Fn(f64) -> T,
    value: impl Fn(usize, f64) -> f64,
) -> Vec<[T; 3]> {
    let last = size.saturating_sub(1).max(1) as f64;
    (0..size).map(|step| std::array::from_fn(|colour| full(value(colour, step as f64 / last)))).collect()
}

/// A table's value at a place from 0 to 1, as hardware finds it between its steps; both ends of the range are 0 and 1. `most` is what
/// stands for 1 in it.
pub fn look_up<T: Copy + Into<f64>>(table: &[[T; 3]], most: T, colour: usize, place: f64) -> f64 {
    let last = table.len().saturating_sub(1);
    let place = place.clamp(0.0, 1.0) * last as f64;
    let step =
        |step: usize| table.get(step.min(last)).map_or(0.0, |entry| entry[colour].into() / most.into());
    let (below, part) = (place.floor() as usize, place.fract());
    step(below) * (1.0 - part) + step(below + 1) * part
}

/// Sign and magnitude, 31 bits before the point and 32 behind.
pub(super) fn number(value: f64) -> u64 {
    let magnitude = (value.abs() * 4_294_967_296.0).round() as u64;
    magnitude | u64::from(value < 0.0) << 63
}

/// How far hardware comes from what is wanted of greys and of a cube of colours, in codes of 255.
pub(super) fn worst(wanted: impl Fn([f64; 3]) -> [f64; 3], hardware: impl Fn([f64; 3]) -> [f64; 3]) -> f64 {
    let off = |codes: [u8; 3]| {
        let signal = codes.map(|code| f64::from(code) / 255.0);
        let (wanted, shown) = (wanted(signal), hardware(signal));
        (0..3).map(|colour| (wanted[colour] - shown[colour]).abs()).fold(0.0, f64::max)
    };
    let greys = (0..=255).map(|code| [code; 3]);
    let steps = || (0..=255u8).step_by(17);
    let cube =
        steps().flat_map(|red| steps().flat_map(move |green| steps().map(move |blue| [red, green, blue])));
    greys.chain(cube).map(off).fold(0.0, f64::max) * 255.0
}

/// What a look makes of a signal; none where it leaves it alone, and where it leads nowhere.
pub(super) fn wanted(look: &Look) -> Option<impl Fn([f64; 3]) -> [f64; 3] + '_> {
    enum Way<F> {
        Curves(Matrix, F),
        Profile(Arc<Icc>),
    }
    let of_tone = look.tone.signal();
    let way = match aim(look) {
        Some(aim) => Way::Curves(matrix(&aim.primaries)?, aim.signal(&look.tone)),
        None => Way::Profile(look.icc.clone().filter(|_| look.by_grid())?),
    };
    Some(move |signal: [f64; 3]| match &way {
        Way::Curves(matrix, of_light) => {
            let light = apply(matrix, signal.map(srgb_decode));
            std::array::from_fn(|colour| of_light(colour, light[colour].clamp(0.0, 1.0)))
        }
        Way::Profile(icc) => {
            let own = icc.at(signal);
            std::array::from_fn(|colour| of_tone(colour, own[colour]))
        }
    })
}

impl Pipeline {
    /// For a look, by tables of so many steps. None where it needs no conversion, where a matrix is not enough (ICC profiles with tables), or where
    /// the tables are too coarse.
    pub fn for_look(look: &Look, degamma: usize, gamma: usize) -> Option<Self> {
        if degamma < 2 || gamma < 2 {
            return None;
        }
        let aim = aim(look)?;
        let matrix = matrix(&aim.primaries)?;
        let signal = aim.signal(&look.tone);
        let exact = |colour: usize, light: f64| signal(colour, light.clamp(0.0, 1.0));
        let pipeline = Self {
            degamma: table(degamma, full, |_, signal| srgb_decode(signal)),
            matrix,
            gamma: table(gamma, full, exact),
        };
        let worst = worst(wanted(look)?, |signal| pipeline.signal(signal));
        (worst <= COARSE).then_some(pipeline)
    }

    /// What the hardware makes of red, green and blue from 0 to 1.
    pub fn signal(&self, signal: [f64; 3]) -> [f64; 3] {
        let light = std::array::from_fn(|colour| look_up(&self.degamma, u16::MAX, colour, signal[colour]));
        let light = apply(&self.matrix, light);
        std::array::from_fn(|colour| look_up(&self.gamma, u16::MAX, colour, light[colour]))
    }

    /// The matrix as the kernel takes it: row by row (struct drm_color_ctm).
    pub fn ctm(&self) -> [u64; 9] {
        std::array::from_fn(|cell| number(self.matrix[cell / 3][cell % 3]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::link::ColorSpace;
    use crate::display::tone::Tone;

    fn look(space: ColorSpace) -> Look {
        Look { space, ..Look::default() }
    }

    /// Hardware of 256 steps does for SDR; HDR near black wants more.
    #[test]
    fn coarse_hardware_is_told() {
        for (space, steps, good) in [
            (ColorSpace::DisplayP3, 256, true),
            (ColorSpace::Bt2020, 256, true),
            (ColorSpace::Bt2020, 33, false),
            (ColorSpace::Bt2020Pq, 256, false),
            (ColorSpace::Bt2020Pq, 4096, false),
            (ColorSpace::Bt2020Hlg, 4096, true),
            (ColorSpace::Srgb, 256, false),
            (ColorSpace::Icc, 4096, false),
            (ColorSpace::DisplayP3, 0, false),
        ] {
            assert_eq!(
                Pipeline::for_look(&look(space), steps, steps).is_some(),
                good,
                "{space:?} by {steps}"
            );
        }
    }

    /// The hardware's way, against floating point: known colours of Display P3, and half the light.
    #[test]
    fn known_colours() {
        let pipeline = Pipeline::for_look(&look(ColorSpace::DisplayP3), 256, 256).expect("a pipeline");
        let codes = |signal: [f64; 3]| pipeline.signal(signal).map(|signal| (signal * 255.0).round() as u8);
        assert_eq!(codes([1.0, 0.0, 0.0]), [234, 51, 35]);
        assert_eq!(codes([1.0; 3]), [255; 3]);
        let tone = Tone { brightness: 0.5, ..Tone::default() };
        let dim = Look { tone, ..look(ColorSpace::DisplayP3) };
        let dim = Pipeline::for_look(&dim, 256, 256).expect("a pipeline");
        assert_eq!(dim.signal([1.0; 3]).map(|signal| (signal * 255.0).round()), [188.0; 3]);
    }

    /// A monitor's profile by matrix and curves is the hardware's work as well.
    #[test]
    fn profiles() {
        let bytes = lcms2::Profile::new_srgb().icc().expect("bytes");
        let icc = Some(Arc::new(Icc::parse(&bytes).expect("a profile")));
        let look = Look { icc, ..look(ColorSpace::Icc) };
        let pipeline = Pipeline::for_look(&look, 1024, 1024).expect("a pipeline");
        let grey = pipeline.signal([0.5; 3]);
        assert!(grey.iter().all(|signal| (signal - 0.5).abs() < 0.004), "{grey:?}");
    }

    #[test]
    fn signs_are_apart_from_magnitudes() {
        let pipeline =
            Pipeline { degamma: vec![], matrix: [[1.0, -0.5, 0.0], [0.0; 3], [0.0; 3]], gamma: vec![] };
        assert_eq!(pipeline.ctm()[..3], [1 << 32, 1 << 31 | 1 << 63, 0]);
    }
}
