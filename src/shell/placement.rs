//! Placement: which output a window belongs to, which output shows it, and where on it. Pure.

use smithay::desktop::layer_map_for_output;
use smithay::utils::{Logical, Point, Rectangle, Size};

use super::stack::{ShellWindow, Stack};
use super::Cx;
use crate::config::WindowTraits;
use crate::output::outputs::Outputs;
use crate::output::OutputId;

/// A window is shown on another output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    pub from: Option<OutputId>,
    pub to: Option<OutputId>,
}

impl<W> Stack<W> {
    /// Returns the name of the output that a window belongs to. In falling precedence: the one that
    /// a control client chose, the parent's, the first matching rule's, the one that the client
    /// requested or that the window has already, the one that was saved for its application, the
    /// focused one, the leftmost one. A rule for a program matches its dialogs too, which belong to
    /// the window that they are about.
    fn choose_output(
        &self,
        window: &ShellWindow<W>,
        traits: WindowTraits<'_>,
        cx: &Cx<'_>,
    ) -> Option<String> {
        if window.pinned {
            return window.assigned_output.clone();
        }
        let parent = window.parent.and_then(|parent| self.get(parent)?.assigned_output.clone());
        if parent.is_some() {
            return parent;
        }
        let rule = cx.rules.iter().find(|rule| rule.matches(traits));
        // The window waits by name for a display that is not connected yet.
        let rule = rule.map(|rule| (cx.connector_of)(&rule.display).unwrap_or_else(|| rule.display.clone()));
        let saved = || {
            let output = cx.outputs.named(cx.saved_placements.get(traits.app_id?)?)?;
            Some(output.name.clone())
        };
        let focused = || {
            let output = cx.outputs.get(self.focused_output()?)?;
            output.is_in_layout().then(|| output.name.clone())
        };
        let first = || cx.outputs.in_layout().first().map(|output| output.name.clone());
        rule.or_else(|| window.assigned_output.clone()).or_else(saved).or_else(focused).or_else(first)
    }

    /// Assigns a window to an output and shows it there, or on the fallback. Returns the change if
    /// another output shows the window.
    pub fn place(&mut self, id: u64, traits: WindowTraits<'_>, cx: &Cx<'_>) -> Option<Moved> {
        let assigned = self.choose_output(self.get(id)?, traits, cx);
        let to = output_for(assigned.as_deref(), cx.outputs);
        let window = self.get_mut(id)?;
        window.assigned_output = assigned;
        let from = std::mem::replace(&mut window.shown_on, to);
        (from != to).then_some(Moved { from, to })
    }
}

/// Returns the enabled output that shows the windows assigned to an output: that output itself, or
/// the nearest one while it is disabled or disconnected.
pub fn output_for(assigned: Option<&str>, outputs: &Outputs) -> Option<OutputId> {
    match assigned.and_then(|name| outputs.named(name)) {
        Some(output) if output.is_in_layout() => Some(output.id),
        Some(output) => outputs.nearest(output.state().logical).map(|output| output.id),
        // The monitor's connector has another monitor now, or it never was connected.
        None => {
            let first = || outputs.in_layout().first().map(|output| output.id);
            assigned.and_then(|name| outputs.fallback_for_away(name)).or_else(first)
        }
    }
}

/// Returns the area of an output that a window fills, in the output's logical pixels: all of it if
/// the window is fullscreen, or what panels leave.
pub fn area(outputs: &Outputs, id: OutputId, fullscreen: bool) -> Option<Rectangle<i32, Logical>> {
    let output = outputs.get(id)?;
    if fullscreen {
        return Some(Rectangle::from_size(output.geometry().size));
    }
    Some(layer_map_for_output(output.wl_output()).non_exclusive_zone())
}

/// Returns where something of this size is centered in an area. If it is larger, its top left
/// corner stays in the area.
pub fn centered(area: Rectangle<i32, Logical>, size: Size<i32, Logical>) -> Point<i32, Logical> {
    area.loc + Point::from(((area.size.w - size.w).max(0) / 2, (area.size.h - size.h).max(0) / 2))
}
