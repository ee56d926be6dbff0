//! Runs the liveness state machine of each connection: events, pings, deadlines.

use geom_ipc::Event as IpcEvent;
use smithay::wayland::shell::xdg::ShellClient;
use tracing::{debug, info};

use super::connection::{micros, Connection, PingTarget, Transport};
use super::heartbeat::{Action, Event, HeartbeatTimeouts, Liveness};
use super::{ClientId, Clients, Cx, Effect, Effects};
use crate::config::UnresponsivePolicy;
use crate::event_loop::timers::Timer;

/// The connection that an xdg_wm_base object belongs to.
struct ShellOf(ClientId);

impl Clients {
    /// Handles an event of a connection.
    pub fn on(&mut self, id: ClientId, event: Event, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        let Some(connection) = self.connections.get_mut(&id) else { return effects };
        // The common case, for each message of each client: it was alive and stays so. It needs no
        // timeouts, which may need the client's app id.
        if let (Event::Received, Liveness::Alive { last_received, pinged: None }) =
            (event, &mut connection.state)
        {
            *last_received = cx.now;
            return effects;
        }
        let timeouts = timeouts(connection, cx);
        let (next, action) = connection.state.on(event, cx.now, &timeouts);
        connection.state = next;
        match action {
            Action::None => {}
            Action::Ping => self.ping(id, cx, &mut effects),
            Action::MarkUnresponsive => self.mark_unresponsive(id, cx, &mut effects),
            Action::MarkResponsive => self.mark_responsive(id, cx, &mut effects),
            Action::GiveUp => self.give_up(id, cx, &mut effects),
            Action::Resume => info!(client = %id, "session resumed"),
            Action::Close(reason) => effects.extend(self.disconnect(id, reason, cx)),
        }
        self.set_deadline(id, cx, &mut effects);
        effects
    }

    /// Notes that the client whose requests are being dispatched bound xdg_wm_base: it can be
    /// pinged from now on.
    pub fn shell_bound(&mut self, shell: ShellClient, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        let Some(id) = self.current() else { return effects };
        if let Err(error) = shell.with_data(|data| data.insert_if_missing(|| ShellOf(id))) {
            debug!(client = %id, %error, "xdg_wm_base was destroyed at once");
        }
        self.set_ping_target(id, Box::new(shell), cx, &mut effects);
        effects
    }

    pub(super) fn set_ping_target(
        &mut self,
        id: ClientId,
        target: Box<dyn PingTarget>,
        cx: &Cx<'_>,
        effects: &mut Effects,
    ) {
        if let Some(transport) = self.connections.get_mut(&id).and_then(Connection::wayland) {
            transport.ping_target = Some(target);
            self.unpinged.remove(&id);
        }
        self.set_deadline(id, cx, effects);
    }

    /// Handles `xdg_wm_base.pong`.
    pub fn shell_pong(&mut self, shell: &ShellClient, cx: &Cx<'_>) -> Effects {
        match shell.with_data(|data| data.get::<ShellOf>().map(|of| of.0)) {
            Ok(Some(id)) => self.on_pong(id, cx),
            _ => Effects::new(),
        }
    }

    /// Handles the answer to a ping: the client is alive, and all messages before the ping are
    /// processed.
    pub fn on_pong(&mut self, id: ClientId, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        let Some(connection) = self.connections.get_mut(&id) else { return effects };
        if connection.ping_sent_at.is_some() {
            if let Some(rtt) = connection.on_pong((cx.clock)()) {
                debug!(client = %id, ?rtt, "pong");
                let response = geom_ipc::Response::Pong { rtt_us: micros(rtt) };
                for (waiter, request) in std::mem::take(&mut connection.ping_waiters) {
                    effects.extend(self.reply(waiter, Some(request), Ok(response.clone())));
                }
            }
        }
        effects.extend(self.on(id, Event::Received, cx));
        effects
    }

    /// Sends a ping to a client now. `waiter` is the control request that is answered with the
    /// round-trip time. Returns false if the client cannot be pinged now; then it is not answered.
    pub fn ping_for(&mut self, id: ClientId, waiter: (ClientId, u64), cx: &Cx<'_>) -> (bool, Effects) {
        let mut effects = Effects::new();
        let Some(connection) = self.connections.get_mut(&id) else { return (false, effects) };
        connection.ping_waiters.push(waiter);
        effects.extend(self.on(id, Event::PingRequested, cx));
        let Some(connection) = self.connections.get_mut(&id) else { return (true, effects) };
        if connection.ping_sent_at.is_some() {
            return (true, effects);
        }
        let waiting = connection.ping_waiters.len();
        connection.ping_waiters.retain(|known| *known != waiter);
        // A client that is polled is answered for at once.
        (connection.ping_waiters.len() == waiting, effects)
    }

