//! Keys that are ours: VT switching and the end.

use smithay::input::keyboard::{keysyms, xkb, Keysym, ModifiersState};

/// What a key means to the compositor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    SwitchVt(i32),
    Exit,
    PowerButton,
}

/// The exit chord, ready to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chord {
    ctrl: bool,
    alt: bool,
    shift: bool,
    logo: bool,
    key: Keysym,
}

impl Chord {
    /// From names: modifiers, and last a keysym's name (xkbcommon-keysyms.h without `XKB_KEY_`).
    ///
    /// # Errors
    /// Says which name is unknown.
    pub fn new(names: &[String]) -> Result<Option<Self>, String> {
        let Some((key, modifiers)) = names.split_last() else { return Ok(None) };
        let keysym = xkb::keysym_from_name(key, xkb::KEYSYM_CASE_INSENSITIVE);
        if keysym.raw() == keysyms::KEY_NoSymbol {
            return Err(format!("exit_keys: {key:?} is no key; write a keysym's name such as \"BackSpace\""));
        }
        let mut chord = Self { ctrl: false, alt: false, shift: false, logo: false, key: keysym };
        for name in modifiers {
            match name.to_ascii_lowercase().as_str() {
                "ctrl" | "control" => chord.ctrl = true,
                "alt" => chord.alt = true,
                "shift" => chord.shift = true,
                "super" | "logo" | "meta" => chord.logo = true,
                _ => {
                    return Err(format!(
                        "exit_keys: {name:?} is no modifier; write Ctrl, Alt, Shift or Super"
                    ))
                }
            }
        }
        Ok(Some(chord))
    }

    fn is(&self, modifiers: &ModifiersState, keysym: Keysym) -> bool {
        (self.ctrl, self.alt, self.shift, self.logo)
            == (modifiers.ctrl, modifiers.alt, modifiers.shift, modifiers.logo)
            && self.key == keysym
    }
}

/// Whether a pressed key is ours, and the power button if it is to be. `raw` are the key's symbols without modifiers.
pub fn command(
    chord: Option<&Chord>,
    power_button: bool,
    modifiers: &ModifiersState,
    modified: Keysym,
    raw: &[Keysym],
) -> Option<Command> {
    let number = modified.raw();
    if power_button && number == keysyms::KEY_XF86PowerOff {
        return Some(Command::PowerButton);
    }
    if (keysyms::KEY_XF86Switch_VT_1..=keysyms::KEY_XF86Switch_VT_12).contains(&number) {
        return Some(Command::SwitchVt((number - keysyms::KEY_XF86Switch_VT_1 + 1) as i32));
    }
    // Layouts without those symbols have plain function keys.
    if modifiers.ctrl && modifiers.alt {
        let function = raw.iter().find(|key| (keysyms::KEY_F1..=keysyms::KEY_F12).contains(&key.raw()));
        if let Some(key) = function {
            return Some(Command::SwitchVt((key.raw() - keysyms::KEY_F1 + 1) as i32));
        }
    }
    let chord = chord?;
    std::iter::once(&modified).chain(raw).any(|key| chord.is(modifiers, *key)).then_some(Command::Exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chord(text: &str) -> Result<Option<Chord>, String> {
        let names: Vec<String> = text.split('+').map(str::to_owned).filter(|name| !name.is_empty()).collect();
        Chord::new(&names)
    }

    #[test]
    fn chords_are_read() {
        assert_eq!(chord(""), Ok(None));
        assert!(matches!(chord("Ctrl+Alt+BackSpace"), Ok(Some(_))));
        assert!(chord("Ctrl+Alt+Backspaces").is_err_and(|error| error.contains("Backspaces")));
        assert!(chord("Hyper+q").is_err_and(|error| error.contains("Hyper")));
    }

    #[test]
    fn commands() {
        let exit = chord("Ctrl+Alt+BackSpace").unwrap_or_default();
        let ctrl_alt = ModifiersState { ctrl: true, alt: true, ..ModifiersState::default() };
        let none = ModifiersState::default();
        let ask = |modifiers: &ModifiersState, key: u32| {
            command(exit.as_ref(), false, modifiers, Keysym::new(key), &[Keysym::new(key)])
        };
        assert_eq!(ask(&ctrl_alt, keysyms::KEY_BackSpace), Some(Command::Exit));
        assert_eq!(ask(&none, keysyms::KEY_BackSpace), None);
        assert_eq!(ask(&ctrl_alt, keysyms::KEY_F3), Some(Command::SwitchVt(3)));
        assert_eq!(ask(&none, keysyms::KEY_F3), None);
        assert_eq!(ask(&none, keysyms::KEY_XF86Switch_VT_12), Some(Command::SwitchVt(12)));
        assert_eq!(command(None, true, &ctrl_alt, Keysym::BackSpace, &[]), None);
        let button = Keysym::XF86_PowerOff;
        assert_eq!(command(None, false, &none, button, &[button]), None);
        assert_eq!(command(None, true, &none, button, &[button]), Some(Command::PowerButton));
    }
}
