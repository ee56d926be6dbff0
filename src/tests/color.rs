//! color-management, end to end: surfaces are converted from the colors that clients describe to
//! the display's.

use wayland_protocols::wp::color_management::v1::client::wp_color_manager_v1::{
    Primaries, RenderIntent, TransferFunction,
};
use wayland_protocols::wp::color_management::v1::client::wp_image_description_info_v1::Event as Information;
use wayland_protocols::wp::color_representation::v1::client::wp_color_representation_surface_v1::{
    AlphaMode, Coefficients, Range,
};

use geom_ipc::{ReplyResult, Response};
use serde_json::json;

use super::control::Control;
use super::{until, Fixture};

const FIRST: &str = "HEADLESS-1";

fn is_near(color: u32, wanted: [u8; 3], by: u8) -> bool {
    let [_, red, green, blue] = color.to_be_bytes();
    [red, green, blue].iter().zip(wanted).all(|(one, other)| one.abs_diff(other) <= by)
}

#[test]
fn described_surfaces_are_converted_to_the_display_s_colors() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    // sRGB's red in Display P3's code values.
    let red = 0x00ea_3323;
    client.open("film", red, None);
    until(&mut fixture, &mut client, "the code values as they are", |fixture, _| {
        fixture.middle(FIRST) == red
    });
    until(&mut fixture, &mut client, "the protocol", |_, client| client.has_color());
    let color = client.color_surface(0);
    let p3 = client.description(Primaries::DisplayP3, TransferFunction::Srgb);
    until(&mut fixture, &mut client, "the description", |_, client| client.ready.len() == 1);
    color.set_image_description(&p3, RenderIntent::Perceptual);
    client.commit(0);
    until(&mut fixture, &mut client, "red", |fixture, _| is_near(fixture.middle(FIRST), [255, 0, 0], 2));
    // Screenshots are sRGB as well.
    let screenshot = fixture.compositor.state.render_to_image(FIRST).expect("a screenshot");
    let middle = 3 * (screenshot.height / 2 * screenshot.width + screenshot.width / 2) as usize;
    assert!(
        screenshot.rgb[middle] > 252 && screenshot.rgb[middle + 1] < 3,
        "{:?}",
        &screenshot.rgb[middle..middle + 3]
    );
    // A window without a description in front of it, and its end.
    let green = client.open("over", 0x0000_ff00, None);
    until(&mut fixture, &mut client, "green", |fixture, _| fixture.middle(FIRST) == 0x0000_ff00);
    client.close(green);
    until(&mut fixture, &mut client, "red", |fixture, _| is_near(fixture.middle(FIRST), [255, 0, 0], 2));
    // The same code values with another description, and without one.
    let same = client.description(Primaries::DisplayP3, TransferFunction::Srgb);
    until(&mut fixture, &mut client, "the same identity", |_, client| client.ready == [1, 1]);
    same.destroy();
    let wide = client.description(Primaries::Bt2020, TransferFunction::St2084Pq);
    color.set_image_description(&wide, RenderIntent::Relative);
    client.commit(0);
    until(&mut fixture, &mut client, "the other color", |fixture, _| {
        !is_near(fixture.middle(FIRST), [255, 0, 0], 9) || fixture.middle(FIRST) == 0x00ff_0000
    });
    color.unset_image_description();
    client.commit(0);
    until(&mut fixture, &mut client, "the code values as they are", |fixture, _| {
        fixture.middle(FIRST) == red
    });
}

