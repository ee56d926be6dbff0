//! Keymaps of keyboards that have one of their own, such as barcode scanners. They are compiled
//! when the configuration is read or a device appears: xkb reads many files for that.

use smithay::input::keyboard::{xkb, Keycode, Keysym};

use super::held_keys::KeymapId;
use crate::config::Keyboard;

/// The names that xkb looks a keymap up by (xkeyboard-config(7)).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeymapNames {
    pub rules: String,
    pub model: String,
    pub layout: String,
    pub variant: String,
    pub options: String,
}

impl From<&Keyboard> for KeymapNames {
    fn from(keyboard: &Keyboard) -> Self {
        let Keyboard { rules, model, layout, variant, options, .. } = keyboard.clone();
        Self { rules, model, layout, variant, options }
    }
}

/// A compiled keymap.
#[derive(Debug)]
struct Keymap {
    id: KeymapId,
    names: KeymapNames,
    /// In the format that clients get.
    text: String,
    /// Codes of the keys that are modifiers while they are held: no locks.
    modifiers: Vec<u32>,
    /// The layout that was active when the seat had this keymap last.
    layout: u32,
}

/// The compiled keymaps of the present keyboards, and that of `[keyboard]` if there are others.
#[derive(Debug, Default)]
pub struct Keymaps {
    /// The names of the seat's keymap for keyboards without one of their own.
    default: KeymapNames,
    keymaps: Vec<Keymap>,
    last: u64,
}

/// Modifiers while they are held.
const MODIFIERS: [Keysym; 16] = [
    Keysym::Shift_L,
    Keysym::Shift_R,
    Keysym::Control_L,
    Keysym::Control_R,
    Keysym::Alt_L,
    Keysym::Alt_R,
    Keysym::Meta_L,
    Keysym::Meta_R,
    Keysym::Super_L,
    Keysym::Super_R,
    Keysym::Hyper_L,
    Keysym::Hyper_R,
    Keysym::ISO_Level3_Shift,
    Keysym::ISO_Level5_Shift,
    Keysym::Mode_switch,
    Keysym::ISO_Group_Shift,
];

fn compile(id: KeymapId, names: &KeymapNames) -> Option<Keymap> {
    let KeymapNames { rules, model, layout, variant, options } = names;
    // The binding takes no NUL.
    if [rules, model, layout, variant, options].iter().any(|name| name.contains('\0')) {
        return None;
    }
    let context = xkb::Context::new(xkb::CONTEXT_NO_FLAGS);
    let options = (!options.is_empty()).then(|| options.clone());
    let flags = xkb::KEYMAP_COMPILE_NO_FLAGS;
    let keymap = xkb::Keymap::new_from_names(&context, rules, model, layout, variant, options, flags)?;
    let is_modifier = |code: &u32| {
        let code = Keycode::new(*code);
        let has =
            |layout| keymap.key_get_syms_by_level(code, layout, 0).iter().any(|key| MODIFIERS.contains(key));
        (0..keymap.num_layouts_for_key(code)).any(has)
    };
    let codes = keymap.min_keycode().raw()..=keymap.max_keycode().raw();
    let modifiers = codes.filter(is_modifier).collect();
    let text = keymap.get_as_string(xkb::KEYMAP_FORMAT_TEXT_V1);
    Some(Keymap { id, names: names.clone(), text, modifiers, layout: 0 })
}

impl Keymaps {
    /// Sets the names of the keymap that the seat has for keyboards without one of their own. They
    /// are known to compile.
    pub fn set_default(&mut self, names: KeymapNames) {
        if self.default != names {
            self.default = names;
            self.keymaps.retain(|keymap| keymap.id != KeymapId::DEFAULT);
        }
    }

    /// Returns the keymap with these names, and compiles it if it is new. `None` if xkb does not
    /// know it.
    pub fn add(&mut self, names: &KeymapNames) -> Option<KeymapId> {
        if *names == self.default {
            return Some(KeymapId::DEFAULT);
        }
        // The way back is compiled with the first one.
        if self.find(KeymapId::DEFAULT).is_none() {
            let default = compile(KeymapId::DEFAULT, &self.default)?;
            self.keymaps.push(default);
        }
        if let Some(known) = self.keymaps.iter().find(|keymap| keymap.names == *names) {
            return Some(known.id);
        }
        let id = KeymapId(self.last + 1);
        let new = compile(id, names)?;
        self.last += 1;
        self.keymaps.push(new);
        Some(id)
    }

