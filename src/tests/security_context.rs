//! Clients without windows, and sandboxed clients.

use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::channel;
use std::time::Duration;

use geom_ipc::ConnectionState;
use wayland_client::backend::{ReadEventsGuard, WaylandError};
use wayland_client::protocol::wl_registry;
use wayland_client::{delegate_noop, Connection, Dispatch, EventQueue, Proxy, QueueHandle};
use wayland_protocols::wp::security_context::v1::client::wp_security_context_manager_v1::WpSecurityContextManagerV1;
use wayland_protocols::wp::security_context::v1::client::wp_security_context_v1::WpSecurityContextV1;

use super::Fixture;

/// The globals that the registry announced.
#[derive(Default)]
struct Globals {
    names: Vec<String>,
    manager: Option<WpSecurityContextManagerV1>,
}

impl Dispatch<wl_registry::WlRegistry, ()> for Globals {
    fn event(
        globals: &mut Self,
        registry: &wl_registry::WlRegistry,
        event: wl_registry::Event,
        (): &(),
        _: &Connection,
        queue: &QueueHandle<Self>,
    ) {
        if let wl_registry::Event::Global { name, interface, .. } = event {
            if interface == WpSecurityContextManagerV1::interface().name {
                globals.manager = Some(registry.bind(name, 1, queue, ()));
            }
            globals.names.push(interface);
        }
    }
}

delegate_noop!(Globals: WpSecurityContextManagerV1);
delegate_noop!(Globals: WpSecurityContextV1);

/// A client that binds no globals but the security context manager.
struct BareClient {
    connection: Connection,
    queue: EventQueue<Globals>,
    globals: Globals,
}

impl BareClient {
    fn new(stream: UnixStream) -> Self {
        let connection = Connection::from_socket(stream).expect("a connection");
        let queue = connection.new_event_queue();
        connection.display().get_registry(&queue.handle(), ());
        connection.flush().expect("a request");
        Self { connection, queue, globals: Globals::default() }
    }

    /// Sends requests and handles events without waiting.
    fn poll(&mut self) {
        match self.connection.prepare_read().map(ReadEventsGuard::read) {
            Some(Err(WaylandError::Io(error))) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Some(Err(error)) => panic!("{error}"),
            _ => {}
        }
        self.queue.dispatch_pending(&mut self.globals).expect("events");
        let _ = self.connection.flush();
    }

    fn sees(&self, interface: &str) -> bool {
        self.globals.names.iter().any(|name| name == interface)
    }
}

fn connect(fixture: &mut Fixture) -> BareClient {
    BareClient::new(fixture.connect())
}

#[test]
fn client_without_xdg_shell_is_responsive_while_it_reads() {
    let mut fixture = Fixture::new("[clients]\ninterval = 0.2\nunresponsive = 0.2\n");
    let mut client = connect(&mut fixture);
    let state = |fixture: &Fixture| fixture.compositor.state.ipc_clients().first().map(|client| client.state);
    // Globals are in its socket, and it does not read them.
    fixture.until("unresponsive", |fixture| state(fixture) == Some(ConnectionState::Unresponsive));
    fixture.until("alive", |fixture| {
        client.poll();
        state(fixture) == Some(ConnectionState::Alive)
    });
    // Its socket is empty: it stays responsive although it sends nothing.
    let since = fixture.compositor.state.now();
    fixture.until("a second", |fixture| {
        assert_eq!(state(fixture), Some(ConnectionState::Alive));
        fixture.compositor.state.now() > since + Duration::from_secs(1)
    });
    let idle_s = fixture.compositor.state.ipc_clients().remove(0).idle_s;
    assert!(idle_s < 0.5, "it was not checked for {idle_s} s");
}

