//! Pens and pads of graphics tablets, end to end, with clients that have tablet-v2 and clients that
//! have not.

use std::time::Duration;

use smithay::backend::input::{TabletToolCapabilities, TabletToolDescriptor, TabletToolType};
use smithay::reexports::input::DeviceCapability::{Keyboard, TabletTool};

use super::{until, Fixture, TestClient};
use crate::compositor::handlers::tablet::PadUpdate;
use crate::compositor::pens::{PenChange, PenEvent};
use crate::input::pen::Press;
use crate::input::tablets::{Pad, PadGroup, PenAxes, TabletInfo};

const RED: u32 = 0x00ff_0000;
const GREEN: u32 = 0x0000_ff00;
const BTN_STYLUS: u32 = 0x14b;
const TABLET: &str = "event7";

fn pen() -> TabletToolDescriptor {
    TabletToolDescriptor {
        tool_type: TabletToolType::Pen,
        hardware_serial: 0x1234_5678_9abc_def0,
        hardware_id_wacom: 0x802,
        capabilities: TabletToolCapabilities::PRESSURE | TabletToolCapabilities::TILT,
    }
}

impl Fixture {
    /// Plugs in a tablet that is no display's surface.
    fn plug_tablet(&mut self) {
        self.compositor.state.add_tablet(TabletInfo {
            sysname: TABLET.into(),
            name: "tablet".into(),
            vendor: 0x56a,
            product: 0x357,
            ..TabletInfo::default()
        });
        self.plug_device(TABLET, TabletTool);
    }

    fn unplug_tablet(&mut self) {
        self.compositor.state.remove_tablet(TABLET);
        self.compositor.state.device_removed(TABLET);
    }

    fn pen(&mut self, change: PenChange, at: (f64, f64)) {
        self.pen_with(change, at, PenAxes::default());
    }

    fn pen_with(&mut self, change: PenChange, at: (f64, f64), axes: PenAxes) {
        let event = PenEvent { change, location: Some(at.into()), axes, time: 1 };
        self.compositor.state.pen(TABLET, &pen(), event);
    }

    fn tap_with_pen(&mut self, at: (f64, f64)) {
        self.pen(PenChange::Pressed(Press::Tip), at);
        self.pen(PenChange::Released(Press::Tip), at);
    }
}

/// Opens a window on a display of [`Fixture::pair`] and waits until it is seen.
fn shown(fixture: &mut Fixture, app_id: &str, color: u32, display: &str) -> TestClient {
    let mut client = fixture.client();
    fixture.until("displays", |_| client.poll() && client.has_outputs(2));
    client.open(app_id, color, Some(display));
    fixture.until("a window", |_| {
        client.poll();
        client.presented > 0 && client.windows()[0].outputs == [display]
    });
    client
}

/// A window of a client with tablet-v2, and what it was sent about the tablet.
fn with_tablets(fixture: &mut Fixture) -> TestClient {
    let mut client = shown(fixture, "paint", RED, "HEADLESS-1");
    client.bind_tablets();
    until(fixture, &mut client, "the tablet", |_, client| {
        client.tablets.tablets.iter().any(|(_, name)| name == "tablet")
    });
    client
}

fn until_events(fixture: &mut Fixture, client: &mut TestClient, expected: &[&str]) {
    let mut seen = Vec::new();
    for _ in 0..100 {
        client.poll();
        seen.extend(client.tablets.take_tool_events());
        if seen.len() >= expected.len() {
            break;
        }
        fixture.iterate();
    }
    assert_eq!(seen, expected);
}

