//! Accepting, refusing and announcing clients.

use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use geom_ipc::{ClientKind, CloseReason, ConnectionState, ErrorKind, ReplyResult};

use super::{notable, ClientsFixture, SECOND};
use crate::clients::heartbeat::Event;
use crate::clients::listen::{Listener, Listening};
use crate::clients::peer::Peer;
use crate::clients::{Clients, Effect, Effects, Sandbox};

const ANNOUNCE_DELAY: Duration = Duration::from_millis(100);

fn connected(effects: &Effects) -> Vec<u64> {
    let ids = effects.iter().filter_map(|effect| match effect {
        Effect::Connected(client) => Some(client.id),
        _ => None,
    });
    ids.collect()
}

#[test]
fn accepted_clients_are_watched_and_will_be_announced() {
    let mut world = ClientsFixture::new();
    let (wayland, _stream) = world.connect(ClientKind::Wayland);
    let announcement = Effect::ArmAnnouncement(world.now + ANNOUNCE_DELAY);
    assert_eq!(world.take_effects(), [announcement]);
    let (control, _peer) = world.raw_control();
    // It has to send something in time. One announcement is enough for both.
    let deadline = Effect::ArmDeadline(world.now + SECOND * 10);
    assert_eq!(world.take_effects(), [deadline, Effect::ReadControl(control)]);
    assert!(wayland.is_some_and(|wayland| wayland < control));
    assert_eq!(world.clients.len(), 2);
    let kinds: Vec<ClientKind> = world.clients.iter().map(|connection| connection.kind()).collect();
    assert_eq!(kinds, [ClientKind::Wayland, ClientKind::Control]);
    world.reap();
}

#[test]
fn refused_clients_get_the_reason_in_their_protocol() {
    let mut world = ClientsFixture::new();
    world.config.limits.per_process = 1;
    let (_first, _stream) = world.wayland();
    let (refused, mut stream) = world.connect(ClientKind::Wayland);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("closed");
    assert!(refused.is_none() && String::from_utf8_lossy(&bytes).contains("per_process"));
    let (refused, stream) = world.connect(ClientKind::Control);
    let mut peer = super::ControlPeer { stream, lines: geom_ipc::LineBuffer::default() };
    let Some(ReplyResult::Error(error)) = peer.replies().pop().map(|reply| reply.result) else {
        panic!("no reason")
    };
    assert!(refused.is_none() && error.kind == ErrorKind::OverLimit);
    assert!(error.message.contains("per_process") && peer.is_closed());
    assert_eq!((world.clients.len(), world.clients.refused()), (1, 2));
    world.reap();
}

#[test]
fn limit_is_free_again_after_a_disconnect() {
    let mut world = ClientsFixture::new();
    world.config.limits.per_process = 1;
    let (first, _stream) = world.wayland();
    assert!(world.connect(ClientKind::Wayland).0.is_none());
    world.run(|clients, cx| clients.disconnect(first, CloseReason::Requested, cx));
    world.reap();
    assert!(world.connect(ClientKind::Wayland).0.is_some_and(|id| id > first));
}

#[test]
fn clients_are_announced_in_order_after_their_first_round_trips() {
    let mut world = ClientsFixture::new();
    let (subscriber, _peer) = world.subscriber();
    let (first, _stream) = world.wayland();
    let (second, _stream) = world.wayland();
    let effects = world.take_effects();
    assert!(connected(&effects).is_empty());
    assert_eq!(effects, [Effect::ArmAnnouncement(world.now + ANNOUNCE_DELAY)]);
    world.now += ANNOUNCE_DELAY;
    world.run(Clients::announcement_due);
    let effects = world.take_effects();
    assert_eq!(connected(&effects), [u64::from(first), u64::from(second)]);
    let Some(Effect::Connected(client)) = effects.first() else { panic!("no event") };
    assert_eq!((client.pid, client.state), (std::process::id() as i32, ConnectionState::Alive));
    assert!(client.executable.is_some(), "the executable is known by then");
    // Not again.
    world.run(Clients::announce);
    assert_eq!(world.take_effects(), []);
    assert!(world.clients.get(subscriber).is_some());
}

#[test]
fn client_is_announced_before_another_event_about_it() {
    let mut world = ClientsFixture::new();
    let (_subscriber, _peer) = world.subscriber();
    let (first, _stream) = world.wayland();
    let (second, _stream) = world.wayland();
    world.take_effects();
    world.run(|clients, cx| clients.disconnect(second, CloseReason::Requested, cx));
    world.reap();
    let effects = notable(world.take_effects());
    assert_eq!(connected(&effects), [u64::from(first), u64::from(second)]);
    let reason = CloseReason::Requested;
    assert_eq!(effects.last(), Some(&Effect::Disconnected { id: second, reason }));
}

#[test]
fn nothing_is_described_without_subscribers() {
    let mut world = ClientsFixture::new();
    let (id, _stream) = world.wayland();
    world.run(Clients::announcement_due);
    world.on(id, Event::Broken);
    world.reap();
    let described = |effect: &Effect| matches!(effect, Effect::Connected(_) | Effect::StateChanged(_));
    assert!(!world.take_effects().iter().any(described));
}

