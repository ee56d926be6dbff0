//! Where pictures end: a display's primaries, and its signals by light. Pure.

use std::sync::Arc;

use super::colour::{hlg_encode, pq_encode, srgb_encode, Look, Primaries, BT2020, DISPLAY_P3, SRGB};
use super::icc::Shaper;
use super::link::ColorSpace;
use super::tone::Tone;

/// From light, in which 1 is our white, to signal.
enum Encode {
    Named(fn(f64) -> f64),
    /// A monitor's own curves.
    Profile(Arc<Shaper>),
}

/// Where a matrix and curves lead.
pub(super) struct Aim {
    pub primaries: Primaries,
    encode: Encode,
}

/// None for sRGB itself, for what takes more than a matrix, and for a monitor that does not tell its primaries.
pub(super) fn aim(look: &Look) -> Option<Aim> {
    let (primaries, encode): (Primaries, fn(f64) -> f64) = match look.space {
        ColorSpace::Srgb => return None,
        ColorSpace::Icc => {
            let shaper = look.icc.as_ref()?.shaper.clone()?;
            return Some(Aim { primaries: shaper.primaries, encode: Encode::Profile(shaper) });
        }
        ColorSpace::DisplayP3 => (DISPLAY_P3, srgb_encode),
        ColorSpace::Bt2020 => (BT2020, srgb_encode),
        ColorSpace::Bt2020Pq => (BT2020, pq_encode),
        ColorSpace::Bt2020Hlg => (BT2020, hlg_encode),
        ColorSpace::Native => (look.native?, srgb_encode),
    };
    Some(Aim { primaries, encode: Encode::Named(encode) })
}

impl Aim {
    /// sRGB where nothing else is aimed at.
    pub fn or_srgb(look: &Look) -> Self {
        aim(look).unwrap_or(Self { primaries: SRGB, encode: Encode::Named(srgb_encode) })
    }

    /// A colour's signal for its light, both from 0 to 1, with what the tone does to it.
    pub fn signal<'a>(&'a self, tone: &'a Tone) -> impl Fn(usize, f64) -> f64 + 'a {
        let gains = tone.gains();
        move |colour, light| {
            let light = light * gains[colour];
            let signal = match &self.encode {
                Encode::Named(encode) => encode(light),
                Encode::Profile(shaper) => shaper.encode(colour, light),
            };
            tone.calibrated(colour, signal)
        }
    }
}
