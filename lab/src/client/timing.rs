//! Figures of an animated client: commit to presentation, missed frames.

use std::time::Duration;

/// Shown frames as `wp_presentation` tells them.
pub struct Timing {
    wanted: Option<u32>,
    began: Duration,
    /// From connecting to the first configure event.
    configured: Option<Duration>,
    latencies: Vec<Duration>,
    presented: Vec<Duration>,
    refresh: Duration,
    discarded: u32,
    /// Frame callbacks, for compositors that answer no presentation feedback.
    callbacks: Vec<Duration>,
}

/// So many callbacks without any answer: none will come.
const PATIENCE: usize = 10;

/// Now on the clock of presentation times, CLOCK_MONOTONIC.
pub fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl Timing {
    pub fn new(wanted: Option<u32>) -> Self {
        Self {
            wanted,
            began: now(),
            configured: None,
            latencies: Vec::new(),
            presented: Vec::new(),
            refresh: Duration::ZERO,
            discarded: 0,
            callbacks: Vec::new(),
        }
    }

    pub fn shown(&mut self, committed: Duration, presented: Duration, refresh: Duration) {
        if self.latencies.is_empty() {
            println!("first frame at {:.6}", presented.as_secs_f64());
        }
        self.latencies.push(presented.saturating_sub(committed));
        self.presented.push(presented);
        self.refresh = refresh;
    }

    /// The first window was told its size.
    pub fn configured(&mut self) {
        self.configured.get_or_insert_with(|| now().saturating_sub(self.began));
    }

    pub fn discarded(&mut self) {
        self.discarded += 1;
    }

    pub fn callback(&mut self, time: Duration) {
        self.callbacks.push(time);
        if self.latencies.is_empty() && self.callbacks.len() == PATIENCE {
            println!("first frame at {:.6}", self.callbacks[0].as_secs_f64());
        }
    }

    pub fn configured_ms(&self) -> Option<f64> {
        self.configured.map(|time| time.as_secs_f64() * 1000.0)
    }

    /// Whether enough frames were shown; then their figures are told.
    pub fn is_done(&self) -> bool {
        let Some(wanted) = self.wanted else { return false };
        if self.latencies.is_empty() && self.callbacks.len() >= (wanted as usize).max(PATIENCE) {
            println!("figures frames={}", self.callbacks.len());
            return true;
        }
        if (self.latencies.len() as u32) < wanted {
            return false;
        }
        let mut sorted = self.latencies.clone();
        sorted.sort();
        let at =
            |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1000.0;
        let interval = if self.refresh.is_zero() { Duration::from_nanos(16_666_667) } else { self.refresh };
        let gaps = self.presented.windows(2).map(|pair| {
            ((pair[1].saturating_sub(pair[0])).as_secs_f64() / interval.as_secs_f64()).round() - 1.0
        });
        let missed: Vec<(usize, f64)> = gaps.enumerate().filter(|(_, missed)| *missed > 0.0).collect();
        // Behind which frames: those at the start are of buffers that are new to client and compositor.
        let places: Vec<String> = missed.iter().map(|(frame, missed)| format!("{frame}:{missed}")).collect();
        println!(
            "figures frames={} median_ms={:.3} p99_ms={:.3} missed={} discarded={} missed_behind={}",
            self.latencies.len(),
            at(0.5),
            at(0.99),
            missed.iter().map(|(_, missed)| missed).sum::<f64>(),
            self.discarded,
            places.join(",")
        );
        true
    }
}
