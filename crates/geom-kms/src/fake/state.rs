//! The objects, properties and buffers of the fake device.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use drm::buffer::{DrmFourcc, DrmModifier};
use drm::control::connector::Interface;
use drm::control::{from_u32, Mode as KmsMode, ModeTypeFlags};
use rustix::io::Errno;

use super::limits::Limits;
use super::{in_formats_blob, Call, Failure, FakeColorop, PageFlip, LUT_SIZE};
use crate::calls::{ClientCapability, ObjectKind};
use crate::framebuffer::FramebufferLayout;
use crate::modes;
use crate::objects::PlaneKind;

/// Values of properties, by ids of object and property.
pub(super) type Values = BTreeMap<(u32, u32), u64>;

/// The values that a property takes.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Enum(Arc<[(String, u64)]>),
    Range(u64, u64),
    /// A blob whose size is a multiple of this, and at least as much.
    Blob(usize),
    Framebuffer,
    Crtc,
    /// A descriptor; applies to one commit.
    Fence,
}

#[derive(Debug, Clone)]
pub(super) struct Property {
    pub name: String,
    pub kind: Kind,
    pub is_immutable: bool,
    /// Clients without the atomic capability do not see it.
    pub is_atomic: bool,
}

#[derive(Debug)]
pub(super) enum Object {
    Crtc,
    Connector(Connector),
    Plane { kind: PlaneKind, possible_crtcs: u32, formats: Vec<u32> },
    Colorop,
    Encoder { connector: u32, possible_crtcs: u32 },
}

impl Object {
    pub fn kind(&self) -> Option<ObjectKind> {
        match self {
            Self::Crtc => Some(ObjectKind::Crtc),
            Self::Connector(_) => Some(ObjectKind::Connector),
            Self::Plane { .. } => Some(ObjectKind::Plane),
            Self::Colorop => Some(ObjectKind::Colorop),
            Self::Encoder { .. } => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Connector {
    pub interface: Interface,
    pub interface_id: u32,
    pub encoder: u32,
    /// `None` if no monitor is connected.
    pub modes: Option<Vec<KmsMode>>,
    /// The driver cannot tell whether one is connected.
    pub is_unknown: bool,
    /// The same at the last probe.
    pub probed_modes: Option<Vec<KmsMode>>,
}

#[derive(Debug)]
pub(super) struct Blob {
    pub data: Vec<u8>,
    /// The client or the driver has not destroyed it.
    pub is_owned: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub offset: u64,
    pub length: usize,
}

/// A framebuffer: its layout, whose handles may be closed, and its memory.
#[derive(Debug)]
pub(super) struct Framebuffer {
    pub layout: FramebufferLayout,
    pub memory: Vec<u32>,
}

pub(super) struct State {
    pub driver: String,
    pub is_atomic: bool,
    /// The driver has KMS; others only render.
    pub has_kms: bool,
    pub is_master: bool,
    /// Giving up DRM master fails.
    pub keeps_master: bool,
    pub is_unplugged: bool,
    pub limits: Limits,
    pub enabled: Vec<ClientCapability>,
    next_id: u32,
    pub objects: BTreeMap<u32, Object>,
    pub properties: BTreeMap<u32, Property>,
    pub values: Values,
    pub blobs: BTreeMap<u32, Blob>,
    pub framebuffers: BTreeMap<u32, Framebuffer>,
    /// Memory by GEM handle.
    pub handles: BTreeMap<u32, u32>,
    pub memory: BTreeMap<u32, Memory>,
    /// Imported dma-bufs by inode.
    pub imported: BTreeMap<u64, u32>,
    memory_end: u64,
    pub leases: BTreeMap<u32, Vec<u32>>,
    pub calls: Vec<Call>,
    pub failures: Vec<Failure>,
    /// CRTCs with a pending page flip event.
    pub pending: BTreeSet<u32>,
    pub events: VecDeque<PageFlip>,
    sequence: u32,
    pub removed_while_shown: usize,
    /// Connectors that were probed, in order.
    pub probes: Vec<u32>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            driver: "fake".to_owned(),
            is_atomic: true,
            has_kms: true,
            is_master: true,
            keeps_master: false,
            is_unplugged: false,
            limits: Limits::default(),
            enabled: Vec::new(),
            next_id: 31,
            objects: BTreeMap::new(),
            properties: BTreeMap::new(),
            values: Values::new(),
            blobs: BTreeMap::new(),
            framebuffers: BTreeMap::new(),
            handles: BTreeMap::new(),
            memory: BTreeMap::new(),
            imported: BTreeMap::new(),
            memory_end: 0,
            leases: BTreeMap::new(),
            calls: Vec::new(),
            failures: Vec::new(),
            pending: BTreeSet::new(),
            events: VecDeque::new(),
            sequence: 0,
            removed_while_shown: 0,
            probes: Vec::new(),
        }
    }
}

pub(super) fn choices(names: &[&str]) -> Kind {
    Kind::Enum(names.iter().zip(0..).map(|(name, number)| ((*name).to_owned(), number)).collect())
}

/// Properties that clients cannot write, apart from sizes of LUTs.
const IMMUTABLE: [&str; 11] = [
    "panel orientation",
    "type",
    "IN_FORMATS",
    "SIZE_HINTS",
    "EDID",
    "PATH",
    "non-desktop",
    "vrr_capable",
    "TYPE",
    "NEXT",
    "SIZE",
];

impl State {
    pub fn new_id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }

