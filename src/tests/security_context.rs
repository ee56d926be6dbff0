//! Clients of other kinds: without windows, and from a sandbox.

use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use geom_ipc::{ClientKind, ConnectionState};
use wayland_client::backend::{ReadEventsGuard, WaylandError};
use wayland_client::protocol::wl_registry;
use wayland_client::{delegate_noop, Connection, Dispatch, EventQueue, Proxy, QueueHandle};
use wayland_protocols::wp::security_context::v1::client::wp_security_context_manager_v1::WpSecurityContextManagerV1;
use wayland_protocols::wp::security_context::v1::client::wp_security_context_v1::WpSecurityContextV1;

use super::Fixture;

/// What the registry told.
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

/// A client that asks for globals and shows nothing.
struct Stranger {
    connection: Connection,
    queue: EventQueue<Globals>,
    globals: Globals,
}

impl Stranger {
    fn new(stream: UnixStream) -> Self {
        let connection = Connection::from_socket(stream).expect("a connection");
        let queue = connection.new_event_queue();
        connection.display().get_registry(&queue.handle(), ());
        connection.flush().expect("a request");
        Self { connection, queue, globals: Globals::default() }
    }

    fn turn(&mut self) {
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

fn connect(fixture: &mut Fixture) -> Stranger {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    ours.set_nonblocking(true).expect("a socket option");
    fixture.compositor.state.new_client(ours, ClientKind::Wayland, None).expect("accepted");
    Stranger::new(theirs)
}

#[test]
fn a_client_without_windows_is_known_by_what_it_reads() {
    let mut fixture = Fixture::new("[clients]\ninterval = 0.2\nunresponsive = 0.2\n");
    let mut stranger = connect(&mut fixture);
    let state =
        |fixture: &Fixture| fixture.compositor.state.ipc_clients().first().map(|client| client.state);
    // The globals wait, and it reads nothing.
    fixture.until("unresponsive", |fixture| state(fixture) == Some(ConnectionState::Unresponsive));
    fixture.until("alive", |fixture| {
        stranger.turn();
        state(fixture) == Some(ConnectionState::Alive)
    });
    // Nothing waits for it: it stays so, however long it says nothing.
    let since = fixture.compositor.state.now();
    fixture.until("its time", |fixture| {
        assert_eq!(state(fixture), Some(ConnectionState::Alive));
        fixture.compositor.state.now() > since + Duration::from_secs(1)
    });
    let client = fixture.compositor.state.ipc_clients().remove(0);
    assert!(client.idle_s < 0.5, "it was not looked at for {} s", client.idle_s);
}

#[test]
fn a_sandbox_s_client_is_known_and_gets_less() {
    let mut fixture = Fixture::pair();
    let mut engine = connect(&mut fixture);
    fixture.until("the manager", |_| {
        engine.turn();
        engine.globals.manager.is_some()
    });
    assert!(engine.sees("zwlr_layer_shell_v1"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sandbox");
    let listener = UnixListener::bind(&path).expect("a socket");
    let (close, closed) = UnixStream::pair().expect("a socket pair");
    let manager = engine.globals.manager.clone().expect("the manager");
    let context = manager.create_listener(listener.as_fd(), closed.as_fd(), &engine.queue.handle(), ());
    context.set_sandbox_engine("org.example.engine".into());
    context.set_app_id("org.example.App".into());
    context.commit();
    context.destroy();
    drop((listener, closed));
    engine.turn();

    let mut inside = Stranger::new(UnixStream::connect(&path).expect("the sandbox's socket"));
    fixture.until("its globals", |_| {
        engine.turn();
        inside.turn();
        inside.sees("wl_compositor")
    });
    assert!(inside.globals.manager.is_none(), "a sandbox in a sandbox");
    assert!(!inside.sees("zwlr_layer_shell_v1"));
    let contexts: Vec<_> = fixture.compositor.state.ipc_clients();
    let contexts: Vec<_> = contexts.iter().map(|client| client.security_context.as_deref()).collect();
    assert_eq!(contexts, [None, Some("org.example.engine org.example.App")]);

    // The sandbox's end is that of its socket.
    drop(close);
    fixture.until("the socket's end", |_| UnixStream::connect(&path).is_err());
    inside.turn();
}

#[test]
fn a_socket_that_can_t_accept_ends_nothing_but_itself() {
    let mut fixture = Fixture::pair();
    let mut engine = connect(&mut fixture);
    fixture.until("the manager", |_| {
        engine.turn();
        engine.globals.manager.is_some()
    });
    let manager = engine.globals.manager.clone().expect("the manager");
    // A socket that is readable and does not listen; a descriptor that can't be waited for.
    let (broken, other) = UnixStream::pair().expect("a socket pair");
    drop(other);
    let file = tempfile::tempfile().expect("a file");
    for close in [broken.as_fd(), file.as_fd()] {
        let context = manager.create_listener(broken.as_fd(), close, &engine.queue.handle(), ());
        context.commit();
    }
    let _ = engine.connection.flush();
    for _ in 0..20 {
        fixture.turn();
    }
    let mut next = connect(&mut fixture);
    fixture.until("another client's globals", |_| {
        next.turn();
        next.sees("wl_compositor")
    });
}
