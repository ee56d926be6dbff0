//! The calls to the kernel that this crate makes, as one trait.
//!
//! The methods correspond to libdrm's functions. Two implementations: the kernel, and
//! `fake::FakeDevice`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use drm::buffer;
use drm::control::{
    connector, crtc, encoder, framebuffer, plane, property, AtomicCommitFlags, LeaseId, Mode as KmsMode,
    RawResourceHandle,
};
use drm::DriverCapability;

use crate::commit::AtomicRequest;
use crate::dumb::Mapping;
use crate::framebuffer::FramebufferLayout;

/// The kind of a KMS object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// A CRTC.
    Crtc,
    /// A connector.
    Connector,
    /// A plane.
    Plane,
    /// An operation of a plane's color pipeline.
    Colorop,
}

impl ObjectKind {
    /// Returns `DRM_MODE_OBJECT_*` (include/uapi/drm/drm_mode.h).
    pub fn code(self) -> u32 {
        match self {
            Self::Crtc => drm_ffi::DRM_MODE_OBJECT_CRTC,
            Self::Connector => drm_ffi::DRM_MODE_OBJECT_CONNECTOR,
            Self::Plane => drm_ffi::DRM_MODE_OBJECT_PLANE,
            Self::Colorop => drm_ffi::DRM_MODE_OBJECT_COLOROP,
        }
    }
}

/// A KMS object that has properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObjectId {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its id.
    pub id: RawResourceHandle,
}

impl From<crtc::Handle> for ObjectId {
    fn from(handle: crtc::Handle) -> Self {
        Self { kind: ObjectKind::Crtc, id: handle.into() }
    }
}

impl From<connector::Handle> for ObjectId {
    fn from(handle: connector::Handle) -> Self {
        Self { kind: ObjectKind::Connector, id: handle.into() }
    }
}

impl From<plane::Handle> for ObjectId {
    fn from(handle: plane::Handle) -> Self {
        Self { kind: ObjectKind::Plane, id: handle.into() }
    }
}

/// A capability of the client that has to be enabled (`DRM_CLIENT_CAP_*`, include/uapi/drm/drm.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientCapability {
    /// Lists primary and cursor planes too.
    UniversalPlanes,
    /// Atomic commits, and the properties for them.
    Atomic,
    /// Color pipelines of planes, in place of the legacy color properties of planes.
    PlaneColorPipeline,
    /// Cursor planes of virtual GPUs, whose hotspot the client sets; after [`Self::Atomic`].
    CursorPlaneHotspot,
}

impl ClientCapability {
    /// Returns `DRM_CLIENT_CAP_*`.
    pub fn code(self) -> u64 {
        let code = match self {
            Self::UniversalPlanes => drm_ffi::DRM_CLIENT_CAP_UNIVERSAL_PLANES,
            Self::Atomic => drm_ffi::DRM_CLIENT_CAP_ATOMIC,
            Self::PlaneColorPipeline => drm_ffi::DRM_CLIENT_CAP_PLANE_COLOR_PIPELINE,
            Self::CursorPlaneHotspot => drm_ffi::DRM_CLIENT_CAP_CURSOR_PLANE_HOTSPOT,
        };
        code.into()
    }
}

/// A device's CRTCs and connectors, in the kernel's order.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// CRTCs. The index in this list is the bit in masks of CRTCs.
    pub crtcs: Vec<crtc::Handle>,
    /// Connectors; those of MST come and go.
    pub connectors: Vec<connector::Handle>,
}

/// Whether a monitor is connected to a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectorStatus {
    /// One is connected.
    Connected,
    /// None is connected.
    Disconnected,
    /// The driver cannot tell, as for VGA and composite video without load detection.
    Unknown,
}

/// A connector.
#[derive(Debug, Clone)]
pub struct ConnectorInfo {
    /// The type of the connector.
    pub interface: connector::Interface,
    /// Its number among the connectors of its type.
    pub interface_id: u32,
    /// Whether a monitor is connected.
    pub status: ConnectorStatus,
    /// Width and height of the monitor in millimeters.
    pub size: Option<(u32, u32)>,
    /// The modes.
    pub modes: Vec<KmsMode>,
    /// The encoders that it can use.
    pub encoders: Vec<encoder::Handle>,
    /// The encoder that it uses.
    pub current_encoder: Option<encoder::Handle>,
}

