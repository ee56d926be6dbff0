//! Clients of windows that the user cannot see: covered, on a blanked display, or on another VT.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use geom_kms::fake::FakeDevice;
use wayland_client::protocol::wl_callback::{self, WlCallback};
use wayland_client::{Connection, Dispatch, EventQueue, QueueHandle};

use super::{Fixture, TestClient};
use crate::backend::kms::tests::{FakeSeat, SeatState};
use crate::backend::kms::Event as KmsEvent;

const RED: u32 = 0x00ff_0000;
const GREEN: u32 = 0x0000_ff00;
const FIRST: &str = "HEADLESS-1";
const DISPLAY: &str = "[headless]\ndisplays = [\"800x600\"]\n";
/// Heartbeats that are fast enough for tests, and end clients that do not reply.
const FAST: &str = "[clients]\ninterval = 0.2\nunresponsive = 0.3\nlost = 0.6\non_lost = \"close\"\n";

/// Counts the frame callbacks of one queue.
#[derive(Default)]
struct Frames(usize);

impl Dispatch<WlCallback, ()> for Frames {
    fn event(
        frames: &mut Self,
        _: &WlCallback,
        _: wl_callback::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        frames.0 += 1;
    }
}

/// A client that draws as `eglSwapBuffers` with interval 1 does in a program with one thread: it
/// waits for its frame callback on a queue of its own, and handles no other event meanwhile.
struct SwappingClient {
    client: TestClient,
    queue: EventQueue<Frames>,
    frames: Frames,
    /// The frames that it has waited for.
    swaps: usize,
}

impl SwappingClient {
    /// Opens a window of a color and waits until it is mapped.
    fn open(fixture: &mut Fixture, color: u32) -> Self {
        let mut client = fixture.client();
        client.open("swapping", color, None);
        let before = fixture.compositor.state.shell.windows().len();
        super::until(fixture, &mut client, "the window", |fixture, _| {
            fixture.compositor.state.shell.windows().len() > before
        });
        let queue = client.connection().new_event_queue();
        let mut swapping = Self { client, queue, frames: Frames::default(), swaps: 0 };
        swapping.swap();
        swapping
    }

    fn swap(&mut self) {
        let surface = self.client.windows()[0].surface.clone();
        surface.frame(&self.queue.handle(), ());
        self.client.show(&surface, (100, 100), RED);
        self.client.read();
    }

    /// Continues if its frame callback has come. Returns whether it is still connected.
    fn step(&mut self) -> bool {
        self.client.read();
        let _ = self.queue.dispatch_pending(&mut self.frames);
        if self.frames.0 > self.swaps {
            self.swaps = self.frames.0;
            self.client.poll();
            self.swap();
        }
        !self.client.disconnected
    }
}

/// Runs a fixture whose only client swaps, for longer than it takes to give up a client that does
/// not reply.
fn ensure_lives(fixture: &mut Fixture, client: &mut SwappingClient) {
    let since = fixture.compositor.state.now();
    fixture.until("the end of the time", |fixture| {
        assert!(client.step(), "the client was disconnected");
        let connections = fixture.compositor.state.clients.iter();
        let states: Vec<_> = connections.map(|connection| connection.is_unresponsive()).collect();
        assert!(!states.contains(&true), "{states:?}");
        fixture.compositor.state.now() > since + Duration::from_secs(3)
    });
}

#[test]
fn client_of_a_covered_window_that_waits_for_its_frame_is_not_unresponsive() {
    let mut fixture = Fixture::new(&format!("{DISPLAY}{FAST}"));
    let mut swapping = SwappingClient::open(&mut fixture, RED);
    let mut above = fixture.client();
    above.open("above", GREEN, None);
    fixture.until("the window above", |fixture| {
        above.poll();
        swapping.step();
        fixture.middle(FIRST) == GREEN
    });
    let since = fixture.compositor.state.now();
    fixture.until("the end of the time", |fixture| {
        above.poll();
        assert!(swapping.step(), "the client was disconnected");
        fixture.compositor.state.now() > since + Duration::from_secs(3)
    });
    assert_eq!(fixture.compositor.state.ipc_status().unresponsive_clients, 0);
}

#[test]
fn client_on_a_blanked_display_that_waits_for_its_frame_is_not_unresponsive() {
    let mut fixture = Fixture::new(&format!("{DISPLAY}{FAST}"));
    let mut swapping = SwappingClient::open(&mut fixture, RED);
    fixture.compositor.state.blank(&[FIRST.into()], true).expect("blanked");
    ensure_lives(&mut fixture, &mut swapping);
    fixture.compositor.state.blank(&[FIRST.into()], false).expect("unblanked");
    fixture.until("the window", |fixture| {
        assert!(swapping.step());
        fixture.middle(FIRST) == RED
    });
}

#[test]
fn client_on_another_vt_that_waits_for_its_frame_is_not_unresponsive() {
    const CARD: &str = "/dev/null";
    let id = rustix::fs::stat(CARD).expect("a device node").st_rdev;
    let seat = Rc::new(RefCell::new(SeatState::default()));
    seat.borrow_mut().gpus.insert(CARD.into(), FakeDevice::with_outputs(1));
    let mut fixture = Fixture::on_seat_with(FakeSeat(seat), FAST);
    fixture.compositor.state.on_backend_event(KmsEvent::GpuAdded { id, path: CARD.into() });
    let mut swapping = SwappingClient::open(&mut fixture, RED);
    fixture.compositor.state.on_backend_event(KmsEvent::SessionPaused);
    ensure_lives(&mut fixture, &mut swapping);
}