/// PQ's code value of 58 % is white. The perceptual intent reserves code values for brighter
/// highlights; the relative intent does not.
#[test]
fn hdr_is_tone_mapped_to_sdr_by_intent() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    let white = 0x0094_9494;
    client.open("film", white, None);
    until(&mut fixture, &mut client, "the protocol", |fixture, client| {
        client.has_color() && fixture.middle(FIRST) == white
    });
    let color = client.color_surface(0);
    let hdr = client.description(Primaries::Bt2020, TransferFunction::St2084Pq);
    color.set_image_description(&hdr, RenderIntent::Relative);
    client.commit(0);
    until(&mut fixture, &mut client, "white", |fixture, _| is_near(fixture.middle(FIRST), [255; 3], 9));
    color.set_image_description(&hdr, RenderIntent::Perceptual);
    client.commit(0);
    until(&mut fixture, &mut client, "less than white", |fixture, _| {
        (225..253).contains(&(fixture.middle(FIRST) & 0xff))
    });
}

#[test]
fn output_description_has_primaries_transfer_function_and_luminances() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    until(&mut fixture, &mut client, "the protocol and the displays", |_, client| {
        client.has_color() && client.has_outputs(2)
    });
    client.request_output_description(FIRST);
    until(&mut fixture, &mut client, "the end of the information", |_, client| {
        client.information.iter().any(|event| matches!(event, Information::Done))
    });
    let information = &client.information;
    let is = |wanted: &dyn Fn(&Information) -> bool| information.iter().any(wanted);
    assert!(
        is(&|event| matches!(event, Information::Primaries { r_x: 640_000, w_y: 329_000, .. })),
        "{information:?}"
    );
    assert!(is(
        &|event| matches!(event, Information::TfNamed { tf } if tf.into_result().ok() == Some(TransferFunction::Srgb))
    ));
    assert!(is(&|event| matches!(event, Information::Luminances { max_lum: 80, reference_lum: 80, .. })));
}

#[test]
fn incomplete_description_and_second_color_surface_are_protocol_errors() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    let mut twice = fixture.client();
    until(&mut fixture, &mut client, "the protocol", |_, client| {
        twice.poll();
        client.has_color() && twice.has_color()
    });
    client.incomplete_description();
    until(&mut fixture, &mut client, "the disconnect", |_, client| client.disconnected);
    twice.open("app", 0, None);
    twice.color_surface(0);
    twice.color_surface(0);
    until(&mut fixture, &mut twice, "the disconnect", |_, client| client.disconnected);
}

/// color-representation: offered values are accepted, others are protocol errors.
#[test]
fn only_offered_color_representations_are_accepted() {
    let mut fixture = Fixture::pair();
    let red = 0x00ff_0000;
    let mut client = fixture.client();
    client.open("app", red, None);
    until(&mut fixture, &mut client, "red", |fixture, _| fixture.middle(FIRST) == red);
    assert_eq!(client.alpha_modes, [AlphaMode::PremultipliedElectrical]);
    assert_eq!(client.coefficients, [(Coefficients::Identity, Range::Full)]);
    let representation = client.representation_surface(0);
    representation.set_alpha_mode(AlphaMode::PremultipliedElectrical);
    representation.set_coefficients_and_range(Coefficients::Identity, Range::Full);
    client.commit(0);
    representation.destroy();
    client.commit(0);
    // A second object, after the first was destroyed.
    client.representation_surface(0);
    client.commit(0);
    for _ in 0..4 {
        fixture.iterate();
        assert!(client.poll());
    }
    client.representation_surface(0);
    until(&mut fixture, &mut client, "the disconnect for two objects", |_, client| client.disconnected);
    for wrong in 0..3 {
        let mut client = fixture.client();
        client.open("app", red, None);
        let representation = client.representation_surface(0);
        match wrong {
            0 => representation.set_alpha_mode(AlphaMode::Straight),
            1 => representation.set_coefficients_and_range(Coefficients::Bt709, Range::Limited),
            _ => {
                client.close(0);
                representation.set_alpha_mode(AlphaMode::PremultipliedElectrical);
            }
        }
        until(&mut fixture, &mut client, "the disconnect", |_, client| client.disconnected);
    }
}

