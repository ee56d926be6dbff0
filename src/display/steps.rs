//! A conversion for a plane's own pipeline: steps in an order that the hardware has fixed, some of which can be left out. Pure.
//!
//! Source: the kernel's Documentation/gpu/rfc/color_pipeline.rst and enum drm_colorop_type (drm_mode.h).

use super::aim::{aim, Encode};
use super::colour::{apply, matrix, srgb_decode, Look, Matrix, WHITE};
use super::pipeline::{look_up, number, table, wanted, worst, COARSE};

/// A curve that the kernel has a name for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    SrgbDecode,
    SrgbEncode,
    /// Of light in which 125 is 10000 cd/m².
    PqEncode,
}

impl Curve {
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::SrgbDecode, "sRGB EOTF"),
        (Self::SrgbEncode, "sRGB Inverse EOTF"),
        (Self::PqEncode, "PQ 125 Inverse EOTF"),
    ];
}

/// What a step can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ability {
    Curves(Vec<Curve>),
    /// A table of so many steps for each colour.
    Table(usize),
    /// Three rows of four.
    Matrix,
    /// A grid of so many points a side, red fastest.
    Grid(usize),
    Other,
}

/// One step of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub ability: Ability,
    pub can_be_left_out: bool,
}

/// What a step is set to.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    LeftOut,
    Curve(Curve),
    /// Red, green and blue of 32 bits.
    Entries(Vec<[u32; 3]>),
    Matrix(Matrix),
}

impl Setting {
    /// A matrix as the kernel takes it (struct drm_color_ctm_3x4): rows of three, and what is added.
    pub fn ctm(matrix: &Matrix) -> [u64; 12] {
        std::array::from_fn(|cell| if cell % 4 == 3 { 0 } else { number(matrix[cell / 4][cell % 4]) })
    }
}

fn full(value: f64) -> u32 {
    (value.clamp(0.0, 1.0) * f64::from(u32::MAX)).round() as u32
}

/// Settings for a look, one a step. None where these steps do not come within a code of 255 of what it wants.
pub fn settings(look: &Look, steps: &[Step]) -> Option<Vec<Setting>> {
    by_curves(look, steps).or_else(|| by_grid(look, steps))
}

/// All but these have to be left out.
fn with(steps: &[Step], used: Vec<(usize, Setting)>) -> Option<Vec<Setting>> {
    let idle = |place: &usize| used.iter().all(|(used, _)| used != place);
    if (0..steps.len()).filter(idle).any(|place| !steps[place].can_be_left_out) {
        return None;
    }
    let mut all = vec![Setting::LeftOut; steps.len()];
    for (place, setting) in used {
        all[place] = setting;
    }
    Some(all)
}

