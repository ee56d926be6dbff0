//! What probes find.

use std::collections::BTreeSet;

use drm::control::connector::Interface;
use geom_display::output_config::Transform;
use geom_display::signal_format::SignalFormat;

use super::Rig;
use crate::fake::{mode, FakeDevice};
use crate::Probe;

/// Returns the transform of each connector's panel.
fn orientations(rig: &Rig) -> Vec<Transform> {
    rig.device.connectors().iter().map(|connector| connector.state.panel_orientation).collect()
}

/// With its left side up, a panel is mounted turned to the right, and the image is turned to the
/// left on it.
#[test]
fn panels_that_are_built_in_turned_have_a_transform() {
    let fake = FakeDevice::with_outputs(5);
    for (connector, value) in fake.connectors().into_iter().zip(0..4) {
        fake.add_panel_orientation(connector, value);
    }
    let rig = Rig::new(fake);
    let turned = [Transform::Rotated180, Transform::Rotated90, Transform::Rotated270];
    let expected = [&[Transform::Normal], &turned[..], &[Transform::Normal]].concat();
    assert_eq!(orientations(&rig), expected);
}

fn connected(rig: &Rig) -> Vec<bool> {
    rig.device.connectors().iter().map(|connector| connector.state.connected).collect()
}

#[test]
fn only_the_connectors_of_an_event_are_probed() {
    let mut rig = Rig::with_outputs(3);
    let connectors = rig.fake.connectors();
    assert_eq!(rig.fake.take_probes(), connectors, "all when the device is opened");
    connectors.iter().for_each(|connector| rig.fake.disconnect(*connector));
    rig.device.probe(&Probe::Only(BTreeSet::from([connectors[1]]))).expect("a probe");
    assert_eq!(rig.fake.take_probes(), [connectors[1]]);
    assert_eq!(connected(&rig), [true, false, true], "the others as the last probe found them");
    rig.device.probe(&Probe::All).expect("a probe");
    assert_eq!((rig.fake.take_probes(), connected(&rig)), (connectors, vec![false; 3]));
}

/// As with the link status, which may come with an event about a property.
#[test]
fn properties_are_read_without_a_probe() {
    let mut rig = Rig::with_outputs(1);
    let connector = rig.fake.connectors()[0];
    rig.fake.take_probes();
    rig.fake.set_value(connector, "vrr_capable", 1);
    rig.device.probe(&Probe::Only(BTreeSet::new())).expect("a probe");
    assert!(rig.device.connectors()[0].state.capabilities.vrr);
    assert_eq!(rig.fake.take_probes(), []);
}

#[test]
fn new_connectors_are_probed() {
    let mut rig = Rig::with_outputs(1);
    rig.fake.take_probes();
    let new = rig.fake.add_connector(Interface::DisplayPort, &rig.fake.crtcs());
    rig.fake.connect(new, &[mode(800, 600, 60)]);
    rig.device.probe(&Probe::Only(BTreeSet::new())).expect("a probe");
    assert_eq!((rig.fake.take_probes(), connected(&rig)), (vec![new], vec![true, true]));
}

#[test]
fn refused_modes_of_monitors_that_are_not_probed_stay_refused() {
    let mut rig = Rig::with_outputs(2);
    let connectors = rig.fake.connectors();
    for output in ["DP-1", "DP-2"] {
        let refused = rig.modes(output)[0];
        rig.device.note_refused_mode(output, refused, SignalFormat::default());
    }
    rig.device.probe(&Probe::Only(BTreeSet::from([connectors[1]]))).expect("a probe");
    let wanted = ["DP-1", "DP-2"].map(|output| (output, SignalFormat::default()));
    let widths: Vec<u16> = rig.search(&wanted).assignments.iter().map(|found| found.mode.width).collect();
    assert_eq!(widths, [1280, 1920]);
}

#[test]
fn probes_are_merged() {
    let only = |ids: &[u32]| Probe::Only(ids.iter().copied().collect());
    assert_eq!(only(&[1, 2]).and(only(&[3])), only(&[1, 2, 3]));
    assert_eq!(only(&[1]).and(Probe::All), Probe::All);
}
