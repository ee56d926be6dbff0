//! What a client receives of keyboard, pointer and touch, and how tests operate these devices.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

use smithay::backend::input::ButtonState;
use smithay::reexports::input::DeviceCapability;
use wayland_client::protocol::wl_keyboard::{self, WlKeyboard};
use wayland_client::protocol::wl_pointer::{self, WlPointer};
use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::protocol::wl_seat::{self, Capability, WlSeat};
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::protocol::wl_touch::{self, WlTouch};
use wayland_client::{Connection, Dispatch, QueueHandle};

use super::client::TestState;
use super::Fixture;
use crate::input::DeviceInfo;

/// The left button of a mouse (linux/input-event-codes.h).
const BTN_LEFT: u32 = 0x110;

/// Distinguishes these objects from those that other tests bind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Watched;

/// The client's devices, and what has arrived.
#[derive(Default)]
pub struct Devices {
    pub seat: Option<WlSeat>,
    pub pointer: Option<WlPointer>,
    keyboard: Option<WlKeyboard>,
    touch: Option<WlTouch>,
    /// The surface that has the keyboard.
    pub keyboard_on: Option<WlSurface>,
    /// Presses and releases of keys, by their codes in linux/input-event-codes.h.
    pub keys: Vec<(u32, bool)>,
    /// The surface that the pointer is on.
    pub pointer_on: Option<WlSurface>,
    /// Where the pointer entered or moved last, on its surface.
    pub pointer_at: (f64, f64),
    /// The surfaces that a button was pressed on, and the serials.
    pub pressed: Vec<(WlSurface, u32)>,
    /// The surfaces that a finger touched, and the serials.
    pub touched: Vec<(WlSurface, u32)>,
    /// The fingers that are down, by their numbers.
    pub fingers: BTreeMap<i32, WlSurface>,
    pub finger_motions: usize,
    pub touch_cancels: usize,
    /// Presses and releases of buttons.
    pub buttons: Vec<(u32, bool)>,
    /// The keymaps that arrived.
    pub keymaps: Vec<String>,
    /// The modifiers that are held and locked, and the layout.
    pub modifiers: (u32, u32, u32),
    /// How often the pointer entered a surface.
    pub enters: usize,
    /// Motions of the pointer on a surface.
    pub motions: usize,
}

impl Devices {
    pub fn has_pointer(&self) -> bool {
        self.pointer.is_some()
    }

    pub fn has_touch(&self) -> bool {
        self.touch.is_some()
    }

    pub fn bind(&mut self, registry: &WlRegistry, name: u32, queue: &QueueHandle<TestState>) {
        self.seat = Some(registry.bind(name, 5, queue, Watched));
    }
}

impl Dispatch<WlSeat, Watched> for TestState {
    fn event(
        state: &mut Self,
        seat: &WlSeat,
        event: wl_seat::Event,
        _: &Watched,
        _: &Connection,
        queue: &QueueHandle<Self>,
    ) {
        let wl_seat::Event::Capabilities { capabilities } = event else { return };
        let Ok(capabilities) = capabilities.into_result() else { return };
        let devices = &mut state.devices;
        match capabilities.contains(Capability::Pointer) {
            true => {
                devices.pointer.get_or_insert_with(|| seat.get_pointer(queue, Watched));
            }
            false => {
                devices.pointer.take().iter().for_each(WlPointer::release);
                devices.pointer_on = None;
            }
        }
        match capabilities.contains(Capability::Touch) {
            true => {
                devices.touch.get_or_insert_with(|| seat.get_touch(queue, Watched));
            }
            false => devices.touch.take().iter().for_each(WlTouch::release),
        }
        if capabilities.contains(Capability::Keyboard) {
            devices.keyboard.get_or_insert_with(|| seat.get_keyboard(queue, Watched));
        }
    }
}

impl Dispatch<WlPointer, Watched> for TestState {
    fn event(
        state: &mut Self,
        _: &WlPointer,
        event: wl_pointer::Event,
        _: &Watched,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let devices = &mut state.devices;
        match event {
            wl_pointer::Event::Enter { surface, surface_x, surface_y, .. } => {
                devices.pointer_on = Some(surface);
                devices.enters += 1;
                devices.pointer_at = (surface_x, surface_y);
            }
            wl_pointer::Event::Leave { .. } => devices.pointer_on = None,
            wl_pointer::Event::Motion { surface_x, surface_y, .. } => {
                devices.pointer_at = (surface_x, surface_y);
                devices.motions += 1;
            }
            wl_pointer::Event::Button { serial, state, button, .. } => {
                let is_press = matches!(state.into_result(), Ok(wl_pointer::ButtonState::Pressed));
                devices.buttons.push((button, is_press));
                let surface = devices.pointer_on.clone().filter(|_| is_press);
                devices.pressed.extend(surface.map(|surface| (surface, serial)));
            }
            _ => {}
        }
    }
}

