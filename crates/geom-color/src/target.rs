//! What an output expects of the colors that are sent to it.

use std::sync::Arc;

use crate::adjustments::Adjustments;
use crate::color_space::ColorSpace;
use crate::icc::IccProfile;
use crate::primaries::Primaries;

/// The color that an output expects, and what software has to do about it.
#[derive(Debug, Clone, PartialEq)]
pub struct ColorTarget {
    /// The color space that the output is driven in.
    pub space: ColorSpace,
    /// The monitor's own primaries, for [`ColorSpace::Native`].
    pub native: Option<Primaries>,
    /// The ICC profile, for [`ColorSpace::Icc`].
    pub icc: Option<Arc<IccProfile>>,
    /// Adjustments that the hardware does not apply.
    pub adjustments: Adjustments,
    /// Bits per channel of the output's framebuffers: 8 or 10.
    pub bits: u32,
    /// Whether surfaces with an image description are on the output. They are converted separately,
    /// so even an unadjusted sRGB output needs a conversion pass.
    pub has_color_layers: bool,
    /// Maximum luminance of the monitor in cd/m², if the EDID gives it.
    pub max_luminance: Option<f64>,
}

impl ColorTarget {
    /// Returns whether a matrix between curves is not enough: an ICC profile with tables.
    pub fn needs_3d_lut(&self) -> bool {
        self.space == ColorSpace::Icc && self.icc.as_ref().is_none_or(|icc| icc.matrix_shaper.is_none())
    }
}

impl Default for ColorTarget {
    fn default() -> Self {
        Self {
            space: ColorSpace::Srgb,
            native: None,
            icc: None,
            adjustments: Adjustments::default(),
            bits: 8,
            has_color_layers: false,
            max_luminance: None,
        }
    }
}
