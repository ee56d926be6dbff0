//! The keyboard: layer surfaces, dialogs, and windows that open on another display.

use geom_display::lifecycle::Lifecycle;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_shell_v1::Layer;
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_surface_v1::KeyboardInteractivity;

use super::super::until;
use super::*;

const RULED: &str = "[headless]\ndisplays = [\"800x600\", \"640x480\"]\n\
                     [[rules]]\napp_id = \"ruled\"\ndisplay = \"HEADLESS-2\"\n";

fn has(client: &TestClient, surface: &WlSurface) -> bool {
    client.devices.keyboard_on.as_ref() == Some(surface)
}

/// Opens an exclusive layer surface above a client's window, and waits until it has the keyboard.
fn exclusive_above(fixture: &mut Fixture, client: &mut TestClient) -> TestLayer {
    let before = client.layers.configured();
    let above = layer(client, FIRST, Layer::Top, KeyboardInteractivity::Exclusive);
    map_layer(fixture, client, &above, before, GREEN);
    until(fixture, client, "the layer surface's focus", |_, client| has(client, &above.surface));
    above
}

/// Hyprland 4460: slurp.
#[test]
fn keyboard_returns_when_a_layer_surface_no_longer_wants_it() {
    let mut fixture = Fixture::pair();
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    let above = exclusive_above(&mut fixture, &mut client);
    above.role.set_keyboard_interactivity(KeyboardInteractivity::None);
    above.surface.commit();
    until(&mut fixture, &mut client, "the window's focus", |_, client| has_keyboard(client, 0));
}

/// niri 3615: a launcher whose process goes on.
#[test]
fn keyboard_returns_when_a_layer_surface_loses_its_role_before_its_surface() {
    let mut fixture = Fixture::pair();
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    let above = exclusive_above(&mut fixture, &mut client);
    above.role.destroy();
    until(&mut fixture, &mut client, "the window's focus", |_, client| has_keyboard(client, 0));
    above.surface.destroy();
}

/// niri 4419: what is typed at a lock went into the launcher below it.
#[test]
fn overlay_keeps_the_keyboard_from_the_top_layer_on_any_display() {
    let mut fixture = Fixture::pair();
    let mut lock = shown(&mut fixture, "app", RED, FIRST);
    fixture.until("displays", |_| lock.poll() && lock.has_outputs(2));
    for (of_lock, of_launcher) in [(FIRST, FIRST), (SECOND, FIRST), (FIRST, SECOND)] {
        let before = lock.layers.configured();
        let overlay = layer(&lock, of_lock, Layer::Overlay, KeyboardInteractivity::Exclusive);
        map_layer(&mut fixture, &mut lock, &overlay, before, GREEN);
        until(&mut fixture, &mut lock, "the lock's focus", |_, lock| has(lock, &overlay.surface));
        let mut launcher = fixture.client();
        fixture.until("displays", |_| launcher.poll() && launcher.has_outputs(2));
        let top = layer(&launcher, of_launcher, Layer::Top, KeyboardInteractivity::Exclusive);
        map_layer(&mut fixture, &mut launcher, &top, 0, RED);
        // Configured again for another size: all before is done by then.
        top.role.set_exclusive_zone(0);
        top.role.set_margin(1, 1, 1, 1);
        top.surface.commit();
        until_both(&mut fixture, [&mut lock, &mut launcher], "a configure event", |_, _, launcher| {
            launcher.layers.configured() > 1
        });
        assert!(has(&lock, &overlay.surface), "lock on {of_lock}, launcher on {of_launcher}");
        overlay.role.destroy();
        overlay.surface.destroy();
        until_both(&mut fixture, [&mut lock, &mut launcher], "the launcher's focus", |_, _, launcher| {
            has(launcher, &top.surface)
        });
        drop(launcher);
        until(&mut fixture, &mut lock, "the window's focus", |_, lock| has_keyboard(lock, 0));
    }
}

/// A television in standby, or a KVM switch: what is typed blindly is for the lock.
#[test]
fn lock_keeps_the_keyboard_while_no_display_is_enabled() {
    let mut fixture = Fixture::pair();
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    fixture.until("displays", |_| client.poll() && client.has_outputs(2));
    let overlay = layer(&client, FIRST, Layer::Overlay, KeyboardInteractivity::Exclusive);
    map_layer(&mut fixture, &mut client, &overlay, 0, GREEN);
    until(&mut fixture, &mut client, "the lock's focus", |_, client| has(client, &overlay.surface));
    let state = &mut fixture.compositor.state;
    for name in [FIRST, SECOND] {
        state.outputs.named_mut(name).expect("a display").set_lifecycle(Lifecycle::Disconnected);
    }
    state.refresh_focus();
    let lock = state.keyboard_focus();
    state.settle_focus();
    assert!(lock.is_some() && state.keyboard_focus() == lock);
}

