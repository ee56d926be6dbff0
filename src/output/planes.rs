//! What is put on planes instead of being rendered: a fullscreen client's buffer (direct scanout).

use std::io;
use std::sync::Arc;

use geom_kms::commit::is_refusal;
use geom_kms::framebuffer::{import, opaque};
use geom_kms::objects::Plane;
use geom_kms::{Device, Frame, Framebuffer};
use smithay::backend::allocator::dmabuf::{Dmabuf, WeakDmabuf};
use smithay::backend::allocator::Buffer as _;
use smithay::backend::renderer::utils::{Buffer, CommitCounter};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
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
        let framebuffer = match Self::import(device, crtc, dmabuf) {
            Ok(framebuffer) => framebuffer,
            Err(error) => {
                debug!(%error, "a client's buffer cannot be scanned out");
                if !is_refusal(&error) {
                    // It says nothing about the buffer: the next frame tries again.
                    return None;
                }
                None
            }
        };
        self.known.push((dmabuf.weak(), framebuffer.clone()));
        framebuffer
    }

    /// Does not scan out a buffer again.
    pub fn refuse(&mut self, dmabuf: &Dmabuf) {
        for (known, framebuffer) in &mut self.known {
            if *known == dmabuf.weak() {
                *framebuffer = None;
            }
        }
    }

    /// Imports a buffer; `None` if no plane of the CRTC takes its format.
    fn import(device: &Device, crtc: usize, dmabuf: &Dmabuf) -> io::Result<Option<Arc<Framebuffer>>> {
        let format = dmabuf.format();
        let takes = |plane: &Plane| plane.formats.supports(opaque(format.code), format.modifier);
        if !device.is_atomic() || !device.primary_plane(crtc).is_some_and(takes) {
            return Ok(None);
        }
        let size = (dmabuf.width(), dmabuf.height());
        let planes = dmabuf.handles().zip(dmabuf.strides().zip(dmabuf.offsets()));
        let planes = planes.map(|(fd, (pitch, offset))| (fd, pitch, offset));
        let framebuffer = Arc::new(import(device.fd(), size, format.code, format.modifier, planes)?);
        let frame = Frame { primary: Some((framebuffer.clone(), size)), ..Frame::default() };
        device.test_frame(crtc, &frame)?;
        Ok(Some(framebuffer))
    }
}

/// A client's buffer on the output: not released to the client while the kernel reads it.
pub struct Shown {
    pub surface: WlSurface,
    pub framebuffer: Arc<Framebuffer>,
    /// Width and height in pixels.
    pub size: (u32, u32),
    pub commit: CommitCounter,
    /// Held, so that it is not released.
    pub _buffer: Buffer,
}

impl Shown {
    /// Returns whether it is the same content in the same buffer.
    pub fn is_same(&self, other: &Self) -> bool {
        self.framebuffer.handle() == other.framebuffer.handle() && self.commit == other.commit
    }
}
