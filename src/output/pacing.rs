//! Pacing of outputs: when each one renders, when clients get frame callbacks, and what happens if
//! the kernel reports no page flip.

use std::time::Duration;

use smithay::backend::renderer::utils::Buffer;
use smithay::desktop::utils::{
    send_frames_surface_tree, take_presentation_feedback_surface_tree, OutputPresentationFeedback,
};
use smithay::reexports::wayland_protocols::wp::presentation_time::server::wp_presentation_feedback::Kind;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{IsAlive, Monotonic, Time};
use smithay::wayland::compositor::SurfaceAttributes;
use smithay::wayland::presentation::Refresh;
use tracing::trace;

use super::outputs::Outputs;
use super::power_change::PowerChange;
use super::redraw::{Action, Event, Redraw};
use super::scanout::{Scanout, Target};
use super::OutputId;
use crate::event_loop::timers::Timer;

/// The pointer counts as moving for this long after its last motion.
const POINTER_IDLE_AFTER: Duration = Duration::from_millis(100);

/// A page flip that takes longer is given up: the slowest display shows a frame within a fifth of
/// this.
pub const PAGEFLIP_TIMEOUT: Duration = Duration::from_secs(2);

/// A display that is not powered up after this time counts as if it were. The kernel itself waits
/// 10 s (drm_atomic_helper.c).
pub const UNBLANK_TIMEOUT: Duration = Duration::from_secs(10);

/// Most clients' buffers that are held for one frame.
const MAX_HELD_BUFFERS: usize = 1024;

/// After this time without a successful commit an output gets a new modeset. The kernel itself
/// waits 10 s for a frame (drm_atomic_helper.c), and a modeset during that wait would block the
/// event loop.
pub const MODESET_RETRY_AFTER: Duration = Duration::from_secs(11);

/// What the compositor does for a redraw event, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RedrawEffects {
    /// Cancel this timer.
    pub cancel: Option<Timer>,
    /// Deliver this event at this time; a time that is not in the future means at the end of the
    /// iteration.
    pub arm: Option<(Duration, Event)>,
    /// Render the output and deliver the result as an event.
    pub render: bool,
    /// Commit the frame that was drawn ahead and deliver the result as an event.
    pub commit: bool,
}

/// What follows from a failed commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedCommit {
    /// The first one of a series.
    First,
    Repeated,
    /// No commit succeeded for [`MODESET_RETRY_AFTER`]: this CRTC needs a modeset.
    ForceModeset {
        gpu: u64,
        crtc: usize,
    },
}

/// Page flips that the kernel did not report.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PageFlips {
    /// Outputs whose frame is overdue.
    pub overdue: Vec<OutputId>,
    /// Outputs that are not powered up in time.
    pub not_powered: Vec<OutputId>,
    /// When to check again. Frames that are committed meanwhile are not overdue before.
    pub next_check: Option<Duration>,
}

impl Scanout {
    fn arm_cursor(&mut self, now: Duration, effects: &mut RedrawEffects) {
        effects.arm = Some((self.clock.cursor_deadline(now), Event::Deadline));
        effects.cancel = self.timer.take();
    }
}