impl Dispatch<WlKeyboard, Watched> for TestState {
    fn event(
        state: &mut Self,
        _: &WlKeyboard,
        event: wl_keyboard::Event,
        _: &Watched,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wl_keyboard::Event::Enter { surface, .. } => state.devices.keyboard_on = Some(surface),
            wl_keyboard::Event::Leave { .. } => state.devices.keyboard_on = None,
            wl_keyboard::Event::Keymap { fd, size, .. } => {
                let mut text = vec![0; size as usize];
                // The file's offset is shared with the compositor.
                std::fs::File::from(fd).read_exact_at(&mut text, 0).expect("a keymap");
                state.devices.keymaps.push(String::from_utf8_lossy(&text).into_owned());
            }
            wl_keyboard::Event::Key { key, state: direction, .. } => {
                let is_press = matches!(direction.into_result(), Ok(wl_keyboard::KeyState::Pressed));
                state.devices.keys.push((key, is_press));
            }
            wl_keyboard::Event::Modifiers { mods_depressed, mods_locked, group, .. } => {
                state.devices.modifiers = (mods_depressed, mods_locked, group);
            }
            _ => {}
        }
    }
}

impl Dispatch<WlTouch, Watched> for TestState {
    fn event(
        state: &mut Self,
        _: &WlTouch,
        event: wl_touch::Event,
        _: &Watched,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let devices = &mut state.devices;
        match event {
            wl_touch::Event::Down { serial, surface, id, .. } => {
                let before = devices.fingers.insert(id, surface.clone());
                assert_eq!(before, None, "touch point {id} is down twice");
                devices.touched.push((surface, serial));
            }
            wl_touch::Event::Motion { id, .. } => {
                assert!(devices.fingers.contains_key(&id), "touch point {id} is not down");
                devices.finger_motions += 1;
            }
            wl_touch::Event::Up { id, .. } => {
                let before = devices.fingers.remove(&id);
                assert!(before.is_some(), "touch point {id} is not down");
            }
            wl_touch::Event::Cancel => {
                devices.fingers.clear();
                devices.touch_cancels += 1;
            }
            _ => {}
        }
    }
}

impl Fixture {
    /// Plugs in a device with one capability, by its name in /dev/input.
    pub fn plug_device(&mut self, sysname: &str, capability: DeviceCapability) {
        self.compositor.state.device_added(DeviceInfo {
            sysname: sysname.into(),
            name: sysname.into(),
            vendor: 1,
            product: 1,
            capabilities: vec![capability],
            ..DeviceInfo::default()
        });
    }

    /// Moves the pointer to a point of the layout.
    pub fn point(&mut self, x: f64, y: f64) {
        self.compositor.state.pointer_moved((x, y).into(), 1, None);
    }

    /// Presses and releases the left button, without any motion.
    pub fn click(&mut self) {
        for button in [ButtonState::Pressed, ButtonState::Released] {
            self.compositor.state.button(BTN_LEFT, button, 1);
        }
    }

    /// Presses the left button.
    pub fn press(&mut self) {
        self.compositor.state.button(BTN_LEFT, ButtonState::Pressed, 1);
    }

    /// Taps a point of the layout with a finger.
    pub fn tap(&mut self, x: f64, y: f64) {
        self.finger_down("screen", 0, x, y);
        self.finger_up("screen", 0);
    }

    /// Puts a finger of a device onto a point of the layout.
    pub fn finger_down(&mut self, device: &str, slot: u32, x: f64, y: f64) {
        let location = Some((x, y).into());
        self.compositor.state.finger_down(device, Some(slot).into(), |_| location, 1);
    }

    /// Moves a finger of a device to a point of the layout.
    pub fn finger_moved(&mut self, device: &str, slot: u32, x: f64, y: f64) {
        let location = Some((x, y).into());
        self.compositor.state.finger_moved(device, Some(slot).into(), |_| location, 1);
    }

    /// Ends a set of events of fingers.
    pub fn touch_frame(&mut self) {
        let state = &mut self.compositor.state;
        if let Some(touch) = state.seat.get_touch() {
            touch.frame(state);
        }
    }

    /// Lifts a finger of a device.
    pub fn finger_up(&mut self, device: &str, slot: u32) {
        self.compositor.state.finger_up(device, Some(slot).into(), 1);
    }
}