/// A client that hangs while it is hidden is found, and its overlay is there when it is shown.
#[test]
fn client_that_hangs_while_hidden_is_unresponsive() {
    let heartbeats = "[clients]\ninterval = 0.2\nunresponsive = 0.3\n";
    let mut fixture = Fixture::new(&format!("{DISPLAY}{heartbeats}"));
    let mut client = fixture.client();
    client.open("app", RED, None);
    super::until(&mut fixture, &mut client, "the window", |fixture, _| fixture.middle(FIRST) == RED);
    fixture.compositor.state.blank(&[FIRST.into()], true).expect("blanked");
    fixture.until("unresponsive", |fixture| fixture.compositor.state.ipc_status().unresponsive_clients == 1);
    fixture.compositor.state.blank(&[FIRST.into()], false).expect("unblanked");
    assert!(fixture.compositor.state.unresponsive_on_display(FIRST).is_some());
}

#[test]
fn hidden_window_gets_a_frame_callback_about_once_a_second() {
    let mut fixture = Fixture::new(DISPLAY);
    let mut swapping = SwappingClient::open(&mut fixture, RED);
    fixture.until("frames", |_| swapping.step() && swapping.swaps > 3);
    fixture.compositor.state.blank(&[FIRST.into()], true).expect("blanked");
    let (before, since) = (swapping.swaps, fixture.compositor.state.now());
    fixture.until("the end of the time", |fixture| {
        swapping.step();
        fixture.compositor.state.now() > since + Duration::from_millis(3500)
    });
    let frames = swapping.swaps - before;
    assert!((2..=4).contains(&frames), "{frames} frame callbacks in 3.5 s");
}

/// A popup of a covered window, which has no frames of its own.
#[test]
fn popup_of_a_hidden_window_gets_frame_callbacks() {
    let mut fixture = Fixture::new(DISPLAY);
    let mut client = fixture.client();
    client.open("below", RED, None);
    super::until(&mut fixture, &mut client, "the window", |fixture, _| fixture.middle(FIRST) == RED);
    client.popup(0, (10, 10));
    super::until(&mut fixture, &mut client, "the popup", |_, client| !client.popups.is_empty());
    client.open("above", GREEN, None);
    super::until(&mut fixture, &mut client, "the window above", |fixture, _| fixture.middle(FIRST) == GREEN);
    super::until(&mut fixture, &mut client, "no timer", |fixture, _| {
        !fixture.compositor.state.hidden_frames_armed
    });
    // Frame callbacks of other surfaces are on another queue.
    let mut queue = client.connection().new_event_queue();
    let mut frames = Frames::default();
    let surface = client.popup_surfaces[0].clone();
    surface.frame(&queue.handle(), ());
    client.show(&surface, (200, 100), RED);
    fixture.until("its frame callback", |_| {
        client.poll();
        queue.dispatch_pending(&mut frames).expect("the connection");
        frames.0 > 0
    });
}

#[test]
fn nothing_wakes_the_service_for_hidden_windows_that_wait_for_nothing() {
    let mut fixture = Fixture::new(DISPLAY);
    let mut client = fixture.client();
    client.open("app", RED, None);
    super::until(&mut fixture, &mut client, "the window", |fixture, client| {
        fixture.middle(FIRST) == RED && client.frames > 0
    });
    fixture.compositor.state.blank(&[FIRST.into()], true).expect("blanked");
    fixture.iterate();
    assert!(!fixture.compositor.state.hidden_frames_armed);
}

#[test]
fn windows_are_suspended_while_they_are_hidden() {
    let mut fixture = Fixture::new(DISPLAY);
    let mut client = TestClient::with_wm_base(fixture.connect(), 6);
    fixture.until("globals", |_| client.poll() && client.has_globals());
    client.open("below", RED, None);
    super::until(&mut fixture, &mut client, "the window", |fixture, _| fixture.middle(FIRST) == RED);
    let suspended = |client: &TestClient| -> Vec<bool> {
        client.windows().iter().map(|window| window.suspended).collect()
    };
    assert_eq!(suspended(&client), [false]);
    client.open("above", GREEN, None);
    super::until(&mut fixture, &mut client, "the window below", |_, client| {
        suspended(client) == [true, false]
    });
    fixture.compositor.state.blank(&[FIRST.into()], true).expect("blanked");
    super::until(&mut fixture, &mut client, "both", |_, client| suspended(client) == [true, true]);
    fixture.compositor.state.blank(&[FIRST.into()], false).expect("unblanked");
    super::until(&mut fixture, &mut client, "the visible one", |_, client| {
        suspended(client) == [true, false]
    });
    fixture.plug(FIRST, false);
    super::until(&mut fixture, &mut client, "no display", |_, client| suspended(client) == [true, true]);
    fixture.plug(FIRST, true);
    client.close(1);
    super::until(&mut fixture, &mut client, "the window below", |fixture, client| {
        !client.windows()[0].suspended && fixture.middle(FIRST) == RED
    });
}

/// Clients with an older xdg_wm_base get no configure event that says nothing.
#[test]
fn older_clients_are_not_configured_for_being_hidden() {
    let mut fixture = Fixture::new(DISPLAY);
    let mut client = fixture.client();
    client.open("app", RED, None);
    super::until(&mut fixture, &mut client, "the window", |fixture, _| fixture.middle(FIRST) == RED);
    let configured = client.windows()[0].configured;
    fixture.compositor.state.blank(&[FIRST.into()], true).expect("blanked");
    fixture.iterate();
    fixture.compositor.state.blank(&[FIRST.into()], false).expect("unblanked");
    fixture.iterate();
    client.poll();
    assert_eq!(client.windows()[0].configured, configured);
}