/// An encoder.
#[derive(Debug, Clone, Copy)]
pub struct EncoderInfo {
    /// The CRTC that drives it.
    pub crtc: Option<crtc::Handle>,
    /// Bit i: it can be driven by the CRTC with index i.
    pub possible_crtcs: u32,
}

/// What a CRTC scans out.
#[derive(Debug, Clone)]
pub struct CrtcInfo {
    /// Its mode, if it is enabled.
    pub mode: Option<KmsMode>,
    /// The framebuffer of its primary plane.
    pub framebuffer: Option<framebuffer::Handle>,
    /// The pixel of the framebuffer that is scanned out first.
    pub position: (u32, u32),
    /// Entries of its LUT for [`DrmCalls::set_gamma`]; 0 without one.
    pub gamma_length: usize,
}

/// A plane.
#[derive(Debug, Clone)]
pub struct PlaneInfo {
    /// Bit i: it can be used on the CRTC with index i.
    pub possible_crtcs: u32,
    /// Pixel formats as fourcc codes.
    pub formats: Vec<u32>,
}

/// The values that a property takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyKind {
    /// The names of its values and their numbers.
    Enum(Arc<[(String, u64)]>),
    /// Minimum and maximum.
    Range(u64, u64),
    /// Anything else.
    Other,
}

/// A property.
#[derive(Debug, Clone)]
pub struct PropertyInfo {
    /// Its name.
    pub name: String,
    /// The values that it takes.
    pub kind: PropertyKind,
    /// Whether clients cannot write it (`DRM_MODE_PROP_IMMUTABLE`).
    pub is_immutable: bool,
}

/// A dumb buffer as the kernel created it.
#[derive(Debug, Clone, Copy)]
pub struct DumbInfo {
    /// Its GEM handle.
    pub handle: buffer::Handle,
    /// Bytes from one row to the next.
    pub pitch: u32,
    /// Its size in bytes.
    pub length: usize,
}

/// A page flip event: a frame is scanned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageFlip {
    /// The CRTC.
    pub crtc: crtc::Handle,
    /// When the first pixel was scanned out, by the monotonic clock.
    pub time: Duration,
    /// The CRTC's count of vblanks.
    pub sequence: u32,
}

/// The calls to the kernel.
///
/// # Errors
///
/// All methods return the kernel's errno. After the device was unplugged that is ENODEV.
pub trait DrmCalls: AsFd + std::fmt::Debug + Send + Sync {
    /// Returns the name of the driver (DRM_IOCTL_VERSION).
    fn driver_name(&self) -> io::Result<String>;

    /// Enables a capability of this client.
    fn enable(&self, capability: ClientCapability) -> io::Result<()>;

    /// Returns a capability of the driver.
    fn capability(&self, capability: DriverCapability) -> io::Result<u64>;

    /// Gives up DRM master.
    fn release_master(&self) -> io::Result<()>;

    /// Returns whether the descriptor is DRM master.
    fn is_master(&self) -> bool;

    /// Returns the CRTCs and connectors.
    fn resources(&self) -> io::Result<Resources>;

    /// Returns the planes.
    fn plane_handles(&self) -> io::Result<Vec<plane::Handle>>;

    /// Returns a connector as the last probe found it. `probe` probes it, which is slow on some
    /// hardware: the kernel reads the EDID again.
    fn connector(&self, handle: connector::Handle, probe: bool) -> io::Result<ConnectorInfo>;

    /// Returns an encoder.
    fn encoder(&self, handle: encoder::Handle) -> io::Result<EncoderInfo>;

    /// Returns what a CRTC scans out.
    fn crtc(&self, handle: crtc::Handle) -> io::Result<CrtcInfo>;

    /// Returns a plane.
    fn plane(&self, handle: plane::Handle) -> io::Result<PlaneInfo>;

    /// Returns the properties of an object and their values.
    fn properties(&self, object: ObjectId) -> io::Result<Vec<(property::Handle, u64)>>;

    /// Returns what a property is.
    fn property(&self, handle: property::Handle) -> io::Result<PropertyInfo>;

    /// Returns the content of a blob.
    fn blob(&self, id: u64) -> io::Result<Vec<u8>>;

