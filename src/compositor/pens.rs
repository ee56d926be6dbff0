//! Tools of graphics tablets: where each is, which surface it is on, and what clients are sent.
//!
//! A press of a tool is as a click and a touch: it unblanks displays, dismisses menus of other
//! programs, goes to the overlay for unresponsive clients, and gives the keyboard.

use smithay::backend::input::{ButtonState, TabletToolDescriptor, TabletToolEvent};
use smithay::backend::libinput::LibinputInputBackend;
use smithay::input::pointer::CursorImageStatus;
use smithay::reexports::wayland_protocols::wp::tablet::zv2::server::zwp_tablet_tool_v2;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::Resource;
use smithay::utils::{Logical, Point, Size, SERIAL_COUNTER};

use super::focus::is_ending;
use super::State;
use crate::input::pen::{Pen, Press, Receiver, Step};
use crate::input::pointer::{absolute_location, ToolCursor};
use crate::input::tablets::{PenAxes, TabletInfo};
use crate::input::{layout_location, position_on_device, CursorEvent};
use crate::power::HeldInput;
use crate::shell::SurfaceAt;

/// How long after a tool came near blanked displays its presses wake them only, in milliseconds.
const WAKING_TIME: u32 = 1000;

/// What a tool did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PenChange {
    /// It came into proximity, moved, or another value changed.
    Moved,
    Pressed(Press),
    Released(Press),
    /// It left proximity.
    Out,
}

/// An event of a tool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PenEvent {
    pub change: PenChange,
    /// In the layout. `None` if its display is off, or it is on the border around a mirror's
    /// frame.
    pub location: Option<Point<f64, Logical>>,
    /// The values that changed.
    pub axes: PenAxes,
    /// In milliseconds.
    pub time: u32,
}

impl State {
    /// Adds a tablet that libinput has opened.
    pub fn add_tablet(&mut self, tablet: TabletInfo) {
        self.protocols.tablet.add_tablet(&self.display_handle, &tablet);
        self.input.tablets.add(tablet);
        self.refresh_pads();
    }

    /// Removes a tablet, with its tools, by its name in /dev/input.
    pub fn remove_tablet(&mut self, sysname: &str) {
        for id in self.input.tablets.tools_of(sysname) {
            self.forget_tool(id);
        }
        if self.input.tablets.remove(sysname) {
            self.protocols.tablet.remove_tablet(sysname);
            // A pad may have been with it.
            self.refresh_pads();
        }
    }

    /// The tools that are on a tablet leave proximity: others take its events.
    pub(super) fn remove_pens_of(&mut self, sysname: &str) {
        let time = self.now().as_millis() as u32;
        for id in self.input.tablets.tools_of(sysname) {
            self.pen_out(id, time);
        }
    }

    fn forget_tool(&mut self, id: u64) {
        let time = self.now().as_millis() as u32;
        self.pen_out(id, time);
        self.input.tablets.forget(id);
        self.protocols.tablet.remove_tool(id);
    }

    /// Handles an event of libinput.
    pub(super) fn tool_event(
        &mut self,
        event: &impl TabletToolEvent<LibinputInputBackend>,
        change: PenChange,
    ) {
        let device = event.device();
        let position = |size| position_on_device(event.position_transformed(size), size);
        let location = self.pen_location(device.sysname(), position);
        let axes = PenAxes::read(event);
        let time = event.time_msec();
        self.pen(device.sysname(), &event.tool(), PenEvent { change, location, axes, time });
    }

