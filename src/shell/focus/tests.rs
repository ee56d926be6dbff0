//! The model of focus without clients: random sequences of what changes it, and what must hold
//! after each.

use geom_display::lifecycle::Lifecycle;
use geom_display::plan::LogicalRect;
use proptest::prelude::*;
use smithay::wayland::shell::wlr_layer::{KeyboardInteractivity, Layer};

use super::grabs::{GrabAnswer, GrabChain, GrabRequest};
use super::model::{seen_on, Facts, Keyboard, MappedLayer};
use super::present;
use crate::clients::placements::Placements;
use crate::clients::ClientId;
use crate::config::{FocusNew, Rule, WindowTraits};
use crate::output::outputs::Outputs;
use crate::output::OutputId;
use crate::shell::stack::{ShellWindow, Stack};
use crate::shell::Cx;

const NAMES: [&str; 3] = ["DP-1", "DP-2", "DP-3"];

/// A surface: of a window by its id, of a layer surface, or of a popup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Surface {
    Window(u64),
    Layer(u64),
    Popup(u64),
}

#[derive(Debug, Clone)]
struct TestLayer {
    id: u64,
    client: ClientId,
    output: OutputId,
    layer: Layer,
    interactivity: KeyboardInteractivity,
    /// It fills its output, or is there but does not cover the point that the test looks at.
    covers: bool,
    has_buffer: bool,
}

/// What the shell and the compositor keep, with surfaces that are numbers. Its methods join the
/// pure parts as `Shell` does.
struct World {
    stack: Stack<bool>,
    outputs: Outputs,
    rules: Vec<Rule>,
    saved: Placements,
    /// In the order of their ages.
    layers: Vec<TestLayer>,
    grabs: GrabChain<Surface>,
    clicked_layer: Option<Surface>,
    /// The display under the pointer. The pointer is on it where dialogs are not.
    pointer: usize,
    has_pointer: bool,
    last_id: u64,
    /// What has keyboard and pointer since the last settling.
    keyboard: Option<Keyboard<Surface>>,
    pointer_on: Option<Surface>,
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    OpenWindow { client: u64, parent: Option<usize>, ruled: bool, fullscreen: bool, accepts: bool },
    Map(usize),
    UnmapWindow(usize),
    CloseWindow(usize),
    FocusWindow(usize),
    SetParent(usize, Option<usize>),
    OpenLayer { output: usize, layer: usize, interactivity: usize, covers: bool },
    ChangeLayer { index: usize, interactivity: usize },
    ToggleBuffer(usize),
    CloseLayer(usize),
    Popup { nested: bool },
    DestroyPopup,
    Press { output: usize },
    Move { output: usize },
    Enable(usize, bool),
    PlugPointer(bool),
}

fn operation() -> impl Strategy<Value = Operation> {
    let index = 0usize..6;
    let window = (1u64..4, prop::option::of(0usize..6), any::<[bool; 2]>(), 0u8..10).prop_map(
        |(client, parent, [ruled, fullscreen], odds)| Operation::OpenWindow {
            client,
            parent,
            ruled,
            fullscreen: fullscreen && odds > 4,
            accepts: odds != 0,
        },
    );
    let layer = (0usize..3, 0usize..4, 0usize..3, any::<bool>()).prop_map(
        |(output, layer, interactivity, covers)| Operation::OpenLayer {
            output,
            layer,
            interactivity,
            covers,
        },
    );
    prop_oneof![
        4 => window,
        4 => index.clone().prop_map(Operation::Map),
        1 => index.clone().prop_map(Operation::UnmapWindow),
        1 => index.clone().prop_map(Operation::CloseWindow),
        2 => index.clone().prop_map(Operation::FocusWindow),
        1 => (index.clone(), prop::option::of(0usize..6)).prop_map(|(id, parent)| Operation::SetParent(id, parent)),
        2 => layer,
        2 => (index.clone(), 0usize..3)
            .prop_map(|(index, interactivity)| Operation::ChangeLayer { index, interactivity }),
        2 => index.clone().prop_map(Operation::ToggleBuffer),
        2 => index.prop_map(Operation::CloseLayer),
        4 => any::<bool>().prop_map(|nested| Operation::Popup { nested }),
        1 => Just(Operation::DestroyPopup),
        3 => (0usize..3).prop_map(|output| Operation::Press { output }),
        2 => (0usize..3).prop_map(|output| Operation::Move { output }),
        2 => (0usize..3, any::<bool>()).prop_map(|(output, enabled)| Operation::Enable(output, enabled)),
        1 => any::<bool>().prop_map(Operation::PlugPointer),
    ]
}

