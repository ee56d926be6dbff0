//! What is put on planes instead of being rendered: a fullscreen client's buffer (direct scanout).

use std::sync::Arc;

use geom_kms::framebuffer::{import, opaque};
use geom_kms::{Device, Frame, Framebuffer};
use smithay::backend::allocator::dmabuf::{Dmabuf, WeakDmabuf};
use smithay::backend::allocator::Buffer;
use tracing::debug;

/// Framebuffers of clients' buffers. `None` for buffers that cannot be scanned out.
#[derive(Default)]
pub struct ImportedBuffers {
    known: Vec<(WeakDmabuf, Option<Arc<Framebuffer>>)>,
}

impl ImportedBuffers {
    /// Returns the framebuffer of a client's buffer if the kernel would scan it out on the CRTC.
    pub fn framebuffer(&mut self, device: &Device, crtc: usize, dmabuf: &Dmabuf) -> Option<Arc<Framebuffer>> {
        self.known.retain(|(known, _)| !known.is_gone());
        if let Some((_, framebuffer)) = self.known.iter().find(|(known, _)| *known == dmabuf.weak()) {
            return framebuffer.clone();
        }
        let framebuffer = Self::import(device, crtc, dmabuf);
        self.known.push((dmabuf.weak(), framebuffer.clone()));
        framebuffer
    }

    fn import(device: &Device, crtc: usize, dmabuf: &Dmabuf) -> Option<Arc<Framebuffer>> {
        let formats = &device.primary_plane(crtc)?.formats;
        let format = dmabuf.format();
        if !device.is_atomic() || !formats.supports(opaque(format.code), format.modifier) {
            return None;
        }
        let size = (dmabuf.width(), dmabuf.height());
        let planes = dmabuf.handles().zip(dmabuf.strides().zip(dmabuf.offsets()));
        let planes = planes.map(|(fd, (pitch, offset))| (fd, pitch, offset));
        let framebuffer = import(device.fd(), size, format.code, format.modifier, planes)
            .inspect_err(|error| debug!(%error, "client buffer cannot be scanned out"))
            .ok()?;
        let frame = Frame { primary: Some((Arc::new(framebuffer), size)), ..Frame::default() };
        match device.test_frame(crtc, &frame) {
            Ok(()) => frame.primary.map(|(framebuffer, _)| framebuffer),
            Err(error) => {
                debug!(%error, "the kernel refuses to scan out a client buffer");
                None
            }
        }
    }
}
