//! Input devices as they come and go.

use smithay::input::keyboard::XkbConfig;
use smithay::reexports::input::{AccelProfile, Device, DeviceCapability};
use tracing::{debug, info, warn};

use crate::config::{Config, Keyboard};
use crate::compositor::State;

/// Keyboards in xkb's form.
pub fn xkb(keyboard: &Keyboard) -> XkbConfig<'_> {
    XkbConfig {
        rules: &keyboard.rules,
        model: &keyboard.model,
        layout: &keyboard.layout,
        variant: &keyboard.variant,
        options: (!keyboard.options.is_empty()).then(|| keyboard.options.clone()),
    }
}

/// Applies the configuration to a mouse or touchpad. What a device can't do is left alone.
pub fn configure(device: &mut Device, config: &Config) {
    let pointer = &config.pointer;
    if device.config_accel_is_available() {
        let profile = if pointer.accelerated { AccelProfile::Adaptive } else { AccelProfile::Flat };
        let applied = device
            .config_accel_set_speed(pointer.speed)
            .and_then(|()| device.config_accel_set_profile(profile));
        if let Err(error) = applied {
            debug!(device = device.name(), ?error, "pointer speed not taken");
        }
    }
    if device.config_scroll_has_natural_scroll() {
        let _ = device.config_scroll_set_natural_scroll_enabled(pointer.natural_scroll);
    }
    if device.config_tap_finger_count() > 0 {
        let _ = device.config_tap_set_enabled(pointer.tap_to_click);
    }
}

impl State {
    pub fn device_added(&mut self, mut device: Device) {
        info!(device = device.name(), "input device added");
        configure(&mut device, &self.config);
        if device.has_capability(DeviceCapability::Pointer) && !self.pointer.present {
            self.pointer.present = true;
            // In the middle of the first display, where a person looks for it.
            if let Some(output) = self.outputs.in_layout().first() {
                let area = output.geometry();
                self.pointer.location = area.loc.to_f64() + area.size.to_f64().to_point().downscale(2.0);
            }
            self.redraw_under_pointer();
        }
        self.devices.push(device);
        self.announce_capabilities();
    }

    pub fn device_removed(&mut self, device: &Device) {
        info!(device = device.name(), "input device removed");
        self.devices.retain(|known| known != device);
        let any = self.devices.iter().any(|device| device.has_capability(DeviceCapability::Pointer));
        if self.pointer.present && !any {
            self.pointer.present = false;
            self.redraw_under_pointer();
        }
        self.announce_capabilities();
    }

    /// The seat has a pointer or touch output while a device is one; it always has a keyboard, as
    /// clients take focus by it.
    fn announce_capabilities(&mut self) {
        let has = |capability| self.devices.iter().any(|device| device.has_capability(capability));
        let (pointer, touch) = (has(DeviceCapability::Pointer), has(DeviceCapability::Touch));
        match (pointer, self.seat.get_pointer()) {
            (true, None) => drop(self.seat.add_pointer()),
            (false, Some(_)) => self.seat.remove_pointer(),
            _ => {}
        }
        match (touch, self.seat.get_touch()) {
            (true, None) => drop(self.seat.add_touch()),
            (false, Some(_)) => self.seat.remove_touch(),
            _ => {}
        }
    }

    /// Applies a changed configuration to devices that are there.
    pub fn reconfigure_input(&mut self) {
        for device in &mut self.devices {
            configure(device, &self.config);
        }
        self.pointer.set_theme(&self.config.cursor_theme, self.config.cursor_size);
        let Some(keyboard) = self.seat.get_keyboard() else { return };
        let wished = self.config.keyboard.clone();
        keyboard.change_repeat_info(wished.repeat_rate, wished.repeat_delay);
        if let Err(error) = keyboard.set_xkb_config(self, xkb(&wished)) {
            warn!(%error, layout = wished.layout, "xkb knows no such keyboard; keeping the one before");
            self.notices.add(format!(
                "keyboard layout {:?} is unknown to xkb; see [keyboard] in the configuration",
                wished.layout
            ));
        }
    }

    /// The display that a touch device belongs to: the configured one, the one that udev names
    /// (WL_OUTPUT), the only one of its physical size, the first.
    pub fn touch_display(&self, device: &Device) -> Option<String> {
        let name = device.name().to_owned();
        let configured =
            self.config.touch.iter().find(|(known, _)| *known == name).map(|(_, display)| display.as_str());
        let lit = self.outputs.in_layout();
        let shown: Vec<_> = self.outputs.iter().filter(|output| output.is_enabled()).collect();
        let by_name = |wanted: String| {
            shown.iter().find(|output| output.name == wanted).map(|output| output.name.clone())
        };
        let by_size = || {
            let (width, height) = device.size()?;
            let close = |one: f64, other: i32| other > 0 && (one - f64::from(other)).abs() <= 0.05 * one;
            let mut fits = shown.iter().filter(|output| {
                let size = output.wl_output.physical_properties().size;
                close(width, size.w) && close(height, size.h)
            });
            let first = fits.next()?;
            fits.next().is_none().then(|| first.name.clone())
        };
        configured
            .and_then(|name| self.displays_named(name).into_iter().find_map(by_name))
            .or_else(|| by_name(device.output_name()?.to_owned()))
            .or_else(by_size)
            .or_else(|| lit.first().map(|output| output.name.clone()))
    }
}