/// A curve to light, a matrix, and curves to signals.
fn by_curves(look: &Look, steps: &[Step]) -> Option<Vec<Setting>> {
    let aim = aim(look)?;
    let plain = matrix(&aim.primaries)?;
    let wanted = wanted(look)?;
    // A named curve takes light in its own unit, and what is left of it is the matrix' business then.
    let named = match aim.encode {
        _ if look.tone.curves.is_some() => None,
        Encode::Srgb => Some((Curve::SrgbEncode, 1.0)),
        Encode::Pq => Some((Curve::PqEncode, WHITE / 80.0)),
        Encode::Hlg | Encode::Profile(_) => None,
    };
    let signal = aim.signal(&look.tone);
    let exact = |colour: usize, light: f64| signal(colour, light.clamp(0.0, 1.0));
    let gains = look.tone.gains();
    let decoder = |step: &Step| match &step.ability {
        Ability::Curves(curves) => {
            curves.contains(&Curve::SrgbDecode).then_some(Setting::Curve(Curve::SrgbDecode))
        }
        Ability::Table(size) if *size > 1 => {
            Some(Setting::Entries(table(*size, full, |_, at| srgb_decode(at))))
        }
        _ => None,
    };
    let encoder = |step: &Step| match (&step.ability, named) {
        (Ability::Curves(curves), Some((curve, unit))) if curves.contains(&curve) => {
            let row = |row: usize| plain[row].map(|cell| cell * gains[row] * unit);
            Some((Setting::Curve(curve), std::array::from_fn(row)))
        }
        (Ability::Table(size), _) if *size > 1 => Some((Setting::Entries(table(*size, full, exact)), plain)),
        _ => None,
    };
    let places = |from: usize| steps.iter().enumerate().skip(from);
    for (first, decode) in places(0).filter_map(|(place, step)| Some((place, decoder(step)?))) {
        let matrices = places(first + 1).filter(|(_, step)| step.ability == Ability::Matrix);
        for middle in matrices.map(|(place, _)| place) {
            for (last, (encode, matrix)) in
                places(middle + 1).filter_map(|(place, step)| Some((place, encoder(step)?)))
            {
                let hardware = |signal: [f64; 3]| {
                    let light = match &decode {
                        Setting::Entries(table) => {
                            std::array::from_fn(|colour| look_up(table, u32::MAX, colour, signal[colour]))
                        }
                        _ => signal.map(srgb_decode),
                    };
                    match &encode {
                        Setting::Entries(table) => {
                            let light = apply(&matrix, light);
                            std::array::from_fn(|colour| look_up(table, u32::MAX, colour, light[colour]))
                        }
                        // The kernel's curves are the standards'.
                        _ => {
                            let light = apply(&plain, light);
                            std::array::from_fn(|colour| exact(colour, light[colour]))
                        }
                    }
                };
                if worst(&wanted, hardware) > COARSE {
                    continue;
                }
                let used = vec![(first, decode.clone()), (middle, Setting::Matrix(matrix)), (last, encode)];
                if let Some(settings) = with(steps, used) {
                    return Some(settings);
                }
            }
        }
    }
    None
}

/// A grid alone, for what there is of profiles with tables and the like.
fn by_grid(look: &Look, steps: &[Step]) -> Option<Vec<Setting>> {
    let wanted = wanted(look)?;
    steps.iter().enumerate().find_map(|(place, step)| {
        let Ability::Grid(side) = step.ability else { return None };
        if side < 2 {
            return None;
        }
        let last = (side - 1) as f64;
        let at = |index: usize| (index % side) as f64 / last;
        let point = |index: usize| wanted([at(index), at(index / side), at(index / side / side)]).map(full);
        let grid: Vec<[u32; 3]> = (0..side.pow(3)).map(point).collect();
        let near = worst(&wanted, |signal| in_grid(&grid, side, signal)) <= COARSE;
        with(steps, vec![(place, Setting::Entries(grid))]).filter(|_| near)
    })
}

