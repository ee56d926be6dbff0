//! The command line, and nothing else.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use geom_compositor::options::Options;
use geom_compositor::session::journal::Journal;
use geom_compositor::session::{crash, guard, readiness};
use tracing::warn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::Layer;

fn main() -> ExitCode {
    let mut options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            if error.use_stderr() {
                readiness::failed(&error.to_string());
            }
            error.exit()
        }
    };
    if let Some(command) = options.command.take() {
        return geom_compositor::cli::run(command);
    }
    // https://no-color.org
    let colored =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let journal = Journal::open();
    let lines = journal.is_none().then(|| {
        let lines = tracing_subscriber::fmt::layer().with_ansi(colored).with_writer(std::io::stderr);
        lines.with_filter(options.log.clone())
    });
    let journal = journal.map(|journal| journal.with_filter(options.log.clone()));
    let lines = tracing_subscriber::registry().with(lines).with(journal);
    let ended = if options.wants_guard() {
        lines.init();
        guard::run()
    } else {
        lines.with(crash::layer()).init();
        if let Err(error) = crash::install() {
            warn!(%error, "a crash will leave no report: no folder of StateDirectory=, XDG_STATE_HOME, HOME or XDG_RUNTIME_DIR can be made");
        }
        geom_compositor::run::run(options).map(|()| ExitCode::SUCCESS)
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("geom_compositor: {error:#}");
            readiness::failed(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
