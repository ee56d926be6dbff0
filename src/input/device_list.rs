//! The present input devices with their settings.

use geom_ipc::InputSettings;
use smithay::reexports::input::{Device, DeviceCapability, Led};
use tracing::{info, warn};

use super::device_calibration::KeptCalibrations;
use super::devices::{show_lamps, DeviceInfo};
use super::held_keys::{HeldKeys, KeyPlan, KeymapId};
use super::keymaps::{KeymapNames, Keymaps};
use super::libinput_config;
use super::settings::{resolve, Refusal, Settings};
use super::touch::TouchDevice;
use crate::config::Config;

/// A device with its settings.
#[derive(Debug, Default)]
pub struct ConfiguredDevice {
    pub info: DeviceInfo,
    pub settings: Settings,
    /// What the device has, with its present values.
    pub present: InputSettings,
    /// Configured settings that do not apply.
    pub refused: Vec<Refusal>,
    keymap: KeymapId,
}

impl ConfiguredDevice {
    fn is_enabled(&self) -> bool {
        self.settings.is_enabled() || self.refused.iter().any(|refusal| refusal.setting == "enabled")
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct DeviceList {
    devices: Vec<ConfiguredDevice>,
    /// libinput's handles of the devices, for their configuration.
    handles: Vec<Device>,
    calibrations: KeptCalibrations,
    keymaps: Keymaps,
    held: HeldKeys,
}

/// What at least one enabled device can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    pub pointer: bool,
    pub touch: bool,
}

impl DeviceList {
    /// Keeps libinput's handle of a new device, which is added next.
    pub fn open(&mut self, mut handle: Device, lamps: Led) {
        show_lamps(&mut handle, lamps);
        self.handles.push(handle);
    }

    /// Drops libinput's handle of a device.
    pub fn close(&mut self, handle: &Device) {
        self.handles.retain(|known| known != handle);
    }

    /// Returns libinput's handle of a device, by its name in /dev/input.
    pub fn handle(&self, sysname: &str) -> Option<&Device> {
        self.handles.iter().find(|handle| handle.sysname() == sysname)
    }

    /// As [`DeviceList::handle`].
    pub fn handle_mut(&mut self, sysname: &str) -> Option<&mut Device> {
        self.handles.iter_mut().find(|handle| handle.sysname() == sysname)
    }

    /// Keeps the matrix of a device, by its name in /dev/input, that was calibrated.
    pub fn calibrated(&mut self, sysname: &str, matrix: [f32; 6], config: &Config) {
        let position = self.devices.iter().position(|device| device.info.sysname == sysname);
        let Some(mut device) = position.map(|position| self.devices.remove(position)) else { return };
        self.calibrations.keep(&device.info, &device.settings, matrix);
        // Its layout was reported before.
        let _ = self.configure(&mut device, config);
        self.devices.push(device);
    }

    /// A device, by its name in /dev/input, is unplugged: another one may get that name.
    pub fn forget_calibration(&mut self, sysname: &str) {
        self.calibrations.forget(sysname);
    }

    /// Turns the lamps of all keyboards on and off.
    pub fn show_lamps(&mut self, lamps: Led) {
        for handle in &mut self.handles {
            show_lamps(handle, lamps);
        }
    }

    /// Adds a device and configures it. Returns its layout if xkb does not know it.
    pub fn add(&mut self, info: DeviceInfo, config: &Config) -> Option<String> {
        info!(device = info.name, port = info.port(), "input device added");
        let mut device = ConfiguredDevice { info, ..ConfiguredDevice::default() };
        let unknown = self.configure(&mut device, config);
        self.devices.push(device);
        unknown
    }

    /// Applies a changed configuration to all devices: what is no longer configured goes back to
    /// the device's default. Returns the layouts that xkb does not know.
    pub fn reconfigure(&mut self, config: &Config) -> Vec<String> {
        let mut devices = std::mem::take(&mut self.devices);
        let unknown = devices.iter_mut().filter_map(|device| self.configure(device, config)).collect();
        self.devices = devices;
        let (active, devices) = (self.held.active(), &self.devices);
        self.keymaps
            .retain(|keymap| keymap == active || devices.iter().any(|device| device.keymap == keymap));
        unknown
    }

    fn configure(&mut self, device: &mut ConfiguredDevice, config: &Config) -> Option<String> {
        device.settings = resolve(config, &device.info);
        self.calibrations.apply(&device.info, &mut device.settings);
        let mut refused = device.settings.misplaced(&device.info);
        let handle = self.handles.iter_mut().find(|handle| handle.sysname() == device.info.sysname);
        device.present = InputSettings::default();
        if let Some(handle) = handle {
            refused.extend(libinput_config::apply(handle, &device.settings));
            device.present = libinput_config::read(handle);
        }
        if device.info.has(DeviceCapability::Pointer) {
            device.present.scroll_factor = Some(device.scroll_factor());
        }
        let unknown = self.configure_keymap(device, config, &mut refused);
        for refusal in refused.iter().filter(|refusal| !device.refused.contains(refusal)) {
            let Refusal { setting, reason } = refusal;
            let present = serde_json::to_string(&device.present).unwrap_or_default();
            warn!(
                device = device.info.name,
                setting,
                reason,
                present,
                "setting of an input device does not apply; see [[input]] in the configuration"
            );
        }
        device.refused = refused;
        unknown
    }

