//! Input devices and their events: passes them to the seat, which sends them to clients.

use smithay::backend::input::{
    AbsolutePositionEvent, ButtonState, Event, InputEvent, KeyState, KeyboardKeyEvent, PointerAxisEvent,
    PointerButtonEvent, PointerMotionEvent, ProximityState, Switch, SwitchState, SwitchToggleEvent,
    TabletToolButtonEvent, TabletToolProximityEvent, TabletToolTipEvent, TabletToolTipState, TouchEvent,
};
use smithay::backend::libinput::LibinputInputBackend;
use smithay::input::keyboard::{FilterResult, Keycode};
use smithay::input::pointer::{ButtonEvent, RelativeMotionEvent};
use smithay::reexports::input::Device;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point, Serial, SERIAL_COUNTER};
use tracing::info;

use super::gestures::gesture_of;
use super::pens::PenChange;
use super::State;
use crate::backend::input_source::SeatInput;
use crate::clients::client_of;
use crate::input::pen::Press;
use crate::input::pointer::absolute_location;
use crate::input::scroll::axis_frame;
use crate::input::tablets::{Pad, TabletInfo};
use crate::input::{
    command, layout_location, position_on_device, Command, ConfiguredDevice, CursorEvent, DeviceInfo,
    KeyEvent, KeyRecipient,
};
use crate::power::HeldInput;
use crate::shell::SurfaceAt;

impl State {
    /// Handles an event of libinput.
    pub fn input(&mut self, event: SeatInput) {
        match event {
            SeatInput::Event(event) if self.calibration_event(&event) => {}
            SeatInput::Event(event) => self.input_event(event),
            SeatInput::Pad(event) => self.pad_event(&event),
        }
    }

    fn input_event(&mut self, event: InputEvent<LibinputInputBackend>) {
        match event {
            InputEvent::DeviceAdded { device } => {
                let info = DeviceInfo::read(&device);
                if let Some(tablet) = TabletInfo::read(&device, &info) {
                    self.add_tablet(tablet);
                }
                if let Some(pad) = Pad::read(&device) {
                    self.add_pad(pad);
                }
                self.input.open_device(device);
                self.device_added(info);
            }
            InputEvent::DeviceRemoved { device } => self.device_closed(&device),
            InputEvent::Keyboard { event } => {
                let device = Event::device(&event);
                self.device_key(device.sysname(), event.key_code(), event.state(), event.time_msec());
            }
            InputEvent::SwitchToggle { event } => {
                let closed = SwitchToggleEvent::state(&event) == SwitchState::On;
                if SwitchToggleEvent::switch(&event) == Some(Switch::Lid) {
                    self.lid_moved(closed);
                }
            }
            InputEvent::PointerMotion { event } => {
                self.activity();
                let from = self.input.pointer().location();
                let to = self.outputs.move_pointer(from, from + event.delta());
                let relative = RelativeMotionEvent {
                    delta: event.delta(),
                    delta_unaccel: event.delta_unaccel(),
                    utime: event.time(),
                };
                self.pointer_moved(to, event.time_msec(), Some(relative));
            }
            InputEvent::PointerMotionAbsolute { event } => {
                self.activity();
                let position = |size| position_on_device(event.position_transformed(size), size);
                let device = Event::device(&event);
                let device = self.input.devices.get(device.sysname());
                let to = match device.filter(|device| self.has_display(device)) {
                    Some(device) => {
                        let output = self.output_of_device(device);
                        output.and_then(|output| layout_location(output, &self.outputs, position))
                    }
                    None => {
                        let from = self.input.pointer().location();
                        Some(absolute_location(from, &self.outputs, position))
                    }
                };
                // Its display is disabled, or the position is on a mirror's border.
                let Some(to) = to else { return };
                self.pointer_moved(to, event.time_msec(), None);
            }
            InputEvent::PointerButton { event } => {
                self.button(event.button_code(), event.state(), event.time_msec());
            }
            InputEvent::PointerAxis { event } => {
                self.activity();
                self.scroll(&event);
            }
            InputEvent::TouchDown { event } => {
                let device = event.device();
                let location = |state: &Self| state.touch_location(&device, &event);
                self.finger_down(device.sysname(), event.slot(), location, event.time_msec());
            }
            InputEvent::TouchMotion { event } => {
                let device = event.device();
                let location = |state: &Self| state.touch_location(&device, &event);
                self.finger_moved(device.sysname(), event.slot(), location, event.time_msec());
            }
            InputEvent::TouchUp { event } => {
                self.finger_up(event.device().sysname(), event.slot(), event.time_msec());
            }
            InputEvent::TouchFrame { .. } => {
                let Some(touch) = self.seat.get_touch() else { return };
                touch.frame(self);
            }
            InputEvent::TouchCancel { event } => {
                self.finger_cancelled(event.device().sysname(), event.slot(), event.time_msec());
            }
            InputEvent::TabletToolAxis { event } => self.tool_event(&event, PenChange::Moved),
            InputEvent::TabletToolProximity { event } => {
                let change = match TabletToolProximityEvent::state(&event) {
                    ProximityState::In => PenChange::Moved,
                    ProximityState::Out => PenChange::Out,
                };
                self.tool_event(&event, change);
            }
            InputEvent::TabletToolTip { event } => {
                let change = match TabletToolTipEvent::tip_state(&event) {
                    TabletToolTipState::Down => PenChange::Pressed(Press::Tip),
                    TabletToolTipState::Up => PenChange::Released(Press::Tip),
                };
                self.tool_event(&event, change);
            }
            InputEvent::TabletToolButton { event } => {
                let press = Press::Button(event.button());
                let change = match TabletToolButtonEvent::button_state(&event) {
                    ButtonState::Pressed => PenChange::Pressed(press),
                    ButtonState::Released => PenChange::Released(press),
                };
                self.tool_event(&event, change);
            }
            other => {
                if let Some((gesture, time)) = gesture_of(&other) {
                    self.gesture(gesture, time);
                }
            }
        }
    }

