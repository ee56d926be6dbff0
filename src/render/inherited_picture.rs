//! What a display showed before we had it, behind all that comes: as it is while nothing comes, and drawn from then on.

use std::cell::OnceCell;
use std::convert::Infallible;

use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::element::memory::MemoryRenderBuffer;
use smithay::utils::{Physical, Rectangle, Size, Transform};

use super::SizedBuffer;
use geom_kms::handoff::InheritedFramebuffer;

/// A display's picture of another.
#[derive(Debug)]
pub struct InheritedPicture {
    pub shown: InheritedFramebuffer,
    /// How the display was turned when it was taken over.
    pub transform: Transform,
    drawn: OnceCell<SizedBuffer>,
}

impl InheritedPicture {
    pub fn new(shown: InheritedFramebuffer, transform: Transform) -> Self {
        Self { shown, transform, drawn: OnceCell::new() }
    }

    /// A copy that renderers take. It is as the monitor shows it: a display that is turned turns it back.
    pub fn picture(&self) -> &SizedBuffer {
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
