//! Ends of connections, and that nothing of them stays.

use std::io::Write;

use geom_ipc::{CloseReason, ConnectType, ErrorKind, Event as IpcEvent, ReplyResult};

use super::{notable, ClientsFixture, SECOND};
use crate::clients::heartbeat::Event;
use crate::clients::{Clients, Effect};

#[test]
fn client_with_a_window_is_asked_to_close_and_then_disconnected() {
    let mut world = ClientsFixture::new();
    let (id, _stream) = world.wayland();
    world.windows.0.insert(id, "app".into());
    world.run(Clients::announcement_due);
    world.take_effects();
    world.run(|clients, cx| clients.request_close(id, CloseReason::Requested, cx));
    assert_eq!(notable(world.take_effects()), [Effect::CloseWindows(id)]);
    world.advance(world.config.close_time - SECOND / 10);
    assert!(notable(world.take_effects()).is_empty());
    world.advance(SECOND / 10);
    let reason = CloseReason::Requested;
    assert_eq!(notable(world.take_effects()).last(), Some(&Effect::Disconnected { id, reason }));
    assert!(world.clients.is_quiet());
}

#[test]
fn client_without_a_window_is_disconnected_at_once() {
    let mut world = ClientsFixture::new();
    let (id, _stream) = world.wayland();
    world.take_effects();
    world.run(|clients, cx| clients.request_close(id, CloseReason::Requested, cx));
    assert_eq!(notable(world.take_effects()), []);
    // The rest follows with the library's next dispatch.
    world.reap();
    let reason = CloseReason::Requested;
    assert_eq!(notable(world.take_effects()), [Effect::Disconnected { id, reason }]);
    assert!(world.clients.is_quiet());
}

#[test]
fn control_client_gets_goodbye_with_the_reason() {
    let mut world = ClientsFixture::new();
    let (id, mut peer) = world.control(ConnectType::KEEP_CONNECTION_OPEN);
    world.run(|clients, cx| clients.request_close(id, CloseReason::Requested, cx));
    let goodbye = IpcEvent::Goodbye { reason: CloseReason::Requested };
    assert_eq!(peer.events(), [goodbye]);
    assert!(peer.is_closed() && world.clients.is_quiet());
}

#[test]
fn client_that_closes_its_socket_is_removed() {
    let mut world = ClientsFixture::new();
    let (id, stream) = world.wayland();
    world.take_effects();
    drop(stream);
    world.reap();
    let reason = CloseReason::ClientClosed;
    assert_eq!(notable(world.take_effects()).last(), Some(&Effect::Disconnected { id, reason }));
    assert!(world.clients.is_quiet());
}

#[test]
fn protocol_error_is_the_reason_of_the_end() {
    let mut world = ClientsFixture::new();
    let (id, mut stream) = world.wayland();
    world.take_effects();
    // wl_display.get_registry, and wl_registry.bind of a global that does not exist.
    let interface = u32::from_ne_bytes(*b"wl_\0");
    let requests = [1u32, 12 << 16 | 1, 2, 2, 28 << 16, 99, 4, interface, 1, 3];
    stream.write_all(&requests.map(u32::to_ne_bytes).concat()).expect("sent");
    world.reap();
    let reason = CloseReason::ProtocolError;
    assert_eq!(notable(world.take_effects()).last(), Some(&Effect::Disconnected { id, reason }));
}

#[test]
fn requests_that_wait_for_a_client_get_an_error_at_its_end() {
    let mut world = ClientsFixture::new();
    let (control, mut peer) = world.control(ConnectType::default());
    let (target, _target_peer) = world.control(ConnectType::default());
    let (is_pinged, _) = world.with(|clients, cx| clients.ping_for(target, (control, 3), cx));
    assert!(is_pinged);
    world.run(|clients, cx| clients.remove(target, CloseReason::ClientClosed, cx));
    let replies = peer.replies();
    let [reply] = &replies[..] else { panic!("{replies:?}") };
    let is_failed = matches!(&reply.result, ReplyResult::Error(error) if error.kind == ErrorKind::Failed);
    assert!(reply.id == Some(3) && is_failed);
}

#[test]
fn shutdown_stops_the_service_after_the_last_wayland_client() {
    let mut world = ClientsFixture::new();
    let (_control, _peer) = world.control(ConnectType::default());
    let (first, first_stream) = world.wayland();
    let (second, _stream) = world.wayland();
    world.windows.0.insert(first, "app".into());
    world.windows.0.insert(second, "app".into());
    world.take_effects();
    world.run(Clients::shut_down);
    let effects = notable(world.take_effects());
    assert_eq!(effects, [Effect::CloseWindows(first), Effect::CloseWindows(second)]);
    drop(first_stream);
    world.reap();
    assert!(!world.take_effects().contains(&Effect::StopService));
    // The other one does not obey.
    world.advance(world.config.close_time);
    assert_eq!(world.take_effects().last(), Some(&Effect::StopService));
    // A second request changes nothing.
    world.run(Clients::shut_down);
    assert_eq!(world.take_effects(), []);
}

