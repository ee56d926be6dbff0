//! What modesets contain.

use drm::buffer::DrmFourcc;
use drm::control::AtomicCommitFlags;
use geom_display::fallback::{BufferLayout, Choice};
use geom_display::mode::Mode;
use geom_display::modeline::{Blanking, Modeline};
use geom_display::signal_format::{Colorimetry, HdrMetadata, SignalFormat};
use rustix::io::Errno;

use super::{plain_choice, stopped, Rig, SIZE};
use crate::fake::{mode, FakeColorop, FakeDevice};
use crate::modes::from_bytes;
use crate::objects::{PlaneKind, Probe};

#[test]
fn modeset_sets_mode_connector_and_primary_plane() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    let commit = rig.the_commit();
    assert_eq!(commit.flags, AtomicCommitFlags::ALLOW_MODESET);
    let (crtc, connector) = (rig.fake.crtcs()[0], rig.fake.connectors()[0]);
    let [primary, cursor] = rig.fake.planes()[..] else { panic!("two planes") };
    assert_eq!(commit.value(connector, "CRTC_ID"), Some(crtc.into()));
    assert_eq!(commit.value(crtc, "ACTIVE"), Some(1));
    let blob = rig.fake.value(crtc, "MODE_ID").and_then(|blob| rig.fake.blob_content(blob));
    let shown = from_bytes(&blob.expect("the kernel keeps the mode")).expect("a mode");
    assert_eq!((shown.size(), shown.vrefresh()), ((1920, 1080), 60));
    let framebuffer = rig.device.framebuffer(0).expect("a framebuffer").handle();
    for (property, value) in [
        ("FB_ID", u32::from(framebuffer).into()),
        ("CRTC_ID", crtc.into()),
        ("SRC_X", 0),
        ("SRC_Y", 0),
        ("SRC_W", 1920 << 16),
        ("SRC_H", 1080 << 16),
        ("CRTC_X", 0),
        ("CRTC_Y", 0),
        ("CRTC_W", 1920),
        ("CRTC_H", 1080),
    ] {
        assert_eq!(commit.value(primary, property), Some(value), "{property}");
    }
    assert_eq!((commit.value(cursor, "FB_ID"), commit.value(cursor, "CRTC_ID")), (Some(0), Some(0)));
}

#[test]
fn first_commit_resets_what_another_master_left() {
    let fake = FakeDevice::with_outputs(2);
    let (crtcs, connectors) = (fake.crtcs(), fake.connectors());
    let overlay = fake.add_plane(PlaneKind::Overlay, &crtcs, &[DrmFourcc::Xrgb8888]);
    let left = fake.show(crtcs[1], connectors[1], &mode(1280, 720, 60), 0);
    let cursor = fake.planes()[3];
    for plane in [cursor, overlay] {
        fake.set_value(plane, "FB_ID", left.into());
        fake.set_value(plane, "CRTC_ID", crtcs[1].into());
    }
    for (property, length) in [("DEGAMMA_LUT", 8), ("CTM", 72), ("GAMMA_LUT", 8)] {
        fake.set_value(crtcs[0], property, fake.add_blob(&vec![0; length]));
    }
    fake.set_value(crtcs[0], "VRR_ENABLED", 1);
    for plane in [fake.planes()[0], fake.planes()[2]] {
        let pipeline = fake.add_pipeline(plane, &[FakeColorop::Matrix]);
        fake.set_value(plane, "COLOR_PIPELINE", pipeline);
    }
    let signal = [("Colorspace", 1), ("Broadcast RGB", 2), ("content type", 3), ("scaling mode", 1)];
    for connector in &connectors {
        for (property, value) in signal {
            fake.set_value(*connector, property, value);
        }
        fake.set_value(*connector, "HDR_OUTPUT_METADATA", fake.add_blob(&[0; 32]));
        fake.set_value(*connector, "max bpc", 10);
    }
    fake.disconnect(connectors[1]);

    let mut rig = Rig::new(fake);
    rig.enable(&["DP-1"]);
    let value = |object, property| rig.fake.value(object, property);
    for plane in [cursor, overlay, rig.fake.planes()[2]] {
        assert_eq!((value(plane, "FB_ID"), value(plane, "CRTC_ID")), (Some(0), Some(0)));
    }
    assert_eq!((value(crtcs[1], "ACTIVE"), value(crtcs[1], "MODE_ID")), (Some(0), Some(0)));
    assert_eq!(value(connectors[1], "CRTC_ID"), Some(0));
    for property in ["DEGAMMA_LUT", "CTM", "GAMMA_LUT", "VRR_ENABLED"] {
        assert_eq!(value(crtcs[0], property), Some(0), "{property}");
    }
    for plane in [rig.fake.planes()[0], rig.fake.planes()[2]] {
        assert_eq!(value(plane, "COLOR_PIPELINE"), Some(0));
    }
    for connector in &connectors {
        for (property, _) in signal {
            assert_eq!(value(*connector, property), Some(0), "{property}");
        }
        assert_eq!(value(*connector, "HDR_OUTPUT_METADATA"), Some(0));
        assert_eq!(value(*connector, "max bpc"), Some(10), "a change forces a full modeset");
    }
}

