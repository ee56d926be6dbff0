//! Windows and layer surfaces that the user cannot see: behind others, on a blanked display, or
//! while the session is on another VT.
//!
//! They get no frames, and so no frame callbacks from an output. A client may wait for its callback
//! before it reads anything else (`eglSwapBuffers` with interval 1 does), and would be taken for
//! unresponsive. So their callbacks are sent about once a second, and toplevels get the state
//! `suspended` (xdg_toplevel version 6).

use std::collections::HashSet;
use std::time::Duration;

use smithay::desktop::{layer_map_for_output, LayerSurface, PopupManager, WindowSurfaceType};
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_toplevel::State as ToplevelFlag;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::Resource;
use smithay::wayland::compositor::{
    get_role, with_surface_tree_downward, SurfaceAttributes, SurfaceData, TraversalAction,
};
use smithay::wayland::shell::xdg::{ToplevelSurface, XDG_TOPLEVEL_ROLE};

use super::focus::model::seen_on;
use super::popups::popup_root;
use super::{Shell, ShellWindow};
use crate::clients::{client_of, ClientId};
use crate::output::outputs::Outputs;
use crate::output::OutputId;

/// The version of xdg_toplevel that has the state.
const SUSPENDED_SINCE: u32 = 6;

impl Shell {
    /// Finds out which windows are hidden, and informs those for which that changed. `shows` says
    /// whether an output shows frames.
    pub fn update_hidden(&mut self, shows: impl Fn(OutputId) -> bool) {
        let mapped = self.stack.mapped();
        let outputs: HashSet<OutputId> =
            mapped.iter().filter_map(|window| window.shown_on).filter(|id| shows(*id)).collect();
        let visible: HashSet<u64> =
            outputs.into_iter().flat_map(|id| self.stack.visible_on(id)).map(|window| window.id).collect();
        // A window without a buffer is not hidden: it is configured for when it has one.
        let hidden: HashSet<u64> =
            mapped.iter().map(|window| window.id).filter(|id| !visible.contains(id)).collect();
        for window in self.stack.iter_mut() {
            let is_hidden = hidden.contains(&window.id);
            if std::mem::replace(&mut window.is_hidden, is_hidden) != is_hidden {
                window.toplevel().into_iter().for_each(|toplevel| set_suspended(toplevel, is_hidden));
            }
        }
    }

    /// Returns the roots of everything that is hidden and may wait for frame callbacks: windows,
    /// layer surfaces and their popups.
    fn hidden_roots(&self, outputs: &Outputs, shows: impl Fn(OutputId) -> bool) -> Vec<WlSurface> {
        let hidden = self.stack.mapped().iter().filter(|window| window.is_hidden);
        let mut roots: Vec<WlSurface> = hidden.filter_map(ShellWindow::surface).collect();
        for output in outputs.iter() {
            let layers = layer_map_for_output(output.wl_output());
            let is_hidden = |layer: &LayerSurface| !shows(output.id) || self.covers(output.id, layer);
            roots.extend(
                layers.layers().filter(|layer| is_hidden(layer)).map(|layer| layer.wl_surface().clone()),
            );
        }
        roots
    }

    /// Returns whether a fullscreen window of an output covers a layer surface.
    fn covers(&self, output: OutputId, layer: &LayerSurface) -> bool {
        !seen_on(&self.stack, output).has(layer.layer())
    }

    /// Returns whether frames of its output contain a layer surface or a popup. Windows count as
    /// drawn, which [`Shell::is_visible`] tells.
    pub fn is_drawn(&self, root: &WlSurface, outputs: &Outputs) -> bool {
        if get_role(root) == Some(XDG_TOPLEVEL_ROLE) {
            return true;
        }
        let base = popup_root(root).unwrap_or_else(|_| root.clone());
        if let Some(window) = self.window_of(&base) {
            return self.stack.is_visible(window.id);
        }
        outputs.iter().any(|output| {
            let layers = layer_map_for_output(output.wl_output());
            let layer = layers.layer_for_surface(&base, WindowSurfaceType::TOPLEVEL);
            layer.is_some_and(|layer| !self.covers(output.id, layer))
        })
    }

    /// Returns whether something hidden waits for a frame callback.
    pub fn has_hidden_callbacks(&self, outputs: &Outputs, shows: impl Fn(OutputId) -> bool) -> bool {
        self.hidden_roots(outputs, shows).iter().any(has_callbacks)
    }

    /// Sends the frame callbacks of everything that is hidden.
    pub fn send_hidden_callbacks(&self, outputs: &Outputs, shows: impl Fn(OutputId) -> bool, now: Duration) {
        self.hidden_roots(outputs, shows).iter().for_each(|root| send_callbacks(root, now));
    }

    /// Sends the frame callbacks of everything of a client, hidden or not.
    pub fn send_callbacks_of(&self, client: ClientId, outputs: &Outputs, now: Duration) {
        let windows = self.stack.iter().filter(|window| window.client == client);
        windows.filter_map(ShellWindow::surface).for_each(|root| send_callbacks(&root, now));
        for output in outputs.iter() {
            let layers = layer_map_for_output(output.wl_output());
            let own = layers.layers().filter(|layer| client_of(layer.wl_surface()) == Some(client));
            own.for_each(|layer| send_callbacks(layer.wl_surface(), now));
        }
    }
}

fn set_suspended(toplevel: &ToplevelSurface, is_suspended: bool) {
    // Clients with an older version would get a configure event without any difference.
    if !toplevel.alive() || toplevel.xdg_toplevel().version() < SUSPENDED_SINCE {
        return;
    }
    toplevel.with_pending_state(|state| match is_suspended {
        true => state.states.set(ToplevelFlag::Suspended),
        false => state.states.unset(ToplevelFlag::Suspended),
    });
    if toplevel.is_initial_configure_sent() {
        toplevel.send_pending_configure();
    }
}

/// Calls `each` for all surfaces of a tree and of its popups, until it returns false.
fn for_each_surface(root: &WlSurface, mut each: impl FnMut(&SurfaceData) -> bool) {
    let popups = PopupManager::popups_for_surface(root).map(|(popup, _)| popup.wl_surface().clone());
    let mut continues = true;
    for surface in popups.chain(std::iter::once(root.clone())) {
        with_surface_tree_downward(
            &surface,
            (),
            |_, _, ()| TraversalAction::DoChildren(()),
            |_, states, ()| continues = continues && each(states),
            |_, _, ()| true,
        );
    }
}

/// Returns whether a surface, its subsurfaces or its popups wait for a frame callback.
pub fn has_callbacks(root: &WlSurface) -> bool {
    let mut has = false;
    for_each_surface(root, |states| {
        has = !states.cached_state.get::<SurfaceAttributes>().current().frame_callbacks.is_empty();
        !has
    });
    has
}

fn send_callbacks(root: &WlSurface, now: Duration) {
    // The protocol has 32 bits for the time, which wrap.
    let time = now.as_millis() as u32;
    for_each_surface(root, |states| {
        let mut attributes = states.cached_state.get::<SurfaceAttributes>();
        attributes.current().frame_callbacks.drain(..).for_each(|callback| callback.done(time));
        true
    });
}
