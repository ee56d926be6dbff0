//! Which settings of the configuration a device gets, and from where. Pure.

use std::collections::BTreeMap;
use std::fmt;

use smithay::reexports::input::DeviceCapability;

use super::devices::DeviceInfo;
use super::keymaps::KeymapNames;
use crate::config::{
    ClickMethod, Config, Enabled, InputEntry, InputSettings, ScrollMethod, TapButtons, DEFAULT_LAYOUT,
};

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The `[[input]]` entry at this line of the configuration.
    Entry(usize),
    /// The section `[pointer]`, which applies to each device that has such a setting.
    Pointer,
    /// The device was calibrated while the service runs.
    Calibrated,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(line) => write!(f, "[[input]] at line {line}"),
            Self::Pointer => f.write_str("[pointer]"),
            Self::Calibrated => f.write_str("geom_compositor calibrate"),
        }
    }
}

/// A configured value.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting<T> {
    pub value: T,
    pub source: Source,
}

/// The settings of one device. `None`: the device's default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    pub enabled: Option<Setting<Enabled>>,
    pub speed: Option<Setting<f64>>,
    pub accelerated: Option<Setting<bool>>,
    pub natural_scroll: Option<Setting<bool>>,
    pub scroll_factor: Option<Setting<f64>>,
    pub scroll_method: Option<Setting<ScrollMethod>>,
    pub scroll_button: Option<Setting<u32>>,
    pub scroll_button_lock: Option<Setting<bool>>,
    pub tap_to_click: Option<Setting<bool>>,
    pub tap_drag: Option<Setting<bool>>,
    pub drag_lock: Option<Setting<bool>>,
    pub tap_buttons: Option<Setting<TapButtons>>,
    pub click_method: Option<Setting<ClickMethod>>,
    pub left_handed: Option<Setting<bool>>,
    pub middle_emulation: Option<Setting<bool>>,
    pub disable_while_typing: Option<Setting<bool>>,
    pub rotation: Option<Setting<u32>>,
    pub calibration: Option<Setting<[f32; 6]>>,
    pub display: Option<Setting<String>>,
    pub layout: Option<Setting<String>>,
    pub variant: Option<Setting<String>>,
    pub model: Option<Setting<String>>,
    pub options: Option<Setting<String>>,
}

/// A setting that does not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub setting: &'static str,
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.reason)
    }
}

/// Returns the value of the first entry that has one.
fn first<T: Clone>(
    entries: &[&InputEntry],
    value: impl Fn(&InputSettings) -> &Option<T>,
) -> Option<Setting<T>> {
    let with_value = |entry: &&InputEntry| {
        let value = value(&entry.settings).clone()?;
        Some(Setting { value, source: Source::Entry(entry.line) })
    };
    entries.iter().find_map(with_value)
}

fn or_pointer<T>(setting: Option<Setting<T>>, value: T) -> Option<Setting<T>> {
    setting.or(Some(Setting { value, source: Source::Pointer }))
}

/// Returns a device's settings: each of the first entry that matches and has it, or else of
/// `[pointer]`.
///
/// A variant belongs to a layout, so both come from one entry if one sets the layout.
pub fn resolve(config: &Config, device: &DeviceInfo) -> Settings {
    let traits = device.traits();
    let entries: Vec<&InputEntry> =
        config.input.iter().filter(|entry| entry.conditions.matches(traits)).collect();
    let with_layout: Vec<&InputEntry> =
        entries.iter().filter(|entry| entry.settings.layout.is_some()).take(1).copied().collect();
    let of_layout = if with_layout.is_empty() { &entries } else { &with_layout };
    let pointer = &config.pointer;
    Settings {
        enabled: first(&entries, |settings| &settings.enabled),
        speed: or_pointer(first(&entries, |settings| &settings.speed), pointer.speed),
        accelerated: or_pointer(first(&entries, |settings| &settings.accelerated), pointer.accelerated),
        natural_scroll: or_pointer(
            first(&entries, |settings| &settings.natural_scroll),
            pointer.natural_scroll,
        ),
        scroll_factor: first(&entries, |settings| &settings.scroll_factor),
        scroll_method: first(&entries, |settings| &settings.scroll_method),
        scroll_button: first(&entries, |settings| &settings.scroll_button),
        scroll_button_lock: first(&entries, |settings| &settings.scroll_button_lock),
        tap_to_click: or_pointer(first(&entries, |settings| &settings.tap_to_click), pointer.tap_to_click),
        tap_drag: first(&entries, |settings| &settings.tap_drag),
        drag_lock: first(&entries, |settings| &settings.drag_lock),
        tap_buttons: first(&entries, |settings| &settings.tap_buttons),
        click_method: first(&entries, |settings| &settings.click_method),
        left_handed: first(&entries, |settings| &settings.left_handed),
        middle_emulation: first(&entries, |settings| &settings.middle_emulation),
        disable_while_typing: first(&entries, |settings| &settings.disable_while_typing),
        rotation: first(&entries, |settings| &settings.rotation),
        calibration: first(&entries, |settings| &settings.calibration),
        display: first(&entries, |settings| &settings.display),
        layout: first(of_layout, |settings| &settings.layout),
        variant: first(of_layout, |settings| &settings.variant),
        model: first(&entries, |settings| &settings.model),
        options: first(&entries, |settings| &settings.options),
    }
}

