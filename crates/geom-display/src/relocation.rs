//! Monitors that moved from one connector to another: what is remembered of a monitor moves with
//! it.
//!
//! A monitor is recognized if its identity is unique, among the present monitors and the known
//! ones. Identical monitors, and monitors without identity, are recognized by their port instead.
//! Behind a hub, a port gets another connector each time.

use std::collections::BTreeMap;
use std::fmt;

use crate::identity::Identity;

/// What a monitor is recognized by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MonitorKey {
    /// Its identity, which is unique.
    Monitor(Identity),
    /// Its port.
    Port(String),
}

impl fmt::Display for MonitorKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Monitor(identity) => identity.fmt(formatter),
            Self::Port(port) => port.fmt(formatter),
        }
    }
}

/// The monitor at a connector, and the port of the connector, as far as known.
pub type MonitorAt = (Option<Identity>, Option<String>);

/// Returns the keys of the monitors last seen, and of the present ones, by connector.
pub fn monitor_keys(
    last: &BTreeMap<String, MonitorAt>,
    present: &BTreeMap<String, MonitorAt>,
) -> (BTreeMap<String, MonitorKey>, BTreeMap<String, Option<MonitorKey>>) {
    let count = |all: &BTreeMap<String, MonitorAt>, one: &Identity| {
        all.values().filter(|(monitor, _)| monitor.as_ref() == Some(one)).count()
    };
    let is_twin = |one: &Identity| count(last, one) > 1 || count(present, one) > 1;
    let key = |(monitor, port): &MonitorAt| match monitor {
        Some(monitor) if !is_twin(monitor) => Some(MonitorKey::Monitor(monitor.clone())),
        _ => port.clone().map(MonitorKey::Port),
    };
    let last = last.iter().filter_map(|(connector, at)| Some((connector.clone(), key(at)?)));
    let present = present.iter().map(|(connector, at)| (connector.clone(), key(at)));
    (last.collect(), present.collect())
}

/// Where remembered state has to be moved; departures come first.
#[derive(Debug, PartialEq)]
pub struct Relocations {
    /// Connectors whose monitor is now at another connector, or has been replaced.
    pub departures: Vec<(String, MonitorKey)>,
    /// Connectors with a monitor that they did not have before.
    pub arrivals: Vec<(String, MonitorKey)>,
}

fn is_unique<'a>(all: impl Iterator<Item = &'a MonitorKey>, one: &MonitorKey) -> bool {
    all.filter(|other| *other == one).count() == 1
}

