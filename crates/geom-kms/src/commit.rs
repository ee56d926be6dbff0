//! Commits: atomic requests.
//!
//! Source: the kernel's Documentation/gpu/drm-kms.rst and drm_atomic_uapi.c.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use drm::buffer;
use drm::control::{connector, framebuffer, property, AtomicCommitFlags, Mode as KmsMode, RawResourceHandle};
use geom_display::fallback::BufferLayout;
use geom_display::signal_format::SignalFormat;
use rustix::io::Errno;

use crate::color_luts::CrtcColor;
use crate::drm_fd::{raw, Blob, DrmFd};
use crate::framebuffer::Framebuffer;
use crate::modes;
use crate::objects::{Objects, Plane, PlanePropIds};

/// Objects and properties that fit into a frame's request without another allocation: a CRTC
/// and two planes, with 13 properties for the primary plane, 12 for the cursor, 3 for color and 1
/// for the variable refresh rate.
const FRAME_OBJECTS: usize = 4;
const FRAME_PROPERTIES: usize = 29;

/// Most damage rectangles of a frame. The kernel takes any number; with more of them, to treat the
/// whole frame as damaged costs the driver no more.
pub const MAX_DAMAGE_CLIPS: usize = 16;

/// An atomic request: values of properties, in the arrays that the ioctl takes
/// (`struct drm_mode_atomic`).
///
/// The kernel accepts an object more than once, so that no sorting is needed.
#[derive(Debug, Default, Clone)]
pub struct AtomicRequest {
    pub(crate) objects: Vec<u32>,
    /// Number of properties of each object.
    pub(crate) counts: Vec<u32>,
    pub(crate) properties: Vec<u32>,
    pub(crate) values: Vec<u64>,
}

impl AtomicRequest {
    /// Returns an empty request.
    pub fn new() -> Self {
        Self::default()
    }

    fn with_capacity(objects: usize, properties: usize) -> Self {
        Self {
            objects: Vec::with_capacity(objects),
            counts: Vec::with_capacity(objects),
            properties: Vec::with_capacity(properties),
            values: Vec::with_capacity(properties),
        }
    }

    /// Sets a property of an object.
    pub fn set(&mut self, object: impl Into<RawResourceHandle>, property: property::Handle, value: u64) {
        let object = object.into().get();
        match self.counts.last_mut() {
            Some(count) if self.objects.last() == Some(&object) => *count += 1,
            _ => {
                self.objects.push(object);
                self.counts.push(1);
            }
        }
        self.properties.push(property.into());
        self.values.push(value);
    }

    /// Returns object, property and value of each entry, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32, u64)> + '_ {
        let objects = self.objects.iter().zip(&self.counts);
        let objects = objects.flat_map(|(object, count)| std::iter::repeat_n(*object, *count as usize));
        let entries = self.properties.iter().zip(&self.values);
        objects.zip(entries).map(|(object, (property, value))| (object, *property, *value))
    }
}

/// One enabled output in a modeset.
#[derive(Debug, Clone)]
pub struct CrtcSetup {
    /// Index of the CRTC.
    pub crtc: usize,
    /// The connector.
    pub connector: connector::Handle,
    /// The mode.
    pub mode: KmsMode,
    /// Whether it is active. A blanked output is not; its CRTC keeps everything else (DPMS).
    pub active: bool,
    /// The signal format.
    pub signal: SignalFormat,
    /// The color pipeline.
    pub color: CrtcColor,
    /// The framebuffer of the primary plane, as large as the mode.
    pub framebuffer: framebuffer::Handle,
    /// The layout of the output's buffers.
    pub layout: BufferLayout,
}

/// The state of a cursor plane, or of a cursor that is no plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorPlane {
    /// Disabled.
    Hidden,
    /// Enabled.
    Shown {
        /// Its framebuffer.
        framebuffer: framebuffer::Handle,
        /// The memory of the framebuffer, for drivers that are not atomic.
        buffer: buffer::Handle,
        /// The size of the framebuffer in pixels.
        size: (u32, u32),
        /// Its top left corner in the CRTC's pixels; may be negative.
        position: (i32, i32),
        /// The pixel of the framebuffer that points. The host of a virtual machine places its own
        /// pointer by it.
        hotspot: (i32, i32),
    },
}

