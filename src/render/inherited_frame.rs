//! The inherited frame: what the previous DRM master showed on an output. Its framebuffer is
//! scanned out until there is something to draw, and is then drawn behind everything.

use std::cell::OnceCell;
use std::convert::Infallible;

use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::element::memory::MemoryRenderBuffer;
use smithay::utils::{Physical, Rectangle, Size, Transform};

use super::SizedBuffer;
use geom_kms::handoff::InheritedFramebuffer;

/// An output's inherited frame.
#[derive(Debug)]
pub struct InheritedFrame {
    pub shown: InheritedFramebuffer,
    /// The transform of the output when it was taken over.
    pub transform: Transform,
    drawn: OnceCell<SizedBuffer>,
}

impl InheritedFrame {
    pub fn new(shown: InheritedFramebuffer, transform: Transform) -> Self {
        Self { shown, transform, drawn: OnceCell::new() }
    }

    /// Returns a copy for renderers, made at the first call. Its pixels are as the monitor shows
    /// them, so its transform undoes that of the output.
    pub fn buffer(&self) -> &SizedBuffer {
        self.drawn.get_or_init(|| {
            let size = (self.shown.size().0 as i32, self.shown.size().1 as i32);
            let whole = Rectangle::from_size(size.into());
            let format = Fourcc::Xrgb8888;
            let mut buffer = MemoryRenderBuffer::new(format, size, 1, self.transform, Some(vec![whole]));
            let drawn = buffer.render().draw(|pixels| {
                self.shown.copy_to(pixels);
                Ok::<_, Infallible>(vec![whole])
            });
            drawn.unwrap_or_else(|never| match never {});
            let seen = self.transform.transform_size(Size::<i32, Physical>::from(size));
            SizedBuffer(buffer, (seen.w.unsigned_abs(), seen.h.unsigned_abs()))
        })
    }
}
