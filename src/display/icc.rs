//! ICC profiles of monitors: which colours of theirs look like ours, and the calibration curves that go with them.
//!
//! Read by Little CMS, from bytes that a user chose. Source: ICC.1:2022; Apple's `vcgt` tag as Little CMS has it.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use lcms2::{
    ColorSpaceSignature, Flags, Intent, PixelFormat, Profile, Tag, TagSignature, ToneCurveRef, Transform,
};

use super::colour::{apply, between_primaries, srgb_decode, Primaries, SRGB};
use super::tone::Curves;

/// Grid points along each colour of the table: 3 bits of 8 are interpolated.
pub const GRID: usize = 33;

/// Larger files are no monitor's.
const MOST: u64 = 16 << 20;

/// A monitor's colours by its profile.
#[derive(Debug, PartialEq)]
pub struct Icc {
    /// Its codes for sRGB's at the grid's points, red slowest; 0 to 1.
    pub grid: Vec<[f32; 3]>,
    pub curves: Option<Arc<Curves>>,
    /// The same by a matrix and curves, where that is all there is to it.
    pub shaper: Option<Arc<Shaper>>,
}

/// A monitor's primaries and its curves (ICC.1:2022, F.3: three-component matrix-based profiles).
#[derive(Debug, PartialEq)]
pub struct Shaper {
    /// As the profile connection space has them, under D50.
    pub primaries: Primaries,
    /// Light of red, green and blue by evenly spaced signals; rises or stays.
    decode: [Vec<f64>; 3],
}

/// Steps of a curve: four for each of 10 bits.
const STEPS: usize = 4093;

impl Shaper {
    fn read(profile: &Profile) -> Option<Self> {
        use TagSignature::{
            BlueColorantTag, BlueTRCTag, GreenColorantTag, GreenTRCTag, RedColorantTag, RedTRCTag,
        };
        if !profile.is_matrix_shaper() {
            return None;
        }
        let xyz = |tag| match profile.read_tag(tag) {
            Tag::CIEXYZ(xyz) => Some([xyz.X, xyz.Y, xyz.Z]),
            _ => None,
        };
        let columns = [xyz(RedColorantTag)?, xyz(GreenColorantTag)?, xyz(BlueColorantTag)?];
        let white = std::array::from_fn(|axis| columns.iter().map(|column| column[axis]).sum());
        let point = |[x, y, z]: [f64; 3]| (x / (x + y + z), y / (x + y + z));
        let primaries = [point(columns[0]), point(columns[1]), point(columns[2]), point(white)];
        let decode = |tag| match profile.read_tag(tag) {
            Tag::ToneCurve(curve) => Some(sampled(curve, STEPS)),
            _ => None,
        };
        let decode = [decode(RedTRCTag)?, decode(GreenTRCTag)?, decode(BlueTRCTag)?];
        let rises = |curve: &Vec<f64>| curve.is_sorted() && curve.last().is_some_and(|last| *last > 0.0);
        let sound = primaries.iter().all(|(x, y)| x.is_finite() && y.is_finite()) && decode.iter().all(rises);
        sound.then_some(Self { primaries, decode })
    }

    /// A colour's signal for its light, both from 0 to 1.
    pub fn encode(&self, colour: usize, light: f64) -> f64 {
        let curve = &self.decode[colour];
        let last = curve.len() - 1;
        let above = curve.partition_point(|step| *step < light).min(last);
        let below = above.saturating_sub(1);
        let (low, high) = (curve[below], curve[above]);
        let part = if high > low { ((light - low) / (high - low)).clamp(0.0, 1.0) } else { 0.0 };
        (below as f64 + part * (above - below) as f64) / last as f64
    }
}

impl Icc {
    /// Reads a monitor's profile.
    ///
    /// # Errors
    /// In words: what the file is instead.
    pub fn load(path: &Path) -> Result<Self, String> {
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|error| error.to_string())?;
        file.take(MOST + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > MOST {
            return Err(format!("it has more than {} MiB", MOST >> 20));
        }
        Self::parse(&bytes)
    }

