//! Clients that are not read for a moment, because their requests, or those of their user, have
//! taken more than their share of the service's time.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use tracing::debug;

use super::connection::Transport;
use super::event_source::EventSource;
use super::heartbeat::Time;
use super::{ClientId, Clients, Cx, Effect, Effects};

/// The number of users whose time is accounted; accounts that say nothing anymore are removed when
/// there are more.
const MAX_USER_ACCOUNTS: usize = 64;

impl Clients {
    /// Charges a client and its user for the time that the client's requests took until `now`, and
    /// pauses the client if that is more than its share.
    pub fn charge(&mut self, id: ClientId, used: Duration, now: Time, cx: &Cx<'_>) -> Effects {
        let percent = cx.config.limits.cpu_percent;
        let Some(connection) = self.connections.get_mut(&id) else { return Effects::new() };
        let own = connection.cpu.charge(used, percent, now);
        let user = connection.peer.uid;
        // As for connections, the service's own user and root have no limit for all their clients.
        let of_user = (user != self.own_user && user != 0).then(|| {
            if self.user_cpu.len() >= MAX_USER_ACCOUNTS {
                self.user_cpu.retain(|_, account| !account.is_empty_at(percent.of_user(), now));
            }
            self.user_cpu.entry(user).or_default().charge(used, percent.of_user(), now)
        });
        match own.max(of_user.flatten()) {
            Some(pause) => self.pause(id, now + pause),
            None => Effects::new(),
        }
    }

    /// Stops reading a client until a time.
    fn pause(&mut self, id: ClientId, until: Time) -> Effects {
        if self.has_ended(id) || !self.set_paused(id, true) {
            return Effects::new();
        }
        let Some(connection) = self.connections.get_mut(&id) else { return Effects::new() };
        // A client that is paused already has a timer, which looks again.
        match connection.paused_until.replace(until) {
            Some(_) => Effects::new(),
            None => vec![Effect::ArmResume { id, at: until }],
        }
    }

    /// Reads a client again if its pause is over.
    pub fn resume_due(&mut self, id: ClientId, cx: &Cx<'_>) -> Effects {
        let Some(connection) = self.connections.get_mut(&id) else { return Effects::new() };
        let Some(until) = connection.paused_until else { return Effects::new() };
        if until > cx.now {
            return vec![Effect::ArmResume { id, at: until }];
        }
        connection.paused_until = None;
        let is_control = connection.control().is_some();
        if !self.has_ended(id) {
            self.set_paused(id, false);
        }
        if is_control {
            vec![Effect::ReadControl(id)]
        } else {
            Effects::new()
        }
    }

    /// Returns false if that is not possible.
    fn set_paused(&mut self, id: ClientId, is_paused: bool) -> bool {
        let Self { connections, protocol_log, .. } = self;
        let Some(connection) = connections.get_mut(&id) else { return false };
        let wayland = match &mut connection.transport {
            Transport::Control(control) => {
                control.set_over_share(is_paused);
                return true;
            }
            Transport::Wayland(wayland) => wayland,
        };
        let Some(log) = protocol_log else { return false };
        // SAFETY: the library keeps the socket open until it reports the client's end; the callers
        // check that.
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
        if let Err(error) = &result {
            debug!(client = %id, %error, "the client is not kept to its share of CPU time");
        }
        result.is_ok()
    }
}
