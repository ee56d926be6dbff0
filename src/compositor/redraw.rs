//! Frames: runs the redraw state machine of each output.

use std::time::Duration;

use smithay::reexports::wayland_protocols::wp::presentation_time::server::wp_presentation_feedback::Kind;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use tracing::debug;

use super::deadline::Deadline;
use super::State;
use crate::output::redraw::Event;
use crate::output::scanout::{Outcome, Target};
use crate::output::OutputId;

impl State {
    /// Queues a redraw of an output whose content changed, and of its mirrors.
    pub fn queue_redraw(&mut self, id: OutputId) {
        self.redraw_event(id, Event::Damage);
        self.redraw_mirrors(id);
    }

    /// As [`Self::queue_redraw`], of an output on which only the cursor changed.
    pub fn queue_cursor_redraw(&mut self, id: OutputId) {
        self.redraw_event(id, Event::CursorMoved);
        for mirror in self.outputs.mirrors_of(id) {
            self.redraw_event(mirror, Event::CursorMoved);
        }
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

    /// Passes an event to an output's redraw state machine and performs what it asks for.
    pub fn redraw_event(&mut self, id: OutputId, event: Event) {
        let now = self.iteration_start();
        let effects = self.outputs.on_redraw(id, event, now, self.input.pointer().moved_at());
        if let Some(timer) = effects.cancel {
            self.timers.cancel(timer);
        }
        match effects.arm {
            // In this iteration, after everything that has arrived is dispatched.
            Some((at, event)) if at <= now => self.pending_redraws.push_back((id, event)),
            Some((at, event)) => {
                let timer = self.timers.at(at, Deadline::Redraw(id, event));
                if let Some(scanout) = self.outputs.scanout_mut(id) {
                    scanout.timer_armed(timer);
                }
            }
            None => {}
        }
        if effects.render {
            self.render(id);
        }
        if effects.commit {
            self.commit_ahead(id);
        }
    }

    /// A surface on an output committed. Once all clients that got a frame callback have committed,
    /// the frame waits for nothing.
    pub fn committed_on(&mut self, id: OutputId, surface: &WlSurface) {
        self.redraw_event(id, Event::Damage);
        self.redraw_mirrors(id);
        if self.outputs.committed(id, surface) {
            self.redraw_event(id, Event::Complete);
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
        let Some(content) = self.outputs.content_of(id) else { return };
        let is_mirror = content.id != id;
        let visible = self.visible_surfaces(content);
        self.update_described_surfaces(id, &visible);
        let outcome = self.with_scene(id, visible, |state, scene| {
            let State { outputs, backend, .. } = state;
            let scanout = outputs.scanout_mut(id);
            let scanout = scanout.ok_or_else(|| std::io::Error::other("the display is disabled"))?;
            // Clients get frame callbacks and feedback from the output itself, not from its
            // mirrors.
            scanout.set_surfaces(if is_mirror { Vec::new() } else { scene.surfaces() });
            match scanout.target() {
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
                self.outputs.collect_feedback(id);
                if let Some(scanout) = self.outputs.scanout_mut(id) {
                    scanout.frame_drawn(start, end);
                }
                self.frame_succeeded(id);
                self.redraw_event(id, Event::Submitted);
                self.simulate_vblank(id);
            }
            Some(Ok(Outcome::Drawn)) => {
                self.outputs.collect_feedback(id);
                if let Some(scanout) = self.outputs.scanout_mut(id) {
                    scanout.frame_drawn(start, end);
                }
                self.redraw_event(id, Event::Drawn);
            }
            Some(Ok(Outcome::Unchanged)) => self.redraw_event(id, Event::Unchanged),
            Some(Ok(Outcome::Postponed)) => self.redraw_event(id, Event::Postponed),
            Some(Ok(Outcome::NeedsModeset)) => {
                // Not from within a frame.
                self.timers.at(start, Deadline::Reconfigure("a frame needs a modeset"));
                self.redraw_event(id, Event::Failed);
            }
            Some(Err(error)) => {
                self.frame_failed(id, &error);
                self.redraw_event(id, Event::Failed);
            }
            None => self.redraw_event(id, Event::Failed),
        }
    }

    /// Commits the frame that was drawn while the one before was pending. If that fails, the frame
    /// is drawn again, which reports why.
    fn commit_ahead(&mut self, id: OutputId) {
        let Self { outputs, backend, .. } = self;
        let committed = match outputs.scanout_mut(id).map(|scanout| (scanout.target(), scanout)) {
            Some((Target::Crtc { gpu, index }, scanout)) => match backend.gpu_mut(gpu) {
                Some(gpu) => scanout.commit_ahead(gpu, index),
                None => Err(std::io::Error::other("its GPU is gone")),
            },
            _ => Err(std::io::Error::other("the display is disabled")),
        };
        match committed {
            Ok(()) => {
                self.frame_succeeded(id);
                self.redraw_event(id, Event::Submitted);
            }
            Err(error) => {
                debug!(display = self.outputs.name(id), %error, "commit failed; drawing the frame again");
                self.redraw_event(id, Event::Failed);
            }
        }
    }

    /// Virtual outputs have no hardware that reports when a frame is shown: a timer does.
    fn simulate_vblank(&mut self, id: OutputId) {
        let now = self.iteration_start();
        let scanout = self.outputs.scanout(id).filter(|scanout| scanout.target() == Target::Memory);
        if let Some(at) = scanout.map(|scanout| scanout.next_vblank(now)) {
            self.timers.at(at, Deadline::VirtualVblank(id, at));
        }
    }

    /// A virtual output's frame is shown now.
    pub fn virtual_vblank(&mut self, id: OutputId, at: Duration) {
        if let Some(sequence) = self.outputs.virtual_vblank(id) {
            self.frame_shown(id, at, sequence, Kind::empty());
        }
    }

    /// Reads the page flip events of a GPU.
    pub fn read_page_flips(&mut self, gpu: u64) {
        let mut flips = Vec::new();
        if let Some(kms) = self.backend.kms_mut() {
            kms.read_page_flips(gpu, &self.reactor, &mut flips);
        }
        for (crtc, flip) in flips {
            let target = Target::Crtc { gpu, index: crtc };
            if let Some(id) = self.outputs.unblanking_on(target) {
                self.powered_up(id);
                continue;
            }
            let Some(id) = self.outputs.on_target(target) else { continue };
            let sequence = u64::from(flip.sequence);
            let held = self.outputs.scanout_mut(id).and_then(|scanout| scanout.hold_flip(flip.time));
            match held {
                Some(until) => {
                    self.timers.at(until, Deadline::HeldFlip { id, until, sequence });
                }
                None => {
                    let hardware = Kind::Vsync | Kind::HwClock | Kind::HwCompletion;
                    self.frame_shown(id, flip.time, sequence, hardware);
                }
            }
        }
        // Not before all flips are handled: those left would count as the end of new changes.
        self.continue_power_changes();
    }

    /// A frame counts as shown whose page flip was reported too early.
    pub fn held_flip_due(&mut self, id: OutputId, until: Duration, sequence: u64) {
        if self.outputs.scanout_mut(id).is_some_and(|scanout| scanout.release_flip(until)) {
            self.frame_shown(id, until, sequence, Kind::HwCompletion);
            self.continue_power_changes();
        }
    }

    fn frame_shown(&mut self, id: OutputId, time: Duration, sequence: u64, flags: Kind) {
        if !self.outputs.frame_shown(id, time, sequence, flags) {
            return;
        }
        self.frames += 1;
        self.redraw_event(id, Event::Vblank);
        self.answer_frame();
    }
}
