//! Which planes CRTCs get, and what they scan out.

use drm::buffer::{DrmFourcc, DrmModifier};
use geom_display::fallback::BufferLayout;
use geom_display::signal_format::SignalFormat;

use super::Rig;
use crate::fake::{in_formats_blob, FakeDevice};
use crate::objects::PlaneKind;

/// Returns the primary and the cursor plane of each CRTC.
fn planes_of(rig: &Rig) -> Vec<(Option<u32>, Option<u32>)> {
    let objects = &rig.device.objects;
    let id = |plane: Option<&crate::objects::Plane>| plane.map(|plane| crate::drm_fd::raw(plane.handle));
    let crtcs = 0..objects.crtcs.len();
    crtcs.map(|crtc| (id(objects.primary_plane(crtc)), id(objects.cursor_plane(crtc)))).collect()
}

#[test]
fn planes_that_several_crtcs_can_use_are_shared_out() {
    let fake = FakeDevice::new();
    let crtcs = [fake.add_crtc(), fake.add_crtc()];
    let formats = [DrmFourcc::Xrgb8888];
    let primaries = [0, 1].map(|_| fake.add_plane(PlaneKind::Primary, &crtcs, &formats));
    let cursor = fake.add_plane(PlaneKind::Cursor, &crtcs, &[DrmFourcc::Argb8888]);
    fake.add_plane(PlaneKind::Overlay, &crtcs, &formats);
    let rig = Rig::new(fake);
    let expected = [(Some(primaries[0]), Some(cursor)), (Some(primaries[1]), None)];
    assert_eq!(planes_of(&rig), expected);
    assert!(rig.device.has_hardware_cursor(0) && !rig.device.has_hardware_cursor(1));
}

#[test]
fn planes_go_to_the_crtcs_that_can_use_them() {
    let fake = FakeDevice::new();
    let crtcs = [fake.add_crtc(), fake.add_crtc()];
    let formats = [DrmFourcc::Xrgb8888];
    let second = fake.add_plane(PlaneKind::Primary, &crtcs[1..], &formats);
    let first = fake.add_plane(PlaneKind::Primary, &crtcs[..1], &formats);
    let rig = Rig::new(fake);
    assert_eq!(planes_of(&rig), [(Some(first), None), (Some(second), None)]);
}

#[test]
fn crtc_without_a_primary_plane_is_not_used() {
    let fake = FakeDevice::new();
    let crtcs = [fake.add_crtc(), fake.add_crtc()];
    fake.add_plane(PlaneKind::Primary, &crtcs[1..], &[DrmFourcc::Xrgb8888]);
    let connector = fake.add_connector(drm::control::connector::Interface::DisplayPort, &crtcs);
    fake.connect(connector, &[crate::fake::mode(1280, 720, 60)]);
    let mut rig = Rig::new(fake);
    rig.enable(&["DP-1"]);
    assert_eq!(rig.fake.value(connector, "CRTC_ID"), Some(crtcs[1].into()));
}

#[test]
fn formats_have_the_modifiers_that_the_driver_lists() {
    let fake = FakeDevice::with_outputs(1);
    let tiled = 0x0100_0000_0000_0002;
    let (plain, deep) = (DrmFourcc::Xrgb8888, DrmFourcc::Xrgb2101010);
    let blob = in_formats_blob(&[plain as u32, deep as u32], &[(0b11, 0, 0), (0b01, 0, tiled)]);
    fake.set_value(fake.planes()[0], "IN_FORMATS", fake.add_blob(&blob));
    let rig = Rig::new(fake);
    let formats = &rig.device.primary_plane(0).expect("a plane").formats;
    let tiled = DrmModifier::from(tiled);
    assert!(formats.supports(plain, tiled) && !formats.supports(deep, tiled));
    assert!(formats.supports(deep, DrmModifier::Linear));
    assert_eq!(formats.modifiers(plain), [DrmModifier::Linear, tiled]);
    assert!(!formats.contains(DrmFourcc::Argb8888));
}

#[test]
fn only_linear_is_certain_without_a_list_of_modifiers() {
    let fake = FakeDevice::with_outputs(1);
    fake.remove_property(fake.planes()[0], "IN_FORMATS");
    let rig = Rig::new(fake);
    let formats = &rig.device.primary_plane(0).expect("a plane").formats;
    assert!(formats.supports(DrmFourcc::Xrgb8888, DrmModifier::Linear));
    assert!(!formats.supports(DrmFourcc::Xrgb8888, DrmModifier::from(0x0100_0000_0000_0002)));
    assert!(formats.modifiers(DrmFourcc::Xrgb8888).is_empty());
}

const XRGB: DrmFourcc = DrmFourcc::Xrgb8888;

/// Returns a modifier of Intel, I915_FORMAT_MOD_* in drm_fourcc.h.
fn intel(number: u64) -> DrmModifier {
    DrmModifier::from(1 << 56 | number)
}

