//! The variable refresh rate: switched by a frame, or by a modeset if the kernel wants one.

use drm::control::AtomicCommitFlags;
use geom_display::signal_format::SignalFormat;
use rustix::io::Errno;

use super::{Rig, SIZE};
use crate::fake::Commit;
use crate::Frame;

fn signal(vrr: bool) -> SignalFormat {
    SignalFormat { vrr, ..SignalFormat::default() }
}

fn is_modeset(commit: &Commit) -> bool {
    commit.flags.contains(AtomicCommitFlags::ALLOW_MODESET)
}

/// Submits what is pending, as the next frame does.
fn submit_pending(rig: &mut Rig) {
    let vrr = rig.device.pending_vrr(0);
    rig.device.submit(0, &Frame { vrr, ..Frame::default() }).expect("the kernel accepts it");
    rig.fake.complete_flips(std::time::Duration::ZERO);
}

#[test]
fn next_frame_switches_vrr_without_a_modeset() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    let (crtc, plane) = (rig.fake.crtcs()[0], rig.fake.planes()[0]);
    let shown = rig.fake.value(plane, "FB_ID");
    for vrr in [true, false] {
        rig.commits();
        rig.commit_with(&[("DP-1", signal(vrr))]).expect("the kernel accepts it");
        assert!(rig.commits().is_empty(), "the frame brings it");
        assert_eq!(rig.device.pending_vrr(0), Some(vrr));
        submit_pending(&mut rig);
        let commit = rig.the_commit();
        assert!(!is_modeset(&commit) && !commit.has(plane), "{commit:?}");
        assert_eq!(rig.fake.value(crtc, "VRR_ENABLED"), Some(vrr.into()));
        assert_eq!(rig.fake.value(crtc, "ACTIVE"), Some(1));
        assert_eq!(rig.fake.value(plane, "FB_ID"), shown);
        assert_eq!(rig.device.pending_vrr(0), None);
    }
}

#[test]
fn vrr_is_switched_by_a_modeset_if_the_kernel_wants_one() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    let crtc = rig.fake.crtcs()[0];
    rig.commits();
    rig.fake.fail_commits(Errno::INVAL, move |commit| {
        commit.value(crtc, "VRR_ENABLED").is_some() && !is_modeset(commit)
    });
    rig.commit_with(&[("DP-1", signal(true))]).expect("the kernel accepts it");
    assert!(is_modeset(&rig.the_commit()));
    assert_eq!(rig.fake.value(crtc, "VRR_ENABLED"), Some(1));
    assert_eq!(rig.device.pending_vrr(0), None);
}

#[test]
fn frame_that_is_refused_with_vrr_leaves_it_to_a_modeset() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    rig.commit_with(&[("DP-1", signal(true))]).expect("the kernel accepts it");
    rig.device.refuse_vrr_switch(0);
    assert_eq!(rig.device.pending_vrr(0), None);
    let frame = rig.frame(SIZE);
    rig.device.submit(0, &frame).expect("the kernel accepts it");
    rig.commits();
    rig.commit_with(&[("DP-1", signal(true))]).expect("the kernel accepts it");
    assert!(is_modeset(&rig.the_commit()));
    assert_eq!(rig.fake.value(rig.fake.crtcs()[0], "VRR_ENABLED"), Some(1));
}

#[test]
fn vrr_that_is_taken_back_before_the_frame_is_not_pending() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    rig.commits();
    for vrr in [true, false] {
        rig.commit_with(&[("DP-1", signal(vrr))]).expect("the kernel accepts it");
    }
    assert_eq!(rig.device.pending_vrr(0), None);
    assert!(rig.commits().is_empty());
}

#[test]
fn vrr_that_was_reset_comes_back_with_the_next_frame() {
    let mut rig = Rig::with_outputs(1);
    rig.commit_with(&[("DP-1", signal(true))]).expect("the kernel accepts it");
    rig.device.reset_color_state();
    assert_eq!(rig.device.pending_vrr(0), Some(true));
    submit_pending(&mut rig);
    assert_eq!(rig.fake.value(rig.fake.crtcs()[0], "VRR_ENABLED"), Some(1));
}
