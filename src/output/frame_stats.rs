//! Counts of one output's frames.

use std::time::Duration;

/// Frames of one output since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameStats {
    /// Frames shown.
    pub frames: u64,
    /// Vblanks that passed between a frame's target and its page flip.
    pub missed: u64,
    /// Sum of the times from commit to page flip.
    pub latency: Duration,
    pub max_latency: Duration,
}

impl FrameStats {
    /// Counts a frame: how many vblanks it was late, and its time from commit to page flip.
    pub fn count(&mut self, missed: u64, latency: Duration) {
        self.frames += 1;
        self.missed += missed;
        self.latency += latency;
        self.max_latency = self.max_latency.max(latency);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_summed() {
        let mut stats = FrameStats::default();
        stats.count(0, Duration::from_millis(2));
        stats.count(3, Duration::from_millis(4));
        assert_eq!((stats.frames, stats.missed, stats.max_latency), (2, 3, Duration::from_millis(4)));
        assert_eq!(stats.latency, Duration::from_millis(6));
    }
}