const LAYERS: [Layer; 4] = [Layer::Background, Layer::Bottom, Layer::Top, Layer::Overlay];
const INTERACTIVITIES: [KeyboardInteractivity; 3] =
    [KeyboardInteractivity::None, KeyboardInteractivity::OnDemand, KeyboardInteractivity::Exclusive];

impl World {
    fn new(enabled: [bool; 3]) -> Self {
        let mut outputs = Outputs::default();
        for (index, (name, enabled)) in NAMES.into_iter().zip(enabled).enumerate() {
            let output = outputs.entry(name);
            output.state_mut().logical = LogicalRect { x: 100 * index as i32, y: 0, width: 100, height: 100 };
            output.set_lifecycle(if enabled { Lifecycle::Enabled } else { Lifecycle::Disconnected });
        }
        Self {
            stack: Stack::default(),
            outputs,
            rules: vec![Rule { app_id: Some("ruled".into()), title: None, display: NAMES[1].into() }],
            saved: Placements::default(),
            layers: Vec::new(),
            grabs: GrabChain::default(),
            clicked_layer: None,
            pointer: 0,
            has_pointer: true,
            last_id: 0,
            keyboard: None,
            pointer_on: None,
        }
    }

    fn output(&self, index: usize) -> Option<OutputId> {
        self.outputs.named(NAMES[index]).filter(|output| output.is_in_layout()).map(|output| output.id)
    }

    fn mapped_layers(&self) -> Vec<MappedLayer<Surface>> {
        let shown = |id: OutputId| self.outputs.get(id).is_some_and(|output| output.is_in_layout());
        let mapped = self.layers.iter().filter(|layer| layer.has_buffer && shown(layer.output));
        mapped
            .map(|layer| MappedLayer {
                surface: Surface::Layer(layer.id),
                output: layer.output,
                layer: layer.layer,
                interactivity: layer.interactivity,
                age: layer.id,
            })
            .collect()
    }

