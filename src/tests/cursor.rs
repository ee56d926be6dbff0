//! When the cursor is shown, and that a hidden one costs nothing.

use smithay::reexports::input::DeviceCapability::{Pointer, Touch};

use super::Fixture;

const DISPLAY: &str = "HEADLESS-1";

impl Fixture {
    /// Returns where the cursor is on the first virtual display, in its pixels, if it is shown.
    pub fn cursor(&mut self) -> Option<(i32, i32)> {
        let state = &mut self.compositor.state;
        let id = state.outputs.id(DISPLAY).expect("the display");
        state.input.pointer_mut().cursor_on(id, &state.outputs).map(|cursor| cursor.position)
    }
}

/// cage 422, labwc 1535: the receiver of a keyboard is a mouse that is never moved.
#[test]
fn cursor_is_shown_from_the_first_motion_until_a_touch() {
    let mut fixture = Fixture::new("[headless]\ndisplays = [\"800x600\"]\n");
    fixture.plug_device("event1", Pointer);
    fixture.plug_device("event2", Touch);
    fixture.iterate();
    assert_eq!(fixture.cursor(), None, "it was never moved");
    fixture.point(300.0, 200.0);
    assert!(fixture.cursor().is_some());
    fixture.tap(100.0, 100.0);
    assert_eq!(fixture.cursor(), None);
    fixture.click();
    assert!(fixture.cursor().is_some(), "a click is use too");
    // A KVM switch takes the mouse away and gives it back.
    fixture.compositor.state.device_removed("event1");
    fixture.plug_device("event1", Pointer);
    assert_eq!(fixture.cursor(), None);
    fixture.point(301.0, 200.0);
    assert!(fixture.cursor().is_some());
}

#[test]
fn cursor_is_hidden_when_it_has_not_been_used_for_the_configured_time() {
    let config = "[headless]\ndisplays = [\"800x600\"]\n[cursor]\nhide_after = 0.2\n";
    let mut fixture = Fixture::new(config);
    fixture.plug_device("event1", Pointer);
    for x in [100.0, 200.0] {
        fixture.point(x, 100.0);
        assert!(fixture.cursor().is_some());
        fixture.until("a hidden cursor", |fixture| fixture.cursor().is_none());
    }
}

#[test]
fn cursor_that_is_never_shown_is_not_redrawn() {
    let config = "[headless]\ndisplays = [\"800x600\"]\n[cursor]\nvisible = \"never\"\n";
    let mut fixture = Fixture::new(config);
    fixture.plug_device("event1", Pointer);
    fixture.until("no frame", |fixture| {
        fixture.iterate();
        fixture.compositor.state.timers.next().is_none_or(|at| at > fixture.compositor.state.now())
            && fixture.compositor.state.pending_redraws.is_empty()
    });
    fixture.point(300.0, 200.0);
    fixture.click();
    assert_eq!(fixture.cursor(), None);
    assert!(fixture.compositor.state.pending_redraws.is_empty(), "motion that shows nothing");
}

#[test]
fn configured_visibility_is_applied_at_a_reload() {
    let displays = "[headless]\ndisplays = [\"800x600\"]\n";
    let mut fixture = Fixture::new(&format!("{displays}[cursor]\nvisible = \"always\"\n"));
    fixture.plug_device("event1", Pointer);
    fixture.plug_device("event2", Touch);
    assert!(fixture.cursor().is_some(), "without motion");
    fixture.tap(100.0, 100.0);
    assert!(fixture.cursor().is_some());
    std::fs::write(fixture.config_path(), format!("{displays}[cursor]\nvisible = \"never\"\n"))
        .expect("a file");
    fixture.compositor.state.reload();
    assert_eq!(fixture.cursor(), None);
}
