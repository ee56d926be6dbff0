//! What each request does.

use geom_ipc::{Response, CloseReason, Error, ErrorKind, Request};
use tracing::info;

use crate::clients::heartbeat::Event;
use crate::clients::connection::Connection;
use crate::compositor::deadline::Deadline;
use crate::compositor::State;

/// So many requests wait for the first frame.
const WAITERS: usize = 1024;

pub(super) type Outcome = Result<Response, Error>;

pub(super) fn not_found(what: String) -> Error {
    Error::new(ErrorKind::NotFound, what)
}

pub(super) fn bad_value(what: String) -> Error {
    Error::new(ErrorKind::BadValue, what)
}

impl State {
    /// Does what a control client asks for, where it may, and answers.
    pub fn request(&mut self, id: u64, number: u64, request: Request) {
        self.announce_clients();
        if request.is_privileged() && !self.may_command(id) {
            let message = "you may look and not command: that is for the service's own user, root, and the \
                           group that [clients] control_group of the configuration names";
            return self.reply(id, Some(number), Err(Error::new(ErrorKind::NotAllowed, message)));
        }
        let outcome = match request {
            // Said already, as take_line() knows.
            Request::Hello { .. } => Err(Error::new(ErrorKind::Handshake, "hello was said already")),
            Request::Displays => Ok(Response::Displays(self.ipc_displays())),
            Request::Clients => Ok(Response::Clients(self.ipc_clients())),
            Request::Windows => Ok(Response::Windows(self.ipc_windows())),
            Request::Metrics => Ok(Response::Metrics(self.ipc_metrics())),
            Request::Status => Ok(Response::Status(Box::new(self.ipc_status()))),
            Request::SetDisplay { display, change, confirm_within } => {
                self.set_display(&display, *change, confirm_within)
            }
            Request::ConfirmDisplay { display, keep } => {
                self.display_named(&display).and_then(|name| match self.confirm(&name, keep) {
                    true => Ok(Response::Done),
                    false => Err(not_found(format!("no change of {name} waits to be confirmed"))),
                })
            }
            Request::FocusWindow { window } => self.with_window(window, |state| state.focus_window(window)),
            Request::PlaceWindow { window, display } => self.place_on(window, &display),
            Request::CloseWindow { window } => {
                self.with_window(window, |state| state.shell.close_window(window))
            }
            Request::Ping { client } => return self.ask(id, number, client),
            Request::Disconnect { client } => self.with_client(client, |state| {
                state.request_close(client, CloseReason::Requested);
            }),
            Request::Kill { client } => self.with_client(client, |state| {
                state.kill_process(client);
                state.disconnect(client, CloseReason::Requested);
            }),
            Request::AwaitFrame if self.frames > 0 => Ok(Response::Done),
            Request::AwaitFrame if self.frame_awaited.len() < WAITERS => {
                return self.frame_awaited.push((id, number));
            }
            Request::AwaitFrame => Err(Error::new(ErrorKind::Failed, "too many wait for the first frame")),
            Request::BlankDisplay { display, blank } => self.blank_displays(&display, blank),
            Request::Identify { seconds } => self.identify(seconds),
            Request::Screenshot { display, path } => {
                return match self.screenshot(&display, path.as_deref()) {
                    Ok((answer, fd)) => {
                        let reply = geom_ipc::Reply::new(Some(number), Ok(answer));
                        self.send_line(id, geom_ipc::ServerMessage::Reply(reply).to_line(), fd);
                    }
                    Err(error) => self.reply(id, Some(number), Err(error)),
                };
            }
            Request::UseProfile { user } => match user.map(|user| self.use_profile(&user)) {
                Some(Err(error)) => Err(bad_value(error)),
                Some(Ok(())) => {
                    self.reconfigure("another user's profile");
                    Ok(Response::Done)
                }
                None => {
                    self.reload_profile();
                    Ok(Response::Done)
                }
            },
            Request::Reload => {
                if self.config_path.is_some() {
                    self.reload();
                    Ok(Response::Done)
                } else {
                    Err(not_found(
                        "the service runs without a configuration file; start it with --config".into(),
                    ))
                }
            }
            Request::Upgrade { program } => self.upgrade(id, program),
            Request::Stop => {
                info!(client = id, "ended by a control client");
                // Answered first: everyone is cut when it stops.
                self.reply(id, Some(number), Ok(Response::Done));
                return self.stop();
            }
            Request::Subscribe => {
                self.clients.subscribers.insert(id);
                Ok(Response::Done)
            }
            Request::Unsubscribe => {
                self.clients.subscribers.remove(&id);
                Ok(Response::Done)
            }
            Request::Pong { serial } => {
                let control = self.clients.connections.get_mut(&id).and_then(Connection::control);
                if control.is_some_and(|control| control.serial == serial) {
                    self.answered(id);
                }
                Ok(Response::Done)
            }
            Request::Heartbeat => Ok(Response::Done),
            Request::Goodbye => {
                self.reply(id, Some(number), Ok(Response::Done));
                return self.forget(id, CloseReason::ClientClosed);
            }
        };
        self.reply(id, Some(number), outcome);
    }

