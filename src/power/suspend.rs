//! System sleep: nothing is asked of the kernel during it, and all outputs are configured again
//! after it.

use std::time::Duration;

use tracing::info;

use super::{Cx, Effect, Effects, Power};

/// Two clocks are read one after the other: up to this difference is no sleep.
const MIN_SLEEP: Duration = Duration::from_millis(100);

/// The system has slept. Monitors may have been changed, and the hardware may have lost its state.
pub(super) fn resume(source: &'static str) -> [Effect; 2] {
    info!(source, "system resumed");
    [Effect::Resume, Effect::Activity]
}

impl Power {
    /// Notes how long the system has slept in total (see
    /// [`slept`](super::resume_detect::slept)), at the start and after a resume.
    pub fn note_slept(&mut self, slept: Duration) {
        self.slept = slept;
    }

    /// The wall clock was set, or the system has slept without an event of logind.
    pub fn clock_changed(&mut self, slept: Duration, cx: &Cx<'_>) -> Effects {
        if cx.is_asleep {
            // logind will report the resume.
            Effects::new()
        } else if slept.saturating_sub(self.slept) > MIN_SLEEP {
            resume("clock").into()
        } else {
            info!("wall clock was set");
            vec![Effect::ClockSet]
        }
    }
}
