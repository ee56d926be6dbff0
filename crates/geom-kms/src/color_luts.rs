//! Color of CRTCs: a conversion, and a gamma LUT after it, which is ours or another program's.

use std::io;
use std::sync::Arc;

use geom_color::colorop_solver::{Colorop, ColoropSetting};
use geom_color::lut::{sample_1d, Lut1d};
use geom_color::pipeline::CrtcPipeline;

use crate::colorop::{ColoropValue, PlanePipeline};
use crate::commit::{test_frame, Frame};
use crate::device::Device;
use crate::drm_fd::Blob;
use crate::objects::Crtc;

/// The color pipeline of a CRTC and its primary plane: ids of blobs, 0 for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CrtcColor {
    /// `DEGAMMA_LUT`.
    pub degamma: u64,
    /// `CTM`.
    pub ctm: u64,
    /// `GAMMA_LUT`.
    pub gamma: u64,
    /// The primary plane's own pipeline.
    pub plane: Option<Arc<PlaneColor>>,
}

/// A plane's `COLOR_PIPELINE`, and the values of its operations.
#[derive(Debug, PartialEq, Eq)]
pub struct PlaneColor {
    /// `COLOR_PIPELINE`.
    pub number: u64,
    /// The operations.
    pub values: Vec<ColoropValue>,
}

/// A color conversion by the display hardware.
#[derive(Debug, Clone, PartialEq)]
pub enum HardwareConversion {
    /// By the CRTC's LUTs and matrix, for all its planes.
    Crtc(CrtcPipeline),
    /// By one of the primary plane's pipelines, given by its index; other planes are not converted.
    Plane(usize, Vec<ColoropSetting>),
}

/// The color of one output. Its blobs live as long as they may be committed.
#[derive(Debug, Default)]
pub(crate) struct OutputColor {
    conversion: Option<HardwareConversion>,
    pub gamma: Option<Lut1d>,
    pub color: CrtcColor,
    _blobs: Vec<Blob>,
}

/// Returns entries as `struct drm_color_lut` (drm_mode.h): red, green, blue, reserved.
fn lut_bytes(lut: &[[u16; 3]]) -> Vec<u8> {
    let words = lut.iter().flat_map(|[red, green, blue]| [*red, *green, *blue, 0]);
    words.flat_map(u16::to_ne_bytes).collect()
}

/// Returns the LUT that has the effect of `first`, then `second`, with the entries of `first`.
fn concatenate(first: &[[u16; 3]], second: &[[u16; 3]]) -> Lut1d {
    let entry = |entry: &[u16; 3]| {
        std::array::from_fn(|channel| {
            let signal = sample_1d(second, u16::MAX, channel, f64::from(entry[channel]) / 65_535.0);
            (signal * 65_535.0).round() as u16
        })
    };
    first.iter().map(entry).collect()
}

impl Device {
    /// Returns the entries of a CRTC's LUTs before and after its matrix; `None` if it lacks a LUT
    /// or the matrix.
    pub fn crtc_lut_sizes(&self, crtc: usize) -> Option<(usize, usize)> {
        self.objects.crtcs.get(crtc)?.ids?.lut_sizes()
    }

    /// Returns the operations of each pipeline of a CRTC's primary plane.
    pub fn plane_colorops(&self, crtc: usize) -> Vec<Vec<Colorop>> {
        self.plane_pipelines(crtc).iter().map(|pipeline| pipeline.colorops.clone()).collect()
    }

    /// Returns whether any of the device's CRTCs or their primary planes can convert color.
    pub(crate) fn can_convert(&self) -> bool {
        let crtcs = 0..self.objects.crtcs.len();
        crtcs
            .into_iter()
            .any(|crtc| self.crtc_lut_sizes(crtc).is_some() || !self.plane_pipelines(crtc).is_empty())
    }

    fn plane_pipelines(&self, crtc: usize) -> &[PlanePipeline] {
        let plane = self.objects.primary_plane(crtc).filter(|plane| plane.ids.is_some());
        plane.map_or(&[], |plane| &plane.pipelines)
    }

    /// Returns whether the color of a CRTC's primary plane is converted by the plane, so that of
    /// its other planes is not.
    pub fn converts_by_plane(&self, crtc: usize) -> bool {
        let state = self.crtc_states.get(&crtc);
        let color = state.and_then(|state| self.color.get(&state.output));
        color.is_some_and(|color| color.color.plane.is_some())
    }

    /// Returns whether a CRTC has a gamma LUT.
    pub fn has_gamma(&self, crtc: usize) -> bool {
        self.objects.crtcs.get(crtc).is_some_and(|crtc| crtc.gamma_size() > 0)
    }

    /// Returns the entries of the gamma LUT of an output's CRTC; 0 without one. `None` if the
    /// output is not enabled on this device.
    pub fn gamma_size(&self, output: &str) -> Option<usize> {
        Some(self.objects.crtcs.get(self.crtc_of(output)?)?.gamma_size())
    }

