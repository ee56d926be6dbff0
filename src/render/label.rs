//! The display's name in large letters, for `identify`.

use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::element::memory::MemoryRenderBuffer;
use smithay::utils::Transform;

use super::text::{block, letters, Line, Size};
use super::SizedBuffer;

const INK: [u8; 3] = [0xff, 0xff, 0xff];
const GROUND: [u8; 4] = [0xa0, 0x40, 0x10, 0xff];

/// A label, drawn again when the name or the size of the output changes.
#[derive(Debug, Default)]
pub struct Label {
    name: String,
    size: (u32, u32),
    buffer: Option<SizedBuffer>,
}

impl Label {
    /// Returns the name in letters that take at most half of the output's width.
    pub fn buffer(&mut self, name: &str, size: (u32, u32)) -> Option<&SizedBuffer> {
        if self.buffer.is_none() || self.name != name || self.size != size {
            let fits = letters(Size::Large, 1, size.0) / (name.chars().count() + 2).max(1);
            let magnification = (fits as u32 / 2).clamp(1, 16);
            let text = format!(" {name} ");
            let mut block = block(&[Line { text, size: Size::Large, color: INK }], magnification);
            for pixel in block.argb.chunks_exact_mut(4) {
                let rest = 255 - u16::from(pixel[3]);
                for (channel, ground) in pixel.iter_mut().zip(GROUND) {
                    *channel = channel.saturating_add((u16::from(ground) * rest / 255) as u8);
                }
            }
            let pixels = (block.width as i32, block.height as i32);
            let format = Fourcc::Argb8888;
            let buffer =
                MemoryRenderBuffer::from_slice(&block.argb, format, pixels, 1, Transform::Normal, None);
            self.buffer = Some(SizedBuffer(buffer, (block.width, block.height)));
            (self.name, self.size) = (name.to_owned(), size);
        }
        self.buffer.as_ref()
    }
}
