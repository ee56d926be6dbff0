//! Positions of outputs in the layout.
//!
//! In this order: outputs with a configured point, outputs next to others, outputs with a known
//! position, and new outputs, which go to the right of all others.

use std::collections::BTreeMap;

use super::{LogicalRect, PlannedOutput, Tile};
use crate::output_config::{OutputConfigs, Position, Side};

fn next_to(side: Side, reference: &LogicalRect, own: &LogicalRect) -> (i32, i32) {
    match side {
        Side::RightOf => (reference.x + reference.width, reference.y),
        Side::LeftOf => (reference.x - own.width, reference.y),
        Side::Above => (reference.x, reference.y - own.height),
        Side::Below => (reference.x, reference.y + reference.height),
    }
}

/// Returns the position of each output that has one by itself: the configured one, or next to the
/// tile on its left or above it.
pub fn positions(
    outputs: &[PlannedOutput],
    configs: &OutputConfigs,
    tiles: &BTreeMap<&str, (u64, Tile)>,
) -> BTreeMap<String, Position> {
    let configured = |name: &str| configs.outputs.get(name).and_then(|config| config.position.as_ref());
    let next_to_tile = |own: &str| {
        let (gpu, tile) = *tiles.get(own)?;
        let output_of = |tile: Tile| {
            let mut in_layout = outputs.iter().filter(|output| output.logical.width > 0);
            let found = in_layout.find(|output| tiles.get(output.name.as_str()) == Some(&(gpu, tile)))?;
            // That one may be placed next to this one.
            let is_free = !matches!(configured(&found.name), Some(Position::NextTo(..)));
            is_free.then(|| found.name.clone())
        };
        let left = tile.column.checked_sub(1).and_then(|column| output_of(Tile { column, ..tile }));
        let above = || tile.row.checked_sub(1).and_then(|row| output_of(Tile { row, ..tile }));
        let left = left.map(|name| Position::NextTo(Side::RightOf, name));
        left.or_else(|| Some(Position::NextTo(Side::Below, above()?)))
    };
    let position =
        |output: &PlannedOutput| configured(&output.name).cloned().or_else(|| next_to_tile(&output.name));
    outputs.iter().filter_map(|output| Some((output.name.clone(), position(output)?))).collect()
}

/// Sets the position of each output that is part of the layout.
pub fn arrange(
    outputs: &mut [PlannedOutput],
    positions: &BTreeMap<String, Position>,
    known: &BTreeMap<String, LogicalRect>,
) {
    let configured = |name: &str| positions.get(name);
    let has_point = |name: &str| matches!(configured(name), Some(Position::At(..)));
    // Disconnected outputs keep their rectangles, so their neighbors stay where they are.
    let is_disconnected = |name: &String| !outputs.iter().any(|output| output.name == *name);
    let mut taken: BTreeMap<String, LogicalRect> = known
        .iter()
        .filter(|(name, _)| is_disconnected(name) && !has_point(name))
        .map(|(name, logical)| (name.clone(), *logical))
        .collect();
    let in_layout: Vec<usize> =
        (0..outputs.len()).filter(|index| outputs[*index].logical.width > 0).collect();
    let mut waiting = Vec::new();
    for index in in_layout {
        let output = &mut outputs[index];
        match configured(&output.name) {
            Some(Position::At(x, y)) => {
                (output.logical.x, output.logical.y) = (*x, *y);
                taken.insert(output.name.clone(), output.logical);
            }
            _ => waiting.push(index),
        }
    }
    // Outputs that others are placed next to come first. Known outputs follow from left to right,
    // so that one that grew pushes those behind it.
    let is_reference = |name: &str| {
        positions.values().any(|position| matches!(position, Position::NextTo(_, other) if other == name))
    };
    waiting.sort_by_key(|index| {
        let name = &outputs[*index].name;
        let known = known.get(name).map_or((1, 0, *index), |logical| (0, logical.x, *index));
        (!is_reference(name), known)
    });
    while !waiting.is_empty() {
        let next_to_placed = waiting.iter().position(|index| match configured(&outputs[*index].name) {
            Some(Position::NextTo(_, other)) => taken.contains_key(other),
            _ => false,
        });
        let free = || {
            let is_next_to =
                |index: &usize| matches!(configured(&outputs[*index].name), Some(Position::NextTo(..)));
            waiting.iter().position(|index| !is_next_to(index))
        };
        let next = next_to_placed.or_else(free);
        // The rest is next to each other in a cycle, or next to an output that is not there.
        let is_unsolvable = next.is_none();
        let index = waiting.remove(next.unwrap_or(0));
        let output = &mut outputs[index];
        match configured(&output.name) {
            Some(Position::NextTo(side, other)) if !is_unsolvable => {
                if let Some(reference) = taken.get(other) {
                    (output.logical.x, output.logical.y) = next_to(*side, reference, &output.logical);
                }
            }
            position => {
                if let Some(position) = position {
                    let why = format!(
                        "position {position} cannot be applied: that display has no place in the layout"
                    );
                    output.warnings.push(why);
                }
                place_freely(output, known, &taken);
            }
        }
        taken.insert(output.name.clone(), output.logical);
    }
}