    /// Sets an output's gamma LUT, which has [`Device::gamma_size`] entries. The next frame brings
    /// it; drivers without a property for it get it at once.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; the previous LUT stays.
    pub fn set_gamma(&mut self, output: &str, lut: Option<&[[u16; 3]]>) -> io::Result<()> {
        let conversion = self.color.get(output).and_then(|color| color.conversion.clone());
        self.set_color(output, conversion, lut.map(<[_]>::to_vec))
    }

    /// Sets an output's color conversion. The next frame brings it.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; the previous conversion stays.
    pub fn set_conversion(&mut self, output: &str, conversion: Option<HardwareConversion>) -> io::Result<()> {
        let known = self.color.get(output);
        if known.and_then(|known| known.conversion.as_ref()) == conversion.as_ref() {
            return Ok(());
        }
        let gamma = known.and_then(|known| known.gamma.clone());
        self.set_color(output, conversion, gamma)
    }

    fn set_color(
        &mut self,
        output: &str,
        conversion: Option<HardwareConversion>,
        gamma: Option<Lut1d>,
    ) -> io::Result<()> {
        let mut blobs = Vec::new();
        let mut blob = |mut bytes: Vec<u8>| -> io::Result<u64> {
            let blob = Blob::new(&self.fd, &mut bytes)?;
            let id = blob.id();
            blobs.push(blob);
            Ok(id)
        };
        let mut color = CrtcColor::default();
        let pipeline = match &conversion {
            Some(HardwareConversion::Crtc(pipeline)) => Some(pipeline),
            _ => None,
        };
        if let Some(pipeline) = pipeline {
            color.degamma = blob(lut_bytes(&pipeline.degamma))?;
            color.ctm = blob(pipeline.ctm().into_iter().flat_map(u64::to_ne_bytes).collect())?;
        }
        let crtc = self.crtc_of(output);
        let has_lut = |crtc: usize| self.objects.crtcs.get(crtc).is_some_and(Crtc::has_gamma_lut);
        color.gamma = match (pipeline, &gamma) {
            // All CRTCs of a device have the property, or none.
            _ if !has_lut(crtc.unwrap_or(0)) => 0,
            (None, None) => 0,
            (None, Some(lut)) => blob(lut_bytes(lut))?,
            (Some(pipeline), None) => blob(lut_bytes(&pipeline.gamma))?,
            (Some(pipeline), Some(lut)) => blob(lut_bytes(&concatenate(&pipeline.gamma, lut)))?,
        };
        if let Some(HardwareConversion::Plane(index, settings)) = &conversion {
            let pipelines = self.plane_pipelines(crtc.ok_or(io::ErrorKind::NotFound)?);
            let pipeline = pipelines.get(*index).ok_or(io::ErrorKind::NotFound)?;
            let (number, values) = pipeline.values(&self.fd, settings, &mut blobs)?;
            color.plane = Some(Arc::new(PlaneColor { number, values }));
        }
        // The color of an output that is not enabled yet is tested with its mode.
        if let Some(crtc) = crtc {
            if self.is_atomic {
                let frame = Frame { color: Some(color.clone()), ..Frame::default() };
                test_frame(&self.fd, &self.objects, crtc, &frame)?;
            }
            if self.color.get(output).and_then(|known| known.gamma.as_ref()) != gamma.as_ref() {
                self.set_legacy_gamma(crtc, gamma.as_deref())?;
            }
        }
        self.color.insert(output.to_owned(), OutputColor { conversion, gamma, color, _blobs: blobs });
        Ok(())
    }

    /// Returns the color that an output is to have.
    pub(crate) fn color_of(&self, output: &str) -> CrtcColor {
        self.color.get(output).map_or_else(CrtcColor::default, |color| color.color.clone())
    }

    /// Returns the color that a CRTC's next frame has to bring.
    pub fn pending_color(&self, crtc: usize) -> Option<CrtcColor> {
        let state = self.crtc_states.get(&crtc)?;
        let committed = &state.setup.color;
        match self.color.get(&state.output) {
            Some(wanted) => (wanted.color != *committed).then(|| wanted.color.clone()),
            None => (*committed != CrtcColor::default()).then(CrtcColor::default),
        }
    }

    /// Drops the color of an output that is gone.
    pub fn remove_color(&mut self, output: &str) {
        self.color.remove(output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concatenated_luts_apply_one_after_the_other() {
        let first = vec![[0, 0, 0], [65_535, 32_768, 65_535]];
        let second = vec![[0, 0, 100], [10_000, 20_000, 100], [65_535, 65_535, 100]];
        assert_eq!(concatenate(&first, &second), [[0, 0, 100], [65_535, 20_001, 100]]);
        assert_eq!(lut_bytes(&[[1, 2, 3]]).len(), 8);
    }
}
