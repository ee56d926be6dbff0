//! Windows from their first commit until they are destroyed.

use std::collections::BTreeSet;

use smithay::backend::renderer::utils::with_renderer_surface_state;
use smithay::desktop::Window;
use smithay::output::Output as WlOutput;
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_toplevel::State as ToplevelFlag;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::Resource;
use smithay::utils::{Logical, Point, Rectangle};
use smithay::wayland::compositor::{get_parent, send_surface_state, with_states, SurfaceData};
use smithay::wayland::fractional_scale::with_fractional_scale;
use smithay::wayland::seat::WaylandFocus;
use smithay::wayland::shell::xdg::{ToplevelSurface, XdgToplevelSurfaceData};
use tracing::{debug, info};

use super::placement::{area, centered, Moved};
use super::stack::ShellWindow;
use super::{ClosedWindow, Cx, Effect, Effects, Shell};
use crate::clients::{ClientData, ClientId};
use crate::config::{FocusNew, WindowTraits};
use crate::output::outputs::Outputs;
use crate::output::OutputId;

/// How a new window opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// In front, with the keyboard.
    Focused,
    /// In front on its display; the keyboard stays where it is.
    Unfocused,
    /// Behind the window that has the keyboard: its client may not take it.
    Behind,
}

impl ShellWindow {
    /// Returns the window's toplevel.
    pub fn toplevel(&self) -> Option<&ToplevelSurface> {
        self.handle.toplevel()
    }

    /// Returns whether a surface is the window's own one, not a subsurface.
    pub fn is(&self, surface: &WlSurface) -> bool {
        self.handle.wl_surface().is_some_and(|own| *own == *surface)
    }

    /// Returns the window's surface.
    pub fn surface(&self) -> Option<WlSurface> {
        self.handle.wl_surface().map(|own| own.into_owned())
    }

    /// Returns the app id and title that the client set.
    pub fn app_id_and_title(&self) -> (Option<String>, Option<String>) {
        self.toplevel().map(app_id_and_title).unwrap_or_default()
    }
}

/// Returns the root of a surface's tree of subsurfaces.
pub fn root_surface(surface: &WlSurface) -> WlSurface {
    let mut root = surface.clone();
    while let Some(parent) = get_parent(&root) {
        root = parent;
    }
    root
}

/// Returns whether a surface shows a buffer.
pub(super) fn has_buffer(surface: &WlSurface) -> bool {
    with_renderer_surface_state(surface, |state| state.buffer().is_some()).unwrap_or(false)
}

