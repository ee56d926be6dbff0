//! Which surface has the keyboard.

use smithay::desktop::{layer_map_for_output, LayerSurface, WindowSurfaceType};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{IsAlive, Logical, Point};
use smithay::wayland::shell::wlr_layer::{KeyboardInteractivity, Layer};

use super::stack::ShellWindow;
use super::windows::root_surface;
use super::{Cx, Effect, Effects, Shell};
use crate::output::outputs::Outputs;
use crate::output::OutputId;

impl Shell {
    /// Returns the layer surface that takes the keyboard from all others, such as a screen lock.
    pub fn exclusive_layer(&self, outputs: &Outputs) -> Option<WlSurface> {
        exclusive_layer(outputs)
    }

    /// Returns the output that was focused last. It may be disabled since.
    pub fn focused_output(&self) -> Option<OutputId> {
        self.stack.focused_output()
    }

    /// Gives the keyboard to a mapped window, and moves it to the front.
    pub fn focus_window(&mut self, id: u64, cx: &Cx<'_>) -> Effects {
        let Some(target) = self.stack.focus(id) else { return Effects::new() };
        let (surface, shown_on) =
            (target.surface(), self.mapped_window(id).and_then(|window| window.shown_on));
        let mut effects: Effects = shown_on.map(Effect::Redraw).into_iter().collect();
        effects.push(self.focus_surface(surface, cx.outputs));
        effects
    }

    /// Gives the keyboard to the topmost window of the focused output, or else of all outputs.
    pub fn focus_topmost(&self, cx: &Cx<'_>) -> Effects {
        vec![self.focus_surface(self.stack.topmost().and_then(ShellWindow::surface), cx.outputs)]
    }

    /// Activates the window of a surface, and returns the effect that gives the keyboard to the
    /// surface. A layer surface that has the keyboard exclusively keeps it.
    fn focus_surface(&self, target: Option<WlSurface>, outputs: &Outputs) -> Effect {
        let target = exclusive_layer(outputs).or(target);
        for window in self.stack.mapped() {
            let is_target = target.as_ref().is_some_and(|target| window.is(target));
            if window.handle.set_activated(is_target) {
                if let Some(toplevel) = window.toplevel() {
                    toplevel.send_pending_configure();
                }
            }
        }
        Effect::FocusKeyboard(target)
    }

    /// Focuses what is at a point of the layout where the user clicked or touched.
    pub fn focus_at(
        &mut self,
        point: Point<f64, Logical>,
        focused: Option<&WlSurface>,
        cx: &Cx<'_>,
    ) -> Effects {
        let Some(output) = cx.outputs.at(point) else { return Effects::new() };
        self.stack.focus_output(output.id);
        let Some((surface, _)) = self.surface_at(point, cx.outputs) else { return Effects::new() };
        let root = root_surface(&surface);
        if let Some(id) = self.window_of(&root).map(|window| window.id) {
            return match focused == Some(&root) {
                true => Effects::new(),
                false => self.focus_window(id, cx),
            };
        }
        let layers = layer_map_for_output(output.wl_output());
        let layer = layers.layer_for_surface(&root, WindowSurfaceType::TOPLEVEL);
        let takes_keyboard = layer.is_some_and(LayerSurface::can_receive_keyboard_focus);
        drop(layers);
        takes_keyboard.then(|| self.focus_surface(Some(root), cx.outputs)).into_iter().collect()
    }

    /// Moves the keyboard to where it belongs after outputs or layer surfaces changed. `focused` is
    /// the surface that has it now.
    pub fn refresh_focus(&self, focused: Option<&WlSurface>, cx: &Cx<'_>) -> Effects {
        let Some(focused) = focused.filter(|surface| surface.alive()) else {
            return self.focus_topmost(cx);
        };
        let target = match self.window_of(focused) {
            // Another window may hide it, if its output was disabled.
            Some(window) => self.stack.focus_after_change(window.id).and_then(ShellWindow::surface),
            // A popup or a layer surface.
            None if self.output_of(focused, cx.outputs).is_some() => Some(focused.clone()),
            // One that its client has unmapped.
            None => return self.focus_topmost(cx),
        };
        vec![self.focus_surface(target, cx.outputs)]
    }
}

/// Returns the layer surface that takes the keyboard from all other surfaces, such as a launcher or
/// a screen lock.
pub(super) fn exclusive_layer(outputs: &Outputs) -> Option<WlSurface> {
    outputs.in_layout().into_iter().find_map(|output| {
        let layers = layer_map_for_output(output.wl_output());
        let is_exclusive = |layer: &&LayerSurface| {
            layer.cached_state().keyboard_interactivity == KeyboardInteractivity::Exclusive
                && matches!(layer.layer(), Layer::Top | Layer::Overlay)
                && layer.alive()
                && layers.layer_geometry(layer).is_some_and(|geometry| !geometry.is_empty())
        };
        let found = layers.layers().rev().find(is_exclusive).map(|layer| layer.wl_surface().clone());
        found
    })
}