    /// Releases held keys, which would stay pressed for clients while the session is paused.
    pub fn release_keys(&mut self) {
        self.input.devices.keys_released();
        let Some(keyboard) = self.seat.get_keyboard() else { return };
        let time = self.now().as_millis() as u32;
        for code in keyboard.pressed_keys() {
            let serial = SERIAL_COUNTER.next_serial();
            let withheld = self.power.release(HeldInput::Key(code.raw()));
            keyboard.input::<(), _>(self, code, KeyState::Released, serial, time, |_, _, _| match withheld {
                true => FilterResult::Intercept(()),
                false => FilterResult::Forward,
            });
        }
    }

    /// Presses or releases a button at the pointer's position. `time` is in milliseconds.
    pub fn button(&mut self, button: u32, state: ButtonState, time: u32) {
        let is_press = state == ButtonState::Pressed;
        if self.press(HeldInput::Button(button), is_press) {
            return;
        }
        let Some(pointer) = self.seat.get_pointer() else { return };
        self.cursor_event(CursorEvent::Used);
        let location = self.input.pointer().location();
        if is_press && self.press_at(location, !pointer.is_grabbed()) {
            return;
        }
        self.send_button(button, state, time);
    }

    /// Sends a press or a release to the surface that the pointer is on. `time` is in milliseconds.
    pub(super) fn send_button(&mut self, button: u32, state: ButtonState, time: u32) {
        let Some(pointer) = self.seat.get_pointer() else { return };
        let is_press = state == ButtonState::Pressed;
        let serial = SERIAL_COUNTER.next_serial();
        if is_press {
            self.note_press(serial, pointer.current_focus().as_ref());
        }
        pointer.button(self, &ButtonEvent { button, state, serial, time });
        pointer.frame(self);
        let is_in_menu = |surface: &WlSurface| self.shell.is_in_grabbing_popup(surface);
        if is_press && pointer.has_grab(serial) && pointer.current_focus().as_ref().is_some_and(is_in_menu) {
            // In menus the pointer moves freely while a button is held.
            self.end_pointer_grab(&pointer, serial, time);
        }
        if !is_press {
            // It stayed on the surface that was pressed.
            self.refresh_pointer_focus();
        }
    }

