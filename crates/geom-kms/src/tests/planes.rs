//! Which planes CRTCs get, and what they scan out.

use drm::buffer::{DrmFourcc, DrmModifier};

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
    assert!(rig.device.has_cursor_plane(0) && !rig.device.has_cursor_plane(1));
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
