//! Monitors that went from one connector to another: what is remembered of a monitor goes with it. Pure.
//!
//! A monitor counts as the same where its identity is unique, among what is there and among what was seen; twins, and monitors that
//! do not say who they are, are known by their ports, which behind a hub are on other connectors each time.

use std::collections::BTreeMap;

use std::fmt;

use super::identity::Identity;

/// By what a monitor is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Monitor(Identity),
    Port(String),
}

impl fmt::Display for Who {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Monitor(identity) => identity.fmt(formatter),
            Self::Port(port) => port.fmt(formatter),
        }
    }
}

/// A connector's monitor and port, as far as they are known.
pub type At = (Option<Identity>, Option<String>);

/// Who was seen where, and who is where now.
pub fn who(
    seen: &BTreeMap<String, At>,
    present: &BTreeMap<String, At>,
) -> (BTreeMap<String, Who>, BTreeMap<String, Option<Who>>) {
    let count = |all: &BTreeMap<String, At>, one: &Identity| {
        all.values().filter(|(monitor, _)| monitor.as_ref() == Some(one)).count()
    };
    let twin = |one: &Identity| count(seen, one) > 1 || count(present, one) > 1;
    let who = |(monitor, port): &At| match monitor {
        Some(monitor) if !twin(monitor) => Some(Who::Monitor(monitor.clone())),
        _ => port.clone().map(Who::Port),
    };
    let seen = seen.iter().filter_map(|(connector, at)| Some((connector.clone(), who(at)?)));
    let present = present.iter().map(|(connector, at)| (connector.clone(), who(at)));
    (seen.collect(), present.collect())
}

/// What happens to memories, in this order.
#[derive(Debug, PartialEq)]
pub struct Moves {
    /// Connectors whose monitor is away while they show another, or elsewhere now.
    pub leave: Vec<(String, Who)>,
    /// Connectors that show a monitor which they did not show before.
    pub arrive: Vec<(String, Who)>,
}

fn only<'a>(all: impl Iterator<Item = &'a Who>, one: &Who) -> bool {
    all.filter(|other| *other == one).count() == 1
}

