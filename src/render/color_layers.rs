//! Pictures of programs that describe their color, on their way to a display: each kind of color in an image of its own, in its own
//! signals, 10 bits each.

use std::io;

use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::reexports::pixman;
use geom_color::conversion::ImageConversion;
use geom_color::target::ColorTarget;

use crate::render::geometry::FrameGeometry;
use crate::render::scene::Described;

/// All surfaces of one kind of color.
pub struct Layer {
    pub described: Described,
    pub image: pixman::Image<'static, 'static>,
    pub tracker: OutputDamageTracker,
    /// What is in the image can't be built on.
    pub stale: bool,
    bringing: ImageConversion,
}

impl Layer {
    /// None where there is no way from these color to the display's.
    pub fn new(
        described: Described,
        look: &ColorTarget,
        geometry: &FrameGeometry,
        size: (u32, u32),
    ) -> io::Result<Option<Self>> {
        let bringing = ImageConversion::new(&described.description, described.perceptual, look);
        let Some(bringing) = bringing else { return Ok(None) };
        let format = pixman::FormatCode::A2R10G10B10;
        let image = pixman::Image::new(format, size.0 as usize, size.1 as usize, true);
        let image = image.map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let tracker = geometry.damage_tracker();
        Ok(Some(Self { described, image, tracker, stale: true, bringing }))
    }

    /// The display's codes at a pixel; none where no surface of these color is.
    pub fn codes(&self, pixels: &[u8], x: usize, y: usize) -> Option<[u16; 3]> {
        let at = y * self.image.stride() + 4 * x;
        let word = u32::from_ne_bytes(pixels.get(at..at + 4)?.try_into().ok()?);
        let code = |shift: u32| word >> shift & 0x3ff;
        (word >> 30 > 0).then(|| self.bringing.convert([code(20), code(10), code(0)]))
    }
}