impl Outputs {
    /// Passes an event to an output's redraw state machine. `pointer_moved_at` is the time of the
    /// pointer's last motion.
    pub fn on_redraw(
        &mut self,
        id: OutputId,
        event: Event,
        now: Duration,
        pointer_moved_at: Duration,
    ) -> RedrawEffects {
        let mut effects = RedrawEffects::default();
        let Some(scanout) = self.scanout_mut(id) else { return effects };
        let event = match event {
            Event::Damage if scanout.may_draw_ahead() => Event::DamageAhead,
            Event::Submitted if scanout.draws_ahead() => Event::SubmittedEarly,
            event => event,
        };
        if event == Event::Complete {
            scanout.clock.clients_ready(now);
        }
        let (next, action) = scanout.redraw.on(event);
        trace!(output = ?id, ?event, ?next, ?action, "redraw");
        let before = std::mem::replace(&mut scanout.redraw, next);
        match action {
            Action::None => {}
            Action::Render => {
                scanout.drawn_has_content = before != Redraw::CursorQueued;
                scanout.cursor_waits = scanout.clock.cursor_waits(now).is_some();
                effects.render = true;
            }
            Action::Commit => effects.commit = true,
            Action::ArmEstimate => {
                effects.arm = Some((scanout.clock.estimate(now), Event::Estimate));
                effects.cancel = scanout.timer.take();
            }
            Action::ArmDeadline => self.arm_render(id, now, pointer_moved_at, &mut effects),
            Action::ArmCursorDeadline => scanout.arm_cursor(now, &mut effects),
            Action::EndFrame => self.send_frame_callbacks(id, now),
            Action::EndFrameAndArmDeadline => {
                self.send_frame_callbacks(id, now);
                self.arm_render(id, now, pointer_moved_at, &mut effects);
            }
            Action::EndFrameAndArmCursorDeadline => {
                self.send_frame_callbacks(id, now);
                if let Some(scanout) = self.scanout_mut(id) {
                    scanout.arm_cursor(now, &mut effects);
                }
            }
            Action::Disarm => {
                scanout.drop_ahead();
                effects.cancel = scanout.timer.take();
            }
        }
        effects
    }

    fn arm_render(
        &mut self,
        id: OutputId,
        now: Duration,
        pointer_moved_at: Duration,
        effects: &mut RedrawEffects,
    ) {
        let Some(scanout) = self.scanout_mut(id) else { return };
        // A moving pointer will move again before the vblank.
        let pointer_moves = now.saturating_sub(pointer_moved_at) < POINTER_IDLE_AFTER;
        let draw_late = !scanout.awaited.is_empty() || pointer_moves;
        let late = scanout.clock.deadline(now, matches!(scanout.redraw, Redraw::QueuedAhead { .. }));
        effects.arm = Some((if draw_late { late } else { now }, Event::Deadline));
        effects.cancel = scanout.timer.take();
    }

    /// A surface on an output committed. Returns whether the frame has waited for it alone, so that
    /// it can be rendered now.
    pub fn committed(&mut self, id: OutputId, surface: &WlSurface) -> bool {
        let scanout = self.scanout_mut(id).filter(|scanout| !scanout.awaited.is_empty());
        let Some(scanout) = scanout else { return false };
        scanout.awaited.retain(|awaited| awaited != surface && awaited.alive());
        scanout.awaited.is_empty()
    }

    /// Holds a client's buffer until the frames that an output and its mirrors wait for are shown.
    pub fn hold_buffer(&mut self, id: OutputId, buffer: &Buffer) {
        for id in [id].into_iter().chain(self.mirrors_of(id)) {
            let scanout = self.scanout_mut(id).filter(|scanout| scanout.redraw.awaits_vblank());
            let Some(held) = scanout.map(Scanout::held_buffers) else { continue };
            let is_held = held.iter().any(|held| **held == **buffer);
            if !is_held && held.len() < MAX_HELD_BUFFERS {
                held.push(buffer.clone());
            }
        }
    }

    /// Collects presentation feedback of the surfaces in the last frame, to be sent when it is
    /// shown.
    pub fn collect_feedback(&mut self, id: OutputId) {
        let Some(output) = self.get_mut(id) else { return };
        let wl_output = &output.published.wl_output;
        let Some(scanout) = output.scanout.as_mut() else { return };
        let mut feedback = OutputPresentationFeedback::new(wl_output);
        for surface in scanout.surfaces.iter().filter(|surface| surface.alive()) {
            take_presentation_feedback_surface_tree(
                surface,
                &mut feedback,
                |_, _| Some(wl_output.clone()),
                |surface, _| if scanout.scans_out(surface) { Kind::ZeroCopy } else { Kind::empty() },
            );
        }
        *scanout.feedback() = Some(feedback);
    }

