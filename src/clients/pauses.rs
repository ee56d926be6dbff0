//! Clients that are not read for a moment, because their requests, or those of their user, have
//! taken more than their share of the service's time.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use tracing::{debug, warn};

use super::connection::Transport;
use super::event_source::EventSource;
use super::heartbeat::Time;
use super::{ClientId, Clients, Cx, Effect, Effects};

impl Clients {
    /// Charges a client and its user for the time that the client's requests took until `now`, and
    /// pauses the client if that is more than its share.
    pub fn charge(&mut self, id: ClientId, used: Duration, now: Time, cx: &Cx<'_>) -> Effects {
        let percent = cx.config.limits.cpu_percent;
        let Some(connection) = self.connections.get_mut(&id) else { return Effects::new() };
        let own = connection.cpu.charge(used, percent, now);
        let user = connection.peer.uid;
        if self.has_user_share(user) {
            self.user_cpu.charge(user, used, percent, now);
        }
        match own.max(self.user_cpu.pause(user, percent, now)) {
            Some(pause) => {
                // A ping must be answered in time.
                let heartbeat = cx.config.heartbeat(cx.windows.app_id(id).as_deref());
                self.pause(id, now + pause.min(heartbeat.unresponsive / 2))
            }
            None => Effects::new(),
        }
    }

    /// Returns whether all clients of a user have a share together. As for connections, those of
    /// the service's own user and of root do not.
    fn has_user_share(&self, user: u32) -> bool {
        user != self.own_user && user != 0
    }

    /// Returns when the Wayland library first disconnected a client after a time, of those that
    /// were not removed yet.
    pub(super) fn first_end_after(&self, time: Time) -> Option<Time> {
        let ended = self.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ended.iter().map(|one| one.at).filter(|at| *at >= time).min()
    }

    /// Stops reading a client until a time.
    fn pause(&mut self, id: ClientId, until: Time) -> Effects {
        if self.has_ended(id) || !self.set_paused(id, true) {
            return Effects::new();
        }
        let Some(connection) = self.connections.get_mut(&id) else { return Effects::new() };
        // A client that is paused already has a timer, which looks again.
        match connection.paused_until {
            Some(before) => {
                connection.paused_until = Some(until.max(before));
                Effects::new()
            }
            None => {
                connection.paused_until = Some(until);
                vec![Effect::ArmResume { id, at: until }]
            }
        }
    }

    /// Pauses again the clients that libwayland awaits since it has flushed their messages: it
    /// awaits those that do not read.
    pub fn keep_paused(&mut self) {
        for id in self.paused.clone() {
            if self.has_ended(id) || !self.set_paused(id, true) {
                self.paused.remove(&id);
            }
        }
    }

    /// Reads a client again if its pause is over.
    pub fn resume_due(&mut self, id: ClientId, cx: &Cx<'_>) -> Effects {
        let Some(connection) = self.connections.get_mut(&id) else { return Effects::new() };
        let Some(until) = connection.paused_until else { return Effects::new() };
        // Other clients of the user may have taken what was left.
        let of_user = self.user_cpu.pause(connection.peer.uid, cx.config.limits.cpu_percent, cx.now);
        let until = until.max(cx.now + of_user.unwrap_or_default());
        if until > cx.now {
            connection.paused_until = Some(until);
            return vec![Effect::ArmResume { id, at: until }];
        }
        connection.paused_until = None;
        let is_control = connection.control().is_some();
        self.set_paused(id, false);
        if is_control {
            vec![Effect::ReadControl(id)]
        } else {
            Effects::new()
        }
    }

    /// Returns false if that is not possible.
    fn set_paused(&mut self, id: ClientId, is_paused: bool) -> bool {
        let Self { connections, protocol_log, paused, .. } = self;
        let Some(connection) = connections.get_mut(&id) else { return false };
        let wayland = match &mut connection.transport {
            Transport::Control(control) => {
                control.set_over_share(is_paused);
                return true;
            }
            Transport::Wayland(wayland) => wayland,
        };
        let Some(log) = protocol_log else { return false };
        match is_paused {
            true => paused.insert(id),
            false => paused.remove(&id),
        };
        // SAFETY: the library keeps the socket open until it reports the client's end. If it has
        // closed it, fstat(2) fails or finds another file, and nothing is changed.
        let socket = unsafe { BorrowedFd::borrow_raw(wayland.descriptor) };
        let source = match wayland.event_source {
            Some(source) => Ok(source),
            None => EventSource::find(log.epoll(), socket),
        };
        let result = source.and_then(|source| {
            wayland.event_source = Some(source);
            match is_paused {
                true => source.pause(log.epoll(), socket),
                false => source.resume(log.epoll(), socket),
            }
        });
        let Err(error) = result else { return true };
        paused.remove(&id);
        if is_paused && !std::mem::replace(&mut self.has_pause_failed, true) {
            warn!(
                client = %id,
                %error,
                "a client takes more CPU time than its share; is /proc mounted, and is a descriptor left?"
            );
        } else {
            debug!(client = %id, %error, "the client is not kept to its share of CPU time");
        }
        false
    }
}