#[test]
fn newest_of_two_exclusive_layer_surfaces_of_a_layer_has_the_keyboard() {
    let mut fixture = Fixture::pair();
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    fixture.until("displays", |_| client.poll() && client.has_outputs(2));
    let mut layers = Vec::new();
    // The leftmost display is neither first nor last.
    for display in [SECOND, FIRST, SECOND] {
        let before = client.layers.configured();
        let new = layer(&client, display, Layer::Top, KeyboardInteractivity::Exclusive);
        map_layer(&mut fixture, &mut client, &new, before, GREEN);
        until(&mut fixture, &mut client, "the newest's focus", |_, client| has(client, &new.surface));
        layers.push(new);
    }
    let newest = layers.pop().expect("three layer surfaces");
    newest.surface.attach(None, 0, 0);
    newest.surface.commit();
    let below = layers.pop().expect("two layer surfaces");
    until(&mut fixture, &mut client, "the older one's focus", |_, client| has(client, &below.surface));
}

/// What has no buffer is not seen, so it gets no keys.
#[test]
fn layer_surface_without_a_buffer_does_not_take_the_keyboard() {
    let mut fixture = Fixture::pair();
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    until(&mut fixture, &mut client, "the window's focus", |_, client| has_keyboard(client, 0));
    let _unmapped = layer(&client, FIRST, Layer::Overlay, KeyboardInteractivity::Exclusive);
    until(&mut fixture, &mut client, "a configure event", |_, client| client.layers.configured() > 0);
    assert!(has_keyboard(&client, 0));
}

#[test]
fn on_demand_layer_surface_has_the_keyboard_from_a_click_to_the_next() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event1", smithay::reexports::input::DeviceCapability::Pointer);
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    fixture.until("displays", |_| client.poll() && client.has_outputs(2));
    fixture.point(ON_FIRST.0, ON_FIRST.1);
    let panel = layer(&client, FIRST, Layer::Top, KeyboardInteractivity::OnDemand);
    map_layer(&mut fixture, &mut client, &panel, 0, GREEN);
    until(&mut fixture, &mut client, "the panel", |fixture, _| fixture.middle(FIRST) == GREEN);
    assert!(has_keyboard(&client, 0), "mapped, but not clicked");
    fixture.click();
    until(&mut fixture, &mut client, "the panel's focus", |_, client| has(client, &panel.surface));
    // Frames do not give it up.
    panel.surface.damage(0, 0, 800, 600);
    client.show(&panel.surface, (800, 600), RED);
    until(&mut fixture, &mut client, "another frame", |fixture, _| fixture.middle(FIRST) == RED);
    assert!(has(&client, &panel.surface));
    panel.role.set_keyboard_interactivity(KeyboardInteractivity::None);
    panel.surface.commit();
    until(&mut fixture, &mut client, "the window's focus", |_, client| has_keyboard(client, 0));
    panel.role.set_keyboard_interactivity(KeyboardInteractivity::OnDemand);
    panel.surface.damage(0, 0, 800, 600);
    client.show(&panel.surface, (800, 600), GREEN);
    until(&mut fixture, &mut client, "a third frame", |fixture, _| fixture.middle(FIRST) == GREEN);
    fixture.click();
    until(&mut fixture, &mut client, "the panel's focus again", |_, client| has(client, &panel.surface));
    panel.surface.attach(None, 0, 0);
    panel.surface.commit();
    until(&mut fixture, &mut client, "the window's focus again", |_, client| has_keyboard(client, 0));
}

/// cosmic-comp 2363: the letters of a till went to a board on another display that was restarted.
#[test]
fn window_that_a_rule_opens_on_another_display_leaves_the_keyboard() {
    let mut fixture = Fixture::new(RULED);
    let mut till = shown(&mut fixture, "till", RED, FIRST);
    until(&mut fixture, &mut till, "the till's focus", |_, till| has_keyboard(till, 0));
    for _ in 0..2 {
        let mut board = shown(&mut fixture, "ruled", GREEN, SECOND);
        until_both(&mut fixture, [&mut till, &mut board], "a frame", |_, _, board| board.presented > 0);
        assert!(has_keyboard(&till, 0) && !has_keyboard(&board, 0));
        drop(board);
        until(&mut fixture, &mut till, "the end of the board", |fixture, _| fixture.middle(SECOND) != GREEN);
        assert!(has_keyboard(&till, 0));
    }
    let _board = shown(&mut fixture, "ruled", GREEN, SECOND);
    let second = shown(&mut fixture, "second", GREEN, FIRST);
    until(&mut fixture, &mut till, "the loss of the keyboard", |_, till| !has_keyboard(till, 0));
    assert_eq!(second.windows()[0].size, (800, 600), "without a rule it opens on the focused display");
}

