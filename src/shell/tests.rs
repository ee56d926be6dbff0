//! Stacking, placement and focus, without clients and without a compositor.

use geom_display::lifecycle::Lifecycle;
use geom_display::plan::LogicalRect;
use geom_display::relocation::MonitorKey;
use proptest::prelude::*;

use super::focus::grabs::GrabChain;
use super::focus::model::Facts;
use super::focus::present;
use super::placement::Moved;
use super::stack::Stack;
use super::Cx;
use crate::clients::placements::Placements;
use crate::config::{FocusNew, Rule, WindowTraits};
use crate::output::outputs::Outputs;
use crate::output::OutputId;

const NAMES: [&str; 3] = ["DP-1", "DP-2", "DP-3"];

/// Windows of a single client, three outputs next to each other, and what placement reads.
struct Fixture {
    stack: Stack<()>,
    outputs: Outputs,
    rules: Vec<Rule>,
    saved: Placements,
}

impl Fixture {
    fn new(enabled: [bool; 3]) -> Self {
        let mut outputs = Outputs::default();
        for (index, (name, enabled)) in NAMES.into_iter().zip(enabled).enumerate() {
            let output = outputs.entry(name);
            output.state_mut().logical = LogicalRect { x: 100 * index as i32, y: 0, width: 100, height: 100 };
            output.set_lifecycle(if enabled { Lifecycle::Enabled } else { Lifecycle::Disconnected });
        }
        let (stack, rules, saved) = (Stack::default(), Vec::new(), Placements::default());
        Self { stack, outputs, rules, saved }
    }

    fn rule(mut self, app_id: &str, display: &str) -> Self {
        self.rules.push(Rule { app_id: Some(app_id.into()), title: None, display: display.into() });
        self
    }

    fn place(&mut self, id: u64, app_id: &str) -> Option<Moved> {
        let cx = Cx {
            outputs: &self.outputs,
            rules: &self.rules,
            focus_new: FocusNew::Always,
            saved_placements: &self.saved,
            // One alias; connectors stand for themselves.
            connector_of: &|name| (name == "left").then(|| "DP-1".to_owned()),
        };
        self.stack.place(id, WindowTraits { app_id: Some(app_id), title: None }, &cx)
    }

    /// What [`Shell`](super::Shell) does when a window is mapped.
    fn map(&mut self, id: u64, app_id: &str) {
        self.place(id, app_id);
        self.stack.map(id);
        self.focus(id);
    }

    fn open(&mut self, app_id: &str, parent: Option<u64>) -> u64 {
        let id = self.stack.add(1.into(), ());
        self.stack.set_parent(id, parent);
        self.map(id, app_id);
        id
    }

    fn focus(&mut self, id: u64) {
        self.stack.focus(id);
    }

    /// Returns the window that has the keyboard.
    fn focused(&self) -> Option<u64> {
        let facts = Facts::<u64, ()> {
            stack: &self.stack,
            layers: &[],
            grabs: &GrabChain::default(),
            clicked_layer: None,
            keyboard_output: present(self.stack.keyboard_output(), &self.outputs),
            surface: &|window| Some(window.id),
            accepts: &|_| true,
        };
        facts.window().map(|window| window.id)
    }

    fn enable(&mut self, name: &str, enabled: bool) {
        if let Some(output) = self.outputs.named_mut(name) {
            output.set_lifecycle(if enabled { Lifecycle::Enabled } else { Lifecycle::Disconnected });
        }
        let ids: Vec<u64> = self.stack.mapped().iter().map(|window| window.id).collect();
        for id in ids {
            self.place(id, "app");
        }
    }

    fn assigned(&self, id: u64) -> Option<&str> {
        self.stack.get(id)?.assigned_output.as_deref()
    }

    fn shown_on(&self, id: u64) -> Option<&str> {
        self.outputs.name(self.stack.get(id)?.shown_on?)
    }

    fn order(&self) -> Vec<u64> {
        self.stack.mapped().iter().map(|window| window.id).collect()
    }

    fn visible_on(&self, name: &str) -> Vec<u64> {
        let id = self.outputs.id(name).expect("an output");
        self.stack.visible_on(id).iter().map(|window| window.id).collect()
    }
}