/// Compares the monitors last seen at each connector with the present ones.
pub fn relocations(
    last: &BTreeMap<String, MonitorKey>,
    present: &BTreeMap<String, Option<MonitorKey>>,
) -> Relocations {
    let all_present = || present.values().flatten();
    let mut relocations = Relocations { departures: Vec::new(), arrivals: Vec::new() };
    for (connector, before) in last {
        let now = present.get(connector);
        let stays = now.is_some_and(|now| now.as_ref() == Some(before));
        // A monitor that is unplugged and not replaced may come back here. One that is recognized
        // by its port alone has no other place to wait for it.
        let is_replaced =
            matches!(before, MonitorKey::Monitor(_)) && now.is_some_and(|now| now.as_ref() != Some(before));
        let is_elsewhere = !stays && is_unique(all_present(), before);
        if (is_replaced || is_elsewhere) && is_unique(last.values(), before) {
            relocations.departures.push((connector.clone(), before.clone()));
        }
    }
    for (connector, now) in present {
        let Some(now) = now.as_ref().filter(|now| last.get(connector) != Some(*now)) else { continue };
        // An identical monitor may be remembered at a disconnected output.
        let count = last.values().filter(|before| *before == now).count();
        if is_unique(all_present(), now) && count <= 1 {
            relocations.arrivals.push((connector.clone(), now.clone()));
        }
    }
    relocations
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity(model: &str) -> Identity {
        Identity { make: "GSM".into(), model: model.into(), serial: None }
    }

    fn monitor(model: &str) -> MonitorKey {
        MonitorKey::Monitor(identity(model))
    }

    /// Returns the connectors of departures and arrivals; an empty model is a monitor without
    /// identity.
    fn run(last: &[(&str, &str)], present: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let last = last.iter().map(|(connector, model)| ((*connector).to_owned(), monitor(model))).collect();
        let present = present
            .iter()
            .map(|(connector, model)| ((*connector).to_owned(), (!model.is_empty()).then(|| monitor(model))))
            .collect();
        let relocations = relocations(&last, &present);
        let names = |list: Vec<(String, MonitorKey)>| list.into_iter().map(|(name, _)| name).collect();
        (names(relocations.departures), names(relocations.arrivals))
    }

    #[test]
    fn identical_monitors_are_recognized_by_port() {
        let at = |model: &str, port: &str| {
            let model = (!model.is_empty()).then(|| identity(model));
            (model, (!port.is_empty()).then(|| port.to_owned()))
        };
        let last = [("A".to_owned(), at("x", "1")), ("B".to_owned(), at("t", "2"))].into();
        let present =
            [("B".to_owned(), at("t", "2")), ("C".to_owned(), at("t", "3")), ("D".to_owned(), at("", ""))];
        let (last, present) = monitor_keys(&last, &present.into());
        let port = |name: &str| MonitorKey::Port(name.into());
        assert_eq!(last["A"], monitor("x"));
        assert_eq!((&last["B"], &present["B"]), (&port("2"), &Some(port("2"))));
        assert_eq!((&present["C"], &present["D"]), (&Some(port("3")), &None));
    }

    /// A hub's connectors are new ones each time. State that belongs to a port stays there,
    /// whatever is plugged into it.
    #[test]
    fn ports_move_between_connectors_and_are_not_replaced() {
        let port = |name: &str| MonitorKey::Port(name.into());
        let last = [("DP-1".to_owned(), port("hub/1")), ("A".to_owned(), port("a"))].into();
        let present = [("DP-2".to_owned(), Some(port("hub/1"))), ("A".to_owned(), Some(monitor("x")))].into();
        let relocations = relocations(&last, &present);
        assert_eq!(relocations.departures, [("DP-1".to_owned(), port("hub/1"))]);
        assert_eq!(
            relocations.arrivals,
            [("A".to_owned(), monitor("x")), ("DP-2".to_owned(), port("hub/1"))]
        );
    }

    #[test]
    fn moved_and_replaced_monitors_are_found() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        // Nothing happened; a monitor is unplugged.
        assert_eq!(run(&[("A", "x")], &[("A", "x")]), (vec![], vec![]));
        assert_eq!(run(&[("A", "x")], &[]), (vec![], vec![]));
        // Moved to another connector; two monitors swapped.
        assert_eq!(run(&[("A", "x")], &[("B", "x")]), (list(&["A"]), list(&["B"])));
        let swapped = run(&[("A", "x"), ("B", "y")], &[("A", "y"), ("B", "x")]);
        assert_eq!(swapped, (list(&["A", "B"]), list(&["A", "B"])));
        // Replaced by a monitor with an identity, and by one without.
        assert_eq!(run(&[("A", "x")], &[("A", "y")]), (list(&["A"]), list(&["A"])));
        assert_eq!(run(&[("A", "x")], &[("A", "")]), (list(&["A"]), vec![]));
        // Identical monitors stay at their connectors.
        assert_eq!(run(&[("A", "t"), ("B", "t")], &[("A", "t"), ("C", "t")]), (vec![], vec![]));
        assert_eq!(run(&[("A", "t")], &[("B", "t"), ("C", "t")]), (vec![], vec![]));
    }

    proptest! {
        /// A monitor that arrives, and was seen before, departs from there. None arrives or departs
        /// twice.
        #[test]
        fn no_state_is_lost_or_duplicated(
            last in prop::collection::btree_map("[A-D]", "[u-z]", 0..4),
            present in prop::collection::btree_map("[A-D]", prop::option::of("[u-z]"), 0..4),
        ) {
            let last: BTreeMap<String, MonitorKey> =
                last.into_iter().map(|(at, model)| (at, monitor(&model))).collect();
            let present: BTreeMap<String, Option<MonitorKey>> =
                present.into_iter().map(|(at, model)| (at, model.map(|model| monitor(&model)))).collect();
            let relocations = relocations(&last, &present);
            for (index, (at, key)) in relocations.arrivals.iter().enumerate() {
                prop_assert!(relocations.arrivals[..index].iter().all(|(_, other)| other != key));
                if last.values().any(|before| before == key) {
                    let is_departure = |(from, other): &(String, MonitorKey)| other == key && from != at;
                    prop_assert!(relocations.departures.iter().any(is_departure));
                }
            }
            for (index, (_, key)) in relocations.departures.iter().enumerate() {
                prop_assert!(relocations.departures[..index].iter().all(|(_, other)| other != key));
            }
        }
    }
}
