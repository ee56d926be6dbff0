//! Connections at work: what they send, their deadlines.

use geom_ipc::{CloseReason, Event as IpcEvent};
use smithay::utils::SERIAL_COUNTER;
use smithay::wayland::shell::xdg::ShellClient;
use tracing::{debug, info, warn};

use super::heartbeat::{Action, Liveness, Event, HeartbeatTimeouts};
use super::connection::{Transport, Connection};
use crate::config::UnresponsivePolicy;
use crate::event_loop::reactor::Source;
use crate::compositor::deadline::Deadline;
use crate::compositor::State;

/// The connection that a shell object belongs to.
struct ShellOf(u64);

/// So few clients are read one by one.
const BATCH_MIN: usize = 16;

impl State {
    /// Reads many clients at once, where many are ready: the library looks at every client that there is after each reading, and so
    /// once for all of these. It does not tell whose requests it reads then, so not while anyone's xdg_wm_base is still to come.
    pub fn dispatch_ready_batch(&mut self, ready: &mut Vec<Source>) {
        if ready.len() < BATCH_MIN || !self.clients.unpinged.is_empty() {
            return;
        }
        let crowd: Vec<u64> = ready.iter().filter_map(|source| source.client()).collect();
        if crowd.len() < BATCH_MIN {
            return;
        }
        ready.retain(|source| source.client().is_none());
        let display = self.display.clone();
        if let Err(error) = display.borrow_mut().dispatch_clients(self) {
            warn!(%error, "clients can't be read");
        }
        for id in crowd {
            self.heard(id);
        }
    }

    /// Reads a Wayland client's requests.
    pub fn dispatch_client(&mut self, id: u64) {
        let connection = self.clients.connections.get_mut(&id);
        let Some(client) = connection.and_then(Connection::wayland).map(|transport| transport.client.clone()) else { return };
        self.clients.current = Some(id);
        let display = self.display.clone();
        let read = display.borrow_mut().backend().dispatch_single_client(self, client);
        self.clients.current = None;
        if read.is_ok() {
            self.heard(id);
        }
    }

    /// A connection sent something.
    pub fn heard(&mut self, id: u64) {
        self.on_connection_event(id, Event::Heard);
    }

    /// A Wayland client bound xdg_wm_base: it can be pinged from now on.
    pub fn has_shell(&mut self, shell: ShellClient) {
        // Read among many it is another one of a client that has one.
        let Some(id) = self.clients.current else { return };
        let noted = shell.with_data(|data| data.insert_if_missing(|| ShellOf(id)));
        if let Err(error) = noted {
            debug!(client = id, %error, "its shell is gone already");
        }
        if let Some(transport) = self.clients.connections.get_mut(&id).and_then(Connection::wayland) {
            transport.shell = Some(shell);
            self.clients.unpinged.remove(&id);
        }
        self.set_deadline(id);
    }

    /// A Wayland client answered a ping.
    pub fn shell_answered(&mut self, shell: &ShellClient) {
        if let Ok(Some(id)) = shell.with_data(|data| data.get::<ShellOf>().map(|of| of.0)) {
            self.answered(id);
            self.heard(id);
        }
    }