#[test]
fn placement_follows_its_precedence() {
    let mut all = Fixture::new([true; 3]).rule("ruled", "DP-3").rule("aliased", "left");
    let first = all.open("app", None);
    assert_eq!(all.assigned(first), Some("DP-1"), "the leftmost output, without anything else");

    all.stack.focus_output(all.outputs.id("DP-2").expect("an output"));
    let focused = all.open("app", None);
    assert_eq!(all.assigned(focused), Some("DP-2"), "the focused output");

    all.saved.insert("saved".into(), "DP-3".into());
    let saved = all.open("saved", None);
    assert_eq!(all.assigned(saved), Some("DP-3"), "the saved placement before the focused output");

    let requested = all.stack.add(1.into(), ());
    all.stack.get_mut(requested).expect("a window").assigned_output = Some("DP-1".into());
    all.map(requested, "saved");
    assert_eq!(all.assigned(requested), Some("DP-1"), "the request before the saved placement");

    let dialog = all.stack.add(1.into(), ());
    all.stack.set_parent(dialog, Some(focused));
    all.stack.get_mut(dialog).expect("a window").assigned_output = Some("DP-1".into());
    all.map(dialog, "saved");
    assert_eq!(all.assigned(dialog), Some("DP-2"), "the parent before the request");

    let ruled = all.open("ruled", None);
    assert_eq!(all.assigned(ruled), Some("DP-3"), "the rule before the focused output");
    let of_ruled = all.open("ruled", Some(focused));
    assert_eq!(all.assigned(of_ruled), Some("DP-2"), "the parent before the rule");
    let aliased = all.open("aliased", None);
    assert_eq!(all.assigned(aliased), Some("DP-1"), "the connector that the rule's display stands for");

    let window = all.stack.get_mut(ruled).expect("a window");
    (window.assigned_output, window.pinned) = (Some("DP-1".into()), true);
    all.place(ruled, "ruled");
    assert_eq!(all.assigned(ruled), Some("DP-1"), "a control client's choice before the rule");
}

#[test]
fn disconnected_output_keeps_its_windows_assigned() {
    let mut all = Fixture::new([true; 3]);
    all.stack.focus_output(all.outputs.id("DP-3").expect("an output"));
    let window = all.open("app", None);
    all.enable("DP-3", false);
    assert_eq!((all.assigned(window), all.shown_on(window)), (Some("DP-3"), Some("DP-2")));
    all.enable("DP-2", false);
    assert_eq!(all.shown_on(window), Some("DP-1"));
    all.enable("DP-1", false);
    assert_eq!((all.assigned(window), all.shown_on(window)), (Some("DP-3"), None));
    all.enable("DP-3", true);
    assert_eq!(all.shown_on(window), Some("DP-3"));
}

#[test]
fn window_waits_for_a_display_that_never_was_connected() {
    let mut all = Fixture::new([true, true, false]).rule("app", "HDMI-A-1");
    let window = all.open("app", None);
    assert_eq!((all.assigned(window), all.shown_on(window)), (Some("HDMI-A-1"), Some("DP-1")));
    all.outputs.entry("HDMI-A-1").set_lifecycle(Lifecycle::Enabled);
    let moved = all.place(window, "app");
    assert_eq!(moved, Some(Moved { from: all.outputs.id("DP-1"), to: all.outputs.id("HDMI-A-1") }));
    assert_eq!(all.place(window, "app"), None, "a second placement changes nothing");
}

#[test]
fn successor_at_the_connector_shows_the_windows_of_a_monitor_that_is_away() {
    let mut all = Fixture::new([true; 3]);
    all.stack.focus_output(all.outputs.id("DP-2").expect("an output"));
    let window = all.open("app", None);
    let monitor = MonitorKey::Port("pci/DP-2".into());
    for window in all.stack.iter_mut() {
        window.assigned_output = Some(monitor.to_string());
    }
    all.outputs.monitor_left("DP-2", monitor, true, None);
    assert_eq!(all.place(window, "app"), None);
    assert_eq!(all.shown_on(window), Some("DP-2"));
}

#[test]
fn mirror_shows_no_windows() {
    let mut all = Fixture::new([true; 3]);
    let source = all.outputs.id("DP-3");
    all.outputs.named_mut("DP-1").expect("an output").state_mut().mirror = source;
    let window = all.open("app", None);
    assert_eq!(all.shown_on(window), Some("DP-2"));
}

