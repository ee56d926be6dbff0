//! Graphics tablets, their tools and their pads: what libinput knows of them, and what each tool
//! does now.

use smithay::backend::input::{TabletToolDescriptor, TabletToolEvent};
use smithay::backend::libinput::LibinputInputBackend;
use smithay::input::pointer::CursorImageStatus;
use smithay::reexports::input::{AsRaw, Device, DeviceCapability};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point};

use super::devices::DeviceInfo;
use super::pen::Pen;
use super::touch::TouchDevice;

/// How many tools are known at a time. Some have serial numbers, so that a drawer full of pens
/// could be used on one tablet.
const MAX_TOOLS: usize = 32;
/// How much of a pad is announced: more than any has.
const MAX_GROUPS: u32 = 16;
const MAX_BUTTONS: u32 = 64;
const MAX_RINGS: u32 = 16;

/// A graphics tablet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TabletInfo {
    /// Name in /dev/input, such as "event3".
    pub sysname: String,
    pub name: String,
    pub vendor: u32,
    pub product: u32,
    /// It is a display's surface, as of a pen display, and not a board next to it.
    pub is_direct: bool,
    /// udev's property WL_OUTPUT: the output's name.
    pub output_name: Option<String>,
    /// Width and height in millimeters.
    pub size: Option<(f64, f64)>,
    /// Identifies the devices of one piece of hardware.
    pub group: usize,
}

/// libinput's devices of one piece of hardware have the same group.
fn group(device: &Device) -> usize {
    device.device_group().as_raw() as usize
}

impl TabletInfo {
    /// Reads a libinput device, if it is a tablet.
    pub fn read(device: &Device, info: &DeviceInfo) -> Option<Self> {
        info.has(DeviceCapability::TabletTool).then(|| Self {
            sysname: info.sysname.clone(),
            name: info.name.clone(),
            vendor: info.vendor,
            product: info.product,
            // libinput calibrates only tablets that are displays (INPUT_PROP_DIRECT, libwacom).
            is_direct: device.config_calibration_has_matrix(),
            output_name: info.output_name.clone(),
            size: info.size,
            group: group(device),
        })
    }

    /// Returns what decides which display it belongs to.
    pub fn touch(&self) -> TouchDevice<'_> {
        TouchDevice {
            sysname: &self.sysname,
            name: &self.name,
            port: None,
            output_name: self.output_name.as_deref(),
            size: self.size,
        }
    }
}

/// A part of a pad that has a mode of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PadGroup {
    /// The number of modes.
    pub modes: u32,
    /// The present mode.
    pub mode: u32,
    pub buttons: Vec<u32>,
    pub rings: Vec<u32>,
    pub strips: Vec<u32>,
}

/// The buttons, rings and strips on a tablet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pad {
    pub sysname: String,
    pub buttons: u32,
    pub groups: Vec<PadGroup>,
    /// As [`TabletInfo::group`].
    pub group: usize,
}

impl Pad {
    /// Reads a libinput device, if it is a pad.
    pub fn read(device: &Device) -> Option<Self> {
        if !device.has_capability(DeviceCapability::TabletPad) {
            return None;
        }
        let count = |number: i32, max: u32| u32::try_from(number).unwrap_or_default().min(max);
        let buttons = count(device.tablet_pad_number_of_buttons(), MAX_BUTTONS);
        let rings = count(device.tablet_pad_number_of_rings(), MAX_RINGS);
        let strips = count(device.tablet_pad_number_of_strips(), MAX_RINGS);
        let groups = count(device.tablet_pad_number_of_mode_groups(), MAX_GROUPS);
        let groups = (0..groups).filter_map(|index| device.tablet_pad_mode_group(index));
        let groups = groups.map(|group| PadGroup {
            modes: group.number_of_modes(),
            mode: group.mode(),
            buttons: (0..buttons).filter(|button| group.has_button(*button)).collect(),
            rings: (0..rings).filter(|ring| group.has_ring(*ring)).collect(),
            strips: (0..strips).filter(|strip| group.has_strip(*strip)).collect(),
        });
        Some(Self {
            sysname: device.sysname().to_owned(),
            buttons,
            groups: groups.collect(),
            group: self::group(device),
        })
    }

    /// Sets a group's mode. Returns whether it changed.
    pub fn switch_mode(&mut self, group: usize, mode: u32) -> bool {
        match self.groups.get_mut(group) {
            Some(group) => std::mem::replace(&mut group.mode, mode) != mode,
            None => false,
        }
    }
}

/// Values of a tool besides its position. `None` has not changed, or is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PenAxes {
    /// From 0 to 1.
    pub pressure: Option<f64>,
    /// From 0 to 1.
    pub distance: Option<f64>,
    /// In degrees from the vertical.
    pub tilt: Option<(f64, f64)>,
    /// In degrees, clockwise.
    pub rotation: Option<f64>,
    /// From -1 to 1.
    pub slider: Option<f64>,
    /// What a wheel turned: degrees and clicks.
    pub wheel: Option<(f64, i32)>,
}

