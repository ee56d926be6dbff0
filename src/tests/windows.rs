//! Windows and protocols, end to end on virtual displays.

use std::time::Duration;

use proptest::prelude::*;

use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_toplevel::State as ToplevelFlag;

use super::{until, Fixture};

const RED: u32 = 0x00ff_0000;
const GREEN: u32 = 0x0000_ff00;
const FIRST: &str = "HEADLESS-1";
const SECOND: &str = "HEADLESS-2";

/// A client that reads late may bind a `wl_output` whose global was disabled meanwhile.
#[test]
fn slow_client_may_bind_a_disabled_global() {
    let mut fixture = Fixture::pair();
    let mut slow = fixture.client();
    for _ in 0..3 {
        fixture.plug(SECOND, false);
        fixture.iterate();
        fixture.plug(SECOND, true);
        fixture.iterate();
    }
    // Well past the time for which disabled globals stay at least.
    fixture.run_for(Duration::from_secs(1));
    fixture.until("two displays", |_| {
        assert!(slow.poll(), "the client was disconnected");
        slow.has_outputs(2)
    });
    // They are destroyed once the client has read everything.
    fixture.until("no disabled globals", |fixture| {
        assert!(slow.poll());
        fixture.compositor.state.protocols.disabled_globals.is_empty()
    });
}

#[test]
fn window_fills_its_display_and_gets_frame_callbacks() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    client.open("app", RED, None);
    until(&mut fixture, &mut client, "the window", |fixture, _| fixture.middle(FIRST) == RED);
    until(&mut fixture, &mut client, "frame callback and presentation", |_, client| {
        client.frames > 0 && client.presented > 0
    });
    assert_eq!(client.windows()[0].size, (800, 600));
    assert_eq!(client.windows()[0].outputs, [FIRST]);
    assert_eq!(client.windows()[0].configured, 1, "it was configured again after its first frame");
}

/// wlr-output-power-management: a blanked display stays in the layout and is not drawn.
#[test]
fn tool_blanks_a_display() {
    use super::client::PowerEvent;
    use wayland_protocols_wlr::output_power_management::v1::client::zwlr_output_power_v1::Mode;
    let mut fixture = Fixture::pair();
    let (mut client, mut other) = (fixture.client(), fixture.client());
    client.open("app", RED, None);
    until(&mut fixture, &mut client, "a frame", |_, client| client.frames > 0);
    until(&mut fixture, &mut client, "the other client's displays", |_, _| {
        other.poll();
        other.has_outputs(2)
    });
    let power = client.output_power(FIRST);
    let watching = other.output_power(FIRST);
    until(&mut fixture, &mut client, "power mode on", |_, client| {
        other.poll();
        client.power_events == [PowerEvent::On] && other.power_events == [PowerEvent::On]
    });
    power.set_mode(Mode::Off);
    until(&mut fixture, &mut client, "power mode off", |fixture, client| {
        other.poll();
        let blanked =
            fixture.compositor.state.outputs.named(FIRST).is_some_and(|output| output.state().blanked);
        blanked
            && client.power_events == [PowerEvent::On, PowerEvent::Off]
            && other.power_events == [PowerEvent::On, PowerEvent::Off]
    });
    assert_eq!(client.outputs().len(), 2, "a display is gone");
    let before = fixture.compositor.state.frames;
    client.open("more", GREEN, None);
    until(&mut fixture, &mut client, "the window", |_, client| client.windows()[1].outputs == [FIRST]);
    assert_eq!(fixture.compositor.state.frames, before, "a blanked display was drawn");
    power.set_mode(Mode::On);
    until(&mut fixture, &mut client, "the window", |fixture, client| {
        fixture.middle(FIRST) == GREEN && client.power_events.last() == Some(&PowerEvent::On)
    });
    // The display is disconnected: the object becomes inert.
    fixture.plug(FIRST, false);
    until(&mut fixture, &mut client, "the event failed", |_, client| {
        client.power_events.last() == Some(&PowerEvent::Failed)
    });
    watching.destroy();
}

