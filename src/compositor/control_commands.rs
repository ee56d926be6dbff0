//! Carries out the commands of control clients.

use std::path::PathBuf;
use std::time::Duration;

use geom_ipc::{CloseReason, Error, Response};
use tracing::info;

use super::deadline::Deadline;
use super::State;
use crate::clients::ClientId;
use crate::control::command::{
    bad_value, failed, not_found, ClientCommand, Command, DisplayCommand, DisplaySettings, Query,
    ServiceCommand, SessionCommand, WindowCommand,
};
use crate::control::displays::{the_display, transaction};
use crate::control::jobs::{IccSettings, Task};
use crate::output::Output;

type CommandResult = Result<Response, Error>;

impl State {
    pub(super) fn reply(&mut self, id: ClientId, number: u64, result: CommandResult) {
        let effects = self.clients.reply(id, Some(number), result);
        self.apply_client_effects(effects);
    }

    pub(super) fn execute(&mut self, id: ClientId, number: u64, command: Command) {
        self.announce_clients();
        let result = match command {
            Command::Query(query) => Some(Ok(self.query(query))),
            Command::Display(command) => self.command_display(id, number, command),
            Command::Window(window, command) => Some(self.command_window(window, command)),
            Command::Client(client, command) => self.command_client(id, number, client, command),
            Command::Calibration(command) => Some(self.command_calibration(id, command)),
            Command::Service(command) => self.command_service(id, number, command),
            Command::Session(command) => self.command_session(id, number, command),
        };
        if let Some(result) = result {
            self.reply(id, number, result);
        }
    }

    fn query(&self, query: Query) -> Response {
        match query {
            Query::Displays => Response::Displays(self.ipc_displays()),
            Query::Clients => Response::Clients(self.ipc_clients()),
            Query::Windows => Response::Windows(self.ipc_windows()),
            Query::InputDevices => Response::InputDevices(self.ipc_input_devices()),
            Query::Metrics => Response::Metrics(self.ipc_metrics()),
            Query::Status => Response::Status(Box::new(self.ipc_status())),
        }
    }
}

