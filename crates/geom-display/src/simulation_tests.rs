//! A simulation of a desk with two GPUs against the plan, the search and models of kernels: 10,000
//! steps of hotplug, profile edits, changes of user and refused commits, from a seed.
//!
//! At each step: an output is enabled if the kernel would accept any, the kernel accepts what is
//! enabled, and the same step again changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use geom_color::color_space::ColorSpace;
use strum::VariantArray;

use crate::fallback::{self, BufferLayout, CrtcAssignment, Request, TestCommit};
use crate::identity::{Identity, KnownOutputs, MonitorIds};
use crate::mode::Mode;
use crate::output_config::{keep_one_enabled, OutputConfig, OutputConfigs, Position, Transform};
use crate::plan::{
    desktop_connectors, plan, LogicalRect, Plan, PlanTarget, PlannedOutput, ProbedConnector, ProbedGpu,
};
use crate::profile::{Layout, UserProfile};
use crate::relocation::{monitor_keys, relocations, MonitorKey};
use crate::signal_format::{Capabilities, Colorimetry, MonitorColor, SignalFormat, Vrr};

/// Returns a random item of a list.
fn any_of<'a, T>(random: &mut Rng, list: &'a [T]) -> &'a T {
    &list[random.usize(..list.len())]
}

const GPUS: usize = 2;
const CONNECTORS: usize = 3;
/// The second GPU has fewer CRTCs than connectors.
const CRTCS: [usize; GPUS] = [3, 2];

/// The monitors: two are identical, one has no identity, one has no modes, one is a headset.
const MONITORS: [&str; 8] = ["Wide", "Tall", "Twin", "Twin", "Panel", "", "Mute", "Headset"];
const HEADSET: usize = 7;

fn name(gpu: usize, connector: usize) -> String {
    format!("DP-{}", gpu * CONNECTORS + connector + 1)
}

fn modes(monitor: usize) -> Vec<Mode> {
    let max_width = [3840, 1920, 2560, 2560, 1366, 1024, 0, 2160][monitor];
    let all = [
        (3840, 2160, 60_000),
        (2560, 1440, 144_000),
        (2560, 1440, 60_000),
        (1920, 1080, 60_000),
        (1366, 768, 60_000),
        (1024, 768, 60_000),
    ];
    let supported = all.into_iter().filter(|(width, ..)| *width <= max_width);
    let mode = |(index, (width, height, refresh))| Mode {
        index,
        preferred: index == 0,
        requested: false,
        ..Mode::new(width, height, refresh)
    };
    supported.enumerate().map(mode).collect()
}

/// A model of a kernel: what it refuses now.
#[derive(Debug, Clone, Default)]
struct Kernel {
    /// Everything.
    all: bool,
    /// Modes of these widths.
    widths: BTreeSet<u16>,
    /// Any colorimetry but the default.
    colorimetry: bool,
    /// More than 8 bits per color.
    deep_color: bool,
    /// Variable refresh rates.
    vrr: bool,
    /// More millions of pixels per second than this.
    bandwidth: Option<u64>,
}

impl TestCommit for Kernel {
    fn test(&mut self, assignments: &[CrtcAssignment]) -> Result<(), String> {
        let mut load = 0;
        for (index, one) in assignments.iter().enumerate() {
            let is_refused = self.all
                || self.widths.contains(&one.mode.width)
                || one.mode.modeline.is_some_and(|line| line.clock > 600_000)
                || (self.colorimetry && one.signal.colorimetry != Colorimetry::Default)
                || (self.deep_color && one.signal.bit_depth.is_some_and(|depth| depth > 8))
                || (self.vrr && one.signal.vrr)
                || assignments[..index].iter().any(|other| other.crtc == one.crtc);
            if is_refused {
                return Err("EINVAL".into());
            }
            let pixels = u64::from(one.mode.area()) * u64::from(one.mode.refresh) / 1_000_000_000;
            load += pixels * u64::from(one.signal.bit_depth.unwrap_or(8)) / 8;
        }
        match self.bandwidth {
            Some(limit) if load > limit => Err("ENOSPC".into()),
            _ => Ok(()),
        }
    }
}