/// The board was there first. It has the keyboard while no other window wants it.
#[test]
fn window_of_the_first_display_takes_the_keyboard_in_either_order() {
    let mut fixture = Fixture::new(RULED);
    let mut board = shown(&mut fixture, "ruled", GREEN, SECOND);
    until(&mut fixture, &mut board, "the board's focus", |_, board| has_keyboard(board, 0));
    let mut till = shown(&mut fixture, "till", RED, FIRST);
    until_both(&mut fixture, [&mut till, &mut board], "the till's focus", |_, till, board| {
        has_keyboard(till, 0) && !has_keyboard(board, 0)
    });
}

#[test]
fn focus_new_always_gives_each_new_window_the_keyboard() {
    let mut fixture = Fixture::new(&format!("focus_new = \"always\"\n{RULED}"));
    let mut till = shown(&mut fixture, "till", RED, FIRST);
    let mut board = shown(&mut fixture, "ruled", GREEN, SECOND);
    until_both(&mut fixture, [&mut till, &mut board], "the board's focus", |_, till, board| {
        has_keyboard(board, 0) && !has_keyboard(till, 0)
    });
}

/// niri 2942: a modal confirmation behind the dialog that it belongs to.
#[test]
fn dialog_of_a_dialog_stays_above_both_and_has_the_keyboard() {
    let mut fixture = Fixture::pair();
    fixture.plug_device("event1", smithay::reexports::input::DeviceCapability::Pointer);
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    fixture.point(10.0, 10.0);
    let dialog = client.open_dialog(0, GREEN);
    let inner = client.open_dialog(dialog, RED);
    until(&mut fixture, &mut client, "the inner dialog's focus", |fixture, client| {
        has_keyboard(client, inner) && fixture.middle(FIRST) == RED
    });
    fixture.click();
    until(&mut fixture, &mut client, "the click", |_, client| !client.devices.pressed.is_empty());
    assert!(has_keyboard(&client, inner));
    let ids: Vec<u64> = fixture.compositor.state.shell.windows().iter().map(|window| window.id).collect();
    assert!(ids.is_sorted(), "back to front: {ids:?}");
}

/// A rule that matches every window of a program matches its dialogs too.
#[test]
fn dialog_stays_on_the_display_of_its_window_whatever_rule_matches() {
    let rules = RULED.replace("ruled", "dialog");
    let mut fixture = Fixture::new(&rules);
    let mut client = shown(&mut fixture, "app", RED, FIRST);
    let dialog = client.open_dialog(0, GREEN);
    let inner = client.open_dialog(dialog, RED);
    until(&mut fixture, &mut client, "the dialogs", |_, client| {
        [dialog, inner].iter().all(|dialog| !client.windows()[*dialog].outputs.is_empty())
    });
    assert_eq!(client.windows()[dialog].outputs, [FIRST]);
    assert_eq!(client.windows()[inner].outputs, [FIRST]);
    // The window is moved: its dialogs follow.
    let state = &mut fixture.compositor.state;
    let window = state.shell.windows().first().expect("the window").id;
    state.with_shell(|shell, cx| shell.pin_window(window, SECOND, cx));
    until(&mut fixture, &mut client, "both on the other display", |_, client| {
        [dialog, inner].iter().all(|dialog| client.windows()[*dialog].outputs == [SECOND])
    });
}

/// The protocol's state after a null buffer is as before the first commit.
#[test]
fn window_that_is_unmapped_is_configured_again() {
    let mut fixture = Fixture::pair();
    let mut client = shown(&mut fixture, "below", GREEN, FIRST);
    let window = client.open("app", RED, None);
    for _ in 0..2 {
        until(&mut fixture, &mut client, "the window", |fixture, client| {
            fixture.middle(FIRST) == RED && has_keyboard(client, window)
        });
        let surface = client.windows()[window].surface.clone();
        surface.attach(None, 0, 0);
        surface.commit();
        until(&mut fixture, &mut client, "the window below", |fixture, client| {
            fixture.middle(FIRST) == GREEN && has_keyboard(client, 0)
        });
        // It draws at the configure event.
        surface.commit();
    }
}
