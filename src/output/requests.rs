//! Requests of control clients and tools for displays, and those that wait for confirmation. They
//! override the configuration until it is read again.

use std::collections::BTreeMap;
use std::time::Duration;

use geom_display::mode::Mode;
use geom_display::output_config::{OutputConfig, Position};
use geom_display::signal_format::SignalFormat;

use crate::event_loop::timers::Timer;

/// A request to change displays, all of them or none.
#[derive(Debug, Default)]
pub struct OutputTransaction {
    /// The requested settings, by display; what is `None` stays as it is.
    pub changes: BTreeMap<String, OutputConfig>,
    /// Displays that go back to the mode of the configuration, or else to their preferred one.
    pub reset_modes: Vec<String>,
    /// A position that the layout cannot give is a refusal.
    pub exact_positions: bool,
    /// Without a confirmation within this time, the change is rolled back.
    pub confirm_within: Option<Duration>,
}

/// What an output is after a commit, or would be after a test commit.
pub struct OutputResult<'a> {
    pub mode: Option<Mode>,
    pub signal: SignalFormat,
    /// Its top left corner, in logical pixels.
    pub position: (i32, i32),
    /// Settings that could not be applied, and why.
    pub warnings: &'a [String],
}

/// Returns why an output does not meet a request. `given` is `None` if the output is not enabled.
pub fn mismatch(
    requested: &OutputConfig,
    given: Option<&OutputResult<'_>>,
    exact_positions: bool,
) -> Option<String> {
    let Some(given) = given else {
        let must_be_enabled = requested.enabled == Some(true) || requested.mode.is_some();
        return must_be_enabled.then(|| "it cannot be enabled".to_owned());
    };
    if requested.enabled == Some(false) {
        return Some("it cannot be disabled".to_owned());
    }
    let has_mode = requested.mode.is_none_or(|mode| given.mode.is_some_and(|given| mode.matches(&given)));
    let has_signal = requested.signal.matches(&given.signal);
    let is_there = |position: &Position| *position == Position::At(given.position.0, given.position.1);
    let has_position = !exact_positions || requested.position.as_ref().is_none_or(is_there);
    if has_mode && has_signal && has_position {
        return None;
    }
    match given.warnings.is_empty() {
        true => Some("the kernel refuses it".to_owned()),
        false => Some(given.warnings.join("; ")),
    }
}

/// A change that waits for confirmation.
#[derive(Debug)]
struct Unconfirmed {
    /// The request that applied before.
    before: Option<OutputConfig>,
    timer: Timer,
}

/// All requests that apply, by display.
#[derive(Debug, Default)]
pub struct OutputRequests {
    requested: BTreeMap<String, OutputConfig>,
    unconfirmed: BTreeMap<String, Unconfirmed>,
}

impl OutputRequests {
    /// Iterates over the requests that override the configuration.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &OutputConfig)> {
        self.requested.iter()
    }

    /// Adds a transaction's changes. Returns the requests as they were before, for
    /// [`Self::restore`].
    pub fn stage(&mut self, transaction: &OutputTransaction) -> BTreeMap<String, OutputConfig> {
        let before = self.requested.clone();
        for (name, change) in &transaction.changes {
            let config = self.requested.entry(name.clone()).or_default();
            *config = config.overridden_by(change);
            if transaction.reset_modes.contains(name) {
                config.mode = None;
            }
        }
        before
    }

    /// Goes back to the requests before a transaction.
    pub fn restore(&mut self, before: BTreeMap<String, OutputConfig>) {
        self.requested = before;
    }

    /// A display's change has to be confirmed before `timer` ends; without that, `before` applies
    /// again. Returns the timer of an unconfirmed change that this one replaces: a rollback goes to
    /// what was confirmed last.
    pub fn await_confirmation(
        &mut self,
        display: &str,
        before: Option<OutputConfig>,
        timer: Timer,
    ) -> Option<Timer> {
        let earlier = self.unconfirmed.remove(display);
        let (before, replaced) = match earlier {
            Some(earlier) => (earlier.before, Some(earlier.timer)),
            None => (before, None),
        };
        self.unconfirmed.insert(display.to_owned(), Unconfirmed { before, timer });
        replaced
    }

    /// Confirms a display's change. Returns its timer if one was waiting.
    pub fn confirm(&mut self, display: &str) -> Option<Timer> {
        self.unconfirmed.remove(display).map(|change| change.timer)
    }

    /// Restores the request that applied before an unconfirmed change. Returns the change's timer
    /// if one was waiting.
    pub fn roll_back(&mut self, display: &str) -> Option<Timer> {
        let change = self.unconfirmed.remove(display)?;
        match change.before {
            Some(before) => self.requested.insert(display.to_owned(), before),
            None => self.requested.remove(display),
        };
        Some(change.timer)
    }

    /// Drops all requests: a configuration that is read again applies alone. Returns the timers of
    /// changes that were not confirmed.
    pub fn discard(&mut self) -> Vec<Timer> {
        self.requested.clear();
        std::mem::take(&mut self.unconfirmed).into_values().map(|change| change.timer).collect()
    }

    /// Takes a display's request away, to be given back by [`Self::insert`] when its monitor is at
    /// another connector. A change that is not confirmed is rolled back: the user may have pulled
    /// the plug because of it. Returns the change's timer as well.
    pub fn take(&mut self, display: &str) -> (Option<OutputConfig>, Option<Timer>) {
        let timer = self.roll_back(display);
        (self.requested.remove(display), timer)
    }

    /// Gives a request to the display that its monitor is at now.
    pub fn insert(&mut self, display: &str, request: OutputConfig) {
        self.requested.insert(display.to_owned(), request);
    }
}

