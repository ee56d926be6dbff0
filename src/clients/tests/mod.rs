//! Tests of the component without a compositor: real sockets, and a Wayland library without
//! globals. Time is a number.

mod accept;
mod disconnect;
mod heartbeat;
mod property;
mod sessions;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use geom_ipc::{ClientKind, ConnectType, Event as IpcEvent, LineBuffer, Reply, ServerMessage};
use smithay::reexports::wayland_server::Display;

use super::heartbeat::{Event, Time};
use super::{invariants, ClientId, Clients, Cx, Effect, Effects, Windows};
use crate::config::ClientsConfig;

pub const SECOND: Duration = Duration::from_secs(1);

/// App ids of clients that have a window.
#[derive(Default)]
pub struct TestWindows(pub BTreeMap<ClientId, String>);

impl Windows for TestWindows {
    fn app_id(&self, id: ClientId) -> Option<String> {
        self.0.get(&id).cloned()
    }

    fn has_toplevel(&self, id: ClientId) -> bool {
        self.0.contains_key(&id)
    }
}

/// The component and what it needs of the compositor.
pub struct ClientsFixture {
    pub clients: Clients,
    display: Display<()>,
    pub config: ClientsConfig,
    pub connect_type: ConnectType,
    pub now: Time,
    pub windows: TestWindows,
    /// All effects since the last [`ClientsFixture::take_effects`].
    effects: Effects,
}

impl ClientsFixture {
    pub fn new() -> Self {
        let display = Display::new().expect("an epoll");
        let mut clients = Clients::default();
        clients.attach(&display.handle());
        Self {
            clients,
            display,
            config: ClientsConfig::default(),
            connect_type: ConnectType::default(),
            now: SECOND * 1000,
            windows: TestWindows::default(),
            effects: Effects::new(),
        }
    }

    /// Calls the component.
    pub fn with<T>(&mut self, call: impl FnOnce(&mut Clients, &Cx<'_>) -> T) -> T {
        let now = self.now;
        let clock = || now;
        let cx = Cx {
            now,
            clock: &clock,
            config: &self.config,
            connect_type: self.connect_type,
            windows: &self.windows,
        };
        call(&mut self.clients, &cx)
    }

    /// Calls the component and applies its effects.
    pub fn run(&mut self, call: impl FnOnce(&mut Clients, &Cx<'_>) -> Effects) {
        let effects = self.with(call);
        self.apply(effects);
    }

    /// Does what the compositor does about effects, as far as the component depends on it.
    pub fn apply(&mut self, effects: Effects) {
        for effect in effects {
            if effect == Effect::Dispatch {
                self.dispatch();
            }
            self.effects.push(effect);
        }
    }

    /// Returns the effects since the last call, in order.
    pub fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// Ends an iteration of the event loop.
    pub fn reap(&mut self) {
        self.dispatch();
        self.run(Clients::reap);
        assert_eq!(invariants::check(&self.clients), Ok(()));
    }

    pub fn on(&mut self, id: ClientId, event: Event) {
        self.run(|clients, cx| clients.on(id, event, cx));
    }

    /// Lets time pass, with all deadlines on the way.
    pub fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.clients.armed.filter(|deadline| *deadline <= end) {
            self.now = deadline.max(self.now);
            self.run(Clients::deadlines_due);
            self.reap();
        }
        self.now = end;
    }

    /// Connects a client. Returns its end of the socket, and its id if it is accepted.
    pub fn connect(&mut self, kind: ClientKind) -> (Option<ClientId>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        for stream in [&ours, &theirs] {
            stream.set_nonblocking(true).expect("a socket option");
        }
        let mut display = self.display.handle();
        let (id, effects) = self.with(|clients, cx| clients.accept(ours, kind, None, &mut display, cx));
        self.apply(effects);
        (id, theirs)
    }

    /// Connects a Wayland client that has sent a request.
    pub fn wayland(&mut self) -> (ClientId, UnixStream) {
        let (id, stream) = self.connect(ClientKind::Wayland);
        let id = id.expect("accepted");
        self.on(id, Event::Received);
        (id, stream)
    }

    /// Connects a control client that has sent `hello`.
    pub fn control(&mut self, connect_type: ConnectType) -> (ClientId, ControlPeer) {
        let (id, peer) = self.raw_control();
        self.on(id, Event::Received);
        self.clients.set_greeted(id, "test".into(), Some(connect_type));
        (id, peer)
    }

    /// Connects a control client.
    pub fn raw_control(&mut self) -> (ClientId, ControlPeer) {
        let (id, stream) = self.connect(ClientKind::Control);
        (id.expect("accepted"), ControlPeer { stream, lines: LineBuffer::default() })
    }

    /// Connects a control client that gets all events.
    pub fn subscriber(&mut self) -> (ClientId, ControlPeer) {
        let (id, peer) = self.control(ConnectType::default());
        self.clients.subscribe(id, true);
        self.run(Clients::announcement_due);
        self.take_effects();
        (id, peer)
    }

    /// Reads what Wayland clients have sent.
    pub fn dispatch(&mut self) {
        self.display.dispatch_clients(&mut ()).expect("dispatched");
        self.run(Clients::dispatched);
    }

    pub fn token(&mut self, id: ClientId) -> String {
        self.clients.control(id).expect("a control client").token.clone()
    }
}

/// The other end of a control client's socket.
pub struct ControlPeer {
    pub stream: UnixStream,
    lines: LineBuffer,
}

impl ControlPeer {
    /// Returns the messages that have arrived.
    pub fn messages(&mut self) -> Vec<ServerMessage> {
        let mut buffer = [0; 1 << 16];
        while let Ok(count) = self.stream.read(&mut buffer) {
            if count == 0 {
                break;
            }
            self.lines.extend(&buffer[..count]);
        }
        let mut messages = Vec::new();
        while let Ok(Some(line)) = self.lines.next_line() {
            messages.push(ServerMessage::parse(&line).expect("a message"));
        }
        messages
    }

    /// Returns the replies that have arrived; drops events.
    pub fn replies(&mut self) -> Vec<Reply> {
        let replies = self.messages().into_iter().filter_map(|message| match message {
            ServerMessage::Reply(reply) => Some(reply),
            ServerMessage::Event(_) => None,
        });
        replies.collect()
    }

    /// Returns the events that have arrived; drops replies.
    pub fn events(&mut self) -> Vec<IpcEvent> {
        let events = self.messages().into_iter().filter_map(|message| match message {
            ServerMessage::Event(event) => Some(event),
            ServerMessage::Reply(_) => None,
        });
        events.collect()
    }

    pub fn send(&mut self, line: &str) {
        writeln!(self.stream, "{line}").expect("sent");
    }

    /// Returns whether the service has closed the connection.
    pub fn is_closed(&mut self) -> bool {
        self.messages();
        matches!(self.stream.read(&mut [0; 1]), Ok(0))
    }
}

/// Returns the effects without those about timers and globals, which most changes have.
pub fn notable(effects: Effects) -> Effects {
    let is_notable = |effect: &Effect| {
        !matches!(effect, Effect::ArmDeadline(_) | Effect::ArmAnnouncement(_) | Effect::CheckDisabledGlobals)
    };
    effects.into_iter().filter(is_notable).collect()
}
