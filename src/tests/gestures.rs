//! Gestures of touchpads (pointer-gestures).

use smithay::reexports::input::DeviceCapability::Pointer;
use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::{Connection, Dispatch, QueueHandle};
use wayland_protocols::wp::pointer_gestures::zv1::client::zwp_pointer_gesture_hold_v1::{
    self, ZwpPointerGestureHoldV1,
};
use wayland_protocols::wp::pointer_gestures::zv1::client::zwp_pointer_gesture_pinch_v1::{
    self, ZwpPointerGesturePinchV1,
};
use wayland_protocols::wp::pointer_gestures::zv1::client::zwp_pointer_gesture_swipe_v1::{
    self, ZwpPointerGestureSwipeV1,
};
use wayland_protocols::wp::pointer_gestures::zv1::client::zwp_pointer_gestures_v1::ZwpPointerGesturesV1;

use super::client::{TestClient, TestState};
use super::{until, Fixture};
use crate::compositor::gestures::{Gesture, GestureKind};

const RED: u32 = 0x00ff_0000;
const GREEN: u32 = 0x0000_ff00;

/// The client's manager, and what has arrived.
#[derive(Default)]
pub struct Gestures {
    manager: Option<ZwpPointerGesturesV1>,
    pub events: Vec<String>,
}

impl Gestures {
    pub fn bind(&mut self, registry: &WlRegistry, name: u32, queue: &QueueHandle<TestState>) {
        self.manager = Some(registry.bind(name, 3, queue, ()));
    }
}

impl TestClient {
    /// Asks for all gestures.
    fn watch_gestures(&self) {
        let manager = self.gestures.manager.as_ref().expect("zwp_pointer_gestures_v1");
        let (pointer, queue) = (self.devices.pointer.as_ref().expect("a pointer"), self.handle());
        manager.get_swipe_gesture(pointer, &queue, ());
        manager.get_pinch_gesture(pointer, &queue, ());
        manager.get_hold_gesture(pointer, &queue, ());
    }
}

wayland_client::delegate_noop!(TestState: ignore ZwpPointerGesturesV1);

/// Implements the dispatch of a gesture, whose events are kept as text.
macro_rules! gesture {
    ($interface:ty, $events:ident, $name:literal $(, $update:pat => $text:expr)?) => {
        impl Dispatch<$interface, ()> for TestState {
            fn event(
                state: &mut Self,
                _: &$interface,
                event: $events::Event,
                (): &(),
                _: &Connection,
                _: &QueueHandle<Self>,
            ) {
                let text = match event {
                    $events::Event::Begin { fingers, .. } => format!("{} of {fingers}", $name),
                    $($update => $text,)?
                    $events::Event::End { cancelled, .. } => format!("end {cancelled}"),
                    _ => return,
                };
                state.gestures.events.push(text);
            }
        }
    };
}

gesture!(
    ZwpPointerGestureSwipeV1, zwp_pointer_gesture_swipe_v1, "swipe",
    zwp_pointer_gesture_swipe_v1::Event::Update { dx, dy, .. } => format!("by {dx} {dy}")
);
gesture!(
    ZwpPointerGesturePinchV1, zwp_pointer_gesture_pinch_v1, "pinch",
    zwp_pointer_gesture_pinch_v1::Event::Update { scale, rotation, .. } => format!("to {scale} {rotation}")
);
gesture!(ZwpPointerGestureHoldV1, zwp_pointer_gesture_hold_v1, "hold");

/// A window that has the pointer and asks for gestures.
fn with_gestures(fixture: &mut Fixture) -> TestClient {
    fixture.plug_device("event1", Pointer);
    fixture.point(400.0, 300.0);
    let mut client = fixture.client();
    client.open("app", RED, None);
    until(fixture, &mut client, "the pointer", |_, client| client.devices.pointer_on.is_some());
    client.watch_gestures();
    client.poll();
    fixture.iterate();
    client
}

fn begin(fixture: &mut Fixture, kind: GestureKind, fingers: u32) {
    fixture.compositor.state.gesture(Gesture::Begin { kind, fingers }, 1);
}

