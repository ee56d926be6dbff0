//! Frames: the redraw state machine of each display at work.

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

use crate::scanout::redraw::{Action, Event};
use crate::scanout::surface::{page_flips, Outcome, Target};
use crate::state::State;

/// So long after a motion the pointer is taken to be moving.
const RESTLESS: Duration = Duration::from_millis(100);

impl State {
    /// Something on a display changed.
    pub fn queue_redraw(&mut self, name: &str) {
        self.redraw_event(name, Event::Damage);
        self.redraw_mirrors(name);
    }

    /// Mirrors change with what they show.
    fn redraw_mirrors(&mut self, name: &str) {
        let mirrors: Vec<String> = self.screens.mirrors_of(name).map(|screen| screen.name.clone()).collect();
        for mirror in mirrors {
            self.redraw_event(&mirror, Event::Damage);
        }
    }

    pub fn redraw_all(&mut self) {
        for name in self.screens.lit_names() {
            self.queue_redraw(&name);
        }
    }

    /// Brings an event to a display's redraw state and does what it asks for.
    pub fn redraw_event(&mut self, name: &str, event: Event) {
        let Some(scanout) = self.screens.get_mut(name).and_then(|screen| screen.scanout.as_mut()) else {
            return;
        };
        let (next, action) = scanout.redraw.on(event);
        trace!(display = name, ?event, ?next, ?action, "redraw");
        scanout.redraw = next;
        match action {
            Action::None => {}
            Action::ArmDeadline => self.arm_deadline(name),
            Action::ArmEstimate => {
                let now = self.turn_time();
                let scanout = self.screens.get(name).and_then(|screen| screen.scanout.as_ref());
                if let Some(at) = scanout.map(|scanout| scanout.clock.estimate(now)) {
                    self.arm(name, now, at, Event::Estimate);
                }
            }
            Action::Render => self.render(name),
            Action::EndFrame => self.end_frame(name),
            Action::EndFrameAndArmDeadline => {
                self.end_frame(name);
                self.arm_deadline(name);
            }
            Action::Disarm => {
                if let Some(timer) = scanout.timer.take() {
                    self.timers.cancel(timer);
                }
            }
        }
    }

    fn arm_deadline(&mut self, name: &str) {
        let now = self.turn_time();
        // A pointer that moves will move again before the vblank.
        let restless = now.saturating_sub(self.pointer.moved_at) < RESTLESS;
        let scanout = self.screens.get_mut(name).and_then(|screen| screen.scanout.as_mut());
        if let Some(scanout) = scanout {
            let late = scanout.clock.deadline(now);
            let at = if scanout.awaited.is_empty() && !restless { now } else { late };
            self.arm(name, now, at, Event::Deadline);
        }
    }

    /// A surface of a display committed: whether the frame waits for others still.
    pub fn committed_on(&mut self, name: &str, surface: &WlSurface) {
        self.redraw_event(name, Event::Damage);
        self.redraw_mirrors(name);
        let scanout = self.screens.get_mut(name).and_then(|screen| screen.scanout.as_mut());
        let Some(scanout) = scanout.filter(|scanout| !scanout.awaited.is_empty()) else { return };
        scanout.awaited.retain(|awaited| awaited != surface && awaited.alive());
        if scanout.awaited.is_empty() {
            self.redraw_event(name, Event::Complete);
        }
    }

    /// Sets a display's timer.
    fn arm(&mut self, name: &str, now: Duration, at: Duration, event: Event) {
        let stale = self.screens.get_mut(name).and_then(|screen| screen.scanout.as_mut());
        if let Some(stale) = stale.and_then(|scanout| scanout.timer.take()) {
            self.timers.cancel(stale);
        }
        if at <= now {
            // In this turn of the loop, after all that has arrived was read.
            self.due.push_back((name.to_owned(), event));
            return;
        }
        let owned = name.to_owned();
        let timer = self.timers.at(at, move |state| {
            if let Some(scanout) = state.screens.get_mut(&owned).and_then(|screen| screen.scanout.as_mut()) {
                scanout.timer = None;
            }
            state.redraw_event(&owned, event);
        });
        if let Some(scanout) = self.screens.get_mut(name).and_then(|screen| screen.scanout.as_mut()) {
            scanout.timer = Some(timer);
        }
    }

