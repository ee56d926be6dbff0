//! Bipartite matching: who gets which of the things that there is one of.

/// An item that gets at most one target, such as a monitor that gets a CRTC.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Item {
    /// The targets that it can get.
    pub targets: Vec<usize>,
    /// The target that it gets if that costs no other item its only one.
    pub preferred: Option<usize>,
}

/// Assigns targets to as many items as possible, and returns each item's target.
///
/// Earlier items go first: a later one takes no target from them that they cannot replace. Finds a
/// maximum matching by augmenting paths, in O(items * pairs) time.
pub fn assign(items: &[Item]) -> Vec<Option<usize>> {
    let mut owners = Vec::new();
    for item in 0..items.len() {
        augment(items, item, &mut owners, &mut Vec::new());
    }
    let target = |item: usize| owners.iter().find(|(_, owner)| *owner == item).map(|(target, _)| *target);
    (0..items.len()).map(target).collect()
}

/// Finds a target for an item, for which items that have one may change theirs. `owners` are pairs
/// of target and item. Returns whether it has one.
fn augment(items: &[Item], item: usize, owners: &mut Vec<(usize, usize)>, visited: &mut Vec<usize>) -> bool {
    let Some(wanted) = items.get(item) else { return false };
    let owner = |owners: &[(usize, usize)], target: usize| {
        owners.iter().find(|(owned, _)| *owned == target).map(|(_, owner)| *owner)
    };
    let mut order = wanted.targets.clone();
    // Free targets before those of others, which would have to change theirs.
    order.sort_by_key(|target| (Some(*target) != wanted.preferred, owner(owners, *target).is_some()));
    for target in order {
        if visited.contains(&target) {
            continue;
        }
        visited.push(target);
        let previous = owner(owners, target);
        if previous.is_none_or(|previous| augment(items, previous, owners, visited)) {
            owners.retain(|pair| Some(*pair) != previous.map(|previous| (target, previous)));
            owners.push((target, item));
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items(targets: &[&[usize]]) -> Vec<Item> {
        targets.iter().map(|targets| Item { targets: targets.to_vec(), preferred: None }).collect()
    }

    #[test]
    fn item_with_a_choice_leaves_the_only_target_of_another() {
        assert_eq!(assign(&items(&[&[0, 1], &[0]])), [Some(1), Some(0)]);
        assert_eq!(assign(&items(&[&[0], &[0]])), [Some(0), None]);
    }

    #[test]
    fn preferred_target_is_taken_if_others_have_another() {
        let mut all = items(&[&[0, 1], &[0, 1]]);
        all[1].preferred = Some(0);
        assert_eq!(assign(&all), [Some(1), Some(0)]);
    }

    /// Returns the size of the largest matching, by trying all of them.
    fn largest(items: &[Item], taken: &mut Vec<usize>) -> usize {
        let Some((first, rest)) = items.split_first() else { return 0 };
        let mut best = largest(rest, taken);
        for target in &first.targets {
            if !taken.contains(target) {
                taken.push(*target);
                best = best.max(1 + largest(rest, taken));
                taken.pop();
            }
        }
        best
    }

    proptest! {
        #[test]
        fn matching_is_valid_and_maximum(
            all in prop::collection::vec((prop::collection::btree_set(0usize..5, 0..5), prop::option::of(0usize..5)), 0..6)
        ) {
            let item = |(targets, preferred): (std::collections::BTreeSet<usize>, Option<usize>)| Item {
                targets: targets.into_iter().collect(),
                preferred,
            };
            let items: Vec<Item> = all.into_iter().map(item).collect();
            let found = assign(&items);
            let mut targets: Vec<usize> = found.iter().flatten().copied().collect();
            for (item, target) in items.iter().zip(&found) {
                prop_assert!(target.is_none_or(|target| item.targets.contains(&target)));
            }
            prop_assert_eq!(targets.len(), largest(&items, &mut Vec::new()));
            targets.sort_unstable();
            targets.dedup();
            prop_assert_eq!(targets.len(), found.iter().flatten().count());
        }
    }
}
