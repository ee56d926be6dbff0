//! libinput in the event loop, with the events that it has queued without being readable.
//!
//! libinput queues events about devices when it opens and closes them, at the start and at VT
//! switches, but its descriptor becomes readable with input from the kernel only. Smithay's source
//! waits for that: keyboards that were there at the start were unknown, and a lid that was closed
//! counted as open, until the first key.

use std::io;

use smithay::backend::input::InputEvent;
use smithay::backend::libinput::{LibinputInputBackend, PointerScrollAxis};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::ping::{make_ping, Ping};
use smithay::reexports::calloop::{Interest, LoopHandle, Mode, PostAction, RegistrationToken};
use smithay::reexports::input::event::gesture::{GestureHoldEvent, GesturePinchEvent, GestureSwipeEvent};
use smithay::reexports::input::event::{
    DeviceEvent, GestureEvent, KeyboardEvent, PointerEvent, SwitchEvent, TabletPadEvent, TabletToolEvent,
    TouchEvent,
};
use smithay::reexports::input::{event::EventTrait, Event, Libinput};
use tracing::{debug, warn};

/// An event of libinput.
#[derive(Debug)]
pub enum SeatInput {
    Event(InputEvent<LibinputInputBackend>),
    /// Of a tablet's pad, which Smithay does not have.
    Pad(TabletPadEvent),
}

/// Handles an event of libinput.
pub type OnInput<D> = fn(&mut D, SeatInput);

/// Passes libinput's events to `on_input`. The returned [`Ping`] has those handled that are queued
/// already; the tokens remove libinput from the event loop.
///
/// # Errors
///
/// If the event loop cannot watch libinput.
pub fn watch<D: 'static>(
    handle: &LoopHandle<'static, D>,
    libinput: &Libinput,
    on_input: OnInput<D>,
) -> io::Result<(Ping, Vec<RegistrationToken>)> {
    let failed = |error: smithay::reexports::calloop::Error| io::Error::other(error.to_string());
    let source = Generic::new(libinput.clone(), Interest::READ, Mode::Level);
    let inserted = handle.insert_source(source, move |_, libinput, data| {
        // Other references to the context stay valid: libinput is one object for all.
        dispatch(&mut (**libinput).clone(), on_input, data);
        Ok(PostAction::Continue)
    });
    let readable = inserted.map_err(|error| failed(error.error))?;
    let (ping, queued) = make_ping()?;
    let mut libinput = libinput.clone();
    let inserted = handle.insert_source(queued, move |(), (), data| dispatch(&mut libinput, on_input, data));
    Ok((ping, vec![readable, inserted.map_err(|error| failed(error.error))?]))
}

fn dispatch<D>(libinput: &mut Libinput, on_input: OnInput<D>, data: &mut D) {
    if let Err(error) = libinput.dispatch() {
        warn!(%error, "cannot read input devices");
    }
    for event in libinput.by_ref() {
        if let Some(event) = convert(event) {
            on_input(data, event);
        }
    }
}

/// Returns an event as Smithay has it, if it has; `None` for those that the service makes no use
/// of.
fn convert(event: Event) -> Option<SeatInput> {
    Some(SeatInput::Event(match event {
        Event::Device(DeviceEvent::Added(event)) => {
            let device = event.device();
            debug!(device = device.sysname(), "libinput opened a device");
            InputEvent::DeviceAdded { device }
        }
        Event::Device(DeviceEvent::Removed(event)) => {
            let device = event.device();
            debug!(device = device.sysname(), "libinput closed a device");
            InputEvent::DeviceRemoved { device }
        }
        Event::Keyboard(KeyboardEvent::Key(event)) => InputEvent::Keyboard { event },
        Event::Pointer(PointerEvent::Motion(event)) => InputEvent::PointerMotion { event },
        Event::Pointer(PointerEvent::MotionAbsolute(event)) => InputEvent::PointerMotionAbsolute { event },
        Event::Pointer(PointerEvent::Button(event)) => InputEvent::PointerButton { event },
        Event::Pointer(PointerEvent::ScrollWheel(event)) => {
            InputEvent::PointerAxis { event: PointerScrollAxis::Wheel(event) }
        }
        Event::Pointer(PointerEvent::ScrollFinger(event)) => {
            InputEvent::PointerAxis { event: PointerScrollAxis::Finger(event) }
        }
        Event::Pointer(PointerEvent::ScrollContinuous(event)) => {
            InputEvent::PointerAxis { event: PointerScrollAxis::Continuous(event) }
        }
        Event::Touch(TouchEvent::Down(event)) => InputEvent::TouchDown { event },
        Event::Touch(TouchEvent::Motion(event)) => InputEvent::TouchMotion { event },
        Event::Touch(TouchEvent::Up(event)) => InputEvent::TouchUp { event },
        Event::Touch(TouchEvent::Cancel(event)) => InputEvent::TouchCancel { event },
        Event::Touch(TouchEvent::Frame(event)) => InputEvent::TouchFrame { event },
        Event::Switch(SwitchEvent::Toggle(event)) => InputEvent::SwitchToggle { event },
        Event::Tablet(TabletToolEvent::Axis(event)) => InputEvent::TabletToolAxis { event },
        Event::Tablet(TabletToolEvent::Proximity(event)) => InputEvent::TabletToolProximity { event },
        Event::Tablet(TabletToolEvent::Tip(event)) => InputEvent::TabletToolTip { event },
        Event::Tablet(TabletToolEvent::Button(event)) => InputEvent::TabletToolButton { event },
        Event::TabletPad(event) => return Some(SeatInput::Pad(event)),
        Event::Gesture(event) => gesture(event)?,
        _ => return None,
    }))
}

fn gesture(event: GestureEvent) -> Option<InputEvent<LibinputInputBackend>> {
    Some(match event {
        GestureEvent::Swipe(GestureSwipeEvent::Begin(event)) => InputEvent::GestureSwipeBegin { event },
        GestureEvent::Swipe(GestureSwipeEvent::Update(event)) => InputEvent::GestureSwipeUpdate { event },
        GestureEvent::Swipe(GestureSwipeEvent::End(event)) => InputEvent::GestureSwipeEnd { event },
        GestureEvent::Pinch(GesturePinchEvent::Begin(event)) => InputEvent::GesturePinchBegin { event },
        GestureEvent::Pinch(GesturePinchEvent::Update(event)) => InputEvent::GesturePinchUpdate { event },
        GestureEvent::Pinch(GesturePinchEvent::End(event)) => InputEvent::GesturePinchEnd { event },
        GestureEvent::Hold(GestureHoldEvent::Begin(event)) => InputEvent::GestureHoldBegin { event },
        GestureEvent::Hold(GestureHoldEvent::End(event)) => InputEvent::GestureHoldEnd { event },
        _ => return None,
    })
}
