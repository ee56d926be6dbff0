//! Drivers without atomic modesetting.

use drm::control::AtomicCommitFlags;
use geom_display::signal_format::SignalFormat;
use rustix::io::Errno;

use super::{Rig, SIZE};
use crate::commit::CursorPlane;
use crate::cursor::{Cursor, CursorImage};
use crate::drm_fd::raw;
use crate::fake::{Call, FakeDevice};
use crate::{Device, Frame};

fn legacy(outputs: usize) -> Rig {
    let fake = FakeDevice::with_outputs(outputs);
    fake.set_driver("radeon", false);
    Rig::new(fake)
}

#[test]
fn modeset_sets_each_crtc_and_hides_leftover_cursors() {
    let mut rig = legacy(2);
    assert!(!rig.device.is_atomic());
    rig.enable(&["DP-1"]);
    let (crtcs, connectors) = (rig.fake.crtcs(), rig.fake.connectors());
    let framebuffer = raw(rig.device.framebuffer(0).expect("a framebuffer").handle());
    let calls = rig.fake.take_calls();
    let [Call::SetCrtc { crtc: first, shown: Some((shown, connector, mode)) }, Call::HideCursor { crtc: hidden }, Call::SetCrtc { crtc: second, shown: None }, Call::HideCursor { .. }] =
        &calls[..]
    else {
        panic!("{calls:?}")
    };
    assert_eq!((*first, *second, *hidden), (crtcs[0], crtcs[1], crtcs[0]));
    assert_eq!((*shown, *connector, mode.size()), (framebuffer, connectors[0], (1920, 1080)));
}

#[test]
fn drivers_without_a_hardware_cursor_are_no_error() {
    let mut rig = legacy(1);
    rig.fake.fail_calls(Errno::NXIO, |call| matches!(call, Call::HideCursor { .. }));
    rig.enable(&["DP-1"]);
    assert!(rig.device.is_enabled("DP-1"));
}

#[test]
fn frames_flip_the_framebuffer_and_nothing_else() {
    let mut rig = legacy(1);
    rig.enable(&["DP-1"]);
    rig.fake.take_calls();
    let frame = rig.frame(SIZE);
    assert!(rig.device.submit(0, &frame).expect("the kernel accepts it"));
    assert!(matches!(rig.fake.take_calls()[..], [Call::PageFlip { .. }]));
    let second = rig.frame(SIZE);
    assert_eq!(
        rig.device.submit(0, &second).err().and_then(|error| error.raw_os_error()),
        Some(Errno::BUSY.raw_os_error())
    );
    let hidden = Frame { cursor: Some(CursorPlane::Hidden), ..Frame::default() };
    assert!(!rig.device.submit(0, &hidden).expect("nothing to commit"));
    assert_eq!(rig.fake.removed_while_shown(), 0);
}

#[test]
fn every_test_passes_and_a_failed_mode_is_skipped() {
    let mut rig = legacy(1);
    let modes = rig.modes("DP-1");
    rig.fake.fail_calls(
        Errno::INVAL,
        |call| matches!(call, Call::SetCrtc { shown: Some((_, _, mode)), .. } if mode.size().0 == 1920),
    );
    let error = rig.commit_with(&[("DP-1", SignalFormat::default())]).expect_err("the mode fails");
    assert_eq!(error.raw_os_error(), Some(Errno::INVAL.raw_os_error()));
    rig.device.note_refused_mode("DP-1", modes[0], SignalFormat::default());
    rig.enable(&["DP-1"]);
    let found: Vec<_> = rig.device.crtc_states().map(|state| state.mode).collect();
    assert_eq!(found, [modes[1]]);
}

#[test]
fn planes_and_color_are_not_used() {
    let mut rig = legacy(1);
    rig.enable(&["DP-1"]);
    let image = CursorImage { serial: 1, width: 1, height: 1, hotspot: (0, 0), argb: &[0; 4] };
    assert!(!Cursor::default().fits(&rig.device, 0, &image));
    assert!(!rig.device.has_gamma(0) && !rig.device.takes_fences(0));
    assert_eq!(rig.device.gamma_size("DP-1"), None);
    assert!(rig.device.set_active(&["DP-1"], false).is_err());
    rig.fake.take_calls();
    rig.device.reset_color_state();
    assert!(rig.fake.take_calls().is_empty());
}

#[test]
fn atomic_driver_can_be_driven_by_legacy_calls() {
    let fake = FakeDevice::with_outputs(1);
    let device = Device::open(fake.open(), "/dev/dri/card0".as_ref(), 0, false).expect("a device");
    assert!(!device.is_atomic());
    let mut rig = Rig { device, fake, buffers: Default::default(), shown: Vec::new() };
    rig.enable(&["DP-1"]);
    let is_atomic =
        |call: &Call| matches!(call, Call::Atomic(commit) if commit.flags != AtomicCommitFlags::TEST_ONLY);
    assert!(!rig.fake.take_calls().iter().any(is_atomic));
}
