//! Requests without end: each client is read in its turn, and takes no more than its share.

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use geom_test_client::wire::{op, Arg, Wire, DISPLAY};

use super::{toplevel, Scene};
use crate::clients::connection::Connection;
use crate::tests::control::Control;
use crate::tests::Fixture;

/// Another thread that sends a block again and again.
struct Flood {
    ends: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Flood {
    fn new(mut stream: UnixStream, block: Vec<u8>) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let ends = ends.clone();
            move || {
                let mut rest = &block[..];
                while !ends.load(Ordering::Relaxed) {
                    if rest.is_empty() {
                        rest = &block;
                    }
                    match stream.write(rest) {
                        Ok(count) => rest = &rest[count..],
                        Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                        Err(_) => break,
                    }
                }
            }
        });
        Self { ends, thread }
    }

    /// Ends it; its socket must be closed at the other end if it blocks.
    fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().expect("it ends");
    }
}

/// Returns a flood of titles of a window of the hostile client.
fn flood_of_titles(scene: &mut Scene) -> Flood {
    let (_, _, toplevel) = toplevel(scene);
    scene.wire.exchange();
    let block = Wire::request(toplevel, op::TOPLEVEL_SET_TITLE, &[Arg::Text("title")]).repeat(2000);
    Flood::new(scene.wire.stream().try_clone().expect("a descriptor"), block)
}

/// Returns a scene in which one percent of the service's time is a client's share.
fn with_small_share() -> Scene {
    Scene::with("[clients]\naccept_rate = 1000000\ncpu_percent = 1\n")
}

/// Returns whether a connection is that of the scene's hostile client, which is the second one.
fn is_hostile(connection: &Connection) -> bool {
    u64::from(connection.id) == 2
}

/// Iterates until a client is paused, and until it is read again. Others are served meanwhile, and
/// it is not.
fn pauses(scene: &mut Scene, is_flooding: impl Fn(&Connection) -> bool) {
    let find = |fixture: &Fixture| {
        let connection = fixture.compositor.state.clients.iter().find(|connection| is_flooding(connection));
        connection.map(|connection| (connection.paused_until, connection.state.last_received()))
    };
    scene.fixture.until_long("a pause", |fixture| find(fixture).is_some_and(|(until, _)| until.is_some()));
    let (paused_until, last_received) = find(&scene.fixture).expect("it is connected");
    let mut served = 0;
    let received = |fixture: &Fixture| find(fixture).and_then(|(_, last)| last).expect("it is connected");
    while Some(received(&scene.fixture)) == last_received {
        scene.is_served();
        served += 1;
    }
    assert!(served > 0, "the other client is not served during the pause");
    assert!(Some(received(&scene.fixture)) >= paused_until, "it is read while it is paused");
}

/// A client whose requests have taken more than its share of CPU time is not read for a moment.
#[test]
fn flood_of_requests_is_kept_to_its_share() {
    let mut scene = with_small_share();
    let flood = flood_of_titles(&mut scene);
    pauses(&mut scene, is_hostile);
    pauses(&mut scene, is_hostile);
    flood.end();
    scene.is_served();
}

/// The same for a client that does not read: libwayland awaits it again after each flush.
#[test]
fn flood_of_a_client_that_does_not_read_is_kept_to_its_share() {
    let mut scene = with_small_share();
    let unread = |fixture: &Fixture| {
        let connection = fixture.compositor.state.clients.iter().find(|connection| is_hostile(connection));
        connection.expect("it is connected").unread_bytes()
    };
    let flood_stream = scene.wire.stream().try_clone().expect("a descriptor");
    let (_, _, toplevel) = toplevel(&mut scene);
    scene.wire.exchange();
    scene.fixture.iterate();
    // Until answers wait in the library, because the socket is full.
    let (mut waiting, mut before) = (0, 0);
    while waiting < 5 {
        let sync = Wire::request(DISPLAY, op::SYNC, &[Arg::Uint(scene.wire.id())]);
        (&flood_stream).write_all(&sync).expect("sent");
        scene.fixture.iterate();
        let now = unread(&scene.fixture);
        waiting = if now == before { waiting + 1 } else { 0 };
        before = now;
    }
    assert!(before > 100_000, "{before} bytes fill the socket");
    let block = Wire::request(toplevel, op::TOPLEVEL_SET_TITLE, &[Arg::Text("title")]).repeat(2000);
    let flood = Flood::new(flood_stream, block);
    pauses(&mut scene, is_hostile);
    flood.end();
    scene.is_served();
}

/// The same for a control client, whose long lines are read in parts.
#[test]
fn control_requests_are_kept_to_their_share() {
    let mut scene = with_small_share();
    let stream = Control::raw(&mut scene.fixture).stream;
    let line = format!("{{\"id\":1,\"request\":\"{}\"}}\n", "x".repeat((1 << 20) - 64));
    let flood = Flood::new(stream.try_clone().expect("a descriptor"), line.into_bytes());
    let control = |connection: &Connection| connection.kind() == geom_ipc::ClientKind::Control;
    pauses(&mut scene, control);
    drop(stream);
    flood.end();
    scene.is_served();
}

/// A client that never stops sending is read in turn with the others.
#[test]
fn flood_of_requests() {
    let mut scene = Scene::new();
    let flood = flood_of_titles(&mut scene);
    for _ in 0..50 {
        let since = Instant::now();
        scene.fixture.iterate();
        assert!(since.elapsed() < Duration::from_secs(2), "an iteration takes too long");
    }
    scene.is_served();
    drop(scene);
    flood.end();
}