impl PenAxes {
    /// Reads those that an event changes.
    pub fn read(event: &impl TabletToolEvent<LibinputInputBackend>) -> Self {
        Self {
            pressure: event.pressure_has_changed().then(|| event.pressure()),
            distance: event.distance_has_changed().then(|| event.distance()),
            tilt: event.tilt_has_changed().then(|| event.tilt()),
            rotation: event.rotation_has_changed().then(|| event.rotation()),
            slider: event.slider_has_changed().then(|| event.slider_position()),
            wheel: event.wheel_has_changed().then(|| (event.wheel_delta(), event.wheel_delta_discrete())),
        }
    }

    /// Takes over what has changed. A wheel has no position.
    fn update(&mut self, changed: Self) {
        self.pressure = changed.pressure.or(self.pressure);
        self.distance = changed.distance.or(self.distance);
        self.tilt = changed.tilt.or(self.tilt);
        self.rotation = changed.rotation.or(self.rotation);
        self.slider = changed.slider.or(self.slider);
    }
}

/// A tool that has been used on a tablet that is present.
#[derive(Debug)]
pub struct Tool {
    pub id: u64,
    pub info: TabletToolDescriptor,
    /// The tablet that it was used on last, by its name in /dev/input.
    pub tablet: String,
    pub pen: Pen<WlSurface>,
    /// Where it is in the layout; `None` out of proximity.
    pub location: Option<Point<f64, Logical>>,
    /// Where the surface that it is on begins in the layout.
    pub origin: Point<f64, Logical>,
    /// All known values, for the next surface.
    pub axes: PenAxes,
    /// The client of the surface that it is on, or was on last.
    pub client: Option<ClientId>,
    /// Values have changed that the client was not sent.
    pub has_unsent: bool,
    /// When it woke displays, in milliseconds of its events: what it presses right after that is
    /// nothing else.
    pub woke_at: Option<u32>,
    /// The serial of its last entry of a surface.
    pub entered: u32,
    /// The cursor that the client under it set.
    pub cursor: CursorImageStatus,
}

/// All tablets, tools and pads.
#[derive(Debug, Default)]
pub struct Tablets {
    tablets: Vec<TabletInfo>,
    /// The one that was used longest ago is first.
    tools: Vec<Tool>,
    pub pads: Vec<Pad>,
    last_id: u64,
}

/// What [`Tablets::used`] found.
#[derive(Debug, PartialEq, Eq)]
pub struct Used {
    pub id: u64,
    /// It was not known.
    pub is_new: bool,
    /// The tool that is forgotten because there are too many.
    pub forgotten: Option<u64>,
}

impl Tablets {
    pub fn add(&mut self, tablet: TabletInfo) {
        self.tablets.push(tablet);
    }

    /// Removes a tablet by its name in /dev/input. Returns whether it was one. Its tools must have
    /// been [forgotten](Self::forget).
    pub fn remove(&mut self, sysname: &str) -> bool {
        let before = self.tablets.len();
        self.tablets.retain(|tablet| tablet.sysname != sysname);
        self.tablets.len() != before
    }

    /// Returns all tablets.
    pub fn all(&self) -> &[TabletInfo] {
        &self.tablets
    }

    /// Returns a tablet by its name in /dev/input.
    pub fn get(&self, sysname: &str) -> Option<&TabletInfo> {
        self.tablets.iter().find(|tablet| tablet.sysname == sysname)
    }

    /// Returns the tablet that a pad is on. A remote control without one belongs to the only
    /// tablet.
    pub fn of_pad(&self, pad: &Pad) -> Option<&TabletInfo> {
        let own = self.tablets.iter().find(|tablet| tablet.group == pad.group);
        own.or_else(|| self.tablets.first().filter(|_| self.tablets.len() == 1))
    }

    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    pub fn tool(&self, id: u64) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.id == id)
    }

    pub fn tool_mut(&mut self, id: u64) -> Option<&mut Tool> {
        self.tools.iter_mut().find(|tool| tool.id == id)
    }

    /// A tool is used on a tablet. `None` if the tablet is unknown. One without a serial number is
    /// another one on each tablet, as the protocol says.
    pub fn used(&mut self, tablet: &str, info: &TabletToolDescriptor) -> Option<Used> {
        self.get(tablet)?;
        let is_same =
            |tool: &Tool| tool.info == *info && (info.hardware_serial != 0 || tool.tablet == tablet);
        if let Some(position) = self.tools.iter().position(is_same) {
            // The order changes seldom: with another tool.
            if position + 1 != self.tools.len() {
                let tool = self.tools.remove(position);
                self.tools.push(tool);
            }
            let tool = self.tools.last_mut()?;
            if tool.tablet != tablet {
                tablet.clone_into(&mut tool.tablet);
            }
            return Some(Used { id: tool.id, is_new: false, forgotten: None });
        }
        let is_full = self.tools.len() >= MAX_TOOLS;
        let idle = self.tools.iter().find(|tool| tool.location.is_none()).or(self.tools.first());
        let forgotten = idle.filter(|_| is_full).map(|tool| tool.id);
        self.last_id += 1;
        self.tools.push(Tool {
            id: self.last_id,
            info: info.clone(),
            tablet: tablet.to_owned(),
            pen: Pen::default(),
            location: None,
            origin: Point::default(),
            axes: PenAxes::default(),
            client: None,
            has_unsent: false,
            woke_at: None,
            entered: 0,
            cursor: CursorImageStatus::default_named(),
        });
        Some(Used { id: self.last_id, is_new: true, forgotten })
    }

    /// Returns the tools that were used last on a tablet.
    pub fn tools_of(&self, tablet: &str) -> Vec<u64> {
        self.tools.iter().filter(|tool| tool.tablet == tablet).map(|tool| tool.id).collect()
    }

    /// Forgets a tool.
    pub fn forget(&mut self, id: u64) {
        self.tools.retain(|tool| tool.id != id);
    }
}

