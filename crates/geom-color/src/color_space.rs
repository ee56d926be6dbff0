//! Color spaces that an output can be driven in.

/// The color space of an output, as the configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ColorSpace {
    /// sRGB (IEC 61966-2-1).
    #[default]
    Srgb,
    /// Display P3: P3 primaries, D65, sRGB transfer function.
    DisplayP3,
    /// SDR with the primaries of BT.2020 and the sRGB transfer function.
    Bt2020,
    /// HDR with the primaries of BT.2020 and SMPTE ST 2084 (PQ).
    Bt2020Pq,
    /// HDR with the primaries of BT.2020 and ITU-R BT.2100 hybrid log-gamma.
    Bt2020Hlg,
    /// The panel's own primaries, from its EDID, and the sRGB transfer function.
    Native,
    /// An ICC profile, which is given separately.
    Icc,
}

impl ColorSpace {
    /// Names in configuration and control protocol; [`ColorSpace::Icc`] is given by a path instead.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("srgb", Self::Srgb),
        ("display-p3", Self::DisplayP3),
        ("bt2020", Self::Bt2020),
        ("bt2020-pq", Self::Bt2020Pq),
        ("bt2020-hlg", Self::Bt2020Hlg),
        ("native", Self::Native),
    ];

    /// Returns the name in configuration and control protocol.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, space)| *space == self).map_or("icc", |(name, _)| name)
    }
}
