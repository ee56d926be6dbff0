//! Changes of displays that a person or a tool asks for: tested by TEST_ONLY commits, committed, and rolled back if they are not
//! confirmed. The control socket and wlr-output-management both end here.

use std::collections::BTreeMap;
use std::time::Duration;

use geom_display::mode::Mode;
use geom_display::output_config::{OutputConfig, Position};
use geom_display::signal_format::SignalFormat;
use tracing::{debug, info, warn};

use super::deadline::Deadline;
use super::output_config::Resolution;
use super::State;
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

/// A change that waits for confirmation.
#[derive(Debug)]
pub struct Unconfirmed {
    /// The request that applied before.
    before: Option<OutputConfig>,
    timer: Timer,
}

/// What one output is, or would be.
struct Given<'a> {
    mode: Option<Mode>,
    signal: SignalFormat,
    position: (i32, i32),
    warnings: &'a [String],
}

/// Returns why what is given does not meet a request. `given` is `None` for an output that is not enabled.
fn unmet(requested: &OutputConfig, given: Option<&Given<'_>>, exact_positions: bool) -> Option<String> {
    let Some(given) = given else {
        let must_be_enabled = requested.power == Some(true) || requested.mode.is_some();
        return must_be_enabled.then(|| "it cannot be enabled".to_owned());
    };
    if requested.power == Some(false) {
        return Some("it cannot be disabled".to_owned());
    }
    let mode = requested.mode.is_none_or(|mode| given.mode.is_some_and(|given| mode.matches(&given)));
    let signal = requested.signal.matches(&given.signal);
    let position = !exact_positions
        || requested.position.as_ref().is_none_or(|position| {
            *position == Position::At(given.position.0, given.position.1)
        });
    if mode && signal && position {
        return None;
    }
    match given.warnings.is_empty() {
        true => Some("the kernel refuses it".to_owned()),
        false => Some(given.warnings.join("; ")),
    }
}

impl State {
    /// Tests a transaction without changing a display.
    ///
    /// # Errors
    /// Which display would not be as requested, and why.
    pub fn test_transaction(&mut self, transaction: &OutputTransaction) -> Result<(), String> {
        let before = self.overrides.clone();
        self.stage_transaction(transaction);
        let tested = self.test_staged(transaction);
        self.overrides = before;
        tested
    }

    /// Tests a transaction, and commits it if the test passed.
    ///
    /// # Errors
    /// Which display would not be as requested, and why. All displays are as before then.
    pub fn apply_transaction(
        &mut self,
        transaction: &OutputTransaction,
        cause: &'static str,
    ) -> Result<(), String> {
        let before = self.overrides.clone();
        self.stage_transaction(transaction);
        if let Err(why) = self.test_staged(transaction) {
            debug!(cause, why, "test commit of a requested change failed");
            self.overrides = before;
            return Err(why);
        }
        self.reconfigure(cause);
        // The legacy KMS calls have no test, and a commit may fail although its test passed.
        if let Err(why) = self.check_committed(transaction) {
            warn!(cause, why, "requested change failed: rolling back");
            self.overrides = before;
            self.reconfigure("transaction rolled back");
            return Err(why);
        }
        if let Some(within) = transaction.confirm_within {
            for display in transaction.changes.keys() {
                self.start_confirmation(display, before.get(display).cloned(), within);
            }
        }
        Ok(())
    }

    fn stage_transaction(&mut self, transaction: &OutputTransaction) {
        for (name, requested) in &transaction.changes {
            let config = self.overrides.entry(name.clone()).or_default();
            *config = config.overridden_by(requested);
            if transaction.reset_modes.contains(name) {
                config.mode = None;
            }
        }
    }

    fn test_staged(&mut self, transaction: &OutputTransaction) -> Result<(), String> {
        let Resolution { enabled, .. } = self.test_resolution();
        for (name, requested) in self.testable(transaction) {
            let resolved = enabled.iter().find(|resolved| resolved.planned.name == *name);
            let given = resolved.map(|resolved| Given {
                mode: Some(resolved.mode),
                signal: resolved.signal,
                position: (resolved.planned.logical.x, resolved.planned.logical.y),
                warnings: &resolved.warnings,
            });
            if let Some(why) = unmet(requested, given.as_ref(), transaction.exact_positions) {
                return Err(format!("{name} stays as it was: {why}"));
            }
        }
        Ok(())
    }

    fn check_committed(&self, transaction: &OutputTransaction) -> Result<(), String> {
        for (name, requested) in self.testable(transaction) {
            let output = self.outputs.named(name).filter(|output| output.is_enabled());
            let given = output.map(|output| Given {
                mode: output.mode,
                signal: output.signal,
                position: (output.logical.x, output.logical.y),
                warnings: &output.warnings,
            });
            if let Some(why) = unmet(requested, given.as_ref(), transaction.exact_positions) {
                return Err(format!("{name} stays as it was: {why}"));
            }
        }
        Ok(())
    }

    /// Requests for disconnected displays are kept for their monitors' return and cannot be tested.
    fn testable<'a>(
        &self,
        transaction: &'a OutputTransaction,
    ) -> impl Iterator<Item = (&'a String, &'a OutputConfig)> {
        let present = self.backend.present();
        let connectors = present.iter().flat_map(|gpu| &gpu.connectors);
        let connected: Vec<String> =
            connectors.filter(|connector| connector.connected).map(|connector| connector.name.clone()).collect();
        transaction.changes.iter().filter(move |(name, _)| connected.contains(name))
    }

    /// Waits for the confirmation of a change that `before` applied in place of.
    fn start_confirmation(&mut self, display: &str, before: Option<OutputConfig>, within: Duration) {
        // A change over an unconfirmed one rolls back to what was confirmed last.
        let before = match self.unconfirmed.remove(display) {
            Some(earlier) => {
                self.timers.cancel(earlier.timer);
                earlier.before
            }
            None => before,
        };
        let at = self.now() + within;
        let timer = self.timers.at(at, Deadline::ConfirmationExpired { display: display.to_owned() });
        self.unconfirmed.insert(display.to_owned(), Unconfirmed { before, timer });
    }

    /// Confirms or rejects a change. Returns whether one was waiting.
    pub fn confirm(&mut self, name: &str, keep: bool) -> bool {
        let Some(change) = self.unconfirmed.get(name) else { return false };
        self.timers.cancel(change.timer);
        info!(display = name, keep, "change confirmed or rejected");
        if keep {
            self.unconfirmed.remove(name);
        } else {
            self.roll_back(name);
        }
        true
    }

    /// Restores the request that applied before an unconfirmed change.
    pub fn roll_back(&mut self, display: &str) {
        let Some(change) = self.unconfirmed.remove(display) else { return };
        match change.before {
            Some(before) => self.overrides.insert(display.to_owned(), before),
            None => self.overrides.remove(display),
        };
        self.reconfigure("not confirmed");
    }

    /// Drops all requested changes: a configuration that is read again applies alone.
    pub fn discard_overrides(&mut self) {
        self.overrides.clear();
        self.unconfirmed.clear();
    }
}