#[test]
fn pen_is_described_and_its_events_come_in_frames() {
    let mut fixture = Fixture::pair();
    fixture.plug_tablet();
    let mut client = with_tablets(&mut fixture);
    let axes = PenAxes { pressure: Some(0.0), tilt: Some((10.0, -5.5)), ..PenAxes::default() };
    fixture.pen_with(PenChange::Moved, (100.0, 200.0), axes);
    let described = ["type Pen", "serial 12345678 9abcdef0", "id 0 802", "Tilt", "Pressure", "done"];
    let entered = ["in", "motion 100 200", "pressure 0", "tilt 10 -5.5", "frame"];
    until_events(&mut fixture, &mut client, &[&described[..], &entered].concat());
    // Position, pressure and tip of one report are one frame.
    let axes = PenAxes { pressure: Some(0.5), ..PenAxes::default() };
    fixture.pen_with(PenChange::Pressed(Press::Tip), (101.0, 201.0), axes);
    until_events(&mut fixture, &mut client, &["motion 101 201", "pressure 32768", "down", "frame"]);
    let axes = PenAxes { rotation: Some(90.0), slider: Some(-1.0), ..PenAxes::default() };
    fixture.pen_with(PenChange::Pressed(Press::Button(BTN_STYLUS)), (102.0, 202.0), axes);
    let pressed = ["motion 102 202", "rotation 90", "slider -65535", "button 14b 1", "frame"];
    until_events(&mut fixture, &mut client, &pressed);
    let axes = PenAxes { wheel: Some((15.0, 1)), distance: Some(1.0), ..PenAxes::default() };
    fixture.pen_with(PenChange::Released(Press::Button(BTN_STYLUS)), (102.0, 202.0), axes);
    let released = ["motion 102 202", "distance 65535", "wheel 15 1", "button 14b 0", "frame"];
    until_events(&mut fixture, &mut client, &released);
    // Out of proximity with the tip down, as when the tablet is unplugged.
    fixture.unplug_tablet();
    until_events(&mut fixture, &mut client, &["up", "out", "frame", "removed"]);
    until(&mut fixture, &mut client, "no tablet", |_, client| client.tablets.tablets.is_empty());
    assert!(client.devices.pressed.is_empty(), "the pointer has not moved: {:?}", client.devices.pressed);
}

/// A finger, a mouse and a pen press alike: the window gets the keyboard.
#[test]
fn pen_gives_the_keyboard_to_what_it_touches() {
    let mut fixture = Fixture::pair();
    fixture.plug_tablet();
    let mut other = shown(&mut fixture, "other", GREEN, "HEADLESS-2");
    let mut client = with_tablets(&mut fixture);
    let focus = |fixture: &Fixture| fixture.compositor.state.focused_window;
    let windows: Vec<u64> = fixture.compositor.state.shell.windows().iter().map(|window| window.id).collect();
    fixture.tap_with_pen((1000.0, 100.0));
    fixture.until("the second display's window", |fixture| {
        other.poll();
        client.poll();
        focus(fixture) == Some(windows[0])
    });
    fixture.tap_with_pen((100.0, 100.0));
    fixture.until("the first display's window", |fixture| {
        other.poll();
        client.poll();
        focus(fixture) == Some(windows[1]) && client.tablets.touched.len() == 1
    });
    // The second one has no tablet-v2.
    assert_eq!(other.devices.pressed.len(), 1);
    assert!(client.tablets.take_tool_events().contains(&"down".to_owned()));
}

#[test]
fn pen_is_a_mouse_for_programs_without_tablets() {
    let mut fixture = Fixture::pair();
    fixture.plug_tablet();
    let mut client = shown(&mut fixture, "app", RED, "HEADLESS-1");
    fixture.pen(PenChange::Moved, (300.0, 200.0));
    until(&mut fixture, &mut client, "the pointer", |_, client| client.devices.pointer_at == (300.0, 200.0));
    assert!(fixture.cursor().is_some(), "while it is near");
    fixture.pen(PenChange::Pressed(Press::Tip), (301.0, 201.0));
    fixture.pen(PenChange::Pressed(Press::Button(BTN_STYLUS)), (301.0, 201.0));
    until(&mut fixture, &mut client, "two buttons", |_, client| client.devices.pressed.len() == 2);
    assert_eq!(client.devices.pointer_at, (301.0, 201.0));
    // Dragged off the window: the press stays there.
    fixture.pen(PenChange::Moved, (900.0, 201.0));
    until(&mut fixture, &mut client, "motion", |_, client| client.devices.pointer_at == (900.0, 201.0));
    fixture.pen(PenChange::Out, (900.0, 201.0));
    let state = &fixture.compositor.state;
    assert!(state.seat.get_pointer().is_some_and(|pointer| !pointer.is_grabbed()), "no button is held");
    assert_eq!(fixture.cursor(), None);
    // The device is the only pointing device.
    fixture.unplug_tablet();
    assert!(fixture.compositor.state.seat.get_pointer().is_none());
}

