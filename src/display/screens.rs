//! All displays, lit and dark, and questions about the layout.

use std::collections::BTreeMap;

use smithay::output::Output;
use smithay::utils::{Logical, Point};

use super::plan::Place;
use super::screen::Screen;

/// Displays by name.
#[derive(Default)]
pub struct Screens {
    all: BTreeMap<String, Screen>,
}

impl Screens {
    pub fn get(&self, name: &str) -> Option<&Screen> {
        self.all.get(name)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Screen> {
        self.all.get_mut(name)
    }

    /// The display of this name, made where it is new.
    pub fn entry(&mut self, name: &str) -> &mut Screen {
        self.all.entry(name.to_owned()).or_insert_with(|| Screen::new(name))
    }

    pub fn retain(&mut self, keep: impl Fn(&Screen) -> bool) {
        self.all.retain(|_, screen| keep(screen));
    }

    pub fn iter(&self) -> impl Iterator<Item = &Screen> {
        self.all.values()
    }

    /// Lit displays of the layout from left to right.
    pub fn lit(&self) -> Vec<&Screen> {
        let mut lit: Vec<_> = self.iter().filter(|screen| screen.is_part()).collect();
        lit.sort_by_key(|screen| (screen.place.x, screen.place.y));
        lit
    }

    /// All that show a picture: those of the layout, and mirrors.
    pub fn lit_names(&self) -> Vec<String> {
        let mirrors = self.iter().filter(|screen| screen.is_lit() && !screen.is_part());
        self.lit().into_iter().chain(mirrors).map(|screen| screen.name.clone()).collect()
    }

    /// Displays that show a display's picture too.
    pub fn mirrors_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Screen> {
        self.iter().filter(move |screen| screen.is_lit() && screen.mirror.as_deref() == Some(name))
    }

    pub fn of_output(&self, output: &Output) -> Option<&Screen> {
        self.iter().find(|screen| screen.output == *output)
    }

    pub fn at(&self, point: Point<f64, Logical>) -> Option<&Screen> {
        self.iter()
            .filter(|screen| screen.is_part())
            .find(|screen| screen.geometry().to_f64().contains(point))
    }

    /// Places of every display that was ever lit, for the plan.
    pub fn places(&self) -> BTreeMap<String, Place> {
        let known = self.iter().filter(|screen| screen.place.width > 0);
        known.map(|screen| (screen.name.clone(), screen.place)).collect()
    }

    /// The lit display nearest to a place: the neighbour that stands in for one that is dark.
    pub fn nearest(&self, place: Place) -> Option<&Screen> {
        let centre = |place: &Place| (place.x + place.width / 2, place.y + place.height / 2);
        let from = centre(&place);
        self.lit().into_iter().min_by_key(|screen| {
            let to = centre(&screen.place);
            i64::from(to.0 - from.0).pow(2) + i64::from(to.1 - from.1).pow(2)
        })
    }

    /// Where a pointer ends that moves so: it stays on lit displays, and crosses the place of a
    /// dark one to the next lit one behind it.
    pub fn travel(&self, from: Point<f64, Logical>, to: Point<f64, Logical>) -> Point<f64, Logical> {
        if self.at(to).is_some() {
            return to;
        }
        let clamp = |screen: &Screen, point: Point<f64, Logical>| {
            let area = screen.geometry().to_f64();
            let inside = |value: f64, low: f64, length: f64| value.clamp(low, low + (length - 1.0).max(0.0));
            Point::from((inside(point.x, area.loc.x, area.size.w), inside(point.y, area.loc.y, area.size.h)))
        };
        let here = self.at(from);
        let edge = here.map(|screen| clamp(screen, to));
        // Left its display sideways: the next lit one in that direction at the same height.
        if let (Some(here), Some(edge)) = (here, edge) {
            let leaves = to.x - edge.x;
            let level = |screen: &&Screen| {
                let area = screen.geometry().to_f64();
                (area.loc.y..area.loc.y + area.size.h).contains(&edge.y)
            };
            let ahead = |screen: &&Screen| (screen.place.x - here.place.x).signum() as f64 == leaves.signum();
            let next = self
                .lit()
                .into_iter()
                .filter(|screen| leaves != 0.0 && screen.name != here.name)
                .filter(level)
                .filter(ahead)
                .min_by_key(|screen| (screen.place.x - here.place.x).abs());
            if let Some(next) = next {
                return clamp(next, (to.x, edge.y).into());
            }
            return edge;
        }
        // The display under the pointer is gone: the nearest that is lit.
        let distance = |screen: &Screen| {
            let near: Point<f64, Logical> = clamp(screen, to);
            (near.x - to.x).powi(2) + (near.y - to.y).powi(2)
        };
        let lit = self.lit();
        let nearest = lit.into_iter().min_by(|one, other| distance(one).total_cmp(&distance(other)));
        nearest.map_or(to, |screen| clamp(screen, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::lifecycle::Life;

    fn screens(places: &[(&str, i32, bool)]) -> Screens {
        let mut screens = Screens::default();
        for (name, x, lit) in places {
            let screen = screens.entry(name);
            screen.place = Place { x: *x, y: 0, width: 100, height: 100 };
            screen.life = if *lit { Life::Lit } else { Life::Dark };
        }
        screens
    }

    fn travel(screens: &Screens, from: (f64, f64), to: (f64, f64)) -> (f64, f64) {
        let point = screens.travel(from.into(), to.into());
        (point.x, point.y)
    }

    #[test]
    fn pointers_stay_on_lit_displays() {
        let all = screens(&[("A", 0, true), ("B", 100, false), ("C", 200, true)]);
        assert_eq!(travel(&all, (50.0, 50.0), (60.0, 50.0)), (60.0, 50.0));
        // Across the dark one, and back.
        assert_eq!(travel(&all, (90.0, 50.0), (110.0, 50.0)), (200.0, 50.0));
        assert_eq!(travel(&all, (201.0, 50.0), (195.0, 50.0)), (99.0, 50.0));
        // Nothing there: the edge.
        assert_eq!(travel(&all, (5.0, 50.0), (-10.0, 50.0)), (0.0, 50.0));
        assert_eq!(travel(&all, (5.0, 50.0), (5.0, 150.0)), (5.0, 99.0));
        // Its display went dark.
        assert_eq!(travel(&all, (150.0, 50.0), (150.0, 50.0)).1, 50.0);
    }

    #[test]
    fn the_nearest_stands_in() {
        let all = screens(&[("A", 0, true), ("B", 100, false), ("C", 300, true)]);
        let place = all.get("B").map(|screen| screen.place);
        assert_eq!(place.and_then(|place| all.nearest(place)).map(|screen| screen.name.as_str()), Some("A"));
        assert!(screens(&[("A", 0, false)]).nearest(Place { x: 0, y: 0, width: 1, height: 1 }).is_none());
    }
}
