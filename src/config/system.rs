//! The system's configuration and its defaults. `conf/geom_compositor.toml` has each default with a
//! comment; a test compares the two.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use geom_color::night_light::NightLight;
use geom_display::connector_override::ConnectorOverrides;
use geom_display::mode::{ConfiguredMode, Mode};
use geom_display::output_config::OutputConfigs;
use geom_display::pattern::matches_pattern;
use geom_ipc::ConnectType;
use smithay::input::keyboard::Keysym;
use toml_edit::Value;

use super::clients::{self, ClientsConfig};
use super::connectors::{read_connectors, EdidFile};
use super::cursor::Cursor;
use super::displays::{read_aliases, read_displays, read_night_light};
use super::input::{self, InputEntry, Keyboard, Pointer};
use super::power::{self, PowerConfig};
use super::reader::{names, Problem, Reader, Section};
use super::shortcuts::{read_chord, read_shortcuts, Chord, Shortcut};

/// The installed configuration file.
pub const DEFAULT_PATH: &str = "/usr/local/share/GeometryOS/system/conf/geom_compositor.toml";

/// The preferred renderer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum RendererPreference {
    /// GLES on a GPU, pixman on drivers without one.
    Auto,
    Pixman,
    /// GLES, only on a GPU.
    Gles,
    /// GLES, even if it runs on the CPU.
    Llvmpipe,
}

/// Which new windows get the keyboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum FocusNew {
    Always,
    /// Those on a display that is in use: the one whose window has the keyboard, or the one that
    /// the user clicked last.
    SameDisplay,
}

/// The display of the windows that match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// `*` matches any text.
    pub app_id: Option<String>,
    pub title: Option<String>,
    pub display: String,
}

/// The properties of a window that a rule matches.
#[derive(Debug, Clone, Copy, Default)]
pub struct WindowTraits<'a> {
    pub app_id: Option<&'a str>,
    pub title: Option<&'a str>,
}

impl Rule {
    /// Returns whether every pattern of the rule matches.
    pub fn matches(&self, window: WindowTraits<'_>) -> bool {
        let matches = |pattern: &Option<String>, text: Option<&str>| match pattern {
            None => true,
            Some(pattern) => text.is_some_and(|text| matches_pattern(pattern, text)),
        };
        matches(&self.app_id, window.app_id) && matches(&self.title, window.title)
    }
}

/// The hardware that may convert colors if it is accurate enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HardwareColor {
    Any,
    /// Color pipelines of planes, but not the LUTs and matrix of a CRTC.
    Planes,
    Never,
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub connect_type: ConnectType,
    pub outputs: OutputConfigs,
    /// What is used of connectors instead of what the kernel reports.
    pub connectors: ConnectorOverrides,
    /// The files of EDIDs in `connectors`.
    pub(super) edid_files: Vec<EdidFile>,
    /// The user whose profile applies, unless the command line names one.
    pub user: Option<String>,
    /// The user's own names for displays, and the names that they stand for.
    pub aliases: BTreeMap<String, String>,
    pub night_light: Option<NightLight>,
    pub rules: Vec<Rule>,
    pub focus_new: FocusNew,
    pub renderer: RendererPreference,
    /// The GPU that renders: the path of its device node or of its place on the bus.
    pub render_gpu: Option<String>,
    pub direct_scanout: bool,
    pub hardware_color: HardwareColor,
    pub keyboard: Keyboard,
    pub pointer: Pointer,
    /// The settings of single devices. The first entry that matches a device and has a setting
    /// applies.
    pub input: Vec<InputEntry>,
    /// How long a finger rests for a right click; `None`: never.
    pub long_press: Option<Duration>,
    /// The chord that ends the service.
    pub exit_keys: Option<Chord>,
    pub shortcuts: Vec<Shortcut>,
    /// Ctrl+Alt+F1 to F12 switch VTs.
    pub vt_keys: bool,
    pub cursor: Cursor,
    pub diagnostic_screen: bool,
    /// The longest time for which a framebuffer of the previous DRM master stays on a display
    /// without a window; zero: not at all.
    pub keep_framebuffer: Duration,
    /// The file of metrics for the textfile collector of Prometheus' node exporter, and the
    /// interval of writing it.
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
            outputs: OutputConfigs::default(),
            connectors: ConnectorOverrides::new(),
            edid_files: Vec::new(),
            user: None,
            aliases: BTreeMap::new(),
            night_light: None,
            rules: Vec::new(),
            focus_new: FocusNew::SameDisplay,
            renderer: RendererPreference::Auto,
            render_gpu: None,
            direct_scanout: true,
            hardware_color: HardwareColor::Any,
            keyboard: Keyboard::default(),
            pointer: Pointer::default(),
            input: Vec::new(),
            long_press: None,
            exit_keys: Some(Chord {
                ctrl: true,
                alt: true,
                shift: false,
                logo: false,
                key: Keysym::BackSpace,
            }),
            shortcuts: Vec::new(),
            vt_keys: true,
            cursor: Cursor::default(),
            diagnostic_screen: true,
            keep_framebuffer: Duration::from_secs(10),
            metrics_file: None,
            metrics_interval: Duration::from_secs(15),
            clients: ClientsConfig::default(),
            power: PowerConfig::default(),
            headless: vec![Mode::new(1920, 1080, 60_000)],
        }
    }
}