fn end(fixture: &mut Fixture, kind: GestureKind, cancelled: bool) {
    fixture.compositor.state.gesture(Gesture::End { kind, cancelled }, 1);
}

#[test]
fn gestures_reach_the_surface_under_the_pointer() {
    let mut fixture = Fixture::new("[headless]\ndisplays = [\"800x600\"]\n");
    let mut client = with_gestures(&mut fixture);
    begin(&mut fixture, GestureKind::Swipe, 3);
    fixture.compositor.state.gesture(Gesture::Swipe { delta: (5.0, -2.0).into() }, 1);
    end(&mut fixture, GestureKind::Swipe, false);
    begin(&mut fixture, GestureKind::Pinch, 2);
    let pinch = Gesture::Pinch { delta: (0.0, 0.0).into(), scale: 1.5, rotation: 10.0 };
    fixture.compositor.state.gesture(pinch, 1);
    end(&mut fixture, GestureKind::Pinch, true);
    begin(&mut fixture, GestureKind::Hold, 4);
    end(&mut fixture, GestureKind::Hold, false);
    let expected =
        ["swipe of 3", "by 5 -2", "end 0", "pinch of 2", "to 1.5 10", "end 1", "hold of 4", "end 0"];
    until(&mut fixture, &mut client, "gestures", |_, client| client.gestures.events.len() >= expected.len());
    assert_eq!(client.gestures.events, expected);
}

/// The window that opens under the pointer gets no rest of a gesture that began on another one.
#[test]
fn gesture_is_cancelled_when_the_pointer_leaves_its_surface() {
    let mut fixture = Fixture::new("[headless]\ndisplays = [\"800x600\"]\n");
    let mut client = with_gestures(&mut fixture);
    begin(&mut fixture, GestureKind::Swipe, 3);
    let mut above = fixture.client();
    above.open("above", GREEN, None);
    fixture.until("the other window", |_| {
        client.poll();
        above.poll();
        above.devices.pointer_on.is_some()
    });
    above.watch_gestures();
    above.poll();
    fixture.compositor.state.gesture(Gesture::Swipe { delta: (5.0, -2.0).into() }, 1);
    end(&mut fixture, GestureKind::Swipe, false);
    until(&mut fixture, &mut client, "the end", |_, client| client.gestures.events.len() == 2);
    assert_eq!(client.gestures.events, ["swipe of 3", "end 1"]);
    fixture.iterate();
    above.poll();
    assert!(above.gestures.events.is_empty(), "{:?}", above.gestures.events);
}

#[test]
fn gesture_that_wakes_displays_does_nothing_else() {
    let mut fixture =
        Fixture::new("[headless]\ndisplays = [\"800x600\"]\n[power]\npower_button = \"blank\"\n");
    let mut client = with_gestures(&mut fixture);
    fixture.compositor.state.power_button();
    // A hold that the same fingers go on with as a swipe.
    begin(&mut fixture, GestureKind::Hold, 3);
    end(&mut fixture, GestureKind::Hold, true);
    begin(&mut fixture, GestureKind::Swipe, 3);
    end(&mut fixture, GestureKind::Swipe, false);
    assert!(fixture.compositor.state.outputs.iter().all(|output| !output.state().blanked));
    let later = Gesture::Begin { kind: GestureKind::Hold, fingers: 3 };
    fixture.compositor.state.gesture(later, 1000);
    until(&mut fixture, &mut client, "the second one", |_, client| !client.gestures.events.is_empty());
    assert_eq!(client.gestures.events, ["hold of 3"]);
}

#[test]
fn client_has_a_bounded_number_of_gesture_objects() {
    let mut fixture = Fixture::new("[headless]\ndisplays = [\"800x600\"]\n[clients.objects]\ngestures = 6\n");
    let mut client = with_gestures(&mut fixture);
    client.watch_gestures();
    client.poll();
    fixture.iterate();
    assert!(client.poll());
    client.watch_gestures();
    client.poll();
    fixture.until("the end", |_| !client.poll());
}
