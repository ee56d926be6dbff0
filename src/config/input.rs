//! Input devices in the configuration: `[keyboard]`, `[pointer]` and `[cursor]` for all of them,
//! and `[[input]]` for those that match its conditions.

use std::time::Duration;

use geom_display::pattern::matches_pattern;
use toml_edit::Value;

use super::cursor;
use super::reader::{names, Reader, Section};
use super::system::{set, Config};

/// Maximum number of `[[input]]` entries. Each new device is compared with all of them.
const MAX_ENTRIES: usize = 256;

/// Keyboards, in the terms of xkeyboard-config(7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyboard {
    pub rules: String,
    pub model: String,
    pub layout: String,
    pub variant: String,
    pub options: String,
    /// Repeats per second; 0: no repeat.
    pub repeat_rate: i32,
    /// Milliseconds before the first repeat.
    pub repeat_delay: i32,
    /// Num Lock is on at the start.
    pub num_lock: bool,
}

impl Default for Keyboard {
    fn default() -> Self {
        Self {
            rules: String::new(),
            model: String::new(),
            layout: String::new(),
            variant: String::new(),
            options: String::new(),
            repeat_rate: 25,
            repeat_delay: 600,
            num_lock: false,
        }
    }
}

/// Mice and touchpads.
#[derive(Debug, Clone, PartialEq)]
pub struct Pointer {
    /// libinput's pointer speed, from -1 to 1.
    pub speed: f64,
    /// libinput's adaptive acceleration profile instead of the flat one.
    pub accelerated: bool,
    pub natural_scroll: bool,
    pub tap_to_click: bool,
}

impl Default for Pointer {
    fn default() -> Self {
        Self { speed: 0.0, accelerated: true, natural_scroll: false, tap_to_click: true }
    }
}

/// What a device is. One device may be several of these, such as a mouse with keys for macros.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, strum::EnumString, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
pub enum DeviceKind {
    Keyboard,
    /// Any pointing device that is no touchpad and no pointing stick: also a trackball, and the
    /// absolute mouse of a virtual machine.
    Mouse,
    Touchpad,
    /// The stick between the keys of a laptop's keyboard.
    PointingStick,
    /// A touchscreen.
    Touch,
    /// The tool of a graphics tablet.
    Pen,
    /// The buttons and rings of a graphics tablet.
    Pad,
    /// A laptop's lid or its switch to a tablet.
    Switch,
}

/// When a device sends events (libinput's send-events mode).
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Enabled {
    #[strum(serialize = "true")]
    Always,
    #[strum(serialize = "false")]
    Never,
    /// Not while an external mouse is connected.
    NoExternalMouse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum TapButtons {
    /// One finger is the left button, two are the right one, three the middle one.
    LeftRightMiddle,
    LeftMiddleRight,
}

/// How a touchpad without buttons of its own decides which button a press is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum ClickMethod {
    None,
    /// By the place of the press.
    ButtonAreas,
    /// By the number of fingers.
    Clickfinger,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum ScrollMethod {
    None,
    TwoFinger,
    Edge,
    /// Motion scrolls while a button is held.
    Button,
}

/// What a condition is compared with.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeviceTraits<'a> {
    pub name: &'a str,
    /// Names of the port: udev's `ID_PATH`, and the kernel's `phys`.
    pub ports: [Option<&'a str>; 2],
    pub kinds: &'a [DeviceKind],
    pub vendor: u32,
    pub product: u32,
}

/// The conditions of an entry. All that are set must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InputConditions {
    /// A pattern.
    pub name: Option<String>,
    /// A pattern.
    pub port: Option<String>,
    /// The device is one of these. Never an empty list.
    pub kinds: Option<Vec<DeviceKind>>,
    pub vendor: Option<u32>,
    pub product: Option<u32>,
}