/// A line of a profile: the key, and what the line sets.
type Setting = (&'static str, fn(&mut OutputConfig));

/// Lines of profiles. Those that the parser refuses set nothing.
const SETTINGS: [Setting; 22] = [
    ("mode", |config| config.mode = "1920x1080@60".parse().ok()),
    ("mode", |config| config.mode = "1920x1080@60 cvt".parse().ok()),
    ("mode", |config| config.mode = "7680x4320@60 cvt-rb2".parse().ok()),
    ("mode", |config| config.mode = "wide".parse().ok()),
    ("scale", |config| config.scale = Some(1.5)),
    // 0 is out of range.
    ("scale", |_| {}),
    ("enabled", |config| config.enabled = Some(false)),
    ("enabled", |config| config.enabled = Some(true)),
    ("position", |config| config.position = Some(Position::At(0, 0))),
    ("position", |config| config.position = "right-of GSM Wide".parse().ok()),
    ("position", |config| config.position = "above DP-1".parse().ok()),
    ("position", |config| config.position = "near".parse().ok()),
    ("mirror", |config| config.mirror = Some("DP-1".into())),
    ("mirror", |config| config.mirror = Some("GSM Tall".into())),
    ("color_space", |config| config.signal.color_space = Some(ColorSpace::Bt2020Pq)),
    ("color_space", |config| config.signal.color_space = Some(ColorSpace::DisplayP3)),
    ("bit_depth", |config| config.signal.bit_depth = Some(12)),
    ("vrr", |config| config.signal.vrr = Some(Vrr::On)),
    ("vrr", |config| config.signal.vrr = Some(Vrr::Fullscreen)),
    ("transform", |config| config.transform = Some(Transform::Rotated90)),
    ("white_point", |config| config.adjustments.white_point = Some(3000)),
    // An unknown key.
    ("unknown", |_| {}),
];
const NAMES: [&str; 9] =
    ["*", "DP-1", "DP-2", "GSM Wide", "GSM T*", "GSM Twin", "pci-1/DP-5", "left", "nobody"];

/// Returns a table of outputs; `None` if a section or a key comes twice, which is not TOML.
fn edit_outputs(random: &mut Rng) -> Option<BTreeMap<String, OutputConfig>> {
    let mut outputs = BTreeMap::new();
    let mut valid = true;
    for _ in 0..random.usize(..4) {
        let name = *any_of(random, &NAMES);
        let mut keys = BTreeSet::new();
        let mut config = OutputConfig::default();
        for _ in 0..random.usize(..4) {
            let (key, set) = any_of(random, &SETTINGS);
            valid &= keys.insert(*key);
            set(&mut config);
        }
        valid &= outputs.insert(name.to_owned(), config).is_none();
    }
    valid.then_some(outputs)
}

/// Returns a profile as a user may save it; `None` if the file is not TOML.
fn edit(random: &mut Rng) -> Option<UserProfile> {
    let mut profile = UserProfile::default();
    match random.usize(..12) {
        0 => return None,
        1 => {
            let disabled = OutputConfig { enabled: Some(false), ..OutputConfig::default() };
            profile.outputs.insert("*".into(), disabled);
            return Some(profile);
        }
        2 => return Some(profile),
        _ => {}
    }
    let outputs = edit_outputs(random);
    let has_monitors = random.usize(..2) == 0;
    let layout = edit_outputs(random);
    profile.outputs = outputs?;
    let layout = Layout { name: "desk".into(), monitors: vec!["GSM Wide".into()], outputs: layout? };
    // The parser drops a layout without monitors.
    profile.layouts.extend(has_monitors.then_some(layout));
    Some(profile)
}

/// What the compositor keeps between two reconfigurations.
#[derive(Default)]
struct Desk {
    /// Monitors by GPU and connector.
    plugged: BTreeMap<(usize, usize), usize>,
    kernels: [Kernel; GPUS],
    profile: UserProfile,
    /// Identity and port of the monitors last seen.
    last_seen: BTreeMap<String, (Option<Identity>, Option<String>)>,
    rects: BTreeMap<String, LogicalRect>,
    /// Rectangles of monitors that are disconnected and whose connector has another monitor.
    away: BTreeMap<MonitorKey, Option<LogicalRect>>,
    enabled: [Vec<(String, CrtcAssignment)>; GPUS],
    /// First choices of the last search.
    last_requests: BTreeMap<String, (Mode, SignalFormat)>,
}

/// How often each kind of event happened, so that a simulation without any is noticed.
#[derive(Debug, Default)]
struct Tally {
    /// Steps after which no output was enabled.
    all_disabled: usize,
    /// Outputs that the kernel refused.
    failed: usize,
    /// Outputs with another signal format than their first choice.
    lowered: usize,
    relocated: usize,
    mirrors: usize,
}

impl Desk {
    fn present(&self) -> Vec<ProbedGpu> {
        let connector = |gpu: usize, connector: usize| {
            let monitor = self.plugged.get(&(gpu, connector)).copied();
            let model = monitor.map(|monitor| MONITORS[monitor]).filter(|model| !model.is_empty());
            let identity =
                model.map(|model| Identity { make: "GSM".into(), model: model.into(), serial: None });
            ProbedConnector {
                name: name(gpu, connector),
                connected: monitor.is_some(),
                modes: monitor.map(modes).unwrap_or_default(),
                edid: model.map(|model| format!("edid:{model}")),
                monitor: identity,
                port: Some(format!("pci-{gpu}/{}", name(gpu, connector))),
                capabilities: Capabilities {
                    colorimetries: Colorimetry::VARIANTS.to_vec(),
                    hdr_metadata: true,
                    depth: Some((8, 12)),
                    vrr: true,
                    converts: true,
                    monitor: MonitorColor {
                        bt2020_rgb: true,
                        dci_p3: true,
                        pq: true,
                        ..MonitorColor::default()
                    },
                    ..Capabilities::default()
                },
                non_desktop: monitor == Some(HEADSET),
                panel_orientation: Transform::default(),
                tile: None,
            }
        };
        let gpu = |id: usize| ProbedGpu {
            id: id as u64,
            connectors: (0..CONNECTORS).map(|index| connector(id, index)).collect(),
        };
        (0..GPUS).map(gpu).collect()
    }

    /// Moves what is remembered of relocated monitors, and returns their number.
    fn relocate(&mut self, present: &[ProbedGpu]) -> usize {
        let connectors = present.iter().flat_map(|gpu| &gpu.connectors);
        let connected = connectors.filter(|connector| connector.connected);
        let now = connected.map(|one| (one.name.clone(), (one.monitor.clone(), one.port.clone())));
        let (last, now) = monitor_keys(&self.last_seen, &now.collect());
        let relocations = relocations(&last, &now);
        let count = relocations.arrivals.len();
        for (connector, monitor) in relocations.departures {
            let rect = match now.contains_key(&connector) {
                true => self.rects.get(&connector).copied(),
                false => self.rects.remove(&connector),
            };
            self.away.insert(monitor, rect);
            self.last_seen.remove(&connector);
        }
        for (connector, monitor) in relocations.arrivals {
            if let Some(Some(rect)) = self.away.remove(&monitor) {
                self.rects.insert(connector, rect);
            }
        }
        count
    }

    fn plan(&mut self, present: &[ProbedGpu]) -> Plan {
        let mut known = KnownOutputs::with_aliases(&[("left".to_owned(), "GSM Tall".to_owned())].into());
        for connector in present.iter().flat_map(|gpu| &gpu.connectors) {
            let (monitor, edid, port) =
                (connector.monitor.clone(), connector.edid.clone(), connector.port.clone());
            known.add(&connector.name, MonitorIds { monitor, edid, port });
        }
        let (connected, with_modes) = desktop_connectors(present);
        let mut configs = self.profile.over(OutputConfigs::default(), &known, &connected);
        keep_one_enabled(&mut configs, &with_modes);
        plan(present, &configs, &self.rects)
    }

    /// Probes, plans, tests and commits.
    fn reconfigure(&mut self, tally: &mut Tally) -> Plan {
        let present = self.present();
        tally.relocated += self.relocate(&present);
        let plan = self.plan(&present);
        for gpu in 0..GPUS {
            let is_of_gpu = |output: &&PlannedOutput| output.gpu == gpu as u64 && is_enabled(output);
            let outputs: Vec<_> = plan.outputs.iter().filter(is_of_gpu).collect();
            let requests: Vec<Request> = outputs
                .iter()
                .map(|output| {
                    let PlanTarget::Enabled { modes, signal } = &output.target else { unreachable!() };
                    let current = self.enabled[gpu].iter().find(|(name, _)| *name == output.name);
                    Request {
                        name: output.name.clone(),
                        modes: modes.clone(),
                        signals: signal.fallbacks(),
                        crtcs: (0..CRTCS[gpu]).collect(),
                        layouts: vec![BufferLayout::Best],
                        current: current.map(|(_, one)| (one.crtc, one.choice())),
                        settled: self.last_requests.get(&output.name) == Some(&(modes[0], *signal)),
                    }
                })
                .collect();
            let is_own = |name: &String| present[gpu].connectors.iter().any(|one| one.name == *name);
            self.last_requests.retain(|name, _| !is_own(name));
            self.last_requests.extend(
                requests.iter().map(|wanted| (wanted.name.clone(), (wanted.modes[0], wanted.signals[0]))),
            );
            let result = fallback::search(&requests, &mut self.kernels[gpu], &|| std::time::Duration::ZERO);
            tally.failed += result.failed.len();
            let is_lowered = |one: &&CrtcAssignment| one.signal != requests[one.request].signals[0];
            tally.lowered += result.assignments.iter().filter(is_lowered).count();
            tally.mirrors += outputs.iter().filter(|output| output.mirror.is_some()).count();
            let accepted = self.kernels[gpu].clone().test(&result.assignments);
            assert!(result.assignments.is_empty() || accepted.is_ok(), "{accepted:?}");
            let named = |one: CrtcAssignment| (requests[one.request].name.clone(), one);
            self.enabled[gpu] = result.assignments.into_iter().map(named).collect();
        }
        for output in plan.outputs.iter().filter(|output| output.logical.width > 0) {
            self.rects.insert(output.name.clone(), output.logical);
        }
        let connectors = present.iter().flat_map(|gpu| &gpu.connectors);
        for connector in connectors.filter(|connector| connector.connected) {
            let seen = (connector.monitor.clone(), connector.port.clone());
            self.last_seen.insert(connector.name.clone(), seen);
        }
        plan
    }

    /// Returns whether the kernel accepts any connected monitor alone, with a mode of its own and a
    /// plain signal format.
    fn any_monitor_is_possible(&self) -> bool {
        self.plugged.iter().any(|((gpu, _), monitor)| {
            let mut kernel = self.kernels[*gpu].clone();
            let signal = SignalFormat { bit_depth: Some(8), ..SignalFormat::default() };
            *monitor != HEADSET
                && modes(*monitor).into_iter().any(|mode| {
                    kernel
                        .test(&[CrtcAssignment {
                            request: 0,
                            crtc: 0,
                            mode,
                            signal,
                            layout: BufferLayout::Best,
                        }])
                        .is_ok()
                })
        })
    }

    /// Returns whether the kernel accepts any planned output alone. The only output that the
    /// profile leaves enabled may be one that the kernel refuses.
    fn any_planned_output_is_possible(&self, plan: &Plan) -> bool {
        plan.outputs.iter().any(|output| {
            let PlanTarget::Enabled { modes, signal } = &output.target else { return false };
            let mut kernel = self.kernels[output.gpu as usize].clone();
            let plain = signal.fallbacks().pop().unwrap_or_default();
            modes.iter().any(|mode| {
                kernel
                    .test(&[CrtcAssignment {
                        request: 0,
                        crtc: 0,
                        mode: *mode,
                        signal: plain,
                        layout: BufferLayout::Best,
                    }])
                    .is_ok()
            })
        })
    }
}

fn is_enabled(output: &PlannedOutput) -> bool {
    matches!(output.target, PlanTarget::Enabled { .. })
}

fn simulate(seed: u64, steps: usize) -> Tally {
    // Printed if the simulation fails.
    println!("seed: {seed}");
    let mut random = Rng::with_seed(seed);
    let mut desk = Desk::default();
    let mut tally = Tally::default();
    let mut users = [UserProfile::default(), UserProfile::default()];
    let mut user = 0;
    for step in 0..steps {
        match random.usize(..10) {
            0..=4 => {
                let at = (random.usize(..GPUS), random.usize(..CONNECTORS));
                let monitor = random.usize(..MONITORS.len());
                // A monitor is at one connector at a time.
                desk.plugged.retain(|other, plugged| *other != at && *plugged != monitor);
                if random.usize(..3) > 0 {
                    desk.plugged.insert(at, monitor);
                }
            }
            5 | 6 => {
                // A file that is not TOML leaves the last good profile.
                if let Some(profile) = edit(&mut random) {
                    users[user] = profile;
                }
            }
            7 => user = random.usize(..2),
            _ => {
                let gpu = random.usize(..GPUS);
                let kernel = &mut desk.kernels[gpu];
                match random.usize(..8) {
                    0 => kernel.all = random.usize(..4) == 0,
                    1 => drop(kernel.widths.insert(*any_of(&mut random, &[3840, 2560, 1920, 1366, 1024]))),
                    2 => kernel.colorimetry = !kernel.colorimetry,
                    3 => kernel.deep_color = !kernel.deep_color,
                    4 => kernel.vrr = !kernel.vrr,
                    5 => kernel.bandwidth = Some(50 + 10 * random.usize(..80) as u64),
                    6 => kernel.bandwidth = None,
                    _ => *kernel = Kernel::default(),
                }
            }
        }
        desk.profile.clone_from(&users[user]);
        let plan = desk.reconfigure(&mut tally);
        let all_disabled = desk.enabled.iter().all(Vec::is_empty);
        tally.all_disabled += usize::from(all_disabled);
        assert!(
            !all_disabled || !desk.any_planned_output_is_possible(&plan),
            "seed {seed}, step {step}: all disabled: {plan:#?}"
        );
        // Only the kernel, or the lack of monitors, may disable everything; never the
        // configuration.
        let any_is_planned = plan.outputs.iter().any(is_enabled);
        assert!(
            any_is_planned || !desk.any_monitor_is_possible(),
            "seed {seed}, step {step}: nothing is planned: {plan:#?}"
        );
        let before = (desk.enabled.clone(), desk.rects.clone());
        let again = desk.reconfigure(&mut Tally::default());
        assert_eq!(again, plan, "seed {seed}, step {step}: repeated");
        assert_eq!(
            (&desk.enabled, &desk.rects),
            (&before.0, &before.1),
            "seed {seed}, step {step}: repeated"
        );
    }
    tally
}

#[test]
fn invariants_hold_through_ten_thousand_steps() {
    let tally = simulate(20_261_128, 10_000);
    println!("{tally:?}");
    // Each kind of event happened.
    assert!(
        tally.failed > 100 && tally.lowered > 100 && tally.relocated > 100 && tally.mirrors > 50,
        "{tally:?}"
    );
    assert!(tally.all_disabled < 5_000, "{tally:?}");
}

#[test]
fn invariants_hold_for_twenty_other_seeds() {
    for seed in 1..=20 {
        simulate(seed, 500);
    }
}
