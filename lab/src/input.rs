//! The guest's virtual input devices.

use std::time::Duration;

use anyhow::{bail, Result};
use evdev::{AbsoluteAxisCode as Abs, EventType, KeyCode, RelativeAxisCode as Rel, SwitchCode};

use crate::protocol::{InputEvent, InputKind, Request, PRESSURE_MAX, TOUCH_MAX};
use crate::Machine;

/// Key codes (linux/input-event-codes.h).
pub mod keys {
    pub use evdev::KeyCode;
}

struct Device<'a> {
    machine: &'a Machine,
    name: String,
}

impl<'a> Device<'a> {
    fn create(machine: &'a Machine, kind: InputKind, name: &str) -> Result<Self> {
        Self::create_at(machine, kind, name, name, None)
    }

    fn create_at(
        machine: &'a Machine,
        kind: InputKind,
        id: &str,
        name: &str,
        port: Option<&str>,
    ) -> Result<Self> {
        let port = port.map(str::to_owned);
        machine.execute(Request::CreateInput { kind, id: id.into(), name: name.into(), port })?;
        Ok(Self { machine, name: id.into() })
    }

    /// Sends one group of events and the `SYN_REPORT` that ends it.
    fn emit(&self, events: &[(EventType, u16, i32)]) -> Result<()> {
        let mut list: Vec<_> = events
            .iter()
            .map(|(kind, code, value)| InputEvent { kind: kind.0, code: *code, value: *value })
            .collect();
        list.push(InputEvent { kind: 0, code: 0, value: 0 });
        self.machine.execute(Request::Input { name: self.name.clone(), events: list })
    }

    fn remove(self) -> Result<()> {
        self.machine.execute(Request::RemoveInput { name: self.name })
    }
}

/// Time between two typed keys, that of a very fast typist. evdev buffers 64 events per reader,
/// about ten keys; a reader that is busy for longer would lose events that no person causes.
const TYPING_INTERVAL: Duration = Duration::from_millis(10);

/// A keyboard with the keys of a US layout.
pub struct Keyboard<'a>(Device<'a>);

impl<'a> Keyboard<'a> {
    pub(crate) fn create(machine: &'a Machine, name: &str) -> Result<Self> {
        Device::create(machine, InputKind::Keyboard, name).map(Self)
    }

    /// Presses or releases a key.
    ///
    /// # Errors
    /// If the machine is off, as for all methods.
    pub fn key(&self, key: KeyCode, pressed: bool) -> Result<()> {
        self.0.emit(&[(EventType::KEY, key.code(), pressed.into())])
    }

    /// Presses keys in order and releases them in reverse order.
    ///
    /// # Errors
    /// See [`Self::key`].
    pub fn chord(&self, keys: &[KeyCode]) -> Result<()> {
        keys.iter().try_for_each(|key| self.key(*key, true))?;
        keys.iter().rev().try_for_each(|key| self.key(*key, false))
    }

    /// Returns the lamps that are on: `LED_NUML`, `LED_CAPSL`, `LED_SCROLLL`.
    ///
    /// # Errors
    /// See [`Self::key`].
    pub fn lamps(&self) -> Result<Vec<String>> {
        self.0.machine.names(Request::InputLamps { name: self.0.name.clone() })
    }

    /// Types ASCII text.
    ///
    /// # Errors
    /// If a US keyboard has no key for a character; see also [`Self::key`].
    pub fn type_text(&self, text: &str) -> Result<()> {
        for character in text.chars() {
            let (key, shift) = key_of(character)?;
            if shift {
                self.chord(&[KeyCode::KEY_LEFTSHIFT, key])?;
            } else {
                self.chord(&[key])?;
            }
            std::thread::sleep(TYPING_INTERVAL);
        }
        Ok(())
    }

    /// Removes the keyboard.
    ///
    /// # Errors
    /// See [`Self::key`].
    pub fn remove(self) -> Result<()> {
        self.0.remove()
    }
}

fn key_of(character: char) -> Result<(KeyCode, bool)> {
    // Rows of the keyboard: the first key's code, and the characters without and with Shift.
    const ROWS: [(u16, &str, &str); 4] = [
        (2, "1234567890-=", "!@#$%^&*()_+"),
        (16, "qwertyuiop[]", "QWERTYUIOP{}"),
        (30, "asdfghjkl;'`", "ASDFGHJKL:\"~"),
        (43, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
    ];
    match character {
        ' ' => return Ok((KeyCode::KEY_SPACE, false)),
        '\n' => return Ok((KeyCode::KEY_ENTER, false)),
        '\t' => return Ok((KeyCode::KEY_TAB, false)),
        _ => {}
    }
    for (first, plain, shifted) in ROWS {
        for (row, shift) in [(plain, false), (shifted, true)] {
            if let Some(column) = row.chars().position(|other| other == character) {
                return Ok((KeyCode::new(first + column as u16), shift));
            }
        }
    }
    bail!("a US keyboard has no key for {character:?}")
}

/// A mouse.
pub struct Pointer<'a>(Device<'a>);

