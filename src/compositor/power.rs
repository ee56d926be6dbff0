//! Joins [`Power`] with the other components: gathers what it reads, and applies its effects.

use geom_display::identity::Identity;
use tracing::warn;

use super::deadline::Deadline;
use super::{notify_user, State};
use crate::backend::Backend;
use crate::output::redraw::Event;
use crate::power::logind::Request;
use crate::power::logind_bus::{Bus, BusEvent};
use crate::power::{resume_detect, Cx, Effect, Effects, HeldInput, Power, PowerDeadline};

/// The beginning of the notice about a display that the kernel refuses to unblank.
fn unblank_notice(display: &str) -> String {
    format!("{display} stays blanked: the kernel refuses to power it up")
}

impl State {
    /// Calls the component with what it reads.
    pub fn with_power<T>(&mut self, call: impl FnOnce(&mut Power, &Cx<'_>) -> T) -> T {
        let cx = Cx {
            now: self.iteration_start(),
            config: &self.config.power,
            outputs: &self.outputs,
            is_kms: matches!(self.backend, Backend::Kms(_)),
            is_paused: self.backend.is_paused(),
            is_asleep: self.backend.is_asleep(),
            has_input_devices: self.input.devices.has_enabled(),
        };
        call(&mut self.power, &cx)
    }

    pub fn run_power(&mut self, call: impl FnOnce(&mut Power, &Cx<'_>) -> Effects) {
        let effects = self.with_power(call);
        self.apply_power(effects);
    }

    /// Applies effects of the component, in their order.
    pub fn apply_power(&mut self, effects: Effects) {
        for effect in effects {
            self.apply_power_effect(effect);
        }
    }

    fn apply_power_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Blank(displays) => {
                for (display, _) in self.set_blanked_each(&displays, true) {
                    self.power.blank_failed(&display);
                }
            }
            Effect::Unblank(displays) => {
                let refused = self.set_blanked_each(&displays, false);
                self.unblank_refused(refused);
            }
            Effect::UnblankByModeset(displays) => {
                let refused = self.unblank_by_modeset(&displays);
                self.unblank_refused(refused);
            }
            Effect::SetPendingActive { display, active } => {
                self.backend.gpus_mut().for_each(|gpu| gpu.device.set_pending_active(&display, active));
                if let Some(output) = self.outputs.named_mut(&display) {
                    output.set_blanked(!active);
                }
                self.visibility_changed = true;
            }
            Effect::NotifyIdle { timer, is_idle } => self.protocols.idle.notify(timer, is_idle),
            Effect::ArmIdleCheck { at } => {
                let timer = self.timers.at(at, Deadline::Power(PowerDeadline::CheckIdle));
                if let Some(replaced) = self.power.idle_check_armed(timer) {
                    self.timers.cancel(replaced);
                }
            }
            Effect::Arm { deadline, at } => {
                self.timers.at(at, Deadline::Power(deadline));
            }
            Effect::Activity => {
                self.activity();
            }
            Effect::Reconfigure(cause) => self.reconfigure(cause),
            Effect::AskLogind(request) => self.power.ask_logind(request),
            Effect::PrepareForSleep => {
                self.pause_all();
                self.backend.set_asleep(true);
            }
            Effect::AllowSleep => self.power.allow_sleep(),
            Effect::Resume => {
                self.power.note_slept(resume_detect::slept());
                self.backend.set_asleep(false);
                self.rescan("system resumed");
            }
            Effect::ClockSet => self.update_all_gamma(),
            Effect::Notice(text) => notify_user!(self, "{text}"),
        }
    }

    /// Starts the component, once before the event loop runs.
    pub fn start_power(&mut self) {
        self.power.note_slept(resume_detect::slept());
        if let Err(error) = resume_detect::listen(&self.handle, Self::clock_changed) {
            warn!(%error, "cannot detect system sleep without logind; install systemd-logind or elogind");
        }
        if matches!(self.backend, Backend::Kms(_)) {
            let bus = Bus::new(&self.handle, |event, state: &mut Self| state.on_bus_event(event));
            self.power.set_bus(bus);
            self.apply_power(vec![Effect::AskLogind(Request::Connect)]);
        }
        self.activity();
        self.read_power();
    }

