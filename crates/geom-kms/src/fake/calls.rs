//! The calls to the fake device.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::MutexGuard;

use drm::buffer;
use drm::control::{
    connector, crtc, encoder, framebuffer, from_u32, plane, property, AtomicCommitFlags, LeaseId,
    Mode as KmsMode, RawResourceHandle,
};
use drm::DriverCapability;
use rustix::event::{eventfd, EventfdFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use super::state::{Framebuffer, Kind, Object, State};
use super::{Call, Change, FakeDevice, Memory};
use crate::calls::{
    ClientCapability, ConnectorInfo, ConnectorStatus, CrtcInfo, DrmCalls, DumbInfo, EncoderInfo, ObjectId,
    ObjectKind, PageFlip, PlaneInfo, PropertyInfo, PropertyKind, Resources,
};
use crate::commit::AtomicRequest;
use crate::drm_fd::raw;
use crate::dumb::Mapping;
use crate::framebuffer::FramebufferLayout;
use crate::objects::PlaneKind;

/// Width and height of the cursor in pixels.
const CURSOR_SIZE: u32 = 64;

impl FakeDevice {
    /// Returns the state, unless the device was unplugged.
    fn plugged(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        match state.is_unplugged {
            true => Err(Errno::NODEV.into()),
            false => Ok(state),
        }
    }

    /// As [`FakeDevice::plugged`], for calls that only the DRM master may make.
    fn as_master(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.plugged()?;
        match state.is_master {
            true => Ok(state),
            false => Err(Errno::ACCESS.into()),
        }
    }
}

fn handles<H: From<RawResourceHandle>>(ids: Vec<u32>) -> Vec<H> {
    ids.into_iter().filter_map(from_u32).collect()
}

fn not_found<T>(found: Option<T>) -> io::Result<T> {
    found.ok_or_else(|| Errno::NOENT.into())
}

impl DrmCalls for FakeDevice {
    fn driver_name(&self) -> io::Result<String> {
        Ok(self.plugged()?.driver.clone())
    }

    fn enable(&self, capability: ClientCapability) -> io::Result<()> {
        let mut state = self.plugged()?;
        if !state.has_kms || (capability == ClientCapability::Atomic && !state.is_atomic) {
            return Err(Errno::OPNOTSUPP.into());
        }
        if capability == ClientCapability::CursorPlaneHotspot {
            // drm_setclientcap().
            if !state.limits.hides_cursor_planes {
                return Err(Errno::OPNOTSUPP.into());
            }
            if !state.enabled.contains(&ClientCapability::Atomic) {
                return Err(Errno::INVAL.into());
            }
        }
        state.enabled.push(capability);
        Ok(())
    }

    fn capability(&self, capability: DriverCapability) -> io::Result<u64> {
        let (width, height) = self.plugged()?.limits.cursor_size.unwrap_or((CURSOR_SIZE, CURSOR_SIZE));
        match capability {
            DriverCapability::CursorWidth => Ok(width.into()),
            DriverCapability::CursorHeight => Ok(height.into()),
            DriverCapability::DumbPreferShadow => Ok(self.plugged()?.limits.prefers_shadow.into()),
            _ => Err(Errno::INVAL.into()),
        }
    }

    fn release_master(&self) -> io::Result<()> {
        let mut state = self.plugged()?;
        if state.keeps_master {
            return Err(Errno::ACCESS.into());
        }
        state.is_master = false;
        Ok(())
    }

    fn is_master(&self) -> bool {
        self.state().is_master
    }

    fn resources(&self) -> io::Result<Resources> {
        let state = self.plugged()?;
        Ok(Resources { crtcs: handles(state.crtcs()), connectors: handles(state.connectors()) })
    }

    fn plane_handles(&self) -> io::Result<Vec<plane::Handle>> {
        let state = self.plugged()?;
        if !state.enabled.contains(&ClientCapability::UniversalPlanes) {
            return Ok(Vec::new());
        }
        let hides_cursors = state.limits.hides_cursor_planes
            && state.enabled.contains(&ClientCapability::Atomic)
            && !state.enabled.contains(&ClientCapability::CursorPlaneHotspot);
        let is_cursor =
            |id: &u32| matches!(state.objects.get(id), Some(Object::Plane { kind: PlaneKind::Cursor, .. }));
        let listed = state.planes().into_iter().filter(|id| !(hides_cursors && is_cursor(id)));
        Ok(handles(listed.collect()))
    }

    fn connector(&self, handle: connector::Handle, probe: bool) -> io::Result<ConnectorInfo> {
        let mut state = self.plugged()?;
        if probe {
            state.probes.push(raw(handle));
            if let Some(Object::Connector(connector)) = state.objects.get_mut(&raw(handle)) {
                connector.probed_modes.clone_from(&connector.modes);
            }
        }
        let Some(Object::Connector(connector)) = state.objects.get(&raw(handle)) else {
            return Err(Errno::NOENT.into());
        };
        let is_driven = state.value(raw(handle), "CRTC_ID").is_some_and(|crtc| crtc != 0);
        let encoder = from_u32(connector.encoder);
        Ok(ConnectorInfo {
            interface: connector.interface,
            interface_id: connector.interface_id,
            status: match (&connector.probed_modes, connector.is_unknown) {
                (Some(_), false) => ConnectorStatus::Connected,
                (Some(_), true) => ConnectorStatus::Unknown,
                (None, _) => ConnectorStatus::Disconnected,
            },
            size: connector.probed_modes.is_some().then_some((600, 340)),
            modes: connector.probed_modes.clone().unwrap_or_default(),
            encoders: encoder.into_iter().collect(),
            current_encoder: encoder.filter(|_| is_driven),
        })
    }

    fn encoder(&self, handle: encoder::Handle) -> io::Result<EncoderInfo> {
        let state = self.plugged()?;
        let Some(Object::Encoder { connector, possible_crtcs }) = state.objects.get(&raw(handle)) else {
            return Err(Errno::NOENT.into());
        };
        let crtc = state.value(*connector, "CRTC_ID").and_then(|crtc| from_u32(crtc as u32));
        Ok(EncoderInfo { crtc, possible_crtcs: *possible_crtcs })
    }

    fn crtc(&self, handle: crtc::Handle) -> io::Result<CrtcInfo> {
        let state = self.plugged()?;
        let mode = state.mode_in(&state.values, raw(handle));
        let plane = state.primary_plane(raw(handle));
        let value = |name: &str| plane.and_then(|plane| state.value(plane, name)).unwrap_or(0);
        Ok(CrtcInfo {
            mode,
            framebuffer: from_u32(value("FB_ID") as u32).filter(|_| mode.is_some()),
            position: ((value("SRC_X") >> 16) as u32, (value("SRC_Y") >> 16) as u32),
            gamma_length: state.gamma_length(raw(handle)),
        })
    }

    fn plane(&self, handle: plane::Handle) -> io::Result<PlaneInfo> {
        match self.plugged()?.objects.get(&raw(handle)) {
            Some(Object::Plane { possible_crtcs, formats, .. }) => {
                Ok(PlaneInfo { possible_crtcs: *possible_crtcs, formats: formats.clone() })
            }
            _ => Err(Errno::NOENT.into()),
        }
    }

    fn properties(&self, object: ObjectId) -> io::Result<Vec<(property::Handle, u64)>> {
        let state = self.plugged()?;
        let id = object.id.get();
        let known = not_found(state.objects.get(&id))?;
        if known.kind() != Some(object.kind) {
            return Err(Errno::NOENT.into());
        }
        let is_visible = |property: &u32| {
            let Some(property) = state.properties.get(property) else { return false };
            let needs_pipelines = property.name == "COLOR_PIPELINE" || object.kind == ObjectKind::Colorop;
            (!property.is_atomic || state.enabled.contains(&ClientCapability::Atomic))
                && (!needs_pipelines || state.enabled.contains(&ClientCapability::PlaneColorPipeline))
        };
        let values = state.values.range((id, 0)..=(id, u32::MAX));
        let visible = values.filter(|((_, property), _)| is_visible(property));
        Ok(visible.filter_map(|((_, property), value)| Some((from_u32(*property)?, *value))).collect())
    }

    fn property(&self, handle: property::Handle) -> io::Result<PropertyInfo> {
        let state = self.plugged()?;
        let property = not_found(state.properties.get(&raw(handle)))?;
        let kind = match &property.kind {
            Kind::Enum(choices) => PropertyKind::Enum(choices.clone()),
            Kind::Range(min, max) => PropertyKind::Range(*min, *max),
            _ => PropertyKind::Other,
        };
        Ok(PropertyInfo { name: property.name.clone(), kind, is_immutable: property.is_immutable })
    }

    fn blob(&self, id: u64) -> io::Result<Vec<u8>> {
        not_found(self.plugged()?.blob(id).map(<[u8]>::to_vec))
    }

    fn create_blob(&self, data: &mut [u8]) -> io::Result<u64> {
        if data.is_empty() {
            return Err(Errno::INVAL.into());
        }
        Ok(self.plugged()?.add_blob(data.to_vec(), true).into())
    }

    fn destroy_blob(&self, id: u64) -> io::Result<()> {
        let mut state = self.plugged()?;
        let blob = u32::try_from(id).ok().and_then(|id| state.blobs.get_mut(&id));
        not_found(blob)?.is_owned = false;
        state.collect_blobs();
        Ok(())
    }

    fn add_framebuffer(&self, layout: &FramebufferLayout) -> io::Result<framebuffer::Handle> {
        not_found(from_u32(self.plugged()?.add_framebuffer(layout)?))
    }

    fn add_framebuffer_legacy(&self, layout: &FramebufferLayout) -> io::Result<framebuffer::Handle> {
        DrmCalls::add_framebuffer(self, layout)
    }

    fn framebuffer(&self, handle: framebuffer::Handle) -> io::Result<FramebufferLayout> {
        let mut state = self.as_master()?;
        let Framebuffer { layout, memory } = not_found(state.framebuffers.get(&raw(handle)))?;
        let (mut layout, memory) = (layout.clone(), memory.clone());
        for (handle, memory) in layout.handles.iter_mut().filter(|handle| handle.is_some()).zip(memory) {
            *handle = from_u32(state.new_handle(memory));
        }
        Ok(layout)
    }

    fn remove_framebuffer(&self, handle: framebuffer::Handle) -> io::Result<()> {
        let is_known = self.plugged()?.remove_framebuffer(raw(handle));
        not_found(is_known.then_some(()))
    }

    fn create_dumb(&self, size: (u32, u32), bits_per_pixel: u32) -> io::Result<DumbInfo> {
        let pitch = size.0 * bits_per_pixel.div_ceil(8);
        let length = pitch as usize * size.1 as usize;
        if length == 0 {
            return Err(Errno::INVAL.into());
        }
        let mut state = self.plugged()?;
        if state.limits.buffers.is_some_and(|limit| state.handles.len() >= limit) {
            state.limits.refused_buffers += 1;
            return Err(Errno::NOMEM.into());
        }
        let handle = state.allocate(&self.0.memory, length)?;
        Ok(DumbInfo { handle: not_found(from_u32(handle))?, pitch, length })
    }

    fn map_dumb(&self, handle: buffer::Handle, length: usize, writable: bool) -> io::Result<Mapping> {
        let Memory { offset, length: whole } = not_found(self.plugged()?.memory_of(handle.into()))?;
        if length > whole {
            return Err(Errno::INVAL.into());
        }
        let access = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        Mapping::new(self.0.memory.as_fd(), offset, length, access, MapFlags::SHARED)
    }

    fn destroy_dumb(&self, handle: buffer::Handle) -> io::Result<()> {
        DrmCalls::close_buffer(self, handle)
    }

    fn import_dmabuf(&self, fd: BorrowedFd<'_>) -> io::Result<buffer::Handle> {
        let inode = rustix::fs::fstat(fd)?.st_ino;
        let mut state = self.plugged()?;
        let handle = match state.imported.get(&inode) {
            Some(known) => *known,
            None => {
                let handle = state.allocate(&self.0.memory, 0)?;
                state.imported.insert(inode, handle);
                handle
            }
        };
        not_found(from_u32(handle))
    }

    fn close_buffer(&self, handle: buffer::Handle) -> io::Result<()> {
        let is_known = self.plugged()?.close_handle(handle.into());
        not_found(is_known.then_some(()))
    }

    fn atomic_commit(&self, request: &mut AtomicRequest, flags: AtomicCommitFlags) -> io::Result<()> {
        Ok(self.plugged()?.commit(request, flags)?)
    }

    fn set_crtc(
        &self,
        crtc: crtc::Handle,
        shown: Option<(framebuffer::Handle, connector::Handle, &KmsMode)>,
    ) -> io::Result<()> {
        let mut state = self.as_master()?;
        let shown = shown.map(|(framebuffer, connector, mode)| (raw(framebuffer), raw(connector), *mode));
        state.record(Call::SetCrtc { crtc: raw(crtc), shown })?;
        if let Some((framebuffer, connector, _)) = shown {
            not_found(state.framebuffers.get(&framebuffer))?;
            not_found(state.objects.get(&connector))?;
        }
        state.show(raw(crtc), shown);
        Ok(())
    }

    fn page_flip(&self, crtc: crtc::Handle, framebuffer: framebuffer::Handle) -> io::Result<()> {
        let (crtc, framebuffer) = (raw(crtc), raw(framebuffer));
        let mut state = self.as_master()?;
        state.record(Call::PageFlip { crtc, framebuffer })?;
        not_found(state.framebuffers.get(&framebuffer))?;
        // drm_mode_page_flip_ioctl(): the CRTC must have a framebuffer.
        let plane = state.primary_plane(crtc).filter(|plane| state.value(*plane, "FB_ID") != Some(0));
        let plane = plane.ok_or(Errno::BUSY)?;
        if !state.pending.insert(crtc) {
            return Err(Errno::BUSY.into());
        }
        state.set_value(plane, "FB_ID", framebuffer.into());
        Ok(())
    }

    fn hide_cursor(&self, crtc: crtc::Handle) -> io::Result<()> {
        Ok(self.as_master()?.record(Call::HideCursor { crtc: raw(crtc) })?)
    }

    fn set_cursor(
        &self,
        crtc: crtc::Handle,
        buffer: buffer::Handle,
        size: (u32, u32),
        hotspot: (i32, i32),
    ) -> io::Result<()> {
        let mut state = self.as_master()?;
        let buffer = buffer.into();
        state.record(Call::SetCursor { crtc: raw(crtc), buffer, size, hotspot })?;
        not_found(state.memory_of(buffer)).map(drop)
    }

    fn move_cursor(&self, crtc: crtc::Handle, position: (i32, i32)) -> io::Result<()> {
        Ok(self.as_master()?.record(Call::MoveCursor { crtc: raw(crtc), position })?)
    }

    fn set_gamma(&self, crtc: crtc::Handle, lut: &[[u16; 3]]) -> io::Result<()> {
        let mut state = self.as_master()?;
        state.record(Call::SetGamma { crtc: raw(crtc), lut: lut.to_vec() })?;
        // drm_mode_gamma_set_ioctl().
        match state.gamma_length(raw(crtc)) {
            0 => Err(Errno::NOSYS.into()),
            length if length != lut.len() => Err(Errno::INVAL.into()),
            _ => Ok(()),
        }
    }

    fn set_property(&self, object: ObjectId, property: property::Handle, value: u64) -> io::Result<()> {
        let (object, property) = (object.id.get(), raw(property));
        let mut state = self.as_master()?;
        let name = not_found(state.properties.get(&property))?.name.clone();
        state.record(Call::SetProperty(Change { object, property: name, value }))?;
        Ok(state.set_property(object, property, value)?)
    }

    fn create_lease(&self, objects: &[RawResourceHandle]) -> io::Result<(LeaseId, OwnedFd)> {
        let mut state = self.as_master()?;
        let ids: Vec<u32> = objects.iter().map(|object| object.get()).collect();
        let mut kinds = Vec::new();
        for id in &ids {
            kinds.extend(not_found(state.objects.get(id))?.kind());
            if state.leases.values().flatten().any(|leased| leased == id) {
                return Err(Errno::BUSY.into());
            }
        }
        // validate_lease(): at least one of each.
        if ![ObjectKind::Crtc, ObjectKind::Connector, ObjectKind::Plane]
            .iter()
            .all(|kind| kinds.contains(kind))
        {
            return Err(Errno::INVAL.into());
        }
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let lessee = state.new_id();
        state.leases.insert(lessee, ids);
        Ok((not_found(LeaseId::new(lessee))?, fd))
    }

    fn lessees(&self) -> io::Result<Vec<LeaseId>> {
        Ok(self.as_master()?.leases.keys().copied().filter_map(LeaseId::new).collect())
    }

    fn revoke_lease(&self, lessee: LeaseId) -> io::Result<()> {
        not_found(self.as_master()?.leases.remove(&lessee.get())).map(drop)
    }

    fn read_page_flips(&self, on_flip: &mut dyn FnMut(PageFlip)) -> io::Result<()> {
        let mut state = self.plugged()?;
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.0.events, &mut count);
        if state.events.is_empty() {
            return Err(Errno::AGAIN.into());
        }
        state.events.drain(..).for_each(on_flip);
        Ok(())
    }
}