    /// Draws a display and hands the frame over.
    fn render(&mut self, name: &str) {
        let start = self.turn_time();
        if !self.has_renderer(name) {
            // Drawn once there is one.
            self.redraw_event(name, Event::Unchanged);
            return;
        }
        self.check_described(name);
        let outcome = self.with_scene(name, |state, scene| {
            let State { screens, backend, .. } = state;
            let scanout = screens.get_mut(name).and_then(|screen| screen.scanout.as_mut());
            let scanout = scanout.ok_or_else(|| std::io::Error::other("the display is dark"))?;
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
                self.collect_feedback(name);
                if let Some(scanout) = self.screens.get_mut(name).and_then(|screen| screen.scanout.as_mut()) {
                    scanout.clock.drawn(end.saturating_sub(start));
                }
                self.frame_succeeded(name);
                self.redraw_event(name, Event::Submitted);
                self.simulate_vblank(name);
            }
            Some(Ok(Outcome::Unchanged)) => self.redraw_event(name, Event::Unchanged),
            Some(Err(error)) => {
                self.frame_failed(name, &error);
                self.redraw_event(name, Event::Failed);
            }
            None => self.redraw_event(name, Event::Failed),
        }
    }

    /// Virtual displays have no hardware to say when a frame is shown: a timer does.
    fn simulate_vblank(&mut self, name: &str) {
        let now = self.turn_time();
        let scanout = self.screens.get(name).and_then(|screen| screen.scanout.as_ref());
        let Some(scanout) = scanout.filter(|scanout| scanout.target == Target::Memory) else { return };
        let at = scanout.clock.estimate(now);
        let owned = name.to_owned();
        self.timers.at(at, move |state| {
            let scanout = state.screens.get_mut(&owned).and_then(|screen| screen.scanout.as_mut());
            if let Some(scanout) = scanout.filter(|scanout| scanout.redraw.awaits_vblank()) {
                scanout.sequence += 1;
                let sequence = scanout.sequence;
                state.frame_shown(&owned, at, sequence, Kind::empty());
            }
        });
    }

    /// Takes from the seen surfaces whom to tell when the submitted frame is shown.
    fn collect_feedback(&mut self, name: &str) {
        let Some(screen) = self.screens.get(name) else { return };
        let output = screen.output.clone();
        let mut feedback = OutputPresentationFeedback::new(&output);
        for surface in self.seen_surfaces(screen) {
            take_presentation_feedback_surface_tree(
                &surface,
                &mut feedback,
                |_, _| Some(output.clone()),
                |_, _| Kind::empty(),
            );
        }
        if let Some(scanout) = self.screens.get_mut(name).and_then(|screen| screen.scanout.as_mut()) {
            scanout.feedback = Some(feedback);
        }
    }

    /// Page flips of a Gpu are there to be read.
    pub fn read_page_flips(&mut self, gpu: u64) {
        let Some(device) = self.backend.gpu(gpu) else { return };
        let flips = match page_flips(device) {
            Ok(flips) => flips,
            Err(error) => {
                warn!(gpu = %device.path.display(), %error, "page flips can't be read");
                // An unplugged one would be ready for ever, until udev tells that it is gone.
                if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) {
                    if let Err(error) = self.reactor.remove(&device.card) {
                        warn!(gpu = %device.path.display(), %error, "the GPU is watched still");
                    }
                }
                return;
            }
        };
        for (crtc, time, sequence) in flips {
            let target = Target::Crtc { gpu, index: crtc };
            let of_crtc = |screen: &&crate::display::screen::Screen| {
                screen.scanout.as_ref().is_some_and(|scanout| scanout.target == target)
            };
            let name = self.screens.iter().find(of_crtc).map(|screen| screen.name.clone());
            if let Some(name) = name {
                let hardware = Kind::Vsync | Kind::HwClock | Kind::HwCompletion;
                self.frame_shown(&name, time, sequence.into(), hardware);
            }
        }
    }

    /// A frame came on the screen.
    fn frame_shown(&mut self, name: &str, time: Duration, sequence: u64, flags: Kind) {
        let Some(screen) = self.screens.get_mut(name) else { return };
        let Some(scanout) = screen.scanout.as_mut() else { return };
        let (missed, latency) = scanout.presented(time);
        screen.figures.count(missed, latency);
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
        self.redraw_event(name, Event::Vblank);
        self.answer_frame();
    }

    /// A frame's end: clients may draw the next.
    fn end_frame(&mut self, name: &str) {
        let now = self.turn_time();
        let Some(screen) = self.screens.get(name) else { return };
        let output = screen.output.clone();
        let mut awaited = Vec::new();
        for surface in self.seen_surfaces(screen) {
            send_frames_surface_tree(&surface, &output, now, None, |surface, states| {
                let told =
                    !states.cached_state.get::<SurfaceAttributes>().current().frame_callbacks.is_empty();
                awaited.extend(told.then(|| surface.clone()));
                Some(output.clone())
            });
        }
        if let Some(scanout) = self.screens.get_mut(name).and_then(|screen| screen.scanout.as_mut()) {
            scanout.awaited = awaited;
        }
    }
}
