//! The frame clock of an output: when to render, so that what clients commit shortly before the
//! vblank is still in the frame.
//!
//! The kernel stamps each page flip; the next vblank is predicted from the last stamp and the
//! mode's refresh interval. Rendering starts a budget ahead of it: the longest of the latest
//! rendering times, until the GPU was done, and a margin that grows at once when a frame was late
//! and shrinks slowly while none is. A budget that is most of the interval leaves nothing to gain:
//! rendering starts at once.
//!
//! If the GPU is not done within an interval after the clients began, each frame misses its vblank,
//! and the display shows half as many frames as it could. Then the next frame is drawn while one is
//! pending ([`FrameClock::draws_ahead`]): the GPU works without pauses, and frames are shown an
//! interval later. That ends when the load is low.
//!
//! With a variable refresh rate the display shows a frame when it is committed. There is nothing to
//! predict then, and rendering starts at once. Only the cursor does not drive the display while
//! clients' content does: see [`FrameClock::cursor_deadline`].

use std::time::Duration;

use crate::output::redraw::Time;

/// Frames whose rendering time the budget is computed from.
const HISTORY: usize = 32;
const MIN_MARGIN: Duration = Duration::from_micros(1500);
const MARGIN_STEP: Duration = Duration::from_micros(1000);
/// Rendering late is of use up to this part of the interval.
const MAX_BUDGET_PERCENT: u32 = 60;
/// Punctual frames after which the margin shrinks by an eighth of a step.
const PUNCTUAL_BEFORE_SHRINK: u32 = 60;

/// The cursor waits no longer for a frame of clients, whatever the display's range is: some ranges
/// in EDIDs begin at 1 Hz, and a cursor that moves less often than this is noticed.
const MAX_CURSOR_WAIT: Duration = Duration::from_millis(25);

/// Frames in a row that the GPU finished after their vblank, before frames are drawn ahead.
const SLOW_BEFORE_AHEAD: u32 = 3;
/// Fast frames in a row before frames are not drawn ahead any more.
const FAST_BEFORE_END: u32 = 60;
/// A frame is fast if it is done within this part of the interval after its clients began.
const FAST_PERCENT: u32 = 85;

/// A frame that was drawn and is not shown yet.
#[derive(Debug, Clone, Copy)]
struct InFlight {
    /// When its clients got the frame callbacks before it.
    asked: Time,
    /// When it could have been rendered, without waiting for a deadline.
    ready: Time,
    began: Time,
    /// Its index in [`FrameClock::durations`].
    slot: usize,
    /// The vblank that it is meant for.
    target: Option<Time>,
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub struct FrameClock {
    interval: Duration,
    /// If the refresh rate is variable: the longest interval. The display repeats its image then.
    longest: Option<Duration>,
    last: Option<Time>,
    /// When a frame was shown last that changed more than the cursor.
    last_content: Option<Time>,
    /// The vblank that the frame being rendered is meant for.
    target: Option<Time>,
    durations: [Duration; HISTORY],
    next_duration: usize,
    /// The frame that awaits its page flip, and the one that is drawn ahead.
    in_flight: [Option<InFlight>; 2],
    /// When clients got frame callbacks.
    asked: Time,
    /// When the next frame could have been rendered.
    ready: Option<Time>,
    /// When the GPU was done with the last frame that was shown.
    done: Time,
    draws_ahead: bool,
    /// There is no memory for it.
    refuses_ahead: bool,
    /// Frames in a row that speak for changing `draws_ahead`.
    streak: u32,
    margin: Duration,
    punctual: u32,
}

/// Returns the time between two vblanks at a refresh rate in millihertz.
fn interval_of(refresh: u32) -> Duration {
    let refresh = if refresh == 0 { 60_000 } else { refresh };
    Duration::from_nanos(1_000_000_000_000 / u64::from(refresh))
}

impl FrameClock {
    /// Returns the clock of a mode with this refresh rate in millihertz; 0 counts as 60 Hz.
    pub fn new(refresh: u32) -> Self {
        Self {
            interval: interval_of(refresh),
            longest: None,
            last: None,
            last_content: None,
            target: None,
            durations: [Duration::ZERO; HISTORY],
            next_duration: 0,
            in_flight: [None; 2],
            asked: Time::ZERO,
            ready: None,
            done: Time::ZERO,
            draws_ahead: false,
            refuses_ahead: false,
            streak: 0,
            margin: MIN_MARGIN * 2,
            punctual: 0,
        }
    }

    /// Changes the refresh rate, in millihertz; 0 counts as 60 Hz. `lowest` is the lowest rate if
    /// it is variable.
    pub fn set_refresh(&mut self, refresh: u32, lowest: Option<u32>) {
        self.interval = interval_of(refresh);
        let longest = |lowest| interval_of(lowest).min(MAX_CURSOR_WAIT).max(self.interval);
        self.longest = lowest.map(longest);
    }

