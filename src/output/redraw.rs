//! One display's redraw, as a state machine.
//!
//! ```text
//!            Damage                Deadline           Submitted
//!   Idle ────────────> Queued ───────────> Rendering ───────────> AwaitingVblank{again}
//!    ^ ^                 ^                     │                     │ Vblank
//!    │ │                 │ again               │ Unchanged           │
//!    │ │                 ├─────────────────────│─────────────────────┤
//!    │ │                 │                     v                     │ not again
//!    │ │                 └── AwaitingEstimate{again}                 │
//!    │ └───────────────────────────┘ Estimate, not again             │
//!    └───────────────────────────────────────────────────────────────┘
//! ```
//!
//! `Damage` while a frame is under way sets `again`. Where rendering changed nothing there is no
//! page flip to wait for; an estimated vblank stands in, so that clients who asked for frame
//! callbacks are paced all the same. In `Idle` no timer runs: an idle display costs no wake-up.
//! `Paused` (no DRM master) stops everything, and is left only by `Resumed`.

use std::time::Duration;

/// Time since the monotonic clock's epoch, as the kernel stamps page flips.
pub type Time = Duration;

/// Where a display's next frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redraw {
    #[default]
    Idle,
    /// Something changed; the frame is drawn at its deadline.
    Queued,
    /// Between the deadline and what became of it.
    Rendering,
    /// The kernel has the frame and will say when it is shown.
    AwaitingVblank { again: bool },
    /// Nothing was submitted; a timer stands in for the page flip.
    AwaitingEstimate { again: bool },
    /// Not allowed to draw: the session is elsewhere, or the display is off.
    Paused,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Something on the display changed, or a client wants a frame callback.
    Damage,
    /// The frame clock's timer: draw now.
    Deadline,
    /// Everyone who was told to draw has committed: waiting for the deadline gains nothing.
    Complete,
    /// The frame was handed to the kernel.
    Submitted,
    /// There was nothing to hand over.
    Unchanged,
    /// Rendering or the commit failed; tried again at the next estimated vblank.
    Failed,
    /// The frame is on the output.
    Vblank,
    /// The estimated vblank's timer.
    Estimate,
    Paused,
    Resumed,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    None,
    /// Arm the timer whose end is [`Event::Deadline`].
    ArmDeadline,
    /// Draw, then tell what became of it.
    Render,
    /// Arm the timer whose end is [`Event::Estimate`].
    ArmEstimate,
    /// The frame's end: send frame callbacks.
    EndFrame,
    /// As `EndFrame`, and arm the next deadline.
    EndFrameAndArmDeadline,
    /// Stop the timers.
    Disarm,
}

impl Redraw {
    /// Whether a frame is with the kernel.
    pub fn awaits_vblank(self) -> bool {
        matches!(self, Self::AwaitingVblank { .. })
    }

    pub fn on(self, event: Event) -> (Self, Action) {
        use Redraw::*;
        match (self, event) {
            (Paused, Event::Resumed) => (Queued, Action::ArmDeadline),
            (Paused, _) => (Paused, Action::None),
            (_, Event::Paused) => (Paused, Action::Disarm),

            (Idle, Event::Damage) => (Queued, Action::ArmDeadline),
            (AwaitingVblank { .. }, Event::Damage) => (AwaitingVblank { again: true }, Action::None),
            (AwaitingEstimate { .. }, Event::Damage) => (AwaitingEstimate { again: true }, Action::None),

            (Queued, Event::Deadline) => (Rendering, Action::Render),
            (Queued, Event::Complete) => (Queued, Action::ArmDeadline),

            (Rendering, Event::Submitted) => (AwaitingVblank { again: false }, Action::None),
            (Rendering, Event::Unchanged) => (AwaitingEstimate { again: false }, Action::ArmEstimate),
            (Rendering, Event::Failed) => (AwaitingEstimate { again: true }, Action::ArmEstimate),

            (AwaitingVblank { again: false }, Event::Vblank) => (Idle, Action::EndFrame),
            (AwaitingVblank { again: true }, Event::Vblank) => (Queued, Action::EndFrameAndArmDeadline),
            (AwaitingEstimate { again: false }, Event::Estimate) => (Idle, Action::EndFrame),
            (AwaitingEstimate { again: true }, Event::Estimate) => (Queued, Action::EndFrameAndArmDeadline),

            // Damage that is already queued, and what comes late from before a pause.
            (state, _) => (state, Action::None),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Damage),
            2 => Just(Event::Deadline),
            2 => Just(Event::Submitted),
            1 => Just(Event::Unchanged),
            1 => Just(Event::Failed),
            2 => Just(Event::Vblank),
            2 => Just(Event::Estimate),
            1 => Just(Event::Paused),
            1 => Just(Event::Resumed),
        ]
    }

    /// The world around the machine: which timers run, whether a flip is under way.
    #[derive(Default)]
    struct World {
        deadline: bool,
        estimate: bool,
        rendering: bool,
    }

    impl World {
        fn apply(&mut self, event: Event, action: Action) {
            match event {
                Event::Deadline => self.deadline = false,
                Event::Estimate => self.estimate = false,
                _ => {}
            }
            match action {
                Action::ArmDeadline | Action::EndFrameAndArmDeadline => self.deadline = true,
                Action::ArmEstimate => self.estimate = true,
                Action::Disarm => (self.deadline, self.estimate) = (false, false),
                _ => {}
            }
            self.rendering = action == Action::Render;
        }
    }

    proptest! {
        /// Whatever happens in whatever order: a timer runs exactly in the states that wait for
        /// it, and so an idle or paused display has none.
        #[test]
        fn timers_match_states(events in prop::collection::vec(event(), 0..200)) {
            let mut state = Redraw::default();
            let mut world = World::default();
            for event in events {
                // A timer that does not run can't end.
                if (event == Event::Deadline && !world.deadline) || (event == Event::Estimate && !world.estimate) {
                    continue;
                }
                let action;
                (state, action) = state.on(event);
                world.apply(event, action);
                prop_assert_eq!(world.deadline, state == Redraw::Queued);
                prop_assert_eq!(world.estimate, matches!(state, Redraw::AwaitingEstimate { .. }));
            }
        }

        /// Damage is never lost: unless paused, each is followed by a rendering within three of
        /// the events that end waiting.
        #[test]
        fn damage_is_drawn(events in prop::collection::vec(event(), 0..50)) {
            let mut state = Redraw::default();
            for event in events {
                (state, _) = state.on(event);
            }
            prop_assume!(state != Redraw::Paused && state != Redraw::Rendering);
            let action;
            (state, action) = state.on(Event::Damage);
            let mut rendered = action == Action::Render;
            for event in [Event::Vblank, Event::Estimate, Event::Deadline] {
                let action;
                (state, action) = state.on(event);
                rendered |= action == Action::Render;
            }
            prop_assert!(rendered);
        }

        /// Nothing is rendered and no timer is armed without master.
        #[test]
        fn paused_is_still(events in prop::collection::vec(event(), 0..50)) {
            let (mut state, _) = Redraw::default().on(Event::Paused);
            for event in events.into_iter().filter(|event| *event != Event::Resumed) {
                let action;
                (state, action) = state.on(event);
                prop_assert_eq!(action, Action::None);
                prop_assert_eq!(state, Redraw::Paused);
            }
        }
    }
}
