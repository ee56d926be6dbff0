//! Gamma LUTs, color conversions, and their reset.

use geom_color::colorop_solver::{ColoropKind, ColoropSetting, NamedCurve};
use geom_color::pipeline::CrtcPipeline;
use geom_display::signal_format::{Colorimetry, SignalFormat};
use rustix::io::Errno;

use super::{Rig, SIZE};
use crate::fake::{FakeColorop, FakeDevice, LUT_SIZE};
use crate::{CrtcColor, Frame, HardwareConversion};

fn lut(value: u16) -> Vec<[u16; 3]> {
    vec![[value; 3]; LUT_SIZE as usize]
}

/// Submits the pending color of a CRTC in a frame of its own.
fn submit_color(rig: &mut Rig, crtc: usize) {
    let frame = Frame { color: rig.device.pending_color(crtc), ..Frame::default() };
    assert!(frame.color.is_some(), "no color is pending");
    rig.device.submit(crtc, &frame).expect("the kernel accepts it");
    rig.fake.complete_flips(std::time::Duration::ZERO);
}

#[test]
fn gamma_lut_is_tested_and_comes_with_the_next_frame() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    assert_eq!(rig.device.gamma_size("DP-1"), Some(LUT_SIZE as usize));
    assert!(rig.device.has_gamma(0) && !rig.device.has_gamma(1));
    rig.fake.take_commits();
    rig.device.set_gamma("DP-1", Some(&lut(7))).expect("the kernel accepts it");
    assert!(rig.fake.take_commits().iter().all(|commit| commit.is_test()));
    submit_color(&mut rig, 0);
    assert_eq!(rig.device.pending_color(0), None);
    let blob = rig.fake.value(rig.fake.crtcs()[0], "GAMMA_LUT").and_then(|blob| rig.fake.blob_content(blob));
    let blob = blob.expect("a LUT");
    assert_eq!((blob.len(), &blob[..8]), (LUT_SIZE as usize * 8, &[7, 0, 7, 0, 7, 0, 0, 0][..]));
    rig.device.set_gamma("DP-1", None).expect("the kernel accepts it");
    submit_color(&mut rig, 0);
    assert_eq!(rig.fake.value(rig.fake.crtcs()[0], "GAMMA_LUT"), Some(0));
}

#[test]
fn refused_gamma_lut_keeps_the_previous_one() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    rig.device.set_gamma("DP-1", Some(&lut(7))).expect("the kernel accepts it");
    submit_color(&mut rig, 0);
    rig.fake.fail_nth_commit(0, Errno::INVAL);
    assert!(rig.device.set_gamma("DP-1", Some(&lut(9))).is_err());
    assert_eq!(rig.device.pending_color(0), None);
}

#[test]
fn color_that_is_set_before_the_output_is_enabled_comes_with_the_modeset() {
    let mut rig = Rig::with_outputs(1);
    rig.device.set_gamma("DP-1", Some(&lut(7))).expect("not tested yet");
    rig.enable(&["DP-1"]);
    assert_ne!(rig.the_commit().value(rig.fake.crtcs()[0], "GAMMA_LUT"), Some(0));
    assert_eq!(rig.device.pending_color(0), None);
}

#[test]
fn crtc_conversion_sets_both_luts_and_the_matrix() {
    let mut rig = Rig::with_outputs(1);
    rig.enable(&["DP-1"]);
    let size = LUT_SIZE as usize;
    assert_eq!(rig.device.crtc_lut_sizes(0), Some((size, size)));
    let target = geom_color::target::ColorTarget {
        space: geom_color::color_space::ColorSpace::DisplayP3,
        ..Default::default()
    };
    // LUTs large enough for any target.
    let pipeline = CrtcPipeline::for_target(&target, 4096, 4096).expect("a pipeline");
    let conversion = HardwareConversion::Crtc(pipeline.clone());
    rig.device.set_conversion("DP-1", Some(conversion.clone())).expect("the kernel accepts it");
    submit_color(&mut rig, 0);
    let crtc = rig.fake.crtcs()[0];
    let ctm = rig.fake.value(crtc, "CTM").and_then(|blob| rig.fake.blob_content(blob)).expect("a matrix");
    let expected: Vec<u8> = pipeline.ctm().into_iter().flat_map(u64::to_ne_bytes).collect();
    assert_eq!(ctm, expected);
    assert_ne!(rig.fake.value(crtc, "DEGAMMA_LUT"), Some(0));
    rig.fake.take_commits();
    rig.device.set_conversion("DP-1", Some(conversion)).expect("unchanged");
    assert!(rig.fake.take_commits().is_empty(), "the same conversion is not tested again");
    rig.device.remove_color("DP-1");
    assert_eq!(rig.device.pending_color(0), Some(CrtcColor::default()));
}

