//! Events of input devices, brought to the seat.

use smithay::backend::input::{
    AbsolutePositionEvent, Axis, AxisSource, ButtonState, Event, InputEvent, KeyState, KeyboardKeyEvent,
    PointerAxisEvent, PointerButtonEvent, PointerMotionEvent, Switch, SwitchState, SwitchToggleEvent,
    TouchEvent,
};
use smithay::backend::libinput::LibinputInputBackend;
use smithay::input::keyboard::FilterResult;
use smithay::input::pointer::{AxisFrame, ButtonEvent, MotionEvent, RelativeMotionEvent};
use smithay::input::touch::{DownEvent, MotionEvent as TouchMotion, UpEvent};
use smithay::reexports::input::Device;
use smithay::utils::{Logical, Point, Size, SERIAL_COUNTER};
use tracing::info;

use super::keys::{command, Command};
use crate::output::Output;
use crate::power::{takes_power_button, HeldInput};
use crate::render::scene::View;
use crate::compositor::State;

impl State {
    pub fn input(&mut self, event: InputEvent<LibinputInputBackend>) {
        match event {
            InputEvent::DeviceAdded { device } => self.device_added(device),
            InputEvent::DeviceRemoved { device } => self.device_removed(&device),
            InputEvent::Keyboard { event } => self.key(&event),
            InputEvent::SwitchToggle { event } => {
                let closed = SwitchToggleEvent::state(&event) == SwitchState::On;
                if SwitchToggleEvent::switch(&event) == Some(Switch::Lid) {
                    self.lid_moved(closed);
                }
            }
            InputEvent::PointerMotion { event } => {
                self.activity();
                let to = self.outputs.move_pointer(self.pointer.location, self.pointer.location + event.delta());
                let relative = RelativeMotionEvent {
                    delta: event.delta(),
                    delta_unaccel: event.delta_unaccel(),
                    utime: event.time(),
                };
                self.pointer_moved(to, event.time_msec(), Some(relative));
            }
            InputEvent::PointerMotionAbsolute { event } => {
                self.activity();
                // A tablet of a virtual machine: over the whole layout.
                let lit = self.outputs.in_layout();
                let right = lit.iter().map(|output| output.logical.x + output.logical.width).max().unwrap_or(0);
                let bottom = lit.iter().map(|output| output.logical.y + output.logical.height).max().unwrap_or(0);
                let wished = event.position_transformed((right, bottom).into());
                let to = self.outputs.move_pointer(self.pointer.location, wished);
                self.pointer_moved(to, event.time_msec(), None);
            }
            InputEvent::PointerButton { event } => {
                if self.press(HeldInput::Button(event.button_code()), event.state() == ButtonState::Pressed) {
                    return;
                }
                let Some(pointer) = self.seat.get_pointer() else { return };
                if event.state() == ButtonState::Pressed && self.press_unresponsive_overlay(self.pointer.location) {
                    return;
                }
                if event.state() == ButtonState::Pressed && !pointer.is_grabbed() {
                    self.focus_at(self.pointer.location);
                }
                let button = ButtonEvent {
                    button: event.button_code(),
                    state: event.state(),
                    serial: SERIAL_COUNTER.next_serial(),
                    time: event.time_msec(),
                };
                pointer.button(self, &button);
                pointer.frame(self);
            }
            InputEvent::PointerAxis { event } => {
                self.activity();
                self.scroll(&event);
            }
            InputEvent::TouchDown { event } => {
                if self.press(HeldInput::Finger(event.slot()), true) {
                    return;
                }
                let Some(location) = self.touch_location(&event.device(), &event) else { return };
                let Some(touch) = self.seat.get_touch() else { return };
                if self.press_unresponsive_overlay(location) {
                    return;
                }
                if !touch.is_grabbed() {
                    self.focus_at(location);
                }
                let under = self.surface_under(location);
                let (slot, time) = (event.slot(), event.time_msec());
                touch.down(
                    self,
                    under,
                    &DownEvent { slot, location, serial: SERIAL_COUNTER.next_serial(), time },
                );
            }
            InputEvent::TouchMotion { event } => {
                self.activity();
                if self.power.is_withheld(HeldInput::Finger(event.slot())) {
                    return;
                }
                let Some(location) = self.touch_location(&event.device(), &event) else { return };
                let Some(touch) = self.seat.get_touch() else { return };
                let under = self.surface_under(location);
                let (slot, time) = (event.slot(), event.time_msec());
                touch.motion(self, under, &TouchMotion { slot, location, time });
            }
            InputEvent::TouchUp { event } => {
                if self.press(HeldInput::Finger(event.slot()), false) {
                    return;
                }
                let Some(touch) = self.seat.get_touch() else { return };
                let (slot, time) = (event.slot(), event.time_msec());
                touch.up(self, &UpEvent { slot, serial: SERIAL_COUNTER.next_serial(), time });
            }
            InputEvent::TouchFrame { .. } => {
                let Some(touch) = self.seat.get_touch() else { return };
                touch.frame(self);
            }
            InputEvent::TouchCancel { .. } => {
                let Some(touch) = self.seat.get_touch() else { return };
                touch.cancel(self);
            }
            _ => {}
        }
    }

