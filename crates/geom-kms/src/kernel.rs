//! The calls to the kernel, on a device's descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use drm::buffer::{self, DrmFourcc, DrmModifier};
use drm::control::{
    connector, crtc, encoder, framebuffer, from_u32, plane, property, AtomicCommitFlags, Device as _, Event,
    FbCmd2Flags, LeaseId, Mode as KmsMode, PageFlipFlags, RawResourceHandle,
};
use drm::{Device, DriverCapability};
use drm_ffi::mode;
use rustix::mm::{MapFlags, ProtFlags};

use crate::calls::{
    ClientCapability, ConnectorInfo, ConnectorStatus, CrtcInfo, DrmCalls, DumbInfo, EncoderInfo, ObjectId,
    PageFlip, PlaneInfo, PropertyInfo, PropertyKind, Resources,
};
use crate::commit::AtomicRequest;
use crate::dumb::Mapping;
use crate::framebuffer::FramebufferLayout;

/// `enum drm_connector_status` (drm_connector.h).
const CONNECTED: u32 = 1;
const DISCONNECTED: u32 = 2;

/// Capacity for the modes of most monitors.
const USUAL_MODES: usize = 64;

/// A device's descriptor.
#[derive(Debug)]
pub(crate) struct Kernel(pub OwnedFd);

impl AsFd for Kernel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
impl Device for Kernel {}
impl drm::control::Device for Kernel {}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the kernel returned {what}"))
}

impl DrmCalls for Kernel {
    fn driver_name(&self) -> io::Result<String> {
        Ok(self.get_driver()?.name().to_string_lossy().into_owned())
    }

    fn enable(&self, capability: ClientCapability) -> io::Result<()> {
        drm_ffi::set_capability(self.as_fd(), capability.code(), true).map(drop)
    }

    fn capability(&self, capability: DriverCapability) -> io::Result<u64> {
        self.get_driver_capability(capability)
    }

    fn release_master(&self) -> io::Result<()> {
        self.release_master_lock()
    }

    fn is_master(&self) -> bool {
        // The kernel checks DRM master (EACCES) before the token, which does not exist.
        let asked = drm_ffi::auth::auth_magic_token(self.as_fd(), 0);
        !asked.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }

    fn resources(&self) -> io::Result<Resources> {
        let resources = self.resource_handles()?;
        Ok(Resources { crtcs: resources.crtcs().to_vec(), connectors: resources.connectors().to_vec() })
    }

    fn plane_handles(&self) -> io::Result<Vec<plane::Handle>> {
        drm::control::Device::plane_handles(self)
    }

    fn connector(&self, handle: connector::Handle, probe: bool) -> io::Result<ConnectorInfo> {
        // The kernel probes if the array of modes has no capacity. drm-ffi asks twice, and without
        // a capacity the second time, too, if the connector has no modes: it would probe once more.
        let (mut modes, mut encoders) = (Vec::with_capacity(USUAL_MODES), Vec::new());
        let (listed, usable) = (Some(&mut modes), Some(&mut encoders));
        let info = mode::get_connector(self.as_fd(), handle.into(), None, None, listed, usable, probe)?;
        Ok(ConnectorInfo {
            interface: connector::Interface::from(info.connector_type),
            interface_id: info.connector_type_id,
            status: match info.connection {
                CONNECTED => ConnectorStatus::Connected,
                DISCONNECTED => ConnectorStatus::Disconnected,
                _ => ConnectorStatus::Unknown,
            },
            size: Some((info.mm_width, info.mm_height)).filter(|size| *size != (0, 0)),
            modes: modes.into_iter().map(KmsMode::from).collect(),
            encoders: encoders.into_iter().filter_map(from_u32).collect(),
            current_encoder: from_u32(info.encoder_id),
        })
    }

    fn encoder(&self, handle: encoder::Handle) -> io::Result<EncoderInfo> {
        let info = mode::get_encoder(self.as_fd(), handle.into())?;
        Ok(EncoderInfo { crtc: from_u32(info.crtc_id), possible_crtcs: info.possible_crtcs })
    }

    fn crtc(&self, handle: crtc::Handle) -> io::Result<CrtcInfo> {
        let info = self.get_crtc(handle)?;
        Ok(CrtcInfo {
            mode: info.mode(),
            framebuffer: info.framebuffer(),
            position: info.position(),
            gamma_length: info.gamma_length() as usize,
        })
    }

