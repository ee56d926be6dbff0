//! The compositor in the process of the fuzz target `wayland`, on virtual displays. Not an API.
//!
//! Input goes to the same functions as libinput's events do.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Result;
use geom_ipc::{ClientKind, CloseReason};
use smithay::backend::input::{Axis, AxisSource, ButtonState, KeyState, TouchSlot};
use smithay::input::pointer::{AxisFrame, RelativeMotionEvent};
use smithay::reexports::input::DeviceCapability;
pub use smithay::reexports::{wayland_protocols, wayland_protocols_wlr, wayland_server};
use smithay::utils::{Logical, Point};

use super::in_process::configured;
use super::run::Compositor;
use crate::clients::{client_of, invariants, ClientId, Sandbox};
use crate::input::DeviceInfo;
use crate::session::rlimit::raise_limit;

/// Input that a person causes, in the layout's coordinates.
#[derive(Debug, Clone, Copy)]
pub enum Action {
    Move { x: f64, y: f64 },
    Button { button: u32, pressed: bool },
    Scroll { amount: f64 },
    Key { code: u32, pressed: bool },
    TouchDown { slot: u32, x: f64, y: f64 },
    TouchMove { slot: u32, x: f64, y: f64 },
    TouchUp { slot: u32 },
    TouchFrame,
    TouchCancel,
}

/// See the [module](self).
pub struct Host {
    compositor: Compositor,
    has_devices: [bool; 2],
    /// Input events so far; each is a millisecond later than the one before.
    time: u32,
    _config: tempfile::NamedTempFile,
}

/// Points of [`Host::points`] in each direction of a display.
const GRID: u32 = 6;

/// Names of the mouse and the touchscreen in /dev/input.
const TOUCHSCREEN: &str = "event2";
const DEVICES: [(&str, DeviceCapability); 2] =
    [("event1", DeviceCapability::Pointer), (TOUCHSCREEN, DeviceCapability::Touch)];

impl Host {
    /// Starts a compositor with a configuration.
    ///
    /// # Errors
    /// If epoll, xkb layouts, pixman or temporary files are not available.
    pub fn new(config: &str) -> Result<Self> {
        // As the service does: each client needs descriptors.
        raise_limit();
        let (mut compositor, file) = configured(config)?;
        compositor.start_backend()?;
        Ok(Self { compositor, has_devices: [false; 2], time: 0, _config: file })
    }

