//! Popups of windows and layer surfaces: menus and tooltips.

use smithay::desktop::{
    find_popup_root_surface, get_popup_toplevel_coords, layer_map_for_output, PopupKind, WindowSurfaceType,
};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Rectangle};
use smithay::wayland::shell::xdg::{PopupSurface, PositionerState};
use tracing::debug;

use super::{Effect, Effects, Shell};
use crate::output::outputs::Outputs;

impl Shell {
    /// Adds a popup that a client created with this positioner.
    pub fn add_popup(&mut self, popup: PopupSurface, positioner: PositionerState, outputs: &Outputs) {
        set_positioner(&popup, positioner);
        self.track_popup(popup, outputs);
    }

    /// Adds a popup: one with a new positioner, or one that now belongs to a layer surface, before
    /// which it has no parent.
    pub fn track_popup(&mut self, popup: PopupSurface, outputs: &Outputs) {
        self.unconstrain_popup(&popup, outputs);
        if let Err(error) = self.popups.track_popup(PopupKind::from(popup)) {
            debug!(%error, "popup is already destroyed");
        }
    }

    /// Moves a popup as its client requests.
    pub fn reposition_popup(
        &self,
        popup: &PopupSurface,
        positioner: PositionerState,
        token: u32,
        outputs: &Outputs,
    ) {
        set_positioner(popup, positioner);
        self.unconstrain_popup(popup, outputs);
        popup.send_repositioned(token);
    }

    /// Redraws the output of a popup that its client destroyed.
    pub fn remove_popup(&self, popup: PopupSurface, outputs: &Outputs) -> Effects {
        let root = find_popup_root_surface(&PopupKind::from(popup)).ok();
        let output = root.and_then(|root| self.output_of(&root, outputs));
        output.map(Effect::Redraw).into_iter().collect()
    }

    /// Handles a commit of a popup's own surface.
    pub fn commit_popup(&mut self, surface: &WlSurface, outputs: &Outputs) -> Effects {
        self.popups.commit(surface);
        let Some(PopupKind::Xdg(popup)) = self.popups.find_popup(surface) else { return Effects::new() };
        if !popup.is_initial_configure_sent() {
            if let Err(error) = popup.send_configure() {
                debug!(?error, "cannot configure popup");
            }
        }
        self.output_of(surface, outputs).map(Effect::Redraw).into_iter().collect()
    }

    /// Moves a popup within what its positioner allows, so that all of it is on its parent's
    /// output.
    fn unconstrain_popup(&self, popup: &PopupSurface, outputs: &Outputs) {
        let kind = PopupKind::from(popup.clone());
        let Ok(root) = find_popup_root_surface(&kind) else { return };
        let Some(output) = self.output_of(&root, outputs).and_then(|id| outputs.get(id)) else { return };
        let origin = match self.window_of(&root) {
            Some(window) => self.window_location(window, outputs),
            None => {
                let layers = layer_map_for_output(&output.wl_output);
                let layer = layers.layer_for_surface(&root, WindowSurfaceType::TOPLEVEL);
                layer.and_then(|layer| layers.layer_geometry(layer)).map(|geometry| geometry.loc)
            }
        };
        let Some(origin) = origin else { return };
        let mut target: Rectangle<i32, Logical> = Rectangle::from_size(output.geometry().size);
        target.loc -= origin + get_popup_toplevel_coords(&kind);
        popup
            .with_pending_state(|state| state.geometry = state.positioner.get_unconstrained_geometry(target));
    }
}

fn set_positioner(popup: &PopupSurface, positioner: PositionerState) {
    popup.with_pending_state(|state| {
        state.geometry = positioner.get_geometry();
        state.positioner = positioner;
    });
}
