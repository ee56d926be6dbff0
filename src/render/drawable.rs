//! Buffers that a frame is rendered into.

use std::io;
use std::sync::Arc;

use drm::buffer::{DrmFourcc, DrmModifier, PlanarBuffer};
use geom_kms::dumb::DumbBuffer;
use geom_kms::framebuffer::{import, opaque, FramebufferLayout};
use geom_kms::{DrmFd, Framebuffer};
use smithay::backend::allocator::dmabuf::{AsDmabuf, Dmabuf};
use smithay::backend::allocator::gbm::GbmBuffer;
use smithay::reexports::pixman;

/// What one frame is rendered into.
pub enum Drawable {
    /// For pixman. The image points into the buffer; it is the first field, so that it is dropped
    /// first.
    Dumb { image: pixman::Image<'static, 'static>, buffer: DumbBuffer },
    /// For GLES.
    Gbm { dmabuf: Dmabuf, framebuffer: Arc<Framebuffer>, _bo: GbmBuffer },
    /// For GLES on another GPU than the one that scans out `buffer`, and that cannot use the memory
    /// of the first: what is drawn is copied.
    Copied { dmabuf: Dmabuf, buffer: DumbBuffer, _bo: GbmBuffer },
    /// For a virtual output.
    Memory(pixman::Image<'static, 'static>),
}

impl Drawable {
    /// Allocates a buffer for pixman.
    ///
    /// # Errors
    ///
    /// If there is no memory, or the driver or pixman does not support the format.
    pub fn dumb(fd: &DrmFd, size: (u32, u32), format: DrmFourcc) -> io::Result<Self> {
        let buffer = DumbBuffer::new(fd, size, format)?;
        let image = pixman_image(&buffer).map_err(io::Error::other)?;
        Ok(Self::Dumb { image, buffer })
    }

    /// Wraps a buffer for GLES.
    ///
    /// # Errors
    ///
    /// If the kernel cannot scan out the buffer, or there are no descriptors left.
    pub fn gbm(fd: &DrmFd, bo: GbmBuffer) -> io::Result<Self> {
        let modifier = smithay::backend::allocator::Buffer::format(&bo).modifier;
        let layout = FramebufferLayout {
            size: PlanarBuffer::size(&bo),
            // Nothing lies below a primary plane.
            format: opaque(PlanarBuffer::format(&bo)),
            modifier: Some(modifier).filter(|modifier| *modifier != DrmModifier::Invalid),
            pitches: PlanarBuffer::pitches(&bo),
            offsets: PlanarBuffer::offsets(&bo),
            handles: PlanarBuffer::handles(&bo),
        };
        let framebuffer = Arc::new(Framebuffer::new(fd, &layout)?);
        let dmabuf = bo.export().map_err(io::Error::other)?;
        Ok(Self::Gbm { dmabuf, framebuffer, _bo: bo })
    }

    /// Wraps a linear buffer of another GPU than the one of `fd`, which scans it out.
    ///
    /// # Errors
    ///
    /// If the device cannot use the memory, or there are no descriptors left.
    pub fn shared(fd: &DrmFd, bo: GbmBuffer) -> io::Result<Self> {
        let dmabuf = bo.export().map_err(io::Error::other)?;
        let planes = dmabuf.handles().zip(dmabuf.strides().zip(dmabuf.offsets()));
        let planes: Vec<_> = planes.map(|(plane, (pitch, offset))| (plane, pitch, offset)).collect();
        let (size, code) = (PlanarBuffer::size(&bo), PlanarBuffer::format(&bo));
        let add = |modifier| import(fd, size, code, modifier, planes.iter().copied());
        // Drivers without modifiers take linear buffers only.
        let framebuffer = add(DrmModifier::Linear).or_else(|_| add(DrmModifier::Invalid))?;
        drop(planes);
        Ok(Self::Gbm { dmabuf, framebuffer: Arc::new(framebuffer), _bo: bo })
    }

    /// Allocates a buffer of the device of `fd` for a copy of what is drawn into one of another
    /// GPU.
    ///
    /// # Errors
    ///
    /// If there is no memory, or the driver does not support the format.
    pub fn copied(fd: &DrmFd, bo: GbmBuffer, size: (u32, u32), format: DrmFourcc) -> io::Result<Self> {
        let buffer = DumbBuffer::new(fd, size, format)?;
        let dmabuf = bo.export().map_err(io::Error::other)?;
        Ok(Self::Copied { dmabuf, buffer, _bo: bo })
    }

    /// Allocates a buffer for a virtual output.
    ///
    /// # Errors
    ///
    /// If there is no memory.
    pub fn memory(size: (u32, u32)) -> io::Result<Self> {
        pixman::Image::new(pixman::FormatCode::X8R8G8B8, size.0 as usize, size.1 as usize, true)
            .map(Self::Memory)
            .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))
    }

    /// Returns its framebuffer; `None` for virtual outputs.
    pub fn framebuffer(&self) -> Option<&Arc<Framebuffer>> {
        match self {
            Self::Dumb { buffer, .. } | Self::Copied { buffer, .. } => Some(buffer.framebuffer()),
            Self::Gbm { framebuffer, .. } => Some(framebuffer),
            Self::Memory(_) => None,
        }
    }
}

/// Returns a buffer as pixman's target. The image must not outlive the buffer.
fn pixman_image(buffer: &DumbBuffer) -> Result<pixman::Image<'static, 'static>, String> {
    let format = pixman::FormatCode::try_from(buffer.format())
        .map_err(|_| format!("pixman does not support {}", buffer.format()))?;
    let (width, height) = buffer.size();
    let data = buffer.data().cast();
    // SAFETY: the buffer has pitch times height bytes, and `Drawable` drops the image first.
    let image = unsafe {
        pixman::Image::from_raw_mut(format, width as usize, height as usize, data, buffer.pitch(), false)
    };
    image.map_err(|_| "pixman supports no image of this size".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixman_draws_all_formats_of_our_buffers() {
        for format in geom_kms::formats::FORMATS {
            assert!(pixman::FormatCode::try_from(format).is_ok(), "{format}");
        }
    }
}
