//! The redraw state machine of an output.
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
//! `Damage` while a frame is in flight sets `again`. If rendering changed nothing, there is no page
//! flip to wait for; a timer for the estimated vblank replaces it, so that clients with frame
//! callbacks are still paced. In `Idle` no timer runs: an idle output causes no wake-up. `Paused`
//! (no DRM master, or blanked) stops everything, and is left only by `Resumed`.

use std::time::Duration;

/// Time since the monotonic clock's epoch, as the kernel stamps page flips.
pub type Time = Duration;

/// The state of an output's next frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redraw {
    #[default]
    Idle,
    /// Something changed; the frame is rendered at its deadline.
    Queued,
    /// The frame is being rendered and committed.
    Rendering,
    /// The frame is committed; the kernel will report its page flip.
    AwaitingVblank { again: bool },
    /// Nothing was committed; a timer replaces the page flip.
    AwaitingEstimate { again: bool },
    /// Must not render: the session is paused, or the output is blanked.
    Paused,
}

/// An input of the state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Something on the output changed, or a client wants a frame callback.
    Damage,
    /// The timer of the frame clock's deadline ended.
    Deadline,
    /// All clients that got a frame callback have committed: waiting for the deadline gains
    /// nothing.
    Complete,
    /// The frame was committed.
    Submitted,
    /// Nothing has changed, so there was no commit.
    Unchanged,
    /// Rendering or the commit failed; retried at the next estimated vblank.
    Failed,
    /// The kernel reported the page flip.
    Vblank,
    /// The timer of the estimated vblank ended.
    Estimate,
    Paused,
    Resumed,
}

/// What the caller has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    None,
    /// Arm the timer whose end is [`Event::Deadline`].
    ArmDeadline,
    /// Render, and deliver the result as an event.
    Render,
    /// Arm the timer whose end is [`Event::Estimate`].
    ArmEstimate,
    /// The frame has ended: send frame callbacks.
    EndFrame,
    /// As `EndFrame`, and arm the next deadline.
    EndFrameAndArmDeadline,
    /// Stop the timers.
    Disarm,
}

impl Redraw {
    /// Returns whether a commit waits for its page flip.
    pub fn awaits_vblank(self) -> bool {
        matches!(self, Self::AwaitingVblank { .. })
    }

    /// Returns the next state, and what to do.
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

            // Damage that is already queued, and late events from before a pause.
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

    /// The timers that the actions arm.
    #[derive(Default)]
    struct Timers {
        deadline: bool,
        estimate: bool,
    }

    impl Timers {
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
        }
    }

    proptest! {
        /// For any sequence of events, a timer runs exactly in the states that wait for it: an idle
        /// or paused output has none.
        #[test]
        fn timers_run_in_the_states_that_wait_for_them(events in prop::collection::vec(event(), 0..200)) {
            let mut state = Redraw::default();
            let mut timers = Timers::default();
            for event in events {
                // A timer that does not run cannot end.
                if (event == Event::Deadline && !timers.deadline) || (event == Event::Estimate && !timers.estimate) {
                    continue;
                }
                let action;
                (state, action) = state.on(event);
                timers.apply(event, action);
                prop_assert_eq!(timers.deadline, state == Redraw::Queued);
                prop_assert_eq!(timers.estimate, matches!(state, Redraw::AwaitingEstimate { .. }));
            }
        }

        /// Damage is never lost: unless the output is paused, one of the next three events that end
        /// a wait renders it.
        #[test]
        fn damage_is_rendered(events in prop::collection::vec(event(), 0..50)) {
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

        /// Nothing is rendered and no timer is armed while the output is paused.
        #[test]
        fn paused_output_does_nothing(events in prop::collection::vec(event(), 0..50)) {
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