    fn key(&mut self, event: &impl KeyboardKeyEvent<LibinputInputBackend>) {
        let Some(keyboard) = self.seat.get_keyboard() else { return };
        let pressed = event.state() == KeyState::Pressed;
        let serial = SERIAL_COUNTER.next_serial();
        let (code, state, time) = (event.key_code(), event.state(), event.time_msec());
        let press = HeldInput::Key(code.raw());
        let withheld = !pressed && self.power.release(press);
        // Asked before: the keyboard is locked while it filters.
        let takes = !pressed || self.accepts_key();
        let power_button = takes_power_button(&self.config.power);
        // The end of the press that darkened displays is no wish for light.
        let woke = pressed && self.activity();
        let ours = keyboard.input(self, code, state, serial, time, |state, modifiers, handle| {
            let found = pressed
                .then(|| {
                    command(
                        state.exit_chord.as_ref(),
                        power_button,
                        modifiers,
                        handle.modified_sym(),
                        &handle.raw_syms(),
                    )
                })
                .flatten();
            match found {
                Some(command) => FilterResult::Intercept(Some(command)),
                None if !takes || woke || withheld => FilterResult::Intercept(None),
                None => FilterResult::Forward,
            }
        });
        if pressed && ours.is_some() {
            self.power.withhold(press);
        }
        match ours.flatten() {
            Some(Command::SwitchVt(vt)) => self.switch_vt(vt),
            Some(Command::Exit) => {
                info!("ended by the keyboard");
                self.stop();
            }
            Some(Command::PowerButton) if woke => {}
            Some(Command::PowerButton) => self.power_button(),
            None => {}
        }
    }

    fn pointer_moved(&mut self, to: Point<f64, Logical>, time: u32, relative: Option<RelativeMotionEvent>) {
        self.redraw_under_pointer();
        self.pointer.location = to;
        self.pointer.moved_at = self.iteration_start();
        self.redraw_under_pointer();
        let Some(pointer) = self.seat.get_pointer() else { return };
        let under = self.surface_under(to).filter(|(surface, _)| !self.is_unresponsive(surface));
        if let Some(relative) = relative {
            pointer.relative_motion(self, under.clone(), &relative);
        }
        let motion = MotionEvent { location: to, serial: SERIAL_COUNTER.next_serial(), time };
        pointer.motion(self, under, &motion);
        pointer.frame(self);
    }

    /// The cursor is on a display that has to be drawn again.
    pub fn redraw_under_pointer(&mut self) {
        if let Some(id) = self.outputs.at(self.pointer.location).map(|output| output.id) {
            self.queue_redraw(id);
        }
    }

    fn scroll(&mut self, event: &impl PointerAxisEvent<LibinputInputBackend>) {
        let Some(pointer) = self.seat.get_pointer() else { return };
        let mut frame = AxisFrame::new(event.time_msec()).source(event.source());
        for axis in [Axis::Horizontal, Axis::Vertical] {
            let steps = event.amount_v120(axis);
            // A wheel's click is 15 degrees in libinput's timeouts; clients expect 15 as well.
            let amount = event.amount(axis).unwrap_or_else(|| steps.unwrap_or(0.0) * 15.0 / 120.0);
            if amount != 0.0 {
                frame = frame.relative_direction(axis, event.relative_direction(axis)).value(axis, amount);
                if let Some(steps) = steps {
                    frame = frame.v120(axis, steps as i32);
                }
            } else if event.source() == AxisSource::Finger && event.amount(axis) == Some(0.0) {
                frame = frame.stop(axis);
            }
        }
        pointer.axis(self, frame);
        pointer.frame(self);
    }

    /// A touch's place in the layout.
    fn touch_location(
        &self,
        device: &Device,
        event: &impl AbsolutePositionEvent<LibinputInputBackend>,
    ) -> Option<Point<f64, Logical>> {
        let output = self.outputs.named(&self.touch_display(device)?)?;
        // The panel is turned with its display.
        let transform = output.wl_output.current_transform();
        let turned = |whole: Size<i32, Logical>| {
            let panel = transform.invert().transform_size(whole);
            transform.transform_point_in(event.position_transformed(panel), &panel.to_f64())
        };
        if let Some(source) = output.mirror.as_deref().and_then(|source| self.outputs.named(source)) {
            let pixels = |output: &Output| {
                let size = output.wl_output.current_mode()?.size;
                Some(output.wl_output.current_transform().transform_size(size))
            };
            let own = pixels(output)?;
            let place = turned((own.w, own.h).into());
            let seen = View::new(pixels(source)?, own).seen_at((place.x, place.y).into())?;
            return Some(source.geometry().loc.to_f64() + seen.to_logical(source.scale));
        }
        let area = output.geometry();
        let turned = turned(area.size);
        Some(turned + area.loc.to_f64())
    }
}
