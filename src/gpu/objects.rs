//! A device's CRTCs, planes and connectors, and the properties of them that we use.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use drm::buffer::{DrmFourcc, DrmModifier};
use drm::control::{
    connector, crtc, plane, property, Device as ControlDevice, Mode as KmsMode, ModeFlags, ModeTypeFlags,
    ResourceHandle,
};
use tracing::warn;
use geom_edid::Edid;
use geom_display::identity::{edid_name, Identity};
use geom_display::signal_format::MonitorColor;
use geom_display::mode::Mode;
use geom_display::modeline::Modeline;
use geom_display::plan;

use super::drm_fd::DrmFd;
use super::colorop::{self, PlanePipeline};
use super::connector_props::{CrtcColorIds, ConnectorPropIds};

/// Which values a property takes.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Their names and numbers.
    Enum(Rc<Vec<(String, u64)>>),
    /// From and to.
    Range(u64, u64),
    Other,
}

/// An object's property ids, values and kinds by name.
#[derive(Debug, Default)]
pub struct Properties(HashMap<String, (property::Handle, u64, Kind)>);

impl Properties {
    pub fn id(&self, name: &str) -> Option<property::Handle> {
        self.0.get(name).map(|(id, _, _)| *id)
    }

    pub fn value(&self, name: &str) -> Option<u64> {
        self.0.get(name).map(|(_, value, _)| *value)
    }

    pub fn kind(&self, name: &str) -> Option<&Kind> {
        self.0.get(name).map(|(_, _, kind)| kind)
    }

    fn required(&self, name: &str) -> io::Result<property::Handle> {
        self.id(name).ok_or_else(|| io::Error::other(format!("the driver lacks the KMS property {name}")))
    }
}

/// Reads objects' properties; what a property is is asked for once, as objects share most.
#[derive(Debug, Default)]
pub struct PropertyNames(HashMap<property::Handle, (String, Kind)>);

impl PropertyNames {
    pub fn of<T: ResourceHandle>(&mut self, card: &DrmFd, object: T) -> io::Result<Properties> {
        let mut properties = HashMap::new();
        for (id, value) in card.get_properties(object)? {
            let (name, kind) = match self.0.get(&id) {
                Some(known) => known.clone(),
                None => {
                    let info = card.get_property(id)?;
                    let known = (info.name().to_string_lossy().into_owned(), kind(&info.value_type()));
                    self.0.insert(id, known.clone());
                    known
                }
            };
            properties.insert(name, (id, value, kind));
        }
        Ok(Properties(properties))
    }
}

fn kind(of: &property::ValueType) -> Kind {
    match of {
        property::ValueType::Enum(values) => {
            let (numbers, values) = values.values();
            let names = values.iter().map(|value| value.name().to_string_lossy().into_owned());
            Kind::Enum(Rc::new(names.zip(numbers.iter().copied()).collect()))
        }
        property::ValueType::UnsignedRange(least, most) => Kind::Range(*least, *most),
        _ => Kind::Other,
    }
}

/// Ids of a CRTC's properties.
#[derive(Debug, Clone, Copy)]
pub struct CrtcIds {
    pub active: property::Handle,
    pub mode_id: property::Handle,
    pub color: CrtcColorIds,
}

#[derive(Debug)]
pub struct Crtc {
    pub handle: crtc::Handle,
    /// Atomic devices only.
    pub ids: Option<CrtcIds>,
    /// Indices into [`Objects::planes`].
    pub primary: Option<usize>,
    pub cursor: Option<usize>,
}

