//! Pings, pongs, and clients that do not reply.

use std::cell::Cell;
use std::io::Read;
use std::rc::Rc;
use std::time::Duration;

use geom_ipc::{CloseReason, ConnectType, ConnectionState, Event as IpcEvent, ReplyResult, Response};

use super::{notable, ClientsFixture, SECOND};
use crate::clients::connection::PingTarget;
use crate::clients::heartbeat::Event;
use crate::clients::{ClientId, Clients, Effect, Effects};
use crate::config::UnresponsivePolicy;

/// An xdg_wm_base of a test.
#[derive(Clone, Default)]
struct TestTarget {
    pings: Rc<Cell<u32>>,
    is_pending: Rc<Cell<bool>>,
    is_dead: Rc<Cell<bool>>,
}

impl PingTarget for TestTarget {
    fn is_alive(&self) -> bool {
        !self.is_dead.get()
    }

    fn send_ping(&self) -> bool {
        self.pings.set(self.pings.get() + 1);
        !self.is_pending.replace(true)
    }
}

/// Connects a Wayland client with an app id that can be pinged.
fn pingable(
    world: &mut ClientsFixture,
    app_id: &str,
) -> (ClientId, TestTarget, std::os::unix::net::UnixStream) {
    let (id, stream) = world.wayland();
    let target = TestTarget::default();
    let boxed = Box::new(target.clone());
    let mut effects = Effects::new();
    world.with(|clients, cx| clients.set_ping_target(id, boxed, cx, &mut effects));
    world.apply(effects);
    world.windows.0.insert(id, app_id.into());
    world.run(Clients::announcement_due);
    world.take_effects();
    (id, target, stream)
}

fn state(world: &ClientsFixture, id: ClientId) -> Option<ConnectionState> {
    world.clients.get(id).map(|connection| connection.ipc_state())
}

/// Sets the policy for all applications.
fn set_policy(world: &mut ClientsFixture, policy: UnresponsivePolicy) {
    let name: &'static str = policy.into();
    let text = format!("[clients]\non_lost = {name:?}\n");
    let (config, problems) = crate::config::parse(std::path::Path::new("test.toml"), &text);
    assert!(problems.is_empty());
    world.config = config.expect("valid").clients;
}

#[test]
fn busy_client_costs_no_allocation_and_no_timer() {
    let mut world = ClientsFixture::new();
    let (id, target, _stream) = pingable(&mut world, "app");
    for _ in 0..100 {
        world.now += SECOND;
        let effects = world.with(|clients, cx| clients.on(id, Event::Received, cx));
        assert_eq!(effects.capacity(), 0);
    }
    assert_eq!(target.pings.get(), 0);
    // The deadline that was set at first comes, and moves.
    world.run(Clients::deadlines_due);
    assert_eq!(target.pings.get(), 0);
    assert!(matches!(world.take_effects()[..], [Effect::ArmDeadline(at)] if at > world.now));
}

#[test]
fn idle_control_client_is_pinged_and_its_pong_is_measured() {
    let mut world = ClientsFixture::new();
    let (id, mut peer) = world.control(ConnectType::default());
    world.advance(SECOND * 11);
    assert_eq!(peer.events(), [IpcEvent::Ping { serial: 1 }]);
    let sent_at = world.clients.get(id).and_then(|connection| connection.ping_sent_at);
    world.now += Duration::from_millis(5);
    world.run(|clients, cx| clients.on_pong(id, cx));
    let rtt = world.clients.get(id).and_then(|connection| connection.rtt).map(|rtt| rtt.last);
    assert_eq!(rtt, sent_at.map(|sent_at| (world.now - sent_at).as_micros() as u64));
    assert_eq!(state(&world, id), Some(ConnectionState::Alive));
    world.advance(SECOND * 11);
    assert_eq!(peer.events(), [IpcEvent::Ping { serial: 2 }]);
}

