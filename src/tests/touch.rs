//! Fingers on several touch devices, and what clients receive of them.

use smithay::reexports::input::DeviceCapability::{Pointer, Touch};

use super::focus::{shown, until_both, FIRST, GREEN, ON_FIRST, ON_SECOND, RED, SECOND};
use super::{until, Fixture, TestClient};

/// The touch devices of the displays of [`Fixture::pair`].
const DEVICES: [&str; 2] = ["event2", "event3"];
/// linux/input-event-codes.h.
const BTN_RIGHT: u32 = 0x111;
const BLUE: u32 = 0x0000_00ff;

fn with_touch_screens(config: &str) -> (Fixture, TestClient, TestClient) {
    let mut fixture = Fixture::new(&format!("{config}\n[headless]\ndisplays = [\"800x600\", \"640x480\"]\n"));
    for device in DEVICES {
        fixture.plug_device(device, Touch);
    }
    let first = shown(&mut fixture, "first", RED, FIRST);
    let second = shown(&mut fixture, "second", GREEN, SECOND);
    (fixture, first, second)
}

/// Puts a finger onto each display, and waits until both clients know.
fn touch_both(fixture: &mut Fixture, first: &mut TestClient, second: &mut TestClient) {
    for (device, (x, y)) in DEVICES.into_iter().zip([ON_FIRST, ON_SECOND]) {
        fixture.finger_down(device, 0, x, y);
        fixture.touch_frame();
    }
    until_both(fixture, [first, second], "a touch on each display", |_, first, second| {
        first.devices.fingers.len() == 1 && second.devices.fingers.len() == 1
    });
}

#[test]
fn finger_on_one_display_leaves_those_on_others() {
    let (mut fixture, mut first, mut second) = with_touch_screens("");
    touch_both(&mut fixture, &mut first, &mut second);
    for (device, (x, y)) in DEVICES.into_iter().zip([ON_FIRST, ON_SECOND]).rev() {
        fixture.finger_moved(device, 0, x + 5.0, y);
        fixture.touch_frame();
    }
    until_both(&mut fixture, [&mut first, &mut second], "both motions", |_, first, second| {
        first.devices.finger_motions == 1 && second.devices.finger_motions == 1
    });
    fixture.finger_up(DEVICES[0], 0);
    fixture.touch_frame();
    until_both(&mut fixture, [&mut first, &mut second], "a lift", |_, first, second| {
        first.devices.fingers.is_empty() && second.devices.fingers.len() == 1
    });
    assert_eq!((first.devices.touch_cancels, second.devices.touch_cancels), (0, 0));
}

/// Its fingers would stay down for ever. The kernel has reported them in frames before.
#[test]
fn fingers_of_a_device_that_is_unplugged_are_cancelled() {
    let (mut fixture, mut first, mut second) = with_touch_screens("");
    touch_both(&mut fixture, &mut first, &mut second);
    fixture.compositor.state.device_removed(DEVICES[1]);
    until(&mut fixture, &mut second, "the cancel", |_, second| second.devices.touch_cancels == 1);
    assert!(second.devices.fingers.is_empty());
    first.poll();
    assert_eq!((first.devices.touch_cancels, first.devices.fingers.len()), (0, 1));
    fixture.compositor.state.device_removed(DEVICES[0]);
    until(&mut fixture, &mut first, "the cancel", |_, first| first.devices.touch_cancels == 1);
    until_both(&mut fixture, [&mut first, &mut second], "no touch devices", |_, first, second| {
        !first.devices.has_touch() && !second.devices.has_touch()
    });
    // They are plugged in again.
    for device in DEVICES {
        fixture.plug_device(device, Touch);
    }
    until_both(&mut fixture, [&mut first, &mut second], "touch devices", |_, first, second| {
        first.devices.has_touch() && second.devices.has_touch()
    });
    // The compositor knows of their touch objects once it shows what they commit after that.
    for (client, size) in [(&mut first, (800, 600)), (&mut second, (640, 480))] {
        client.set_color(0, BLUE);
        client.change(0, size);
    }
    until_both(&mut fixture, [&mut first, &mut second], "blue windows", |fixture, _, _| {
        [FIRST, SECOND].iter().all(|display| fixture.middle(display) == BLUE)
    });
    touch_both(&mut fixture, &mut first, &mut second);
}