    /// A frame is shown since `time`: counts it, and sends presentation feedback. Returns whether
    /// the output is enabled.
    pub fn frame_shown(&mut self, id: OutputId, time: Duration, sequence: u64, flags: Kind) -> bool {
        let Some(output) = self.get_mut(id) else { return false };
        let Some(scanout) = output.scanout.as_mut() else { return false };
        let (missed, latency) = scanout.presented(time);
        output.counts.frames.count(missed, latency);
        if let Some(mut feedback) = scanout.feedback.take() {
            let interval = scanout.clock.interval();
            let refresh = match scanout.clock.is_variable() {
                true => Refresh::variable(interval),
                false => Refresh::fixed(interval),
            };
            feedback.presented::<_, Monotonic>(Time::<Monotonic>::from(time), refresh, sequence, flags);
        }
        true
    }

    /// Sends frame callbacks to the surfaces of the last frame: their clients may draw the next
    /// one.
    fn send_frame_callbacks(&mut self, id: OutputId, now: Duration) {
        let Some(output) = self.get_mut(id) else { return };
        let wl_output = &output.published.wl_output;
        let Some(scanout) = output.scanout.as_mut() else { return };
        scanout.clock.clients_asked(now);
        scanout.awaited.clear();
        let awaited = &mut scanout.awaited;
        for surface in scanout.surfaces.iter().filter(|surface| surface.alive()) {
            send_frames_surface_tree(surface, wl_output, now, None, |surface, states| {
                let has_callback =
                    !states.cached_state.get::<SurfaceAttributes>().current().frame_callbacks.is_empty();
                awaited.extend(has_callback.then(|| surface.clone()));
                Some(wl_output.clone())
            });
        }
    }

    /// Counts a virtual output's frame whose vblank timer ended. Returns its sequence number if a
    /// frame was pending.
    pub fn virtual_vblank(&mut self, id: OutputId) -> Option<u64> {
        let scanout = self.scanout_mut(id).filter(|scanout| scanout.redraw.awaits_vblank())?;
        scanout.sequence += 1;
        Some(scanout.sequence)
    }

    /// Returns which page flips are overdue, and when to check again.
    pub fn check_pageflips(&self, now: Duration) -> PageFlips {
        let mut flips = PageFlips::default();
        for output in self.iter() {
            let (overdue_at, overdue) = match output.power_change() {
                PowerChange::Unblanking { since, .. } => (since + UNBLANK_TIMEOUT, &mut flips.not_powered),
                change => {
                    let is_queued = change.is_queued(true) || change.is_queued(false);
                    let waits = |scanout: &&Scanout| scanout.redraw.awaits_vblank() || is_queued;
                    let waiting = output.scanout.as_ref().filter(waits);
                    let Some(since) = waiting.and_then(|scanout| scanout.submitted) else { continue };
                    (since + PAGEFLIP_TIMEOUT, &mut flips.overdue)
                }
            };
            if overdue_at <= now {
                overdue.push(output.id);
            } else {
                // Frames of other outputs do not arm the watchdog while it is armed.
                let check_at = overdue_at.min(now + PAGEFLIP_TIMEOUT);
                flips.next_check = Some(flips.next_check.map_or(check_at, |next| next.min(check_at)));
            }
        }
        flips
    }

    /// Continues without a page flip that is overdue. Its presentation feedback is sent with the
    /// next frame.
    pub fn give_up_pageflip(&mut self, id: OutputId, now: Duration) {
        if let Some(scanout) = self.scanout_mut(id) {
            let _ = scanout.presented(now);
            scanout.held_until = None;
            scanout.forget();
        }
    }

    /// A commit of an output's frame failed.
    pub fn commit_failed(&mut self, id: OutputId, now: Duration) -> FailedCommit {
        let Some(scanout) = self.scanout_mut(id) else { return FailedCommit::Repeated };
        let Some(since) = scanout.failing else {
            scanout.failing = Some(now);
            return FailedCommit::First;
        };
        match scanout.target() {
            Target::Crtc { gpu, index: crtc } if now.saturating_sub(since) >= MODESET_RETRY_AFTER => {
                scanout.failing = None;
                FailedCommit::ForceModeset { gpu, crtc }
            }
            _ => FailedCommit::Repeated,
        }
    }

