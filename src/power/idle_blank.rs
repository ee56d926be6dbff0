//! Idle blanking: outputs are powered down (DPMS) until the next input.
//!
//! ```text
//!              idle timer, power button, lid over all outputs
//!   unblanked ───────────────────────────────────────────────> blanked ──┐ an output is enabled:
//!       ^                                                         │  ^   │ it starts blanked
//!       └───────────── input, a new monitor, lid opened ──────────┘  └───┘
//! ```
//!
//! A blanked output stays blanked whatever its connector does: a monitor that sleeps may drop its
//! link and come back, which would otherwise unblank it again and again. What the kernel refuses to
//! unblank is tried again (`unblank_retry.rs`).

use std::collections::BTreeMap;

use geom_display::identity::Identity;
use tracing::info;

use super::idle::IdleTimer;
use super::logind::Request;
use super::{Cx, Effect, Effects, IdleTimerId, Power, PowerDeadline};
use crate::output::Output;

/// The displays that are blanked until the next input, by connector, and the monitor of each.
///
/// Not by [`OutputId`](crate::output::OutputId): what is pending in the kernel belongs to the
/// connector, and the connector of a hub may come back as another output.
#[derive(Debug, Default)]
pub struct Blanked(BTreeMap<String, Option<Identity>>);

impl Power {
    /// Returns whether outputs are blanked until the next input.
    pub fn is_idle_blanked(&self) -> bool {
        self.blanked.is_some()
    }

    /// Notes input from the user: resets idle timers and unblanks outputs. Returns whether it
    /// unblanks outputs; such input does nothing else.
    pub fn activity(&mut self, cx: &Cx<'_>) -> (bool, Effects) {
        self.idle.note_input(cx.now);
        let mut effects = Effects::new();
        for (id, timer) in &mut self.timers {
            if std::mem::take(&mut timer.is_idle) {
                effects.push(Effect::NotifyIdle { timer: *id, is_idle: false });
            }
        }
        let blank_timer = self.blank_timer.as_mut();
        let was_idle = blank_timer.is_some_and(|timer| std::mem::take(&mut timer.is_idle));
        if was_idle || !effects.is_empty() {
            self.arm_idle_check(&mut effects);
        }
        // A closing lid may press keys.
        if self.lid_covers_all(cx) {
            return (false, effects);
        }
        let unblanks = self.is_idle_blanked() || self.shows_nothing(cx);
        if self.is_idle_blanked() {
            self.unblank_all(cx, &mut effects);
        }
        self.retry_unblank_at_input(cx, &mut effects);
        (unblanks, effects)
    }

    /// Adds a client's idle timer.
    pub fn add_idle_timer(
        &mut self,
        timeout: std::time::Duration,
        is_inhibitable: bool,
    ) -> (IdleTimerId, Effects) {
        self.last_timer += 1;
        let id = IdleTimerId(self.last_timer);
        self.timers.push((id, IdleTimer::new(timeout, is_inhibitable)));
        let mut effects = Effects::new();
        self.arm_idle_check(&mut effects);
        (id, effects)
    }

    /// Removes a client's idle timer.
    pub fn remove_idle_timer(&mut self, id: IdleTimerId) {
        self.timers.retain(|(known, _)| *known != id);
    }

    /// The last inhibitor ended: inhibitable timers count from now.
    pub fn inhibitor_ended(&mut self, cx: &Cx<'_>) -> Effects {
        self.idle.note_inhibited(cx.now);
        let mut effects = Effects::new();
        self.arm_idle_check(&mut effects);
        effects
    }

    /// Arms the next idle check. One that is armed for an earlier time stays: it arms the next one,
    /// and most input only makes timers run out later.
    pub(super) fn arm_idle_check(&mut self, effects: &mut Effects) {
        let timers = self.timers.iter().map(|(_, timer)| timer).chain(&self.blank_timer);
        let Some(at) = self.idle.next(timers) else { return };
        if self.idle_check_at.is_none_or(|armed| armed > at) {
            self.idle_check_at = Some(at);
            effects.push(Effect::ArmIdleCheck { at });
        }
    }