/// A listening socket in a folder of its own.
fn listen(
    world: &mut ClientsFixture,
    sandbox: Option<Sandbox<'static>>,
) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let socket = UnixListener::bind(&path).expect("a socket");
    socket.set_nonblocking(true).expect("a socket option");
    let listener = Listener::Passed(socket);
    world.clients.listeners.push(Listening::new(listener, ClientKind::Wayland, sandbox));
    (folder, path)
}

fn accept_waiting(world: &mut ClientsFixture, iteration: u64) -> usize {
    let mut display = world.display.handle();
    let before = world.clients.len();
    let effects = world.with(|clients, cx| clients.accept_waiting(0, iteration, &mut display, cx));
    let accepted = world.clients.len() - before;
    let dispatches = effects.iter().filter(|effect| **effect == Effect::Dispatch).count();
    assert_eq!(dispatches, usize::from(accepted > 0));
    world.apply(effects);
    accepted
}

#[test]
fn one_client_is_accepted_at_first_and_many_if_they_keep_coming() {
    let mut world = ClientsFixture::new();
    world.config.limits.per_process = 1000;
    let (_folder, path) = listen(&mut world, None);
    let streams: Vec<UnixStream> = (0..70).map(|_| UnixStream::connect(&path).expect("connected")).collect();
    assert_eq!(accept_waiting(&mut world, 5), 1);
    assert_eq!(accept_waiting(&mut world, 6), 64);
    // An iteration without a waiting client lies between.
    assert_eq!(accept_waiting(&mut world, 8), 1);
    assert_eq!(accept_waiting(&mut world, 9), 4);
    assert_eq!(accept_waiting(&mut world, 10), 0);
    assert_eq!(world.clients.len(), streams.len());
    world.reap();
}

/// A client that connects again at once, however often it is refused, took a whole processor.
#[test]
fn socket_pauses_when_many_clients_are_refused() {
    let mut world = ClientsFixture::new();
    world.config.limits.per_process = 1;
    let (_folder, path) = listen(&mut world, None);
    let _streams: Vec<UnixStream> = (0..70).map(|_| UnixStream::connect(&path).expect("connected")).collect();
    assert_eq!((accept_waiting(&mut world, 5), world.clients.refused()), (1, 0));
    assert_eq!((accept_waiting(&mut world, 6), world.clients.refused()), (0, 16));
    let until = world.now + Duration::from_millis(10);
    let pause = Effect::PauseListener { index: 0, until };
    assert!(world.take_effects().contains(&pause));
    world.now = until + Duration::from_millis(1);
    assert_eq!((accept_waiting(&mut world, 7), world.clients.refused()), (0, 32));
    world.reap();
}

/// As those of geom-kiosk.socket.
#[test]
fn clients_of_a_sandbox_socket_are_in_its_sandbox() {
    let mut world = ClientsFixture::new();
    let sandbox = Sandbox { name: "geom-kiosk", is_admitted: true };
    let (_folder, path) = listen(&mut world, Some(sandbox));
    let _stream = UnixStream::connect(&path).expect("connected");
    assert_eq!(accept_waiting(&mut world, 1), 1);
    let contexts: Vec<_> = world.clients.iter().map(|connection| connection.context.as_deref()).collect();
    assert_eq!(contexts, [Some("geom-kiosk")]);
    world.reap();
}

/// Who may connect and read does not see what changes displays or takes input.
#[test]
fn clients_of_users_that_may_not_command_are_not_privileged() {
    use crate::clients::{ClientData, Ended};
    let process = |uid, groups: &[u32]| Peer {
        pid: 1,
        uid,
        gid: uid,
        groups: groups.to_vec(),
        process: None,
        executable: None,
    };
    let is_privileged = |peer: Peer, is_sandboxed| {
        let may_command = peer.may_command(500, Some(44));
        ClientData::new(1.into(), peer.uid, is_sandboxed, may_command, Ended::default()).is_privileged()
    };
    for (uid, groups, expected) in
        [(0, &[][..], true), (500, &[], true), (1000, &[44], true), (44, &[], true), (1000, &[45], false)]
    {
        assert_eq!(is_privileged(process(uid, groups), false), expected, "user {uid} of {groups:?}");
        assert!(!is_privileged(process(uid, groups), true), "user {uid} in a sandbox");
    }
}

/// A window of a user who may not command does not get what is typed into another user's.
#[test]
fn windows_take_the_keyboard_from_those_of_the_same_user_only() {
    use crate::clients::{ClientData, Ended};
    let client = |uid, may_command| ClientData::new(1.into(), uid, false, may_command, Ended::default());
    for (new, focused, expected) in [
        (client(0, true), client(1000, false), true),
        (client(1000, false), client(1000, false), true),
        (client(1000, false), client(1001, false), false),
        (client(1000, false), client(0, true), false),
    ] {
        assert_eq!(new.may_take_focus_from(&focused), expected, "{} from {}", new.uid, focused.uid);
    }
}