/// One frame of one output: what changes since the last one.
#[derive(Debug, Default)]
pub struct Frame {
    /// The primary plane's framebuffer and its size in pixels.
    pub primary: Option<(Arc<Framebuffer>, (u32, u32))>,
    /// The cursor plane.
    pub cursor: Option<CursorPlane>,
    /// Signaled when the primary plane's framebuffer is rendered (`IN_FENCE_FD`).
    pub fence: Option<OwnedFd>,
    /// What changed in the primary plane's framebuffer (`FB_DAMAGE_CLIPS`).
    pub damage: Option<Blob>,
    /// The color pipeline.
    pub color: Option<CrtcColor>,
    /// Whether the refresh rate is variable (`VRR_ENABLED`).
    pub vrr: Option<bool>,
}

impl Frame {
    /// Returns whether it changes nothing but the cursor plane.
    pub fn is_cursor_only(&self) -> bool {
        self.cursor.is_some() && self.primary.is_none() && self.color.is_none() && self.vrr.is_none()
    }
}

/// Where a plane is and what it scans out.
struct PlaneState {
    crtc: u32,
    framebuffer: framebuffer::Handle,
    size: (u32, u32),
    position: (i32, i32),
}

fn set_plane(request: &mut AtomicRequest, plane: &Plane, ids: &PlanePropIds, state: &PlaneState) {
    let mut set = |id: property::Handle, value: u64| request.set(plane.handle, id, value);
    let (width, height) = state.size;
    set(ids.fb_id, raw(state.framebuffer).into());
    set(ids.crtc_id, state.crtc.into());
    set(ids.src_x, 0);
    set(ids.src_y, 0);
    // 16.16 fixed point.
    set(ids.src_w, u64::from(width) << 16);
    set(ids.src_h, u64::from(height) << 16);
    set(ids.crtc_x, i64::from(state.position.0) as u64);
    set(ids.crtc_y, i64::from(state.position.1) as u64);
    set(ids.crtc_w, width.into());
    set(ids.crtc_h, height.into());
}

fn disable_plane(request: &mut AtomicRequest, plane: &Plane, ids: &PlanePropIds) {
    request.set(plane.handle, ids.fb_id, 0);
    request.set(plane.handle, ids.crtc_id, 0);
}

/// Sets the plane's own color pipeline, or bypasses it.
fn set_plane_color(request: &mut AtomicRequest, plane: &Plane, ids: &PlanePropIds, color: &CrtcColor) {
    let Some(id) = ids.color_pipeline else { return };
    for value in color.plane.iter().flat_map(|plane| &plane.values) {
        request.set(value.object, value.property, value.value);
    }
    request.set(plane.handle, id, color.plane.as_ref().map_or(0, |plane| plane.number));
}

