//! The command line, and nothing else.

use std::process::ExitCode;

use clap::Parser;
use geom_compositor::options::Options;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::Layer;

fn main() -> ExitCode {
    let mut options = Options::parse();
    if let Some(command) = options.command.take() {
        return geom_compositor::cli::run(command);
    }
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines.with_filter(options.log.clone())).init();
    match geom_compositor::run::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("geom_compositor: {error:#}");
            ExitCode::FAILURE
        }
    }
}