/// A grid's value between its points, in the tetrahedron that the colour lies in (DRM_COLOROP_LUT3D_INTERPOLATION_TETRAHEDRAL).
fn in_grid(grid: &[[u32; 3]], side: usize, signal: [f64; 3]) -> [f64; 3] {
    let last = (side - 1) as f64;
    let place = signal.map(|signal| {
        let at = signal.clamp(0.0, 1.0) * last;
        let cell = at.floor().min(last - 1.0);
        (cell as usize, at - cell)
    });
    let strides = [1, side, side * side];
    let mut corner = place.iter().zip(strides).map(|((cell, _), stride)| cell * stride).sum::<usize>();
    let mut parts: Vec<(f64, usize)> =
        place.iter().zip(strides).map(|((_, part), stride)| (*part, stride)).collect();
    parts.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let point = |index: usize| grid.get(index).copied().unwrap_or_default().map(f64::from);
    let mut sum = point(corner).map(|value| value * (1.0 - parts[0].0));
    for (step, (part, stride)) in parts.iter().enumerate() {
        corner += stride;
        let weight = part - parts.get(step + 1).map_or(0.0, |(next, _)| *next);
        sum.iter_mut().zip(point(corner)).for_each(|(sum, value)| *sum += value * weight);
    }
    sum.map(|sum| sum / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::display::icc::Icc;
    use crate::display::link::ColorSpace;
    use crate::display::tone::Tone;

    fn step(ability: Ability) -> Step {
        Step { ability, can_be_left_out: true }
    }

    /// As the kernel's vkms has it.
    fn virtual_plane() -> Vec<Step> {
        let curves = || step(Ability::Curves(vec![Curve::SrgbDecode, Curve::SrgbEncode]));
        vec![curves(), step(Ability::Matrix), step(Ability::Matrix), curves()]
    }

    fn look(space: ColorSpace) -> Look {
        Look { space, ..Look::default() }
    }

    #[test]
    fn named_curves() {
        let settings = settings(&look(ColorSpace::Bt2020), &virtual_plane()).expect("settings");
        assert_eq!(settings[0], Setting::Curve(Curve::SrgbDecode));
        let Setting::Matrix(matrix) = &settings[1] else { panic!("{settings:?}") };
        assert!((matrix[0][0] - 0.6274).abs() < 1e-3);
        assert_eq!(settings[2..], [Setting::LeftOut, Setting::Curve(Curve::SrgbEncode)]);
        // Half the light goes by the matrix.
        let dim = Look { tone: Tone { brightness: 0.5, ..Tone::default() }, ..look(ColorSpace::Bt2020) };
        let Some(Setting::Matrix(half)) = super::settings(&dim, &virtual_plane()).map(|all| all[1].clone())
        else {
            panic!("a matrix");
        };
        assert!((half[0][0] - matrix[0][0] / 2.0).abs() < 1e-9);
        // Its curves do not lead there.
        assert_eq!(super::settings(&look(ColorSpace::Bt2020Hlg), &virtual_plane()), None);
        assert_eq!(super::settings(&look(ColorSpace::Srgb), &virtual_plane()), None);
    }

    /// 1 is 80 cd/m² there, and our white 203.
    #[test]
    fn hdr_by_a_named_curve() {
        let steps = [
            step(Ability::Curves(vec![Curve::SrgbDecode])),
            step(Ability::Matrix),
            step(Ability::Curves(vec![Curve::PqEncode])),
        ];
        let settings = settings(&look(ColorSpace::Bt2020Pq), &steps).expect("settings");
        let Setting::Matrix(matrix) = &settings[1] else { panic!("{settings:?}") };
        let white: f64 = matrix[0].iter().sum();
        assert!((white - 203.0 / 80.0).abs() < 1e-6, "{white}");
    }

    #[test]
    fn tables_and_what_can_t_be_left_out() {
        let mut steps = vec![
            step(Ability::Table(4096)),
            step(Ability::Matrix),
            step(Ability::Other),
            step(Ability::Table(4096)),
        ];
        assert!(settings(&look(ColorSpace::DisplayP3), &steps).is_some());
        assert_eq!(settings(&look(ColorSpace::Bt2020Pq), &steps), None, "near black it is too coarse");
        steps[2].can_be_left_out = false;
        assert_eq!(settings(&look(ColorSpace::DisplayP3), &steps), None);
    }

    /// A profile with tables, by a grid; and one of 2 points a side, which is none for it.
    #[test]
    fn grids() {
        let bytes = lcms2::Profile::new_srgb().icc().expect("bytes");
        let icc = Icc { shaper: None, ..Icc::parse(&bytes).expect("a profile") };
        let look = Look { icc: Some(Arc::new(icc)), ..look(ColorSpace::Icc) };
        let steps = |side| [step(Ability::Other), step(Ability::Grid(side))];
        let Some([Setting::LeftOut, Setting::Entries(grid)]) =
            settings(&look, &steps(17)).as_deref().map(|all| [all[0].clone(), all[1].clone()])
        else {
            panic!("a grid");
        };
        assert_eq!(grid.len(), 17 * 17 * 17);
        // Red is fastest.
        assert!(grid[16][0] > u32::MAX / 2 && grid[16][2] < u32::MAX / 100);
        assert!(settings(&Look { space: ColorSpace::Bt2020Pq, ..Look::default() }, &steps(2)).is_none());
    }
}