/// Returns the request that enables `setups` on the device and disables everything else.
///
/// CRTCs in `untouched` are left out, with their planes and connectors; so are leased connectors.
/// Planes that no CRTC of ours uses are disabled. Properties of the other planes and of connectors
/// without a setup get their defaults: another DRM master may have left them in any state. The
/// blobs must live until the request is committed.
fn modeset_request(
    fd: &DrmFd,
    objects: &Objects,
    setups: &[CrtcSetup],
    untouched: &[usize],
) -> io::Result<(AtomicRequest, Vec<Blob>)> {
    let mut request = AtomicRequest::new();
    let mut blobs = Vec::new();
    let is_untouched = |connector: connector::Handle| {
        objects.leased.contains(&connector)
            || setups.iter().any(|setup| setup.connector == connector && untouched.contains(&setup.crtc))
    };
    let crtc_id = |index: usize| objects.crtcs.get(index).map_or(0, |crtc| raw(crtc.handle));
    for connector in objects.connectors.iter().filter(|connector| !is_untouched(connector.handle)) {
        let setup = setups.iter().find(|setup| setup.connector == connector.handle);
        if let Some(id) = connector.crtc_id {
            request.set(connector.handle, id, setup.map_or(0, |setup| crtc_id(setup.crtc)).into());
        }
        match setup {
            Some(setup) => {
                connector.props.set(fd, connector.handle, &setup.signal, &mut request, &mut blobs)?;
            }
            None => connector.props.reset(connector.handle, &mut request),
        }
    }
    let no_color = CrtcColor::default();
    for (index, crtc) in objects.crtcs.iter().enumerate().filter(|(index, _)| !untouched.contains(index)) {
        let Some(ids) = crtc.ids else { continue };
        let setup = setups.iter().find(|setup| setup.crtc == index);
        let mode = match setup {
            Some(setup) => {
                let blob = Blob::new(fd, &mut modes::to_bytes(&setup.mode))?;
                let id = blob.id();
                blobs.push(blob);
                id
            }
            None => 0,
        };
        request.set(crtc.handle, ids.mode_id, mode);
        request.set(crtc.handle, ids.active, setup.is_some_and(|setup| setup.active).into());
        ids.set_color(crtc.handle, setup.map_or(&no_color, |setup| &setup.color), &mut request);
        ids.set_vrr(crtc.handle, setup.is_some_and(|setup| setup.signal.vrr), &mut request);
    }
    for (number, plane) in objects.planes.iter().enumerate() {
        let Some(ids) = plane.ids else { continue };
        let owner = objects.crtcs.iter().position(|crtc| [crtc.primary, crtc.cursor].contains(&Some(number)));
        if owner.is_some_and(|crtc| untouched.contains(&crtc)) {
            continue;
        }
        let is_primary =
            |crtc: usize| objects.crtcs.get(crtc).is_some_and(|crtc| crtc.primary == Some(number));
        let setup = setups.iter().find(|setup| Some(setup.crtc) == owner && is_primary(setup.crtc));
        // The cursor plane is enabled later, without these.
        if owner.is_some() {
            plane.defaults.set(plane.handle, &mut request);
        }
        match setup {
            Some(setup) => {
                let (width, height) = setup.mode.size();
                let state = PlaneState {
                    crtc: crtc_id(setup.crtc),
                    framebuffer: setup.framebuffer,
                    size: (width.into(), height.into()),
                    position: (0, 0),
                };
                set_plane(&mut request, plane, &ids, &state);
                set_plane_color(&mut request, plane, &ids, &setup.color);
            }
            None => {
                disable_plane(&mut request, plane, &ids);
                set_plane_color(&mut request, plane, &ids, &no_color);
            }
        }
    }
    Ok((request, blobs))
}

/// Sets modes, or only tests whether the kernel would.
///
/// Enables `setups` and disables everything else, except the CRTCs in `untouched`.
///
/// # Errors
///
/// Returns the kernel's error; nothing has changed then.
pub(crate) fn modeset(
    fd: &DrmFd,
    objects: &Objects,
    setups: &[CrtcSetup],
    untouched: &[usize],
    test: bool,
) -> io::Result<()> {
    let (mut request, _blobs) = modeset_request(fd, objects, setups, untouched)?;
    let test = if test { AtomicCommitFlags::TEST_ONLY } else { AtomicCommitFlags::empty() };
    fd.atomic_commit(&mut request, AtomicCommitFlags::ALLOW_MODESET | test)
}

fn with_ids(plane: Option<&Plane>) -> Option<(&Plane, PlanePropIds)> {
    Some((plane?, plane?.ids?))
}

fn frame_request(objects: &Objects, crtc: usize, frame: &Frame) -> AtomicRequest {
    let mut request = AtomicRequest::with_capacity(FRAME_OBJECTS, FRAME_PROPERTIES);
    let Some(entry) = objects.crtcs.get(crtc) else { return request };
    let primary = with_ids(objects.primary_plane(crtc));
    if let (Some((framebuffer, size)), Some((plane, ids))) = (&frame.primary, primary) {
        let (framebuffer, size) = (framebuffer.handle(), *size);
        let state = PlaneState { crtc: raw(entry.handle), framebuffer, size, position: (0, 0) };
        set_plane(&mut request, plane, &ids, &state);
        if let (Some(fence), Some(id)) = (&frame.fence, ids.in_fence_fd) {
            request.set(plane.handle, id, i64::from(fence.as_raw_fd()) as u64);
        }
        if let (Some(damage), Some(id)) = (&frame.damage, ids.damage_clips) {
            request.set(plane.handle, id, damage.id());
        }
    }
    if let (Some(color), Some(ids)) = (&frame.color, entry.ids) {
        ids.set_color(entry.handle, color, &mut request);
        if let Some((plane, ids)) = primary {
            set_plane_color(&mut request, plane, &ids, color);
        }
    }
    if let (Some(vrr), Some(ids)) = (frame.vrr, entry.ids) {
        ids.set_vrr(entry.handle, vrr, &mut request);
    }
    if let (Some(cursor), Some((plane, ids))) = (frame.cursor, with_ids(objects.cursor_plane(crtc))) {
        match cursor {
            CursorPlane::Hidden => disable_plane(&mut request, plane, &ids),
            CursorPlane::Shown { framebuffer, size, position, hotspot, .. } => {
                let state = PlaneState { crtc: raw(entry.handle), framebuffer, size, position };
                set_plane(&mut request, plane, &ids, &state);
                if let Some((x, y)) = ids.hotspot {
                    request.set(plane.handle, x, i64::from(hotspot.0) as u64);
                    request.set(plane.handle, y, i64::from(hotspot.1) as u64);
                }
            }
        }
    }
    request
}