impl<'a> Pointer<'a> {
    pub(crate) fn create(machine: &'a Machine, name: &str) -> Result<Self> {
        Device::create(machine, InputKind::Pointer, name).map(Self)
    }

    /// Moves by a number of counts; the compositor's acceleration applies.
    ///
    /// # Errors
    /// If the machine is off, as for all methods.
    pub fn motion(&self, dx: i32, dy: i32) -> Result<()> {
        self.0.emit(&[(EventType::RELATIVE, Rel::REL_X.0, dx), (EventType::RELATIVE, Rel::REL_Y.0, dy)])
    }

    /// Presses or releases a button.
    ///
    /// # Errors
    /// See [`Self::motion`].
    pub fn button(&self, button: KeyCode, pressed: bool) -> Result<()> {
        self.0.emit(&[(EventType::KEY, button.code(), pressed.into())])
    }

    /// Clicks the left button.
    ///
    /// # Errors
    /// See [`Self::motion`].
    pub fn click(&self) -> Result<()> {
        self.button(KeyCode::BTN_LEFT, true)?;
        self.button(KeyCode::BTN_LEFT, false)
    }

    /// Turns the wheel; positive is away from the user.
    ///
    /// # Errors
    /// See [`Self::motion`].
    pub fn wheel(&self, clicks: i32) -> Result<()> {
        self.0.emit(&[(EventType::RELATIVE, Rel::REL_WHEEL.0, clicks)])
    }

    /// Removes the device.
    ///
    /// # Errors
    /// If the machine is off.
    pub fn remove(self) -> Result<()> {
        self.0.remove()
    }
}

/// The switch of a laptop's lid.
pub struct Lid<'a>(Device<'a>);

impl<'a> Lid<'a> {
    pub(crate) fn create(machine: &'a Machine, name: &str) -> Result<Self> {
        Device::create(machine, InputKind::Lid, name).map(Self)
    }

    /// Closes or opens the lid.
    ///
    /// # Errors
    /// If the machine is off.
    pub fn set_closed(&self, closed: bool) -> Result<()> {
        self.0.emit(&[(EventType::SWITCH, SwitchCode::SW_LID.0, closed.into())])
    }
}

/// A touchscreen, touched by one finger.
pub struct Touch<'a>(Device<'a>);

impl<'a> Touch<'a> {
    pub(crate) fn create(machine: &'a Machine, name: &str) -> Result<Self> {
        Device::create(machine, InputKind::Touch, name).map(Self)
    }

    /// Creates a touchscreen without a physical size at a port; others may have the same name.
    ///
    /// # Errors
    /// If the machine is off.
    pub fn create_at(machine: &'a Machine, name: &str, port: &str) -> Result<Self> {
        let id = format!("{name} at {port}");
        Device::create_at(machine, InputKind::UnscaledTouch, &id, name, Some(port)).map(Self)
    }

    fn position(x: f64, y: f64) -> [(EventType, u16, i32); 4] {
        let scaled = |value: f64| (value.clamp(0.0, 1.0) * f64::from(TOUCH_MAX)) as i32;
        [
            (EventType::ABSOLUTE, Abs::ABS_MT_POSITION_X.0, scaled(x)),
            (EventType::ABSOLUTE, Abs::ABS_MT_POSITION_Y.0, scaled(y)),
            (EventType::ABSOLUTE, Abs::ABS_X.0, scaled(x)),
            (EventType::ABSOLUTE, Abs::ABS_Y.0, scaled(y)),
        ]
    }

    /// Puts the finger down; `x` and `y` go from 0 to 1 across the surface.
    ///
    /// # Errors
    /// If the machine is off, as for all methods.
    pub fn down(&self, x: f64, y: f64) -> Result<()> {
        let mut events = vec![
            (EventType::ABSOLUTE, Abs::ABS_MT_SLOT.0, 0),
            (EventType::ABSOLUTE, Abs::ABS_MT_TRACKING_ID.0, 1),
        ];
        events.extend(Self::position(x, y));
        events.push((EventType::KEY, KeyCode::BTN_TOUCH.code(), 1));
        self.0.emit(&events)
    }

    /// Moves the finger.
    ///
    /// # Errors
    /// See [`Self::down`].
    pub fn motion(&self, x: f64, y: f64) -> Result<()> {
        self.0.emit(&Self::position(x, y))
    }

    /// Lifts the finger.
    ///
    /// # Errors
    /// See [`Self::down`].
    pub fn up(&self) -> Result<()> {
        self.0.emit(&[
            (EventType::ABSOLUTE, Abs::ABS_MT_TRACKING_ID.0, -1),
            (EventType::KEY, KeyCode::BTN_TOUCH.code(), 0),
        ])
    }

    /// Puts the finger down and lifts it.
    ///
    /// # Errors
    /// See [`Self::down`].
    pub fn tap(&self, x: f64, y: f64) -> Result<()> {
        self.down(x, y)?;
        self.up()
    }