#[test]
fn dialogs_of_dialogs_stay_in_front_when_the_window_is_raised() {
    let mut all = Fixture::new([true; 3]);
    let window = all.open("app", None);
    let dialog = all.open("app", Some(window));
    let nested = all.open("app", Some(dialog));
    let other = all.open("other", None);
    assert_eq!(all.visible_on("DP-1"), [other]);
    all.focus(window);
    assert_eq!(all.order(), [other, window, dialog, nested]);
    assert_eq!(all.visible_on("DP-1"), [nested, dialog, window]);
    assert_eq!(all.focused(), Some(nested), "the topmost dialog gets the keyboard");
}

/// As windows of users that may not command the service.
#[test]
fn window_that_takes_no_focus_stays_behind_the_focused_one_and_its_dialogs() {
    let mut all = Fixture::new([true; 3]);
    let own = all.open("other", None);
    let window = all.open("app", None);
    let dialog = all.open("app", Some(window));
    let new = all.stack.add(2.into(), ());
    all.place(new, "other");
    all.stack.map_behind(new, all.focused());
    assert_eq!(all.order(), [own, new, window, dialog]);
    assert_eq!(all.visible_on("DP-1"), [dialog, window]);
    assert_eq!(all.focused(), Some(dialog));
    let mut empty = Fixture::new([true; 3]);
    let only = empty.stack.add(2.into(), ());
    empty.place(only, "other");
    empty.stack.map_behind(only, None);
    assert_eq!(empty.visible_on("DP-1"), [only]);
}

#[test]
fn parent_that_is_mapped_last_is_behind_its_dialogs() {
    let mut all = Fixture::new([true; 3]);
    let parent = all.stack.add(1.into(), ());
    let dialog = all.open("app", Some(parent));
    let nested = all.open("app", Some(dialog));
    all.map(parent, "app");
    assert_eq!(all.order(), [parent, dialog, nested]);
}

#[test]
fn new_parent_moves_a_window_in_front_of_it() {
    let mut all = Fixture::new([true; 3]);
    let [dialog, nested] = [all.open("app", None), all.open("app", None)];
    all.stack.set_parent(nested, Some(dialog));
    let [parent, other] = [all.open("app", None), all.open("app", None)];
    all.stack.set_parent(dialog, Some(parent));
    assert_eq!(all.order(), [parent, dialog, nested, other]);
    // A loop of parents is refused.
    all.stack.set_parent(parent, Some(nested));
    assert_eq!(all.stack.get(parent).and_then(|window| window.parent), None);
}

#[test]
fn dialog_on_another_output_is_visible_alone() {
    let mut all = Fixture::new([true; 3]);
    let window = all.open("app", None);
    let dialog = all.open("app", Some(window));
    let pinned = all.stack.get_mut(dialog).expect("a window");
    (pinned.assigned_output, pinned.pinned) = (Some("DP-2".into()), true);
    all.place(dialog, "app");
    assert_eq!((all.visible_on("DP-1"), all.visible_on("DP-2")), (vec![window], vec![dialog]));
}

#[test]
fn closing_a_window_focuses_the_topmost_of_its_output() {
    let mut all = Fixture::new([true; 3]).rule("elsewhere", "DP-2");
    let below = all.open("app", None);
    let closed = all.open("app", None);
    let elsewhere = all.open("elsewhere", None);
    all.focus(closed);
    assert_eq!(all.order(), [below, elsewhere, closed]);
    all.stack.remove(closed);
    assert_eq!(all.focused(), Some(below), "not the window of the other output, which is in front");
}

#[test]
fn focus_leaves_a_window_that_another_one_hides() {
    let mut all = Fixture::new([true; 3]).rule("elsewhere", "DP-2");
    let window = all.open("app", None);
    let elsewhere = all.open("elsewhere", None);
    // The window on DP-2 is in front of all, but not given the keyboard.
    all.focus(window);
    all.stack.raise(elsewhere);
    assert_eq!(all.focused(), Some(window));
    all.rules.clear();
    all.enable("DP-1", false);
    assert_eq!(all.visible_on("DP-2"), [elsewhere]);
    assert_eq!(all.focused(), Some(elsewhere));
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Open { parent: Option<usize>, requested: Option<usize>, pinned: bool },
    Map(usize),
    Unmap(usize),
    Close(usize),
    Focus(usize),
    SetParent(usize, Option<usize>),
    Enable(usize, bool),
}

