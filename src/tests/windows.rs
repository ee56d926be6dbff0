//! Protocols and placement, end to end without a kernel's displays.

use proptest::prelude::*;

use super::{until, Fixture};

const RED: u32 = 0x00ff_0000;
const GREEN: u32 = 0x0000_ff00;
const FIRST: &str = "HEADLESS-1";
const SECOND: &str = "HEADLESS-2";

/// A client that reads of a display only when it has long gone again may bind it all the same.
#[test]
fn a_slow_client_may_bind_what_is_gone() {
    let mut fixture = Fixture::pair();
    let mut slow = fixture.client();
    for _ in 0..3 {
        fixture.plug(SECOND, false);
        fixture.turn();
        fixture.plug(SECOND, true);
        fixture.turn();
    }
    // Well past the time that clients are given.
    let since = fixture.compositor.state.now();
    fixture.until("its time", |fixture| {
        fixture.compositor.state.now() > since + std::time::Duration::from_secs(1)
    });
    fixture.until("two displays", |_| {
        assert!(slow.turn(), "it was thrown out");
        slow.has_outputs(2)
    });
    // Once it has read everything, what was withdrawn goes.
    fixture.until("the end of what was withdrawn", |fixture| {
        assert!(slow.turn());
        fixture.compositor.state.protocols.withdrawn.is_empty()
    });
}

#[test]
fn a_window_fills_its_display_and_hears_of_its_frames() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    client.open("app", RED, None);
    until(&mut fixture, &mut client, "the picture", |fixture, _| fixture.middle(FIRST) == RED);
    until(&mut fixture, &mut client, "frame callback and presentation", |_, client| {
        client.frames > 0 && client.presented > 0
    });
    assert_eq!(client.windows()[0].size, (800, 600));
    assert_eq!(client.windows()[0].outputs, [FIRST]);
    assert_eq!(client.windows()[0].configured, 1, "its first picture was drawn more than once");
}

/// wlr-output-power-management: the light goes, the display stays; nobody draws in the dark.
#[test]
fn a_tool_switches_the_light() {
    use super::client::PowerEvent;
    use wayland_protocols_wlr::output_power_management::v1::client::zwlr_output_power_v1::Mode;
    let mut fixture = Fixture::pair();
    let (mut client, mut other) = (fixture.client(), fixture.client());
    client.open("app", RED, None);
    until(&mut fixture, &mut client, "a frame", |_, client| client.frames > 0);
    until(&mut fixture, &mut client, "the other's displays", |_, _| {
        other.turn();
        other.has_outputs(2)
    });
    let power = client.output_power(FIRST);
    let watching = other.output_power(FIRST);
    until(&mut fixture, &mut client, "the light", |_, client| {
        other.turn();
        client.power_events == [PowerEvent::On] && other.power_events == [PowerEvent::On]
    });
    power.set_mode(Mode::Off);
    until(&mut fixture, &mut client, "darkness", |fixture, client| {
        other.turn();
        let blank = fixture.compositor.state.outputs.named(FIRST).is_some_and(|output| output.blanked);
        blank
            && client.power_events == [PowerEvent::On, PowerEvent::Off]
            && other.power_events == [PowerEvent::On, PowerEvent::Off]
    });
    assert_eq!(client.outputs().len(), 2, "the display went");
    let before = fixture.compositor.state.frames;
    client.open("more", GREEN, None);
    until(&mut fixture, &mut client, "the window", |_, client| client.windows()[1].outputs == [FIRST]);
    assert_eq!(fixture.compositor.state.frames, before, "something was drawn in the dark");
    power.set_mode(Mode::On);
    until(&mut fixture, &mut client, "the picture", |fixture, client| {
        fixture.middle(FIRST) == GREEN && client.power_events.last() == Some(&PowerEvent::On)
    });
    // Its display goes, and the object is of no use any more.
    fixture.plug(FIRST, false);
    until(&mut fixture, &mut client, "the end", |_, client| {
        client.power_events.last() == Some(&PowerEvent::Failed)
    });
    watching.destroy();
}

#[test]
fn a_display_forgets_windows_that_are_gone() {
    let mut fixture = Fixture::pair();
    for _ in 0..3 {
        let mut client = fixture.client();
        client.open("app", RED, None);
        until(&mut fixture, &mut client, "the window on its display", |_, client| {
            client.windows()[0].outputs == [FIRST]
        });
        drop(client);
        fixture.until("its end", |fixture| fixture.compositor.state.clients.is_empty());
    }
    let outputs = fixture.compositor.state.outputs.iter().map(|output| format!("{:?}", output.wl_output));
    for output in outputs {
        assert!(output.contains("surfaces: {}"), "it keeps some: {output}");
    }
}

