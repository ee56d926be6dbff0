//! Connectors that have a monitor but no mode yet.
//!
//! A monitor that wakes, or an adapter that starts, may answer with its EDID a second after it is
//! connected, and not every driver reports that by another hotplug event.

use std::collections::BTreeSet;
use std::time::Duration;

use geom_display::plan::{desktop_connectors, ProbedGpu};
use tracing::debug;

use super::deadline::Deadline;
use super::State;
use crate::event_loop::backoff::Backoff;

/// When such a connector is probed again: 1 s after it was seen first, 31 s at last.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(16)).with_max_retries(5);

/// The connectors that have a monitor but no mode.
#[derive(Debug, Default)]
pub struct LateModes {
    connectors: BTreeSet<String>,
    /// How often they were probed again.
    probes: u32,
    is_armed: bool,
}

impl State {
    /// Arms the next probe if a connector has a monitor without modes.
    pub fn await_modes(&mut self, present: &[ProbedGpu]) {
        let (connected, usable) = desktop_connectors(present);
        let connectors: BTreeSet<String> = connected.difference(&usable).cloned().collect();
        let late = &mut self.late_modes;
        if late.connectors != connectors {
            (late.connectors, late.probes) = (connectors, 0);
        }
        if late.connectors.is_empty() || late.is_armed {
            return;
        }
        let Some(delay) = RETRY.delay_after(late.probes + 1) else { return };
        debug!(connectors = ?late.connectors, ?delay, "monitor without modes; probing again");
        late.is_armed = true;
        let at = self.now() + delay;
        self.timers.at(at, Deadline::ProbeLateModes);
    }

    /// Probes connectors again that had no mode.
    pub fn probe_late_modes(&mut self) {
        self.late_modes.is_armed = false;
        // During a pause nothing is probed; its end probes everything.
        if !self.backend.is_paused() {
            self.late_modes.probes += 1;
            self.with_kms(|kms, _| kms.probe_without_modes());
        }
    }
}
