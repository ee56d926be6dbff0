//! Popups of windows and layer surfaces: menus and tooltips.

use smithay::desktop::{get_popup_toplevel_coords, layer_map_for_output, PopupKind, WindowSurfaceType};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Rectangle};
use smithay::wayland::compositor::{get_role, with_states};
use smithay::wayland::shell::xdg::{PopupSurface, PositionerState, XdgPopupSurfaceData, XDG_POPUP_ROLE};
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
        let root = popup_root(popup.wl_surface()).ok();
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
        let Ok(root) = popup_root(popup.wl_surface()) else { return };
        let Some(output) = self.output_of(&root, outputs).and_then(|id| outputs.get(id)) else { return };
        let origin = match self.window_of(&root) {
            Some(window) => self.window_location(window, outputs),
            None => {
                let layers = layer_map_for_output(output.wl_output());
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

/// The maximum number of popups on top of each other. Smithay walks them recursively.
const MAX_POPUP_DEPTH: usize = 32;

/// Why a popup has no root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PopupError {
    /// It gets a parent later, by another protocol, or a popup between was destroyed.
    #[error("a popup has no parent")]
    NoParent,
    #[error("the parent of a popup has no role")]
    NoRole,
    #[error("a popup is its own ancestor")]
    OwnAncestor,
    #[error("popups are nested more than {MAX_POPUP_DEPTH} levels deep")]
    TooDeep,
}

/// Returns the surface of the window or layer surface that a popup belongs to. Smithay's function
/// does not end if a popup is its own ancestor.
///
/// # Errors
/// If there is none.
pub fn popup_root(popup: &WlSurface) -> Result<WlSurface, PopupError> {
    let mut parent = popup_parent(popup).ok_or(PopupError::NoParent)?;
    for _ in 0..MAX_POPUP_DEPTH {
        if parent == *popup {
            return Err(PopupError::OwnAncestor);
        }
        match get_role(&parent) {
            Some(XDG_POPUP_ROLE) => parent = popup_parent(&parent).ok_or(PopupError::NoParent)?,
            Some(_) => return Ok(parent),
            None => return Err(PopupError::NoRole),
        }
    }
    Err(PopupError::TooDeep)
}

fn popup_parent(popup: &WlSurface) -> Option<WlSurface> {
    with_states(popup, |states| {
        let attributes = states.data_map.get::<XdgPopupSurfaceData>()?;
        attributes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).parent.clone()
    })
}

fn set_positioner(popup: &PopupSurface, positioner: PositionerState) {
    popup.with_pending_state(|state| {
        state.geometry = positioner.get_geometry();
        state.positioner = positioner;
    });
}
