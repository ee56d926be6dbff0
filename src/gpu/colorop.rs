//! Planes' own color pipelines: chains of operations, which are objects with properties.
//!
//! Source: the kernel's Documentation/gpu/rfc/color_pipeline.rst and drm_colorop.c.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;

use drm::control::{property, RawResourceHandle, ResourceHandle};
use tracing::debug;
use geom_color::colorop_solver::{ColoropKind, NamedCurve, ColoropSetting, Colorop};

use super::drm_fd::{Blob, DrmFd};
use super::objects::{Kind, Properties, PropertyNames};

/// `DRM_CLIENT_CAP_PLANE_COLOR_PIPELINE` (drm.h).
const CAPABILITY: u64 = 7;

/// A property of an object and the value it is to have.
pub type Value = (RawResourceHandle, property::Handle, u64);

/// An operation's object. A handle's type of ours, as drm has none for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(RawResourceHandle);

impl From<RawResourceHandle> for Handle {
    fn from(raw: RawResourceHandle) -> Self {
        Self(raw)
    }
}

impl From<Handle> for RawResourceHandle {
    fn from(handle: Handle) -> Self {
        handle.0
    }
}

impl From<Handle> for u32 {
    fn from(handle: Handle) -> Self {
        handle.0.into()
    }
}

impl ResourceHandle for Handle {
    /// `DRM_MODE_OBJECT_COLOROP` (drm_mode.h).
    const FFI_TYPE: u32 = 0xfafa_fafa;
}

/// Names of curves, and the kernel's numbers for them.
type Curves = Vec<(String, u64)>;

/// An operation's property ids.
#[derive(Debug, Clone)]
struct Operation {
    handle: Handle,
    bypass: Option<property::Handle>,
    /// With the kernel's number for each curve.
    curve: Option<(property::Handle, Rc<Curves>)>,
    data: Option<property::Handle>,
}

/// One of a plane's pipelines.
#[derive(Debug, Clone)]
pub struct PlanePipeline {
    /// Its number for the plane's COLOR_PIPELINE.
    number: u64,
    operations: Vec<Operation>,
    /// What the operations can do, one each.
    pub steps: Vec<Colorop>,
}

/// Asks the kernel to show planes' pipelines, and to take values for them.
pub fn announce(card: &DrmFd) {
    if let Err(error) = drm_ffi::set_capability(card.as_fd(), CAPABILITY, true) {
        debug!(%error, "the kernel has no pipelines of planes' own");
    }
}

/// The pipelines that a plane can be given.
pub fn read(card: &DrmFd, names: &mut PropertyNames, plane: &Properties) -> Vec<PlanePipeline> {
    let Some(Kind::Enum(choices)) = plane.kind("COLOR_PIPELINE") else { return Vec::new() };
    // 0 is to have none.
    let numbers = choices.iter().map(|(_, number)| *number).filter(|number| *number != 0);
    numbers.filter_map(|number| chain(card, names, number).ok()).collect()
}

fn chain(card: &DrmFd, names: &mut PropertyNames, number: u64) -> io::Result<PlanePipeline> {
    let handle = |number: u64| u32::try_from(number).ok().and_then(RawResourceHandle::new).map(Handle);
    let (mut operations, mut steps) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    let mut next = handle(number);
    // A driver's chain that comes round again ends here.
    while let Some(at) = next.filter(|at| seen.insert(*at)) {
        let properties = names.of(card, at)?;
        let curve = properties.id("CURVE_1D_TYPE").zip(match properties.kind("CURVE_1D_TYPE") {
            Some(Kind::Enum(curves)) => Some(curves.clone()),
            _ => None,
        });
        steps
            .push(Colorop { kind: kind(&properties), can_bypass: properties.id("BYPASS").is_some() });
        operations.push(Operation {
            handle: at,
            bypass: properties.id("BYPASS"),
            curve,
            data: properties.id("DATA"),
        });
        next = properties.value("NEXT").and_then(handle);
    }
    Ok(PlanePipeline { number, operations, steps })
}