    fn plane(&self, handle: plane::Handle) -> io::Result<PlaneInfo> {
        let mut formats = Vec::new();
        let info = mode::get_plane(self.as_fd(), handle.into(), Some(&mut formats))?;
        Ok(PlaneInfo { possible_crtcs: info.possible_crtcs, formats })
    }

    fn properties(&self, object: ObjectId) -> io::Result<Vec<(property::Handle, u64)>> {
        let (mut ids, mut values) = (Vec::new(), Vec::new());
        let (id, kind) = (object.id.get(), object.kind.code());
        mode::get_properties(self.as_fd(), id, kind, Some(&mut ids), Some(&mut values))?;
        Ok(ids.into_iter().filter_map(from_u32).zip(values).collect())
    }

    fn property(&self, handle: property::Handle) -> io::Result<PropertyInfo> {
        let info = self.get_property(handle)?;
        let kind = match info.value_type() {
            property::ValueType::Enum(values) => {
                let (numbers, values) = values.values();
                let names = values.iter().map(|value| value.name().to_string_lossy().into_owned());
                PropertyKind::Enum(names.zip(numbers.iter().copied()).collect::<Arc<[_]>>())
            }
            property::ValueType::UnsignedRange(min, max) => PropertyKind::Range(min, max),
            _ => PropertyKind::Other,
        };
        let is_immutable = !info.mutable();
        Ok(PropertyInfo { name: info.name().to_string_lossy().into_owned(), kind, is_immutable })
    }

    fn blob(&self, id: u64) -> io::Result<Vec<u8>> {
        self.get_property_blob(id)
    }

    fn create_blob(&self, data: &mut [u8]) -> io::Result<u64> {
        Ok(mode::create_property_blob(self.as_fd(), data)?.blob_id.into())
    }

    fn destroy_blob(&self, id: u64) -> io::Result<()> {
        self.destroy_property_blob(id)
    }

    fn add_framebuffer(&self, layout: &FramebufferLayout) -> io::Result<framebuffer::Handle> {
        let modifier = layout.modifier.map_or(0, u64::from);
        let flags = match layout.modifier {
            Some(_) => FbCmd2Flags::MODIFIERS,
            None => FbCmd2Flags::empty(),
        };
        let info = mode::add_fb2(
            self.as_fd(),
            layout.size.0,
            layout.size.1,
            layout.format as u32,
            &layout.handles.map(|handle| handle.map_or(0, u32::from)),
            &layout.pitches,
            &layout.offsets,
            &layout.handles.map(|handle| handle.map_or(0, |_| modifier)),
            flags.bits(),
        )?;
        from_u32(info.fb_id).ok_or_else(|| invalid("framebuffer 0"))
    }

    fn add_framebuffer_legacy(&self, layout: &FramebufferLayout) -> io::Result<framebuffer::Handle> {
        let handle = layout.handles[0].map_or(0, u32::from);
        let (width, height) = layout.size;
        // Depth 24 of 32 bits per pixel is XRGB8888 (drm_mode_legacy_fb_format()).
        let info = mode::add_fb(self.as_fd(), width, height, layout.pitches[0], 32, 24, handle)?;
        from_u32(info.fb_id).ok_or_else(|| invalid("framebuffer 0"))
    }

    fn framebuffer(&self, handle: framebuffer::Handle) -> io::Result<FramebufferLayout> {
        let info = mode::get_framebuffer2(self.as_fd(), handle.into())?;
        let layout = |format| FramebufferLayout {
            size: (info.width, info.height),
            format,
            modifier: (info.flags & FbCmd2Flags::MODIFIERS.bits() != 0)
                .then(|| DrmModifier::from(info.modifier[0])),
            pitches: info.pitches,
            offsets: info.offsets,
            handles: info.handles.map(from_u32),
        };
        match DrmFourcc::try_from(info.pixel_format) {
            Ok(format) => Ok(layout(format)),
            Err(error) => {
                // The kernel has opened the handles already.
                layout(DrmFourcc::Xrgb8888).close_handles(self);
                Err(io::Error::other(error))
            }
        }
    }

    fn remove_framebuffer(&self, handle: framebuffer::Handle) -> io::Result<()> {
        self.destroy_framebuffer(handle)
    }

    fn create_dumb(&self, size: (u32, u32), bits_per_pixel: u32) -> io::Result<DumbInfo> {
        let info = mode::dumbbuffer::create(self.as_fd(), size.0, size.1, bits_per_pixel, 0)?;
        let handle = from_u32(info.handle).ok_or_else(|| invalid("buffer 0"))?;
        let length = usize::try_from(info.size).map_err(io::Error::other)?;
        Ok(DumbInfo { handle, pitch: info.pitch, length })
    }

