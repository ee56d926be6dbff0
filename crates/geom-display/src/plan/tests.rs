//! The plan for generated machines, configurations and histories of hotplug.

use proptest::prelude::*;
use strum::VariantArray;

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
            requested: false,
            index,
            modeline: None,
        };
        numbered.map(mode).collect()
    })
}

fn transform() -> impl Strategy<Value = Transform> {
    (0usize..8).prop_map(|index| Transform::VARIANTS[index])
}

fn machine() -> impl Strategy<Value = Vec<ProbedGpu>> {
    let connector = (any::<bool>(), modes(), prop::bool::weighted(0.1), transform());
    prop::collection::vec(prop::collection::vec(connector, 0..4), 0..3).prop_map(|gpus| {
        let mut number = 0;
        let mut gpu = |(id, connectors): (usize, Vec<_>)| ProbedGpu {
            id: id as u64,
            connectors: connectors
                .into_iter()
                .map(|(connected, modes, non_desktop, panel_orientation)| {
                    number += 1;
                    ProbedConnector {
                        name: format!("DP-{number}"),
                        connected,
                        modes,
                        monitor: None,
                        edid: None,
                        port: None,
                        capabilities: Capabilities::default(),
                        non_desktop,
                        panel_orientation,
                        tile: None,
                    }
                })
                .collect(),
        };
        gpus.into_iter().enumerate().map(&mut gpu).collect()
    })
}

fn config() -> impl Strategy<Value = OutputConfig> {
    let mode = prop_oneof![
        Just(None),
        Just("1920x1080".parse().ok()),
        Just("1024x768@60".parse().ok()),
        Just("12x12".parse().ok()),
    ];
    let transform = transform();
    let scale = prop_oneof![Just(1.0), Just(1.5), Just(2.0), Just(f64::NAN), Just(-1.0)];
    (mode, prop::option::of(scale), prop::option::of(transform), prop::option::of(any::<bool>())).prop_map(
        |(mode, scale, transform, enabled)| OutputConfig {
            mode,
            scale,
            transform,
            enabled,
            ..OutputConfig::default()
        },
    )
}

fn configs() -> impl Strategy<Value = OutputConfigs> {
    let outputs =
        prop::collection::btree_map((1..9).prop_map(|number| format!("DP-{number}")), config(), 0..4);
    let only = prop::collection::vec((1..9).prop_map(|number| format!("DP-{number}")), 0..2);
    (outputs, only).prop_map(|(outputs, only)| OutputConfigs { outputs, only, ..OutputConfigs::default() })
}

fn is_enabled(output: &&PlannedOutput) -> bool {
    matches!(output.target, PlanTarget::Enabled { .. })
}