    /// Adds a property to an object. Objects share properties of the same name, except enums.
    pub fn add_property(&mut self, object: u32, name: &str, kind: Kind, value: u64) -> u32 {
        let shared = self.properties.iter().find(|(_, known)| known.name == name);
        let shared = shared.filter(|_| !matches!(kind, Kind::Enum(_))).map(|(id, _)| *id);
        let id = shared.unwrap_or_else(|| self.new_id());
        let is_immutable = IMMUTABLE.contains(&name) || name.ends_with("LUT_SIZE");
        let is_atomic = ["ACTIVE", "MODE_ID", "IN_FENCE_FD", "FB_ID"].contains(&name)
            || name.starts_with("SRC_")
            || name.starts_with("CRTC_");
        let name = name.to_owned();
        self.properties.entry(id).or_insert(Property { name, kind, is_immutable, is_atomic });
        self.values.insert((object, id), value);
        id
    }

    fn add_object(&mut self, object: Object) -> u32 {
        let id = self.new_id();
        self.objects.insert(id, object);
        id
    }

    pub fn add_crtc(&mut self) -> u32 {
        let id = self.add_object(Object::Crtc);
        self.add_property(id, "ACTIVE", Kind::Range(0, 1), 0);
        self.add_property(id, "MODE_ID", Kind::Blob(modes::MODE_BYTES), 0);
        self.add_property(id, "VRR_ENABLED", Kind::Range(0, 1), 0);
        self.add_property(id, "DEGAMMA_LUT", Kind::Blob(8), 0);
        self.add_property(id, "DEGAMMA_LUT_SIZE", Kind::Range(0, u32::MAX.into()), LUT_SIZE);
        self.add_property(id, "CTM", Kind::Blob(72), 0);
        self.add_property(id, "GAMMA_LUT", Kind::Blob(8), 0);
        self.add_property(id, "GAMMA_LUT_SIZE", Kind::Range(0, u32::MAX.into()), LUT_SIZE);
        id
    }

    fn mask(&self, crtcs: &[u32]) -> u32 {
        let all = self.crtcs();
        all.iter().zip(0..).filter(|(crtc, _)| crtcs.contains(crtc)).fold(0, |mask, (_, bit)| mask | 1 << bit)
    }

