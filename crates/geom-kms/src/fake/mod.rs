//! A device in memory, in place of the kernel, for tests.
//!
//! It has objects with properties, checks atomic requests as drm_atomic_uapi.c, drm_atomic.c and
//! the helpers of most drivers do, records what is committed, and fails on demand. Tests build a
//! device, [open](FakeDevice::open) it, and compare commits and values:
//!
//! ```
//! use geom_kms::fake::FakeDevice;
//! use geom_kms::Device;
//!
//! let fake = FakeDevice::with_outputs(2);
//! let device = Device::open(fake.open(), "/dev/dri/card0".as_ref(), 0, true)?;
//! assert_eq!(device.connectors().len(), 2);
//! # Ok::<(), geom_kms::OpenError>(())
//! ```
//!
//! Differences from the kernel: nothing takes time, so blocking commits complete pending page flips
//! at once, and others complete by [`FakeDevice::complete_flips`]; there is one client.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drm::buffer::{DrmFourcc, DrmModifier};
use drm::control::connector::Interface;
use drm::control::{from_u32, AtomicCommitFlags, Mode as KmsMode, ModeFlags, ModeTypeFlags};
use rustix::io::Errno;

use crate::calls::PageFlip;
use crate::drm_fd::DrmFd;
use crate::framebuffer::FramebufferLayout;
use crate::objects::PlaneKind;

mod atomic;
mod calls;
mod limits;
mod state;

use state::{Memory, State};

/// Entries of the LUTs of a CRTC.
pub const LUT_SIZE: u64 = 256;

/// A device in memory. Clones are the same device.
#[derive(Clone)]
pub struct FakeDevice(Arc<Shared>);

struct Shared {
    /// The device's descriptor: an eventfd, readable while page flip events are pending.
    events: OwnedFd,
    /// The memory of all buffers.
    memory: OwnedFd,
    state: Mutex<State>,
}

impl std::fmt::Debug for FakeDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeDevice")
    }
}

impl AsFd for FakeDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.events.as_fd()
    }
}

/// A value of a property that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The object's id.
    pub object: u32,
    /// The property's name.
    pub property: String,
    /// The value.
    pub value: u64,
}

/// An atomic commit or test commit.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its flags.
    pub flags: AtomicCommitFlags,
    /// What it sets, in order.
    pub changes: Vec<Change>,
    /// The contents of the blobs that it sets, by object and property.
    pub blobs: BTreeMap<(u32, String), Vec<u8>>,
    /// The result.
    pub result: Result<(), Errno>,
}

impl Commit {
    /// Returns whether it is a test commit.
    pub fn is_test(&self) -> bool {
        self.flags.contains(AtomicCommitFlags::TEST_ONLY)
    }

    /// Returns the value that it sets; `None` if it leaves the property out.
    pub fn value(&self, object: u32, property: &str) -> Option<u64> {
        let changes = self.changes.iter().rev();
        let mut matching = changes.filter(|change| change.object == object && change.property == property);
        matching.next().map(|change| change.value)
    }

    /// Returns the content of the blob that it sets.
    pub fn blob(&self, object: u32, property: &str) -> Option<&[u8]> {
        self.blobs.get(&(object, property.to_owned())).map(Vec::as_slice)
    }

    /// Returns whether it sets any property of an object.
    pub fn has(&self, object: u32) -> bool {
        self.changes.iter().any(|change| change.object == object)
    }
}

/// A call that changes what is shown.
#[derive(Debug, Clone)]
pub enum Call {
    /// An atomic commit or test commit.
    Atomic(Commit),
    /// SETCRTC.
    SetCrtc {
        /// The CRTC's id.
        crtc: u32,
        /// Framebuffer, connector and mode; `None` disables the CRTC.
        shown: Option<(u32, u32, KmsMode)>,
    },
    /// PAGE_FLIP.
    PageFlip {
        /// The CRTC's id.
        crtc: u32,
        /// The framebuffer's id.
        framebuffer: u32,
    },
    /// CURSOR without a buffer.
    HideCursor {
        /// The CRTC's id.
        crtc: u32,
    },
    /// CURSOR2 with a buffer.
    SetCursor {
        /// The CRTC's id.
        crtc: u32,
        /// The buffer's GEM handle.
        buffer: u32,
        /// Width and height in pixels.
        size: (u32, u32),
        /// The pixel that points.
        hotspot: (i32, i32),
    },
    /// CURSOR with a position.
    MoveCursor {
        /// The CRTC's id.
        crtc: u32,
        /// The top left corner.
        position: (i32, i32),
    },
    /// SETGAMMA.
    SetGamma {
        /// The CRTC's id.
        crtc: u32,
        /// The entries.
        lut: Vec<[u16; 3]>,
    },
    /// OBJ_SETPROPERTY.
    SetProperty(Change),
}

