//! Popups that take all input: any press outside their program dismisses them, from any device.

use smithay::reexports::input::DeviceCapability::{Pointer, Touch};
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_shell_v1::Layer;
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_surface_v1::KeyboardInteractivity;

use super::super::until;
use super::*;

/// Where menus are in their windows, and a point on one on the first display.
const AT: (i32, i32) = (10, 10);
const ON_MENU: (f64, f64) = (100.0, 50.0);

/// Opens a menu of a client's first window by a tap, and waits until it has the keyboard.
fn menu_by_touch(fixture: &mut Fixture, client: &mut TestClient, at: (f64, f64)) {
    let before = client.devices.touched.len();
    fixture.tap(at.0, at.1);
    until(fixture, client, "the touch", |_, client| client.devices.touched.len() > before);
    let serial = client.devices.touched.last().expect("a touch").1;
    client.menu(0, AT, serial);
    until_open(fixture, client);
}

/// As [`menu_by_touch`], by a click at the pointer's position.
fn menu_by_click(fixture: &mut Fixture, client: &mut TestClient) {
    let before = client.devices.pressed.len();
    fixture.click();
    until(fixture, client, "the press", |_, client| client.devices.pressed.len() > before);
    let serial = client.devices.pressed.last().expect("a press").1;
    client.menu(0, AT, serial);
    until_open(fixture, client);
}

fn until_open(fixture: &mut Fixture, client: &mut TestClient) {
    until(fixture, client, "the menu", |fixture, client| {
        let menu = client.menus.last().expect("a menu");
        assert!(!client.disconnected && !menu.done);
        // The menu of a window, or what it opens below.
        let is_shown =
            [ON_MENU, (100.0, 150.0), (900.0, 50.0)].iter().any(|at| is_at(fixture, &menu.surface, *at));
        client.devices.keyboard_on.as_ref() == Some(&menu.surface) && is_shown
    });
}

fn until_done(fixture: &mut Fixture, client: &mut TestClient, menu: usize) {
    until(fixture, client, "the end of the menu", |_, client| {
        assert!(!client.disconnected);
        client.menus[menu].done
    });
}

/// Smithay pull request 1911: the second program was ended with "not the topmost popup".
#[test]
fn menu_that_is_opened_by_touch_ends_the_menu_of_another_program() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event2", Touch);
    let mut first = shown(&mut fixture, "first", RED, FIRST);
    let mut second = shown(&mut fixture, "second", GREEN, SECOND);
    for round in 0..2 {
        menu_by_touch(&mut fixture, &mut first, ON_FIRST);
        menu_by_touch(&mut fixture, &mut second, ON_SECOND);
        until_done(&mut fixture, &mut first, round);
        // The first program destroys its menu late.
        first.close_menu(round);
        menu_by_touch(&mut fixture, &mut first, ON_FIRST);
        until_done(&mut fixture, &mut second, round);
        second.close_menu(round);
        fixture.tap(ON_SECOND.0, ON_SECOND.1);
        until(&mut fixture, &mut first, "its end", |_, first| first.menus.last().expect("a menu").done);
        let last = first.menus.len() - 1;
        first.close_menu(last);
        first.menus.truncate(round + 1);
        assert!(second.poll() && first.poll());
    }
}

/// The second opening of a menu of GTK 4, which keeps its surface: it was open without its grab.
#[test]
fn menu_on_the_surface_of_the_last_one_takes_all_input() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event2", Touch);
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    for round in 0..3 {
        menu_by_touch(&mut fixture, &mut client, ON_FIRST);
        assert!(fixture.compositor.state.shell.grabbing_client().is_some(), "round {round}");
        fixture.tap(ON_SECOND.0, ON_SECOND.1);
        until_done(&mut fixture, &mut client, 0);
        client.hide_menu(0);
        client.menus.clear();
        until(&mut fixture, &mut client, "the window's focus", |_, client| has_keyboard(client, 0));
    }
}

#[test]
fn touch_outside_a_menu_ends_it_on_an_empty_display_too() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event2", Touch);
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    menu_by_touch(&mut fixture, &mut client, ON_FIRST);
    fixture.tap(ON_SECOND.0, ON_SECOND.1);
    until_done(&mut fixture, &mut client, 0);
    until(&mut fixture, &mut client, "the window's focus", |_, client| has_keyboard(client, 0));
}

#[test]
fn menu_of_one_device_is_ended_by_another() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event1", Pointer);
    fixture.plug_device("event2", Touch);
    let mut first = shown(&mut fixture, "first", RED, FIRST);
    let mut second = shown(&mut fixture, "second", GREEN, SECOND);
    fixture.point(ON_FIRST.0, ON_FIRST.1);
    menu_by_click(&mut fixture, &mut first);
    fixture.tap(ON_SECOND.0, ON_SECOND.1);
    until_done(&mut fixture, &mut first, 0);
    until_both(&mut fixture, [&mut first, &mut second], "the touch", |_, _, second| {
        second.devices.touched.len() == 1 && has_keyboard(second, 0)
    });
    let serial = second.devices.touched[0].1;
    second.menu(0, AT, serial);
    until_open(&mut fixture, &mut second);
    fixture.click();
    until_done(&mut fixture, &mut second, 0);
    until(&mut fixture, &mut first, "the press", |_, first| {
        first.devices.pressed.len() == 2 && has_keyboard(first, 0)
    });
}