fn operation() -> impl Strategy<Value = Operation> {
    let window = 0usize..8;
    let optional = prop::option::of(0usize..8);
    let open = (optional.clone(), prop::option::of(0usize..3), any::<bool>());
    prop_oneof![
        3 => open.prop_map(|(parent, requested, pinned)| Operation::Open { parent, requested, pinned }),
        3 => window.clone().prop_map(Operation::Map),
        1 => window.clone().prop_map(Operation::Unmap),
        1 => window.clone().prop_map(Operation::Close),
        2 => window.clone().prop_map(Operation::Focus),
        1 => (window, optional).prop_map(|(window, parent)| Operation::SetParent(window, parent)),
        3 => (0usize..3, any::<bool>()).prop_map(|(output, enabled)| Operation::Enable(output, enabled)),
    ]
}

impl Fixture {
    fn apply(&mut self, operation: Operation) {
        let ids: Vec<u64> = self.stack.iter().map(|window| window.id).collect();
        let pick = |index: usize| ids.get(index % ids.len().max(1)).copied();
        match operation {
            Operation::Open { parent, requested, pinned } => {
                let id = self.stack.add(1.into(), ());
                self.stack.set_parent(id, parent.and_then(pick));
                let window = self.stack.get_mut(id).expect("a window");
                window.assigned_output = requested.map(|output| NAMES[output].to_owned());
                window.pinned = pinned && window.assigned_output.is_some();
            }
            Operation::Map(index) => {
                if let Some(id) = pick(index).filter(|id| !self.stack.is_mapped(*id)) {
                    self.map(id, "app");
                }
            }
            Operation::Unmap(index) => {
                if let Some(id) = pick(index) {
                    self.stack.unmap(id);
                }
            }
            Operation::Close(index) => {
                if let Some(id) = pick(index) {
                    self.stack.remove(id);
                }
            }
            Operation::Focus(index) => {
                if let Some(id) = pick(index) {
                    self.focus(id);
                }
            }
            Operation::SetParent(index, parent) => {
                if let Some(id) = pick(index) {
                    self.stack.set_parent(id, parent.and_then(pick));
                }
            }
            Operation::Enable(output, enabled) => self.enable(NAMES[output], enabled),
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let layout = self.outputs.in_layout();
        let is_enabled = |id: OutputId| layout.iter().any(|output| output.id == id);
        let order = self.order();
        for window in self.stack.mapped() {
            match window.shown_on {
                Some(id) => prop_assert!(is_enabled(id), "shown on a disabled output: {:?}", window),
                None => prop_assert!(layout.is_empty(), "shown nowhere: {:?}", window),
            }
            let assigned = window.assigned_output.as_deref().and_then(|name| self.outputs.id(name));
            if assigned.is_some_and(is_enabled) {
                prop_assert_eq!(assigned, window.shown_on, "not on its assigned output");
            }
            let position = |id: u64| order.iter().position(|other| *other == id);
            if let Some(parent) = window.parent.and_then(position) {
                prop_assert!(Some(parent) < position(window.id), "behind its parent: {:?}", window);
            }
        }
        for output in &layout {
            let visible = self.visible_on(&output.name);
            let here = |window: &&super::ShellWindow<()>| window.shown_on == Some(output.id);
            let topmost = self.stack.mapped().iter().rev().find(here);
            prop_assert_eq!(visible.first().copied(), topmost.map(|window| window.id));
        }
        match self.focused() {
            None => prop_assert!(order.is_empty(), "no window has the keyboard"),
            Some(id) => {
                prop_assert!(self.stack.is_mapped(id), "an unmapped window has the keyboard");
                let is_visible = self.stack.is_visible(id);
                prop_assert!(is_visible || layout.is_empty(), "a hidden window has the keyboard");
            }
        }
        Ok(())
    }
}

proptest! {
    /// After any operations: each window is on an enabled output if there is one, and on its
    /// assigned one if that is enabled; dialogs are in front of their parents; the keyboard is with
    /// a visible window.
    #[test]
    fn invariants_hold_in_any_order(
        enabled in any::<[bool; 3]>(),
        operations in prop::collection::vec(operation(), 1..80),
    ) {
        let mut all = Fixture::new(enabled);
        for operation in operations {
            all.apply(operation);
            all.check()?;
        }
    }
}
