//! `make bench`: measures geom_compositor, sway and cage in the same machine from outside, each
//! with its software renderer, the same mode and the same clients.

mod compositors;
mod connections;
mod hostile;
mod idle_connections;
mod library_baseline;
mod measure;
mod report;
mod soak;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;

use compositors::Compositor;

/// Measures geom_compositor, sway and cage in the lab.
#[derive(Parser)]
struct Options {
    /// The compositor to measure.
    #[arg(long, required_unless_present = "serve_library_baseline")]
    compositor: Option<PathBuf>,
    /// Number of rounds; each measures everything once.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Measure only what runs on the host: connections, without the lab and the peers.
    #[arg(long)]
    host_only: bool,
    /// Measure only this case, in the lab.
    #[arg(long, conflicts_with = "host_only")]
    only: Option<measure::Case>,
    /// Instead, connect and disconnect clients and monitors for this number of minutes, and compare
    /// the service's resources before and after.
    #[arg(long, conflicts_with_all = ["host_only", "only"])]
    soak: Option<u64>,
    /// Directory for results.json and table.md.
    #[arg(long, required_unless_present = "serve_library_baseline")]
    out: Option<PathBuf>,
    /// Serve Wayland clients at this socket with nothing but the library.
    #[arg(long, hide = true)]
    serve_library_baseline: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(socket) = &options.serve_library_baseline {
        return library_baseline::serve(socket);
    }
    let (compositor, out) =
        options.compositor.as_ref().zip(options.out.as_ref()).context("--compositor and --out")?;
    if let Some(minutes) = options.soak {
        return soak::soak(compositor, minutes, out);
    }
    let mut results = report::Results::default();
    for repeat in 0..if options.host_only { 0 } else { options.repeats } {
        // The order rotates, so that no compositor always finds the warmer caches.
        for index in 0..Compositor::ALL.len() {
            let subject = Compositor::ALL[(repeat + index) % Compositor::ALL.len()];
            println!("round {} of {}: {}", repeat + 1, options.repeats, subject.name());
            measure::all(subject, compositor, options.only, &mut results)?;
            // A later failure must not lose the measurements of several minutes.
            results.write(out)?;
        }
    }
    for repeat in 0..if options.only.is_some() { 0 } else { options.repeats } {
        println!("round {} of {}: connections on the host", repeat + 1, options.repeats);
        connections::measure(compositor, &mut results)?;
    }
    results.write(out)
}