    pub fn add_plane(&mut self, kind: PlaneKind, crtcs: &[u32], formats: &[DrmFourcc]) -> u32 {
        let formats: Vec<u32> = formats.iter().map(|format| *format as u32).collect();
        let all = (1u64 << formats.len()) - 1;
        let linear = self.add_blob(in_formats_blob(&formats, &[(all, 0, 0)]), true);
        let possible_crtcs = self.mask(crtcs);
        let id = self.add_object(Object::Plane { kind, possible_crtcs, formats });
        self.add_property(id, "type", choices(&["Overlay", "Primary", "Cursor"]), kind as u64);
        self.add_property(id, "IN_FORMATS", Kind::Blob(1), linear.into());
        self.add_property(id, "FB_ID", Kind::Framebuffer, 0);
        self.add_property(id, "CRTC_ID", Kind::Crtc, 0);
        for name in ["SRC_X", "SRC_Y", "SRC_W", "SRC_H", "CRTC_W", "CRTC_H"] {
            self.add_property(id, name, Kind::Range(0, u32::MAX.into()), 0);
        }
        for name in ["CRTC_X", "CRTC_Y"] {
            self.add_property(id, name, Kind::Range(0, u64::MAX), 0);
        }
        self.add_property(id, "IN_FENCE_FD", Kind::Fence, u64::MAX);
        self.add_property(id, "FB_DAMAGE_CLIPS", Kind::Blob(16), 0);
        self.add_property(id, "rotation", Kind::Range(1, 63), 1);
        self.add_property(id, "alpha", Kind::Range(0, 0xffff), 0xffff);
        self.add_property(id, "zpos", Kind::Range(0, 7), kind as u64);
        let blends = choices(&["None", "Pre-multiplied", "Coverage"]);
        self.add_property(id, "pixel blend mode", blends, 1);
        let encodings = choices(&["ITU-R BT.601 YCbCr", "ITU-R BT.709 YCbCr"]);
        self.add_property(id, "COLOR_ENCODING", encodings, 1);
        let ranges = choices(&["YCbCr limited range", "YCbCr full range"]);
        self.add_property(id, "COLOR_RANGE", ranges, 0);
        self.add_property(id, "SCALING_FILTER", choices(&["Default", "Nearest Neighbor"]), 0);
        id
    }

    pub fn set_modifiers(&mut self, plane: u32, formats: &[(DrmFourcc, &[DrmModifier])]) {
        let codes: Vec<u32> = formats.iter().map(|(code, _)| *code as u32).collect();
        let each = formats.iter().enumerate().flat_map(|(index, (_, modifiers))| {
            modifiers
                .iter()
                .map(move |modifier| (1 << (index % 64), (index / 64 * 64) as u32, (*modifier).into()))
        });
        let blob = in_formats_blob(&codes, &each.collect::<Vec<_>>());
        let blob = self.add_blob(blob, true);
        if let Some(Object::Plane { formats, .. }) = self.objects.get_mut(&plane) {
            *formats = codes;
        }
        self.set_value(plane, "IN_FORMATS", blob.into());
    }

    pub fn add_connector(&mut self, interface: Interface, crtcs: &[u32]) -> u32 {
        let possible_crtcs = self.mask(crtcs);
        let same =
            |object: &&Object| matches!(object, Object::Connector(known) if known.interface == interface);
        let interface_id = self.objects.values().filter(same).count() as u32 + 1;
        let encoder = self.new_id();
        let id = self.add_object(Object::Connector(Connector {
            interface,
            interface_id,
            encoder,
            modes: None,
            is_unknown: false,
            probed_modes: None,
        }));
        self.objects.insert(encoder, Object::Encoder { connector: id, possible_crtcs });
        self.add_property(id, "CRTC_ID", Kind::Crtc, 0);
        self.add_property(id, "EDID", Kind::Blob(128), 0);
        self.add_property(id, "DPMS", choices(&["On", "Standby", "Suspend", "Off"]), 0);
        self.add_property(id, "non-desktop", Kind::Range(0, 1), 0);
        self.add_property(id, "link-status", choices(&["Good", "Bad"]), 0);
        self.add_property(id, "max bpc", Kind::Range(6, 12), 12);
        self.add_property(id, "Colorspace", choices(&["Default", "BT2020_RGB", "DCI-P3_RGB_D65"]), 0);
        self.add_property(id, "HDR_OUTPUT_METADATA", Kind::Blob(1), 0);
        self.add_property(id, "Broadcast RGB", choices(&["Automatic", "Full", "Limited 16:235"]), 0);
        let contents = ["No Data", "Graphics", "Photo", "Cinema", "Game"];
        self.add_property(id, "content type", choices(&contents), 0);
        self.add_property(id, "scaling mode", choices(&["None", "Full", "Center", "Full aspect"]), 0);
        self.add_property(id, "vrr_capable", Kind::Range(0, 1), 0);
        id
    }

