//! Touch devices: the output that each belongs to, and where on the layout a touch is. Pure.

use geom_display::lifecycle::Lifecycle;
use smithay::utils::{Logical, Point, Size};

use super::port::natural_order;
use crate::output::outputs::Outputs;
use crate::output::Output;
use crate::render::scene::View;

/// How far the physical sizes of a touch device and of its monitor may differ.
const SIZE_TOLERANCE: f64 = 0.05;

/// What libinput and udev know of a touch device.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TouchDevice<'a> {
    /// Name in /dev/input, such as "event3".
    pub sysname: &'a str,
    pub name: &'a str,
    pub port: Option<&'a str>,
    /// udev's property WL_OUTPUT: the output's name.
    pub output_name: Option<&'a str>,
    /// Width and height in millimeters.
    pub size: Option<(f64, f64)>,
}

impl TouchDevice<'_> {
    /// Returns whether another device is of the same model, or is this one.
    fn is_twin(&self, other: &Self) -> bool {
        self.name == other.name && self.size == other.size
    }

    /// Compares two devices by port, and if that is unknown by the order in which they came.
    fn by_port(&self, other: &Self) -> std::cmp::Ordering {
        let compared = self.port.zip(other.port).map(|(own, other)| natural_order(own, other));
        let compared = compared.unwrap_or_else(|| self.port.is_none().cmp(&other.port.is_none()));
        compared.then_with(|| natural_order(self.sysname, other.sysname))
    }

    fn fits(&self, output: &Output) -> bool {
        let is_near =
            |own: f64, other: u32| other > 0 && (own - f64::from(other)).abs() <= SIZE_TOLERANCE * own;
        let (width, height) = output.state().monitor.size;
        self.size
            .is_some_and(|(own_width, own_height)| is_near(own_width, width) && is_near(own_height, height))
    }
}

/// What [`touch_output`] reads besides the outputs.
pub struct Assignment<'a, T, C, B> {
    /// The name of the display that is configured for the device.
    pub configured: Option<&'a str>,
    /// The touch devices that neither the configuration nor udev assigns.
    pub unassigned: T,
    /// Returns the connectors that a display's name stands for, none if it is unknown.
    pub connectors_of: C,
    /// Returns whether a connector is that of the machine's own panel.
    pub is_built_in: B,
}

/// Returns the enabled output that a touch device belongs to. In falling precedence: the configured
/// one, the one that udev names, the only one of the device's physical size, one of several of that
/// size by the order of ports, the leftmost built-in one, the leftmost one. `None` if its output is
/// disabled, or disconnected and named: who touches a screen that shows nothing does not press what
/// another one shows.
pub fn touch_output<'a, 'd>(
    device: &TouchDevice<'_>,
    assignment: Assignment<
        '_,
        impl Iterator<Item = TouchDevice<'d>>,
        impl Fn(&str) -> Vec<String>,
        impl Fn(&str) -> bool,
    >,
    outputs: &'a Outputs,
) -> Option<&'a Output> {
    let Assignment { configured, unassigned, connectors_of, is_built_in } = assignment;
    let by_udev = device.output_name.map(|name| vec![name.to_owned()]);
    for names in configured.map(connectors_of).into_iter().chain(by_udev) {
        let mut named = names.iter().filter_map(|name| outputs.named(name)).peekable();
        // A name that stands for no display at all, as of a mistake, must not make the device dead.
        if named.peek().is_some() {
            return named.find(|output| output.is_enabled());
        }
    }
    if let Some(output) = output_by_order(device, unassigned, outputs) {
        return Some(output).filter(|output| output.is_enabled());
    }
    let is_connected = |output: &&Output| *output.lifecycle() != Lifecycle::Disconnected;
    let fitting = || outputs.iter().filter(|output| device.fits(output)).filter(is_connected);
    let mut fitting_enabled = fitting().filter(|output| output.is_enabled());
    match (fitting_enabled.next(), fitting_enabled.next()) {
        (Some(output), None) => return Some(output),
        (None, _) if fitting().next().is_some() => return None,
        _ => {}
    }
    let layout = outputs.in_layout();
    let built_in = layout.iter().find(|output| is_built_in(&output.name));
    built_in.or(layout.first()).copied()
}

