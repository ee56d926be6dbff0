//! The limits that tests set on the fake device.

use drm::buffer::{DrmFourcc, DrmModifier};
use rustix::io::Errno;

use super::Rig;
use crate::calls::ClientCapability;
use crate::fake::{mode, FakeDevice};

const TILED: u64 = 0x0100_0000_0000_0002;

fn enabled(rig: &mut Rig, outputs: &[&'static str]) -> Vec<u16> {
    let wanted: Vec<_> = outputs.iter().map(|output| (*output, Default::default())).collect();
    rig.search(&wanted).assignments.iter().map(|found| found.mode.width).collect()
}

#[test]
fn number_of_active_crtcs_is_limited() {
    let mut rig = Rig::with_outputs(3);
    rig.fake.limit_active_crtcs(2);
    assert_eq!(enabled(&mut rig, &["DP-1", "DP-2", "DP-3"]), [1920, 1920]);
}

#[test]
fn size_of_modes_is_limited_for_one_crtc() {
    let mut rig = Rig::with_outputs(2);
    rig.fake.limit_mode(rig.fake.crtcs()[0], (1280, 1080));
    assert_eq!(enabled(&mut rig, &["DP-1", "DP-2"]), [1280, 1920]);
}

#[test]
fn width_is_limited_for_some_modifiers() {
    let fake = FakeDevice::with_outputs(1);
    let modifiers = [DrmModifier::Linear, DrmModifier::from(TILED)];
    fake.set_modifiers(fake.planes()[0], &[(DrmFourcc::Xrgb8888, &modifiers)]);
    fake.limit_width(&modifiers[1..], 1280);
    let mut rig = Rig::new(fake);
    assert_eq!(enabled(&mut rig, &["DP-1"]), [1920]);
    assert_eq!(rig.buffers.chosen[&0], (DrmFourcc::Xrgb8888, None));
}

#[test]
fn buffers_without_a_modifier_count_as_linear() {
    let fake = FakeDevice::with_outputs(1);
    fake.set_modifiers(fake.planes()[0], &[(DrmFourcc::Xrgb8888, &[DrmModifier::from(TILED)])]);
    fake.limit_width(&[DrmModifier::from(TILED)], 0);
    let mut rig = Rig::new(fake);
    assert_eq!(enabled(&mut rig, &["DP-1"]), [0; 0]);
}

#[test]
fn cursor_planes_are_hidden_from_atomic_clients_until_they_place_the_hotspot() {
    let fake = FakeDevice::with_outputs(1);
    fake.hide_cursor_planes();
    let fd = fake.open();
    let enable = |capability| fd.enable(capability).map_err(|error| error.raw_os_error());
    let planes = || fd.plane_handles().expect("planes").len();
    enable(ClientCapability::UniversalPlanes).expect("the kernel has it");
    assert_eq!(planes(), 2);
    let refused = Err(Some(Errno::INVAL.raw_os_error()));
    assert_eq!(enable(ClientCapability::CursorPlaneHotspot), refused, "not before atomic");
    enable(ClientCapability::Atomic).expect("the kernel has it");
    assert_eq!(planes(), 1);
    enable(ClientCapability::CursorPlaneHotspot).expect("the kernel has it");
    assert_eq!(planes(), 2);
}

#[test]
fn cursor_size_and_ranges_are_those_of_the_device() {
    let fake = FakeDevice::with_outputs(1);
    fake.set_cursor_size((256, 128));
    let plane = fake.planes()[0];
    fake.set_range(plane, "zpos", (2, 5), true);
    fake.connect(fake.connectors()[0], &[mode(640, 480, 60)]);
    let mut rig = Rig::new(fake);
    assert_eq!(rig.device.cursor_size(), (256, 128));
    rig.enable(&["DP-1"]);
    assert_eq!(rig.fake.value(plane, "zpos"), Some(2));
}