fn widths(rig: &mut Rig, outputs: &[&'static str]) -> Vec<u16> {
    let wanted: Vec<_> = outputs.iter().map(|output| (*output, SignalFormat::default())).collect();
    rig.search(&wanted).assignments.iter().map(|found| found.mode.width).collect()
}

/// As on Intel generation 9: the third pipe lacks a layout that the first two have.
#[test]
fn buffers_have_a_layout_of_the_plane_of_their_own_crtc() {
    let fake = FakeDevice::with_outputs(3);
    let planes = fake.planes();
    for plane in [planes[0], planes[2]] {
        fake.set_modifiers(plane, &[(XRGB, &[DrmModifier::Linear, intel(1), intel(2)])]);
    }
    fake.set_modifiers(planes[4], &[(XRGB, &[DrmModifier::Linear, intel(1)])]);
    let mut rig = Rig::new(fake);
    assert_eq!(widths(&mut rig, &["DP-1", "DP-2", "DP-3"]), [1920; 3]);
    let chosen: Vec<_> = rig.buffers.chosen.values().map(|(_, modifier)| *modifier).collect();
    assert_eq!(chosen, [Some(intel(2)), Some(intel(2)), Some(intel(1))]);
}

#[test]
fn our_own_buffers_are_not_compressed() {
    let fake = FakeDevice::with_outputs(1);
    let modifiers = [DrmModifier::Linear, intel(1), intel(2), intel(4)];
    fake.set_modifiers(fake.planes()[0], &[(XRGB, &modifiers)]);
    let mut rig = Rig::new(fake);
    assert_eq!(widths(&mut rig, &["DP-1"]), [1920]);
    assert_eq!(rig.buffers.chosen[&0], (XRGB, Some(intel(2))));
}

/// As on Intel with two displays of 4K, whose tiled buffers need more of the display buffer than
/// there is.
#[test]
fn refused_layout_is_given_up_before_the_mode() {
    let fake = FakeDevice::with_outputs(2);
    let planes = fake.planes();
    for plane in [planes[0], planes[2]] {
        fake.set_modifiers(plane, &[(XRGB, &[DrmModifier::Linear, intel(2)])]);
    }
    fake.limit_tiled_planes(1);
    let mut rig = Rig::new(fake);
    let wanted = ["DP-1", "DP-2"].map(|output| (output, SignalFormat::default()));
    let result = rig.search(&wanted);
    let found: Vec<_> = result.assignments.iter().map(|one| (one.mode.width, one.layout)).collect();
    assert_eq!(found, [(1920, BufferLayout::Best), (1920, BufferLayout::Plain)]);
}

/// As on boards with tilcdc, or with an SPI panel.
#[test]
fn planes_without_xrgb8888_get_a_format_that_they_have() {
    for format in [DrmFourcc::Xbgr8888, DrmFourcc::Rgb565] {
        let fake = FakeDevice::with_outputs(1);
        fake.set_modifiers(fake.planes()[0], &[(format, &[DrmModifier::Linear])]);
        let mut rig = Rig::new(fake);
        assert_eq!(widths(&mut rig, &["DP-1"]), [1920], "{format}");
        assert_eq!(rig.buffers.chosen[&0].0, format);
    }
}

/// What another DRM master may have set, and what a plane has after the first commit.
const LEFT: [(&str, u64, u64); 6] = [
    ("rotation", 4, 1),
    ("alpha", 0x8000, 0xffff),
    ("pixel blend mode", 0, 1),
    ("COLOR_ENCODING", 0, 1),
    ("COLOR_RANGE", 1, 0),
    ("SCALING_FILTER", 1, 0),
];

#[test]
fn plane_properties_of_another_master_are_reset() {
    let fake = FakeDevice::with_outputs(1);
    let [primary, cursor] = fake.planes()[..] else { panic!("two planes") };
    for plane in [primary, cursor] {
        for (property, left, _) in LEFT {
            fake.set_value(plane, property, left);
        }
    }
    fake.set_value(primary, "zpos", 5);
    fake.set_value(cursor, "zpos", 3);
    let mut rig = Rig::new(fake);
    rig.enable(&["DP-1"]);
    for plane in [primary, cursor] {
        for (property, _, expected) in LEFT {
            assert_eq!(rig.fake.value(plane, property), Some(expected), "{property}");
        }
    }
    assert_eq!((rig.fake.value(primary, "zpos"), rig.fake.value(cursor, "zpos")), (Some(0), Some(7)));
    // After a VT switch again, although nothing of ours has changed.
    rig.fake.set_value(primary, "rotation", 4);
    rig.device.invalidate_state();
    rig.enable(&["DP-1"]);
    assert_eq!(rig.fake.value(primary, "rotation"), Some(1));
}

#[test]
fn plane_properties_that_cannot_be_written_are_left_out() {
    let fake = FakeDevice::with_outputs(1);
    fake.make_immutable("zpos");
    fake.remove_property(fake.planes()[0], "rotation");
    let mut rig = Rig::new(fake);
    rig.enable(&["DP-1"]);
    assert_eq!(rig.the_commit().value(rig.fake.planes()[1], "zpos"), None);
}

#[test]
fn plane_of_several_crtcs_goes_to_the_one_that_has_no_other() {
    let fake = FakeDevice::new();
    let crtcs = [fake.add_crtc(), fake.add_crtc()];
    let both = fake.add_plane(PlaneKind::Primary, &crtcs, &[XRGB]);
    let first_only = fake.add_plane(PlaneKind::Primary, &crtcs[..1], &[XRGB]);
    let rig = Rig::new(fake);
    assert_eq!(planes_of(&rig), [(Some(first_only), None), (Some(both), None)]);
}

/// nvidia-drm starts with full range, and its display engine may apply it to RGB formats.
#[test]
fn color_range_is_reset_to_what_the_driver_starts_with() {
    for (driver, expected) in [("fake", 0), ("nvidia-drm", 1)] {
        let fake = FakeDevice::with_outputs(1);
        fake.set_driver(driver, true);
        let plane = fake.planes()[0];
        fake.set_value(plane, "COLOR_RANGE", 1 - expected);
        let mut rig = Rig::new(fake);
        rig.enable(&["DP-1"]);
        assert_eq!(rig.fake.value(plane, "COLOR_RANGE"), Some(expected), "{driver}");
    }
}
