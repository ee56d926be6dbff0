//! A device's CRTCs, planes and connectors, and those of their properties that we use.

use std::collections::BTreeSet;
use std::io;

use drm::control::{connector, crtc, plane, property, Mode as KmsMode};
use geom_display::connector_override::ConnectorOverrides;
use geom_display::identity::{edid_name, Identity};
use geom_display::matching::{assign, Item};
use geom_display::plan;
use geom_display::signal_format::MonitorColor;
use geom_edid::Edid;
use tracing::warn;

use crate::calls::{ConnectorStatus, DrmCalls, Resources};
use crate::colorop::{self, PlanePipeline};
use crate::connector_props::{panel_orientation, ConnectorPropIds};
use crate::crtc_props::CrtcPropIds;
use crate::drm_fd::{raw, DrmFd};
use crate::formats::PlaneFormats;
use crate::legacy::Dpms;
use crate::modes;
use crate::overridden::{edid_modes, unknown_monitor_modes};
use crate::plane_defaults::PlaneDefaults;
use crate::properties::{Properties, PropertyReader};
use crate::quirks::Quirks;

/// A CRTC.
#[derive(Debug)]
pub struct Crtc {
    /// Its handle.
    pub handle: crtc::Handle,
    /// Property ids; `None` on devices that are not atomic.
    pub(crate) ids: Option<CrtcPropIds>,
    /// Its primary plane: index into [`Objects::planes`].
    pub(crate) primary: Option<usize>,
    /// Its cursor plane: index into [`Objects::planes`].
    pub(crate) cursor: Option<usize>,
    /// Entries of the LUT of the call that sets gamma; 0 without one.
    gamma_length: usize,
}

impl Crtc {
    /// Returns whether it has a gamma LUT for atomic requests.
    pub(crate) fn has_gamma_lut(&self) -> bool {
        self.ids.is_some_and(|ids| ids.gamma_size > 0)
    }

    /// Returns the entries of its gamma LUT, for atomic requests or else for the call that sets it;
    /// 0 without one.
    pub(crate) fn gamma_size(&self) -> usize {
        match self.ids {
            Some(ids) if ids.gamma_size > 0 => ids.gamma_size,
            _ => self.gamma_length,
        }
    }
}

/// Ids of a plane's properties.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlanePropIds {
    pub fb_id: property::Handle,
    pub crtc_id: property::Handle,
    pub src_x: property::Handle,
    pub src_y: property::Handle,
    pub src_w: property::Handle,
    pub src_h: property::Handle,
    pub crtc_x: property::Handle,
    pub crtc_y: property::Handle,
    pub crtc_w: property::Handle,
    pub crtc_h: property::Handle,
    pub in_fence_fd: Option<property::Handle>,
    pub damage_clips: Option<property::Handle>,
    pub color_pipeline: Option<property::Handle>,
    /// `HOTSPOT_X` and `HOTSPOT_Y`.
    pub hotspot: Option<(property::Handle, property::Handle)>,
}

impl PlanePropIds {
    fn read(properties: &Properties) -> io::Result<Self> {
        Ok(Self {
            fb_id: properties.required("FB_ID")?,
            crtc_id: properties.required("CRTC_ID")?,
            src_x: properties.required("SRC_X")?,
            src_y: properties.required("SRC_Y")?,
            src_w: properties.required("SRC_W")?,
            src_h: properties.required("SRC_H")?,
            crtc_x: properties.required("CRTC_X")?,
            crtc_y: properties.required("CRTC_Y")?,
            crtc_w: properties.required("CRTC_W")?,
            crtc_h: properties.required("CRTC_H")?,
            in_fence_fd: properties.id("IN_FENCE_FD"),
            damage_clips: properties.id("FB_DAMAGE_CLIPS"),
            color_pipeline: properties.id("COLOR_PIPELINE"),
            hotspot: properties.id("HOTSPOT_X").zip(properties.id("HOTSPOT_Y")),
        })
    }
}

/// The type of a plane (`DRM_PLANE_TYPE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaneKind {
    /// Between the other two.
    Overlay,
    /// The background of a CRTC; most drivers require one.
    Primary,
    /// On top.
    Cursor,
}

