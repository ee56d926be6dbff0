//! Identity of monitors, and which output a name means: a connector, a monitor, a port or a
//! pattern.

use std::collections::BTreeMap;
use std::fmt;

use geom_color::primaries::Primaries;
use geom_edid::Edid;

use crate::output_config::{OutputConfig, OutputConfigs, Position};
use crate::pattern::matches_pattern;

/// The identity of a monitor, from its EDID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Manufacturer: three letters of the PNP registry.
    pub make: String,
    /// Name of the model, or its product code as `0x1234`.
    pub model: String,
    /// Serial number.
    pub serial: Option<String>,
}

impl From<&Edid> for Identity {
    fn from(edid: &Edid) -> Self {
        Self { make: edid.make.clone(), model: edid.model(), serial: edid.any_serial() }
    }
}

/// `make model serial`, as configuration and commands name a monitor; without a serial number,
/// `make model`.
impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.make, self.model)?;
        match &self.serial {
            Some(serial) => write!(formatter, " {serial}"),
            None => Ok(()),
        }
    }
}

/// Returns a name for an EDID: `edid:` and 16 digits, the FNV-1a hash of its bytes.
///
/// It distinguishes monitors of the same model that have their serial numbers in other places than
/// the standard's.
pub fn edid_name(bytes: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("edid:{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// What is known of an output's monitor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Monitor {
    /// Its identity.
    pub identity: Option<Identity>,
    /// The [name of its EDID](edid_name).
    pub edid: Option<String>,
    /// Width and height in millimeters; 0 if unknown.
    pub size: (u32, u32),
    /// Its primaries.
    pub primaries: Option<Primaries>,
    /// Its maximum luminance in cd/m².
    pub max_luminance: Option<u16>,
    /// The lowest refresh rate of its range in Hz.
    pub min_refresh: Option<u16>,
}

/// How specifically a name matches an output. The most specific match wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum MatchRank {
    /// A pattern with this number of literal characters matches the connector or the monitor.
    Pattern(usize),
    /// The name of the port: the GPU's path, and the path from there.
    Port,
    /// The identity of the monitor, which no other known monitor has.
    Monitor,
    /// The name of the EDID, which no other known monitor has.
    Edid,
    /// The name of the connector, or an alias of it.
    Connector,
}

/// The identifiers of an output's monitor.
#[derive(Debug, Clone, Default)]
pub struct MonitorIds {
    /// The identity of the monitor.
    pub monitor: Option<Identity>,
    /// The [name of its EDID](edid_name).
    pub edid: Option<String>,
    /// The port, the same after each boot: `pci-0000:00:02.0/DP-1`, or behind hubs
    /// `pci-0000:00:02.0/DP-1/8/1`.
    pub port: Option<String>,
}

impl From<Option<Identity>> for MonitorIds {
    fn from(monitor: Option<Identity>) -> Self {
        Self { monitor, ..Self::default() }
    }
}

/// The outputs that are present or disconnected, with the identifiers of their monitors.
#[derive(Debug, Default)]
pub struct KnownOutputs {
    /// By connector.
    outputs: BTreeMap<String, MonitorIds>,
    /// Names that the configuration defines, and what they stand for.
    aliases: BTreeMap<String, String>,
}

impl KnownOutputs {
    /// Returns an empty set with the aliases of the configuration.
    pub fn with_aliases(aliases: &BTreeMap<String, String>) -> Self {
        Self { outputs: BTreeMap::new(), aliases: aliases.clone() }
    }

    /// Adds the output of a connector, or replaces it.
    pub fn add(&mut self, connector: &str, ids: impl Into<MonitorIds>) {
        self.outputs.insert(connector.to_owned(), ids.into());
    }

    fn rank(&self, name: &str, connector: &str) -> Option<MatchRank> {
        if name == connector {
            return Some(MatchRank::Connector);
        }
        // The name of a connector means only that connector, even if a monitor or an alias has the
        // same name.
        if self.outputs.contains_key(name) {
            return None;
        }
        if let Some(aliased) = self.aliases.get(name) {
            return match aliased == connector {
                true => Some(MatchRank::Connector),
                false => self.rank_of_monitor(aliased, connector),
            };
        }
        self.rank_of_monitor(name, connector)
    }

