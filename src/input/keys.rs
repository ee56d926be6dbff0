//! Keys that the compositor takes: VT switching, the exit chord and the power button.

use smithay::input::keyboard::{keysyms, xkb, Keysym, ModifiersState};

/// What a key commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Switch to this VT.
    SwitchVt(i32),
    /// End the service.
    Exit,
    PowerButton,
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

/// The keys that end the service, pressed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chord {
    ctrl: bool,
    alt: bool,
    shift: bool,
    logo: bool,
    key: Keysym,
}

impl Chord {
    /// Reads the names of modifiers and last of a keysym (xkbcommon-keysyms.h, without `XKB_KEY_`).
    /// Without names there is no chord.
    ///
    /// # Errors
    /// Returns which name is unknown.
    pub fn new(names: &[String]) -> Result<Option<Self>, String> {
        let Some((key, modifiers)) = names.split_last() else { return Ok(None) };
        let keysym = xkb::keysym_from_name(key, xkb::KEYSYM_CASE_INSENSITIVE);
        if keysym.raw() == keysyms::KEY_NoSymbol {
            return Err(format!("exit_keys: {key:?} is no key; use a keysym's name such as \"BackSpace\""));
        }
        let mut chord = Self { ctrl: false, alt: false, shift: false, logo: false, key: keysym };
        for name in modifiers {
            match name.to_ascii_lowercase().as_str() {
                "ctrl" | "control" => chord.ctrl = true,
                "alt" => chord.alt = true,
                "shift" => chord.shift = true,
                "super" | "logo" | "meta" => chord.logo = true,
                _ => {
                    return Err(format!("exit_keys: {name:?} is no modifier; use Ctrl, Alt, Shift or Super"))
                }
            }
        }
        Ok(Some(chord))
    }

    fn matches(&self, modifiers: &ModifiersState, keysym: Keysym) -> bool {
        (self.ctrl, self.alt, self.shift, self.logo)
            == (modifiers.ctrl, modifiers.alt, modifiers.shift, modifiers.logo)
            && self.key == keysym
    }
}

/// Returns what a pressed key commands; the power button and the keys that switch VTs only if the
/// configuration gives them to the compositor. `raw` are the key's keysyms without modifiers.
pub fn command(
    chord: Option<&Chord>,
    power_button: bool,
    vt_keys: bool,
    modifiers: &ModifiersState,
    modified: Keysym,
    raw: &[Keysym],
) -> Option<Command> {
    let number = modified.raw();
    if power_button && number == keysyms::KEY_XF86PowerOff {
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
    let chord = chord?;
    std::iter::once(&modified).chain(raw).any(|key| chord.matches(modifiers, *key)).then_some(Command::Exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chord(text: &str) -> Result<Option<Chord>, String> {
        let names: Vec<String> = text.split('+').map(str::to_owned).filter(|name| !name.is_empty()).collect();
        Chord::new(&names)
    }

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

    #[test]
    fn exit_chord_needs_known_names() {
        assert_eq!(chord(""), Ok(None));
        assert!(matches!(chord("Ctrl+Alt+BackSpace"), Ok(Some(_))));
        assert!(chord("Ctrl+Alt+Backspaces").is_err_and(|error| error.contains("Backspaces")));
        assert!(chord("Hyper+q").is_err_and(|error| error.contains("Hyper")));
    }

    #[test]
    fn chord_function_keys_and_power_button_are_commands() {
        let exit = chord("Ctrl+Alt+BackSpace").unwrap_or_default();
        let ctrl_alt = ModifiersState { ctrl: true, alt: true, ..ModifiersState::default() };
        let none = ModifiersState::default();
        let command_of = |modifiers: &ModifiersState, key: u32| {
            command(exit.as_ref(), false, true, modifiers, Keysym::new(key), &[Keysym::new(key)])
        };
        assert_eq!(command_of(&ctrl_alt, keysyms::KEY_BackSpace), Some(Command::Exit));
        assert_eq!(command_of(&none, keysyms::KEY_BackSpace), None);
        assert_eq!(command_of(&ctrl_alt, keysyms::KEY_F3), Some(Command::SwitchVt(3)));
        assert_eq!(command_of(&none, keysyms::KEY_F3), None);
        assert_eq!(command_of(&none, keysyms::KEY_XF86Switch_VT_12), Some(Command::SwitchVt(12)));
        assert_eq!(command(None, true, true, &ctrl_alt, Keysym::BackSpace, &[]), None);
        for (modifiers, key) in [(&ctrl_alt, keysyms::KEY_F3), (&none, keysyms::KEY_XF86Switch_VT_12)] {
            let key = Keysym::new(key);
            assert_eq!(command(None, false, false, modifiers, key, &[key]), None, "VT keys are off");
        }
        let button = Keysym::XF86_PowerOff;
        assert_eq!(command(None, false, true, &none, button, &[button]), None);
        assert_eq!(command(None, true, true, &none, button, &[button]), Some(Command::PowerButton));
    }
}