#[test]
fn properties_with_their_defaults_are_left_out_for_disabled_connectors() {
    let mut rig = Rig::with_outputs(2);
    rig.enable(&["DP-1"]);
    let commit = rig.the_commit();
    let of_second: Vec<_> =
        commit.changes.iter().filter(|change| change.object == rig.fake.connectors()[1]).collect();
    assert_eq!(of_second.len(), 1, "{of_second:?}");
    assert_eq!(commit.value(rig.fake.connectors()[1], "CRTC_ID"), Some(0));
}

#[test]
fn unchanged_outputs_are_left_out() {
    let mut rig = Rig::with_outputs(2);
    rig.enable(&["DP-1"]);
    rig.commits();
    rig.enable(&["DP-1", "DP-2"]);
    let commit = rig.the_commit();
    let (crtcs, connectors, planes) = (rig.fake.crtcs(), rig.fake.connectors(), rig.fake.planes());
    for object in [crtcs[0], connectors[0], planes[0], planes[1]] {
        assert!(!commit.has(object), "{object} is set: {commit:?}");
    }
    assert_eq!(commit.value(connectors[1], "CRTC_ID"), Some(crtcs[1].into()));
}

#[test]
fn commit_without_changes_makes_no_call() {
    let mut rig = Rig::with_outputs(2);
    rig.enable(&["DP-1", "DP-2"]);
    rig.fake.take_calls();
    rig.enable(&["DP-1", "DP-2"]);
    assert!(rig.fake.take_calls().is_empty());
}

#[test]
fn after_another_master_everything_is_set_again() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    rig.commits();
    rig.device.invalidate_state();
    rig.fake.set_value(rig.fake.crtcs()[0], "GAMMA_LUT", rig.fake.add_blob(&[0; 8]));
    rig.enable(&["DP-1"]);
    assert!(rig.the_commit().has(rig.fake.connectors()[0]));
    assert_eq!(rig.fake.value(rig.fake.crtcs()[0], "GAMMA_LUT"), Some(0));
}

#[test]
fn forced_modeset_is_done_once() {
    let mut rig = Rig::with_outputs(2);
    rig.enable(&["DP-1", "DP-2"]);
    rig.commits();
    rig.device.force_modeset(1);
    rig.enable(&["DP-1", "DP-2"]);
    let commit = rig.the_commit();
    assert!(commit.has(rig.fake.crtcs()[1]) && !commit.has(rig.fake.crtcs()[0]));
    rig.enable(&["DP-1", "DP-2"]);
    assert!(rig.commits().is_empty());
}

#[test]
fn disabled_output_keeps_its_framebuffer_until_the_commit() {
    let mut rig = Rig::with_outputs(2);
    rig.enable(&["DP-1", "DP-2"]);
    rig.shown.clear();
    rig.enable(&["DP-2"]);
    assert!(rig.device.framebuffer(0).is_none() && !rig.device.is_enabled("DP-1"));
    assert_eq!(rig.fake.value(rig.fake.crtcs()[0], "ACTIVE"), Some(0));
    assert_eq!(rig.fake.removed_while_shown(), 0);
    rig.buffers.buffers.clear();
    let (framebuffers, handles, blobs) = rig.fake.resource_counts();
    assert_eq!((framebuffers, handles), (1, 0), "only the framebuffer of DP-2 is left");
    // IN_FORMATS of the four planes is the driver's.
    assert_eq!(blobs, 4, "blobs of modes are destroyed after the commit");
}