    /// Creates a blob. `data` is only read; it is mutable because drm-ffi passes it to the ioctl
    /// so.
    fn create_blob(&self, data: &mut [u8]) -> io::Result<u64>;

    /// Destroys a blob; the kernel keeps it while a committed state refers to it.
    fn destroy_blob(&self, id: u64) -> io::Result<()>;

    /// Creates a framebuffer (ADDFB2).
    fn add_framebuffer(&self, layout: &FramebufferLayout) -> io::Result<framebuffer::Handle>;

    /// Creates an XRGB8888 framebuffer of one plane (ADDFB), for drivers without ADDFB2.
    fn add_framebuffer_legacy(&self, layout: &FramebufferLayout) -> io::Result<framebuffer::Handle>;

    /// Returns a framebuffer with new GEM handles, which the caller closes (GETFB2). DRM master
    /// only.
    fn framebuffer(&self, handle: framebuffer::Handle) -> io::Result<FramebufferLayout>;

    /// Removes a framebuffer. The kernel disables planes that scan it out.
    fn remove_framebuffer(&self, handle: framebuffer::Handle) -> io::Result<()>;

    /// Creates a dumb buffer with this width and height in pixels, and bits per pixel.
    fn create_dumb(&self, size: (u32, u32), bits_per_pixel: u32) -> io::Result<DumbInfo>;

    /// Maps the first `length` bytes of a dumb buffer.
    fn map_dumb(&self, handle: buffer::Handle, length: usize, writable: bool) -> io::Result<Mapping>;

    /// Destroys a dumb buffer; the kernel keeps the memory while a framebuffer or a mapping uses
    /// it.
    fn destroy_dumb(&self, handle: buffer::Handle) -> io::Result<()>;

    /// Returns a GEM handle for a dma-buf; the same handle for the same memory.
    fn import_dmabuf(&self, fd: BorrowedFd<'_>) -> io::Result<buffer::Handle>;

    /// Closes a GEM handle.
    fn close_buffer(&self, handle: buffer::Handle) -> io::Result<()>;

    /// Commits a request, or tests it. `request` is only read, as in [`DrmCalls::create_blob`].
    fn atomic_commit(&self, request: &mut AtomicRequest, flags: AtomicCommitFlags) -> io::Result<()>;

    /// Sets a CRTC's framebuffer, connector and mode, or disables the CRTC (SETCRTC).
    fn set_crtc(
        &self,
        crtc: crtc::Handle,
        shown: Option<(framebuffer::Handle, connector::Handle, &KmsMode)>,
    ) -> io::Result<()>;

    /// Queues a page flip with an event (PAGE_FLIP).
    fn page_flip(&self, crtc: crtc::Handle, framebuffer: framebuffer::Handle) -> io::Result<()>;

    /// Hides the hardware cursor (CURSOR).
    fn hide_cursor(&self, crtc: crtc::Handle) -> io::Result<()>;

    /// Shows a buffer of width and height in pixels as hardware cursor (CURSOR2).
    fn set_cursor(
        &self,
        crtc: crtc::Handle,
        buffer: buffer::Handle,
        size: (u32, u32),
        hotspot: (i32, i32),
    ) -> io::Result<()>;

    /// Moves the top left corner of the hardware cursor (CURSOR).
    fn move_cursor(&self, crtc: crtc::Handle, position: (i32, i32)) -> io::Result<()>;

    /// Sets the gamma LUT (SETGAMMA), which has [`CrtcInfo::gamma_length`] entries.
    fn set_gamma(&self, crtc: crtc::Handle, lut: &[[u16; 3]]) -> io::Result<()>;

    /// Sets a property outside of atomic requests (OBJ_SETPROPERTY).
    fn set_property(&self, object: ObjectId, property: property::Handle, value: u64) -> io::Result<()>;

    /// Leases objects; returns the lessee's id and its descriptor, which is not blocking.
    fn create_lease(&self, objects: &[RawResourceHandle]) -> io::Result<(LeaseId, OwnedFd)>;

    /// Returns the lessees whose descriptor is open.
    fn lessees(&self) -> io::Result<Vec<LeaseId>>;

    /// Revokes a lease.
    fn revoke_lease(&self, lessee: LeaseId) -> io::Result<()>;

    /// Reads pending page flip events.
    fn read_page_flips(&self, on_flip: &mut dyn FnMut(PageFlip)) -> io::Result<()>;
}
