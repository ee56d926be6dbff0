//! Input devices: their coming and going, settings, displays, and the keymaps of keyboards.

use geom_ipc::Event as IpcEvent;
use smithay::backend::input::KeyState;
use smithay::input::keyboard::{KeyboardTarget, Keycode, Layout, ModifiersState};
use smithay::reexports::input::Device;
use smithay::utils::SERIAL_COUNTER;
use tracing::{error, trace};

use super::output_config::connectors_named;
use super::touch::Fingers;
use super::State;
use crate::clients::client_of;
use crate::config::Keyboard;
use crate::control::report;
use crate::input::tablets::TabletInfo;
use crate::input::{
    has_same_keymap, is_device_layout_notice, is_layout_notice, keep_locks, report_unknown_device_layout,
    report_unknown_layout, touch_output, xkb_config, Assignment, ConfiguredDevice, CursorEvent, DeviceInfo,
    KeyPlan, KeymapId, KeymapNames, TouchDevice,
};
use crate::output::Output;

impl State {
    /// Adds a device that libinput has opened.
    pub fn device_added(&mut self, device: DeviceInfo) {
        let sysname = device.sysname.clone();
        if let Some(layout) = self.input.devices.add(device, &self.config) {
            self.notices.add(report_unknown_device_layout(&layout));
        }
        self.devices_changed();
        if let Some(device) = self.ipc_input_device_named(&sysname) {
            self.publish_event(&IpcEvent::InputDeviceAdded { device });
        }
    }

    /// libinput has closed a device.
    pub fn device_closed(&mut self, device: &Device) {
        self.input.devices.close(device);
        self.remove_pad(device.sysname());
        self.remove_tablet(device.sysname());
        self.device_removed(device.sysname());
    }

    /// Removes a device that libinput has closed, by its name in /dev/input. Its keys are released
    /// and its fingers cancelled, unless libinput has done so.
    pub fn device_removed(&mut self, sysname: &str) {
        let Some(device) = self.ipc_input_device_named(sysname) else { return };
        self.cancel_fingers_of(sysname);
        self.calibration_device_gone(sysname);
        // While the session is paused, all devices are closed, and come back.
        if !self.backend.is_paused() {
            self.input.devices.forget_calibration(sysname);
        }
        let keys = self.input.devices.remove(sysname);
        self.release(&keys);
        self.devices_changed();
        self.publish_event(&IpcEvent::InputDeviceRemoved { device });
    }

    /// The seat has a pointer and touch while there are such devices.
    fn devices_changed(&mut self) {
        if self.input.update_pointer(&self.outputs) {
            if !self.input.pointer().is_present() {
                self.cursor_event(CursorEvent::Gone);
            }
            self.redraw_under_pointer();
        }
        self.input.update_seat(&mut self.seat, &self.config, Fingers::none);
        // A new pointer is on no surface yet.
        self.refresh_pointer_focus();
    }

    /// Returns the output that a touch device or a tablet belongs to, or the one that another
    /// device is configured for.
    pub(super) fn output_of_device(&self, device: &ConfiguredDevice) -> Option<&Output> {
        let tablet = self.input.tablets.get(&device.info.sysname);
        let tablet = tablet.filter(|tablet| self.is_mapped(tablet)).map(TabletInfo::touch);
        if let Some(touch) = device.info.touch().or(tablet) {
            return self.touch_output(&touch, device.display());
        }
        let connectors = self.connectors_of(device.display()?);
        let mut named = connectors.iter().filter_map(|name| self.outputs.named(name));
        named.find(|output| output.is_enabled())
    }

    /// Returns whether a device is configured for a display that there is: a name that stands for
    /// none, as of a mistake, must not make the device dead.
    pub(super) fn has_display(&self, device: &ConfiguredDevice) -> bool {
        let connectors = device.display().map(|name| self.connectors_of(name)).unwrap_or_default();
        connectors.iter().any(|name| self.outputs.named(name).is_some())
    }

    /// Returns the output that a tablet belongs to.
    pub(super) fn output_of_tablet(&self, tablet: &TabletInfo) -> Option<&Output> {
        self.touch_output(&tablet.touch(), self.display_of(&tablet.sysname))
    }

    /// Returns the display that a device is configured for, by its name in /dev/input.
    pub(super) fn display_of(&self, sysname: &str) -> Option<&str> {
        self.input.devices.get(sysname).and_then(ConfiguredDevice::display)
    }

    fn connectors_of(&self, display: &str) -> Vec<String> {
        connectors_named(&self.outputs, &self.backend, &self.config, display)
    }

    fn touch_output(&self, touch: &TouchDevice<'_>, configured: Option<&str>) -> Option<&Output> {
        let assignment = Assignment {
            configured,
            unassigned: self.input.devices.unassigned_touch(),
            connectors_of: |name: &str| self.connectors_of(name),
            is_built_in: |name: &str| self.config.power.is_lid_display(name),
        };
        touch_output(touch, assignment, &self.outputs)
    }