    fn map_dumb(&self, handle: buffer::Handle, length: usize, writable: bool) -> io::Result<Mapping> {
        let offset = mode::dumbbuffer::map(self.as_fd(), handle.into(), 0, 0)?.offset;
        let access = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        Mapping::new(self.as_fd(), offset, length, access, MapFlags::SHARED)
    }

    fn destroy_dumb(&self, handle: buffer::Handle) -> io::Result<()> {
        mode::dumbbuffer::destroy(self.as_fd(), handle.into()).map(drop)
    }

    fn import_dmabuf(&self, fd: BorrowedFd<'_>) -> io::Result<buffer::Handle> {
        self.prime_fd_to_buffer(fd)
    }

    fn close_buffer(&self, handle: buffer::Handle) -> io::Result<()> {
        drm::control::Device::close_buffer(self, handle)
    }

    fn atomic_commit(&self, request: &mut AtomicRequest, flags: AtomicCommitFlags) -> io::Result<()> {
        let AtomicRequest { objects, counts, properties, values } = request;
        mode::atomic_commit(self.as_fd(), flags.bits(), objects, counts, properties, values)
    }

    fn set_crtc(
        &self,
        crtc: crtc::Handle,
        shown: Option<(framebuffer::Handle, connector::Handle, &KmsMode)>,
    ) -> io::Result<()> {
        let set = drm::control::Device::set_crtc;
        match shown {
            Some((framebuffer, connector, mode)) => {
                set(self, crtc, Some(framebuffer), (0, 0), &[connector], Some(*mode))
            }
            None => set(self, crtc, None, (0, 0), &[], None),
        }
    }

    fn page_flip(&self, crtc: crtc::Handle, framebuffer: framebuffer::Handle) -> io::Result<()> {
        drm::control::Device::page_flip(self, crtc, framebuffer, PageFlipFlags::EVENT, None)
    }

    #[allow(deprecated)] // drivers without planes have no other call
    fn hide_cursor(&self, crtc: crtc::Handle) -> io::Result<()> {
        mode::set_cursor(self.as_fd(), crtc.into(), 0, 0, 0).map(drop)
    }

    #[allow(deprecated)] // as for `hide_cursor`
    fn set_cursor(
        &self,
        crtc: crtc::Handle,
        buffer: buffer::Handle,
        (width, height): (u32, u32),
        (x, y): (i32, i32),
    ) -> io::Result<()> {
        mode::set_cursor2(self.as_fd(), crtc.into(), buffer.into(), width, height, x, y).map(drop)
    }

    #[allow(deprecated)] // as for `hide_cursor`
    fn move_cursor(&self, crtc: crtc::Handle, (x, y): (i32, i32)) -> io::Result<()> {
        mode::move_cursor(self.as_fd(), crtc.into(), x, y).map(drop)
    }

    fn set_gamma(&self, crtc: crtc::Handle, lut: &[[u16; 3]]) -> io::Result<()> {
        let [red, green, blue] =
            [0, 1, 2].map(|channel| lut.iter().map(|entry| entry[channel]).collect::<Vec<u16>>());
        mode::set_gamma(self.as_fd(), crtc.into(), lut.len(), &red, &green, &blue).map(drop)
    }

    fn set_property(&self, object: ObjectId, property: property::Handle, value: u64) -> io::Result<()> {
        mode::set_property(self.as_fd(), property.into(), object.id.get(), object.kind.code(), value)
    }

    fn create_lease(&self, objects: &[RawResourceHandle]) -> io::Result<(LeaseId, OwnedFd)> {
        let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
        drm::control::Device::create_lease(self, objects, flags.bits())
    }

    fn lessees(&self) -> io::Result<Vec<LeaseId>> {
        self.list_lessees()
    }

    fn revoke_lease(&self, lessee: LeaseId) -> io::Result<()> {
        drm::control::Device::revoke_lease(self, lessee)
    }

    fn read_page_flips(&self, on_flip: &mut dyn FnMut(PageFlip)) -> io::Result<()> {
        for event in self.receive_events()? {
            if let Event::PageFlip(flip) = event {
                on_flip(PageFlip { crtc: flip.crtc, time: flip.duration, sequence: flip.frame });
            }
        }
        Ok(())
    }
}