    fn ping(&mut self, id: ClientId, cx: &Cx<'_>, effects: &mut Effects) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let earlier = connection.ping_sent_at.replace((cx.clock)());
        match &mut connection.transport {
            Transport::Wayland(transport) => {
                effects.push(Effect::SendFrames(id));
                transport.ping_target.take_if(|target| !target.is_alive());
                match &transport.ping_target {
                    None => {
                        self.unpinged.insert(id);
                        self.poll(id, cx, effects);
                    }
                    Some(target) if target.send_ping() => {}
                    Some(_) => {
                        // An earlier ping is not answered yet: its answer counts, and its time.
                        connection.ping_sent_at = earlier.or(connection.ping_sent_at);
                        debug!(client = %id, "an earlier ping is pending");
                    }
                }
            }
            Transport::Control(control) => {
                control.serial += 1;
                let ping = IpcEvent::Ping { serial: control.serial };
                effects.extend(self.send(id, &geom_ipc::ServerMessage::Event(ping)));
            }
        }
    }

    /// Checks a client that cannot be pinged: it is alive if its process runs and reads what it is
    /// sent. A process that has ended says nothing, because a child may have inherited the socket
    /// (as with wl-copy); then the socket's queue alone decides.
    fn poll(&mut self, id: ClientId, cx: &Cx<'_>, effects: &mut Effects) {
        let Some(connection) = self.connections.get(&id) else { return };
        let is_stopped = || self.process(id).is_some_and(|process| process.is_stopped());
        if connection.unread_bytes() == 0 && !is_stopped() {
            effects.extend(self.on_pong(id, cx));
        }
    }

    /// Sets a connection's next deadline after a change of its state.
    pub(super) fn set_deadline(&mut self, id: ClientId, cx: &Cx<'_>, effects: &mut Effects) {
        let Some(connection) = self.connections.get(&id) else { return };
        if connection.is_closing {
            return;
        }
        let timeouts = timeouts(connection, cx);
        let liveness = connection.state.deadline(&timeouts);
        let leaving = connection.leaving.map(|(_, at)| at);
        // A polled client that replies again sends nothing: it is polled again.
        let hangs = connection.is_unresponsive() && connection.needs_polling();
        let poll = hangs.then(|| cx.now + timeouts.interval);
        if let Some(at) = [liveness, leaving, connection.wait_until, poll].into_iter().flatten().min() {
            self.deadlines.at_latest(id, at);
            self.arm(effects);
        }
    }

    /// Arms the one timer of all connections for the earliest deadline.
    fn arm(&mut self, effects: &mut Effects) {
        let Some(next) = self.deadlines.next() else { return };
        if self.armed.is_none_or(|armed| next < armed) {
            self.armed = Some(next);
            effects.push(Effect::ArmDeadline(next));
        }
    }

    /// The timer of [`Effect::ArmDeadline`] is set. Returns the earlier one, to be cancelled.
    pub fn deadline_armed(&mut self, timer: Timer) -> Option<Timer> {
        self.timer.replace(timer)
    }

    /// Handles the time that [`Effect::ArmDeadline`] named.
    ///
    /// Deadlines are judged by the iteration's time, as liveness is. With a later look at the
    /// clock, a deadline in between would be taken, found not to be due, and put back, without end.
    pub fn deadlines_due(&mut self, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        (self.armed, self.timer) = (None, None);
        while let Some(id) = self.deadlines.pop(cx.now) {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            if connection.is_closing {
                continue;
            }
            if let Some((reason, _)) = connection.leaving.filter(|(_, at)| *at <= cx.now) {
                effects.extend(self.disconnect(id, reason, cx));
                continue;
            }
            if connection.wait_until.take_if(|until| *until <= cx.now).is_some() {
                effects.push(Effect::Redraw(id));
            }
            if connection.needs_polling() {
                self.poll(id, cx, &mut effects);
            }
            effects.extend(self.on(id, Event::Deadline, cx));
        }
        self.arm(&mut effects);
        effects
    }

    /// Returns the earliest deadline.
    #[cfg(test)]
    pub fn next_deadline(&self) -> Option<super::heartbeat::Time> {
        self.deadlines.next()
    }
}

/// Returns the timeouts of a connection: those of its application's rule, or else the common ones.
pub(super) fn timeouts(connection: &Connection, cx: &Cx<'_>) -> HeartbeatTimeouts {
    let app_id = match &connection.transport {
        Transport::Wayland(_) if !cx.config.rules.is_empty() => cx.windows.app_id(connection.id),
        Transport::Wayland(_) => None,
        Transport::Control(control) => Some(control.name.clone()),
    };
    let heartbeat = cx.config.heartbeat(app_id.as_deref());
    let is_control = matches!(connection.transport, Transport::Control(_));
    let gives_up = is_control || heartbeat.on_lost != UnresponsivePolicy::Wait;
    HeartbeatTimeouts {
        interval: heartbeat.interval,
        unresponsive: heartbeat.unresponsive,
        lost: gives_up.then_some(heartbeat.lost),
        pingable: match &connection.transport {
            // Without xdg_wm_base, the client is polled instead.
            Transport::Wayland(_) => true,
            Transport::Control(control) => control.is_open(),
        },
        handshake: is_control,
    }
}