    /// Connects a client. Returns its end of the socket, or `None` if refused. A sandboxed one
    /// sees the globals that a user who may only look sees.
    ///
    /// # Errors
    /// If there is no socket pair.
    pub fn connect(&mut self, is_sandboxed: bool) -> Result<Option<(u64, UnixStream)>> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let sandbox = is_sandboxed.then_some(Sandbox { name: "org.example.Fuzz", is_admitted: false });
        let id = self.compositor.state.new_client(ours, ClientKind::Wayland, sandbox);
        Ok(id.map(|id| (id.into(), theirs)))
    }

    /// Disconnects a client, as `geom_compositor disconnect` does.
    pub fn disconnect(&mut self, id: u64) {
        self.compositor.state.disconnect(ClientId::from(id), CloseReason::Requested);
    }

    /// Runs one iteration of the event loop, which waits for an event this long.
    ///
    /// # Errors
    /// If epoll fails.
    pub fn iterate(&mut self, timeout: Duration) -> Result<()> {
        self.compositor.iterate(Some(timeout))
    }

    /// Connects or disconnects a virtual display.
    pub fn plug(&mut self, display: &str, is_connected: bool) {
        self.compositor.state.plug_virtual(display, is_connected);
    }

    /// Plugs or pulls the mouse and the touchscreen.
    pub fn set_devices(&mut self, pointer: bool, touch: bool) {
        let wanted = [pointer, touch];
        for ((sysname, capability), (wants, has)) in
            DEVICES.into_iter().zip(wanted.into_iter().zip(&mut self.has_devices))
        {
            if wants == *has {
                continue;
            }
            *has = wants;
            if wants {
                self.compositor.state.device_added(DeviceInfo {
                    sysname: sysname.to_owned(),
                    name: sysname.to_owned(),
                    vendor: 1,
                    product: 1,
                    capabilities: vec![capability],
                    ..DeviceInfo::default()
                });
            } else {
                self.compositor.state.device_removed(sysname);
            }
        }
    }

    /// Passes input to the seat.
    pub fn input(&mut self, action: Action) {
        self.time = self.time.wrapping_add(1);
        let time = self.time;
        let state = &mut self.compositor.state;
        let slot_of = |slot: u32| TouchSlot::from(Some(slot));
        match action {
            Action::Move { x, y } => {
                state.activity();
                let from = state.input.pointer().location();
                let to = state.outputs.move_pointer(from, Point::from((x, y)));
                let delta: Point<f64, Logical> = to - from;
                let relative = RelativeMotionEvent { delta, delta_unaccel: delta, utime: u64::from(time) };
                state.pointer_moved(to, time, Some(relative));
            }
            Action::Button { button, pressed } => {
                let button_state = if pressed { ButtonState::Pressed } else { ButtonState::Released };
                state.button(button, button_state, time);
            }
            Action::Scroll { amount } => {
                state.activity();
                let Some(pointer) = state.seat.get_pointer() else { return };
                let frame = AxisFrame::new(time).source(AxisSource::Wheel).value(Axis::Vertical, amount);
                pointer.axis(state, frame.v120(Axis::Vertical, amount as i32));
                pointer.frame(state);
            }
            Action::Key { code, pressed } => {
                let key_state = if pressed { KeyState::Pressed } else { KeyState::Released };
                state.key(code.into(), key_state, time);
            }
            Action::TouchDown { slot, x, y } => {
                state.finger_down(TOUCHSCREEN, slot_of(slot), |_| Some(Point::from((x, y))), time);
            }
            Action::TouchMove { slot, x, y } => {
                state.finger_moved(TOUCHSCREEN, slot_of(slot), |_| Some(Point::from((x, y))), time);
            }
            Action::TouchUp { slot } => state.finger_up(TOUCHSCREEN, slot_of(slot), time),
            Action::TouchFrame => {
                if let Some(touch) = state.seat.get_touch() {
                    touch.frame(state);
                }
            }
            Action::TouchCancel => state.cancel_fingers_of(TOUCHSCREEN),
        }
    }

    /// Returns points where a client gets input, with the number of its connection.
    pub fn points(&self) -> Vec<(u64, (f64, f64))> {
        let state = &self.compositor.state;
        let mut found = Vec::new();
        for output in state.outputs.iter().filter(|output| output.is_enabled()) {
            let area = output.geometry().to_f64();
            for (column, row) in (0..GRID).flat_map(|column| (0..GRID).map(move |row| (column, row))) {
                let step = |length: f64, index: u32| 1.0 + length * f64::from(index) / f64::from(GRID);
                let point = area.loc + Point::from((step(area.size.w, column), step(area.size.h, row)));
                let surface = state.shell.surface_at(point, &state.outputs);
                let client = surface.and_then(|(surface, _)| client_of(&surface));
                found.extend(client.map(|client| (client.into(), (point.x, point.y))));
            }
        }
        found
    }

    /// Checks what holds between two iterations.
    ///
    /// # Errors
    /// The invariant that is violated.
    pub fn check(&self) -> Result<(), String> {
        let state = &self.compositor.state;
        if state.is_stopping() {
            return Err(format!("the service stops: {:?}", state.failure));
        }
        invariants::check(&state.clients)
    }

    /// Returns the numbers of clients and of windows.
    pub fn counts(&self) -> (usize, usize) {
        let state = &self.compositor.state;
        (state.clients.iter().count(), state.shell.windows().len())
    }

    /// Returns what is known of all clients, for the message about a violation.
    pub fn describe(&self) -> String {
        format!("{:?}", self.compositor.state.ipc_clients())
    }
}
