//! Windows from their first commit to their end.

use geom_ipc::Event as IpcEvent;
use smithay::backend::renderer::utils::with_renderer_surface_state;
use smithay::desktop::layer_map_for_output;
use smithay::desktop::Window;
use smithay::output::Output;
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_toplevel::State as ToplevelStateFlag;
use smithay::reexports::wayland_server::protocol::wl_output::WlOutput;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point, Rectangle, Size};
use smithay::wayland::compositor::{get_parent, send_surface_state, with_states};
use smithay::wayland::fractional_scale::with_fractional_scale;
use smithay::wayland::seat::WaylandFocus;
use smithay::wayland::shell::xdg::{ToplevelSurface, XdgToplevelSurfaceData};
use tracing::{debug, info};

use crate::clients::ClientId;
use crate::config::WindowTraits;
use crate::compositor::State;
use crate::output::OutputId;

/// A window and its place.
#[derive(Debug, Clone)]
pub struct ManagedWindow {
    /// Its number for the control protocol; never used again.
    pub id: u64,
    /// Of its connection.
    pub client: ClientId,
    pub window: Window,
    /// The display that it belongs to, by name. None until its first commit.
    pub assigned_output: Option<String>,
    /// The lit display that it is shown on now.
    pub shown_on: Option<OutputId>,
    /// The client asked for the whole display.
    pub fullscreen: bool,
    /// Somebody ordered its assigned_output, which goes before rules.
    pub ordered: bool,
}

impl ManagedWindow {
    pub fn toplevel(&self) -> Option<&ToplevelSurface> {
        self.window.toplevel()
    }

    pub fn is(&self, surface: &WlSurface) -> bool {
        self.window.wl_surface().is_some_and(|own| *own == *surface)
    }

    /// The window that this one is a dialog of.
    pub fn parent(&self) -> Option<WlSurface> {
        self.toplevel()?.parent()
    }
}

/// The root of a surface's tree of subsurfaces.
pub fn root(surface: &WlSurface) -> WlSurface {
    let mut root = surface.clone();
    while let Some(parent) = get_parent(&root) {
        root = parent;
    }
    root
}

/// Whether a surface shows anything.
fn has_picture(surface: &WlSurface) -> bool {
    with_renderer_surface_state(surface, |state| state.buffer().is_some()).unwrap_or(false)
}

