//! What linux-dmabuf tells clients about GPUs.

use std::cell::RefCell;
use std::rc::Rc;

use geom_kms::fake::FakeDevice;
use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::{delegate_noop, Connection, Dispatch, QueueHandle, WEnum};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_dmabuf_feedback_v1::{
    self, TrancheFlags, ZwpLinuxDmabufFeedbackV1,
};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1;

use super::client::TestState;
use super::{until, Fixture};
use crate::backend::kms::tests::{FakeSeat, SeatState};
use crate::backend::kms::Event;

/// Device nodes that exist everywhere, in place of those of GPUs.
const CARD0: &str = "/dev/null";
const CARD1: &str = "/dev/zero";

/// The client's global, and what it received: main devices, and whether feedback has a tranche for
/// scanout.
#[derive(Default)]
pub struct Globals {
    dmabuf: Option<ZwpLinuxDmabufV1>,
    main_devices: Vec<u64>,
    for_scanout: Vec<bool>,
}

impl Globals {
    pub fn bind(&mut self, registry: &WlRegistry, name: u32, queue: &QueueHandle<TestState>) {
        self.dmabuf = Some(registry.bind(name, 4, queue, ()));
    }
}

delegate_noop!(TestState: ignore ZwpLinuxDmabufV1);

impl Dispatch<ZwpLinuxDmabufFeedbackV1, ()> for TestState {
    fn event(
        state: &mut Self,
        _: &ZwpLinuxDmabufFeedbackV1,
        event: zwp_linux_dmabuf_feedback_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let globals = &mut state.dmabuf;
        match event {
            zwp_linux_dmabuf_feedback_v1::Event::MainDevice { device } => {
                let device = device.try_into().map(u64::from_ne_bytes);
                globals.main_devices.push(device.expect("a device number"));
                globals.for_scanout.push(false);
            }
            zwp_linux_dmabuf_feedback_v1::Event::TrancheFlags { flags: WEnum::Value(flags) } => {
                let is_for_scanout = globals.for_scanout.last_mut().expect("a main device before");
                *is_for_scanout |= flags.contains(TrancheFlags::Scanout);
            }
            _ => {}
        }
    }
}

fn id(path: &str) -> u64 {
    rustix::fs::stat(path).expect("a device node").st_rdev
}

fn added(path: &str) -> Event {
    Event::GpuAdded { id: id(path), path: path.into() }
}

#[test]
fn feedback_follows_the_primary_gpu() {
    let seat = Rc::new(RefCell::new(SeatState::default()));
    for (path, monitors) in [(CARD0, 1), (CARD1, 3)] {
        seat.borrow_mut().gpus.insert(path.into(), FakeDevice::with_outputs(monitors));
    }
    let mut fixture = Fixture::on_seat(FakeSeat(seat));
    fixture.compositor.state.on_backend_event(added(CARD0));
    let mut client = fixture.client();
    let ask = |client: &super::TestClient| {
        let dmabuf = client.dmabuf.dmabuf.as_ref().expect("zwp_linux_dmabuf_v1");
        dmabuf.get_default_feedback(&client.handle(), ());
    };
    ask(&client);
    until(&mut fixture, &mut client, "feedback", |_, client| client.dmabuf.main_devices == [id(CARD0)]);

    // One that comes later does not become the primary one, also if it has more monitors.
    fixture.compositor.state.on_backend_event(added(CARD1));
    ask(&client);
    until(&mut fixture, &mut client, "the same feedback", |_, client| client.dmabuf.main_devices.len() >= 2);
    assert_eq!(client.dmabuf.main_devices, [id(CARD0); 2]);

    // Both feedback objects receive the other one.
    fixture.compositor.state.on_backend_event(Event::GpuRemoved { id: id(CARD0) });
    until(&mut fixture, &mut client, "new feedback", |_, client| client.dmabuf.main_devices.len() >= 4);
    assert_eq!(client.dmabuf.main_devices[2..], [id(CARD1); 2]);
    let mut late = fixture.client();
    ask(&late);
    until(&mut fixture, &mut late, "feedback", |_, late| !late.dmabuf.main_devices.is_empty());
    assert_eq!(late.dmabuf.main_devices, [id(CARD1)]);

    // Without a GPU nothing changes until there is one.
    fixture.compositor.state.on_backend_event(Event::GpuRemoved { id: id(CARD1) });
    fixture.compositor.state.on_backend_event(added(CARD0));
    until(&mut fixture, &mut late, "new feedback", |_, late| late.dmabuf.main_devices.len() >= 2);
    assert_eq!(late.dmabuf.main_devices, [id(CARD1), id(CARD0)]);
}

#[test]
fn fullscreen_windows_are_sent_what_their_plane_scans_out() {
    let mut fixture = Fixture::on_gpu(&FakeDevice::with_outputs(1));
    let mut client = fixture.client();
    client.open("window", 0, None);
    until(&mut fixture, &mut client, "the window", |fixture, _| {
        !fixture.compositor.state.shell.windows().is_empty()
    });
    let surface = client.windows()[0].surface.clone();
    let dmabuf = client.dmabuf.dmabuf.clone().expect("zwp_linux_dmabuf_v1");
    dmabuf.get_surface_feedback(&surface, &client.handle(), ());
    until(&mut fixture, &mut client, "feedback", |_, client| client.dmabuf.for_scanout == [false]);
    let toplevel = client.windows()[0].toplevel.as_ref().expect("a toplevel").toplevel.clone();
    toplevel.set_fullscreen(None);
    until(&mut fixture, &mut client, "other feedback", |_, client| {
        client.dmabuf.for_scanout == [false, true]
    });
    // Feedback of a surface that is fullscreen already.
    dmabuf.get_surface_feedback(&surface, &client.handle(), ());
    until(&mut fixture, &mut client, "the same", |_, client| {
        client.dmabuf.for_scanout == [false, true, true]
    });
    toplevel.unset_fullscreen();
    until(&mut fixture, &mut client, "feedback for windows", |_, client| {
        client.dmabuf.for_scanout[3..] == [false, false]
    });
}
