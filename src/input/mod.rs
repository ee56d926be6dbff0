//! Input: devices and their configuration, the pointer and its image, and what keys and touches
//! mean.
//!
//! The seat of the Wayland protocol, which sends events to clients, belongs to the compositor.

pub mod calibration;
mod cursor_visibility;
mod device_calibration;
mod devices;
mod keyboard;
mod keys;
pub mod long_press;
pub mod pen;
pub mod pointer;
mod presses;
pub mod scroll;
pub mod tablets;
mod touch;
mod touch_points;

use smithay::input::touch::TouchGrab;
use smithay::input::{Seat, SeatHandler};
use smithay::reexports::input::{Device, DeviceCapability, Led};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::seat::WaylandFocus;
use tracing::info;

pub use self::cursor_visibility::{CursorEffects, CursorEvent};
use self::device_calibration::KeptCalibration;
pub use self::devices::DeviceInfo;
use self::devices::{configure, show_lamps};
pub use self::keyboard::{
    has_same_keymap, is_layout_notice, keep_locks, report_unknown_layout, set_locks, xkb_config,
};
pub use self::keys::{command, Command, KeyEvent, KeyRecipient};
use self::long_press::LongPress;
use self::pointer::PointerState;
use self::presses::Presses;
use self::tablets::Tablets;
pub use self::touch::{layout_location, touch_output, TouchDevice};
use self::touch_points::TouchPoints;
use crate::config::Config;
use crate::output::outputs::Outputs;

/// All input devices, the pointer, and the keys that are ours.
pub struct Input {
    pointer: PointerState,
    pub presses: Presses,
    pub touch_points: TouchPoints<WlSurface>,
    pub long_press: LongPress,
    pub tablets: Tablets,
    devices: Vec<DeviceInfo>,
    /// libinput's handles of the devices, for their configuration.
    handles: Vec<Device>,
    /// The lamps of all keyboards.
    lamps: Led,
    kept_calibrations: Vec<KeptCalibration>,
    /// The matrices of devices without handles, by their names in /dev/input.
    #[cfg(test)]
    pub fake_calibrations: std::collections::HashMap<String, calibration::Matrix>,
}

/// What at least one device can do.
struct Capabilities {
    pointer: bool,
    touch: bool,
}

impl Input {
    /// Makes the state before the first device, with the configuration's cursor theme.
    pub fn new(config: &Config) -> Self {
        let pointer = PointerState::new(&config.cursor);
        Self {
            pointer,
            presses: Presses::default(),
            touch_points: TouchPoints::default(),
            long_press: LongPress::default(),
            tablets: Tablets::default(),
            devices: Vec::new(),
            handles: Vec::new(),
            lamps: Led::empty(),
            kept_calibrations: Vec::new(),
            #[cfg(test)]
            fake_calibrations: std::collections::HashMap::new(),
        }
    }

    /// Applies a changed configuration to all devices and to the cursor.
    pub fn reconfigure(&mut self, config: &Config) -> CursorEffects {
        for handle in &mut self.handles {
            configure(handle, &config.pointer);
        }
        self.pointer.configure(&config.cursor)
    }

    /// Turns the lamps of all keyboards on and off: those of Num Lock, Caps Lock and Scroll Lock.
    pub fn set_lamps(&mut self, lamps: Led) {
        self.lamps = lamps;
        for handle in &mut self.handles {
            show_lamps(handle, lamps);
        }
    }

    /// Returns the lamps that are on.
    #[cfg(test)]
    pub fn lamps(&self) -> Led {
        self.lamps
    }

    /// Keeps libinput's handle of a new device, and configures it.
    pub fn open_device(&mut self, mut handle: Device, config: &Config) {
        configure(&mut handle, &config.pointer);
        show_lamps(&mut handle, self.lamps);
        device_calibration::restore(&mut handle, &self.kept_calibrations);
        self.handles.push(handle);
    }

    /// Drops libinput's handle of a device.
    pub fn close_device(&mut self, handle: &Device) {
        self.handles.retain(|known| known != handle);
    }

    /// Adds a device. Returns whether it is the first pointing device.
    pub fn add_device(&mut self, device: DeviceInfo, outputs: &Outputs) -> bool {
        info!(device = device.name, "input device added");
        self.devices.push(device);
        let appears = self.capabilities().pointer && !self.pointer.is_present();
        if appears {
            self.pointer.appear(outputs);
        }
        appears
    }

    /// Removes a device by its name in /dev/input. Returns whether it was the last pointing device.
    pub fn remove_device(&mut self, sysname: &str) -> bool {
        self.devices.retain(|device| {
            let stays = device.sysname != sysname;
            if !stays {
                info!(device = device.name, "input device removed");
            }
            stays
        });
        let disappears = self.pointer.is_present() && !self.capabilities().pointer;
        if disappears {
            self.pointer.disappear();
        }
        disappears
    }

    pub fn pointer(&self) -> &PointerState {
        &self.pointer
    }

    pub fn pointer_mut(&mut self) -> &mut PointerState {
        &mut self.pointer
    }

    /// Returns all devices.
    pub fn devices(&self) -> &[DeviceInfo] {
        &self.devices
    }

    /// Returns whether there is any device.
    pub fn has_devices(&self) -> bool {
        !self.devices.is_empty()
    }

    fn capabilities(&self) -> Capabilities {
        let has = |capability| self.devices.iter().any(|device| device.has(capability));
        // For programs without tablet-v2, a pen moves the pointer.
        let pointer = has(DeviceCapability::Pointer) || has(DeviceCapability::TabletTool);
        Capabilities { pointer, touch: has(DeviceCapability::Touch) }
    }

    /// Gives the seat a pointer and a touch device while there are such devices; a pointer also for
    /// the clicks of fingers. It always has a keyboard, because keyboard focus also tells clients
    /// which window is active. `fingers` returns how touches are passed on.
    pub fn update_seat<D>(&self, seat: &mut Seat<D>, config: &Config, fingers: fn() -> Box<dyn TouchGrab<D>>)
    where
        D: SeatHandler + 'static,
        D::PointerFocus: WaylandFocus,
        D::TouchFocus: WaylandFocus,
    {
        let Capabilities { pointer, touch } = self.capabilities();
        let clicks = touch && config.long_press.is_some();
        match (pointer || clicks, seat.get_pointer()) {
            (true, None) => drop(seat.add_pointer()),
            (false, Some(_)) => seat.remove_pointer(),
            _ => {}
        }
        match (touch, seat.get_touch()) {
            (true, None) => drop(seat.add_touch_with_default_grab(fingers)),
            (false, Some(_)) => seat.remove_touch(),
            _ => {}
        }
    }
}