    pub fn add_pipeline(&mut self, plane: u32, colorops: &[FakeColorop]) -> u64 {
        let ids: Vec<u32> = colorops.iter().map(|_| self.add_object(Object::Colorop)).collect();
        for (index, (id, colorop)) in ids.iter().zip(colorops).enumerate() {
            let types = ["1D Curve", "1D LUT", "3x4 Matrix"];
            let number = match colorop {
                FakeColorop::Curves(curves) => {
                    self.add_property(*id, "CURVE_1D_TYPE", choices(curves), 0);
                    0
                }
                FakeColorop::Lut1d(size) => {
                    self.add_property(*id, "SIZE", Kind::Range(0, u32::MAX.into()), *size);
                    self.add_property(*id, "DATA", Kind::Blob(16), 0);
                    1
                }
                FakeColorop::Matrix => {
                    self.add_property(*id, "DATA", Kind::Blob(16), 0);
                    2
                }
            };
            self.add_property(*id, "TYPE", choices(&types), number);
            self.add_property(*id, "BYPASS", Kind::Range(0, 1), 1);
            let next = ids.get(index + 1).copied().unwrap_or(0);
            self.add_property(*id, "NEXT", Kind::Range(0, u32::MAX.into()), next.into());
        }
        let first = ids.first().copied().unwrap_or(0);
        let known = self.property_id(plane, "COLOR_PIPELINE").and_then(|id| self.properties.get_mut(&id));
        match known.map(|known| &mut known.kind) {
            Some(Kind::Enum(pipelines)) => {
                let more = (format!("Color Pipeline {first}"), first.into());
                *pipelines = pipelines.iter().cloned().chain([more]).collect();
            }
            _ => {
                let pipelines = [("Bypass".to_owned(), 0), (format!("Color Pipeline {first}"), first.into())];
                self.add_property(plane, "COLOR_PIPELINE", Kind::Enum(pipelines.into()), 0);
            }
        }
        first.into()
    }

    pub fn remove(&mut self, object: u32) {
        self.objects.remove(&object);
        self.values.retain(|(owner, _), _| *owner != object);
    }

    pub fn set_modes(&mut self, connector: u32, modes: Option<Vec<KmsMode>>) {
        let preferred = |(index, mode): (usize, KmsMode)| {
            let mut raw = drm_ffi::drm_mode_modeinfo::from(mode);
            if index == 0 {
                raw.type_ |= ModeTypeFlags::PREFERRED.bits();
            }
            KmsMode::from(raw)
        };
        if let Some(Object::Connector(connector)) = self.objects.get_mut(&connector) {
            connector.is_unknown = false;
            connector.modes = modes.map(|modes| modes.into_iter().enumerate().map(preferred).collect());
        }
    }

    pub fn set_unknown(&mut self, connector: u32) {
        if let Some(Object::Connector(connector)) = self.objects.get_mut(&connector) {
            connector.is_unknown = true;
        }
    }

    fn of_kind(&self, kind: ObjectKind) -> Vec<u32> {
        self.objects.iter().filter(|(_, object)| object.kind() == Some(kind)).map(|(id, _)| *id).collect()
    }

    pub fn crtcs(&self) -> Vec<u32> {
        self.of_kind(ObjectKind::Crtc)
    }

