//! What frames commit, page flips, damage and cursors.

use std::time::Duration;

use drm::control::AtomicCommitFlags;

use super::{Rig, SIZE};
use crate::calls::PageFlip;
use crate::commit::{CursorPlane, MAX_DAMAGE_CLIPS};
use crate::cursor::{Cursor, CursorImage};
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
fn cursor_moves_without_a_new_buffer_and_alternates_with_new_images() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    let mut cursor = Cursor::default();
    let pixels = [1u8, 2, 3, 4].repeat(2 * 3);
    let mut place = |rig: &Rig, serial, position| {
        let image = CursorImage { serial, width: 2, height: 3, argb: &pixels };
        match cursor.place(&rig.device, &image, position).expect("a buffer") {
            CursorPlane::Shown { framebuffer, size, position } => {
                assert_eq!(size, (64, 64));
                (framebuffer, position)
            }
            CursorPlane::Hidden => panic!("hidden"),
        }
    };
    let (first, at) = place(&rig, 1, (10, -5));
    assert_eq!(at, (10, -5));
    assert_eq!(place(&rig, 1, (11, 0)), (first, (11, 0)));
    let (second, _) = place(&rig, 2, (0, 0));
    assert_ne!(first, second, "the first buffer may be scanned out");
    assert_eq!(place(&rig, 3, (0, 0)).0, first);
}

#[test]
fn cursor_is_committed_with_a_negative_position_and_hidden() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    rig.commits();
    let image = CursorImage { serial: 1, width: 1, height: 1, argb: &[0; 4] };
    let mut cursor = Cursor::default();
    let state = cursor.place(&rig.device, &image, (-7, 9)).expect("a buffer");
    assert!(cursor.is_changed(&rig.device, 0, state), "what is committed is unknown");
    let frame = Frame { cursor: Some(state), ..Frame::default() };
    rig.device.submit(0, &frame).expect("the kernel accepts it");
    cursor.set_committed(Some(state));
    assert!(!cursor.is_changed(&rig.device, 0, state));
    let (commit, plane) = (rig.the_commit(), rig.fake.planes()[1]);
    assert!(!commit.has(rig.fake.planes()[0]));
    assert_eq!(commit.value(plane, "CRTC_X"), Some(-7i64 as u64));
    assert_eq!((commit.value(plane, "CRTC_Y"), commit.value(plane, "CRTC_W")), (Some(9), Some(64)));
    rig.fake.complete_flips(Duration::ZERO);
    let frame = Frame { cursor: Some(CursorPlane::Hidden), ..Frame::default() };
    rig.device.submit(0, &frame).expect("the kernel accepts it");
    assert_eq!(rig.fake.value(plane, "CRTC_ID"), Some(0));
}

#[test]
fn images_larger_than_the_plane_are_drawn() {
    let rig = Rig::with_outputs(1);
    let cursor = Cursor::default();
    let image = |width, height| CursorImage { serial: 1, width, height, argb: &[] };
    assert!(cursor.fits(&rig.device, 0, &image(64, 64)));
    assert!(!cursor.fits(&rig.device, 0, &image(65, 1)));
    assert!(!cursor.fits(&rig.device, 0, &image(1, 65)));
    assert!(!cursor.fits(&rig.device, 1, &image(1, 1)), "no such CRTC");
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