#[test]
fn palm_is_cancelled_for_its_client_only() {
    let (mut fixture, mut first, mut second) = with_touch_screens("");
    touch_both(&mut fixture, &mut first, &mut second);
    fixture.compositor.state.finger_cancelled(DEVICES[0], Some(0).into(), 1);
    until(&mut fixture, &mut first, "the cancel", |_, first| first.devices.touch_cancels == 1);
    second.poll();
    assert_eq!((second.devices.touch_cancels, second.devices.fingers.len()), (0, 1));
    // The next finger with that number is a new one.
    fixture.finger_down(DEVICES[0], 0, ON_FIRST.0, ON_FIRST.1);
    until(&mut fixture, &mut first, "the touch", |_, first| first.devices.fingers.len() == 1);
}

#[test]
fn finger_that_rests_is_a_right_click() {
    let (mut fixture, mut first, mut second) = with_touch_screens("[touch]\nlong_press = 0.05\n");
    fixture.finger_down(DEVICES[1], 0, ON_SECOND.0, ON_SECOND.1);
    until(&mut fixture, &mut second, "the right button", |_, second| {
        second.devices.buttons == [(BTN_RIGHT, true)]
    });
    assert_eq!((second.devices.touch_cancels, second.devices.fingers.len()), (1, 0));
    assert_eq!(second.devices.pointer_at, (ON_SECOND.0 - 800.0, ON_SECOND.1));
    // It is no touch any more.
    fixture.finger_moved(DEVICES[1], 0, ON_SECOND.0 + 50.0, ON_SECOND.1);
    fixture.finger_up(DEVICES[1], 0);
    until(&mut fixture, &mut second, "the release", |_, second| {
        second.devices.buttons == [(BTN_RIGHT, true), (BTN_RIGHT, false)]
    });
    assert_eq!(second.devices.finger_motions, 0);
    // Without a mouse, the pointer does not stay there.
    until(&mut fixture, &mut second, "its leave", |_, second| second.devices.pointer_on.is_none());
    // A finger that is lifted before is a touch.
    fixture.tap(ON_FIRST.0, ON_FIRST.1);
    until(&mut fixture, &mut first, "the touch", |_, first| first.devices.touched.len() == 1);
    assert_eq!(fixture.compositor.state.input.long_press.due(std::time::Duration::MAX), None);
}

/// Without it, there is no pointer for the click.
#[test]
fn long_press_gives_the_seat_a_pointer() {
    let (mut fixture, mut first, _second) = with_touch_screens("");
    until(&mut fixture, &mut first, "a touch device", |_, first| first.devices.has_touch());
    assert!(!first.devices.has_pointer());
    std::fs::write(fixture.config_path(), "[touch]\nlong_press = 0.5\n").expect("the configuration");
    fixture.compositor.state.reload();
    until(&mut fixture, &mut first, "a pointer", |_, first| first.devices.has_pointer());
    fixture.plug_device("event4", Pointer);
    std::fs::write(fixture.config_path(), "").expect("the configuration");
    fixture.compositor.state.reload();
    fixture.compositor.state.device_removed("event4");
    until(&mut fixture, &mut first, "no pointer", |_, first| !first.devices.has_pointer());
}

/// A touch that unblanks displays and is a palm: the next finger of its number was dead.
#[test]
fn finger_is_not_withheld_after_a_cancelled_one_that_was() {
    let (mut fixture, mut first, _second) = with_touch_screens("[power]\npower_button = \"blank\"\n");
    fixture.compositor.state.power_button();
    fixture.finger_down(DEVICES[0], 0, ON_FIRST.0, ON_FIRST.1);
    fixture.compositor.state.finger_cancelled(DEVICES[0], Some(0).into(), 1);
    fixture.tap(ON_FIRST.0, ON_FIRST.1);
    until(&mut fixture, &mut first, "the touch", |_, first| first.devices.touched.len() == 1);
}
