//! Buffers that a frame is rendered into.

use std::io;
use std::sync::Arc;

use drm::buffer::{DrmFourcc, DrmModifier, PlanarBuffer};
use drm::DriverCapability;
use geom_kms::dumb::DumbBuffer;
use geom_kms::framebuffer::{import, opaque, FramebufferLayout};
use geom_kms::{DrmFd, Framebuffer};
use smithay::backend::allocator::dmabuf::{AsDmabuf, Dmabuf};
use smithay::backend::allocator::gbm::GbmBuffer;
use smithay::reexports::pixman;
use smithay::utils::{Physical, Rectangle};

use crate::render::shadow_buffer::pixels;

/// What one frame is rendered into.
pub enum Drawable {
    /// For pixman. The image points into the buffer; it is the first field, so that it is dropped
    /// first. Or it is staged: it has memory of its own, and what changes is copied to the buffer.
    Dumb { image: pixman::Image<'static, 'static>, is_staged: bool, buffer: DumbBuffer },
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
        // The CPU reads the buffer slowly, as video memory, or write-combined. Blending reads.
        let is_staged = fd.capability(DriverCapability::DumbPreferShadow).is_ok_and(|prefers| prefers == 1);
        let image = if is_staged { staged_image(&buffer) } else { pixman_image(&buffer) };
        Ok(Self::Dumb { image: image.map_err(io::Error::other)?, is_staged, buffer })
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

    /// Returns the image that pixman draws into.
    pub fn image(&mut self) -> Option<&mut pixman::Image<'static, 'static>> {
        match self {
            Self::Dumb { image, .. } | Self::Memory(image) => Some(image),
            Self::Gbm { .. } | Self::Copied { .. } => None,
        }
    }

    /// Copies areas of a staged image to its buffer. To be called after each change of the image.
    pub fn copy_staged(&mut self, areas: &[Rectangle<i32, Physical>]) {
        let Self::Dumb { image, is_staged: true, buffer } = self else { return };
        let (pitch, pixel) = (buffer.pitch(), buffer.pixel_bytes());
        let whole = Rectangle::from_size((image.width() as i32, image.height() as i32).into());
        for area in areas.iter().filter_map(|area| area.intersection(whole)) {
            let (left, length) = (area.loc.x as usize * pixel, area.size.w as usize * pixel);
            let (top, height) = (area.loc.y as usize, area.size.h as usize);
            let rows = pixels(image).chunks(image.stride()).skip(top).take(height);
            for (to, from) in buffer.pixels().chunks_mut(pitch).skip(top).zip(rows) {
                let range = left..left + length;
                if let (Some(to), Some(from)) = (to.get_mut(range.clone()), from.get(range)) {
                    to.copy_from_slice(from);
                }
            }
        }
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

fn pixman_format(buffer: &DumbBuffer) -> Result<pixman::FormatCode, String> {
    pixman::FormatCode::try_from(buffer.format())
        .map_err(|_| format!("pixman does not support {}", buffer.format()))
}

/// Returns an image like a buffer with memory of its own.
fn staged_image(buffer: &DumbBuffer) -> Result<pixman::Image<'static, 'static>, String> {
    let (width, height) = buffer.size();
    let image = pixman::Image::new(pixman_format(buffer)?, width as usize, height as usize, true);
    image.map_err(|_| "no memory for an image of this size".to_owned())
}

/// Returns a buffer as pixman's target. The image must not outlive the buffer.
fn pixman_image(buffer: &DumbBuffer) -> Result<pixman::Image<'static, 'static>, String> {
    let format = pixman_format(buffer)?;
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

    #[test]
    fn image_is_staged_if_the_driver_reads_slowly_and_areas_are_copied() {
        for (is_staged, format) in
            [(false, DrmFourcc::Xrgb8888), (true, DrmFourcc::Xrgb8888), (true, DrmFourcc::Rgb565)]
        {
            let fake = geom_kms::fake::FakeDevice::new();
            fake.set_prefers_shadow(is_staged);
            let mut drawable = Drawable::dumb(&fake.open(), (5, 4), format).expect("a buffer");
            let image = drawable.image().expect("an image");
            let length = image.stride() * image.height();
            // SAFETY: pixman allocated stride * height bytes.
            unsafe { image.data().cast::<u8>().write_bytes(1, length) };
            let outside = Rectangle::new((4, 3).into(), (9, 9).into());
            drawable.copy_staged(&[Rectangle::new((1, 2).into(), (3, 1).into()), outside]);
            let Drawable::Dumb { buffer, .. } = &mut drawable else { panic!("a dumb buffer") };
            let (pitch, pixel) = (buffer.pitch(), buffer.pixel_bytes());
            let is_set = |x: usize, y: usize, pixels: &[u8]| pixels[y * pitch + x * pixel] == 1;
            let pixels = buffer.pixels();
            let set: Vec<(usize, usize)> = (0..20)
                .map(|number| (number % 5, number / 5))
                .filter(|(x, y)| is_set(*x, *y, pixels))
                .collect();
            match is_staged {
                true => assert_eq!(set, [(1, 2), (2, 2), (3, 2), (4, 3)], "{format}"),
                false => assert_eq!(set.len(), 20, "drawn into the buffer"),
            }
        }
    }
}
