//! Changes of displays that a person or a tool asks for: tested by TEST_ONLY commits, committed,
//! and rolled back if they are not confirmed. The control socket and wlr-output-management both end
//! here.

use geom_display::output_config::OutputConfig;
use tracing::{debug, info, warn};

use super::deadline::Deadline;
use super::State;
use crate::output::requests::{mismatch, OutputResult, OutputTransaction};
use crate::output::resolution::Resolution;

impl State {
    /// Tests a transaction without changing a display.
    ///
    /// # Errors
    /// Which display would not be as requested, and why.
    pub fn test_transaction(&mut self, transaction: &OutputTransaction) -> Result<(), String> {
        self.check_not_paused()?;
        let before = self.requests.stage(transaction);
        let tested = self.test_staged(transaction);
        self.requests.restore(before);
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
        self.check_not_paused()?;
        let before = self.requests.stage(transaction);
        if let Err(why) = self.test_staged(transaction) {
            debug!(cause, why, "test commit of a requested change failed");
            self.requests.restore(before);
            return Err(why);
        }
        self.reconfigure(cause);
        // The legacy KMS calls have no test, and a commit may fail although its test passed.
        if let Err(why) = self.check_committed(transaction) {
            warn!(cause, why, "requested change failed: rolling back");
            self.requests.restore(before);
            self.reconfigure("transaction rolled back");
            return Err(why);
        }
        let Some(within) = transaction.confirm_within else { return Ok(()) };
        let at = self.now() + within;
        for display in transaction.changes.keys() {
            let timer = self.timers.at(at, Deadline::ConfirmationExpired { display: display.clone() });
            let before = before.get(display).cloned();
            if let Some(replaced) = self.requests.await_confirmation(display, before, timer) {
                self.timers.cancel(replaced);
            }
        }
        Ok(())
    }

    /// While the session is paused, the kernel takes no commit, and a test would say so of any
    /// change.
    fn check_not_paused(&self) -> Result<(), String> {
        match self.backend.is_paused() {
            true => Err(self.backend.pause_reason().to_owned()),
            false => Ok(()),
        }
    }

    /// Drops all requests, and the timers of changes that were not confirmed: they would roll back
    /// later changes.
    pub fn discard_requests(&mut self) {
        for timer in self.requests.discard() {
            self.timers.cancel(timer);
        }
    }

    fn test_staged(&mut self, transaction: &OutputTransaction) -> Result<(), String> {
        let Resolution { enabled, .. } = self.test_resolution();
        self.check(transaction, |name| {
            let resolved = enabled.iter().find(|resolved| resolved.planned.name == name)?;
            Some(OutputResult {
                mode: Some(resolved.mode),
                signal: resolved.signal,
                position: (resolved.planned.logical.x, resolved.planned.logical.y),
                warnings: &resolved.warnings,
            })
        })
    }

    fn check_committed(&self, transaction: &OutputTransaction) -> Result<(), String> {
        self.check(transaction, |name| {
            let output = self.outputs.named(name).filter(|output| output.is_enabled())?;
            Some(OutputResult {
                mode: output.state().mode,
                signal: output.state().signal,
                position: (output.state().logical.x, output.state().logical.y),
                warnings: &output.state().warnings,
            })
        })
    }

    /// Checks what became of each display of a transaction; `None` is one that is not enabled.
    fn check<'a>(
        &self,
        transaction: &OutputTransaction,
        result: impl Fn(&str) -> Option<OutputResult<'a>>,
    ) -> Result<(), String> {
        for (name, requested) in self.testable(transaction) {
            if let Some(why) = mismatch(requested, result(name).as_ref(), transaction.exact_positions) {
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
        let present = self.backend.probed();
        let connectors = present.iter().flat_map(|gpu| &gpu.connectors);
        let connected: Vec<String> = connectors
            .filter(|connector| connector.connected)
            .map(|connector| connector.name.clone())
            .collect();
        transaction.changes.iter().filter(move |(name, _)| connected.contains(name))
    }

    /// Confirms or rejects a change. Returns whether one was waiting.
    pub fn confirm(&mut self, name: &str, keep: bool) -> bool {
        let timer = if keep { self.requests.confirm(name) } else { self.requests.roll_back(name) };
        let Some(timer) = timer else { return false };
        self.timers.cancel(timer);
        info!(display = name, keep, "change confirmed or rejected");
        if !keep {
            self.reconfigure("not confirmed");
        }
        true
    }

    /// A change was not confirmed in time.
    pub fn confirmation_expired(&mut self, name: &str) {
        if self.requests.roll_back(name).is_some() {
            warn!(display = name, "change not confirmed in time: rolling back");
            self.reconfigure("not confirmed");
        }
    }
}
