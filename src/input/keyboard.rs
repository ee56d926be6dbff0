//! The keymap and the locks of the seat's keyboard, which all keyboards share.

use smithay::input::keyboard::{KeyboardHandle, Keycode, Keysym, ModifiersState, XkbConfig};
use smithay::input::SeatHandler;
use tracing::warn;

use super::keymaps::KeymapNames;
use crate::config::Keyboard;

/// How notices about an unknown layout begin.
const LAYOUT_NOTICE: &str = "keyboard layout";

/// How notices about an unknown layout of a single keyboard begin.
const DEVICE_LAYOUT_NOTICE: &str = "[[input]] layout";

/// Returns the names that xkbcommon looks a keymap up by.
pub fn xkb_config(keyboard: &Keyboard) -> XkbConfig<'_> {
    XkbConfig {
        rules: &keyboard.rules,
        model: &keyboard.model,
        layout: &keyboard.layout,
        variant: &keyboard.variant,
        options: (!keyboard.options.is_empty()).then(|| keyboard.options.clone()),
    }
}

/// Logs that xkbcommon has no such keymap, and which one is used. Returns the notice for the user.
pub fn report_unknown_layout(layout: &str, error: &impl std::fmt::Display, used: &str) -> String {
    warn!(%error, layout, used, "unknown keyboard layout; see [keyboard] in the configuration");
    format!("{LAYOUT_NOTICE} {layout:?} is unknown to xkb; see [keyboard] in the configuration")
}

/// Returns whether a notice is one about an unknown layout.
pub fn is_layout_notice(text: &str) -> bool {
    text.starts_with(LAYOUT_NOTICE)
}

/// Returns the notice that xkb does not know the layout of a single keyboard.
pub fn report_unknown_device_layout(layout: &str) -> String {
    format!("{DEVICE_LAYOUT_NOTICE} {layout:?} is unknown to xkb; the keyboard has that of [keyboard]")
}

/// Returns whether a notice is one about an unknown layout of a single keyboard.
pub fn is_device_layout_notice(text: &str) -> bool {
    text.starts_with(DEVICE_LAYOUT_NOTICE)
}

/// Returns whether two configurations have the same keymap.
pub fn has_same_keymap(one: &Keyboard, other: &Keyboard) -> bool {
    KeymapNames::from(one) == KeymapNames::from(other)
}

/// Key codes of xkb, from those of linux/input-event-codes.h.
const KEY_CODES: std::ops::Range<u32> = 8..256;

/// Returns whether the keymap has a key with this keysym, in any layout.
fn has_key<D: SeatHandler + 'static>(keyboard: &KeyboardHandle<D>, data: &mut D, keysym: Keysym) -> bool {
    keyboard.with_xkb_state(data, |context| {
        let xkb = context.xkb().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let has = |code| {
            xkb.layouts()
                .any(|layout| xkb.raw_syms_for_key_in_layout(Keycode::new(code), layout).contains(&keysym))
        };
        KEY_CODES.into_iter().any(has)
    })
}

/// Keeps Caps Lock and Num Lock after the keymap was replaced. A lock without a key would be there
/// for ever (`ctrl:nocaps`).
pub fn keep_locks<D: SeatHandler + 'static>(
    keyboard: &KeyboardHandle<D>,
    data: &mut D,
    caps_lock: bool,
    num_lock: bool,
) {
    let caps_lock = caps_lock && has_key(keyboard, data, Keysym::Caps_Lock);
    let num_lock = num_lock && has_key(keyboard, data, Keysym::Num_Lock);
    set_locks(keyboard, caps_lock, num_lock);
}

/// Sets Caps Lock and Num Lock. The keyboard's first layout is active then. A client with the
/// keyboard's focus is sent nothing.
pub fn set_locks<D: SeatHandler + 'static>(keyboard: &KeyboardHandle<D>, caps_lock: bool, num_lock: bool) {
    let modifiers = ModifiersState { caps_lock, num_lock, ..keyboard.modifier_state() };
    keyboard.set_modifier_state(modifiers);
}
