//! Which surface is at a point, which output shows a surface, and whether it is visible there.

use smithay::desktop::{layer_map_for_output, WindowSurfaceType};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point};
use smithay::wayland::compositor::get_role;
use smithay::wayland::shell::wlr_layer::Layer;
use smithay::wayland::shell::xdg::XDG_POPUP_ROLE;

use super::focus::model::seen_on;
use super::popups::popup_root;
use super::windows::{has_buffer, root_surface};
use super::Shell;
use crate::output::outputs::Outputs;
use crate::output::{Output, OutputId};

/// A surface, and the position of its origin in the layout.
pub type SurfaceAt = (WlSurface, Point<f64, Logical>);

impl Shell {
    /// Returns the surface that gets pointer and touch input at a point of the layout.
    pub fn surface_at(&self, point: Point<f64, Logical>, outputs: &Outputs) -> Option<SurfaceAt> {
        let output = outputs.at(point)?;
        let local = output.local(point);
        let origin = output.geometry().loc.to_f64();
        let in_layout =
            |(surface, location): (WlSurface, Point<i32, Logical>)| (surface, location.to_f64() + origin);
        let seen = seen_on(&self.stack, output.id);
        if let Some(found) = seen.above.iter().find_map(|layer| layer_surface_at(output, *layer, local)) {
            return Some(in_layout(found));
        }
        for window in seen.windows {
            let Some(location) = self.window_location(window, outputs) else { continue };
            let origin = location - window.handle.geometry().loc;
            let found = window.handle.surface_under(local - origin.to_f64(), WindowSurfaceType::ALL);
            if let Some((surface, offset)) = found {
                return Some(in_layout((surface, offset + origin)));
            }
        }
        seen.below.iter().find_map(|layer| layer_surface_at(output, *layer, local)).map(in_layout)
    }

    /// Returns the output that shows the window, popup or layer surface that a surface belongs to.
    pub fn output_of(&self, surface: &WlSurface, outputs: &Outputs) -> Option<OutputId> {
        let mut root = root_surface(surface);
        if get_role(&root) == Some(XDG_POPUP_ROLE) {
            root = popup_root(&root).ok()?;
        }
        if let Some(window) = self.window_of(&root) {
            return window.shown_on;
        }
        let has_layer = |output: &&Output| {
            let layers = layer_map_for_output(output.wl_output());
            layers.layer_for_surface(&root, WindowSurfaceType::TOPLEVEL).is_some()
        };
        outputs.iter().find(has_layer).map(|output| output.id)
    }

    /// Returns whether the user sees a surface, as far as stacking decides: its window, or its
    /// layer surface, is shown, and nothing covers it as a whole.
    pub fn is_seen(&self, surface: &WlSurface, outputs: &Outputs) -> bool {
        let mut root = root_surface(surface);
        if get_role(&root) == Some(XDG_POPUP_ROLE) {
            match popup_root(&root) {
                Ok(base) if self.popups.find_popup(&root).is_some() => root = base,
                _ => return false,
            }
        }
        match self.window_of(&root) {
            Some(window) => self.stack.is_mapped(window.id) && self.stack.is_visible(window.id),
            None => self.is_drawn(&root, outputs) && has_buffer(&root),
        }
    }

    /// Returns whether a surface can be visible: it does not belong to a window that another one
    /// hides, or that is unmapped.
    pub fn is_visible(&self, surface: &WlSurface) -> bool {
        let window = self.window_of(&root_surface(surface));
        window.is_none_or(|window| self.stack.is_visible(window.id))
    }
}

fn layer_surface_at(
    output: &Output,
    layer: Layer,
    local: Point<f64, Logical>,
) -> Option<(WlSurface, Point<i32, Logical>)> {
    let layers = layer_map_for_output(output.wl_output());
    let found = layers.layers_on(layer).rev().find_map(|surface| {
        let location = layers.layer_geometry(surface)?.loc;
        let (found, offset) = surface.surface_under(local - location.to_f64(), WindowSurfaceType::ALL)?;
        Some((found, offset + location))
    });
    found
}
