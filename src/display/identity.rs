//! Which monitor is meant: by its connector, by who it is, or by a pattern. Pure.

use std::collections::BTreeMap;
use std::fmt;

use super::colour::Primaries;
use super::edid::Edid;
use super::plan::{Position, Wish, Wishes};
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

/// A monitor's EDID as a name, `edid:` and 16 digits: FNV-1a of its bytes, which tells twins apart that number themselves elsewhere
/// than where serial numbers belong.
pub fn edid_name(bytes: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("edid:{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// What is told of a display's monitor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Monitor {
    pub identity: Option<Identity>,
    /// Its exact EDID as [`edid_name`] has it.
    pub edid: Option<String>,
    /// Millimetres; 0 where unknown.
    pub size: (u32, u32),
    /// Where it tells.
    pub primaries: Option<Primaries>,
    /// Its brightest, cd/m², where it tells.
    pub max_luminance: Option<u16>,
}

/// How sure it is that a name means a display; the surest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Certainty {
    /// A pattern with so many letters of its own fits its connector or its monitor.
    Pattern(usize),
    /// The name is its port's: the Gpu's path and the way from there.
    Port,
    /// The name is its monitor's, and no other's that is known.
    Monitor,
    /// The name is its exact EDID's, and no other's that is known.
    Edid,
    Connector,
}

/// What is known of one display.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub monitor: Option<Identity>,
    /// As [`edid_name`] has it.
    pub edid: Option<String>,
    /// `pci-0000:00:02.0/DP-1`, or for a display behind hubs `pci-0000:00:02.0/DP-1/8/1`, the same after each start.
    pub port: Option<String>,
}

impl From<Option<Identity>> for Seen {
    fn from(monitor: Option<Identity>) -> Self {
        Self { monitor, ..Self::default() }
    }
}

/// Displays that are known, present or dark, and who their monitors are.
#[derive(Debug, Default)]
pub struct Known {
    displays: BTreeMap<String, Seen>,
    /// Names of the configuration's own.
    aliases: BTreeMap<String, String>,
}

impl Known {
    pub fn with_aliases(aliases: &BTreeMap<String, String>) -> Self {
        Self { displays: BTreeMap::new(), aliases: aliases.clone() }
    }

    /// What is told last of a connector counts.
    pub fn add(&mut self, connector: &str, seen: impl Into<Seen>) {
        self.displays.insert(connector.to_owned(), seen.into());
    }

    fn certainty(&self, name: &str, connector: &str) -> Option<Certainty> {
        if name == connector {
            return Some(Certainty::Connector);
        }
        // A connector's own name is nobody's else, whatever a monitor or an alias calls itself.
        if self.displays.contains_key(name) {
            return None;
        }
        if let Some(aliased) = self.aliases.get(name) {
            return match aliased == connector {
                true => Some(Certainty::Connector),
                false => self.certainty_of_monitor(aliased, connector),
            };
        }
        self.certainty_of_monitor(name, connector)
    }

    fn certainty_of_monitor(&self, name: &str, connector: &str) -> Option<Certainty> {
        let seen = self.displays.get(connector)?;
        let only = |is: &dyn Fn(&Seen) -> bool| self.displays.values().filter(|seen| is(seen)).count() == 1;
        if seen.edid.as_deref() == Some(name) {
            return only(&|seen| seen.edid.as_deref() == Some(name)).then_some(Certainty::Edid);
        }
        let monitor = seen.monitor.as_ref().map(ToString::to_string);
        if monitor.as_deref() == Some(name) {
            let same = |seen: &Seen| seen.monitor.as_ref().is_some_and(|other| other.to_string() == name);
            return only(&same).then_some(Certainty::Monitor);
        }
        if seen.port.as_deref() == Some(name) {
            return Some(Certainty::Port);
        }
        let fits = matches_pattern(name, connector)
            || monitor.is_some_and(|monitor| matches_pattern(name, &monitor));
        let letters = name.chars().filter(|letter| *letter != '*').count();
        (name.contains('*') && fits).then_some(Certainty::Pattern(letters))
    }

