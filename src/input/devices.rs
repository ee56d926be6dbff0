//! The configuration of libinput devices and of the keyboard.

use smithay::input::keyboard::XkbConfig;
use smithay::reexports::input::{AccelProfile, Device};
use tracing::debug;

use crate::config::{Keyboard, Pointer};

/// Returns the names that xkbcommon looks a keymap up by.
pub fn xkb_config(keyboard: &Keyboard) -> XkbConfig<'_> {
    XkbConfig {
        rules: &keyboard.rules,
        model: &keyboard.model,
        layout: &keyboard.layout,
        variant: &keyboard.variant,
        options: (!keyboard.options.is_empty()).then(|| keyboard.options.clone()),
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
