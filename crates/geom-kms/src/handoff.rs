//! Handoff: the image that the previous DRM master left on a CRTC, a boot splash or that of the
//! previous run, and what the next one finds.
//!
//! Source: include/uapi/drm/drm_mode.h. GETFB2 returns handles to the DRM master only; MAP_DUMB
//! maps what a driver without a GPU, or a boot splash, renders into.

use std::io;
use std::sync::Arc;

use drm::buffer::{DrmFourcc, DrmModifier, Handle};
use drm::control::Mode as KmsMode;
use geom_display::signal_format::SignalFormat;
use tracing::{debug, warn};

use crate::color_luts::CrtcColor;
use crate::commit::{self, CrtcSetup};
use crate::device::{CrtcState, Device};
use crate::drm_fd::DrmFd;
use crate::dumb::Mapping;
use crate::framebuffer::{Framebuffer, FramebufferLayout};
use crate::modes::same_timing;

/// The image on a CRTC: a framebuffer of ours on its owner's memory, with opaque pixels of four
/// bytes as in XRGB8888.
#[derive(Debug)]
pub struct InheritedFramebuffer {
    size: (u32, u32),
    framebuffer: Arc<Framebuffer>,
    mapping: Mapping,
    /// Offset of the first row, and bytes from one row to the next.
    first: usize,
    pitch: usize,
}

impl Device {
    /// Returns the image of a CRTC if it drives this output with this mode. `None` if it does not,
    /// or the image cannot be read: another pixel format, or tiled memory.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn inherited_framebuffer(
        &self,
        output: &str,
        crtc: usize,
        mode: &KmsMode,
    ) -> io::Result<Option<InheritedFramebuffer>> {
        let current = self.connector(output).and_then(|connector| connector.current_crtc);
        let Some(entry) = self.objects.crtcs.get(crtc).filter(|_| current == Some(crtc)) else {
            return Ok(None);
        };
        let info = self.fd.crtc(entry.handle)?;
        let is_same = info.mode.is_some_and(|current| same_timing(&current, mode));
        let Some(framebuffer) = info.framebuffer.filter(|_| is_same) else { return Ok(None) };
        let (width, height) = mode.size();
        let layout = self.fd.framebuffer(framebuffer)?;
        let inherited = share(&self.fd, &layout, info.position, (width.into(), height.into()));
        // The handles are ours; framebuffer and mapping hold the memory.
        layout.close_handles(&*self.fd);
        inherited
    }

    /// Resets color and signal properties, which the next DRM master's image would have otherwise.
    /// Called while we still are DRM master. `max bpc` is kept, as changing it forces a full
    /// modeset.
    pub fn reset_color_state(&mut self) {
        for (crtc, state) in &self.crtc_states {
            let has_gamma = self.color.get(&state.output).is_some_and(|color| color.gamma.is_some());
            if let Err(error) = if has_gamma { self.set_legacy_gamma(*crtc, None) } else { Ok(()) } {
                debug!(display = state.output, %error, "cannot reset the gamma LUT");
            }
        }
        let default =
            |signal: &SignalFormat| SignalFormat { bit_depth: signal.bit_depth, ..SignalFormat::default() };
        let is_default = |state: &CrtcState| {
            state.setup.signal == default(&state.setup.signal) && state.setup.color == CrtcColor::default()
        };
        if !self.is_atomic || self.crtc_states.values().all(is_default) {
            return;
        }
        let leased = (0..self.objects.crtcs.len()).filter(|crtc| self.is_leased(*crtc));
        let unchanged = self.crtc_states.iter().filter(|(_, state)| is_default(state)).map(|(crtc, _)| *crtc);
        let untouched: Vec<usize> = unchanged.chain(leased).collect();
        let setups = self.crtc_states.values().map(|state| CrtcSetup {
            signal: default(&state.setup.signal),
            color: CrtcColor::default(),
            ..state.setup.clone()
        });
        let setups: Vec<CrtcSetup> = setups.collect();
        let gpu = self.path.display();
        match commit::modeset(&self.fd, &self.objects, &setups, &untouched, false) {
            Ok(()) => {
                for state in self.crtc_states.values_mut() {
                    state.setup.signal = default(&state.setup.signal);
                    state.setup.color = CrtcColor::default();
                }
                debug!(%gpu, "color properties reset");
            }
            Err(error) => {
                warn!(%gpu, %error, "cannot reset color properties; the next program's colors may be wrong");
            }
        }
    }
}

/// Shares a part of a framebuffer, if its pixels can be read.
fn share(
    fd: &DrmFd,
    layout: &FramebufferLayout,
    (left, top): (u32, u32),
    size: (u32, u32),
) -> io::Result<Option<InheritedFramebuffer>> {
    let is_readable = matches!(layout.format, DrmFourcc::Xrgb8888 | DrmFourcc::Argb8888)
        && layout.modifier.is_none_or(|modifier| modifier == DrmModifier::Linear);
    let inside =
        |from: u32, length: u32, whole: u32| from.checked_add(length).is_some_and(|end| end <= whole);
    let fits = inside(left, size.0, layout.size.0) && inside(top, size.1, layout.size.1);
    match layout.handles[0] {
        Some(handle) if is_readable && fits => {
            let pitch = layout.pitches[0];
            let offset = top.checked_mul(pitch).zip(left.checked_mul(4));
            let offset =
                offset.and_then(|(rows, pixels)| layout.offsets[0].checked_add(rows)?.checked_add(pixels));
            let offset = offset.ok_or(io::ErrorKind::InvalidData)?;
            InheritedFramebuffer::new(fd, handle, size, pitch, offset).map(Some)
        }
        _ => Ok(None),
    }
}

impl InheritedFramebuffer {
    fn new(fd: &DrmFd, handle: Handle, size: (u32, u32), pitch: u32, offset: u32) -> io::Result<Self> {
        let layout = FramebufferLayout::single_plane(size, DrmFourcc::Xrgb8888, handle, pitch, offset);
        let framebuffer = Arc::new(Framebuffer::new(fd, &layout)?);
        let (first, pitch) = (offset as usize, pitch as usize);
        // The kernel has checked that the framebuffer lies in the buffer
        // (drm_gem_fb_init_with_funcs()).
        let length = first + pitch * (size.1 as usize).saturating_sub(1) + size.0 as usize * 4;
        let mapping = fd.map_dumb(handle, length, false)?;
        Ok(Self { size, framebuffer, mapping, first, pitch })
    }

    /// Returns width and height in pixels, which are those of the mode.
    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    /// Returns the framebuffer.
    pub fn framebuffer(&self) -> &Arc<Framebuffer> {
        &self.framebuffer
    }

    /// Copies its rows into `pixels` without padding, as many as fit.
    pub fn copy_to(&self, pixels: &mut [u8]) {
        // All of it is read: a page fault for each page would cost more than mapping all.
        self.mapping.populate();
        let row = self.size.0 as usize * 4;
        for (index, to) in pixels.chunks_exact_mut(row.max(1)).take(self.size.1 as usize).enumerate() {
            // SAFETY: the mapping covers the end of the last row. Its owner may render meanwhile,
            // so it is read by raw pointers and never borrowed.
            unsafe {
                let from = self.mapping.start().add(self.first + index * self.pitch);
                std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), row);
            }
        }
    }
}
