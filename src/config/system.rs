//! The system's configuration and its defaults. `conf/geom_compositor.toml` writes each default
//! with its comment; a test holds the two together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use geom_ipc::ConnectType;
use toml_edit::Value;

use super::clients::{self, ClientsConfig};
use super::displays::{read_aliases, read_displays, read_night_light};
use super::power::{self, PowerConfig};
use super::reader::{Problem, Reader, Section};
use crate::display::mode::{Mode, ModeWish};
use crate::display::night::NightLight;
use crate::display::plan::Wishes;

/// Where the configuration is installed.
pub const DEFAULT_PATH: &str = "/usr/local/share/GeometryOS/system/conf/geom_compositor.toml";

/// Which renderer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RendererWish {
    /// GLES on a GPU, pixman on drivers without one.
    Auto,
    Pixman,
    /// GLES, only on a GPU.
    Gles,
    /// GLES even where it runs on the processor.
    Llvmpipe,
}

impl RendererWish {
    pub const NAMES: [(&'static str, Self); 4] =
        [("auto", Self::Auto), ("pixman", Self::Pixman), ("gles", Self::Gles), ("llvmpipe", Self::Llvmpipe)];
}

/// Keyboards, in xkb's terms (xkeyboard-config(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyboard {
    pub rules: String,
    pub model: String,
    pub layout: String,
    pub variant: String,
    pub options: String,
    /// Repeats a second; 0 for none.
    pub repeat_rate: i32,
    /// Milliseconds before the first repeat.
    pub repeat_delay: i32,
}

/// Mice and touchpads.
#[derive(Debug, Clone, PartialEq)]
pub struct Pointer {
    /// From -1 to 1, libinput's pointer speed.
    pub speed: f64,
    /// Whether motion is accelerated.
    pub accelerated: bool,
    pub natural_scroll: bool,
    pub tap_to_click: bool,
}

/// Where a window goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// `*` stands for any text.
    pub app_id: Option<String>,
    pub title: Option<String>,
    pub display: String,
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct WindowTraits<'a> {
    pub app_id: Option<&'a str>,
    pub title: Option<&'a str>,
}

impl Rule {
    /// Whether every part of the rule holds.
    pub fn applies(&self, window: WindowTraits<'_>) -> bool {
        let holds = |pattern: &Option<String>, text: Option<&str>| match pattern {
            None => true,
            Some(pattern) => text.is_some_and(|text| matches_pattern(pattern, text)),
        };
        holds(&self.app_id, window.app_id) && holds(&self.title, window.title)
    }
}

/// Whether a text fits a pattern in which `*` stands for any text.
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = tail.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Which hardware may convert colours, where it is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HardwareColor {
    Any,
    /// Planes' own pipelines, but not CRTCs' tables.
    Planes,
    Never,
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub connect_type: ConnectType,
    pub wishes: Wishes,
    /// Whose profile applies, where the command line does not say.
    pub user: Option<String>,
    /// Names of the user's own for displays, and what they stand for.
    pub aliases: BTreeMap<String, String>,
    pub night_light: Option<NightLight>,
    pub rules: Vec<Rule>,
    pub renderer: RendererWish,
    pub direct_scanout: bool,
    pub hardware_color: HardwareColor,
    pub keyboard: Keyboard,
    pub pointer: Pointer,
    /// The display each touch device belongs to, by the device's name.
    pub touch: Vec<(String, String)>,
    /// Keysym names joined by `+` that end the compositor; empty for none.
    pub exit_keys: Vec<String>,
    pub cursor_theme: String,
    /// Logical pixels.
    pub cursor_size: u8,
    pub diagnostic_screen: bool,
    /// What a display showed before the service had it stays so long at the most; zero for not at all.
    pub keep_picture: Duration,
    /// Where figures are written, for Prometheus' collector of text files, and how often.
    pub metrics_file: Option<PathBuf>,
    pub metrics_interval: Duration,
    pub clients: ClientsConfig,
    pub power: PowerConfig,
    /// The headless backend's displays.
    pub headless: Vec<Mode>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_type: ConnectType::KEEP_CONNECTION_OPEN,
            wishes: Wishes::default(),
            user: None,
            aliases: BTreeMap::new(),
            night_light: None,
            rules: Vec::new(),
            renderer: RendererWish::Auto,
            direct_scanout: true,
            hardware_color: HardwareColor::Any,
            keyboard: Keyboard {
                rules: String::new(),
                model: String::new(),
                layout: "us".into(),
                variant: String::new(),
                options: String::new(),
                repeat_rate: 25,
                repeat_delay: 600,
            },
            pointer: Pointer { speed: 0.0, accelerated: true, natural_scroll: false, tap_to_click: true },
            touch: Vec::new(),
            exit_keys: ["Ctrl", "Alt", "BackSpace"].map(str::to_owned).to_vec(),
            cursor_theme: "default".into(),
            cursor_size: 24,
            diagnostic_screen: true,
            keep_picture: Duration::from_secs(10),
            metrics_file: None,
            metrics_interval: Duration::from_secs(15),
            clients: ClientsConfig::default(),
            power: PowerConfig::default(),
            headless: vec![Mode::new(1920, 1080, 60_000)],
        }
    }
}

