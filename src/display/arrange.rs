//! Where displays stand in the layout. Pure.
//!
//! A wished place first, then what stands beside something, then what was known, then newcomers, to the right of everything.

use std::collections::BTreeMap;

use super::plan::{Place, PlannedDisplay, Position, Side, Wishes};

fn beside(side: Side, reference: &Place, own: &Place) -> (i32, i32) {
    match side {
        Side::RightOf => (reference.x + reference.width, reference.y),
        Side::LeftOf => (reference.x - own.width, reference.y),
        Side::Above => (reference.x, reference.y - own.height),
        Side::Below => (reference.x, reference.y + reference.height),
    }
}

/// Gives each display that is part of the layout its place.
pub fn arrange(displays: &mut [PlannedDisplay], wishes: &Wishes, known: &BTreeMap<String, Place>) {
    let wished = |name: &str| wishes.displays.get(name).and_then(|wish| wish.position.as_ref());
    let is_at = |name: &str| matches!(wished(name), Some(Position::At(..)));
    // Places that are taken: dark displays keep theirs, so their neighbours stay where they are.
    let away = |name: &String| !displays.iter().any(|display| display.name == *name);
    let mut taken: BTreeMap<String, Place> = known
        .iter()
        .filter(|(name, _)| away(name) && !is_at(name))
        .map(|(name, place)| (name.clone(), *place))
        .collect();
    let part: Vec<usize> = (0..displays.len()).filter(|index| displays[*index].place.width > 0).collect();
    let mut waiting = Vec::new();
    for index in part {
        let display = &mut displays[index];
        match wished(&display.name) {
            Some(Position::At(x, y)) => {
                (display.place.x, display.place.y) = (*x, *y);
                taken.insert(display.name.clone(), display.place);
            }
            _ => waiting.push(index),
        }
    }
    // What others stand beside comes before what may stand anywhere; known displays in the order they stand in, so that one that
    // grew pushes those behind it.
    let referred = |name: &str| {
        wishes
            .displays
            .values()
            .any(|wish| matches!(&wish.position, Some(Position::Beside(_, other)) if other == name))
    };
    waiting.sort_by_key(|index| {
        let name = &displays[*index].name;
        let known = known.get(name).map_or((1, 0, *index), |place| (0, place.x, *index));
        (!referred(name), known)
    });
    while !waiting.is_empty() {
        let standing = waiting.iter().position(|index| match wished(&displays[*index].name) {
            Some(Position::Beside(_, other)) => taken.contains_key(other),
            _ => false,
        });
        let free = || {
            let beside = |index: &usize| matches!(wished(&displays[*index].name), Some(Position::Beside(..)));
            waiting.iter().position(|index| !beside(index))
        };
        let next = standing.or_else(free);
        // Only those are left that stand beside each other, or beside nothing.
        let lost = next.is_none();
        let index = waiting.remove(next.unwrap_or(0));
        let display = &mut displays[index];
        match wished(&display.name) {
            Some(Position::Beside(side, other)) if !lost => {
                if let Some(reference) = taken.get(other) {
                    (display.place.x, display.place.y) = beside(*side, reference, &display.place);
                }
            }
            position => {
                if let Some(position) = position {
                    let why = format!("position {position} can't be: that display has no place");
                    display.complaints.push(why);
                }
                stand(display, known, &taken);
            }
        }
        taken.insert(display.name.clone(), display.place);
    }
}

