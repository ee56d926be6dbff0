//! Sleep, idleness, the lid and the power button.

mod idle;
mod idle_blank;
mod logind;
mod resume_detect;
mod suspend;

pub use idle::IdleTimer;

use geom_display::pattern::matches_pattern;
use geom_display::plan;
use tracing::info;

use crate::backend::Backend;
use crate::config::{Policy, PowerConfig};
use crate::compositor::State;
use crate::event_loop::timers::Timer;

/// All of it that is remembered.
#[derive(Default)]
pub struct Power {
    idle: idle::Idle,
    /// Displays' own wish to go dark.
    blanking: Option<IdleTimer>,
    timer: Option<(std::time::Duration, Timer)>,
    dark: Option<idle_blank::IdleBlank>,
    /// Presses that programs do not hear of, until they end: what woke displays, and keys that are ours.
    withheld: Vec<HeldInput>,
    /// How long the system had slept altogether when we last looked.
    slept: std::time::Duration,
    lid_closed: bool,
    /// It hides everything that is lit.
    shut: bool,
    logind: Option<logind::Logind>,
}

/// Something that is pressed and let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldInput {
    /// As xkb numbers it.
    Key(u32),
    Button(u32),
    Finger(smithay::backend::input::TouchSlot),
}

impl Power {
    /// A press that programs are not to hear of.
    pub fn withhold(&mut self, press: HeldInput) {
        if !self.is_withheld(press) {
            self.withheld.push(press);
        }
    }

    pub fn is_withheld(&self, press: HeldInput) -> bool {
        self.withheld.contains(&press)
    }

    /// It ends. Whether programs did not hear of it.
    pub fn let_go(&mut self, press: HeldInput) -> bool {
        let known = self.withheld.iter().position(|known| *known == press);
        known.map(|known| self.withheld.swap_remove(known)).is_some()
    }

    /// A program that held idleness off ceases to.
    pub fn hold_idleness(&mut self, now: std::time::Duration) {
        self.idle.hold(now);
    }
}

impl State {
    /// Once, before the loop runs.
    pub fn start_power(&mut self) {
        self.power.slept = resume_detect::slept();
        if let Err(error) = resume_detect::listen(&self.handle) {
            tracing::warn!(%error, "a sleep that logind does not tell of will not be noticed");
        }
        if matches!(self.backend, Backend::Kms(_)) {
            self.connect_logind();
        }
        self.activity();
        self.read_power();
    }

    /// The configuration may have changed.
    pub fn read_power(&mut self) {
        let PowerConfig { blank_after, .. } = self.config.power;
        self.power.blanking = blank_after.map(|timeout| IdleTimer::new(timeout, true));
        if blank_after.is_none() {
            self.unblank_all();
        }
        self.hold_switches();
        self.watch_idle();
    }

    pub fn lid_moved(&mut self, closed: bool) {
        if self.power.lid_closed == closed {
            return;
        }
        self.power.lid_closed = closed;
        info!(closed, policy = ?self.config.power.lid, "lid");
        match self.config.power.lid {
            Policy::System | Policy::Nothing => {}
            Policy::Disable => self.reconfigure("lid"),
            policy if closed => self.ask_logind(policy),
            _ => {}
        }
        if !closed {
            self.activity();
        }
    }

    fn is_under_lid(&self, connector: &str) -> bool {
        self.config.power.lid_displays.iter().any(|pattern| matches_pattern(pattern, connector))
    }

    /// The lid is closed over the only displays that there are.
    fn is_shut(&self) -> bool {
        if !self.power.lid_closed || self.config.power.lid != Policy::Disable {
            return false;
        }
        let mut lit = self.outputs.iter().filter(|output| output.is_enabled()).peekable();
        lit.peek().is_some() && lit.all(|output| self.is_under_lid(&output.name))
    }

    /// Displays may have come or gone beside those under the lid.
    pub fn check_lid(&mut self) {
        let shut = self.is_shut();
        if std::mem::replace(&mut self.power.shut, shut) == shut {
            return;
        }
        match shut {
            true => self.blank_all("lid closed"),
            false => self.unblank_all(),
        }
    }

    /// The built-in displays that are off because of the lid: all, while there is another that could be lit.
    pub fn under_lid(&self, present: &[plan::ProbedGpu]) -> Vec<String> {
        if !self.power.lid_closed || self.config.power.lid != Policy::Disable {
            return Vec::new();
        }
        let connected =
            present.iter().flat_map(|gpu| &gpu.connectors).filter(|connector| connector.connected);
        let (built_in, others): (Vec<_>, Vec<_>) =
            connected.map(|connector| connector.name.clone()).partition(|name| self.is_under_lid(name));
        if others.is_empty() {
            return Vec::new();
        }
        built_in
    }

    /// The power button is ours by the configuration.
    pub fn takes_power_button(&self) -> bool {
        self.config.power.power_button != Policy::System
    }

    pub fn power_button(&mut self) {
        let policy = self.config.power.power_button;
        info!(?policy, "power button");
        match policy {
            Policy::System | Policy::Nothing => {}
            Policy::Blank | Policy::Disable => self.blank_all("power button"),
            Policy::Suspend | Policy::PowerOff => self.ask_logind(policy),
        }
    }
}