impl InputConditions {
    /// Returns whether a device fulfills all conditions.
    pub fn matches(&self, device: DeviceTraits<'_>) -> bool {
        let is_name = |pattern: &String| matches_pattern(pattern, device.name);
        let is_port =
            |pattern: &String| device.ports.iter().flatten().any(|port| matches_pattern(pattern, port));
        self.name.as_ref().is_none_or(is_name)
            && self.port.as_ref().is_none_or(is_port)
            && self.kinds.as_ref().is_none_or(|all| all.iter().any(|kind| device.kinds.contains(kind)))
            && self.vendor.is_none_or(|vendor| vendor == device.vendor)
            && self.product.is_none_or(|product| product == device.product)
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The settings of an entry.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InputSettings {
    pub enabled: Option<Enabled>,
    pub speed: Option<f64>,
    pub accelerated: Option<bool>,
    pub natural_scroll: Option<bool>,
    /// Multiplies what clients scroll, from 0.1 to 10.
    pub scroll_factor: Option<f64>,
    pub scroll_method: Option<ScrollMethod>,
    /// A button of linux/input-event-codes.h.
    pub scroll_button: Option<u32>,
    pub scroll_button_lock: Option<bool>,
    pub tap_to_click: Option<bool>,
    pub tap_drag: Option<bool>,
    pub drag_lock: Option<bool>,
    pub tap_buttons: Option<TapButtons>,
    pub click_method: Option<ClickMethod>,
    pub left_handed: Option<bool>,
    pub middle_emulation: Option<bool>,
    pub disable_while_typing: Option<bool>,
    /// Degrees clockwise, from 0 to 359.
    pub rotation: Option<u32>,
    /// libinput's matrix: two rows of three numbers.
    pub calibration: Option<[f32; 6]>,
    /// Any name of a display.
    pub display: Option<String>,
    pub layout: Option<String>,
    pub variant: Option<String>,
    pub model: Option<String>,
    pub options: Option<String>,
}

/// An `[[input]]` entry.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InputEntry {
    /// Its line in the file, from 1.
    pub line: usize,
    pub conditions: InputConditions,
    pub settings: InputSettings,
}

impl InputEntry {
    /// Returns what safe settings keep: which devices work, and where.
    pub fn to_safe(&self) -> Self {
        let InputSettings { enabled, display, calibration, rotation, .. } = self.settings.clone();
        let settings = InputSettings { enabled, display, calibration, rotation, ..InputSettings::default() };
        Self { settings, ..self.clone() }
    }
}

/// Reads the sections of input devices and the cursor.
pub fn read(config: &mut Config, root: &mut Section<'_>, reader: &mut Reader<'_>) {
    if let Some(mut section) = root.section(reader, "keyboard") {
        read_keyboard(&mut config.keyboard, &mut section, reader);
        section.finish(reader);
    }
    if let Some(mut section) = root.section(reader, "pointer") {
        let pointer = &mut config.pointer;
        set(&mut pointer.speed, section.number(reader, "speed", -1.0, 1.0));
        set(&mut pointer.accelerated, section.boolean(reader, "accelerated"));
        set(&mut pointer.natural_scroll, section.boolean(reader, "natural_scroll"));
        set(&mut pointer.tap_to_click, section.boolean(reader, "tap_to_click"));
        section.finish(reader);
    }
    let entries = root.sections(reader, "input");
    if entries.len() > MAX_ENTRIES {
        let message = format!("more than {MAX_ENTRIES} [[input]] entries; those after them do not apply");
        reader.report(entries.get(MAX_ENTRIES).and_then(Section::span), message);
    }
    config.input = entries.into_iter().take(MAX_ENTRIES).filter_map(|one| read_entry(one, reader)).collect();
    read_touch(config, root, reader);
    if let Some(mut section) = root.section(reader, "cursor") {
        cursor::read(&mut config.cursor, &mut section, reader);
        section.finish(reader);
    }
}

fn read_keyboard(keyboard: &mut Keyboard, section: &mut Section<'_>, reader: &mut Reader<'_>) {
    set(&mut keyboard.rules, xkb_name(section, reader, "rules"));
    set(&mut keyboard.model, xkb_name(section, reader, "model"));
    set(&mut keyboard.layout, xkb_name(section, reader, "layout"));
    set(&mut keyboard.variant, xkb_name(section, reader, "variant"));
    set(&mut keyboard.options, xkb_name(section, reader, "options"));
    let rate = section.integer(reader, "repeat_rate", 0..201);
    set(&mut keyboard.repeat_rate, rate.map(|rate| rate as i32));
    let delay = section.integer(reader, "repeat_delay", 1..5001);
    set(&mut keyboard.repeat_delay, delay.map(|delay| delay as i32));
    set(&mut keyboard.num_lock, section.boolean(reader, "num_lock"));
}

/// Reads names of xkeyboard-config(7). libxkbcommon's binding panics on NUL.
fn xkb_name(section: &mut Section<'_>, reader: &mut Reader<'_>, key: &'static str) -> Option<String> {
    section.value(reader, key, "names of xkeyboard-config(7), at most 1024 characters", |value| {
        value.as_str().filter(|text| is_xkb_name(text)).map(str::to_owned)
    })
}

/// Returns whether a text may be given to libxkbcommon.
pub fn is_xkb_name(text: &str) -> bool {
    text.len() <= 1024 && !text.contains(char::is_control)
}

/// Reads an entry. An entry with a mistake in a condition, or with an unknown key, which may be a
/// condition, is left out: without the condition it would match devices that it is not for.
fn read_entry(mut section: Section<'_>, reader: &mut Reader<'_>) -> Option<InputEntry> {
    let before = reader.problems.len();
    let conditions = read_conditions(&mut section, reader);
    let has_wrong_condition = reader.problems.len() > before;
    let settings = read_settings(&mut section, reader);
    let (span, line) = (section.span(), section.line(reader));
    let mut why = has_wrong_condition.then_some("one of its conditions is wrong");
    if conditions.is_empty() && why.is_none() {
        why = Some("it has no condition; write name, port, kind, vendor or product");
    }
    if !section.finish(reader) {
        why = Some("it has an unknown key, which may be meant as a condition");
    }
    if let Some(why) = why {
        reader.report(span, format!("this [[input]] entry does not apply: {why}"));
        return None;
    }
    Some(InputEntry { line, conditions, settings })
}

fn read_conditions(section: &mut Section<'_>, reader: &mut Reader<'_>) -> InputConditions {
    let all: Vec<&str> = names::<DeviceKind>().map(|(name, _)| name).collect();
    let allowed = format!("one of \"{}\", or a list of them", all.join("\", \""));
    let kinds = section.value(reader, "kind", &allowed, |value| {
        let kind = |value: &Value| value.as_str()?.parse().ok();
        let kinds: Vec<DeviceKind> = match value.as_array() {
            Some(list) => list.iter().map(kind).collect::<Option<_>>()?,
            None => vec![kind(value)?],
        };
        (!kinds.is_empty()).then_some(kinds)
    });
    let id = |number: i64| u32::try_from(number).ok();
    InputConditions {
        name: section.string(reader, "name"),
        port: section.string(reader, "port"),
        kinds,
        vendor: section.integer(reader, "vendor", 0..0x1_0000).and_then(id),
        product: section.integer(reader, "product", 0..0x1_0000).and_then(id),
    }
}

fn read_settings(section: &mut Section<'_>, reader: &mut Reader<'_>) -> InputSettings {
    let enabled = section.value(reader, "enabled", "true, false or \"no-external-mouse\"", |value| {
        match (value.as_bool(), value.as_str()) {
            (Some(true), _) => Some(Enabled::Always),
            (Some(false), _) => Some(Enabled::Never),
            (None, Some("no-external-mouse")) => Some(Enabled::NoExternalMouse),
            _ => None,
        }
    });
    let number = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
    let calibration = section.value(
        reader,
        "calibration",
        "six numbers, two rows of libinput's matrix: [1, 0, 0, 0, 1, 0]",
        |value| {
            let all = value.as_array()?.iter().map(|value| Some(number(value)? as f32));
            let all: Vec<f32> = all.collect::<Option<_>>()?;
            <[f32; 6]>::try_from(all).ok().filter(|all| all.iter().all(|number| number.abs() <= 1e6))
        },
    );
    let unsigned = |number: i64| u32::try_from(number).ok();
    InputSettings {
        enabled,
        speed: section.number(reader, "speed", -1.0, 1.0),
        accelerated: section.boolean(reader, "accelerated"),
        natural_scroll: section.boolean(reader, "natural_scroll"),
        scroll_factor: section.number(reader, "scroll_factor", 0.1, 10.0),
        scroll_method: section.choice(reader, "scroll_method", names::<ScrollMethod>()),
        scroll_button: section.integer(reader, "scroll_button", 0x100..0x300).and_then(unsigned),
        scroll_button_lock: section.boolean(reader, "scroll_button_lock"),
        tap_to_click: section.boolean(reader, "tap_to_click"),
        tap_drag: section.boolean(reader, "tap_drag"),
        drag_lock: section.boolean(reader, "drag_lock"),
        tap_buttons: section.choice(reader, "tap_buttons", names::<TapButtons>()),
        click_method: section.choice(reader, "click_method", names::<ClickMethod>()),
        left_handed: section.boolean(reader, "left_handed"),
        middle_emulation: section.boolean(reader, "middle_emulation"),
        disable_while_typing: section.boolean(reader, "disable_while_typing"),
        rotation: section.integer(reader, "rotation", 0..360).and_then(unsigned),
        calibration,
        display: section.string(reader, "display"),
        layout: xkb_name(section, reader, "layout"),
        variant: xkb_name(section, reader, "variant"),
        model: xkb_name(section, reader, "model"),
        options: xkb_name(section, reader, "options"),
    }
}

/// Reads the obsolete form of `display`: a table for each touchscreen, by its name. It applies
/// after all entries.
fn read_touch(config: &mut Config, root: &mut Section<'_>, reader: &mut Reader<'_>) {
    let Some(mut touch) = root.section(reader, "touch") else { return };
    let seconds = touch.number(reader, "long_press", 0.0, 10.0);
    config.long_press = seconds.filter(|seconds| *seconds > 0.0).map(Duration::from_secs_f64);
    let mut entries = Vec::new();
    for (device, mut section) in touch.named_sections(reader) {
        let (span, line) = (section.span(), section.line(reader));
        if let Some(display) = section.string(reader, "display") {
            let message = format!(
                "[touch.{device:?}] is now an entry of [[input]]; write name = {device:?} and display = {display:?} in it"
            );
            reader.report(span, message);
            let kinds = Some(vec![DeviceKind::Touch, DeviceKind::Pen]);
            let conditions = InputConditions { name: Some(device), kinds, ..InputConditions::default() };
            let settings = InputSettings { display: Some(display), ..InputSettings::default() };
            entries.push(InputEntry { line, conditions, settings });
        }
        section.finish(reader);
    }
    entries.truncate(MAX_ENTRIES);
    config.input.extend(entries);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::parse;
    use super::*;

    fn entries(text: &str) -> (Vec<InputEntry>, Vec<String>) {
        let (config, problems) = parse(Path::new("test.toml"), text);
        (config.unwrap_or_default().input, problems.iter().map(ToString::to_string).collect())
    }

    const PANEL: DeviceTraits<'_> = DeviceTraits {
        name: "ILITEK ILITEK-TP",
        ports: [Some("pci-0000:00:14.0-usb-0:1.2:1.0"), Some("usb-0000:00:14.0-1.2/input0")],
        kinds: &[DeviceKind::Touch],
        vendor: 0x222a,
        product: 1,
    };

