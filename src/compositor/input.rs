//! Input devices and their events: passes them to the seat, which sends them to clients.

use geom_ipc::Event as IpcEvent;
use smithay::backend::input::{
    AbsolutePositionEvent, ButtonState, Event, InputEvent, KeyState, KeyboardKeyEvent, PointerAxisEvent,
    PointerButtonEvent, PointerMotionEvent, ProximityState, Switch, SwitchState, SwitchToggleEvent,
    TabletToolButtonEvent, TabletToolProximityEvent, TabletToolTipEvent, TabletToolTipState, TouchEvent,
};
use smithay::backend::libinput::LibinputInputBackend;
use smithay::input::keyboard::{FilterResult, Keycode, ModifiersState};
use smithay::input::pointer::{ButtonEvent, RelativeMotionEvent};
use smithay::reexports::input::Device;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point, Serial, SERIAL_COUNTER};
use tracing::info;

use super::gestures::gesture_of;
use super::output_config::connectors_named;
use super::pens::PenChange;
use super::touch::Fingers;
use super::State;
use crate::backend::input_source::SeatInput;
use crate::clients::client_of;
use crate::config::Keyboard;
use crate::control::report;
use crate::input::pen::Press;
use crate::input::pointer::absolute_location;
use crate::input::scroll::axis_frame;
use crate::input::tablets::{Pad, TabletInfo};
use crate::input::{
    command, has_same_keymap, is_layout_notice, keep_locks, layout_location, report_unknown_layout,
    touch_output, xkb_config, Command, CursorEvent, DeviceInfo, KeyEvent, KeyRecipient, TouchDevice,
};
use crate::output::Output;
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
                if let Some(tablet) = TabletInfo::read(&device) {
                    self.add_tablet(tablet);
                }
                if let Some(pad) = Pad::read(&device) {
                    self.add_pad(pad);
                }
                self.input.open_device(device, &self.config);
                self.device_added(info);
            }
            InputEvent::DeviceRemoved { device } => {
                self.input.close_device(&device);
                self.remove_pad(device.sysname());
                self.remove_tablet(device.sysname());
                self.device_removed(device.sysname());
            }
            InputEvent::Keyboard { event } => self.key(event.key_code(), event.state(), event.time_msec()),
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
                let position = |size| event.position_transformed(size);
                let to = absolute_location(self.input.pointer().location(), &self.outputs, position);
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
            let (keysym, raw) = (key.modified_sym(), key.raw_syms());
            let command = is_press.then(|| command(&state.config, modifiers, keysym, &raw));
            match event.recipient(command.flatten()) {
                KeyRecipient::Client => FilterResult::Forward,
                recipient => FilterResult::Intercept(recipient),
            }
        });
        if is_press && recipient.is_some() {
            self.power.withhold(press);
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
        let frame = axis_frame(event);
        pointer.axis(self, frame);
        pointer.frame(self);
    }

    /// Returns the position of a touch in the layout.
    fn touch_location(
        &self,
        device: &Device,
        event: &impl AbsolutePositionEvent<LibinputInputBackend>,
    ) -> Option<Point<f64, Logical>> {
        let output = self.touch_output(&TouchDevice::new(device))?;
        layout_location(output, &self.outputs, |size| event.position_transformed(size))
    }

    /// Returns the output that a touch device belongs to.
    pub(super) fn touch_output(&self, device: &TouchDevice<'_>) -> Option<&Output> {
        let connectors_of = |name: &str| connectors_named(&self.outputs, &self.backend, &self.config, name);
        let is_built_in = |name: &str| self.config.power.is_lid_display(name);
        touch_output(device, &self.config.touch, connectors_of, is_built_in, &self.outputs)
    }

    /// Adds a device that libinput has opened.
    pub fn device_added(&mut self, device: DeviceInfo) {
        let added = self.ipc_input_device(&device);
        if self.input.add_device(device, &self.outputs) {
            self.redraw_under_pointer();
        }
        self.update_seat();
        // A new pointer is on no surface yet.
        self.refresh_pointer_focus();
        self.publish_event(&IpcEvent::InputDeviceAdded { device: added });
    }

    /// Gives the seat what its devices can do.
    fn update_seat(&mut self) {
        self.input.update_seat(&mut self.seat, &self.config, Fingers::none);
    }

    /// Removes a device that libinput has closed, by its name in /dev/input.
    pub fn device_removed(&mut self, sysname: &str) {
        let known = self.input.devices().iter().find(|device| device.sysname == sysname);
        let Some(removed) = known.map(|device| self.ipc_input_device(device)) else { return };
        self.cancel_fingers_of(sysname);
        self.calibration_device_gone(sysname);
        if self.input.remove_device(sysname) {
            self.cursor_event(CursorEvent::Gone);
            self.redraw_under_pointer();
        }
        self.update_seat();
        // A new pointer is on no surface yet.
        self.refresh_pointer_focus();
        self.publish_event(&IpcEvent::InputDeviceRemoved { device: removed });
    }

    fn ipc_input_device(&self, device: &DeviceInfo) -> geom_ipc::InputDevice {
        let tablet = self.input.tablets.get(&device.sysname).filter(|tablet| self.is_mapped(tablet));
        let touch = device.touch().or(tablet.map(TabletInfo::touch));
        let display = touch.and_then(|touch| self.touch_output(&touch));
        report::input_device(device, display)
    }

    pub fn ipc_input_devices(&self) -> Vec<geom_ipc::InputDevice> {
        self.input.devices().iter().map(|device| self.ipc_input_device(device)).collect()
    }

    /// Applies a changed configuration to the devices, the cursor and the keyboard. `before` is the
    /// keyboard's configuration until now.
    pub fn reconfigure_input(&mut self, before: &Keyboard) {
        let effects = self.input.reconfigure(&self.config);
        self.apply_cursor(effects);
        self.update_seat();
        let Some(keyboard) = self.seat.get_keyboard() else { return };
        let config = self.config.keyboard.clone();
        keyboard.change_repeat_info(config.repeat_rate, config.repeat_delay);
        // A new keymap forgets the layout and the locks.
        if has_same_keymap(before, &config) {
            return;
        }
        self.notices.dismiss(is_layout_notice);
        let ModifiersState { caps_lock, num_lock, .. } = keyboard.modifier_state();
        if let Err(error) = keyboard.set_xkb_config(self, xkb_config(&config)) {
            self.notices.add(report_unknown_layout(&config.layout, &error, "the present one"));
            return;
        }
        keep_locks(&keyboard, self, caps_lock, num_lock);
        self.input.set_lamps(keyboard.led_state().into());
        // Entering its surface again tells the client with the focus.
        if let Some(client) = keyboard.current_focus().as_ref().and_then(client_of) {
            self.refresh_keyboard(client);
        }
    }
}
