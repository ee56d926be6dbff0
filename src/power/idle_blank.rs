//! Displays without light while nobody is there.
//!
//! What went dark stays so until somebody gives a sign of life, whatever its connector does: monitors that sleep drop their link and come back,
//! and would wake themselves for ever.

use std::collections::BTreeMap;

use tracing::info;
use geom_display::identity::Identity;

use super::idle::IdleTimer;
use super::{Power, HeldInput};
use crate::backend::Backend;
use crate::compositor::deadline::Deadline;
use crate::compositor::State;

/// Displays that are dark until somebody comes, and whose monitors they are.
#[derive(Debug, Default)]
pub(super) struct IdleBlank(BTreeMap<String, Option<Identity>>);

impl Power {
    pub fn is_idle_blanked(&self) -> bool {
        self.dark.is_some()
    }
}

impl State {
    /// Something was moved, pressed or touched. Whether that woke displays, and is to do nothing else.
    pub fn activity(&mut self) -> bool {
        let now = self.iteration_start();
        self.power.idle.input(now);
        let mut returned = false;
        for watch in self.protocols.idle.timers_mut().chain(&mut self.power.blanking) {
            returned |= std::mem::take(&mut watch.idle);
        }
        if returned {
            self.protocols.idle.send_events();
            self.watch_idle();
        }
        // Keys that a closing lid presses.
        let wakes = self.power.dark.is_some() && !self.is_shut();
        if wakes {
            self.unblank_all();
        }
        wakes
    }

    /// A button or a finger came down or up. Whether programs are not to hear of it.
    pub fn press(&mut self, press: HeldInput, down: bool) -> bool {
        if !down {
            return self.power.let_go(press);
        }
        let woke = self.activity();
        if woke {
            self.power.withhold(press);
        }
        woke
    }

    /// Looks again at the time at which somebody waits for idleness.
    pub fn watch_idle(&mut self) {
        let watches = self.protocols.idle.timers().chain(&self.power.blanking);
        let next = self.power.idle.next(watches);
        // One that ends too early looks again; most input only puts the end off.
        let early_enough = |known: std::time::Duration| next.is_none_or(|next| known <= next);
        if self.power.timer.is_some_and(|(known, _)| early_enough(known)) {
            return;
        }
        if let Some((_, timer)) = self.power.timer.take() {
            self.timers.cancel(timer);
        }
        if let Some(at) = next {
            self.power.timer = Some((at, self.timers.at(at, Deadline::CheckIdle)));
        }
    }

    pub fn check_idle(&mut self) {
        self.power.timer = None;
        let now = self.iteration_start();
        let unable = matches!(self.backend, Backend::Kms(_)) && !self.input.has_devices();
        if self.backend.is_paused() || unable {
            // Whoever has the seat now is somebody. And without an input device nothing would end it.
            self.power.idle.input(now);
        }
        if self.is_idle_inhibited() {
            self.power.idle.hold(now);
        }
        let idle = self.power.idle;
        let came = |watch: &mut IdleTimer| {
            watch.idle |= idle.is_due(watch, now);
            watch.idle
        };
        self.protocols.idle.timers_mut().for_each(|watch| {
            came(watch);
        });
        let blanking = self.power.blanking.as_mut().is_some_and(came);
        self.protocols.idle.send_events();
        if blanking {
            self.blank_all("nobody is there");
        }
        self.watch_idle();
    }

    /// Takes the light of every display that has some.
    pub(super) fn blank_all(&mut self, why: &str) {
        if self.power.dark.is_some() {
            return;
        }
        let lit: Vec<String> = self
            .outputs
            .iter()
            .filter(|output| output.is_enabled() && !output.blanked)
            .map(|output| output.name.clone())
            .collect();
        info!(displays = lit.join(" "), why, "displays go dark");
        let mut dark = IdleBlank::default();
        for name in lit {
            // Reported where it fails.
            if self.set_blanked(&name, true).is_ok() {
                let monitor = self.outputs.named(&name).and_then(|output| output.monitor.identity.clone());
                dark.0.insert(name, monitor);
            }
        }
        self.power.dark = Some(dark);
        self.hint_idle(true);
    }

    /// Gives it back.
    pub(super) fn unblank_all(&mut self) {
        let Some(IdleBlank(names)) = self.power.dark.take() else { return };
        info!("displays have light again");
        for name in names.into_keys() {
            if self.outputs.named(&name).is_some_and(|output| output.is_enabled()) {
                let _ = self.set_blanked(&name, false);
            } else {
                self.backend.gpus_mut().for_each(|gpu| gpu.set_pending_active(&name, true));
                if let Some(output) = self.outputs.named_mut(&name) {
                    output.blanked = false;
                }
            }
        }
        self.hint_idle(false);
    }

    /// A display is about to be lit while everything is dark.
    pub fn keep_blanked(&mut self, name: &str, monitor: Option<&Identity>) {
        let Some(IdleBlank(names)) = &mut self.power.dark else { return };
        // A monitor that sleeps may not tell who it is.
        let never_committed = monitor.is_some() && !names.values().any(|known| known.as_ref() == monitor);
        names.entry(name.to_owned()).or_insert_with(|| monitor.cloned());
        self.backend.gpus_mut().for_each(|gpu| gpu.set_pending_active(name, false));
        if let Some(output) = self.outputs.named_mut(name) {
            output.blanked = true;
        }
        if never_committed {
            // Somebody has plugged it in.
            let now = self.iteration_start();
            self.timers.at(now, Deadline::Activity);
        }
    }
}
