//! What a driver's own check refuses, and other facts that differ between devices.

use std::collections::{BTreeMap, BTreeSet};

use drm::buffer::DrmModifier;
use drm::control::connector::Interface;
use rustix::io::Errno;

use super::state::{choices, Kind, Object, State, Values};
use super::FakeDevice;
use crate::framebuffer::FramebufferLayout;
use crate::objects::PlaneKind;

/// Limits of a device; none by default.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pixels_per_second: Option<u64>,
    tiled_planes: Option<usize>,
    active_crtcs: Option<usize>,
    /// Width and height in pixels, by id of the CRTC.
    mode_sizes: BTreeMap<u32, (u16, u16)>,
    /// Pixels of width, for framebuffers with these modifiers.
    widths: Vec<(Vec<DrmModifier>, u32)>,
    /// Planes that scan out linear buffers although their `IN_FORMATS` does not list them.
    pub unlisted_linear: BTreeSet<u32>,
    /// Atomic clients see no cursor planes, unless they place the hotspot.
    pub hides_cursor_planes: bool,
    /// Width and height of cursors in pixels.
    pub cursor_size: Option<(u32, u32)>,
    /// The CPU reads dumb buffers slowly.
    pub prefers_shadow: bool,
    /// GEM handles of the client.
    pub buffers: Option<usize>,
    /// How many buffers were refused because of that.
    pub refused_buffers: usize,
    /// Entries of the LUTs of CRTCs without the property `GAMMA_LUT`.
    pub gamma_length: usize,
}

impl FakeDevice {
    /// Refuses states that scan out more pixels per second than this, over all CRTCs, with ENOSPC.
    pub fn limit_bandwidth(&self, pixels_per_second: u64) {
        self.state().limits.pixels_per_second = Some(pixels_per_second);
    }

    /// Refuses states in which more planes than this scan out a buffer with an explicit modifier
    /// other than linear, with ENOSPC.
    pub fn limit_tiled_planes(&self, planes: usize) {
        self.state().limits.tiled_planes = Some(planes);
    }

    /// Refuses states with more active CRTCs than this, with EINVAL.
    pub fn limit_active_crtcs(&self, crtcs: usize) {
        self.state().limits.active_crtcs = Some(crtcs);
    }

    /// Refuses larger modes on a CRTC than this width and height in pixels, with EINVAL.
    pub fn limit_mode(&self, crtc: u32, size: (u16, u16)) {
        self.state().limits.mode_sizes.insert(crtc, size);
    }

    /// Refuses framebuffers with one of these modifiers that are wider than this, with EINVAL.
    pub fn limit_width(&self, modifiers: &[DrmModifier], width: u32) {
        self.state().limits.widths.push((modifiers.to_vec(), width));
    }

    /// Refuses dumb buffers while the client has this many, with ENOMEM; `None` for no limit.
    pub fn limit_buffers(&self, buffers: Option<usize>) {
        self.state().limits.buffers = buffers;
    }

    /// Returns how many buffers were refused by [`Self::limit_buffers`].
    pub fn refused_buffers(&self) -> usize {
        self.state().limits.refused_buffers
    }

    /// Sets the size of cursors in pixels; 64 x 64 by default.
    pub fn set_cursor_size(&self, size: (u32, u32)) {
        self.state().limits.cursor_size = Some(size);
    }

    /// Lists no cursor planes to atomic clients that do not place the hotspot, as drivers of
    /// virtual GPUs do since Linux 6.8 (drm_mode_getplane_res() in drm_plane.c).
    pub fn hide_cursor_planes(&self) {
        self.state().limits.hides_cursor_planes = true;
    }

    /// Sets whether the CPU reads dumb buffers slowly (`DRM_CAP_DUMB_PREFER_SHADOW`).
    pub fn set_prefers_shadow(&self, prefers: bool) {
        self.state().limits.prefers_shadow = prefers;
    }

    /// Sets the entries of the gamma LUTs that a call sets, of CRTCs without the property
    /// `GAMMA_LUT`; 0 by default.
    pub fn set_gamma_length(&self, entries: usize) {
        self.state().limits.gamma_length = entries;
    }

    /// Adds the property of a panel with one of its values.
    pub fn add_panel_orientation(&self, connector: u32, value: u64) {
        let values = choices(&["Normal", "Upside Down", "Left Side Up", "Right Side Up"]);
        self.state().add_property(connector, "panel orientation", values, value);
    }

    /// Adds the properties of a cursor's hotspot to a plane.
    pub fn add_hotspot(&self, plane: u32) {
        for name in ["HOTSPOT_X", "HOTSPOT_Y"] {
            self.state().add_property(plane, name, Kind::Range(0, u64::MAX), 0);
        }
    }

