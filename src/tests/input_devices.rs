//! Input devices one by one: keymaps of single keyboards, and devices that are disabled.

use geom_ipc::InputDevice;
use smithay::backend::input::KeyState;
use smithay::input::keyboard::Keycode;
use smithay::reexports::input::DeviceCapability;

use super::{until, Fixture, TestClient};
use crate::input::DeviceInfo;

const DISPLAYS: &str = "[headless]\ndisplays = [\"800x600\", \"800x600\"]\n";
/// Codes of linux/input-event-codes.h.
const KEY_A: u32 = 30;
const KEY_Y: u32 = 21;
const LEFT_SHIFT: u32 = 42;
const LEFT_ALT: u32 = 56;
const CAPS_LOCK: u32 = 58;
/// xkb's bits of modifiers.
const SHIFT: u32 = 1;
const LOCK: u32 = 2;

/// A service with the keyboards "main" and "scanner", and a program with the keyboard.
fn typing(config: &str) -> (Fixture, TestClient) {
    let mut fixture = Fixture::new(&format!("{DISPLAYS}{config}"));
    plug(&mut fixture, "main", DeviceCapability::Keyboard);
    plug(&mut fixture, "scanner", DeviceCapability::Keyboard);
    let mut client = fixture.client();
    client.open("app", 0x00ff_0000, None);
    until(&mut fixture, &mut client, "the keyboard", |_, client| client.devices.keyboard_on.is_some());
    (fixture, client)
}

fn plug(fixture: &mut Fixture, name: &str, capability: DeviceCapability) {
    fixture.plug_device(name, capability);
}

fn key(fixture: &mut Fixture, device: &str, code: u32, is_press: bool) {
    let state = if is_press { KeyState::Pressed } else { KeyState::Released };
    fixture.compositor.state.device_key(device, Keycode::new(code + 8), state, 1);
}

fn stroke(fixture: &mut Fixture, device: &str, codes: &[u32]) {
    codes.iter().for_each(|code| key(fixture, device, *code, true));
    codes.iter().rev().for_each(|code| key(fixture, device, *code, false));
}

fn until_keys(fixture: &mut Fixture, client: &mut TestClient, count: usize) {
    until(fixture, client, "the keys", |_, client| client.devices.keys.len() >= count);
    assert_eq!(client.devices.keys.len(), count, "{:?}", client.devices.keys);
}

fn device(fixture: &Fixture, name: &str) -> InputDevice {
    let devices = fixture.compositor.state.ipc_input_devices();
    devices.into_iter().find(|device| device.name == name).expect("the device")
}

fn reload(fixture: &mut Fixture, config: &str) {
    std::fs::write(fixture.config_path(), format!("{DISPLAYS}{config}")).expect("a file");
    fixture.compositor.state.reload();
}

const SCANNER: &str = "[keyboard]\nlayout = \"us\"\n[[input]]\nname = \"scanner\"\nlayout = \"de\"\n";

/// A barcode scanner that types 30 characters.
#[test]
fn keymap_changes_with_the_keyboard_that_is_pressed_and_once_only() {
    let (mut fixture, mut client) = typing(SCANNER);
    stroke(&mut fixture, "main", &[KEY_Y]);
    until_keys(&mut fixture, &mut client, 2);
    let before = client.devices.keymaps.len();
    for _ in 0..30 {
        stroke(&mut fixture, "scanner", &[KEY_Y]);
    }
    until_keys(&mut fixture, &mut client, 62);
    let keymaps = &client.devices.keymaps[before..];
    assert_eq!(keymaps.len(), 1);
    assert!(keymaps[0].contains("\"German\"") && !keymaps[0].contains("\"English (US)\""));
    stroke(&mut fixture, "main", &[KEY_Y]);
    until_keys(&mut fixture, &mut client, 64);
    let keymaps = &client.devices.keymaps[before..];
    assert_eq!(keymaps.len(), 2);
    assert!(keymaps[1].contains("\"English (US)\""));
    let scanner = device(&fixture, "scanner");
    assert_eq!((scanner.settings.layout.as_deref(), scanner.warnings.len()), (Some("de"), 0));
    assert_eq!(device(&fixture, "main").settings.layout, None);
}

