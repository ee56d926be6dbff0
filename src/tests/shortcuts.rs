//! Shortcuts of the configuration.

use smithay::backend::input::KeyState;
use smithay::input::keyboard::Keycode;

use super::focus::{has_keyboard, shown, FIRST, RED};
use super::{until, Fixture};

/// Codes of linux/input-event-codes.h in xkb, which counts from 8.
const LOGO: u32 = 125 + 8;
const KEY_A: u32 = 30 + 8;
const KEY_B: u32 = 48 + 8;
const PRINT: u32 = 99 + 8;

fn with_shortcut(keys: &str, action: &str) -> Fixture {
    Fixture::new(&format!(
        "[headless]\ndisplays = [\"800x600\", \"640x480\"]\n\
         [keyboard]\nlayout = \"us,ru\"\n\
         [[shortcuts]]\nkeys = {keys:?}\n{action}\n"
    ))
}

/// Presses keys in their order and releases them in the opposite one.
fn press(fixture: &mut Fixture, codes: &[u32]) {
    let state = &mut fixture.compositor.state;
    for code in codes {
        state.key(Keycode::new(*code), KeyState::Pressed, 1);
    }
    for code in codes.iter().rev() {
        state.key(Keycode::new(*code), KeyState::Released, 1);
    }
}

#[test]
fn client_does_not_get_the_key_of_a_shortcut() {
    let mut fixture = with_shortcut("Super+b", "action = \"identify\"");
    let mut client = shown(&mut fixture, "client", RED, FIRST);
    until(&mut fixture, &mut client, "the keyboard", |_, client| has_keyboard(client, 0));
    let is_identified =
        |fixture: &Fixture| fixture.compositor.state.outputs.iter().all(|output| output.is_identified());
    press(&mut fixture, &[KEY_B]);
    assert!(!is_identified(&fixture));
    press(&mut fixture, &[LOGO, KEY_B]);
    assert!(is_identified(&fixture));
    press(&mut fixture, &[KEY_A]);
    until(&mut fixture, &mut client, "the last key", |_, client| {
        client.devices.keys.last() == Some(&(KEY_A - 8, false))
    });
    let of_b: Vec<_> = client.devices.keys.iter().filter(|(key, _)| *key == KEY_B - 8).collect();
    assert_eq!(of_b, [&(KEY_B - 8, true), &(KEY_B - 8, false)], "those without the modifier");
}

#[test]
fn shortcut_blanks_displays_until_the_next_key() {
    let mut fixture = with_shortcut("Super+b", "action = \"blank\"");
    press(&mut fixture, &[LOGO, KEY_B]);
    assert!(fixture.compositor.state.power.is_idle_blanked(), "releases do not unblank");
    // The key that unblanks displays does nothing else: it does not blank them again.
    press(&mut fixture, &[LOGO, KEY_B]);
    fixture.until("unblanked displays", |fixture| !fixture.compositor.state.power.is_idle_blanked());
    // As for a shortcut of one key.
    let mut fixture = with_shortcut("Print", "action = \"blank\"");
    for is_blanked in [true, false, true] {
        press(&mut fixture, &[PRINT]);
        assert_eq!(fixture.compositor.state.power.is_idle_blanked(), is_blanked);
    }
}

/// Also from a layout without Latin letters.
#[test]
fn shortcut_switches_to_the_next_layout() {
    let mut fixture = with_shortcut("Super+a", "action = \"next-layout\"");
    let layout = |fixture: &mut Fixture| {
        let state = &mut fixture.compositor.state;
        let keyboard = state.seat.get_keyboard().expect("a keyboard");
        keyboard.with_xkb_state(state, |context| context.xkb().lock().expect("a lock").active_layout().0)
    };
    for expected in [1, 0, 1] {
        press(&mut fixture, &[LOGO, KEY_A]);
        assert_eq!(layout(&mut fixture), expected);
    }
}

#[test]
fn shortcut_runs_a_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ran");
    let action = format!("action = \"run\"\ncommand = \"echo $XDG_SESSION_TYPE > {}\"", file.display());
    let mut fixture = with_shortcut("Print", &action);
    press(&mut fixture, &[PRINT]);
    fixture.until("what it wrote", |_| std::fs::read_to_string(&file).is_ok_and(|text| text == "wayland\n"));
}