    /// A commit of an output's frame succeeded. Returns whether it ended a series of failures.
    pub fn commit_succeeded(&mut self, id: OutputId, now: Duration) -> bool {
        let Some(scanout) = self.scanout_mut(id) else { return false };
        scanout.submitted = Some(now);
        scanout.failing.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use smithay::utils::Transform;

    use super::*;
    use crate::render::geometry::FrameGeometry;

    const MS: Duration = Duration::from_millis(1);

    fn one(target: Target) -> (Outputs, OutputId) {
        let mut outputs = Outputs::default();
        let output = outputs.entry("A");
        let geometry = FrameGeometry { size: (64, 64).into(), scale: 1.0, transform: Transform::Normal };
        output.scanout =
            Some(Scanout::new(target, geometry, 60_000, geom_display::fallback::BufferLayout::Best));
        let id = output.id;
        (outputs, id)
    }

    fn event(outputs: &mut Outputs, id: OutputId, event: Event, now: Duration) -> RedrawEffects {
        outputs.on_redraw(id, event, now, Duration::ZERO)
    }

    #[test]
    fn frame_is_armed_rendered_and_ended() {
        let (mut outputs, id) = one(Target::Memory);
        let now = MS * 1000;
        let armed = event(&mut outputs, id, Event::Damage, now);
        assert_eq!(armed.arm, Some((now, Event::Deadline)), "an idle output renders at once");
        assert!(event(&mut outputs, id, Event::Deadline, now).render);
        assert!(!outputs.commit_succeeded(id, now));
        assert_eq!(event(&mut outputs, id, Event::Submitted, now), RedrawEffects::default());
        // Damage meanwhile arms the next frame with the vblank.
        assert_eq!(event(&mut outputs, id, Event::Damage, now), RedrawEffects::default());
        assert!(outputs.frame_shown(id, now + MS * 16, 1, Kind::empty()));
        let next = event(&mut outputs, id, Event::Vblank, now + MS * 16);
        assert!(matches!(next.arm, Some((_, Event::Deadline))));
        assert_eq!(outputs.get(id).map(|output| output.counts.frames.frames), Some(1));
    }

    #[test]
    fn moving_pointer_delays_rendering_to_the_deadline() {
        let (mut outputs, id) = one(Target::Memory);
        outputs.frame_shown(id, MS * 1000, 1, Kind::empty());
        let moving = outputs.on_redraw(id, Event::Damage, MS * 1001, MS * 1000);
        assert!(matches!(moving.arm, Some((at, Event::Deadline)) if at > MS * 1001));
    }

    #[test]
    fn moving_cursor_waits_for_content_if_the_rate_is_variable() {
        let (mut outputs, id) = one(Target::Crtc { gpu: 1, index: 0 });
        outputs.scanout_mut(id).expect("a scanout").set_refresh(144_000, Some(40_000));
        let shown = MS * 1000;
        outputs.on_redraw(id, Event::Damage, shown, shown);
        assert!(outputs.on_redraw(id, Event::Deadline, shown, shown).render);
        outputs.on_redraw(id, Event::Submitted, shown, shown);
        outputs.scanout_mut(id).expect("a scanout").frame_has_content = true;
        outputs.frame_shown(id, shown, 1, Kind::empty());
        outputs.on_redraw(id, Event::Vblank, shown, shown);
        let now = shown + MS;
        let moved = outputs.on_redraw(id, Event::CursorMoved, now, now);
        assert_eq!(moved.arm, Some((shown + MS * 25, Event::Deadline)));
        assert_eq!(outputs.on_redraw(id, Event::CursorMoved, now + MS, now), RedrawEffects::default());
        let drawn = outputs.on_redraw(id, Event::Damage, now + MS * 2, now);
        assert_eq!(drawn.arm, Some((now + MS * 2, Event::Deadline)), "content does not wait");
    }

    #[test]
    fn paused_outputs_cancel_their_timer() {
        let (mut outputs, id) = one(Target::Memory);
        let mut timers = crate::event_loop::timers::Timers::default();
        event(&mut outputs, id, Event::Damage, MS);
        let timer = timers.at(MS, ());
        outputs.scanout_mut(id).expect("a scanout").timer = Some(timer);
        assert_eq!(event(&mut outputs, id, Event::Paused, MS).cancel, Some(timer));
        assert_eq!(event(&mut outputs, id, Event::Damage, MS), RedrawEffects::default());
    }

    #[test]
    fn overdue_page_flip_is_found_and_given_up() {
        let (mut outputs, id) = one(Target::Crtc { gpu: 1, index: 0 });
        event(&mut outputs, id, Event::Damage, MS);
        event(&mut outputs, id, Event::Deadline, MS);
        outputs.commit_succeeded(id, MS);
        event(&mut outputs, id, Event::Submitted, MS);
        let due = MS + PAGEFLIP_TIMEOUT;
        let early = outputs.check_pageflips(due - MS);
        assert_eq!(early, PageFlips { next_check: Some(due), ..PageFlips::default() });
        assert_eq!(outputs.check_pageflips(due), PageFlips { overdue: vec![id], ..PageFlips::default() });
        outputs.give_up_pageflip(id, due);
        event(&mut outputs, id, Event::Vblank, due);
        assert_eq!(outputs.check_pageflips(due), PageFlips::default());
    }

    #[test]
    fn display_that_is_powered_up_has_more_time_than_frames() {
        let (mut outputs, id) = one(Target::Crtc { gpu: 1, index: 0 });
        event(&mut outputs, id, Event::Paused, MS);
        let target = Target::Crtc { gpu: 1, index: 0 };
        let unblanking = PowerChange::Unblanking { since: MS, target, then_blank: false };
        outputs.get_mut(id).expect("an output").set_power_change(unblanking);
        let (early, due) = (MS + PAGEFLIP_TIMEOUT, MS + UNBLANK_TIMEOUT);
        // A frame of another display is found in time meanwhile.
        let next_check = Some(early + PAGEFLIP_TIMEOUT);
        assert_eq!(outputs.check_pageflips(early), PageFlips { next_check, ..PageFlips::default() });
        assert_eq!(outputs.check_pageflips(due - MS).next_check, Some(due));
        assert_eq!(outputs.check_pageflips(due), PageFlips { not_powered: vec![id], ..PageFlips::default() });
    }

    #[test]
    fn frame_that_blanking_waits_for_may_be_lost() {
        let (mut outputs, id) = one(Target::Crtc { gpu: 1, index: 0 });
        outputs.commit_succeeded(id, MS);
        event(&mut outputs, id, Event::Paused, MS);
        assert_eq!(outputs.check_pageflips(MS), PageFlips::default(), "the session is paused");
        outputs.get_mut(id).expect("an output").set_power_change(PowerChange::BlankQueued { since: MS });
        assert_eq!(outputs.check_pageflips(MS + PAGEFLIP_TIMEOUT).overdue, [id]);
    }

    #[test]
    fn failing_commits_force_a_modeset_after_a_time() {
        let (mut outputs, id) = one(Target::Crtc { gpu: 1, index: 2 });
        assert_eq!(outputs.commit_failed(id, MS), FailedCommit::First);
        assert_eq!(outputs.commit_failed(id, MS * 2), FailedCommit::Repeated);
        let late = MS + MODESET_RETRY_AFTER;
        assert_eq!(outputs.commit_failed(id, late), FailedCommit::ForceModeset { gpu: 1, crtc: 2 });
        assert_eq!(outputs.commit_failed(id, late), FailedCommit::First, "the time counts from there");
        assert!(outputs.commit_succeeded(id, late));
        assert!(!outputs.commit_succeeded(id, late));
    }
}
