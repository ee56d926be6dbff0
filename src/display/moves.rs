//! Monitors that went from one connector to another: what is remembered of a monitor goes with it. Pure.
//!
//! A monitor counts as the same where its identity is unique, among what is there and among what was seen; twins, and monitors that
//! do not say who they are, are known by their connectors alone.

use std::collections::BTreeMap;

use super::identity::Identity;

/// What happens to memories, in this order.
#[derive(Debug, Default, PartialEq)]
pub struct Moves {
    /// Connectors whose monitor is away, or elsewhere now.
    pub leave: Vec<(String, Identity)>,
    /// Connectors that show a monitor which they did not show before.
    pub arrive: Vec<(String, Identity)>,
}

fn only<'a>(all: impl Iterator<Item = &'a Identity>, one: &Identity) -> bool {
    all.filter(|other| *other == one).count() == 1
}

/// Compares who was last seen at each connector with who is there now.
pub fn moves(seen: &BTreeMap<String, Identity>, present: &BTreeMap<String, Option<Identity>>) -> Moves {
    let there = || present.values().flatten();
    let mut moves = Moves::default();
    for (connector, was) in seen {
        let now = present.get(connector);
        let stays = now.is_some_and(|now| now.as_ref() == Some(was));
        // Away, with nobody in its place, it may come back here.
        let replaced = now.is_some_and(|now| now.as_ref() != Some(was));
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

    fn who(model: &str) -> Identity {
        Identity { make: "GSM".into(), model: model.into(), serial: None }
    }

    fn run(seen: &[(&str, &str)], present: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let seen = seen.iter().map(|(connector, model)| ((*connector).to_owned(), who(model))).collect();
        let present = present
            .iter()
            .map(|(connector, model)| ((*connector).to_owned(), (!model.is_empty()).then(|| who(model))))
            .collect();
        let moves = moves(&seen, &present);
        let names = |list: Vec<(String, Identity)>| list.into_iter().map(|(name, _)| name).collect();
        (names(moves.leave), names(moves.arrive))
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
            let seen: BTreeMap<String, Identity> = seen.into_iter().map(|(at, model)| (at, who(&model))).collect();
            let present: BTreeMap<String, Option<Identity>> =
                present.into_iter().map(|(at, model)| (at, model.map(|model| who(&model)))).collect();
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