/// Parses a configuration. None where the text is no TOML; otherwise what could be used of it.
pub fn parse(path: &Path, text: &str) -> (Option<Config>, Vec<Problem>) {
    let mut reader = Reader::new(path, text);
    let Some(document) = reader.document() else { return (None, reader.problems) };
    let mut config = Config::default();
    let mut root = Section::new("", document.as_table());
    read_root(&mut config, &mut root, &mut reader);
    root.finish(&mut reader);
    (Some(config), reader.problems)
}

pub fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn read_root(config: &mut Config, root: &mut Section<'_>, reader: &mut Reader<'_>) {
    let names = "\"DISCONNECT_ONCE\", \"KEEP_CONNECTION_OPEN\", or both joined by \"|\"";
    set(
        &mut config.connect_type,
        root.value(reader, "connect_type", names, |value| value.as_str()?.parse().ok()),
    );
    set(&mut config.renderer, root.choice(reader, "renderer", &RendererWish::NAMES));
    set(&mut config.direct_scanout, root.boolean(reader, "direct_scanout"));
    let hardware = "true, false or \"planes\"";
    let hardware =
        root.value(reader, "hardware_color", hardware, |value| match (value.as_bool(), value.as_str()) {
            (Some(true), _) => Some(HardwareColor::Any),
            (Some(false), _) => Some(HardwareColor::Never),
            (None, Some("planes")) => Some(HardwareColor::Planes),
            _ => None,
        });
    set(&mut config.hardware_color, hardware);
    set(&mut config.diagnostic_screen, root.boolean(reader, "diagnostic_screen"));
    let kept = root.number(reader, "keep_picture", 0.0, 3600.0);
    set(&mut config.keep_picture, kept.map(Duration::from_secs_f64));
    config.metrics_file = root.value(reader, "metrics_file", "an absolute path", |value| {
        value.as_str().map(PathBuf::from).filter(|path| path.is_absolute())
    });
    let interval = root.number(reader, "metrics_interval", 1.0, 3600.0);
    set(&mut config.metrics_interval, interval.map(Duration::from_secs_f64));
    if let Some(keys) = root.string(reader, "exit_keys") {
        config.exit_keys =
            keys.split('+').map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()).collect();
    }
    config.user = root.string(reader, "user");
    config.wishes.displays = read_displays(root, reader);
    config.aliases = read_aliases(root, reader);
    config.night_light = read_night_light(root, reader);
    for mut section in root.sections(reader, "rules") {
        let rule = Rule {
            app_id: section.string(reader, "app_id"),
            title: section.string(reader, "title"),
            display: section.string(reader, "display").unwrap_or_default(),
        };
        section.finish(reader);
        if rule.display.is_empty() {
            reader.report(None, "a rule names no display; write display = \"HDMI-A-1\"".into());
        } else {
            config.rules.push(rule);
        }
    }
    if let Some(mut section) = root.section(reader, "clients") {
        clients::read(&mut config.clients, &mut section, reader);
        section.finish(reader);
    }
    if let Some(mut section) = root.section(reader, "power") {
        power::read(&mut config.power, &mut section, reader);
        section.finish(reader);
    }
    if let Some(mut section) = root.section(reader, "keyboard") {
        let keyboard = &mut config.keyboard;
        set(&mut keyboard.rules, section.string(reader, "rules"));
        set(&mut keyboard.model, section.string(reader, "model"));
        set(&mut keyboard.layout, section.string(reader, "layout"));
        set(&mut keyboard.variant, section.string(reader, "variant"));
        set(&mut keyboard.options, section.string(reader, "options"));
        set(
            &mut keyboard.repeat_rate,
            section.integer(reader, "repeat_rate", 0..201).map(|rate| rate as i32),
        );
        set(
            &mut keyboard.repeat_delay,
            section.integer(reader, "repeat_delay", 1..5001).map(|delay| delay as i32),
        );
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
    if let Some(mut section) = root.section(reader, "touch") {
        for (device, mut section) in section.named_sections(reader) {
            if let Some(display) = section.string(reader, "display") {
                config.touch.push((device, display));
            }
            section.finish(reader);
        }
    }
    if let Some(mut section) = root.section(reader, "cursor") {
        set(&mut config.cursor_theme, section.string(reader, "theme"));
        set(&mut config.cursor_size, section.integer(reader, "size", 8..256).map(|size| size as u8));
        section.finish(reader);
    }
    if let Some(mut section) = root.section(reader, "headless") {
        let allowed = "a list of modes, [\"1920x1080@60\"], 1 to 16 of them";
        let modes = section.value(reader, "displays", allowed, |value| {
            let list: Option<Vec<Mode>> = value.as_array()?.iter().map(read_headless).collect();
            list.filter(|list| (1..=16).contains(&list.len()))
        });
        set(&mut config.headless, modes);
        section.finish(reader);
    }
}