/// Ids of a plane's properties.
#[derive(Debug, Clone, Copy)]
pub struct PlaneIds {
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
    /// Which of its pipelines its pixels pass.
    pub color_pipeline: Option<property::Handle>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaneKind {
    Overlay,
    Primary,
    Cursor,
}

#[derive(Debug)]
pub struct Plane {
    pub handle: plane::Handle,
    pub kind: PlaneKind,
    /// Bit i: usable on the CRTC of index i.
    pub crtcs: u32,
    /// Pixel formats and the layouts known for each; no layout where the driver does not say.
    pub formats: Vec<(DrmFourcc, Vec<DrmModifier>)>,
    pub pipelines: Vec<PlanePipeline>,
    pub ids: Option<PlaneIds>,
}

impl Plane {
    /// Shows this format in some layout.
    pub fn shows(&self, code: DrmFourcc) -> bool {
        self.formats.iter().any(|(format, _)| *format == code)
    }

    pub fn supports(&self, code: DrmFourcc, modifier: DrmModifier) -> bool {
        self.formats.iter().any(|(format, modifiers)| {
            *format == code
                && (modifiers.contains(&modifier)
                    || (modifiers.is_empty() && modifier == DrmModifier::Linear))
        })
    }
}

/// A connector as the last probe found it.
#[derive(Debug)]
pub struct Connector {
    pub handle: connector::Handle,
    pub crtc_id: Option<property::Handle>,
    /// Empty on devices that are not atomic.
    pub link: ConnectorPropIds,
    /// Bit i: reachable from the CRTC of index i.
    pub crtcs: u32,
    /// The CRTC that drove it at the last probe, whoever had set that.
    pub driven_by: Option<usize>,
    pub modes: Vec<KmsMode>,
    /// Millimetres; 0 where unknown.
    pub physical_size: (u32, u32),
    /// Behind a hub: the kernel's number of the connector that leads there, and the ports from there on.
    pub path: Option<(u32, String)>,
    pub state: plan::ProbedConnector,
}

/// Everything a device has.
#[derive(Debug, Default)]
pub struct Objects {
    pub crtcs: Vec<Crtc>,
    pub planes: Vec<Plane>,
    pub connectors: Vec<Connector>,
    /// Connectors that programs drive by themselves.
    pub leased: Vec<connector::Handle>,
    names: PropertyNames,
}

/// A mode's place in millihertz, computed from its timing as the kernel does (drm_mode_vrefresh).
fn refresh(mode: &KmsMode) -> u32 {
    let (_, _, htotal) = mode.hsync();
    let (_, _, vtotal) = mode.vsync();
    let total = u64::from(htotal) * u64::from(vtotal) * u64::from(mode.vscan().max(1));
    if total == 0 {
        return mode.vrefresh() * 1000;
    }
    let mut refresh = u64::from(mode.clock()) * 1_000_000 / total;
    if mode.flags().contains(ModeFlags::INTERLACE) {
        refresh *= 2;
    }
    if mode.flags().contains(ModeFlags::DBLSCAN) {
        refresh /= 2;
    }
    refresh as u32
}

fn describe(index: usize, mode: &KmsMode) -> Mode {
    let (width, height) = mode.size();
    Mode {
        width,
        height,
        refresh: refresh(mode),
        interlaced: mode.flags().contains(ModeFlags::INTERLACE),
        preferred: mode.mode_type().contains(ModeTypeFlags::PREFERRED),
        index,
        modeline: None,
    }
}

/// A timing of one's own as the kernel takes it (struct drm_mode_modeinfo, include/uapi/drm/drm_mode.h).
pub fn written(line: &Modeline) -> KmsMode {
    let flag = |set: bool, yes: ModeFlags, no: ModeFlags| if set { yes } else { no };
    let none = ModeFlags::empty();
    let flags = flag(line.hsync, ModeFlags::PHSYNC, ModeFlags::NHSYNC)
        | flag(line.vsync, ModeFlags::PVSYNC, ModeFlags::NVSYNC)
        | flag(line.interlaced, ModeFlags::INTERLACE, none)
        | flag(line.doublescan, ModeFlags::DBLSCAN, none);
    let [hdisplay, hsync_start, hsync_end, htotal] = line.horizontal;
    let [vdisplay, vsync_start, vsync_end, vtotal] = line.vertical;
    let mut name = [0; 32];
    for (to, from) in name.iter_mut().zip(format!("{hdisplay}x{vdisplay}").bytes()) {
        *to = from as std::ffi::c_char;
    }
    KmsMode::from(drm_ffi::drm_mode_modeinfo {
        clock: line.clock,
        hdisplay,
        hsync_start,
        hsync_end,
        htotal,
        vdisplay,
        vsync_start,
        vsync_end,
        vtotal,
        vrefresh: line.refresh() / 1000,
        flags: flags.bits(),
        type_: ModeTypeFlags::USERDEF.bits(),
        name,
        ..Default::default()
    })
}

impl Objects {
    /// Reads CRTCs and planes, which never change, and probes connectors.
    pub fn read(card: &DrmFd, atomic: bool) -> io::Result<Self> {
        let mut objects = Self::default();
        let resources = card.resource_handles()?;
        for handle in resources.crtcs() {
            let ids = if atomic {
                let properties = objects.names.of(card, *handle)?;
                Some(CrtcIds {
                    active: properties.required("ACTIVE")?,
                    mode_id: properties.required("MODE_ID")?,
                    color: CrtcColorIds::read(&properties),
                })
            } else {
                None
            };
            objects.crtcs.push(Crtc { handle: *handle, ids, primary: None, cursor: None });
        }
        for handle in card.plane_handles()? {
            let plane = objects.read_plane(card, atomic, &resources, handle)?;
            objects.planes.push(plane);
        }
        objects.share_planes();
        objects.probe(card, atomic)?;
        Ok(objects)
    }