#[test]
fn plane_pipeline_is_read_set_and_reset() {
    let fake = FakeDevice::with_outputs(1);
    let plane = fake.planes()[0];
    let colorops =
        [FakeColorop::Curves(vec!["sRGB EOTF", "PQ 125 EOTF"]), FakeColorop::Matrix, FakeColorop::Lut1d(16)];
    let number = fake.add_pipeline(plane, &colorops);
    let [curve, matrix, table] = [0, 1, 2].map(|index| number as u32 + index);
    let mut rig = Rig::new(fake);
    rig.enable(&["DP-1"]);
    let pipelines = rig.device.plane_colorops(0);
    assert_eq!(pipelines.len(), 1);
    let kinds: Vec<_> = pipelines[0].iter().map(|colorop| colorop.kind.clone()).collect();
    assert!(
        matches!(&kinds[..], [ColoropKind::Curves(curves), ColoropKind::Matrix, ColoropKind::Lut1d(16)]
        if !curves.is_empty()),
        "{kinds:?}"
    );
    assert!(rig.device.probed(false).connectors[0].capabilities.converts);

    let settings = vec![
        ColoropSetting::Curve(NamedCurve::ALL[0].0),
        ColoropSetting::Matrix([[0.0; 3]; 3]),
        ColoropSetting::Bypass,
    ];
    rig.device
        .set_conversion("DP-1", Some(HardwareConversion::Plane(0, settings)))
        .expect("the kernel accepts it");
    submit_color(&mut rig, 0);
    assert!(rig.device.converts_by_plane(0));
    assert_eq!(rig.fake.value(plane, "COLOR_PIPELINE"), Some(number));
    let bypass = [curve, matrix, table].map(|colorop| rig.fake.value(colorop, "BYPASS"));
    assert_eq!(bypass, [Some(0), Some(0), Some(1)]);
    assert_ne!(rig.fake.value(matrix, "DATA"), Some(0));

    rig.device.reset_color_state();
    assert_eq!(rig.fake.value(plane, "COLOR_PIPELINE"), Some(0));
    assert!(rig.device.set_conversion("DP-1", Some(HardwareConversion::Plane(9, Vec::new()))).is_err());
}

#[test]
fn reset_restores_defaults_of_changed_outputs_only() {
    let mut rig = Rig::with_outputs(2);
    let signal = SignalFormat {
        colorimetry: Colorimetry::Bt2020Rgb,
        bit_depth: Some(10),
        vrr: true,
        ..SignalFormat::default()
    };
    rig.commit_with(&[("DP-1", signal), ("DP-2", SignalFormat::default())]).expect("the kernel accepts it");
    rig.device.set_gamma("DP-1", Some(&lut(7))).expect("the kernel accepts it");
    submit_color(&mut rig, 0);
    rig.commits();
    rig.device.reset_color_state();
    let commit = rig.the_commit();
    let (crtcs, connectors) = (rig.fake.crtcs(), rig.fake.connectors());
    assert!(!commit.has(crtcs[1]) && !commit.has(connectors[1]), "{commit:?}");
    for (object, property) in
        [(crtcs[0], "GAMMA_LUT"), (crtcs[0], "VRR_ENABLED"), (connectors[0], "Colorspace")]
    {
        assert_eq!(rig.fake.value(object, property), Some(0), "{property}");
    }
    assert_eq!(rig.fake.value(connectors[0], "max bpc"), Some(10), "a change forces a full modeset");
    assert_eq!(rig.fake.value(crtcs[0], "ACTIVE"), Some(1), "the image stays");
    rig.device.reset_color_state();
    assert!(rig.commits().is_empty(), "nothing is left to reset");
    assert!(rig.device.pending_color(0).is_some(), "color comes back with the next frame");
}

#[test]
fn reset_keeps_the_framebuffer_that_is_shown() {
    let mut rig = Rig::with_outputs(1);
    rig.commit_with(&[("DP-1", SignalFormat { vrr: true, ..SignalFormat::default() })]).expect("accepted");
    let frame = rig.frame(SIZE);
    rig.device.submit(0, &frame).expect("the kernel accepts it");
    rig.fake.complete_flips(std::time::Duration::ZERO);
    // The framebuffer of the modeset is gone, as after a GPU reset.
    let shown = u32::from(frame.primary.as_ref().expect("a framebuffer").0.handle());
    rig.shown.clear();
    rig.device.reset_color_state();
    assert_eq!(rig.fake.value(rig.fake.crtcs()[0], "VRR_ENABLED"), Some(0));
    assert_eq!(rig.fake.value(rig.fake.planes()[0], "FB_ID"), Some(shown.into()));
    assert_eq!(rig.fake.removed_while_shown(), 0);
}

#[test]
fn failed_reset_is_tried_again() {
    let mut rig = Rig::with_outputs(1);
    rig.commit_with(&[("DP-1", SignalFormat { vrr: true, ..SignalFormat::default() })]).expect("accepted");
    rig.fake.fail_commits(Errno::ACCESS, |_| true);
    rig.device.reset_color_state();
    rig.fake.clear_failures();
    assert_eq!(rig.fake.value(rig.fake.crtcs()[0], "VRR_ENABLED"), Some(1));
    rig.device.reset_color_state();
    assert_eq!(rig.fake.value(rig.fake.crtcs()[0], "VRR_ENABLED"), Some(0));
}