/// A mouse that comes back while a menu is open.
#[test]
fn click_of_a_new_mouse_ends_a_menu() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event2", Touch);
    let mut first = shown(&mut fixture, "first", RED, FIRST);
    menu_by_touch(&mut fixture, &mut first, ON_FIRST);
    let mut second = shown(&mut fixture, "second", GREEN, SECOND);
    fixture.plug_device("event1", Pointer);
    fixture.point(ON_SECOND.0, ON_SECOND.1);
    fixture.click();
    until_done(&mut fixture, &mut first, 0);
    until(&mut fixture, &mut second, "the focus", |_, second| has_keyboard(second, 0));
}

/// xdg_popup.grab: all surfaces of the program get pointer events as usual, and no others.
#[test]
fn pointer_is_only_on_surfaces_of_the_program_that_has_a_menu() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event1", Pointer);
    let mut first = shown(&mut fixture, "first", RED, FIRST);
    let mut second = shown(&mut fixture, "second", GREEN, SECOND);
    fixture.point(ON_FIRST.0, ON_FIRST.1);
    menu_by_click(&mut fixture, &mut first);
    fixture.point(ON_MENU.0, ON_MENU.1);
    until(&mut fixture, &mut first, "the pointer on the menu", |_, first| {
        first.devices.pointer_on.as_ref() == Some(&first.menus[0].surface)
    });
    fixture.point(ON_FIRST.0, ON_FIRST.1);
    until(&mut fixture, &mut first, "the pointer on its window", |_, first| has_pointer(first, 0));
    fixture.click();
    until(&mut fixture, &mut first, "the press", |_, first| first.devices.pressed.len() == 2);
    assert!(!first.menus[0].done, "its own program decides");
    fixture.point(ON_SECOND.0, ON_SECOND.1);
    until(&mut fixture, &mut first, "the pointer's leave", |_, first| first.devices.pointer_on.is_none());
    assert!(second.poll() && second.devices.pointer_on.is_none());
    // The menu ends: what is under the pointer is entered.
    first.close_menu(0);
    until_both(&mut fixture, [&mut first, &mut second], "the pointer", |_, first, second| {
        has_pointer(second, 0) && has_keyboard(first, 0)
    });
}

/// Menus that open at the press, and are used without releasing the button.
#[test]
fn held_button_is_dragged_into_a_menu() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event1", Pointer);
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    fixture.point(ON_FIRST.0, ON_FIRST.1);
    fixture.press();
    until(&mut fixture, &mut client, "the press", |_, client| client.devices.pressed.len() == 1);
    let serial = client.devices.pressed[0].1;
    client.menu(0, AT, serial);
    until_open(&mut fixture, &mut client);
    fixture.point(ON_MENU.0, ON_MENU.1);
    until(&mut fixture, &mut client, "the pointer on the menu", |_, client| {
        client.devices.pointer_on.as_ref() == Some(&client.menus[0].surface)
    });
}

#[test]
fn submenus_have_the_keyboard_in_turn_and_end_together() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event2", Touch);
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    menu_by_touch(&mut fixture, &mut client, ON_FIRST);
    for _ in 0..2 {
        fixture.tap(ON_MENU.0, ON_MENU.1);
        let menu = client.menus[0].surface.clone();
        until(&mut fixture, &mut client, "the touch", |_, client| {
            client.devices.touched.last().is_some_and(|(surface, _)| *surface == menu)
        });
        let serial = client.devices.touched.last().expect("a touch").1;
        client.submenu(0, (10, 60), serial);
        until_open(&mut fixture, &mut client);
        client.close_menu(1);
        until(&mut fixture, &mut client, "the menu's focus", |_, client| {
            client.devices.keyboard_on.as_ref() == Some(&menu)
        });
        client.menus.truncate(1);
    }
    let serial = client.devices.touched.last().expect("a touch").1;
    client.submenu(0, (10, 60), serial);
    until_open(&mut fixture, &mut client);
    fixture.tap(ON_SECOND.0, ON_SECOND.1);
    until_done(&mut fixture, &mut client, 1);
    until_done(&mut fixture, &mut client, 0);
    assert!(!client.disconnected);
}

#[test]
fn menu_ends_when_its_window_is_hidden_or_a_lock_comes() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event2", Touch);
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    menu_by_touch(&mut fixture, &mut client, ON_FIRST);
    let mut other = fixture.client();
    other.open("other", GREEN, None);
    until_both(&mut fixture, [&mut client, &mut other], "the end of the menu", |_, client, other| {
        client.menus[0].done && has_keyboard(other, 0)
    });
    client.close_menu(0);
    drop(other);
    until(&mut fixture, &mut client, "the window", |_, client| has_keyboard(client, 0));
    client.menus.clear();
    menu_by_touch(&mut fixture, &mut client, ON_FIRST);
    let mut lock = fixture.client();
    fixture.until("displays", |_| lock.poll() && lock.has_outputs(2));
    let overlay = layer(&lock, FIRST, Layer::Overlay, KeyboardInteractivity::Exclusive);
    map_layer(&mut fixture, &mut lock, &overlay, 0, GREEN);
    until_both(&mut fixture, [&mut client, &mut lock], "the end of the menu", |_, client, lock| {
        client.menus[0].done && lock.devices.keyboard_on.as_ref() == Some(&overlay.surface)
    });
}
