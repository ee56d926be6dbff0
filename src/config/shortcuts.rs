//! Chords of keys, and the shortcuts of the configuration.

use std::path::PathBuf;
use std::str::FromStr;

use smithay::input::keyboard::{keysyms, xkb, Keysym, ModifiersState};

use super::reader::{Reader, Section};

/// How many shortcuts there may be. Each key is compared with all of them.
const MAX: usize = 64;

/// Modifiers and a key, pressed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chord {
    pub ctrl: bool,
    pub alt: bool,
    pub shift: bool,
    pub logo: bool,
    pub key: Keysym,
}

impl FromStr for Chord {
    type Err = String;

    /// Reads names of modifiers and last of a keysym (xkbcommon-keysyms.h, without `XKB_KEY_`),
    /// joined by "+". The error says which name is unknown.
    fn from_str(text: &str) -> Result<Self, String> {
        let (modifiers, key) = match text.rsplit_once('+') {
            Some((modifiers, key)) => (modifiers.split('+').map(str::trim).collect(), key.trim()),
            None => (Vec::new(), text.trim()),
        };
        let keysym = xkb::keysym_from_name(key, xkb::KEYSYM_CASE_INSENSITIVE);
        if keysym.raw() == keysyms::KEY_NoSymbol {
            return Err(format!("{key:?} is no key; use a keysym's name such as \"BackSpace\""));
        }
        if keysym.is_modifier_key() {
            return Err(format!("{key:?} is a modifier; a key that is none comes last"));
        }
        let mut chord = Self { ctrl: false, alt: false, shift: false, logo: false, key: keysym };
        for name in modifiers {
            match name.to_ascii_lowercase().as_str() {
                "ctrl" | "control" => chord.ctrl = true,
                "alt" => chord.alt = true,
                "shift" => chord.shift = true,
                "super" | "logo" | "meta" => chord.logo = true,
                _ => return Err(format!("{name:?} is no modifier; use Ctrl, Alt, Shift or Super")),
            }
        }
        Ok(chord)
    }
}

impl Chord {
    /// Returns whether these are the modifiers, and this is the key.
    pub fn matches(&self, modifiers: &ModifiersState, keysym: Keysym) -> bool {
        (self.ctrl, self.alt, self.shift, self.logo)
            == (modifiers.ctrl, modifiers.alt, modifiers.shift, modifiers.logo)
            && self.key == keysym
    }
}

/// What a shortcut does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Blanks all displays until the next input.
    Blank,
    /// Shows each display's name on it.
    Identify,
    /// Switches to the keyboard's next layout.
    NextLayout,
    /// Writes a PNG of the display that has the focus into this folder.
    Screenshot { folder: PathBuf },
    /// Runs a shell command as a client.
    Run { command: String },
}

/// Keys that do something, whatever program has the keyboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortcut {
    pub keys: Chord,
    pub action: Action,
}

/// Reads a chord. `""` is none, if that `may_be_none`.
pub fn read_chord(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
    may_be_none: bool,
) -> Option<Option<Chord>> {
    section.parsed_by(reader, key, |text| match text.trim() {
        "" if may_be_none => Ok(None),
        text => text.parse().map(Some),
    })
}

/// Reads the shortcuts. One with a mistake is left out.
pub fn read_shortcuts(root: &mut Section<'_>, reader: &mut Reader<'_>) -> Vec<Shortcut> {
    let mut shortcuts: Vec<Shortcut> = Vec::new();
    for mut section in root.sections(reader, "shortcuts") {
        let span = section.span();
        let read = read_shortcut(&mut section, reader);
        section.finish(reader);
        let problem = match read {
            Ok(Some(shortcut)) if shortcuts.iter().any(|other| other.keys == shortcut.keys) => {
                "has the keys of one before, which applies"
            }
            Ok(Some(_)) if shortcuts.len() == MAX => "is one too many: 64 are the most",
            Ok(Some(shortcut)) => {
                shortcuts.push(shortcut);
                continue;
            }
            // Reported already.
            Ok(None) => continue,
            Err(problem) => problem,
        };
        reader.report(span, format!("this shortcut {problem}"));
    }
    shortcuts
}

