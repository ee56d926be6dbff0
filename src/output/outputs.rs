//! All outputs, and questions about the layout. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use geom_display::plan::LogicalRect;
use geom_display::relocation::MonitorKey;
use smithay::output::Output as WlOutput;
use smithay::utils::{Logical, Point};

use super::lifecycle::AwayMonitor;
use super::scanout::{Scanout, Target};
use super::{Output, OutputId};

/// Outputs, ordered by name. A machine has a handful, so searching the list is cheaper than
/// hashing.
#[derive(Default)]
pub struct Outputs {
    all: Vec<Output>,
    last_id: u32,
    /// The port path of each connector by name, also of connectors that are gone.
    pub(super) ports: BTreeMap<String, String>,
    /// Monitors whose connector has another monitor now.
    pub(super) away: BTreeMap<MonitorKey, AwayMonitor>,
    /// The firmware's connectors that were seen, each with the hardware that shows it, until a
    /// driver's connector takes their place.
    pub(super) firmware: BTreeMap<String, Option<PathBuf>>,
}

impl Outputs {
    /// Returns an output by its id.
    pub fn get(&self, id: OutputId) -> Option<&Output> {
        self.all.iter().find(|output| output.id == id)
    }

    /// Returns an output by its id, for changing it.
    pub fn get_mut(&mut self, id: OutputId) -> Option<&mut Output> {
        self.all.iter_mut().find(|output| output.id == id)
    }

    /// Returns the scanout of an enabled output.
    pub fn scanout(&self, id: OutputId) -> Option<&Scanout> {
        self.get(id)?.scanout.as_ref()
    }

    /// Returns the scanout of an enabled output, for changing it.
    pub fn scanout_mut(&mut self, id: OutputId) -> Option<&mut Scanout> {
        self.get_mut(id)?.scanout.as_mut()
    }

    /// Returns an output by its connector's name.
    pub fn named(&self, name: &str) -> Option<&Output> {
        self.position(name).ok().and_then(|position| self.all.get(position))
    }

    /// Returns an output by its connector's name, for changing it.
    pub fn named_mut(&mut self, name: &str) -> Option<&mut Output> {
        let position = self.position(name).ok()?;
        self.all.get_mut(position)
    }

    /// Returns the id of the output of this name.
    pub fn id(&self, name: &str) -> Option<OutputId> {
        self.named(name).map(|output| output.id)
    }

    /// Returns the name of an output.
    pub fn name(&self, id: OutputId) -> Option<&str> {
        self.get(id).map(|output| output.name.as_str())
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.all.binary_search_by(|output| output.name.as_str().cmp(name))
    }

    /// Returns the output of this name, and makes it if there is none. Ids are never used again.
    pub fn entry(&mut self, name: &str) -> &mut Output {
        let position = match self.position(name) {
            Ok(position) => position,
            Err(position) => {
                self.last_id += 1;
                self.all.insert(position, Output::new(OutputId(self.last_id), name));
                position
            }
        };
        &mut self.all[position]
    }

    /// Removes the outputs for which `keep` returns false.
    pub fn retain(&mut self, keep: impl Fn(&Output) -> bool) {
        self.all.retain(keep);
    }

