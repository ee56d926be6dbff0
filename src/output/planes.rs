//! What goes to planes instead of being drawn: the cursor, and a fullscreen client's buffer.

use std::io;
use std::sync::Arc;

use smithay::backend::allocator::dmabuf::{Dmabuf, WeakDmabuf};
use smithay::backend::allocator::Buffer;
use tracing::debug;

use crate::gpu::buffer::{import, opaque, Dumb};
use crate::gpu::drm_fd::Framebuffer;
use crate::gpu::commit::{self, CursorPlane, Frame};
use crate::gpu::device::Gpu;
use crate::render::cursor::Picture;

/// A display's cursor plane. Two buffers: one may be on the output while the other is filled.
#[derive(Default)]
pub struct CursorState {
    buffers: Vec<Dumb>,
    filled: usize,
    /// The serial of the picture in the filled buffer.
    picture: Option<u64>,
    /// As last committed.
    pub shown: Option<CursorPlane>,
    /// The kernel refused the plane: drawn from then on.
    refused: bool,
}

impl CursorState {
    /// Whether a picture can be on the plane at all.
    pub fn fits(&self, gpu: &Gpu, crtc: usize, picture: &Picture) -> bool {
        !self.refused
            && gpu.atomic
            && gpu.objects.crtcs.get(crtc).is_some_and(|crtc| crtc.cursor.is_some())
            && picture.width <= gpu.cursor_size.0
            && picture.height <= gpu.cursor_size.1
    }

    /// The plane's state for a picture at a place of the CRTC.
    pub fn place(&mut self, gpu: &Gpu, picture: &Picture, position: (i32, i32)) -> io::Result<CursorPlane> {
        if self.picture != Some(picture.serial) {
            let next = 1 - self.filled.min(1);
            while self.buffers.len() <= next {
                self.buffers.push(gpu.cursor_buffer()?);
            }
            self.filled = next;
            self.fill(gpu.cursor_size, picture);
            self.picture = Some(picture.serial);
        }
        let buffer = self.buffers.get(self.filled).ok_or(io::ErrorKind::NotFound)?;
        Ok(CursorPlane::Shown { framebuffer: buffer.framebuffer.handle, size: gpu.cursor_size, position })
    }

    fn fill(&mut self, size: (u32, u32), picture: &Picture) {
        let Some(buffer) = self.buffers.get_mut(self.filled) else { return };
        let pitch = buffer.pitch();
        let row_length = picture.width as usize * 4;
        let rows = buffer.pixels().chunks_mut(pitch).take(size.1 as usize);
        for (number, row) in rows.enumerate() {
            row.fill(0);
            let from = number * row_length;
            if let (Some(source), Some(target)) =
                (picture.argb.get(from..from + row_length), row.get_mut(..row_length))
            {
                target.copy_from_slice(source);
            }
        }
    }

    pub fn refuse(&mut self) {
        self.refused = true;
    }
}

/// Clients' buffers that were made framebuffers, and those that can't be.
#[derive(Default)]
pub struct ImportedBuffers {
    known: Vec<(WeakDmabuf, Option<Arc<Framebuffer>>)>,
}

impl ImportedBuffers {
    /// The framebuffer of a client's buffer where the kernel would show it on the CRTC as it is.
    pub fn framebuffer(&mut self, gpu: &Gpu, crtc: usize, dmabuf: &Dmabuf) -> Option<Arc<Framebuffer>> {
        self.known.retain(|(known, _)| !known.is_gone());
        if let Some((_, framebuffer)) = self.known.iter().find(|(known, _)| *known == dmabuf.weak()) {
            return framebuffer.clone();
        }
        let framebuffer = Self::import(gpu, crtc, dmabuf);
        self.known.push((dmabuf.weak(), framebuffer.clone()));
        framebuffer
    }

    fn import(gpu: &Gpu, crtc: usize, dmabuf: &Dmabuf) -> Option<Arc<Framebuffer>> {
        let plane = gpu.objects.planes.get(gpu.objects.crtcs.get(crtc)?.primary?)?;
        let format = dmabuf.format();
        if !gpu.atomic || !plane.supports(opaque(format.code), format.modifier) {
            return None;
        }
        let size = (dmabuf.width(), dmabuf.height());
        let framebuffer = match import(&gpu.card, dmabuf) {
            Ok(framebuffer) => Arc::new(framebuffer),
            Err(error) => {
                debug!(%error, "a client's buffer can't be scanned out");
                return None;
            }
        };
        let frame = Frame { primary: Some((framebuffer.handle, size)), ..Frame::default() };
        match commit::test_frame(&gpu.card, &gpu.objects, crtc, &frame) {
            Ok(()) => Some(framebuffer),
            Err(error) => {
                debug!(%error, "the kernel refuses to scan out a client's buffer");
                None
            }
        }
    }
}
