//! Pads of graphics tablets: their buttons, rings and strips go to the surface with the keyboard.

use smithay::reexports::input::event::tablet_pad::{
    ButtonState, RingAxisSource, StripAxisSource, TabletPadEvent, TabletPadEventTrait,
};
use smithay::reexports::input::event::EventTrait;

use super::focus::is_ending;
use super::handlers::tablet::PadUpdate;
use super::State;
use crate::input::tablets::Pad;
use crate::power::HeldInput;

impl State {
    /// Adds a pad that libinput has opened.
    pub fn add_pad(&mut self, pad: Pad) {
        self.protocols.tablet.add_pad(&self.display_handle, &pad);
        self.input.tablets.pads.push(pad);
        self.refresh_pads();
    }

    /// Removes a pad by its name in /dev/input.
    pub fn remove_pad(&mut self, sysname: &str) {
        self.input.tablets.pads.retain(|pad| pad.sysname != sysname);
        self.protocols.tablet.remove_pad(sysname);
    }

    /// Puts all pads on the surface with the keyboard focus.
    pub fn refresh_pads(&mut self) {
        let tablets = &self.input.tablets;
        if tablets.pads.is_empty() {
            return;
        }
        let time = self.clock.now().as_millis();
        let focus = self.seat.get_keyboard().and_then(|keyboard| keyboard.current_focus());
        let focus = focus.filter(|surface| !is_ending(surface));
        for pad in &tablets.pads {
            let tablet = tablets.of_pad(pad).map(|tablet| &*tablet.sysname);
            self.protocols.tablet.focus_pad(pad, tablet, focus.as_ref(), time);
        }
    }

    /// Handles an event of libinput.
    pub(super) fn pad_event(&mut self, event: &TabletPadEvent) {
        let device = event.device();
        if let TabletPadEvent::Button(event) = event {
            let pad = device.sysname().trim_start_matches("event").parse().unwrap_or_default();
            let button = HeldInput::PadButton { pad, number: event.button_number() };
            if self.press(button, event.button_state() == ButtonState::Pressed) {
                return;
            }
        } else {
            self.activity();
        }
        // An angle or a position of -1 is a finger that was lifted.
        let lifted = |value: f64| (value >= 0.0).then_some(value);
        let update = match event {
            TabletPadEvent::Button(event) => PadUpdate::Button {
                number: event.button_number(),
                is_pressed: event.button_state() == ButtonState::Pressed,
            },
            TabletPadEvent::Ring(event) => PadUpdate::Ring {
                number: event.number(),
                degrees: lifted(event.position()),
                is_finger: event.source() == RingAxisSource::Finger,
            },
            TabletPadEvent::Strip(event) => PadUpdate::Strip {
                number: event.number(),
                position: lifted(event.position()),
                is_finger: event.source() == StripAxisSource::Finger,
            },
            // The protocol has no keys.
            _ => return,
        };
        let (group, mode) = (event.mode_group().index() as usize, event.mode());
        self.pad(device.sysname(), update, (group, mode), TabletPadEventTrait::time(event));
    }

    /// Handles what a pad does, in a group's mode. `time` is in milliseconds.
    pub fn pad(&mut self, sysname: &str, update: PadUpdate, (group, mode): (usize, u32), time: u32) {
        self.settle_focus();
        let pads = &mut self.input.tablets.pads;
        let Some(pad) = pads.iter_mut().find(|pad| pad.sysname == sysname) else { return };
        let is_switched = pad.switch_mode(group, mode);
        if is_switched {
            self.protocols.tablet.send_pad(sysname, PadUpdate::Mode { group, mode }, time);
        }
        self.protocols.tablet.send_pad(sysname, update, time);
    }
}
