//! Blanking and unblanking do not wait for the hardware.

use std::time::Duration;

use drm::control::AtomicCommitFlags;
use rustix::io::Errno;

use super::{Rig, SIZE};
use crate::commit::is_busy;
use crate::fake::Commit;

fn waits(commit: &Commit) -> bool {
    !commit.flags.contains(AtomicCommitFlags::NONBLOCK)
}

#[test]
fn unblanking_does_not_wait_and_its_end_is_a_page_flip_event() {
    let mut rig = Rig::with_outputs(2);
    rig.enable(&["DP-1", "DP-2"]);
    rig.commits();
    assert!(!rig.device.set_active(&["DP-1", "DP-2"], false).expect("the kernel accepts it"));
    assert!(!waits(&rig.the_commit()));
    assert!(rig.device.set_active(&["DP-1", "DP-2"], true).expect("the kernel accepts it"));
    assert!(!waits(&rig.the_commit()));
    let frame = rig.frame(SIZE);
    let early = rig.device.submit(0, &frame).expect_err("the display is not powered up yet");
    assert_eq!(early.raw_os_error(), Some(Errno::BUSY.raw_os_error()));
    rig.fake.complete_flips(Duration::from_secs(1));
    let mut flips = Vec::new();
    rig.device.read_page_flips(&mut flips).expect("events");
    assert_eq!(flips.iter().map(|(crtc, _)| *crtc).collect::<Vec<_>>(), [0, 1]);
    assert!(rig.device.submit(0, &frame).expect("the kernel accepts it"));
}

#[test]
fn blanking_is_refused_while_a_frame_is_pending() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    let frame = rig.frame(SIZE);
    rig.device.submit(0, &frame).expect("the kernel accepts it");
    rig.commits();
    let error = rig.device.set_active(&["DP-1"], false).expect_err("a frame is pending");
    assert!(is_busy(&error), "{error}");
    assert!(!rig.commits().iter().any(waits));
    rig.device.set_active_blocking(&["DP-1"], false).expect("it waits for the frame");
    assert!(waits(&rig.the_commit()));
    assert_eq!(rig.fake.value(rig.fake.crtcs()[0], "ACTIVE"), Some(0));
}

#[test]
fn driver_without_nonblocking_modesets_gets_a_blocking_one() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    rig.fake.fail_commits(Errno::INVAL, |commit| !waits(commit));
    for active in [false, true] {
        rig.commits();
        let is_pending = rig.device.set_active(&["DP-1"], active).expect("the kernel accepts it");
        assert!(!is_pending, "a blocking commit has no end to wait for");
        assert_eq!(rig.commits().iter().map(waits).collect::<Vec<_>>(), [false, true]);
        assert_eq!(rig.fake.value(rig.fake.crtcs()[0], "ACTIVE"), Some(active.into()));
    }
    rig.fake.fail_commits(Errno::INVAL, |_| true);
    assert!(rig.device.set_active(&["DP-1"], false).is_err());
    rig.fake.clear_failures();
    assert_eq!(rig.fake.value(rig.fake.crtcs()[0], "ACTIVE"), Some(1));
}
