//! Popups of windows and layer surfaces: menus and tooltips.

use std::sync::atomic::{AtomicBool, Ordering};

use smithay::desktop::{
    get_popup_toplevel_coords, layer_map_for_output, PopupKind, PopupManager, WindowSurfaceType,
};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Rectangle};
use smithay::wayland::compositor::{get_role, with_states};
use smithay::wayland::shell::xdg::{PopupSurface, PositionerState, XdgPopupSurfaceData, XDG_POPUP_ROLE};
use tracing::debug;

use super::focus::grabs::{GrabAnswer, GrabRequest};
use super::windows::{has_buffer, root_surface};
use super::{Effect, Effects, Shell};
use crate::clients::ClientId;
use crate::output::outputs::Outputs;

impl Shell {
    /// Adds a popup that a client created with this positioner.
    pub fn add_popup(&mut self, popup: PopupSurface, positioner: PositionerState, outputs: &Outputs) {
        set_positioner(&popup, positioner);
        let surface = popup.wl_surface();
        // The surface may have been a popup before.
        with_states(surface, |states| {
            states.data_map.get_or_insert_threadsafe(HasBuffer::default).0.store(false, Ordering::Relaxed);
        });
        // Without a parent it becomes one of a layer surface, and is tracked then.
        if popup_parent(surface).is_some() {
            self.track_popup(popup, outputs);
        }
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

    /// Handles a popup that its client destroyed.
    pub fn remove_popup(&mut self, popup: &PopupSurface, outputs: &Outputs) -> Effects {
        self.grabs.remove(popup.wl_surface());
        let root = popup_root(popup.wl_surface()).ok();
        let output = root.and_then(|root| self.output_of(&root, outputs));
        output.map(Effect::Redraw).into_iter().chain([Effect::RefreshFocus]).collect()
    }

    /// Handles a popup that takes all input, if it may. A chain that it does not continue is
    /// dismissed, so that a menu in one program closes the menu of another.
    ///
    /// # Errors
    /// If it is not the topmost popup, which is a protocol error.
    pub fn grab_popup(
        &mut self,
        popup: &PopupSurface,
        client: ClientId,
        outputs: &Outputs,
    ) -> Result<Effects, NotTopmost> {
        let surface = popup.wl_surface();
        let Ok(root) = popup_root(surface) else { return Ok(Effects::new()) };
        let parent = popup_parent(surface).filter(|parent| *parent != root);
        let mut effects = match &parent {
            None => self.dismiss_grabs(outputs),
            Some(_) => Effects::new(),
        };
        match self.grabs.grab(GrabRequest { popup: surface.clone(), parent, root, client }) {
            GrabAnswer::Taken => effects.push(Effect::RefreshFocus),
            GrabAnswer::ParentDismissed => effects.extend(self.dismiss_popup(surface, outputs)),
            GrabAnswer::NotTopmost => return Err(NotTopmost),
        }
        Ok(effects)
    }

    /// Returns whether a surface belongs to a popup that takes all input.
    pub fn is_in_grabbing_popup(&self, surface: &WlSurface) -> bool {
        self.grabs.contains(&root_surface(surface))
    }

    /// Handles a surface that is destroyed. Returns whether it was a popup that took all input.
    pub fn remove_grabbing_surface(&mut self, surface: &WlSurface) -> bool {
        self.grabs.remove(surface)
    }

    /// Dismisses the popups that take all input.
    pub(super) fn dismiss_grabs(&mut self, outputs: &Outputs) -> Effects {
        let popups = self.grabs.dismiss();
        popups.iter().flat_map(|popup| self.dismiss_popup(popup, outputs)).collect()
    }

    /// Dismisses a popup: it is not shown any more, and its client is asked to destroy it.
    fn dismiss_popup(&self, surface: &WlSurface, outputs: &Outputs) -> Effects {
        let (Some(popup), Ok(root)) = (self.popups.find_popup(surface), popup_root(surface)) else {
            return Effects::new();
        };
        let output = self.output_of(&root, outputs);
        if let Err(error) = PopupManager::dismiss_popup(&root, &popup) {
            debug!(%error, "the window of a popup is already destroyed");
        }
        output.map(Effect::Redraw).into_iter().chain([Effect::RefreshFocus]).collect()
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
        let mut effects: Effects = self.output_of(surface, outputs).map(Effect::Redraw).into_iter().collect();
        if unmaps(surface) && self.grabs.remove(surface) {
            effects.push(Effect::RefreshFocus);
        }
        effects
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

/// Whether a popup had a buffer at its last commit.
#[derive(Default)]
struct HasBuffer(AtomicBool);

/// Returns whether the current commit of a popup unmaps it: it removes the buffer.
fn unmaps(surface: &WlSurface) -> bool {
    let has_buffer = has_buffer(surface);
    let had_buffer = with_states(surface, |states| {
        let HasBuffer(had) = states.data_map.get_or_insert_threadsafe(HasBuffer::default);
        had.swap(has_buffer, Ordering::Relaxed)
    });
    had_buffer && !has_buffer
}

/// A popup that takes all input is not the child of the one that does so now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the popup was not created on the topmost popup")]
pub struct NotTopmost;

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
