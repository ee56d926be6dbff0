//! The lid and the power button.

use geom_display::plan::ProbedGpu;
use tracing::info;

use super::{Cx, Effect, Effects, Power};
use crate::config::{Policy, PowerConfig};

/// Returns whether the closed lid disables the displays that it covers.
fn lid_disables(config: &PowerConfig) -> bool {
    matches!(config.lid, Policy::Disable | Policy::Blank)
}

impl Power {
    /// Handles the lid switch.
    pub fn lid_moved(&mut self, is_closed: bool, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        if self.is_lid_closed == is_closed {
            return effects;
        }
        self.is_lid_closed = is_closed;
        let policy = cx.config.lid;
        info!(is_closed, ?policy, "lid moved");
        match policy {
            Policy::System | Policy::Nothing => {}
            Policy::Disable | Policy::Blank => effects.push(Effect::Reconfigure("lid moved")),
            Policy::Suspend | Policy::PowerOff if is_closed => effects.push(self.logind.act(policy)),
            Policy::Suspend | Policy::PowerOff => {}
        }
        if !is_closed {
            effects.push(Effect::Activity);
        }
        effects
    }

    /// Returns whether the lid is closed over all enabled outputs.
    pub(super) fn lid_covers_all(&self, cx: &Cx<'_>) -> bool {
        if !self.is_lid_closed || !lid_disables(cx.config) {
            return false;
        }
        let mut enabled = cx.outputs.iter().filter(|output| output.is_enabled()).peekable();
        enabled.peek().is_some() && enabled.all(|output| cx.config.is_lid_display(&output.name))
    }

    /// Outputs may have changed: blanks all of them if the lid covers all, as the only display is
    /// not disabled.
    pub fn check_lid(&mut self, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        let is_shut = self.lid_covers_all(cx);
        if std::mem::replace(&mut self.is_shut, is_shut) != is_shut {
            match is_shut {
                true => self.blank_all("lid closed", cx, &mut effects),
                false => self.unblank_all(cx, &mut effects),
            }
        }
        effects
    }

    /// Returns the connectors that are disabled because the lid covers them: all of the built-in
    /// displays, if another monitor is connected.
    pub fn disabled_by_lid(&self, config: &PowerConfig, present: &[ProbedGpu]) -> Vec<String> {
        if !self.is_lid_closed || !lid_disables(config) {
            return Vec::new();
        }
        let connected =
            present.iter().flat_map(|gpu| &gpu.connectors).filter(|connector| connector.connected);
        let (built_in, others): (Vec<_>, Vec<_>) =
            connected.map(|connector| connector.name.clone()).partition(|name| config.is_lid_display(name));
        if others.is_empty() {
            return Vec::new();
        }
        built_in
    }

    /// Handles the power button.
    pub fn power_button(&mut self, cx: &Cx<'_>) -> Effects {
        let policy = cx.config.power_button;
        info!(?policy, "power button pressed");
        let mut effects = Effects::new();
        match policy {
            Policy::System | Policy::Nothing => {}
            Policy::Blank | Policy::Disable => self.blank_all("power button", cx, &mut effects),
            Policy::Suspend | Policy::PowerOff => effects.push(self.logind.act(policy)),
        }
        effects
    }
}
