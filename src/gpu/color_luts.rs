//! What CRTCs make of color: a conversion of ours, and over it a gamma table, of ours or of a tool.

use std::io;
use std::rc::Rc;

use geom_color::lut::{sample_1d, Lut1d};
use geom_color::pipeline::CrtcPipeline;
use geom_color::colorop_solver::{ColoropSetting, Colorop};

use super::drm_fd::Blob;
use super::colorop::{PlanePipeline, Value};
use super::commit::{test_frame, Frame};
use super::device::Gpu;

/// Blobs of DEGAMMA_LUT, CTM and GAMMA_LUT, 0 for none; and what the primary plane's own pipeline does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CrtcColor {
    pub degamma: u64,
    pub ctm: u64,
    pub gamma: u64,
    pub plane: Option<Rc<PlaneColor>>,
}

/// A value for COLOR_PIPELINE, and those of its operations.
#[derive(Debug, PartialEq, Eq)]
pub struct PlaneColor {
    pub number: u64,
    pub values: Vec<Value>,
}

/// Hardware that converts.
#[derive(Debug, Clone, PartialEq)]
pub enum Hardware {
    /// The CRTC's tables, for all that it shows.
    Crtc(CrtcPipeline),
    /// One of the primary plane's pipelines, by its place among them: other planes are not converted.
    Plane(usize, Vec<ColoropSetting>),
}

/// What one display's CRTC does, with the blobs that the kernel may be given again.
#[derive(Debug, Default)]
pub struct Tables {
    hardware: Option<Hardware>,
    gamma: Option<Lut1d>,
    color: CrtcColor,
    _blobs: Vec<Blob>,
}

/// struct drm_color_lut (drm_mode.h): red, green, blue, reserved.
fn bytes(table: &[[u16; 3]]) -> Vec<u8> {
    let words = table.iter().flat_map(|[red, green, blue]| [*red, *green, *blue, 0]);
    words.flat_map(u16::to_ne_bytes).collect()
}

/// A table after a table.
fn after(first: &[[u16; 3]], second: &[[u16; 3]]) -> Lut1d {
    let step = |entry: &[u16; 3]| {
        std::array::from_fn(|color| {
            let signal = sample_1d(second, u16::MAX, color, f64::from(entry[color]) / 65_535.0);
            (signal * 65_535.0).round() as u16
        })
    };
    first.iter().map(step).collect()
}

impl Gpu {
    /// Steps of a CRTC's tables before and after its matrix; none where it lacks any of them.
    pub fn pipeline_sizes(&self, crtc: usize) -> Option<(usize, usize)> {
        self.objects.crtcs.get(crtc)?.ids?.color.pipeline_sizes()
    }

    /// What the pipelines of a CRTC's primary plane can do.
    pub fn plane_steps(&self, crtc: usize) -> Vec<Vec<Colorop>> {
        self.primary_pipelines(crtc).iter().map(|pipeline| pipeline.steps.clone()).collect()
    }

    /// The pipelines of a CRTC's primary plane.
    pub(super) fn primary_pipelines(&self, crtc: usize) -> &[PlanePipeline] {
        let plane = self.objects.crtcs.get(crtc).and_then(|crtc| self.objects.planes.get(crtc.primary?));
        plane.filter(|plane| plane.ids.is_some()).map_or(&[], |plane| &plane.pipelines)
    }

    /// Whether only what is on a CRTC's primary plane is converted.
    pub fn converts_by_plane(&self, crtc: usize) -> bool {
        let tables = self.crtc_states.get(&crtc).and_then(|lit| self.tables.get(&lit.display));
        tables.is_some_and(|tables| tables.color.plane.is_some())
    }

    /// Whether a CRTC's hardware has a gamma table.
    pub fn has_gamma(&self, crtc: usize) -> bool {
        let ids = self.objects.crtcs.get(crtc).and_then(|crtc| crtc.ids);
        ids.is_some_and(|ids| ids.color.gamma_size > 0)
    }

    /// Steps of the gamma table of the CRTC that a display is on.
    pub fn gamma_size(&self, display: &str) -> Option<usize> {
        Some(self.objects.crtcs[self.crtc_of(display)?].ids?.color.gamma_size)
    }

