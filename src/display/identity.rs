//! Which monitor is meant: by its connector, by who it is, or by a pattern. Pure.

use std::collections::BTreeMap;
use std::fmt;

use super::colour::Primaries;
use super::edid::Edid;
use super::plan::{Wish, Wishes};
use crate::config::matches_pattern;

/// Who a monitor is, from its EDID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Three letters of the PNP registry.
    pub make: String,
    pub model: String,
    pub serial: Option<String>,
}

impl From<&Edid> for Identity {
    fn from(edid: &Edid) -> Self {
        Self { make: edid.make.clone(), model: edid.model(), serial: edid.any_serial() }
    }
}

/// `make model serial`, as configuration and commands name it; without a serial number, `make model`.
impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.make, self.model)?;
        match &self.serial {
            Some(serial) => write!(formatter, " {serial}"),
            None => Ok(()),
        }
    }
}

/// What is told of a display's monitor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Monitor {
    pub identity: Option<Identity>,
    /// Millimetres; 0 where unknown.
    pub size: (u32, u32),
    /// Where it tells.
    pub primaries: Option<Primaries>,
}

/// How sure it is that a name means a display; the surest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Certainty {
    /// A pattern with so many letters of its own fits its connector or its monitor.
    Pattern(usize),
    /// The name is its monitor's, and no other's that is known.
    Monitor,
    Connector,
}

/// Displays that are known, present or dark, and who their monitors are.
#[derive(Debug, Default)]
pub struct Known(BTreeMap<String, Option<Identity>>);

impl Known {
    /// What is told last of a connector counts.
    pub fn add(&mut self, connector: &str, monitor: Option<Identity>) {
        self.0.insert(connector.to_owned(), monitor);
    }

    fn certainty(&self, name: &str, connector: &str) -> Option<Certainty> {
        if name == connector {
            return Some(Certainty::Connector);
        }
        // A connector's own name is nobody's else, whatever a monitor calls itself.
        if self.0.contains_key(name) {
            return None;
        }
        let monitor = self.0.get(connector)?.as_ref().map(ToString::to_string);
        if monitor.as_deref() == Some(name) {
            let same = self.0.values().flatten().filter(|other| other.to_string() == name).count();
            return (same == 1).then_some(Certainty::Monitor);
        }
        let fits = matches_pattern(name, connector)
            || monitor.is_some_and(|monitor| matches_pattern(name, &monitor));
        let letters = name.chars().filter(|letter| *letter != '*').count();
        (name.contains('*') && fits).then_some(Certainty::Pattern(letters))
    }

    /// The connectors of the displays that a name means, the surest only.
    pub fn meant(&self, name: &str) -> Vec<String> {
        let all = self.0.keys().filter_map(|connector| Some((self.certainty(name, connector)?, connector)));
        let all: Vec<_> = all.collect();
        let surest = all.iter().map(|(certainty, _)| *certainty).max();
        all.into_iter()
            .filter(|(certainty, _)| Some(*certainty) == surest)
            .map(|(_, connector)| connector.clone())
            .collect()
    }

    /// The same wishes by connector. Where several names mean a display, the surest counts. What is named and not known is
    /// kept: it may come.
    pub fn by_connector(&self, wishes: &Wishes) -> Wishes {
        let mut displays: BTreeMap<String, Wish> = wishes.displays.clone();
        for connector in self.0.keys() {
            let of = |name: &&String| {
                self.certainty(name, connector).map(|certainty| (certainty, (*name).clone()))
            };
            let surest = wishes.displays.keys().filter_map(|name| of(&name)).max();
            if let Some(wish) = surest.and_then(|(_, name)| wishes.displays.get(&name)) {
                displays.insert(connector.clone(), wish.clone());
            }
        }
        let only = wishes.only.iter().flat_map(|name| {
            let meant = self.meant(name);
            if meant.is_empty() {
                vec![name.clone()]
            } else {
                meant
            }
        });
        Wishes { displays, only: only.collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn monitor(model: &str, serial: Option<&str>) -> Option<Identity> {
        Some(Identity { make: "GSM".into(), model: model.into(), serial: serial.map(str::to_owned) })
    }

    fn known() -> Known {
        let mut known = Known::default();
        known.add("DP-1", monitor("Wide", Some("7")));
        known.add("DP-2", monitor("Twin", None));
        known.add("DP-3", monitor("Twin", None));
        known.add("HDMI-A-1", None);
        known
    }

    #[test]
    fn names_of_every_kind() {
        for (name, meant) in [
            ("DP-1", vec!["DP-1"]),
            ("GSM Wide 7", vec!["DP-1"]),
            ("GSM Wide", vec![]),
            // Twins are told apart by port alone.
            ("GSM Twin", vec![]),
            ("GSM Twin*", vec!["DP-2", "DP-3"]),
            ("DP-*", vec!["DP-1", "DP-2", "DP-3"]),
            ("*", vec!["DP-1", "DP-2", "DP-3", "HDMI-A-1"]),
            ("DP-9", vec![]),
        ] {
            assert_eq!(known().meant(name), meant, "{name}");
        }
    }

    #[test]
    fn the_surest_name_s_wish_counts() {
        let scale = |scale: f64| Wish { scale: Some(scale), ..Wish::default() };
        let wishes = Wishes {
            displays: [("*", 1.0), ("GSM *", 2.0), ("GSM Wide 7", 3.0), ("DP-3", 4.0), ("DP-9", 5.0)]
                .map(|(name, factor)| (name.to_owned(), scale(factor)))
                .into(),
            only: vec!["GSM Wide 7".into(), "DP-9".into()],
        };
        let wishes = known().by_connector(&wishes);
        let of = |name: &str| wishes.displays.get(name).and_then(|wish| wish.scale);
        let scales = ["DP-1", "DP-2", "DP-3", "HDMI-A-1", "DP-9"].map(of);
        assert_eq!(scales, [Some(3.0), Some(2.0), Some(4.0), Some(1.0), Some(5.0)]);
        assert_eq!(wishes.only, ["DP-1", "DP-9"]);
    }

    proptest! {
        /// Whatever monitors call themselves: a connector's name means it and nothing else, and a monitor's name that one.
        #[test]
        fn connectors_come_first(models in prop::collection::vec("[A-D*-]{0,4}(-1)?", 1..5)) {
            let mut known = Known::default();
            let connectors: Vec<String> = (0..models.len()).map(|number| format!("DP-{number}")).collect();
            for (connector, model) in connectors.iter().zip(&models) {
                known.add(connector, monitor(model, None));
            }
            for (connector, model) in connectors.iter().zip(&models) {
                prop_assert_eq!(known.meant(connector), vec![connector.clone()]);
                let meant = known.meant(&format!("GSM {model}"));
                let twins = models.iter().filter(|other| *other == model).count();
                prop_assert!(twins > 1 || meant == vec![connector.clone()], "{meant:?}");
            }
        }
    }
}