#[test]
fn pen_goes_from_a_program_with_tablets_to_one_without() {
    let mut fixture = Fixture::pair();
    fixture.plug_tablet();
    let mut other = shown(&mut fixture, "other", GREEN, "HEADLESS-2");
    let mut client = with_tablets(&mut fixture);
    fixture.pen(PenChange::Moved, (100.0, 100.0));
    until(&mut fixture, &mut client, "the pen", |_, client| client.tablets.tool_on.is_some());
    fixture.pen(PenChange::Moved, (1000.0, 100.0));
    fixture.until("the pointer", |_| {
        client.poll();
        other.poll();
        client.tablets.tool_on.is_none() && other.devices.pointer_at == (200.0, 100.0)
    });
    // What closes under a still pen is left.
    fixture.pen(PenChange::Moved, (100.0, 100.0));
    until(&mut fixture, &mut client, "the pen", |_, client| client.tablets.tool_on.is_some());
    client.close(0);
    // Its client is sent that, although the surface is gone.
    until(&mut fixture, &mut client, "its leave", |_, client| client.tablets.tool_on.is_none());
    // A client that binds tablet-v2 later gets the pen that is over it.
    other.bind_tablets();
    fixture.pen(PenChange::Moved, (1000.0, 100.0));
    until(&mut fixture, &mut other, "the pen", |_, other| other.tablets.tool_on.is_some());
}

#[test]
fn menu_that_a_pen_opens_is_closed_by_a_press_elsewhere() {
    let mut fixture = Fixture::pair();
    fixture.plug_tablet();
    let mut other = shown(&mut fixture, "other", GREEN, "HEADLESS-2");
    let mut client = with_tablets(&mut fixture);
    fixture.tap_with_pen((700.0, 500.0));
    until(&mut fixture, &mut client, "the press", |_, client| client.tablets.touched.len() == 1);
    let serial = client.tablets.touched[0];
    client.menu(0, (10, 10), serial);
    until(&mut fixture, &mut client, "a menu", |_, client| client.menus[0].configured);
    assert!(!client.menus[0].done, "the press of a pen may open one");
    fixture.tap_with_pen((1300.0, 400.0));
    fixture.until("no menu", |_| {
        other.poll();
        client.poll();
        client.menus[0].done
    });
}

#[test]
fn pen_that_wakes_displays_presses_nothing() {
    let displays = "[headless]\ndisplays = [\"800x600\", \"640x480\"]\n";
    let mut fixture = Fixture::new(&format!("{displays}[power]\npower_button = \"blank\"\n"));
    fixture.plug_tablet();
    let mut client = with_tablets(&mut fixture);
    fixture.compositor.state.power_button();
    let is_blanked =
        |fixture: &Fixture| fixture.compositor.state.outputs.iter().any(|output| output.state().blanked);
    assert!(is_blanked(&fixture));
    // libinput reports that a pen is near before it touches.
    fixture.pen(PenChange::Moved, (100.0, 100.0));
    fixture.tap_with_pen((100.0, 100.0));
    fixture.until("the displays", |fixture| !is_blanked(fixture));
    fixture.pen(PenChange::Out, (100.0, 100.0));
    fixture.tap_with_pen((100.0, 100.0));
    until(&mut fixture, &mut client, "the second press", |_, client| !client.tablets.touched.is_empty());
    assert_eq!(client.tablets.touched.len(), 1);
}

