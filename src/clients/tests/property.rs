//! Any order of events keeps the invariants.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use geom_ipc::{ClientKind, CloseReason, ConnectType};
use proptest::prelude::*;

use super::{ClientsFixture, ControlPeer};
use crate::clients::heartbeat::Event;
use crate::clients::{invariants, ClientId, Clients, Effect, Effects};
use crate::config::UnresponsivePolicy;

/// What happens. Numbers choose a client, modulo their count.
#[derive(Debug, Clone)]
enum Step {
    ConnectWayland,
    ConnectControl(u32),
    /// A control client that does not say hello.
    ConnectRaw,
    Subscribe(usize),
    Receive(usize),
    Pong(usize),
    RequestPing(usize, usize),
    Wait(usize),
    Break(usize),
    Resume(usize, usize),
    RequestClose(usize),
    Disconnect(usize),
    Remove(usize),
    MapWindow(usize),
    Publish,
    Announce,
    Pass(u64),
    ShutDown,
}

fn step() -> impl Strategy<Value = Step> {
    let any = || any::<usize>();
    prop_oneof![
        4 => Just(Step::ConnectWayland),
        4 => (1u32..4).prop_map(Step::ConnectControl),
        1 => Just(Step::ConnectRaw),
        2 => any().prop_map(Step::Subscribe),
        6 => any().prop_map(Step::Receive),
        3 => any().prop_map(Step::Pong),
        2 => (any(), any()).prop_map(|(one, other)| Step::RequestPing(one, other)),
        1 => any().prop_map(Step::Wait),
        3 => any().prop_map(Step::Break),
        3 => (any(), any()).prop_map(|(one, other)| Step::Resume(one, other)),
        1 => any().prop_map(Step::RequestClose),
        1 => any().prop_map(Step::Disconnect),
        1 => any().prop_map(Step::Remove),
        2 => any().prop_map(Step::MapWindow),
        1 => Just(Step::Publish),
        1 => Just(Step::Announce),
        6 => (0u64..40_000).prop_map(Step::Pass),
        1 => prop::sample::select(vec![Step::Publish, Step::Publish, Step::ShutDown]),
    ]
}

/// Sockets must stay open for as long as their clients are to live.
enum Peer {
    Wayland(#[allow(dead_code)] UnixStream),
    Control(ControlPeer),
}

#[derive(Default)]
struct Run {
    peers: Vec<Peer>,
    tokens: Vec<String>,
    /// Clients whose connect was published.
    connected: BTreeSet<u64>,
    disconnected: BTreeSet<u64>,
}

fn nth(world: &ClientsFixture, number: usize) -> Option<ClientId> {
    let ids: Vec<ClientId> = world.clients.iter().map(|connection| connection.id).collect();
    ids.get(number.checked_rem(ids.len())?).copied()
}

fn is_control(world: &ClientsFixture, id: ClientId) -> bool {
    world.clients.get(id).is_some_and(|connection| connection.kind() == ClientKind::Control)
}

impl Run {
    fn connect(&mut self, world: &mut ClientsFixture, connect_type: Option<ConnectType>) {
        let (id, stream) = world.connect(ClientKind::Control);
        self.peers.push(Peer::Control(ControlPeer { stream, lines: geom_ipc::LineBuffer::default() }));
        let Some(id) = id else { return };
        if connect_type.is_some() {
            world.on(id, Event::Received);
            world.clients.set_greeted(id, "test".into(), connect_type);
            self.tokens.push(world.token(id));
        }
    }

