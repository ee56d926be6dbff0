//! The keyboard layout that the system is configured for, as `localectl set-x11-keymap` and
//! Debian's keyboard-configuration write it. It applies if `[keyboard]` names nothing.
//!
//! The files are read, and systemd-localed is not asked: that would wait for D-Bus and for the
//! start of a service, while displays are still black.

use std::io;
use std::path::Path;

use tracing::{debug, warn};

use super::input::{is_xkb_name, Keyboard};
use super::open::read_system_text;

/// Maximum size of such a file, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// The layout of a variant that has none.
pub const DEFAULT_LAYOUT: &str = "us";

/// Variables that libxkbcommon reads for names that are empty (xkb_rule_names in xkbcommon.h).
const VARIABLES: [&str; 4] =
    ["XKB_DEFAULT_LAYOUT", "XKB_DEFAULT_MODEL", "XKB_DEFAULT_VARIANT", "XKB_DEFAULT_OPTIONS"];

/// The form of a file.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// Assignments as in a shell: `XKBLAYOUT="us,de"` (vconsole.conf(5), keyboard(5)).
    Assignments,
    /// `Option "XkbLayout" "us,de"` (xorg.conf(5)).
    Xorg,
}

/// The files, in falling precedence.
const FILES: [(&str, Form); 3] = [
    ("etc/vconsole.conf", Form::Assignments),
    ("etc/default/keyboard", Form::Assignments),
    ("etc/X11/xorg.conf.d/00-keyboard.conf", Form::Xorg),
];

/// Sets the names that the system is configured for, unless the configuration or the environment
/// has some.
pub fn use_system_keyboard(keyboard: &mut Keyboard) {
    let has_variable = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    use_files(keyboard, Path::new("/"), has_variable);
}

/// Sets the names of the first file that has any, unless the configuration has some, or the
/// environment, which libxkbcommon reads. `root` is the folder of `etc`.
fn use_files(keyboard: &mut Keyboard, root: &Path, has_variable: impl Fn(&str) -> bool) {
    let names = [&keyboard.layout, &keyboard.variant, &keyboard.model, &keyboard.options];
    if names.iter().any(|name| !name.is_empty()) || VARIABLES.into_iter().any(&has_variable) {
        // libxkbcommon leaves out a variant without a layout.
        if keyboard.layout.is_empty() && !keyboard.variant.is_empty() && !has_variable(VARIABLES[0]) {
            DEFAULT_LAYOUT.clone_into(&mut keyboard.layout);
        }
        return;
    }
    for (file, form) in FILES {
        let path = root.join(file);
        let text = match read_system_text(&path, MAX_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                warn!(file = %path.display(), %error, "cannot read the system's keyboard layout");
                continue;
            }
        };
        let found = parse(&text, form, keyboard);
        if found {
            debug!(file = %path.display(), layout = keyboard.layout, "keyboard layout of the system");
            return;
        }
    }
}

/// Reads names into `keyboard`. Returns whether there are any.
fn parse(text: &str, form: Form, keyboard: &mut Keyboard) -> bool {
    let mut found = false;
    for line in text.lines() {
        let assigned = match form {
            Form::Assignments => assignment(line),
            Form::Xorg => xorg_option(line),
        };
        let Some((name, value)) = assigned else { continue };
        let target = match name.to_ascii_lowercase().as_str() {
            "xkblayout" => &mut keyboard.layout,
            "xkbvariant" => &mut keyboard.variant,
            "xkbmodel" => &mut keyboard.model,
            "xkboptions" => &mut keyboard.options,
            _ => continue,
        };
        if !value.is_empty() && is_xkb_name(value) {
            value.clone_into(target);
            found = true;
        }
    }
    found
}

/// Reads `NAME=value`, whose value may have quotes around it.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim().split_once('=')?;
    let value = value.trim();
    // A comment may follow.
    let quoted = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.split(quote).next());
    let bare = || value.split_whitespace().next().unwrap_or_default();
    Some((name.trim(), quoted.unwrap_or_else(bare)))
}