/// Where it stood, or to the right of all where that is taken or unknown.
fn stand(display: &mut PlannedDisplay, known: &BTreeMap<String, Place>, taken: &BTreeMap<String, Place>) {
    let place = known.get(&display.name);
    if let Some(place) = place {
        (display.place.x, display.place.y) = (place.x, place.y);
    }
    let is_free = |place: &Place| !taken.values().any(|other| other.overlaps(place));
    if place.is_none() || !is_free(&display.place) {
        let right = taken.values().map(|place| place.x + place.width).max().unwrap_or(0);
        (display.place.x, display.place.y) = (right, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::mode::Mode;
    use crate::display::plan::{plan, Connector, Gpu, Target, Wish};

    /// Displays of 100 pixels in width and 50 in height, wished for at these positions.
    fn places(wished: &[(&str, &str)], known: &[(&str, i32)]) -> Vec<(String, (i32, i32), Vec<String>)> {
        let connector = |name: &str| Connector {
            name: name.into(),
            connected: true,
            modes: vec![Mode::new(100, 50, 60_000)],
            monitor: None,
            edid: None,
            port: None,
            abilities: Default::default(),
            non_desktop: false,
        };
        let wish = |text: &str| Wish { position: text.parse().ok(), ..Wish::default() };
        let present = [Gpu { id: 1, connectors: wished.iter().map(|(name, _)| connector(name)).collect() }];
        let displays = wished.iter().map(|(name, text)| ((*name).to_owned(), wish(text))).collect();
        let place = |x: i32| Place { x, y: 0, width: 100, height: 50 };
        let known = known.iter().map(|(name, x)| ((*name).to_owned(), place(*x))).collect();
        let plan = plan(&present, &Wishes { displays, ..Wishes::default() }, &known);
        let place =
            |display: PlannedDisplay| (display.name, (display.place.x, display.place.y), display.complaints);
        plan.displays.into_iter().map(place).collect()
    }

    fn points(wished: &[(&str, &str)], known: &[(&str, i32)]) -> Vec<(i32, i32)> {
        places(wished, known).into_iter().map(|(_, point, _)| point).collect()
    }

    #[test]
    fn beside_each_other() {
        let all = [
            ("A", "left-of B"),
            ("B", "0,0"),
            ("C", "below A"),
            ("D", "above B"),
            ("E", "right-of B"),
            ("F", ""),
        ];
        assert_eq!(points(&all, &[]), [(-100, 0), (0, 0), (-100, 50), (0, -50), (100, 0), (200, 0)]);
        // Beside one that has no wish of its own, or is dark.
        assert_eq!(points(&[("A", "right-of B"), ("B", ""), ("C", "")], &[]), [(100, 0), (0, 0), (200, 0)]);
        assert_eq!(points(&[("A", "left-of X")], &[("X", 700)]), [(600, 0)]);
        // What was known gives way.
        assert_eq!(
            points(&[("A", ""), ("B", "right-of A"), ("C", "")], &[("C", 100)]),
            [(0, 0), (100, 0), (200, 0)]
        );
    }

    #[test]
    fn in_circles_and_beside_nothing() {
        let found = places(&[("A", "left-of B"), ("B", "left-of A"), ("C", "above nobody")], &[]);
        let complaints: Vec<_> = found.iter().map(|(_, _, complaints)| complaints.join("")).collect();
        assert_eq!(complaints[0], "position left-of B can't be: that display has no place");
        assert_eq!(complaints[1], "");
        assert_eq!(complaints[2], "position above nobody can't be: that display has no place");
        let places: Vec<_> = found.iter().map(|(_, point, _)| *point).collect();
        assert_eq!(places, [(0, 0), (-100, 0), (100, 0)]);
    }

    #[test]
    fn mirrors_have_no_place() {
        let connector = |name: &str, width| Connector {
            name: name.into(),
            connected: true,
            modes: vec![Mode::new(width, 50, 60_000)],
            monitor: None,
            edid: None,
            port: None,
            abilities: Default::default(),
            non_desktop: false,
        };
        let all = ["A", "B", "C", "D", "E"];
        let present = [Gpu { id: 1, connectors: all.iter().map(|name| connector(name, 100)).collect() }];
        let mirror = |source: &str, power| Wish { mirror: Some(source.into()), power, ..Wish::default() };
        let displays = [
            ("A", Wish { scale: Some(2.0), ..Wish::default() }),
            ("B", mirror("A", None)),
            ("C", mirror("B", None)),
            ("D", mirror("E", None)),
            ("E", mirror("A", Some(false))),
        ];
        let displays = displays.map(|(name, wish)| (name.to_owned(), wish)).into();
        let plan = plan(&present, &Wishes { displays, ..Wishes::default() }, &BTreeMap::new());
        let of = |name: &str| plan.display(name).expect("a display");
        for mirror in ["B", "C"] {
            assert_eq!((of(mirror).mirror.as_deref(), of(mirror).place.width), (Some("A"), 0));
            assert_eq!(of(mirror).scale, 2.0);
        }
        assert_eq!(of("D").complaints, ["mirror can't be: E is not lit"]);
        assert_eq!((of("D").place.x, of("D").place.width), (50, 100));
        assert!(matches!(of("E").target, Target::Off(_)));
    }
}