#[test]
fn max_bpc_of_the_previous_master_is_reported_until_the_monitor_is_disconnected() {
    let fake = FakeDevice::with_outputs(2);
    let (crtcs, connectors) = (fake.crtcs(), fake.connectors());
    fake.show(crtcs[0], connectors[0], &mode(1920, 1080, 60), 0);
    fake.set_value(connectors[0], "max bpc", 8);
    let mut rig = Rig::new(fake);
    let inherited = |rig: &Rig| -> Vec<Option<u8>> {
        let probed = rig.device.probed(true);
        probed.connectors.iter().map(|connector| connector.capabilities.inherited_depth).collect()
    };
    assert_eq!(inherited(&rig), [Some(8), None]);
    rig.fake.disconnect(connectors[0]);
    rig.device.probe(&Probe::All).expect("a probe");
    rig.fake.connect(connectors[0], &[mode(1920, 1080, 60)]);
    rig.device.probe(&Probe::All).expect("a probe");
    assert_eq!(inherited(&rig), [None, None]);
}

#[test]
fn bit_depth_is_set_only_if_the_signal_format_has_one() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    assert_eq!(rig.the_commit().value(rig.fake.connectors()[0], "max bpc"), None);
    let deep = SignalFormat { bit_depth: Some(10), ..SignalFormat::default() };
    rig.commit_with(&[("DP-1", deep)]).expect("the kernel accepts it");
    assert_eq!(rig.the_commit().value(rig.fake.connectors()[0], "max bpc"), Some(10));
}

#[test]
fn signal_format_is_written_to_the_connector() {
    let mut rig = Rig::with_outputs(1);
    let hdr = HdrMetadata {
        eotf: 2,
        primaries: [(1, 2), (3, 4), (5, 6), (7, 8)],
        max_luminance: 1000,
        min_luminance: 1,
        max_content: 900,
        max_average: 400,
    };
    let signal = SignalFormat {
        colorimetry: Colorimetry::Bt2020Rgb,
        hdr: Some(hdr),
        vrr: true,
        ..SignalFormat::default()
    };
    rig.commit_with(&[("DP-1", signal)]).expect("the kernel accepts it");
    let (crtc, connector) = (rig.fake.crtcs()[0], rig.fake.connectors()[0]);
    assert_eq!(rig.fake.value(connector, "Colorspace"), Some(1));
    assert_eq!(rig.fake.value(crtc, "VRR_ENABLED"), Some(1));
    let blob = rig.fake.value(connector, "HDR_OUTPUT_METADATA").expect("the property");
    assert_eq!(rig.fake.blob_content(blob), Some(hdr.to_bytes().to_vec()));
}

#[test]
fn properties_that_the_driver_lacks_are_left_out() {
    let fake = FakeDevice::with_outputs(1);
    let (crtc, connector) = (fake.crtcs()[0], fake.connectors()[0]);
    for property in
        ["Colorspace", "HDR_OUTPUT_METADATA", "max bpc", "Broadcast RGB", "content type", "scaling mode"]
    {
        fake.remove_property(connector, property);
    }
    for property in ["VRR_ENABLED", "GAMMA_LUT", "CTM", "DEGAMMA_LUT"] {
        fake.remove_property(crtc, property);
    }
    let mut rig = Rig::new(fake);
    rig.enable(&["DP-1"]);
    let capabilities = &rig.device.connectors()[0].state.capabilities;
    assert!(capabilities.colorimetries.is_empty() && !capabilities.hdr_metadata);
    assert_eq!(rig.fake.value(crtc, "ACTIVE"), Some(1));
}

#[test]
fn modeline_is_set_as_written() {
    let mut rig = Rig::with_outputs(1);
    let line = Modeline::cvt(1600, 900, 60_000, Blanking::Reduced).expect("a timing");
    let wanted = [("DP-1".to_owned(), vec![Mode::from_modeline(line)], SignalFormat::default())];
    let found = rig.device.search(&wanted, &mut rig.buffers, &stopped).assignments.remove(0);
    let state = rig.state("DP-1", found.crtc, found.choice());
    rig.device.commit(vec![state]).expect("the kernel accepts it");
    let blob = rig.fake.value(rig.fake.crtcs()[0], "MODE_ID").and_then(|blob| rig.fake.blob_content(blob));
    let shown = from_bytes(&blob.expect("a blob")).expect("a mode");
    assert_eq!((shown.size(), shown.clock()), ((1600, 900), line.clock));
}

