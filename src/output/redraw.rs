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
//! (no DRM master, or blanked) stops everything, and is left only by `Resumed`, or by
//! `ResumedEarly` if the page flip of the frame before the pause is still awaited.
//!
//! While a frame awaits its vblank, `DamageAhead` has the next one drawn. It is committed at that
//! vblank:
//!
//! ```text
//!                  DamageAhead              Deadline                  Drawn
//!   AwaitingVblank ──────────> QueuedAhead ────────> RenderingAhead ───────> Ahead{again}
//!       ^    ^                   │                     │                        │ Vblank
//!       │    └───────────────────│─────────────────────┘                        v
//!       │                        v Vblank    Unchanged           Submitted  Committing{again}
//!       │                      Queued                      ┌────────────────────┤
//!       └──────────────────────────────────────────────────┘                    v Failed
//!                                                                             Queued
//! ```
//!
//! Clients get their frame callbacks with the page flip, or, so that they draw ahead, with the
//! commit (`SubmittedEarly`), and never for both: states that await the page flip know which.
//!
//! `CursorMoved` is as `Damage`, with `CursorQueued` in place of `Queued`: a frame that only the
//! cursor caused may have to wait longer, and `Damage` meanwhile queues the usual one.

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
    /// Only the cursor moved; the frame is rendered at the cursor's deadline.
    CursorQueued,
    /// The frame is being rendered and committed.
    Rendering,
    /// The frame is committed; the kernel will report its page flip.
    AwaitingVblank { again: Again, callbacks: Callbacks },
    /// As `AwaitingVblank`, and the next frame is rendered at its deadline.
    QueuedAhead { callbacks: Callbacks },
    /// As `AwaitingVblank`, and the next frame is being rendered.
    RenderingAhead { callbacks: Callbacks },
    /// As `AwaitingVblank`, and the next frame is drawn.
    Ahead { again: Again },
    /// The frame that was drawn ahead is being committed.
    Committing { again: Again },
    /// Nothing was committed; a timer replaces the page flip.
    AwaitingEstimate { again: Again },
    /// Must not render: the session is paused, or the output is blanked.
    Paused,
}

/// Whether another frame follows the one in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Again {
    #[default]
    No,
    /// The cursor moved meanwhile, and nothing else changed.
    Cursor,
    Yes,
}

/// Whether clients got the frame callbacks of the frame that awaits its page flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callbacks {
    /// They get them with the page flip.
    Due,
    Sent,
}

/// An input of the state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Something on the output changed, or a client wants a frame callback.
    Damage,
    /// As `Damage`, and the next frame may be drawn while one awaits its vblank.
    DamageAhead,
    /// Only the cursor on the output changed.
    CursorMoved,
    /// The timer of the frame clock's deadline ended.
    Deadline,
    /// All clients that got a frame callback have committed: waiting for the deadline gains
    /// nothing.
    Complete,
    /// The frame was committed.
    Submitted,
    /// As `Submitted`, and clients may draw the next frame already.
    SubmittedEarly,
    /// The frame was drawn, and is committed at the next vblank.
    Drawn,
    /// Nothing has changed, so there was no commit.
    Unchanged,
    /// Only the cursor has changed, and that must not be committed yet.
    Postponed,
    /// Rendering or the commit failed; retried at the next estimated vblank.
    Failed,
    /// The kernel reported the page flip.
    Vblank,
    /// The timer of the estimated vblank ended.
    Estimate,
    Paused,
    Resumed,
    /// As `Resumed`, before the page flip of the frame that was in flight at the pause.
    ResumedEarly,
}

/// What the caller has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    None,
    /// Arm the timer whose end is [`Event::Deadline`].
    ArmDeadline,
    /// As `ArmDeadline`, for a frame that only the cursor caused.
    ArmCursorDeadline,
    /// Render, and deliver the result as an event.
    Render,
    /// Commit the frame that was drawn ahead, and deliver the result as an event.
    Commit,
    /// Arm the timer whose end is [`Event::Estimate`].
    ArmEstimate,
    /// The frame has ended: send frame callbacks.
    EndFrame,
    /// As `EndFrame`, and arm the next deadline.
    EndFrameAndArmDeadline,
    /// As `EndFrame`, and arm the next deadline of the cursor.
    EndFrameAndArmCursorDeadline,
    /// Stop the timers.
    Disarm,
}

impl Again {
    /// Returns what follows if this event comes, too.
    fn and(self, event: Event) -> Self {
        self.max(if event == Event::Damage { Self::Yes } else { Self::Cursor })
    }
}

impl Redraw {
    /// Returns whether a commit waits for its page flip.
    pub fn awaits_vblank(self) -> bool {
        matches!(
            self,
            Self::AwaitingVblank { .. }
                | Self::QueuedAhead { .. }
                | Self::RenderingAhead { .. }
                | Self::Ahead { .. }
        )
    }