#[test]
fn output_forgets_destroyed_surfaces() {
    let mut fixture = Fixture::pair();
    for _ in 0..3 {
        let mut client = fixture.client();
        client.open("app", RED, None);
        until(&mut fixture, &mut client, "the window on its display", |_, client| {
            client.windows()[0].outputs == [FIRST]
        });
        drop(client);
        fixture.until("its disconnect", |fixture| fixture.compositor.state.clients.is_empty());
    }
    let outputs = fixture.compositor.state.outputs.iter().map(|output| format!("{:?}", output.wl_output()));
    for output in outputs {
        assert!(output.contains("surfaces: {}"), "surfaces are left: {output}");
    }
}

#[test]
fn rules_and_fullscreen_requests_choose_the_display() {
    let mut fixture = Fixture::new(
        "[headless]\ndisplays = [\"800x600\", \"640x480\"]\n[[rules]]\napp_id = \"ruled\"\ndisplay = \"HEADLESS-2\"\n",
    );
    let mut client = fixture.client();
    until(&mut fixture, &mut client, "outputs", |_, client| client.has_outputs(client.outputs().len()));
    client.open("ruled", RED, None);
    client.open("requesting", GREEN, Some(FIRST));
    until(&mut fixture, &mut client, "both windows", |fixture, _| {
        fixture.middle(SECOND) == RED && fixture.middle(FIRST) == GREEN
    });
    assert_eq!(client.windows()[0].size, (640, 480));
    assert!(!client.windows()[0].fullscreen);
    assert!(client.windows()[1].fullscreen);
}

#[test]
fn windows_return_with_their_disconnected_display() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    until(&mut fixture, &mut client, "outputs", |_, client| client.has_outputs(2));
    client.open("app", RED, Some(SECOND));
    until(&mut fixture, &mut client, "the window", |fixture, _| fixture.middle(SECOND) == RED);
    fixture.plug(SECOND, false);
    until(&mut fixture, &mut client, "the other display", |fixture, client| {
        fixture.middle(FIRST) == RED && client.windows()[0].size == (800, 600) && client.outputs().len() == 1
    });
    fixture.plug(FIRST, false);
    until(&mut fixture, &mut client, "no output", |_, client| client.outputs().is_empty());
    fixture.plug(SECOND, true);
    until(&mut fixture, &mut client, "its assigned display", |fixture, client| {
        fixture.middle(SECOND) == RED && client.windows()[0].size == (640, 480)
    });
    assert!(!client.disconnected);
}

#[test]
fn dialog_is_centered_over_its_parent_and_keeps_its_size() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    client.open("app", RED, None);
    until(&mut fixture, &mut client, "the window", |fixture, _| fixture.middle(FIRST) == RED);
    let dialog = client.open_dialog(0, GREEN);
    until(&mut fixture, &mut client, "the dialog", |fixture, _| fixture.middle(FIRST) == GREEN);
    let state = &mut fixture.compositor.state;
    let [parent, front] = state.shell.windows() else { panic!("two windows") };
    let location = |window| state.shell.window_location(window, &state.outputs);
    assert_eq!((location(parent), location(front)), (Some((0, 0).into()), Some((350, 250).into())));
    let surface_at = |x: f64, y: f64| state.shell.surface_at((x, y).into(), &state.outputs);
    assert_eq!(surface_at(355.0, 255.0).map(|(surface, _)| surface), front.surface());
    assert_eq!(surface_at(345.0, 255.0).map(|(surface, _)| surface), parent.surface());
    // The parent is focused: the keyboard stays with its dialog.
    let (parent, front) = (parent.id, front.surface());
    state.focus_window(parent);
    assert_eq!(state.keyboard_focus(), front);
    client.close(dialog);
    until(&mut fixture, &mut client, "the window again", |fixture, _| fixture.middle(FIRST) == RED);
    let state = &fixture.compositor.state;
    assert_eq!(state.keyboard_focus(), state.shell.window(parent).and_then(|window| window.surface()));
}

/// A window that becomes a dialog after it was configured may choose its size.
#[test]
fn window_that_becomes_a_dialog_is_configured_without_size() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    client.open("app", RED, None);
    let window = client.open("app", GREEN, None);
    until(&mut fixture, &mut client, "the window", |fixture, _| fixture.middle(FIRST) == GREEN);
    let configured = client.windows()[window].configured;
    client.set_parent(window, 0);
    until(&mut fixture, &mut client, "a configure event", |_, client| {
        client.windows()[window].configured > configured
    });
    let state = &fixture.compositor.state;
    let toplevel = state.shell.windows().last().and_then(|window| window.toplevel()).expect("a toplevel");
    toplevel.with_pending_state(|state| {
        assert_eq!(state.size, None);
        assert!(!state.states.contains(ToplevelFlag::Maximized));
    });
}

