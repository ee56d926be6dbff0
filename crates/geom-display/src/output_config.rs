//! The desired configuration of outputs, as configuration, profiles, commands and tools set it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use geom_color::adjustments::AdjustmentConfig;
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

use crate::mode::ConfiguredMode;
use crate::signal_format::SignalConfig;

/// How an output's image is rotated, counterclockwise, as in `wl_output.transform`.
/// Variants have the names of configuration and control protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Transform {
    /// Not at all.
    #[default]
    Normal,
    /// By 90°.
    #[strum(serialize = "90")]
    Rotated90,
    /// By 180°.
    #[strum(serialize = "180")]
    Rotated180,
    /// By 270°.
    #[strum(serialize = "270")]
    Rotated270,
    /// Flipped around a vertical axis.
    Flipped,
    /// Flipped, then rotated by 90°.
    #[strum(serialize = "flipped-90")]
    Flipped90,
    /// Flipped, then rotated by 180°.
    #[strum(serialize = "flipped-180")]
    Flipped180,
    /// Flipped, then rotated by 270°.
    #[strum(serialize = "flipped-270")]
    Flipped270,
}

impl Transform {
    /// Returns whether width and height are exchanged.
    pub fn swaps_axes(self) -> bool {
        matches!(self, Self::Rotated90 | Self::Rotated270 | Self::Flipped90 | Self::Flipped270)
    }
}

/// The side of another output that an output is placed at, as configuration and commands name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum Side {
    /// To the right of it, top edges aligned.
    RightOf,
    /// To the left of it, top edges aligned.
    LeftOf,
    /// Above it, left edges aligned.
    Above,
    /// Below it, left edges aligned.
    Below,
}

/// The configured position of an output's top left corner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// At a point of the layout, in logical pixels.
    At(i32, i32),
    /// Edge to edge with the output of this name.
    NextTo(Side, String),
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(x, y) => write!(formatter, "{x},{y}"),
            Self::NextTo(side, name) => {
                let side: &str = side.into();
                write!(formatter, "{side} {name}")
            }
        }
    }
}

impl FromStr for Position {
    type Err = String;

    /// Parses `X,Y`, or `right-of NAME` and the like.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<i16>().ok().map(i32::from);
        let point = text.split_once(',').and_then(|(x, y)| Some(Self::At(number(x)?, number(y)?)));
        let next_to = || {
            let (word, name) = text.trim().split_once(char::is_whitespace)?;
            Some(Self::NextTo(word.parse().ok()?, name.trim().to_owned()))
        };
        point.or_else(next_to).ok_or_else(|| {
            let words = Side::VARIANTS.join(", ");
            format!("{text:?} is not a position; write X,Y, or one of {words} and a display's name")
        })
    }
}

/// The configuration of one output; `None` leaves the choice to the plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OutputConfig {
    /// The mode.
    pub mode: Option<ConfiguredMode>,
    /// The position in the layout.
    pub position: Option<Position>,
    /// The output that this one mirrors; empty for none.
    pub mirror: Option<String>,
    /// Device pixels per logical pixel.
    pub scale: Option<f64>,
    /// The rotation.
    pub transform: Option<Transform>,
    /// `false` disables the output.
    pub enabled: Option<bool>,
    /// The signal format.
    pub signal: SignalConfig,
    /// The ICC profile for [`ColorSpace::Icc`](geom_color::color_space::ColorSpace::Icc).
    pub icc: Option<PathBuf>,
    /// White point, brightness, night light.
    pub adjustments: AdjustmentConfig,
}

impl OutputConfig {
    /// Returns this configuration with everything that `over` sets replaced.
    #[must_use]
    pub fn overridden_by(&self, over: &Self) -> Self {
        Self {
            mode: over.mode.or(self.mode),
            position: over.position.clone().or_else(|| self.position.clone()),
            mirror: over.mirror.clone().or_else(|| self.mirror.clone()),
            scale: over.scale.or(self.scale),
            transform: over.transform.or(self.transform),
            enabled: over.enabled.or(self.enabled),
            signal: self.signal.overridden_by(over.signal),
            // An ICC profile belongs to its color space.
            icc: if over.signal.color_space.is_some() { over.icc.clone() } else { self.icc.clone() },
            adjustments: self.adjustments.overridden_by(over.adjustments),
        }
    }
}

/// The configuration of all outputs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OutputConfigs {
    /// By name of the output.
    pub outputs: BTreeMap<String, OutputConfig>,
    /// If not empty, only these are enabled (`-w`).
    pub only: Vec<String>,
    /// Outputs with a fullscreen window.
    pub fullscreen: BTreeSet<String>,
}

/// Enables an output if the configuration disables all that are present, and returns its name.
///
/// Outputs that the command line names are enabled anyway.
pub fn keep_one_enabled(configs: &mut OutputConfigs, present: &BTreeSet<String>) -> Option<String> {
    let is_disabled =
        |name: &String| configs.outputs.get(name).is_some_and(|config| config.enabled == Some(false));
    let first = present.first()?.clone();
    if !configs.only.is_empty() || !present.iter().all(is_disabled) {
        return None;
    }
    configs.outputs.entry(first.clone()).or_default().enabled = None;
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disabled() -> OutputConfig {
        OutputConfig { enabled: Some(false), ..OutputConfig::default() }
    }

    #[test]
    fn one_output_stays_enabled_if_all_are_disabled() {
        let present: BTreeSet<String> = ["DP-1".to_owned(), "DP-2".to_owned()].into();
        let outputs = present.iter().map(|name| (name.clone(), disabled())).collect();
        let mut configs = OutputConfigs { outputs, ..OutputConfigs::default() };
        assert_eq!(keep_one_enabled(&mut configs, &BTreeSet::new()), None);
        assert_eq!(keep_one_enabled(&mut configs, &present).as_deref(), Some("DP-1"));
        assert_eq!((configs.outputs["DP-1"].enabled, configs.outputs["DP-2"].enabled), (None, Some(false)));
        assert_eq!(keep_one_enabled(&mut configs, &present), None);
    }

    #[test]
    fn outputs_named_by_the_command_line_need_no_exception() {
        let present: BTreeSet<String> = ["DP-1".to_owned()].into();
        let outputs = [("DP-1".to_owned(), disabled())].into();
        let mut configs = OutputConfigs { outputs, only: vec!["DP-1".into()], ..OutputConfigs::default() };
        assert_eq!(keep_one_enabled(&mut configs, &present), None);
    }

    #[test]
    fn positions_round_trip_and_invalid_ones_are_refused() {
        for text in ["10,-20", "right-of DP-1", "above GSM Wide 7"] {
            assert_eq!(text.parse::<Position>().map(|position| position.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "near", "1,2,3", "99999,0", "right-of"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn named_color_space_removes_the_icc_profile() {
        let icc =
            OutputConfig { icc: Some("/etc/dell.icc".into()), scale: Some(2.0), ..OutputConfig::default() };
        let signal = SignalConfig { color_space: Some(Default::default()), ..SignalConfig::default() };
        let result = icc.overridden_by(&OutputConfig { signal, ..OutputConfig::default() });
        assert_eq!((result.icc, result.scale), (None, Some(2.0)));
    }
}