/// Returns the output of one of several equal touch devices, if there are as many equal displays of
/// their size: the devices by port and the displays from left to right, one to one. Without a size
/// of the devices, that is if all displays are equal.
///
/// A display that is disabled keeps its device. So does one that is disconnected, unless others are
/// as many.
fn output_by_order<'a, 'd>(
    device: &TouchDevice<'_>,
    unassigned: impl Iterator<Item = TouchDevice<'d>>,
    outputs: &'a Outputs,
) -> Option<&'a Output> {
    let mut twins: Vec<_> = unassigned.filter(|other| device.is_twin(other)).collect();
    if twins.len() < 2 {
        return None;
    }
    twins.sort_by(TouchDevice::by_port);
    let place = twins.iter().position(|twin| twin.sysname == device.sysname)?;
    let is_known = |output: &&Output| *output.lifecycle() != Lifecycle::Absent;
    let is_connected = |output: &&Output| *output.lifecycle() != Lifecycle::Disconnected;
    let fits = |output: &&Output| device.size.is_none() || device.fits(output);
    let known: Vec<&Output> = outputs.iter().filter(is_known).filter(fits).collect();
    let connected = known.iter().copied().filter(is_connected).collect();
    let mut equal = [connected, known].into_iter().find(|all: &Vec<&Output>| {
        let mut sizes = all.iter().map(|output| output.state().monitor.size);
        let first = sizes.next();
        all.len() == twins.len() && sizes.all(|size| Some(size) == first)
    })?;
    equal.sort_by_key(|output| (output.state().logical.x, output.state().logical.y, &output.name));
    equal.get(place).copied()
}

/// Returns a position that libinput has transformed to a space of a size, on the device: what a
/// device reports may be outside its own range, and one with an absurd range yields no number.
pub fn position_on_device(position: Point<f64, Logical>, size: Size<i32, Logical>) -> Point<f64, Logical> {
    // The space ends before its size: there the next display begins. One 256th is the protocol's
    // unit. A number that is none becomes 0.
    let within = |value: f64, size: i32| value.max(0.0).min(f64::from(size) - 1.0 / 256.0);
    (within(position.x, size.w), within(position.y, size.h)).into()
}

/// Returns the position in the layout of a touch on an output's screen. `None` if the output
/// mirrors another one and the touch is on the border around the frame.
///
/// `position` returns the touch's position in a space of a size that has the touch device's
/// orientation, which turns with the output.
pub fn layout_location(
    output: &Output,
    outputs: &Outputs,
    position: impl Fn(Size<i32, Logical>) -> Point<f64, Logical>,
) -> Option<Point<f64, Logical>> {
    // The position in a space that has the orientation of the frame.
    let upright = |size: Size<i32, Logical>| {
        let device = output.state().transform.invert().transform_size(size);
        output.state().transform.transform_point_in(position(device), &device.to_f64())
    };
    let Some(source) = output.state().mirror.and_then(|source| outputs.get(source)) else {
        let area = output.geometry();
        return Some(upright(area.size) + area.loc.to_f64());
    };
    let own = output.frame_geometry()?.upright_size();
    let size = source.frame_geometry()?.upright_size();
    let on_screen = upright((own.w, own.h).into());
    let on_source = View::new(size, own).seen_at((on_screen.x, on_screen.y).into())?;
    Some(source.geometry().loc.to_f64() + on_source.to_logical(source.state().scale))
}

#[cfg(test)]
mod tests {
    use geom_display::mode::Mode;
    use geom_display::plan::LogicalRect;
    use smithay::utils::Transform;

    use super::*;

    /// Outputs of 200 by 100 next to each other, whose monitors have these sizes in millimeters.
    fn outputs(sizes: &[(&str, (u32, u32))]) -> Outputs {
        let mut outputs = Outputs::default();
        for (index, (name, size)) in sizes.iter().enumerate() {
            let output = outputs.entry(name);
            output.set_lifecycle(Lifecycle::Enabled);
            output.state_mut().mode = Some(Mode::new(200, 100, 60_000));
            output.state_mut().logical = LogicalRect { x: 200 * index as i32, y: 0, width: 200, height: 100 };
            output.state_mut().monitor.size = *size;
        }
        outputs
    }

