//! Input: devices and their configuration, the pointer and its image, and what keys and touches
//! mean.
//!
//! The seat of the Wayland protocol, which sends events to clients, belongs to the compositor.

pub mod calibration;
mod cursor_visibility;
mod device_calibration;
mod device_list;
mod devices;
mod held_keys;
mod keyboard;
mod keymaps;
mod keys;
mod libinput_config;
pub mod long_press;
pub mod pen;
pub mod pointer;
mod port;
mod presses;
pub mod scroll;
mod settings;
pub mod tablets;
mod touch;
mod touch_points;

use smithay::input::touch::TouchGrab;
use smithay::input::{Seat, SeatHandler};
use smithay::reexports::input::{Device, Led};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::seat::WaylandFocus;

pub use self::cursor_visibility::{CursorEffects, CursorEvent};
use self::device_list::Capabilities;
pub use self::device_list::{ConfiguredDevice, DeviceList};
pub use self::devices::DeviceInfo;
pub use self::held_keys::{KeyPlan, KeymapId};
pub use self::keyboard::{
    has_same_keymap, is_device_layout_notice, is_layout_notice, keep_locks, report_unknown_device_layout,
    report_unknown_layout, set_locks, xkb_config,
};
pub use self::keymaps::KeymapNames;
pub use self::keys::{command, Command, KeyEvent, KeyRecipient};
use self::long_press::LongPress;
use self::pointer::PointerState;
use self::presses::Presses;
use self::tablets::Tablets;
pub use self::touch::{layout_location, position_on_device, touch_output, Assignment, TouchDevice};
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
    pub devices: DeviceList,
    /// The time of the last event of a gesture that unblanked displays, in milliseconds.
    pub withheld_gesture: Option<u32>,
    /// The lamps of all keyboards.
    lamps: Led,
    /// The matrices of devices without handles, by their names in /dev/input.
    #[cfg(test)]
    pub fake_calibrations: std::collections::HashMap<String, calibration::Matrix>,
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
            devices: DeviceList::default(),
            withheld_gesture: None,
            lamps: Led::empty(),
            #[cfg(test)]
            fake_calibrations: std::collections::HashMap::new(),
        }
    }

    /// Applies a changed configuration to the cursor and to all devices. Returns the layouts of
    /// devices that xkb does not know.
    pub fn reconfigure(&mut self, config: &Config) -> (CursorEffects, Vec<String>) {
        (self.pointer.configure(&config.cursor), self.devices.reconfigure(config))
    }

    /// Turns the lamps of all keyboards on and off: those of Num Lock, Caps Lock and Scroll Lock.
    pub fn set_lamps(&mut self, lamps: Led) {
        self.lamps = lamps;
        self.devices.show_lamps(lamps);
    }

    /// Returns the lamps that are on.
    #[cfg(test)]
    pub fn lamps(&self) -> Led {
        self.lamps
    }

    /// Keeps libinput's handle of a new device, which is added next.
    pub fn open_device(&mut self, handle: Device) {
        self.devices.open(handle, self.lamps);
    }

    /// Places the pointer when there is a first pointing device, and keeps its place when the last
    /// one is gone. Returns whether it was either.
    pub fn update_pointer(&mut self, outputs: &Outputs) -> bool {
        let is_present = self.devices.capabilities().pointer;
        let changes = is_present != self.pointer.is_present();
        match is_present {
            true if changes => self.pointer.appear(outputs),
            false if changes => self.pointer.disappear(),
            _ => {}
        }
        changes
    }

    pub fn pointer(&self) -> &PointerState {
        &self.pointer
    }

    pub fn pointer_mut(&mut self) -> &mut PointerState {
        &mut self.pointer
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
        let Capabilities { pointer, touch } = self.devices.capabilities();
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
