//! Wishes against what connectors and monitors can.

use proptest::prelude::*;

use super::*;

fn able() -> Abilities {
    Abilities {
        colorimetries: Colorimetry::NAMES.map(|(_, value)| value).to_vec(),
        hdr_metadata: true,
        depth: Some((8, 16)),
        depth_before: None,
        rgb_range: true,
        content_type: true,
        scalings: Scaling::NAMES.map(|(_, value)| value).to_vec(),
        vrr: true,
        converts: true,
        monitor: MonitorColour {
            bt2020_rgb: true,
            dci_p3: true,
            pq: true,
            hlg: true,
            primaries: Some(BT2020),
            max_luminance: Some(600),
            max_average: Some(400),
            min_luminance: Some(500),
        },
    }
}

#[test]
fn hdr_brings_its_metadata_and_ten_bits() {
    let wish = LinkWish { color_space: Some(ColorSpace::Bt2020Pq), ..LinkWish::default() };
    let (link, complaints) = resolve(wish, &able(), false);
    assert_eq!(complaints, Vec::<String>::new());
    assert_eq!((link.colorimetry, link.bit_depth), (Colorimetry::Bt2020Rgb, Some(10)));
    let bytes = link.hdr.map(HdrMetadata::to_bytes).unwrap_or_default();
    // Type 0, EOTF 2, type 0, then red's x and y; the last is the frames' average.
    assert_eq!(&bytes[..6], [0, 0, 0, 0, 2, 0]);
    assert_eq!(u16::from_ne_bytes([bytes[6], bytes[7]]), 35_400);
    assert_eq!(u16::from_ne_bytes([bytes[28], bytes[29]]), 400);
    assert_eq!(&bytes[30..], [0, 0]);
}

#[test]
fn what_can_t_be_is_told_and_the_rest_applies() {
    let wish = LinkWish {
        color_space: Some(ColorSpace::Bt2020Hlg),
        bit_depth: Some(16),
        rgb_range: Some(RgbRange::Full),
        content_type: Some(ContentType::Game),
        scaling: Some(Scaling::Full),
        vrr: Some(Vrr::On),
    };
    let poor = Abilities { depth: Some((8, 12)), content_type: true, converts: true, ..Abilities::default() };
    let (link, complaints) = resolve(wish, &poor, false);
    assert_eq!(link, Link { bit_depth: Some(12), content_type: ContentType::Game, ..Link::default() });
    assert_eq!(
        complaints,
        [
            "color_space bt2020-hlg can't be: the monitor's EDID does not offer it; using srgb",
            "bit_depth 16 can't be: its connector has 8 to 12; using 12",
            "rgb_range can't be: its connector has no such property",
            "scaling can't be: its connector has no such property",
            "vrr can't be: the monitor's refresh does not vary",
        ]
    );
}

#[test]
fn bits_that_were_there_stay_where_nobody_wishes() {
    let none = LinkWish::default();
    let eight = LinkWish { bit_depth: Some(8), ..none };
    let hdr = LinkWish { color_space: Some(ColorSpace::Bt2020Pq), ..none };
    for (before, of_none, of_hdr) in [(12, Some(12), Some(12)), (8, Some(8), Some(10)), (0, None, Some(10))] {
        let abilities = Abilities { depth_before: Some(before), ..able() };
        let bits = |wish: LinkWish| resolve(wish, &abilities, false).0.bit_depth;
        assert_eq!((bits(none), bits(eight), bits(hdr)), (of_none, Some(8), of_hdr), "{before}");
    }
}

#[test]
fn fewer_bits_come_before_plain_colours() {
    let wish = LinkWish {
        color_space: Some(ColorSpace::Bt2020Pq),
        bit_depth: Some(12),
        vrr: Some(Vrr::On),
        ..LinkWish::default()
    };
    let (link, _) = resolve(wish, &able(), false);
    let rungs: Vec<_> =
        link.ladder().iter().map(|rung| (rung.color_space.name(), rung.bit_depth, rung.vrr)).collect();
    assert_eq!(
        rungs,
        [
            ("bt2020-pq", Some(12), true),
            ("bt2020-pq", Some(10), true),
            ("bt2020-pq", Some(8), true),
            ("bt2020-pq", Some(8), false),
            ("srgb", Some(8), false),
        ]
    );
    let last = link.ladder().pop().unwrap_or_default();
    assert_eq!(
        link.given_up(&last).as_deref(),
        Some("color_space bt2020-pq, using srgb; 12 bits of a colour, using 8; vrr")
    );
    assert_eq!(Link::default().ladder(), [Link::default()]);
}

proptest! {
    /// Whatever is wished of whatever can be: nothing is asked that the connector lacks, and the ladder ends plain.
    #[test]
    fn nothing_is_asked_that_can_t_be(
        space in prop::option::of(prop::sample::select(ColorSpace::NAMES.map(|(_, space)| space).to_vec())),
        bits in prop::option::of(0u8..20), range in prop::option::of(Just(RgbRange::Full)),
        content in prop::option::of(Just(ContentType::Photo)), vrr in prop::option::of(any::<bool>()),
        scaling in prop::option::of(prop::sample::select(Scaling::NAMES.map(|(_, scaling)| scaling).to_vec())),
        flags in any::<[bool; 9]>(), depth in prop::option::of((6u8..12, 8u8..17)),
        before in prop::option::of(0u8..20),
    ) {
        let whole = able();
        let abilities = Abilities {
            colorimetries: if flags[0] { whole.colorimetries } else { Vec::new() },
            hdr_metadata: flags[1],
            depth,
            depth_before: before,
            rgb_range: flags[2],
            content_type: flags[3],
                scalings: if flags[3] { vec![Scaling::None, Scaling::Center] } else { Vec::new() },
            vrr: flags[4],
            converts: whole.converts,
            monitor: MonitorColour { bt2020_rgb: flags[5], pq: flags[6], hlg: flags[7], dci_p3: flags[8], ..whole.monitor },
        };
        let wish = LinkWish { color_space: space, bit_depth: bits, rgb_range: range, content_type: content, scaling, vrr: vrr.map(Vrr::from) };
        let (link, _) = resolve(wish, &abilities, false);
        for rung in link.ladder() {
            prop_assert!(rung.colorimetry == Colorimetry::Default || abilities.colorimetries.contains(&rung.colorimetry));
            prop_assert!(rung.hdr.is_none() || abilities.hdr_metadata);
            prop_assert!(rung.bit_depth.is_none() || depth.is_some());
            prop_assert!(bits.is_none() || rung.bit_depth.is_some() == depth.is_some());
            prop_assert!(rung.rgb_range == RgbRange::Automatic || abilities.rgb_range);
            prop_assert!(rung.scaling == Scaling::None || abilities.scalings.contains(&rung.scaling));
            prop_assert!(!rung.vrr || abilities.vrr);
        }
        let last = link.ladder().pop().unwrap_or_default();
        prop_assert_eq!(Link { bit_depth: None, ..last }, Link::default());
    }
}
