//! The shell's effects, and what it reads of other components.

use geom_ipc::Event as IpcEvent;
use smithay::utils::{Logical, Point};
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
            focus_new: config.focus_new,
            saved_placements: clients.placements(),
            connector_of: &|name| connectors_named(outputs, backend, config, name).into_iter().next(),
        };
        let effects = call(shell, &cx);
        self.apply_shell_effects(effects);
    }

    pub(super) fn apply_shell_effects(&mut self, effects: Effects) {
        self.visibility_changed |= !effects.is_empty();
        for effect in effects {
            match effect {
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

    /// Gives the keyboard to a mapped window, and moves it to the front.
    pub fn focus_window(&mut self, id: u64) {
        self.with_shell(|shell, _| shell.focus_window(id));
        self.settle_focus();
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
