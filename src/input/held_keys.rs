//! Which keys are held on which keyboard, and when the seat's keymap changes. Pure.
//!
//! The seat has one keyboard for all of them. It has one keymap at a time: that of the keyboard
//! that was pressed last.
//!
//! ```text
//!                    press on a keyboard with keymap B:
//!                    all held keys are released, then B's held modifiers are pressed again
//!   keymap A ──────────────────────────────────────────────────────────────────> keymap B
//!      ^                                                                             │
//!      └─────────────────── press on a keyboard with keymap A ───────────────────────┘
//! ```
//!
//! So a client never gets the press of a key in one keymap and its release in another one, what is
//! held on the keyboard does not change what a scanner types, and no key stays pressed. Releases
//! change nothing but their own key.

/// Identifies a keymap among those of the present keyboards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct KeymapId(pub u64);

impl KeymapId {
    /// The keymap of `[keyboard]`.
    pub const DEFAULT: Self = Self(0);
}

/// A key that is held on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    device: String,
    keymap: KeymapId,
    code: u32,
    /// The seat has it as pressed.
    is_pressed: bool,
}

/// What the seat does before a key, and whether it gets the key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyPlan {
    /// Keys that it releases first.
    pub release: Vec<u32>,
    /// The keymap that it then changes to.
    pub switch_to: Option<KeymapId>,
    /// Modifiers that it then presses again.
    pub press: Vec<u32>,
    /// It gets the key itself: no other keyboard holds the same one.
    pub passes: bool,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct HeldKeys {
    active: KeymapId,
    /// In the order of their presses. At most the keys of all devices.
    held: Vec<Held>,
}

impl HeldKeys {
    /// Returns the seat's keymap.
    pub fn active(&self) -> KeymapId {
        self.active
    }

    /// A device with a keymap presses or releases a key; `is_modifier` says whether a key is a
    /// modifier in this keymap.
    pub fn on_key(
        &mut self,
        device: &str,
        keymap: KeymapId,
        code: u32,
        is_press: bool,
        is_modifier: impl Fn(u32) -> bool,
    ) -> KeyPlan {
        let position = self.held.iter().position(|held| held.device == device && held.code == code);
        let known = position.map(|position| self.held.remove(position));
        if !is_press {
            let was_pressed = known.is_some_and(|held| held.is_pressed);
            return KeyPlan { passes: was_pressed && !self.is_pressed(code), ..KeyPlan::default() };
        }
        let mut plan = KeyPlan::default();
        if keymap != self.active {
            plan.release = self.release_all();
            // The key itself, if its first press is still held.
            if known.is_some_and(|held| held.is_pressed) && !plan.release.contains(&code) {
                plan.release.push(code);
            }
            self.active = keymap;
            plan.switch_to = Some(keymap);
            for held in &mut self.held {
                if held.keymap == keymap && is_modifier(held.code) && !plan.press.contains(&held.code) {
                    held.is_pressed = true;
                    plan.press.push(held.code);
                }
            }
        } else if known.is_some_and(|held| held.is_pressed) {
            // Pressed twice without a release: the seat has it already.
            self.held.push(Held { device: device.to_owned(), keymap, code, is_pressed: true });
            return plan;
        }
        plan.passes = !self.is_pressed(code);
        self.held.push(Held { device: device.to_owned(), keymap, code, is_pressed: true });
        plan
    }

    fn is_pressed(&self, code: u32) -> bool {
        self.held.iter().any(|held| held.is_pressed && held.code == code)
    }

    /// Returns the keys that the seat has as pressed, which it has no more; they stay held.
    fn release_all(&mut self) -> Vec<u32> {
        let mut released = Vec::new();
        for held in &mut self.held {
            if std::mem::take(&mut held.is_pressed) && !released.contains(&held.code) {
                released.push(held.code);
            }
        }
        released
    }

    /// A device is gone. Returns the keys that the seat releases.
    pub fn remove_device(&mut self, device: &str) -> Vec<u32> {
        let (gone, left) = std::mem::take(&mut self.held).into_iter().partition(|held| held.device == device);
        self.held = left;
        let gone: Vec<Held> = gone;
        let pressed = gone.iter().filter(|held| held.is_pressed && !self.is_pressed(held.code));
        pressed.map(|held| held.code).collect()
    }

    /// The seat has released all keys: their releases have no effect.
    pub fn clear(&mut self) {
        self.held.clear();
    }

