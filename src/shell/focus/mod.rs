//! Which surface has the keyboard: the facts that decide it ([`model`]), and what the user chooses.

pub mod grabs;
pub mod model;
#[cfg(test)]
mod tests;

use smithay::desktop::layer_map_for_output;
use smithay::desktop::WindowSurfaceType;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::Resource;
use smithay::utils::{Logical, Point};
use smithay::wayland::compositor::get_role;
use smithay::wayland::shell::wlr_layer::KeyboardInteractivity;
use smithay::wayland::shell::xdg::XDG_POPUP_ROLE;

use self::model::{Facts, Keyboard};
use super::layers::mapped_layers;
use super::placement::output_for;
use super::popups::popup_root;
use super::stack::ShellWindow;
use super::windows::root_surface;
use super::{Cx, Effect, Effects, Shell};
use crate::clients::ClientId;
use crate::output::outputs::Outputs;
use crate::output::OutputId;

/// What has the keyboard.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyboardFocus {
    pub surface: Option<WlSurface>,
    /// The window whose surface it is, or whose popup.
    pub window: Option<u64>,
}

impl Shell {
    /// Returns the layer surface that takes the keyboard from all others, such as a screen lock.
    pub fn exclusive_layer(&self, outputs: &Outputs) -> Option<WlSurface> {
        self.with_facts(outputs, |facts| facts.exclusive_layer().map(|layer| layer.surface.clone()))
    }

    /// Returns the output that was focused last. It may be disabled since.
    pub fn focused_output(&self) -> Option<OutputId> {
        self.stack.focused_output()
    }

    /// Returns the client whose popups take all input.
    pub fn grabbing_client(&self) -> Option<ClientId> {
        self.grabs.owner()
    }

    /// Returns the window that has the keyboard if no layer surface and no popup has it.
    pub(super) fn keyboard_window(&self, outputs: &Outputs) -> Option<u64> {
        self.with_facts(outputs, |facts| facts.window().map(|window| window.id))
    }

    /// Returns the outputs where a new window gets the keyboard: the one whose window has it, and
    /// the one that the user clicked last.
    pub(super) fn outputs_in_use(&self, outputs: &Outputs) -> [Option<OutputId>; 2] {
        let present = |output: Option<OutputId>| present(output, outputs);
        [present(self.stack.keyboard_output()), present(self.stack.focused_output())]
    }

    fn with_facts<T>(
        &self,
        outputs: &Outputs,
        call: impl FnOnce(&Facts<'_, WlSurface, smithay::desktop::Window>) -> T,
    ) -> T {
        call(&Facts {
            stack: &self.stack,
            layers: &mapped_layers(outputs),
            grabs: &self.grabs,
            clicked_layer: self.clicked_layer.as_ref(),
            keyboard_output: present(self.stack.keyboard_output(), outputs),
            surface: &ShellWindow::surface,
            // The objects of a client that ends are destroyed one by one.
            accepts: &|window| window.surface().is_some_and(|surface| surface.client().is_some()),
        })
    }

    /// Gives the keyboard to a mapped window, and moves it to the front.
    pub fn focus_window(&mut self, id: u64) -> Effects {
        let had_layer = self.clicked_layer.take().is_some();
        if !self.stack.focus(id) && !had_layer {
            return Effects::new();
        }
        let shown_on = self.mapped_window(id).and_then(|window| window.shown_on);
        shown_on.map(Effect::Redraw).into_iter().chain([Effect::RefreshFocus]).collect()
    }

    /// The user presses something outside or inside the program that has popups, with any device:
    /// outside, the popups are dismissed. `pressed` is the client that is pressed, if any.
    pub fn dismiss_grabs_outside(&mut self, pressed: Option<ClientId>, outputs: &Outputs) -> Effects {
        match self.grabs.owner() {
            Some(owner) if pressed != Some(owner) => self.dismiss_grabs(outputs),
            _ => Effects::new(),
        }
    }

    /// Focuses what is at a point of the layout where the user clicked or touched.
    pub fn focus_at(&mut self, point: Point<f64, Logical>, cx: &Cx<'_>) -> Effects {
        let Some(output) = cx.outputs.at(point) else { return Effects::new() };
        self.stack.focus_output(output.id);
        let Some((surface, _)) = self.surface_at(point, cx.outputs) else { return Effects::new() };
        let mut root = root_surface(&surface);
        if get_role(&root) == Some(XDG_POPUP_ROLE) {
            match popup_root(&root) {
                Ok(base) => root = base,
                Err(_) => return Effects::new(),
            }
        }
        if let Some(id) = self.window_of(&root).map(|window| window.id) {
            return self.focus_window(id);
        }
        let layers = layer_map_for_output(output.wl_output());
        let layer = layers.layer_for_surface(&root, WindowSurfaceType::TOPLEVEL);
        let interactivity = layer.map(|layer| layer.cached_state().keyboard_interactivity);
        let takes_keyboard = interactivity.is_some_and(|wants| wants != KeyboardInteractivity::None);
        drop(layers);
        if !takes_keyboard || self.clicked_layer.as_ref() == Some(&root) {
            return Effects::new();
        }
        self.clicked_layer = Some(root);
        vec![Effect::RefreshFocus]
    }

    /// Finds out what has the keyboard, and dismisses popups that may not take it any more. Tells
    /// windows whether they are active.
    pub fn update_keyboard(&mut self, outputs: &Outputs) -> (KeyboardFocus, Effects) {
        let mut effects = Effects::new();
        if self.with_facts(outputs, |facts| facts.dismisses_grabs()) {
            effects = self.dismiss_grabs(outputs);
        }
        let (keyboard, is_clicked) =
            self.with_facts(outputs, |facts| (facts.keyboard(), facts.clicked_layer().is_some()));
        if !is_clicked {
            self.clicked_layer = None;
        }
        let (surface, root) = match keyboard {
            Some(Keyboard::Window(id)) => {
                self.stack.note_keyboard(id);
                let surface = self.mapped_window(id).and_then(ShellWindow::surface);
                (surface.clone(), surface)
            }
            Some(Keyboard::Popup(surface)) => (Some(surface), self.grabs.root().cloned()),
            Some(Keyboard::Layer(surface)) => (Some(surface), None),
            None => (None, None),
        };
        let mut focus = KeyboardFocus { surface, window: None };
        for window in self.stack.mapped() {
            let is_target = root.as_ref().is_some_and(|root| window.is(root));
            focus.window = focus.window.or(is_target.then_some(window.id));
            if window.handle.set_activated(is_target) {
                if let Some(toplevel) = window.toplevel() {
                    toplevel.send_pending_configure();
                }
            }
        }
        (focus, effects)
    }
}

/// Returns an output, or the one that shows its windows while it is not enabled. Without one, the
/// leftmost output.
pub(super) fn present(output: Option<OutputId>, outputs: &Outputs) -> Option<OutputId> {
    output_for(output.and_then(|id| outputs.name(id)), outputs)
}