    /// The monitor's codes for sRGB's, all from 0 to 1: the nearest eight points, each by its nearness.
    pub fn at(&self, signal: [f64; 3]) -> [f64; 3] {
        let cells = (GRID - 1) as f64;
        let place = signal.map(|signal| {
            let at = signal.clamp(0.0, 1.0) * cells;
            let cell = at.floor().min(cells - 1.0);
            (cell as usize, at - cell)
        });
        let mut sum = [0.0; 3];
        for corner in 0..8 {
            let (mut index, mut weight) = (0, 1.0);
            for (axis, (cell, part)) in place.iter().enumerate() {
                let far = corner >> axis & 1;
                index = index * GRID + cell + far;
                weight *= if far == 1 { *part } else { 1.0 - part };
            }
            let point = self.grid.get(index).copied().unwrap_or_default();
            sum.iter_mut().zip(point).for_each(|(sum, colour)| *sum += f64::from(colour) * weight);
        }
        sum
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let no = |what: &'static str| move |error: lcms2::Error| format!("{what}: {error}");
        let profile = Profile::new_icc(bytes).map_err(no("it is no ICC profile"))?;
        if profile.color_space() != ColorSpaceSignature::RgbData {
            return Err("its colours are not red, green and blue: it is no monitor's".into());
        }
        let flags = Flags::NO_CACHE | Flags::HIGHRES_PRECALC | Flags::NO_OPTIMIZE;
        let transform: Transform<[f32; 3], [f32; 3]> = Transform::new_flags(
            &Profile::new_srgb(),
            PixelFormat::RGB_FLT,
            &profile,
            PixelFormat::RGB_FLT,
            Intent::RelativeColorimetric,
            flags,
        )
        .map_err(no("it has no way from other colours to its own"))?;
        let steps = || (0..GRID).map(|step| step as f32 / (GRID - 1) as f32);
        let points: Vec<[f32; 3]> = steps()
            .flat_map(|red| steps().flat_map(move |green| steps().map(move |blue| [red, green, blue])))
            .collect();
        let mut grid = vec![[0.0; 3]; points.len()];
        transform.transform_pixels(&points, &mut grid);
        for colour in grid.iter_mut().flatten() {
            *colour = if colour.is_finite() { colour.clamp(0.0, 1.0) } else { 0.0 };
        }
        let curves = match profile.read_tag(TagSignature::VcgtTag) {
            Tag::VcgtCurves(curves) => Some(Arc::new(Curves(curves.map(|curve| sampled(curve, 256))))),
            _ => None,
        };
        let shaper = Shaper::read(&profile).filter(|shaper| agrees(shaper, &points, &grid)).map(Arc::new);
        Ok(Self { grid, curves, shaper })
    }
}

/// Whether it comes to what Little CMS does, within half a code of 255.
fn agrees(shaper: &Shaper, points: &[[f32; 3]], grid: &[[f32; 3]]) -> bool {
    let Some(matrix) = between_primaries(&SRGB, &shaper.primaries) else { return false };
    points.iter().zip(grid).all(|(point, theirs)| {
        let light = apply(&matrix, point.map(|signal| srgb_decode(f64::from(signal))));
        let near = |colour: usize| {
            (shaper.encode(colour, light[colour]) - f64::from(theirs[colour])).abs() < 0.5 / 255.0
        };
        (0..3).all(near)
    })
}

fn sampled(curve: &ToneCurveRef, steps: usize) -> Vec<f64> {
    let at = |step: usize| f64::from(curve.eval(step as f32 / (steps - 1) as f32));
    (0..steps).map(at).map(|value| if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn srgb() -> Vec<u8> {
        Profile::new_srgb().icc().unwrap_or_default()
    }

    #[test]
    fn its_own_space_is_left_alone() -> Result<(), String> {
        let icc = Icc::parse(&srgb())?;
        let point = |red: usize, green: usize, blue: usize| icc.grid[(red * GRID + green) * GRID + blue];
        for (red, green, blue) in [(0, 0, 0), (32, 32, 32), (32, 0, 0), (7, 19, 30)] {
            let own = [red, green, blue].map(|step| step as f32 / 32.0);
            for (got, own) in point(red, green, blue).into_iter().zip(own) {
                assert!((got - own).abs() < 0.002, "{got} {own}");
            }
        }
        assert_eq!(icc.curves, None);
        Ok(())
    }

    #[test]
    fn what_is_no_monitor_s_says_so() {
        assert!(Icc::parse(b"not a profile").is_err_and(|why| why.contains("no ICC profile")));
        let lab = Profile::new_lab4_context(
            lcms2::GlobalContext::new(),
            lcms2::white_point_from_temp(5000.0).as_ref().expect("a white"),
        );
        let lab = lab.and_then(|profile| profile.icc()).unwrap_or_default();
        assert!(Icc::parse(&lab).is_err_and(|why| why.contains("no monitor's")));
        assert!(Icc::load(Path::new("/nonexistent.icc")).is_err());
        assert!(Icc::load(Path::new("/dev/zero")).is_err_and(|why| why.contains("16 MiB")));
    }

    proptest! {
        /// Cut off or with bytes changed: words, or a table within bounds.
        #[test]
        fn hostile_bytes(cut in 0usize..4000, flips in prop::collection::vec((0usize..4000, any::<u8>()), 0..8)) {
            let mut bytes = srgb();
            flips.into_iter().for_each(|(at, byte)| if let Some(old) = bytes.get_mut(at) { *old = byte });
            bytes.truncate(cut);
            if let Ok(icc) = Icc::parse(&bytes) {
                prop_assert!(icc.grid.iter().flatten().all(|colour| (0.0..=1.0).contains(colour)));
            }
        }
    }
}
