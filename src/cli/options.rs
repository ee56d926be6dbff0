//! Options of the service, and the command line as a whole.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use tracing_subscriber::filter::Targets;

use super::Command;
use crate::config::profile::USERDATA;
use crate::config::{Config, ConnectType, RendererPreference};
use crate::session::guard;

/// The source of displays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// The machine's monitors, or virtual displays on a machine without KMS.
    Auto,
    /// The machine's monitors.
    Kms,
    /// Virtual displays named HEADLESS-1 and so on.
    Headless,
}

/// Whether the service has a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GuardChoice {
    Auto,
    Always,
    Never,
}

/// The display manager of Geometry OS devices: enables every monitor and shows Wayland programs.
///
/// Start it from a TTY or as a service. Each option can also be given as an environment variable:
/// GEOM_COMPOSITOR_ and its name in capitals.
///
/// With a command it sends a request to a running service instead. Exit statuses of commands: 0
/// done, 1 failed, 2 wrong command line, 3 no service runs, 4 not allowed, 5 no such display,
/// client or window.
#[derive(Debug, Clone, Parser)]
#[command(name = "geom_compositor", version, args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The source of displays
    #[arg(long, value_enum, default_value = "auto", env = "GEOM_COMPOSITOR_BACKEND")]
    pub backend: BackendChoice,

    /// The configuration file [default:
    /// /usr/local/share/GeometryOS/system/conf/geom_compositor.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "GEOM_COMPOSITOR_CONFIG")]
    pub config: Option<PathBuf>,

    /// The user whose profile applies: userdata/<USER>/displays.toml [default: the configuration's,
    /// or else the user of the seat's active session]
    #[arg(long, value_name = "USER", env = "GEOM_COMPOSITOR_USER")]
    pub user: Option<String>,

    /// The folder of the users' folders
    #[arg(long, value_name = "FOLDER", default_value = USERDATA, env = "GEOM_COMPOSITOR_USERDATA")]
    pub userdata: PathBuf,

    /// Let a profile disable all displays; without this option one stays enabled
    #[arg(long, env = "GEOM_COMPOSITOR_HEADLESS_OK")]
    pub headless_ok: bool,

    /// Ignore configuration and profile, and render with pixman: if a setting crashes the service
    #[arg(long, env = "GEOM_COMPOSITOR_SAFE")]
    pub safe: bool,

    /// Restart the service after a crash, by a small parent process (the guard). auto: only on a
    /// terminal, where no service manager does it. Not to be confused with GEOM_COMPOSITOR_GUARD,
    /// which the guard sets for the service that it starts
    #[arg(long, value_enum, default_value = "auto", env = "GEOM_COMPOSITOR_GUARDED")]
    pub guard: GuardChoice,

    /// Drive only this display, by connector name (HDMI-A-1), and disable all others. May be
    /// repeated
    #[arg(short = 'w', long, value_name = "NAME", value_delimiter = ',', env = "GEOM_COMPOSITOR_DISPLAY")]
    pub display: Vec<String>,

    /// What happens when a display named by --display is unplugged: KEEP_CONNECTION_OPEN waits for
    /// it, DISCONNECT_ONCE ends the service; with both, joined by "|" or ",", the service survives
    /// the first disconnect only [default: the configuration's]
    #[arg(long, value_name = "TYPES", env = "GEOM_COMPOSITOR_CONNECT_TYPE")]
    pub connect_type: Option<ConnectType>,

    /// The renderer: auto, pixman, gles or llvmpipe [default: the configuration's]
    #[arg(long, value_name = "RENDERER", value_parser = renderer, env = "GEOM_COMPOSITOR_RENDERER")]
    pub renderer: Option<RendererPreference>,

    /// Start this shell command as a client, while displays are being enabled. May be repeated
    #[arg(long, value_name = "CMD", env = "GEOM_COMPOSITOR_EXEC")]
    pub exec: Vec<String>,

    /// The name of the service on its diagnostic screen and in its status
    #[arg(long, value_name = "TITLE", env = "GEOM_COMPOSITOR_WINDOW_TITLE")]
    pub window_title: Option<String>,

    /// The log level on standard error: error, warn, info, debug or trace, for all or for some
    /// modules ("info,geom_compositor::output=trace")
    #[arg(long, value_name = "LEVELS", default_value = "info,smithay=warn", env = "GEOM_COMPOSITOR_LOG")]
    pub log: Targets,
}