impl Config {
    /// Returns the safe settings: the defaults with pixman, and of this configuration only what
    /// restricts people and clients, what is connected and to which display each device belongs,
    /// and when the cursor is shown. Otherwise a client that makes the service crash would undo a
    /// kiosk's restrictions, disable its display, or put a cursor on it.
    pub fn to_safe(&self) -> Self {
        Self {
            renderer: RendererPreference::Pixman,
            exit_keys: self.exit_keys,
            vt_keys: self.vt_keys,
            diagnostic_screen: self.diagnostic_screen,
            clients: self.clients.to_safe(),
            connectors: self.connectors.clone(),
            cursor: Cursor {
                visible: self.cursor.visible,
                hide_after: self.cursor.hide_after,
                ..Cursor::default()
            },
            input: self.input.iter().map(InputEntry::to_safe).collect(),
            ..Self::default()
        }
    }
}

/// Parses a configuration. Returns the valid settings over the defaults, or `None` if the text is
/// not TOML.
pub fn parse(path: &Path, text: &str) -> (Option<Config>, Vec<Problem>) {
    let mut reader = Reader::new(path, text);
    let Some(document) = reader.document() else { return (None, reader.problems) };
    let mut config = Config::default();
    let mut root = Section::new("", document.as_table());
    read_root(&mut config, &mut root, &mut reader);
    root.finish(&mut reader);
    (Some(config), reader.problems)
}

