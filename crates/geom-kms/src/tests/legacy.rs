//! Drivers without atomic modesetting.

use drm::control::AtomicCommitFlags;
use geom_display::signal_format::SignalFormat;
use rustix::io::Errno;

use super::{plain_choice, Rig, SIZE};
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
    let [Call::HideCursor { crtc: hidden }, Call::SetCrtc { crtc: second, shown: None }, Call::HideCursor { .. }, Call::SetCrtc { crtc: first, shown: Some((shown, connector, mode)) }, Call::SetGamma { .. }] =
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
fn planes_and_color_properties_are_not_used() {
    let mut rig = legacy(1);
    rig.enable(&["DP-1"]);
    assert!(!rig.device.takes_fences(0));
    assert_eq!(rig.device.crtc_lut_sizes(0), None);
    rig.fake.take_calls();
    rig.device.reset_color_state();
    assert!(rig.fake.take_calls().is_empty());
}

/// Returns the value of `ACTIVE` of each CRTC.
fn active(rig: &Rig) -> Vec<Option<u64>> {
    rig.fake.crtcs().into_iter().map(|crtc| rig.fake.value(crtc, "ACTIVE")).collect()
}

#[test]
fn blanking_sets_dpms_of_the_connectors() {
    let mut rig = legacy(2);
    rig.enable(&["DP-1", "DP-2"]);
    rig.device.test_active(&["DP-2"], false).expect("possible");
    rig.device.set_active(&["DP-2"], false).expect("the kernel accepts it");
    assert_eq!(active(&rig), [Some(1), Some(0)]);
    // Set again, as after a VT switch, it stays blanked.
    rig.device.invalidate_state();
    rig.enable(&["DP-1", "DP-2"]);
    assert_eq!(active(&rig), [Some(1), Some(0)]);
    rig.device.set_active(&["DP-2"], true).expect("the kernel accepts it");
    assert_eq!(active(&rig), [Some(1), Some(1)]);
}

#[test]
fn blanking_that_fails_for_one_output_is_undone_for_the_others() {
    let mut rig = legacy(2);
    rig.enable(&["DP-1", "DP-2"]);
    let second = rig.fake.connectors()[1];
    rig.fake.fail_calls(
        Errno::INVAL,
        move |call| matches!(call, Call::SetProperty(change) if change.object == second),
    );
    assert!(rig.device.set_active(&["DP-1", "DP-2"], false).is_err());
    assert_eq!(active(&rig), [Some(1), Some(1)]);
}

#[test]
fn connectors_without_dpms_cannot_be_blanked() {
    let fake = FakeDevice::with_outputs(1);
    fake.set_driver("radeon", false);
    fake.remove_property(fake.connectors()[0], "DPMS");
    let mut rig = Rig::new(fake);
    rig.enable(&["DP-1"]);
    assert!(rig.device.test_active(&["DP-1"], false).is_err());
    assert!(rig.device.set_active(&["DP-1"], false).is_err());
}

/// Shows outputs on CRTCs with their preferred modes.
fn set(rig: &mut Rig, wanted: &[(&str, usize)]) -> std::io::Result<()> {
    let states = wanted.iter().map(|(output, crtc)| {
        let mode = rig.modes(output)[0];
        rig.state(output, *crtc, plain_choice(mode))
    });
    let states = states.collect();
    rig.device.commit(states)
}

/// Returns CRTC and connector of each SETCRTC since the last call.
fn set_crtcs(rig: &Rig) -> Vec<(u32, Option<u32>)> {
    let calls = rig.fake.take_calls().into_iter().filter_map(|call| match call {
        Call::SetCrtc { crtc, shown } => Some((crtc, shown.map(|(_, connector, _)| connector))),
        _ => None,
    });
    calls.collect()
}

#[test]
fn connectors_are_taken_from_their_crtcs_before_others_get_them() {
    let mut rig = legacy(2);
    let (crtcs, connectors) = (rig.fake.crtcs(), rig.fake.connectors());
    set(&mut rig, &[("DP-1", 0), ("DP-2", 1)]).expect("the kernel accepts it");
    rig.fake.take_calls();
    set(&mut rig, &[("DP-2", 0), ("DP-1", 1)]).expect("the kernel accepts it");
    let off = [(crtcs[0], None), (crtcs[1], None)];
    let on = [(crtcs[0], Some(connectors[1])), (crtcs[1], Some(connectors[0]))];
    assert_eq!(set_crtcs(&rig), [off, on].concat());
}

/// Another DRM master's connector, which stays on its CRTC, is not switched off.
#[test]
fn connector_that_stays_on_its_crtc_is_not_switched_off() {
    let fake = FakeDevice::with_outputs(1);
    fake.set_driver("radeon", false);
    let (crtc, connector) = (fake.crtcs()[0], fake.connectors()[0]);
    fake.show(crtc, connector, &crate::fake::mode(1920, 1080, 60), 0);
    let mut rig = Rig::new(fake);
    set(&mut rig, &[("DP-1", 0)]).expect("the kernel accepts it");
    assert_eq!(set_crtcs(&rig), [(crtc, Some(connector))]);
}

#[test]
fn modes_that_fail_leave_what_was_there_before() {
    let mut rig = legacy(3);
    let connectors = rig.fake.connectors();
    let driven = |rig: &Rig| -> Vec<Option<u64>> {
        connectors.iter().map(|connector| rig.fake.value(*connector, "CRTC_ID")).collect()
    };
    set(&mut rig, &[("DP-1", 0), ("DP-2", 1)]).expect("the kernel accepts it");
    rig.device.set_active(&["DP-2"], false).expect("the kernel accepts it");
    let before = (driven(&rig), active(&rig));
    let third = connectors[2];
    rig.fake.fail_calls(
        Errno::INVAL,
        move |call| matches!(call, Call::SetCrtc { shown: Some((_, connector, _)), .. } if *connector == third),
    );
    assert!(set(&mut rig, &[("DP-2", 0), ("DP-1", 1), ("DP-3", 2)]).is_err());
    assert_eq!((driven(&rig), active(&rig)), before);
}