    #[test]
    fn every_setting_is_read() {
        let (entries, problems) = entries(
            "[[input]]\nname = \"*\"\nenabled = \"no-external-mouse\"\nspeed = -0.5\naccelerated = false\n\
             natural_scroll = true\nscroll_factor = 2\nscroll_method = \"button\"\nscroll_button = 0x112\n\
             scroll_button_lock = true\ntap_to_click = false\ntap_drag = false\ndrag_lock = true\n\
             tap_buttons = \"left-middle-right\"\nclick_method = \"clickfinger\"\nleft_handed = true\n\
             middle_emulation = true\ndisable_while_typing = false\n\
             rotation = 90\ncalibration = [0, 1, 0, -1.0, 0, 1]\ndisplay = \"DP-1\"\nlayout = \"de\"\n\
             variant = \"neo\"\nmodel = \"pc105\"\noptions = \"ctrl:nocaps\"\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        let expected = InputSettings {
            enabled: Some(Enabled::NoExternalMouse),
            speed: Some(-0.5),
            accelerated: Some(false),
            natural_scroll: Some(true),
            scroll_factor: Some(2.0),
            scroll_method: Some(ScrollMethod::Button),
            scroll_button: Some(0x112),
            scroll_button_lock: Some(true),
            tap_to_click: Some(false),
            tap_drag: Some(false),
            drag_lock: Some(true),
            tap_buttons: Some(TapButtons::LeftMiddleRight),
            click_method: Some(ClickMethod::Clickfinger),
            left_handed: Some(true),
            middle_emulation: Some(true),
            disable_while_typing: Some(false),
            rotation: Some(90),
            calibration: Some([0.0, 1.0, 0.0, -1.0, 0.0, 1.0]),
            display: Some("DP-1".into()),
            layout: Some("de".into()),
            variant: Some("neo".into()),
            model: Some("pc105".into()),
            options: Some("ctrl:nocaps".into()),
        };
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].line, &entries[0].settings), (1, &expected));
    }

    #[test]
    fn all_conditions_must_hold() {
        for (conditions, expected) in [
            ("name = \"ILITEK*\"", true),
            ("name = \"ILITEK\"", false),
            ("port = \"*-usb-0:1.2:*\"", true),
            ("port = \"usb-0000:00:14.0-1.2/input0\"", true),
            ("port = \"*-usb-0:1.3:*\"", false),
            ("kind = \"touch\"", true),
            ("kind = [\"mouse\", \"touch\"]", true),
            ("kind = [\"mouse\", \"touchpad\", \"pointing-stick\", \"keyboard\"]", false),
            ("vendor = 0x222A\nproduct = 1", true),
            ("vendor = 0x222A\nproduct = 2", false),
            ("name = \"*\"\nkind = \"pen\"", false),
        ] {
            let (entries, problems) = entries(&format!("[[input]]\n{conditions}\n"));
            assert_eq!(problems, Vec::<String>::new());
            assert_eq!(entries[0].conditions.matches(PANEL), expected, "{conditions}");
        }
        let unknown = DeviceTraits { ports: [None; 2], ..PANEL };
        let (entries, _) = entries("[[input]]\nport = \"*\"\n");
        assert!(!entries[0].conditions.matches(unknown), "a device without a port");
    }

    /// An entry must never match every device because of a typing error.
    #[test]
    fn entry_with_a_wrong_condition_is_left_out() {
        for (text, problem) in [
            ("left_handed = true", "no condition"),
            ("name = 3\nleft_handed = true", "conditions is wrong"),
            ("name = \"*\"\nvendor = \"0x222a\"", "conditions is wrong"),
            ("name = \"*\"\nvendor = 0x10000", "conditions is wrong"),
            ("name = \"*\"\nkind = \"touchscreen\"", "conditions is wrong"),
            ("name = \"*\"\nkind = []", "conditions is wrong"),
            ("name = \"*\"\nkind = [\"mouse\", 3]", "conditions is wrong"),
            ("name = \"*\"\nvendr = 3", "unknown key"),
        ] {
            let (entries, problems) = entries(&format!("\n[[input]]\n{text}\n"));
            assert!(entries.is_empty(), "{text}");
            let left_out = |one: &String| {
                one.starts_with("test.toml:2: this [[input]] entry does not apply") && one.contains(problem)
            };
            assert!(problems.iter().any(left_out), "{text}: {problems:?}");
        }
    }

    #[test]
    fn wrong_setting_affects_only_itself() {
        for setting in [
            "speed = 1.5",
            "speed = nan",
            "enabled = \"no\"",
            "scroll_factor = 0",
            "scroll_factor = inf",
            "scroll_button = 1",
            "rotation = 360",
            "calibration = [1, 0, 0]",
            "calibration = [1, 0, 0, 0, 1, nan]",
            "calibration = [1, 0, 0, 0, 1, inf]",
            "calibration = [1, 0, 0, 0, 1, \"0\"]",
            "click_method = \"areas\"",
            "layout = \"d\\u0000e\"",
            "display = 1",
        ] {
            let (entries, problems) =
                entries(&format!("[[input]]\nname = \"*\"\n{setting}\nleft_handed = true\n"));
            assert_eq!(problems.len(), 1, "{setting}: {problems:?}");
            assert!(problems[0].starts_with("test.toml:3: input."), "{problems:?}");
            let expected = InputSettings { left_handed: Some(true), ..InputSettings::default() };
            assert_eq!(entries[0].settings, expected, "{setting}");
        }
    }

    #[test]
    fn obsolete_table_of_a_touchscreen_is_accepted_and_reported() {
        let (entries, problems) =
            entries("[[input]]\nkind = \"pen\"\ndisplay = \"DP-2\"\n[touch.\"ILITEK ILITEK-TP\"]\ndisplay = \"DP-1\"\n");
        assert_eq!(entries.len(), 2);
        assert!(entries[1].conditions.matches(PANEL));
        assert!(!entries[1].conditions.matches(DeviceTraits { kinds: &[DeviceKind::Mouse], ..PANEL }));
        assert_eq!((entries[1].line, entries[1].settings.display.as_deref()), (4, Some("DP-1")));
        assert_eq!(
            problems,
            ["test.toml:4: [touch.\"ILITEK ILITEK-TP\"] is now an entry of [[input]]; \
              write name = \"ILITEK ILITEK-TP\" and display = \"DP-1\" in it"]
        );
    }

    #[test]
    fn entries_are_bounded() {
        let text = "[[input]]\nname = \"x\"\n".repeat(MAX_ENTRIES + 3);
        let (entries, problems) = entries(&text);
        assert_eq!((entries.len(), problems.len()), (MAX_ENTRIES, 1));
    }
}