/// Places an output at its known position, or to the right of all others if that is taken or
/// unknown.
fn place_freely(
    output: &mut PlannedOutput,
    known: &BTreeMap<String, LogicalRect>,
    taken: &BTreeMap<String, LogicalRect>,
) {
    let last = known.get(&output.name);
    if let Some(last) = last {
        (output.logical.x, output.logical.y) = (last.x, last.y);
    }
    let is_free = |logical: &LogicalRect| !taken.values().any(|other| other.overlaps(logical));
    if last.is_none() || !is_free(&output.logical) {
        let right = taken.values().map(|logical| logical.x + logical.width).max().unwrap_or(0);
        (output.logical.x, output.logical.y) = (right, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mode::Mode;
    use crate::output_config::OutputConfig;
    use crate::plan::{plan, PlanTarget, ProbedConnector, ProbedGpu};

    /// Plans outputs of 100 by 50 pixels with these configured positions, and known left edges.
    fn arranged(positions: &[(&str, &str)], known: &[(&str, i32)]) -> Vec<(String, (i32, i32), Vec<String>)> {
        let connector = |name: &str| ProbedConnector {
            name: name.into(),
            connected: true,
            modes: vec![Mode::new(100, 50, 60_000)],
            ..ProbedConnector::default()
        };
        let config = |text: &str| OutputConfig { position: text.parse().ok(), ..OutputConfig::default() };
        let present =
            [ProbedGpu { id: 1, connectors: positions.iter().map(|(name, _)| connector(name)).collect() }];
        let outputs = positions.iter().map(|(name, text)| ((*name).to_owned(), config(text))).collect();
        let rect = |x: i32| LogicalRect { x, y: 0, width: 100, height: 50 };
        let known = known.iter().map(|(name, x)| ((*name).to_owned(), rect(*x))).collect();
        let plan = plan(&present, &OutputConfigs { outputs, ..OutputConfigs::default() }, &known);
        let result =
            |output: PlannedOutput| (output.name, (output.logical.x, output.logical.y), output.warnings);
        plan.outputs.into_iter().map(result).collect()
    }

    fn points(positions: &[(&str, &str)], known: &[(&str, i32)]) -> Vec<(i32, i32)> {
        arranged(positions, known).into_iter().map(|(_, point, _)| point).collect()
    }

    #[test]
    fn outputs_are_placed_next_to_others() {
        let all = [
            ("A", "left-of B"),
            ("B", "0,0"),
            ("C", "below A"),
            ("D", "above B"),
            ("E", "right-of B"),
            ("F", ""),
        ];
        assert_eq!(points(&all, &[]), [(-100, 0), (0, 0), (-100, 50), (0, -50), (100, 0), (200, 0)]);
        // Next to one without a configured position, and next to a disconnected one.
        assert_eq!(points(&[("A", "right-of B"), ("B", ""), ("C", "")], &[]), [(100, 0), (0, 0), (200, 0)]);
        assert_eq!(points(&[("A", "left-of X")], &[("X", 700)]), [(600, 0)]);
        // A known position gives way to a configured one.
        assert_eq!(
            points(&[("A", ""), ("B", "right-of A"), ("C", "")], &[("C", 100)]),
            [(0, 0), (100, 0), (200, 0)]
        );
    }

    #[test]
    fn cycles_and_unknown_references_are_reported() {
        let found = arranged(&[("A", "left-of B"), ("B", "left-of A"), ("C", "above nobody")], &[]);
        let warnings: Vec<_> = found.iter().map(|(_, _, warnings)| warnings.join("")).collect();
        assert_eq!(
            warnings[0],
            "position left-of B cannot be applied: that display has no place in the layout"
        );
        assert_eq!(warnings[1], "");
        assert_eq!(
            warnings[2],
            "position above nobody cannot be applied: that display has no place in the layout"
        );
        let points: Vec<_> = found.iter().map(|(_, point, _)| *point).collect();
        assert_eq!(points, [(0, 0), (-100, 0), (100, 0)]);
    }

    #[test]
    fn mirrors_are_not_part_of_the_layout() {
        let connector = |name: &str, width| ProbedConnector {
            name: name.into(),
            connected: true,
            modes: vec![Mode::new(width, 50, 60_000)],
            ..ProbedConnector::default()
        };
        let all = ["A", "B", "C", "D", "E"];
        let present =
            [ProbedGpu { id: 1, connectors: all.iter().map(|name| connector(name, 100)).collect() }];
        let mirror = |source: &str, enabled| OutputConfig {
            mirror: Some(source.into()),
            enabled,
            ..OutputConfig::default()
        };
        let outputs = [
            ("A", OutputConfig { scale: Some(2.0), ..OutputConfig::default() }),
            ("B", mirror("A", None)),
            ("C", mirror("B", None)),
            ("D", mirror("E", None)),
            ("E", mirror("A", Some(false))),
        ];
        let outputs = outputs.map(|(name, config)| (name.to_owned(), config)).into();
        let plan = plan(&present, &OutputConfigs { outputs, ..OutputConfigs::default() }, &BTreeMap::new());
        let of = |name: &str| plan.output(name).expect("an output");
        for mirror in ["B", "C"] {
            assert_eq!((of(mirror).mirror.as_deref(), of(mirror).logical.width), (Some("A"), 0));
            assert_eq!(of(mirror).scale, 2.0);
        }
        assert_eq!(of("D").warnings, ["mirror cannot be applied: E is not enabled"]);
        assert_eq!((of("D").logical.x, of("D").logical.width), (50, 100));
        assert!(matches!(of("E").target, PlanTarget::Disabled(_)));
    }
}