/// A plane.
#[derive(Debug)]
pub struct Plane {
    /// Its handle.
    pub handle: plane::Handle,
    /// Its type.
    pub kind: PlaneKind,
    /// What it can scan out.
    pub formats: PlaneFormats,
    /// `SIZE_HINTS`: sizes of cursors in pixels, in the driver's order of preference.
    pub(crate) size_hints: Vec<(u32, u32)>,
    /// Bit i: usable on the CRTC with index i. None if it shows cursors in the wrong place.
    possible_crtcs: u32,
    pub(crate) pipelines: Vec<PlanePipeline>,
    /// Empty on devices that are not atomic.
    pub(crate) defaults: PlaneDefaults,
    /// `None` on devices that are not atomic.
    pub(crate) ids: Option<PlanePropIds>,
}

impl Plane {
    /// Returns whether the CRTC with this index can use it.
    fn can_use(&self, crtc: usize) -> bool {
        bit(self.possible_crtcs, crtc)
    }
}

/// A connector as the last probe found it.
#[derive(Debug)]
pub struct Connector {
    /// Its handle.
    pub handle: connector::Handle,
    /// `CRTC_ID`; `None` on devices that are not atomic.
    pub(crate) crtc_id: Option<property::Handle>,
    /// Empty on devices that are not atomic.
    pub(crate) props: ConnectorPropIds,
    pub(crate) dpms: Option<Dpms>,
    /// Bit i: the CRTC with index i can drive it.
    possible_crtcs: u32,
    /// Index of the CRTC that drove it at the last probe; another DRM master may have set that.
    pub(crate) current_crtc: Option<usize>,
    /// The kernel's modes, in the order of [`plan::ProbedConnector::modes`].
    pub modes: Vec<KmsMode>,
    /// Width and height of the monitor in millimeters; 0 if unknown.
    pub physical_size: (u32, u32),
    /// The lowest refresh rate of the monitor's range in Hz, by its EDID.
    pub min_refresh: Option<u16>,
    /// Behind an MST hub: the id of the connector that leads there, and the ports from there on.
    mst_path: Option<(u32, String)>,
    /// The driver cannot tell whether a monitor is connected.
    pub is_unknown: bool,
    /// The driver finds a monitor, whatever the configuration says.
    pub(crate) is_found: bool,
    /// What the plan is made of. Its `port` is empty: see [`Objects::port`].
    pub state: plan::ProbedConnector,
}

impl Connector {
    /// Returns whether the CRTC with this index can drive it.
    pub fn can_use(&self, crtc: usize) -> bool {
        bit(self.possible_crtcs, crtc)
    }
}

/// Returns whether a mask has the bit of the CRTC with this index. The kernel has at most 32 CRTCs
/// per device.
fn bit(mask: u32, index: usize) -> bool {
    u32::try_from(index).is_ok_and(|index| mask.checked_shr(index).unwrap_or(0) & 1 != 0)
}

/// Which connectors the kernel probes: it looks for a monitor and reads its EDID, which takes tens
/// of milliseconds each. Of others it returns what the last probe found, and the current values of
/// properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// All of them.
    All,
    /// Those with these ids, and new ones, as of an MST hub.
    Only(BTreeSet<u32>),
}

impl Probe {
    /// Returns what probes all connectors of both.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Only(these), Self::Only(those)) => Self::Only(these.union(&those).copied().collect()),
            _ => Self::All,
        }
    }

    /// Returns whether it probes a connector that is known.
    pub(crate) fn includes(&self, handle: connector::Handle) -> bool {
        match self {
            Self::All => true,
            Self::Only(these) => these.contains(&raw(handle)),
        }
    }
}

/// Everything that a device has.
#[derive(Debug, Default)]
pub struct Objects {
    /// CRTCs, in the kernel's order. They never change.
    pub crtcs: Vec<Crtc>,
    /// Planes. They never change.
    pub planes: Vec<Plane>,
    /// Connectors, as the last probe found them.
    pub connectors: Vec<Connector>,
    /// Connectors that are leased to other programs.
    pub(crate) leased: Vec<connector::Handle>,
    /// What the configuration says in place of the kernel.
    pub(crate) overrides: ConnectorOverrides,
    reader: PropertyReader,
}