    /// Applies the configuration's section `[power]`.
    pub fn read_power(&mut self) {
        self.run_power(Power::configure);
    }

    /// Notes input from the user. Returns whether it unblanks displays; such input does nothing
    /// else.
    pub fn activity(&mut self) -> bool {
        let (unblanks, effects) = self.with_power(Power::activity);
        self.apply_power(effects);
        unblanks
    }

    /// Handles a press or a release. Returns whether clients must not receive it.
    pub fn press(&mut self, press: HeldInput, is_down: bool) -> bool {
        let (is_withheld, effects) = self.with_power(|power, cx| power.press(press, is_down, cx));
        self.apply_power(effects);
        is_withheld
    }

    pub fn lid_moved(&mut self, is_closed: bool) {
        self.run_power(|power, cx| power.lid_moved(is_closed, cx));
    }

    /// Outputs may have been enabled or disabled in addition to those under the lid.
    pub fn check_lid(&mut self) {
        self.run_power(Power::check_lid);
    }

    pub fn power_button(&mut self) {
        self.run_power(Power::power_button);
    }

    /// An output is about to be enabled: it starts blanked while all outputs are.
    pub fn keep_blanked(&mut self, display: &str, monitor: Option<&Identity>) {
        self.run_power(|power, cx| power.keep_blanked(display, monitor, cx));
    }

    /// The session is active again.
    pub fn ask_logind_again(&mut self) {
        self.run_power(Power::session_resumed);
    }

    /// Displays could not be unblanked, for these reasons: they are tried again.
    pub fn unblank_refused(&mut self, refused: Vec<(String, String)>) {
        if refused.is_empty() {
            return;
        }
        if !self.backend.is_paused() {
            for (display, error) in &refused {
                let text = unblank_notice(display);
                self.notices.dismiss(|known| known.starts_with(&text));
                notify_user!(self, "{text} ({error}); trying again until it accepts");
            }
        }
        let displays = refused.into_iter().map(|(display, _)| display).collect();
        self.run_power(|power, cx| power.unblank_refused(displays, cx));
    }

    /// A display is no longer tried to be unblanked: it is on, or shall stay blanked.
    pub fn forget_refused_unblank(&mut self, display: &str) {
        if self.power.forget_refused(display) {
            let text = unblank_notice(display);
            self.notices.dismiss(|known| known.starts_with(&text));
        }
    }

    fn on_bus_event(&mut self, event: BusEvent) {
        self.run_power(|power, cx| power.on_bus_event(event, cx));
    }

    fn clock_changed(&mut self) {
        let slept = resume_detect::slept();
        self.run_power(|power, cx| power.clock_changed(slept, cx));
    }

    pub fn on_power_deadline(&mut self, deadline: PowerDeadline) {
        match deadline {
            PowerDeadline::CheckIdle => {
                let is_inhibited = self.is_idle_inhibited();
                self.run_power(|power, cx| power.check_idle(is_inhibited, cx));
            }
            PowerDeadline::Activity => {
                self.activity();
            }
            PowerDeadline::ConnectLogind => self.apply_power(vec![Effect::AskLogind(Request::Connect)]),
            PowerDeadline::HoldSwitches => self.run_power(|power, cx| power.hold_switches(cx)),
            PowerDeadline::RetryUnblank => self.run_power(|power, cx| power.retry_unblank(cx)),
        }
    }

    /// Pauses rendering on all outputs, and releases the keys and pens that clients
    /// hold.
    pub fn pause_all(&mut self) {
        self.visibility_changed = true;
        let ids: Vec<_> = self.outputs.iter().map(|output| output.id).collect();
        for id in ids {
            self.redraw_event(id, Event::Paused);
        }
        self.release_keys();
        self.release_pens();
    }
}
