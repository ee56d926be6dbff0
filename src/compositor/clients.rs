//! Joins [`Clients`] with the other components: passes it what happens, and applies its effects.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Result;
use geom_ipc::{ClientKind, CloseReason, Event as IpcEvent};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::DisplayHandle;
use smithay::utils::SERIAL_COUNTER;
use smithay::wayland::shell::xdg::ShellClient;
use tracing::warn;

use super::deadline::Deadline;
use super::{notify_user, State};
use crate::clients::heartbeat::Event;
use crate::clients::saved_state::StateFile;
use crate::clients::socket_files::FOLDER_NOTICE;
use crate::clients::{client_of, ClientId, Clients, Cx, Effect, Effects, Sandbox, Windows};
use crate::event_loop::reactor::Source;
use crate::shell::Shell;

/// The delay before a listening socket that could not be watched is tried again.
const LISTEN_RETRY: Duration = Duration::from_secs(1);

impl Windows for Shell {
    fn app_id(&self, id: ClientId) -> Option<String> {
        self.app_id_of(id)
    }

    fn has_toplevel(&self, id: ClientId) -> bool {
        self.windows_of(id).any(|window| window.toplevel().is_some())
    }
}

impl State {
    /// Calls the component with what it may read of the others.
    pub fn with_clients<T>(&mut self, call: impl FnOnce(&mut Clients, &Cx<'_>) -> T) -> T {
        self.with_clients_and_display(|clients, _, cx| call(clients, cx))
    }

    fn with_clients_and_display<T>(
        &mut self,
        call: impl FnOnce(&mut Clients, &mut DisplayHandle, &Cx<'_>) -> T,
    ) -> T {
        let now = self.iteration_start();
        let connect_type = self.connect_type();
        let Self { clients, clock, config, shell, display_handle, .. } = self;
        let clock = || clock.now().into();
        let cx = Cx { now, clock: &clock, config: &config.clients, connect_type, windows: shell };
        call(clients, display_handle, &cx)
    }

    /// Calls the component and applies the effects that it returns.
    pub fn run_clients(&mut self, call: impl FnOnce(&mut Clients, &Cx<'_>) -> Effects) {
        let effects = self.with_clients(call);
        self.apply_client_effects(effects);
    }

    pub fn apply_client_effects(&mut self, effects: Effects) {
        for effect in effects {
            self.apply_client_effect(effect);
        }
    }

    fn apply_client_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Dispatch => self.dispatch_wayland(),
            Effect::ReadControl(id) => self.watch_control(id),
            Effect::AwaitWritable(id) => self.await_writable(id),
            Effect::Unwatch(token) => self.handle.remove(token),
            Effect::ArmAnnouncement(at) => {
                self.timers.at(at, Deadline::AnnounceClients);
            }
            Effect::ArmDeadline(at) => {
                let timer = self.timers.at(at, Deadline::ClientDeadlines);
                if let Some(earlier) = self.clients.deadline_armed(timer) {
                    self.timers.cancel(earlier);
                }
            }
            Effect::ArmWithheldInput { id, at } => {
                self.timers.at(at, Deadline::WithheldInput(id));
            }
            Effect::ArmResume { id, at } => {
                self.timers.at(at, Deadline::ResumeClient(id));
            }
            Effect::ArmTrim(at) => {
                self.timers.at(at, Deadline::TrimMemory);
            }
            Effect::PauseListener { index, until } => {
                let Some(socket) = self.clients.listener(index) else { return };
                if self.reactor.remove(socket).is_ok() {
                    self.timers.at(until, Deadline::ResumeListener(index));
                }
            }
            Effect::Connected(mut client) => {
                self.complete_client(&mut client);
                self.publish_event(&IpcEvent::ClientConnected { client: *client });
            }
            Effect::StateChanged(mut client) => {
                self.complete_client(&mut client);
                self.publish_event(&IpcEvent::ClientState { client: *client });
            }
            Effect::Disconnected { id, reason } => {
                self.control.client_disconnected(id);
                self.calibration_client_gone(id);
                self.publish_event(&IpcEvent::ClientDisconnected { client: id.into(), reason });
            }
            Effect::WithholdPointer(id) => self.clear_pointer_focus(id),
            Effect::ResendKeyboard(id) => self.refresh_keyboard(id),
            Effect::ResendPointer(id) => self.refresh_pointer(id),
            Effect::SendFrames(id) => self.send_frames_to(id),
            Effect::Redraw(id) => self.redraw_client(id),
            Effect::CloseWindows(id) => {
                self.send_frames_to(id);
                self.shell.request_close(id);
            }
            Effect::KillProcess(id) => self.clients.kill_process(id),
            Effect::CheckDisabledGlobals => self.destroy_disabled_globals(),
            Effect::StopService => self.stop(),
        }
    }

    /// Opens the listening sockets.
    ///
    /// # Errors
    /// If a socket cannot be created, or another instance serves the control socket.
    pub fn listen(&mut self) -> Result<()> {
        self.clients.listen(&mut self.store, &self.reactor)?;
        self.set_socket_modes();
        Ok(())
    }

    /// Opens the sockets to the users that the configuration names.
    pub fn set_socket_modes(&mut self) {
        self.notices.dismiss(|text| text.starts_with(FOLDER_NOTICE));
        if let Some(notice) = self.clients.set_socket_modes(&self.config.clients.limits) {
            notify_user!(self, "{notice}");
        }
    }

    /// Accepts clients from a listening socket again.
    pub fn resume_listener(&mut self, index: u64) {
        let Some(socket) = self.clients.listener(index) else { return };
        if let Err(error) = self.reactor.add(socket, Source::Listener(index)) {
            warn!(%error, "cannot listen for clients; trying again");
            self.timers.at(self.now() + LISTEN_RETRY, Deadline::ResumeListener(index));
        }
    }

    /// Accepts the clients that wait at a listening socket.
    pub fn accept(&mut self, listener: u64) {
        let iteration = self.iteration;
        let effects = self.with_clients_and_display(|clients, display, cx| {
            clients.accept_waiting(listener, iteration, display, cx)
        });
        self.apply_client_effects(effects);
    }

    /// Takes a connected socket, or refuses the client. Returns the connection's id. `sandbox` is
    /// the one that the client connected through.
    pub fn new_client(
        &mut self,
        stream: UnixStream,
        kind: ClientKind,
        sandbox: Option<Sandbox<'_>>,
    ) -> Option<ClientId> {
        let (id, effects) = self.with_clients_and_display(|clients, display, cx| {
            clients.accept(stream, kind, sandbox, display, cx)
        });
        self.apply_client_effects(effects);
        id
    }

    /// Dispatches the requests of Wayland clients: what libwayland reads at once of each ready one,
    /// 4 KiB, and of at most 32 of them.
    pub fn dispatch_wayland(&mut self) {
        let display = self.display.clone();
        if let Err(error) = display.borrow_mut().dispatch_clients(self) {
            warn!(%error, "cannot dispatch requests of clients");
        }
        // Before the disconnects of clients whose windows were closed are published.
        self.settle_focus();
        self.run_clients(Clients::dispatched);
    }

    pub fn on_connection_event(&mut self, id: ClientId, event: Event) {
        self.run_clients(|clients, cx| clients.on(id, event, cx));
    }

    /// A Wayland client bound xdg_wm_base.
    pub fn shell_bound(&mut self, shell: ShellClient) {
        self.run_clients(|clients, cx| clients.shell_bound(shell, cx));
    }

    /// A Wayland client answered a ping.
    pub fn shell_pong(&mut self, shell: &ShellClient) {
        self.run_clients(|clients, cx| clients.shell_pong(shell, cx));
    }

    pub fn client_deadlines_due(&mut self) {
        self.run_clients(Clients::deadlines_due);
    }

    /// Removes the Wayland clients that the Wayland library has disconnected.
    pub fn reap_ended(&mut self) {
        self.run_clients(Clients::reap);
    }

    /// Disconnects a client now.
    pub fn disconnect(&mut self, id: ClientId, reason: CloseReason) {
        self.run_clients(|clients, cx| clients.disconnect(id, reason, cx));
    }

    /// Ends the service when all Wayland clients have closed, which they are asked to.
    pub fn shut_down(&mut self) {
        self.run_clients(Clients::shut_down);
    }

    /// Publishes new clients: an event about one of them may follow.
    pub fn announce_clients(&mut self) {
        self.run_clients(Clients::announce);
    }

    /// Publishes an event to all subscribers, after new clients.
    pub fn publish_event(&mut self, event: &IpcEvent) {
        if !self.clients.has_subscribers() {
            return;
        }
        self.announce_clients();
        let effects = self.clients.publish(event);
        self.apply_client_effects(effects);
    }

    /// Returns whether a surface's client is unresponsive.
    pub fn is_unresponsive(&self, surface: &WlSurface) -> bool {
        let connection = client_of(surface).and_then(|id| self.clients.get(id));
        connection.is_some_and(|connection| connection.is_unresponsive())
    }

    /// Returns whether a key event may be sent to the client with the keyboard focus.
    pub fn accepts_key(&mut self) -> bool {
        let focus = self.seat.get_keyboard().and_then(|keyboard| keyboard.current_focus());
        let id = focus.and_then(|surface| client_of(&surface));
        id.is_none_or(|id| self.ask_clients(|clients, cx| clients.accepts_key(id, cx)))
    }

    /// Returns whether a pointer or touch motion may be sent to the client of a surface.
    pub fn accepts_motion(&mut self, surface: &WlSurface) -> bool {
        let id = client_of(surface);
        id.is_none_or(|id| self.ask_clients(|clients, cx| clients.accepts_input(id, cx)))
    }

    /// Calls the component, applies the effects, and returns the answer.
    fn ask_clients(&mut self, call: impl FnOnce(&mut Clients, &Cx<'_>) -> (bool, Effects)) -> bool {
        let (answer, effects) = self.with_clients(call);
        self.apply_client_effects(effects);
        answer
    }

    /// The user chose to wait for a client.
    pub fn extend_wait(&mut self, id: ClientId) {
        self.run_clients(|clients, cx| clients.extend_wait(id, cx));
    }

    /// The user chose to close a client.
    pub fn close_unresponsive(&mut self, id: ClientId) {
        self.run_clients(|clients, cx| clients.close_unresponsive(id, cx));
    }

    /// Makes the pointer leave a client's surfaces: it gets no motion from now on.
    fn clear_pointer_focus(&mut self, id: ClientId) {
        let Some(pointer) = self.seat.get_pointer() else { return };
        let has_pointer = pointer.current_focus().is_some_and(|surface| client_of(&surface) == Some(id));
        if has_pointer {
            let (location, time) = (self.input.pointer().location(), self.now().as_millis() as u32);
            self.send_pointer(&pointer, None, location, time);
        }
    }

    /// Sends a client the keys that are down now, by leaving its surface and entering it again.
    pub fn refresh_keyboard(&mut self, id: ClientId) {
        let Some(keyboard) = self.seat.get_keyboard() else { return };
        let focus = keyboard.current_focus().filter(|surface| client_of(surface) == Some(id));
        if focus.is_some() {
            keyboard.set_focus(self, None, SERIAL_COUNTER.next_serial());
            keyboard.set_focus(self, focus, SERIAL_COUNTER.next_serial());
        }
    }

    /// Sends a client the pointer's position, if the pointer is on one of its surfaces.
    fn refresh_pointer(&mut self, id: ClientId) {
        let focus = self.seat.get_pointer().and_then(|pointer| pointer.current_focus());
        if focus.is_some_and(|surface| client_of(&surface) == Some(id)) {
            let time = self.now().as_millis() as u32;
            // No one has used it.
            self.move_pointer(self.input.pointer().location(), time, None);
        }
    }

    /// Redraws the outputs that show a client's windows: the overlay for unresponsive clients came
    /// or went. The pointer is not on what the overlay covers.
    fn redraw_client(&mut self, id: ClientId) {
        self.refresh_pointer_focus();
        for output in self.shell.outputs_of(id) {
            self.queue_redraw(output);
        }
    }

    /// Saves the display of a window that is destroyed, if its client's connection has ended.
    pub fn save_placement(&mut self, id: ClientId, app_id: Option<String>, display: Option<String>) {
        let connect_type = self.connect_type();
        if let Some((app_id, display)) = app_id.zip(display) {
            self.clients.save_placement(id, app_id, display, connect_type);
        }
    }

    /// Continues with the state that the previous process left.
    pub fn restore(&mut self, state_file: StateFile) {
        let now = self.now();
        let sessions = self.clients.restore(state_file.clients().clone(), now);
        let crashes = state_file.crashes();
        if crashes > 0 {
            warn!(crashes, sessions, "the previous process crashed; continuing its sessions");
        }
        if state_file.is_safe() {
            notify_user!(
                self,
                "crashed 5 times in a minute: safe settings apply (no profile, pixman, and of the \
                 configuration only restrictions) until a person starts the service again"
            );
        }
        self.state_file = Some(state_file);
    }

    /// Saves sessions and placements if they have changed in this iteration.
    pub fn write_saved_state(&mut self) {
        if !self.clients.take_unsaved() {
            return;
        }
        let Self { state_file: Some(state_file), clients, shell, .. } = self else { return };
        state_file.save(clients.to_saved(shell.placements()));
    }

    /// Drops the saved state at an orderly shutdown, so that the next start does not treat it as a
    /// crash.
    pub fn discard_saved_state(&mut self) {
        self.state_file = None;
        self.store.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use crate::tests::Fixture;

    /// Clients were dispatched first in an iteration that then took longer than until the next
    /// deadline.
    #[test]
    fn deadline_within_the_iteration_does_not_spin() {
        let (done, waits) = channel();
        std::thread::spawn(move || {
            let mut fixture =
                Fixture::new("[headless]\ndisplays = [\"800x600\"]\n[clients]\ninterval = 0.2\n");
            let _client = fixture.client();
            let state = &mut fixture.compositor.state;
            let deadline = state.clients.next_deadline().expect("the client's deadline");
            while state.now() <= deadline {
                std::thread::yield_now();
            }
            state.iteration_began = deadline.checked_sub(Duration::from_nanos(1));
            state.run_timers();
            assert!(state.clients.next_deadline().is_some());
            done.send(()).expect("the test waits");
        });
        waits.recv_timeout(Duration::from_secs(20)).expect("the iteration ends");
    }
}
