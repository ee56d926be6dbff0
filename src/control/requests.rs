//! What each request does.

use geom_ipc::{Answer, EndReason, Error, ErrorKind, Request};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::seat::WaylandFocus;
use tracing::info;

use crate::clients::heartbeat::Event;
use crate::clients::record::Record;
use crate::shell::windows::Managed;
use crate::state::State;

/// So many requests wait for the first frame.
const WAITERS: usize = 1024;

pub(super) type Outcome = Result<Answer, Error>;

pub(super) fn not_found(what: String) -> Error {
    Error::new(ErrorKind::NotFound, what)
}

pub(super) fn bad_value(what: String) -> Error {
    Error::new(ErrorKind::BadValue, what)
}

impl State {
    /// Does what a control client asks for, where it may, and answers.
    pub fn request(&mut self, id: u64, number: u64, request: Request) {
        self.introduce_strangers();
        if request.changes() && !self.may_command(id) {
            let message = "you may look and not command: that is for the service's own user, root, and the \
                           group that [clients] control_group of the configuration names";
            return self.reply(id, Some(number), Err(Error::new(ErrorKind::NotAllowed, message)));
        }
        let outcome = match request {
            // Said already, as take_line() knows.
            Request::Hello { .. } => Err(Error::new(ErrorKind::Handshake, "hello was said already")),
            Request::Displays => Ok(Answer::Displays(self.report_displays())),
            Request::Clients => Ok(Answer::Clients(self.report_clients())),
            Request::Windows => Ok(Answer::Windows(self.report_windows())),
            Request::Metrics => Ok(Answer::Metrics(self.report_metrics())),
            Request::Status => Ok(Answer::Status(Box::new(self.report_status()))),
            Request::SetDisplay { display, change, confirm_within } => {
                self.set_display(&display, *change, confirm_within)
            }
            Request::ConfirmDisplay { display, keep } => {
                self.display_named(&display).and_then(|name| match self.confirm(&name, keep) {
                    true => Ok(Answer::Done),
                    false => Err(not_found(format!("no change of {name} waits to be confirmed"))),
                })
            }
            Request::FocusWindow { window } => {
                self.with_window(window, |state, surface, _| state.focus_window(&surface))
            }
            Request::PlaceWindow { window, display } => self.place_on(window, &display),
            Request::CloseWindow { window } => self.with_window(window, |_, _, managed| {
                if let Some(toplevel) = managed.toplevel() {
                    toplevel.send_close();
                }
            }),
            Request::Ping { client } => return self.ask(id, number, client),
            Request::Disconnect { client } => self.with_client(client, |state| {
                state.disconnect(client, EndReason::Ordered);
            }),
            Request::Kill { client } => self.with_client(client, |state| {
                state.kill_process(client);
                state.cut(client, EndReason::Ordered);
            }),
            Request::AwaitFrame if self.frames > 0 => Ok(Answer::Done),
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
                        self.send_line(id, geom_ipc::FromServer::Reply(reply).to_line(), fd);
                    }
                    Err(error) => self.reply(id, Some(number), Err(error)),
                };
            }
            Request::UseProfile { user } => match user.map(|user| self.use_profile(&user)) {
                Some(Err(error)) => Err(bad_value(error)),
                Some(Ok(())) => {
                    self.reconfigure("another user's profile");
                    Ok(Answer::Done)
                }
                None => {
                    self.reload_profile();
                    Ok(Answer::Done)
                }
            },
            Request::Reload => {
                if self.config_path.is_some() {
                    self.reload();
                    Ok(Answer::Done)
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
                self.reply(id, Some(number), Ok(Answer::Done));
                return self.stop();
            }
            Request::Subscribe => {
                self.clients.subscribers.insert(id);
                Ok(Answer::Done)
            }
            Request::Unsubscribe => {
                self.clients.subscribers.remove(&id);
                Ok(Answer::Done)
            }
            Request::Pong { serial } => {
                let control = self.clients.records.get_mut(&id).and_then(Record::control);
                if control.is_some_and(|control| control.serial == serial) {
                    self.answered(id);
                }
                Ok(Answer::Done)
            }
            Request::Heartbeat => Ok(Answer::Done),
            Request::Goodbye => {
                self.reply(id, Some(number), Ok(Answer::Done));
                return self.forget(id, EndReason::Left);
            }
        };
        self.reply(id, Some(number), outcome);
    }

    /// The first frame was shown.
    pub fn answer_frame(&mut self) {
        for (id, number) in std::mem::take(&mut self.frame_awaited) {
            self.reply(id, Some(number), Ok(Answer::Done));
        }
    }

    /// The service's own user, root, or a member of the configured group.
    fn may_command(&self, id: u64) -> bool {
        let Some(record) = self.clients.records.get(&id) else { return false };
        let peer = &record.peer;
        let in_group = |group: u32| peer.gid == group || peer.groups.contains(&group);
        peer.uid == 0
            || peer.uid == self.clients.own_user
            || self.config.clients.control_group.is_some_and(in_group)
    }

    /// The one display that a name means.
    pub fn display_named(&self, name: &str) -> Result<String, Error> {
        let mut meant = self.displays_meant(name);
        meant.retain(|name| self.screens.get(name).is_some());
        match (meant.pop(), meant.is_empty()) {
            (Some(one), true) => Ok(one),
            (Some(one), false) => {
                meant.push(one);
                Err(bad_value(format!("{name} may be any of {}; name one", meant.join(", "))))
            }
            (None, _) => {
                let known = self.screens.iter().map(|screen| match &screen.monitor.identity {
                    Some(monitor) => format!("{} ({monitor})", screen.name),
                    None => screen.name.clone(),
                });
                let known: Vec<String> = known.collect();
                Err(not_found(format!("there is no display {name}; there are: {}", known.join(", "))))
            }
        }
    }

    fn with_window(&mut self, id: u64, act: impl FnOnce(&mut Self, WlSurface, &Managed)) -> Outcome {
        let found = self.shell.windows.iter().find(|managed| managed.id == id).cloned();
        let surface =
            found.as_ref().and_then(|managed| managed.window.wl_surface().map(|own| own.into_owned()));
        let (Some(managed), Some(surface)) = (found, surface) else {
            return Err(not_found(format!("there is no window {id}")));
        };
        act(self, surface, &managed);
        Ok(Answer::Done)
    }

    fn place_on(&mut self, window: u64, display: &str) -> Outcome {
        let display = self.display_named(display)?;
        self.with_window(window, |state, surface, _| state.send_home(&surface, &display))
    }

    fn with_client(&mut self, client: u64, act: impl FnOnce(&mut Self)) -> Outcome {
        if !self.clients.records.contains_key(&client) {
            return Err(not_found(format!("there is no client {client}")));
        }
        act(self);
        Ok(Answer::Done)
    }

    /// Sends a heartbeat to a client now; answered when that answers.
    fn ask(&mut self, id: u64, number: u64, client: u64) {
        let Some(record) = self.clients.records.get_mut(&client) else {
            let error = not_found(format!("there is no client {client}"));
            return self.reply(id, Some(number), Err(error));
        };
        record.waiting.push((id, number));
        self.live_client(client, Event::Ask);
        let record = self.clients.records.get_mut(&client);
        if let Some(record) = record.filter(|record| record.asked.is_none()) {
            record.waiting.clear();
            let message = "this client can't be asked: it uses no window manager protocol (xdg_wm_base)";
            self.reply(id, Some(number), Err(Error::new(ErrorKind::Failed, message)));
        }
    }

    fn identify(&mut self, seconds: u32) -> Outcome {
        if !(1..=60).contains(&seconds) {
            return Err(bad_value(format!("{seconds} seconds are not allowed; write 1 to 60")));
        }
        let until = self.now() + std::time::Duration::from_secs(seconds.into());
        for name in self.screens.lit_names() {
            if let Some(screen) = self.screens.get_mut(&name) {
                screen.identified_until = Some(until);
            }
            self.queue_redraw(&name);
        }
        self.timers.at(until, Self::end_identification);
        Ok(Answer::Done)
    }

    /// Takes the names away whose time is over.
    fn end_identification(&mut self) {
        let now = self.now();
        let names: Vec<String> = self.screens.iter().map(|screen| screen.name.clone()).collect();
        for name in names {
            let screen = self.screens.get_mut(&name);
            let over =
                screen.is_some_and(|screen| screen.identified_until.take_if(|until| *until <= now).is_some());
            if over {
                self.queue_redraw(&name);
            }
        }
    }
}