    /// The connectors of the displays that a name means, the surest only.
    pub fn meant(&self, name: &str) -> Vec<String> {
        let connectors = self.displays.keys();
        let all = connectors.filter_map(|connector| Some((self.certainty(name, connector)?, connector)));
        let all: Vec<_> = all.collect();
        let surest = all.iter().map(|(certainty, _)| *certainty).max();
        all.into_iter()
            .filter(|(certainty, _)| Some(*certainty) == surest)
            .map(|(_, connector)| connector.clone())
            .collect()
    }

    /// The one connector that a name means, or the name where it means none or several.
    fn one(&self, name: &str) -> String {
        match self.meant(name).as_slice() {
            [one] => one.clone(),
            _ => name.to_owned(),
        }
    }

    /// The same wishes by connector. Where several names mean a display, the surest counts. What is named and not known is
    /// kept: it may come.
    pub fn by_connector(&self, wishes: &Wishes) -> Wishes {
        let mut displays: BTreeMap<String, Wish> = wishes.displays.clone();
        for connector in self.displays.keys() {
            let of = |name: &&String| {
                self.certainty(name, connector).map(|certainty| (certainty, (*name).clone()))
            };
            let surest = wishes.displays.keys().filter_map(|name| of(&name)).max();
            if let Some(wish) = surest.and_then(|(_, name)| wishes.displays.get(&name)) {
                displays.insert(connector.clone(), wish.clone());
            }
        }
        for wish in displays.values_mut() {
            if let Some(Position::Beside(_, name)) = &mut wish.position {
                *name = self.one(name);
            }
            wish.mirror.iter_mut().for_each(|name| *name = self.one(name));
        }
        let only = wishes.only.iter().flat_map(|name| {
            let meant = self.meant(name);
            if meant.is_empty() {
                vec![name.clone()]
            } else {
                meant
            }
        });
        Wishes { displays, only: only.collect(), fullscreen: wishes.fullscreen.clone() }
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
    fn twins_are_told_apart_by_exact_edid_or_port() {
        let mut known = Known::with_aliases(&[("left".to_owned(), "pci-1/DP-2".to_owned())].into());
        for (number, edid) in [(1, "edid:aa"), (2, "edid:bb"), (3, "edid:bb")] {
            let monitor = monitor("Twin", None);
            let port = Some(format!("pci-1/DP-{number}"));
            known.add(&format!("DP-{number}"), Seen { monitor, edid: Some(edid.into()), port });
        }
        for (name, meant) in [
            ("edid:aa", vec!["DP-1"]),
            ("edid:bb", vec![]),
            ("pci-1/DP-3", vec!["DP-3"]),
            ("left", vec!["DP-2"]),
            ("right", vec![]),
        ] {
            assert_eq!(known.meant(name), meant, "{name}");
        }
        let beside = Position::Beside(super::super::plan::Side::LeftOf, "left".into());
        let wish = Wish { position: Some(beside), mirror: Some("edid:aa".into()), ..Wish::default() };
        let wishes = Wishes {
            displays: [("DP-3".to_owned(), wish)].into(),
            only: vec!["left".into()],
            ..Wishes::default()
        };
        let wishes = known.by_connector(&wishes);
        let wish = &wishes.displays["DP-3"];
        assert_eq!((wish.mirror.as_deref(), &wishes.only[..]), (Some("DP-1"), &["DP-2".to_owned()][..]));
        assert!(matches!(&wish.position, Some(Position::Beside(_, name)) if name == "DP-2"));
    }

    #[test]
    fn edids_have_names() {
        assert_eq!(edid_name(b"foobar"), "edid:85944171f73967e8");
    }

    #[test]
    fn the_surest_name_s_wish_counts() {
        let scale = |scale: f64| Wish { scale: Some(scale), ..Wish::default() };
        let wishes = Wishes {
            displays: [("*", 1.0), ("GSM *", 2.0), ("GSM Wide 7", 3.0), ("DP-3", 4.0), ("DP-9", 5.0)]
                .map(|(name, factor)| (name.to_owned(), scale(factor)))
                .into(),
            only: vec!["GSM Wide 7".into(), "DP-9".into()],
            ..Wishes::default()
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
