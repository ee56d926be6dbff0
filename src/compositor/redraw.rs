//! Frames: runs the redraw state machine of each output.

use std::time::Duration;

use smithay::desktop::utils::{
    send_frames_surface_tree, take_presentation_feedback_surface_tree, OutputPresentationFeedback,
};
use smithay::reexports::wayland_protocols::wp::presentation_time::server::wp_presentation_feedback::Kind;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{IsAlive, Monotonic, Time};
use smithay::wayland::compositor::SurfaceAttributes;
use smithay::wayland::presentation::Refresh;
use tracing::{trace, warn};

use super::deadline::Deadline;
use super::State;
use crate::output::redraw::{Action, Event};
use crate::output::scanout::{page_flips, Outcome, Target};
use crate::output::OutputId;

/// The pointer counts as moving for this long after its last motion.
const POINTER_IDLE_AFTER: Duration = Duration::from_millis(100);

impl State {
    /// Queues a redraw of an output whose content changed, and of its mirrors.
    pub fn queue_redraw(&mut self, id: OutputId) {
        self.redraw_event(id, Event::Damage);
        self.redraw_mirrors(id);
    }

    fn redraw_mirrors(&mut self, id: OutputId) {
        for mirror in self.outputs.mirrors_of(id) {
            self.redraw_event(mirror, Event::Damage);
        }
    }

    pub fn redraw_all(&mut self) {
        for id in self.outputs.enabled() {
            self.queue_redraw(id);
        }
    }

    /// Passes an event to an output's redraw state machine and performs the action that it returns.
    pub fn redraw_event(&mut self, id: OutputId, event: Event) {
        let Some(scanout) = self.outputs.scanout_mut(id) else { return };
        let (next, action) = scanout.redraw.on(event);
        trace!(output = ?id, ?event, ?next, ?action, "redraw");
        scanout.redraw = next;
        match action {
            Action::None => {}
            Action::ArmDeadline => self.arm_render_deadline(id),
            Action::ArmEstimate => {
                let now = self.iteration_start();
                if let Some(at) = self.outputs.scanout(id).map(|scanout| scanout.clock.estimate(now)) {
                    self.arm_redraw(id, now, at, Event::Estimate);
                }
            }
            Action::Render => self.render(id),
            Action::EndFrame => self.send_frame_callbacks(id),
            Action::EndFrameAndArmDeadline => {
                self.send_frame_callbacks(id);
                self.arm_render_deadline(id);
            }
            Action::Disarm => {
                if let Some(timer) = scanout.timer.take() {
                    self.timers.cancel(timer);
                }
            }
        }
    }

    fn arm_render_deadline(&mut self, id: OutputId) {
        let now = self.iteration_start();
        // A moving pointer will move again before the vblank.
        let pointer_moves = now.saturating_sub(self.input.pointer.moved_at) < POINTER_IDLE_AFTER;
        let Some(scanout) = self.outputs.scanout_mut(id) else { return };
        let draw_late = !scanout.awaited.is_empty() || pointer_moves;
        let at = if draw_late { scanout.clock.deadline(now) } else { now };
        self.arm_redraw(id, now, at, Event::Deadline);
    }

    /// A surface on an output committed. Once all clients that got a frame callback have committed, the frame waits for
    /// nobody.
    pub fn committed_on(&mut self, id: OutputId, surface: &WlSurface) {
        self.redraw_event(id, Event::Damage);
        self.redraw_mirrors(id);
        let scanout = self.outputs.scanout_mut(id).filter(|scanout| !scanout.awaited.is_empty());
        let Some(scanout) = scanout else { return };
        scanout.awaited.retain(|awaited| awaited != surface && awaited.alive());
        if scanout.awaited.is_empty() {
            self.redraw_event(id, Event::Complete);
        }
    }

    /// Arms an output's redraw timer.
    fn arm_redraw(&mut self, id: OutputId, now: Duration, at: Duration, event: Event) {
        if let Some(stale) = self.outputs.scanout_mut(id).and_then(|scanout| scanout.timer.take()) {
            self.timers.cancel(stale);
        }
        if at <= now {
            // In this iteration, after everything that has arrived is dispatched.
            self.pending_redraws.push_back((id, event));
            return;
        }
        let timer = self.timers.at(at, Deadline::Redraw(id, event));
        if let Some(scanout) = self.outputs.scanout_mut(id) {
            scanout.timer = Some(timer);
        }
    }

