//! The command line, and nothing else.

use std::process::ExitCode;

use clap::Parser;
use geom_compositor::options::Options;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let options = Options::parse();
    let filter = match EnvFilter::try_new(&options.log) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("geom_compositor: --log: {error}");
            return ExitCode::from(2);
        }
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match geom_compositor::run::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("geom_compositor: {error:#}");
            ExitCode::FAILURE
        }
    }
}
