//! Keys that the compositor takes: VT switching, the exit chord, the power button and shortcuts.

use smithay::input::keyboard::{keysyms, Keysym, ModifiersState};

use crate::config::{Chord, Config};

/// What a key commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Switch to this VT.
    SwitchVt(i32),
    /// End the service.
    Exit,
    PowerButton,
    /// The shortcut of the configuration at this place.
    Shortcut(usize),
}

/// A key that is pressed or released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyEvent {
    pub is_press: bool,
    /// The press unblanks displays.
    pub unblanks: bool,
    /// It is the release of a key whose press clients did not receive.
    pub was_withheld: bool,
    /// The client with the keyboard's focus can receive it.
    pub client_accepts: bool,
}

/// Who receives a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRecipient {
    /// The compositor, as a command.
    Compositor(Command),
    /// The client with the keyboard's focus.
    Client,
    /// No one: it had another effect already, or the client cannot receive it.
    Withheld,
}

impl KeyEvent {
    /// Returns who receives the key; `command` is what it commands if it is pressed.
    pub fn recipient(self, command: Option<Command>) -> KeyRecipient {
        match command {
            // The press that unblanks displays does not suspend the machine.
            Some(Command::PowerButton) if self.unblanks => KeyRecipient::Withheld,
            Some(command) if self.is_press => KeyRecipient::Compositor(command),
            _ if self.unblanks || self.was_withheld || !self.client_accepts => KeyRecipient::Withheld,
            _ => KeyRecipient::Client,
        }
    }
}

/// Returns what a pressed key commands; the power button and the keys that switch VTs only if the
/// configuration gives them to the compositor. `raw` are the key's keysyms without modifiers.
pub fn command(
    config: &Config,
    modifiers: &ModifiersState,
    modified: Keysym,
    raw: &[Keysym],
) -> Option<Command> {
    let vt_keys = config.vt_keys;
    let number = modified.raw();
    if config.power.takes_power_button() && number == keysyms::KEY_XF86PowerOff {
        return Some(Command::PowerButton);
    }
    if vt_keys && (keysyms::KEY_XF86Switch_VT_1..=keysyms::KEY_XF86Switch_VT_12).contains(&number) {
        return Some(Command::SwitchVt((number - keysyms::KEY_XF86Switch_VT_1 + 1) as i32));
    }
    // Some layouts have plain function keys instead of those keysyms.
    if vt_keys && modifiers.ctrl && modifiers.alt {
        let function = raw.iter().find(|key| (keysyms::KEY_F1..=keysyms::KEY_F12).contains(&key.raw()));
        if let Some(key) = function {
            return Some(Command::SwitchVt((key.raw() - keysyms::KEY_F1 + 1) as i32));
        }
    }
    let is_pressed =
        |chord: &Chord| std::iter::once(&modified).chain(raw).any(|key| chord.matches(modifiers, *key));
    if config.exit_keys.as_ref().is_some_and(is_pressed) {
        return Some(Command::Exit);
    }
    let shortcut = config.shortcuts.iter().position(|shortcut| is_pressed(&shortcut.keys));
    shortcut.map(Command::Shortcut)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn client_receives_keys_that_no_one_else_takes() {
        let press = KeyEvent { is_press: true, unblanks: false, was_withheld: false, client_accepts: true };
        let release = KeyEvent { is_press: false, ..press };
        let exit = Some(Command::Exit);
        for (event, command, recipient) in [
            (press, None, KeyRecipient::Client),
            (press, exit, KeyRecipient::Compositor(Command::Exit)),
            // The client received its press, before the other keys of the chord were pressed.
            (release, exit, KeyRecipient::Client),
            (release, None, KeyRecipient::Client),
            (KeyEvent { was_withheld: true, ..release }, None, KeyRecipient::Withheld),
            (KeyEvent { unblanks: true, ..press }, None, KeyRecipient::Withheld),
            (KeyEvent { unblanks: true, ..press }, exit, KeyRecipient::Compositor(Command::Exit)),
            (KeyEvent { unblanks: true, ..press }, Some(Command::PowerButton), KeyRecipient::Withheld),
            (press, Some(Command::PowerButton), KeyRecipient::Compositor(Command::PowerButton)),
            (KeyEvent { client_accepts: false, ..press }, None, KeyRecipient::Withheld),
        ] {
            assert_eq!(event.recipient(command), recipient, "{event:?} {command:?}");
        }
    }

    fn config(text: &str) -> Config {
        crate::config::parse(Path::new("test.toml"), text).0.expect("TOML")
    }

    #[test]
    fn chord_function_keys_and_power_button_are_commands() {
        let ctrl_alt = ModifiersState { ctrl: true, alt: true, ..ModifiersState::default() };
        let none = ModifiersState::default();
        let command_of = |text: &str, modifiers: &ModifiersState, key: u32| {
            command(&config(text), modifiers, Keysym::new(key), &[Keysym::new(key)])
        };
        assert_eq!(command_of("", &ctrl_alt, keysyms::KEY_BackSpace), Some(Command::Exit));
        assert_eq!(command_of("", &none, keysyms::KEY_BackSpace), None);
        assert_eq!(command_of("exit_keys = \"\"", &ctrl_alt, keysyms::KEY_BackSpace), None);
        assert_eq!(command_of("", &ctrl_alt, keysyms::KEY_F3), Some(Command::SwitchVt(3)));
        assert_eq!(command_of("", &none, keysyms::KEY_F3), None);
        let vt_12 = keysyms::KEY_XF86Switch_VT_12;
        assert_eq!(command_of("", &none, vt_12), Some(Command::SwitchVt(12)));
        for (modifiers, key) in [(&ctrl_alt, keysyms::KEY_F3), (&none, vt_12)] {
            assert_eq!(command_of("vt_keys = false", modifiers, key), None, "VT keys are off");
        }
        let button = keysyms::KEY_XF86PowerOff;
        assert_eq!(command_of("", &none, button), None);
        let text = "[power]\npower_button = \"blank\"";
        assert_eq!(command_of(text, &none, button), Some(Command::PowerButton));
    }

    #[test]
    fn shortcuts_come_behind_what_ends_the_service() {
        let config = config(
            "[[shortcuts]]\nkeys = \"Ctrl+Alt+BackSpace\"\naction = \"blank\"\n\
             [[shortcuts]]\nkeys = \"Super+l\"\naction = \"blank\"\n",
        );
        let logo = ModifiersState { logo: true, ..ModifiersState::default() };
        let ctrl_alt = ModifiersState { ctrl: true, alt: true, ..ModifiersState::default() };
        let keys = [Keysym::l];
        assert_eq!(command(&config, &logo, Keysym::l, &keys), Some(Command::Shortcut(1)));
        assert_eq!(command(&config, &ctrl_alt, Keysym::l, &keys), None);
        assert_eq!(command(&config, &ctrl_alt, Keysym::BackSpace, &[]), Some(Command::Exit));
        // By the key's symbol without modifiers, as for "Super+Shift+l", which types L.
        let shifted = ModifiersState { logo: true, shift: true, ..ModifiersState::default() };
        assert_eq!(command(&config, &shifted, Keysym::L, &keys), None);
    }
}
