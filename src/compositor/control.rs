//! Watches the sockets of control clients, takes their turns, and joins the reports that they ask
//! for.

use geom_ipc::CloseReason;
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, Mode, PostAction, RegistrationToken};
use tracing::warn;

use super::deadline::Deadline;
use super::State;
use crate::backend::Backend;
use crate::clients::ClientId;
use crate::control::report::{self, Service};
use crate::control::session::{self, Input};
use crate::control::turns::Turn;
use crate::output::Output;
use crate::shell::ShellWindow;

/// Watching a control client's sockets.
impl State {
    /// Reads a control client's messages that were received already, and watches its socket.
    pub(super) fn watch_control(&mut self, id: ClientId) {
        if !self.read_control(id) {
            return;
        }
        let Some(control) = self.clients.control(id).filter(|control| !control.is_reading()) else { return };
        let Some(stream) = control.stream() else { return };
        let source = Generic::new(stream, Interest::READ, Mode::Level);
        let inserted = self.handle.insert_source(source, move |_, _, state: &mut State| {
            Ok(if state.read_control(id) { PostAction::Continue } else { PostAction::Remove })
        });
        match inserted {
            Ok(token) => {
                if let Some(control) = self.clients.control(id) {
                    control.set_reader(token);
                }
            }
            Err(error) => {
                warn!(client = %id, error = %error.error, "cannot watch a control client's socket");
                self.run_clients(|clients, cx| clients.remove(id, CloseReason::OverLimit, cx));
            }
        }
    }

    /// Handles a control client's messages, now or when it is its turn. Returns false if the event
    /// loop is to ignore its socket.
    pub(super) fn read_control(&mut self, id: ClientId) -> bool {
        let Some(user) = self.clients.get(id).map(|connection| connection.peer.uid) else { return false };
        let goes_on = match self.control.turns.request(id, user, self.iteration) {
            true => self.take_control_turn(id, user),
            false => true,
        };
        self.arm_control_turns();
        goes_on
    }

    /// Handles the messages of clients that have waited for their turn.
    pub(super) fn take_control_turns(&mut self) {
        self.control.turns.disarm();
        // A client that has more is queued again, for the next iteration.
        for _ in 0..self.control.turns.len() {
            let Some(id) = self.control.turns.take(self.iteration) else { break };
            let Some(user) = self.clients.get(id).map(|connection| connection.peer.uid) else { continue };
            self.take_control_turn(id, user);
        }
        self.arm_control_turns();
    }

    fn arm_control_turns(&mut self) {
        if self.control.turns.arm() {
            let now = self.iteration_start();
            self.timers.at(now, Deadline::ControlTurns);
        }
    }

    /// Handles messages of a control client, as many as it may have in one iteration, and charges
    /// it for the time. Returns false if the event loop is to ignore its socket.
    fn take_control_turn(&mut self, id: ClientId, user: u32) -> bool {
        let began = self.now();
        let mut turn = Turn::default();
        let goes_on = self.handle_control_messages(id, user, &mut turn);
        // The client's next requests wait already.
        if !turn.took_long() {
            let now = self.now();
            self.run_clients(|clients, cx| clients.charge(id, now.saturating_sub(began), now, cx));
        }
        if goes_on && self.clients.control(id).is_some_and(|control| control.is_paused()) {
            self.ignore_control(id);
            return false;
        }
        goes_on
    }

    /// Removes the source that reads a control client's socket, until the client is watched again.
    fn ignore_control(&mut self, id: ClientId) {
        let reader = self.clients.control(id).and_then(|control| control.take_reader());
        self.unwatch(reader);
    }

    /// Returns whether the event loop is to read the client's socket.
    fn handle_control_messages(&mut self, id: ClientId, user: u32, turn: &mut Turn) -> bool {
        // Events that were sent to it are not its doing.
        self.take_control_work(id);
        while !turn.is_over() {
            let (input, effects) = self.with_clients(|clients, cx| session::read(clients, id, cx));
            self.apply_client_effects(effects);
            let takes_long = match input {
                Input::Command(number, command) => {
                    let takes_long = command.takes_long();
                    self.execute(id, number, command);
                    takes_long
                }
                Input::Handled => false,
                Input::Nothing => return true,
                Input::Stopped => {
                    self.ignore_control(id);
                    return false;
                }
            };
            let bytes = self.take_control_work(id);
            self.control.turns.handled(turn, user, bytes, takes_long, self.iteration);
        }
        // More may have been received, of which the socket reports nothing.
        self.control.turns.wait(id, user);
        true
    }