impl Settings {
    /// Returns the names of a keyboard's own keymap, over those of `[keyboard]`. `None` if no entry
    /// names anything.
    pub fn keymap(&self, default: &KeymapNames) -> Option<KeymapNames> {
        let names = [&self.layout, &self.variant, &self.model, &self.options];
        if names.iter().all(|name| name.is_none()) {
            return None;
        }
        let over = |setting: &Option<Setting<String>>, default: &String| {
            setting.as_ref().map_or_else(|| default.clone(), |setting| setting.value.clone())
        };
        // The variant of another layout would not exist.
        let default_variant = if self.layout.is_some() { String::new() } else { default.variant.clone() };
        let layout = over(&self.layout, &default.layout);
        // libxkbcommon leaves out a variant without a layout.
        let needs_layout = layout.is_empty() && self.variant.is_some();
        Some(KeymapNames {
            rules: default.rules.clone(),
            layout: if needs_layout { DEFAULT_LAYOUT.into() } else { layout },
            variant: over(&self.variant, &default_variant),
            model: over(&self.model, &default.model),
            options: over(&self.options, &default.options),
        })
    }

    /// Returns whether the device sends events, if it can be disabled.
    pub fn is_enabled(&self) -> bool {
        self.enabled.as_ref().is_none_or(|enabled| enabled.value != Enabled::Never)
    }