/// App id and title as the client set them.
pub fn traits(toplevel: &ToplevelSurface) -> (Option<String>, Option<String>) {
    with_states(toplevel.wl_surface(), |states| {
        let data = states.data_map.get::<XdgToplevelSurfaceData>();
        let data = data.map(|data| data.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        data.map(|data| (data.app_id.clone(), data.title.clone())).unwrap_or_default()
    })
}

impl State {
    pub fn new_window(&mut self, toplevel: ToplevelSurface) {
        let client = Self::client_of(toplevel.wl_surface()).unwrap_or_default();
        let window = Window::new_wayland_window(toplevel);
        self.shell.last_window += 1;
        let id = self.shell.last_window;
        self.shell.unmapped.push(ManagedWindow {
            id,
            client,
            window,
            assigned_output: None,
            shown_on: None,
            fullscreen: false,
            ordered: false,
        });
    }

    pub fn window_of(&self, surface: &WlSurface) -> Option<&ManagedWindow> {
        self.shell.windows.iter().chain(&self.shell.unmapped).find(|managed| managed.is(surface))
    }

    fn window_of_mut(&mut self, surface: &WlSurface) -> Option<&mut ManagedWindow> {
        let shell = &mut self.shell;
        shell.windows.iter_mut().chain(&mut shell.unmapped).find(|managed| managed.is(surface))
    }

    /// The display that a window should belong to: its rule's, its parent's, the one it asked
    /// for, the focused one, the first.
    fn choose_output(&self, managed: &ManagedWindow) -> Option<String> {
        if managed.ordered {
            return managed.assigned_output.clone();
        }
        let toplevel = managed.toplevel()?;
        let (app_id, title) = traits(toplevel);
        let window = WindowTraits { app_id: app_id.as_deref(), title: title.as_deref() };
        let rule = self.config.rules.iter().find(|rule| rule.matches(window));
        // One that is not there yet is waited for by its name.
        let named =
            |name: &str| self.displays_named(name).into_iter().next().unwrap_or_else(|| name.to_owned());
        let rule = rule.map(|rule| named(&rule.display));
        let parent = || self.window_of(&managed.parent()?)?.assigned_output.clone();
        let focused = || {
            let output = self.outputs.get(self.shell.focused_output?)?;
            Some(output).filter(|output| output.is_in_layout()).map(|output| output.name.clone())
        };
        // Where an application of this name was when it went without being told to.
        let kept = || {
            let place = self.clients.placement(app_id.as_deref()?)?;
            self.outputs.named(place).map(|output| output.name.clone())
        };
        let first = || self.outputs.in_layout().first().map(|output| output.name.clone());
        rule.or_else(parent).or_else(|| managed.assigned_output.clone()).or_else(kept).or_else(focused).or_else(first)
    }

    /// The lit display that stands for a window's assigned_output.
    fn stand_in(&self, assigned_output: Option<&str>) -> Option<OutputId> {
        let output = assigned_output.and_then(|name| self.outputs.named(name));
        match output {
            Some(output) if output.is_in_layout() => Some(output.id),
            Some(output) => self.outputs.nearest(output.logical).map(|output| output.id),
            None => {
                let first = || self.outputs.in_layout().first().map(|output| output.id);
                assigned_output.and_then(|name| self.outputs.fallback_for_away(name)).or_else(first)
            }
        }
    }

    /// The area that a window fills on a display, in the display's logical pixels.
    fn area(&self, id: OutputId, fullscreen: bool) -> Option<Rectangle<i32, Logical>> {
        let output = self.outputs.get(id)?;
        if fullscreen {
            return Some(Rectangle::from_size(output.geometry().size));
        }
        Some(layer_map_for_output(&output.wl_output).non_exclusive_zone())
    }

    /// Tells a window its size and state; dialogs choose their own.
    pub fn configure_window(&self, managed: &ManagedWindow) {
        let Some(toplevel) = managed.toplevel() else { return };
        let area = managed.shown_on.and_then(|id| self.area(id, managed.fullscreen));
        let fills = managed.parent().is_none() || managed.fullscreen;
        toplevel.with_pending_state(|state| {
            if fills {
                // Without any display the window keeps the size it had.
                state.size = area.map(|area| area.size).or(state.size);
                state.bounds = state.size;
                let (on, off) = match managed.fullscreen {
                    true => (ToplevelStateFlag::Fullscreen, ToplevelStateFlag::Maximized),
                    false => (ToplevelStateFlag::Maximized, ToplevelStateFlag::Fullscreen),
                };
                state.states.set(on);
                state.states.unset(off);
            } else {
                state.bounds = area.map(|area| area.size);
                state.states.unset(ToplevelStateFlag::Maximized);
                state.states.unset(ToplevelStateFlag::Fullscreen);
            }
        });
        if toplevel.is_initial_configure_sent() {
            toplevel.send_pending_configure();
        } else {
            toplevel.send_configure();
        }
        self.send_preferred_scale(managed);
    }

    /// Tells a window's surfaces the scale of their display.
    fn send_preferred_scale(&self, managed: &ManagedWindow) {
        let Some(output) = managed.shown_on.and_then(|id| self.outputs.get(id)) else {
            return;
        };
        managed.window.with_surfaces(|surface, states| send_preferred_scale(&output.wl_output, surface, states));
    }

    /// A commit of a toplevel's own surface.
    pub fn window_committed(&mut self, surface: &WlSurface) {
        if let Some(place) = self.shell.unmapped.iter().position(|managed| managed.is(surface)) {
            let mut managed = self.shell.unmapped[place].clone();
            if has_picture(surface) {
                // xdg_surface: a buffer before the first configure was acknowledged is an error.
                if !managed.toplevel().is_some_and(ToplevelSurface::ensure_configured) {
                    return;
                }
                self.shell.unmapped.remove(place);
                self.map_window(managed);
            } else if managed.toplevel().is_some_and(|toplevel| !toplevel.is_initial_configure_sent()) {
                managed.assigned_output = self.choose_output(&managed);
                managed.shown_on = self.stand_in(managed.assigned_output.as_deref());
                // The newest window gets the keyboard: told at once, it need not draw its first picture twice.
                managed.window.set_activated(self.exclusive_layer().is_none());
                self.configure_window(&managed);
                self.shell.unmapped[place] = managed;
            }
            return;
        }
        let Some(place) = self.shell.windows.iter().position(|managed| managed.is(surface)) else { return };
        if !has_picture(surface) {
            let managed = self.shell.windows.remove(place);
            self.hide_window(&managed);
            self.shell.unmapped.push(ManagedWindow { shown_on: None, ..managed });
            self.focus_top();
            self.check_fullscreen();
        }
    }

    fn map_window(&mut self, mut managed: ManagedWindow) {
        self.announce_clients();
        managed.assigned_output = self.choose_output(&managed);
        managed.shown_on = self.stand_in(managed.assigned_output.as_deref());
        self.configure_window(&managed);
        self.enter_output(&managed);
        if let Some(toplevel) = managed.toplevel() {
            let (app_id, title) = traits(toplevel);
            info!(app_id, title, assigned_output = managed.assigned_output, display = managed.shown_on.and_then(|id| self.outputs.name(id)), "window shown");
        }
        let surface = managed.window.wl_surface().map(|surface| surface.into_owned());
        let reported = self.ipc_window(&managed);
        self.shell.windows.push(managed);
        self.clients.mark_unsaved();
        if let Some(window) = reported {
            self.publish_event(&IpcEvent::Window { window });
        }
        if let Some(surface) = surface {
            self.focus_window(&surface);
        }
        self.check_fullscreen();
    }

    fn enter_output(&mut self, managed: &ManagedWindow) {
        let Some(output) = managed.shown_on.and_then(|id| self.outputs.get(id)) else { return };
        managed.window.with_surfaces(|surface, _| output.wl_output.enter(surface));
        self.queue_redraw(output.id);
    }

    fn hide_window(&mut self, managed: &ManagedWindow) {
        let Some(output) = managed.shown_on.and_then(|id| self.outputs.get(id)) else { return };
        managed.window.with_surfaces(|surface, _| output.wl_output.leave(surface));
        self.queue_redraw(output.id);
    }

    pub fn window_destroyed(&mut self, toplevel: &ToplevelSurface) {
        let surface = toplevel.wl_surface();
        self.shell.unmapped.retain(|managed| !managed.is(surface));
        if let Some(place) = self.shell.windows.iter().position(|managed| managed.is(surface)) {
            let managed = self.shell.windows.remove(place);
            self.save_placement(&managed);
            debug!(display = managed.shown_on.and_then(|id| self.outputs.name(id)), "window closed");
            self.publish_event(&IpcEvent::WindowClosed { window: managed.id });
            if let Some(id) = managed.shown_on {
                self.queue_redraw(id);
            }
            self.focus_top();
            self.check_fullscreen();
        }
    }

    /// A client asks for the whole of a display, or gives it back.
    pub fn set_fullscreen(&mut self, toplevel: &ToplevelSurface, fullscreen: bool, output: Option<WlOutput>) {
        let wished = output.as_ref().and_then(Output::from_resource);
        let wished =
            wished.and_then(|output| self.outputs.of_wl_output(&output)).map(|output| output.name.clone());
        let Some(managed) = self.window_of_mut(toplevel.wl_surface()) else { return };
        managed.fullscreen = fullscreen;
        managed.assigned_output = wished.or(managed.assigned_output.take());
        let known = managed.clone();
        self.clients.mark_unsaved();
        if !toplevel.is_initial_configure_sent() {
            // Answered with the first configure.
            return;
        }
        self.place_window(&known);
        self.check_fullscreen();
        // The protocol wants an answer even where nothing changed.
        toplevel.send_configure();
    }

    /// Gives a window another assigned_output.
    pub fn send_home(&mut self, surface: &WlSurface, display: &str) {
        let Some(managed) = self.window_of_mut(surface) else { return };
        managed.assigned_output = Some(display.to_owned());
        managed.ordered = true;
        let managed = managed.clone();
        self.clients.mark_unsaved();
        self.place_window(&managed);
        self.focus_window(surface);
    }

    /// Puts a window on the display that it belongs to now.
    fn place_window(&mut self, managed: &ManagedWindow) {
        let mut next = managed.clone();
        next.assigned_output = self.choose_output(managed);
        next.shown_on = self.stand_in(next.assigned_output.as_deref());
        if next.shown_on != managed.shown_on {
            self.hide_window(managed);
        }
        if let Some(surface) = next.window.wl_surface() {
            if let Some(entry) = self.window_of_mut(&surface) {
                *entry = next.clone();
            }
        }
        self.configure_window(&next);
        if next.shown_on != managed.shown_on {
            let name = |id: Option<OutputId>| id.and_then(|id| self.outputs.name(id));
            info!(from = name(managed.shown_on), to = name(next.shown_on), assigned_output = next.assigned_output, "window moved");
            self.enter_output(&next);
            if let Some(window) = self.ipc_window(&next) {
                self.publish_event(&IpcEvent::Window { window });
            }
        }
    }

    /// Displays came, went or changed size: every window finds its place again.
    pub fn place_windows(&mut self) {
        for managed in self.shell.windows.clone() {
            // A assigned_output that a rule does not name stays: the window returns when its monitor does.
            self.place_window(&managed);
        }
        for managed in self.shell.unmapped.clone().iter().filter(|managed| managed.assigned_output.is_some()) {
            self.place_window(managed);
        }
    }

    /// Sends every window on a display its size again: a panel took or gave back room.
    pub fn refit_windows(&self, id: OutputId) {
        for managed in
            self.shell.windows.iter().filter(|managed| managed.shown_on == Some(id))
        {
            self.configure_window(managed);
        }
    }

    /// Where a window stands on its display, and how large it is there, in logical pixels.
    pub fn window_location(&self, managed: &ManagedWindow) -> Option<Point<i32, Logical>> {
        let area = self.area(managed.shown_on?, managed.fullscreen)?;
        let geometry = managed.window.geometry();
        let centre = |area: Rectangle<i32, Logical>, size: Size<i32, Logical>| {
            area.loc + Point::from(((area.size.w - size.w).max(0) / 2, (area.size.h - size.h).max(0) / 2))
        };
        let over = managed
            .parent()
            .and_then(|parent| self.shell.windows.iter().find(|managed| managed.is(&parent)))
            .filter(|parent| parent.shown_on == managed.shown_on)
            .and_then(|parent| {
                Some(Rectangle::new(self.window_location(parent)?, parent.window.geometry().size))
            });
        Some(centre(over.unwrap_or(area), geometry.size))
    }
}

/// Tells a surface the scale and transform of the display that it is on.
pub fn send_preferred_scale(output: &Output, surface: &WlSurface, states: &smithay::wayland::compositor::SurfaceData) {
    let scale = output.current_scale();
    send_surface_state(surface, states, scale.integer_scale(), output.current_transform());
    with_fractional_scale(states, |fractional| fractional.set_preferred_scale(scale.fractional_scale()));
}