    /// Drops the keymaps that no keyboard has any more.
    pub fn retain(&mut self, is_used: impl Fn(KeymapId) -> bool) {
        self.keymaps.retain(|keymap| keymap.id == KeymapId::DEFAULT || is_used(keymap.id));
    }

    fn find(&self, id: KeymapId) -> Option<&Keymap> {
        self.keymaps.iter().find(|keymap| keymap.id == id)
    }

    /// Returns a keymap's text, and the layout that was active when the seat had it last.
    pub fn text(&self, id: KeymapId) -> Option<(String, u32)> {
        self.find(id).map(|keymap| (keymap.text.clone(), keymap.layout))
    }

    /// Notes the active layout of a keymap that the seat changes from.
    pub fn set_layout(&mut self, id: KeymapId, layout: u32) {
        self.keymaps.iter_mut().filter(|keymap| keymap.id == id).for_each(|keymap| keymap.layout = layout);
    }

    /// Returns whether a key is a modifier while it is held.
    pub fn is_modifier(&self, id: KeymapId, code: u32) -> bool {
        self.find(id).is_some_and(|keymap| keymap.modifiers.contains(&code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(layout: &str) -> KeymapNames {
        KeymapNames { layout: layout.into(), ..KeymapNames::default() }
    }

    #[test]
    fn keymaps_are_compiled_once_and_dropped_when_unused() {
        let mut keymaps = Keymaps::default();
        keymaps.set_default(names("us"));
        assert_eq!(keymaps.add(&names("us")), Some(KeymapId::DEFAULT));
        assert!(keymaps.text(KeymapId::DEFAULT).is_none(), "nothing to come back from");
        let german = keymaps.add(&names("de")).expect("a keymap");
        assert_eq!(keymaps.add(&names("de")), Some(german));
        assert_eq!(keymaps.add(&names("nowhere")), None);
        assert_eq!(keymaps.add(&names("d\0e")), None);
        assert!(keymaps.text(KeymapId::DEFAULT).is_some());
        keymaps.set_layout(german, 1);
        assert_eq!(keymaps.text(german).map(|(_, layout)| layout), Some(1));
        keymaps.retain(|_| false);
        assert!(keymaps.text(german).is_none());
        assert_ne!(keymaps.add(&names("de")), Some(german), "ids are not reused");
    }

    #[test]
    fn locks_are_no_modifiers_that_are_held() {
        let mut keymaps = Keymaps::default();
        let id = keymaps.add(&names("de")).expect("a keymap");
        // Codes of linux/input-event-codes.h in xkb, which counts from 8.
        let (shift, right_alt, caps_lock, letter) = (42 + 8, 100 + 8, 58 + 8, 30 + 8);
        assert!(keymaps.is_modifier(id, shift) && keymaps.is_modifier(id, right_alt));
        assert!(!keymaps.is_modifier(id, caps_lock) && !keymaps.is_modifier(id, letter));
    }

    /// Prints the times of compiling a keymap and of reading its text: `cargo test --release --lib
    /// keymap_times -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn keymap_times() {
        let started = std::time::Instant::now();
        let keymap = compile(KeymapId(1), &names("de")).expect("a keymap");
        println!("compiled in {:?}, {} bytes", started.elapsed(), keymap.text.len());
        for _ in 0..3 {
            let started = std::time::Instant::now();
            let context = xkb::Context::new(xkb::CONTEXT_NO_FLAGS);
            let read = xkb::Keymap::new_from_string(
                &context,
                keymap.text.clone(),
                xkb::KEYMAP_FORMAT_TEXT_V1,
                xkb::KEYMAP_COMPILE_NO_FLAGS,
            );
            let read = read.expect("a keymap");
            let parsed = started.elapsed();
            let text = read.get_as_string(xkb::KEYMAP_FORMAT_TEXT_V1);
            println!(
                "parsed in {parsed:?}, written by {:?}, same: {}",
                started.elapsed(),
                text == keymap.text
            );
        }
    }
}
