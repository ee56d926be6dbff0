//! Displays as wlr-output-management has them: what tools see of each, which settings they may
//! request for it, and the configuration that follows. The protocol's objects belong to the
//! compositor.

use std::collections::BTreeMap;

use geom_display::identity::Identity;
use geom_display::mode::{ConfiguredMode, Mode};
use geom_display::modeline::{Blanking, Modeline};
use geom_display::output_config::{OutputConfig, Position, Transform};
use geom_display::plan::{mode_candidates, ProbedGpu};
use smithay::utils::Transform as SmithayTransform;

use super::outputs::Outputs;
use super::Output;

/// The properties of a head.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadProperties {
    pub monitor: Option<Identity>,
    /// In millimeters; 0 if unknown.
    pub size: (u32, u32),
    pub modes: Vec<Mode>,
    /// `None` if the display is not enabled.
    pub state: Option<HeadState>,
}

/// The state of an enabled head.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadState {
    pub mode: Mode,
    pub position: (i32, i32),
    pub transform: SmithayTransform,
    pub scale: f64,
    pub vrr: bool,
}

impl HeadProperties {
    /// Returns whether a head with these properties can take `other` by events: what a head cannot
    /// change is the same. Otherwise another monitor is there, which gets another head.
    pub fn is_same_monitor(&self, other: &Self) -> bool {
        (&self.monitor, self.size, &self.modes) == (&other.monitor, other.size, &other.modes)
    }
}

/// Returns the state of an output if it is enabled.
fn head_state(output: &Output) -> Option<HeadState> {
    Some(HeadState {
        mode: output.state.mode.filter(|_| output.is_enabled())?,
        position: (output.state.logical.x, output.state.logical.y),
        transform: output.published.wl_output.current_transform(),
        scale: output.state.scale,
        vrr: output.state.signal.vrr,
    })
}

impl Outputs {
    /// Returns the heads of all connected monitors that may show the desktop, by name.
    pub fn heads(&self, present: &[ProbedGpu]) -> BTreeMap<String, HeadProperties> {
        let connectors = present.iter().flat_map(|gpu| &gpu.connectors);
        let shown = connectors.filter(|connector| connector.connected && !connector.non_desktop);
        let heads = shown.map(|connector| {
            let output = self.named(&connector.name);
            let mut modes = mode_candidates(&connector.modes, None);
            modes.extend(output.and_then(|output| output.state.mode).filter(|mode| mode.modeline.is_some()));
            let properties = HeadProperties {
                monitor: connector.monitor.clone(),
                size: output.map_or((0, 0), |output| output.state.monitor.size),
                modes,
                state: output.and_then(head_state),
            };
            (connector.name.clone(), properties)
        });
        heads.collect()
    }
}

/// A setting that a tool requests for a head. `None` is a value that the protocol does not know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HeadSetting {
    Mode(Mode),
    /// Width, height and refresh rate; a rate of 0 leaves it to the compositor.
    CustomMode(i32, i32, i32),
    Position(i32, i32),
    Transform(Option<Transform>),
    Scale(f64),
    AdaptiveSync(Option<bool>),
}

/// The protocol's errors of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    AlreadySet,
    CustomMode,
    Transform,
    Scale,
    AdaptiveSync,
}

/// The settings that a tool requests for one head.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeadConfig {
    config: OutputConfig,
    /// The mode may be one that the monitor does not list.
    has_custom_mode: bool,
    /// The position is outside of any layout, for which the protocol has no error.
    is_out_of_range: bool,
}

impl HeadConfig {
    /// Adds a setting.
    ///
    /// # Errors
    /// If it was set before, or the protocol does not allow the value.
    pub fn set(&mut self, setting: HeadSetting) -> Result<(), HeadError> {
        let config = &mut self.config;
        let is_set = match setting {
            HeadSetting::Mode(_) | HeadSetting::CustomMode(..) => config.mode.is_some(),
            HeadSetting::Position(..) => config.position.is_some(),
            HeadSetting::Transform(_) => config.transform.is_some(),
            HeadSetting::Scale(_) => config.scale.is_some(),
            HeadSetting::AdaptiveSync(_) => config.signal.vrr.is_some(),
        };
        if is_set {
            return Err(HeadError::AlreadySet);
        }
        match setting {
            HeadSetting::Mode(Mode { width, height, refresh, modeline, .. }) => {
                config.mode = Some(ConfiguredMode { width, height, refresh: Some(refresh), modeline });
            }
            HeadSetting::CustomMode(width, height, refresh) => {
                let (Ok(width @ 1..), Ok(height @ 1..), Ok(refresh)) =
                    (u16::try_from(width), u16::try_from(height), u32::try_from(refresh))
                else {
                    return Err(HeadError::CustomMode);
                };
                let refresh = Some(refresh).filter(|refresh| *refresh > 0);
                config.mode = Some(ConfiguredMode { width, height, refresh, modeline: None });
                self.has_custom_mode = true;
            }
            HeadSetting::Position(x, y) => {
                self.is_out_of_range = i16::try_from(x).is_err() || i16::try_from(y).is_err();
                config.position = Some(Position::At(x, y));
            }
            HeadSetting::Transform(transform) => {
                config.transform = Some(transform.ok_or(HeadError::Transform)?);
            }
            HeadSetting::Scale(scale) => {
                let allowed = Some(scale).filter(|scale| (0.25..=8.0).contains(scale));
                config.scale = Some(allowed.ok_or(HeadError::Scale)?);
            }
            HeadSetting::AdaptiveSync(on) => {
                config.signal.vrr = Some(on.ok_or(HeadError::AdaptiveSync)?.into());
            }
        }
        Ok(())
    }

