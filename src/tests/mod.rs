//! The whole compositor in the test's process, on virtual displays, with real clients on socket
//! pairs.
//!
//! Clients and compositor alternate in one thread: nothing sleeps, and a test whose condition never
//! holds ends after a number of iterations.

mod calibration;
mod client;
mod color;
mod connections;
mod connectors;
mod control;
mod control_requests;
mod cursor;
mod devices;
mod dmabuf_feedback;
mod drawn_ahead;
mod firmware;
mod focus;
mod gestures;
mod handoff;
mod hidden;
mod hostile;
mod idle;
mod input_devices;
mod keyboard;
mod layers;
mod power;
mod scanout;
mod seat;
mod security_context;
mod shortcuts;
mod tablet_client;
mod tablets;
mod touch;
mod variable_refresh;
mod windows;

use std::cell::RefCell;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use geom_ipc::ClientKind;
use geom_kms::fake::FakeDevice;

use crate::backend::kms::tests::{FakeSeat, SeatState};
use crate::backend::kms::{Event as KmsEvent, Kms};
use crate::backend::Backend;
use crate::compositor::in_process::configured;
use crate::compositor::run::Compositor;
pub use client::TestClient;

/// The device node of [`Fixture::on_gpu`]: one that exists everywhere, in place of a GPU's.
pub const CARD: &str = "/dev/null";

/// Returns the device number of [`CARD`].
pub fn card_id() -> u64 {
    rustix::fs::stat(CARD).expect("a device node").st_rdev
}

/// A compositor with virtual displays.
pub struct Fixture {
    pub compositor: Compositor,
    config: tempfile::NamedTempFile,
}

/// How long one iteration of the event loop waits for an event.
const ITERATION_TIMEOUT: Duration = Duration::from_millis(20);
/// How many iterations a condition may take.
const MAX_ITERATIONS: usize = 500;

impl Fixture {
    /// Starts a compositor with a configuration, whose `[headless]` table lists the displays.
    pub fn new(config: &str) -> Self {
        Self::start(config, |compositor| compositor.start_backend().expect("virtual displays"))
    }

    /// Starts a compositor on a seat whose GPUs are devices in memory. None of them is open.
    pub fn on_seat(seat: FakeSeat) -> Self {
        Self::on_seat_with(seat, "")
    }

    /// As [`Fixture::on_seat`], with a configuration.
    pub fn on_seat_with(seat: FakeSeat, config: &str) -> Self {
        Self::start(&format!("renderer = \"pixman\"\n{config}"), |compositor| {
            compositor.state.backend = Backend::Kms(Box::new(Kms::new(Box::new(seat), true)));
        })
    }

    /// Starts a compositor on a seat with one GPU, which is open.
    pub fn on_gpu(gpu: &FakeDevice) -> Self {
        let mut seat = SeatState::default();
        seat.gpus.insert(CARD.into(), gpu.clone());
        let mut fixture = Self::on_seat(FakeSeat(Rc::new(RefCell::new(seat))));
        let added = KmsEvent::GpuAdded { id: card_id(), path: CARD.into() };
        fixture.compositor.state.on_backend_event(added);
        fixture
    }

    fn start(config: &str, start_backend: impl FnOnce(&mut Compositor)) -> Self {
        let (mut compositor, file) = configured(config).expect("a compositor");
        start_backend(&mut compositor);
        Self { compositor, config: file }
    }

    /// Starts a compositor with two displays next to each other.
    pub fn pair() -> Self {
        Self::new("[headless]\ndisplays = [\"800x600\", \"640x480\"]\n")
    }

    /// Connects a client and waits until it has bound its globals.
    pub fn client(&mut self) -> TestClient {
        let mut client = TestClient::new(self.connect());
        self.until("globals", |_| client.poll() && client.has_globals());
        client
    }

    /// Connects a Wayland client and returns its end of the socket pair.
    pub fn connect(&mut self) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        ours.set_nonblocking(true).expect("a socket option");
        self.compositor.state.new_client(ours, ClientKind::Wayland, None).expect("accepted");
        theirs
    }

    /// Returns the path of the configuration file.
    pub fn config_path(&self) -> &std::path::Path {
        self.config.path()
    }

    /// Runs one iteration of the event loop.
    pub fn iterate(&mut self) {
        self.compositor.iterate(Some(ITERATION_TIMEOUT)).expect("an iteration");
    }

    /// Runs iterations until a condition holds; `what` names it if it never does.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        for _ in 0..MAX_ITERATIONS {
            if holds(self) {
                return;
            }
            self.iterate();
        }
        panic!("after {MAX_ITERATIONS} iterations still no: {what}");
    }

    /// As [`Self::until`], with enough iterations for jobs on other threads: a busy client ends
    /// each iteration's wait at once.
    pub fn until_long(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        for _ in 0..100 * MAX_ITERATIONS {
            if holds(self) {
                return;
            }
            self.iterate();
        }
        panic!("still no: {what}");
    }

    /// Runs iterations for a time.
    pub fn run_for(&mut self, time: Duration) {
        let since = self.compositor.state.now();
        self.until("the end of the time", |fixture| fixture.compositor.state.now() > since + time);
    }

    /// Returns the middle pixel of a virtual display, as 0x00rrggbb.
    pub fn middle(&mut self, display: &str) -> u32 {
        let scanout =
            self.compositor.state.outputs.named_mut(display).and_then(|output| output.scanout.as_mut());
        let Some((width, height, pixels)) = scanout.and_then(|scanout| scanout.memory_pixels()) else {
            return 0;
        };
        let at = ((height / 2 * width + width / 2) * 4) as usize;
        u32::from_le_bytes(pixels[at..at + 4].try_into().expect("four bytes")) & 0x00ff_ffff
    }

    /// Connects or disconnects a virtual display.
    pub fn plug(&mut self, display: &str, connected: bool) {
        self.compositor.state.plug_virtual(display, connected);
    }
}

/// Alternates between the compositor and a client until a condition holds; `what` names it if it
/// never does.
pub fn until(
    fixture: &mut Fixture,
    client: &mut TestClient,
    what: &str,
    mut holds: impl FnMut(&mut Fixture, &TestClient) -> bool,
) {
    fixture.until(what, |fixture| {
        client.poll();
        holds(fixture, client)
    });
}
