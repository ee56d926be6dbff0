//! The search with test commits over several outputs.

use drm::buffer::DrmFourcc;
use drm::control::connector::Interface;
use geom_display::fallback::Failure;
use geom_display::mode::Mode;
use geom_display::signal_format::SignalFormat;
use rustix::io::Errno;

use super::{stopped, Rig};
use crate::fake::{mode, FakeDevice};
use crate::objects::{PlaneKind, Probe};

/// Pixels per second of the two modes of [`FakeDevice::with_outputs`].
const FULL_HD: u64 = 1920 * 1080 * 60;
const HD: u64 = 1280 * 720 * 60;

fn plain(outputs: &[&'static str]) -> Vec<(&'static str, SignalFormat)> {
    outputs.iter().map(|output| (*output, SignalFormat::default())).collect()
}

#[test]
fn all_outputs_are_tested_together() {
    let mut rig = Rig::with_outputs(3);
    let result = rig.search(&plain(&["DP-1", "DP-2", "DP-3"]));
    assert_eq!(result.assignments.len(), 3);
    let last = rig.fake.take_commits().pop().expect("a test commit");
    assert!(last.is_test() && last.result.is_ok());
    for crtc in rig.fake.crtcs() {
        assert_eq!(last.value(crtc, "ACTIVE"), Some(1));
    }
    assert!(rig.commits().is_empty(), "a search changes nothing");
}

#[test]
fn shared_bandwidth_lowers_one_mode_and_keeps_all_outputs() {
    let mut rig = Rig::with_outputs(3);
    rig.fake.limit_bandwidth(2 * FULL_HD + HD);
    let result = rig.search(&plain(&["DP-1", "DP-2", "DP-3"]));
    let widths: Vec<u16> = result.assignments.iter().map(|found| found.mode.width).collect();
    assert_eq!(widths.iter().filter(|width| **width == 1920).count(), 2, "{widths:?}");
    assert_eq!(widths.len(), 3);
    assert!(result.failed.is_empty());
}

#[test]
fn output_without_bandwidth_stays_disabled_with_the_reason() {
    let mut rig = Rig::with_outputs(2);
    rig.fake.limit_bandwidth(HD + HD / 2);
    let result = rig.search(&plain(&["DP-1", "DP-2"]));
    assert_eq!(result.assignments.len(), 1);
    let (_, failure) = &result.failed[0];
    assert!(matches!(failure, Failure::Refused(reason) if reason.contains("No space left")), "{failure}");
}

#[test]
fn more_monitors_than_crtcs_leave_one_disabled() {
    let fake = FakeDevice::with_outputs(2);
    let third = fake.add_connector(Interface::HDMIA, &fake.crtcs());
    fake.connect(third, &[mode(1920, 1080, 60)]);
    let mut rig = Rig::new(fake);
    let result = rig.search(&plain(&["DP-1", "DP-2", "HDMI-A-1"]));
    assert_eq!(result.assignments.len(), 2);
    assert_eq!(result.failed, [(2, Failure::NoCrtc)]);
}

#[test]
fn crtcs_are_assigned_by_what_can_drive_a_connector() {
    let fake = FakeDevice::new();
    let crtcs = [fake.add_crtc(), fake.add_crtc()];
    for crtc in crtcs {
        fake.add_plane(PlaneKind::Primary, &[crtc], &[DrmFourcc::Xrgb8888]);
    }
    // The first connector can use both CRTCs, the second only the first one.
    let any = fake.add_connector(Interface::DisplayPort, &crtcs);
    let first_only = fake.add_connector(Interface::DisplayPort, &crtcs[..1]);
    for connector in [any, first_only] {
        fake.connect(connector, &[mode(1280, 720, 60)]);
    }
    let mut rig = Rig::new(fake);
    rig.enable(&["DP-1", "DP-2"]);
    assert_eq!(rig.fake.value(any, "CRTC_ID"), Some(crtcs[1].into()));
    assert_eq!(rig.fake.value(first_only, "CRTC_ID"), Some(crtcs[0].into()));
}

#[test]
fn output_stays_on_the_crtc_of_the_previous_master() {
    let fake = FakeDevice::with_outputs(2);
    let (crtcs, connectors) = (fake.crtcs(), fake.connectors());
    fake.show(crtcs[1], connectors[0], &mode(1920, 1080, 60), 0);
    let mut rig = Rig::new(fake);
    let result = rig.search(&plain(&["DP-1", "DP-2"]));
    let of = |request: usize| result.assignments.iter().find(|found| found.request == request);
    assert_eq!(of(0).map(|found| found.crtc), Some(1));
    assert_eq!(of(1).map(|found| found.crtc), Some(0));
}

#[test]
fn plainer_signal_is_taken_if_the_kernel_refuses_the_wanted_one() {
    let mut rig = Rig::with_outputs(1);
    let connector = rig.fake.connectors()[0];
    rig.fake.fail_commits(Errno::INVAL, move |commit| commit.value(connector, "max bpc") == Some(12));
    let deep = SignalFormat { bit_depth: Some(12), ..SignalFormat::default() };
    let result = rig.search(&[("DP-1", deep)]);
    let found = &result.assignments[0];
    assert_eq!(found.mode.width, 1920, "the mode stays");
    assert_ne!(found.signal.bit_depth, Some(12));
}

#[test]
fn second_search_does_not_repeat_what_the_kernel_refused() {
    let mut rig = Rig::with_outputs(2);
    rig.fake.limit_bandwidth(FULL_HD + HD);
    rig.enable(&["DP-1", "DP-2"]);
    rig.fake.take_calls();
    let result = rig.search(&plain(&["DP-1", "DP-2"]));
    assert_eq!(result.assignments.len(), 2);
    let sent = rig.fake.take_commits().len();
    assert!(sent <= 2, "{sent} test commits for an unchanged state");
}

/// A request that takes bandwidth of another output passes both searches: the one of its test, and
/// the one of its commit.
#[test]
fn test_search_does_not_change_what_the_next_search_finds() {
    let mut rig = Rig::with_outputs(2);
    rig.fake.limit_bandwidth(FULL_HD + HD);
    let modes = [rig.modes("DP-1"), rig.modes("DP-2")];
    let lowered = |modes: &[Mode]| vec![modes[1]];
    let plain = SignalFormat::default();
    let before =
        [("DP-1".to_owned(), modes[0].clone(), plain), ("DP-2".to_owned(), lowered(&modes[1]), plain)];
    rig.commit_requests(&before).expect("the kernel accepts it");
    // The second output gets its large mode, which leaves the small one to the first.
    let after = [("DP-2".to_owned(), modes[1].clone(), plain), ("DP-1".to_owned(), modes[0].clone(), plain)];
    let mut found = || rig.device.search(&after, &mut rig.buffers, &stopped).assignments;
    let tested = found();
    assert_eq!(tested.iter().map(|found| found.mode.width).collect::<Vec<_>>(), [1920, 1280]);
    assert_eq!(found(), tested);
}

#[test]
fn mode_without_a_buffer_is_skipped() {
    let mut rig = Rig::with_outputs(1);
    rig.buffers.max_width = Some(1280);
    let result = rig.search(&plain(&["DP-1"]));
    assert_eq!(result.assignments[0].mode.width, 1280);
    rig.buffers.max_width = Some(640);
    let result = rig.search(&plain(&["DP-1"]));
    let (_, failure) = &result.failed[0];
    assert!(failure.to_string().contains("cannot allocate a framebuffer"), "{failure}");
}

#[test]
fn unknown_output_fails_and_the_others_are_enabled() {
    let mut rig = Rig::with_outputs(1);
    let modes = rig.modes("DP-1");
    let wanted = ["DP-9", "DP-1"].map(|name| (name.to_owned(), modes.clone(), SignalFormat::default()));
    let result = rig.device.search(&wanted, &mut rig.buffers, &stopped);
    assert_eq!(result.assignments.len(), 1);
    assert_eq!(result.failed, [(0, Failure::NoCrtc)]);
}

#[test]
fn probe_finds_what_is_connected() {
    let mut rig = Rig::with_outputs(2);
    rig.fake.disconnect(rig.fake.connectors()[1]);
    let added = rig.fake.add_connector(Interface::HDMIA, &rig.fake.crtcs());
    rig.fake.connect(added, &[mode(800, 600, 60)]);
    rig.device.probe(&Probe::All).expect("a probe");
    let probed = rig.device.probed(false);
    let found: Vec<_> = probed
        .connectors
        .iter()
        .map(|connector| (connector.name.as_str(), connector.connected, connector.modes.len()))
        .collect();
    assert_eq!(found, [("DP-1", true, 2), ("DP-2", false, 0), ("HDMI-A-1", true, 1)]);
    assert!(probed.connectors[0].port.as_deref().is_some_and(|port| port.ends_with("/DP-1")));
    assert!(probed.connectors[0].modes[0].preferred);
}