    pub fn connectors(&self) -> Vec<u32> {
        self.of_kind(ObjectKind::Connector)
    }

    pub fn planes(&self) -> Vec<u32> {
        self.of_kind(ObjectKind::Plane)
    }

    pub fn property_id(&self, object: u32, name: &str) -> Option<u32> {
        let ids = self.values.range((object, 0)..=(object, u32::MAX)).map(|((_, id), _)| *id);
        ids.into_iter().find(|id| self.properties.get(id).is_some_and(|property| property.name == name))
    }

    /// Returns a value out of `values`, which has the same properties as the current ones.
    pub fn value_in(&self, values: &Values, object: u32, name: &str) -> Option<u64> {
        values.get(&(object, self.property_id(object, name)?)).copied()
    }

    pub fn value(&self, object: u32, name: &str) -> Option<u64> {
        self.value_in(&self.values, object, name)
    }

    pub fn set_value(&mut self, object: u32, name: &str, value: u64) {
        if let Some(id) = self.property_id(object, name) {
            self.values.insert((object, id), value);
        }
    }

    pub fn make_immutable(&mut self, name: &str) {
        let named = self.properties.values_mut().filter(|property| property.name == name);
        named.for_each(|property| property.is_immutable = true);
    }

    /// Replaces the property of an object by one of its own.
    pub fn set_range(&mut self, object: u32, name: &str, (min, max): (u64, u64), is_immutable: bool) {
        self.remove_property(object, name);
        let (id, name) = (self.new_id(), name.to_owned());
        let kind = Kind::Range(min, max);
        self.properties.insert(id, Property { name, kind, is_immutable, is_atomic: false });
        self.values.insert((object, id), min);
    }

    pub fn remove_property(&mut self, object: u32, name: &str) {
        if let Some(id) = self.property_id(object, name) {
            self.values.remove(&(object, id));
        }
    }

    pub fn add_blob(&mut self, data: Vec<u8>, is_owned: bool) -> u32 {
        let id = self.new_id();
        self.blobs.insert(id, Blob { data, is_owned });
        id
    }

    pub fn blob(&self, id: u64) -> Option<&[u8]> {
        Some(self.blobs.get(&u32::try_from(id).ok()?)?.data.as_slice())
    }

    /// Drops blobs that nothing refers to.
    pub fn collect_blobs(&mut self) {
        let used: BTreeSet<u64> = self.values.values().copied().collect();
        self.blobs.retain(|id, blob| blob.is_owned || used.contains(&u64::from(*id)));
    }

    pub fn mode_in(&self, values: &Values, crtc: u32) -> Option<KmsMode> {
        modes::from_bytes(self.blob(self.value_in(values, crtc, "MODE_ID")?)?)
    }

    /// Allocates memory; returns a GEM handle.
    pub fn allocate(&mut self, file: &OwnedFd, length: usize) -> Result<u32, Errno> {
        const PAGE: u64 = 4096;
        let memory = Memory { offset: self.memory_end, length };
        self.memory_end += (length as u64).next_multiple_of(PAGE);
        rustix::fs::ftruncate(file, self.memory_end)?;
        let id = self.new_id();
        self.memory.insert(id, memory);
        Ok(self.new_handle(id))
    }

    pub fn new_handle(&mut self, memory: u32) -> u32 {
        let handle = self.new_id();
        self.handles.insert(handle, memory);
        handle
    }

    pub fn memory_of(&self, handle: u32) -> Option<Memory> {
        self.memory.get(self.handles.get(&handle)?).copied()
    }

    pub fn close_handle(&mut self, handle: u32) -> bool {
        self.imported.retain(|_, imported| *imported != handle);
        self.handles.remove(&handle).is_some()
    }