impl Tool {
    /// Notes where it is and what changed.
    pub fn update(&mut self, location: Point<f64, Logical>, axes: PenAxes) {
        self.location = Some(location);
        self.axes.update(axes);
    }
}

#[cfg(test)]
mod tests {
    use smithay::backend::input::{TabletToolCapabilities, TabletToolType};

    use super::*;

    fn tablet(sysname: &str, group: usize) -> TabletInfo {
        TabletInfo { sysname: sysname.into(), group, ..TabletInfo::default() }
    }

    fn tool(hardware_serial: u64) -> TabletToolDescriptor {
        TabletToolDescriptor {
            tool_type: TabletToolType::Pen,
            hardware_serial,
            hardware_id_wacom: 0,
            capabilities: TabletToolCapabilities::PRESSURE,
        }
    }

    fn tablets() -> Tablets {
        let mut tablets = Tablets::default();
        tablets.add(tablet("event1", 1));
        tablets.add(tablet("event2", 2));
        tablets
    }

    #[test]
    fn tool_with_a_serial_number_is_the_same_on_all_tablets() {
        let mut tablets = tablets();
        let mut used =
            |tablet: &str, serial| tablets.used(tablet, &tool(serial)).map(|used| (used.id, used.is_new));
        assert_eq!(used("event1", 7), Some((1, true)));
        assert_eq!(used("event2", 7), Some((1, false)));
        assert_eq!(used("event1", 0), Some((2, true)));
        assert_eq!(used("event2", 0), Some((3, true)), "without a number it is not known to be the same");
        assert_eq!(used("event1", 0), Some((2, false)));
        assert_eq!(used("event9", 7), None);
        assert_eq!(tablets.tools_of("event2"), [1, 3]);
        tablets.forget(1);
        assert!(tablets.tool(1).is_none() && tablets.remove("event2") && !tablets.remove("event2"));
    }

    #[test]
    fn number_of_tools_is_bounded() {
        let mut tablets = tablets();
        for serial in 1..=MAX_TOOLS as u64 {
            let used = tablets.used("event1", &tool(serial)).expect("a tool");
            assert_eq!(used.forgotten, None);
        }
        // The first one is in proximity.
        tablets.tool_mut(1).expect("a tool").update((0.0, 0.0).into(), PenAxes::default());
        let used = tablets.used("event1", &tool(1000)).expect("a tool");
        assert_eq!(used.forgotten, Some(2));
        tablets.forget(2);
        assert_eq!(tablets.tools().len(), MAX_TOOLS);
    }

    #[test]
    fn pad_belongs_to_the_tablet_of_its_hardware() {
        let mut tablets = tablets();
        let pad = |group| Pad { group, ..Pad::default() };
        assert_eq!(tablets.of_pad(&pad(2)).map(|tablet| &*tablet.sysname), Some("event2"));
        assert_eq!(tablets.of_pad(&pad(3)), None, "a remote control and two tablets");
        tablets.remove("event1");
        assert_eq!(tablets.of_pad(&pad(3)).map(|tablet| &*tablet.sysname), Some("event2"));
    }

    #[test]
    fn mode_of_a_pad_is_switched_once() {
        let mut pad = Pad { groups: vec![PadGroup { modes: 3, ..PadGroup::default() }], ..Pad::default() };
        assert!(pad.switch_mode(0, 1) && !pad.switch_mode(0, 1) && !pad.switch_mode(1, 1));
    }

    #[test]
    fn values_that_have_not_changed_are_kept() {
        let mut axes = PenAxes { pressure: Some(0.5), tilt: Some((1.0, 2.0)), ..PenAxes::default() };
        axes.update(PenAxes { pressure: Some(0.7), wheel: Some((15.0, 1)), ..PenAxes::default() });
        assert_eq!(axes, PenAxes { pressure: Some(0.7), tilt: Some((1.0, 2.0)), ..PenAxes::default() });
    }
}