fn read_headless(value: &Value) -> Option<Mode> {
    let wish: ModeWish = value.as_str()?.parse().ok()?;
    Some(Mode::new(wish.width, wish.height, wish.refresh.unwrap_or(60_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Config, Vec<String>) {
        let (config, problems) = parse(Path::new("test.toml"), text);
        (config.unwrap_or_default(), problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_installed_file_writes_every_default() {
        let text = include_str!("../../conf/geom_compositor.toml");
        let (config, problems) = read(text);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(config, Config::default());
        // Uncommented, its examples are good as well.
        let examples: String = text
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        let (config, problems) = read(&examples);
        assert_eq!(problems, Vec::<String>::new());
        assert!(!config.rules.is_empty() && !config.wishes.displays.is_empty() && !config.touch.is_empty());
    }

    #[test]
    fn one_bad_line_costs_only_itself() {
        let (config, problems) = read(
            "colour = 3\nrenderer = \"vulkan\"\ndiagnostic_screen = false\n\
             [displays.HDMI-A-1]\nmode = \"wide\"\nscale = 2\n[keyboard]\nlayout = 7\nvariant = \"dvorak\"\n",
        );
        assert!(!config.diagnostic_screen);
        assert_eq!(config.keyboard.variant, "dvorak");
        assert_eq!(config.keyboard.layout, "us");
        assert_eq!(config.wishes.displays["HDMI-A-1"].scale, Some(2.0));
        assert_eq!(
            problems,
            [
                "test.toml:2: renderer = \"vulkan\" is not allowed; allowed: \"auto\", \"pixman\", \"gles\", \"llvmpipe\"",
                "test.toml:5: displays.\"HDMI-A-1\".mode: \"wide\" is not a mode; write \"1920x1080\" or \"1920x1080@59.94\"",
                "test.toml:8: keyboard.layout = 7 is not allowed; allowed: a text in quotes",
                "test.toml:1: unknown key colour; known here: connect_type, renderer, direct_scanout, hardware_color, diagnostic_screen, keep_picture, metrics_file, metrics_interval, exit_keys, user, displays, aliases, night_light, rules, clients, power, keyboard, pointer, touch, cursor, headless",
            ]
        );
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_line() {
        let (config, problems) = parse(Path::new("test.toml"), "renderer = \"auto\"\n[keyboard\n");
        assert_eq!(config, None);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].line, Some(2));
    }

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("foot", "foot", true),
            ("foot", "footclient", false),
            ("foot*", "footclient", true),
            ("*", "", true),
            ("org.*.Editor", "org.gnome.Text.Editor", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches_pattern(pattern, text), fits, "{pattern} {text}");
        }
    }
}
