//! Where pictures end: a display's primaries, and its signals by light. Pure.

use std::sync::Arc;

use super::colour::{hlg_encode, pq_encode, srgb_encode, Look, Primaries, BT2020, DISPLAY_P3, SRGB};
use super::icc::Shaper;
use super::link::ColorSpace;
use super::tone::Tone;

/// From light, in which 1 is our white, to signal.
pub(super) enum Encode {
    Srgb,
    Pq,
    Hlg,
    /// A monitor's own curves.
    Profile(Arc<Shaper>),
}

/// Where a matrix and curves lead.
pub(super) struct Aim {
    pub primaries: Primaries,
    pub encode: Encode,
}

/// None for sRGB itself, for what takes more than a matrix, and for a monitor that does not tell its primaries.
pub(super) fn aim(look: &Look) -> Option<Aim> {
    let (primaries, encode) = match look.space {
        ColorSpace::Srgb => return None,
        ColorSpace::Icc => {
            let shaper = look.icc.as_ref()?.shaper.clone()?;
            (shaper.primaries, Encode::Profile(shaper))
        }
        ColorSpace::DisplayP3 => (DISPLAY_P3, Encode::Srgb),
        ColorSpace::Bt2020 => (BT2020, Encode::Srgb),
        ColorSpace::Bt2020Pq => (BT2020, Encode::Pq),
        ColorSpace::Bt2020Hlg => (BT2020, Encode::Hlg),
        ColorSpace::Native => (look.native?, Encode::Srgb),
    };
    Some(Aim { primaries, encode })
}

impl Aim {
    /// sRGB where nothing else is aimed at.
    pub fn or_srgb(look: &Look) -> Self {
        aim(look).unwrap_or(Self { primaries: SRGB, encode: Encode::Srgb })
    }

    /// A colour's signal for its light, both from 0 to 1, with what the tone does to it.
    pub fn signal(self, tone: &Tone) -> impl Fn(usize, f64) -> f64 + '_ {
        let gains = tone.gains();
        move |colour, light| {
            let light = light * gains[colour];
            let signal = match &self.encode {
                Encode::Srgb => srgb_encode(light),
                Encode::Pq => pq_encode(light),
                Encode::Hlg => hlg_encode(light),
                Encode::Profile(shaper) => shaper.encode(colour, light),
            };
            tone.calibrated(colour, signal)
        }
    }
}
