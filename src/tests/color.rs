//! color-management, end to end: what programs describe comes to the display's color.

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
fn pictures_come_to_the_display_s_colours() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    // sRGB's red, as Display P3 has it.
    let red = 0x00ea_3323;
    client.open("film", red, None);
    until(&mut fixture, &mut client, "its codes as they are", |fixture, _| fixture.middle(FIRST) == red);
    until(&mut fixture, &mut client, "the protocol", |_, client| client.has_color());
    let color = client.color_surface(0);
    let p3 = client.description(Primaries::DisplayP3, TransferFunction::Srgb);
    until(&mut fixture, &mut client, "the description", |_, client| client.ready.len() == 1);
    color.set_image_description(&p3, RenderIntent::Perceptual);
    client.commit(0);
    until(&mut fixture, &mut client, "red", |fixture, _| is_near(fixture.middle(FIRST), [255, 0, 0], 2));
    // Pictures of pictures are sRGB as well.
    let picture = fixture.compositor.state.picture_of(FIRST).expect("a picture");
    let middle = 3 * (picture.height / 2 * picture.width + picture.width / 2) as usize;
    assert!(
        picture.rgb[middle] > 252 && picture.rgb[middle + 1] < 3,
        "{:?}",
        &picture.rgb[middle..middle + 3]
    );
    // A window over it, of usual color; and gone again.
    let green = client.open("over", 0x0000_ff00, None);
    until(&mut fixture, &mut client, "green", |fixture, _| fixture.middle(FIRST) == 0x0000_ff00);
    client.close(green);
    until(&mut fixture, &mut client, "red", |fixture, _| is_near(fixture.middle(FIRST), [255, 0, 0], 2));
    // The same numbers in other color, and in none.
    let same = client.description(Primaries::DisplayP3, TransferFunction::Srgb);
    until(&mut fixture, &mut client, "the same identity", |_, client| client.ready == [1, 1]);
    same.destroy();
    let wide = client.description(Primaries::Bt2020, TransferFunction::St2084Pq);
    color.set_image_description(&wide, RenderIntent::Relative);
    client.commit(0);
    until(&mut fixture, &mut client, "other color", |fixture, _| {
        !is_near(fixture.middle(FIRST), [255, 0, 0], 9) || fixture.middle(FIRST) == 0x00ff_0000
    });
    color.unset_image_description();
    client.commit(0);
    until(&mut fixture, &mut client, "its codes as they are", |fixture, _| fixture.middle(FIRST) == red);
}

/// 58 % of PQ's signal is white; highlights beyond it are kept apart from it by intent.
#[test]
fn hdr_is_brought_to_sdr() {
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
fn displays_tell_their_colours() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    until(&mut fixture, &mut client, "the protocol and the displays", |_, client| {
        client.has_color() && client.has_outputs(2)
    });
    client.request_output_description(FIRST);
    until(&mut fixture, &mut client, "all of it", |_, client| {
        client.information.iter().any(|event| matches!(event, Information::Done))
    });
    let told = &client.information;
    let is = |wanted: &dyn Fn(&Information) -> bool| told.iter().any(wanted);
    assert!(
        is(&|event| matches!(event, Information::Primaries { r_x: 640_000, w_y: 329_000, .. })),
        "{told:?}"
    );
    assert!(is(
        &|event| matches!(event, Information::TfNamed { tf } if tf.into_result().ok() == Some(TransferFunction::Srgb))
    ));
    assert!(is(&|event| matches!(event, Information::Luminances { max_lum: 80, reference_lum: 80, .. })));
}

#[test]
fn half_a_description_is_an_error() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    let mut twice = fixture.client();
    until(&mut fixture, &mut client, "the protocol", |_, client| {
        twice.turn();
        client.has_color() && twice.has_color()
    });
    client.incomplete_description();
    until(&mut fixture, &mut client, "the end", |_, client| client.disconnected);
    twice.open("app", 0, None);
    twice.color_surface(0);
    twice.color_surface(0);
    until(&mut fixture, &mut twice, "the end", |_, client| client.disconnected);
}

/// Color-representation: what is offered is taken, what is not ends the program.
#[test]
fn what_buffers_hold() {
    let mut fixture = Fixture::pair();
    let red = 0x00ff_0000;
    let mut client = fixture.client();
    client.open("app", red, None);
    until(&mut fixture, &mut client, "red", |fixture, _| fixture.middle(FIRST) == red);
    assert_eq!(client.alpha_modes, [AlphaMode::PremultipliedElectrical]);
    assert_eq!(client.coefficients, [(Coefficients::Identity, Range::Full)]);
    let held = client.representation_surface(0);
    held.set_alpha_mode(AlphaMode::PremultipliedElectrical);
    held.set_coefficients_and_range(Coefficients::Identity, Range::Full);
    client.commit(0);
    held.destroy();
    client.commit(0);
    // Another one, after the first was given back.
    client.representation_surface(0);
    client.commit(0);
    for _ in 0..4 {
        fixture.turn();
        assert!(client.turn());
    }
    client.representation_surface(0);
    until(&mut fixture, &mut client, "the end for two of them", |_, client| client.disconnected);
    for wrong in 0..3 {
        let mut client = fixture.client();
        client.open("app", red, None);
        let held = client.representation_surface(0);
        match wrong {
            0 => held.set_alpha_mode(AlphaMode::Straight),
            1 => held.set_coefficients_and_range(Coefficients::Bt709, Range::Limited),
            _ => {
                client.close(0);
                held.set_alpha_mode(AlphaMode::PremultipliedElectrical);
            }
        }
        until(&mut fixture, &mut client, "the end", |_, client| client.disconnected);
    }
}
