//! The fake device refuses what the kernel refuses.

use drm::buffer::DrmFourcc;
use drm::control::{from_u32, property, AtomicCommitFlags as Flags, RawResourceHandle};
use rustix::io::Errno;

use super::{Rig, SIZE};
use crate::calls::{ClientCapability, DrmCalls, ObjectId, ObjectKind};
use crate::commit::AtomicRequest;
use crate::fake::{mode, FakeDevice};
use crate::modes;

/// Builds a request from objects, names of properties and values.
fn request(fake: &FakeDevice, changes: &[(ObjectKind, u32, &str, u64)]) -> AtomicRequest {
    let mut request = AtomicRequest::new();
    for (kind, object, name, value) in changes {
        let id = RawResourceHandle::new(*object).expect("not 0");
        let properties = fake.properties(ObjectId { kind: *kind, id }).expect("properties");
        let has_name = |property: &&(property::Handle, u64)| {
            fake.property(property.0).is_ok_and(|info| info.name == *name)
        };
        request.set(id, properties.iter().find(has_name).expect("the property").0, *value);
    }
    request
}

fn commit(fake: &FakeDevice, flags: Flags, changes: &[(ObjectKind, u32, &str, u64)]) -> Option<Errno> {
    let mut request = request(fake, changes);
    let error = fake.atomic_commit(&mut request, flags).err()?;
    error.raw_os_error().map(Errno::from_raw_os_error)
}

const PLANE: ObjectKind = ObjectKind::Plane;
const CRTC: ObjectKind = ObjectKind::Crtc;
const CONNECTOR: ObjectKind = ObjectKind::Connector;

/// A device with one enabled output.
fn enabled() -> Rig {
    let mut rig = Rig::with_outputs(2);
    rig.enable(&["DP-1"]);
    rig
}

#[test]
fn unknown_objects_and_properties_are_enoent() {
    let rig = enabled();
    let (crtc, plane) = (rig.fake.crtcs()[0], rig.fake.planes()[0]);
    let mut request = AtomicRequest::new();
    let id = |id: u32| RawResourceHandle::new(id).expect("not 0");
    request.set(id(9999), from_u32(1).expect("not 0"), 0);
    let error = rig.fake.atomic_commit(&mut request, Flags::empty()).expect_err("no such object");
    assert_eq!(error.raw_os_error(), Some(Errno::NOENT.raw_os_error()));
    // A property of planes on a CRTC.
    let of_plane = rig.fake.properties(ObjectId { kind: PLANE, id: id(plane) }).expect("properties");
    let mut request = AtomicRequest::new();
    request.set(id(crtc), of_plane[0].0, 0);
    let error = rig.fake.atomic_commit(&mut request, Flags::empty()).expect_err("no such property");
    assert_eq!(error.raw_os_error(), Some(Errno::NOENT.raw_os_error()));
}

#[test]
fn invalid_values_are_einval() {
    let rig = enabled();
    let (crtc, connector, plane) = (rig.fake.crtcs()[0], rig.fake.connectors()[0], rig.fake.planes()[0]);
    for change in [
        (CONNECTOR, connector, "Colorspace", 99),
        (CONNECTOR, connector, "max bpc", 99),
        (CONNECTOR, connector, "non-desktop", 0),
        (CRTC, crtc, "GAMMA_LUT", 9999),
        (PLANE, plane, "FB_ID", 9999),
        (PLANE, plane, "CRTC_ID", plane.into()),
    ] {
        assert_eq!(commit(&rig.fake, Flags::ALLOW_MODESET, &[change]), Some(Errno::INVAL), "{change:?}");
    }
}

#[test]
fn modesets_have_to_be_allowed() {
    let rig = enabled();
    let (crtc, connector) = (rig.fake.crtcs()[0], rig.fake.connectors()[0]);
    let other = rig.fake.add_blob(&modes::to_bytes(&mode(1280, 720, 60)));
    for change in [(CRTC, crtc, "ACTIVE", 0), (CONNECTOR, connector, "max bpc", 8)] {
        assert_eq!(commit(&rig.fake, Flags::empty(), &[change]), Some(Errno::INVAL), "{change:?}");
        assert_eq!(commit(&rig.fake, Flags::TEST_ONLY | Flags::ALLOW_MODESET, &[change]), None);
    }
    assert_eq!(
        commit(&rig.fake, Flags::ALLOW_MODESET, &[(CRTC, crtc, "MODE_ID", other)]),
        Some(Errno::INVAL)
    );
    assert!(rig.fake.value(crtc, "MODE_ID") != Some(other), "the plane would not cover it");
}

