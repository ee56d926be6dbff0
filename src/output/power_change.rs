//! Changes of an output between powered and blanked (DPMS) that the kernel has not done yet.
//!
//! ```text
//!               Blank, a frame is pending
//!       ┌──────────────────────────────────> BlankQueued ──┐
//!       │                                                  │ Done: blanked
//!   Settled <──────────────────────────────────────────────┤
//!    │  ^ │     Unblank, the kernel is busy                │ Unblank: nothing was done
//!    │  │ └────────────────────────────────> UnblankQueued │
//!    │  │ Ended: powered                       │ Pending   │
//!    │  └─────────────────────────────── Unblanking <──────┘
//!    └──────────────────────────────────────────^ Pending
//! ```
//!
//! The kernel refuses to change `ACTIVE` while a frame, or the last change, is pending on the CRTC.
//! To wait for that in the event loop would stop all displays, so the change is queued. `Unblank`
//! takes `BlankQueued` back, and `Blank` takes `UnblankQueued` back. `Blank` during `Unblanking`
//! cannot: the change back follows at the end.

use std::time::Duration;

use super::outputs::Outputs;
use super::scanout::Target;
use super::{Output, OutputId};

/// See the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PowerChange {
    #[default]
    Settled,
    /// It counts as blanked already, and is committed as soon as the kernel accepts that.
    BlankQueued { since: Duration },
    /// It counts as blanked, and is unblanked as soon as the kernel accepts that.
    UnblankQueued { since: Duration },
    /// The kernel powers the display up, and reports the end as a page flip on `target`. It counts
    /// as blanked until then.
    Unblanking { since: Duration, target: Target, then_blank: bool },
}

/// What a request to blank or unblank an output needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerRequest {
    /// It is, or will be, as requested.
    Nothing,
    /// A commit that changes `ACTIVE`.
    Commit,
    /// As `Commit`, after the pending page flip.
    Queue,
    /// A queued change, or one that the kernel is doing, is taken back.
    TakeBack,
}

impl PowerChange {
    /// Returns whether it waits for the kernel to accept a change to blanked or powered.
    pub fn is_queued(self, blank: bool) -> bool {
        match self {
            Self::BlankQueued { .. } => blank,
            Self::UnblankQueued { .. } => !blank,
            Self::Settled | Self::Unblanking { .. } => false,
        }
    }
}

impl Output {
    /// Returns the change that the kernel has not done yet.
    pub fn power_change(&self) -> PowerChange {
        self.power_change
    }

    pub fn set_power_change(&mut self, change: PowerChange) {
        self.power_change = change;
    }

    /// Returns whether it is blanked, or will be once changes that are under way are done.
    pub fn will_be_blanked(&self) -> bool {
        match self.power_change {
            PowerChange::Settled => self.state.blanked,
            PowerChange::BlankQueued { .. } => true,
            PowerChange::UnblankQueued { .. } => false,
            PowerChange::Unblanking { then_blank, .. } => then_blank,
        }
    }

    /// Returns whether the kernel will report the page flip of its last frame.
    pub fn has_pending_flip(&self) -> bool {
        let scanout = self.scanout.as_ref().filter(|scanout| scanout.target() != Target::Memory);
        scanout.is_some_and(|scanout| scanout.submitted.is_some())
    }

    /// Returns what a request to blank or unblank it needs.
    pub fn power_request(&self, blank: bool) -> PowerRequest {
        match self.power_change {
            _ if self.will_be_blanked() == blank => PowerRequest::Nothing,
            PowerChange::Settled => match blank && self.has_pending_flip() {
                true => PowerRequest::Queue,
                false => PowerRequest::Commit,
            },
            PowerChange::BlankQueued { .. }
            | PowerChange::UnblankQueued { .. }
            | PowerChange::Unblanking { .. } => PowerRequest::TakeBack,
        }
    }
}

impl Outputs {
    /// Returns the output that is being powered up on a CRTC.
    pub fn unblanking_on(&self, on: Target) -> Option<OutputId> {
        let is_on = |output: &&Output| matches!(output.power_change, PowerChange::Unblanking { target, .. } if target == on);
        self.iter().find(is_on).map(|output| output.id)
    }

    /// Returns outputs of a GPU whose change to blanked or powered is queued and can be tried now,
    /// and since when the first one is queued.
    pub fn queued_power_changes(&self, on: u64, blank: bool) -> (Vec<OutputId>, Option<Duration>) {
        let is_on = |output: &Output| {
            output.scanout.as_ref().is_some_and(|scanout| scanout.target().crtc_on(on).is_some())
        };
        let mut ids = Vec::new();
        let mut first = None;
        for output in self.iter().filter(|output| is_on(output) && !output.has_pending_flip()) {
            let (PowerChange::BlankQueued { since } | PowerChange::UnblankQueued { since }) =
                output.power_change
            else {
                continue;
            };
            if output.power_change.is_queued(blank) {
                ids.push(output.id);
                first = Some(first.map_or(since, |first: Duration| first.min(since)));
            }
        }
        (ids, first)
    }

    /// Returns since when the oldest page flip of a GPU's outputs is pending.
    pub fn oldest_pending_flip(&self, on: u64) -> Option<Duration> {
        let scanouts = self.iter().filter_map(|output| output.scanout.as_ref());
        let own = scanouts.filter(|scanout| scanout.target().crtc_on(on).is_some());
        own.filter_map(|scanout| scanout.submitted).min()
    }

    /// Returns whether a change of any output waits for the kernel to accept it.
    pub fn has_queued_power_changes(&self) -> bool {
        self.iter().any(|output| output.power_change.is_queued(true) || output.power_change.is_queued(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: Duration = Duration::from_secs(1);

    fn output(blanked: bool, change: PowerChange) -> Output {
        let mut output = Output::new(OutputId(1), "A");
        output.state.blanked = blanked;
        output.power_change = change;
        output
    }

    #[test]
    fn request_is_compared_with_what_will_be() {
        use PowerRequest::*;
        let unblanking =
            |then_blank| PowerChange::Unblanking { since: SINCE, target: Target::Memory, then_blank };
        let cases = [
            (false, PowerChange::Settled, Commit, Nothing),
            (true, PowerChange::Settled, Nothing, Commit),
            (true, PowerChange::BlankQueued { since: SINCE }, Nothing, TakeBack),
            (true, PowerChange::UnblankQueued { since: SINCE }, TakeBack, Nothing),
            (true, unblanking(false), TakeBack, Nothing),
            (true, unblanking(true), Nothing, TakeBack),
        ];
        for (blanked, change, blank, unblank) in cases {
            let output = output(blanked, change);
            assert_eq!(
                (output.power_request(true), output.power_request(false)),
                (blank, unblank),
                "{change:?}"
            );
        }
    }
}