    fn rank_of_monitor(&self, name: &str, connector: &str) -> Option<MatchRank> {
        let ids = self.outputs.get(connector)?;
        let is_unique =
            |is: &dyn Fn(&MonitorIds) -> bool| self.outputs.values().filter(|ids| is(ids)).count() == 1;
        if ids.edid.as_deref() == Some(name) {
            return is_unique(&|ids| ids.edid.as_deref() == Some(name)).then_some(MatchRank::Edid);
        }
        let monitor = ids.monitor.as_ref().map(ToString::to_string);
        if monitor.as_deref() == Some(name) {
            let same = |ids: &MonitorIds| ids.monitor.as_ref().is_some_and(|other| other.to_string() == name);
            return is_unique(&same).then_some(MatchRank::Monitor);
        }
        if ids.port.as_deref() == Some(name) {
            return Some(MatchRank::Port);
        }
        let matches = matches_pattern(name, connector)
            || monitor.is_some_and(|monitor| matches_pattern(name, &monitor));
        let literals = name.chars().filter(|character| *character != '*').count();
        (name.contains('*') && matches).then_some(MatchRank::Pattern(literals))
    }

    /// Returns the connectors of the outputs that a name means, by the most specific match.
    ///
    /// From most to least specific: connector, [EDID](edid_name), `make model serial`, port,
    /// pattern. An EDID or a monitor's identity means an output only if it is unique.
    pub fn connectors_of(&self, name: &str) -> Vec<String> {
        let connectors = self.outputs.keys();
        let all: Vec<_> =
            connectors.filter_map(|connector| Some((self.rank(name, connector)?, connector))).collect();
        let best = all.iter().map(|(rank, _)| *rank).max();
        all.into_iter()
            .filter(|(rank, _)| Some(*rank) == best)
            .map(|(_, connector)| connector.clone())
            .collect()
    }

    /// Returns the connector that a name means, or the name itself if it means none or several.
    fn unique_connector(&self, name: &str) -> String {
        match self.connectors_of(name).as_slice() {
            [one] => one.clone(),
            _ => name.to_owned(),
        }
    }

