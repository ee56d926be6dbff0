//! Dumb buffers: mapped memory that every driver scans out.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use drm::buffer::{DrmFourcc, Handle};
use rustix::mm::{madvise, mmap, munmap, Advice, MapFlags, ProtFlags};

use crate::drm_fd::DrmFd;
use crate::framebuffer::{Framebuffer, FramebufferLayout};

/// Mapped memory of a buffer. Unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    start: *mut u8,
    length: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    pub(crate) fn new(
        fd: BorrowedFd<'_>,
        offset: u64,
        length: usize,
        access: ProtFlags,
        flags: MapFlags,
    ) -> io::Result<Self> {
        // SAFETY: a new mapping at an address that the kernel chooses aliases no other memory.
        let start = unsafe { mmap(std::ptr::null_mut(), length, access, flags, fd, offset)? };
        Ok(Self { start: start.cast(), length })
    }

    pub(crate) fn start(&self) -> *mut u8 {
        self.start
    }

    /// Maps all pages with one system call. Fails on kernels before 5.14, which map each page with
    /// a page fault when it is first read.
    pub(crate) fn populate(&self) {
        // SAFETY: the range is exactly this mapping.
        let _ = unsafe { madvise(self.start.cast(), self.length, Advice::LinuxPopulateRead) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and unmapped nowhere else.
        let _ = unsafe { munmap(self.start.cast(), self.length) };
    }
}

/// A mapped buffer of one plane with a framebuffer, for the software renderer and for cursors.
///
/// Drivers without a GPU scan out nothing else, and its memory needs no synchronization calls.
#[derive(Debug)]
pub struct DumbBuffer {
    fd: DrmFd,
    handle: Handle,
    mapping: Mapping,
    size: (u32, u32),
    pitch: u32,
    format: DrmFourcc,
    framebuffer: Arc<Framebuffer>,
}

/// Returns the bits per pixel of a format of our own buffers.
fn bits_per_pixel(format: DrmFourcc) -> u32 {
    match format {
        DrmFourcc::Rgb565 => 16,
        _ => 32,
    }
}

impl DumbBuffer {
    /// Allocates a buffer of `size` pixels in a format of 32 or, as RGB565, 16 bits per pixel.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error: no memory, or a format that the driver cannot scan out.
    pub fn new(fd: &DrmFd, size: (u32, u32), format: DrmFourcc) -> io::Result<Self> {
        let info = fd.create_dumb(size, bits_per_pixel(format))?;
        let layout = FramebufferLayout::single_plane(size, format, info.handle, info.pitch, 0);
        let parts = Framebuffer::new_or_legacy(fd, &layout)
            .and_then(|framebuffer| Ok((framebuffer, fd.map_dumb(info.handle, info.length, true)?)));
        match parts {
            Ok((framebuffer, mapping)) => Ok(Self {
                fd: fd.clone(),
                handle: info.handle,
                mapping,
                size,
                pitch: info.pitch,
                format,
                framebuffer: Arc::new(framebuffer),
            }),
            Err(error) => {
                let _ = fd.destroy_dumb(info.handle);
                Err(error)
            }
        }
    }

    /// Returns its GEM handle, which is closed when the buffer is dropped.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Returns its framebuffer.
    pub fn framebuffer(&self) -> &Arc<Framebuffer> {
        &self.framebuffer
    }

    /// Returns width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    /// Returns the bytes from one row to the next.
    pub fn pitch(&self) -> usize {
        self.pitch as usize
    }

    /// Returns the bytes of a pixel.
    pub fn pixel_bytes(&self) -> usize {
        bits_per_pixel(self.format) as usize / 8
    }

    /// Returns the pixel format.
    pub fn format(&self) -> DrmFourcc {
        self.format
    }

    /// Returns the address of the first pixel: at least pitch times height bytes, until the buffer
    /// is dropped.
    pub fn data(&self) -> *mut u8 {
        self.mapping.start
    }

    /// Returns the pixels, row by row with [`DumbBuffer::pitch`] bytes each.
    pub fn pixels(&mut self) -> &mut [u8] {
        // SAFETY: `length` bytes are mapped until drop, and `self` is borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.start, self.mapping.length) }
    }
}

impl Drop for DumbBuffer {
    fn drop(&mut self) {
        let _ = self.fd.destroy_dumb(self.handle);
    }
}
