//! Keyboards: locks and layouts over reloads.

use smithay::backend::input::KeyState;
use smithay::input::keyboard::{Keycode, LedState, ModifiersState};

use super::Fixture;

const DISPLAY: &str = "[headless]\ndisplays = [\"800x600\"]\n";
/// Codes of linux/input-event-codes.h in xkb, which counts from 8.
const LEFT_ALT: u32 = 56 + 8;
const LEFT_SHIFT: u32 = 42 + 8;
const CAPS_LOCK: u32 = 58 + 8;

fn press(fixture: &mut Fixture, codes: &[u32]) {
    let state = &mut fixture.compositor.state;
    for code in codes {
        state.key(Keycode::new(*code), KeyState::Pressed, 0);
    }
    for code in codes.iter().rev() {
        state.key(Keycode::new(*code), KeyState::Released, 0);
    }
}

fn reload(fixture: &mut Fixture, config: &str) {
    std::fs::write(fixture.config_path(), format!("{DISPLAY}{config}")).expect("a file");
    fixture.compositor.state.reload();
}

/// The layout's number, the locked modifiers, and the lamps.
fn keyboard(fixture: &mut Fixture) -> (u32, ModifiersState, LedState) {
    let state = &mut fixture.compositor.state;
    let keyboard = state.seat.get_keyboard().expect("a keyboard");
    let layout =
        keyboard.with_xkb_state(state, |context| context.xkb().lock().expect("a lock").active_layout().0);
    (layout, keyboard.modifier_state(), keyboard.led_state())
}

/// A person who saves another line of the configuration goes on typing in the second layout.
#[test]
fn reload_keeps_layout_and_locks() {
    let layouts = "[keyboard]\nlayout = \"us,de\"\noptions = \"grp:alt_shift_toggle\"\n";
    let mut fixture = Fixture::new(&format!("{DISPLAY}{layouts}"));
    press(&mut fixture, &[LEFT_ALT, LEFT_SHIFT]);
    press(&mut fixture, &[CAPS_LOCK]);
    let (layout, modifiers, lamps) = keyboard(&mut fixture);
    assert_eq!((layout, modifiers.caps_lock, lamps.caps), (1, true, Some(true)));
    reload(&mut fixture, &format!("{layouts}repeat_rate = 30\n[cursor]\nsize = 32\n"));
    let (layout, modifiers, lamps) = keyboard(&mut fixture);
    assert_eq!((layout, modifiers.caps_lock, lamps.caps), (1, true, Some(true)));
}

/// A new keymap begins with its first layout, but Caps Lock and its lamp stay.
#[test]
fn new_keymap_keeps_locks() {
    let mut fixture = Fixture::new(&format!("{DISPLAY}[keyboard]\nlayout = \"us\"\n"));
    press(&mut fixture, &[CAPS_LOCK]);
    reload(&mut fixture, "[keyboard]\nlayout = \"de,us\"\n");
    let (layout, modifiers, lamps) = keyboard(&mut fixture);
    assert_eq!((layout, modifiers.caps_lock, modifiers.num_lock), (0, true, false));
    assert_eq!((lamps.caps, lamps.num), (Some(true), Some(false)));
    assert_eq!(fixture.compositor.state.input.lamps(), lamps.into());
}

/// No key would end it.
#[test]
fn lock_without_a_key_is_not_kept() {
    let mut fixture = Fixture::new(&format!("{DISPLAY}[keyboard]\nlayout = \"us\"\n"));
    press(&mut fixture, &[CAPS_LOCK]);
    reload(&mut fixture, "[keyboard]\noptions = \"ctrl:nocaps\"\n");
    let (_, modifiers, lamps) = keyboard(&mut fixture);
    assert_eq!((modifiers.caps_lock, lamps.caps), (false, Some(false)));
}

#[test]
fn num_lock_is_on_at_the_start_if_configured() {
    for is_on in [false, true] {
        let mut fixture = Fixture::new(&format!("{DISPLAY}[keyboard]\nnum_lock = {is_on}\n"));
        let (_, modifiers, lamps) = keyboard(&mut fixture);
        assert_eq!((modifiers.num_lock, lamps.num), (is_on, Some(is_on)));
        assert_eq!(fixture.compositor.state.input.lamps(), lamps.into());
    }
}

/// A layout that xkb does not know leaves the present one, and is reported until it is right.
#[test]
fn unknown_layout_is_reported_until_it_is_right() {
    let mut fixture = Fixture::new(&format!("{DISPLAY}[keyboard]\nlayout = \"de\"\n"));
    let notices = |fixture: &Fixture| {
        let all = fixture.compositor.state.notices.recent();
        all.iter().filter(|text| text.contains("keyboard layout")).count()
    };
    for (layout, count) in [("nowhere", 1), ("nowhere", 1), ("de", 0)] {
        reload(&mut fixture, &format!("[keyboard]\nlayout = {layout:?}\n"));
        assert_eq!(notices(&fixture), count, "{layout}");
    }
}