#[test]
fn client_that_does_not_reply_is_unresponsive_until_it_does() {
    let mut world = ClientsFixture::new();
    let (_subscriber, _peer) = world.subscriber();
    let (id, target, _stream) = pingable(&mut world, "app");
    world.advance(SECOND * 21);
    assert_eq!(target.pings.get(), 1);
    let effects = notable(world.take_effects());
    let frames = effects.iter().filter(|effect| **effect == Effect::SendFrames(id)).count();
    assert_eq!(frames, 1, "with the ping, which the client may read only after them");
    // The subscriber does not reply either, and connected before.
    let effects = effects.into_iter().filter(|effect| *effect != Effect::SendFrames(id));
    let effects = effects.collect::<Effects>().split_off(3);
    let [Effect::WithholdPointer(one), Effect::Redraw(two), Effect::StateChanged(client)] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!((*one, *two, client.id), (id, id, u64::from(id)));
    assert_eq!(client.state, ConnectionState::Unresponsive);
    // The policy waits without end.
    world.advance(SECOND * 1000);
    assert_eq!(state(&world, id), Some(ConnectionState::Unresponsive));
    world.take_effects();
    world.on(id, Event::Received);
    let effects = world.take_effects();
    let [Effect::CheckDisabledGlobals, Effect::Redraw(one), Effect::StateChanged(client), Effect::ArmDeadline(_)] =
        &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!((*one, client.state), (id, ConnectionState::Alive));
}

fn accepts_key(world: &mut ClientsFixture, id: ClientId) -> bool {
    let (accepts, effects) = world.with(|clients, cx| clients.accepts_key(id, cx));
    world.apply(effects);
    accepts
}

fn accepts_input(world: &mut ClientsFixture, id: ClientId) -> bool {
    let (accepts, effects) = world.with(|clients, cx| clients.accepts_input(id, cx));
    world.apply(effects);
    accepts
}

/// A busy client is not unresponsive yet, and may be sent more than a socket holds.
#[test]
fn input_is_withheld_until_the_client_reads() {
    let mut world = ClientsFixture::new();
    let (id, _target, mut stream) = pingable(&mut world, "app");
    assert!(accepts_input(&mut world, id) && accepts_key(&mut world, id));
    world.take_effects();
    // Replies that it does not read.
    let sync = [1u32, 12 << 16, 2].map(u32::to_ne_bytes).concat();
    let mut sent = 0;
    while accepts_input(&mut world, id) {
        std::io::Write::write_all(&mut stream, &sync).expect("wl_display.sync");
        world.dispatch();
        world.display.flush_clients().expect("flushed");
        sent += 1;
        assert!(sent < 1000, "the socket has no limit");
    }
    assert!(!accepts_key(&mut world, id) && !accepts_input(&mut world, id));
    let [Effect::ArmWithheldInput { id: armed, at }] = notable(world.take_effects())[..] else {
        panic!("one timer")
    };
    assert_eq!(armed, id);
    // It has not read yet.
    world.now = at;
    world.run(|clients, cx| clients.withheld_input_due(id, cx));
    assert!(matches!(notable(world.take_effects())[..], [Effect::ArmWithheldInput { .. }]));
    let mut events = [0; 1 << 12];
    while stream.read(&mut events).is_ok_and(|count| count > 0) {}
    world.run(|clients, cx| clients.withheld_input_due(id, cx));
    assert_eq!(notable(world.take_effects()), [Effect::ResendPointer(id), Effect::ResendKeyboard(id)]);
    assert!(accepts_input(&mut world, id) && accepts_key(&mut world, id));
}

#[test]
fn few_keys_are_sent_to_an_unresponsive_client() {
    let mut world = ClientsFixture::new();
    let (id, _target, _stream) = pingable(&mut world, "app");
    assert!((0..1000).all(|_| accepts_key(&mut world, id)));
    world.advance(SECOND * 21);
    assert_eq!((0..1000).filter(|_| accepts_key(&mut world, id)).count(), 256);
    world.take_effects();
    world.on(id, Event::Received);
    let effects = notable(world.take_effects());
    assert_eq!(effects, [Effect::ResendKeyboard(id), Effect::Redraw(id)]);
    assert!(accepts_key(&mut world, id));
    // If no key was dropped, the keyboard's state is known to the client.
    world.advance(SECOND * 21);
    assert!(accepts_key(&mut world, id));
    world.take_effects();
    world.on(id, Event::Received);
    assert_eq!(notable(world.take_effects()), [Effect::Redraw(id)]);
}