/// libwayland destroys the objects of a client that ends one by one.
#[test]
fn client_that_ends_under_a_pen_is_left() {
    let mut fixture = Fixture::pair();
    fixture.plug_tablet();
    let mut other = shown(&mut fixture, "other", GREEN, "HEADLESS-2");
    for _ in 0..3 {
        let mut client = with_tablets(&mut fixture);
        fixture.pen(PenChange::Pressed(Press::Tip), (100.0, 100.0));
        until(&mut fixture, &mut client, "the pen", |_, client| client.tablets.tool_on.is_some());
        drop(client);
        // Events that come before and after the service notices.
        fixture.pen(PenChange::Moved, (101.0, 100.0));
        fixture.compositor.state.dispatch_wayland();
        fixture.pen(PenChange::Moved, (102.0, 100.0));
        fixture.until("its end", |fixture| fixture.compositor.state.shell.windows().len() == 1);
        fixture.pen(PenChange::Released(Press::Tip), (103.0, 100.0));
        fixture.pen(PenChange::Out, (103.0, 100.0));
    }
    fixture.tap_with_pen((1000.0, 100.0));
    until(&mut fixture, &mut other, "a press", |_, other| other.devices.pressed.len() == 1);
}

/// Its display is off, or the session is paused.
#[test]
fn pen_of_a_display_that_is_off_is_out_of_proximity() {
    let displays = "[headless]\ndisplays = [\"800x600\", \"640x480\"]\n";
    let mut fixture =
        Fixture::new(&format!("{displays}[[input]]\nname = \"{TABLET}\"\ndisplay = \"HEADLESS-1\"\n"));
    fixture.plug_tablet();
    let mut client = with_tablets(&mut fixture);
    let enter = |fixture: &mut Fixture, client: &mut TestClient| {
        fixture.pen(PenChange::Pressed(Press::Tip), (100.0, 100.0));
        until(fixture, client, "the pen", |_, client| client.tablets.tool_on.is_some());
    };
    enter(&mut fixture, &mut client);
    fixture.compositor.state.pause_all();
    until(&mut fixture, &mut client, "its leave", |_, client| client.tablets.tool_on.is_none());
    enter(&mut fixture, &mut client);
    fixture.plug("HEADLESS-1", false);
    until(&mut fixture, &mut client, "its leave", |_, client| client.tablets.tool_on.is_none());
    let events = client.tablets.take_tool_events();
    assert_eq!(events.iter().filter(|event| *event == "up").count(), 2, "{events:?}");
    // An event without a location is one of a display that is off.
    let event = PenEvent {
        change: PenChange::Pressed(Press::Tip),
        location: None,
        axes: PenAxes::default(),
        time: 1,
    };
    fixture.compositor.state.pen(TABLET, &pen(), event);
    fixture.iterate();
    client.poll();
    assert!(client.tablets.take_tool_events().is_empty());
}

#[test]
fn client_sets_the_cursor_of_the_pen_that_is_on_it() {
    let mut fixture = Fixture::pair();
    fixture.plug_tablet();
    let mut client = with_tablets(&mut fixture);
    fixture.pen(PenChange::Moved, (100.0, 100.0));
    until(&mut fixture, &mut client, "the pen", |_, client| client.tablets.tool_on.is_some());
    assert!(fixture.cursor().is_some(), "the theme's");
    let set = |client: &TestClient, serial: u32| {
        client.tablets.tools[0].set_cursor(serial, None, 0, 0);
    };
    let serial = client.tablets.tool_on.as_ref().expect("entered").1;
    set(&client, serial.wrapping_sub(1));
    client.poll();
    fixture.run_for(Duration::from_millis(50));
    assert!(fixture.cursor().is_some(), "of another entry");
    set(&client, serial);
    client.poll();
    fixture.until("no cursor", |fixture| fixture.cursor().is_none());
    let surface = client.surface();
    client.show(&surface, (16, 16), GREEN);
    client.tablets.tools[0].set_cursor(serial, Some(&surface), 8, 8);
    client.poll();
    fixture.until("the client's cursor", |fixture| fixture.cursor() == Some((92, 92)));
    // It is the tool's while it is near.
    fixture.pen(PenChange::Out, (100.0, 100.0));
    assert_eq!(fixture.cursor(), None);
    fixture.pen(PenChange::Moved, (200.0, 100.0));
    assert!(fixture.cursor().is_some_and(|at| at != (192, 92)), "set again at each entry");
}

