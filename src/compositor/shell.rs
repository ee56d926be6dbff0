//! The shell's effects, and what it reads of other components.

use geom_ipc::Event as IpcEvent;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::Resource;
use smithay::utils::{Logical, Point, SERIAL_COUNTER};
use tracing::info;

use super::output_config::connectors_named;
use super::State;
use crate::clients::{ClientId, Clients};
use crate::output::OutputId;
use crate::shell::{Cx, Effect, Effects, Shell, UnresponsiveClient, UnresponsiveWindow};

/// Returns what the shell needs to know of a client, if it is unresponsive.
fn unresponsive_client(clients: &Clients, id: ClientId) -> Option<UnresponsiveClient> {
    let connection = clients.get(id).filter(|connection| connection.is_unresponsive())?;
    Some(UnresponsiveClient { pid: connection.peer.pid, is_waited_for: connection.wait_until.is_some() })
}

impl State {
    /// Calls the shell, and applies the effects that it returns.
    pub fn with_shell(&mut self, call: impl FnOnce(&mut Shell, &Cx<'_>) -> Effects) {
        let Self { shell, outputs, config, clients, backend, .. } = self;
        let cx = Cx {
            outputs,
            rules: &config.rules,
            saved_placements: clients.placements(),
            connector_of: &|name| connectors_named(outputs, backend, config, name).into_iter().next(),
        };
        let effects = call(shell, &cx);
        self.apply_shell_effects(effects);
    }

    fn apply_shell_effects(&mut self, effects: Effects) {
        self.visibility_changed |= !effects.is_empty();
        for effect in effects {
            match effect {
                Effect::FocusKeyboard(surface) => self.focus_keyboard(surface),
                Effect::RefreshFocus => self.refresh_focus(),
                Effect::Redraw(id) => self.queue_redraw(id),
                Effect::WindowMapped(id) => self.window_mapped(id),
                Effect::WindowMoved(id) => self.publish_window(id),
                Effect::WindowClosed(window) => {
                    self.save_placement(window.client, window.app_id, window.assigned_output);
                    self.publish_event(&IpcEvent::WindowClosed { window: window.id });
                }
                Effect::SavePlacements => self.clients.mark_unsaved(),
                Effect::CheckFullscreen => {
                    self.check_fullscreen();
                    self.update_surface_feedback();
                }
                Effect::Wait(client) => self.extend_wait(client),
                Effect::Close(client) => self.close_unresponsive(client),
            }
        }
    }

    fn window_mapped(&mut self, id: u64) {
        self.announce_clients();
        if let Some(window) = self.shell.window(id) {
            let (app_id, title) = window.app_id_and_title();
            let assigned_output = &window.assigned_output;
            let shown_on = window.shown_on.and_then(|id| self.outputs.name(id));
            info!(app_id, title, assigned_output, display = shown_on, "window mapped");
        }
        self.publish_window(id);
    }

    fn publish_window(&mut self, id: u64) {
        if let Some(window) = self.shell.window(id).and_then(|window| self.ipc_window(window)) {
            self.publish_event(&IpcEvent::Window { window });
        }
    }

    /// Returns the surface that has the keyboard.
    pub fn keyboard_focus(&self) -> Option<WlSurface> {
        self.seat.get_keyboard()?.current_focus()
    }

    fn focus_keyboard(&mut self, surface: Option<WlSurface>) {
        let Some(keyboard) = self.seat.get_keyboard() else { return };
        let focused = keyboard.current_focus();
        if focused == surface {
            return;
        }
        // libwayland destroys the objects of a client that ends one by one. An event that names one
        // of those that are left ends the service: wayland-backend does not find its client.
        let is_ending = |surface: &WlSurface| surface.is_alive() && surface.client().is_none();
        if focused.iter().chain(&surface).any(is_ending) {
            self.focus_refresh_pending = true;
            return;
        }
        let window = surface.as_ref().and_then(|surface| self.shell.window_of(surface));
        let window = window.map(|window| window.id);
        keyboard.set_focus(self, surface, SERIAL_COUNTER.next_serial());
        self.publish_event(&IpcEvent::Focus { window });
    }

    /// Gives the keyboard to a mapped window, and moves it to the front.
    pub fn focus_window(&mut self, id: u64) {
        self.with_shell(|shell, cx| shell.focus_window(id, cx));
    }

    /// Moves the keyboard to where it belongs after outputs or layer surfaces changed.
    pub fn refresh_focus(&mut self) {
        let focused = self.keyboard_focus();
        self.with_shell(|shell, cx| shell.refresh_focus(focused.as_ref(), cx));
    }

    /// Places all windows again after outputs or rules changed.
    pub fn place_windows(&mut self) {
        self.with_shell(Shell::place_windows);
    }

    /// Returns the window that the overlay for unresponsive clients covers on an output.
    pub fn unresponsive_on(&self, id: OutputId) -> Option<UnresponsiveWindow> {
        self.shell.unresponsive_window(id, &self.outputs, |client| unresponsive_client(&self.clients, client))
    }

    #[cfg(test)]
    pub fn unresponsive_on_display(&self, name: &str) -> Option<UnresponsiveWindow> {
        self.unresponsive_on(self.outputs.id(name)?)
    }

    /// Passes a click or touch to the overlay for unresponsive clients. Returns whether the overlay
    /// is there, so that no surface gets the input.
    pub fn press_unresponsive_overlay(&mut self, point: Point<f64, Logical>) -> bool {
        let clients = &self.clients;
        let unresponsive = |client| unresponsive_client(clients, client);
        match self.shell.press_unresponsive_overlay(point, &self.outputs, unresponsive) {
            Some(effects) => {
                self.apply_shell_effects(effects);
                true
            }
            None => false,
        }
    }
}