#[test]
fn planes_need_a_crtc_with_a_framebuffer() {
    let rig = enabled();
    let plane = rig.fake.planes()[0];
    for change in [(PLANE, plane, "FB_ID", 0), (PLANE, plane, "CRTC_ID", 0)] {
        assert_eq!(commit(&rig.fake, Flags::ALLOW_MODESET, &[change]), Some(Errno::INVAL), "{change:?}");
    }
    // Of another CRTC's.
    let other = (PLANE, plane, "CRTC_ID", rig.fake.crtcs()[1].into());
    assert_eq!(commit(&rig.fake, Flags::ALLOW_MODESET, &[other]), Some(Errno::INVAL));
}

#[test]
fn crtcs_need_a_connector_and_a_mode() {
    let rig = enabled();
    let (crtc, connector) = (rig.fake.crtcs()[0], rig.fake.connectors()[0]);
    let flags = Flags::ALLOW_MODESET;
    assert_eq!(commit(&rig.fake, flags, &[(CONNECTOR, connector, "CRTC_ID", 0)]), Some(Errno::INVAL));
    assert_eq!(commit(&rig.fake, flags, &[(CRTC, crtc, "MODE_ID", 0)]), Some(Errno::INVAL));
    let second = rig.fake.crtcs()[1];
    assert_eq!(commit(&rig.fake, flags, &[(CRTC, second, "ACTIVE", 1)]), Some(Errno::INVAL));
}

#[test]
fn events_need_a_crtc_and_no_test() {
    let rig = enabled();
    let event = Flags::PAGE_FLIP_EVENT;
    assert_eq!(commit(&rig.fake, event, &[]), Some(Errno::INVAL));
    assert_eq!(commit(&rig.fake, event | Flags::TEST_ONLY, &[]), Some(Errno::INVAL));
}

#[test]
fn tests_change_nothing() {
    let rig = enabled();
    let crtc = rig.fake.crtcs()[0];
    let flags = Flags::TEST_ONLY | Flags::ALLOW_MODESET;
    assert_eq!(commit(&rig.fake, flags, &[(CRTC, crtc, "ACTIVE", 0)]), None);
    assert_eq!(rig.fake.value(crtc, "ACTIVE"), Some(1));
}

#[test]
fn clients_without_the_capability_or_master_commit_nothing() {
    let fake = FakeDevice::with_outputs(1);
    assert_eq!(commit(&fake, Flags::TEST_ONLY, &[]), Some(Errno::INVAL));
    fake.enable(ClientCapability::Atomic).expect("an atomic driver");
    assert_eq!(commit(&fake, Flags::TEST_ONLY, &[]), None);
    fake.set_master(false);
    assert_eq!(commit(&fake, Flags::TEST_ONLY, &[]), Some(Errno::ACCESS));
    fake.set_master(true);
    fake.set_driver("legacy", false);
    assert_eq!(commit(&fake, Flags::TEST_ONLY, &[]), Some(Errno::OPNOTSUPP));
}

#[test]
fn removing_a_shown_framebuffer_disables_its_crtc() {
    let mut rig = enabled();
    let (crtc, plane) = (rig.fake.crtcs()[0], rig.fake.planes()[0]);
    rig.shown.clear();
    rig.device.crtc_states.clear();
    assert_eq!(rig.fake.removed_while_shown(), 1);
    assert_eq!((rig.fake.value(crtc, "ACTIVE"), rig.fake.value(plane, "FB_ID")), (Some(0), Some(0)));
}

#[test]
fn atomic_properties_are_hidden_from_legacy_clients() {
    let fake = FakeDevice::with_outputs(1);
    let id = RawResourceHandle::new(fake.planes()[0]).expect("not 0");
    let names = |fake: &FakeDevice| -> Vec<String> {
        let properties = fake.properties(ObjectId { kind: PLANE, id }).expect("properties");
        properties.iter().map(|(id, _)| fake.property(*id).expect("a property").name).collect()
    };
    assert!(!names(&fake).contains(&"FB_ID".to_owned()) && names(&fake).contains(&"IN_FORMATS".to_owned()));
    fake.enable(ClientCapability::Atomic).expect("an atomic driver");
    assert!(names(&fake).contains(&"FB_ID".to_owned()));
    assert!(fake.plane_handles().expect("planes").is_empty(), "universal planes are a capability too");
}

#[test]
fn dumb_buffers_are_memory() {
    let rig = Rig::with_outputs(1);
    let mut buffer =
        crate::dumb::DumbBuffer::new(rig.device.fd(), SIZE, DrmFourcc::Xrgb8888).expect("a buffer");
    buffer.pixels().fill(7);
    assert_eq!(buffer.pixels().len(), buffer.pitch() * SIZE.1 as usize);
    assert!(buffer.pixels().iter().all(|byte| *byte == 7));
    drop(buffer);
    assert_eq!(rig.fake.resource_counts(), (0, 0, 2));
}
