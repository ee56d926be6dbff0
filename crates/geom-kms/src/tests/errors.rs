//! What follows from the kernel's errors.

use std::io;

use geom_display::signal_format::SignalFormat;
use rustix::io::Errno;

use super::{plain_choice, Rig, SIZE};
use crate::commit::is_refusal;
use crate::cursor::{Cursor, CursorImage};
use crate::fake::FakeDevice;
use crate::{Device, Frame, Probe};

fn errno(result: io::Result<impl std::fmt::Debug>) -> Option<i32> {
    result.expect_err("an error").raw_os_error()
}

fn is(errno: Errno) -> Option<i32> {
    Some(errno.raw_os_error())
}

#[test]
fn commit_without_master_changes_nothing_and_is_noted() {
    let mut rig = Rig::with_outputs(2);
    rig.enable(&["DP-1"]);
    rig.commits();
    let state = rig.state("DP-2", 1, plain_choice(rig.modes("DP-2")[0]));
    rig.fake.set_master(false);
    assert_eq!(errno(rig.device.commit(vec![state])), is(Errno::ACCESS));
    assert!(rig.device.is_enabled("DP-1") && !rig.device.is_enabled("DP-2"));
    assert_eq!(rig.fake.value(rig.fake.crtcs()[0], "ACTIVE"), Some(1));
    assert!(rig.device.is_not_master() && rig.device.take_not_master());
    assert!(!rig.device.take_not_master(), "noted once");
    rig.fake.set_master(true);
    rig.commits();
    rig.enable(&["DP-1"]);
    assert!(rig.the_commit().has(rig.fake.crtcs()[0]), "the other master may have changed everything");
}

#[test]
fn refused_commit_of_one_output_is_no_reason_to_set_the_others() {
    let mut rig = Rig::with_outputs(2);
    rig.enable(&["DP-1"]);
    rig.fake.fail_commits(Errno::INVAL, |commit| !commit.is_test());
    assert!(rig
        .commit_with(&[("DP-1", SignalFormat::default()), ("DP-2", SignalFormat::default())])
        .is_err());
    rig.fake.clear_failures();
    rig.commits();
    rig.enable(&["DP-1", "DP-2"]);
    let commit = rig.the_commit();
    let crtcs = rig.fake.crtcs();
    assert!(!commit.has(crtcs[0]) && commit.has(crtcs[1]), "{commit:?}");
}

#[test]
fn search_without_master_is_noted() {
    let mut rig = Rig::with_outputs(1);
    rig.fake.set_master(false);
    let result = rig.search(&[("DP-1", SignalFormat::default())]);
    assert!(result.assignments.is_empty());
    assert!(rig.device.take_not_master());
}

#[test]
fn other_errors_do_not_count_as_lost_master() {
    let mut rig = Rig::with_outputs(1);
    rig.fake.fail_commits(Errno::INVAL, |_| true);
    assert!(rig.search(&[("DP-1", SignalFormat::default())]).assignments.is_empty());
    assert!(!rig.device.take_not_master());
}

#[test]
fn device_is_first_used_after_the_first_successful_commit() {
    let mut rig = Rig::with_outputs(1);
    rig.fake.fail_commits(Errno::INVAL, |commit| !commit.is_test());
    assert!(rig.commit_with(&[("DP-1", SignalFormat::default())]).is_err());
    assert!(rig.device.never_committed());
    rig.fake.clear_failures();
    rig.enable(&["DP-1"]);
    assert!(!rig.device.never_committed());
}

#[test]
fn mode_that_fails_after_its_test_is_skipped_until_the_next_probe() {
    let mut rig = Rig::with_outputs(1);
    let modes = rig.modes("DP-1");
    rig.fake.fail_commits(Errno::IO, |commit| !commit.is_test());
    assert_eq!(errno(rig.commit_with(&[("DP-1", SignalFormat::default())])), is(Errno::IO));
    rig.device.note_refused_mode("DP-1", modes[0], SignalFormat::default());
    rig.fake.clear_failures();
    let found = rig.search(&[("DP-1", SignalFormat::default())]);
    assert_eq!(found.assignments[0].mode, modes[1]);
    rig.device.probe(&Probe::All).expect("a probe");
    let found = rig.search(&[("DP-1", SignalFormat::default())]);
    assert_eq!(found.assignments[0].mode, modes[0]);
}