    /// A connection answered a ping.
    pub fn answered(&mut self, id: u64) {
        let now = self.now();
        let Some(connection) = self.clients.connections.get_mut(&id) else { return };
        let Some(rtt) = connection.answered(now) else { return };
        let waiting = std::mem::take(&mut connection.waiting);
        debug!(client = id, ?rtt, "heartbeat");
        for (connection, request) in waiting {
            let answer =
                geom_ipc::Response::Pong { rtt_us: u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX) };
            self.reply(connection, Some(request), Ok(answer));
        }
    }

    /// What holds for a connection: by its application's rule, or for all.
    fn timeouts(&self, connection: &Connection) -> HeartbeatTimeouts {
        let app_id = match &connection.transport {
            Transport::Wayland(_) if !self.config.clients.rules.is_empty() => self.app_id_of(connection.id),
            Transport::Wayland(_) => None,
            Transport::Control(control) => Some(control.name.clone()),
        };
        let heartbeat = self.config.clients.heartbeat(app_id.as_deref());
        let closes = matches!(connection.transport, Transport::Control(_)) || heartbeat.on_lost != UnresponsivePolicy::Wait;
        HeartbeatTimeouts {
            interval: heartbeat.interval,
            unresponsive: heartbeat.unresponsive,
            lost: closes.then_some(heartbeat.lost),
            pingable: match &connection.transport {
                // Without xdg_wm_base it is looked at instead.
                Transport::Wayland(_) => true,
                Transport::Control(control) => control.is_open(),
            },
            handshake: matches!(connection.transport, Transport::Control(_)),
        }
    }

    /// Brings an event to a connection's life and does what follows.
    pub fn on_connection_event(&mut self, id: u64, event: Event) {
        let now = self.iteration_start();
        let Some(connection) = self.clients.connections.get(&id) else { return };
        let before = connection.state;
        // The usual case by far, which must cost nothing: an active client was active.
        if let (Event::Heard, Liveness::Alive { pinged: None, .. }) = (event, before) {
            if let Some(connection) = self.clients.connections.get_mut(&id) {
                connection.state = Liveness::Alive { heard: now, pinged: None };
            }
            return;
        }
        let timeouts = self.timeouts(connection);
        let (next, action) = before.on(event, now, &timeouts);
        if let Some(connection) = self.clients.connections.get_mut(&id) {
            connection.state = next;
        }
        match action {
            Action::None => {}
            Action::Ping => self.ping(id),
            Action::MarkUnresponsive => self.mark_unresponsive(id),
            Action::MarkResponsive => self.mark_responsive(id),
            Action::GiveUp => self.give_up(id),
            Action::Resume => info!(client = id, "session resumed"),
            Action::Close(reason) => self.disconnect(id, reason),
        }
        self.set_deadline(id);
    }

    fn ping(&mut self, id: u64) {
        let now = self.now();
        let Some(connection) = self.clients.connections.get_mut(&id) else { return };
        let earlier = connection.asked.replace(now);
        match &mut connection.transport {
            Transport::Wayland(transport) => {
                transport.shell.take_if(|shell| !shell.alive());
                if transport.shell.is_none() {
                    self.clients.unpinged.insert(id);
                    return self.look_at(id);
                }
                if let Some(Err(error)) =
                    transport.shell.as_ref().map(|shell| shell.send_ping(SERIAL_COUNTER.next_serial()))
                {
                    // An earlier one is on its way still: its answer counts, from when it went.
                    connection.asked = earlier.or(connection.asked);
                    debug!(client = id, %error, "no new ping");
                }
            }
            Transport::Control(control) => {
                control.serial += 1;
                let serial = control.serial;
                self.send(id, &geom_ipc::ServerMessage::Event(IpcEvent::Ping { serial }));
            }
        }
    }

    /// Its state changed: when it wants attention next.
    pub fn set_deadline(&mut self, id: u64) {
        let Some(connection) = self.clients.connections.get(&id) else { return };
        let life = connection.state.deadline(&self.timeouts(connection));
        let leaving = connection.leaving.map(|(_, at)| at);
        // Nothing is heard of a watched client that goes on: it is looked at again.
        let hung = connection.is_unresponsive() && connection.needs_polling();
        let look = hung.then(|| self.now() + self.timeouts(connection).interval);
        if let Some(at) = [life, leaving, connection.wait_until, look].into_iter().flatten().min() {
            self.clients.deadlines.at_latest(id, at);
            self.arm_heartbeats();
        }
    }

    /// One timer for all connections, set to the first deadline.
    fn arm_heartbeats(&mut self) {
        let Some(next) = self.clients.deadlines.next() else { return };
        if let Some((armed, timer)) = self.clients.timer.take() {
            if armed <= next {
                self.clients.timer = Some((armed, timer));
                return;
            }
            self.timers.cancel(timer);
        }
        let timer = self.timers.at(next, Deadline::ClientDeadlines);
        self.clients.timer = Some((next, timer));
    }

    pub fn deadlines_due(&mut self) {
        // The turn's time, by which lives are judged: a deadline between it and a later look at the clock would be taken, found not
        // to be due, and put back, for ever.
        let now = self.iteration_start();
        while let Some(id) = self.clients.deadlines.pop(now) {
            let Some(connection) = self.clients.connections.get_mut(&id) else { continue };
            if let Some((reason, _)) = connection.leaving.filter(|(_, at)| *at <= now) {
                self.disconnect(id, reason);
                continue;
            }
            let waited = connection.wait_until.take_if(|until| *until <= now).is_some();
            let needs_polling = connection.needs_polling();
            if waited {
                self.redraw_client(id);
            }
            if needs_polling {
                self.look_at(id);
            }
            self.on_connection_event(id, Event::Deadline);
        }
        self.arm_heartbeats();
    }

    /// What the Wayland library let go of in this turn.
    pub fn reap_ended(&mut self) {
        loop {
            let ended: Vec<_> = {
                let mut ended = self.clients.ended.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                std::mem::take(&mut *ended)
            };
            if ended.is_empty() {
                return;
            }
            for (id, reason) in ended {
                self.on_wayland_disconnect(id, reason);
            }
        }
    }

    /// How a request to end another connection turns out: at its own request, `reason` is as told.
    pub fn close_reason(&self, id: u64, otherwise: CloseReason) -> CloseReason {
        let connection = self.clients.connections.get(&id);
        match connection.map(|connection| (connection.leaving, connection.state)) {
            Some((Some((reason, _)), _)) => reason,
            Some((None, Liveness::Closed(reason))) => reason,
            _ => otherwise,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use crate::tests::Fixture;

    /// Clients were read first in a turn that then took longer than until the next deadline.
    #[test]
    fn a_deadline_within_the_turn() {
        let (done, waits) = channel();
        std::thread::spawn(move || {
            let mut fixture =
                Fixture::new("[headless]\ndisplays = [\"800x600\"]\n[clients]\ninterval = 0.2\n");
            let _client = fixture.client();
            let state = &mut fixture.compositor.state;
            let deadline = state.clients.deadlines.next().expect("the client's deadline");
            while state.now() <= deadline {
                std::thread::yield_now();
            }
            state.iteration_began = deadline.checked_sub(Duration::from_nanos(1));
            state.run_timers();
            assert!(state.clients.deadlines.next().is_some());
            done.send(()).expect("the test waits");
        });
        waits.recv_timeout(Duration::from_secs(20)).expect("the turn ends");
    }
}
