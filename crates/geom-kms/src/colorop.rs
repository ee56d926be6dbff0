//! Color pipelines of planes: chains of operations, which are KMS objects with properties.
//!
//! Source: the kernel's Documentation/gpu/rfc/color_pipeline.rst and drm_colorop.c.

use std::collections::HashSet;
use std::io;

use drm::control::{property, RawResourceHandle};
use geom_color::colorop_solver::{Colorop, ColoropKind, ColoropSetting, NamedCurve};

use crate::calls::{DrmCalls, ObjectId, ObjectKind};
use crate::drm_fd::{Blob, DrmFd};
use crate::properties::{Properties, PropertyReader};

/// Largest 1D LUT that is used, in entries. The kernel has no limit; ours is in memory.
const MAX_LUT_1D_SIZE: usize = 1 << 16;

/// Largest 3D LUT that is used, in entries of an edge, for the same reason.
const MAX_LUT_3D_SIZE: usize = 65;

/// A property of a color operation, and the value to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColoropValue {
    /// The operation.
    pub object: RawResourceHandle,
    /// The property.
    pub property: property::Handle,
    /// The value.
    pub value: u64,
}

/// Ids of an operation and its properties.
#[derive(Debug, Clone)]
struct ColoropIds {
    object: RawResourceHandle,
    bypass: Option<property::Handle>,
    /// With the driver's number for each curve.
    curve: Option<(property::Handle, Vec<(NamedCurve, u64)>)>,
    data: Option<property::Handle>,
}

/// One of a plane's color pipelines.
#[derive(Debug, Clone)]
pub struct PlanePipeline {
    /// Its value of the plane's `COLOR_PIPELINE`.
    number: u64,
    ids: Vec<ColoropIds>,
    /// What the operations can do, in the order of the pipeline.
    pub colorops: Vec<Colorop>,
}

/// Reads the pipelines that a plane offers. One that cannot be read is left out.
pub(crate) fn read(
    calls: &dyn DrmCalls,
    reader: &mut PropertyReader,
    plane: &Properties,
) -> Vec<PlanePipeline> {
    // 0 bypasses all of them.
    let numbers = plane.choices("COLOR_PIPELINE").iter().map(|(_, number)| *number);
    numbers.filter(|number| *number != 0).filter_map(|number| pipeline(calls, reader, number).ok()).collect()
}

fn pipeline(calls: &dyn DrmCalls, reader: &mut PropertyReader, number: u64) -> io::Result<PlanePipeline> {
    let handle = |number: u64| u32::try_from(number).ok().and_then(RawResourceHandle::new);
    let (mut ids, mut colorops) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    let mut next = handle(number);
    // A chain that loops because of a driver's mistake ends here.
    while let Some(object) = next.filter(|object| seen.insert(*object)) {
        let properties = reader.read(calls, ObjectId { kind: ObjectKind::Colorop, id: object })?;
        let bypass = properties.id("BYPASS");
        colorops.push(Colorop { kind: kind(&properties), can_bypass: bypass.is_some() });
        ids.push(ColoropIds {
            object,
            bypass,
            curve: properties.id("CURVE_1D_TYPE").map(|id| (id, curves(&properties))),
            data: properties.id("DATA"),
        });
        next = properties.value("NEXT").and_then(handle);
    }
    Ok(PlanePipeline { number, ids, colorops })
}

/// Returns the curves of an operation that we know, with the driver's numbers for them.
fn curves(properties: &Properties) -> Vec<(NamedCurve, u64)> {
    let choices = properties.choices("CURVE_1D_TYPE");
    let number = |name: &str| choices.iter().find(|(known, _)| known == name).map(|(_, number)| *number);
    NamedCurve::ALL.iter().filter_map(|(curve, name)| Some((*curve, number(name)?))).collect()
}

fn kind(properties: &Properties) -> ColoropKind {
    let value = properties.value("TYPE");
    let name = properties.choices("TYPE").iter().find(|(_, number)| Some(*number) == value);
    let size = properties.value("SIZE").and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
    match name.map(|(name, _)| name.as_str()) {
        Some("1D Curve") if properties.choices("CURVE_1D_TYPE").is_empty() => ColoropKind::Other,
        Some("1D Curve") => {
            ColoropKind::Curves(curves(properties).into_iter().map(|(curve, _)| curve).collect())
        }
        Some("1D LUT") if size <= MAX_LUT_1D_SIZE => ColoropKind::Lut1d(size),
        Some("3D LUT") if size <= MAX_LUT_3D_SIZE => ColoropKind::Lut3d(size),
        Some("3x4 Matrix") => ColoropKind::Matrix,
        _ => ColoropKind::Other,
    }
}

/// Returns entries as `struct drm_color_lut32` (drm_mode.h): red, green, blue, reserved.
fn lut32_bytes(entries: &[[u32; 3]]) -> Vec<u8> {
    let words = entries.iter().flat_map(|[red, green, blue]| [*red, *green, *blue, 0]);
    words.flat_map(u32::to_ne_bytes).collect()
}

impl PlanePipeline {
    /// Returns the plane's value of `COLOR_PIPELINE`, and the values of the operations for one
    /// setting each. The blobs must live as long as the values are in use.
    ///
    /// # Errors
    ///
    /// If the kernel has no memory for a blob, or the settings are for another pipeline.
    pub(crate) fn values(
        &self,
        fd: &DrmFd,
        settings: &[ColoropSetting],
        blobs: &mut Vec<Blob>,
    ) -> io::Result<(u64, Vec<ColoropValue>)> {
        let mut values = Vec::new();
        let missing = |what: &str| io::Error::other(format!("a color operation has no {what}"));
        for (ids, setting) in self.ids.iter().zip(settings) {
            let mut blob = |mut bytes: Vec<u8>| -> io::Result<u64> {
                let blob = Blob::new(fd, &mut bytes)?;
                let id = blob.id();
                blobs.push(blob);
                Ok(id)
            };
            let data = ids.data.ok_or_else(|| missing("DATA"));
            let setting_value = match setting {
                ColoropSetting::Bypass => None,
                ColoropSetting::Curve(curve) => {
                    let (id, numbers) = ids.curve.as_ref().ok_or_else(|| missing("CURVE_1D_TYPE"))?;
                    let number = numbers.iter().find(|(known, _)| known == curve);
                    Some((*id, number.ok_or_else(|| missing("such curve"))?.1))
                }
                ColoropSetting::Matrix(matrix) => {
                    let words = ColoropSetting::ctm(matrix).into_iter();
                    Some((data?, blob(words.flat_map(u64::to_ne_bytes).collect())?))
                }
                ColoropSetting::Lut(entries) => Some((data?, blob(lut32_bytes(entries))?)),
            };
            let bypass = ids.bypass.map(|id| (id, u64::from(*setting == ColoropSetting::Bypass)));
            let object = ids.object;
            let both = setting_value.into_iter().chain(bypass);
            values.extend(both.map(|(property, value)| ColoropValue { object, property, value }));
        }
        Ok((self.number, values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lut_entries_have_a_reserved_word() {
        assert_eq!(lut32_bytes(&[[1, 2, 3], [4, 5, 6]]).len(), 32);
        assert_eq!(lut32_bytes(&[[u32::MAX, 0, 1]])[..4], [0xff; 4]);
    }
}