#[test]
fn choice_to_wait_hides_the_dialog_for_a_while() {
    let mut world = ClientsFixture::new();
    let (id, _target, _stream) = pingable(&mut world, "app");
    world.advance(SECOND * 21);
    world.take_effects();
    world.run(|clients, cx| clients.extend_wait(id, cx));
    assert_eq!(notable(world.take_effects()), [Effect::Redraw(id)]);
    let is_hidden = |world: &ClientsFixture| {
        world.clients.get(id).is_some_and(|connection| connection.wait_until.is_some())
    };
    world.advance(SECOND * 9);
    assert!(is_hidden(&world) && notable(world.take_effects()).is_empty());
    world.advance(SECOND);
    assert!(!is_hidden(&world));
    assert_eq!(notable(world.take_effects()), [Effect::Redraw(id)]);
}

#[test]
fn policy_decides_about_a_lost_client() {
    for policy in [UnresponsivePolicy::Wait, UnresponsivePolicy::Close, UnresponsivePolicy::Kill] {
        let mut world = ClientsFixture::new();
        set_policy(&mut world, policy);
        let (id, _target, _stream) = pingable(&mut world, "app");
        world.advance(SECOND * 21);
        world.take_effects();
        world.advance(SECOND * 60);
        let effects = notable(world.take_effects());
        let end = Effect::Disconnected { id, reason: CloseReason::HeartbeatTimeout };
        let expected: Vec<Effect> = match policy {
            UnresponsivePolicy::Wait => Vec::new(),
            UnresponsivePolicy::Close => vec![end],
            UnresponsivePolicy::Kill => vec![Effect::KillProcess(id), end],
        };
        assert_eq!(effects, expected, "{policy:?}");
        assert_eq!(world.clients.is_empty(), policy != UnresponsivePolicy::Wait);
    }
}

#[test]
fn rule_for_an_application_goes_before_the_common_times() {
    let mut world = ClientsFixture::new();
    let text = "[[clients.rules]]\napp_id = \"slow*\"\ninterval = 100\n";
    let (config, _) = crate::config::parse(std::path::Path::new("test.toml"), text);
    world.config = config.expect("valid").clients;
    let (_slow, slow, _stream) = pingable(&mut world, "slow-app");
    let (_other, other, _stream) = pingable(&mut world, "app");
    world.advance(SECOND * 15);
    assert_eq!((slow.pings.get(), other.pings.get()), (0, 1));
    world.advance(SECOND * 95);
    assert_eq!(slow.pings.get(), 1);
}

#[test]
fn pending_ping_keeps_its_time() {
    let mut world = ClientsFixture::new();
    let (id, target, _stream) = pingable(&mut world, "app");
    world.advance(SECOND * 11);
    let sent_at = world.clients.get(id).and_then(|connection| connection.ping_sent_at);
    assert!(sent_at.is_some());
    // It sends something else, is idle again, and is pinged again: the library refuses that.
    world.on(id, Event::Received);
    world.advance(SECOND * 12);
    assert_eq!(target.pings.get(), 2);
    let connection = world.clients.get(id).expect("connected");
    assert_eq!(connection.ping_sent_at, sent_at);
    let newest = world.now;
    assert!(!connection.has_acked(newest));
    world.run(|clients, cx| clients.on_pong(id, cx));
    let connection = world.clients.get(id).expect("connected");
    assert!(sent_at.is_some_and(|sent_at| connection.has_acked(sent_at)));
    assert!(!connection.has_acked(newest));
}

#[test]
fn client_that_cannot_be_pinged_is_polled() {
    let mut world = ClientsFixture::new();
    let (id, mut stream) = world.wayland();
    world.advance(SECOND * 100);
    assert_eq!(state(&world, id), Some(ConnectionState::Alive));
    // Its socket has bytes that it does not read.
    let request = [1u32, 12 << 16, 2].map(u32::to_ne_bytes).concat();
    std::io::Write::write_all(&mut stream, &request).expect("wl_display.sync");
    world.dispatch();
    world.display.flush_clients().expect("flushed");
    assert!(world.clients.get(id).is_some_and(|connection| connection.unread_bytes() > 0));
    world.advance(SECOND * 30);
    assert_eq!(state(&world, id), Some(ConnectionState::Unresponsive));
    stream.read_exact(&mut [0; 1]).expect("readable");
    let mut rest = [0; 64];
    while stream.read(&mut rest).is_ok_and(|count| count > 0) {}
    world.advance(SECOND * 11);
    assert_eq!(state(&world, id), Some(ConnectionState::Alive));
}

