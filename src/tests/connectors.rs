//! Connectors whose driver cannot tell whether a monitor is connected, and monitors whose modes
//! come late.

use geom_kms::fake::{mode, FakeDevice};

use super::{card_id, Fixture};
use crate::backend::kms::Event as KmsEvent;

#[test]
fn connector_of_unknown_status_is_used_if_no_other_one_is_connected() {
    let gpu = FakeDevice::with_outputs(2);
    let connectors = gpu.connectors();
    gpu.connect_unknown(connectors[0], &[mode(1024, 768, 60)]);
    gpu.disconnect(connectors[1]);
    let mut fixture = Fixture::on_gpu(&gpu);
    let state = &mut fixture.compositor.state;
    assert_eq!(state.outputs.enabled_names(), ["DP-1"]);
    // A monitor that is there for sure.
    gpu.connect(connectors[1], &[mode(1920, 1080, 60)]);
    state.on_backend_event(KmsEvent::GpuChanged { id: card_id() });
    assert_eq!(state.outputs.enabled_names(), ["DP-2"]);
    gpu.disconnect(connectors[1]);
    state.on_backend_event(KmsEvent::GpuChanged { id: card_id() });
    assert_eq!(state.outputs.enabled_names(), ["DP-1"]);
}

#[test]
fn monitor_whose_modes_come_late_is_enabled_without_another_event() {
    let gpu = FakeDevice::with_outputs(1);
    let connector = gpu.connectors()[0];
    gpu.connect(connector, &[]);
    let mut fixture = Fixture::on_gpu(&gpu);
    assert!(fixture.compositor.state.outputs.enabled_names().is_empty());
    gpu.connect(connector, &[mode(1920, 1080, 60)]);
    fixture.until("the display", |fixture| fixture.compositor.state.outputs.enabled_names() == ["DP-1"]);
}