    /// The seat's keymap was replaced by that of `[keyboard]`. Returns the keys that it releases
    /// before.
    pub fn reset(&mut self) -> Vec<u32> {
        self.active = KeymapId::DEFAULT;
        self.release_all()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const MAIN: KeymapId = KeymapId::DEFAULT;
    const SCANNER: KeymapId = KeymapId(1);
    const SHIFT: u32 = 50;

    fn key(keys: &mut HeldKeys, device: &str, keymap: KeymapId, code: u32, is_press: bool) -> KeyPlan {
        keys.on_key(device, keymap, code, is_press, |code| code == SHIFT)
    }

    fn passes() -> KeyPlan {
        KeyPlan { passes: true, ..KeyPlan::default() }
    }

    #[test]
    fn scanner_switches_once_and_types_without_what_is_held_on_the_keyboard() {
        let mut keys = HeldKeys::default();
        assert_eq!(key(&mut keys, "main", MAIN, SHIFT, true), passes());
        assert_eq!(key(&mut keys, "main", MAIN, 38, true), passes());
        let first = key(&mut keys, "scanner", SCANNER, 40, true);
        let expected = KeyPlan { release: vec![SHIFT, 38], switch_to: Some(SCANNER), ..passes() };
        assert_eq!(first, expected);
        assert_eq!(key(&mut keys, "scanner", SCANNER, 40, false), passes());
        for code in 41..70 {
            assert_eq!(key(&mut keys, "scanner", SCANNER, code, true), passes());
            assert_eq!(key(&mut keys, "scanner", SCANNER, code, false), passes());
        }
        // What the person still holds is released without effect, except a modifier that is needed.
        assert_eq!(key(&mut keys, "main", MAIN, 38, false), KeyPlan::default());
        let back = key(&mut keys, "main", MAIN, 39, true);
        assert_eq!(back, KeyPlan { switch_to: Some(MAIN), press: vec![SHIFT], ..passes() });
        assert_eq!(key(&mut keys, "main", MAIN, SHIFT, false), passes());
        assert_eq!(key(&mut keys, "main", MAIN, 39, false), passes());
    }

    #[test]
    fn key_that_two_keyboards_hold_is_released_with_the_last() {
        let mut keys = HeldKeys::default();
        assert_eq!(key(&mut keys, "one", MAIN, 38, true), passes());
        assert_eq!(key(&mut keys, "two", MAIN, 38, true), KeyPlan::default());
        assert_eq!(key(&mut keys, "one", MAIN, 38, false), KeyPlan::default());
        assert_eq!(key(&mut keys, "two", MAIN, 38, false), passes());
        assert_eq!(key(&mut keys, "two", MAIN, 38, false), KeyPlan::default(), "never pressed");
    }

    #[test]
    fn keys_of_a_device_that_is_gone_are_released() {
        let mut keys = HeldKeys::default();
        for (device, code) in [("one", 38), ("one", 39), ("two", 39)] {
            key(&mut keys, device, MAIN, code, true);
        }
        assert_eq!(keys.remove_device("one"), [38]);
        assert_eq!(keys.remove_device("two"), [39]);
        assert_eq!(keys.remove_device("two"), [0; 0]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Key(usize, u32, bool),
        Remove(usize),
        Clear,
        Reset,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            20 => (0..4_usize, 48..53_u32, any::<bool>()).prop_map(|(device, code, is_press)| Step::Key(device, code, is_press)),
            2 => (0..4_usize).prop_map(Step::Remove),
            1 => Just(Step::Clear),
            1 => Just(Step::Reset),
        ]
    }

    proptest! {
        /// The seat gets presses and releases in turn, has no key of another keymap, and none when
        /// nothing is held.
        #[test]
        fn no_key_stays_pressed(steps in proptest::collection::vec(step(), 0..60)) {
            let mut keys = HeldKeys::default();
            let mut seat = BTreeSet::new();
            let mut held = BTreeSet::new();
            let keymap = |device: usize| KeymapId(device as u64 / 2);
            for step in steps {
                match step {
                    Step::Key(device, code, is_press) => {
                        let plan = key(&mut keys, &device.to_string(), keymap(device), code, is_press);
                        for code in plan.release {
                            prop_assert!(seat.remove(&code));
                        }
                        prop_assert!(plan.switch_to.is_none() || seat.is_empty());
                        for code in plan.press {
                            prop_assert!(seat.insert(code));
                        }
                        if plan.passes {
                            let changed = if is_press { seat.insert(code) } else { seat.remove(&code) };
                            prop_assert!(changed);
                        }
                        if is_press {
                            held.insert((device, code));
                            prop_assert_eq!(keys.active(), keymap(device));
                            prop_assert!(seat.contains(&code));
                        } else {
                            held.remove(&(device, code));
                        }
                    }
                    Step::Remove(device) => {
                        for code in keys.remove_device(&device.to_string()) {
                            prop_assert!(seat.remove(&code));
                        }
                        held.retain(|(of, _)| *of != device);
                    }
                    Step::Clear => {
                        seat.clear();
                        held.clear();
                        keys.clear();
                    }
                    Step::Reset => {
                        for code in keys.reset() {
                            prop_assert!(seat.remove(&code));
                        }
                        prop_assert!(seat.is_empty());
                    }
                }
                prop_assert!(seat.iter().all(|code| held.iter().any(|(_, known)| known == code)));
            }
        }
    }
}
