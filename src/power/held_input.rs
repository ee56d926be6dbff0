//! Keys, buttons, touch points and pens whose press clients do not receive, until they are
//! released.

use smithay::backend::input::TouchSlot;

use super::{Cx, Effects, Power};

/// Something that is pressed and released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldInput {
    /// A key, by its xkb keycode.
    Key(u32),
    /// A pointer button, by its code in linux/input-event-codes.h.
    Button(u32),
    /// A button of a tablet's pad, by the number in the device's name in /dev/input.
    PadButton { pad: u32, number: u32 },
    /// A touch point.
    Finger(TouchSlot),
    /// The tip or a button of a tool of a tablet, by the tool's number and its code in
    /// linux/input-event-codes.h.
    Pen(u64, u32),
}

impl Power {
    /// Withholds a press, and what follows until its release, from clients.
    pub fn withhold(&mut self, press: HeldInput) {
        if !self.is_withheld(press) {
            self.withheld.push(press);
        }
    }

    /// Returns whether a press is withheld from clients.
    pub fn is_withheld(&self, press: HeldInput) -> bool {
        self.withheld.contains(&press)
    }

    /// A key, by its xkb keycode, is pressed, which has unblanked displays or not.
    pub fn note_key_press(&mut self, code: u32, unblanks: bool) {
        match unblanks {
            true => self.waking_key = Some(code),
            false => {
                self.waking_key.take_if(|waking| *waking == code);
            }
        }
    }

    /// Returns whether the key that unblanked displays is still held: what it is part of does not
    /// blank them again.
    pub fn is_waking_key_held(&self) -> bool {
        self.waking_key.is_some_and(|code| self.is_withheld(HeldInput::Key(code)))
    }

    /// Ends a press. Returns whether it was withheld from clients.
    pub fn release(&mut self, press: HeldInput) -> bool {
        let position = self.withheld.iter().position(|withheld| *withheld == press);
        position.map(|position| self.withheld.swap_remove(position)).is_some()
    }

    /// Handles a press or a release. Returns whether it is withheld from clients: a press that
    /// unblanks displays does nothing else.
    pub fn press(&mut self, press: HeldInput, is_down: bool, cx: &Cx<'_>) -> (bool, Effects) {
        if !is_down {
            return (self.release(press), Effects::new());
        }
        let (unblanks, effects) = self.activity(cx);
        if unblanks {
            self.withhold(press);
        }
        (unblanks, effects)
    }
}