/// Returns `None` if a value is not valid.
fn read_shortcut(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
) -> Result<Option<Shortcut>, &'static str> {
    let keys = read_chord(section, reader, "keys", false).flatten();
    let action = section.string(reader, "action");
    let command = section.string(reader, "command").filter(|command| !command.is_empty());
    let folder = section.value(reader, "folder", "an absolute path", |value| {
        value.as_str().map(PathBuf::from).filter(|path| path.is_absolute())
    });
    let action = match (action.as_deref(), command, folder) {
        (Some("blank"), None, None) => Action::Blank,
        (Some("identify"), None, None) => Action::Identify,
        (Some("next-layout"), None, None) => Action::NextLayout,
        (Some("screenshot"), None, Some(folder)) => Action::Screenshot { folder },
        (Some("screenshot"), None, None) if section.has("folder") => return Ok(None),
        (Some("screenshot"), None, None) => return Err("needs folder, the absolute path of a folder"),
        (Some("run"), Some(command), None) => Action::Run { command },
        (Some("run"), None, None) => return Err("needs command, a shell command"),
        (Some("blank" | "identify" | "next-layout" | "screenshot" | "run"), ..) => {
            return Err("has a key too many: command is for \"run\", and folder for \"screenshot\"");
        }
        _ => {
            return Err(
                "needs action, which is \"blank\", \"identify\", \"next-layout\", \"screenshot\" or \"run\"",
            );
        }
    };
    match keys {
        Some(keys) => Ok(Some(Shortcut { keys, action })),
        None if section.has("keys") => Ok(None),
        None => Err("needs keys, such as \"Super+l\""),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{parse, Config};

    fn read(text: &str) -> (Config, Vec<String>) {
        let (config, problems) = parse(Path::new("test.toml"), text);
        (config.expect("TOML"), problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn chords_need_known_names() {
        let chord: Chord = "Ctrl+ Alt +backspace".parse().expect("known names");
        let expected = Chord { ctrl: true, alt: true, shift: false, logo: false, key: Keysym::BackSpace };
        assert_eq!(chord, expected);
        assert!("Ctrl+Alt+Backspaces".parse::<Chord>().is_err_and(|error| error.contains("Backspaces")));
        assert!("Hyper+q".parse::<Chord>().is_err_and(|error| error.contains("Hyper")));
        for text in ["", "+", "Ctrl+", "a+b", "Super_L", "Ctrl+Shift_R"] {
            assert!(text.parse::<Chord>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn shortcuts_are_read() {
        let (config, problems) = read(
            "[[shortcuts]]\nkeys = \"Super+b\"\naction = \"blank\"\n\
             [[shortcuts]]\nkeys = \"Print\"\naction = \"screenshot\"\nfolder = \"/tmp\"\n\
             [[shortcuts]]\nkeys = \"Super+Return\"\naction = \"run\"\ncommand = \"foot\"\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        let actions: Vec<_> = config.shortcuts.into_iter().map(|shortcut| shortcut.action).collect();
        let expected = [
            Action::Blank,
            Action::Screenshot { folder: "/tmp".into() },
            Action::Run { command: "foot".into() },
        ];
        assert_eq!(actions, expected);
    }

    #[test]
    fn shortcut_with_a_mistake_is_left_out() {
        let (config, problems) = read(
            "[[shortcuts]]\nkeys = \"Super+bb\"\naction = \"blank\"\n\
             [[shortcuts]]\naction = \"blank\"\n\
             [[shortcuts]]\nkeys = \"F5\"\naction = \"run\"\n\
             [[shortcuts]]\nkeys = \"F5\"\naction = \"blink\"\n\
             [[shortcuts]]\nkeys = \"F5\"\naction = \"blank\"\ncommand = \"foot\"\n\
             [[shortcuts]]\nkeys = \"F5\"\naction = \"screenshot\"\nfolder = \"here\"\n\
             [[shortcuts]]\nkeys = \"F6\"\naction = \"blank\"\n\
             [[shortcuts]]\nkeys = \"F6\"\naction = \"identify\"\n",
        );
        assert_eq!(config.shortcuts.len(), 1);
        assert_eq!(config.shortcuts[0].action, Action::Blank);
        let lines: Vec<_> = problems.iter().filter_map(|text| text.split(':').nth(1)).collect();
        assert_eq!(lines, ["2", "4", "6", "9", "12", "19", "23"], "{problems:#?}");
    }
}
