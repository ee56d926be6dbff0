//! Hands on the guest's input devices.

use std::time::Duration;

use anyhow::{bail, Result};
use evdev::{AbsoluteAxisCode as Abs, EventType, KeyCode, RelativeAxisCode as Rel, SwitchCode};

use crate::protocol::{InputEvent, InputKind, Request, TOUCH_MAX};
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
        machine.done(Request::CreateInput { kind, name: name.into() })?;
        Ok(Self { machine, name: name.into() })
    }

    /// Sends one group of events, ended by its report.
    fn emit(&self, events: &[(EventType, u16, i32)]) -> Result<()> {
        let mut list: Vec<_> = events
            .iter()
            .map(|(kind, code, value)| InputEvent { kind: kind.0, code: *code, value: *value })
            .collect();
        list.push(InputEvent { kind: 0, code: 0, value: 0 });
        self.machine.done(Request::Input { name: self.name.clone(), events: list })
    }

    fn remove(self) -> Result<()> {
        self.machine.done(Request::RemoveInput { name: self.name })
    }
}

/// The pace of a very fast typist. evdev keeps 64 events for each reader, some ten keys; a reader that
/// is busy for longer loses the rest, and no person types so fast.
const KEY_PACE: Duration = Duration::from_millis(10);

/// A keyboard with a US layout's keys.
pub struct Keyboard<'a>(Device<'a>);

impl<'a> Keyboard<'a> {
    pub(crate) fn create(machine: &'a Machine, name: &str) -> Result<Self> {
        Device::create(machine, InputKind::Keyboard, name).map(Self)
    }

    pub fn key(&self, key: KeyCode, pressed: bool) -> Result<()> {
        self.0.emit(&[(EventType::KEY, key.code(), pressed.into())])
    }

    /// Presses keys in order and releases them in the opposite order.
    pub fn chord(&self, keys: &[KeyCode]) -> Result<()> {
        keys.iter().try_for_each(|key| self.key(*key, true))?;
        keys.iter().rev().try_for_each(|key| self.key(*key, false))
    }

    /// Types a text of ASCII letters, digits, spaces and a few signs.
    pub fn type_text(&self, text: &str) -> Result<()> {
        for character in text.chars() {
            let (key, shift) = key_of(character)?;
            if shift {
                self.chord(&[KeyCode::KEY_LEFTSHIFT, key])?;
            } else {
                self.chord(&[key])?;
            }
            std::thread::sleep(KEY_PACE);
        }
        Ok(())
    }

    /// Unplugs the keyboard.
    pub fn remove(self) -> Result<()> {
        self.0.remove()
    }
}

fn key_of(character: char) -> Result<(KeyCode, bool)> {
    // Rows of the keyboard, as the kernel numbers them.
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
            if let Some(place) = row.chars().position(|other| other == character) {
                return Ok((KeyCode::new(first + place as u16), shift));
            }
        }
    }
    bail!("no key of a US keyboard types {character:?}")
}

/// A mouse.
pub struct Pointer<'a>(Device<'a>);

impl<'a> Pointer<'a> {
    pub(crate) fn create(machine: &'a Machine, name: &str) -> Result<Self> {
        Device::create(machine, InputKind::Pointer, name).map(Self)
    }

    /// Moves by so many counts; the compositor's acceleration applies.
    pub fn motion(&self, dx: i32, dy: i32) -> Result<()> {
        self.0.emit(&[(EventType::RELATIVE, Rel::REL_X.0, dx), (EventType::RELATIVE, Rel::REL_Y.0, dy)])
    }

    pub fn button(&self, button: KeyCode, pressed: bool) -> Result<()> {
        self.0.emit(&[(EventType::KEY, button.code(), pressed.into())])
    }

    pub fn click(&self) -> Result<()> {
        self.button(KeyCode::BTN_LEFT, true)?;
        self.button(KeyCode::BTN_LEFT, false)
    }

    pub fn wheel(&self, clicks: i32) -> Result<()> {
        self.0.emit(&[(EventType::RELATIVE, Rel::REL_WHEEL.0, clicks)])
    }

    pub fn remove(self) -> Result<()> {
        self.0.remove()
    }
}

/// A laptop's lid.
pub struct Lid<'a>(Device<'a>);

impl<'a> Lid<'a> {
    pub(crate) fn create(machine: &'a Machine, name: &str) -> Result<Self> {
        Device::create(machine, InputKind::Lid, name).map(Self)
    }

    pub fn shut(&self, closed: bool) -> Result<()> {
        self.0.emit(&[(EventType::SWITCH, SwitchCode::SW_LID.0, closed.into())])
    }
}

/// A touch screen; one finger.
pub struct Touch<'a>(Device<'a>);

impl<'a> Touch<'a> {
    pub(crate) fn create(machine: &'a Machine, name: &str) -> Result<Self> {
        Device::create(machine, InputKind::Touch, name).map(Self)
    }

    fn place(x: f64, y: f64) -> [(EventType, u16, i32); 4] {
        let scaled = |value: f64| (value.clamp(0.0, 1.0) * f64::from(TOUCH_MAX)) as i32;
        [
            (EventType::ABSOLUTE, Abs::ABS_MT_POSITION_X.0, scaled(x)),
            (EventType::ABSOLUTE, Abs::ABS_MT_POSITION_Y.0, scaled(y)),
            (EventType::ABSOLUTE, Abs::ABS_X.0, scaled(x)),
            (EventType::ABSOLUTE, Abs::ABS_Y.0, scaled(y)),
        ]
    }

    /// Puts the finger down; `x` and `y` run from 0 to 1 over the surface.
    pub fn down(&self, x: f64, y: f64) -> Result<()> {
        let mut events = vec![
            (EventType::ABSOLUTE, Abs::ABS_MT_SLOT.0, 0),
            (EventType::ABSOLUTE, Abs::ABS_MT_TRACKING_ID.0, 1),
        ];
        events.extend(Self::place(x, y));
        events.push((EventType::KEY, KeyCode::BTN_TOUCH.code(), 1));
        self.0.emit(&events)
    }

    pub fn motion(&self, x: f64, y: f64) -> Result<()> {
        self.0.emit(&Self::place(x, y))
    }

    pub fn up(&self) -> Result<()> {
        self.0.emit(&[
            (EventType::ABSOLUTE, Abs::ABS_MT_TRACKING_ID.0, -1),
            (EventType::KEY, KeyCode::BTN_TOUCH.code(), 0),
        ])
    }

    pub fn tap(&self, x: f64, y: f64) -> Result<()> {
        self.down(x, y)?;
        self.up()
    }

    pub fn remove(self) -> Result<()> {
        self.0.remove()
    }
}
