//! Statistics of an animated client: latency from commit to presentation, and missed frames.

use std::time::Duration;

use geom_test_client::now;

/// The frames shown so far, as `wp_presentation` reports them.
pub struct Timing {
    /// Number of frames after which the client exits.
    wanted: Option<u32>,
    started: Duration,
    /// Time from connecting to the first configure event.
    configured: Option<Duration>,
    latencies: Vec<Duration>,
    presented: Vec<Duration>,
    refresh: Duration,
    discarded: u32,
    /// Times of frame callbacks, for compositors that send no presentation feedback.
    callbacks: Vec<Duration>,
}

/// After this number of frame callbacks without presentation feedback, none is expected.
const CALLBACKS_WITHOUT_FEEDBACK: usize = 10;

impl Timing {
    /// Starts the time to the first configure event.
    pub fn new(wanted: Option<u32>) -> Self {
        Self {
            wanted,
            started: now(),
            configured: None,
            latencies: Vec::new(),
            presented: Vec::new(),
            refresh: Duration::ZERO,
            discarded: 0,
            callbacks: Vec::new(),
        }
    }

    /// Records a presented frame and prints the time of the first.
    pub fn presented(&mut self, committed: Duration, presented: Duration, refresh: Duration) {
        if self.latencies.is_empty() {
            println!("first frame at {:.6}", presented.as_secs_f64());
        }
        self.latencies.push(presented.saturating_sub(committed));
        self.presented.push(presented);
        self.refresh = refresh;
    }

    /// Records the first configure event.
    pub fn configured(&mut self) {
        self.configured.get_or_insert_with(|| now().saturating_sub(self.started));
    }

    /// Records a frame that was not presented.
    pub fn discarded(&mut self) {
        self.discarded += 1;
    }

    /// Records a frame callback.
    pub fn callback(&mut self, time: Duration) {
        self.callbacks.push(time);
        if self.latencies.is_empty() && self.callbacks.len() == CALLBACKS_WITHOUT_FEEDBACK {
            println!("first frame at {:.6}", self.callbacks[0].as_secs_f64());
        }
    }

    /// Returns the time from connecting to the first configure event in milliseconds.
    pub fn configured_ms(&self) -> Option<f64> {
        self.configured.map(|time| time.as_secs_f64() * 1000.0)
    }

    /// Returns whether enough frames were shown, and prints the statistics if so.
    pub fn is_done(&self) -> bool {
        let Some(wanted) = self.wanted else { return false };
        let without_feedback = (wanted as usize).max(CALLBACKS_WITHOUT_FEEDBACK);
        if self.latencies.is_empty() && self.callbacks.len() >= without_feedback {
            println!("stats frames={}", self.callbacks.len());
            return true;
        }
        if (self.latencies.len() as u32) < wanted {
            return false;
        }
        let mut sorted = self.latencies.clone();
        sorted.sort();
        let at = |quantile: f64| {
            sorted[((sorted.len() - 1) as f64 * quantile).round() as usize].as_secs_f64() * 1000.0
        };
        let interval = if self.refresh.is_zero() { Duration::from_nanos(16_666_667) } else { self.refresh };
        let gaps = self.presented.windows(2).map(|pair| {
            ((pair[1].saturating_sub(pair[0])).as_secs_f64() / interval.as_secs_f64()).round() - 1.0
        });
        let missed: Vec<(usize, f64)> = gaps.enumerate().filter(|(_, missed)| *missed > 0.0).collect();
        // With the frames after which they were missed: those at the start come from buffers that
        // client and compositor use for the first time.
        let after: Vec<String> = missed.iter().map(|(frame, missed)| format!("{frame}:{missed}")).collect();
        println!(
            "stats frames={} busiest={} callbacks={} median_ms={:.3} p99_ms={:.3} missed={} discarded={} missed_after={}",
            self.latencies.len(),
            busiest_second(&self.presented),
            busiest_second(&self.callbacks),
            at(0.5),
            at(0.99),
            missed.iter().map(|(_, missed)| missed).sum::<f64>(),
            self.discarded,
            after.join(",")
        );
        true
    }
}

/// Returns the largest number of times that lie within one second.
fn busiest_second(times: &[Duration]) -> usize {
    let within = |first: usize| times[first..].iter().take_while(|at| **at < times[first] + SECOND).count();
    (0..times.len()).map(within).max().unwrap_or(0)
}

const SECOND: Duration = Duration::from_secs(1);
