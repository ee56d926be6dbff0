//! `make bench`: this compositor, sway and cage in the same machine, each with its software
//! renderer, the same mode and the same clients; measured from outside.

mod bare;
mod contestants;
mod host;
mod measure;
mod report;
mod soak;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;

use contestants::Contestant;

/// Measures geom_compositor beside sway and cage in the lab.
#[derive(Parser)]
struct Options {
    /// The compositor to measure.
    #[arg(long, required_unless_present = "serve_bare")]
    compositor: Option<PathBuf>,
    /// How often everything is measured.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Only what runs on the host: connections, without the lab and peers.
    #[arg(long)]
    host_only: bool,
    /// Only this, in the lab.
    #[arg(long, conflicts_with = "host_only")]
    only: Option<measure::Case>,
    /// Instead of all that: clients and monitors that come and go for so many minutes, and what is held afterwards.
    #[arg(long, conflicts_with_all = ["host_only", "only"])]
    soak: Option<u64>,
    /// Where results.json and table.md go.
    #[arg(long, required_unless_present = "serve_bare")]
    out: Option<PathBuf>,
    /// Serve Wayland clients at this socket with the library alone.
    #[arg(long, hide = true)]
    serve_bare: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(socket) = &options.serve_bare {
        return bare::serve(socket);
    }
    let (compositor, out) =
        options.compositor.as_ref().zip(options.out.as_ref()).context("--compositor and --out")?;
    if let Some(minutes) = options.soak {
        return soak::soak(compositor, minutes, out);
    }
    let mut results = report::Results::default();
    for repeat in 0..if options.host_only { 0 } else { options.repeats } {
        // Each goes first once, so that none has the warmer caches each time.
        for place in 0..Contestant::ALL.len() {
            let contestant = Contestant::ALL[(repeat + place) % Contestant::ALL.len()];
            println!("round {} of {}: {}", repeat + 1, options.repeats, contestant.name());
            measure::all(contestant, compositor, options.only, &mut results)?;
            // What took minutes is kept whatever comes.
            results.write(out)?;
        }
    }
    for repeat in 0..if options.only.is_some() { 0 } else { options.repeats } {
        println!("round {} of {}: connections on the host", repeat + 1, options.repeats);
        host::connections(compositor, &mut results)?;
    }
    results.write(out)
}