    /// Returns whether the frame that is rendered is committed at the next vblank.
    pub fn renders_ahead(self) -> bool {
        matches!(self, Self::RenderingAhead { .. })
    }

    /// Returns the next state, and what to do.
    pub fn on(self, event: Event) -> (Self, Action) {
        use Redraw::*;
        match (self, event) {
            (Paused, Event::Resumed) => (Queued, Action::ArmDeadline),
            (Paused, Event::ResumedEarly) => {
                (AwaitingVblank { again: Again::Yes, callbacks: Callbacks::Due }, Action::None)
            }
            (Paused, _) => (Paused, Action::None),
            (_, Event::Paused) => (Paused, Action::Disarm),

            (Idle | CursorQueued, Event::Damage) => (Queued, Action::ArmDeadline),
            (Idle, Event::CursorMoved) => (CursorQueued, Action::ArmCursorDeadline),
            (AwaitingVblank { again, callbacks }, Event::Damage | Event::CursorMoved) => {
                (AwaitingVblank { again: again.and(event), callbacks }, Action::None)
            }
            (AwaitingEstimate { again }, Event::Damage | Event::CursorMoved) => {
                (AwaitingEstimate { again: again.and(event) }, Action::None)
            }

            (Queued | CursorQueued, Event::Deadline) => (Rendering, Action::Render),
            (Queued, Event::Complete) => (Queued, Action::ArmDeadline),

            (Rendering, Event::Submitted) => {
                (AwaitingVblank { again: Again::No, callbacks: Callbacks::Due }, Action::None)
            }
            (Rendering, Event::SubmittedEarly) => {
                (AwaitingVblank { again: Again::No, callbacks: Callbacks::Sent }, Action::EndFrame)
            }
            (Rendering, Event::Unchanged) => (AwaitingEstimate { again: Again::No }, Action::ArmEstimate),
            (Rendering, Event::Postponed) => (AwaitingEstimate { again: Again::Cursor }, Action::ArmEstimate),
            (Rendering, Event::Failed) => (AwaitingEstimate { again: Again::Yes }, Action::ArmEstimate),

            (AwaitingVblank { again, callbacks: Callbacks::Due }, Event::Vblank)
            | (AwaitingEstimate { again }, Event::Estimate) => match again {
                Again::No => (Idle, Action::EndFrame),
                Again::Cursor => (CursorQueued, Action::EndFrameAndArmCursorDeadline),
                Again::Yes => (Queued, Action::EndFrameAndArmDeadline),
            },
            (AwaitingVblank { again, callbacks: Callbacks::Sent }, Event::Vblank) => match again {
                Again::No => (Idle, Action::None),
                Again::Cursor => (CursorQueued, Action::ArmCursorDeadline),
                Again::Yes => (Queued, Action::ArmDeadline),
            },

            (AwaitingVblank { callbacks, .. }, Event::DamageAhead) => {
                (QueuedAhead { callbacks }, Action::ArmDeadline)
            }
            (QueuedAhead { callbacks }, Event::Complete) => (QueuedAhead { callbacks }, Action::ArmDeadline),
            (QueuedAhead { callbacks }, Event::Deadline) => (RenderingAhead { callbacks }, Action::Render),
            (QueuedAhead { callbacks: Callbacks::Due }, Event::Vblank) => {
                (Queued, Action::EndFrameAndArmDeadline)
            }
            (QueuedAhead { callbacks: Callbacks::Sent }, Event::Vblank) => (Queued, Action::ArmDeadline),
            (RenderingAhead { .. }, Event::Drawn) => (Ahead { again: Again::No }, Action::None),
            // A client may wait for the callback of a commit that changed nothing.
            (RenderingAhead { .. }, Event::Unchanged) => {
                (AwaitingVblank { again: Again::No, callbacks: Callbacks::Due }, Action::None)
            }
            (RenderingAhead { callbacks }, Event::Postponed | Event::Failed) => {
                (AwaitingVblank { again: Again::Yes, callbacks }, Action::None)
            }
            (Ahead { again }, Event::Damage | Event::CursorMoved) => {
                (Ahead { again: again.and(event) }, Action::None)
            }
            (Ahead { again }, Event::Vblank) => (Committing { again }, Action::Commit),
            (Committing { again: Again::Yes }, Event::SubmittedEarly) => {
                (QueuedAhead { callbacks: Callbacks::Sent }, Action::EndFrameAndArmDeadline)
            }
            (Committing { again }, Event::SubmittedEarly) => {
                (AwaitingVblank { again, callbacks: Callbacks::Sent }, Action::EndFrame)
            }
            (Committing { again }, Event::Submitted) => {
                (AwaitingVblank { again, callbacks: Callbacks::Due }, Action::None)
            }
            (Committing { .. }, Event::Failed) => (Queued, Action::ArmDeadline),

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
            2 => Just(Event::CursorMoved),
            1 => Just(Event::Complete),
            1 => Just(Event::Postponed),
            3 => Just(Event::DamageAhead),
            2 => Just(Event::SubmittedEarly),
            3 => Just(Event::Drawn),
            2 => Just(Event::Deadline),
            2 => Just(Event::Submitted),
            1 => Just(Event::Unchanged),
            1 => Just(Event::Failed),
            2 => Just(Event::Vblank),
            2 => Just(Event::Estimate),
            1 => Just(Event::Paused),
            1 => Just(Event::Resumed),
            1 => Just(Event::ResumedEarly),
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
                Action::ArmDeadline
                | Action::ArmCursorDeadline
                | Action::EndFrameAndArmDeadline
                | Action::EndFrameAndArmCursorDeadline => self.deadline = true,
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
                let waits =
                    matches!(state, Redraw::Queued | Redraw::CursorQueued | Redraw::QueuedAhead { .. });
                prop_assert_eq!(timers.deadline, waits);
                prop_assert_eq!(timers.estimate, matches!(state, Redraw::AwaitingEstimate { .. }));
            }
        }