    fn read_plane(
        &mut self,
        card: &DrmFd,
        atomic: bool,
        resources: &drm::control::ResourceHandles,
        handle: plane::Handle,
    ) -> io::Result<Plane> {
        let info = card.get_plane(handle)?;
        let reachable = resources.filter_crtcs(info.possible_crtcs());
        let crtcs = self.crtcs.iter().enumerate();
        let crtcs = crtcs
            .filter(|(_, crtc)| reachable.contains(&crtc.handle))
            .fold(0, |mask, (index, _)| mask | 1 << index);
        let properties = self.names.of(card, handle)?;
        let ids = if atomic {
            Some(PlaneIds {
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
            })
        } else {
            None
        };
        let kind = match properties.value("type") {
            Some(1) => PlaneKind::Primary,
            Some(2) => PlaneKind::Cursor,
            _ => PlaneKind::Overlay,
        };
        let layouts = match properties.value("IN_FORMATS") {
            Some(blob) if blob != 0 => parse_in_formats(&card.get_property_blob(blob)?),
            _ => HashMap::new(),
        };
        let formats = info
            .formats()
            .iter()
            .filter_map(|code| DrmFourcc::try_from(*code).ok())
            .map(|code| (code, layouts.get(&(code as u32)).cloned().unwrap_or_default()))
            .collect();
        let pipelines = colorop::read(card, &mut self.names, &properties);
        Ok(Plane { handle, kind, crtcs, formats, pipelines, ids })
    }

    /// Gives each CRTC a primary and a cursor plane of its own.
    fn share_planes(&mut self) {
        for (kind, field) in [(PlaneKind::Primary, false), (PlaneKind::Cursor, true)] {
            let mut taken = Vec::new();
            for (index, crtc) in self.crtcs.iter_mut().enumerate() {
                let free = self.planes.iter().enumerate().position(|(number, plane)| {
                    plane.kind == kind && plane.crtcs & (1 << index) != 0 && !taken.contains(&number)
                });
                taken.extend(free);
                *(if field { &mut crtc.cursor } else { &mut crtc.primary }) = free;
            }
        }
    }