/// What a person holds does not change what the scanner types, and nothing stays pressed.
#[test]
fn keys_that_are_held_on_another_keyboard_are_released() {
    let (mut fixture, mut client) = typing(SCANNER);
    key(&mut fixture, "main", LEFT_SHIFT, true);
    key(&mut fixture, "main", KEY_A, true);
    stroke(&mut fixture, "scanner", &[KEY_Y]);
    until_keys(&mut fixture, &mut client, 6);
    let mut released = client.devices.keys[2..4].to_vec();
    released.sort_unstable();
    assert_eq!(released, [(KEY_A, false), (LEFT_SHIFT, false)]);
    assert_eq!(client.devices.keys[4..], [(KEY_Y, true), (KEY_Y, false)]);
    assert_eq!(client.devices.modifiers.0, 0);
    // Their releases change nothing; Shift that is still held works again.
    key(&mut fixture, "main", KEY_A, false);
    key(&mut fixture, "main", KEY_Y, true);
    until_keys(&mut fixture, &mut client, 8);
    assert_eq!(client.devices.keys[6..], [(LEFT_SHIFT, true), (KEY_Y, true)]);
    until(&mut fixture, &mut client, "Shift", |_, client| client.devices.modifiers.0 == SHIFT);
    key(&mut fixture, "main", KEY_Y, false);
    key(&mut fixture, "main", LEFT_SHIFT, false);
    until_keys(&mut fixture, &mut client, 10);
    let keyboard = fixture.compositor.state.seat.get_keyboard().expect("a keyboard");
    assert!(keyboard.pressed_keys().is_empty());
    until(&mut fixture, &mut client, "no Shift", |_, client| client.devices.modifiers.0 == 0);
}

#[test]
fn locks_stay_and_each_keymap_has_its_layout() {
    let config = SCANNER.replace("\"us\"", "\"us,fr\"\noptions = \"grp:alt_shift_toggle\"");
    let (mut fixture, mut client) = typing(&config);
    stroke(&mut fixture, "main", &[CAPS_LOCK]);
    stroke(&mut fixture, "main", &[LEFT_ALT, LEFT_SHIFT]);
    until(&mut fixture, &mut client, "the second layout", |_, client| client.devices.modifiers.2 == 1);
    stroke(&mut fixture, "scanner", &[KEY_A]);
    until_keys(&mut fixture, &mut client, 8);
    assert_eq!(client.devices.modifiers, (0, LOCK, 0));
    assert_eq!(
        fixture.compositor.state.seat.get_keyboard().map(|all| all.led_state().caps),
        Some(Some(true))
    );
    stroke(&mut fixture, "main", &[KEY_A]);
    until_keys(&mut fixture, &mut client, 10);
    assert_eq!(client.devices.modifiers, (0, LOCK, 1));
    // The lock is the seat's: any keyboard ends it.
    stroke(&mut fixture, "scanner", &[CAPS_LOCK]);
    stroke(&mut fixture, "main", &[KEY_A]);
    until_keys(&mut fixture, &mut client, 14);
    assert_eq!(client.devices.modifiers, (0, 0, 1));
}

