//! Displays that the kernel refuses to unblank: they are tried again until they are on.
//!
//! NVIDIA Pascal and AMD GPUs with GFXOFF drop the first commits that power a connector up
//! (aquamarine #275), and an MST hub that slept may have no bandwidth for a moment. So the same
//! commit is tried again first, and then a full output configuration with its search over signals
//! and modes. Without that, a display would stay black until a person gives a command.

use std::collections::BTreeSet;
use std::time::Duration;

use geom_display::lifecycle::Lifecycle;
use tracing::debug;

use super::{Cx, Effect, Effects, Power, PowerDeadline};
use crate::event_loop::backoff::Backoff;

/// When a refused display is tried again: 100 ms after the first failure, then less often, without
/// end.
const UNBLANK_RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));

/// After this many failures, the outputs are configured again in place of the plain commit.
const PLAIN_TRIES: u32 = 4;

/// The displays that the kernel refuses to unblank, by connector.
#[derive(Debug, Default)]
pub struct RefusedUnblanks {
    displays: BTreeSet<String>,
    /// Consecutive failures.
    failures: u32,
    last_try: Duration,
    /// When they are tried again; `None` while outputs may not be changed.
    due: Option<Duration>,
}

impl Power {
    /// The kernel refused to unblank these displays, or outputs may not be changed now: they are
    /// tried again.
    pub fn unblank_refused(&mut self, displays: Vec<String>, cx: &Cx<'_>) -> Effects {
        let refused = &mut self.refused;
        refused.displays.extend(displays);
        refused.last_try = cx.now;
        refused.due = None;
        if cx.is_paused {
            // What ends the pause counts as input.
            return Effects::new();
        }
        refused.failures = refused.failures.saturating_add(1);
        let Some(delay) = UNBLANK_RETRY.delay_after(refused.failures) else { return Effects::new() };
        let at = cx.now + delay;
        refused.due = Some(at);
        debug!(displays = ?refused.displays, ?delay, "unblanking refused; trying again");
        vec![Effect::Arm { deadline: PowerDeadline::RetryUnblank, at }]
    }

    /// A display was unblanked, or shall stay blanked: it is not tried again. Returns whether it
    /// would have been.
    pub fn forget_refused(&mut self, display: &str) -> bool {
        let is_refused = self.refused.displays.remove(display);
        if self.refused.displays.is_empty() {
            self.refused = RefusedUnblanks::default();
        }
        is_refused
    }

    /// Handles [`PowerDeadline::RetryUnblank`].
    pub fn retry_unblank(&mut self, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        // Input may have caused a try meanwhile, which armed a later one.
        if self.refused.due.is_some_and(|due| due <= cx.now) {
            self.unblank_refused_again(cx, &mut effects);
        }
        effects
    }

    /// Tries refused displays again at input, unless they were tried just now.
    pub(super) fn retry_unblank_at_input(&mut self, cx: &Cx<'_>, effects: &mut Effects) {
        let is_recent =
            UNBLANK_RETRY.delay_after(1).is_some_and(|delay| cx.now < self.refused.last_try + delay);
        // After a pause there is no time to wait for.
        if self.refused.due.is_none() || !is_recent {
            self.unblank_refused_again(cx, effects);
        }
    }

    /// Returns whether the kernel refused to unblank displays, and all others are blanked too: the
    /// user sees nothing.
    pub(super) fn shows_nothing(&self, cx: &Cx<'_>) -> bool {
        let mut enabled = cx.outputs.iter().filter(|output| output.is_enabled());
        !self.refused.displays.is_empty() && enabled.all(|output| output.state().blanked)
    }

    /// Returns the displays that were refused, and forgets them.
    pub(super) fn take_refused(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.refused).displays
    }

    fn unblank_refused_again(&mut self, cx: &Cx<'_>, effects: &mut Effects) {
        let is_wanted = |name: &String| {
            cx.outputs.named(name).is_some_and(|output| {
                let is_blanked = output.is_enabled() && output.will_be_blanked();
                // The full configuration may have found no mode.
                is_blanked || matches!(output.lifecycle(), Lifecycle::Failed(_))
            })
        };
        self.refused.displays.retain(is_wanted);
        if self.refused.displays.is_empty() {
            self.refused = RefusedUnblanks::default();
            return;
        }
        self.refused.due = None;
        let names = self.refused.displays.iter().cloned().collect();
        effects.push(match self.refused.failures < PLAIN_TRIES {
            true => Effect::Unblank(names),
            false => Effect::UnblankByModeset(names),
        });
    }
}