    /// Asks every connector what is plugged in.
    pub fn probe(&mut self, card: &DrmFd, atomic: bool) -> io::Result<()> {
        let resources = card.resource_handles()?;
        let mut connectors = Vec::new();
        for handle in resources.connectors() {
            match self.probe_connector(card, atomic, &resources, *handle) {
                Ok(connector) => connectors.push(connector),
                // MST connectors may vanish between the list and the question.
                Err(error) => {
                    warn!(connector = raw_id(*handle), %error, "connector can't be probed; left out")
                }
            }
        }
        self.connectors = connectors;
        Ok(())
    }

    fn probe_connector(
        &mut self,
        card: &DrmFd,
        atomic: bool,
        resources: &drm::control::ResourceHandles,
        handle: connector::Handle,
    ) -> io::Result<Connector> {
        let info = card.get_connector(handle, true)?;
        let connected = info.state() == connector::State::Connected;
        let properties = self.names.of(card, handle)?;
        let mut crtcs = 0;
        for encoder in info.encoders() {
            let reachable = resources.filter_crtcs(card.get_encoder(*encoder)?.possible_crtcs());
            for (index, crtc) in self.crtcs.iter().enumerate() {
                if reachable.contains(&crtc.handle) {
                    crtcs |= 1 << index;
                }
            }
        }
        let driver = info.current_encoder().and_then(|encoder| card.get_encoder(encoder).ok()?.crtc());
        let driven_by = driver.and_then(|handle| self.crtcs.iter().position(|crtc| crtc.handle == handle));
        let modes: Vec<KmsMode> = if connected { info.modes().to_vec() } else { Vec::new() };
        let (edid, edid_name) = self.edid(card, connected, &properties).unzip();
        let link = if atomic { ConnectorPropIds::read(&properties) } else { ConnectorPropIds::default() };
        Ok(Connector {
            handle,
            crtc_id: if atomic { Some(properties.required("CRTC_ID")?) } else { None },
            crtcs,
            driven_by,
            physical_size: info.size().unwrap_or_default(),
            path: path(card, &properties),
            state: plan::ProbedConnector {
                name: format!("{}-{}", info.interface().as_str(), info.interface_id()),
                connected,
                modes: modes.iter().enumerate().map(|(index, mode)| describe(index, mode)).collect(),
                monitor: edid.as_ref().map(Identity::from),
                edid: edid_name,
                // Known by who knows the Gpu's place.
                port: None,
                capabilities: link.abilities(edid.as_ref().map(MonitorColor::from).unwrap_or_default()),
                non_desktop: properties.value("non-desktop") == Some(1),
            },
            modes,
            link,
        })
    }

    /// What the monitor told the kernel of itself.
    fn edid(&self, card: &DrmFd, connected: bool, properties: &Properties) -> Option<(Edid, String)> {
        let blob = properties.value("EDID").filter(|blob| connected && *blob != 0)?;
        let read = card.get_property_blob(blob).map_err(|error| error.to_string());
        let parsed = read.and_then(|bytes| {
            let edid = Edid::parse(&bytes).map_err(|error| error.to_string())?;
            Ok((edid, edid_name(&bytes)))
        });
        match parsed {
            Ok(edid) => Some(edid),
            Err(error) => {
                warn!(%error, "a monitor's EDID tells nothing; it is known by its connector");
                None
            }
        }
    }

    pub fn connector(&self, name: &str) -> Option<&Connector> {
        self.connectors.iter().find(|connector| connector.state.name == name)
    }

    /// The way from the Gpu to a connector: its own name, or that of the connector with the hub, and the hubs' ports.
    pub fn way(&self, connector: &Connector) -> String {
        let hub = connector.path.as_ref().and_then(|(parent, ports)| {
            let parent = self.connectors.iter().find(|other| raw_id(other.handle) == *parent)?;
            Some(format!("{}/{ports}", parent.state.name))
        });
        hub.unwrap_or_else(|| connector.state.name.clone())
    }