#[test]
fn destroyed_ping_target_makes_a_client_polled() {
    let mut world = ClientsFixture::new();
    let (id, target, _stream) = pingable(&mut world, "app");
    target.is_dead.set(true);
    world.advance(SECOND * 100);
    assert_eq!((target.pings.get(), state(&world, id)), (0, Some(ConnectionState::Alive)));
    world.reap();
}

#[test]
fn requested_ping_is_answered_once() {
    let mut world = ClientsFixture::new();
    let (control, mut peer) = world.control(ConnectType::default());
    let (id, _target, _stream) = pingable(&mut world, "app");
    let ping = |world: &mut ClientsFixture, client: ClientId, number: u64| {
        let (is_pinged, effects) = world.with(|clients, cx| clients.ping_for(client, (control, number), cx));
        world.apply(effects);
        is_pinged
    };
    assert!(ping(&mut world, id, 7) && peer.replies().is_empty());
    // A second request waits for the same pong.
    assert!(ping(&mut world, id, 8));
    world.now += Duration::from_millis(3);
    world.run(|clients, cx| clients.on_pong(id, cx));
    let replies = peer.replies();
    let numbers: Vec<Option<u64>> = replies.iter().map(|reply| reply.id).collect();
    assert_eq!(numbers, [Some(7), Some(8)]);
    let pong = ReplyResult::Response(Response::Pong { rtt_us: 3000 });
    assert!(replies.iter().all(|reply| reply.result == pong));
    // A polled client is answered for, once.
    let (polled, _stream) = world.wayland();
    assert!(ping(&mut world, polled, 9));
    assert_eq!(peer.replies().len(), 1);
    // A client that has not sent anything cannot be pinged.
    let (raw, _raw) = world.raw_control();
    assert!(!ping(&mut world, raw, 10) && peer.replies().is_empty());
}

/// The sender of each request is known, however many clients send at once.
#[test]
fn senders_are_distinguished() {
    let mut world = ClientsFixture::new();
    let mut clients: Vec<_> = (0..20).map(|_| world.wayland()).collect();
    world.advance(SECOND * 5);
    let sync = [1u32, 12 << 16, 2].map(u32::to_ne_bytes).concat();
    for (_, stream) in clients.iter_mut().step_by(2) {
        std::io::Write::write_all(stream, &sync).expect("wl_display.sync");
    }
    world.dispatch();
    for (index, (id, _)) in clients.iter().enumerate() {
        let state = world.clients.get(*id).expect("connected").state;
        let expected = if index % 2 == 0 { Duration::ZERO } else { SECOND * 5 };
        let idle = state.last_received().map(|time| world.now - time);
        assert_eq!(idle, Some(expected), "client {index}");
    }
    assert_eq!(world.clients.current(), None);
}

/// libwayland reports malformed messages itself; wayland-backend does not report that end at all.
#[test]
fn protocol_error_ends_the_connection_with_its_reason() {
    let mut world = ClientsFixture::new();
    let (id, mut stream) = world.wayland();
    let (other, _other_stream) = world.wayland();
    world.take_effects();
    // wl_display has no request 7.
    let invalid = [1u32, 8 << 16 | 7].map(u32::to_ne_bytes).concat();
    std::io::Write::write_all(&mut stream, &invalid).expect("a message");
    world.reap();
    let reason = CloseReason::ProtocolError;
    assert_eq!(notable(world.take_effects()), [Effect::Disconnected { id, reason }]);
    assert!(world.clients.get(id).is_none() && world.clients.get(other).is_some());
    // The client learns what was wrong.
    let mut message = Vec::new();
    stream.read_to_end(&mut message).expect("the error, then the end");
    assert!(message.windows(6).any(|part| part == b"method"), "{message:?}");
}