    /// Returns a configuration by connector.
    ///
    /// If several names mean an output, the most specific one wins. Names that mean no known output
    /// are kept: it may be connected later.
    pub fn by_connector(&self, configs: &OutputConfigs) -> OutputConfigs {
        let mut outputs: BTreeMap<String, OutputConfig> = configs.outputs.clone();
        for connector in self.outputs.keys() {
            let ranked = |name: &&String| self.rank(name, connector).map(|rank| (rank, (*name).clone()));
            let best = configs.outputs.keys().filter_map(|name| ranked(&name)).max();
            if let Some(config) = best.and_then(|(_, name)| configs.outputs.get(&name)) {
                outputs.insert(connector.clone(), config.clone());
            }
        }
        for config in outputs.values_mut() {
            if let Some(Position::NextTo(_, name)) = &mut config.position {
                *name = self.unique_connector(name);
            }
            config.mirror.iter_mut().for_each(|name| *name = self.unique_connector(name));
        }
        let only = configs.only.iter().flat_map(|name| {
            let connectors = self.connectors_of(name);
            if connectors.is_empty() {
                vec![name.clone()]
            } else {
                connectors
            }
        });
        OutputConfigs { outputs, only: only.collect(), fullscreen: configs.fullscreen.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::output_config::Side;

    fn monitor(model: &str, serial: Option<&str>) -> Option<Identity> {
        Some(Identity { make: "GSM".into(), model: model.into(), serial: serial.map(str::to_owned) })
    }

    fn known() -> KnownOutputs {
        let mut known = KnownOutputs::default();
        known.add("DP-1", monitor("Wide", Some("7")));
        known.add("DP-2", monitor("Twin", None));
        known.add("DP-3", monitor("Twin", None));
        known.add("HDMI-A-1", None);
        known
    }

    #[test]
    fn connector_monitor_and_pattern_names_are_resolved() {
        for (name, expected) in [
            ("DP-1", vec!["DP-1"]),
            ("GSM Wide 7", vec!["DP-1"]),
            ("GSM Wide", vec![]),
            // Identical monitors have no unique identity.
            ("GSM Twin", vec![]),
            ("GSM Twin*", vec!["DP-2", "DP-3"]),
            ("DP-*", vec!["DP-1", "DP-2", "DP-3"]),
            ("*", vec!["DP-1", "DP-2", "DP-3", "HDMI-A-1"]),
            ("DP-9", vec![]),
        ] {
            assert_eq!(known().connectors_of(name), expected, "{name}");
        }
    }

    #[test]
    fn identical_monitors_are_distinguished_by_edid_or_port() {
        let mut known = KnownOutputs::with_aliases(&[("left".to_owned(), "pci-1/DP-2".to_owned())].into());
        for (number, edid) in [(1, "edid:aa"), (2, "edid:bb"), (3, "edid:bb")] {
            let monitor = monitor("Twin", None);
            let port = Some(format!("pci-1/DP-{number}"));
            known.add(&format!("DP-{number}"), MonitorIds { monitor, edid: Some(edid.into()), port });
        }
        for (name, expected) in [
            ("edid:aa", vec!["DP-1"]),
            ("edid:bb", vec![]),
            ("pci-1/DP-3", vec!["DP-3"]),
            ("left", vec!["DP-2"]),
            ("right", vec![]),
        ] {
            assert_eq!(known.connectors_of(name), expected, "{name}");
        }
        let config = OutputConfig {
            position: Some(Position::NextTo(Side::LeftOf, "left".into())),
            mirror: Some("edid:aa".into()),
            ..OutputConfig::default()
        };
        let configs = OutputConfigs {
            outputs: [("DP-3".to_owned(), config)].into(),
            only: vec!["left".into()],
            ..OutputConfigs::default()
        };
        let configs = known.by_connector(&configs);
        let config = &configs.outputs["DP-3"];
        assert_eq!((config.mirror.as_deref(), &configs.only[..]), (Some("DP-1"), &["DP-2".to_owned()][..]));
        assert!(matches!(&config.position, Some(Position::NextTo(_, name)) if name == "DP-2"));
    }

    #[test]
    fn edid_name_is_fnv_1a() {
        assert_eq!(edid_name(b"foobar"), "edid:85944171f73967e8");
    }

    #[test]
    fn most_specific_name_wins() {
        let scale = |scale: f64| OutputConfig { scale: Some(scale), ..OutputConfig::default() };
        let configs = OutputConfigs {
            outputs: [("*", 1.0), ("GSM *", 2.0), ("GSM Wide 7", 3.0), ("DP-3", 4.0), ("DP-9", 5.0)]
                .map(|(name, factor)| (name.to_owned(), scale(factor)))
                .into(),
            only: vec!["GSM Wide 7".into(), "DP-9".into()],
            ..OutputConfigs::default()
        };
        let configs = known().by_connector(&configs);
        let of = |name: &str| configs.outputs.get(name).and_then(|config| config.scale);
        let scales = ["DP-1", "DP-2", "DP-3", "HDMI-A-1", "DP-9"].map(of);
        assert_eq!(scales, [Some(3.0), Some(2.0), Some(4.0), Some(1.0), Some(5.0)]);
        assert_eq!(configs.only, ["DP-1", "DP-9"]);
    }

    proptest! {
        /// For any names of monitors, a connector's name means only that connector, and a unique
        /// monitor's name only that monitor.
        #[test]
        fn connector_names_take_precedence(models in prop::collection::vec("[A-D*-]{0,4}(-1)?", 1..5)) {
            let mut known = KnownOutputs::default();
            let connectors: Vec<String> = (0..models.len()).map(|number| format!("DP-{number}")).collect();
            for (connector, model) in connectors.iter().zip(&models) {
                known.add(connector, monitor(model, None));
            }
            for (connector, model) in connectors.iter().zip(&models) {
                prop_assert_eq!(known.connectors_of(connector), vec![connector.clone()]);
                let found = known.connectors_of(&format!("GSM {model}"));
                let twins = models.iter().filter(|other| *other == model).count();
                prop_assert!(twins > 1 || found == vec![connector.clone()], "{found:?}");
            }
        }
    }
}