#[test]
fn rules_and_wishes_choose_the_display() {
    let mut fixture = Fixture::new(
        "[headless]\ndisplays = [\"800x600\", \"640x480\"]\n[[rules]]\napp_id = \"ruled\"\ndisplay = \"HEADLESS-2\"\n",
    );
    let mut client = fixture.client();
    until(&mut fixture, &mut client, "outputs", |_, client| {
        client.has_outputs(client.outputs().len())
    });
    client.open("ruled", RED, None);
    client.open("wishing", GREEN, Some(FIRST));
    until(&mut fixture, &mut client, "both pictures", |fixture, _| {
        fixture.middle(SECOND) == RED && fixture.middle(FIRST) == GREEN
    });
    assert_eq!(client.windows()[0].size, (640, 480));
    assert!(!client.windows()[0].fullscreen);
    assert!(client.windows()[1].fullscreen);
}

#[test]
fn a_dark_display_keeps_its_windows_for_its_return() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    until(&mut fixture, &mut client, "outputs", |_, client| {
        client.has_outputs(2)
    });
    client.open("app", RED, Some(SECOND));
    until(&mut fixture, &mut client, "the picture", |fixture, _| fixture.middle(SECOND) == RED);
    fixture.plug(SECOND, false);
    until(&mut fixture, &mut client, "the neighbour", |fixture, client| {
        fixture.middle(FIRST) == RED
            && client.windows()[0].size == (800, 600)
            && client.outputs().len() == 1
    });
    fixture.plug(FIRST, false);
    until(&mut fixture, &mut client, "no output", |_, client| client.outputs().is_empty());
    fixture.plug(SECOND, true);
    until(&mut fixture, &mut client, "its own display", |fixture, client| {
        fixture.middle(SECOND) == RED && client.windows()[0].size == (640, 480)
    });
    assert!(!client.disconnected);
}

#[test]
fn popups_stay_on_the_display() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    client.open("app", RED, None);
    until(&mut fixture, &mut client, "the picture", |fixture, _| fixture.middle(FIRST) == RED);
    client.popup(0, (750, 580));
    until(&mut fixture, &mut client, "the popup's place", |_, client| !client.popups.is_empty());
    assert_eq!(client.popups[0], (600, 500, 200, 100));
}

#[test]
fn one_client_s_error_is_its_own() {
    let mut fixture = Fixture::pair();
    let mut good = fixture.client();
    good.open("good", GREEN, None);
    until(&mut fixture, &mut good, "the picture", |fixture, _| fixture.middle(FIRST) == GREEN);
    let mut bad = fixture.client();
    bad.commit_before_configure();
    until(&mut fixture, &mut bad, "the end of the bad one", |_, client| client.disconnected);
    assert!(good.turn());
    assert_eq!(fixture.middle(FIRST), GREEN);
}

/// Something that happens.
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

/// What must hold whatever happened.
fn check(fixture: &Fixture) {
    let state = &fixture.compositor.state;
    let lit = state.outputs.enabled_names();
    let name = |id| state.outputs.name(id).map(str::to_owned);
    for managed in &state.shell.windows {
        let shown_on = managed.shown_on.and_then(name);
        match &shown_on {
            Some(display) => assert!(lit.contains(display), "a window on {display}, lit are {lit:?}"),
            None => assert!(lit.is_empty(), "a window nowhere, lit are {lit:?}"),
        }
        let assigned_output = managed.assigned_output.as_ref().filter(|assigned_output| lit.contains(assigned_output));
        assert!(assigned_output.is_none() || assigned_output == shown_on.as_ref(), "a window away from assigned_output: {managed:?}");
    }
    for output in state.outputs.iter() {
        assert_eq!(output.global.is_some(), output.is_enabled());
        assert_eq!(output.scanout.is_some(), output.is_enabled());
    }
    if let Some(focus) = state.seat.get_keyboard().and_then(|keyboard| keyboard.current_focus()) {
        assert!(state.window_of(&focus).is_some(), "the keyboard is with a window that is gone");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Hundreds of operations in any order: windows are where they belong, and no client is cut.
    #[test]
    fn any_order_of_operations(operations in prop::collection::vec(operation(), 1..120)) {
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
                    let windows = &fixture.compositor.state.shell.windows;
                    let surface = windows.get(which).and_then(|managed| managed.toplevel()).map(|toplevel| toplevel.wl_surface().clone());
                    if let Some(surface) = surface {
                        fixture.compositor.state.focus_window(&surface);
                    }
                }
                _ => {}
            }
            client.turn();
            fixture.turn();
            check(&fixture);
            prop_assert!(!client.disconnected);
        }
    }
}