/// Tests whether the kernel would accept a frame.
///
/// # Errors
///
/// Returns the kernel's error.
pub(crate) fn test_frame(fd: &DrmFd, objects: &Objects, crtc: usize, frame: &Frame) -> io::Result<()> {
    fd.atomic_commit(&mut frame_request(objects, crtc, frame), AtomicCommitFlags::TEST_ONLY)
}

/// Commits a frame. The kernel sends a page flip event when it is scanned out.
///
/// # Errors
///
/// Returns the kernel's error; the last frame stays.
pub(crate) fn flip(fd: &DrmFd, objects: &Objects, crtc: usize, frame: &Frame) -> io::Result<()> {
    let flags = AtomicCommitFlags::NONBLOCK | AtomicCommitFlags::PAGE_FLIP_EVENT;
    fd.atomic_commit(&mut frame_request(objects, crtc, frame), flags)
}

/// Returns whether a commit's error may be because of what it asks for: another frame may be
/// accepted. Drivers answer EINVAL, but also ENOSPC (vc4's load tracker), ERANGE or E2BIG (msm),
/// and the legacy calls ENXIO without a hardware cursor. Other errors come from the session, from
/// the device, or from a commit that is pending.
pub fn is_refusal(error: &io::Error) -> bool {
    const REFUSALS: [Errno; 6] =
        [Errno::INVAL, Errno::NOSPC, Errno::RANGE, Errno::TOOBIG, Errno::OPNOTSUPP, Errno::NXIO];
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    errno.is_some_and(|errno| REFUSALS.contains(&errno))
}

/// Returns whether a commit was refused because one before it is still pending, of its CRTCs or of
/// those that the driver adds: the same commit is accepted later.
pub fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::BUSY.raw_os_error())
}

/// Creates the `FB_DAMAGE_CLIPS` blob of rectangles (left, top, right, bottom in the framebuffer's
/// pixels; `struct drm_mode_rect`). `None` if there are none, or more than [`MAX_DAMAGE_CLIPS`]:
/// the whole framebuffer counts as damaged then.
pub(crate) fn damage_clips(fd: &DrmFd, clips: impl ExactSizeIterator<Item = [i32; 4]>) -> Option<Blob> {
    let length = clips.len();
    if length == 0 || length > MAX_DAMAGE_CLIPS {
        return None;
    }
    let mut bytes = [0; MAX_DAMAGE_CLIPS * 16];
    for (to, edge) in bytes.chunks_exact_mut(4).zip(clips.flatten()) {
        to.copy_from_slice(&edge.to_ne_bytes());
    }
    Blob::new(fd, bytes.get_mut(..length * 16)?).ok()
}

#[cfg(test)]
mod tests {
    use drm::control::from_u32;

    use super::*;

    #[test]
    fn requests_keep_order_and_repeat_objects() {
        let handle = |id: u32| -> RawResourceHandle { RawResourceHandle::new(id).expect("not 0") };
        let property = |id: u32| from_u32(id).expect("not 0");
        let mut request = AtomicRequest::new();
        for (object, id, value) in [(1, 10, 100), (1, 11, 101), (2, 10, 102), (1, 12, 103)] {
            request.set(handle(object), property(id), value);
        }
        assert_eq!((&request.objects[..], &request.counts[..]), (&[1, 2, 1][..], &[2, 1, 1][..]));
        let entries: Vec<_> = request.iter().collect();
        assert_eq!(entries, [(1, 10, 100), (1, 11, 101), (2, 10, 102), (1, 12, 103)]);
    }
}
