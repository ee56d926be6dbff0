//! Who has the keyboard, and what is in front of what. Pure.
//!
//! The keyboard goes, in this order, to
//!
//! 1. the exclusive layer surface in front of all displays' others: overlay before top, and of a
//!    layer the one that the user clicked, or else the newest (wlr-layer-shell: `exclusive`); or a
//!    menu of that surface,
//! 2. the innermost popup that takes all input,
//! 3. the layer surface that the user clicked (`on_demand`),
//! 4. a window: the front one of the display that has the keyboard, or else the one that had it
//!    last of those that are visible.
//!
//! Nothing here depends on who has it now, so that the order of changes does not matter: after any
//! change the answer is computed again.

use smithay::wayland::shell::wlr_layer::{KeyboardInteractivity, Layer};

use super::grabs::GrabChain;
use crate::output::OutputId;
use crate::shell::stack::{ShellWindow, Stack};

/// A layer surface that is mapped: it has a buffer, and its output is in the layout, unless that is
/// empty.
#[derive(Debug, Clone, PartialEq)]
pub struct MappedLayer<K> {
    pub surface: K,
    pub output: OutputId,
    pub layer: Layer,
    pub interactivity: KeyboardInteractivity,
    /// Grows from one layer surface to the next.
    pub age: u64,
}

/// Everything that decides who has the keyboard.
pub struct Facts<'a, K, W> {
    pub stack: &'a Stack<W>,
    pub layers: &'a [MappedLayer<K>],
    pub grabs: &'a GrabChain<K>,
    /// The layer surface that the user clicked last.
    pub clicked_layer: Option<&'a K>,
    /// The display that has the keyboard: where a window had it last, or what shows the windows of
    /// that display now.
    pub keyboard_output: Option<OutputId>,
    /// Returns the surface of a window.
    pub surface: &'a dyn Fn(&ShellWindow<W>) -> Option<K>,
    /// Returns whether a window accepts the keyboard.
    pub accepts: &'a dyn Fn(&ShellWindow<W>) -> bool,
}

/// What has the keyboard.
#[derive(Debug, Clone, PartialEq)]
pub enum Keyboard<K> {
    Layer(K),
    Popup(K),
    /// The window's id.
    Window(u64),
}

/// What an output shows, front to back: layer surfaces of these layers, windows, and layer surfaces
/// of these layers. Within a layer the newest is in front.
pub struct Seen<'a, W> {
    pub above: &'static [Layer],
    pub windows: Vec<&'a ShellWindow<W>>,
    pub below: &'static [Layer],
}

/// Returns what an output shows. A fullscreen window covers everything but the overlay layer, also
/// where its buffer is smaller than the output.
pub fn seen_on<W>(stack: &Stack<W>, output: OutputId) -> Seen<'_, W> {
    let windows = stack.visible_on(output);
    match windows.last().is_some_and(|window| window.fullscreen) {
        true => Seen { above: &[Layer::Overlay], windows, below: &[] },
        false => {
            Seen { above: &[Layer::Overlay, Layer::Top], windows, below: &[Layer::Bottom, Layer::Background] }
        }
    }
}

impl<W> Seen<'_, W> {
    /// Returns whether layer surfaces of a layer are shown.
    pub fn has(&self, layer: Layer) -> bool {
        self.above.contains(&layer) || self.below.contains(&layer)
    }
}

impl<K: Clone + PartialEq, W> Facts<'_, K, W> {
    fn is_seen(&self, layer: &MappedLayer<K>) -> bool {
        seen_on(self.stack, layer.output).has(layer.layer)
    }

    /// Returns the layer surface that takes the keyboard from all others, such as a screen lock.
    /// Below the windows, `exclusive` is as `on_demand` (wlr-layer-shell).
    pub fn exclusive_layer(&self) -> Option<&MappedLayer<K>> {
        let rank = |layer: &MappedLayer<K>| match layer.layer {
            Layer::Overlay => Some(2),
            Layer::Top => Some(1),
            Layer::Bottom | Layer::Background => None,
        };
        let exclusive = self.layers.iter().filter(|layer| {
            layer.interactivity == KeyboardInteractivity::Exclusive
                && rank(layer).is_some()
                && self.is_seen(layer)
        });
        // A lock with a surface on each display: the one that the user clicks.
        let is_clicked = |layer: &MappedLayer<K>| self.clicked_layer == Some(&layer.surface);
        exclusive.max_by_key(|layer| (rank(layer), is_clicked(layer), layer.age))
    }

    /// Returns the layer surface that the user clicked, if it still is seen and wants the keyboard.
    pub fn clicked_layer(&self) -> Option<&MappedLayer<K>> {
        let clicked = self.clicked_layer?;
        self.layers.iter().find(|layer| {
            layer.surface == *clicked
                && layer.interactivity != KeyboardInteractivity::None
                && self.is_seen(layer)
        })
    }

    /// Returns whether the popups that take all input are to be dismissed: what they belong to is
    /// not seen any more, or another surface takes the keyboard from all.
    pub fn dismisses_grabs(&self) -> bool {
        let Some(root) = self.grabs.root() else { return false };
        let layer = self.layers.iter().find(|layer| layer.surface == *root);
        let window = self.stack.mapped().iter().find(|window| (self.surface)(window).as_ref() == Some(root));
        let is_seen = layer.is_some_and(|layer| self.is_seen(layer))
            || window.is_some_and(|window| self.stack.is_visible(window.id));
        !is_seen || self.exclusive_layer().is_some_and(|exclusive| exclusive.surface != *root)
    }

    /// Returns the window that has the keyboard if no layer surface and no popup has it.
    pub fn window(&self) -> Option<&ShellWindow<W>> {
        let front = |output: OutputId| {
            self.stack.visible_on(output).into_iter().find(|window| (self.accepts)(window))
        };
        let on_keyboard_output = self.keyboard_output.and_then(front);
        on_keyboard_output.or_else(|| {
            let accepting = self.stack.mapped().iter().filter(|window| (self.accepts)(window));
            // Without an enabled output no window is visible, and the keyboard stays where it is.
            let visible =
                accepting.filter(|window| window.shown_on.is_none() || self.stack.is_visible(window.id));
            let last = visible.max_by_key(|window| window.focused_at)?;
            last.shown_on.and_then(front).or_else(|| {
                let dialogs = self.stack.descendants(last.id);
                let is_own = |window: &&ShellWindow<W>| {
                    window.id == last.id || (window.shown_on.is_none() && dialogs.contains(&window.id))
                };
                self.stack.mapped().iter().rev().filter(is_own).find(|window| (self.accepts)(window))
            })
        })
    }

    /// Returns what has the keyboard. `None` only if no window that accepts it is shown.
    pub fn keyboard(&self) -> Option<Keyboard<K>> {
        let popup = self.grabs.innermost().filter(|_| !self.dismisses_grabs());
        if let Some(popup) = popup {
            return Some(Keyboard::Popup(popup.clone()));
        }
        let layer = self.exclusive_layer().or_else(|| self.clicked_layer());
        match layer {
            Some(layer) => Some(Keyboard::Layer(layer.surface.clone())),
            None => self.window().map(|window| Keyboard::Window(window.id)),
        }
    }
}
