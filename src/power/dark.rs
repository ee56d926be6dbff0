//! Displays without light while nobody is there.
//!
//! What went dark stays so until somebody gives a sign of life, whatever its connector does: monitors that sleep drop their link and come back,
//! and would wake themselves for ever.

use std::collections::BTreeMap;

use tracing::info;

use super::idle::Watch;
use super::{Power, Press};
use crate::backend::Backend;
use crate::display::identity::Identity;
use crate::state::State;

/// Displays that are dark until somebody comes, and whose monitors they are.
#[derive(Debug, Default)]
pub(super) struct Dark(BTreeMap<String, Option<Identity>>);

impl Power {
    pub fn is_dark(&self) -> bool {
        self.dark.is_some()
    }
}

impl State {
    /// Something was moved, pressed or touched. Whether that woke displays, and is to do nothing else.
    pub fn activity(&mut self) -> bool {
        let now = self.turn_time();
        self.power.idle.input(now);
        let mut returned = false;
        for watch in self.protocols.idle.watches_mut().chain(&mut self.power.blanking) {
            returned |= std::mem::take(&mut watch.idle);
        }
        if returned {
            self.protocols.idle.tell();
            self.watch_idle();
        }
        // Keys that a closing lid presses.
        let wakes = self.power.dark.is_some() && !self.is_shut();
        if wakes {
            self.light_up();
        }
        wakes
    }

    /// A button or a finger came down or up. Whether programs are not to hear of it.
    pub fn press(&mut self, press: Press, down: bool) -> bool {
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
        let watches = self.protocols.idle.watches().chain(&self.power.blanking);
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
            self.power.timer = Some((at, self.timers.at(at, Self::look_at_idle)));
        }
    }

    fn look_at_idle(&mut self) {
        self.power.timer = None;
        let now = self.turn_time();
        let unable = matches!(self.backend, Backend::Kms(_)) && self.devices.is_empty();
        if self.backend.is_paused() || unable {
            // Whoever has the seat now is somebody. And without an input device nothing would end it.
            self.power.idle.input(now);
        }
        if self.is_held_off() {
            self.power.idle.hold(now);
        }
        let idle = self.power.idle;
        let came = |watch: &mut Watch| {
            watch.idle |= idle.is_due(watch, now);
            watch.idle
        };
        self.protocols.idle.watches_mut().for_each(|watch| {
            came(watch);
        });
        let blanking = self.power.blanking.as_mut().is_some_and(came);
        self.protocols.idle.tell();
        if blanking {
            self.darken("nobody is there");
        }
        self.watch_idle();
    }

    /// Takes the light of every display that has some.
    pub(super) fn darken(&mut self, why: &str) {
        if self.power.dark.is_some() {
            return;
        }
        let lit: Vec<String> = self
            .screens
            .iter()
            .filter(|screen| screen.is_lit() && !screen.blank)
            .map(|screen| screen.name.clone())
            .collect();
        info!(displays = lit.join(" "), why, "displays go dark");
        let mut dark = Dark::default();
        for name in lit {
            // Reported where it fails.
            if self.switch_light(&name, true).is_ok() {
                let monitor = self.screens.get(&name).and_then(|screen| screen.monitor.identity.clone());
                dark.0.insert(name, monitor);
            }
        }
        self.power.dark = Some(dark);
        self.hint_idle(true);
    }

    /// Gives it back.
    pub(super) fn light_up(&mut self) {
        let Some(Dark(names)) = self.power.dark.take() else { return };
        info!("displays have light again");
        for name in names.into_keys() {
            if self.screens.get(&name).is_some_and(|screen| screen.is_lit()) {
                let _ = self.switch_light(&name, false);
            } else {
                self.backend.gpus_mut().for_each(|gpu| gpu.remember_light(&name, true));
                if let Some(screen) = self.screens.get_mut(&name) {
                    screen.blank = false;
                }
            }
        }
        self.hint_idle(false);
    }

    /// A display is about to be lit while everything is dark.
    pub fn keep_dark(&mut self, name: &str, monitor: Option<&Identity>) {
        let Some(Dark(names)) = &mut self.power.dark else { return };
        // A monitor that sleeps may not tell who it is.
        let is_new = monitor.is_some() && !names.values().any(|known| known.as_ref() == monitor);
        names.entry(name.to_owned()).or_insert_with(|| monitor.cloned());
        self.backend.gpus_mut().for_each(|gpu| gpu.remember_light(name, false));
        if let Some(screen) = self.screens.get_mut(name) {
            screen.blank = true;
        }
        if is_new {
            // Somebody has plugged it in.
            let now = self.turn_time();
            self.timers.at(now, |state| {
                state.activity();
            });
        }
    }
}