/// Writes an ICC profile of wide primaries.
fn write_icc(path: &std::path::Path) {
    let point = |x, y| lcms2::CIExyY { x, y, Y: 1.0 };
    let primaries =
        lcms2::CIExyYTRIPLE { Red: point(0.68, 0.32), Green: point(0.265, 0.69), Blue: point(0.15, 0.06) };
    let curve = lcms2::ToneCurve::new(2.2);
    let profile = lcms2::Profile::new_rgb(&point(0.3127, 0.329), &primaries, &[&curve, &curve, &curve]);
    let bytes = profile.and_then(|profile| profile.icc()).expect("an ICC profile");
    std::fs::write(path, bytes).expect("a file");
}

/// What a virtual display reports of an ICC profile that was read: its renderer converts nothing.
const CANNOT_CONVERT: &str = "renderer does not convert colors";

/// The disk may be slow: nothing waits for the file, and colors stay as they are until it is read.
#[test]
fn icc_files_of_the_configuration_are_not_read_in_the_event_loop() {
    let folder = tempfile::tempdir().expect("a folder");
    let (icc, missing) = (folder.path().join("wide.icc"), folder.path().join("missing.icc"));
    write_icc(&icc);
    let config = |path: &std::path::Path| {
        let path = path.display();
        format!("[headless]\ndisplays = [\"800x600\"]\n[displays.{FIRST}]\ncolor_space = \"{path}\"\n")
    };
    let warnings = |fixture: &Fixture| {
        let display = fixture.compositor.state.ipc_displays().into_iter().next();
        display.expect("a display").warnings.join("\n")
    };
    // The start waits for it for a moment.
    let mut fixture = Fixture::new(&config(&icc));
    fixture.until("the first profile", |fixture| warnings(fixture).contains(CANNOT_CONVERT));
    // While another file is read, nothing is reported of it.
    std::fs::write(fixture.config_path(), config(&missing)).expect("a configuration");
    fixture.compositor.state.reload();
    assert_eq!(warnings(&fixture), "", "before the file is read");
    fixture.until("the reason", |fixture| warnings(fixture).contains("missing.icc cannot be used"));
    // A file that was repaired is used with the next reconfiguration that finds it so.
    write_icc(&missing);
    fixture.compositor.state.reconfigure("test");
    assert!(warnings(&fixture).contains("missing.icc cannot be used"), "before the file is read");
    fixture.until("the repaired profile", |fixture| warnings(fixture).contains(CANNOT_CONVERT));
}

/// A request is answered when its file is read, and before the client's next one.
#[test]
fn request_that_names_an_icc_file_is_answered_when_it_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let icc = folder.path().join("wide.icc");
    write_icc(&icc);
    let mut fixture = Fixture::pair();
    let mut control = Control::greeted(&mut fixture, json!({}));
    let set = |number: u32, path: &std::path::Path| json!({"id": number, "request": "set_display", "display": FIRST, "color_space": path});
    let missing = folder.path().join("missing.icc");
    let lines = [set(10, &icc), set(11, &missing), json!({"id": 12, "request": "displays"})];
    let lines: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
    assert!(control.write(lines.concat().as_bytes()));
    fixture.until("the replies", |_| {
        control.poll();
        control.replies.len() == 3
    });
    let numbers: Vec<_> = control.replies.iter().filter_map(|reply| reply.id).collect();
    assert_eq!(numbers, [10, 11, 12]);
    let error = |index: usize| match &control.replies[index].result {
        ReplyResult::Error(error) => error.message.clone(),
        ReplyResult::Response(response) => panic!("{response:?}"),
    };
    assert!(error(0).contains(CANNOT_CONVERT), "{}", error(0));
    assert!(error(1).contains("missing.icc cannot be used"), "{}", error(1));
    let ReplyResult::Response(Response::Displays(displays)) = &control.replies[2].result else {
        panic!("{:?}", control.replies[2])
    };
    assert!(displays[0].warnings.is_empty(), "{displays:?}");
}