    pub fn crtc_index(&self, handle: crtc::Handle) -> Option<usize> {
        self.crtcs.iter().position(|crtc| crtc.handle == handle)
    }
}

/// The PATH property of displays behind DisplayPort hubs, `mst:` with a connector's number and ports (build_mst_prop_path() in the
/// kernel's drm_dp_mst_topology.c).
fn path(card: &DrmFd, properties: &Properties) -> Option<(u32, String)> {
    let blob = properties.value("PATH").filter(|blob| *blob != 0)?;
    let bytes = card.get_property_blob(blob).ok()?;
    parse_path(std::str::from_utf8(&bytes).ok()?.trim_end_matches('\0'))
}

fn parse_path(text: &str) -> Option<(u32, String)> {
    let (parent, ports) = text.strip_prefix("mst:")?.split_once('-')?;
    let sound = !ports.is_empty() && ports.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    Some((parent.parse().ok().filter(|_| sound)?, ports.replace('-', "/")))
}

fn raw_id(handle: connector::Handle) -> u32 {
    handle.into()
}

/// Parses the IN_FORMATS blob: `struct drm_format_modifier_blob` (include/uapi/drm/drm_mode.h).
fn parse_in_formats(blob: &[u8]) -> HashMap<u32, Vec<DrmModifier>> {
    let word = |at: usize| Some(u32::from_ne_bytes(blob.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_ne_bytes(blob.get(at..at + 8)?.try_into().ok()?));
    let mut layouts: HashMap<u32, Vec<DrmModifier>> = HashMap::new();
    let (Some(format_count), Some(formats_at), Some(modifier_count), Some(modifiers_at)) =
        (word(8), word(12), word(16), word(20))
    else {
        return layouts;
    };
    for number in 0..modifier_count as usize {
        let at = modifiers_at as usize + number * 24;
        let (Some(mask), Some(offset), Some(modifier)) = (long(at), word(at + 8), long(at + 16)) else {
            break;
        };
        for bit in (0..64).filter(|bit| mask & (1 << bit) != 0) {
            let index = offset as usize + bit;
            if index < format_count as usize {
                if let Some(code) = word(formats_at as usize + index * 4) {
                    layouts.entry(code).or_default().push(DrmModifier::from(modifier));
                }
            }
        }
    }
    layouts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(formats: &[u32], modifiers: &[(u64, u32, u64)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let at = 24 + formats.len() as u32 * 4;
        for word in [1, 0, formats.len() as u32, 24, modifiers.len() as u32, at] {
            bytes.extend(u32::to_ne_bytes(word));
        }
        formats.iter().for_each(|code| bytes.extend(code.to_ne_bytes()));
        for (mask, offset, modifier) in modifiers {
            bytes.extend(mask.to_ne_bytes());
            bytes.extend(offset.to_ne_bytes());
            bytes.extend(0u32.to_ne_bytes());
            bytes.extend(modifier.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn formats_and_their_layouts() {
        let layouts = parse_in_formats(&blob(&[11, 22, 33], &[(0b101, 0, 0), (0b1, 1, 7)]));
        assert_eq!(layouts[&11], [DrmModifier::Linear]);
        assert_eq!(layouts[&22], [DrmModifier::from(7)]);
        assert_eq!(layouts[&33], [DrmModifier::Linear]);
    }

    #[test]
    fn ways_through_hubs() {
        assert_eq!(parse_path("mst:57-1-8"), Some((57, "1/8".into())));
        for wrong in ["", "mst:", "mst:57", "mst:x-1", "mst:57-", "mst:57-1/2", "usb:57-1"] {
            assert_eq!(parse_path(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn truncated_blobs_are_harmless() {
        let whole = blob(&[11, 22, 33], &[(u64::MAX, 0, 0), (u64::MAX, u32::MAX, 7)]);
        for length in 0..whole.len() {
            parse_in_formats(&whole[..length]);
        }
    }
}