impl Objects {
    /// Reads CRTCs and planes, and probes connectors.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error, or that the driver lacks a property.
    pub fn read(fd: &DrmFd, atomic: bool, quirks: Quirks) -> io::Result<Self> {
        let mut objects = Self::default();
        for handle in fd.resources()?.crtcs {
            let ids = match atomic {
                true => Some(CrtcPropIds::read(&objects.reader.read(&**fd, handle)?)?),
                false => None,
            };
            let gamma_length = fd.crtc(handle)?.gamma_length;
            objects.crtcs.push(Crtc { handle, ids, primary: None, cursor: None, gamma_length });
        }
        for handle in fd.plane_handles()? {
            let plane = objects.read_plane(&**fd, atomic, quirks, handle)?;
            objects.planes.push(plane);
        }
        objects.share_planes();
        objects.probe(fd, atomic, &Probe::All)?;
        Ok(objects)
    }

    fn read_plane(
        &mut self,
        fd: &dyn DrmCalls,
        atomic: bool,
        quirks: Quirks,
        handle: plane::Handle,
    ) -> io::Result<Plane> {
        let info = fd.plane(handle)?;
        let properties = self.reader.read(fd, handle)?;
        let kind = match properties.value("type") {
            Some(1) => PlaneKind::Primary,
            Some(2) => PlaneKind::Cursor,
            _ => PlaneKind::Overlay,
        };
        let blob = |name: &str| match properties.value(name) {
            Some(blob) if blob != 0 => fd.blob(blob),
            _ => Ok(Vec::new()),
        };
        let (in_formats, size_hints) = (blob("IN_FORMATS")?, blob("SIZE_HINTS")?);
        let ids = if atomic { Some(PlanePropIds::read(&properties)?) } else { None };
        let lacks_hotspot = quirks.needs_hotspot
            && kind == PlaneKind::Cursor
            && ids.is_some_and(|ids: PlanePropIds| ids.hotspot.is_none());
        Ok(Plane {
            handle,
            kind,
            formats: PlaneFormats::new(&info.formats, &in_formats),
            size_hints: parse_size_hints(&size_hints),
            possible_crtcs: if lacks_hotspot { 0 } else { info.possible_crtcs },
            pipelines: colorop::read(fd, &mut self.reader, &properties),
            defaults: match atomic {
                true => PlaneDefaults::read(&properties, kind, quirks),
                false => PlaneDefaults::default(),
            },
            ids,
        })
    }

    /// Gives each CRTC a primary and a cursor plane of its own, if there are enough: planes that
    /// several CRTCs can use go to those that can use no other.
    fn share_planes(&mut self) {
        for kind in [PlaneKind::Primary, PlaneKind::Cursor] {
            let usable = |index: usize| {
                let planes = self.planes.iter().enumerate();
                let usable = planes.filter(move |(_, plane)| plane.kind == kind && plane.can_use(index));
                Item { targets: usable.map(|(number, _)| number).collect(), preferred: None }
            };
            let items: Vec<Item> = (0..self.crtcs.len()).map(usable).collect();
            for (crtc, plane) in self.crtcs.iter_mut().zip(assign(&items)) {
                match kind {
                    PlaneKind::Cursor => crtc.cursor = plane,
                    _ => crtc.primary = plane,
                }
            }
        }
    }

    /// Reads every connector, and probes some.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error: the device is gone.
    pub fn probe(&mut self, fd: &DrmFd, atomic: bool, probe: &Probe) -> io::Result<()> {
        let resources = fd.resources()?;
        let mut connectors = Vec::new();
        for handle in &resources.connectors {
            let is_new = !self.connectors.iter().any(|connector| connector.handle == *handle);
            let probe = is_new || probe.includes(*handle);
            match self.read_connector(&**fd, atomic, &resources, *handle, probe) {
                Ok(connector) => connectors.push(connector),
                // MST connectors may vanish after they were listed.
                Err(error) => {
                    warn!(connector = raw(*handle), %error, "cannot probe connector; ignoring it until the next hotplug event")
                }
            }
        }
        self.connectors = connectors;
        Ok(())
    }

