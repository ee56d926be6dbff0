//! Colours as a program describes its pictures (image descriptions of color-management-v1), and the way from them to a display. Pure.
//!
//! signal → light (1 is the reference white) → the display's primaries → within its range → the display's signal, computed at the
//! points of a grid. Sources: color-management-v1.xml; SMPTE ST 2084; ITU-R BT.2100-2 (HLG), BT.2390-10 (section 5.4, the way from a
//! brighter display to a darker one).

use std::hash::{Hash, Hasher};

use super::aim::Aim;
use super::colour::{
    apply, between_primaries, hlg_decode, pq_decode, pq_encode, srgb_decode, srgb_encode, Look, Primaries,
    BT2020, DISPLAY_P3, SRGB, WHITE,
};
use super::icc::GRID;
use super::link::ColorSpace;

/// From signal to light.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Transfer {
    /// IEC 61966-2-1.
    Srgb,
    /// A power, 2.2 and so on.
    Power(f64),
    /// SMPTE ST 2084.
    Pq,
    /// ITU-R BT.2100.
    Hlg,
}

/// cd/m².
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Luminances {
    pub min: f64,
    pub max: f64,
    /// What white is: of text, of paper.
    pub reference: f64,
}

impl Transfer {
    /// What the protocol says where a program does not (set_luminances).
    pub fn luminances(self) -> Luminances {
        match self {
            Self::Srgb | Self::Power(_) => Luminances { min: 0.2, max: 80.0, reference: 80.0 },
            Self::Pq => Luminances { min: 0.0, max: 10_000.0, reference: 203.0 },
            Self::Hlg => Luminances { min: 0.005, max: 1000.0, reference: 203.0 },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Description {
    pub primaries: Primaries,
    pub transfer: Transfer,
    pub luminances: Luminances,
    /// cd/m² of the display that it was made on, where the program tells.
    pub mastering_max: Option<f64>,
}

impl Description {
    /// Pictures of programs that say nothing.
    pub const SRGB: Self = Self {
        primaries: SRGB,
        transfer: Transfer::Srgb,
        luminances: Luminances { min: 0.2, max: 80.0, reference: 80.0 },
        mastering_max: None,
    };

    pub fn new(primaries: Primaries, transfer: Transfer) -> Self {
        Self { primaries, transfer, luminances: transfer.luminances(), mastering_max: None }
    }

    /// What a display shows.
    pub fn of(look: &Look) -> Self {
        match look.space {
            ColorSpace::DisplayP3 => Self::new(DISPLAY_P3, Transfer::Srgb),
            ColorSpace::Bt2020 => Self::new(BT2020, Transfer::Srgb),
            ColorSpace::Bt2020Pq => Self::new(BT2020, Transfer::Pq),
            ColorSpace::Bt2020Hlg => Self::new(BT2020, Transfer::Hlg),
            ColorSpace::Native => look.native.map_or(Self::SRGB, |native| Self::new(native, Transfer::Srgb)),
            // What an ICC profile makes of colours is reached through sRGB.
            ColorSpace::Srgb | ColorSpace::Icc => Self::SRGB,
        }
    }

    /// Whether it says no more than a program that says nothing: gamma 2.2 is what sRGB's displays have.
    pub fn is_plain(&self) -> bool {
        let usual = matches!(self.transfer, Transfer::Srgb | Transfer::Power(2.2));
        usual && self.primaries == SRGB && self.luminances.max == self.luminances.reference
    }

    /// Light of a signal, in which 1 is the reference white. Sources of HDR at their mastering display's brightest.
    fn light(&self, signal: [f64; 3]) -> [f64; 3] {
        let Luminances { max, reference, .. } = self.luminances;
        match self.transfer {
            Transfer::Srgb => signal.map(|signal| srgb_decode(signal) * max / reference),
            Transfer::Power(exponent) => signal.map(|signal| signal.powf(exponent) * max / reference),
            Transfer::Pq => signal.map(|signal| pq_decode(signal) * 10_000.0 / reference),
            Transfer::Hlg => {
                let scene = signal.map(hlg_decode);
                // The system gamma of a display of 1000 cd/m², on luminance, so that hues stay.
                let luminance = 0.2627 * scene[0] + 0.6780 * scene[1] + 0.0593 * scene[2];
                let gain = if luminance > 0.0 { luminance.powf(0.2) } else { 0.0 };
                scene.map(|scene| scene * gain * max / reference)
            }
        }
    }

    /// From signal to light for one colour alone, where none of it is brighter than white.
    pub fn curve(&self) -> Option<impl Fn(f64) -> f64> {
        let transfer = self.transfer;
        let plain = self.luminances.max <= self.luminances.reference && self.mastering_max.is_none();
        let scale = self.luminances.max / self.luminances.reference;
        let known = matches!(transfer, Transfer::Srgb | Transfer::Power(_));
        (plain && known).then_some(move |signal: f64| match transfer {
            Transfer::Power(exponent) => signal.powf(exponent) * scale,
            _ => srgb_decode(signal) * scale,
        })
    }

    /// The brightest light in it.
    fn peak(&self) -> f64 {
        let max = match self.transfer {
            // What most of it is mastered for, where nothing is told.
            Transfer::Pq => self.mastering_max.unwrap_or(1000.0),
            _ => self.mastering_max.unwrap_or(self.luminances.max),
        };
        max / self.luminances.reference
    }
}

impl Eq for Description {}

impl Hash for Description {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let numbers = self.primaries.iter().flat_map(|(x, y)| [*x, *y]);
        numbers.chain([self.luminances.max, self.luminances.reference]).for_each(|number| {
            number.to_bits().hash(state);
        });
    }
}

/// The brightest light of a display, in its white.
fn range(look: &Look, monitor_max: Option<f64>) -> f64 {
    match look.space {
        ColorSpace::Bt2020Pq => monitor_max.unwrap_or(1000.0).max(WHITE) / WHITE,
        ColorSpace::Bt2020Hlg => 1000.0 / WHITE,
        _ => 1.0,
    }
}

/// A light of a picture as bright as `peak` on a display as bright as `range`: unchanged while it is dark, rolled off towards the brightest
/// (BT.2390-10, 5.4.1, in PQ's even steps; black stays black).
fn roll_off(light: f64, peak: f64, range: f64) -> f64 {
    let step = |light: f64| pq_encode(light);
    let whole = step(peak);
    let most = step(range) / whole;
    let knee = 1.5 * most - 0.5;
    let place = (step(light) / whole).min(1.0);
    if place <= knee || most >= 1.0 {
        return light.min(range);
    }
    let part = (place - knee) / (1.0 - knee);
    let (square, cube) = (part * part, part * part * part);
    let rolled = (2.0 * cube - 3.0 * square + 1.0) * knee
        + (cube - 2.0 * square + part) * (1.0 - knee)
        + (3.0 * square - 2.0 * cube) * most;
    (pq_decode(rolled * whole) * 10_000.0 / WHITE).min(range)
}

/// A display's signal, from 0 to 1, at the points of a grid over a picture's signals, red slowest. `perceptual`: what is brighter than the
/// display can is rolled off, or else cut off. None where there is no way.
pub fn grid(
    from: &Description,
    look: &Look,
    monitor_max: Option<f64>,
    perceptual: bool,
) -> Option<Vec<[f64; 3]>> {
    let aim = Aim::or_srgb(look);
    let matrix = between_primaries(&from.primaries, &aim.primaries)?;
    let (peak, range) = (from.peak(), range(look, monitor_max));
    let (own, of_light) = (look.tone.signal(), aim.signal(&look.tone));
    let point = |signal: [f64; 3]| {
        let mut light = apply(&matrix, from.light(signal)).map(|light| light.max(0.0));
        let brightest = light.iter().copied().fold(0.0, f64::max);
        if perceptual && peak > range && brightest > 0.0 {
            let factor = roll_off(brightest, peak, range) / brightest;
            light = light.map(|light| light * factor);
        }
        let light = light.map(|light| light.min(range));
        match &look.icc {
            Some(icc) if look.by_grid() => {
                let signal = icc.at(light.map(srgb_encode));
                std::array::from_fn(|colour| own(colour, signal[colour]))
            }
            _ => std::array::from_fn(|colour| of_light(colour, light[colour])),
        }
    };
    let steps = || (0..GRID).map(|step| step as f64 / (GRID - 1) as f64);
    let points =
        steps().flat_map(|red| steps().flat_map(move |green| steps().map(move |blue| [red, green, blue])));
    Some(points.map(point).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::colour::hlg_encode;
    use super::*;

    fn at(grid: &[[f64; 3]], point: [usize; 3]) -> [f64; 3] {
        grid[(point[0] * GRID + point[1]) * GRID + point[2]]
    }

    fn look(space: ColorSpace) -> Look {
        Look { space, ..Look::default() }
    }

    fn near(one: [f64; 3], other: [f64; 3], by: f64) {
        assert!(one.iter().zip(other).all(|(one, other)| (one - other).abs() < by), "{one:?} {other:?}");
    }

    #[test]
    fn pictures_for_the_same_display_are_left_alone() {
        for space in [ColorSpace::Srgb, ColorSpace::DisplayP3, ColorSpace::Bt2020, ColorSpace::Bt2020Pq] {
            let look = look(space);
            let own = Description::of(&look);
            let grid = grid(&own, &look, Some(1000.0), true).expect("a way");
            for point in [[0, 0, 0], [16, 16, 16], [16, 8, 4], [20, 3, 11]] {
                near(at(&grid, point), point.map(|step| step as f64 / 32.0), 0.001);
            }
        }
    }

    /// sRGB's red inside Display P3 and back; P3's own red is more than sRGB has.
    #[test]
    fn gamuts() {
        let p3 = Description::new(DISPLAY_P3, Transfer::Srgb);
        let to_srgb = grid(&p3, &look(ColorSpace::Srgb), None, true).expect("a way");
        near(at(&to_srgb, [32, 0, 0]), [1.0, 0.0, 0.0], 0.001);
        near(at(&to_srgb, [32, 32, 32]), [1.0; 3], 0.001);
        let to_p3 = grid(&Description::SRGB, &look(ColorSpace::DisplayP3), None, true).expect("a way");
        near(at(&to_p3, [32, 0, 0]), [0.9175, 0.2003, 0.1386], 0.001);
    }

    /// HDR's reference white is an SDR display's white, less what highlights need; cut off, it is white itself.
    #[test]
    fn hdr_on_sdr() {
        let pq = Description::new(BT2020, Transfer::Pq);
        let white = pq_encode(1.0);
        let light = |signal: f64, perceptual| {
            let grid = grid(&pq, &look(ColorSpace::Srgb), None, perceptual).expect("a way");
            let place = signal * 32.0;
            let (below, part) = (place.floor() as usize, place.fract());
            at(&grid, [below; 3])[0] * (1.0 - part) + at(&grid, [below + 1; 3])[0] * part
        };
        // The grid rounds the edge of what is cut off.
        assert!((light(white, false) - 1.0).abs() < 0.04, "{}", light(white, false));
        assert!((0.75..0.99).contains(&light(white, true)), "{}", light(white, true));
        assert!(light(0.9, true) >= light(white, true));
    }

    /// BT.2408: HLG's reference white is at 75 % of its signal, and 58 % of PQ's.
    #[test]
    fn hlg_to_pq() {
        let hlg = Description::new(BT2020, Transfer::Hlg);
        let grid = grid(&hlg, &look(ColorSpace::Bt2020Pq), Some(1000.0), true).expect("a way");
        near(at(&grid, [24, 24, 24]), [0.58; 3], 0.005);
        near(at(&grid, [32, 32, 32]), [0.7518; 3], 0.005);
    }

    #[test]
    fn what_is_plain() {
        assert!(Description::SRGB.is_plain());
        assert!(Description::new(SRGB, Transfer::Power(2.2)).is_plain());
        assert!(
            !Description::new(SRGB, Transfer::Pq).is_plain()
                && !Description::new(BT2020, Transfer::Srgb).is_plain()
        );
        // hlg_encode() and hlg_decode() are each other's inverse, up to the place of white.
        let white = hlg_decode(0.75);
        for light in [0.01, 0.3, 1.0, 2.0] {
            assert!((hlg_decode(hlg_encode(light)) - light * white).abs() < 1e-6, "{light}");
        }
    }

    proptest! {
        /// Whatever is described for whatever display: signals within their range, or no way at all; greys that rise.
        #[test]
        fn always_in_range(x in 0.0f64..0.8, y in 0.0f64..0.9, which in 0usize..4, max in 1.0f64..20_000.0, reference in 1.0f64..1000.0, space in 0usize..6, perceptual: bool) {
            let transfer = [Transfer::Srgb, Transfer::Power(2.4), Transfer::Pq, Transfer::Hlg][which];
            let primaries = [(x, y), (0.17, 0.797), (0.131, 0.046), (0.3127, 0.329)];
            let luminances = Luminances { min: 0.0, max, reference };
            let from = Description { primaries, transfer, luminances, mastering_max: None };
            let look = Look { native: Some(DISPLAY_P3), ..look(ColorSpace::NAMES[space].1) };
            if let Some(grid) = grid(&from, &look, None, perceptual) {
                prop_assert!(grid.iter().flatten().all(|signal| (0.0..=1.0).contains(signal)));
                let greys: Vec<f64> = (0..GRID).map(|step| at(&grid, [step; 3])[1]).collect();
                prop_assert!(greys.windows(2).all(|pair| pair[0] <= pair[1] + 1e-6), "{greys:?}");
            }
        }
    }
}
