//! Commits: what a Gpu's CRTCs should show, tested or made so; atomic, or by the old calls where
//! a driver has nothing else.
//!
//! Source: the kernel's Documentation/gpu/drm-kms.rst and drm_mode_atomic(7).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use drm::control::atomic::AtomicModeReq;
use drm::control::{
    connector, crtc, framebuffer, plane, property, AtomicCommitFlags, Device as ControlDevice,
    Mode as KmsMode, PageFlipFlags,
};
use geom_display::signal_format::SignalFormat;

use super::drm_fd::{raw, Blob, DrmFd};
use super::objects::{Objects, PlaneIds};
use super::color_luts::CrtcColor;

/// One lit display in a mode-setting commit.
#[derive(Debug, Clone)]
pub struct CrtcSetup {
    /// Index into [`Objects::crtcs`].
    pub crtc: usize,
    pub connector: connector::Handle,
    pub mode: KmsMode,
    /// False where the display has its light off: the CRTC keeps all else.
    pub active: bool,
    pub signal: SignalFormat,
    pub color: CrtcColor,
    pub framebuffer: framebuffer::Handle,
}

/// What becomes of a cursor plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorPlane {
    Hidden,
    Shown {
        framebuffer: framebuffer::Handle,
        size: (u32, u32),
        /// Top left corner in the CRTC's pixels; may be negative.
        position: (i32, i32),
    },
}

/// One frame of one display: what changes since the last.
#[derive(Debug, Default)]
pub struct Frame {
    /// The primary plane's framebuffer and its size.
    pub primary: Option<(framebuffer::Handle, (u32, u32))>,
    pub cursor: Option<CursorPlane>,
    /// Signalled when the primary framebuffer is drawn.
    pub fence: Option<OwnedFd>,
    /// `FB_DAMAGE_CLIPS` of the primary plane.
    pub damage: Option<Blob>,
    pub color: Option<CrtcColor>,
}

fn add_plane(
    request: &mut AtomicModeReq,
    plane: u32,
    ids: &PlaneIds,
    crtc: u32,
    framebuffer: framebuffer::Handle,
    size: (u32, u32),
    position: (i32, i32),
) {
    let Some(object) = std::num::NonZeroU32::new(plane) else { return };
    let mut set = |id: property::Handle, value: u64| request.add_raw_property(object, id, value);
    set(ids.fb_id, raw(framebuffer).into());
    set(ids.crtc_id, crtc.into());
    set(ids.src_x, 0);
    set(ids.src_y, 0);
    // 16.16 fixed point.
    set(ids.src_w, u64::from(size.0) << 16);
    set(ids.src_h, u64::from(size.1) << 16);
    set(ids.crtc_x, i64::from(position.0) as u64);
    set(ids.crtc_y, i64::from(position.1) as u64);
    set(ids.crtc_w, size.0.into());
    set(ids.crtc_h, size.1.into());
}

/// What a plane's own pipeline does with its pixels; nothing where none is meant.
fn add_plane_colours(request: &mut AtomicModeReq, plane: plane::Handle, ids: &PlaneIds, color: &CrtcColor) {
    let Some(id) = ids.color_pipeline else { return };
    let number = color.plane.as_ref().map_or(0, |chosen| chosen.number);
    for (object, id, value) in color.plane.iter().flat_map(|chosen| &chosen.values) {
        request.add_raw_property(*object, *id, *value);
    }
    request.add_raw_property(plane.into(), id, number);
}