    /// A display's gamma table of [`Self::gamma_size`] steps, or none, from its next frame on.
    ///
    /// # Errors
    /// The kernel's; the table that was there stays.
    pub fn set_gamma(&mut self, display: &str, table: Option<&[[u16; 3]]>) -> io::Result<()> {
        let hardware = self.tables.get(display).and_then(|known| known.hardware.clone());
        self.set_tables(display, hardware, table.map(<[_]>::to_vec))
    }

    /// A display's conversion, or none, from its next frame on.
    ///
    /// # Errors
    /// The kernel's; the one that was there stays.
    pub fn set_hardware(&mut self, display: &str, hardware: Option<Hardware>) -> io::Result<()> {
        let known = self.tables.get(display);
        if known.and_then(|known| known.hardware.as_ref()) == hardware.as_ref() {
            return Ok(());
        }
        let gamma = known.and_then(|known| known.gamma.clone());
        self.set_tables(display, hardware, gamma)
    }

    fn set_tables(
        &mut self,
        display: &str,
        hardware: Option<Hardware>,
        gamma: Option<Lut1d>,
    ) -> io::Result<()> {
        let mut blobs = Vec::new();
        let mut blob = |bytes: &mut Vec<u8>| -> io::Result<u64> {
            let blob = Blob::of_bytes(&self.card, bytes)?;
            let id = blob.id();
            blobs.push(blob);
            Ok(id)
        };
        let mut color = CrtcColor::default();
        let pipeline = match &hardware {
            Some(Hardware::Crtc(pipeline)) => Some(pipeline),
            _ => None,
        };
        if let Some(pipeline) = pipeline {
            color.degamma = blob(&mut bytes(&pipeline.degamma))?;
            color.ctm = blob(&mut pipeline.ctm().into_iter().flat_map(u64::to_ne_bytes).collect())?;
        }
        color.gamma = match (pipeline, &gamma) {
            (None, None) => 0,
            (None, Some(table)) => blob(&mut bytes(table))?,
            (Some(pipeline), None) => blob(&mut bytes(&pipeline.gamma))?,
            (Some(pipeline), Some(table)) => blob(&mut bytes(&after(&pipeline.gamma, table)))?,
        };
        if let Some(Hardware::Plane(place, settings)) = &hardware {
            let crtc = self.crtc_of(display).ok_or(io::ErrorKind::NotFound)?;
            let pipeline = self.primary_pipelines(crtc).get(*place).ok_or(io::ErrorKind::NotFound)?;
            let (number, values) = pipeline.values(&self.card, settings, &mut blobs)?;
            color.plane = Some(Rc::new(PlaneColor { number, values }));
        }
        // One that is not lit yet is asked about with its mode.
        if let Some(crtc) = self.crtc_of(display) {
            let frame = Frame { color: Some(color.clone()), ..Frame::default() };
            test_frame(&self.card, &self.objects, crtc, &frame)?;
        }
        let tables = Tables { hardware, gamma, color, _blobs: blobs };
        self.tables.insert(display.to_owned(), tables);
        Ok(())
    }

    pub fn color(&self, display: &str) -> CrtcColor {
        self.tables.get(display).map_or(CrtcColor::default(), |tables| tables.color.clone())
    }

    /// What a CRTC's next frame has to bring.
    pub fn color_changes(&self, crtc: usize) -> Option<CrtcColor> {
        let lit = self.crtc_states.get(&crtc)?;
        Some(self.color(&lit.display)).filter(|color| *color != lit.setup.color)
    }

    /// The display is gone, and its color with it.
    pub fn forget_tables(&mut self, display: &str) {
        self.tables.remove(display);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_s_table_comes_after_ours() {
        let first = vec![[0, 0, 0], [65_535, 32_768, 65_535]];
        let second = vec![[0, 0, 100], [10_000, 20_000, 100], [65_535, 65_535, 100]];
        assert_eq!(after(&first, &second), [[0, 0, 100], [65_535, 20_001, 100]]);
        assert_eq!(bytes(&[[1, 2, 3]]).len(), 8);
    }
}