/// Compares who was last seen at each connector with who is there now.
pub fn moves(seen: &BTreeMap<String, Who>, present: &BTreeMap<String, Option<Who>>) -> Moves {
    let there = || present.values().flatten();
    let mut moves = Moves { leave: Vec::new(), arrive: Vec::new() };
    for (connector, was) in seen {
        let now = present.get(connector);
        let stays = now.is_some_and(|now| now.as_ref() == Some(was));
        // Away, with nobody in its place, it may come back here.
        // What is known by its port alone has nowhere else to wait.
        let replaced = matches!(was, Who::Monitor(_)) && now.is_some_and(|now| now.as_ref() != Some(was));
        let elsewhere = !stays && only(there(), was);
        if (replaced || elsewhere) && only(seen.values(), was) {
            moves.leave.push((connector.clone(), was.clone()));
        }
    }
    for (connector, now) in present {
        let Some(now) = now.as_ref().filter(|now| seen.get(connector) != Some(*now)) else { continue };
        // A twin may still be dark somewhere.
        let known = seen.values().filter(|was| *was == now).count();
        if only(there(), now) && known <= 1 {
            moves.arrive.push((connector.clone(), now.clone()));
        }
    }
    moves
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity(model: &str) -> Identity {
        Identity { make: "GSM".into(), model: model.into(), serial: None }
    }

    fn monitor(model: &str) -> Who {
        Who::Monitor(identity(model))
    }

    fn run(seen: &[(&str, &str)], present: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let seen = seen.iter().map(|(connector, model)| ((*connector).to_owned(), monitor(model))).collect();
        let present = present
            .iter()
            .map(|(connector, model)| ((*connector).to_owned(), (!model.is_empty()).then(|| monitor(model))))
            .collect();
        let moves = moves(&seen, &present);
        let names = |list: Vec<(String, Who)>| list.into_iter().map(|(name, _)| name).collect();
        (names(moves.leave), names(moves.arrive))
    }

    #[test]
    fn twins_are_their_ports() {
        let at = |model: &str, port: &str| {
            let model = (!model.is_empty()).then(|| identity(model));
            (model, (!port.is_empty()).then(|| port.to_owned()))
        };
        let seen = [("A".to_owned(), at("x", "1")), ("B".to_owned(), at("t", "2"))].into();
        let present =
            [("B".to_owned(), at("t", "2")), ("C".to_owned(), at("t", "3")), ("D".to_owned(), at("", ""))];
        let (seen, present) = super::who(&seen, &present.into());
        assert_eq!(seen["A"], monitor("x"));
        assert_eq!((&seen["B"], &present["B"]), (&Who::Port("2".into()), &Some(Who::Port("2".into()))));
        assert_eq!((&present["C"], &present["D"]), (&Some(Who::Port("3".into())), &None));
    }

    /// A hub's connectors are others each time; what is bound to a socket stays there, whatever is plugged into it.
    #[test]
    fn ports_move_and_do_not_wait() {
        let port = |name: &str| Who::Port(name.into());
        let seen = [("DP-1".to_owned(), port("hub/1")), ("A".to_owned(), port("a"))].into();
        let present = [("DP-2".to_owned(), Some(port("hub/1"))), ("A".to_owned(), Some(monitor("x")))].into();
        let moves = moves(&seen, &present);
        assert_eq!(moves.leave, [("DP-1".to_owned(), port("hub/1"))]);
        assert_eq!(moves.arrive, [("A".to_owned(), monitor("x")), ("DP-2".to_owned(), port("hub/1"))]);
    }

    #[test]
    fn cases() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        // Nothing happened; a monitor is away.
        assert_eq!(run(&[("A", "x")], &[("A", "x")]), (vec![], vec![]));
        assert_eq!(run(&[("A", "x")], &[]), (vec![], vec![]));
        // To another connector, and two that changed places.
        assert_eq!(run(&[("A", "x")], &[("B", "x")]), (list(&["A"]), list(&["B"])));
        let swapped = run(&[("A", "x"), ("B", "y")], &[("A", "y"), ("B", "x")]);
        assert_eq!(swapped, (list(&["A", "B"]), list(&["A", "B"])));
        // Another one in its place, with a name and without.
        assert_eq!(run(&[("A", "x")], &[("A", "y")]), (list(&["A"]), list(&["A"])));
        assert_eq!(run(&[("A", "x")], &[("A", "")]), (list(&["A"]), vec![]));
        // Twins stay with their connectors.
        assert_eq!(run(&[("A", "t"), ("B", "t")], &[("A", "t"), ("C", "t")]), (vec![], vec![]));
        assert_eq!(run(&[("A", "t")], &[("B", "t"), ("C", "t")]), (vec![], vec![]));
    }

    proptest! {
        /// Whoever arrives somewhere after having been seen leaves where it was; nobody arrives or leaves twice.
        #[test]
        fn memories_are_neither_lost_nor_doubled(
            seen in prop::collection::btree_map("[A-D]", "[u-z]", 0..4),
            present in prop::collection::btree_map("[A-D]", prop::option::of("[u-z]"), 0..4),
        ) {
            let seen: BTreeMap<String, Who> = seen.into_iter().map(|(at, model)| (at, monitor(&model))).collect();
            let present: BTreeMap<String, Option<Who>> =
                present.into_iter().map(|(at, model)| (at, model.map(|model| monitor(&model)))).collect();
            let moves = moves(&seen, &present);
            for (index, (at, who)) in moves.arrive.iter().enumerate() {
                prop_assert!(moves.arrive[..index].iter().all(|(_, other)| other != who));
                if seen.values().any(|was| was == who) {
                    prop_assert!(moves.leave.iter().any(|(from, left)| left == who && from != at));
                }
            }
            for (index, (_, who)) in moves.leave.iter().enumerate() {
                prop_assert!(moves.leave[..index].iter().all(|(_, other)| other != who));
            }
        }
    }
}
