//! The plan over generated machines, wishes and histories.

use proptest::prelude::*;

use super::*;

fn modes() -> impl Strategy<Value = Vec<Mode>> {
    let sizes = prop_oneof![Just((640, 480)), Just((1024, 768)), Just((1920, 1080)), Just((3840, 2160))];
    let one = (
        sizes,
        prop_oneof![Just(50_000u32), Just(59_940), Just(60_000), Just(144_000)],
        any::<bool>(),
        any::<bool>(),
    );
    prop::collection::vec(one, 0..6).prop_map(|all| {
        let numbered = all.into_iter().enumerate();
        let mode = |(index, ((width, height), refresh, interlaced, preferred))| Mode {
            width,
            height,
            refresh,
            interlaced,
            preferred,
            index,
            modeline: None,
        };
        numbered.map(mode).collect()
    })
}

fn machine() -> impl Strategy<Value = Vec<Gpu>> {
    let connector = (any::<bool>(), modes(), prop::bool::weighted(0.1));
    prop::collection::vec(prop::collection::vec(connector, 0..4), 0..3).prop_map(|gpus| {
        let mut number = 0;
        let mut gpu = |(id, connectors): (usize, Vec<_>)| Gpu {
            id: id as u64,
            connectors: connectors
                .into_iter()
                .map(|(connected, modes, non_desktop)| {
                    number += 1;
                    Connector {
                        name: format!("DP-{number}"),
                        connected,
                        modes,
                        monitor: None,
                        edid: None,
                        port: None,
                        abilities: Abilities::default(),
                        non_desktop,
                    }
                })
                .collect(),
        };
        gpus.into_iter().enumerate().map(&mut gpu).collect()
    })
}

fn wish() -> impl Strategy<Value = Wish> {
    let mode = prop_oneof![
        Just(None),
        Just("1920x1080".parse().ok()),
        Just("1024x768@60".parse().ok()),
        Just("12x12".parse().ok()),
    ];
    let transform = (0usize..8).prop_map(|index| Transform::NAMES[index].1);
    let scale = prop_oneof![Just(1.0), Just(1.5), Just(2.0), Just(f64::NAN), Just(-1.0)];
    (mode, prop::option::of(scale), prop::option::of(transform), prop::option::of(any::<bool>()))
        .prop_map(|(mode, scale, transform, power)| Wish { mode, scale, transform, power, ..Wish::default() })
}

fn wishes() -> impl Strategy<Value = Wishes> {
    let displays =
        prop::collection::btree_map((1..9).prop_map(|number| format!("DP-{number}")), wish(), 0..4);
    let only = prop::collection::vec((1..9).prop_map(|number| format!("DP-{number}")), 0..2);
    (displays, only).prop_map(|(displays, only)| Wishes { displays, only, ..Wishes::default() })
}

