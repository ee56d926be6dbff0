//! What frames commit, page flips and damage.

use std::time::Duration;

use drm::control::AtomicCommitFlags;

use super::{Rig, SIZE};
use crate::calls::PageFlip;
use crate::commit::MAX_DAMAGE_CLIPS;
use crate::fake::FakeDevice;
use crate::Frame;

const FLIP: AtomicCommitFlags = AtomicCommitFlags::NONBLOCK.union(AtomicCommitFlags::PAGE_FLIP_EVENT);

#[test]
fn frame_sets_the_primary_plane_and_nothing_else() {
    let mut rig = Rig::with_outputs(2);
    rig.enable(&["DP-1", "DP-2"]);
    rig.commits();
    let frame = rig.frame(SIZE);
    rig.device.submit(1, &frame).expect("the kernel accepts it");
    let commit = rig.the_commit();
    assert_eq!(commit.flags, FLIP);
    let primary = rig.fake.planes()[2];
    assert!(commit.changes.iter().all(|change| change.object == primary), "{commit:?}");
    assert_eq!(commit.changes.len(), 10);
}

#[test]
fn page_flips_are_reported_with_their_crtc() {
    let mut rig = Rig::with_outputs(2);
    rig.enable(&["DP-1", "DP-2"]);
    for crtc in [1, 0] {
        let frame = rig.frame(SIZE);
        rig.device.submit(crtc, &frame).expect("the kernel accepts it");
    }
    let time = Duration::from_millis(33);
    rig.fake.complete_flips(time);
    let mut flips = Vec::new();
    rig.device.read_page_flips(&mut flips).expect("two events");
    let found: Vec<_> =
        flips.iter().map(|(crtc, PageFlip { time, sequence, .. })| (*crtc, *time, *sequence)).collect();
    assert_eq!(found, [(0, time, 1), (1, time, 1)]);
    assert!(rig.device.read_page_flips(&mut flips).is_err(), "no more events");
}

#[test]
fn old_framebuffers_are_not_removed_while_shown() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    for _ in 0..3 {
        let frame = rig.frame(SIZE);
        rig.device.submit(0, &frame).expect("the kernel accepts it");
        drop(frame);
        rig.shown.clear();
        rig.fake.complete_flips(Duration::from_millis(16));
    }
    assert_eq!(rig.fake.removed_while_shown(), 0);
    rig.buffers.buffers.clear();
    assert_eq!(rig.fake.resource_counts().0, 1);
}

#[test]
fn fence_is_committed_with_its_framebuffer() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    rig.commits();
    assert!(rig.device.takes_fences(0));
    let mut frame = rig.frame(SIZE);
    let fence = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).expect("an eventfd");
    let number = std::os::fd::AsRawFd::as_raw_fd(&fence);
    frame.fence = Some(fence);
    rig.device.submit(0, &frame).expect("the kernel accepts it");
    let fence = rig.the_commit().value(rig.fake.planes()[0], "IN_FENCE_FD");
    assert_eq!(fence, Some(number as u64));
}

#[test]
fn damage_is_committed_for_drivers_that_use_it() {
    let fake = FakeDevice::with_outputs(1);
    fake.set_driver("virtio_gpu", true);
    let mut rig = Rig::new(fake);
    rig.enable(&["DP-1"]);
    rig.commits();
    let clips = [[0, 0, 10, 20], [100, 200, 1920, 1080]];
    let damage = rig.device.damage_clips(clips.into_iter()).expect("a blob");
    let expected: Vec<u8> = clips.iter().flatten().flat_map(|edge| edge.to_ne_bytes()).collect();
    assert_eq!(rig.fake.blob_content(damage.id()), Some(expected));
    let number = damage.id();
    let frame = Frame { damage: Some(damage), ..rig.frame(SIZE) };
    rig.device.submit(0, &frame).expect("the kernel accepts it");
    assert_eq!(rig.the_commit().value(rig.fake.planes()[0], "FB_DAMAGE_CLIPS"), Some(number));
}

#[test]
fn no_damage_and_too_much_damage_mean_the_whole_frame() {
    let fake = FakeDevice::with_outputs(1);
    fake.set_driver("udl", true);
    let rig = Rig::new(fake);
    let clips = |count: usize| vec![[0, 0, 1, 1]; count].into_iter();
    assert!(rig.device.damage_clips(clips(0)).is_none());
    assert!(rig.device.damage_clips(clips(MAX_DAMAGE_CLIPS)).is_some());
    assert!(rig.device.damage_clips(clips(MAX_DAMAGE_CLIPS + 1)).is_none());
}

#[test]
fn other_drivers_get_no_damage() {
    let rig = Rig::with_outputs(1);
    assert!(rig.device.damage_clips([[0, 0, 1, 1]].into_iter()).is_none());
}

#[test]
fn client_buffer_is_tested_and_then_shown() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    rig.commits();
    let frame = rig.frame(SIZE);
    rig.device.test_frame(0, &frame).expect("the kernel accepts it");
    let tested = rig.fake.take_commits().remove(0);
    assert_eq!(tested.flags, AtomicCommitFlags::TEST_ONLY);
    let before = rig.device.framebuffer(0).map(|framebuffer| framebuffer.handle());
    assert_eq!(rig.fake.value(rig.fake.planes()[0], "FB_ID"), before.map(|before| u32::from(before).into()));
}
