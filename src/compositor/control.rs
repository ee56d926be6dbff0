//! Carries out the commands of control clients, and watches their sockets.

use std::time::Duration;

use geom_display::output_config::Position;
use geom_ipc::{CloseReason, Error, Response};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, Mode, PostAction, RegistrationToken};
use tracing::{info, warn};

use super::deadline::Deadline;
use super::State;
use crate::backend::Backend;
use crate::clients::ClientId;
use crate::control::command::{bad_value, failed, not_found, Command, DisplayCommand};
use crate::control::report::{self, Service};
use crate::control::session::{self, Input};
use crate::control::turns::MAX_CLIENT_BYTES;
use crate::output::requests::OutputTransaction;
use crate::output::Output;
use crate::shell::ShellWindow;

/// The maximum number of messages of one control client that are handled in one iteration, so that
/// other clients are served as well.
const MAX_PER_DISPATCH: usize = 256;

type CommandResult = Result<Response, Error>;

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

    /// Handles messages of a control client, as many as it may have in one iteration. Returns false
    /// if the event loop is to ignore its socket.
    fn take_control_turn(&mut self, id: ClientId, user: u32) -> bool {
        let work = |state: &mut Self| state.clients.control(id).map_or(0, |control| control.take_work());
        // Events that were sent to it are not its doing.
        work(self);
        let mut bytes = 0;
        for _ in 0..MAX_PER_DISPATCH {
            let (input, effects) = self.with_clients(|clients, cx| session::read(clients, id, cx));
            self.apply_client_effects(effects);
            let mut takes_long = false;
            match input {
                Input::Command(number, command) => {
                    takes_long = command.takes_long();
                    self.execute(id, number, command);
                }
                Input::Handled => {}
                Input::Nothing => return true,
                Input::Stopped => {
                    let reader = self.clients.control(id).and_then(|control| control.take_reader());
                    self.unwatch(reader);
                    return false;
                }
            }
            let message = work(self);
            bytes += message;
            self.control.turns.charge(user, message, self.iteration);
            if takes_long {
                self.control.turns.charge_all(user, self.iteration);
            }
            if takes_long || bytes >= MAX_CLIENT_BYTES {
                break;
            }
        }
        // More may have been received, of which the socket reports nothing.
        self.control.turns.wait(id, user);
        true
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

/// Commands.
impl State {
    pub(super) fn reply(&mut self, id: ClientId, number: u64, result: CommandResult) {
        let effects = self.clients.reply(id, Some(number), result);
        self.apply_client_effects(effects);
    }

    fn execute(&mut self, id: ClientId, number: u64, command: Command) {
        self.announce_clients();
        if let Some(result) = self.run_command(id, number, command) {
            self.reply(id, number, result);
        }
    }

    /// Carries out a command. Returns the result, or `None` if the reply was sent or comes later.
    fn run_command(&mut self, id: ClientId, number: u64, command: Command) -> Option<CommandResult> {
        Some(match command {
            Command::Displays => Ok(Response::Displays(self.ipc_displays())),
            Command::Clients => Ok(Response::Clients(self.ipc_clients())),
            Command::Windows => Ok(Response::Windows(self.ipc_windows())),
            Command::InputDevices => Ok(Response::InputDevices(self.ipc_input_devices())),
            Command::Metrics => Ok(Response::Metrics(self.ipc_metrics())),
            Command::Status => Ok(Response::Status(Box::new(self.ipc_status()))),
            Command::SetDisplay { display, change } => self.set_display(&display, *change),
            Command::ConfirmDisplay { display, keep } => self.confirm_display(&display, keep),
            Command::BlankDisplay { display, blank } => self.blank_displays(&display, blank),
            Command::Identify(time) => self.identify(time),
            Command::Screenshot { display } => {
                let submitted = self.submit_screenshot(id, number, display);
                return submitted.err().map(Err);
            }
            Command::FocusWindow(window) => self.with_window(window, |state| state.focus_window(window)),
            Command::PlaceWindow { window, display } => self.place_on(window, &display),
            Command::CloseWindow(window) => {
                self.with_window(window, |state| state.shell.close_window(window))
            }
            Command::Ping(client) => return self.ping_client(id, number, client),
            Command::Disconnect(client) => self.with_client(client, |state| {
                let reason = CloseReason::Requested;
                state.run_clients(|clients, cx| clients.request_close(client, reason, cx));
            }),
            Command::Kill(client) => self.with_client(client, |state| {
                state.clients.kill_process(client);
                state.disconnect(client, CloseReason::Requested);
            }),
            Command::AwaitFrame if self.frames > 0 => Ok(Response::Done),
            Command::AwaitFrame => return self.control.await_frame(id, number).err().map(Err),
            Command::UseProfile(user) => {
                // Answered when the profile is read.
                if let Err(error) = self.control.await_profile(id, number) {
                    return Some(Err(error));
                }
                match user.map(|user| self.use_profile(&user)) {
                    Some(Ok(())) => {}
                    Some(Err(error)) => {
                        self.control.forget_profile(id, number);
                        return Some(Err(bad_value(error)));
                    }
                    None => self.reload_profile(),
                }
                return None;
            }
            Command::Reload if self.config_path.is_none() => {
                let message = "the service runs without a configuration file; start it with --config";
                Err(not_found(message.into()))
            }
            Command::Reload => {
                self.reload();
                Ok(Response::Done)
            }
            Command::Upgrade(program) => {
                let task = Self::upgrade_task(program);
                return task.and_then(|task| self.submit_task(id, number, task)).err().map(Err);
            }
            Command::Stop => {
                info!(client = %id, "stopped by a control client");
                // First, because stopping disconnects all clients.
                self.reply(id, number, Ok(Response::Done));
                self.stop();
                return None;
            }
            Command::Subscribe(subscribed) => {
                self.clients.subscribe(id, subscribed);
                Ok(Response::Done)
            }
            Command::Pong(serial) => {
                if self.clients.control(id).is_some_and(|control| control.serial == serial) {
                    self.run_clients(|clients, cx| clients.on_pong(id, cx));
                }
                Ok(Response::Done)
            }
            Command::Heartbeat => Ok(Response::Done),
            Command::Goodbye => {
                self.reply(id, number, Ok(Response::Done));
                self.run_clients(|clients, cx| clients.remove(id, CloseReason::ClientClosed, cx));
                return None;
            }
        })
    }

    /// Answers the requests that wait for the first frame.
    pub fn answer_frame(&mut self) {
        for (id, number) in self.control.frame_shown() {
            self.reply(id, number, Ok(Response::Done));
        }
    }

    /// Returns the one display that a name means.
    ///
    /// # Errors
    /// If there is none, or several.
    pub fn display_named(&self, name: &str) -> Result<String, Error> {
        let mut matching = self.displays_named(name);
        matching.retain(|name| self.outputs.named(name).is_some());
        match (matching.pop(), matching.is_empty()) {
            (Some(one), true) => Ok(one),
            (Some(one), false) => {
                matching.push(one);
                Err(bad_value(format!("{name} matches {}; name one of them", matching.join(", "))))
            }
            (None, _) => {
                let known = self.outputs.iter().map(|output| match &output.monitor.identity {
                    Some(monitor) => format!("{} ({monitor})", output.name),
                    None => output.name.clone(),
                });
                let known: Vec<String> = known.collect();
                Err(not_found(format!("there is no display {name}; there are: {}", known.join(", "))))
            }
        }
    }

    fn set_display(&mut self, name: &str, change: DisplayCommand) -> CommandResult {
        let name = self.display_named(name)?;
        let DisplayCommand { mut config, reset_mode, confirm_within } = change;
        let resolve = |name: &mut String| -> Result<(), Error> {
            *name = self.display_named(name)?;
            Ok(())
        };
        if let Some(Position::NextTo(_, other)) = &mut config.position {
            resolve(other)?;
        }
        config.mirror.iter_mut().filter(|other| !other.is_empty()).try_for_each(resolve)?;
        if let Some(mode) = &config.mode {
            let output = self.outputs.named(&name);
            let offered = output.map(|output| output.modes.clone()).unwrap_or_default();
            if mode.modeline.is_none() && !offered.iter().any(|known| mode.matches(known)) {
                let offered: Vec<String> = offered.iter().map(ToString::to_string).collect();
                let offered = offered.join(", ");
                return Err(bad_value(format!("{name} has no mode {mode}; it offers {offered}")));
            }
        }
        let transaction = OutputTransaction {
            reset_modes: reset_mode.then(|| name.clone()).into_iter().collect(),
            changes: [(name, config)].into(),
            confirm_within,
            ..OutputTransaction::default()
        };
        self.apply_transaction(&transaction, "control").map_err(failed)?;
        Ok(Response::Displays(self.ipc_displays()))
    }

    fn confirm_display(&mut self, name: &str, keep: bool) -> CommandResult {
        let name = self.display_named(name)?;
        match self.confirm(&name, keep) {
            true => Ok(Response::Done),
            false => Err(not_found(format!("no change of {name} waits for confirmation"))),
        }
    }

    /// Powers all displays that a name matches down or up, all of them or none.
    fn blank_displays(&mut self, name: &str, blank: bool) -> CommandResult {
        let mut names = self.displays_named(name);
        names.retain(|name| self.outputs.named(name).is_some_and(Output::is_enabled));
        if names.is_empty() {
            return Err(not_found(format!("no display {name} is enabled")));
        }
        self.blank(&names, blank).map_err(failed)?;
        Ok(Response::Done)
    }

    /// Shows each display's name on it for some time.
    fn identify(&mut self, time: Duration) -> CommandResult {
        let until = self.now() + time;
        for id in self.outputs.identify(until) {
            self.queue_redraw(id);
        }
        self.timers.at(until, Deadline::EndIdentification);
        Ok(Response::Done)
    }

    /// Removes the names whose time is over.
    pub fn end_identification(&mut self) {
        let now = self.now();
        for id in self.outputs.end_identification(now) {
            self.queue_redraw(id);
        }
    }

    fn with_window(&mut self, id: u64, act: impl FnOnce(&mut Self)) -> CommandResult {
        if self.shell.mapped_window(id).is_none() {
            return Err(not_found(format!("there is no window {id}")));
        }
        act(self);
        Ok(Response::Done)
    }

    fn place_on(&mut self, window: u64, display: &str) -> CommandResult {
        let display = self.display_named(display)?;
        self.with_window(window, |state| {
            state.with_shell(|shell, cx| shell.pin_window(window, &display, cx));
        })
    }

    fn with_client(&mut self, client: ClientId, act: impl FnOnce(&mut Self)) -> CommandResult {
        if self.clients.get(client).is_none() {
            return Err(not_found(format!("there is no client {client}")));
        }
        act(self);
        Ok(Response::Done)
    }

    /// Pings a client. The reply comes when the client answers.
    fn ping_client(&mut self, id: ClientId, number: u64, client: ClientId) -> Option<CommandResult> {
        if self.clients.get(client).is_none() {
            return Some(Err(not_found(format!("there is no client {client}"))));
        }
        let (is_pinged, effects) =
            self.with_clients(|clients, cx| clients.ping_for(client, (id, number), cx));
        self.apply_client_effects(effects);
        (!is_pinged).then(|| {
            Err(failed("this client cannot be pinged: it has not sent a request yet, or its session is lost"))
        })
    }
}

/// Reports.
impl State {
    pub fn ipc_displays(&self) -> Vec<geom_ipc::Display> {
        self.outputs.iter().map(|output| self.ipc_display(output)).collect()
    }

    pub fn ipc_display(&self, output: &Output) -> geom_ipc::Display {
        let is_focused = self.shell.focused_output() == Some(output.id);
        report::display(output, is_focused, self.outputs.ports.get(&output.name))
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
        report::window(window, &self.outputs, self.keyboard_focus().as_ref())
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
