//! The keymap and the locks of the seat's keyboard, which all keyboards share.

use smithay::input::keyboard::{KeyboardHandle, ModifiersState, XkbConfig};
use smithay::input::SeatHandler;
use tracing::warn;

use crate::config::Keyboard;

/// How notices about an unknown layout begin.
const LAYOUT_NOTICE: &str = "keyboard layout";

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

/// Returns whether two configurations have the same keymap.
pub fn has_same_keymap(one: &Keyboard, other: &Keyboard) -> bool {
    let names = |keyboard: &Keyboard| {
        let Keyboard { rules, model, layout, variant, options, .. } = keyboard.clone();
        (rules, model, layout, variant, options)
    };
    names(one) == names(other)
}

/// Sets Caps Lock and Num Lock. The keyboard's first layout is active then. A client with the
/// keyboard's focus is sent nothing.
pub fn set_locks<D: SeatHandler + 'static>(keyboard: &KeyboardHandle<D>, caps_lock: bool, num_lock: bool) {
    let modifiers = ModifiersState { caps_lock, num_lock, ..keyboard.modifier_state() };
    keyboard.set_modifier_state(modifiers);
}
