//! Control sessions: kept and resumed, limited, saved.

use geom_ipc::{ClientKind, CloseReason, ConnectType, Event as IpcEvent, Response};

use super::{ClientsFixture, SECOND};
use crate::clients::control_connection::Incoming;
use crate::clients::heartbeat::Event;
use crate::clients::sessions::{ResumeError, MAX_LOST_SESSIONS, MAX_LOST_SESSIONS_PER_USER};
use crate::clients::{ClientId, Clients, Effect, Effects};

const ONCE: ConnectType = ConnectType::DISCONNECT_ONCE;
const KEEP: ConnectType = ConnectType::KEEP_CONNECTION_OPEN;

fn resume(world: &mut ClientsFixture, id: ClientId, token: &str) -> Result<ClientId, ResumeError> {
    let mut effects = Effects::new();
    let result = world.with(|clients, cx| clients.resume(id, token, cx, &mut effects));
    world.apply(effects);
    world.reap();
    result
}

#[test]
fn connection_type_decides_whether_a_session_is_kept() {
    for (connect_type, survives) in
        [(ONCE, vec![false]), (KEEP, vec![true, true, true]), (ONCE | KEEP, vec![true, false])]
    {
        let mut world = ClientsFixture::new();
        let (session, mut peer) = world.control(connect_type);
        let token = world.token(session);
        for survived in survives {
            drop(peer);
            world.run(|clients, cx| clients.broken(session, cx));
            world.reap();
            assert_eq!(world.clients.get(session).is_some(), survived, "{connect_type}");
            let (id, next) = world.control(KEEP);
            let resumed = resume(&mut world, id, &token);
            assert_eq!(resumed, if survived { Ok(session) } else { Err(ResumeError::Unknown) });
            // The connection that brought the socket is gone; or it stays, for a new session.
            assert_eq!(world.clients.get(id).is_some(), !survived);
            peer = next;
        }
    }
}

#[test]
fn silent_control_client_loses_its_session() {
    let mut world = ClientsFixture::new();
    let (session, mut peer) = world.control(KEEP);
    world.advance(SECOND * 200);
    assert!(world.clients.get(session).is_some_and(|connection| connection.is_lost()));
    assert_eq!(peer.events(), [IpcEvent::Ping { serial: 1 }]);
    assert!(peer.is_closed());
    // A client that does not even say hello has no session.
    let (raw, mut peer) = world.raw_control();
    world.advance(SECOND * 11);
    let goodbye = IpcEvent::Goodbye { reason: CloseReason::HeartbeatTimeout };
    assert!(world.clients.get(raw).is_none() && peer.events() == [goodbye]);
}

#[test]
fn client_may_return_before_its_old_socket_is_seen_to_break() {
    let mut world = ClientsFixture::new();
    let (session, mut old) = world.control(KEEP);
    let token = world.token(session);
    let (id, mut peer) = world.control(KEEP);
    assert_eq!(resume(&mut world, id, &token), Ok(session));
    assert!(old.is_closed());
    world.apply(Effects::new());
    world.run(|clients, _| clients.reply(session, Some(4), Ok(Response::Done)));
    assert_eq!(peer.replies().len(), 1);
    // With a type that allows no second disconnect, this one is final.
    let (session, _old) = world.control(ONCE);
    let token = world.token(session);
    let (id, _peer) = world.control(KEEP);
    assert_eq!(resume(&mut world, id, &token), Err(ResumeError::Final));
    assert!(world.clients.get(id).is_some());
}

