//! The whole compositor in the test's process, on virtual displays, with real clients on socket
//! pairs.
//!
//! Client and server take turns in one thread: nothing sleeps, and a test that waits in vain ends
//! by a bound on turns.

mod client;
mod color;
mod connections;
mod control_client;
mod control_requests;
mod idle;
mod security_context;
mod windows;

use std::os::unix::net::UnixStream;
use std::time::Duration;

use clap::Parser;
use geom_ipc::ClientKind;

use crate::cli::options::Options;
use crate::compositor::run::Compositor;
pub use client::TestClient;

/// A compositor with virtual displays.
pub struct Fixture {
    pub compositor: Compositor,
    _config: tempfile::NamedTempFile,
}

/// Each turn waits at most so long for something to happen.
const TURN: Duration = Duration::from_millis(20);
const TURNS: usize = 500;

impl Fixture {
    /// `config` is the configuration's text; its `[headless]` table says which displays there are.
    pub fn new(config: &str) -> Self {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), config).expect("write the configuration");
        let path = file.path().to_string_lossy().into_owned();
        let options = Options::parse_from(["geom_compositor", "--backend=headless", "--config", &path]);
        let mut compositor = Compositor::new(options).expect("a compositor");
        compositor.start_backend().expect("virtual displays");
        Self { compositor, _config: file }
    }

    /// Two displays side by side.
    pub fn pair() -> Self {
        Self::new("[headless]\ndisplays = [\"800x600\", \"640x480\"]\n")
    }

    /// Connects a client by a socket pair.
    pub fn client(&mut self) -> TestClient {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        ours.set_nonblocking(true).expect("a socket option");
        self.compositor.state.new_client(ours, ClientKind::Wayland, None).expect("accepted");
        let mut client = TestClient::new(theirs);
        self.until("globals", |_| client.turn() && client.has_globals());
        client
    }

    /// One turn of the server's loop.
    pub fn turn(&mut self) {
        self.compositor.iterate(Some(TURN)).expect("a turn");
    }

    /// Takes turns until something holds.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        for _ in 0..TURNS {
            if holds(self) {
                return;
            }
            self.turn();
        }
        panic!("waited {TURNS} turns in vain for: {what}");
    }

    /// The middle pixel of a virtual display, as 0x00rrggbb.
    pub fn middle(&mut self, display: &str) -> u32 {
        let scanout =
            self.compositor.state.outputs.named_mut(display).and_then(|output| output.scanout.as_mut());
        let Some((width, height, pixels)) = scanout.and_then(|scanout| scanout.memory_picture()) else {
            return 0;
        };
        let at = ((height / 2 * width + width / 2) * 4) as usize;
        u32::from_le_bytes(pixels[at..at + 4].try_into().expect("four bytes")) & 0x00ff_ffff
    }

    pub fn plug(&mut self, display: &str, connected: bool) {
        self.compositor.state.set_headless_connected(display, connected);
    }
}

/// Takes turns on both sides until something holds.
pub fn until(
    fixture: &mut Fixture,
    client: &mut TestClient,
    what: &str,
    mut holds: impl FnMut(&mut Fixture, &TestClient) -> bool,
) {
    fixture.until(what, |fixture| {
        client.turn();
        holds(fixture, client)
    });
}
