//! Which surfaces are visible on an output.

use smithay::desktop::{layer_map_for_output, LayerSurface, PopupManager};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point};
use smithay::wayland::seat::WaylandFocus;
use smithay::wayland::shell::wlr_layer::Layer;

use super::focus::model::seen_on;
use super::Shell;
use crate::output::outputs::Outputs;
use crate::output::Output;
use crate::render::visible::{PlacedSurface, VisibleSurfaces};

impl Shell {
    /// Collects the visible surfaces of an output, behind the icon of a drag and drop if that is
    /// there. A mirror has none: its source shows them.
    pub fn visible_surfaces(
        &self,
        output: &Output,
        outputs: &Outputs,
        drag_icon: Option<PlacedSurface>,
    ) -> VisibleSurfaces {
        let mut visible = VisibleSurfaces::default();
        if output.state().mirror.is_some() {
            return visible;
        }
        visible.placed.extend(drag_icon);
        let seen = seen_on(&self.stack, output.id);
        for layer in seen.above {
            add_layers(&mut visible.placed, output, *layer);
        }
        for window in &seen.windows {
            let location = self.window_location(window, outputs);
            if let (Some(location), Some(surface)) = (location, window.handle.wl_surface()) {
                let origin = location - window.handle.geometry().loc;
                add_tree(&mut visible.placed, &surface, location, origin);
            }
        }
        visible.has_window = !seen.windows.is_empty();
        visible.before_backdrop = visible.placed.len();
        for layer in seen.below {
            let before = visible.placed.len();
            add_layers(&mut visible.placed, output, *layer);
            visible.has_background = *layer == Layer::Background && visible.placed.len() > before;
        }
        visible
    }
}

/// Adds a surface at `origin`, below its popups. Popups are placed relative to `location`: the
/// window's geometry starts there, inside its shadow.
fn add_tree(
    placed: &mut Vec<PlacedSurface>,
    surface: &WlSurface,
    location: Point<i32, Logical>,
    origin: Point<i32, Logical>,
) {
    for (popup, offset) in PopupManager::popups_for_surface(surface) {
        let location = location + offset - popup.geometry().loc;
        placed.push(PlacedSurface { surface: popup.wl_surface().clone(), location });
    }
    placed.push(PlacedSurface { surface: surface.clone(), location: origin });
}

fn add_layers(placed: &mut Vec<PlacedSurface>, output: &Output, layer: Layer) {
    let layers = layer_map_for_output(output.wl_output());
    for surface in layers.layers_on(layer).rev() {
        if let Some(geometry) = layers.layer_geometry(surface) {
            add_tree(placed, LayerSurface::wl_surface(surface), geometry.loc, geometry.loc);
        }
    }
}
