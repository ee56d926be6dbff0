//! Connectors whose driver cannot tell whether a monitor is connected, and monitors whose modes
//! come late.

use std::cell::RefCell;
use std::rc::Rc;

use geom_kms::fake::{mode, FakeDevice};

use super::Fixture;
use crate::backend::kms::tests::{FakeSeat, SeatState};
use crate::backend::kms::Event as KmsEvent;

/// A device node that exists everywhere, in place of a GPU's.
const CARD: &str = "/dev/null";

/// Starts a compositor with a GPU.
fn with_gpu(gpu: &FakeDevice) -> (Fixture, u64) {
    let id = rustix::fs::stat(CARD).expect("a device node").st_rdev;
    let seat = Rc::new(RefCell::new(SeatState::default()));
    seat.borrow_mut().gpus.insert(CARD.into(), gpu.clone());
    let mut fixture = Fixture::on_seat(FakeSeat(seat));
    fixture.compositor.state.on_backend_event(KmsEvent::GpuAdded { id, path: CARD.into() });
    (fixture, id)
}

#[test]
fn connector_of_unknown_status_is_used_if_no_other_one_is_connected() {
    let gpu = FakeDevice::with_outputs(2);
    let connectors = gpu.connectors();
    gpu.connect_unknown(connectors[0], &[mode(1024, 768, 60)]);
    gpu.disconnect(connectors[1]);
    let (mut fixture, id) = with_gpu(&gpu);
    let state = &mut fixture.compositor.state;
    assert_eq!(state.outputs.enabled_names(), ["DP-1"]);
    // A monitor that is there for sure.
    gpu.connect(connectors[1], &[mode(1920, 1080, 60)]);
    state.on_backend_event(KmsEvent::GpuChanged { id });
    assert_eq!(state.outputs.enabled_names(), ["DP-2"]);
    gpu.disconnect(connectors[1]);
    state.on_backend_event(KmsEvent::GpuChanged { id });
    assert_eq!(state.outputs.enabled_names(), ["DP-1"]);
}

#[test]
fn monitor_whose_modes_come_late_is_enabled_without_another_event() {
    let gpu = FakeDevice::with_outputs(1);
    let connector = gpu.connectors()[0];
    gpu.connect(connector, &[]);
    let (mut fixture, _) = with_gpu(&gpu);
    assert!(fixture.compositor.state.outputs.enabled_names().is_empty());
    gpu.connect(connector, &[mode(1920, 1080, 60)]);
    fixture.until("the display", |fixture| fixture.compositor.state.outputs.enabled_names() == ["DP-1"]);
}
