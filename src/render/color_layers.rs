//! Layers of the software renderer: surfaces with the same image description (color-management) are
//! drawn into an image of their own, in their own code values of 10 bits, and converted from it.

use std::io;

use geom_color::conversion::ImageConversion;
use geom_color::target::ColorTarget;
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::reexports::pixman;

use crate::render::geometry::FrameGeometry;
use crate::render::scene::SurfaceImageDescription;

/// All surfaces with one image description.
pub struct Layer {
    pub description: SurfaceImageDescription,
    pub image: pixman::Image<'static, 'static>,
    pub tracker: OutputDamageTracker,
    /// The image has to be drawn whole: it is not the last frame of the damage tracker.
    pub stale: bool,
    conversion: ImageConversion,
}

impl Layer {
    /// Returns `None` if colors of this description cannot be converted to the target.
    ///
    /// # Errors
    /// If there is no memory for the image.
    pub fn new(
        description: SurfaceImageDescription,
        target: &ColorTarget,
        geometry: &FrameGeometry,
        size: (u32, u32),
    ) -> io::Result<Option<Self>> {
        let conversion = ImageConversion::new(&description.description, description.perceptual, target);
        let Some(conversion) = conversion else { return Ok(None) };
        let format = pixman::FormatCode::A2R10G10B10;
        let image = pixman::Image::new(format, size.0 as usize, size.1 as usize, true);
        let image = image.map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let tracker = geometry.damage_tracker();
        Ok(Some(Self { description, image, tracker, stale: true, conversion }))
    }

    /// Returns the code values of the target at a pixel, or `None` if no surface of the layer is
    /// there.
    pub fn codes(&self, pixels: &[u8], x: usize, y: usize) -> Option<[u16; 3]> {
        let at = y * self.image.stride() + 4 * x;
        let word = u32::from_ne_bytes(pixels.get(at..at + 4)?.try_into().ok()?);
        let code = |shift: u32| word >> shift & 0x3ff;
        (word >> 30 > 0).then(|| self.conversion.convert([code(20), code(10), code(0)]))
    }
}
