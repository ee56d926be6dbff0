//! color-management, end to end: surfaces are converted from the colors that clients describe to
//! the display's.

use wayland_protocols::wp::color_management::v1::client::wp_color_manager_v1::{
    Primaries, RenderIntent, TransferFunction,
};
use wayland_protocols::wp::color_management::v1::client::wp_image_description_info_v1::Event as Information;
use wayland_protocols::wp::color_representation::v1::client::wp_color_representation_surface_v1::{
    AlphaMode, Coefficients, Range,
};

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