#[test]
fn blanked_output_keeps_its_mode() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    rig.commits();
    rig.device.set_active(&["DP-1"], false).expect("the kernel accepts it");
    let commit = rig.the_commit();
    assert_eq!(commit.changes.len(), 2, "ACTIVE and link-status: {commit:?}");
    assert_eq!(commit.value(rig.fake.crtcs()[0], "ACTIVE"), Some(0));
    rig.enable(&["DP-1"]);
    assert!(rig.commits().is_empty(), "a blanked output is unchanged");
    rig.device.force_modeset(0);
    rig.enable(&["DP-1"]);
    assert_eq!(rig.the_commit().value(rig.fake.crtcs()[0], "ACTIVE"), Some(0), "it stays blanked");
    rig.device.set_active(&["DP-1"], true).expect("the kernel accepts it");
    assert_eq!(rig.fake.value(rig.fake.crtcs()[0], "ACTIVE"), Some(1));
    assert!(rig.device.set_active(&["DP-2"], true).is_err());
}

#[test]
fn outputs_are_blanked_together_or_not_at_all() {
    let mut rig = Rig::with_outputs(2);
    rig.enable(&["DP-1", "DP-2"]);
    rig.fake.take_commits();
    rig.device.test_active(&["DP-1", "DP-2"], false).expect("the kernel accepts it");
    let tested = rig.fake.take_commits().pop().expect("a test commit");
    assert!(tested.is_test() && tested.changes.len() == 4);
    rig.fake.fail_commits(Errno::INVAL, |_| true);
    assert!(rig.device.set_active(&["DP-1", "DP-2"], false).is_err());
    rig.fake.clear_failures();
    let active =
        |rig: &Rig| rig.fake.crtcs().iter().map(|crtc| rig.fake.value(*crtc, "ACTIVE")).collect::<Vec<_>>();
    assert_eq!(active(&rig), [Some(1), Some(1)]);
    rig.device.set_active(&["DP-1", "DP-2"], false).expect("the kernel accepts it");
    assert_eq!(active(&rig), [Some(0), Some(0)]);
}

#[test]
fn output_is_enabled_blanked_if_that_is_pending() {
    let mut rig = Rig::with_outputs(1);
    rig.device.set_pending_active("DP-1", false);
    rig.enable(&["DP-1"]);
    let crtc = rig.fake.crtcs()[0];
    assert_eq!(rig.fake.value(crtc, "ACTIVE"), Some(0));
    assert_ne!(rig.fake.value(crtc, "MODE_ID"), Some(0));
}

#[test]
fn state_is_unchanged_only_with_the_same_mode_signal_and_crtc() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    let (modes, signal) = (rig.modes("DP-1"), SignalFormat::default());
    let unchanged = |rig: &Rig, output, crtc, mode, signal| {
        rig.device
            .unchanged_state(output, crtc, &Choice { mode, signal, layout: BufferLayout::Best })
            .is_some()
    };
    assert!(unchanged(&rig, "DP-1", 0, modes[0], signal));
    assert!(!unchanged(&rig, "DP-1", 0, modes[1], signal));
    assert!(!unchanged(&rig, "DP-1", 1, modes[0], signal));
    assert!(!unchanged(&rig, "DP-2", 0, modes[0], signal));
    assert!(!unchanged(&rig, "DP-1", 0, modes[0], SignalFormat { bit_depth: Some(10), ..signal }));
    rig.device.invalidate_state();
    assert!(!unchanged(&rig, "DP-1", 0, modes[0], signal));
}

#[test]
fn mode_change_replaces_the_framebuffer() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    let small = rig.modes("DP-1")[1];
    let state = rig.state("DP-1", 0, plain_choice(small));
    rig.device.commit(vec![state]).expect("the kernel accepts it");
    let commit = rig.commits().pop().expect("a commit");
    assert_eq!(commit.value(rig.fake.planes()[0], "CRTC_W"), Some(1280));
    assert_ne!(u32::from(small.width), SIZE.0);
    rig.shown.clear();
    assert_eq!(rig.fake.removed_while_shown(), 0);
}
