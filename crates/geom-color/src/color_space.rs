//! Color spaces that an output can be driven in.

use strum::{IntoStaticStr, VariantArray};

/// The color space of an output, as configuration and control protocol name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum ColorSpace {
    /// sRGB (IEC 61966-2-1).
    #[default]
    Srgb,
    /// Display P3: P3 primaries, D65, sRGB transfer function.
    DisplayP3,
    /// SDR with the primaries of BT.2020 and the sRGB transfer function.
    #[strum(serialize = "bt2020")]
    Bt2020,
    /// HDR with the primaries of BT.2020 and SMPTE ST 2084 (PQ).
    #[strum(serialize = "bt2020-pq")]
    Bt2020Pq,
    /// HDR with the primaries of BT.2020 and ITU-R BT.2100 hybrid log-gamma.
    #[strum(serialize = "bt2020-hlg")]
    Bt2020Hlg,
    /// The panel's own primaries, from its EDID, and the sRGB transfer function.
    Native,
    /// An ICC profile, which is given by its path instead of this name.
    Icc,
}

impl ColorSpace {
    /// Returns the name in configuration and control protocol.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