#[test]
fn subscription_and_received_requests_survive() {
    let mut world = ClientsFixture::new();
    let (session, peer) = world.subscriber();
    let token = world.token(session);
    drop(peer);
    world.run(|clients, cx| clients.broken(session, cx));
    let (id, mut peer) = world.control(KEEP);
    peer.send("first");
    peer.send("second");
    let control = world.clients.control(id).expect("a control client");
    assert!(matches!(control.read_line(), Incoming::Line(line) if line == b"first"));
    assert_eq!(resume(&mut world, id, &token), Ok(session));
    let control = world.clients.control(session).expect("a control client");
    assert!(matches!(control.read_line(), Incoming::Line(line) if line == b"second"));
    peer.messages();
    world.run(|clients, _| clients.publish(&IpcEvent::ConfigApplied));
    assert_eq!(peer.events(), [IpcEvent::ConfigApplied]);
}

#[test]
fn unknown_token_resumes_nothing() {
    let mut world = ClientsFixture::new();
    let (_session, _peer) = world.control(KEEP);
    let (id, _other) = world.control(KEEP);
    assert_eq!(resume(&mut world, id, "guessed"), Err(ResumeError::Unknown));
    // Its own token names no other session.
    let own = world.token(id);
    assert_eq!(resume(&mut world, id, &own), Err(ResumeError::Unknown));
    assert_eq!(world.clients.len(), 2);
}

#[test]
fn session_that_was_lost_first_is_removed_over_the_limit() {
    let mut world = ClientsFixture::new();
    world.config.limits.per_process = 1000;
    let mut sessions = Vec::new();
    for _ in 0..MAX_LOST_SESSIONS_PER_USER + 1 {
        let (id, _peer) = world.control(KEEP);
        world.now += SECOND;
        world.run(|clients, cx| clients.broken(id, cx));
        world.reap();
        sessions.push(id);
    }
    assert_eq!(world.clients.len(), MAX_LOST_SESSIONS_PER_USER);
    assert!(world.clients.get(sessions[0]).is_none());
    assert!(world.clients.get(sessions[1]).is_some());
}

/// Opens a session as another user, and loses it.
fn lose_session_of(world: &mut ClientsFixture, user: u32) -> ClientId {
    let (id, _peer) = world.control(KEEP);
    let connection = world.clients.connections.get_mut(&id).expect("connected");
    let (pid, uid) = (connection.peer.pid, std::mem::replace(&mut connection.peer.uid, user));
    world.clients.counts.leave(pid, uid);
    world.clients.counts.readmit(pid, user);
    world.now += SECOND;
    world.run(|clients, cx| clients.broken(id, cx));
    world.reap();
    id
}

#[test]
fn lost_sessions_of_one_user_do_not_remove_those_of_another() {
    let mut world = ClientsFixture::new();
    world.config.limits.per_process = 1000;
    let first = lose_session_of(&mut world, 1001);
    for _ in 0..2 * MAX_LOST_SESSIONS_PER_USER {
        lose_session_of(&mut world, 1002);
    }
    assert!(world.clients.get(first).is_some());
    assert_eq!(world.clients.len(), MAX_LOST_SESSIONS_PER_USER + 1);
    // All users together: the users with the most lose theirs.
    for user in 2000..2010 {
        for _ in 0..MAX_LOST_SESSIONS_PER_USER {
            lose_session_of(&mut world, user);
        }
    }
    assert!(world.clients.get(first).is_some());
    assert_eq!(world.clients.len(), MAX_LOST_SESSIONS);
}

#[test]
fn slow_subscriber_loses_its_subscription_and_not_its_connection() {
    let mut world = ClientsFixture::new();
    let (subscriber, mut peer) = world.subscriber();
    let message = "x".repeat(10_000);
    let event = IpcEvent::ConfigError { message };
    for _ in 0..100 {
        world.run(|clients, _| clients.publish(&event));
    }
    assert!(!world.clients.has_subscribers() && world.clients.get(subscriber).is_some());
    // One source waits for the socket.
    let effects = world.take_effects();
    assert_eq!(effects, [Effect::AwaitWritable(subscriber)]);
    let control = world.clients.control(subscriber).expect("a control client");
    assert!(control.unsent_bytes() > 256 << 10 && control.is_paused());
    let mut events = Vec::new();
    while world.clients.flush(subscriber) {
        events.extend(peer.events());
    }
    events.extend(peer.events());
    assert_eq!(events.last(), Some(&IpcEvent::EventsLost));
    assert!(world.clients.control(subscriber).is_some_and(|control| !control.is_paused()));
}