    /// The first frame was shown.
    pub fn answer_frame(&mut self) {
        for (id, number) in std::mem::take(&mut self.frame_awaited) {
            self.reply(id, Some(number), Ok(Response::Done));
        }
    }

    /// The service's own user, root, or a member of the configured group.
    fn may_command(&self, id: u64) -> bool {
        let Some(connection) = self.clients.connections.get(&id) else { return false };
        let peer = &connection.peer;
        let in_group = |group: u32| peer.gid == group || peer.groups.contains(&group);
        peer.uid == 0
            || peer.uid == self.clients.own_user
            || self.config.clients.control_group.is_some_and(in_group)
    }

    /// The one display that a name means.
    pub fn display_named(&self, name: &str) -> Result<String, Error> {
        let mut meant = self.displays_named(name);
        meant.retain(|name| self.outputs.named(name).is_some());
        match (meant.pop(), meant.is_empty()) {
            (Some(one), true) => Ok(one),
            (Some(one), false) => {
                meant.push(one);
                Err(bad_value(format!("{name} may be any of {}; name one", meant.join(", "))))
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

    fn with_window(&mut self, id: u64, act: impl FnOnce(&mut Self)) -> Outcome {
        if self.shell.mapped_window(id).is_none() {
            return Err(not_found(format!("there is no window {id}")));
        }
        act(self);
        Ok(Response::Done)
    }

    fn place_on(&mut self, window: u64, display: &str) -> Outcome {
        let display = self.display_named(display)?;
        self.with_window(window, |state| {
            state.with_shell(|shell, cx| shell.pin_window(window, &display, cx));
        })
    }

    fn with_client(&mut self, client: u64, act: impl FnOnce(&mut Self)) -> Outcome {
        if !self.clients.connections.contains_key(&client) {
            return Err(not_found(format!("there is no client {client}")));
        }
        act(self);
        Ok(Response::Done)
    }

    /// Sends a heartbeat to a client now; answered when that answers.
    fn ask(&mut self, id: u64, number: u64, client: u64) {
        let Some(connection) = self.clients.connections.get_mut(&client) else {
            let error = not_found(format!("there is no client {client}"));
            return self.reply(id, Some(number), Err(error));
        };
        connection.waiting.push((id, number));
        self.on_connection_event(client, Event::Ask);
        let connection = self.clients.connections.get_mut(&client);
        if let Some(connection) = connection.filter(|connection| connection.asked.is_none()) {
            connection.waiting.clear();
            let message = "this client can't be asked: it uses no window manager protocol (xdg_wm_base)";
            self.reply(id, Some(number), Err(Error::new(ErrorKind::Failed, message)));
        }
    }

    fn identify(&mut self, seconds: u32) -> Outcome {
        if !(1..=60).contains(&seconds) {
            return Err(bad_value(format!("{seconds} seconds are not allowed; write 1 to 60")));
        }
        let until = self.now() + std::time::Duration::from_secs(seconds.into());
        for id in self.outputs.enabled() {
            if let Some(output) = self.outputs.get_mut(id) {
                output.identified_until = Some(until);
            }
            self.queue_redraw(id);
        }
        self.timers.at(until, Deadline::EndIdentification);
        Ok(Response::Done)
    }

    /// Takes the names away whose time is over.
    pub fn end_identification(&mut self) {
        let now = self.now();
        let ended = self.outputs.iter_mut().filter_map(|output| {
            output.identified_until.take_if(|until| *until <= now).map(|_| output.id)
        });
        for id in ended.collect::<Vec<_>>() {
            self.queue_redraw(id);
        }
    }
}
