//! Framebuffers: memory that a plane can scan out.

use std::io;
use std::os::fd::BorrowedFd;

use drm::buffer::{DrmFourcc, DrmModifier, Handle};
use drm::control::framebuffer;

use crate::calls::DrmCalls;
use crate::drm_fd::DrmFd;

/// A framebuffer. Removed when dropped.
#[derive(Debug)]
pub struct Framebuffer {
    fd: DrmFd,
    handle: framebuffer::Handle,
}

impl Framebuffer {
    /// Creates a framebuffer. The kernel keeps the memory; the GEM handles may be closed afterward.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error: the driver cannot scan out this layout.
    pub fn new(fd: &DrmFd, layout: &FramebufferLayout) -> io::Result<Self> {
        Ok(Self { fd: fd.clone(), handle: fd.add_framebuffer(layout)? })
    }

    /// As [`Framebuffer::new`]; if the driver knows only ADDFB, by that call.
    ///
    /// # Errors
    ///
    /// As [`Framebuffer::new`].
    pub(crate) fn new_or_legacy(fd: &DrmFd, layout: &FramebufferLayout) -> io::Result<Self> {
        let handle = fd.add_framebuffer(layout).or_else(|error| match layout.format {
            DrmFourcc::Xrgb8888 => fd.add_framebuffer_legacy(layout),
            _ => Err(error),
        })?;
        Ok(Self { fd: fd.clone(), handle })
    }

    /// Returns its handle.
    pub fn handle(&self) -> framebuffer::Handle {
        self.handle
    }
}

impl Drop for Framebuffer {
    fn drop(&mut self) {
        // Fails only if the device is gone, and the framebuffer with it.
        let _ = self.fd.remove_framebuffer(self.handle);
    }
}

/// The layout of a framebuffer in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FramebufferLayout {
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Pixel format.
    pub format: DrmFourcc,
    /// Modifier of all planes. `None` leaves it to the driver (an implicit modifier).
    pub modifier: Option<DrmModifier>,
    /// Bytes from one row to the next, for each plane.
    pub pitches: [u32; 4],
    /// Offset of the first row in bytes, for each plane.
    pub offsets: [u32; 4],
    /// GEM handle of each plane's memory.
    pub handles: [Option<Handle>; 4],
}

impl FramebufferLayout {
    /// Returns the layout of a buffer with one plane and an implicit modifier.
    pub fn single_plane(
        size: (u32, u32),
        format: DrmFourcc,
        handle: Handle,
        pitch: u32,
        offset: u32,
    ) -> Self {
        Self {
            size,
            format,
            modifier: None,
            pitches: [pitch, 0, 0, 0],
            offsets: [offset, 0, 0, 0],
            handles: [Some(handle), None, None, None],
        }
    }

    /// Closes the GEM handles, each once: planes in the same memory share a handle.
    pub(crate) fn close_handles(&self, calls: &dyn DrmCalls) {
        for (index, handle) in self.handles.iter().enumerate() {
            if let Some(handle) = handle.filter(|_| !self.handles[..index].contains(handle)) {
                let _ = calls.close_buffer(handle);
            }
        }
    }
}

/// Returns the format without alpha and with the same layout; nothing lies below a primary plane.
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

/// Creates an opaque framebuffer on a client's dma-buf, for direct scanout.
///
/// `planes` are the descriptor, the pitch and the offset of each plane, in bytes; at most four
/// count.
///
/// # Errors
///
/// Returns the kernel's error: the memory cannot be scanned out.
pub fn import<'a>(
    fd: &DrmFd,
    size: (u32, u32),
    format: DrmFourcc,
    modifier: DrmModifier,
    planes: impl Iterator<Item = (BorrowedFd<'a>, u32, u32)>,
) -> io::Result<Framebuffer> {
    let mut layout = FramebufferLayout {
        size,
        format: opaque(format),
        modifier: Some(modifier).filter(|modifier| *modifier != DrmModifier::Invalid),
        pitches: [0; 4],
        offsets: [0; 4],
        handles: [None; 4],
    };
    let mut result = Ok(());
    for (index, (plane, pitch, offset)) in planes.take(4).enumerate() {
        match fd.import_dmabuf(plane) {
            Ok(handle) => {
                layout.handles[index] = Some(handle);
                (layout.pitches[index], layout.offsets[index]) = (pitch, offset);
            }
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    let framebuffer = result.and_then(|()| Framebuffer::new(fd, &layout));
    // The framebuffer holds the memory; open handles would leak.
    layout.close_handles(&**fd);
    framebuffer
}