/// What the rest of the program remembers after a plan.
fn remember(known: &mut BTreeMap<String, Place>, plan: &Plan) {
    for display in plan.displays.iter().filter(|display| matches!(display.target, Target::Lit { .. })) {
        known.insert(display.name.clone(), display.place);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Every connected monitor is in the plan, lit with modes of its own list, or off for a reason.
    #[test]
    fn plans_are_complete(present in machine(), wishes in wishes()) {
        let plan = plan(&present, &wishes, &BTreeMap::new());
        let connected: Vec<_> = present.iter().flat_map(|gpu| &gpu.connectors).filter(|connector| connector.connected).collect();
        prop_assert_eq!(plan.displays.len(), connected.len());
        for (display, connector) in plan.displays.iter().zip(connected) {
            prop_assert_eq!(&display.name, &connector.name);
            match &display.target {
                Target::Lit { modes, .. } => {
                    prop_assert!(!modes.is_empty());
                    prop_assert!(modes.iter().all(|mode| connector.modes.contains(mode)));
                    prop_assert!(display.place.width > 0 && display.place.height > 0);
                    prop_assert!(display.scale.is_finite() && display.scale > 0.0);
                }
                Target::Off(OffReason::NotNamed) => prop_assert!(!wishes.only.is_empty()),
                Target::Off(OffReason::NoModes) => prop_assert!(connector.modes.is_empty()),
                Target::Off(OffReason::NonDesktop) => prop_assert!(connector.non_desktop),
                Target::Off(OffReason::Configured) => {
                    prop_assert_eq!(wishes.displays.get(&display.name).and_then(|wish| wish.power), Some(false));
                }
            }
        }
    }

    /// No two lit displays overlap where no position is configured.
    #[test]
    fn displays_do_not_overlap(present in machine(), wishes in wishes()) {
        let plan = plan(&present, &wishes, &BTreeMap::new());
        let lit: Vec<_> = plan.displays.iter().filter(|display| matches!(display.target, Target::Lit { .. })).collect();
        for (index, one) in lit.iter().enumerate() {
            prop_assert!(lit[..index].iter().all(|other| !other.place.overlaps(&one.place)), "{:?}", lit);
        }
    }

    /// Through any history of plugging, a display that stays lit in its size is never moved, and
    /// one that returns takes its old place. Planning twice changes nothing.
    #[test]
    fn layout_is_kept(present in machine(), history in prop::collection::vec((0usize..9, any::<bool>()), 0..20)) {
        let wishes = Wishes::default();
        let mut present = present;
        let mut known = BTreeMap::new();
        let first = plan(&present, &wishes, &known);
        remember(&mut known, &first);
        for (target, connected) in history {
            let mut connectors = present.iter_mut().flat_map(|gpu| &mut gpu.connectors);
            if let Some(connector) = connectors.nth(target) {
                connector.connected = connected;
            }
            let next = plan(&present, &wishes, &known);
            for display in next.displays.iter().filter(|display| matches!(display.target, Target::Lit { .. })) {
                if let Some(place) = known.get(&display.name) {
                    prop_assert_eq!(*place, display.place);
                }
            }
            remember(&mut known, &next);
            prop_assert_eq!(plan(&present, &wishes, &known), next);
        }
    }

    /// Candidates: the wish first where the list has it, every mode once, interlaced never before
    /// a progressive one that was not asked for.
    #[test]
    fn candidates_are_ordered(modes in modes(), wish in prop_oneof![Just(None), Just("1920x1080".parse::<ModeWish>().ok())]) {
        let list = candidates(&modes, wish);
        prop_assert_eq!(list.is_empty(), modes.is_empty());
        if let (Some(wish), Some(first)) = (wish, list.first()) {
            prop_assert_eq!(wish.is_met_by(first), modes.iter().any(|mode| wish.is_met_by(mode)));
        }
        for (index, mode) in list.iter().enumerate() {
            let same = |other: &Mode| (other.width, other.height, other.refresh, other.interlaced) == (mode.width, mode.height, mode.refresh, mode.interlaced);
            prop_assert!(!list[..index].iter().any(same));
        }
        let tail = list.get(1..).unwrap_or_default();
        if list.first().is_some_and(|first| !first.interlaced) {
            prop_assert!(tail.windows(2).all(|pair| !pair[0].interlaced || pair[1].interlaced));
        }
    }
}

#[test]
fn side_by_side_in_connector_order() {
    let connector = |name: &str| Connector {
        name: name.into(),
        connected: true,
        modes: vec![Mode::new(1920, 1080, 60_000)],
        monitor: None,
        edid: None,
        port: None,
        abilities: Abilities::default(),
        non_desktop: false,
    };
    let present = [Gpu { id: 1, connectors: vec![connector("HDMI-A-1"), connector("DP-1")] }];
    let plan = plan(&present, &Wishes::default(), &BTreeMap::new());
    let places: Vec<_> =
        plan.displays.iter().map(|display| (display.name.as_str(), display.place.x)).collect();
    assert_eq!(places, [("HDMI-A-1", 0), ("DP-1", 1920)]);
}