#[test]
fn unplugged_device_fails_and_keeps_its_state() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    rig.fake.unplug();
    let frame = rig.device.framebuffer(0).cloned();
    let frame = Frame { primary: frame.map(|framebuffer| (framebuffer, SIZE)), ..Frame::default() };
    assert_eq!(errno(rig.device.submit(0, &frame)), is(Errno::NODEV));
    assert_eq!(errno(rig.device.probe(&Probe::All)), is(Errno::NODEV));
    assert_eq!(errno(rig.device.read_page_flips(&mut Vec::new())), is(Errno::NODEV));
    assert_eq!(errno(rig.device.set_active(&["DP-1"], false)), is(Errno::NODEV));
    rig.device.reset_color_state();
    assert_eq!(rig.device.connectors().len(), 1, "the last probe's connectors stay");
    assert!(rig.device.is_enabled("DP-1"));
}

#[test]
fn frame_before_the_last_page_flip_is_busy_and_changes_nothing() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    let first = rig.frame(SIZE);
    assert!(rig.device.submit(0, &first).expect("the kernel accepts it"));
    let second = rig.frame(SIZE);
    assert_eq!(errno(rig.device.submit(0, &second)), is(Errno::BUSY));
    let shown = rig.device.framebuffer(0).map(|framebuffer| framebuffer.handle());
    assert_eq!(shown, first.primary.map(|(framebuffer, _)| framebuffer.handle()));
    rig.fake.complete_flips(std::time::Duration::from_millis(16));
    assert!(rig.device.submit(0, &second).expect("the kernel accepts it"));
}

#[test]
fn only_some_errors_are_about_what_a_frame_asks_for() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    let about_the_session = [Errno::BUSY, Errno::ACCESS, Errno::NODEV, Errno::NOMEM, Errno::INTR];
    let about_the_frame = [Errno::INVAL, Errno::NOSPC, Errno::RANGE, Errno::TOOBIG];
    for error in about_the_session.into_iter().chain(about_the_frame) {
        rig.fake.fail_commits(error, |_| true);
        let frame = rig.frame(SIZE);
        let result = rig.device.submit(0, &frame).expect_err("the kernel refuses it");
        assert_eq!(is_refusal(&result), about_the_frame.contains(&error), "{error}");
        rig.fake.clear_failures();
    }
    assert!(!is_refusal(&io::Error::other("of this program")));
}

#[test]
fn cursor_plane_that_was_given_up_is_used_when_it_is_allowed_again() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    let image = CursorImage { serial: 1, width: 24, height: 24, hotspot: (0, 0), argb: &[255; 24 * 24 * 4] };
    let mut cursor = Cursor::default();
    assert!(cursor.fits(&rig.device, 0, &image));
    cursor.give_up();
    assert!(!cursor.fits(&rig.device, 0, &image));
    cursor.allow();
    assert!(cursor.fits(&rig.device, 0, &image));
}

#[test]
fn enospc_lowers_the_mode() {
    let mut rig = Rig::with_outputs(1);
    rig.fake.limit_bandwidth(1280 * 720 * 60);
    let result = rig.search(&[("DP-1", SignalFormat::default())]);
    assert_eq!(result.assignments[0].mode, rig.modes("DP-1")[1]);
}

#[test]
fn frame_that_does_not_fit_its_framebuffer_is_refused_and_the_last_one_stays() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    let before = rig.device.framebuffer(0).map(|framebuffer| framebuffer.handle());
    let small = rig.framebuffer((640, 480));
    let frame = Frame { primary: Some((small, SIZE)), ..Frame::default() };
    assert_eq!(errno(rig.device.submit(0, &frame)), is(Errno::NOSPC));
    assert_eq!(rig.device.framebuffer(0).map(|framebuffer| framebuffer.handle()), before);
}

#[test]
fn device_without_crtcs_or_required_properties_is_not_opened() {
    let open = |fake: &FakeDevice| Device::open(fake.open(), "/dev/dri/card3".as_ref(), 3, true);
    let error = open(&FakeDevice::new()).err().expect("no CRTC");
    assert!(error.to_string().starts_with("/dev/dri/card3: "), "{error}");
    let fake = FakeDevice::with_outputs(1);
    fake.remove_property(fake.crtcs()[0], "MODE_ID");
    let error = open(&fake).err().expect("no MODE_ID").to_string();
    assert!(error.contains("MODE_ID"), "{error}");
    assert!(fake.open().into_fd().is_ok());
}

#[test]
fn connector_that_vanishes_during_a_probe_is_left_out() {
    let mut rig = Rig::with_outputs(2);
    let gone = rig.fake.connectors()[1];
    rig.fake.remove_property(gone, "CRTC_ID");
    rig.device.probe(&Probe::All).expect("the other connector is probed");
    let names: Vec<_> =
        rig.device.connectors().iter().map(|connector| connector.state.name.clone()).collect();
    assert_eq!(names, ["DP-1"]);
}