    /// Adds sizes of cursors that the driver prefers.
    pub fn add_size_hints(&self, plane: u32, sizes: &[(u16, u16)]) {
        let sides = sizes.iter().flat_map(|(width, height)| [*width, *height]);
        let mut state = self.state();
        let blob = state.add_blob(sides.flat_map(u16::to_ne_bytes).collect(), true);
        state.add_property(plane, "SIZE_HINTS", Kind::Blob(4), blob.into());
    }

    /// Makes a plane scan out linear buffers although its `IN_FORMATS` does not list them. The blob
    /// has what the driver lists, and the kernel asks the driver (drm_plane_has_format()).
    pub fn accept_unlisted_linear(&self, plane: u32) {
        self.state().limits.unlisted_linear.insert(plane);
    }

    /// Sets the mask of CRTCs that can use a plane. Some drivers set bits of CRTCs that do not
    /// exist.
    pub fn set_possible_crtcs(&self, plane: u32, mask: u32) {
        if let Some(Object::Plane { possible_crtcs, .. }) = self.state().objects.get_mut(&plane) {
            *possible_crtcs = mask;
        }
    }

    /// Gives an object a property of its own with this range in place of the one that objects
    /// share, and the minimum as its value.
    pub fn set_range(&self, object: u32, property: &str, range: (u64, u64), is_immutable: bool) {
        self.state().set_range(object, property, range, is_immutable);
    }

    /// Returns the type of a plane.
    pub fn plane_kind(&self, plane: u32) -> Option<PlaneKind> {
        match self.state().objects.get(&plane) {
            Some(Object::Plane { kind, .. }) => Some(*kind),
            _ => None,
        }
    }

    /// Returns the type and the number of a connector, and the mask of CRTCs that can drive it.
    pub fn connector_kind(&self, connector: u32) -> Option<(Interface, u32, u32)> {
        let state = self.state();
        let Some(Object::Connector(known)) = state.objects.get(&connector) else { return None };
        let Some(Object::Encoder { possible_crtcs, .. }) = state.objects.get(&known.encoder) else {
            return None;
        };
        Some((known.interface, known.interface_id, *possible_crtcs))
    }

    /// Returns the layout of a framebuffer.
    pub fn framebuffer_layout(&self, framebuffer: u32) -> Option<FramebufferLayout> {
        self.state().framebuffers.get(&framebuffer).map(|known| known.layout.clone())
    }
}

fn refuse_if(exceeds: bool, error: Errno) -> Result<(), Errno> {
    if exceeds {
        Err(error)
    } else {
        Ok(())
    }
}

impl State {
    /// Returns the entries of the LUT that SETGAMMA sets.
    pub(super) fn gamma_length(&self, crtc: u32) -> usize {
        let size = self.value(crtc, "GAMMA_LUT_SIZE").and_then(|size| usize::try_from(size).ok());
        size.unwrap_or(self.limits.gamma_length)
    }

    /// Checks a state against the device's limits.
    pub(super) fn check_limits(&self, values: &Values) -> Result<(), Errno> {
        let limits = &self.limits;
        let mut rate = 0;
        let mut active = 0;
        for crtc in self.crtcs() {
            let Some(mode) = self.mode_in(values, crtc) else { continue };
            let (width, height) = mode.size();
            let largest = limits.mode_sizes.get(&crtc);
            refuse_if(largest.is_some_and(|max| width > max.0 || height > max.1), Errno::INVAL)?;
            rate += u64::from(width) * u64::from(height) * u64::from(mode.vrefresh());
            active += usize::from(self.value_in(values, crtc, "ACTIVE") == Some(1));
        }
        refuse_if(limits.active_crtcs.is_some_and(|max| active > max), Errno::INVAL)?;
        refuse_if(limits.pixels_per_second.is_some_and(|max| rate > max), Errno::NOSPC)?;
        let mut tiled = 0;
        for plane in self.planes() {
            let framebuffer = self.value_in(values, plane, "FB_ID").and_then(|id| u32::try_from(id).ok());
            let Some(framebuffer) = framebuffer.and_then(|id| self.framebuffers.get(&id)) else { continue };
            let FramebufferLayout { size, modifier, .. } = framebuffer.layout;
            let Some(modifier) = modifier else { continue };
            tiled += usize::from(modifier != DrmModifier::Linear);
            let too_wide = |(modifiers, width): &(Vec<DrmModifier>, u32)| {
                modifiers.contains(&modifier) && size.0 > *width
            };
            refuse_if(limits.widths.iter().any(too_wide), Errno::INVAL)?;
        }
        refuse_if(limits.tiled_planes.is_some_and(|max| tiled > max), Errno::NOSPC)
    }
}
