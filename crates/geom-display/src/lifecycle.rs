//! The lifecycle of one output, as a state machine.
//!
//! ```text
//!            Enabled                   Disabled
//!  Absent ─────────────> Enabled <────────────────> Disabled
//!     │                    │ ^          Enabled
//!     │ Refused            │ │
//!     │       Disconnected │ │ Enabled
//!     v                    v │
//!  Failed(reason) <─── Disconnected (windows kept)
//!             Refused
//! ```
//!
//! Every state accepts `Enabled`: a `Failed` output is tried again on each probe.

/// The state of one output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Lifecycle {
    /// Was never enabled.
    #[default]
    Absent,
    /// Has a CRTC.
    Enabled,
    /// The monitor is connected, and disabled by the configuration or a command.
    Disabled,
    /// The monitor is unplugged; the output's place in the layout and its windows are kept.
    Disconnected,
    /// The monitor is connected, and the kernel refuses it for this reason.
    Failed(String),
}

/// What a probe, the plan and its commit found out about one output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The commit that enables the output succeeded.
    Enabled,
    /// The configuration or a command disables the output.
    Disabled,
    /// The kernel refuses the output for this reason.
    Refused(String),
    /// The monitor or its whole GPU was unplugged.
    Disconnected,
}

/// What the compositor has to do after a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// Create the `wl_output` global and move the output's windows back to it.
    CreateGlobal,
    /// Remove the `wl_output` global; windows move to a neighbor or wait.
    RemoveGlobal,
}

impl Lifecycle {
    /// Returns whether the output has a CRTC.
    pub fn is_enabled(&self) -> bool {
        matches!(self, Self::Enabled)
    }

    /// Returns the state after an event, and what has to be done.
    pub fn on(self, event: Event) -> (Self, Action) {
        let was_enabled = self.is_enabled();
        let next = match event {
            Event::Enabled => Self::Enabled,
            Event::Disabled => Self::Disabled,
            Event::Refused(reason) => Self::Failed(reason),
            // An output that was never enabled has no windows to keep.
            Event::Disconnected if self == Self::Absent => Self::Absent,
            Event::Disconnected => Self::Disconnected,
        };
        let action = match (was_enabled, next.is_enabled()) {
            (false, true) => Action::CreateGlobal,
            (true, false) => Action::RemoveGlobal,
            _ => Action::None,
        };
        (next, action)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Enabled),
            Just(Event::Disabled),
            Just(Event::Refused("no bandwidth".into())),
            Just(Event::Disconnected),
        ]
    }

    proptest! {
        /// `CreateGlobal` and `RemoveGlobal` alternate, and the global exists exactly while the
        /// output is enabled.
        #[test]
        fn global_exists_exactly_while_enabled(events in prop::collection::vec(event(), 0..50)) {
            let mut state = Lifecycle::default();
            let mut has_global = false;
            for event in events {
                let action;
                (state, action) = state.on(event);
                match action {
                    Action::CreateGlobal => { prop_assert!(!has_global); has_global = true; }
                    Action::RemoveGlobal => { prop_assert!(has_global); has_global = false; }
                    Action::None => {}
                }
                prop_assert_eq!(has_global, state.is_enabled());
            }
        }

        /// The same event a second time changes nothing.
        #[test]
        fn events_are_idempotent(first in event(), second in event()) {
            let (state, _) = Lifecycle::default().on(first).0.on(second.clone());
            let (again, action) = state.clone().on(second);
            prop_assert_eq!(again, state);
            prop_assert_eq!(action, Action::None);
        }
    }
}
