//! The body of the `geom_compositor` program: `main.rs` calls [`main`] and nothing else.
//!
//! Components own their data and never see the compositor's `State`; only [`compositor`] joins
//! them, and nothing imports it (docs/architecture.md, checked by `tools/imports`).

pub(crate) mod backend;
pub(crate) mod cli;
pub(crate) mod clients;
pub(crate) mod compositor;
pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod doctor;
pub(crate) mod event_loop;
pub(crate) mod gpu;
pub(crate) mod input;
pub(crate) mod output;
pub(crate) mod power;
pub(crate) mod render;
pub(crate) mod session;
pub(crate) mod shell;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing::warn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::Layer;

use crate::cli::options::Options;
use crate::session::journal::Journal;
use crate::session::{crash, guard, sd_notify};

/// Parts of the program that the fuzz targets and the benchmarks call. Not an API.
#[doc(hidden)]
pub mod internals {
    pub use crate::clients::heartbeat;
    pub use crate::clients::invariants;
    pub use crate::clients::saved_state::SavedClients;
    #[cfg(feature = "fuzzing")]
    pub use crate::compositor::fuzzing;
    pub use crate::config::{parse as parse_config, profile};
    pub use crate::render::color_shader;
    #[cfg(feature = "fuzzing")]
    pub use crate::session::{fd_store, notifications};
}

/// Returns the layer that writes the log, to the journal or to standard error. One layer in a box:
/// with an optional layer that is not there, tracing would ask the filters of the others
/// about every event and span of each frame, and create the spans.
fn log_lines<S>(options: &Options) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    if let Some(journal) = Journal::open() {
        return journal.with_filter(options.log.clone()).boxed();
    }
    // https://no-color.org
    let colored =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_ansi(colored).with_writer(std::io::stderr);
    lines.with_filter(options.log.clone()).boxed()
}

/// Runs the program: a command to a running service, the guard, or the service itself.
#[must_use]
pub fn main() -> ExitCode {
    let mut options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            if error.use_stderr() {
                sd_notify::failed(&error.to_string());
            }
            error.exit()
        }
    };
    if let Some(command) = options.command.take() {
        return cli::run(command);
    }
    let lines = log_lines(&options);
    let ended = if options.wants_guard() {
        tracing_subscriber::registry().with(lines).init();
        guard::run()
    } else {
        tracing_subscriber::registry().with(lines).with(crash::layer()).init();
        if let Err(error) = crash::install() {
            warn!(%error, "no crash report can be written: create StateDirectory=, XDG_STATE_HOME, HOME or XDG_RUNTIME_DIR");
        }
        compositor::run::run(options).map(|()| ExitCode::SUCCESS)
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            cli::terminal::print_error(&format!("{error:#}"));
            sd_notify::failed(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod log_tests {
    use tracing::metadata::LevelFilter;
    use tracing::Subscriber;

    use super::*;

    /// The spans and events of each frame cost no more than one look at the level. They took a
    /// tenth of a small frame's CPU time.
    #[test]
    fn frames_are_not_logged_unless_that_is_asked_for() {
        for (log, level) in [("info,smithay=warn", LevelFilter::DEBUG), ("trace", LevelFilter::TRACE)] {
            let options =
                Options::try_parse_from(["geom_compositor", "--log", log]).expect("options are right");
            let subscriber = tracing_subscriber::registry().with(log_lines(&options)).with(crash::layer());
            assert_eq!(subscriber.max_level_hint(), Some(level), "{log}");
        }
    }
}
