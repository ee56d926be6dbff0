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

/// A picture of opaque pixels, four bytes each as in `XRGB8888`, rows without gaps.
#[derive(Debug)]
pub struct Inherited {
    pub size: (u32, u32),
    pub pixels: Vec<u8>,
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
            copy(card, raw_handle(handle), from, pitch, size).map(Some)
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

fn raw_handle(handle: drm::buffer::Handle) -> u32 {
    handle.into()
}

fn copy(card: &Card, handle: u32, from: usize, pitch: usize, size: (u32, u32)) -> io::Result<Inherited> {
    let (row, rows) = (size.0 as usize * 4, size.1 as usize);
    // The kernel has checked that a framebuffer's rows lie in its buffer (drm_gem_fb_init_with_funcs()).
    let length = from + pitch * rows.saturating_sub(1) + row;
    let place = drm_ffi::mode::dumbbuffer::map(card.as_fd(), handle, 0, 0)?.offset;
    // SAFETY: a new mapping that nothing else knows, read below and unmapped.
    let map = unsafe {
        mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, card.as_fd(), place)?
    };
    let mut pixels = vec![0; row * rows];
    for (index, to) in pixels.chunks_exact_mut(row.max(1)).enumerate() {
        // SAFETY: `length` covers the last row's end. Others may draw meanwhile: raw pointers, no reference.
        unsafe {
            std::ptr::copy_nonoverlapping(map.cast::<u8>().add(from + index * pitch), to.as_mut_ptr(), row)
        };
    }
    // SAFETY: mapped above.
    unsafe { munmap(map, length)? };
    Ok(Inherited { size, pixels })
}