/// The request that makes the device show `setups` and nothing else.
///
/// CRTCs in `untouched` keep what they show and are left out, with their planes and connectors.
/// The mode blobs must live until the request is committed.
pub fn modeset_request(
    card: &DrmFd,
    objects: &Objects,
    setups: &[CrtcSetup],
    untouched: &[usize],
) -> io::Result<(AtomicModeReq, Vec<Blob>)> {
    let mut request = AtomicModeReq::new();
    let mut blobs = Vec::new();
    let kept = |connector: connector::Handle| {
        objects.leased.contains(&connector)
            || setups.iter().any(|setup| setup.connector == connector && untouched.contains(&setup.crtc))
    };
    for connector in objects.connectors.iter().filter(|connector| !kept(connector.handle)) {
        let setup = setups.iter().find(|setup| setup.connector == connector.handle);
        let crtc = setup.map_or(0, |setup| raw(objects.crtcs[setup.crtc].handle));
        if let Some(crtc_id) = connector.crtc_id {
            request.add_raw_property(connector.handle.into(), crtc_id, crtc.into());
        }
        match setup {
            Some(setup) => connector.link.set(card, connector.handle, &setup.signal, &mut request, &mut blobs)?,
            None => connector.link.reset(connector.handle, &mut request),
        }
    }
    for (index, crtc) in objects.crtcs.iter().enumerate().filter(|(index, _)| !untouched.contains(index)) {
        let Some(ids) = crtc.ids else { continue };
        let setup = setups.iter().find(|setup| setup.crtc == index);
        let mode = match setup {
            Some(setup) => {
                let blob = Blob::new(card, &setup.mode)?;
                let id = blob.id();
                blobs.push(blob);
                id
            }
            None => 0,
        };
        request.add_raw_property(crtc.handle.into(), ids.mode_id, mode);
        let active = setup.is_some_and(|setup| setup.active);
        request.add_raw_property(crtc.handle.into(), ids.active, active.into());
        let vrr = setup.is_some_and(|setup| setup.signal.vrr);
        let none = CrtcColor::default();
        ids.color.set(crtc.handle, vrr, setup.map_or(&none, |setup| &setup.color), &mut request);
    }
    for (number, plane) in objects.planes.iter().enumerate() {
        let Some(ids) = plane.ids else { continue };
        let owner = objects.crtcs.iter().position(|crtc| [crtc.primary, crtc.cursor].contains(&Some(number)));
        if owner.is_some_and(|crtc| untouched.contains(&crtc)) {
            continue;
        }
        let setup = setups
            .iter()
            .find(|setup| Some(setup.crtc) == owner && objects.crtcs[setup.crtc].primary == Some(number));
        match setup {
            Some(setup) => {
                let (width, height) = setup.mode.size();
                let crtc = raw(objects.crtcs[setup.crtc].handle);
                let size = (width.into(), height.into());
                add_plane(&mut request, raw(plane.handle), &ids, crtc, setup.framebuffer, size, (0, 0));
                add_plane_colours(&mut request, plane.handle, &ids, &setup.color);
            }
            None => {
                request.add_raw_property(plane.handle.into(), ids.fb_id, 0);
                request.add_raw_property(plane.handle.into(), ids.crtc_id, 0);
                add_plane_colours(&mut request, plane.handle, &ids, &CrtcColor::default());
            }
        }
    }
    Ok((request, blobs))
}

/// Sets modes, or only asks whether it could.
pub fn modeset(
    card: &DrmFd,
    objects: &Objects,
    setups: &[CrtcSetup],
    untouched: &[usize],
    test: bool,
) -> io::Result<()> {
    let (request, _blobs) = modeset_request(card, objects, setups, untouched)?;
    let only = if test { AtomicCommitFlags::TEST_ONLY } else { AtomicCommitFlags::empty() };
    card.atomic_commit(AtomicCommitFlags::ALLOW_MODESET | only, request)
}

/// Switches a CRTC's light off or on, and nothing else (drm-kms.rst: a CRTC that is not active keeps its mode).
pub fn set_active(card: &DrmFd, objects: &Objects, crtc: usize, active: bool) -> io::Result<()> {
    let crtc = objects.crtcs.get(crtc).ok_or(io::ErrorKind::NotFound)?;
    let ids = crtc.ids.ok_or_else(|| io::Error::other("its driver has no atomic mode setting"))?;
    let mut request = AtomicModeReq::new();
    request.add_raw_property(crtc.handle.into(), ids.active, active.into());
    card.atomic_commit(AtomicCommitFlags::ALLOW_MODESET, request)
}

