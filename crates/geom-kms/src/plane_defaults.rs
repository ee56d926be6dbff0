//! Properties of planes that we do not use, and that another DRM master may have set: a console
//! turned for its panel, a video player's alpha, a game's scaling filter.
//!
//! Source: the kernel's drm_blend.c, drm_color_mgmt.c and drm_plane.c.

use drm::control::{plane, property};

use crate::calls::PropertyKind;
use crate::commit::AtomicRequest;
use crate::objects::PlaneKind;
use crate::properties::Properties;
use crate::quirks::Quirks;

/// `DRM_MODE_ROTATE_0`.
const ROTATE_0: u64 = 1;

/// Enum properties and the name of the value that they are reset to. Most drivers start with that
/// value; encoding matters for YUV formats only. `COLOR_RANGE` depends on the driver.
const ENUMS: [(&str, &str); 3] = [
    ("pixel blend mode", "Pre-multiplied"),
    ("COLOR_ENCODING", "ITU-R BT.709 YCbCr"),
    ("SCALING_FILTER", "Default"),
];

/// What to write to the properties of a plane so that it shows its framebuffer as it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct PlaneDefaults(Vec<(property::Handle, u64)>);

impl PlaneDefaults {
    /// Finds the properties that a plane has. Those that cannot be written are left out.
    pub fn read(properties: &Properties, kind: PlaneKind, quirks: Quirks) -> Self {
        let range = |name: &str| match properties.kind(name) {
            Some(PropertyKind::Range(min, max)) => Some((*min, *max)),
            _ => None,
        };
        // The primary plane is below the cursor.
        let zpos = range("zpos").and_then(|(min, max)| match kind {
            PlaneKind::Primary => Some(min),
            PlaneKind::Cursor => Some(max),
            PlaneKind::Overlay => None,
        });
        let numbers = [
            ("rotation", Some(ROTATE_0)),
            ("alpha", range("alpha").map(|(_, opaque)| opaque)),
            ("zpos", zpos),
        ];
        let number_of = |(name, value): &(&str, &str)| {
            let mut choices = properties.choices(name).iter();
            choices.find(|(known, _)| known == value).map(|(_, number)| *number)
        };
        let range = match quirks.has_full_range_planes {
            true => "YCbCr full range",
            false => "YCbCr limited range",
        };
        let enums = ENUMS.into_iter().chain([("COLOR_RANGE", range)]);
        let enums = enums.map(|choice| (choice.0, number_of(&choice)));
        let writable = |(name, value): (&str, Option<u64>)| Some((properties.writable_id(name)?, value?));
        Self(numbers.into_iter().chain(enums).filter_map(writable).collect())
    }

    /// Writes them.
    pub fn set(&self, plane: plane::Handle, request: &mut AtomicRequest) {
        for (id, value) in &self.0 {
            request.set(plane, *id, *value);
        }
    }
}
