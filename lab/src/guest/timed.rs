//! Measures from a deed to its effect, both seen from inside the guest.

use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use geom_lab::protocol::{Deed, Measurement};

use crate::{gpu, processes, Guest};

/// Looks often enough to tell milliseconds apart, seldom enough to leave a processor to others.
const PACE: Duration = Duration::from_micros(400);

pub fn measure(
    guest: &Guest,
    deed: &Deed,
    path: &str,
    text: &str,
    count: usize,
    bound: Duration,
) -> Result<Measurement> {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let began = clock.tv_sec as f64 + clock.tv_nsec as f64 / 1e9;
    let start = Instant::now();
    let pid = match deed {
        Deed::Spawn(spec) => Some(guest.processes.spawn(spec)?),
        Deed::Plug { gpu, connector } => {
            gpu::set_connected(gpu, *connector, true)?;
            None
        }
        Deed::Signal { pid, signal } => {
            processes::signal(*pid, *signal)?;
            None
        }
    };
    loop {
        let contents = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
        if contents.matches(text).count() >= count {
            return Ok(Measurement { pid, began, took: start.elapsed().as_secs_f64() });
        }
        if start.elapsed() > bound {
            bail!("{path} has {text:?} less than {count} times after {bound:?}");
        }
        std::thread::sleep(PACE);
    }
}
