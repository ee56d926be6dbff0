//! A GPU's driver that replaces the firmware's framebuffer: windows, panels and the place in the
//! layout follow, on GPUs in memory.

use std::cell::RefCell;
use std::rc::Rc;

use drm::buffer::DrmFourcc;
use drm::control::connector::Interface;
use geom_kms::fake::{mode, FakeDevice};
use geom_kms::objects::PlaneKind;

use super::{layers, until, Fixture};
use crate::backend::kms::tests::{FakeSeat, SeatState};
use crate::backend::kms::Event;

const FIRMWARE: &str = super::CARD;
/// A device node that exists everywhere, in place of the driver's.
const DRIVER: &str = "/dev/zero";
const RED: u32 = 0x00ff_0000;
const GREEN: u32 = 0x0000_ff00;

fn id(path: &str) -> u64 {
    rustix::fs::stat(path).expect("a device node").st_rdev
}

fn added(path: &str) -> Event {
    Event::GpuAdded { id: id(path), path: path.into() }
}

/// Returns the firmware's framebuffer, in whose only mode a program starts.
fn firmware() -> FakeDevice {
    let fake = FakeDevice::with_outputs(0);
    let crtc = fake.add_crtc();
    fake.add_plane(PlaneKind::Primary, &[crtc], &[DrmFourcc::Xrgb8888]);
    let connector = fake.add_connector(Interface::Unknown, &[crtc]);
    fake.connect(connector, &[mode(800, 600, 60)]);
    fake
}

/// Starts on the firmware's framebuffer.
fn on_firmware(driver: &FakeDevice, config: &str) -> Fixture {
    let mut seat = SeatState::default();
    seat.gpus.insert(FIRMWARE.into(), firmware());
    seat.gpus.insert(DRIVER.into(), driver.clone());
    seat.firmware = vec![FIRMWARE.into()];
    let mut fixture = Fixture::on_seat_with(FakeSeat(Rc::new(RefCell::new(seat))), config);
    fixture.compositor.state.on_backend_event(added(FIRMWARE));
    fixture
}

/// Returns the color in the middle of a display.
fn middle(fixture: &mut Fixture, display: &str) -> u32 {
    let Ok(image) = fixture.compositor.state.render_to_image(display) else { return 0 };
    let at = image.rgb.len() / 3 / 2 * 3;
    u32::from_be_bytes([0, image.rgb[at], image.rgb[at + 1], image.rgb[at + 2]])
}

/// Returns the outputs from left to right: names and left edges.
fn layout(fixture: &Fixture) -> Vec<(&str, i32)> {
    let outputs = fixture.compositor.state.outputs.in_layout();
    outputs.into_iter().map(|output| (output.name.as_str(), output.geometry().loc.x)).collect()
}

/// The kernel removes the framebuffer before its driver has a card, or, with some drivers, never.
#[test]
fn windows_and_place_go_from_the_firmware_to_the_first_monitor_of_the_driver() {
    for is_removed in [true, false] {
        let mut fixture = on_firmware(&FakeDevice::with_outputs(2), "");
        assert_eq!(layout(&fixture), [("Unknown-1", 0)]);
        let mut client = fixture.client();
        client.open("app", RED, None);
        until(&mut fixture, &mut client, "the window", |fixture, _| middle(fixture, "Unknown-1") == RED);
        if is_removed {
            fixture.compositor.state.on_backend_event(Event::GpuRemoved { id: id(FIRMWARE) });
            fixture.iterate();
        }
        fixture.compositor.state.on_backend_event(added(DRIVER));
        until(&mut fixture, &mut client, "the window", |fixture, client| {
            middle(fixture, "DP-1") == RED && client.windows()[0].size == (1920, 1080)
        });
        assert_eq!(layout(&fixture), [("DP-1", 0), ("DP-2", 1920)]);
        let state = &fixture.compositor.state;
        assert!(state.outputs.named("Unknown-1").is_none(), "it is forgotten");
        let assigned = state.shell.windows().iter().filter_map(|window| window.assigned_output.as_deref());
        assert_eq!(assigned.collect::<Vec<_>>(), ["DP-1"]);
    }
}

/// A driver may find its monitors later than it reports its GPU.
#[test]
fn place_of_the_firmware_waits_for_a_monitor() {
    let driver = FakeDevice::with_outputs(1);
    driver.disconnect(driver.connectors()[0]);
    let mut fixture = on_firmware(&driver, "");
    let mut client = fixture.client();
    client.open("app", RED, None);
    until(&mut fixture, &mut client, "the window", |fixture, _| middle(fixture, "Unknown-1") == RED);
    fixture.compositor.state.on_backend_event(Event::GpuRemoved { id: id(FIRMWARE) });
    fixture.compositor.state.on_backend_event(added(DRIVER));
    assert_eq!(layout(&fixture), []);
    driver.connect(driver.connectors()[0], &[mode(1920, 1080, 60)]);
    fixture.compositor.state.on_backend_event(Event::GpuChanged { id: id(DRIVER) });
    until(&mut fixture, &mut client, "the window", |fixture, _| middle(fixture, "DP-1") == RED);
    assert_eq!(layout(&fixture), [("DP-1", 0)]);
}

#[test]
fn panel_goes_from_the_firmware_to_the_driver() {
    let mut fixture = on_firmware(&FakeDevice::with_outputs(1), "");
    let mut client = fixture.client();
    client.open("app", RED, None);
    let panel = layers::create_panel(&client);
    panel.commit();
    until(&mut fixture, &mut client, "a configure event", |_, client| client.layers.configured() > 0);
    client.show(&panel, (800, layers::HEIGHT), GREEN);
    until(&mut fixture, &mut client, "the window below the panel", |_, client| {
        client.windows()[0].size == (800, 600 - layers::HEIGHT)
    });
    fixture.compositor.state.on_backend_event(Event::GpuRemoved { id: id(FIRMWARE) });
    fixture.compositor.state.on_backend_event(added(DRIVER));
    until(&mut fixture, &mut client, "the window below the panel", |_, client| {
        client.windows()[0].size == (1920, 1080 - layers::HEIGHT)
    });
}

/// The monitor of a final disconnect is not unplugged: the service does not end.
#[test]
fn handover_is_no_disconnect() {
    let mut fixture = on_firmware(&FakeDevice::with_outputs(2), "connect_type = \"DISCONNECT_ONCE\"\n");
    fixture.compositor.state.options.display = vec!["*".into()];
    fixture.compositor.state.reconfigure("named");
    assert_eq!(layout(&fixture), [("Unknown-1", 0)]);
    fixture.compositor.state.on_backend_event(Event::GpuRemoved { id: id(FIRMWARE) });
    fixture.compositor.state.on_backend_event(added(DRIVER));
    let state = &fixture.compositor.state;
    assert!(!state.is_stopping() && state.failure.is_none(), "{:?}", state.failure);
    let disconnects = state.outputs.iter().map(|output| output.counts().disconnects);
    assert_eq!(disconnects.collect::<Vec<_>>(), [0, 0]);
}