#[test]
fn unknown_layout_of_a_keyboard_is_reported_and_that_of_all_applies() {
    let unknown = SCANNER.replace("\"de\"", "\"nowhere\"");
    let (mut fixture, mut client) = typing(&unknown);
    let notices = |fixture: &Fixture| {
        let all = fixture.compositor.state.notices.recent();
        all.iter().filter(|text| text.contains("\"nowhere\"")).count()
    };
    assert_eq!(notices(&fixture), 1);
    let scanner = device(&fixture, "scanner");
    assert!(scanner.warnings[0].starts_with("layout: "), "{:?}", scanner.warnings);
    let before = client.devices.keymaps.len();
    stroke(&mut fixture, "scanner", &[KEY_Y]);
    until_keys(&mut fixture, &mut client, 2);
    assert_eq!(client.devices.keymaps.len(), before);
    reload(&mut fixture, &unknown);
    assert_eq!(notices(&fixture), 1);
    reload(&mut fixture, SCANNER);
    assert_eq!((notices(&fixture), device(&fixture, "scanner").warnings.len()), (0, 0));
    stroke(&mut fixture, "scanner", &[KEY_Y]);
    until_keys(&mut fixture, &mut client, 4);
    assert!(client.devices.keymaps.last().is_some_and(|keymap| keymap.contains("\"German\"")));
    // Settings that are gone from the file are gone from the device.
    reload(&mut fixture, "[keyboard]\nlayout = \"us\"\n");
    stroke(&mut fixture, "scanner", &[KEY_Y]);
    until_keys(&mut fixture, &mut client, 6);
    assert!(client.devices.keymaps.last().is_some_and(|keymap| keymap.contains("\"English (US)\"")));
}

/// The keymap of all keyboards changes while a key of the scanner is held.
#[test]
fn reload_while_a_scanner_types_leaves_no_key_pressed() {
    let (mut fixture, mut client) = typing(SCANNER);
    key(&mut fixture, "scanner", KEY_A, true);
    reload(&mut fixture, &SCANNER.replace("\"us\"", "\"fr\""));
    until(&mut fixture, &mut client, "the release", |_, client| {
        client.devices.keys.last() == Some(&(KEY_A, false))
    });
    key(&mut fixture, "scanner", KEY_A, false);
    stroke(&mut fixture, "main", &[KEY_Y]);
    until_keys(&mut fixture, &mut client, 4);
    assert!(client.devices.keymaps.last().is_some_and(|keymap| keymap.contains("\"French\"")));
    let keyboard = fixture.compositor.state.seat.get_keyboard().expect("a keyboard");
    assert!(keyboard.pressed_keys().is_empty());
}

#[test]
fn keys_of_a_keyboard_that_is_gone_are_released() {
    let (mut fixture, mut client) = typing(SCANNER);
    key(&mut fixture, "scanner", KEY_A, true);
    fixture.compositor.state.device_removed("scanner");
    until_keys(&mut fixture, &mut client, 2);
    assert_eq!(client.devices.keys, [(KEY_A, true), (KEY_A, false)]);
}

/// One key on two keyboards: a client gets one press and one release.
#[test]
fn key_that_two_keyboards_hold_is_one_key() {
    let (mut fixture, mut client) = typing("");
    for (device, is_press) in [("main", true), ("scanner", true), ("main", false), ("scanner", false)] {
        key(&mut fixture, device, KEY_A, is_press);
    }
    stroke(&mut fixture, "main", &[KEY_Y]);
    until_keys(&mut fixture, &mut client, 4);
    assert_eq!(client.devices.keys[..2], [(KEY_A, true), (KEY_A, false)]);
}

#[test]
fn disabled_devices_show_no_cursor_and_do_not_count() {
    let disabled = "[[input]]\nkind = [\"mouse\", \"touch\"]\nenabled = false\n";
    let mut fixture = Fixture::new(&format!("{DISPLAYS}{disabled}"));
    let mouse = DeviceInfo {
        sysname: "event1".into(),
        name: "mouse".into(),
        capabilities: vec![DeviceCapability::Pointer],
        kinds: vec![crate::config::DeviceKind::Mouse],
        ..DeviceInfo::default()
    };
    fixture.compositor.state.device_added(mouse);
    let has_cursor = |fixture: &Fixture| {
        let state = &fixture.compositor.state;
        (
            state.input.pointer().is_present(),
            state.input.devices.has_enabled(),
            state.seat.get_pointer().is_some(),
        )
    };
    assert_eq!(has_cursor(&fixture), (false, false, false));
    reload(&mut fixture, "");
    assert_eq!(has_cursor(&fixture), (true, true, true));
    reload(&mut fixture, disabled);
    assert_eq!(has_cursor(&fixture), (false, false, false));
}
