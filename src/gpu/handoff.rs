//! The picture that a CRTC shows already when we come: a boot splash, or what the run before us showed last.
//!
//! Source: include/uapi/drm/drm_mode.h (GETFB2 gives handles to the master only; MAP_DUMB maps what a driver without a GPU, or a splash,
//! draws into).

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use drm::buffer::{DrmFourcc, DrmModifier, Handle};
use drm::control::{framebuffer, Device as ControlDevice, FbCmd2Flags, Mode as KmsMode};
use rustix::mm::{madvise, mmap, munmap, Advice, MapFlags, ProtFlags};

use super::buffer::SinglePlane;
use super::drm_fd::{DrmFd, Framebuffer};
use super::device::{same_timing, Gpu};

/// What a CRTC shows, by a framebuffer of our own on its maker's memory: opaque pixels, four bytes each as in `XRGB8888`.
#[derive(Debug)]
pub struct Inherited {
    /// As large as the mode.
    pub size: (u32, u32),
    pub framebuffer: Arc<Framebuffer>,
    map: *mut u8,
    length: usize,
    /// Where the first row begins, and bytes from one row to the next.
    first: usize,
    pitch: usize,
}

impl Gpu {
    /// What a CRTC shows, where it does so in this mode and by this display; none where there is nothing, or nothing that can be read.
    ///
    /// # Errors
    /// The kernel's.
    pub fn inherited(&self, display: &str, crtc: usize, mode: &KmsMode) -> io::Result<Option<Inherited>> {
        let driven = self.objects.connector(display).and_then(|connector| connector.driven_by);
        let Some(crtc) = self.objects.crtcs.get(crtc).filter(|_| driven == Some(crtc)) else {
            return Ok(None);
        };
        let info = self.card.get_crtc(crtc.handle)?;
        let same = info.mode().is_some_and(|shown| same_timing(&shown, mode));
        let Some(framebuffer) = info.framebuffer().filter(|_| same) else { return Ok(None) };
        let (width, height) = mode.size();
        share(&self.card, framebuffer, info.position(), (width.into(), height.into()))
    }
}

/// A part of a framebuffer, where it is of plain pixels.
fn share(
    card: &DrmFd,
    framebuffer: framebuffer::Handle,
    (left, top): (u32, u32),
    size: (u32, u32),
) -> io::Result<Option<Inherited>> {
    let info = card.get_planar_framebuffer(framebuffer).map_err(io::Error::other)?;
    let handles = info.buffers();
    let plain = matches!(info.pixel_format(), DrmFourcc::Xrgb8888 | DrmFourcc::Argb8888)
        && info.modifier().is_none_or(|modifier| modifier == DrmModifier::Linear);
    let inside =
        |from: u32, length: u32, whole: u32| from.checked_add(length).is_some_and(|end| end <= whole);
    let fits = inside(left, size.0, info.size().0) && inside(top, size.1, info.size().1);
    let shared = match handles[0] {
        Some(handle) if plain && fits => {
            let pitch = info.pitches()[0];
            let offset = info.offsets()[0] + top * pitch + left * 4;
            Inherited::new(card, handle, size, pitch, offset).map(Some)
        }
        _ => Ok(None),
    };
    // They are ours, and the framebuffer and the mapping hold the memory.
    let mut closed = Vec::new();
    for handle in handles.into_iter().flatten() {
        if !closed.contains(&handle) {
            let _ = card.close_buffer(handle);
            closed.push(handle);
        }
    }
    shared
}

impl Inherited {
    fn new(card: &DrmFd, handle: Handle, size: (u32, u32), pitch: u32, offset: u32) -> io::Result<Self> {
        let plane = SinglePlane { size, format: DrmFourcc::Xrgb8888, pitch, offset, handle };
        let made = card.add_planar_framebuffer(&plane, FbCmd2Flags::empty())?;
        let framebuffer = Arc::new(Framebuffer::new(card, made));
        let (first, pitch) = (offset as usize, pitch as usize);
        // The kernel has checked that a framebuffer's rows lie in its buffer (drm_gem_fb_init_with_funcs()).
        let length = first + pitch * (size.1 as usize).saturating_sub(1) + size.0 as usize * 4;
        let place = drm_ffi::mode::dumbbuffer::map(card.as_fd(), handle.into(), 0, 0)?.offset;
        let (read, shared) = (ProtFlags::READ, MapFlags::SHARED);
        // SAFETY: a new mapping that nothing else knows.
        let map = unsafe { mmap(std::ptr::null_mut(), length, read, shared, card.as_fd(), place)? };
        Ok(Self { size, framebuffer, map: map.cast(), length, first, pitch })
    }

    /// Copies its rows, without gaps, as far as there is room for them.
    pub fn copy_to(&self, pixels: &mut [u8]) {
        // All of it is read: a fault for each page would cost more than that. Older kernels than 5.14 have the faults.
        // SAFETY: the whole mapping, which is ours.
        let _ = unsafe { madvise(self.map.cast(), self.length, Advice::LinuxPopulateRead) };
        let row = self.size.0 as usize * 4;
        for (index, to) in pixels.chunks_exact_mut(row.max(1)).take(self.size.1 as usize).enumerate() {
            // SAFETY: the mapping covers the last row's end. Others may draw meanwhile: raw pointers, no reference.
            unsafe {
                let from = self.map.add(self.first + index * self.pitch);
                std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), row);
            }
        }
    }
}

impl Drop for Inherited {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, unmapped nowhere else.
        let _ = unsafe { munmap(self.map.cast(), self.length) };
    }
}
