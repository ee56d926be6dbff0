//! The command line.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use tracing_subscriber::filter::Targets;

use crate::cli::Command;
use crate::config::profile::USERDATA;
use crate::config::{Config, ConnectType, RendererWish};

/// What displays are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// The machine's monitors; virtual displays on a machine without seat and GPU.
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

/// The display manager of Geometry OS devices: lights every monitor and shows Wayland programs.
///
/// Start it from a TTY or as a service. Each option can also be given as an environment variable,
/// GEOM_COMPOSITOR_ followed by its name in capitals.
#[derive(Debug, Clone, Parser)]
///
/// With a command it asks a running service instead; statuses then: 0 done, 1 failed, 2 wrong command line, 3 no service
/// runs, 4 not allowed, 5 no such display, client or window.
#[command(name = "geom_compositor", version, args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    pub command: Option<Command>,

    /// What displays are made of
    #[arg(long, value_enum, default_value = "auto", env = "GEOM_COMPOSITOR_BACKEND")]
    pub backend: BackendChoice,

    /// The configuration file [default: /usr/local/share/GeometryOS/system/conf/geom_compositor.toml, where it exists]
    #[arg(long, value_name = "FILE", env = "GEOM_COMPOSITOR_CONFIG")]
    pub config: Option<PathBuf>,

    /// Whose wishes for monitors apply: userdata/<USER>/displays.toml [default: the configuration's, or the seat's active session's]
    #[arg(long, value_name = "USER", env = "GEOM_COMPOSITOR_USER")]
    pub user: Option<String>,

    /// The folder of users' folders
    #[arg(long, value_name = "FOLDER", default_value = USERDATA, env = "GEOM_COMPOSITOR_USERDATA")]
    pub userdata: PathBuf,

    /// Let a profile switch every display off; otherwise one stays lit
    #[arg(long, env = "GEOM_COMPOSITOR_HEADLESS_OK")]
    pub headless_ok: bool,

    /// Use neither configuration nor profile, and draw with pixman: for when something in them crashes the service
    #[arg(long, env = "GEOM_COMPOSITOR_SAFE")]
    pub safe: bool,

    /// Whether a small process of its own starts the service again when it crashes: auto does on a terminal, where no service manager
    /// does it
    #[arg(long, value_enum, default_value = "auto", env = "GEOM_COMPOSITOR_GUARDED")]
    pub guard: GuardChoice,

    /// Drive only this display, by connector name (HDMI-A-1); the others are switched off. May be repeated
    #[arg(short = 'w', long, value_name = "NAME", value_delimiter = ',', env = "GEOM_COMPOSITOR_DISPLAY")]
    pub display: Vec<String>,

    /// How the loss of a named display is taken: KEEP_CONNECTION_OPEN waits for it, DISCONNECT_ONCE
    /// ends the service, both joined by "|" or "," survive the first loss only [default: the
    /// configuration's]
    #[arg(long, value_name = "TYPES", env = "GEOM_COMPOSITOR_CONNECT_TYPE")]
    pub connect_type: Option<ConnectType>,

    /// What draws: auto, pixman, gles or llvmpipe [default: the configuration's]
    #[arg(long, value_name = "RENDERER", value_parser = renderer, env = "GEOM_COMPOSITOR_RENDERER")]
    pub renderer: Option<RendererWish>,

    /// Start this shell command as a client, which comes up while displays do. May be repeated
    #[arg(long, value_name = "CMD", env = "GEOM_COMPOSITOR_EXEC")]
    pub exec: Vec<String>,

    /// What the service is called on its diagnostic screen and in its status
    #[arg(long, value_name = "TITLE", env = "GEOM_COMPOSITOR_WINDOW_TITLE")]
    pub window_title: Option<String>,

    /// What is logged to standard error: error, warn, info, debug or trace, for all or for parts
    /// ("info,geom_compositor::scanout=trace")
    #[arg(long, value_name = "LEVELS", default_value = "info,smithay=warn", env = "GEOM_COMPOSITOR_LOG")]
    pub log: Targets,
}

impl Options {
    /// Whether this process is to be the service's guard.
    pub fn wants_guard(&self) -> bool {
        let is_watched = |name: &str| std::env::var_os(name).is_some();
        let guarded = is_watched(crate::session::guard::VARIABLE);
        let watched = guarded || is_watched("NOTIFY_SOCKET");
        match self.guard {
            GuardChoice::Never => false,
            GuardChoice::Always => !guarded,
            GuardChoice::Auto => {
                !watched && self.backend != BackendChoice::Headless && std::io::stdin().is_terminal()
            }
        }
    }

    /// What the command line says goes before the file.
    pub fn override_config(&self, config: &mut Config) {
        if !self.safe {
            config.renderer = self.renderer.unwrap_or(config.renderer);
        }
    }
}

fn renderer(text: &str) -> Result<RendererWish, String> {
    let known = RendererWish::NAMES.iter().find(|(name, _)| *name == text).map(|(_, wish)| *wish);
    known.ok_or_else(|| "write auto, pixman, gles or llvmpipe".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_of_the_readme() {
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

    #[test]
    fn the_readme_s_examples() {
        let readme = include_str!("../README.md");
        let pages = [readme, include_str!("../docs/displays.md"), include_str!("../docs/device.md")];
        let lines: Vec<&str> = pages
            .iter()
            .flat_map(|page| page.lines())
            .filter_map(|line| line.trim().strip_prefix("$ geom_compositor"))
            .filter_map(|line| line.split('#').next())
            .collect();
        assert!(lines.len() >= 10, "{lines:?}");
        for line in lines {
            // As a shell splits it: the examples quote nothing but whole words.
            let mut words = vec!["geom_compositor"];
            for (index, part) in line.split('"').enumerate() {
                match index % 2 {
                    0 => words.extend(part.split_whitespace()),
                    _ => words.push(part),
                }
            }
            assert!(Options::try_parse_from(&words).is_ok(), "{words:?}");
        }
        // Those of displays.md are of a profile, and checked there.
        let blocks: Vec<&str> = [readme, pages[2]]
            .iter()
            .flat_map(|page| page.split("```toml\n").skip(1))
            .filter_map(|rest| rest.split("```").next())
            .collect();
        assert!(!blocks.is_empty());
        for block in blocks {
            let (config, problems) = crate::config::parse(std::path::Path::new("page.md"), block);
            assert!(config.is_some() && problems.is_empty(), "{problems:?}");
        }
    }
}
