//! What follows when the training of a link has failed (`link-status`).

use super::{plain_choice, Rig};
use crate::fake::mode;
use crate::Probe;

const GOOD: u64 = 0;
const BAD: u64 = 1;

/// Returns a device with two enabled outputs, the link of the first of which has failed.
fn with_failed_link() -> Rig {
    let mut rig = Rig::with_outputs(2);
    rig.enable(&["DP-1", "DP-2"]);
    rig.fake.set_value(rig.fake.connectors()[0], "link-status", BAD);
    rig.fake.take_calls();
    rig
}

#[test]
fn failed_link_gets_a_modeset_and_other_outputs_none() {
    let mut rig = with_failed_link();
    rig.device.probe(&Probe::All).expect("a probe");
    rig.enable(&["DP-1", "DP-2"]);
    let commit = rig.the_commit();
    let (crtcs, connectors) = (rig.fake.crtcs(), rig.fake.connectors());
    assert_eq!(commit.value(connectors[0], "link-status"), Some(GOOD));
    assert_eq!(commit.value(crtcs[0], "ACTIVE"), Some(1));
    assert!(!commit.has(crtcs[1]) && !commit.has(connectors[1]), "{commit:?}");
    rig.device.probe(&Probe::All).expect("a probe");
    rig.enable(&["DP-1", "DP-2"]);
    assert!(rig.commits().is_empty(), "the link is good again");
}

/// The first frame of the modeset is drawn, as after each modeset.
#[test]
fn failed_link_is_not_unchanged() {
    let mut rig = with_failed_link();
    let mode = rig.modes("DP-1")[0];
    let is_unchanged = |rig: &Rig| rig.device.unchanged_state("DP-1", 0, &plain_choice(mode)).is_some();
    assert!(is_unchanged(&rig));
    rig.device.probe(&Probe::All).expect("a probe");
    assert!(!is_unchanged(&rig));
}

/// The driver drops modes that the link cannot carry any more.
#[test]
fn failed_link_gets_the_modes_that_are_left() {
    let mut rig = with_failed_link();
    rig.fake.connect(rig.fake.connectors()[0], &[mode(1280, 720, 60)]);
    rig.device.probe(&Probe::All).expect("a probe");
    rig.enable(&["DP-1", "DP-2"]);
    let widths: Vec<_> = rig.device.crtc_states().map(|state| state.mode.width).collect();
    assert_eq!(widths, [1280, 1920]);
}

#[test]
fn every_modeset_writes_that_the_link_is_good() {
    let mut rig = Rig::with_outputs(1);
    let connector = rig.fake.connectors()[0];
    rig.fake.set_value(connector, "link-status", BAD);
    rig.enable(&["DP-1"]);
    assert_eq!(rig.fake.value(connector, "link-status"), Some(GOOD));
}

/// A link may fail while its output is blanked, without an event.
#[test]
fn unblanking_trains_a_failed_link_again() {
    let mut rig = with_failed_link();
    rig.device.set_active(&["DP-1"], false).expect("the kernel accepts it");
    rig.fake.set_value(rig.fake.connectors()[0], "link-status", BAD);
    rig.device.set_active(&["DP-1"], true).expect("the kernel accepts it");
    assert_eq!(rig.fake.value(rig.fake.connectors()[0], "link-status"), Some(GOOD));
    assert!(rig.commits().iter().all(|commit| !commit.has(rig.fake.connectors()[1])));
}

#[test]
fn drivers_without_link_status_are_driven() {
    let mut rig = Rig::with_outputs(1);
    rig.fake.remove_property(rig.fake.connectors()[0], "link-status");
    rig.device.probe(&Probe::All).expect("a probe");
    rig.enable(&["DP-1"]);
    rig.device.set_active(&["DP-1"], false).expect("the kernel accepts it");
    assert_eq!(rig.fake.value(rig.fake.crtcs()[0], "ACTIVE"), Some(0));
}