    pub fn add_framebuffer(&mut self, layout: &FramebufferLayout) -> Result<u32, Errno> {
        let handles = layout.handles.iter().flatten();
        let memory: Vec<u32> =
            handles.filter_map(|handle| self.handles.get(&u32::from(*handle)).copied()).collect();
        if memory.len() != layout.handles.iter().flatten().count() || memory.is_empty() {
            return Err(Errno::NOENT);
        }
        let pixel_bytes = if layout.format == DrmFourcc::Rgb565 { 2 } else { 4 };
        if layout.size.0 == 0 || layout.size.1 == 0 || layout.pitches[0] < layout.size.0 * pixel_bytes {
            return Err(Errno::INVAL);
        }
        let id = self.new_id();
        self.framebuffers.insert(id, Framebuffer { layout: layout.clone(), memory });
        Ok(id)
    }

    /// Sets what a CRTC shows, as SETCRTC does.
    pub fn show(&mut self, crtc: u32, shown: Option<(u32, u32, KmsMode)>) {
        let mode = shown.map_or(0, |(_, _, mode)| self.add_blob(modes::to_bytes(&mode).to_vec(), false));
        self.set_value(crtc, "MODE_ID", mode.into());
        self.set_value(crtc, "ACTIVE", shown.is_some().into());
        for connector in self.connectors() {
            let is_shown = shown.is_some_and(|(_, with, _)| with == connector);
            if is_shown || self.value(connector, "CRTC_ID") == Some(crtc.into()) {
                self.set_value(connector, "CRTC_ID", if is_shown { crtc.into() } else { 0 });
            }
        }
        if let Some(plane) = self.primary_plane(crtc) {
            let framebuffer = shown.map_or(0, |(framebuffer, ..)| framebuffer);
            self.set_value(plane, "FB_ID", framebuffer.into());
            self.set_value(plane, "CRTC_ID", if shown.is_some() { crtc.into() } else { 0 });
        }
        self.collect_blobs();
    }

    /// Returns the first primary plane that can be used on a CRTC.
    pub fn primary_plane(&self, crtc: u32) -> Option<u32> {
        let bit = self.mask(&[crtc]);
        let is_primary = |object: &Object| match object {
            Object::Plane { kind, possible_crtcs, .. } => {
                *kind == PlaneKind::Primary && possible_crtcs & bit != 0
            }
            _ => false,
        };
        self.objects.iter().find(|(_, object)| is_primary(object)).map(|(id, _)| *id)
    }

    /// Removes a framebuffer. The kernel disables planes that show it, and the CRTC of a primary
    /// plane with them (drm_framebuffer_remove()).
    pub fn remove_framebuffer(&mut self, id: u32) -> bool {
        for plane in self.planes() {
            if self.value(plane, "FB_ID") != Some(id.into()) {
                continue;
            }
            self.removed_while_shown += 1;
            let crtc = self.value(plane, "CRTC_ID").unwrap_or(0) as u32;
            self.set_value(plane, "FB_ID", 0);
            self.set_value(plane, "CRTC_ID", 0);
            if self.primary_plane(crtc) == Some(plane) {
                self.show(crtc, None);
            }
        }
        self.framebuffers.remove(&id).is_some()
    }

    pub fn complete_flips(&mut self, time: Duration) {
        if self.pending.is_empty() {
            return;
        }
        self.sequence += 1;
        let (sequence, pending) = (self.sequence, std::mem::take(&mut self.pending));
        let flips =
            pending.into_iter().filter_map(|crtc| Some(PageFlip { crtc: from_u32(crtc)?, time, sequence }));
        self.events.extend(flips);
    }

    /// Records a call, and returns the error that a test wants.
    pub fn record(&mut self, mut call: Call) -> Result<(), Errno> {
        let mut failures = std::mem::take(&mut self.failures);
        // All of them see the call, as some count.
        let errors: Vec<Errno> = failures
            .iter_mut()
            .filter_map(|failure| (failure.when)(&call).then_some(failure.errno))
            .collect();
        self.failures = failures;
        let error = errors.first().copied();
        if let (Call::Atomic(commit), Some(error)) = (&mut call, error) {
            commit.result = Err(error);
        }
        self.calls.push(call);
        error.map_or(Ok(()), Err)
    }
}