    /// Returns whether the refresh rate is variable.
    pub fn is_variable(&self) -> bool {
        self.longest.is_some()
    }

    /// Returns the time between two vblanks, the shortest one if the refresh rate is variable.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns the longest of the latest rendering times, and the margin.
    fn needed(&self) -> Duration {
        self.durations.iter().max().copied().unwrap_or_default() + self.margin
    }

    /// Returns how long before a vblank rendering starts.
    pub fn budget(&self) -> Duration {
        self.needed().min(self.interval)
    }

    /// Returns whether the next frame is to be drawn while one is pending.
    ///
    /// Not with a variable refresh rate: the display waits for slow frames.
    pub fn draws_ahead(&self) -> bool {
        self.draws_ahead && !self.refuses_ahead && !self.is_variable()
    }

    /// Frames are not drawn ahead from now on, until the GPU is too slow again.
    pub fn end_ahead(&mut self) {
        (self.draws_ahead, self.streak) = (false, 0);
    }

    /// Frames are not drawn ahead until [`Self::reset`]: that is not possible.
    pub fn refuse_ahead(&mut self) {
        self.refuses_ahead = true;
        self.end_ahead();
    }

    /// Draws frames ahead from now on, or not, as if the GPU had asked for it.
    #[cfg(test)]
    pub fn set_draws_ahead(&mut self, draws_ahead: bool) {
        self.draws_ahead = draws_ahead;
    }

    /// Notes when clients got frame callbacks.
    pub fn clients_asked(&mut self, at: Time) {
        (self.asked, self.ready) = (at, None);
    }

