//! The pointer: what is seen under it has it, also while it lies still.

use smithay::reexports::input::DeviceCapability::Pointer;
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_shell_v1::Layer;
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_surface_v1::KeyboardInteractivity;

use super::super::until;
use super::*;

/// cosmic-comp 2695: the click went to the hidden window.
#[test]
fn window_that_opens_under_a_still_pointer_is_entered_and_clicked() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event1", Pointer);
    // In the middle of the first display, where it has never moved.
    let mut below = shown(&mut fixture, "below", RED, FIRST);
    until(&mut fixture, &mut below, "the pointer's enter", |_, below| has_pointer(below, 0));
    assert_eq!(below.devices.pointer_at, (400.0, 300.0));
    let mut above = shown(&mut fixture, "above", GREEN, FIRST);
    until_both(&mut fixture, [&mut below, &mut above], "leave and enter", |_, below, above| {
        below.devices.pointer_on.is_none() && has_pointer(above, 0)
    });
    fixture.click();
    until_both(&mut fixture, [&mut below, &mut above], "the press", |_, _, above| {
        above.devices.pressed.len() == 1
    });
    drop(above);
    until(&mut fixture, &mut below, "the pointer's enter", |_, below| has_pointer(below, 0));
    fixture.click();
    until(&mut fixture, &mut below, "the press", |_, below| below.devices.pressed.len() == 1);
    assert_eq!(below.devices.motions, 0, "it has not moved");
}

/// A press in the iteration in which the window opens.
#[test]
fn press_that_comes_with_a_new_window_reaches_it() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event1", Pointer);
    let mut below = shown(&mut fixture, "below", RED, FIRST);
    fixture.point(400.0, 300.0);
    let mut above = fixture.client();
    above.open("above", GREEN, None);
    let state = |fixture: &Fixture| fixture.compositor.state.shell.windows().len();
    fixture.until("the window", |fixture| {
        above.poll();
        fixture.compositor.state.dispatch_wayland();
        state(fixture) == 2
    });
    fixture.click();
    until_both(&mut fixture, [&mut below, &mut above], "the press", |_, below, above| {
        !below.devices.pressed.is_empty() || !above.devices.pressed.is_empty()
    });
    assert_eq!((below.devices.pressed.len(), above.devices.pressed.len()), (0, 1));
}

#[test]
fn layer_surface_under_a_still_pointer_is_entered_and_left() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event1", Pointer);
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    fixture.point(400.0, 300.0);
    fixture.until("displays", |_| client.poll() && client.has_outputs(2));
    until(&mut fixture, &mut client, "the pointer", |_, client| has_pointer(client, 0));
    let above = layer(&client, FIRST, Layer::Overlay, KeyboardInteractivity::None);
    map_layer(&mut fixture, &mut client, &above, 0, GREEN);
    until(&mut fixture, &mut client, "the pointer's enter", |_, client| {
        client.devices.pointer_on.as_ref() == Some(&above.surface)
    });
    above.surface.attach(None, 0, 0);
    above.surface.commit();
    until(&mut fixture, &mut client, "the window's enter", |_, client| has_pointer(client, 0));
}

#[test]
fn pointer_enters_what_moves_to_its_display() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event1", Pointer);
    let mut other = shown(&mut fixture, "other", GREEN, SECOND);
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    fixture.point(400.0, 300.0);
    until(&mut fixture, &mut client, "the pointer", |_, client| has_pointer(client, 0));
    let state = &mut fixture.compositor.state;
    let [other_id, id] = [0, 1].map(|index: usize| state.shell.windows()[index].id);
    state.with_shell(|shell, cx| shell.pin_window(other_id, FIRST, cx));
    until_both(&mut fixture, [&mut client, &mut other], "leave and enter", |_, client, other| {
        client.devices.pointer_on.is_none() && has_pointer(other, 0)
    });
    let state = &mut fixture.compositor.state;
    state.focus_window(id);
    until_both(&mut fixture, [&mut client, &mut other], "leave and enter back", |_, client, other| {
        has_pointer(client, 0) && other.devices.pointer_on.is_none()
    });
}

