//! The windows in stacking order, and which of them are visible. Pure: generic over the window's
//! handle, so that tests need no clients.

use smithay::desktop::Window;

use crate::clients::ClientId;
use crate::output::OutputId;

/// A toplevel, mapped or not.
#[derive(Debug, Clone)]
pub struct ShellWindow<W = Window> {
    /// Its id in the control protocol. Ids are never used again.
    pub id: u64,
    /// The id of its client's connection.
    pub client: ClientId,
    /// Smithay's window; `()` in tests.
    pub handle: W,
    /// The window that this one is a dialog of. Stays if that window is unmapped or destroyed.
    pub parent: Option<u64>,
    /// The name of the output that the window belongs to, which may be disconnected. `None` until
    /// the first commit.
    pub assigned_output: Option<String>,
    /// The output that shows the window: the assigned one, or its fallback. `None` if no output is
    /// enabled.
    pub shown_on: Option<OutputId>,
    /// The client requested fullscreen.
    pub fullscreen: bool,
    /// A control client chose the assigned output, so rules do not apply.
    pub pinned: bool,
    /// The user cannot see it, and its client was informed. Set by `Shell::update_hidden`.
    pub is_hidden: bool,
    /// Grows with each time that a window is given the keyboard; 0: never.
    pub focused_at: u64,
}

/// All windows, the focused output, and the one that has the keyboard.
#[derive(Debug)]
pub struct Stack<W = Window> {
    /// Back to front. Each window is in front of its parent.
    mapped: Vec<ShellWindow<W>>,
    /// Windows without a buffer.
    unmapped: Vec<ShellWindow<W>>,
    last_id: u64,
    focused_output: Option<OutputId>,
    keyboard_output: Option<OutputId>,
    last_focus: u64,
}

impl<W> Default for Stack<W> {
    fn default() -> Self {
        Self {
            mapped: Vec::new(),
            unmapped: Vec::new(),
            last_id: 0,
            focused_output: None,
            keyboard_output: None,
            last_focus: 0,
        }
    }
}

impl<W> Stack<W> {
    /// Adds an unmapped window and returns its id.
    pub fn add(&mut self, client: ClientId, handle: W) -> u64 {
        self.last_id += 1;
        self.unmapped.push(ShellWindow {
            id: self.last_id,
            client,
            handle,
            parent: None,
            assigned_output: None,
            shown_on: None,
            fullscreen: false,
            pinned: false,
            is_hidden: false,
            focused_at: 0,
        });
        self.last_id
    }

    /// Returns the mapped windows, back to front.
    pub fn mapped(&self) -> &[ShellWindow<W>] {
        &self.mapped
    }

    /// Returns the unmapped windows, oldest first.
    pub fn unmapped(&self) -> &[ShellWindow<W>] {
        &self.unmapped
    }

    /// Iterates over the mapped windows, back to front, and then over the unmapped ones.
    pub fn iter(&self) -> impl Iterator<Item = &ShellWindow<W>> {
        self.mapped.iter().chain(&self.unmapped)
    }