    /// Handles an event of a tool on a tablet, which is named as in /dev/input.
    pub fn pen(&mut self, tablet: &str, tool: &TabletToolDescriptor, event: PenEvent) {
        let Some(id) = self.tool_id(tablet, tool) else { return };
        let PenEvent { change, location, axes, time } = event;
        let is_withheld = match change {
            PenChange::Pressed(press) => self.press(HeldInput::Pen(id, press.code()), true),
            PenChange::Released(press) => self.press(HeldInput::Pen(id, press.code()), false),
            PenChange::Moved => {
                // A pen comes near before it touches: the tap that wakes displays does nothing
                // else.
                if self.activity() {
                    if let Some(tool) = self.input.tablets.tool_mut(id) {
                        tool.woke_at = Some(time);
                    }
                }
                false
            }
            PenChange::Out => false,
        };
        let Some(location) = location.filter(|_| change != PenChange::Out) else {
            self.pen_out(id, time);
            return;
        };
        let is_press = matches!(change, PenChange::Pressed(_));
        let is_held = self.tool_pen(id).is_some_and(Pen::is_held);
        let woke_at = self.input.tablets.tool(id).and_then(|tool| tool.woke_at);
        let is_waking = is_press && woke_at.is_some_and(|at| time.wrapping_sub(at) < WAKING_TIME);
        let is_refused = is_withheld || is_waking || (is_press && self.press_at(location, !is_held));
        let (target, under) = self.pen_target(id, location);
        let Some(tool) = self.input.tablets.tool_mut(id) else { return };
        tool.update(location, axes);
        let steps = match change {
            PenChange::Moved | PenChange::Out => tool.pen.moved(target),
            PenChange::Pressed(press) => tool.pen.pressed(press, target, !is_refused),
            PenChange::Released(press) => tool.pen.released(press, target),
        };
        self.apply_pen(id, steps, under, &axes, time);
        self.show_pen(id);
    }

    /// Returns the number of a tool, which is announced if it is new.
    fn tool_id(&mut self, tablet: &str, tool: &TabletToolDescriptor) -> Option<u64> {
        let used = self.input.tablets.used(tablet, tool)?;
        if let Some(forgotten) = used.forgotten {
            self.forget_tool(forgotten);
        }
        if used.is_new {
            let tool = self.input.tablets.tool(used.id)?;
            self.protocols.tablet.add_tool(&self.display_handle, tool);
        }
        Some(used.id)
    }

    fn tool_pen(&self, id: u64) -> Option<&Pen<WlSurface>> {
        self.input.tablets.tool(id).map(|tool| &tool.pen)
    }

    /// Returns the position of a tool in the layout. A tablet that is a display's surface, or is
    /// configured for a display, covers that; another one covers the whole layout.
    fn pen_location(
        &self,
        tablet: &str,
        position: impl Fn(Size<i32, Logical>) -> Point<f64, Logical>,
    ) -> Option<Point<f64, Logical>> {
        let tablet = self.input.tablets.get(tablet)?;
        if self.is_mapped(tablet) {
            let output = self.output_of_tablet(tablet)?;
            // A board that is not the display does not turn with it.
            if !tablet.is_direct && output.state().mirror.is_none() {
                let area = output.geometry();
                return Some(position(area.size) + area.loc.to_f64());
            }
            return layout_location(output, &self.outputs, position);
        }
        self.outputs.in_layout().first()?;
        Some(absolute_location(self.input.pointer().location(), &self.outputs, position))
    }

    /// Returns whether a tablet belongs to one display.
    pub(super) fn is_mapped(&self, tablet: &TabletInfo) -> bool {
        tablet.is_direct || tablet.output_name.is_some() || self.display_of(&tablet.sysname).is_some()
    }

    /// Returns what receives the events of a tool at a point, and the surface there.
    fn pen_target(&self, id: u64, point: Point<f64, Logical>) -> (Receiver<WlSurface>, Option<SurfaceAt>) {
        let Some((surface, origin)) = self.pointer_target(point) else { return (Receiver::Pointer, None) };
        if is_ending(&surface) {
            return (Receiver::None, None);
        }
        let tablet = self.input.tablets.tool(id).map(|tool| &*tool.tablet);
        let accepts = tablet.is_some_and(|tablet| self.protocols.tablet.accepts(&surface, id, tablet));
        let receiver = if accepts { Receiver::Surface(surface.clone()) } else { Receiver::Pointer };
        (receiver, Some((surface, origin)))
    }