/// Reads `Option "name" "value"`.
fn xorg_option(line: &str) -> Option<(&str, &str)> {
    let mut parts = line.trim().split('"');
    let keyword = parts.next()?.trim();
    let (name, _, value) = (parts.next()?, parts.next()?, parts.next()?);
    keyword.eq_ignore_ascii_case("option").then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[(&str, &str)], mut keyboard: Keyboard, variable: Option<&str>) -> [String; 4] {
        let root = tempfile::tempdir().expect("a folder");
        for (file, text) in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        use_files(&mut keyboard, root.path(), |name| variable == Some(name));
        [keyboard.layout, keyboard.variant, keyboard.model, keyboard.options]
    }

    const DEBIAN: &str = "# KEYBOARD CONFIGURATION FILE\nXKBMODEL=\"pc105\"\nXKBLAYOUT=\"de\"\n\
                          XKBVARIANT=\"nodeadkeys\"  # German\nXKBOPTIONS=\"\"\nBACKSPACE=\"guess\"\n";
    const VCONSOLE: &str = "KEYMAP=fr\nXKBLAYOUT=fr,us\nXKBOPTIONS='grp:alt_shift_toggle'\n";
    const XORG: &str = "Section \"InputClass\"\n        Identifier \"system-keyboard\"\n\
                        \tMatchIsKeyboard \"on\"\n\tOption \"XkbLayout\" \"ch\"\n\
                        \toption \"XKBVariant\" \"fr\"\nEndSection\n";

    #[test]
    fn first_file_with_a_layout_applies_as_a_whole() {
        let default = Keyboard::default;
        assert_eq!(names(&[], default(), None), ["", "", "", ""]);
        let [vconsole, debian, xorg] = FILES.map(|(file, _)| file);
        let all = [(vconsole, VCONSOLE), (debian, DEBIAN), (xorg, XORG)];
        assert_eq!(names(&all, default(), None), ["fr,us", "", "", "grp:alt_shift_toggle"]);
        // A vconsole.conf of an older systemd has the console's keymap only.
        let all = [(vconsole, "KEYMAP=de\n"), (debian, DEBIAN), (xorg, XORG)];
        assert_eq!(names(&all, default(), None), ["de", "nodeadkeys", "pc105", ""]);
        assert_eq!(names(&[(xorg, XORG)], default(), None), ["ch", "fr", "", ""]);
    }

    #[test]
    fn configuration_and_environment_go_first() {
        let all = [(FILES[1].0, DEBIAN)];
        let keyboard = Keyboard { options: "ctrl:nocaps".into(), ..Keyboard::default() };
        assert_eq!(names(&all, keyboard, None), ["", "", "", "ctrl:nocaps"]);
        for variable in VARIABLES {
            assert_eq!(names(&all, Keyboard::default(), Some(variable)), ["", "", "", ""], "{variable}");
        }
        let rules = Keyboard { rules: "evdev".into(), num_lock: true, ..Keyboard::default() };
        assert_eq!(names(&all, rules, Some("XKB_DEFAULT_RULES"))[0], "de");
    }

    #[test]
    fn files_that_lie_are_passed_over() {
        let large = "XKBLAYOUT=de\n".repeat(10_000);
        let long = format!("XKBLAYOUT={}\n", "x".repeat(2000));
        for text in ["XKBLAYOUT=\"d\0e\"\n", "XKBLAYOUT\n=de\nXKBLAYOUT=\n", &large, &long] {
            assert_eq!(names(&[(FILES[0].0, text)], Keyboard::default(), None)[0], "");
        }
        let root = tempfile::tempdir().expect("a folder");
        // Opening a FIFO for reading would wait for a writer.
        std::fs::create_dir(root.path().join("etc")).expect("a folder");
        let fifo = root.path().join(FILES[0].0);
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).expect("a FIFO");
        let mut keyboard = Keyboard::default();
        use_files(&mut keyboard, root.path(), |_| false);
        assert_eq!(keyboard, Keyboard::default());
    }
}