/// A fullscreen window covers what is below it, also where it draws nothing.
#[test]
fn layer_surface_that_a_fullscreen_window_covers_gets_no_clicks() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event1", Pointer);
    let mut client = fixture.client();
    fixture.until("displays", |_| client.poll() && client.has_outputs(2));
    let below = layer(&client, FIRST, Layer::Bottom, KeyboardInteractivity::None);
    map_layer(&mut fixture, &mut client, &below, 0, GREEN);
    fixture.point(ON_FIRST.0, ON_FIRST.1);
    until(&mut fixture, &mut client, "the pointer", |_, client| {
        client.devices.pointer_on.as_ref() == Some(&below.surface)
    });
    let window = client.open("app", RED, Some(FIRST));
    until(&mut fixture, &mut client, "the window", |_, client| has_pointer(client, window));
    // A buffer that is smaller than the display.
    let surface = client.windows()[window].surface.clone();
    client.show(&surface, (10, 10), RED);
    until(&mut fixture, &mut client, "the pointer's leave", |_, client| client.devices.pointer_on.is_none());
}

/// OrcaSlicer 15643: a KVM switch.
#[test]
fn pointer_keeps_its_position_while_its_device_is_gone() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event1", Pointer);
    let mut client = shown(&mut fixture, "app", RED, SECOND);
    fixture.point(ON_SECOND.0, ON_SECOND.1);
    until(&mut fixture, &mut client, "the pointer", |_, client| has_pointer(client, 0));
    fixture.compositor.state.device_removed("event1");
    until(&mut fixture, &mut client, "its loss", |_, client| client.devices.pointer_on.is_none());
    fixture.plug_device("event1", Pointer);
    let location = fixture.compositor.state.input.pointer().location();
    assert_eq!(location, ON_SECOND.into());
    until(&mut fixture, &mut client, "its return", |_, client| has_pointer(client, 0));
    fixture.click();
    until(&mut fixture, &mut client, "the press", |_, client| client.devices.pressed.len() == 1);
}

#[test]
fn pointer_whose_display_went_with_its_device_is_put_on_another() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event1", Pointer);
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    fixture.point(ON_SECOND.0, ON_SECOND.1);
    fixture.compositor.state.device_removed("event1");
    fixture.plug(SECOND, false);
    fixture.plug_device("event1", Pointer);
    until(&mut fixture, &mut client, "the pointer", |_, client| has_pointer(client, 0));
    fixture.plug(SECOND, true);
    fixture.iterate();
    let state = &fixture.compositor.state;
    let output = state.input.pointer().output(&state.outputs);
    assert_eq!(output.and_then(|id| state.outputs.name(id)), Some(FIRST));
}

/// Its window was unmapped while a button was held: the release goes nowhere, the next press to
/// what is seen.
#[test]
fn pressed_window_that_is_unmapped_does_not_keep_the_pointer() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event1", Pointer);
    let mut client = shown(&mut fixture, "below", GREEN, FIRST);
    fixture.point(ON_FIRST.0, ON_FIRST.1);
    let window = client.open("app", RED, None);
    until(&mut fixture, &mut client, "the window", |_, client| has_pointer(client, window));
    fixture.press();
    until(&mut fixture, &mut client, "the press", |_, client| client.devices.pressed.len() == 1);
    let surface = client.windows()[window].surface.clone();
    surface.attach(None, 0, 0);
    surface.commit();
    until(&mut fixture, &mut client, "the window below", |_, client| has_pointer(client, 0));
}

/// The pointer left it when it did not reply.
#[test]
fn program_that_replies_again_is_entered_without_motion() {
    let displays = "[headless]\ndisplays = [\"800x600\", \"640x480\"]\n";
    let mut fixture = Fixture::new(&format!("{displays}[clients]\ninterval = 0.2\nunresponsive = 0.3\n"));
    fixture.plug_device("event1", Pointer);
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    until(&mut fixture, &mut client, "the pointer", |_, client| has_pointer(client, 0));
    let before = client.devices.enters;
    let unresponsive = |fixture: &Fixture| fixture.compositor.state.ipc_status().unresponsive_clients;
    fixture.until("an unresponsive client", |fixture| unresponsive(fixture) == 1);
    until(&mut fixture, &mut client, "its return", |fixture, client| {
        unresponsive(fixture) == 0 && client.devices.enters > before && has_pointer(client, 0)
    });
}