#[test]
fn cursor_is_set_once_and_then_moved_without_a_page_flip() {
    let mut rig = legacy(1);
    rig.enable(&["DP-1"]);
    rig.fake.take_calls();
    let mut cursor = Cursor::default();
    let image = |serial| CursorImage { serial, width: 1, height: 1, hotspot: (3, 4), argb: &[0; 4] };
    assert!(cursor.fits(&rig.device, 0, &image(1)));
    let mut show = |rig: &mut Rig, serial, position| {
        let state = cursor.place(&rig.device, 0, &image(serial), position).expect("a buffer");
        let frame = Frame { cursor: Some(state), ..Frame::default() };
        assert!(!rig.device.submit(0, &frame).expect("the kernel accepts it"), "no page flip");
        rig.fake.take_calls()
    };
    let calls = show(&mut rig, 1, (10, 20));
    let [Call::SetCursor { buffer: first, size: (64, 64), hotspot: (3, 4), .. }, Call::MoveCursor { position: (10, 20), .. }] =
        calls[..]
    else {
        panic!("{calls:?}")
    };
    let calls = show(&mut rig, 1, (-1, 20));
    assert!(matches!(calls[..], [Call::MoveCursor { position: (-1, 20), .. }]), "{calls:?}");
    let calls = show(&mut rig, 2, (0, 0));
    assert!(matches!(calls[..], [Call::SetCursor { buffer, .. }, _] if buffer != first), "{calls:?}");
    // Another program may have set its own.
    rig.device.invalidate_state();
    rig.enable(&["DP-1"]);
    rig.fake.take_calls();
    let calls = show(&mut rig, 2, (0, 0));
    assert!(matches!(calls[..], [Call::SetCursor { .. }, _]), "{calls:?}");
    let hidden = Frame { cursor: Some(CursorPlane::Hidden), ..Frame::default() };
    rig.device.submit(0, &hidden).expect("the kernel accepts it");
    assert!(matches!(rig.fake.take_calls()[..], [Call::HideCursor { .. }]));
}

#[test]
fn cursor_that_is_refused_leaves_the_frame_to_be_drawn_with_it() {
    let mut rig = legacy(1);
    rig.enable(&["DP-1"]);
    rig.fake.fail_calls(Errno::NXIO, |call| {
        matches!(call, Call::SetCursor { .. } | Call::MoveCursor { .. } | Call::HideCursor { .. })
    });
    let mut cursor = Cursor::default();
    let image = CursorImage { serial: 1, width: 1, height: 1, hotspot: (0, 0), argb: &[0; 4] };
    let state = cursor.place(&rig.device, 0, &image, (0, 0)).expect("a buffer");
    let mut frame = Frame { cursor: Some(state), ..rig.frame(SIZE) };
    let error = rig.device.submit(0, &frame).expect_err("no hardware cursor");
    assert!(crate::commit::is_refusal(&error));
    frame.cursor = Some(CursorPlane::Hidden);
    assert!(rig.device.submit(0, &frame).expect("the kernel accepts it"));
}

/// Returns the LUTs that were set since the last call.
fn luts(rig: &Rig) -> Vec<Vec<[u16; 3]>> {
    let calls = rig.fake.take_calls().into_iter().filter_map(|call| match call {
        Call::SetGamma { lut, .. } => Some(lut),
        _ => None,
    });
    calls.collect()
}

#[test]
fn gamma_is_set_at_once_with_each_mode_and_reset_at_the_end() {
    let mut rig = legacy(1);
    rig.enable(&["DP-1"]);
    let linear = luts(&rig).remove(0);
    assert_eq!((linear.len(), linear[0], linear[255]), (256, [0; 3], [65_535; 3]));
    let lut = vec![[7; 3]; rig.device.gamma_size("DP-1").expect("an output")];
    rig.device.set_gamma("DP-1", Some(&lut)).expect("the kernel accepts it");
    assert_eq!(luts(&rig), std::slice::from_ref(&lut));
    assert_eq!(rig.device.pending_color(0), None);
    rig.device.invalidate_state();
    rig.enable(&["DP-1"]);
    assert_eq!(luts(&rig), std::slice::from_ref(&lut));
    rig.fake.fail_calls(Errno::INVAL, |call| matches!(call, Call::SetGamma { .. }));
    assert!(rig.device.set_gamma("DP-1", None).is_err());
    rig.fake.clear_failures();
    rig.fake.take_calls();
    rig.device.reset_color_state();
    assert_eq!(luts(&rig), [linear]);
}

#[test]
fn atomic_drivers_without_the_property_have_gamma_by_the_call() {
    let fake = FakeDevice::with_outputs(1);
    for property in ["GAMMA_LUT", "GAMMA_LUT_SIZE"] {
        fake.remove_property(fake.crtcs()[0], property);
    }
    fake.set_gamma_length(16);
    let mut rig = Rig::new(fake);
    let lut = vec![[7; 3]; 16];
    // Before the output is enabled: with the mode.
    rig.device.set_gamma("DP-1", Some(&lut)).expect("nothing to do yet");
    rig.enable(&["DP-1"]);
    assert_eq!((luts(&rig), rig.device.gamma_size("DP-1")), (vec![lut], Some(16)));
    rig.device.set_gamma("DP-1", None).expect("the kernel accepts it");
    assert_eq!(luts(&rig).len(), 1);
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