    fn read_connector(
        &mut self,
        fd: &dyn DrmCalls,
        atomic: bool,
        resources: &Resources,
        handle: connector::Handle,
        probe: bool,
    ) -> io::Result<Connector> {
        let info = fd.connector(handle, probe)?;
        let properties = self.reader.read(fd, handle)?;
        let mut possible_crtcs = 0;
        for encoder in &info.encoders {
            possible_crtcs |= fd.encoder(*encoder)?.possible_crtcs;
        }
        let current = info.current_encoder.and_then(|encoder| fd.encoder(encoder).ok()?.crtc);
        let current_crtc =
            current.and_then(|current| resources.crtcs.iter().position(|crtc| *crtc == current));
        let name = format!("{}-{}", info.interface.as_str(), info.interface_id);
        let configured = self.overrides.get(&name).cloned().unwrap_or_default();
        let found = info.status == ConnectorStatus::Connected;
        let is_connected = configured.connected.unwrap_or(found);
        let is_unknown = info.status == ConnectorStatus::Unknown && configured.connected.is_none();
        let configured_edid = configured.edid.filter(|_| is_connected).and_then(|bytes| parse_edid(&bytes));
        let has_configured_edid = configured_edid.is_some();
        let (edid, edid_name) =
            configured_edid.or_else(|| edid(fd, found && is_connected, &properties)).unzip();
        let modes = match &edid {
            Some(edid) if has_configured_edid => edid_modes(edid),
            _ if is_connected && !found && info.modes.is_empty() => unknown_monitor_modes(),
            _ if is_connected || is_unknown => info.modes,
            _ => Vec::new(),
        };
        let props = if atomic { ConnectorPropIds::read(&properties) } else { ConnectorPropIds::default() };
        let monitor = edid.as_ref().map(MonitorColor::from).unwrap_or_default();
        let min_refresh = edid.as_ref().and_then(Edid::min_refresh);
        Ok(Connector {
            handle,
            crtc_id: if atomic { Some(properties.required("CRTC_ID")?) } else { None },
            possible_crtcs,
            current_crtc,
            is_unknown,
            is_found: found,
            dpms: Dpms::read(&properties),
            physical_size: match &edid {
                Some(edid) if has_configured_edid => edid.millimeters().unwrap_or_default(),
                _ => info.size.unwrap_or_default(),
            },
            min_refresh,
            mst_path: mst_path(fd, &properties),
            state: plan::ProbedConnector {
                name,
                connected: is_connected,
                modes: modes.iter().enumerate().map(|(index, mode)| modes::describe(index, mode)).collect(),
                monitor: edid.as_ref().map(Identity::from),
                edid: edid_name,
                port: None,
                capabilities: props.capabilities(monitor),
                non_desktop: properties.value("non-desktop") == Some(1),
                panel_orientation: panel_orientation(&properties),
                tile: tile(fd, &properties),
            },
            modes,
            props,
        })
    }

    /// Returns the connector with this name.
    pub fn connector(&self, name: &str) -> Option<&Connector> {
        self.connectors.iter().find(|connector| connector.state.name == name)
    }

    /// Returns the port of a connector within the device: its own name, or that of the connector
    /// with the MST hub and the ports of the hubs.
    pub fn port(&self, connector: &Connector) -> String {
        let hub = connector.mst_path.as_ref().and_then(|(parent, ports)| {
            let parent = self.connectors.iter().find(|other| raw(other.handle) == *parent)?;
            Some(format!("{}/{ports}", parent.state.name))
        });
        hub.unwrap_or_else(|| connector.state.name.clone())
    }

    /// Returns the index of a CRTC.
    pub fn crtc_index(&self, handle: crtc::Handle) -> Option<usize> {
        self.crtcs.iter().position(|crtc| crtc.handle == handle)
    }

    /// Returns the primary plane of the CRTC with this index.
    pub fn primary_plane(&self, crtc: usize) -> Option<&Plane> {
        self.planes.get(self.crtcs.get(crtc)?.primary?)
    }

    /// Returns the cursor plane of the CRTC with this index.
    pub fn cursor_plane(&self, crtc: usize) -> Option<&Plane> {
        self.planes.get(self.crtcs.get(crtc)?.cursor?)
    }
}

