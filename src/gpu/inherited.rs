//! The picture that a CRTC shows already when we come: a boot splash, or what the run before us showed last.
//!
//! Source: include/uapi/drm/drm_mode.h (GETFB2 gives handles to the master only; MAP_DUMB maps what a driver without a GPU, or a splash,
//! draws into).

use std::io;
use std::os::fd::AsFd;

use drm::buffer::{DrmFourcc, DrmModifier};
use drm::control::{framebuffer, Device as ControlDevice, Mode as KmsMode};
use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};

use super::card::Card;
use super::device::{same_timing, Gpu};

/// A part of what a CRTC shows, mapped: opaque pixels, four bytes each as in `XRGB8888`.
#[derive(Debug)]
pub struct Inherited {
    pub size: (u32, u32),
    map: *mut u8,
    length: usize,
    /// Where the first row begins, and bytes from one row to the next.
    first: usize,
    pitch: usize,
}

impl Inherited {
    /// Copies its rows, without gaps, as far as there is room for them.
    pub fn copy_to(&self, pixels: &mut [u8]) {
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
        // SAFETY: mapped by `map`, unmapped nowhere else.
        let _ = unsafe { munmap(self.map.cast(), self.length) };
    }
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
        read(&self.card, framebuffer, info.position(), (width.into(), height.into()))
    }
}

/// A part of a framebuffer, where it is of plain pixels.
fn read(
    card: &Card,
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
    let picture = match handles[0] {
        Some(handle) if plain && fits => {
            let (pitch, offset) = (info.pitches()[0] as usize, info.offsets()[0] as usize);
            let from = offset + top as usize * pitch + left as usize * 4;
            map(card, handle.into(), from, pitch, size).map(Some)
        }
        _ => Ok(None),
    };
    // They are ours, and the buffer is its maker's.
    let mut closed = Vec::new();
    for handle in handles.into_iter().flatten() {
        if !closed.contains(&handle) {
            let _ = card.close_buffer(handle);
            closed.push(handle);
        }
    }
    picture
}

fn map(card: &Card, handle: u32, first: usize, pitch: usize, size: (u32, u32)) -> io::Result<Inherited> {
    // The kernel has checked that a framebuffer's rows lie in its buffer (drm_gem_fb_init_with_funcs()).
    let length = first + pitch * (size.1 as usize).saturating_sub(1) + size.0 as usize * 4;
    let place = drm_ffi::mode::dumbbuffer::map(card.as_fd(), handle, 0, 0)?.offset;
    // All of it is read once: a fault for each page costs more than that.
    let flags = MapFlags::SHARED | MapFlags::POPULATE;
    // SAFETY: a new mapping that nothing else knows.
    let map = unsafe { mmap(std::ptr::null_mut(), length, ProtFlags::READ, flags, card.as_fd(), place)? };
    Ok(Inherited { size, map: map.cast(), length, first, pitch })
}