        /// Damage and motions of the cursor are never lost: unless the output is paused, one of the
        /// next events that end a wait renders them.
        #[test]
        fn damage_is_rendered(
            events in prop::collection::vec(event(), 0..50),
            change in prop_oneof![Just(Event::Damage), Just(Event::CursorMoved)],
        ) {
            let mut state = Redraw::default();
            for event in events {
                (state, _) = state.on(event);
            }
            prop_assume!(!matches!(
                state,
                Redraw::Paused | Redraw::Rendering | Redraw::RenderingAhead { .. } | Redraw::Committing { .. }
            ));
            let action;
            (state, action) = state.on(change);
            let mut rendered = action == Action::Render;
            // What was drawn ahead is committed and shown before.
            let events = [Event::Vblank, Event::Submitted, Event::Estimate, Event::Vblank, Event::Deadline];
            for event in events {
                if event == Event::Submitted && !matches!(state, Redraw::Committing { .. }) {
                    continue;
                }
                let action;
                (state, action) = state.on(event);
                rendered |= action == Action::Render;
            }
            prop_assert!(rendered);
        }

        /// What clients draw never waits for the cursor's deadline.
        #[test]
        fn damage_does_not_wait_for_the_deadline_of_the_cursor(
            events in prop::collection::vec(event(), 0..50),
        ) {
            let mut state = Redraw::default();
            for event in events {
                (state, _) = state.on(event);
            }
            (state, _) = state.on(Event::Damage);
            prop_assert_ne!(state, Redraw::CursorQueued);
            for event in [Event::Vblank, Event::Estimate] {
                (state, _) = state.on(event);
                prop_assert_ne!(state, Redraw::CursorQueued);
            }
        }

        /// Clients get frame callbacks once for each frame that was rendered, or committed without
        /// rendering, at most.
        #[test]
        fn frame_callbacks_are_sent_once_for_a_frame(events in prop::collection::vec(event(), 0..200)) {
            let mut state = Redraw::default();
            let mut frames = 0;
            for event in events {
                let is_result = matches!(
                    event,
                    Event::Submitted | Event::SubmittedEarly | Event::Unchanged | Event::Postponed | Event::Failed
                );
                let (next, action) = state.on(event);
                match state {
                    Redraw::Rendering | Redraw::RenderingAhead { .. } | Redraw::Committing { .. } if is_result => {
                        frames += 1;
                    }
                    Redraw::Paused if event == Event::ResumedEarly => frames += 1,
                    _ => {}
                }
                state = next;
                let ends = [
                    Action::EndFrame,
                    Action::EndFrameAndArmDeadline,
                    Action::EndFrameAndArmCursorDeadline,
                ];
                if ends.contains(&action) {
                    prop_assert!(frames > 0, "{:?}", state);
                    // Those before have ended with it.
                    frames = 0;
                }
            }
        }

        /// Nothing is rendered and no timer is armed while the output is paused.
        #[test]
        fn paused_output_does_nothing(events in prop::collection::vec(event(), 0..50)) {
            let (mut state, _) = Redraw::default().on(Event::Paused);
            let resumes = |event: &Event| matches!(event, Event::Resumed | Event::ResumedEarly);
            for event in events.into_iter().filter(|event| !resumes(event)) {
                let action;
                (state, action) = state.on(event);
                prop_assert_eq!(action, Action::None);
                prop_assert_eq!(state, Redraw::Paused);
            }
        }
    }
}