/// Parses sizes in pixels (`struct drm_plane_size_hint` in drm_mode.h).
fn parse_size_hints(blob: &[u8]) -> Vec<(u32, u32)> {
    let sizes = blob.chunks_exact(4).map(|hint| {
        let side = |at: usize| u32::from(u16::from_ne_bytes([hint[at], hint[at + 1]]));
        (side(0), side(2))
    });
    sizes.filter(|(width, height)| *width > 0 && *height > 0).collect()
}

/// Reads the EDID of a connected monitor, and computes its name.
fn edid(fd: &dyn DrmCalls, connected: bool, properties: &Properties) -> Option<(Edid, String)> {
    let blob = properties.value("EDID").filter(|blob| connected && *blob != 0)?;
    let bytes = fd.blob(blob).inspect_err(|error| warn!(%error, "cannot read a monitor's EDID")).ok()?;
    parse_edid(&bytes)
}

/// Parses an EDID, and computes its name.
fn parse_edid(bytes: &[u8]) -> Option<(Edid, String)> {
    let edid = Edid::parse(bytes).inspect_err(|error| {
        warn!(%error, "monitor has an invalid EDID; identifying it by its connector. Check the connection");
    });
    Some((edid.ok()?, edid_name(bytes)))
}

/// Reads `TILE` of a connector (drm_connector_set_tile_property()).
fn tile(fd: &dyn DrmCalls, properties: &Properties) -> Option<plan::Tile> {
    let blob = properties.value("TILE").filter(|blob| *blob != 0)?;
    parse_tile(std::str::from_utf8(&fd.blob(blob).ok()?).ok()?.trim_end_matches('\0'))
}

/// Parses group, flags, columns, rows, column, row, width and height. A tile that is the whole
/// monitor is none.
fn parse_tile(text: &str) -> Option<plan::Tile> {
    let numbers: Vec<u32> = text.split(':').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    let [group, _, columns, rows, column, row, _, _] = numbers[..] else { return None };
    let is_part = (columns > 1 || rows > 1) && column < columns && row < rows;
    is_part.then_some(plan::Tile { group, column, row })
}

/// Reads `PATH` of a connector behind DisplayPort MST hubs: `mst:`, the id of the connector that
/// leads there, and ports (build_mst_prop_path() in drm_dp_mst_topology.c).
fn mst_path(fd: &dyn DrmCalls, properties: &Properties) -> Option<(u32, String)> {
    let blob = properties.value("PATH").filter(|blob| *blob != 0)?;
    let bytes = fd.blob(blob).ok()?;
    parse_mst_path(std::str::from_utf8(&bytes).ok()?.trim_end_matches('\0'))
}

fn parse_mst_path(text: &str) -> Option<(u32, String)> {
    let (parent, ports) = text.strip_prefix("mst:")?.split_once('-')?;
    let valid = !ports.is_empty() && ports.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    Some((parent.parse().ok().filter(|_| valid)?, ports.replace('-', "/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mst_paths_are_parsed() {
        assert_eq!(parse_mst_path("mst:57-1-8"), Some((57, "1/8".into())));
        for wrong in ["", "mst:", "mst:57", "mst:x-1", "mst:57-", "mst:57-1/2", "usb:57-1"] {
            assert_eq!(parse_mst_path(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn tiles_are_parsed() {
        let tile = |group, column, row| Some(plan::Tile { group, column, row });
        assert_eq!(parse_tile("1:1:2:1:0:0:2560:2880"), tile(1, 0, 0));
        assert_eq!(parse_tile("7:1:2:2:1:1:1920:1080"), tile(7, 1, 1));
        for wrong in
            ["", "1:1:2:1:0:0:2560", "1:1:2:1:x:0:2560:2880", "1:1:1:1:0:0:2560:2880", "1:1:2:1:2:0:1:1"]
        {
            assert_eq!(parse_tile(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn masks_have_32_crtcs() {
        assert!(bit(1 << 31, 31));
        assert!(!bit(u32::MAX, 32));
        assert!(!bit(0b10, 0));
    }
}
