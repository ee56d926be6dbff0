//! Cursor planes: buffers, positions and hotspots.

use std::time::Duration;

use super::Rig;
use crate::commit::CursorPlane;
use crate::cursor::{Cursor, CursorImage};
use crate::fake::{Commit, FakeDevice};
use crate::Frame;

#[test]
fn cursor_moves_without_a_new_buffer_and_new_images_leave_what_may_be_scanned_out() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    let (rig, mut cursor) = (rig, Cursor::default());
    let pixels = [1u8, 2, 3, 4].repeat(2 * 3);
    let place = |cursor: &mut Cursor, serial, position| {
        let image = CursorImage { serial, width: 2, height: 3, hotspot: (0, 0), argb: &pixels };
        let state = cursor.place(&rig.device, 0, &image, position).expect("a buffer");
        match state {
            CursorPlane::Shown { framebuffer, size, position, .. } => {
                assert_eq!(size, (64, 64));
                (state, framebuffer, position)
            }
            CursorPlane::Hidden => panic!("hidden"),
        }
    };
    let (state, first, at) = place(&mut cursor, 1, (10, -5));
    assert_eq!(at, (10, -5));
    cursor.set_committed(Some(state));
    let (state, again, at) = place(&mut cursor, 1, (11, 0));
    assert_eq!((again, at), (first, (11, 0)));
    cursor.set_committed(Some(state));
    // Images that are never committed.
    for serial in 2..6 {
        assert_ne!(place(&mut cursor, serial, (0, 0)).1, first, "it is scanned out");
    }
    let (state, second, _) = place(&mut cursor, 6, (0, 0));
    cursor.set_committed(Some(state));
    let (state, third, _) = place(&mut cursor, 7, (0, 0));
    assert!(third != second && third != first, "the first one is scanned out until the flip");
    cursor.set_committed(Some(state));
    assert_eq!(place(&mut cursor, 8, (0, 0)).1, first);
}

#[test]
fn cursor_is_committed_with_a_negative_position_and_hidden() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    rig.commits();
    let image = CursorImage { serial: 1, width: 1, height: 1, hotspot: (0, 0), argb: &[0; 4] };
    let mut cursor = Cursor::default();
    let state = cursor.place(&rig.device, 0, &image, (-7, 9)).expect("a buffer");
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
    let image = |width, height| CursorImage { serial: 1, width, height, hotspot: (0, 0), argb: &[] };
    assert!(cursor.fits(&rig.device, 0, &image(64, 64)));
    assert!(!cursor.fits(&rig.device, 0, &image(65, 1)));
    assert!(!cursor.fits(&rig.device, 0, &image(1, 65)));
    assert!(!cursor.fits(&rig.device, 1, &image(1, 1)), "no such CRTC");
}

/// Shows an image on the cursor plane; returns the commit.
fn show(rig: &mut Rig, hotspot: (i32, i32)) -> Commit {
    rig.enable(&["DP-1"]);
    rig.commits();
    let image = CursorImage { serial: 1, width: 1, height: 1, hotspot, argb: &[0; 4] };
    let mut cursor = Cursor::default();
    let state = cursor.place(&rig.device, 0, &image, (10, 20)).expect("a buffer");
    let frame = Frame { cursor: Some(state), ..Frame::default() };
    rig.device.submit(0, &frame).expect("the kernel accepts it");
    rig.the_commit()
}

/// As with virtual GPUs since Linux 6.8.
#[test]
fn hotspot_is_written_to_planes_that_have_one() {
    let fake = FakeDevice::with_outputs(1);
    let plane = fake.planes()[1];
    fake.set_driver("virtio_gpu", true);
    fake.add_hotspot(plane);
    fake.hide_cursor_planes();
    let mut rig = Rig::new(fake);
    let commit = show(&mut rig, (5, -1));
    let hotspot = ["HOTSPOT_X", "HOTSPOT_Y"].map(|name| commit.value(plane, name));
    assert_eq!(hotspot, [Some(5), Some(-1i64 as u64)]);
}

#[test]
fn moved_hotspot_is_a_change() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    let mut cursor = Cursor::default();
    let image = |hotspot| CursorImage { serial: 1, width: 1, height: 1, hotspot, argb: &[0; 4] };
    let state = cursor.place(&rig.device, 0, &image((0, 0)), (10, 20)).expect("a buffer");
    cursor.set_committed(Some(state));
    let moved = cursor.place(&rig.device, 0, &image((2, 2)), (10, 20)).expect("a buffer");
    assert!(cursor.is_changed(&rig.device, 0, moved));
}

/// As with virtual GPUs before Linux 6.8: the host would show its pointer in the wrong place.
#[test]
fn virtual_gpus_without_hotspots_have_no_cursor_plane() {
    for driver in ["virtio_gpu", "vmwgfx", "qxl", "vboxvideo"] {
        let fake = FakeDevice::with_outputs(1);
        fake.set_driver(driver, true);
        let plane = fake.planes()[1];
        fake.set_value(plane, "FB_ID", 1);
        let mut rig = Rig::new(fake);
        assert!(!rig.device.has_hardware_cursor(0), "{driver}");
        rig.enable(&["DP-1"]);
        assert_eq!(rig.fake.value(plane, "FB_ID"), Some(0), "the plane is switched off");
    }
}

#[test]
fn cursor_buffers_have_the_first_preferred_size_that_fits() {
    let fake = FakeDevice::with_outputs(1);
    fake.set_cursor_size((256, 256));
    fake.add_size_hints(fake.planes()[1], &[(0, 0), (64, 64), (128, 64), (128, 128)]);
    let rig = Rig::new(fake);
    let mut cursor = Cursor::default();
    let mut size_for = |serial, width, height| {
        let argb = vec![0; width as usize * height as usize * 4];
        let image = CursorImage { serial, width, height, hotspot: (0, 0), argb: &argb };
        match cursor.place(&rig.device, 0, &image, (0, 0)).expect("a buffer") {
            CursorPlane::Shown { size, .. } => size,
            CursorPlane::Hidden => panic!("hidden"),
        }
    };
    let images = [(1, 24, 24), (2, 65, 24), (3, 24, 65), (4, 200, 24), (5, 64, 64), (6, 1, 1)];
    let sizes = images.map(|(serial, width, height)| size_for(serial, width, height));
    assert_eq!(sizes, [(64, 64), (128, 64), (128, 128), (256, 256), (64, 64), (64, 64)]);
}