/// Replaces a default if the file has a value.
pub fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn read_root(config: &mut Config, root: &mut Section<'_>, reader: &mut Reader<'_>) {
    let allowed = "\"DISCONNECT_ONCE\", \"KEEP_CONNECTION_OPEN\", or both joined by \"|\"";
    set(
        &mut config.connect_type,
        root.value(reader, "connect_type", allowed, |value| value.as_str()?.parse().ok()),
    );
    set(&mut config.renderer, root.choice(reader, "renderer", names::<RendererPreference>()));
    config.render_gpu = root.string(reader, "render_gpu").filter(|name| !name.is_empty());
    set(&mut config.direct_scanout, root.boolean(reader, "direct_scanout"));
    let allowed = "true, false or \"planes\"";
    let hardware =
        root.value(reader, "hardware_color", allowed, |value| match (value.as_bool(), value.as_str()) {
            (Some(true), _) => Some(HardwareColor::Any),
            (Some(false), _) => Some(HardwareColor::Never),
            (None, Some("planes")) => Some(HardwareColor::Planes),
            _ => None,
        });
    set(&mut config.hardware_color, hardware);
    set(&mut config.diagnostic_screen, root.boolean(reader, "diagnostic_screen"));
    root.rename_key(reader, "keep_picture", "keep_framebuffer");
    let seconds = root.number(reader, "keep_framebuffer", 0.0, 3600.0);
    set(&mut config.keep_framebuffer, seconds.map(Duration::from_secs_f64));
    config.metrics_file = root.value(reader, "metrics_file", "an absolute path", |value| {
        value.as_str().map(PathBuf::from).filter(|path| path.is_absolute())
    });
    let interval = root.number(reader, "metrics_interval", 1.0, 3600.0);
    set(&mut config.metrics_interval, interval.map(Duration::from_secs_f64));
    set(&mut config.exit_keys, read_chord(root, reader, "exit_keys", true));
    config.shortcuts = read_shortcuts(root, reader);
    set(&mut config.vt_keys, root.boolean(reader, "vt_keys"));
    set(&mut config.focus_new, root.choice(reader, "focus_new", names::<FocusNew>()));
    config.user = root.string(reader, "user");
    config.outputs.outputs = read_displays(root, reader);
    (config.connectors, config.edid_files) = read_connectors(root, reader);
    config.aliases = read_aliases(root, reader);
    config.night_light = read_night_light(root, reader);
    config.rules.extend(read_rules(root, reader));
    if let Some(mut section) = root.section(reader, "clients") {
        clients::read(&mut config.clients, &mut section, reader);
        section.finish(reader);
    }
    if let Some(mut section) = root.section(reader, "power") {
        power::read(&mut config.power, &mut section, reader);
        section.finish(reader);
    }
    input::read(config, root, reader);
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

fn read_rules(root: &mut Section<'_>, reader: &mut Reader<'_>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for mut section in root.sections(reader, "rules") {
        let rule = Rule {
            app_id: section.string(reader, "app_id"),
            title: section.string(reader, "title"),
            display: section.string(reader, "display").unwrap_or_default(),
        };
        section.finish(reader);
        if rule.display.is_empty() {
            reader.report(None, "a rule has no display; write display = \"HDMI-A-1\"".into());
        } else {
            rules.push(rule);
        }
    }
    rules
}

fn read_headless(value: &Value) -> Option<Mode> {
    let mode: ConfiguredMode = value.as_str()?.parse().ok()?;
    Some(Mode::new(mode.width, mode.height, mode.refresh.unwrap_or(60_000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CursorVisible;

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
        // Its examples are valid too.
        let examples: String = text
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        let (config, problems) = read(&examples);
        assert_eq!(problems, Vec::<String>::new());
        assert!(!config.rules.is_empty() && !config.outputs.outputs.is_empty() && !config.input.is_empty());
    }

    #[test]
    fn safe_settings_keep_restrictions_only() {
        let (config, problems) = read(
            "exit_keys = \"\"\nvt_keys = false\ndiagnostic_screen = false\nrenderer = \"gles\"\nuser = \"ann\"\n\
             [clients]\nusers = [1001]\ngroups = [1002]\ncontrol_group = 1003\ninterval = 1\nconnections = 7\n\
             [displays.DP-1]\nscale = 2\n[connectors.DP-1]\nconnected = true\n\
             [cursor]\nvisible = \"never\"\nsize = 99\n",
        );
        assert!(problems.is_empty(), "{problems:?}");
        let safe = config.to_safe();
        assert!(safe.exit_keys.is_none() && !safe.vt_keys && !safe.diagnostic_screen);
        let limits = &safe.clients.limits;
        assert_eq!(
            (&limits.users[..], &limits.groups[..], limits.connections),
            (&[1001][..], &[1002][..], 7)
        );
        assert_eq!(safe.clients.control_group, Some(1003));
        assert_eq!((safe.renderer, &safe.user), (RendererPreference::Pixman, &None));
        assert!(safe.outputs.outputs.is_empty());
        assert_eq!((safe.cursor.visible, safe.cursor.size), (CursorVisible::Never, 24));
        assert_eq!(safe.connectors["DP-1"].connected, Some(true));
        assert_eq!(safe.clients.heartbeat(None), ClientsConfig::default().heartbeat(None));
    }

    #[test]
    fn mistakes_affect_only_their_own_lines() {
        let (config, problems) = read(
            "color = 3\nrenderer = \"vulkan\"\ndiagnostic_screen = false\n\
             [displays.HDMI-A-1]\nmode = \"wide\"\nscale = 2\n[keyboard]\nlayout = 7\nvariant = \"dvorak\"\n",
        );
        assert!(!config.diagnostic_screen);
        assert_eq!(config.keyboard.variant, "dvorak");
        assert_eq!(config.keyboard.layout, "");
        assert_eq!(config.outputs.outputs["HDMI-A-1"].scale, Some(2.0));
        assert_eq!(
            problems,
            [
                "test.toml:2: renderer = \"vulkan\" is not allowed; allowed: \"auto\", \"pixman\", \"gles\", \"llvmpipe\"",
                "test.toml:5: displays.\"HDMI-A-1\".mode: \"wide\" is not a mode; write \"1920x1080\" or \"1920x1080@59.94\"",
                "test.toml:8: keyboard.layout = 7 is not allowed; allowed: names of xkeyboard-config(7), at most 1024 characters",
                "test.toml:1: unknown key color; known here: connect_type, renderer, render_gpu, direct_scanout, hardware_color, diagnostic_screen, keep_framebuffer, metrics_file, metrics_interval, exit_keys, shortcuts, vt_keys, focus_new, user, displays, connectors, aliases, night_light, rules, clients, power, keyboard, pointer, input, touch, cursor, headless",
            ]
        );
    }

    #[test]
    fn text_that_is_not_toml_is_refused_with_its_line() {
        let (config, problems) = parse(Path::new("test.toml"), "renderer = \"auto\"\n[keyboard\n");
        assert_eq!(config, None);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].line, Some(2));
    }

    #[test]
    fn obsolete_names_are_accepted_and_reported() {
        let (config, problems) = read("keep_picture = 3\n[power]\nlid = \"off\"\n");
        assert_eq!(config.keep_framebuffer, Duration::from_secs(3));
        assert_eq!(config.power.lid, crate::config::Policy::Disable);
        assert_eq!(
            problems,
            [
                "test.toml:1: keep_picture is now called keep_framebuffer; rename it",
                "test.toml:3: power.lid = \"off\" is now called \"disable\"; rename it",
            ]
        );
        // The new name applies if a file has both.
        let (config, problems) = read("keep_picture = 3\nkeep_framebuffer = 4\n");
        assert_eq!((config.keep_framebuffer, problems.len()), (Duration::from_secs(4), 1));
    }

    #[test]
    fn lid_and_power_button_have_policies_of_their_own() {
        let (_, problems) = read("[power]\nlid = \"blank\"\npower_button = \"disable\"\n");
        assert_eq!(
            problems,
            [
                "test.toml:2: power.lid = \"blank\" is not allowed; \
                 allowed: \"system\", \"nothing\", \"disable\", \"suspend\", \"power-off\"",
                "test.toml:3: power.power_button = \"disable\" is not allowed; \
                 allowed: \"system\", \"nothing\", \"blank\", \"suspend\", \"power-off\"",
            ]
        );
    }
}