    /// Sends the steps of a tool to its clients, or moves the pointer with it. What goes to one
    /// surface is one frame.
    fn apply_pen(
        &mut self,
        id: u64,
        steps: Vec<Step<WlSurface>>,
        under: Option<SurfaceAt>,
        changed: &PenAxes,
        time: u32,
    ) {
        let mut frame = false;
        let mut has_entered = false;
        // A press must not count at an old place: what comes with it is not withheld.
        let is_motion_only = steps.iter().all(|step| matches!(step, Step::Motion(_)));
        for step in steps {
            match step {
                Step::PointerMotion => {
                    let location = self.input.tablets.tool(id).and_then(|tool| tool.location);
                    if let Some(location) = location {
                        self.move_pointer(location, time, None);
                    }
                }
                Step::PointerPress(press) => self.pen_button(press, ButtonState::Pressed, time),
                Step::PointerRelease(press) => self.pen_button(press, ButtonState::Released, time),
                Step::Enter(surface) => {
                    self.end_pen_frame(id, frame, time);
                    has_entered = true;
                    self.enter_with_pen(id, &surface);
                    frame = true;
                }
                Step::Leave(_) => {
                    self.send_pen(id, |tool| tool.proximity_out());
                    self.end_pen_frame(id, true, time);
                    frame = false;
                }
                Step::Motion(surface) => {
                    let is_withheld = is_motion_only && !self.accepts_motion(&surface);
                    let Some(tool) = self.input.tablets.tool_mut(id) else { continue };
                    let sends_all = has_entered || tool.has_unsent;
                    tool.has_unsent = is_withheld;
                    if is_withheld {
                        continue;
                    }
                    if let Some((_, origin)) = under.as_ref().filter(|(under, _)| *under == surface) {
                        tool.origin = *origin;
                    }
                    // A surface that was just entered has not seen any value.
                    let axes =
                        if sends_all { PenAxes { wheel: changed.wheel, ..tool.axes } } else { *changed };
                    self.protocols.tablet.send_motion(tool, &axes);
                    frame = true;
                }
                Step::Press(surface, press) => {
                    let serial = SERIAL_COUNTER.next_serial();
                    self.note_press(serial, Some(&surface));
                    let serial = u32::from(serial);
                    self.send_pen(id, |tool| match press {
                        Press::Tip => tool.down(serial),
                        Press::Button(code) => {
                            tool.button(serial, code, zwp_tablet_tool_v2::ButtonState::Pressed);
                        }
                    });
                    frame = true;
                }
                Step::Release(_, press) => {
                    let serial = u32::from(SERIAL_COUNTER.next_serial());
                    self.send_pen(id, |tool| match press {
                        Press::Tip => tool.up(),
                        Press::Button(code) => {
                            tool.button(serial, code, zwp_tablet_tool_v2::ButtonState::Released);
                        }
                    });
                    frame = true;
                }
            }
        }
        self.end_pen_frame(id, frame, time);
    }

    fn enter_with_pen(&mut self, id: u64, surface: &WlSurface) {
        let Some(tool) = self.input.tablets.tool_mut(id) else { return };
        let serial = u32::from(SERIAL_COUNTER.next_serial());
        tool.entered = serial;
        tool.cursor = CursorImageStatus::default_named();
        tool.client = surface.client().map(|client| client.id());
        let Some(client) = &tool.client else { return };
        self.protocols.tablet.send(client, id, &tool.tablet, |tool, tablet| {
            tool.proximity_in(serial, tablet, surface);
        });
    }

    /// Sends something to the client that a tool is on.
    fn send_pen(&self, id: u64, send: impl Fn(&zwp_tablet_tool_v2::ZwpTabletToolV2)) {
        let Some(tool) = self.input.tablets.tool(id) else { return };
        let Some(client) = &tool.client else { return };
        self.protocols.tablet.send(client, id, &tool.tablet, |tool, _| send(tool));
    }

    fn end_pen_frame(&self, id: u64, has_events: bool, time: u32) {
        if has_events {
            self.send_pen(id, |tool| tool.frame(time));
        }
    }

    fn pen_button(&mut self, press: Press, state: ButtonState, time: u32) {
        if let Some(button) = press.pointer_button() {
            self.send_button(button, state, time);
        }
    }