    /// Iterates over all outputs, also disabled and disconnected ones, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Output> {
        self.all.iter()
    }

    /// Iterates over all outputs, for changing them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Output> {
        self.all.iter_mut()
    }

    /// Returns the outputs of the layout from left to right: those enabled ones that mirror no
    /// other.
    pub fn in_layout(&self) -> Vec<&Output> {
        let mut outputs: Vec<_> = self.iter().filter(|output| output.is_in_layout()).collect();
        outputs.sort_by_key(|output| (output.state.logical.x, output.state.logical.y));
        outputs
    }

    /// Returns the ids of all enabled outputs: those of the layout, then mirrors.
    pub fn enabled(&self) -> Vec<OutputId> {
        self.enabled_outputs().map(|output| output.id).collect()
    }

    /// Returns the names of all enabled outputs, in the order of [`Self::enabled`].
    pub fn enabled_names(&self) -> Vec<String> {
        self.enabled_outputs().map(|output| output.name.clone()).collect()
    }

    fn enabled_outputs(&self) -> impl Iterator<Item = &Output> {
        let mirrors = self.iter().filter(|output| output.is_enabled() && !output.is_in_layout());
        self.in_layout().into_iter().chain(mirrors)
    }

    /// Returns the output whose content an output shows: its source if it is a mirror, or itself.
    pub fn content_of(&self, id: OutputId) -> Option<&Output> {
        let output = self.get(id)?;
        Some(output.state.mirror.and_then(|source| self.get(source)).unwrap_or(output))
    }

    /// Shows the name of each enabled output on it until `until`. Returns these outputs.
    pub fn identify(&mut self, until: Duration) -> Vec<OutputId> {
        let enabled = self.enabled();
        for output in self.iter_mut().filter(|output| enabled.contains(&output.id)) {
            output.identified_until = Some(until);
        }
        enabled
    }

    /// Hides the names whose time is over. Returns the outputs that showed them.
    pub fn end_identification(&mut self, now: Duration) -> Vec<OutputId> {
        let ended =
            |output: &mut Output| output.identified_until.take_if(|until| *until <= now).map(|_| output.id);
        self.iter_mut().filter_map(ended).collect()
    }

    /// Returns the ids of the outputs that mirror this one.
    pub fn mirrors_of(&self, id: OutputId) -> Vec<OutputId> {
        let mirrors = |output: &&Output| output.is_enabled() && output.state.mirror == Some(id);
        self.iter().filter(mirrors).map(|output| output.id).collect()
    }

    /// Returns the port path of a connector.
    pub fn port(&self, connector: &str) -> Option<&String> {
        self.ports.get(connector)
    }

    /// Returns the output of a `wl_output`.
    pub fn of_wl_output(&self, wl_output: &WlOutput) -> Option<&Output> {
        self.iter().find(|output| output.published.wl_output == *wl_output)
    }

    /// Returns the output that shows its frames on a target.
    pub fn on_target(&self, target: Target) -> Option<OutputId> {
        let shows =
            |output: &&Output| output.scanout.as_ref().is_some_and(|scanout| scanout.target() == target);
        self.iter().find(shows).map(|output| output.id)
    }

    /// Returns the output of the layout that contains a point.
    pub fn at(&self, point: Point<f64, Logical>) -> Option<&Output> {
        self.iter()
            .filter(|output| output.is_in_layout())
            .find(|output| output.geometry().to_f64().contains(point))
    }

    /// Returns the rectangles of all outputs that ever were enabled, for the plan.
    pub fn layout(&self) -> BTreeMap<String, LogicalRect> {
        let placed = self.iter().filter(|output| output.state.logical.width > 0);
        placed.map(|output| (output.name.clone(), output.state.logical)).collect()
    }

    /// Returns the enabled output nearest to a rectangle: it shows the windows of a disconnected
    /// output there.
    pub fn nearest(&self, rectangle: LogicalRect) -> Option<&Output> {
        let center = |rect: &LogicalRect| (rect.x + rect.width / 2, rect.y + rect.height / 2);
        let from = center(&rectangle);
        self.in_layout().into_iter().min_by_key(|output| {
            let to = center(&output.state.logical);
            i64::from(to.0 - from.0).pow(2) + i64::from(to.1 - from.1).pow(2)
        })
    }

    /// Returns where a pointer ends that moves from one point to another: it stays on enabled
    /// outputs, and crosses the rectangle of a disabled or disconnected one to the next enabled
    /// output behind it.
    pub fn move_pointer(&self, from: Point<f64, Logical>, to: Point<f64, Logical>) -> Point<f64, Logical> {
        if self.at(to).is_some() {
            return to;
        }
        let clamp = |output: &Output, point: Point<f64, Logical>| {
            let area = output.geometry().to_f64();
            let inside = |value: f64, low: f64, length: f64| value.clamp(low, low + (length - 1.0).max(0.0));
            Point::from((inside(point.x, area.loc.x, area.size.w), inside(point.y, area.loc.y, area.size.h)))
        };
        let here = self.at(from);
        let edge = here.map(|output| clamp(output, to));
        // It left its output sideways: take the next enabled one in that direction at the same
        // height.
        if let (Some(here), Some(edge)) = (here, edge) {
            let leaves = to.x - edge.x;
            let same_height = |output: &&Output| {
                let area = output.geometry().to_f64();
                (area.loc.y..area.loc.y + area.size.h).contains(&edge.y)
            };
            let ahead = |output: &&Output| {
                (output.state.logical.x - here.state.logical.x).signum() as f64 == leaves.signum()
            };
            let next = self
                .in_layout()
                .into_iter()
                .filter(|output| leaves != 0.0 && output.id != here.id)
                .filter(same_height)
                .filter(ahead)
                .min_by_key(|output| (output.state.logical.x - here.state.logical.x).abs());
            if let Some(next) = next {
                return clamp(next, (to.x, edge.y).into());
            }
            return edge;
        }
        // The output under the pointer is gone: take the nearest enabled one.
        let distance = |output: &Output| {
            let near: Point<f64, Logical> = clamp(output, to);
            (near.x - to.x).powi(2) + (near.y - to.y).powi(2)
        };
        let outputs = self.in_layout();
        let nearest = outputs.into_iter().min_by(|one, other| distance(one).total_cmp(&distance(other)));
        nearest.map_or(to, |output| clamp(output, to))
    }
}