#[test]
fn job_makes_requests_wait_and_ends_with_the_socket() {
    let mut world = ClientsFixture::new();
    let (id, peer) = world.control(KEEP);
    world.clients.begin_job(id, 1);
    assert!(world.clients.control(id).is_some_and(|control| control.is_paused()));
    assert!(world.clients.end_job(id, 1) && !world.clients.end_job(id, 1));
    assert!(world.clients.control(id).is_some_and(|control| !control.is_paused()));
    world.clients.begin_job(id, 2);
    drop(peer);
    world.run(|clients, cx| clients.broken(id, cx));
    assert!(!world.clients.end_job(id, 2), "its client has left");
}

/// A file is written for what is saved, which is too much for each connection.
#[test]
fn ids_are_saved_in_blocks() {
    let mut world = ClientsFixture::new();
    let _first = world.wayland();
    assert!(world.clients.take_unsaved());
    let saved = world.clients.to_saved(std::iter::empty());
    let (id, _second) = world.wayland();
    assert!(!world.clients.take_unsaved() && id <= saved.last_id);
    let mut next = ClientsFixture::new();
    next.clients.restore(saved.clone(), next.now);
    let (id, _third) = next.wayland();
    assert!(next.clients.take_unsaved() && id > saved.last_id);
}

#[test]
fn sessions_and_placements_survive_the_process() {
    let mut world = ClientsFixture::new();
    let (kept, _peer) = world.control(KEEP);
    let (once, _other) = world.control(ONCE);
    let (survives_one, _third) = world.control(ONCE | KEEP);
    let (_raw, _raw_peer) = world.raw_control();
    let (_wayland, _stream) = world.wayland();
    world.clients.add_placements([("old".to_owned(), "DP-1".to_owned())].into());
    let tokens = [kept, once, survives_one].map(|id| world.token(id));
    let windows = [("app".to_owned(), "DP-2".to_owned())];
    let saved = world.clients.to_saved(windows.into_iter());
    let saved = serde_json::to_vec(&saved).expect("JSON");
    drop(world);

    let mut world = ClientsFixture::new();
    let saved: crate::clients::saved_state::SavedClients =
        serde_json::from_slice(&saved).expect("what was saved");
    assert_eq!(world.clients.restore(saved.clone(), world.now), 2);
    let placement = |app_id: &str| world.clients.placement(app_id);
    assert_eq!((placement("old"), placement("app")), (Some("DP-1"), Some("DP-2")));
    // Nothing has changed but that the clients are away.
    let again = world.clients.to_saved(std::iter::empty());
    assert_eq!((again.last_id, &again.placements), (saved.last_id, &saved.placements));
    world.reap();
    let (id, _peer) = world.connect(ClientKind::Control);
    let id = id.expect("accepted");
    assert!(id > saved.last_id, "ids are not used again");
    world.on(id, Event::Received);
    assert_eq!(resume(&mut world, id, &tokens[1]), Err(ResumeError::Unknown));
    assert_eq!(resume(&mut world, id, &tokens[0]), Ok(kept));
    assert!(world.clients.get(kept).is_some_and(|connection| connection.peer.pid > 0));
    // The crash was the one disconnect that this session survives.
    let (id, _peer) = world.control(KEEP);
    assert_eq!(resume(&mut world, id, &tokens[2]), Ok(survives_one));
    world.run(|clients, cx| clients.broken(survives_one, cx));
    assert!(world.clients.get(survives_one).is_none());
    world.run(Clients::disconnect_all);
    assert!(world.clients.is_quiet());
}
