//! Memory that a CRTC can show.

use std::io;
use std::sync::Arc;

use drm::buffer::{Buffer as _, DrmFourcc, DrmModifier, Handle, PlanarBuffer};
use drm::control::{dumbbuffer::DumbBuffer, Device as ControlDevice, FbCmd2Flags};
use smithay::backend::allocator::dmabuf::{AsDmabuf, Dmabuf};
use smithay::backend::allocator::gbm::GbmBuffer;
use smithay::backend::allocator::Buffer as _;
use smithay::reexports::pixman;
use smithay::utils::{Buffer as BufferSpace, Size};

use super::drm_fd::{DrmFd, Framebuffer};

/// A dumb buffer in our memory, for the software renderer and for cursors.
///
/// Drivers without a GPU scan out nothing else, and the mapping needs no synchronisation calls.
pub struct Dumb {
    card: DrmFd,
    buffer: DumbBuffer,
    map: *mut u8,
    length: usize,
    pub framebuffer: Arc<Framebuffer>,
}

impl Dumb {
    pub fn new(card: &DrmFd, size: (u32, u32), format: DrmFourcc) -> io::Result<Self> {
        let mut buffer = card.create_dumb_buffer(size, format, 32)?;
        let made = Self::map(card, &mut buffer);
        match made {
            Ok((map, length, framebuffer)) => {
                Ok(Self { card: card.clone(), buffer, map, length, framebuffer })
            }
            Err(error) => {
                let _ = card.destroy_dumb_buffer(buffer);
                Err(error)
            }
        }
    }

    fn map(card: &DrmFd, buffer: &mut DumbBuffer) -> io::Result<(*mut u8, usize, Arc<Framebuffer>)> {
        let single = SinglePlane {
            size: buffer.size(),
            format: buffer.format(),
            pitch: buffer.pitch(),
            offset: 0,
            handle: buffer.handle(),
        };
        let handle = card.add_planar_framebuffer(&single, FbCmd2Flags::empty()).or_else(|error| {
            // Old drivers know only ADDFB, by depth.
            let depth = if buffer.format() == DrmFourcc::Xrgb8888 { 24 } else { return Err(error) };
            card.add_framebuffer(buffer, depth, 32)
        })?;
        let framebuffer = Arc::new(Framebuffer::new(card, handle));
        let mut mapping = card.map_dumb_buffer(buffer)?;
        let (map, length) = (mapping.as_mut_ptr(), mapping.len());
        // The mapping lives as long as `Dumb`, which unmaps it; a borrow can't say so.
        std::mem::forget(mapping);
        Ok((map, length, framebuffer))
    }

    /// Bytes from one row to the next.
    pub fn pitch(&self) -> usize {
        self.buffer.pitch() as usize
    }

    pub fn pixels(&mut self) -> &mut [u8] {
        // SAFETY: `map` points at `length` mapped bytes until drop, and `self` is borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.map, self.length) }
    }

    /// The buffer as the software renderer's target. The image must not outlive the buffer.
    fn image(&self) -> Result<pixman::Image<'static, 'static>, String> {
        let format =
            pixman::FormatCode::try_from(self.buffer.format()).map_err(|_| "pixel format".to_owned())?;
        let (width, height) = self.buffer.size();
        // SAFETY: the mapping covers pitch * height bytes, and `Drawable` drops the image first.
        unsafe {
            pixman::Image::from_raw_mut(
                format,
                width as usize,
                height as usize,
                self.map.cast(),
                self.pitch(),
                false,
            )
        }
        .map_err(|_| "pixman takes no image of this size".to_owned())
    }
}

impl Drop for Dumb {
    fn drop(&mut self) {
        // SAFETY: mapped by `map_dumb_buffer`, unmapped nowhere else.
        let _ = unsafe { rustix::mm::munmap(self.map.cast(), self.length) };
        let _ = self.card.destroy_dumb_buffer(self.buffer);
    }
}

/// A buffer with one plane of memory.
pub(super) struct SinglePlane {
    pub size: (u32, u32),
    pub format: DrmFourcc,
    pub pitch: u32,
    pub offset: u32,
    pub handle: Handle,
}

impl PlanarBuffer for SinglePlane {
    fn size(&self) -> (u32, u32) {
        self.size
    }
    fn format(&self) -> DrmFourcc {
        self.format
    }
    fn modifier(&self) -> Option<DrmModifier> {
        None
    }
    fn pitches(&self) -> [u32; 4] {
        [self.pitch, 0, 0, 0]
    }
    fn handles(&self) -> [Option<Handle>; 4] {
        [Some(self.handle), None, None, None]
    }
    fn offsets(&self) -> [u32; 4] {
        [self.offset, 0, 0, 0]
    }
}

/// What one frame is drawn into.
pub enum Drawable {
    /// The image points into the buffer and comes first, so that it is dropped first.
    Dumb {
        image: pixman::Image<'static, 'static>,
        buffer: Dumb,
    },
    Gbm {
        dmabuf: Dmabuf,
        framebuffer: Arc<Framebuffer>,
        _bo: GbmBuffer,
    },
    /// A virtual display's.
    Memory(pixman::Image<'static, 'static>),
}