#[test]
fn each_object_of_a_client_gets_the_events() {
    let mut fixture = Fixture::pair();
    fixture.plug_tablet();
    let mut client = with_tablets(&mut fixture);
    let second = client.tablet_seat();
    until(&mut fixture, &mut client, "a second tablet", |_, client| client.tablets.tablets.len() == 2);
    fixture.pen(PenChange::Moved, (100.0, 100.0));
    until(&mut fixture, &mut client, "both", |_, client| {
        client.tablets.tool_events.iter().filter(|event| *event == "in").count() == 2
    });
    // The objects outlive that of the seat.
    second.destroy();
    client.tablets.take_tool_events();
    client.poll();
    fixture.iterate();
    fixture.pen(PenChange::Out, (100.0, 100.0));
    until(&mut fixture, &mut client, "both", |_, client| {
        client.tablets.tool_events.iter().filter(|event| *event == "out").count() == 2
    });
    for tool in std::mem::take(&mut client.tablets.tools) {
        tool.destroy();
    }
    client.poll();
    fixture.iterate();
    fixture.pen(PenChange::Moved, (100.0, 100.0));
    until(&mut fixture, &mut client, "the pointer", |_, client| client.devices.pointer_at == (100.0, 100.0));
    assert!(!client.disconnected);
}

#[test]
fn pad_follows_the_keyboard() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event1", Keyboard);
    // The pad comes before its tablet.
    let group = PadGroup { modes: 2, mode: 0, buttons: vec![0, 1], rings: vec![0], strips: vec![0] };
    fixture.compositor.state.add_pad(Pad {
        sysname: "event8".into(),
        buttons: 2,
        groups: vec![group],
        group: 0,
    });
    fixture.plug_tablet();
    let mut client = with_tablets(&mut fixture);
    let described = ["buttons 2", "group of 2", "modes 2", "done", "enter", "mode 0"];
    until(&mut fixture, &mut client, "the pad", |_, client| client.tablets.pad_events.len() >= 6);
    let mut events = client.tablets.pad_events.clone();
    events.sort_unstable();
    let mut expected = described.map(str::to_owned).to_vec();
    expected.sort_unstable();
    assert_eq!(events, expected);
    client.tablets.pad_events.clear();
    let state = &mut fixture.compositor.state;
    state.pad("event8", PadUpdate::Button { number: 1, is_pressed: true }, (0, 0), 1);
    state.pad("event8", PadUpdate::Button { number: 1, is_pressed: false }, (0, 1), 1);
    state.pad("event8", PadUpdate::Ring { number: 0, degrees: Some(90.0), is_finger: true }, (0, 1), 1);
    state.pad("event8", PadUpdate::Ring { number: 0, degrees: None, is_finger: true }, (0, 1), 1);
    state.pad("event8", PadUpdate::Strip { number: 0, position: Some(1.0), is_finger: true }, (0, 1), 1);
    state.pad("event8", PadUpdate::Strip { number: 9, position: Some(1.0), is_finger: true }, (7, 1), 1);
    let expected = ["button 1 1", "mode 1", "button 1 0", "angle 90", "ring stop", "strip 65535"];
    until(&mut fixture, &mut client, "its events", |_, client| client.tablets.pad_events.len() >= 6);
    assert_eq!(client.tablets.pad_events, expected);
    client.tablets.pad_events.clear();
    client.close(0);
    until(&mut fixture, &mut client, "no focus", |fixture, _| {
        fixture.compositor.state.keyboard_focus().is_none()
    });
    fixture.compositor.state.remove_pad("event8");
    until(&mut fixture, &mut client, "its end", |_, client| client.tablets.pads.is_empty());
}

#[test]
fn client_has_a_bounded_number_of_tablet_seats() {
    let mut fixture = Fixture::pair();
    fixture.plug_tablet();
    let mut client = with_tablets(&mut fixture);
    for _ in 0..15 {
        client.tablet_seat();
    }
    client.poll();
    fixture.iterate();
    assert!(client.poll());
    client.tablet_seat();
    client.poll();
    fixture.until("the end", |_| !client.poll());
}

/// Its objects live on, and get all events: it counts until they are gone.
#[test]
fn tablet_seat_counts_until_its_objects_are_gone() {
    let mut fixture = Fixture::pair();
    fixture.plug_tablet();
    let mut client = with_tablets(&mut fixture);
    fixture.until("the end", |_| {
        client.tablet_seat().destroy();
        !client.poll()
    });
}