fn kind(properties: &Properties) -> ColoropKind {
    let chosen = |name: &str| {
        let Some(Kind::Enum(choices)) = properties.kind(name) else { return None };
        let value = properties.value(name)?;
        choices.iter().find(|(_, number)| *number == value).map(|(name, _)| name.clone())
    };
    let size = properties.value("SIZE").and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
    match chosen("TYPE").as_deref() {
        Some("1D NamedCurve") => {
            let Some(Kind::Enum(known)) = properties.kind("CURVE_1D_TYPE") else { return ColoropKind::Other };
            let has = |name: &str| known.iter().any(|(known, _)| known == name);
            let curves = NamedCurve::ALL.iter().filter(|(_, name)| has(name)).map(|(curve, _)| *curve);
            ColoropKind::Curves(curves.collect())
        }
        // The kernel bounds neither; ours are tables in memory.
        Some("1D LUT") if size <= 1 << 16 => ColoropKind::Lut1d(size),
        Some("3D LUT") if size <= 65 => ColoropKind::Lut3d(size),
        Some("3x4 Matrix") => ColoropKind::Matrix,
        _ => ColoropKind::Other,
    }
}

/// struct drm_color_lut32 (drm_mode.h): red, green, blue, reserved.
fn bytes(entries: &[[u32; 3]]) -> Vec<u8> {
    let words = entries.iter().flat_map(|[red, green, blue]| [*red, *green, *blue, 0]);
    words.flat_map(u32::to_ne_bytes).collect()
}

impl PlanePipeline {
    /// What its operations are to be set to, for settings one each, and the number that the plane is given; the blobs have to live as
    /// long as that.
    ///
    /// # Errors
    /// Without memory in the kernel, or for settings of another pipeline.
    pub fn values(
        &self,
        card: &DrmFd,
        settings: &[ColoropSetting],
        blobs: &mut Vec<Blob>,
    ) -> io::Result<(u64, Vec<Value>)> {
        let mut values = Vec::new();
        let lacks = |what: &str| io::Error::other(format!("a color operation has no {what}"));
        for (operation, setting) in self.operations.iter().zip(settings) {
            let object = operation.handle.into();
            let mut blob = |bytes: &mut Vec<u8>| -> io::Result<u64> {
                let blob = Blob::of_bytes(card, bytes)?;
                let id = blob.id();
                blobs.push(blob);
                Ok(id)
            };
            let data = operation.data.ok_or_else(|| lacks("DATA"));
            match setting {
                ColoropSetting::Bypass => {}
                ColoropSetting::Curve(curve) => {
                    let (id, numbers) = operation.curve.as_ref().ok_or_else(|| lacks("CURVE_1D_TYPE"))?;
                    let name = NamedCurve::ALL.iter().find(|(known, _)| known == curve).map(|(_, name)| *name);
                    let number = numbers.iter().find(|(known, _)| Some(known.as_str()) == name);
                    values.push((object, *id, number.ok_or_else(|| lacks("such curve"))?.1));
                }
                ColoropSetting::Matrix(matrix) => {
                    let mut bytes = ColoropSetting::ctm(matrix).into_iter().flat_map(u64::to_ne_bytes).collect();
                    values.push((object, data?, blob(&mut bytes)?));
                }
                ColoropSetting::Lut(entries) => values.push((object, data?, blob(&mut bytes(entries))?)),
            }
            if let Some(bypass) = operation.bypass {
                values.push((object, bypass, u64::from(*setting == ColoropSetting::Bypass)));
            }
        }
        Ok((self.number, values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_a_word_to_spare() {
        assert_eq!(bytes(&[[1, 2, 3], [4, 5, 6]]).len(), 32);
        assert_eq!(bytes(&[[u32::MAX, 0, 1]])[..4], [0xff; 4]);
    }
}