impl Options {
    /// Returns whether this process is to be the guard of the service.
    pub fn wants_guard(&self) -> bool {
        let is_set = |name: &str| std::env::var_os(name).is_some();
        let has_guard = is_set(guard::VARIABLE);
        let is_managed = has_guard || is_set("NOTIFY_SOCKET");
        match self.guard {
            GuardChoice::Never => false,
            GuardChoice::Always => !has_guard,
            GuardChoice::Auto => {
                !is_managed && self.backend != BackendChoice::Headless && std::io::stdin().is_terminal()
            }
        }
    }

    /// Applies options over the configuration.
    pub fn override_config(&self, config: &mut Config) {
        if !self.safe {
            config.renderer = self.renderer.unwrap_or(config.renderer);
        }
    }
}

fn renderer(text: &str) -> Result<RendererPreference, String> {
    text.parse().map_err(|_| "write auto, pixman, gles or llvmpipe".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parsed() {
        let options = Options::try_parse_from([
            "geom_compositor",
            "--connect-type=KEEP_CONNECTION_OPEN",
            "-w",
            "HDMI-A-1",
        ]);
        let options = options.map(|options| (options.connect_type, options.display));
        assert!(options.is_ok_and(|(kind, display)| {
            kind == Some(ConnectType::KEEP_CONNECTION_OPEN) && display == ["HDMI-A-1"]
        }));
        for wrong in [["--connect-type=ONCE"], ["--backend=x11"], ["--renderer=vulkan"]] {
            let arguments = ["geom_compositor"].into_iter().chain(wrong);
            assert!(Options::try_parse_from(arguments).is_err(), "{wrong:?}");
        }
    }

    /// Pages with commands, and with TOML blocks of a configuration.
    const CONFIGURATION_PAGES: [&str; 7] = [
        include_str!("../../README.md"),
        include_str!("../../docs/control.md"),
        include_str!("../../docs/crash-recovery.md"),
        include_str!("../../docs/device.md"),
        include_str!("../../docs/touch-and-pens.md"),
        include_str!("../../docs/input.md"),
        include_str!("../../docs/tutorial.md"),
    ];
    /// Pages with commands, and with TOML blocks of a profile.
    const PROFILE_PAGES: [&str; 2] =
        [include_str!("../../docs/displays.md"), include_str!("../../docs/profiles.md")];

    #[test]
    fn commands_of_the_documentation_are_valid() {
        let lines: Vec<&str> = CONFIGURATION_PAGES
            .iter()
            .chain(&PROFILE_PAGES)
            .flat_map(|page| page.lines())
            .filter_map(|line| line.trim().strip_prefix("$ geom_compositor"))
            .filter_map(|line| line.split('#').next())
            .collect();
        assert!(lines.len() >= 10, "{lines:?}");
        for line in lines {
            // Split as by a shell: the examples quote whole words only.
            let mut words = vec!["geom_compositor"];
            for (index, part) in line.split('"').enumerate() {
                match index % 2 {
                    0 => words.extend(part.split_whitespace()),
                    _ => words.push(part),
                }
            }
            assert!(Options::try_parse_from(&words).is_ok(), "{words:?}");
        }
    }

    #[test]
    fn settings_of_the_documentation_are_valid() {
        let blocks =
            |page: &'static str| page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let configurations: Vec<&str> = CONFIGURATION_PAGES.into_iter().flat_map(blocks).collect();
        let profiles: Vec<&str> = PROFILE_PAGES.into_iter().flat_map(blocks).collect();
        assert!(configurations.len() >= 4 && profiles.len() >= 2);
        let page = std::path::Path::new("page.md");
        for block in configurations {
            let (config, problems) = crate::config::parse(page, block);
            assert!(config.is_some() && problems.is_empty(), "{problems:?}");
        }
        for block in profiles {
            let (profile, problems) = crate::config::profile::parse(page, block);
            assert!(profile.is_some() && problems.is_empty(), "{problems:?}");
        }
    }
}