    /// Presses or releases a key. `time` is in milliseconds.
    pub fn key(&mut self, code: Keycode, state: KeyState, time: u32) {
        self.settle_focus();
        let Some(keyboard) = self.seat.get_keyboard() else { return };
        let is_press = state == KeyState::Pressed;
        let serial = SERIAL_COUNTER.next_serial();
        let press = HeldInput::Key(code.raw());
        if is_press {
            self.note_press(serial, keyboard.current_focus().as_ref());
        }
        // Before `keyboard.input`, which locks the keyboard while it calls the filter.
        let event = KeyEvent {
            is_press,
            was_withheld: !is_press && self.power.release(press),
            client_accepts: !is_press || self.accepts_key(),
            // Only a press unblanks displays: the release of the key that blanked them does not.
            unblanks: is_press && self.activity(),
        };
        let recipient = keyboard.input(self, code, state, serial, time, |state, modifiers, key| {
            // The Latin letter of the key's place, for layouts that have others.
            let latin = key.raw_latin_sym_or_raw_current_sym();
            let raw: Vec<_> = key.raw_syms().iter().copied().chain(latin).collect();
            let keysym = key.modified_sym();
            let command = is_press.then(|| command(&state.config, modifiers, keysym, &raw));
            match event.recipient(command.flatten()) {
                KeyRecipient::Client => FilterResult::Forward,
                recipient => FilterResult::Intercept(recipient),
            }
        });
        if is_press && recipient.is_some() {
            self.power.withhold(press);
        }
        if is_press {
            self.power.note_key_press(code.raw(), event.unblanks);
        }
        match recipient {
            Some(KeyRecipient::Compositor(Command::SwitchVt(vt))) => self.switch_vt(vt),
            Some(KeyRecipient::Compositor(Command::Exit)) => {
                info!("exit chord pressed");
                self.stop();
            }
            Some(KeyRecipient::Compositor(Command::PowerButton)) => self.power_button(),
            Some(KeyRecipient::Compositor(Command::Shortcut(index))) => self.run_shortcut(index),
            Some(KeyRecipient::Client | KeyRecipient::Withheld) | None => {}
        }
    }

    /// A pointing device moved the pointer. `time` is in milliseconds.
    pub fn pointer_moved(
        &mut self,
        to: Point<f64, Logical>,
        time: u32,
        relative: Option<RelativeMotionEvent>,
    ) {
        self.move_pointer(to, time, relative);
        self.cursor_event(CursorEvent::Used);
    }

    /// Moves the pointer, and tells the surface under it. `time` is in milliseconds.
    pub(super) fn move_pointer(
        &mut self,
        to: Point<f64, Logical>,
        time: u32,
        relative: Option<RelativeMotionEvent>,
    ) {
        self.redraw_moved_pointer();
        let now = self.iteration_start();
        self.input.pointer_mut().moved(to, now);
        self.redraw_moved_pointer();
        let Some(pointer) = self.seat.get_pointer() else { return };
        let under = self.pointer_target(to);
        // While a button is held, motion goes to the surface that it was pressed on.
        let target = match pointer.is_grabbed() {
            true => pointer.current_focus(),
            false => under.as_ref().map(|(surface, _)| surface.clone()),
        };
        if target.is_some_and(|surface| !self.accepts_motion(&surface)) {
            return;
        }
        if let Some(relative) = relative {
            pointer.relative_motion(self, under.clone(), &relative);
        }
        self.send_pointer(&pointer, under, to, time);
    }

    /// Notes which client is sent a press.
    pub(super) fn note_press(&mut self, serial: Serial, surface: Option<&WlSurface>) {
        if let Some(client) = surface.and_then(client_of) {
            self.input.presses.push(serial, client);
        }
    }

    pub(super) fn surface_at(&self, point: Point<f64, Logical>) -> Option<SurfaceAt> {
        self.shell.surface_at(point, &self.outputs)
    }

    fn scroll(&mut self, event: &impl PointerAxisEvent<LibinputInputBackend>) {
        self.settle_focus();
        let Some(pointer) = self.seat.get_pointer() else { return };
        self.cursor_event(CursorEvent::Used);
        let device = event.device();
        let factor = self.input.devices.get(device.sysname()).map_or(1.0, ConfiguredDevice::scroll_factor);
        let frame = axis_frame(event, factor);
        pointer.axis(self, frame);
        pointer.frame(self);
    }

    /// Returns the position of a touch in the layout.
    fn touch_location(
        &self,
        device: &Device,
        event: &impl AbsolutePositionEvent<LibinputInputBackend>,
    ) -> Option<Point<f64, Logical>> {
        let output = self.output_of_device(self.input.devices.get(device.sysname())?)?;
        let position = |size| position_on_device(event.position_transformed(size), size);
        layout_location(output, &self.outputs, position)
    }
}