/// As [`modeset`], by the old calls, which can't test: one display after the other.
pub fn modeset_legacy(card: &DrmFd, objects: &Objects, setups: &[CrtcSetup], untouched: &[usize]) -> io::Result<()> {
    for (index, crtc) in objects.crtcs.iter().enumerate().filter(|(index, _)| !untouched.contains(index)) {
        match setups.iter().find(|setup| setup.crtc == index) {
            Some(setup) => {
                card.set_crtc(
                    crtc.handle,
                    Some(setup.framebuffer),
                    (0, 0),
                    &[setup.connector],
                    Some(setup.mode),
                )?;
            }
            None => card.set_crtc(crtc.handle, None, (0, 0), &[], None)?,
        }
        hide_cursor(card, crtc.handle);
    }
    Ok(())
}

fn frame_request(objects: &Objects, crtc: usize, frame: &Frame) -> AtomicModeReq {
    let mut request = AtomicModeReq::new();
    let handle = objects.crtcs[crtc].handle;
    let plane = |index: Option<usize>| {
        let plane = objects.planes.get(index?)?;
        Some((plane, plane.ids?))
    };
    if let (Some((framebuffer, size)), Some((plane, ids))) =
        (frame.primary, plane(objects.crtcs[crtc].primary))
    {
        add_plane(&mut request, raw(plane.handle), &ids, raw(handle), framebuffer, size, (0, 0));
        if let (Some(fence), Some(id)) = (&frame.fence, ids.in_fence_fd) {
            request.add_raw_property(plane.handle.into(), id, i64::from(fence.as_raw_fd()) as u64);
        }
        if let (Some(damage), Some(id)) = (&frame.damage, ids.damage_clips) {
            request.add_raw_property(plane.handle.into(), id, damage.id());
        }
    }
    if let (Some(color), Some(ids)) = (&frame.color, objects.crtcs[crtc].ids) {
        ids.color.set_colours(handle, color, &mut request);
        if let Some((plane, ids)) = plane(objects.crtcs[crtc].primary) {
            add_plane_colours(&mut request, plane.handle, &ids, color);
        }
    }
    if let (Some(cursor), Some((plane, ids))) = (frame.cursor, plane(objects.crtcs[crtc].cursor)) {
        match cursor {
            CursorPlane::Hidden => {
                request.add_raw_property(plane.handle.into(), ids.fb_id, 0);
                request.add_raw_property(plane.handle.into(), ids.crtc_id, 0);
            }
            CursorPlane::Shown { framebuffer, size, position, .. } => {
                add_plane(&mut request, raw(plane.handle), &ids, raw(handle), framebuffer, size, position);
            }
        }
    }
    request
}

/// Asks whether a frame could be shown as it is.
pub fn test_frame(card: &DrmFd, objects: &Objects, crtc: usize, frame: &Frame) -> io::Result<()> {
    card.atomic_commit(AtomicCommitFlags::TEST_ONLY, frame_request(objects, crtc, frame))
}

/// Hands a frame to the kernel, which sends a page flip event when it is shown.
pub fn flip(card: &DrmFd, objects: &Objects, crtc: usize, frame: &Frame) -> io::Result<()> {
    let flags = AtomicCommitFlags::NONBLOCK | AtomicCommitFlags::PAGE_FLIP_EVENT;
    card.atomic_commit(flags, frame_request(objects, crtc, frame))
}

/// As [`flip`], by the old calls: the primary plane only, cursors are drawn into it.
pub fn flip_legacy(
    card: &DrmFd,
    objects: &Objects,
    crtc: usize,
    framebuffer: framebuffer::Handle,
) -> io::Result<()> {
    card.page_flip(objects.crtcs[crtc].handle, framebuffer, PageFlipFlags::EVENT, None)
}

/// Takes away a cursor that another program left behind.
#[allow(deprecated)] // there is no other call for drivers without planes
fn hide_cursor(card: &DrmFd, crtc: crtc::Handle) {
    // Drivers without a hardware cursor refuse, and have nothing to hide.
    let _ = card.set_cursor(crtc, None::<&drm::control::dumbbuffer::DumbBuffer>);
}