#[test]
fn sandboxed_client_is_marked_and_sees_no_privileged_globals() {
    let mut fixture = Fixture::pair();
    let mut engine = connect(&mut fixture);
    fixture.until("the manager", |_| {
        engine.poll();
        engine.globals.manager.is_some()
    });
    assert!(engine.sees("zwlr_layer_shell_v1"));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sandbox");
    let listener = UnixListener::bind(&path).expect("a socket");
    let (close, closed) = UnixStream::pair().expect("a socket pair");
    let manager = engine.globals.manager.clone().expect("the manager");
    let context = manager.create_listener(listener.as_fd(), closed.as_fd(), &engine.queue.handle(), ());
    context.set_sandbox_engine("org.example.engine".into());
    context.set_app_id("org.example.App".into());
    context.commit();
    context.destroy();
    drop((listener, closed));
    engine.poll();

    let mut inside = BareClient::new(UnixStream::connect(&path).expect("the sandbox's socket"));
    fixture.until("the sandboxed client's globals", |_| {
        engine.poll();
        inside.poll();
        inside.sees("wl_compositor")
    });
    assert!(inside.globals.manager.is_none(), "a sandboxed client can create a sandbox");
    assert!(!inside.sees("zwlr_layer_shell_v1"));
    let contexts: Vec<_> = fixture.compositor.state.ipc_clients();
    let contexts: Vec<_> = contexts.iter().map(|client| client.security_context.as_deref()).collect();
    assert_eq!(contexts, [None, Some("org.example.engine org.example.App")]);

    // The listening socket is closed when the sandbox engine closes its end.
    drop(close);
    fixture.until("a closed socket", |_| UnixStream::connect(&path).is_err());
    inside.poll();
}

/// Returns a client that has bound the manager.
fn engine(fixture: &mut Fixture) -> (BareClient, WpSecurityContextManagerV1) {
    let mut engine = connect(fixture);
    fixture.until("the manager", |_| {
        engine.poll();
        engine.globals.manager.is_some()
    });
    let manager = engine.globals.manager.clone().expect("the manager");
    (engine, manager)
}

#[test]
fn broken_sandbox_socket_affects_only_its_engine() {
    let mut fixture = Fixture::pair();
    // A socket that is readable but not listening, and a file.
    let (broken, other) = UnixStream::pair().expect("a socket pair");
    drop(other);
    let file = tempfile::tempfile().expect("a file");
    for listener in [broken.as_fd(), file.as_fd()] {
        let (engine, manager) = engine(&mut fixture);
        let context = manager.create_listener(listener, broken.as_fd(), &engine.queue.handle(), ());
        context.commit();
        fixture.until("an error", |_| {
            let _ = engine.connection.flush();
            if let Some(Err(_)) = engine.connection.prepare_read().map(ReadEventsGuard::read) {}
            engine.connection.protocol_error().is_some()
        });
        let error = engine.connection.protocol_error().expect("an error");
        // invalid_listen_fd
        assert_eq!((error.code, &*error.object_interface), (1, "wp_security_context_manager_v1"));
    }
    let mut next = connect(&mut fixture);
    fixture.until("another client's globals", |_| {
        next.poll();
        next.sees("wl_compositor")
    });
}

/// The engine has the socket as well. The event loop waited in accept(2) for the next client.
#[test]
fn sandbox_socket_that_blocks_does_not_stop_the_service() {
    let (done, waits) = channel();
    std::thread::spawn(move || {
        let mut fixture = Fixture::pair();
        let (mut engine, manager) = engine(&mut fixture);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sandbox");
        let listener = UnixListener::bind(&path).expect("a socket");
        let (_close, closed) = UnixStream::pair().expect("a socket pair");
        let context = manager.create_listener(listener.as_fd(), closed.as_fd(), &engine.queue.handle(), ());
        context.commit();
        for _ in 0..2 {
            engine.poll();
            fixture.iterate();
        }
        listener.set_nonblocking(false).expect("a socket option");
        for _ in 0..3 {
            let mut inside = BareClient::new(UnixStream::connect(&path).expect("the sandbox's socket"));
            fixture.until("the sandboxed client's globals", |_| {
                inside.poll();
                inside.sees("wl_compositor")
            });
        }
        done.send(()).expect("the test waits");
    });
    waits.recv_timeout(Duration::from_secs(20)).expect("the service goes on");
}