    /// Returns the settings of entries that a device of this kind cannot have.
    pub fn misplaced(&self, device: &DeviceInfo) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let mut refuse = |setting, is_set: bool, is_possible: bool, reason: &str| {
            if is_set && !is_possible {
                refusals.push(Refusal { setting, reason: reason.to_owned() });
            }
        };
        let is_keyboard = device.has(DeviceCapability::Keyboard);
        let no_keyboard = "the device is no keyboard";
        refuse("layout", self.layout.is_some(), is_keyboard, no_keyboard);
        refuse("variant", self.variant.is_some(), is_keyboard, no_keyboard);
        refuse("model", self.model.is_some(), is_keyboard, no_keyboard);
        refuse("options", self.options.is_some(), is_keyboard, no_keyboard);
        let is_pointer = device.has(DeviceCapability::Pointer);
        refuse("scroll_factor", self.scroll_factor.is_some(), is_pointer, "the device does not scroll");
        let positions = [DeviceCapability::Touch, DeviceCapability::Pointer, DeviceCapability::TabletTool];
        let has_position = positions.into_iter().any(|capability| device.has(capability));
        refuse("display", self.display.is_some(), has_position, "the device reports no positions");
        refusals
    }

    /// Returns where each setting comes from that is not the device's own. Of `[pointer]`, only if
    /// the device `has` the setting.
    pub fn sources(&self, has: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
        let mut sources = BTreeMap::new();
        let mut add = |name: &str, source: Option<Source>| {
            if let Some(source) = source.filter(|source| *source != Source::Pointer || has(name)) {
                sources.insert(name.to_owned(), source.to_string());
            }
        };
        macro_rules! add_all {
            ($($name:ident),* $(,)?) => {
                $(add(stringify!($name), self.$name.as_ref().map(|setting| setting.source));)*
            };
        }
        add_all!(
            enabled,
            speed,
            accelerated,
            natural_scroll,
            scroll_factor,
            scroll_method,
            scroll_button,
            scroll_button_lock,
            tap_to_click,
            tap_drag,
            drag_lock,
            tap_buttons,
            click_method,
            left_handed,
            middle_emulation,
            disable_while_typing,
            rotation,
            calibration,
            display,
            layout,
            variant,
            model,
            options,
        );
        sources
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{parse, DeviceKind};

    fn config(text: &str) -> Config {
        let (config, problems) = parse(Path::new("test.toml"), text);
        assert!(problems.is_empty(), "{problems:?}");
        config.expect("a configuration")
    }

    fn device(name: &str, kind: DeviceKind, capability: DeviceCapability) -> DeviceInfo {
        DeviceInfo {
            name: name.into(),
            kinds: vec![kind],
            capabilities: vec![capability],
            ..DeviceInfo::default()
        }
    }

    const POINTER: DeviceCapability = DeviceCapability::Pointer;

    #[test]
    fn each_setting_comes_from_the_first_entry_that_has_it() {
        let config = config(
            "[pointer]\nspeed = 0.25\nnatural_scroll = true\n\
             [[input]]\nkind = \"mouse\"\nnatural_scroll = false\n\
             [[input]]\nname = \"Trackball*\"\nspeed = -1.0\nnatural_scroll = true\nleft_handed = true\n",
        );
        let trackball = resolve(&config, &device("Trackball Pro", DeviceKind::Mouse, POINTER));
        assert_eq!(trackball.natural_scroll, Some(Setting { value: false, source: Source::Entry(4) }));
        assert_eq!(trackball.speed, Some(Setting { value: -1.0, source: Source::Entry(7) }));
        assert_eq!(trackball.left_handed, Some(Setting { value: true, source: Source::Entry(7) }));
        assert_eq!(trackball.middle_emulation, None, "the device's default");
        let touchpad = resolve(&config, &device("Touchpad", DeviceKind::Touchpad, POINTER));
        assert_eq!(touchpad.natural_scroll, Some(Setting { value: true, source: Source::Pointer }));
        assert_eq!(touchpad.speed, Some(Setting { value: 0.25, source: Source::Pointer }));
    }

    /// The most asked for: content follows the fingers on a touchpad, and not a mouse's wheel.
    #[test]
    fn natural_scroll_is_for_touchpads_only_if_configured_so() {
        let config = config("[[input]]\nkind = \"touchpad\"\nnatural_scroll = true\n");
        for (kind, expected) in [(DeviceKind::Touchpad, true), (DeviceKind::Mouse, false)] {
            let settings = resolve(&config, &device("any", kind, POINTER));
            assert_eq!(settings.natural_scroll.map(|setting| setting.value), Some(expected), "{kind:?}");
        }
    }

    #[test]
    fn keymap_of_a_device_is_over_that_of_all_keyboards() {
        let config = config(
            "[keyboard]\nlayout = \"us\"\nvariant = \"dvorak\"\nmodel = \"pc104\"\noptions = \"ctrl:nocaps\"\n\
             [[input]]\nname = \"model\"\nmodel = \"pc105\"\n\
             [[input]]\nname = \"variant\"\nvariant = \"colemak\"\n\
             [[input]]\nname = \"scanner\"\nlayout = \"de\"\noptions = \"\"\n\
             [[input]]\nname = \"scanner\"\nvariant = \"neo\"\nmodel = \"pc105\"\n",
        );
        let default = KeymapNames::from(&config.keyboard);
        let keymap = |name: &str| {
            let device = device(name, DeviceKind::Keyboard, DeviceCapability::Keyboard);
            let names = resolve(&config, &device).keymap(&default)?;
            Some([names.layout, names.variant, names.model, names.options])
        };
        let of = |names: [&str; 4]| Some(names.map(str::to_owned));
        assert_eq!(keymap("other"), None);
        assert_eq!(keymap("model"), of(["us", "dvorak", "pc105", "ctrl:nocaps"]));
        assert_eq!(keymap("variant"), of(["us", "colemak", "pc104", "ctrl:nocaps"]));
        assert_eq!(keymap("scanner"), of(["de", "", "pc105", ""]));
    }

    #[test]
    fn settings_that_a_device_cannot_have_are_refused() {
        let config =
            config("[[input]]\nname = \"*\"\nlayout = \"de\"\nscroll_factor = 2\ndisplay = \"DP-1\"\n");
        for (kind, capability, expected) in [
            (DeviceKind::Keyboard, DeviceCapability::Keyboard, &["scroll_factor", "display"][..]),
            (DeviceKind::Mouse, POINTER, &["layout"]),
            (DeviceKind::Touch, DeviceCapability::Touch, &["layout", "scroll_factor"]),
        ] {
            let device = device("any", kind, capability);
            let refused = resolve(&config, &device).misplaced(&device);
            let names: Vec<_> = refused.iter().map(|refusal| refusal.setting).collect();
            assert_eq!(names, expected, "{kind:?}");
        }
    }

    #[test]
    fn sources_name_the_line_of_the_entry() {
        let config = config("[[input]]\nname = \"*\"\nleft_handed = true\n");
        let settings = resolve(&config, &device("any", DeviceKind::Mouse, POINTER));
        let sources = settings.sources(|name| name == "speed");
        let expected = [("left_handed", "[[input]] at line 1"), ("speed", "[pointer]")];
        let expected = expected.map(|(name, source)| (name.to_owned(), source.to_owned()));
        assert_eq!(sources, BTreeMap::from(expected));
    }

    #[test]
    fn only_a_device_that_is_never_enabled_is_disabled() {
        for (value, expected) in [("true", true), ("false", false), ("\"no-external-mouse\"", true)] {
            let config = config(&format!("[[input]]\nname = \"*\"\nenabled = {value}\n"));
            let settings = resolve(&config, &device("any", DeviceKind::Touchpad, POINTER));
            assert_eq!(settings.is_enabled(), expected, "{value}");
        }
    }
}