    /// Returns the configuration of an enabled output whose monitor lists these modes, or `None` if
    /// it cannot be applied in any case.
    fn requested(&self, listed: &[Mode]) -> Option<OutputConfig> {
        let mut config = OutputConfig { enabled: Some(true), ..self.config.clone() };
        if self.has_custom_mode {
            config.mode = Some(custom_mode(listed, config.mode?)?);
        }
        (!self.is_out_of_range).then_some(config)
    }
}

/// Returns a custom mode: unchanged if the monitor lists one that matches, or else with CVT timings
/// for flat panels (reduced blanking).
fn custom_mode(listed: &[Mode], requested: ConfiguredMode) -> Option<ConfiguredMode> {
    if listed.iter().any(|mode| requested.matches(mode)) {
        return Some(requested);
    }
    let blanking = if requested.width % 8 == 0 { Blanking::Reduced } else { Blanking::Reduced2 };
    let refresh = requested.refresh.unwrap_or(60_000);
    Modeline::cvt(requested.width, requested.height, refresh, blanking).map(ConfiguredMode::from).ok()
}

/// Returns the changes that a tool's settings ask for, by display; `None` disables a display.
/// Returns `None` if a setting cannot be applied in any case.
pub fn requested_changes(
    heads: impl IntoIterator<Item = (String, Option<HeadConfig>)>,
    outputs: &Outputs,
) -> Option<BTreeMap<String, OutputConfig>> {
    let change = |(name, head): (String, Option<HeadConfig>)| {
        let listed = outputs.named(&name).map(|output| output.state.modes.as_slice()).unwrap_or_default();
        let config = match head {
            Some(head) => head.requested(listed)?,
            None => OutputConfig { enabled: Some(false), ..OutputConfig::default() },
        };
        Some((name, config))
    };
    heads.into_iter().map(change).collect()
}

/// Returns whether a tool disables everything that it configures.
pub fn disables_all(changes: &BTreeMap<String, OutputConfig>) -> bool {
    !changes.is_empty() && changes.values().all(|config| config.enabled == Some(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[HeadSetting]) -> Result<HeadConfig, HeadError> {
        let mut config = HeadConfig::default();
        settings.iter().try_for_each(|setting| config.set(*setting))?;
        Ok(config)
    }

    fn requested(setting: HeadSetting, listed: &[Mode]) -> Option<OutputConfig> {
        config(&[setting]).expect("a valid setting").requested(listed)
    }

    #[test]
    fn values_that_the_protocol_does_not_allow_are_errors() {
        for (setting, error) in [
            (HeadSetting::CustomMode(0, 600, 0), HeadError::CustomMode),
            (HeadSetting::CustomMode(800, 70_000, 0), HeadError::CustomMode),
            (HeadSetting::CustomMode(800, 600, -1), HeadError::CustomMode),
            (HeadSetting::Transform(None), HeadError::Transform),
            (HeadSetting::Scale(0.2), HeadError::Scale),
            (HeadSetting::Scale(f64::NAN), HeadError::Scale),
            (HeadSetting::AdaptiveSync(None), HeadError::AdaptiveSync),
        ] {
            assert_eq!(config(&[setting]), Err(error), "{setting:?}");
        }
    }

    #[test]
    fn each_property_is_set_once() {
        let mode = Mode::new(800, 600, 60_000);
        for setting in [
            HeadSetting::Mode(mode),
            HeadSetting::CustomMode(800, 600, 0),
            HeadSetting::Position(0, 0),
            HeadSetting::Transform(Some(Transform::Normal)),
            HeadSetting::Scale(1.0),
            HeadSetting::AdaptiveSync(Some(true)),
        ] {
            assert!(config(&[setting]).is_ok(), "{setting:?}");
            assert_eq!(config(&[setting, setting]), Err(HeadError::AlreadySet), "{setting:?}");
        }
        let both = [HeadSetting::Mode(mode), HeadSetting::CustomMode(640, 480, 0)];
        assert_eq!(config(&both), Err(HeadError::AlreadySet));
    }

    #[test]
    fn custom_mode_is_a_listed_one_or_gets_cvt_timings() {
        let listed = [Mode::new(800, 600, 60_000)];
        let mode = |width, height, refresh| {
            let config = requested(HeadSetting::CustomMode(width, height, refresh), &listed);
            config.and_then(|config| config.mode).expect("a mode")
        };
        assert_eq!(mode(800, 600, 0).modeline, None);
        assert!(mode(1000, 600, 50_000).modeline.is_some());
        // A size that needs the finer cells of reduced blanking, version 2.
        assert!(mode(1366, 768, 0).modeline.is_some_and(|line| line.horizontal[0] == 1366));
    }

    #[test]
    fn position_outside_of_any_layout_cannot_be_applied() {
        assert!(requested(HeadSetting::Position(-32_768, 32_767), &[]).is_some());
        assert_eq!(requested(HeadSetting::Position(32_768, 0), &[]), None);
    }

    #[test]
    fn tool_that_disables_everything_is_recognized() {
        let outputs = Outputs::default();
        let changes = |heads: &[(&str, bool)]| {
            let heads = heads.iter().map(|(name, on)| ((*name).to_owned(), on.then(HeadConfig::default)));
            requested_changes(heads, &outputs).expect("changes")
        };
        assert!(disables_all(&changes(&[("A", false), ("B", false)])));
        assert!(!disables_all(&changes(&[("A", false), ("B", true)])));
        assert!(!disables_all(&changes(&[])));
    }
}
