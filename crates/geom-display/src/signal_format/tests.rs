//! OutputConfigs against what connectors and monitors can.

use proptest::prelude::*;

use super::*;

fn all_capabilities() -> Capabilities {
    Capabilities {
        colorimetries: Colorimetry::VARIANTS.to_vec(),
        hdr_metadata: true,
        depth: Some((8, 16)),
        inherited_depth: None,
        rgb_range: true,
        content_type: true,
        scalings: Scaling::VARIANTS.to_vec(),
        vrr: true,
        converts: true,
        monitor: MonitorColor {
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
fn hdr_sets_metadata_and_ten_bits() {
    let config = SignalConfig { color_space: Some(ColorSpace::Bt2020Pq), ..SignalConfig::default() };
    let (signal, warnings) = resolve(config, &all_capabilities(), false);
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!((signal.colorimetry, signal.bit_depth), (Colorimetry::Bt2020Rgb, Some(10)));
    let bytes = signal.hdr.map(HdrMetadata::to_bytes).unwrap_or_default();
    // Type 0, EOTF 2, type 0, then x and y of red; the last is the frame-average light level.
    assert_eq!(&bytes[..6], [0, 0, 0, 0, 2, 0]);
    assert_eq!(u16::from_ne_bytes([bytes[6], bytes[7]]), 35_400);
    assert_eq!(u16::from_ne_bytes([bytes[28], bytes[29]]), 400);
    assert_eq!(&bytes[30..], [0, 0]);
}

#[test]
fn unsupported_settings_are_reported_and_the_rest_applies() {
    let config = SignalConfig {
        color_space: Some(ColorSpace::Bt2020Hlg),
        bit_depth: Some(16),
        rgb_range: Some(RgbRange::Full),
        content_type: Some(ContentType::Game),
        scaling: Some(Scaling::Full),
        vrr: Some(Vrr::On),
    };
    let few =
        Capabilities { depth: Some((8, 12)), content_type: true, converts: true, ..Capabilities::default() };
    let (signal, warnings) = resolve(config, &few, false);
    let expected =
        SignalFormat { bit_depth: Some(12), content_type: ContentType::Game, ..SignalFormat::default() };
    assert_eq!(signal, expected);
    assert_eq!(
        warnings,
        [
            "color_space bt2020-hlg cannot be applied: the monitor's EDID does not offer it; using srgb",
            "bit_depth 16 cannot be applied: the connector supports 8 to 12; using 12",
            "rgb_range cannot be applied: the connector has no such property",
            "scaling cannot be applied: the connector has no such property",
            "vrr cannot be applied: the monitor has no variable refresh rate",
        ]
    );
}

#[test]
fn inherited_bit_depth_is_kept_if_none_is_configured() {
    let none = SignalConfig::default();
    let eight = SignalConfig { bit_depth: Some(8), ..none };
    let hdr = SignalConfig { color_space: Some(ColorSpace::Bt2020Pq), ..none };
    for (inherited, of_none, of_hdr) in
        [(12, Some(12), Some(12)), (8, Some(8), Some(10)), (0, None, Some(10))]
    {
        let capabilities = Capabilities { inherited_depth: Some(inherited), ..all_capabilities() };
        let depth = |config: SignalConfig| resolve(config, &capabilities, false).0.bit_depth;
        assert_eq!((depth(none), depth(eight), depth(hdr)), (of_none, Some(8), of_hdr), "{inherited}");
    }
}

#[test]
fn bit_depth_is_lowered_before_the_color_space() {
    let config = SignalConfig {
        color_space: Some(ColorSpace::Bt2020Pq),
        bit_depth: Some(12),
        vrr: Some(Vrr::On),
        ..SignalConfig::default()
    };
    let (signal, _) = resolve(config, &all_capabilities(), false);
    let fallbacks: Vec<_> =
        signal.fallbacks().iter().map(|one| (one.color_space.name(), one.bit_depth, one.vrr)).collect();
    assert_eq!(
        fallbacks,
        [
            ("bt2020-pq", Some(12), true),
            ("bt2020-pq", Some(10), true),
            ("bt2020-pq", Some(8), true),
            ("bt2020-pq", Some(8), false),
            ("srgb", Some(8), false),
        ]
    );
    let last = signal.fallbacks().pop().unwrap_or_default();
    assert_eq!(
        signal.differences(&last).as_deref(),
        Some("color_space bt2020-pq, using srgb; bit_depth 12, using 8; vrr")
    );
    assert_eq!(SignalFormat::default().fallbacks(), [SignalFormat::default()]);
}

fn any_config() -> impl Strategy<Value = SignalConfig> {
    (
        prop::option::of(prop::sample::select(ColorSpace::VARIANTS)),
        prop::option::of(0u8..20),
        prop::option::of(Just(RgbRange::Full)),
        prop::option::of(Just(ContentType::Photo)),
        prop::option::of(prop::sample::select(Scaling::VARIANTS)),
        prop::option::of(any::<bool>()),
    )
        .prop_map(|(color_space, bit_depth, rgb_range, content_type, scaling, vrr)| SignalConfig {
            color_space,
            bit_depth,
            rgb_range,
            content_type,
            scaling,
            vrr: vrr.map(Vrr::from),
        })
}

fn any_capabilities() -> impl Strategy<Value = Capabilities> {
    let depth = prop::option::of((6u8..12, 8u8..17));
    (any::<[bool; 9]>(), depth, prop::option::of(0u8..20)).prop_map(|(flags, depth, inherited_depth)| {
        let all = all_capabilities();
        Capabilities {
            colorimetries: if flags[0] { all.colorimetries } else { Vec::new() },
            hdr_metadata: flags[1],
            depth,
            inherited_depth,
            rgb_range: flags[2],
            content_type: flags[3],
            scalings: if flags[3] { vec![Scaling::None, Scaling::Center] } else { Vec::new() },
            vrr: flags[4],
            converts: all.converts,
            monitor: MonitorColor {
                bt2020_rgb: flags[5],
                pq: flags[6],
                hlg: flags[7],
                dci_p3: flags[8],
                ..all.monitor
            },
        }
    })
}

proptest! {
    /// For any configuration and capabilities, no fallback sets a property that the connector
    /// lacks, and the last one is plain sRGB.
    #[test]
    fn fallbacks_use_only_properties_of_the_connector(
        config in any_config(), capabilities in any_capabilities(),
    ) {
        let (signal, _) = resolve(config, &capabilities, false);
        let has_depth = capabilities.depth.is_some();
        for one in signal.fallbacks() {
            let is_default = one.colorimetry == Colorimetry::Default;
            prop_assert!(is_default || capabilities.colorimetries.contains(&one.colorimetry));
            prop_assert!(one.hdr.is_none() || capabilities.hdr_metadata);
            prop_assert!(one.bit_depth.is_none() || has_depth);
            prop_assert!(config.bit_depth.is_none() || one.bit_depth.is_some() == has_depth);
            prop_assert!(one.rgb_range == RgbRange::Automatic || capabilities.rgb_range);
            prop_assert!(one.scaling == Scaling::None || capabilities.scalings.contains(&one.scaling));
            prop_assert!(!one.vrr || capabilities.vrr);
        }
        let last = signal.fallbacks().pop().unwrap_or_default();
        prop_assert_eq!(SignalFormat { bit_depth: None, ..last }, SignalFormat::default());
    }
}