    fn change(outputs: &mut Outputs, name: &str, change: impl FnOnce(&mut Output)) {
        change(outputs.named_mut(name).expect("an output"));
    }

    const ALL: [(&str, (u32, u32)); 3] = [("DP-1", (520, 290)), ("DP-2", (520, 290)), ("DP-3", (160, 90))];

    /// Within five percent of DP-3's size.
    const PANEL: TouchDevice<'_> = TouchDevice {
        sysname: "event1",
        name: "panel",
        port: None,
        output_name: None,
        size: Some((165.0, 92.0)),
    };

    fn touched<'a>(device: &TouchDevice<'_>, configured: &str, outputs: &'a Outputs) -> Option<&'a str> {
        // The configuration names a display for this device only.
        let is_configured = device.name == "panel" && !configured.is_empty();
        touched_among(device, is_configured.then_some(configured), &[*device], outputs)
    }

    fn touched_among<'a>(
        device: &TouchDevice<'_>,
        configured: Option<&str>,
        all: &[TouchDevice<'_>],
        outputs: &'a Outputs,
    ) -> Option<&'a str> {
        let connectors_of = |name: &str| match name {
            "any" => ALL.map(|(name, _)| name.to_owned()).to_vec(),
            name => vec![name.to_owned()],
        };
        let is_built_in = |name: &str| name == "eDP-1";
        let unassigned = all.iter().copied().filter(|other| other.output_name.is_none());
        let assignment = Assignment { configured, unassigned, connectors_of, is_built_in };
        touch_output(device, assignment, outputs).map(|output| output.name.as_str())
    }

    #[test]
    fn touch_device_finds_its_output_by_configuration_udev_and_size() {
        let mut all = outputs(&ALL);
        let device = TouchDevice { output_name: Some("DP-2"), ..PANEL };
        assert_eq!(touched(&device, "DP-1", &all), Some("DP-1"));
        assert_eq!(touched(&device, "", &all), Some("DP-2"));
        let unnamed = TouchDevice { output_name: None, ..device };
        assert_eq!(touched(&unnamed, "", &all), Some("DP-3"));
        // Two monitors of that size.
        let ambiguous = TouchDevice { size: Some((520.0, 290.0)), ..unnamed };
        assert_eq!(touched(&ambiguous, "", &all), Some("DP-1"));
        let unknown = TouchDevice { size: None, ..unnamed };
        assert_eq!(touched(&unknown, "", &all), Some("DP-1"));
        assert_eq!(touched(&TouchDevice { name: "other", ..device }, "DP-1", &all), Some("DP-2"));

        // Of several displays that the configuration's name stands for, an enabled one.
        change(&mut all, "DP-1", |output| output.set_lifecycle(Lifecycle::Disconnected));
        assert_eq!(touched(&device, "any", &all), Some("DP-2"));
        change(&mut all, "DP-2", |output| output.set_lifecycle(Lifecycle::Disconnected));
        change(&mut all, "DP-3", |output| output.set_lifecycle(Lifecycle::Disconnected));
        assert_eq!(touched(&unknown, "", &all), None);
    }

    /// The panel is still connected by USB.
    #[test]
    fn touch_on_a_disabled_or_disconnected_display_is_nowhere() {
        for lifecycle in [Lifecycle::Disconnected, Lifecycle::Disabled] {
            let mut all = outputs(&ALL);
            let device = PANEL;
            let named = TouchDevice { output_name: Some("DP-3"), size: None, ..device };
            change(&mut all, "DP-3", |output| output.set_lifecycle(lifecycle.clone()));
            // The size of a disconnected one is an old one.
            let by_size = (lifecycle == Lifecycle::Disconnected).then_some("DP-1");
            assert_eq!(touched(&device, "", &all), by_size, "by size");
            assert_eq!(touched(&named, "", &all), None, "by udev");
            assert_eq!(touched(&device, "DP-3", &all), None, "by configuration");
            assert_eq!(touched(&device, "DP-2", &all), Some("DP-2"));
        }
    }

    /// Also if what the configuration and udev name is at no connector of this machine.
    #[test]
    fn unknown_names_are_passed_over() {
        let all = outputs(&[("DP-1", (520, 290)), ("DP-2", (160, 90))]);
        let device = TouchDevice { output_name: Some("LVDS1"), ..PANEL };
        for configured in ["", "DP-9"] {
            assert_eq!(touched(&device, configured, &all), Some("DP-2"));
        }
    }

    /// It was disconnected from one connector and is now at another one.
    #[test]
    fn touch_device_follows_its_monitor_to_another_connector() {
        let mut all = outputs(&[("DP-1", (520, 290)), ("DP-2", (160, 90)), ("DP-3", (160, 90))]);
        change(&mut all, "DP-2", |output| output.set_lifecycle(Lifecycle::Disconnected));
        let device = PANEL;
        assert_eq!(touched(&device, "", &all), Some("DP-3"));
    }

    #[test]
    fn touch_device_without_size_belongs_to_the_built_in_panel() {
        let all = outputs(&[("DP-1", (0, 0)), ("eDP-1", (0, 0)), ("HDMI-A-1", (0, 0))]);
        let device = TouchDevice { size: None, ..PANEL };
        assert_eq!(touched(&device, "", &all), Some("eDP-1"));
    }

    const TWINS: [(&str, (u32, u32)); 3] = [("DP-1", (520, 290)), ("DP-2", (160, 90)), ("DP-3", (160, 90))];

    /// Two devices of the same model, whose order in /dev/input is not that of their ports.
    const LEFT: TouchDevice<'_> = TouchDevice { sysname: "event10", port: Some("usb-0:1.9:1.0"), ..PANEL };
    const RIGHT: TouchDevice<'_> = TouchDevice { sysname: "event2", port: Some("usb-0:1.10:1.0"), ..PANEL };

    /// labwc 1422, niri 1231: a desk of two equal panels, which were both mapped to one display.
    #[test]
    fn equal_touch_devices_belong_to_equal_displays_in_the_order_of_their_ports() {
        let mut all = outputs(&TWINS);
        let both = |outputs: &Outputs, devices: [TouchDevice<'_>; 2]| {
            devices.map(|device| touched_among(&device, None, &devices, outputs).map(str::to_owned))
        };
        let named = |names: [Option<&str>; 2]| names.map(|name| name.map(str::to_owned));
        let in_order = named([Some("DP-2"), Some("DP-3")]);
        assert_eq!(both(&all, [LEFT, RIGHT]), in_order);
        assert_eq!(both(&all, [RIGHT, LEFT]), named([Some("DP-3"), Some("DP-2")]));
        // Without ports, in the order in which the kernel found them.
        let [first, second] = [RIGHT, LEFT].map(|device| TouchDevice { port: None, ..device });
        assert_eq!(both(&all, [first, second]), in_order);
        // Displays above each other, the other way round.
        for (name, y) in [("DP-2", 100), ("DP-3", 0)] {
            change(&mut all, name, |output| {
                output.state_mut().logical = LogicalRect { x: 200, y, width: 200, height: 100 };
            });
        }
        assert_eq!(both(&all, [LEFT, RIGHT]), named([Some("DP-3"), Some("DP-2")]));
    }

    #[test]
    fn display_that_shows_nothing_keeps_its_twin() {
        for lifecycle in [Lifecycle::Disabled, Lifecycle::Disconnected] {
            let mut all = outputs(&TWINS);
            change(&mut all, "DP-2", |output| output.set_lifecycle(lifecycle.clone()));
            assert_eq!(touched_among(&LEFT, None, &[LEFT, RIGHT], &all), None, "{lifecycle:?}");
            assert_eq!(touched_among(&RIGHT, None, &[LEFT, RIGHT], &all), Some("DP-3"), "{lifecycle:?}");
        }
        // It was plugged into another connector.
        let mut all = outputs(&[("DP-1", (160, 90)), ("DP-2", (160, 90)), ("DP-3", (160, 90))]);
        change(&mut all, "DP-1", |output| output.set_lifecycle(Lifecycle::Disconnected));
        assert_eq!(touched_among(&LEFT, None, &[LEFT, RIGHT], &all), Some("DP-2"));
        assert_eq!(touched_among(&RIGHT, None, &[LEFT, RIGHT], &all), Some("DP-3"));
    }

    #[test]
    fn order_is_for_as_many_equal_displays_as_devices() {
        let all = outputs(&TWINS);
        let third = TouchDevice { sysname: "event3", ..PANEL };
        for device in [LEFT, RIGHT, third] {
            assert_eq!(touched_among(&device, None, &[LEFT, RIGHT, third], &all), Some("DP-1"), "three");
        }
        let other = TouchDevice { name: "other", ..RIGHT };
        assert_eq!(touched_among(&other, None, &[LEFT, other], &all), Some("DP-1"), "another model");
        let named = TouchDevice { output_name: Some("DP-1"), ..RIGHT };
        assert_eq!(touched_among(&named, None, &[LEFT, named], &all), Some("DP-1"), "udev names it");
        assert_eq!(touched_among(&LEFT, Some("DP-3"), &[RIGHT], &all), Some("DP-3"), "configured");
        // Without a size, if all displays are equal.
        let [left, right] = [LEFT, RIGHT].map(|device| TouchDevice { size: None, ..device });
        assert_eq!(touched_among(&right, None, &[left, right], &all), Some("DP-1"));
        let equal = outputs(&[("DP-1", (160, 90)), ("DP-2", (160, 90))]);
        assert_eq!(touched_among(&right, None, &[left, right], &equal), Some("DP-2"));
    }

    #[test]
    fn positions_are_finite_and_on_the_device() {
        let size = Size::from((200, 100));
        let last = (200.0 - 1.0 / 256.0, 100.0 - 1.0 / 256.0);
        for (position, expected) in [
            ((10.0, 20.0), (10.0, 20.0)),
            ((-1.0, -1e300), (0.0, 0.0)),
            ((200.0, 100.0), last),
            ((f64::INFINITY, 1e300), last),
            ((f64::NEG_INFINITY, f64::NAN), (0.0, 0.0)),
        ] {
            assert_eq!(position_on_device(position.into(), size), expected.into(), "{position:?}");
        }
    }

    /// Where a touch is in the layout, by its position as fractions of the touch device.
    fn located(outputs: &Outputs, name: &str, fractions: (f64, f64)) -> Option<(f64, f64)> {
        let position = |size: Size<i32, Logical>| {
            (fractions.0 * f64::from(size.w), fractions.1 * f64::from(size.h)).into()
        };
        let location = layout_location(outputs.named(name)?, outputs, position)?;
        Some((location.x, location.y))
    }

    #[test]
    fn touch_device_turns_with_its_output() {
        let mut all = outputs(&ALL);
        assert_eq!(located(&all, "DP-2", (0.25, 0.5)), Some((250.0, 50.0)));
        change(&mut all, "DP-2", |output| {
            output.state_mut().transform = Transform::_180;
        });
        assert_eq!(located(&all, "DP-2", (0.25, 0.5)), Some((350.0, 50.0)));
        change(&mut all, "DP-2", |output| {
            output.state_mut().transform = Transform::_90;
            (output.state_mut().logical.width, output.state_mut().logical.height) = (100, 200);
        });
        assert_eq!(located(&all, "DP-2", (0.0, 0.0)), Some((300.0, 0.0)));
        assert_eq!(located(&all, "DP-2", (0.25, 0.0)), Some((300.0, 50.0)));
        assert_eq!(located(&all, "DP-2", (1.0, 1.0)), Some((200.0, 200.0)));
    }

    #[test]
    fn touch_on_a_mirror_is_where_its_frame_shows_the_source() {
        let mut all = outputs(&ALL);
        let source = all.id("DP-3");
        change(&mut all, "DP-2", |output| {
            output.state_mut().mirror = source;
            // As wide as the source, with borders of 50 above and below the frame.
            output.state_mut().mode = Some(Mode::new(200, 200, 60_000));
        });
        change(&mut all, "DP-3", |output| output.state_mut().scale = 2.0);
        assert_eq!(located(&all, "DP-2", (0.5, 0.5)), Some((450.0, 25.0)));
        assert_eq!(located(&all, "DP-2", (0.0, 0.25)), Some((400.0, 0.0)));
        assert_eq!(located(&all, "DP-2", (0.5, 0.2)), None, "on the border");
    }
}