#[test]
fn shutdown_without_wayland_clients_stops_at_once() {
    let mut world = ClientsFixture::new();
    world.run(Clients::shut_down);
    assert_eq!(world.take_effects(), [Effect::StopService]);
}

#[test]
fn all_clients_are_disconnected_when_the_service_stops() {
    let mut world = ClientsFixture::new();
    let (_subscriber, mut peer) = world.subscriber();
    let (lost, lost_peer) = world.control(ConnectType::KEEP_CONNECTION_OPEN);
    drop(lost_peer);
    world.run(|clients, cx| clients.broken(lost, cx));
    let (_raw, _raw_peer) = world.raw_control();
    let (_wayland, _stream) = world.wayland();
    let (unresponsive, _other_stream) = world.wayland();
    world.on(unresponsive, Event::PingRequested);
    world.run(Clients::disconnect_all);
    world.reap();
    assert!(world.clients.is_quiet() && !world.clients.has_subscribers());
    let goodbye = IpcEvent::Goodbye { reason: CloseReason::Shutdown };
    assert!(peer.events().contains(&goodbye) && peer.is_closed());
}

#[test]
fn memory_is_returned_once_after_many_disconnects() {
    let mut world = ClientsFixture::new();
    world.config.limits.per_process = 1000;
    world.config.limits.accept_rate = 1000;
    let clients: Vec<_> = (0..150).map(|_| world.wayland()).collect();
    world.take_effects();
    for (id, _) in &clients {
        world.run(|clients, cx| clients.disconnect(*id, CloseReason::Requested, cx));
    }
    // libwayland dispatches at most 32 clients at once.
    while !world.clients.is_empty() {
        world.reap();
    }
    let is_trim = |effect: &&Effect| matches!(effect, Effect::ArmTrim(_));
    assert_eq!(world.take_effects().iter().filter(is_trim).count(), 1);
    world.clients.trim_memory();
    assert!(world.clients.is_quiet());
}

/// Ends a connection whose window is destroyed meanwhile, and returns the display that is saved.
fn placement_after(
    connect_type: ConnectType,
    end: impl FnOnce(&mut ClientsFixture, crate::clients::ClientId),
) -> Option<String> {
    let mut world = ClientsFixture::new();
    world.connect_type = connect_type;
    let (id, stream) = world.wayland();
    world.windows.0.insert(id, "app".into());
    end(&mut world, id);
    drop(stream);
    // The library disconnects the client, and destroys its objects before its connection is
    // removed.
    world.dispatch();
    world.clients.save_placement(id, "app".into(), "DP-1".into(), connect_type);
    world.reap();
    world.clients.placement("app").map(str::to_owned)
}

#[test]
fn placement_is_saved_unless_the_end_was_ordered() {
    let keep = ConnectType::KEEP_CONNECTION_OPEN;
    let saved = Some("DP-1".to_owned());
    assert_eq!(placement_after(keep, |_, _| {}), saved);
    assert_eq!(placement_after(ConnectType::DISCONNECT_ONCE, |_, _| {}), None);
    for (reason, expected) in [
        (CloseReason::HeartbeatTimeout, saved.clone()),
        (CloseReason::Requested, None),
        (CloseReason::Shutdown, None),
    ] {
        let disconnect = |world: &mut ClientsFixture, id| {
            world.run(|clients, cx| clients.disconnect(id, reason, cx));
        };
        assert_eq!(placement_after(keep, disconnect), expected, "{reason:?}");
    }
}

#[test]
fn placement_of_a_window_that_its_client_closes_is_not_saved() {
    let mut world = ClientsFixture::new();
    let (id, _stream) = world.wayland();
    world.clients.save_placement(id, "app".into(), "DP-1".into(), ConnectType::default());
    assert_eq!(world.clients.placement("app"), None);
}

#[test]
fn placements_follow_a_monitor() {
    let mut world = ClientsFixture::new();
    let placements = [("one", "DP-1"), ("two", "DP-2")];
    let owned = placements.map(|(app_id, display)| (app_id.to_owned(), display.to_owned()));
    world.clients.add_placements(owned.into());
    world.clients.take_unsaved();
    world.clients.rename_placements("DP-1", "DP-3");
    let placement = |app_id: &str| world.clients.placement(app_id);
    assert_eq!((placement("one"), placement("two")), (Some("DP-3"), Some("DP-2")));
    assert!(world.clients.take_unsaved());
}