    /// Returns the number of bytes of requests and replies since the last call.
    fn take_control_work(&mut self, id: ClientId) -> usize {
        self.clients.control(id).map_or(0, |control| control.take_work())
    }

    /// Removes an event source, also from within its own callback.
    fn unwatch(&self, token: Option<RegistrationToken>) {
        if let Some(token) = token {
            self.handle.remove(token);
        }
    }

    /// Continues to send to a control client when its socket can take more.
    pub(super) fn await_writable(&mut self, id: ClientId) {
        let Some(stream) = self.clients.control(id).and_then(|control| control.stream()) else { return };
        // A copy: epoll takes each descriptor only once, and reading uses the other one.
        let inserted = stream.try_clone().map_err(|error| error.to_string()).and_then(|stream| {
            let source = Generic::new(stream, Interest::WRITE, Mode::Level);
            let inserted = self.handle.insert_source(source, move |_, _, state: &mut State| {
                Ok(if state.write_control(id) { PostAction::Continue } else { PostAction::Remove })
            });
            inserted.map_err(|error| error.error.to_string())
        });
        match inserted {
            Ok(writer) => {
                if let Some(control) = self.clients.control(id) {
                    control.set_writer(Some(writer));
                }
            }
            // Nothing would send what is queued for it.
            Err(error) => {
                warn!(client = %id, error, "cannot wait until a control client can be sent to");
                self.run_clients(|clients, cx| clients.remove(id, CloseReason::OverLimit, cx));
            }
        }
    }

    /// Sends what is queued for a control client. Returns false if nothing is left.
    fn write_control(&mut self, id: ClientId) -> bool {
        if self.clients.flush(id) {
            return true;
        }
        // The client was not read from while it did not read its replies.
        if self.clients.control(id).is_some_and(|control| !control.is_reading()) {
            self.watch_control(id);
        }
        false
    }
}

/// Reports.
impl State {
    pub fn ipc_displays(&self) -> Vec<geom_ipc::Display> {
        self.outputs.iter().map(|output| self.ipc_display(output)).collect()
    }

    pub fn ipc_display(&self, output: &Output) -> geom_ipc::Display {
        let is_focused = self.shell.focused_output() == Some(output.id);
        report::display(output, &self.outputs, is_focused)
    }

    pub fn ipc_clients(&self) -> Vec<geom_ipc::Client> {
        let now = self.now();
        let clients = self.clients.iter().map(|connection| {
            let mut client = connection.describe(now);
            self.complete_client(&mut client);
            client
        });
        clients.collect()
    }

    /// Adds to a client's description what the shell knows.
    pub(super) fn complete_client(&self, client: &mut geom_ipc::Client) {
        report::add_windows(client, &self.shell, &self.outputs);
    }

    pub fn ipc_windows(&self) -> Vec<geom_ipc::Window> {
        self.shell.windows().iter().filter_map(|window| self.ipc_window(window)).collect()
    }

    pub fn ipc_window(&self, window: &ShellWindow) -> Option<geom_ipc::Window> {
        report::window(window, &self.outputs, self.focused_window == Some(window.id))
    }

    pub fn ipc_status(&self) -> geom_ipc::Status {
        let service = Service {
            title: self.options.window_title.as_ref(),
            uptime: self.now().saturating_sub(self.started),
            backend: match self.backend {
                Backend::Headless(_) => "headless",
                Backend::None | Backend::Kms(_) => "kms",
            },
            session_active: self.backend.is_session_active(),
            gpus: self.backend.gpus().map(report::gpu).collect(),
            config: self.config_path.as_deref(),
            profile: &self.profile,
            frames: self.frames,
            notices: self.notices.recent(),
        };
        report::status(service, &self.outputs, &self.clients)
    }

    pub fn ipc_metrics(&self) -> geom_ipc::Metrics {
        let uptime = self.now().saturating_sub(self.started);
        report::metrics(uptime, &self.outputs, &self.clients)
    }
}