/// Commands for displays.
impl State {
    /// Returns the result, or `None` if the reply comes later.
    fn command_display(
        &mut self,
        id: ClientId,
        number: u64,
        command: DisplayCommand,
    ) -> Option<CommandResult> {
        Some(match command {
            DisplayCommand::Set { display, change } => match self.unread_icc(&change) {
                Some(icc) => {
                    let task = Task::SetDisplay(IccSettings { display, settings: change, icc });
                    return self.submit_task(id, number, task).err().map(Err);
                }
                None => self.set_display(&display, *change),
            },
            DisplayCommand::Confirm { display, keep } => self.confirm_display(&display, keep),
            DisplayCommand::Blank { display, blank } => self.blank_displays(&display, blank),
            DisplayCommand::Identify(time) => {
                self.identify(time);
                Ok(Response::Done)
            }
            DisplayCommand::Screenshot { display } => {
                return self.submit_screenshot(id, number, display).err().map(Err);
            }
            DisplayCommand::AwaitFrame if self.frames > 0 => Ok(Response::Done),
            DisplayCommand::AwaitFrame => return self.control.await_frame(id, number).err().map(Err),
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
        the_display(name, self.displays_named(name), &self.outputs)
    }

    /// Returns the ICC profile that settings name, if it is to be read first.
    fn unread_icc(&self, settings: &DisplaySettings) -> Option<PathBuf> {
        let path = settings.config.icc.as_ref()?;
        self.color.icc_files.profile(path).is_none().then(|| path.clone())
    }

    pub(super) fn set_display(&mut self, name: &str, settings: DisplaySettings) -> CommandResult {
        let name = self.display_named(name)?;
        let resolve = |name: &str| self.display_named(name);
        let transaction = transaction(name, settings, &self.outputs, resolve)?;
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
    pub fn identify(&mut self, time: Duration) {
        let until = self.now() + time;
        for id in self.outputs.identify(until) {
            self.queue_redraw(id);
        }
        self.timers.at(until, Deadline::EndIdentification);
    }

    /// Removes the names whose time is over.
    pub fn end_identification(&mut self) {
        let now = self.now();
        for id in self.outputs.end_identification(now) {
            self.queue_redraw(id);
        }
    }
}

/// Commands for windows and clients.
impl State {
    fn command_window(&mut self, window: u64, command: WindowCommand) -> CommandResult {
        let display = match &command {
            WindowCommand::Place { display } => Some(self.display_named(display)?),
            WindowCommand::Focus | WindowCommand::Close => None,
        };
        if self.shell.mapped_window(window).is_none() {
            return Err(not_found(format!("there is no window {window}")));
        }
        match (command, display) {
            (WindowCommand::Focus, _) => self.focus_window(window),
            (WindowCommand::Close, _) => self.shell.close_window(window),
            (WindowCommand::Place { .. }, display) => {
                let display = display.unwrap_or_default();
                self.with_shell(|shell, cx| shell.pin_window(window, &display, cx));
            }
        }
        Ok(Response::Done)
    }

    /// Returns the result, or `None` if the reply comes when the client answers a ping.
    fn command_client(
        &mut self,
        id: ClientId,
        number: u64,
        client: ClientId,
        command: ClientCommand,
    ) -> Option<CommandResult> {
        if self.clients.get(client).is_none() {
            return Some(Err(not_found(format!("there is no client {client}"))));
        }
        match command {
            ClientCommand::Ping => return self.ping_client(id, number, client),
            ClientCommand::Disconnect => {
                let reason = CloseReason::Requested;
                self.run_clients(|clients, cx| clients.request_close(client, reason, cx));
            }
            ClientCommand::Kill => {
                self.clients.kill_process(client);
                self.disconnect(client, CloseReason::Requested);
            }
        }
        Some(Ok(Response::Done))
    }

    fn ping_client(&mut self, id: ClientId, number: u64, client: ClientId) -> Option<CommandResult> {
        let (is_pinged, effects) =
            self.with_clients(|clients, cx| clients.ping_for(client, (id, number), cx));
        self.apply_client_effects(effects);
        (!is_pinged).then(|| {
            Err(failed("this client cannot be pinged: it has not sent a request yet, or its session is lost"))
        })
    }
}

/// Commands for the service and the client's own session.
impl State {
    /// Returns the result, or `None` if the reply was sent or comes later.
    fn command_service(
        &mut self,
        id: ClientId,
        number: u64,
        command: ServiceCommand,
    ) -> Option<CommandResult> {
        match command {
            ServiceCommand::UseProfile(user) => self.await_profile(id, number, user).err().map(Err),
            ServiceCommand::Reload if self.config_path.is_none() => {
                let message = "the service runs without a configuration file; start it with --config";
                Some(Err(not_found(message.into())))
            }
            ServiceCommand::Reload => {
                self.reload();
                Some(Ok(Response::Done))
            }
            ServiceCommand::Upgrade(program) => {
                let task = Self::upgrade_task(program);
                task.and_then(|task| self.submit_task(id, number, task)).err().map(Err)
            }
            ServiceCommand::Stop => {
                info!(client = %id, "stopped by a control client");
                // First, because stopping disconnects all clients.
                self.reply(id, number, Ok(Response::Done));
                self.stop();
                None
            }
        }
    }

    /// Selects a user's profile, or reads the present one again. The request is answered when the
    /// profile is read.
    fn await_profile(&mut self, id: ClientId, number: u64, user: Option<String>) -> Result<(), Error> {
        self.control.await_profile(id, number)?;
        let Some(user) = user else {
            self.reload_profile();
            return Ok(());
        };
        self.use_profile(&user).map_err(|error| {
            self.control.forget_profile(id, number);
            bad_value(error)
        })
    }

    /// Returns the result, or `None` if the reply was sent.
    fn command_session(
        &mut self,
        id: ClientId,
        number: u64,
        command: SessionCommand,
    ) -> Option<CommandResult> {
        match command {
            SessionCommand::Subscribe(subscribed) => self.clients.subscribe(id, subscribed),
            SessionCommand::Pong(serial) => {
                if self.clients.control(id).is_some_and(|control| control.serial == serial) {
                    self.run_clients(|clients, cx| clients.on_pong(id, cx));
                }
            }
            SessionCommand::Heartbeat => {}
            SessionCommand::Goodbye => {
                self.reply(id, number, Ok(Response::Done));
                self.run_clients(|clients, cx| clients.remove(id, CloseReason::ClientClosed, cx));
                return None;
            }
        }
        Some(Ok(Response::Done))
    }
}