#[cfg(test)]
mod tests {
    use geom_display::output_config::Transform;

    use super::*;
    use crate::event_loop::timers::Timers;

    fn scaled(scale: f64) -> OutputConfig {
        OutputConfig { scale: Some(scale), ..OutputConfig::default() }
    }

    fn change(config: OutputConfig) -> OutputTransaction {
        OutputTransaction {
            changes: BTreeMap::from([("A".to_owned(), config)]),
            ..OutputTransaction::default()
        }
    }

    fn of(requests: &OutputRequests) -> Option<OutputConfig> {
        requests.iter().find(|(name, _)| *name == "A").map(|(_, config)| config.clone())
    }

    /// Its timer would roll back a later change.
    #[test]
    fn discarded_changes_return_their_timers() {
        let mut requests = OutputRequests::default();
        let mut timers = Timers::<()>::default();
        let timer = timers.at(std::time::Duration::ZERO, ());
        requests.stage(&change(scaled(2.0)));
        assert_eq!(requests.await_confirmation("A", None, timer), None);
        assert_eq!(requests.discard(), [timer]);
        assert_eq!((of(&requests), requests.roll_back("A")), (None, None));
    }

    /// A monitor that is pulled because of a change is not shown it at another connector.
    #[test]
    fn change_that_is_not_confirmed_does_not_follow_its_monitor() {
        let mut requests = OutputRequests::default();
        let mut timers = Timers::<()>::default();
        let timer = timers.at(std::time::Duration::ZERO, ());
        requests.stage(&change(scaled(2.0)));
        requests.await_confirmation("A", Some(scaled(1.5)), timer);
        assert_eq!(requests.take("A"), (Some(scaled(1.5)), Some(timer)));
        assert_eq!((of(&requests), requests.confirm("A")), (None, None));
    }

    #[test]
    fn changes_add_up_and_can_be_restored() {
        let mut requests = OutputRequests::default();
        requests.stage(&change(scaled(2.0)));
        let turned = OutputConfig { transform: Some(Transform::Rotated90), ..OutputConfig::default() };
        let before = requests.stage(&change(turned));
        let both = of(&requests).expect("a request");
        assert_eq!((both.scale, both.transform), (Some(2.0), Some(Transform::Rotated90)));
        requests.restore(before);
        assert_eq!(of(&requests), Some(scaled(2.0)));
    }

    #[test]
    fn preferred_mode_resets_the_requested_mode() {
        let mut requests = OutputRequests::default();
        let mode = OutputConfig { mode: "800x600".parse().ok(), ..OutputConfig::default() };
        assert!(mode.mode.is_some());
        requests.stage(&change(mode));
        let mut reset = change(OutputConfig::default());
        reset.reset_modes.push("A".into());
        requests.stage(&reset);
        assert_eq!(of(&requests), Some(OutputConfig::default()));
    }

    #[test]
    fn rollback_goes_to_what_was_confirmed_last() {
        let mut timers = Timers::default();
        let mut requests = OutputRequests::default();
        let before = requests.stage(&change(scaled(1.5)));
        let first = timers.at(Duration::ZERO, ());
        assert_eq!(requests.await_confirmation("A", before.get("A").cloned(), first), None);
        let before = requests.stage(&change(scaled(2.0)));
        let second = timers.at(Duration::ZERO, ());
        assert_eq!(requests.await_confirmation("A", before.get("A").cloned(), second), Some(first));
        assert_eq!(requests.roll_back("A"), Some(second));
        assert_eq!(of(&requests), None, "nothing was ever confirmed");
        assert_eq!(requests.roll_back("A"), None);
        assert_eq!(requests.confirm("A"), None);
    }

    #[test]
    fn mismatch_names_what_the_kernel_refused() {
        let warnings = ["the kernel refuses 10 bits per color".to_owned()];
        let given = OutputResult {
            mode: None,
            signal: SignalFormat::default(),
            position: (0, 0),
            warnings: &warnings,
        };
        let mode = OutputConfig { mode: "800x600".parse().ok(), ..OutputConfig::default() };
        assert_eq!(mismatch(&mode, Some(&given), false).as_deref(), Some(warnings[0].as_str()));
        assert!(mismatch(&mode, None, false).is_some());
        assert_eq!(mismatch(&OutputConfig::default(), None, false), None);
        let off = OutputConfig { enabled: Some(false), ..OutputConfig::default() };
        assert_eq!(mismatch(&off, None, false), None);
        assert!(mismatch(&off, Some(&given), false).is_some());
        let moved = OutputConfig { position: Some(Position::At(5, 0)), ..OutputConfig::default() };
        assert_eq!(mismatch(&moved, Some(&given), false), None);
        assert!(mismatch(&moved, Some(&given), true).is_some());
    }
}
