//! Touch devices: the output that each belongs to, and where on the layout a touch is. Pure.

use geom_display::lifecycle::Lifecycle;
use smithay::reexports::input::Device;
use smithay::utils::{Logical, Point, Size};

use crate::output::outputs::Outputs;
use crate::output::Output;
use crate::render::scene::View;

/// How far the physical sizes of a touch device and of its monitor may differ.
const SIZE_TOLERANCE: f64 = 0.05;

/// What libinput knows of a touch device.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TouchDevice<'a> {
    pub name: &'a str,
    /// udev's property WL_OUTPUT: the output's name.
    pub output_name: Option<&'a str>,
    /// Width and height in millimeters.
    pub size: Option<(f64, f64)>,
}

impl<'a> TouchDevice<'a> {
    /// Reads a libinput device.
    pub fn new(device: &'a Device) -> Self {
        Self { name: device.name(), output_name: device.output_name(), size: device.size() }
    }

    fn fits(&self, output: &Output) -> bool {
        let is_near =
            |own: f64, other: u32| other > 0 && (own - f64::from(other)).abs() <= SIZE_TOLERANCE * own;
        let (width, height) = output.state().monitor.size;
        self.size
            .is_some_and(|(own_width, own_height)| is_near(own_width, width) && is_near(own_height, height))
    }
}

/// Returns the enabled output that a touch device belongs to. In falling precedence: the configured
/// one, the one that udev names, the only one of the device's physical size, the leftmost built-in
/// one, the leftmost one. `None` if its output is disabled, or disconnected and named: who touches
/// a screen that shows nothing does not press what another one shows.
///
/// `configured` has the names of devices and displays; `connectors_of` returns the connectors that
/// a display's name stands for, none if it is unknown; `is_built_in` returns whether a connector is
/// that of the device's own panel.
pub fn touch_output<'a>(
    device: &TouchDevice<'_>,
    configured: &[(String, String)],
    connectors_of: impl Fn(&str) -> Vec<String>,
    is_built_in: impl Fn(&str) -> bool,
    outputs: &'a Outputs,
) -> Option<&'a Output> {
    let display = configured.iter().find(|(name, _)| *name == device.name).map(|(_, display)| display);
    let by_udev = device.output_name.map(|name| vec![name.to_owned()]);
    for names in display.map(|name| connectors_of(name)).into_iter().chain(by_udev) {
        let mut named = names.iter().filter_map(|name| outputs.named(name)).peekable();
        // A name that stands for no display at all, as of a mistake, must not make the device dead.
        if named.peek().is_some() {
            return named.find(|output| output.is_enabled());
        }
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

    fn touched<'a>(device: &TouchDevice<'_>, configured: &str, outputs: &'a Outputs) -> Option<&'a str> {
        let configured = [("panel".to_owned(), configured.to_owned())];
        let configured = if configured[0].1.is_empty() { &[][..] } else { &configured[..] };
        let connectors_of = |name: &str| match name {
            "" => Vec::new(),
            "any" => ALL.map(|(name, _)| name.to_owned()).to_vec(),
            name => vec![name.to_owned()],
        };
        let is_built_in = |name: &str| name == "eDP-1";
        let output = touch_output(device, configured, connectors_of, is_built_in, outputs);
        output.map(|output| output.name.as_str())
    }

    #[test]
    fn touch_device_finds_its_output_by_configuration_udev_and_size() {
        let mut all = outputs(&ALL);
        // Within five percent of DP-3's size.
        let device = TouchDevice { name: "panel", output_name: Some("DP-2"), size: Some((165.0, 92.0)) };
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
            let device = TouchDevice { name: "panel", output_name: None, size: Some((165.0, 92.0)) };
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
        let device = TouchDevice { name: "panel", output_name: Some("LVDS1"), size: Some((165.0, 92.0)) };
        for configured in ["", "DP-9"] {
            assert_eq!(touched(&device, configured, &all), Some("DP-2"));
        }
    }

    /// It was disconnected from one connector and is now at another one.
    #[test]
    fn touch_device_follows_its_monitor_to_another_connector() {
        let mut all = outputs(&[("DP-1", (520, 290)), ("DP-2", (160, 90)), ("DP-3", (160, 90))]);
        change(&mut all, "DP-2", |output| output.set_lifecycle(Lifecycle::Disconnected));
        let device = TouchDevice { name: "panel", output_name: None, size: Some((165.0, 92.0)) };
        assert_eq!(touched(&device, "", &all), Some("DP-3"));
    }

    #[test]
    fn touch_device_without_size_belongs_to_the_built_in_panel() {
        let all = outputs(&[("DP-1", (0, 0)), ("eDP-1", (0, 0)), ("HDMI-A-1", (0, 0))]);
        let device = TouchDevice { name: "panel", output_name: None, size: None };
        assert_eq!(touched(&device, "", &all), Some("eDP-1"));
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
