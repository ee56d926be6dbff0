//! Leases of connectors.

use geom_display::signal_format::SignalFormat;
use rustix::io::Errno;

use super::Rig;
use crate::drm_fd::DrmFd;
use crate::fake::FakeDevice;
use crate::lease::give_up_master;

/// A device whose second monitor is a headset.
fn with_headset(outputs: usize) -> Rig {
    let fake = FakeDevice::with_outputs(outputs);
    fake.set_value(fake.connectors()[1], "non-desktop", 1);
    Rig::new(fake)
}

#[test]
fn lease_has_a_connector_a_free_crtc_and_its_planes() {
    let mut rig = with_headset(2);
    rig.enable(&["DP-1"]);
    let (lessee, _fd) = rig.device.lease(&["DP-2".to_owned()]).expect("a lease");
    let planes = rig.fake.planes();
    let objects = vec![rig.fake.connectors()[1], rig.fake.crtcs()[1], planes[2], planes[3]];
    assert_eq!(rig.fake.leases(), [(lessee.get(), objects)]);
    assert_eq!(rig.device.leasable_connectors().count(), 0);
}

#[test]
fn leased_objects_are_left_out_of_commits_and_searches() {
    let mut rig = with_headset(2);
    rig.enable(&["DP-1"]);
    rig.device.lease(&["DP-2".to_owned()]).expect("a lease");
    rig.commits();
    rig.device.force_modeset(0);
    rig.device.force_modeset(1);
    rig.enable(&["DP-1"]);
    let commit = rig.the_commit();
    for (_, objects) in rig.fake.leases() {
        assert!(objects.iter().all(|object| !commit.has(*object)), "{commit:?}");
    }
    rig.fake.set_value(rig.fake.crtcs()[1], "GAMMA_LUT", rig.fake.add_blob(&[0; 8]));
    rig.commit_with(&[("DP-1", SignalFormat { bit_depth: Some(8), vrr: true, ..SignalFormat::default() })])
        .expect("accepted");
    rig.device.reset_color_state();
    assert_ne!(rig.fake.value(rig.fake.crtcs()[1], "GAMMA_LUT"), Some(0), "it is the lessee's");
    let result = rig.search(&[("DP-1", SignalFormat::default()), ("DP-2", SignalFormat::default())]);
    assert_eq!(result.failed.len(), 1, "the lessee's CRTC is not free");
}

#[test]
fn ended_lease_is_noticed_and_its_crtc_is_disabled() {
    let mut rig = with_headset(2);
    rig.enable(&["DP-1"]);
    let (lessee, _fd) = rig.device.lease(&["DP-2".to_owned()]).expect("a lease");
    assert!(rig.device.ended_leases().is_empty());
    rig.fake.close_lease(lessee.get());
    assert_eq!(rig.device.ended_leases(), [lessee]);
    rig.device.end_lease(lessee);
    assert!(rig.device.ended_leases().is_empty());
    rig.fake.set_value(rig.fake.crtcs()[1], "GAMMA_LUT", rig.fake.add_blob(&[0; 8]));
    rig.enable(&["DP-1"]);
    assert_eq!(rig.fake.value(rig.fake.crtcs()[1], "GAMMA_LUT"), Some(0));
    assert_eq!(rig.device.leasable_connectors().count(), 1);
}

#[test]
fn revoked_lease_is_gone_from_the_kernel() {
    let mut rig = with_headset(2);
    let (lessee, _fd) = rig.device.lease(&["DP-2".to_owned()]).expect("a lease");
    rig.device.end_lease(lessee);
    assert!(rig.fake.leases().is_empty());
}

#[test]
fn only_free_headsets_are_leased() {
    let mut rig = with_headset(2);
    let mut lease = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        rig.device.lease(&names).map(|(lessee, _)| lessee)
    };
    assert!(lease(&["DP-1"]).is_err(), "a desktop monitor");
    assert!(lease(&["DP-9"]).is_err(), "no such connector");
    assert!(lease(&["DP-2"]).is_ok());
    assert!(lease(&["DP-2"]).is_err(), "leased already");
}

#[test]
fn lease_without_a_free_crtc_fails() {
    let fake = FakeDevice::with_outputs(1);
    let connector = fake.add_connector(drm::control::connector::Interface::DisplayPort, &fake.crtcs());
    fake.set_value(connector, "non-desktop", 1);
    fake.connect(connector, &[crate::fake::mode(1280, 720, 60)]);
    let mut rig = Rig::new(fake);
    rig.enable(&["DP-1"]);
    let error = rig.device.lease(&["DP-2".to_owned()]).expect_err("no CRTC");
    assert!(error.to_string().contains("no CRTC is free"), "{error}");
}

#[test]
fn lease_that_the_kernel_refuses_changes_nothing() {
    let mut rig = with_headset(2);
    rig.fake.set_master(false);
    let error = rig.device.lease(&["DP-2".to_owned()]).expect_err("not master");
    assert_eq!(error.raw_os_error(), Some(Errno::ACCESS.raw_os_error()));
    assert_eq!(rig.device.leasable_connectors().count(), 1);
}

#[test]
fn descriptor_that_stays_master_is_not_handed_out() {
    let device = FakeDevice::new();
    let fd = DrmFd::from(device.clone());
    assert!(fd.is_master() && give_up_master(&fd).is_ok() && !fd.is_master());
    // Another one is DRM master: there is nothing to give up.
    assert!(give_up_master(&fd).is_ok());
    device.set_master(true);
    device.keep_master();
    assert!(give_up_master(&fd).is_err());
}