    /// Renders an output and submits the frame.
    fn render(&mut self, id: OutputId) {
        let start = self.iteration_start();
        if !self.ensure_renderer(id) {
            // `replace_renderer` queues a redraw.
            self.redraw_event(id, Event::Unchanged);
            return;
        }
        let Some(content) = self.content_of(id) else { return };
        let is_mirror = content.id != id;
        let visible = self.visible_surfaces(content);
        self.update_described(id, &visible);
        let outcome = self.with_scene(id, visible, |state, scene| {
            let State { outputs, backend, .. } = state;
            let scanout = outputs.scanout_mut(id);
            let scanout = scanout.ok_or_else(|| std::io::Error::other("the display is disabled"))?;
            // Clients get frame callbacks and feedback from the output itself, not from its mirrors.
            scanout.surfaces = if is_mirror { Vec::new() } else { scene.surfaces() };
            match scanout.target {
                Target::Memory => match backend.memory_renderer() {
                    Some(renderer) => scanout.memory_frame(renderer, scene),
                    None => Err(std::io::Error::other("no renderer for virtual displays")),
                },
                Target::Crtc { gpu, index } => match backend.gpu_mut(gpu) {
                    Some(gpu) => scanout.frame(gpu, index, scene),
                    None => Err(std::io::Error::other("its GPU is gone")),
                },
            }
        });
        let end = self.now();
        match outcome {
            Some(Ok(Outcome::Submitted)) => {
                self.collect_feedback(id);
                if let Some(scanout) = self.outputs.scanout_mut(id) {
                    scanout.clock.drawn(end.saturating_sub(start));
                }
                self.frame_succeeded(id);
                self.redraw_event(id, Event::Submitted);
                self.simulate_vblank(id);
            }
            Some(Ok(Outcome::Unchanged)) => self.redraw_event(id, Event::Unchanged),
            Some(Err(error)) => {
                self.frame_failed(id, &error);
                self.redraw_event(id, Event::Failed);
            }
            None => self.redraw_event(id, Event::Failed),
        }
    }

    /// Virtual outputs have no hardware that reports when a frame is shown: a timer does.
    fn simulate_vblank(&mut self, id: OutputId) {
        let now = self.iteration_start();
        let scanout = self.outputs.scanout(id).filter(|scanout| scanout.target == Target::Memory);
        if let Some(at) = scanout.map(|scanout| scanout.clock.estimate(now)) {
            self.timers.at(at, Deadline::VirtualVblank(id, at));
        }
    }

    /// A virtual output's frame is shown now.
    pub fn virtual_vblank(&mut self, id: OutputId, at: Duration) {
        let scanout = self.outputs.scanout_mut(id).filter(|scanout| scanout.redraw.awaits_vblank());
        let Some(scanout) = scanout else { return };
        scanout.sequence += 1;
        let sequence = scanout.sequence;
        self.frame_shown(id, at, sequence, Kind::empty());
    }

    /// Collects presentation feedback of the visible surfaces, to be sent when the submitted frame is shown.
    fn collect_feedback(&mut self, id: OutputId) {
        let Some(output) = self.outputs.get_mut(id) else { return };
        let wl_output = &output.wl_output;
        let Some(scanout) = output.scanout.as_mut() else { return };
        let mut feedback = OutputPresentationFeedback::new(wl_output);
        for surface in scanout.surfaces.iter().filter(|surface| surface.alive()) {
            take_presentation_feedback_surface_tree(
                surface,
                &mut feedback,
                |_, _| Some(wl_output.clone()),
                |_, _| Kind::empty(),
            );
        }
        scanout.feedback = Some(feedback);
    }

    /// Reads the page flip events of a GPU.
    pub fn read_page_flips(&mut self, gpu: u64) {
        let Some(device) = self.backend.gpu(gpu) else { return };
        let flips = match page_flips(device) {
            Ok(flips) => flips,
            Err(error) => {
                warn!(gpu = %device.path.display(), %error, "cannot read page flip events");
                // The descriptor of an unplugged GPU stays readable until udev reports the removal.
                if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) {
                    if let Err(error) = self.reactor.remove(&device.card) {
                        warn!(gpu = %device.path.display(), %error, "cannot stop watching the GPU");
                    }
                }
                return;
            }
        };
        for (crtc, time, sequence) in flips {
            if let Some(id) = self.outputs.on_target(Target::Crtc { gpu, index: crtc }) {
                let hardware = Kind::Vsync | Kind::HwClock | Kind::HwCompletion;
                self.frame_shown(id, time, sequence.into(), hardware);
            }
        }
    }

    /// A frame is on the screen since `time`.
    fn frame_shown(&mut self, id: OutputId, time: Duration, sequence: u64, flags: Kind) {
        let Some(output) = self.outputs.get_mut(id) else { return };
        let Some(scanout) = output.scanout.as_mut() else { return };
        let (missed, latency) = scanout.presented(time);
        output.frame_stats.count(missed, latency);
        self.frames += 1;
        let interval = scanout.clock.interval();
        if let Some(mut feedback) = scanout.feedback.take() {
            feedback.presented::<_, Monotonic>(
                Time::<Monotonic>::from(time),
                Refresh::fixed(interval),
                sequence,
                flags,
            );
        }
        self.redraw_event(id, Event::Vblank);
        self.answer_frame();
    }

    /// Sends frame callbacks to the surfaces of the last frame: their clients may draw the next one.
    fn send_frame_callbacks(&mut self, id: OutputId) {
        let now = self.iteration_start();
        let Some(output) = self.outputs.get_mut(id) else { return };
        let wl_output = &output.wl_output;
        let Some(scanout) = output.scanout.as_mut() else { return };
        scanout.awaited.clear();
        for surface in scanout.surfaces.iter().filter(|surface| surface.alive()) {
            let awaited = &mut scanout.awaited;
            send_frames_surface_tree(surface, wl_output, now, None, |surface, states| {
                let has_callback =
                    !states.cached_state.get::<SurfaceAttributes>().current().frame_callbacks.is_empty();
                awaited.extend(has_callback.then(|| surface.clone()));
                Some(wl_output.clone())
            });
        }
    }
}