/// An operation of a plane's color pipeline.
#[derive(Debug, Clone)]
pub enum FakeColorop {
    /// A named curve out of these (`1D Curve`).
    Curves(Vec<&'static str>),
    /// A 1D LUT with this many entries.
    Lut1d(u64),
    /// A 3x4 matrix.
    Matrix,
}

/// Calls to fail.
struct Failure {
    errno: Errno,
    when: Box<dyn FnMut(&Call) -> bool + Send>,
}

/// Returns a mode with this refresh rate in hertz; the first of a connector is the preferred one.
pub fn mode(width: u16, height: u16, refresh: u32) -> KmsMode {
    let (htotal, vtotal) = (width + 160, height + 45);
    KmsMode::from(drm_ffi::drm_mode_modeinfo {
        clock: (u64::from(htotal) * u64::from(vtotal) * u64::from(refresh) / 1000) as u32,
        hdisplay: width,
        hsync_start: width + 48,
        hsync_end: width + 80,
        htotal,
        vdisplay: height,
        vsync_start: height + 3,
        vsync_end: height + 8,
        vtotal,
        vrefresh: refresh,
        flags: (ModeFlags::PHSYNC | ModeFlags::NVSYNC).bits(),
        type_: ModeTypeFlags::DRIVER.bits(),
        ..Default::default()
    })
}

/// Returns an `IN_FORMATS` blob: format codes, and modifiers as mask of formats, index of the
/// format that bit 0 stands for, and modifier (`struct drm_format_modifier_blob`).
pub fn in_formats_blob(formats: &[u32], modifiers: &[(u64, u32, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (count, at) = (formats.len() as u32, 24 + formats.len() as u32 * 4);
    let header = [1, 0, count, 24, modifiers.len() as u32, at];
    bytes.extend(header.iter().chain(formats).flat_map(|word| word.to_ne_bytes()));
    for (mask, offset, modifier) in modifiers {
        bytes.extend(mask.to_ne_bytes());
        bytes.extend([*offset, 0].into_iter().flat_map(u32::to_ne_bytes));
        bytes.extend(modifier.to_ne_bytes());
    }
    bytes
}

impl Default for FakeDevice {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeDevice {
    /// Returns an atomic device without objects, of which the client is DRM master.
    ///
    /// # Panics
    ///
    /// If the process has no descriptors left.
    #[allow(clippy::expect_used)] // only in tests
    pub fn new() -> Self {
        use rustix::event::{eventfd, EventfdFlags};
        use rustix::fs::{memfd_create, MemfdFlags};
        let events = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("eventfd");
        let memory = memfd_create("fake-drm", MemfdFlags::CLOEXEC).expect("memfd");
        Self(Arc::new(Shared { events, memory, state: Mutex::default() }))
    }

    /// Returns a device with `count` CRTCs, each with a primary and a cursor plane, and as many
    /// connectors `DP-1` and so on, which every CRTC can drive. Monitors with modes 1920x1080 and
    /// 1280x720 at 60 Hz are connected.
    pub fn with_outputs(count: usize) -> Self {
        let fake = Self::new();
        let crtcs: Vec<u32> = (0..count).map(|_| fake.add_crtc()).collect();
        for crtc in &crtcs {
            fake.add_plane(PlaneKind::Primary, &[*crtc], &[DrmFourcc::Xrgb8888, DrmFourcc::Xrgb2101010]);
            fake.add_plane(PlaneKind::Cursor, &[*crtc], &[DrmFourcc::Argb8888]);
        }
        for _ in 0..count {
            let connector = fake.add_connector(Interface::DisplayPort, &crtcs);
            fake.connect(connector, &[mode(1920, 1080, 60), mode(1280, 720, 60)]);
        }
        fake
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a descriptor of the device.
    pub fn open(&self) -> DrmFd {
        self.clone().into()
    }

    /// Sets the driver's name, and whether it is atomic.
    pub fn set_driver(&self, name: &str, is_atomic: bool) {
        let mut state = self.state();
        name.clone_into(&mut state.driver);
        state.is_atomic = is_atomic;
    }

    /// Makes its driver one that only renders.
    pub fn remove_kms(&self) {
        self.state().has_kms = false;
    }

    /// Sets whether the client is DRM master.
    pub fn set_master(&self, is_master: bool) {
        self.state().is_master = is_master;
    }

    /// Makes giving up DRM master fail, as before Linux 5.8 for a process without CAP_SYS_ADMIN.
    pub fn keep_master(&self) {
        self.state().keeps_master = true;
    }

    /// Unplugs the device: every call fails with ENODEV.
    pub fn unplug(&self) {
        self.state().is_unplugged = true;
    }

    /// Adds a CRTC.
    pub fn add_crtc(&self) -> u32 {
        self.state().add_crtc()
    }

    /// Adds a plane for these CRTCs, which scans out these formats with a linear layout.
    pub fn add_plane(&self, kind: PlaneKind, crtcs: &[u32], formats: &[DrmFourcc]) -> u32 {
        self.state().add_plane(kind, crtcs, formats)
    }

    /// Sets the formats of a plane with the modifiers of each.
    pub fn set_modifiers(&self, plane: u32, formats: &[(DrmFourcc, &[DrmModifier])]) {
        self.state().set_modifiers(plane, formats);
    }

    /// Adds a connector that these CRTCs can drive; nothing is connected to it.
    pub fn add_connector(&self, interface: Interface, crtcs: &[u32]) -> u32 {
        self.state().add_connector(interface, crtcs)
    }

    /// Adds a color pipeline to a plane. Returns its value of `COLOR_PIPELINE`, which is the id of
    /// its first operation; the others have the ids after it.
    pub fn add_pipeline(&self, plane: u32, colorops: &[FakeColorop]) -> u64 {
        self.state().add_pipeline(plane, colorops)
    }

    /// Connects a monitor with these modes.
    pub fn connect(&self, connector: u32, modes: &[KmsMode]) {
        self.state().set_modes(connector, Some(modes.to_vec()));
    }

    /// Disconnects the monitor.
    pub fn disconnect(&self, connector: u32) {
        self.state().set_modes(connector, None);
    }

    /// Connects something of which the driver cannot tell whether it is a monitor.
    pub fn connect_unknown(&self, connector: u32, modes: &[KmsMode]) {
        self.connect(connector, modes);
        self.state().set_unknown(connector);
    }

    /// Removes a connector, as when an MST hub is unplugged.
    pub fn remove_connector(&self, connector: u32) {
        self.state().remove(connector);
    }

    /// Returns the ids of CRTCs, in order.
    pub fn crtcs(&self) -> Vec<u32> {
        self.state().crtcs()
    }

    /// Returns the ids of connectors, in order.
    pub fn connectors(&self) -> Vec<u32> {
        self.state().connectors()
    }

    /// Returns the ids of planes, in order.
    pub fn planes(&self) -> Vec<u32> {
        self.state().planes()
    }

    /// Returns the value of a property.
    pub fn value(&self, object: u32, property: &str) -> Option<u64> {
        self.state().value(object, property)
    }

    /// Sets the value of a property without a check, as a previous DRM master or the driver does.
    pub fn set_value(&self, object: u32, property: &str, value: u64) {
        self.state().set_value(object, property, value);
    }

    /// Makes properties of this name immutable on all objects, as some drivers do.
    pub fn make_immutable(&self, property: &str) {
        self.state().make_immutable(property);
    }

    /// Removes a property from an object, as if the driver did not have it.
    pub fn remove_property(&self, object: u32, property: &str) {
        self.state().remove_property(object, property);
    }

    /// Adds a blob, as a previous DRM master or the driver does.
    pub fn add_blob(&self, data: &[u8]) -> u64 {
        self.state().add_blob(data.to_vec(), true).into()
    }

    /// Returns the content of a blob.
    pub fn blob_content(&self, id: u64) -> Option<Vec<u8>> {
        self.state().blob(id).map(<[u8]>::to_vec)
    }

    /// Enables a CRTC with a mode on a connector, as a previous DRM master does, with a framebuffer
    /// whose pixels are `fill`. Returns the framebuffer's id.
    ///
    /// # Panics
    ///
    /// If there is no memory.
    #[allow(clippy::expect_used)] // only in tests
    pub fn show(&self, crtc: u32, connector: u32, mode: &KmsMode, fill: u32) -> u32 {
        let size = mode.size();
        let (width, height) = (u32::from(size.0), u32::from(size.1));
        let bytes: Vec<u8> = fill.to_ne_bytes().repeat((width * height) as usize);
        let mut state = self.state();
        let handle = state.allocate(&self.0.memory, bytes.len()).expect("memory");
        let offset = state.memory_of(handle).map_or(0, |memory| memory.offset);
        rustix::io::pwrite(&self.0.memory, &bytes, offset).expect("write to memory");
        let handle = from_u32(handle).expect("a handle is not 0");
        let format = DrmFourcc::Xrgb8888;
        let layout = FramebufferLayout::single_plane((width, height), format, handle, width * 4, 0);
        let framebuffer = state.add_framebuffer(&layout).expect("a valid framebuffer");
        state.close_handle(handle.into());
        state.show(crtc, Some((framebuffer, connector, *mode)));
        framebuffer
    }

    /// Returns the bytes of a framebuffer's memory.
    ///
    /// # Panics
    ///
    /// If there is no such framebuffer.
    #[allow(clippy::expect_used)] // only in tests
    pub fn pixels(&self, framebuffer: u32) -> Vec<u8> {
        let state = self.state();
        let shown = state.framebuffers.get(&framebuffer).and_then(|known| known.memory.first());
        let memory = shown.and_then(|memory| state.memory.get(memory)).expect("a framebuffer");
        let mut bytes = vec![0; memory.length];
        rustix::io::pread(&self.0.memory, &mut bytes, memory.offset).expect("read the memory");
        bytes
    }

    /// Fails calls with an error if `when` returns true. Later failures come first.
    pub fn fail_calls(&self, errno: Errno, when: impl FnMut(&Call) -> bool + Send + 'static) {
        self.state().failures.insert(0, Failure { errno, when: Box::new(when) });
    }

    /// Fails atomic commits and test commits with an error if `when` returns true.
    pub fn fail_commits(&self, errno: Errno, mut when: impl FnMut(&Commit) -> bool + Send + 'static) {
        self.fail_calls(errno, move |call| match call {
            Call::Atomic(commit) => when(commit),
            _ => false,
        });
    }

    /// Fails one atomic commit or test commit with an error; 0 is the next one.
    pub fn fail_nth_commit(&self, number: usize, errno: Errno) {
        let mut count = 0;
        self.fail_commits(errno, move |_| {
            count += 1;
            count == number + 1
        });
    }

    /// Fails nothing from now on.
    pub fn clear_failures(&self) {
        self.state().failures.clear();
    }

    /// Returns the calls since the last one of this function.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    /// Returns the atomic commits and test commits since the last [`FakeDevice::take_calls`] or
    /// this function. Other calls are dropped.
    pub fn take_commits(&self) -> Vec<Commit> {
        let commits = self.take_calls().into_iter().filter_map(|call| match call {
            Call::Atomic(commit) => Some(commit),
            _ => None,
        });
        commits.collect()
    }

    /// Returns the connectors that were probed since the last call of this function, in order.
    pub fn take_probes(&self) -> Vec<u32> {
        std::mem::take(&mut self.state().probes)
    }

    /// Completes all pending page flips at a time of the monotonic clock.
    pub fn complete_flips(&self, time: Duration) {
        self.state().complete_flips(time);
        let _ = rustix::io::write(&self.0.events, &1u64.to_ne_bytes());
    }

    /// Closes a lease, as its program does.
    pub fn close_lease(&self, lessee: u32) {
        self.state().leases.remove(&lessee);
    }

    /// Returns the objects of each lease, by lessee.
    pub fn leases(&self) -> Vec<(u32, Vec<u32>)> {
        self.state().leases.iter().map(|(lessee, objects)| (*lessee, objects.clone())).collect()
    }

    /// Returns how many framebuffers, GEM handles and blobs of the client exist.
    pub fn resource_counts(&self) -> (usize, usize, usize) {
        let state = self.state();
        let blobs = state.blobs.values().filter(|blob| blob.is_owned).count();
        (state.framebuffers.len(), state.handles.len(), blobs)
    }

    /// Returns how many framebuffers were removed while a plane scanned them out, which disables
    /// the plane.
    pub fn removed_while_shown(&self) -> usize {
        self.state().removed_while_shown
    }
}
