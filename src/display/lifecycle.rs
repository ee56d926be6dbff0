//! A display's life, as a state machine.
//!
//! ```text
//!            Lit(mode)                 SwitchedOff
//!  Absent ───────────────> Lit <────────────────────> Off
//!     │                    │ ^            Lit
//!     │ Refused     Gone   │ │ Lit
//!     v                    v │
//!  Failed(reason) <──── Dark (clients kept)
//!           Refused
//! ```
//!
//! `Failed` is retried on each probe: any state takes `Lit`.

/// Where a display stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Life {
    /// Never lit.
    #[default]
    Absent,
    Lit,
    /// Its monitor is there and switched off by configuration or command.
    Off,
    /// Its monitor is gone; its place and windows wait.
    Dark,
    /// Its monitor is there and the kernel refuses it.
    Failed(String),
}

/// What a probe, a plan and its commit found about one display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Lit,
    SwitchedOff,
    Refused(String),
    /// The monitor or its whole Gpu was unplugged.
    Gone,
}

/// What others have to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    None,
    /// A `wl_output` global appears and windows come home.
    Appear,
    /// The `wl_output` global goes; windows move to a neighbour or wait.
    Vanish,
}

impl Life {
    pub fn is_lit(&self) -> bool {
        matches!(self, Self::Lit)
    }

    pub fn on(self, event: Event) -> (Self, Action) {
        let was_lit = self.is_lit();
        let next = match event {
            Event::Lit => Self::Lit,
            Event::SwitchedOff => Self::Off,
            Event::Refused(reason) => Self::Failed(reason),
            // What was never lit has nothing to keep.
            Event::Gone if self == Self::Absent => Self::Absent,
            Event::Gone => Self::Dark,
        };
        let action = match (was_lit, next.is_lit()) {
            (false, true) => Action::Appear,
            (true, false) => Action::Vanish,
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
            Just(Event::Lit),
            Just(Event::SwitchedOff),
            Just(Event::Refused("no bandwidth".into())),
            Just(Event::Gone),
        ]
    }

    proptest! {
        /// Appear and Vanish alternate, and tell at each moment whether the display is lit.
        #[test]
        fn globals_follow_light(events in prop::collection::vec(event(), 0..50)) {
            let mut life = Life::default();
            let mut shown = false;
            for event in events {
                let action;
                (life, action) = life.on(event);
                match action {
                    Action::Appear => { prop_assert!(!shown); shown = true; }
                    Action::Vanish => { prop_assert!(shown); shown = false; }
                    Action::None => {}
                }
                prop_assert_eq!(shown, life.is_lit());
            }
        }

        /// The same event twice changes nothing the second time.
        #[test]
        fn events_are_idempotent(first in event(), second in event()) {
            let (life, _) = Life::default().on(first).0.on(second.clone());
            let (again, action) = life.clone().on(second);
            prop_assert_eq!(again, life);
            prop_assert_eq!(action, Action::None);
        }
    }
}