    fn step(&mut self, world: &mut ClientsFixture, step: Step) {
        match step {
            Step::ConnectWayland => {
                let (id, stream) = world.connect(ClientKind::Wayland);
                self.peers.push(Peer::Wayland(stream));
                if let Some(id) = id {
                    world.on(id, Event::Received);
                }
                return;
            }
            Step::ConnectControl(bits) => {
                return self.connect(world, Some(ConnectType::from_bits_truncate(bits)));
            }
            Step::ConnectRaw => return self.connect(world, None),
            Step::Publish => {
                let event = geom_ipc::Event::ConfigApplied;
                return world.run(|clients, _| clients.publish(&event));
            }
            Step::Announce => return world.run(Clients::announcement_due),
            Step::Pass(millis) => return world.advance(Duration::from_millis(millis)),
            Step::ShutDown => return world.run(Clients::shut_down),
            _ => {}
        }
        let number = match &step {
            Step::Subscribe(number)
            | Step::Receive(number)
            | Step::Pong(number)
            | Step::RequestPing(number, _)
            | Step::Wait(number)
            | Step::Break(number)
            | Step::Resume(number, _)
            | Step::RequestClose(number)
            | Step::Disconnect(number)
            | Step::Remove(number)
            | Step::MapWindow(number) => *number,
            _ => 0,
        };
        let Some(id) = nth(world, number) else { return };
        match step {
            Step::Subscribe(_) if is_control(world, id) => world.clients.subscribe(id, true),
            Step::Receive(_) => world.on(id, Event::Received),
            Step::Pong(_) => world.run(|clients, cx| clients.on_pong(id, cx)),
            Step::RequestPing(_, other) => {
                let Some(other) = nth(world, other) else { return };
                let effects = world.with(|clients, cx| clients.ping_for(other, (id, 1), cx)).1;
                world.apply(effects);
            }
            Step::Wait(_) => world.run(|clients, cx| clients.extend_wait(id, cx)),
            Step::Break(_) if is_control(world, id) => {
                world.run(|clients, cx| clients.broken(id, cx));
            }
            Step::Resume(_, token) if is_control(world, id) => {
                let Some(index) = token.checked_rem(self.tokens.len()) else { return };
                let token = self.tokens[index].clone();
                let is_open = world.clients.control(id).is_some_and(|control| control.is_open());
                if is_open {
                    let mut effects = Effects::new();
                    let _ = world.with(|clients, cx| clients.resume(id, &token, cx, &mut effects));
                    world.apply(effects);
                }
            }
            Step::RequestClose(_) => {
                world.run(|clients, cx| clients.request_close(id, CloseReason::Requested, cx));
            }
            Step::Disconnect(_) => {
                world.run(|clients, cx| clients.disconnect(id, CloseReason::Requested, cx));
            }
            Step::Remove(_) if is_control(world, id) => {
                world.run(|clients, cx| clients.remove(id, CloseReason::ClientClosed, cx));
            }
            Step::MapWindow(_) if !is_control(world, id) => {
                world.windows.0.insert(id, "app".into());
            }
            _ => {}
        }
    }

    /// Checks that clients connect and disconnect once, and that nothing follows the disconnect.
    fn check(&mut self, effects: Effects) -> Result<(), TestCaseError> {
        for effect in effects {
            match effect {
                Effect::Connected(client) => {
                    prop_assert!(self.connected.insert(client.id), "a client connects once");
                    prop_assert!(!self.disconnected.contains(&client.id));
                }
                Effect::StateChanged(client) => {
                    prop_assert!(!self.disconnected.contains(&client.id));
                }
                Effect::Disconnected { id, .. } => {
                    prop_assert!(self.disconnected.insert(id.into()), "a client disconnects once");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn invariants_hold_for_any_order_of_events(
        steps in prop::collection::vec(step(), 1..80),
        policy in prop::sample::select(vec![
            UnresponsivePolicy::Wait, UnresponsivePolicy::Close, UnresponsivePolicy::Kill,
        ]),
    ) {
        let mut world = ClientsFixture::new();
        let name: &'static str = policy.into();
        let text = format!("[clients]\non_lost = {name:?}\nper_process = 20\n");
        let (config, _) = crate::config::parse(std::path::Path::new("test.toml"), &text);
        world.config = config.expect("valid").clients;
        let mut run = Run::default();
        for step in steps {
            run.step(&mut world, step);
            world.reap();
            prop_assert_eq!(invariants::check(&world.clients), Ok(()));
            run.check(world.take_effects())?;
            for peer in &mut run.peers {
                if let Peer::Control(peer) = peer {
                    peer.messages();
                }
            }
        }
        world.run(Clients::disconnect_all);
        world.reap();
        run.check(world.take_effects())?;
        prop_assert!(world.clients.is_quiet());
        prop_assert!(!world.clients.has_subscribers());
    }
}
