//! What libinput knows of input devices, and their configuration.

use smithay::reexports::input::{AccelProfile, Device, DeviceCapability, Led};
use tracing::debug;

use super::touch::TouchDevice;
use crate::config::Pointer;

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

/// What libinput knows of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceInfo {
    /// Name in /dev/input, such as "event3".
    pub sysname: String,
    pub name: String,
    pub vendor: u32,
    pub product: u32,
    pub capabilities: Vec<DeviceCapability>,
    /// udev's property WL_OUTPUT: the output's name.
    pub output_name: Option<String>,
    /// Width and height in millimeters.
    pub size: Option<(f64, f64)>,
}

impl DeviceInfo {
    /// Reads a libinput device.
    pub fn read(device: &Device) -> Self {
        let has = |capability: &DeviceCapability| device.has_capability(*capability);
        Self {
            sysname: device.sysname().to_owned(),
            name: device.name().to_owned(),
            vendor: device.id_vendor(),
            product: device.id_product(),
            capabilities: CAPABILITIES.into_iter().filter(has).collect(),
            output_name: device.output_name().map(str::to_owned),
            size: device.size(),
        }
    }

    /// Returns whether it has a capability.
    pub fn has(&self, capability: DeviceCapability) -> bool {
        self.capabilities.contains(&capability)
    }

    /// Returns it as a touch device, if it is one.
    pub fn touch(&self) -> Option<TouchDevice<'_>> {
        let Self { name, size, .. } = self;
        let touch = TouchDevice { name, output_name: self.output_name.as_deref(), size: *size };
        self.has(DeviceCapability::Touch).then_some(touch)
    }
}

/// Configures a mouse or touchpad, as far as the device supports it.
pub fn configure(device: &mut Device, pointer: &Pointer) {
    if device.config_accel_is_available() {
        let profile = if pointer.accelerated { AccelProfile::Adaptive } else { AccelProfile::Flat };
        let applied = device
            .config_accel_set_speed(pointer.speed)
            .and_then(|()| device.config_accel_set_profile(profile));
        if let Err(error) = applied {
            debug!(device = device.name(), ?error, "libinput refused pointer acceleration");
        }
    }
    if device.config_scroll_has_natural_scroll() {
        let _ = device.config_scroll_set_natural_scroll_enabled(pointer.natural_scroll);
    }
    if device.config_tap_finger_count() > 0 {
        let _ = device.config_tap_set_enabled(pointer.tap_to_click);
    }
}

/// Turns the lamps of a keyboard on and off. Of other devices there are none.
pub fn show_lamps(device: &mut Device, lamps: Led) {
    if device.has_capability(DeviceCapability::Keyboard) {
        device.led_update(lamps);
    }
}