#[cfg(test)]
mod tests {
    use geom_display::lifecycle::Lifecycle;

    use super::*;

    fn outputs(entries: &[(&str, i32, bool)]) -> Outputs {
        let mut outputs = Outputs::default();
        for (name, x, enabled) in entries {
            let output = outputs.entry(name);
            output.state.logical = LogicalRect { x: *x, y: 0, width: 100, height: 100 };
            output.lifecycle = if *enabled { Lifecycle::Enabled } else { Lifecycle::Disconnected };
        }
        outputs
    }

    fn move_pointer(outputs: &Outputs, from: (f64, f64), to: (f64, f64)) -> (f64, f64) {
        let point = outputs.move_pointer(from.into(), to.into());
        (point.x, point.y)
    }

    #[test]
    fn pointer_stays_on_enabled_outputs() {
        let all = outputs(&[("A", 0, true), ("B", 100, false), ("C", 200, true)]);
        assert_eq!(move_pointer(&all, (50.0, 50.0), (60.0, 50.0)), (60.0, 50.0));
        // Across the disconnected one, and back.
        assert_eq!(move_pointer(&all, (90.0, 50.0), (110.0, 50.0)), (200.0, 50.0));
        assert_eq!(move_pointer(&all, (201.0, 50.0), (195.0, 50.0)), (99.0, 50.0));
        // No output in that direction: the edge.
        assert_eq!(move_pointer(&all, (5.0, 50.0), (-10.0, 50.0)), (0.0, 50.0));
        assert_eq!(move_pointer(&all, (5.0, 50.0), (5.0, 150.0)), (5.0, 99.0));
        // Its output was disconnected.
        assert_eq!(move_pointer(&all, (150.0, 50.0), (150.0, 50.0)).1, 50.0);
    }

    #[test]
    fn nearest_enabled_output_is_found() {
        let all = outputs(&[("A", 0, true), ("B", 100, false), ("C", 300, true)]);
        let rectangle = all.named("B").map(|output| output.state.logical);
        assert_eq!(
            rectangle.and_then(|rectangle| all.nearest(rectangle)).map(|output| output.name.as_str()),
            Some("A")
        );
        assert!(outputs(&[("A", 0, false)])
            .nearest(LogicalRect { x: 0, y: 0, width: 1, height: 1 })
            .is_none());
    }

    #[test]
    fn names_are_shown_until_their_time_is_over() {
        let mut all = outputs(&[("A", 0, true), ("B", 100, false)]);
        let (a, second) = (all.id("A").expect("an output"), Duration::from_secs(1));
        assert_eq!(all.identify(second), [a]);
        assert!(all.get(a).is_some_and(Output::is_identified));
        assert!(!all.named("B").is_some_and(Output::is_identified));
        // Asked for again: the later time counts.
        all.identify(2 * second);
        assert_eq!(all.end_identification(second), []);
        assert_eq!(all.end_identification(2 * second), [a]);
        assert_eq!(all.end_identification(2 * second), [], "once");
    }

    #[test]
    fn ids_are_never_used_again() {
        let mut all = outputs(&[("B", 0, true), ("A", 100, true)]);
        let removed = all.id("A");
        all.retain(|output| output.name != "A");
        assert_eq!(removed.and_then(|id| all.get(id)).map(|output| &output.name), None);
        all.entry("A");
        assert!(all.id("A") != removed && all.id("A") != all.id("B"));
        assert_eq!(all.iter().map(|output| output.name.as_str()).collect::<Vec<_>>(), ["A", "B"]);
    }
}
