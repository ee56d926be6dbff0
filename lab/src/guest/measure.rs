//! Measures the time from a trigger to its effect, both inside the guest.

use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use geom_lab::protocol::{Measurement, Trigger};

use crate::{gpu, processes, Guest};

/// Short enough to resolve milliseconds, long enough to leave the CPU to the programs.
const POLL_INTERVAL: Duration = Duration::from_micros(400);

/// See [`Request::Measure`](geom_lab::protocol::Request::Measure).
pub fn measure(
    guest: &Guest,
    trigger: &Trigger,
    path: &str,
    text: &str,
    count: usize,
    timeout: Duration,
) -> Result<Measurement> {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let started = clock.tv_sec as f64 + clock.tv_nsec as f64 / 1e9;
    let start = Instant::now();
    let pid = match trigger {
        Trigger::Spawn(spec) => Some(guest.processes.spawn(spec)?),
        Trigger::Plug { gpu, connector } => {
            gpu::set_connected(gpu, *connector, true)?;
            None
        }
        Trigger::Signal { pid, signal } => {
            processes::signal(*pid, *signal)?;
            None
        }
    };
    loop {
        let contents = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
        if contents.matches(text).count() >= count {
            return Ok(Measurement { pid, started, elapsed: start.elapsed().as_secs_f64() });
        }
        if start.elapsed() > timeout {
            bail!("{path} has {text:?} less than {count} times after {timeout:?}");
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