impl Drawable {
    pub fn dumb(card: &DrmFd, size: (u32, u32), format: DrmFourcc) -> io::Result<Self> {
        let buffer = Dumb::new(card, size, format)?;
        let image = buffer.image().map_err(io::Error::other)?;
        Ok(Self::Dumb { image, buffer })
    }

    pub fn gbm(card: &DrmFd, bo: GbmBuffer) -> io::Result<Self> {
        let flags = match smithay::backend::allocator::Buffer::format(&bo).modifier {
            DrmModifier::Invalid => FbCmd2Flags::empty(),
            _ => FbCmd2Flags::MODIFIERS,
        };
        let handle = card.add_planar_framebuffer(&Opaque(&bo), flags)?;
        let framebuffer = Arc::new(Framebuffer::new(card, handle));
        let dmabuf = bo.export().map_err(io::Error::other)?;
        Ok(Self::Gbm { dmabuf, framebuffer, _bo: bo })
    }

    pub fn memory(size: (u32, u32)) -> io::Result<Self> {
        pixman::Image::new(pixman::FormatCode::X8R8G8B8, size.0 as usize, size.1 as usize, true)
            .map(Self::Memory)
            .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))
    }

    /// None for what no CRTC shows.
    pub fn framebuffer(&self) -> Option<&Arc<Framebuffer>> {
        match self {
            Self::Dumb { buffer, .. } => Some(&buffer.framebuffer),
            Self::Gbm { framebuffer, .. } => Some(framebuffer),
            Self::Memory(_) => None,
        }
    }
}

/// Shows a buffer without its alpha channel: nothing lies below a primary plane.
struct Opaque<'a>(&'a GbmBuffer);

impl PlanarBuffer for Opaque<'_> {
    fn size(&self) -> (u32, u32) {
        PlanarBuffer::size(self.0)
    }
    fn format(&self) -> DrmFourcc {
        opaque(PlanarBuffer::format(self.0))
    }
    fn modifier(&self) -> Option<DrmModifier> {
        Some(smithay::backend::allocator::Buffer::format(self.0).modifier)
            .filter(|modifier| *modifier != DrmModifier::Invalid)
    }
    fn pitches(&self) -> [u32; 4] {
        PlanarBuffer::pitches(self.0)
    }
    fn handles(&self) -> [Option<Handle>; 4] {
        PlanarBuffer::handles(self.0)
    }
    fn offsets(&self) -> [u32; 4] {
        PlanarBuffer::offsets(self.0)
    }
}

/// The format without alpha of the same layout.
pub fn opaque(format: DrmFourcc) -> DrmFourcc {
    match format {
        DrmFourcc::Argb8888 => DrmFourcc::Xrgb8888,
        DrmFourcc::Abgr8888 => DrmFourcc::Xbgr8888,
        DrmFourcc::Rgba8888 => DrmFourcc::Rgbx8888,
        DrmFourcc::Bgra8888 => DrmFourcc::Bgrx8888,
        DrmFourcc::Argb2101010 => DrmFourcc::Xrgb2101010,
        DrmFourcc::Abgr2101010 => DrmFourcc::Xbgr2101010,
        other => other,
    }
}

/// A client's buffer as a framebuffer, for direct scanout.
pub fn import(card: &DrmFd, dmabuf: &Dmabuf) -> io::Result<Framebuffer> {
    let mut planes = ClientPlanes {
        size: dmabuf.size(),
        format: opaque(dmabuf.format().code),
        modifier: dmabuf.format().modifier,
        pitches: [0; 4],
        offsets: [0; 4],
        handles: [None; 4],
    };
    let mut opened: Vec<Handle> = Vec::new();
    let mut add = || {
        let layout = dmabuf.handles().zip(dmabuf.strides().zip(dmabuf.offsets())).take(4).enumerate();
        for (index, (fd, (pitch, offset))) in layout {
            let handle = card.prime_fd_to_buffer(fd)?;
            // Planes in one buffer share its handle, which is closed once.
            if !opened.contains(&handle) {
                opened.push(handle);
            }
            (planes.handles[index], planes.pitches[index], planes.offsets[index]) =
                (Some(handle), pitch, offset);
        }
        card.add_planar_framebuffer(&planes, FbCmd2Flags::MODIFIERS)
    };
    let handle = add();
    // The framebuffer holds the memory; the handles would leak.
    for handle in opened {
        let _ = card.close_buffer(handle);
    }
    handle.map(|handle| Framebuffer::new(card, handle))
}

struct ClientPlanes {
    size: Size<i32, BufferSpace>,
    format: DrmFourcc,
    modifier: DrmModifier,
    pitches: [u32; 4],
    offsets: [u32; 4],
    handles: [Option<Handle>; 4],
}

impl PlanarBuffer for ClientPlanes {
    fn size(&self) -> (u32, u32) {
        (self.size.w.unsigned_abs(), self.size.h.unsigned_abs())
    }
    fn format(&self) -> DrmFourcc {
        self.format
    }
    fn modifier(&self) -> Option<DrmModifier> {
        Some(self.modifier)
    }
    fn pitches(&self) -> [u32; 4] {
        self.pitches
    }
    fn handles(&self) -> [Option<Handle>; 4] {
        self.handles
    }
    fn offsets(&self) -> [u32; 4] {
        self.offsets
    }
}