    /// Removes the device.
    ///
    /// # Errors
    /// If the machine is off.
    pub fn remove(self) -> Result<()> {
        self.0.remove()
    }
}

/// A pen display with a pen.
pub struct Pen<'a>(Device<'a>);

impl<'a> Pen<'a> {
    pub(crate) fn create(machine: &'a Machine, name: &str) -> Result<Self> {
        Device::create(machine, InputKind::Pen, name).map(Self)
    }

    fn position(x: f64, y: f64) -> [(EventType, u16, i32); 2] {
        let scaled = |value: f64| (value.clamp(0.0, 1.0) * f64::from(TOUCH_MAX)) as i32;
        [(EventType::ABSOLUTE, Abs::ABS_X.0, scaled(x)), (EventType::ABSOLUTE, Abs::ABS_Y.0, scaled(y))]
    }

    /// Brings the pen near, or moves it; `x` and `y` go from 0 to 1 across the surface.
    ///
    /// # Errors
    /// If the machine is off, as for all methods.
    pub fn hover(&self, x: f64, y: f64) -> Result<()> {
        let mut events = vec![(EventType::KEY, KeyCode::BTN_TOOL_PEN.code(), 1)];
        events.extend(Self::position(x, y));
        events.push((EventType::ABSOLUTE, Abs::ABS_PRESSURE.0, 0));
        self.0.emit(&events)
    }

    /// Touches the surface with half of the greatest pressure.
    ///
    /// # Errors
    /// See [`Self::hover`].
    pub fn down(&self, x: f64, y: f64) -> Result<()> {
        let mut events = Vec::from(Self::position(x, y));
        events.push((EventType::ABSOLUTE, Abs::ABS_PRESSURE.0, PRESSURE_MAX / 2));
        events.push((EventType::KEY, KeyCode::BTN_TOUCH.code(), 1));
        self.0.emit(&events)
    }

    /// Lifts the pen, which stays near.
    ///
    /// # Errors
    /// See [`Self::hover`].
    pub fn up(&self) -> Result<()> {
        self.0.emit(&[
            (EventType::ABSOLUTE, Abs::ABS_PRESSURE.0, 0),
            (EventType::KEY, KeyCode::BTN_TOUCH.code(), 0),
        ])
    }

    /// Presses or releases the lower button.
    ///
    /// # Errors
    /// See [`Self::hover`].
    pub fn button(&self, pressed: bool) -> Result<()> {
        self.0.emit(&[(EventType::KEY, KeyCode::BTN_STYLUS.code(), pressed.into())])
    }

    /// Takes the pen away.
    ///
    /// # Errors
    /// See [`Self::hover`].
    pub fn away(&self) -> Result<()> {
        self.0.emit(&[(EventType::KEY, KeyCode::BTN_TOOL_PEN.code(), 0)])
    }

    /// Removes the device.
    ///
    /// # Errors
    /// If the machine is off.
    pub fn remove(self) -> Result<()> {
        self.0.remove()
    }
}

/// A device that reports nonsense: [`InputKind::HugeTouch`] or [`InputKind::AllAxes`].
pub struct Absurd<'a>(Device<'a>);

impl<'a> Absurd<'a> {
    /// Creates the device.
    ///
    /// # Errors
    /// If the machine is off, as for all methods.
    pub fn create(machine: &'a Machine, kind: InputKind, name: &str) -> Result<Self> {
        Device::create(machine, kind, name).map(Self)
    }

    /// Puts a finger down with these values on all axes of positions, and lifts it.
    ///
    /// # Errors
    /// If the machine is off, as for all methods.
    pub fn tap(&self, value: i32) -> Result<()> {
        let axes = [Abs::ABS_MT_POSITION_X, Abs::ABS_MT_POSITION_Y, Abs::ABS_X, Abs::ABS_Y];
        let mut events = vec![
            (EventType::ABSOLUTE, Abs::ABS_MT_SLOT.0, 0),
            (EventType::ABSOLUTE, Abs::ABS_MT_TRACKING_ID.0, 1),
        ];
        events.extend(axes.map(|axis| (EventType::ABSOLUTE, axis.0, value)));
        events.push((EventType::KEY, KeyCode::BTN_TOUCH.code(), 1));
        self.0.emit(&events)?;
        self.0.emit(&[
            (EventType::ABSOLUTE, Abs::ABS_MT_TRACKING_ID.0, -1),
            (EventType::KEY, KeyCode::BTN_TOUCH.code(), 0),
        ])
    }

    /// Sets every absolute axis but those of fingers to a value.
    ///
    /// # Errors
    /// See [`Self::tap`].
    pub fn set_all(&self, value: i32) -> Result<()> {
        let events: Vec<_> = (0..Abs::ABS_MT_SLOT.0).map(|axis| (EventType::ABSOLUTE, axis, value)).collect();
        self.0.emit(&events)
    }

    /// Removes the device.
    ///
    /// # Errors
    /// If the machine is off.
    pub fn remove(self) -> Result<()> {
        self.0.remove()
    }
}