    /// Notes when all clients that got frame callbacks had committed.
    pub fn clients_ready(&mut self, at: Time) {
        self.ready = Some(at);
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
    ///
    /// `is_ahead` means that another frame is pending, which the next vblank shows.
    pub fn deadline(&mut self, now: Time, is_ahead: bool) -> Time {
        self.ready.get_or_insert(now);
        let fresh = self.last.is_some_and(|last| now.saturating_sub(last) < self.interval * 3 / 2);
        if !fresh || self.is_variable() {
            self.target = None;
            return now;
        }
        let vblank = self.next_vblank(now);
        if is_ahead {
            let vblank = vblank + self.interval;
            self.target = Some(vblank);
            return vblank.saturating_sub(self.needed()).max(now);
        }
        self.target = Some(vblank);
        let budget = self.budget();
        if budget > self.interval * MAX_BUDGET_PERCENT / 100 {
            return now;
        }
        vblank.saturating_sub(budget).max(now)
    }

    /// Returns when to render a frame in which only the cursor moves.
    ///
    /// With a variable refresh rate, each frame begins a refresh. A game's next frame would have to
    /// wait for the end of one that a mouse began, and the display would run at its highest rate
    /// while the mouse moves. So the cursor waits for the next frame of clients, or until the
    /// display would refresh by itself. It does not wait while no client draws, which is so once
    /// the display has repeated an image.
    pub fn cursor_deadline(&mut self, now: Time) -> Time {
        match self.longest {
            Some(_) => self.cursor_waits(now).unwrap_or(now),
            None => self.deadline(now, false),
        }
    }

    /// Returns until when the cursor waits for a frame of clients; `None` if it does not.
    pub fn cursor_waits(&self, now: Time) -> Option<Time> {
        let longest = self.longest?;
        let driven = self.last_content.is_some_and(|last| now.saturating_sub(last) < longest * 2);
        self.last.filter(|_| driven).map(|last| last + longest).filter(|until| *until > now)
    }

    /// Returns when a frame is shown whose page flip the kernel reports with this time; `None` if
    /// that is the time.
    ///
    /// Drivers without vblank interrupts report the flip as soon as they have copied the frame.
    /// Without a pause, clients would draw as fast as they can. The stamp of a vblank may be up to
    /// an eighth of the interval early, after one that was taken late.
    pub fn hold(&self, flip: Time) -> Option<Time> {
        let last = self.last.filter(|_| !self.is_variable())?;
        (flip < last + self.interval * 7 / 8).then(|| last + self.interval)
    }

    /// Returns when the vblank is that would have shown an unchanged frame.
    pub fn estimate(&self, now: Time) -> Time {
        self.next_vblank(now)
    }

    /// Notes when rendering of a frame began, and when it was committed, or drawn if it `is_ahead`
    /// of a pending one.
    pub fn drawn(&mut self, began: Time, committed: Time, is_ahead: bool) {
        self.next_duration = (self.next_duration + 1) % HISTORY;
        self.durations[self.next_duration] = committed.saturating_sub(began);
        let (asked, slot, target) = (self.asked, self.next_duration, self.target.take());
        let ready = self.ready.take().unwrap_or(began);
        self.in_flight[usize::from(is_ahead)] = Some(InFlight { asked, ready, began, slot, target });
    }

    /// The frame that is drawn ahead will not be shown.
    pub fn ahead_dropped(&mut self) {
        self.in_flight[1] = None;
    }

    /// Notes when the GPU was done with the frame that is shown next. It works on one frame after
    /// the other.
    pub fn gpu_done(&mut self, at: Time) {
        let [Some(frame), _] = self.in_flight else { return };
        let busy = at.saturating_sub(frame.began.max(self.done));
        let duration = &mut self.durations[frame.slot];
        *duration = (*duration).max(busy);
        let duration = *duration;
        self.done = at;
        let waited = frame.ready.saturating_sub(frame.asked);
        // A client that takes longer, or draws by its own clock, is ready at any time.
        let is_long = waited > self.interval;
        let counts = match self.draws_ahead {
            // Drawing ahead has no effect on such a client, and to end it could begin again.
            true => !is_long && waited + duration < self.interval * FAST_PERCENT / 100,
            false => {
                let waited = if is_long { self.interval / 2 } else { waited };
                waited + duration > self.interval && frame.target.is_some_and(|target| at > target)
            }
        };
        self.streak = if counts { self.streak + 1 } else { 0 };
        let limit = if self.draws_ahead { FAST_BEFORE_END } else { SLOW_BEFORE_AHEAD };
        if self.streak >= limit {
            self.draws_ahead = !self.draws_ahead;
            self.streak = 0;
        }
    }

    /// A frame is shown since `time`; `has_content` says whether it changed more than the cursor.
    /// Returns how many vblanks after its target that is.
    pub fn presented(&mut self, time: Time, has_content: bool) -> u64 {
        let mut late = 0;
        let [shown, ahead] = self.in_flight;
        self.in_flight = [ahead, None];
        let target = match shown {
            Some(frame) => frame.target,
            None => self.target.take(),
        };
        if let Some(target) = target {
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
        if has_content {
            self.last_content = Some(time);
        }
        late
    }

    /// Discards the prediction: the mode changed, or the session was paused.
    pub fn reset(&mut self) {
        (self.last, self.last_content, self.target) = (None, None, None);
        (self.in_flight, self.ready) = ([None; 2], None);
        self.refuses_ahead = false;
        self.end_ahead();
    }
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn idle_output_renders_at_once() {
        let mut clock = FrameClock::new(60_000);
        assert_eq!(clock.deadline(MS * 5, false), MS * 5);
        clock.presented(MS * 100, true);
        assert_eq!(clock.deadline(MS * 300, false), MS * 300);
    }

    #[test]
    fn busy_output_renders_shortly_before_the_vblank() {
        let mut clock = FrameClock::new(60_000);
        clock.presented(MS * 100, true);
        clock.drawn(MS * 101, MS * 103, false);
        let deadline = clock.deadline(MS * 101, false);
        let vblank = clock.next_vblank(MS * 101);
        assert_eq!(vblank - deadline, clock.budget());
        assert!(deadline > MS * 105, "{deadline:?}");
    }

    #[test]
    fn late_frame_widens_the_margin_at_once() {
        let mut clock = FrameClock::new(60_000);
        clock.presented(MS * 100, true);
        let before = clock.budget();
        let vblank = clock.next_vblank(MS * 101);
        clock.deadline(MS * 101, false);
        clock.presented(vblank + clock.interval(), true);
        assert!(clock.budget() > before);
    }

    #[test]
    fn variable_refresh_rate_renders_at_once() {
        let mut clock = FrameClock::new(144_000);
        clock.set_refresh(144_000, Some(48_000));
        clock.presented(MS * 100, true);
        assert_eq!(clock.deadline(MS * 101, false), MS * 101);
        assert_eq!(clock.presented(MS * 119, true), 0, "no frame is late");
        assert_eq!(clock.hold(MS * 120), None);
    }

    /// A game at 100 fps on a display of 48 to 144 Hz, and a mouse that moves all the time.
    #[test]
    fn cursor_does_not_drive_a_display_that_content_drives() {
        let mut clock = FrameClock::new(144_000);
        clock.set_refresh(144_000, Some(48_000));
        let longest = interval_of(48_000);
        assert_eq!(clock.cursor_deadline(MS), MS, "nothing is shown yet");
        for frame in 100..200 {
            let shown = MS * frame * 10;
            clock.presented(shown, true);
            for moved in [shown, shown + MS, shown + MS * 9] {
                assert_eq!(clock.cursor_deadline(moved), shown + longest, "the next frame is there before");
            }
        }
        // The game ends. The display repeats its image, which the first motion may begin.
        let last = MS * 1990;
        assert_eq!(clock.cursor_deadline(last + MS * 20), last + longest);
        assert_eq!(clock.cursor_deadline(last + MS * 21), last + MS * 21);
        clock.presented(last + longest, false);
        let begins = last + longest + MS;
        assert_eq!(clock.cursor_deadline(begins), last + longest * 2);
        // From then on the cursor drives the display.
        let mut shown = last + longest * 2;
        for _ in 0..10 {
            clock.presented(shown, false);
            assert_eq!(clock.cursor_deadline(shown + MS * 7), shown + MS * 7);
            shown += MS * 7;
        }
    }

    /// A caret that blinks, on a display whose EDID has a range from 1 Hz.
    #[test]
    fn cursor_is_not_driven_by_rare_content() {
        let mut clock = FrameClock::new(60_000);
        clock.set_refresh(60_000, Some(1_000));
        clock.presented(MS * 1000, true);
        assert_eq!(clock.cursor_deadline(MS * 1001), MS * 1025);
        clock.presented(MS * 1025, false);
        assert_eq!(clock.cursor_deadline(MS * 1050), MS * 1050);
        assert_eq!(clock.cursor_deadline(MS * 1400), MS * 1400);
    }

    #[test]
    fn cursor_waits_for_the_vblank_if_the_rate_is_fixed() {
        let mut clock = FrameClock::new(60_000);
        clock.presented(MS * 100, true);
        assert_eq!(clock.cursor_waits(MS * 101), None);
        assert_eq!(clock.cursor_deadline(MS * 101), clock.clone().deadline(MS * 101, false));
    }

    #[test]
    fn flips_that_come_at_once_are_held_until_the_next_vblank() {
        let mut clock = FrameClock::new(50_000);
        assert_eq!(clock.hold(MS * 100), None, "nothing is known");
        clock.presented(MS * 100, true);
        assert_eq!(clock.hold(MS * 101), Some(MS * 120));
        clock.presented(MS * 120, true);
        assert_eq!(clock.hold(MS * 121), Some(MS * 140));
        assert_eq!(clock.hold(MS * 137), Some(MS * 140));
        // What hardware with vblanks reports, also after idle time.
        assert_eq!(clock.hold(MS * 138), None);
        assert_eq!(clock.hold(MS * 1000), None);
    }

    /// Draws frames late, one after the other, with a GPU that takes between `gpu.0` and `gpu.1`.
    /// Returns how many of them are not shown with the next vblank.
    fn missed(refresh: u32, gpu: (Duration, Duration), frames: u32) -> u32 {
        let mut clock = FrameClock::new(refresh);
        let interval = clock.interval();
        let mut vblank = MS * 1000;
        clock.presented(vblank, true);
        let mut missed = 0;
        for number in 0..frames {
            let begins = clock.deadline(vblank + Duration::from_micros(200), false);
            clock.drawn(begins, begins + Duration::from_micros(800), false);
            // Deterministic, and different for frames next to each other.
            let takes = gpu.0 + (gpu.1 - gpu.0) * (number * 7919 % 101) / 100;
            let done = begins + takes.max(Duration::from_micros(800));
            let mut shown = vblank + interval;
            while shown < done {
                shown += interval;
                missed += 1;
            }
            clock.gpu_done(done);
            clock.presented(shown, true);
            vblank = shown;
        }
        missed
    }

    #[test]
    fn time_of_the_gpu_is_in_the_budget() {
        // What a frame that is drawn at once reaches, for GPUs that take less than the interval.
        for (refresh, longest) in
            [(60_000, 2), (60_000, 5), (60_000, 9), (60_000, 14), (144_000, 3), (144_000, 5)]
        {
            let steady = missed(refresh, (MS * longest, MS * longest), 10_000);
            let varying = missed(refresh, (MS * longest / 2, MS * longest), 10_000);
            assert!(steady <= 2 && varying <= 2, "{refresh} mHz, {longest} ms: {steady}, {varying}");
        }
    }

    proptest! {
        #[test]
        fn deadlines_lie_between_now_and_the_next_vblank(
            last in 0u64..10_000_000, now in 0u64..10_000_000, refresh in 0u32..500_000, drawn in 0u64..100_000,
        ) {
            let mut clock = FrameClock::new(refresh);
            let (last, now) = (Duration::from_micros(last), Duration::from_micros(now));
            clock.presented(last, true);
            clock.drawn(now, now + Duration::from_micros(drawn), false);
            let vblank = clock.next_vblank(now);
            let deadline = clock.deadline(now, false);
            prop_assert!(deadline >= now);
            prop_assert!(deadline <= now || deadline <= vblank);
            prop_assert!(vblank > now);
            prop_assert!(now < last || vblank <= now + clock.interval());
        }
    }
}