    /// Iterates over all windows, for changing them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut ShellWindow<W>> {
        self.mapped.iter_mut().chain(&mut self.unmapped)
    }

    /// Returns a window by its id.
    pub fn get(&self, id: u64) -> Option<&ShellWindow<W>> {
        self.iter().find(|window| window.id == id)
    }

    /// Returns a window by its id, for changing it.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut ShellWindow<W>> {
        self.iter_mut().find(|window| window.id == id)
    }

    /// Returns whether a window is mapped.
    pub fn is_mapped(&self, id: u64) -> bool {
        self.mapped.iter().any(|window| window.id == id)
    }

    /// Returns the output that was focused last. It may be disabled since.
    pub fn focused_output(&self) -> Option<OutputId> {
        self.focused_output
    }

    /// Returns the output whose window was given the keyboard last. It may be disabled since. A
    /// click on a panel focuses another output, and leaves the keyboard here.
    pub fn keyboard_output(&self) -> Option<OutputId> {
        self.keyboard_output
    }

    /// Focuses an output: new windows and layer surfaces go there.
    pub fn focus_output(&mut self, id: OutputId) {
        self.focused_output = Some(id);
    }

    /// Maps an unmapped window in front of all others.
    pub fn map(&mut self, id: u64) {
        if let Some(position) = self.unmapped.iter().position(|window| window.id == id) {
            let window = self.unmapped.remove(position);
            self.mapped.push(window);
            // Its dialogs may have been mapped before it.
            let family = self.take_family(id);
            self.mapped.extend(family);
        }
    }

    /// Unmaps a mapped window: no output shows it. It keeps its assigned output.
    pub fn unmap(&mut self, id: u64) {
        if let Some(position) = self.mapped.iter().position(|window| window.id == id) {
            let window = self.mapped.remove(position);
            self.unmapped.push(ShellWindow { shown_on: None, ..window });
        }
    }

    /// Removes a window. Returns it, and whether it was mapped.
    pub fn remove(&mut self, id: u64) -> Option<(ShellWindow<W>, bool)> {
        if let Some(position) = self.mapped.iter().position(|window| window.id == id) {
            return Some((self.mapped.remove(position), true));
        }
        let position = self.unmapped.iter().position(|window| window.id == id)?;
        Some((self.unmapped.remove(position), false))
    }

    /// Makes a window a dialog of another one, and moves it in front of it. Does nothing if the
    /// parent is the window itself or one of its own dialogs.
    pub fn set_parent(&mut self, id: u64, parent: Option<u64>) {
        let mut ancestor = parent;
        while let Some(next) = ancestor {
            if next == id {
                return;
            }
            ancestor = self.get(next).and_then(|window| window.parent);
        }
        let Some(window) = self.get_mut(id) else { return };
        window.parent = parent;
        let position = |id: u64| self.mapped.iter().position(|window| window.id == id);
        let Some((own, behind)) = position(id).zip(parent.and_then(position)) else { return };
        if own < behind {
            let family = self.take_family(id);
            let behind = self.mapped.iter().position(|window| Some(window.id) == parent);
            let at = behind.map_or(self.mapped.len(), |behind| behind + 1);
            self.mapped.splice(at..at, family);
        }
    }

    /// Moves a window in front of all others; its dialogs stay in front of it.
    pub fn raise(&mut self, id: u64) {
        if self.mapped.last().is_some_and(|top| top.id != id) {
            let family = self.take_family(id);
            self.mapped.extend(family);
        }
    }

    /// Maps an unmapped window, but leaves a window, which has the keyboard, and the windows that
    /// it is a dialog of, in front of it.
    pub fn map_behind(&mut self, id: u64, front: Option<u64>) {
        let mut front = front.and_then(|id| self.mapped.iter().find(|window| window.id == id));
        while let Some(parent) = front.and_then(|window| window.parent) {
            match self.mapped.iter().find(|window| window.id == parent) {
                Some(parent) => front = Some(parent),
                None => break,
            }
        }
        let front = front.map(|window| window.id);
        self.map(id);
        if let Some(front) = front {
            self.raise(front);
        }
    }

    /// Removes a mapped window and its dialogs, at any depth. Returns them back to front.
    fn take_family(&mut self, id: u64) -> Vec<ShellWindow<W>> {
        let mut ids = vec![id];
        let mut next = 0;
        while let Some(parent) = ids.get(next).copied() {
            next += 1;
            let dialogs = self.mapped.iter().filter(|window| window.parent == Some(parent));
            ids.extend(dialogs.map(|window| window.id));
        }
        let (mut family, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.mapped).into_iter().partition(|window| ids.contains(&window.id));
        self.mapped = others;
        // A window that was just mapped is still in front of its dialogs.
        if let Some(position) = family.iter().position(|window| window.id == id) {
            family[..=position].rotate_right(1);
        }
        family
    }

    /// Returns the visible windows of an output, front to back: the topmost window's dialogs, and
    /// last the window that all of them belong to. It fills the output and hides the others.
    pub fn visible_on(&self, output: OutputId) -> Vec<&ShellWindow<W>> {
        let here = || self.mapped.iter().filter(move |window| window.shown_on == Some(output));
        let mut front_to_back = here().rev();
        let Some(mut base) = front_to_back.next() else { return Vec::new() };
        // One pass, as a parent is always behind its dialogs.
        for window in front_to_back {
            if base.parent == Some(window.id) {
                base = window;
            }
        }
        let mut visible = vec![base];
        for window in here().skip_while(|window| window.id != base.id) {
            if window.parent.is_some_and(|parent| visible.iter().any(|other| other.id == parent)) {
                visible.push(window);
            }
        }
        visible.reverse();
        visible
    }

    /// Returns whether a window is visible on the output that shows it.
    pub fn is_visible(&self, id: u64) -> bool {
        let shown_on = self.get(id).and_then(|window| window.shown_on);
        shown_on.is_some_and(|output| self.visible_on(output).iter().any(|window| window.id == id))
    }

    /// Gives a mapped window the keyboard, as far as windows decide: raises it and focuses its
    /// output. Its topmost dialog has the keyboard then, or itself. Returns whether anything
    /// changed.
    pub fn focus(&mut self, id: u64) -> bool {
        let Some(window) = self.mapped.iter().find(|window| window.id == id) else { return false };
        let (shown_on, focused_at) = (window.shown_on, window.focused_at);
        let outputs = (self.focused_output, self.keyboard_output);
        self.focused_output = shown_on.or(self.focused_output);
        self.keyboard_output = shown_on.or(self.keyboard_output);
        let was_front = self.mapped.last().is_some_and(|top| top.id == id);
        self.raise(id);
        if was_front
            && focused_at == self.last_focus
            && outputs == (self.focused_output, self.keyboard_output)
        {
            return false;
        }
        self.last_focus += 1;
        let last_focus = self.last_focus;
        self.get_mut(id).into_iter().for_each(|window| window.focused_at = last_focus);
        true
    }

    /// A window has the keyboard, whatever gave it to it. Of the windows that are visible when the
    /// display that is in use shows none, the one that had it last has it again.
    pub fn note_keyboard(&mut self, id: u64) {
        let last_focus = self.last_focus;
        if let Some(window) =
            self.get_mut(id).filter(|window| window.focused_at != last_focus || last_focus == 0)
        {
            window.focused_at = last_focus + 1;
            self.last_focus += 1;
        }
    }

    /// Returns a mapped window's dialogs, at any depth, each after the window that it belongs to.
    pub fn descendants(&self, id: u64) -> Vec<u64> {
        let mut ids = vec![id];
        let mut next = 0;
        while let Some(parent) = ids.get(next).copied() {
            next += 1;
            let dialogs = self.iter().filter(|window| window.parent == Some(parent));
            ids.extend(dialogs.map(|window| window.id));
        }
        ids.remove(0);
        ids
    }
}
