//! The frame clock of an output: when to render, so that what clients commit shortly before the
//! vblank is still in the frame.
//!
//! The kernel stamps each page flip; the next vblank is predicted from the last stamp and the
//! mode's refresh interval. Rendering starts a budget ahead of it: the longest of the latest
//! rendering times, and a margin that grows at once when a frame was late and shrinks slowly while
//! none is.

use std::time::Duration;

use crate::output::redraw::Time;

/// Frames whose rendering time the budget is computed from.
const HISTORY: usize = 32;
const MIN_MARGIN: Duration = Duration::from_micros(1500);
const MARGIN_STEP: Duration = Duration::from_micros(1000);
/// Punctual frames after which the margin shrinks by an eighth of a step.
const PUNCTUAL_BEFORE_SHRINK: u32 = 60;

/// See the [module](self).
#[derive(Debug, Clone)]
pub struct FrameClock {
    interval: Duration,
    last: Option<Time>,
    /// The vblank that the frame being rendered is meant for.
    target: Option<Time>,
    durations: [Duration; HISTORY],
    next_duration: usize,
    margin: Duration,
    punctual: u32,
}

impl FrameClock {
    /// Returns the clock of a mode with this refresh rate in millihertz; 0 counts as 60 Hz.
    pub fn new(refresh: u32) -> Self {
        let refresh = if refresh == 0 { 60_000 } else { refresh };
        Self {
            interval: Duration::from_nanos(1_000_000_000_000 / u64::from(refresh)),
            last: None,
            target: None,
            durations: [Duration::ZERO; HISTORY],
            next_duration: 0,
            margin: MIN_MARGIN * 2,
            punctual: 0,
        }
    }

    /// Returns the time between two vblanks.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns how long before a vblank rendering starts.
    pub fn budget(&self) -> Duration {
        let longest = self.durations.iter().max().copied().unwrap_or_default();
        (longest + self.margin).min(self.interval)
    }

    /// Returns the first vblank after `now`, predicted from the last page flip.
    pub fn next_vblank(&self, now: Time) -> Time {
        let Some(last) = self.last else { return now + self.interval };
        let past = now.saturating_sub(last).as_nanos() / self.interval.as_nanos().max(1);
        last + self.interval * u32::try_from(past + 1).unwrap_or(u32::MAX)
    }

    /// Returns when to render the next frame: at once if waiting gains nothing.
    ///
    /// An idle output may have stopped its vblank counter, and some drivers restart it with the
    /// next frame. The prediction is good only shortly after a page flip.
    pub fn deadline(&mut self, now: Time) -> Time {
        let fresh = self.last.is_some_and(|last| now.saturating_sub(last) < self.interval * 3 / 2);
        if !fresh {
            self.target = None;
            return now;
        }
        let vblank = self.next_vblank(now);
        self.target = Some(vblank);
        vblank.saturating_sub(self.budget()).max(now)
    }

    /// Returns when the vblank is that would have shown an unchanged frame.
    pub fn estimate(&self, now: Time) -> Time {
        self.next_vblank(now)
    }

    /// Notes how long a frame took from the start of rendering to its commit.
    pub fn drawn(&mut self, duration: Duration) {
        self.durations[self.next_duration % HISTORY] = duration;
        self.next_duration = (self.next_duration + 1) % HISTORY;
    }

    /// A frame is shown since `time`. Returns how many vblanks after its target that is.
    pub fn presented(&mut self, time: Time) -> u64 {
        let mut late = 0;
        if let Some(target) = self.target.take() {
            let delay = time.saturating_sub(target) + self.interval / 2;
            late = u64::try_from(delay.as_nanos() / self.interval.as_nanos().max(1)).unwrap_or(0);
            if time > target + self.interval / 2 {
                self.margin = (self.margin + MARGIN_STEP).min(self.interval / 2);
                self.punctual = 0;
            } else {
                self.punctual += 1;
                if self.punctual >= PUNCTUAL_BEFORE_SHRINK {
                    self.punctual = 0;
                    self.margin = self.margin.saturating_sub(MARGIN_STEP / 8).max(MIN_MARGIN);
                }
            }
        }
        self.last = Some(time);
        late
    }

    /// Discards the prediction: the mode changed, or the session was paused.
    pub fn reset(&mut self) {
        (self.last, self.target) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn idle_output_renders_at_once() {
        let mut clock = FrameClock::new(60_000);
        assert_eq!(clock.deadline(MS * 5), MS * 5);
        clock.presented(MS * 100);
        assert_eq!(clock.deadline(MS * 300), MS * 300);
    }

    #[test]
    fn busy_output_renders_shortly_before_the_vblank() {
        let mut clock = FrameClock::new(60_000);
        clock.presented(MS * 100);
        clock.drawn(MS * 2);
        let deadline = clock.deadline(MS * 101);
        let vblank = clock.next_vblank(MS * 101);
        assert_eq!(vblank - deadline, clock.budget());
        assert!(deadline > MS * 105, "{deadline:?}");
    }

    #[test]
    fn late_frame_widens_the_margin_at_once() {
        let mut clock = FrameClock::new(60_000);
        clock.presented(MS * 100);
        let before = clock.budget();
        let vblank = clock.next_vblank(MS * 101);
        clock.deadline(MS * 101);
        clock.presented(vblank + clock.interval());
        assert!(clock.budget() > before);
    }

    proptest! {
        #[test]
        fn deadlines_lie_between_now_and_the_next_vblank(
            last in 0u64..10_000_000, now in 0u64..10_000_000, refresh in 0u32..500_000, drawn in 0u64..100_000,
        ) {
            let mut clock = FrameClock::new(refresh);
            let (last, now) = (Duration::from_micros(last), Duration::from_micros(now));
            clock.presented(last);
            clock.drawn(Duration::from_micros(drawn));
            let vblank = clock.next_vblank(now);
            let deadline = clock.deadline(now);
            prop_assert!(deadline >= now);
            prop_assert!(deadline <= now || deadline <= vblank);
            prop_assert!(vblank > now);
            prop_assert!(now < last || vblank <= now + clock.interval());
        }
    }
}