    /// A tool left proximity, its display is off, or its tablet is gone.
    fn pen_out(&mut self, id: u64, time: u32) {
        let Some(tool) = self.input.tablets.tool_mut(id).filter(|tool| tool.location.is_some()) else {
            return;
        };
        for press in tool.pen.swallowed() {
            self.power.release(HeldInput::Pen(id, press.code()));
        }
        let steps = tool.pen.out();
        self.apply_pen(id, steps, None, &PenAxes::default(), time);
        if let Some(tool) = self.input.tablets.tool_mut(id) {
            (tool.location, tool.woke_at) = (None, None);
        }
        if self.input.pointer().tool().is_some_and(|tool| tool.id == id) {
            self.redraw_under_tool();
            self.input.pointer_mut().hide_tool();
            // The next cursor is that of the device that is used next.
            self.cursor_event(CursorEvent::Touched);
            self.redraw_under_pointer();
        }
    }

    /// All tools leave proximity: the session is paused.
    pub(super) fn release_pens(&mut self) {
        let time = self.now().as_millis() as u32;
        for id in self.tools_in_proximity() {
            self.pen_out(id, time);
        }
    }

    fn tools_in_proximity(&self) -> Vec<u64> {
        let tools = self.input.tablets.tools().iter();
        tools.filter(|tool| tool.location.is_some()).map(|tool| tool.id).collect()
    }

    /// Shows the cursor of a tool at its location, if it is in proximity.
    pub(super) fn show_pen(&mut self, id: u64) {
        let Some(tool) = self.input.tablets.tool(id) else { return };
        let Some(location) = tool.location else { return };
        // What moves the pointer shows its cursor.
        let status = tool.pen.surface().is_some().then(|| tool.cursor.clone());
        let now = self.iteration_start();
        let cursor = ToolCursor { id, location, status };
        let hidden = Some(CursorImageStatus::Hidden);
        let is_hidden = |shown: &ToolCursor| shown.status == hidden;
        if is_hidden(&cursor) && self.input.pointer().tool().is_some_and(is_hidden) {
            self.input.pointer_mut().show_tool(cursor, now);
            return;
        }
        self.redraw_under_tool();
        if self.input.pointer().tool().is_none() {
            // The pointer's own cursor is not shown meanwhile.
            self.redraw_moved_pointer();
        }
        self.input.pointer_mut().show_tool(cursor, now);
        self.redraw_under_tool();
    }

    /// Returns whether any tool is in proximity.
    pub(super) fn has_pens(&self) -> bool {
        self.input.tablets.tools().iter().any(|tool| tool.location.is_some())
    }

    /// Puts tools that lie still on what is under them now. Returns whether it is done.
    pub(super) fn settle_pens(&mut self) -> bool {
        let mut is_settled = true;
        for id in self.tools_in_proximity() {
            is_settled &= self.settle_pen(id);
        }
        is_settled
    }

    fn settle_pen(&mut self, id: u64) -> bool {
        let time = self.now().as_millis() as u32;
        let Some(tool) = self.input.tablets.tool_mut(id) else { return true };
        let Some(location) = tool.location else { return true };
        if let Some(surface) = tool.pen.surface().cloned() {
            // Its client may live on: these events name no surface.
            let is_gone = !surface.is_alive();
            if !is_gone && is_ending(&surface) {
                return false;
            }
            if is_gone || !self.shell.is_seen(&surface, &self.outputs) {
                let steps = tool.pen.hidden();
                self.apply_pen(id, steps, None, &PenAxes::default(), time);
            }
        }
        let Some(tool) = self.input.tablets.tool(id) else { return true };
        let tablet = self.input.tablets.get(&tool.tablet);
        let is_off =
            tablet.is_none_or(|tablet| self.is_mapped(tablet) && self.output_of_tablet(tablet).is_none());
        if is_off {
            self.pen_out(id, time);
            return true;
        }
        let (target, under) = self.pen_target(id, location);
        let Some(tool) = self.input.tablets.tool_mut(id) else { return true };
        let steps = tool.pen.refreshed(target);
        if !steps.is_empty() {
            self.apply_pen(id, steps, under, &PenAxes::default(), time);
            self.show_pen(id);
        }
        true
    }
}
