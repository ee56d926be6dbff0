//! What probes find.

use std::collections::BTreeSet;

use drm::control::connector::Interface;
use drm::control::AtomicCommitFlags;
use geom_display::connector_override::{ConnectorOverride, ConnectorOverrides};
use geom_display::output_config::Transform;
use geom_display::signal_format::SignalFormat;

use super::Rig;
use crate::fake::{mode, Commit, FakeDevice};
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

fn overrides(connector: &str, connected: Option<bool>, edid: Option<Vec<u8>>) -> ConnectorOverrides {
    ConnectorOverrides::from([(connector.to_owned(), ConnectorOverride { connected, edid })])
}

/// Uses overrides, and returns whether the connector counts as connected, and the size and refresh
/// rate in hertz of its modes.
fn overridden(rig: &mut Rig, overrides: &ConnectorOverrides) -> (bool, Vec<(u16, u16, u32)>) {
    assert!(rig.device.set_overrides(overrides));
    rig.device.probe(&Probe::All).expect("a probe");
    let connector = &rig.device.connectors()[0];
    let modes = connector.state.modes.iter();
    let modes = modes.map(|mode| (mode.width, mode.height, (mode.refresh + 500) / 1000));
    (connector.state.connected, modes.collect())
}

/// A KVM switch that hides the monitor while it shows another computer's image.
#[test]
fn forced_connector_has_common_modes_and_is_enabled() {
    let mut rig = Rig::with_outputs(1);
    let connector = rig.fake.connectors()[0];
    let name = rig.device.connectors()[0].state.name.clone();
    let forced = overrides(&name, Some(true), None);
    let kernel_modes = overridden(&mut rig, &forced).1;
    rig.fake.disconnect(connector);
    rig.device.probe(&Probe::All).expect("a probe");
    let state = rig.device.connectors()[0].state.clone();
    assert!(state.connected, "it stays connected");
    assert_ne!(state.modes.len(), kernel_modes.len(), "the kernel's modes were of the monitor");
    let preferred: Vec<_> =
        state.modes.iter().filter(|mode| mode.preferred).map(|mode| (mode.width, mode.height)).collect();
    assert_eq!(preferred, [(1024, 768)]);
    rig.enable(&[&name]);
    assert!(rig.device.is_enabled(&name));
    // Without the override it is disconnected again.
    assert_eq!(overridden(&mut rig, &ConnectorOverrides::new()), (false, vec![]));
}

#[test]
fn ignored_connector_is_disconnected() {
    let mut rig = Rig::with_outputs(1);
    let name = rig.device.connectors()[0].state.name.clone();
    assert_eq!(overridden(&mut rig, &overrides(&name, Some(false), None)), (false, vec![]));
    assert!(!rig.device.set_overrides(&overrides(&name, Some(false), None)), "the same");
}

#[test]
fn configured_edid_has_the_monitor_s_modes_and_identity() {
    let mut rig = Rig::with_outputs(1);
    let connector = rig.fake.connectors()[0];
    let name = rig.device.connectors()[0].state.name.clone();
    let bytes = edid_of_a_television();
    let configured = overrides(&name, None, Some(bytes.clone()));
    let modes = vec![(1280, 800, 60), (1920, 1080, 50), (3840, 2160, 30)];
    assert_eq!(overridden(&mut rig, &configured), (true, modes.clone()));
    let state = &rig.device.connectors()[0].state;
    assert!(state.modes[0].preferred && !state.modes[1].preferred);
    assert_eq!(state.monitor.as_ref().map(|monitor| monitor.make.as_str()), Some("GSM"));
    assert!(state.edid.is_some());
    rig.fake.disconnect(connector);
    rig.device.probe(&Probe::All).expect("a probe");
    assert!(!rig.device.connectors()[0].state.connected, "an EDID alone connects nothing");
    assert_eq!(overridden(&mut rig, &overrides(&name, Some(true), Some(bytes))), (true, modes));
    rig.enable(&[&name]);
    // The monitor is back: its link has to be set up, though nothing else changes.
    rig.commits();
    rig.fake.connect(connector, &[mode(1024, 768, 60)]);
    for modesets in [1, 0] {
        rig.device.probe(&Probe::All).expect("a probe");
        rig.enable(&[&name]);
        let is_modeset = |commit: &Commit| commit.flags.contains(AtomicCommitFlags::ALLOW_MODESET);
        assert_eq!(rig.commits().iter().filter(|commit| is_modeset(commit)).count(), modesets);
    }
}

/// Returns an EDID with a detailed timing of 1280x800 and the Video Identification Codes 31, 95
/// and an interlaced one.
fn edid_of_a_television() -> Vec<u8> {
    let mut base = [0; 128];
    base[1..7].fill(0xff);
    base[8..10].copy_from_slice(&[0x1e, 0x6d]);
    base[18..20].copy_from_slice(&[1, 4]);
    // 71 MHz; 1280 + 160 pixels, 800 + 23 lines, front porches 48 and 3, sync pulses 32 and 6.
    base[54..72].copy_from_slice(&[
        0xbc, 0x1b, 0x00, 0xa0, 0x50, 0x20, 0x17, 0x30, 0x30, 0x20, 0x36, 0, 0, 0, 0, 0, 0, 0x1a,
    ]);
    base[126] = 1;
    let mut cta = [0; 128];
    cta[..8].copy_from_slice(&[2, 3, 8, 0, 0x43, 31, 95, 5]);
    [base, cta].into_iter().flat_map(with_checksum).collect()
}

fn with_checksum(mut block: [u8; 128]) -> [u8; 128] {
    block[127] = block.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    block
}