#[test]
fn popups_stay_on_their_display() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    client.open("app", RED, None);
    until(&mut fixture, &mut client, "the window", |fixture, _| fixture.middle(FIRST) == RED);
    client.popup(0, (750, 580));
    until(&mut fixture, &mut client, "the popup's position", |_, client| !client.popups.is_empty());
    assert_eq!(client.popups[0], (600, 500, 200, 100));
}

#[test]
fn protocol_error_affects_only_its_client() {
    let mut fixture = Fixture::pair();
    let mut good = fixture.client();
    good.open("good", GREEN, None);
    until(&mut fixture, &mut good, "the window", |fixture, _| fixture.middle(FIRST) == GREEN);
    let mut bad = fixture.client();
    bad.commit_before_configure();
    until(&mut fixture, &mut bad, "the disconnect", |_, client| client.disconnected);
    assert!(good.poll());
    assert_eq!(fixture.middle(FIRST), GREEN);
}

/// An operation of a client, the user or the hardware.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Open(bool),
    Close(usize),
    Plug(usize, bool),
    Focus(usize),
    Turn,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => any::<bool>().prop_map(Operation::Open),
        1 => (0usize..8).prop_map(Operation::Close),
        2 => (1usize..3, any::<bool>()).prop_map(|(display, plugged)| Operation::Plug(display, plugged)),
        1 => (0usize..8).prop_map(Operation::Focus),
        3 => Just(Operation::Turn),
    ]
}

/// Checks what must hold after any operation.
fn check(fixture: &Fixture) {
    let state = &fixture.compositor.state;
    let enabled = state.outputs.enabled_names();
    let name = |id| state.outputs.name(id).map(str::to_owned);
    for window in state.shell.windows() {
        let shown_on = window.shown_on.and_then(name);
        match &shown_on {
            Some(display) => {
                assert!(enabled.contains(display), "a window is shown on {display}; enabled: {enabled:?}")
            }
            None => assert!(enabled.is_empty(), "a window is shown nowhere; enabled: {enabled:?}"),
        }
        let assigned = window.assigned_output.as_ref().filter(|name| enabled.contains(name));
        assert!(
            assigned.is_none() || assigned == shown_on.as_ref(),
            "not shown on its assigned output: {window:?}"
        );
    }
    for output in state.outputs.iter() {
        assert_eq!(output.has_global(), output.is_enabled());
        assert_eq!(output.scanout.is_some(), output.is_enabled());
    }
    if let Some(focus) = state.seat.get_keyboard().and_then(|keyboard| keyboard.current_focus()) {
        assert!(state.shell.window_of(&focus).is_some(), "a destroyed window has the keyboard");
        assert!(enabled.is_empty() || state.shell.is_visible(&focus), "a hidden window has the keyboard");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// After operations in any order, windows are where they belong, and no client is disconnected.
    #[test]
    fn invariants_hold_after_any_operations(operations in prop::collection::vec(operation(), 1..120)) {
        let mut fixture = Fixture::pair();
        let mut client = fixture.client();
        let mut open: Vec<usize> = Vec::new();
        for operation in operations {
            match operation {
                Operation::Open(fullscreen) => {
                    open.push(client.open("app", RED, fullscreen.then_some(SECOND)));
                }
                Operation::Close(which) if !open.is_empty() => {
                    let window = open.remove(which % open.len());
                    client.close(window);
                }
                Operation::Plug(display, plugged) => fixture.plug(&format!("HEADLESS-{display}"), plugged),
                Operation::Focus(which) => {
                    let windows = fixture.compositor.state.shell.windows();
                    if let Some(id) = windows.get(which).map(|window| window.id) {
                        fixture.compositor.state.focus_window(id);
                    }
                }
                _ => {}
            }
            client.poll();
            fixture.iterate();
            check(&fixture);
            prop_assert!(!client.disconnected);
        }
    }
}