    /// Runs the idle check: notifies clients whose timer has run out, and blanks outputs.
    /// `is_inhibited` says that a visible surface inhibits idleness.
    pub fn check_idle(&mut self, is_inhibited: bool, cx: &Cx<'_>) -> Effects {
        self.idle_check_at = None;
        if cx.is_paused || (cx.is_kms && !cx.has_input_devices) {
            // The user is at the VT's other session. And without an input device, nothing would
            // unblank displays.
            self.idle.note_input(cx.now);
        }
        if is_inhibited {
            self.idle.note_inhibited(cx.now);
        }
        let idle = self.idle;
        let mut effects = Effects::new();
        for (id, timer) in &mut self.timers {
            if idle.is_due(timer, cx.now) {
                timer.is_idle = true;
                effects.push(Effect::NotifyIdle { timer: *id, is_idle: true });
            }
        }
        let blanks = self.blank_timer.as_mut().is_some_and(|timer| {
            timer.is_idle |= idle.is_due(timer, cx.now);
            timer.is_idle
        });
        if blanks {
            self.blank_all("idle", cx, &mut effects);
        }
        self.arm_idle_check(&mut effects);
        effects
    }

    /// Blanks all enabled outputs until the next input, because the user wants it.
    pub fn blank_until_input(&mut self, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        self.blank_all("shortcut", cx, &mut effects);
        effects
    }

    /// Blanks all enabled outputs until the next input.
    pub(super) fn blank_all(&mut self, cause: &str, cx: &Cx<'_>, effects: &mut Effects) {
        if self.is_idle_blanked() {
            return;
        }
        // The next input unblanks those too that could not be unblanked before.
        let refused = self.take_refused();
        let is_on = |output: &&Output| output.is_enabled() && !output.will_be_blanked();
        let outputs: Vec<_> =
            cx.outputs.iter().filter(|output| is_on(output) || refused.contains(&output.name)).collect();
        let names: Vec<String> =
            outputs.iter().filter(|output| is_on(output)).map(|output| output.name.clone()).collect();
        info!(displays = names.join(" "), cause, "blanking displays until the next input");
        let monitors =
            outputs.iter().map(|output| (output.name.clone(), output.state().monitor.identity.clone()));
        self.blanked = Some(Blanked(monitors.collect()));
        effects.push(Effect::Blank(names));
        effects.extend(self.logind.ask(Request::IdleHint(true)));
    }

    /// An output could not be blanked: it stays on.
    pub fn blank_failed(&mut self, display: &str) {
        if let Some(Blanked(displays)) = &mut self.blanked {
            displays.remove(display);
        }
    }

    /// Ends the blanking of all outputs.
    pub(super) fn unblank_all(&mut self, cx: &Cx<'_>, effects: &mut Effects) {
        let Some(Blanked(displays)) = self.blanked.take() else { return };
        info!("unblanking displays");
        let is_enabled = |name: &String| cx.outputs.named(name).is_some_and(|output| output.is_enabled());
        let (enabled, others): (Vec<_>, Vec<_>) = displays.into_keys().partition(is_enabled);
        effects.push(Effect::Unblank(enabled));
        let pending = |display| Effect::SetPendingActive { display, active: true };
        effects.extend(others.into_iter().map(pending));
        effects.extend(self.logind.ask(Request::IdleHint(false)));
    }

    /// An output is about to be enabled: it starts blanked if all outputs are. `monitor` is `None`
    /// for a monitor without an EDID.
    pub fn keep_blanked(&mut self, display: &str, monitor: Option<&Identity>, cx: &Cx<'_>) -> Effects {
        let Some(Blanked(displays)) = &mut self.blanked else { return Effects::new() };
        // A monitor that sleeps may not answer with its EDID.
        let is_new = monitor.is_some() && !displays.values().any(|known| known.as_ref() == monitor);
        displays.entry(display.to_owned()).or_insert_with(|| monitor.cloned());
        let mut effects = vec![Effect::SetPendingActive { display: display.to_owned(), active: false }];
        if is_new {
            // The user has plugged it in. Not at once: a commit is being prepared.
            effects.push(Effect::Arm { deadline: PowerDeadline::Activity, at: cx.now });
        }
        effects
    }
}
