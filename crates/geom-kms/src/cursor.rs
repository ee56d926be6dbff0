//! The cursor of one output on a cursor plane, or on a hardware cursor of older drivers.

use std::io;

use drm::buffer::DrmFourcc;

use crate::commit::CursorPlane;
use crate::device::Device;
use crate::dumb::DumbBuffer;

/// Buffers of a cursor: one may be scanned out, and the next image may already be in another one
/// whose frame was not committed yet.
const BUFFERS: usize = 3;

/// A cursor image.
#[derive(Debug, Clone, Copy)]
pub struct CursorImage<'a> {
    /// Identifies the content: another image has another serial.
    pub serial: u64,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The pixel that points, from the top left corner.
    pub hotspot: (i32, i32),
    /// Premultiplied ARGB8888 pixels, row by row without padding.
    pub argb: &'a [u8],
}

/// A cursor on its plane: its buffers, and what was committed.
#[derive(Debug, Default)]
pub struct Cursor {
    buffers: Vec<DumbBuffer>,
    filled: usize,
    /// The serial of the image in the filled buffer.
    serial: Option<u64>,
    committed: Option<CursorPlane>,
    is_refused: bool,
}

impl Cursor {
    /// Returns whether an image can be on the plane: there is one, the image fits, and the kernel
    /// has not refused it before.
    pub fn fits(&self, device: &Device, crtc: usize, image: &CursorImage<'_>) -> bool {
        !self.is_refused && device.has_hardware_cursor(crtc) && buffer_size(device, crtc, image).is_some()
    }

    /// Returns the state of the plane with an image at a position in the CRTC's pixels.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error: no memory for a buffer. An image that does not fit is an error,
    /// too.
    pub fn place(
        &mut self,
        device: &Device,
        crtc: usize,
        image: &CursorImage<'_>,
        position: (i32, i32),
    ) -> io::Result<CursorPlane> {
        let size = buffer_size(device, crtc, image).ok_or(io::ErrorKind::InvalidInput)?;
        if self.serial != Some(image.serial) {
            // Not the one that is scanned out, nor its predecessor, which may be until the flip.
            let next = (self.committed_buffer().unwrap_or(self.filled) + 1) % BUFFERS;
            while self.buffers.len() <= next {
                self.buffers.push(DumbBuffer::new(device.fd(), size, DrmFourcc::Argb8888)?);
            }
            if let Some(buffer) = self.buffers.get_mut(next) {
                if buffer.size() != size {
                    *buffer = DumbBuffer::new(device.fd(), size, DrmFourcc::Argb8888)?;
                }
                fill(buffer, image);
            }
            self.filled = next;
            self.serial = Some(image.serial);
        }
        let buffer = self.buffers.get(self.filled).ok_or(io::ErrorKind::NotFound)?;
        let (framebuffer, size) = (buffer.framebuffer().handle(), buffer.size());
        Ok(CursorPlane::Shown {
            framebuffer,
            buffer: buffer.handle(),
            size,
            position,
            hotspot: image.hotspot,
        })
    }

    /// Returns the index of the buffer in the committed state.
    fn committed_buffer(&self) -> Option<usize> {
        let Some(CursorPlane::Shown { framebuffer, .. }) = self.committed else { return None };
        self.buffers.iter().position(|buffer| buffer.framebuffer().handle() == framebuffer)
    }

    /// Returns whether a state differs from the committed one. If that is unknown, it does on every
    /// CRTC that may have a hardware cursor.
    pub fn is_changed(&self, device: &Device, crtc: usize, state: CursorPlane) -> bool {
        match self.committed {
            Some(committed) => committed != state,
            None => device.has_hardware_cursor(crtc),
        }
    }

    /// Notes the state that was committed; `None` if it is unknown, as after a VT switch.
    pub fn set_committed(&mut self, state: Option<CursorPlane>) {
        self.committed = state;
    }

    /// Does not use the plane until [`Cursor::allow`].
    pub fn give_up(&mut self) {
        self.is_refused = true;
    }

    /// Uses the plane again, after the mode or another output has changed.
    pub fn allow(&mut self) {
        self.is_refused = false;
    }
}

/// Returns the size of a buffer for an image: the first one that fits of those that the driver
/// prefers, as drm_plane.c recommends, or else the largest. Some drivers take fixed sizes only.
fn buffer_size(device: &Device, crtc: usize, image: &CursorImage<'_>) -> Option<(u32, u32)> {
    let hints = device.objects.cursor_plane(crtc).into_iter().flat_map(|plane| &plane.size_hints);
    let mut sizes = hints.copied().chain([device.cursor_size()]);
    sizes.find(|(width, height)| image.width <= *width && image.height <= *height)
}

/// Copies an image to the top left corner of a buffer, and clears the rest.
fn fill(buffer: &mut DumbBuffer, image: &CursorImage<'_>) {
    let (pitch, row_length) = (buffer.pitch(), image.width as usize * 4);
    let height = buffer.size().1 as usize;
    for (number, row) in buffer.pixels().chunks_mut(pitch).take(height).enumerate() {
        row.fill(0);
        let from = number * row_length;
        if let (Some(source), Some(target)) =
            (image.argb.get(from..from + row_length), row.get_mut(..row_length))
        {
            target.copy_from_slice(source);
        }
    }
}