/// Keeps the rectangles of enabled outputs, as the compositor does after a plan.
fn remember(known: &mut BTreeMap<String, LogicalRect>, plan: &Plan) {
    for output in plan.outputs.iter().filter(is_enabled) {
        known.insert(output.name.clone(), output.logical);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Every connected monitor is in the plan: enabled with modes of its own list, or disabled for
    /// a valid reason.
    #[test]
    fn plan_covers_every_connected_monitor(present in machine(), configs in configs()) {
        let plan = plan(&present, &configs, &BTreeMap::new());
        let connectors = present.iter().flat_map(|gpu| &gpu.connectors);
        let connected: Vec<_> = connectors.filter(|connector| connector.connected).collect();
        prop_assert_eq!(plan.outputs.len(), connected.len());
        for (output, connector) in plan.outputs.iter().zip(connected) {
            prop_assert_eq!(&output.name, &connector.name);
            match &output.target {
                PlanTarget::Enabled { modes, .. } => {
                    prop_assert!(!modes.is_empty());
                    prop_assert!(modes.iter().all(|mode| connector.modes.contains(mode)));
                    prop_assert!(output.logical.width > 0 && output.logical.height > 0);
                    prop_assert!(output.scale.is_finite() && output.scale > 0.0);
                }
                PlanTarget::Disabled(DisabledReason::NotNamed) => prop_assert!(!configs.only.is_empty()),
                PlanTarget::Disabled(DisabledReason::NoModes) => prop_assert!(connector.modes.is_empty()),
                PlanTarget::Disabled(DisabledReason::NonDesktop) => prop_assert!(connector.non_desktop),
                PlanTarget::Disabled(DisabledReason::Configured) => {
                    let config = configs.outputs.get(&output.name);
                    prop_assert_eq!(config.and_then(|config| config.enabled), Some(false));
                }
            }
        }
    }

    /// Enabled outputs do not overlap if no position is configured.
    #[test]
    fn outputs_do_not_overlap(present in machine(), configs in configs()) {
        let plan = plan(&present, &configs, &BTreeMap::new());
        let enabled: Vec<_> = plan.outputs.iter().filter(is_enabled).collect();
        for (index, one) in enabled.iter().enumerate() {
            let is_apart = |other: &&PlannedOutput| !other.logical.overlaps(&one.logical);
            prop_assert!(enabled[..index].iter().all(is_apart), "{:?}", enabled);
        }
    }

    /// Through any history of hotplug, an output that stays enabled at its size never moves, and
    /// one that is connected again gets its old rectangle. Planning twice changes nothing.
    #[test]
    fn layout_survives_hotplug(
        present in machine(),
        history in prop::collection::vec((0usize..9, any::<bool>()), 0..20),
    ) {
        let configs = OutputConfigs::default();
        let mut present = present;
        let mut known = BTreeMap::new();
        let first = plan(&present, &configs, &known);
        remember(&mut known, &first);
        for (target, connected) in history {
            let mut connectors = present.iter_mut().flat_map(|gpu| &mut gpu.connectors);
            if let Some(connector) = connectors.nth(target) {
                connector.connected = connected;
            }
            let next = plan(&present, &configs, &known);
            for output in next.outputs.iter().filter(is_enabled) {
                if let Some(logical) = known.get(&output.name) {
                    prop_assert_eq!(*logical, output.logical);
                }
            }
            remember(&mut known, &next);
            prop_assert_eq!(plan(&present, &configs, &known), next);
        }
    }

    /// The configured mode is first if the list has it, every mode comes once, and interlaced modes
    /// come after progressive ones unless configured.
    #[test]
    fn mode_candidates_are_ordered(
        modes in modes(),
        configured in prop_oneof![Just(None), Just("1920x1080".parse::<ConfiguredMode>().ok())],
    ) {
        let list = mode_candidates(&modes, configured);
        prop_assert_eq!(list.is_empty(), modes.is_empty());
        if let (Some(configured), Some(first)) = (configured, list.first()) {
            prop_assert_eq!(configured.matches(first), modes.iter().any(|mode| configured.matches(mode)));
        }
        for (index, mode) in list.iter().enumerate() {
            let key = |mode: &Mode| (mode.width, mode.height, mode.refresh, mode.interlaced);
            prop_assert!(!list[..index].iter().any(|other| key(other) == key(mode)));
        }
        let tail = list.get(1..).unwrap_or_default();
        if list.first().is_some_and(|first| !first.interlaced) {
            prop_assert!(tail.windows(2).all(|pair| !pair[0].interlaced || pair[1].interlaced));
        }
    }
}

fn connector(name: &str) -> ProbedConnector {
    ProbedConnector {
        name: name.into(),
        connected: true,
        modes: vec![Mode::new(1920, 1080, 60_000)],
        ..ProbedConnector::default()
    }
}

/// `video=` of the kernel's command line.
#[test]
fn mode_of_the_kernel_s_command_line_is_first_unless_one_is_configured() {
    let list = |modes: [(u16, u16, bool, bool); 3], configured: Option<&str>| {
        let modes: Vec<Mode> = (0..)
            .zip(modes)
            .map(|(index, (width, height, preferred, requested))| Mode {
                preferred,
                requested,
                index,
                ..Mode::new(width, height, 60_000)
            })
            .collect();
        let configured = configured.and_then(|text| text.parse().ok());
        let candidates = mode_candidates(&modes, configured);
        candidates.into_iter().map(|mode| mode.width).collect::<Vec<_>>()
    };
    let modes = [(3840, 2160, true, false), (1920, 1080, false, false), (1280, 720, false, true)];
    assert_eq!(list(modes, None), [1280, 3840, 1920]);
    assert_eq!(list(modes, Some("1920x1080")), [1920, 3840, 1280]);
    // The mode that the kernel has made for it comes after those of the monitor.
    let made = [(1920, 1080, true, false), (1024, 768, false, false), (800, 600, false, true)];
    assert_eq!(list(made, None), [800, 1920, 1024]);
}

#[test]
fn panel_that_is_built_in_turned_is_upright_unless_configured_otherwise() {
    let panel = ProbedConnector { panel_orientation: Transform::Rotated270, ..connector("DSI-1") };
    let present = [ProbedGpu { id: 1, connectors: vec![panel] }];
    let planned = |transform| {
        let config = OutputConfig { transform, ..OutputConfig::default() };
        let outputs = BTreeMap::from([("DSI-1".to_owned(), config)]);
        let configs = OutputConfigs { outputs, ..OutputConfigs::default() };
        let output = plan(&present, &configs, &BTreeMap::new()).outputs.remove(0);
        (output.transform, output.logical.width)
    };
    assert_eq!(planned(None), (Transform::Rotated270, 1080));
    assert_eq!(planned(Some(Transform::Normal)), (Transform::Normal, 1920));
    assert_eq!(planned(Some(Transform::Flipped)), (Transform::Flipped, 1920));
}

/// The kernel's order of connectors need not be that of the tiles, nor of the GPUs.
#[test]
fn tiles_of_a_monitor_are_placed_as_they_are_mounted() {
    let tile = |name: &str, column, row| {
        let tile = Some(Tile { group: 3, column, row });
        ProbedConnector { tile, modes: vec![Mode::new(100, 50, 60_000)], ..connector(name) }
    };
    let connectors = vec![
        tile("DP-1", 1, 0),
        connector("DP-2"),
        tile("DP-3", 0, 0),
        tile("DP-4", 1, 1),
        tile("DP-5", 0, 1),
    ];
    let present = [ProbedGpu { id: 1, connectors }];
    let places = |positions: &[(&str, &str)], known: &BTreeMap<String, LogicalRect>| {
        let config = |text: &str| OutputConfig { position: text.parse().ok(), ..OutputConfig::default() };
        let outputs = positions.iter().map(|(name, text)| ((*name).to_owned(), config(text))).collect();
        let plan = plan(&present, &OutputConfigs { outputs, ..OutputConfigs::default() }, known);
        assert!(plan.outputs.iter().all(|output| output.warnings.is_empty()));
        plan.outputs.iter().map(|output| (output.logical.x, output.logical.y)).collect::<Vec<_>>()
    };
    let mounted = [(100, 0), (200, 0), (0, 0), (100, 50), (0, 50)];
    assert_eq!(places(&[], &BTreeMap::new()), mounted);
    // They follow the first one, and come back together.
    let known = BTreeMap::from([("DP-1".to_owned(), LogicalRect { x: 900, y: 0, width: 100, height: 50 })]);
    assert_eq!(places(&[], &known), mounted);
    let moved = places(&[("DP-3", "10,20")], &BTreeMap::new());
    assert_eq!(moved, [(110, 20), (210, 0), (10, 20), (110, 70), (10, 70)]);
    // The kernel numbers the monitors of each GPU.
    let other = ProbedGpu { id: 2, connectors: vec![tile("DP-6", 1, 0), tile("DP-7", 0, 0)] };
    let both = [present[0].clone(), other];
    let plan = plan(&both, &OutputConfigs::default(), &BTreeMap::new());
    let place = |name: &str| plan.output(name).map(|output| (output.logical.x, output.logical.y));
    let (left, right) = (place("DP-7").expect("planned"), place("DP-6").expect("planned"));
    assert_eq!((right.0 - left.0, right.1), (100, left.1));
    assert!(plan.outputs.iter().all(|one| plan
        .outputs
        .iter()
        .all(|two| one.name == two.name || !one.logical.overlaps(&two.logical))));
    // A configured position applies to a tile as to any other display.
    let turned = places(&[("DP-3", "right-of DP-1"), ("DP-1", "0,0")], &BTreeMap::new());
    assert_eq!((turned[0], turned[2]), ((0, 0), (100, 0)));
}

#[test]
fn new_outputs_are_placed_side_by_side_in_connector_order() {
    let present = [ProbedGpu { id: 1, connectors: vec![connector("HDMI-A-1"), connector("DP-1")] }];
    let plan = plan(&present, &OutputConfigs::default(), &BTreeMap::new());
    let positions: Vec<_> =
        plan.outputs.iter().map(|output| (output.name.as_str(), output.logical.x)).collect();
    assert_eq!(positions, [("HDMI-A-1", 0), ("DP-1", 1920)]);
}
