//! A user's profile: the configuration of displays, and layouts for sets of monitors.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use geom_color::night_light::NightLight;

use crate::identity::KnownOutputs;
use crate::output_config::{OutputConfig, OutputConfigs};

/// The configuration for a set of monitors that are connected together.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// The name in the profile.
    pub name: String,
    /// Names of the monitors; see [`KnownOutputs::connectors_of`].
    pub monitors: Vec<String>,
    /// The configuration by name of the output.
    pub outputs: BTreeMap<String, OutputConfig>,
}

/// The contents of a profile.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UserProfile {
    /// The configuration by name of the output.
    pub outputs: BTreeMap<String, OutputConfig>,
    /// The layouts, in the order of their names.
    pub layouts: Vec<Layout>,
    /// The night light, in place of the system's.
    pub night_light: Option<NightLight>,
}

impl UserProfile {
    /// Returns the ICC profiles that it names.
    pub fn icc_files(&self) -> impl Iterator<Item = &Path> {
        let layouts = self.layouts.iter().flat_map(|layout| layout.outputs.values());
        self.outputs.values().chain(layouts).filter_map(|config| config.icc.as_deref())
    }

    /// Returns the layout for the connectors that are present.
    ///
    /// This is the one whose monitors are exactly these, or else the one with the most monitors
    /// that are all present.
    pub fn layout(&self, known: &KnownOutputs, present: &BTreeSet<String>) -> Option<&Layout> {
        let covered = |layout: &Layout| {
            let mut all = BTreeSet::new();
            for name in &layout.monitors {
                let mut connectors: Vec<String> = known.connectors_of(name);
                connectors.retain(|connector| present.contains(connector));
                if connectors.is_empty() {
                    return None;
                }
                all.extend(connectors);
            }
            Some(all)
        };
        let matching = self.layouts.iter().filter_map(|layout| Some((covered(layout)?, layout)));
        // Of equals the first: max_by_key takes the last.
        let best = matching.rev().max_by_key(|(covered, _)| (covered == present, covered.len()));
        best.map(|(_, layout)| layout)
    }

    /// Returns the system's configuration by connector, overridden by the profile and that by its
    /// layout.
    pub fn over(
        &self,
        system: OutputConfigs,
        known: &KnownOutputs,
        present: &BTreeSet<String>,
    ) -> OutputConfigs {
        let mut configs = known.by_connector(&system);
        let layout = self.layout(known, present).map(|layout| &layout.outputs);
        for outputs in std::iter::once(&self.outputs).chain(layout) {
            let own = OutputConfigs { outputs: outputs.clone(), ..OutputConfigs::default() };
            for (name, config) in known.by_connector(&own).outputs {
                let below = configs.outputs.entry(name).or_default();
                *below = below.overridden_by(&config);
            }
        }
        configs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::output_config::Position;

    fn known() -> KnownOutputs {
        let mut known = KnownOutputs::default();
        for (connector, model) in [("DP-1", "Wide"), ("DP-2", "Tall"), ("eDP-1", "Panel")] {
            let identity = Identity { make: "GSM".into(), model: model.into(), serial: None };
            known.add(connector, Some(identity));
        }
        known
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn scaled(name: &str, scale: f64) -> BTreeMap<String, OutputConfig> {
        [(name.to_owned(), OutputConfig { scale: Some(scale), ..OutputConfig::default() })].into()
    }

    fn layout(name: &str, monitors: &[&str]) -> Layout {
        let monitors = monitors.iter().map(|name| (*name).to_owned()).collect();
        Layout { name: name.into(), monitors, outputs: BTreeMap::new() }
    }

    #[test]
    fn exact_layout_wins_over_the_one_with_most_monitors() {
        let layouts = vec![
            layout("all", &["DP-*", "eDP-1"]),
            layout("alone", &["eDP-1"]),
            layout("desk", &["GSM Wide", "eDP-1"]),
        ];
        let profile = UserProfile { layouts, ..UserProfile::default() };
        for (present, expected) in [
            (set(&["eDP-1"]), Some("alone")),
            // The first of two that are exact.
            (set(&["DP-1", "eDP-1"]), Some("all")),
            (set(&["DP-1", "DP-2", "eDP-1"]), Some("all")),
            (set(&["eDP-1", "HDMI-A-1"]), Some("alone")),
            (set(&["DP-1"]), None),
        ] {
            let layout = profile.layout(&known(), &present).map(|layout| layout.name.as_str());
            assert_eq!(layout, expected, "{present:?}");
        }
    }

    #[test]
    fn layout_overrides_profile_and_profile_overrides_system() {
        let mut desk = layout("desk", &["GSM Wide"]);
        desk.outputs = scaled("GSM Wide", 1.5);
        let position = Some(Position::At(10, 0));
        let own = OutputConfig { scale: Some(2.0), position: position.clone(), ..OutputConfig::default() };
        let profile = UserProfile {
            outputs: [("GSM Wide".to_owned(), own)].into(),
            layouts: vec![desk],
            night_light: None,
        };
        let system = OutputConfigs { outputs: scaled("*", 3.0), ..OutputConfigs::default() };
        let configs = profile.over(system, &known(), &set(&["DP-1", "DP-2"]));
        assert_eq!(
            (configs.outputs["DP-1"].scale, &configs.outputs["DP-1"].position),
            (Some(1.5), &position)
        );
        assert_eq!(configs.outputs["DP-2"].scale, Some(3.0));
    }
}