    fn with_facts<T>(&self, call: impl FnOnce(&Facts<'_, Surface, bool>) -> T) -> T {
        call(&Facts {
            stack: &self.stack,
            layers: &self.mapped_layers(),
            grabs: &self.grabs,
            clicked_layer: self.clicked_layer.as_ref(),
            keyboard_output: present(self.stack.keyboard_output(), &self.outputs),
            surface: &|window| Some(Surface::Window(window.id)),
            accepts: &|window| window.handle,
        })
    }

    fn client_of(&self, surface: Surface) -> Option<ClientId> {
        match surface {
            Surface::Window(id) => self.stack.get(id).map(|window| window.client),
            Surface::Layer(id) => self.layers.iter().find(|layer| layer.id == id).map(|layer| layer.client),
            Surface::Popup(_) => self.grabs.owner(),
        }
    }

    /// What is seen on an output, away from dialogs and popups.
    fn seen_at(&self, output: OutputId) -> Option<Surface> {
        let seen = seen_on(&self.stack, output);
        let on = |layers: &[Layer]| {
            layers.iter().find_map(|layer| {
                let here = |other: &&TestLayer| {
                    other.output == output && other.layer == *layer && other.has_buffer && other.covers
                };
                self.layers.iter().rev().find(here).map(|layer| Surface::Layer(layer.id))
            })
        };
        on(seen.above)
            .or_else(|| seen.windows.last().map(|window| Surface::Window(window.id)))
            .or_else(|| on(seen.below))
    }

    fn place(&mut self, id: u64, ruled: bool) {
        let cx = Cx {
            outputs: &self.outputs,
            rules: &self.rules,
            focus_new: FocusNew::SameDisplay,
            saved_placements: &self.saved,
            connector_of: &|_| None,
        };
        let app_id = Some(if ruled { "ruled" } else { "app" });
        self.stack.place(id, WindowTraits { app_id, title: None }, &cx);
    }

    fn focus_window(&mut self, id: u64) {
        self.clicked_layer = None;
        self.stack.focus(id);
    }

    /// As a press of a button and a touch.
    fn press(&mut self, index: usize) {
        self.settle();
        let Some(output) = self.output(index) else { return };
        let under = self.seen_at(output);
        let client = under.and_then(|surface| self.client_of(surface));
        if self.grabs.owner().is_some_and(|owner| client != Some(owner)) {
            self.grabs.dismiss();
        }
        self.stack.focus_output(output);
        match under {
            Some(Surface::Window(id)) => self.focus_window(id),
            Some(Surface::Layer(id)) => {
                let layer = self.layers.iter().find(|layer| layer.id == id);
                if layer.is_some_and(|layer| layer.interactivity != KeyboardInteractivity::None) {
                    self.clicked_layer = under;
                }
            }
            Some(Surface::Popup(_)) | None => {}
        }
    }

    fn settle(&mut self) {
        if self.with_facts(|facts| facts.dismisses_grabs()) {
            self.grabs.dismiss();
        }
        let (keyboard, is_clicked) =
            self.with_facts(|facts| (facts.keyboard(), facts.clicked_layer().is_some()));
        if !is_clicked {
            self.clicked_layer = None;
        }
        if let Some(Keyboard::Window(id)) = keyboard {
            self.stack.note_keyboard(id);
        }
        self.keyboard = keyboard;
        let under = self.output(self.pointer).filter(|_| self.has_pointer).and_then(|id| self.seen_at(id));
        self.pointer_on = under
            .filter(|surface| self.grabs.owner().is_none_or(|owner| self.client_of(*surface) == Some(owner)));
    }

    fn map(&mut self, id: u64, ruled: bool) {
        self.settle();
        self.place(id, ruled);
        let holder = self.with_facts(|facts| facts.window().map(|window| window.id));
        self.stack.map(id);
        let shown_on = self.stack.get(id).and_then(|window| window.shown_on);
        let in_use = [self.stack.keyboard_output(), self.stack.focused_output()];
        let in_use = in_use.map(|output| present(output, &self.outputs));
        if in_use.contains(&shown_on) {
            self.focus_window(id);
        }
        // A window that opens elsewhere leaves the keyboard where it was, unless it hides it.
        let is_visible = |id: u64| self.stack.is_visible(id);
        let is_elsewhere = |holder: &u64| {
            let display = self.stack.get(*holder).and_then(|holder| holder.shown_on);
            display != shown_on && !in_use.contains(&shown_on)
        };
        let holder = holder.filter(|holder| is_visible(*holder) && is_elsewhere(holder));
        if let Some(holder) = holder {
            assert_eq!(self.with_facts(|facts| facts.window().map(|window| window.id)), Some(holder));
        }
    }

    fn apply(&mut self, operation: Operation) {
        let ids: Vec<u64> = self.stack.iter().map(|window| window.id).collect();
        let pick = |index: usize| ids.get(index % ids.len().max(1)).copied();
        let count = self.layers.len().max(1);
        match operation {
            Operation::OpenWindow { client, parent, ruled, fullscreen, accepts } => {
                let id = self.stack.add(client.into(), accepts);
                self.stack.set_parent(id, parent.and_then(pick));
                self.stack.get_mut(id).expect("a window").fullscreen = fullscreen;
                self.map(id, ruled);
            }
            Operation::Map(index) => {
                if let Some(id) = pick(index).filter(|id| !self.stack.is_mapped(*id)) {
                    self.map(id, false);
                }
            }
            Operation::UnmapWindow(index) => pick(index).into_iter().for_each(|id| self.stack.unmap(id)),
            Operation::CloseWindow(index) => {
                pick(index).into_iter().for_each(|id| drop(self.stack.remove(id)));
            }
            Operation::FocusWindow(index) => pick(index).into_iter().for_each(|id| self.focus_window(id)),
            Operation::SetParent(index, parent) => {
                if let Some(id) = pick(index) {
                    self.stack.set_parent(id, parent.and_then(pick));
                    self.place(id, false);
                    for dialog in self.stack.descendants(id) {
                        self.place(dialog, false);
                    }
                }
            }
            Operation::OpenLayer { output, layer, interactivity, covers } => {
                let Some(output) = self.output(output) else { return };
                self.last_id += 1;
                self.layers.push(TestLayer {
                    id: self.last_id,
                    client: (1 + self.last_id % 3).into(),
                    output,
                    layer: LAYERS[layer],
                    interactivity: INTERACTIVITIES[interactivity],
                    covers,
                    has_buffer: true,
                });
            }
            Operation::ChangeLayer { index, interactivity } => {
                let layer = self.layers.get_mut(index % count);
                layer.into_iter().for_each(|layer| layer.interactivity = INTERACTIVITIES[interactivity]);
            }
            Operation::ToggleBuffer(index) => {
                let layer = self.layers.get_mut(index % count);
                layer.into_iter().for_each(|layer| layer.has_buffer = !layer.has_buffer);
            }
            Operation::CloseLayer(index) => {
                if index < self.layers.len() {
                    self.layers.remove(index);
                }
            }
            Operation::Popup { nested } => {
                // As after a press in a window or layer surface that has the keyboard.
                self.settle();
                let root = match &self.keyboard {
                    Some(Keyboard::Window(id)) => Surface::Window(*id),
                    Some(Keyboard::Layer(layer)) => *layer,
                    Some(Keyboard::Popup(_)) => *self.grabs.root().expect("a root"),
                    None => return,
                };
                // What is not seen cannot be pressed.
                let window = self.stack.mapped().iter().find(|window| Surface::Window(window.id) == root);
                if window.is_some_and(|window| window.shown_on.is_none()) {
                    return;
                }
                let client = self.client_of(root).expect("a client");
                let parent = self.grabs.innermost().copied().filter(|_| nested);
                if parent.is_none() {
                    self.grabs.dismiss();
                }
                self.last_id += 1;
                let popup = Surface::Popup(self.last_id);
                let answer = self.grabs.grab(GrabRequest { popup, parent, root, client });
                assert_eq!(answer, GrabAnswer::Taken);
                self.settle();
                assert_eq!(self.keyboard, Some(Keyboard::Popup(popup)));
            }
            Operation::DestroyPopup => {
                if let Some(popup) = self.grabs.innermost().copied() {
                    self.grabs.remove(&popup);
                }
            }
            Operation::Press { output } => self.press(output),
            Operation::Move { output } => {
                if self.output(output).is_some() {
                    self.pointer = output;
                }
            }
            Operation::Enable(output, enabled) => {
                let lifecycle = if enabled { Lifecycle::Enabled } else { Lifecycle::Disconnected };
                self.outputs.named_mut(NAMES[output]).expect("an output").set_lifecycle(lifecycle);
                let ids: Vec<u64> = self.stack.mapped().iter().map(|window| window.id).collect();
                ids.into_iter().for_each(|id| self.place(id, false));
            }
            Operation::PlugPointer(plugged) => self.has_pointer = plugged,
        }
    }

    /// Returns whether a window that accepts the keyboard is shown, without the model.
    fn shows_accepting_window(&self) -> bool {
        self.stack.mapped().iter().any(|window| window.handle && self.is_shown(window))
    }

    /// Returns whether no other family of its output is in front of a window.
    fn is_shown(&self, window: &ShellWindow<bool>) -> bool {
        if window.shown_on.is_none() {
            return false;
        }
        let here = |other: &&ShellWindow<bool>| other.shown_on == window.shown_on;
        let front = self.stack.mapped().iter().rfind(here);
        front.is_some_and(|front| self.base(front.id) == self.base(window.id))
    }

    /// The window on the same output that a dialog belongs to in the end.
    fn base(&self, id: u64) -> u64 {
        let window = self.stack.get(id).expect("a window");
        let parent = window.parent.filter(|parent| self.stack.is_mapped(*parent));
        let parent = parent.and_then(|parent| self.stack.get(parent));
        match parent.filter(|parent| parent.shown_on == window.shown_on) {
            Some(parent) => self.base(parent.id),
            None => id,
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let layers = self.mapped_layers();
        let covered = |layer: &MappedLayer<Surface>| {
            let here = |window: &&ShellWindow<bool>| window.shown_on == Some(layer.output);
            let front = self.stack.mapped().iter().rfind(here);
            let base = front.and_then(|front| self.stack.get(self.base(front.id)));
            layer.layer != Layer::Overlay && base.is_some_and(|base| base.fullscreen)
        };
        let exclusive = |layer: Layer| {
            let wants = layers.iter().filter(|other| {
                other.layer == layer
                    && other.interactivity == KeyboardInteractivity::Exclusive
                    && !covered(other)
            });
            let is_clicked = |layer: &MappedLayer<Surface>| self.clicked_layer == Some(layer.surface);
            wants.max_by_key(|layer| (is_clicked(layer), layer.age)).map(|layer| layer.surface)
        };
        let exclusive = exclusive(Layer::Overlay).or(exclusive(Layer::Top));
        let root = self.grabs.root().copied();
        // The topmost exclusive layer surface over all displays, or a menu of its own.
        if let Some(exclusive) = exclusive {
            let is_own = self.keyboard == Some(Keyboard::Layer(exclusive))
                || (matches!(self.keyboard, Some(Keyboard::Popup(_))) && root == Some(exclusive));
            prop_assert!(is_own, "{:?} has the keyboard instead of {exclusive:?}", self.keyboard);
        }
        match &self.keyboard {
            None => prop_assert!(!self.shows_accepting_window(), "no one has the keyboard"),
            // What is covered gets no keys.
            Some(Keyboard::Window(id)) => {
                let window = self.stack.get(*id).expect("a window");
                prop_assert!(self.stack.is_mapped(*id) && window.handle);
                prop_assert!(window.shown_on.is_none() || self.is_shown(window), "{window:?} is hidden");
                // The innermost of its dialogs that is shown with it.
                let dialogs = self.stack.mapped().iter().filter(|other| {
                    other.parent == Some(*id) && other.shown_on == window.shown_on && other.handle
                });
                prop_assert_eq!(dialogs.count(), 0, "a dialog of {:?} is not focused", window);
            }
            Some(Keyboard::Layer(surface)) => {
                let layer = layers.iter().find(|layer| layer.surface == *surface);
                let layer = layer.expect("a mapped layer surface");
                prop_assert!(layer.interactivity != KeyboardInteractivity::None && !covered(layer));
            }
            Some(Keyboard::Popup(popup)) => prop_assert_eq!(Some(popup), self.grabs.innermost()),
        }
        // The chain belongs to what is seen.
        match root {
            Some(Surface::Window(id)) => {
                prop_assert!(self.is_shown(self.stack.get(id).expect("a window")));
            }
            Some(Surface::Layer(_)) => {
                prop_assert!(layers.iter().any(|layer| Some(layer.surface) == root && !covered(layer)));
            }
            Some(Surface::Popup(_)) => prop_assert!(false, "a popup is no root"),
            None => prop_assert!(self.grabs.is_empty()),
        }
        // Dialogs are in front of their windows.
        let order: Vec<u64> = self.stack.mapped().iter().map(|window| window.id).collect();
        let position = |id: u64| order.iter().position(|other| *other == id);
        for window in self.stack.mapped() {
            if let Some(parent) = window.parent.and_then(position) {
                prop_assert!(Some(parent) < position(window.id), "{window:?} is behind its window");
            }
        }
        // The pointer is on what is in front, as far as it may.
        if let Some(on) = self.pointer_on {
            let output = self.output(self.pointer).expect("an enabled output");
            match on {
                Surface::Window(id) => {
                    let window = self.stack.get(id).expect("a window");
                    prop_assert!(window.shown_on == Some(output) && self.is_shown(window));
                }
                Surface::Layer(id) => {
                    let layer = layers.iter().find(|layer| layer.surface == Surface::Layer(id));
                    prop_assert!(layer.is_some_and(|layer| layer.output == output && !covered(layer)));
                }
                Surface::Popup(_) => {}
            }
            let owner = self.grabs.owner();
            prop_assert!(owner.is_none() || owner == self.client_of(on));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// After any operations: the topmost exclusive layer surface has the keyboard, or else a popup
    /// that takes all input, or else what the user chose; never nothing while a window that accepts
    /// it is shown. What is covered gets neither keys nor the pointer. A press outside the program
    /// that has popups dismisses them.
    #[test]
    fn focus_follows_its_rules_after_any_operations(
        enabled in any::<[bool; 3]>(),
        operations in prop::collection::vec(operation(), 1..60),
    ) {
        let mut world = World::new(enabled);
        for operation in operations {
            let (owner, pressed) = (world.grabs.owner(), match operation {
                Operation::Press { output } => world.output(output),
                _ => None,
            });
            let under = pressed.and_then(|output| world.seen_at(output));
            let is_outside = pressed.is_some()
                && owner.is_some()
                && under.and_then(|surface| world.client_of(surface)) != owner;
            world.apply(operation);
            prop_assert!(!is_outside || world.grabs.is_empty(), "popups survive a press outside");
            world.settle();
            world.check()?;
        }
    }

    /// The answer depends on the state alone: to settle twice, or to settle in between, changes
    /// nothing.
    #[test]
    fn settling_again_changes_nothing(
        operations in prop::collection::vec(operation(), 1..40),
    ) {
        let mut world = World::new([true; 3]);
        for operation in operations {
            world.apply(operation);
            world.settle();
            let before = (world.keyboard.clone(), world.pointer_on, world.clicked_layer);
            world.settle();
            prop_assert_eq!(before, (world.keyboard.clone(), world.pointer_on, world.clicked_layer));
        }
    }
}
