//! Touch devices: the output that each belongs to, and where on the layout a touch is. Pure.

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
        let (width, height) = output.monitor.size;
        self.size.is_some_and(|(own_width, own_height)| is_near(own_width, width) && is_near(own_height, height))
    }
}

/// Returns the enabled output that a touch device belongs to. In falling precedence: the configured
/// one, the one that udev names, the only one of the device's physical size, the leftmost one.
///
/// `configured` has the names of devices and displays; `connectors_of` returns the connectors that a
/// display's name stands for.
pub fn touch_output<'a>(
    device: &TouchDevice<'_>,
    configured: &[(String, String)],
    connectors_of: impl Fn(&str) -> Vec<String>,
    outputs: &'a Outputs,
) -> Option<&'a Output> {
    let enabled = |name: &str| outputs.named(name).filter(|output| output.is_enabled());
    let display = configured.iter().find(|(name, _)| *name == device.name).map(|(_, display)| display);
    let by_size = || {
        let mut fitting = outputs.iter().filter(|output| output.is_enabled() && device.fits(output));
        let first = fitting.next();
        first.filter(|_| fitting.next().is_none())
    };
    display
        .and_then(|display| connectors_of(display).iter().find_map(|name| enabled(name)))
        .or_else(|| enabled(device.output_name?))
        .or_else(by_size)
        .or_else(|| outputs.in_layout().first().copied())
}

/// Returns the position in the layout of a touch on an output's screen. `None` if the output mirrors
/// another one and the touch is on the border around the picture.
///
/// `position` returns the touch's position in a space of a size that has the touch device's
/// orientation, which turns with the output.
pub fn layout_location(
    output: &Output,
    outputs: &Outputs,
    position: impl Fn(Size<i32, Logical>) -> Point<f64, Logical>,
) -> Option<Point<f64, Logical>> {
    // The position in a space that has the picture's orientation.
    let upright = |size: Size<i32, Logical>| {
        let device = output.transform.invert().transform_size(size);
        output.transform.transform_point_in(position(device), &device.to_f64())
    };
    let Some(source) = output.mirror.as_deref().and_then(|source| outputs.named(source)) else {
        let area = output.geometry();
        return Some(upright(area.size) + area.loc.to_f64());
    };
    let own = output.frame_geometry()?.upright_size();
    let picture = source.frame_geometry()?.upright_size();
    let on_screen = upright((own.w, own.h).into());
    let on_picture = View::new(picture, own).seen_at((on_screen.x, on_screen.y).into())?;
    Some(source.geometry().loc.to_f64() + on_picture.to_logical(source.scale))
}