/// Returns the app id and title that the client set.
pub fn app_id_and_title(toplevel: &ToplevelSurface) -> (Option<String>, Option<String>) {
    with_states(toplevel.wl_surface(), |states| {
        let data = states.data_map.get::<XdgToplevelSurfaceData>();
        let data = data.map(|data| data.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        data.map(|data| (data.app_id.clone(), data.title.clone())).unwrap_or_default()
    })
}

/// Sends a surface the scale and transform of the output that shows it.
pub fn send_preferred_scale(output: &WlOutput, surface: &WlSurface, states: &SurfaceData) {
    let scale = output.current_scale();
    send_surface_state(surface, states, scale.integer_scale(), output.current_transform());
    with_fractional_scale(states, |fractional| fractional.set_preferred_scale(scale.fractional_scale()));
}

impl Shell {
    /// Adds a toplevel that a client created.
    pub fn add_window(&mut self, client: ClientId, toplevel: ToplevelSurface) {
        self.stack.add(client, Window::new_wayland_window(toplevel));
    }

    /// Returns the mapped windows, back to front.
    pub fn windows(&self) -> &[ShellWindow] {
        self.stack.mapped()
    }

    /// Returns a window, mapped or not, by its surface.
    pub fn window_of(&self, surface: &WlSurface) -> Option<&ShellWindow> {
        self.stack.iter().find(|window| window.is(surface))
    }

    /// Returns a window, mapped or not, by its id.
    pub fn window(&self, id: u64) -> Option<&ShellWindow> {
        self.stack.get(id)
    }

    /// Returns a mapped window by its id.
    pub fn mapped_window(&self, id: u64) -> Option<&ShellWindow> {
        self.stack.mapped().iter().find(|window| window.id == id)
    }

    /// Returns whether there are no windows, mapped or not.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.stack.iter().next().is_none()
    }

    /// Iterates over the mapped windows of a client.
    pub fn windows_of(&self, client: ClientId) -> impl Iterator<Item = &ShellWindow> {
        self.stack.mapped().iter().filter(move |window| window.client == client)
    }

    /// Returns the app id of a client's frontmost window, or of its newest unmapped one.
    pub fn app_id_of(&self, client: ClientId) -> Option<String> {
        let mut windows = self.stack.mapped().iter().rev().chain(self.stack.unmapped().iter().rev());
        windows.find(|window| window.client == client)?.app_id_and_title().0
    }

    /// Returns the outputs that show windows of a client.
    pub fn outputs_of(&self, client: ClientId) -> Vec<OutputId> {
        let mut ids: Vec<OutputId> = Vec::new();
        for window in self.windows_of(client) {
            ids.extend(window.shown_on.filter(|id| !ids.contains(id)));
        }
        ids
    }

    /// Requests a client to close its mapped windows. Returns whether it has any.
    pub fn request_close(&self, client: ClientId) -> bool {
        let mut any = false;
        for toplevel in self.windows_of(client).filter_map(ShellWindow::toplevel) {
            toplevel.send_close();
            any = true;
        }
        any
    }

    /// Requests a client to close a mapped window.
    pub fn close_window(&self, id: u64) {
        if let Some(toplevel) = self.mapped_window(id).and_then(ShellWindow::toplevel) {
            toplevel.send_close();
        }
    }

    /// Returns the names of the assigned outputs of mapped windows, by app id.
    pub fn placements(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let windows = self.stack.mapped().iter();
        windows.filter_map(|window| window.app_id_and_title().0.zip(window.assigned_output.clone()))
    }

    /// Assigns the windows of one output to another one, by name.
    pub fn rename_assigned_output(&mut self, from: &str, to: &str) {
        let assigned = self.stack.iter_mut().filter_map(|window| window.assigned_output.as_mut());
        assigned.filter(|name| *name == from).for_each(|name| to.clone_into(name));
    }

    /// Returns the names of the outputs whose visible window is fullscreen.
    pub fn fullscreen_outputs(&self, outputs: &Outputs) -> BTreeSet<String> {
        let ids = outputs.enabled().into_iter().filter(|id| self.is_fullscreen(*id));
        ids.filter_map(|id| outputs.name(id)).map(str::to_owned).collect()
    }

    /// Returns whether the visible window of an output, not its dialogs, is fullscreen.
    pub fn is_fullscreen(&self, output: OutputId) -> bool {
        self.visible_windows(output).last().is_some_and(|window| window.fullscreen)
    }

    /// Returns the visible windows of an output, front to back: dialogs, and last the window below
    /// them.
    pub fn visible_windows(&self, output: OutputId) -> Vec<&ShellWindow> {
        self.stack.visible_on(output)
    }

    /// Handles a commit of a toplevel's own surface.
    pub fn commit_window(&mut self, surface: &WlSurface, cx: &Cx<'_>) -> Effects {
        let has_buffer = has_buffer(surface);
        let unmapped = self.stack.unmapped().iter().find(|window| window.is(surface));
        match unmapped.map(|window| window.id) {
            Some(id) if has_buffer => self.map_window(id, cx),
            Some(id) => {
                self.send_initial_configure(id, cx);
                Effects::new()
            }
            None if has_buffer => Effects::new(),
            None => {
                let window = self.stack.mapped().iter().find(|window| window.is(surface));
                window.map(|window| window.id).map(|id| self.unmap_window(id, cx)).unwrap_or_default()
            }
        }
    }

    fn send_initial_configure(&mut self, id: u64, cx: &Cx<'_>) {
        let toplevel = self.stack.get(id).and_then(ShellWindow::toplevel);
        if toplevel.is_none_or(ToplevelSurface::is_initial_configure_sent) {
            return;
        }
        self.place(id, cx);
        let Some(window) = self.stack.get(id) else { return };
        // Activated from the start, a window that gets the keyboard does not draw its first frame
        // twice.
        let gets_keyboard = self.opening(window, cx).0 == Opening::Focused;
        window.handle.set_activated(gets_keyboard && self.exclusive_layer(cx.outputs).is_none());
        self.configure(window, cx.outputs);
    }

    /// Returns how a new window opens, and the window that has the keyboard before.
    fn opening(&self, new: &ShellWindow, cx: &Cx<'_>) -> (Opening, Option<u64>) {
        let holder = self.keyboard_window(cx.outputs);
        let client = |window: &ShellWindow| window.surface()?.client();
        let clients = client(new).zip(holder.and_then(|id| self.mapped_window(id)).and_then(client));
        if clients
            .is_some_and(|(new, holder)| !ClientData::of(&new).may_take_focus_from(ClientData::of(&holder)))
        {
            return (Opening::Behind, holder);
        }
        let is_elsewhere = || {
            let holder = holder.and_then(|id| self.mapped_window(id));
            holder.is_some_and(|holder| holder.shown_on != new.shown_on)
                && !self.outputs_in_use(cx.outputs).contains(&new.shown_on)
        };
        let opening = match cx.focus_new {
            FocusNew::SameDisplay if is_elsewhere() => Opening::Unfocused,
            FocusNew::Always | FocusNew::SameDisplay => Opening::Focused,
        };
        (opening, holder)
    }

    fn map_window(&mut self, id: u64, cx: &Cx<'_>) -> Effects {
        // xdg_surface: a buffer before the first configure event was acknowledged is an error,
        // which Smithay raises here.
        let toplevel = self.stack.get(id).and_then(ShellWindow::toplevel);
        if !toplevel.is_some_and(ToplevelSurface::ensure_configured) {
            return Effects::new();
        }
        let moved = self.place(id, cx);
        let mut effects = Effects::new();
        let Some((opening, holder)) = self.stack.get(id).map(|window| self.opening(window, cx)) else {
            return effects;
        };
        match opening {
            Opening::Focused | Opening::Unfocused => self.stack.map(id),
            Opening::Behind => self.stack.map_behind(id, holder),
        }
        let Some(window) = self.stack.get(id) else { return effects };
        self.configure(window, cx.outputs);
        // It entered an output with its first commit, if another one shows it by now.
        if let Some(from) = moved.and_then(|moved| moved.from) {
            leave(window, from, cx.outputs, &mut effects);
        }
        enter(window, cx.outputs, &mut effects);
        effects.extend([Effect::SavePlacements, Effect::WindowMapped(id)]);
        // The first window gets the keyboard wherever it opens, but its display is not in use yet:
        // one that opens on the first display takes it.
        let is_in_use = self.outputs_in_use(cx.outputs).contains(&window.shown_on);
        effects.extend(window.shown_on.map(Effect::Redraw));
        match opening {
            Opening::Focused if is_in_use || cx.focus_new == FocusNew::Always => {
                effects.extend(self.focus_window(id));
            }
            Opening::Focused => self.stack.note_keyboard(id),
            Opening::Unfocused | Opening::Behind => {}
        }
        effects.extend([Effect::RefreshFocus, Effect::CheckFullscreen]);
        effects
    }

    fn unmap_window(&mut self, id: u64, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        if let Some((window, output)) = self.stack.get(id).and_then(|window| Some((window, window.shown_on?)))
        {
            leave(window, output, cx.outputs, &mut effects);
        }
        self.stack.unmap(id);
        effects.extend([Effect::RefreshFocus, Effect::CheckFullscreen]);
        effects
    }

    /// Removes a toplevel that its client destroyed.
    pub fn remove_window(&mut self, toplevel: &ToplevelSurface, cx: &Cx<'_>) -> Effects {
        let id = self.window_of(toplevel.wl_surface()).map(|window| window.id);
        let removed = id.and_then(|id| self.stack.remove(id));
        let Some((window, true)) = removed else { return Effects::new() };
        let shown_on = window.shown_on.and_then(|id| cx.outputs.name(id));
        debug!(window = window.id, display = shown_on, "window closed");
        let mut effects = vec![Effect::WindowClosed(ClosedWindow {
            id: window.id,
            client: window.client,
            app_id: app_id_and_title(toplevel).0,
            assigned_output: window.assigned_output,
        })];
        effects.extend(window.shown_on.map(Effect::Redraw));
        effects.extend([Effect::RefreshFocus, Effect::CheckFullscreen]);
        effects
    }

    /// Handles a request to enter fullscreen, on an output if the client names one, or to leave it.
    pub fn set_fullscreen(
        &mut self,
        toplevel: &ToplevelSurface,
        fullscreen: bool,
        requested: Option<&WlOutput>,
        cx: &Cx<'_>,
    ) -> Effects {
        let requested = requested.and_then(|output| cx.outputs.of_wl_output(output));
        let surface = toplevel.wl_surface();
        let Some(window) = self.stack.iter_mut().find(|window| window.is(surface)) else {
            return Effects::new();
        };
        window.fullscreen = fullscreen;
        if let Some(output) = requested {
            window.assigned_output = Some(output.name.clone());
        }
        let id = window.id;
        let mut effects = vec![Effect::SavePlacements];
        if !toplevel.is_initial_configure_sent() {
            // The initial configure event answers the request.
            return effects;
        }
        self.update_placement(id, cx, &mut effects);
        effects.push(Effect::CheckFullscreen);
        // The protocol requires an answer, even if nothing changed.
        toplevel.send_configure();
        effects
    }

    /// Assigns a window to an output for a control client, and focuses it. Rules do not move it
    /// from there.
    pub fn pin_window(&mut self, id: u64, output: &str, cx: &Cx<'_>) -> Effects {
        let Some(window) = self.stack.get_mut(id) else { return Effects::new() };
        window.assigned_output = Some(output.to_owned());
        window.pinned = true;
        let mut effects = vec![Effect::SavePlacements];
        self.update_placement(id, cx, &mut effects);
        effects.extend(self.focus_window(id));
        effects
    }

    /// Places all windows again after outputs were enabled, disabled, moved or resized, or rules
    /// changed. A window whose monitor is disconnected keeps its assigned output.
    pub fn place_windows(&mut self, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        // Other unmapped windows are placed with their first commit.
        let is_configured =
            |window: &&ShellWindow| window.toplevel().is_some_and(ToplevelSurface::is_initial_configure_sent);
        let unmapped = self.stack.unmapped().iter().filter(|window| window.assigned_output.is_some());
        let placed = self.stack.mapped().iter().chain(unmapped.filter(is_configured));
        // Back to front, so windows before their dialogs.
        for id in placed.map(|window| window.id).collect::<Vec<_>>() {
            self.update_own_placement(id, cx, &mut effects);
        }
        effects
    }

    fn place(&mut self, id: u64, cx: &Cx<'_>) -> Option<Moved> {
        let (app_id, title) = self.stack.get(id)?.app_id_and_title();
        self.stack.place(id, WindowTraits { app_id: app_id.as_deref(), title: title.as_deref() }, cx)
    }

    /// Shows a window where it belongs now, and its dialogs.
    fn update_placement(&mut self, id: u64, cx: &Cx<'_>, effects: &mut Effects) {
        self.update_own_placement(id, cx, effects);
        for dialog in self.stack.descendants(id) {
            let toplevel = self.stack.get(dialog).and_then(ShellWindow::toplevel);
            if toplevel.is_some_and(ToplevelSurface::is_initial_configure_sent) {
                self.update_own_placement(dialog, cx, effects);
            }
        }
    }

    fn update_own_placement(&mut self, id: u64, cx: &Cx<'_>, effects: &mut Effects) {
        let moved = self.place(id, cx);
        let Some(window) = self.stack.get(id) else { return };
        self.configure(window, cx.outputs);
        let Some(Moved { from, to }) = moved else { return };
        if let Some(from) = from {
            leave(window, from, cx.outputs, effects);
        }
        enter(window, cx.outputs, effects);
        let name = |id: Option<OutputId>| id.and_then(|id| cx.outputs.name(id));
        let assigned_output = &window.assigned_output;
        info!(window = id, from = name(from), to = name(to), assigned_output, "window moved");
        if self.stack.is_mapped(id) {
            // It may hide the window that has the keyboard.
            effects.extend([Effect::WindowMoved(id), Effect::RefreshFocus]);
        }
    }

    /// Handles another parent of a toplevel: a dialog chooses its own size, and stays in front of
    /// its parent.
    pub fn parent_changed(&mut self, toplevel: &ToplevelSurface, cx: &Cx<'_>) -> Effects {
        let parent = toplevel.parent().and_then(|parent| self.window_of(&parent)).map(|parent| parent.id);
        let Some(id) = self.window_of(toplevel.wl_surface()).map(|window| window.id) else {
            return Effects::new();
        };
        self.stack.set_parent(id, parent);
        let mut effects = Effects::new();
        if self.stack.get(id).is_none_or(|window| window.shown_on.is_none()) {
            return effects;
        }
        self.update_placement(id, cx, &mut effects);
        // Other windows may be visible now.
        let output = self.mapped_window(id).and_then(|window| window.shown_on);
        if let Some(output) = output {
            effects.extend([Effect::Redraw(output), Effect::RefreshFocus]);
        }
        effects
    }

    /// Sends the windows of an output their size again, after panels took or released space.
    pub fn resize_windows(&self, output: OutputId, outputs: &Outputs) {
        for window in self.stack.mapped().iter().filter(|window| window.shown_on == Some(output)) {
            self.configure(window, outputs);
        }
    }

    /// Sends `wl_surface.enter` for a client's windows on an output. For clients that bind the
    /// `wl_output` after their windows were shown on it.
    pub fn enter_windows_of(&self, client: ClientId, output: OutputId, wl_output: &WlOutput) {
        for window in self.windows_of(client).filter(|window| window.shown_on == Some(output)) {
            window.handle.with_surfaces(|surface, _| wl_output.enter(surface));
        }
    }

    /// Sends a window its size and state. Dialogs choose their own size, unless they are
    /// fullscreen.
    fn configure(&self, window: &ShellWindow, outputs: &Outputs) {
        let Some(toplevel) = window.toplevel() else { return };
        let area = window.shown_on.and_then(|id| area(outputs, id, window.fullscreen));
        let fills = window.parent.is_none() || window.fullscreen;
        toplevel.with_pending_state(|state| {
            if fills {
                // Without an enabled output the window keeps its size.
                state.size = area.map(|area| area.size).or(state.size);
                state.bounds = state.size;
                let (set, unset) = match window.fullscreen {
                    true => (ToplevelFlag::Fullscreen, ToplevelFlag::Maximized),
                    false => (ToplevelFlag::Maximized, ToplevelFlag::Fullscreen),
                };
                state.states.set(set);
                state.states.unset(unset);
            } else {
                state.size = None;
                state.bounds = area.map(|area| area.size);
                state.states.unset(ToplevelFlag::Maximized);
                state.states.unset(ToplevelFlag::Fullscreen);
            }
        });
        if toplevel.is_initial_configure_sent() {
            toplevel.send_pending_configure();
        } else {
            toplevel.send_configure();
        }
        let Some(output) = window.shown_on.and_then(|id| outputs.get(id)) else { return };
        let wl_output = output.wl_output();
        window.handle.with_surfaces(|surface, states| send_preferred_scale(wl_output, surface, states));
    }

    /// Returns the position of a window on its output, in the output's logical pixels. It is
    /// centered over its parent if that is on the same output, or else in the area that windows
    /// fill.
    pub fn window_location(&self, window: &ShellWindow, outputs: &Outputs) -> Option<Point<i32, Logical>> {
        // From the window to the one that all are dialogs of.
        let mut chain = vec![window];
        let mut next = window.parent;
        while let Some(parent) = next.and_then(|id| self.mapped_window(id)) {
            if parent.shown_on != window.shown_on || chain.len() == MAX_DIALOG_DEPTH {
                break;
            }
            chain.push(parent);
            next = parent.parent;
        }
        let output = window.shown_on?;
        let base = chain.last().copied().unwrap_or(window);
        let mut below = area(outputs, output, base.fullscreen)?;
        for window in chain.into_iter().rev() {
            let size = window.handle.geometry().size;
            below = Rectangle::new(centered(below, size), size);
        }
        Some(below.loc)
    }
}

/// The maximum number of windows of which each is centered over its parent. Those beyond are
/// centered in the area.
const MAX_DIALOG_DEPTH: usize = 16;

/// The window leaves an output.
fn leave(window: &ShellWindow, output: OutputId, outputs: &Outputs, effects: &mut Effects) {
    if let Some(output) = outputs.get(output) {
        window.handle.with_surfaces(|surface, _| output.wl_output().leave(surface));
        effects.push(Effect::Redraw(output.id));
    }
}

/// The window enters the output that shows it.
fn enter(window: &ShellWindow, outputs: &Outputs, effects: &mut Effects) {
    if let Some(output) = window.shown_on.and_then(|id| outputs.get(id)) {
        window.handle.with_surfaces(|surface, _| output.wl_output().enter(surface));
        effects.push(Effect::Redraw(output.id));
    }
}
