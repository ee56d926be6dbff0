//! What libinput and udev know of input devices.

use std::ffi::OsStr;

use smithay::reexports::input::{Device, DeviceCapability, Led};

use super::touch::TouchDevice;
use crate::config::{DeviceKind, DeviceTraits};

/// All capabilities that libinput has.
const CAPABILITIES: [DeviceCapability; 7] = [
    DeviceCapability::Keyboard,
    DeviceCapability::Pointer,
    DeviceCapability::Touch,
    DeviceCapability::TabletTool,
    DeviceCapability::TabletPad,
    DeviceCapability::Gesture,
    DeviceCapability::Switch,
];

/// What libinput and udev know of a device.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeviceInfo {
    /// Name in /dev/input, such as "event3".
    pub sysname: String,
    pub name: String,
    pub vendor: u32,
    pub product: u32,
    pub capabilities: Vec<DeviceCapability>,
    /// What it is; most devices are one thing.
    pub kinds: Vec<DeviceKind>,
    /// The port by udev's property `ID_PATH`, such as `pci-0000:00:14.0-usb-0:1.2:1.0`.
    pub id_path: Option<String>,
    /// The port by the kernel's driver, such as `usb-0000:00:14.0-1.2/input0`.
    pub phys: Option<String>,
    /// udev's property WL_OUTPUT: the output's name.
    pub output_name: Option<String>,
    /// Width and height in millimeters.
    pub size: Option<(f64, f64)>,
}

/// Returns a property as text. Devices choose their names: they need not be UTF-8.
fn text(value: Option<&OsStr>) -> Option<String> {
    value.map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
}

impl DeviceInfo {
    /// Reads a libinput device.
    ///
    /// Its name is read from sysfs, as libinput's binding panics at a name that is not UTF-8.
    pub fn read(device: &Device) -> Self {
        let has = |capability: &DeviceCapability| device.has_capability(*capability);
        let capabilities: Vec<_> = CAPABILITIES.into_iter().filter(has).collect();
        let sysname = device.sysname().to_owned();
        let node = udev::Device::from_subsystem_sysname("input".to_owned(), sysname.clone()).ok();
        let property = |name: &str| text(node.as_ref().and_then(|node| node.property_value(name)));
        let parent = node.as_ref().and_then(udev::Device::parent);
        let attribute = |name: &str| text(parent.as_ref().and_then(|parent| parent.attribute_value(name)));
        let is = |name: &str| property(name).as_deref() == Some("1");
        let is_touchpad = is("ID_INPUT_TOUCHPAD") || device.config_tap_finger_count() > 0;
        Self {
            name: attribute("name").unwrap_or_else(|| sysname.clone()),
            vendor: device.id_vendor(),
            product: device.id_product(),
            kinds: kinds(&capabilities, is_touchpad, is("ID_INPUT_POINTINGSTICK")),
            capabilities,
            id_path: property("ID_PATH"),
            phys: attribute("phys"),
            output_name: property("WL_OUTPUT"),
            size: device.size().filter(|(width, height)| is_length(*width) && is_length(*height)),
            sysname,
        }
    }

    /// Returns whether it has a capability.
    pub fn has(&self, capability: DeviceCapability) -> bool {
        self.capabilities.contains(&capability)
    }

    /// Returns the name of its port: udev's, or else the kernel's.
    pub fn port(&self) -> Option<&str> {
        self.id_path.as_deref().or(self.phys.as_deref())
    }

    /// Returns what conditions of the configuration are compared with.
    pub fn traits(&self) -> DeviceTraits<'_> {
        DeviceTraits {
            name: &self.name,
            ports: [self.id_path.as_deref(), self.phys.as_deref()],
            kinds: &self.kinds,
            vendor: self.vendor,
            product: self.product,
        }
    }

    /// Returns it as a touch device, if it is one.
    pub fn touch(&self) -> Option<TouchDevice<'_>> {
        let Self { sysname, name, size, .. } = self;
        let output_name = self.output_name.as_deref();
        let touch = TouchDevice { sysname, name, port: self.port(), output_name, size: *size };
        self.has(DeviceCapability::Touch).then_some(touch)
    }
}

/// Returns whether a size in millimeters is one: a device may report any range and resolution.
fn is_length(millimeters: f64) -> bool {
    millimeters.is_finite() && millimeters > 0.0
}

/// Returns what a device with these capabilities is.
fn kinds(capabilities: &[DeviceCapability], is_touchpad: bool, is_stick: bool) -> Vec<DeviceKind> {
    let kind = |capability: &DeviceCapability| match capability {
        DeviceCapability::Keyboard => Some(DeviceKind::Keyboard),
        DeviceCapability::Pointer if is_touchpad => Some(DeviceKind::Touchpad),
        DeviceCapability::Pointer if is_stick => Some(DeviceKind::PointingStick),
        DeviceCapability::Pointer => Some(DeviceKind::Mouse),
        DeviceCapability::Touch => Some(DeviceKind::Touch),
        DeviceCapability::TabletTool => Some(DeviceKind::Pen),
        DeviceCapability::TabletPad => Some(DeviceKind::Pad),
        DeviceCapability::Switch => Some(DeviceKind::Switch),
        _ => None,
    };
    capabilities.iter().filter_map(kind).collect()
}

/// Turns the lamps of a keyboard on and off. Of other devices there are none.
pub fn show_lamps(device: &mut Device, lamps: Led) {
    if device.has_capability(DeviceCapability::Keyboard) {
        device.led_update(lamps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_capabilities_and_udev() {
        use DeviceCapability::{Gesture, Keyboard, Pointer, Switch, TabletPad, TabletTool, Touch};
        for (capabilities, is_touchpad, is_stick, expected) in [
            (&[Keyboard][..], false, false, &[DeviceKind::Keyboard][..]),
            (&[Keyboard, Pointer], false, false, &[DeviceKind::Keyboard, DeviceKind::Mouse]),
            (&[Pointer, Gesture], true, false, &[DeviceKind::Touchpad]),
            (&[Pointer], false, true, &[DeviceKind::PointingStick]),
            (&[Touch, TabletTool], false, false, &[DeviceKind::Touch, DeviceKind::Pen]),
            (&[TabletPad, Switch], false, false, &[DeviceKind::Pad, DeviceKind::Switch]),
            (&[], false, false, &[]),
        ] {
            assert_eq!(kinds(capabilities, is_touchpad, is_stick), expected);
        }
    }

    #[test]
    fn absurd_sizes_are_no_sizes() {
        for size in [0.0, -3.0, f64::NAN, f64::INFINITY] {
            assert!(!is_length(size), "{size}");
        }
        assert!(is_length(160.0));
    }
}