    fn ipc_input_device_named(&self, sysname: &str) -> Option<geom_ipc::InputDevice> {
        self.input.devices.get(sysname).map(|device| self.ipc_input_device(device))
    }

    fn ipc_input_device(&self, device: &ConfiguredDevice) -> geom_ipc::InputDevice {
        report::input_device(device, self.output_of_device(device))
    }

    pub fn ipc_input_devices(&self) -> Vec<geom_ipc::InputDevice> {
        self.input.devices.iter().map(|device| self.ipc_input_device(device)).collect()
    }

    /// Applies a changed configuration to the devices, the cursor and the keyboard. `before` is the
    /// keyboard's configuration until now.
    pub fn reconfigure_input(&mut self, before: &Keyboard) {
        // It needs the device without any matrix.
        self.end_calibration("the configuration was read again");
        self.reconfigure_keyboard(before);
        let (cursor, unknown) = self.input.reconfigure(&self.config);
        self.apply_cursor(cursor);
        self.notices.dismiss(is_device_layout_notice);
        for layout in unknown {
            self.notices.add(report_unknown_device_layout(&layout));
        }
        self.devices_changed();
    }

    /// Applies the section `[keyboard]`.
    fn reconfigure_keyboard(&mut self, before: &Keyboard) {
        let Some(keyboard) = self.seat.get_keyboard() else { return };
        let config = self.config.keyboard.clone();
        keyboard.change_repeat_info(config.repeat_rate, config.repeat_delay);
        // A new keymap forgets the layout and the locks.
        if has_same_keymap(before, &config) {
            return;
        }
        self.notices.dismiss(is_layout_notice);
        let active = self.input.devices.active_keymap();
        let keys = self.input.devices.reset_keymap();
        self.release(&keys);
        let ModifiersState { caps_lock, num_lock, .. } = keyboard.modifier_state();
        if let Err(error) = keyboard.set_xkb_config(self, xkb_config(&config)) {
            self.notices.add(report_unknown_layout(&config.layout, &error, "the present one"));
            if active != KeymapId::DEFAULT {
                self.switch_keymap(active, KeymapId::DEFAULT);
            }
            return;
        }
        self.input.devices.set_default_keymap(KeymapNames::from(&config));
        keep_locks(&keyboard, self, caps_lock, num_lock);
        self.input.set_lamps(keyboard.led_state().into());
        // Entering its surface again tells the client with the focus.
        if let Some(client) = keyboard.current_focus().as_ref().and_then(client_of) {
            self.refresh_keyboard(client);
        }
    }

    /// A keyboard, by its name in /dev/input, presses or releases a key. `time` is in milliseconds.
    pub fn device_key(&mut self, sysname: &str, code: Keycode, state: KeyState, time: u32) {
        let before = self.input.devices.active_keymap();
        let is_press = state == KeyState::Pressed;
        let KeyPlan { release, switch_to, press, passes } =
            self.input.devices.on_key(sysname, code.raw(), is_press);
        for code in release {
            self.key(Keycode::new(code), KeyState::Released, time);
        }
        if let Some(keymap) = switch_to {
            self.switch_keymap(before, keymap);
        }
        for code in press {
            self.key(Keycode::new(code), KeyState::Pressed, time);
        }
        if passes {
            self.key(code, state, time);
        }
    }

    /// Changes the seat's keymap to that of another keyboard. Locks stay, and each keymap has its
    /// own active layout. Clients get the keymap and the modifiers.
    fn switch_keymap(&mut self, before: KeymapId, to: KeymapId) {
        let Some(keyboard) = self.seat.get_keyboard() else { return };
        let active = keyboard.with_xkb_state(self, |context| {
            context.xkb().lock().unwrap_or_else(std::sync::PoisonError::into_inner).active_layout()
        });
        let Some((text, layout)) = self.input.devices.change_keymap(before, active.0, to) else { return };
        trace!(?before, ?to, "changing the keymap to that of another keyboard");
        let ModifiersState { caps_lock, num_lock, .. } = keyboard.modifier_state();
        if let Err(error) = keyboard.set_keymap_from_string(self, text) {
            // xkbcommon has written this text.
            error!(%error, "xkbcommon does not read its own keymap");
            return;
        }
        keep_locks(&keyboard, self, caps_lock, num_lock);
        keyboard.with_xkb_state(self, |mut context| context.set_layout(Layout(layout)));
        self.input.set_lamps(keyboard.led_state().into());
        if let Some(surface) = keyboard.current_focus() {
            let (seat, serial) = (self.seat.clone(), SERIAL_COUNTER.next_serial());
            KeyboardTarget::modifiers(&surface, &seat, self, keyboard.modifier_state(), serial);
        }
    }

    /// Releases keys of the seat.
    fn release(&mut self, codes: &[u32]) {
        let time = self.now().as_millis() as u32;
        for code in codes {
            self.key(Keycode::new(*code), KeyState::Released, time);
        }
    }
}