    /// Finds the device's keymap. Returns its layout if xkb does not know it.
    fn configure_keymap(
        &mut self,
        device: &mut ConfiguredDevice,
        config: &Config,
        refused: &mut Vec<Refusal>,
    ) -> Option<String> {
        device.keymap = KeymapId::DEFAULT;
        if !device.info.has(DeviceCapability::Keyboard) {
            return None;
        }
        let names = device.settings.keymap(&KeymapNames::from(&config.keyboard))?;
        if let Some(keymap) = self.keymaps.add(&names) {
            device.keymap = keymap;
            let KeymapNames { layout, variant, model, options, .. } = names;
            let present = &mut device.present;
            (present.layout, present.variant) = (Some(layout), Some(variant));
            (present.model, present.options) = (Some(model), Some(options));
            return None;
        }
        let reason = "xkb does not know this layout; the device has that of [keyboard]".to_owned();
        refused.push(Refusal { setting: "layout", reason });
        Some(names.layout)
    }

    /// Removes a device by its name in /dev/input. Returns the keys that it held.
    pub fn remove(&mut self, sysname: &str) -> Vec<u32> {
        self.devices.retain(|device| {
            let stays = device.info.sysname != sysname;
            if !stays {
                info!(device = device.info.name, "input device removed");
            }
            stays
        });
        // Its keymap stays until the configuration changes: it may be plugged in again, as all are
        // after a VT switch.
        self.held.remove_device(sysname)
    }

    /// Returns all devices.
    pub fn iter(&self) -> impl Iterator<Item = &ConfiguredDevice> {
        self.devices.iter()
    }

    /// Returns a device by its name in /dev/input.
    pub fn get(&self, sysname: &str) -> Option<&ConfiguredDevice> {
        self.devices.iter().find(|device| device.info.sysname == sysname)
    }

    /// Returns the touch devices whose display neither the configuration nor udev names.
    pub fn unassigned_touch(&self) -> impl Iterator<Item = TouchDevice<'_>> {
        let is_unassigned =
            |device: &&ConfiguredDevice| device.settings.display.is_none() && device.is_enabled();
        let unassigned = self.devices.iter().filter(is_unassigned);
        unassigned.filter_map(|device| device.info.touch()).filter(|touch| touch.output_name.is_none())
    }

    /// Returns what at least one enabled device can do.
    pub fn capabilities(&self) -> Capabilities {
        let has =
            |capability| self.devices.iter().any(|device| device.is_enabled() && device.info.has(capability));
        // For programs without tablet-v2, a pen moves the pointer.
        let pointer = has(DeviceCapability::Pointer) || has(DeviceCapability::TabletTool);
        Capabilities { pointer, touch: has(DeviceCapability::Touch) }
    }

    /// Returns whether any device sends events.
    pub fn has_enabled(&self) -> bool {
        self.devices.iter().any(ConfiguredDevice::is_enabled)
    }

    /// Sets the keymap of `[keyboard]` that the seat has.
    pub fn set_default_keymap(&mut self, names: KeymapNames) {
        self.keymaps.set_default(names);
    }

    /// A device presses or releases a key, by its xkb code. Returns what the seat does.
    pub fn on_key(&mut self, sysname: &str, code: u32, is_press: bool) -> KeyPlan {
        let keymap = self.get(sysname).map_or(KeymapId::DEFAULT, |device| device.keymap);
        let keymaps = &self.keymaps;
        self.held.on_key(sysname, keymap, code, is_press, |code| keymaps.is_modifier(keymap, code))
    }

    /// The seat has released all keys.
    pub fn keys_released(&mut self) {
        self.held.clear();
    }

    /// The seat's keymap is about to be replaced by that of `[keyboard]`. Returns the keys that it
    /// releases before.
    pub fn reset_keymap(&mut self) -> Vec<u32> {
        self.held.reset()
    }

    /// The seat changes from the keymap `before`, in which a layout is active, to another one.
    /// Returns the text of that one, and its active layout.
    pub fn change_keymap(&mut self, before: KeymapId, layout: u32, to: KeymapId) -> Option<(String, u32)> {
        self.keymaps.set_layout(before, layout);
        self.keymaps.text(to)
    }

    /// Returns the seat's keymap.
    pub fn active_keymap(&self) -> KeymapId {
        self.held.active()
    }
}

impl ConfiguredDevice {
    /// Returns the factor of its scrolling.
    pub fn scroll_factor(&self) -> f64 {
        self.settings.scroll_factor.as_ref().map_or(1.0, |factor| factor.value)
    }

    /// Returns the name of the display that it is configured for.
    pub fn display(&self) -> Option<&str> {
        self.settings.display.as_ref().map(|display| display.value.as_str())
    }
}
