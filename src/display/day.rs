//! A day at a desk, against the plan and a modelled kernel: 10,000 steps of plugs, profile edits, users and refusals, by a seed.
//!
//! At each step: something is lit wherever the kernel would show anything at all, what is lit is what the kernel accepts, and the
//! same step again changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::fallback::{self, Assignment, Kernel, Request};
use super::identity::{Identity, Known, Seen};
use super::link::{Abilities, Link, MonitorColour};
use super::mode::Mode;
use super::moves::{moves, who, Who};
use super::plan::{desktop, plan, Connector, Gpu, Place, Plan, Target, Wishes};
use crate::config::profile::{keep_one_lit, parse, Profile};

/// Numerical Recipes' generator: what a day is like is in its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

const GPUS: usize = 2;
const CONNECTORS: usize = 3;
/// The second Gpu has fewer CRTCs than sockets.
const CRTCS: [usize; GPUS] = [3, 2];

/// Who may be plugged in: two are twins, one says nothing of itself, one offers no mode, one is a headset.
const MONITORS: [&str; 8] = ["Wide", "Tall", "Twin", "Twin", "Panel", "", "Mute", "Headset"];

fn name(gpu: usize, connector: usize) -> String {
    format!("DP-{}", gpu * CONNECTORS + connector + 1)
}

fn modes(monitor: usize) -> Vec<Mode> {
    let widest = [3840, 1920, 2560, 2560, 1366, 1024, 0, 2160][monitor];
    let all = [
        (3840, 2160, 60_000),
        (2560, 1440, 144_000),
        (2560, 1440, 60_000),
        (1920, 1080, 60_000),
        (1366, 768, 60_000),
        (1024, 768, 60_000),
    ];
    let fitting = all.into_iter().filter(|(width, ..)| *width <= widest);
    let mode = |(index, (width, height, refresh))| Mode {
        index,
        preferred: index == 0,
        ..Mode::new(width, height, refresh)
    };
    fitting.enumerate().map(mode).collect()
}

/// What a kernel has against a commit now.
#[derive(Debug, Clone, Default)]
struct Refusals {
    /// Everything.
    all: bool,
    /// Widths.
    widths: BTreeSet<u16>,
    /// Any colours but plain ones; more than 8 bits; a varying refresh.
    colours: bool,
    bits: bool,
    vrr: bool,
    /// Millions of pixels a second; none for no bound.
    bandwidth: Option<u64>,
}

impl Kernel for Refusals {
    fn test(&mut self, assignments: &[Assignment]) -> Result<(), String> {
        let mut load = 0;
        for (index, one) in assignments.iter().enumerate() {
            let refused = self.all
                || self.widths.contains(&one.mode.width)
                || one.mode.modeline.is_some_and(|line| line.clock > 600_000)
                || (self.colours && one.link.colorimetry != Link::default().colorimetry)
                || (self.bits && one.link.bit_depth.is_some_and(|bits| bits > 8))
                || (self.vrr && one.link.vrr)
                || assignments[..index].iter().any(|other| other.crtc == one.crtc);
            if refused {
                return Err("EINVAL".into());
            }
            let pixels = u64::from(one.mode.area()) * u64::from(one.mode.refresh) / 1_000_000_000;
            load += pixels * u64::from(one.link.bit_depth.unwrap_or(8)) / 8;
        }
        match self.bandwidth {
            Some(most) if load > most => Err("ENOSPC".into()),
            _ => Ok(()),
        }
    }
}

/// Lines of profiles, sound and not.
const WISHES: [&str; 22] = [
    "mode = \"1920x1080@60\"",
    "mode = \"1920x1080@60 cvt\"",
    "mode = \"7680x4320@60 cvt-rb2\"",
    "mode = \"wide\"",
    "scale = 1.5",
    "scale = 0",
    "power = false",
    "power = true",
    "position = [0, 0]",
    "position = \"right-of GSM Wide\"",
    "position = \"above DP-1\"",
    "position = \"near\"",
    "mirror = \"DP-1\"",
    "mirror = \"GSM Tall\"",
    "color_space = \"bt2020-pq\"",
    "color_space = \"display-p3\"",
    "bit_depth = 12",
    "vrr = true",
    "vrr = \"fullscreen\"",
    "transform = \"90\"",
    "white_point = 3000",
    "colour = 1",
];
const NAMES: [&str; 9] =
    ["*", "DP-1", "DP-2", "GSM Wide", "GSM T*", "GSM Twin", "pci-1/DP-5", "left", "nobody"];

fn edit(dice: &mut Dice) -> String {
    match dice.below(12) {
        0 => return "[displays\n".to_owned(),
        1 => return "[displays.\"*\"]\npower = false\n".to_owned(),
        2 => return String::new(),
        _ => {}
    }
    let mut text = String::new();
    for layout in ["", "layouts.desk."] {
        if !layout.is_empty() && dice.below(2) == 0 {
            text.push_str("[layouts.desk]\nmonitors = [\"GSM Wide\"]\n");
        }
        for _ in 0..dice.below(4) {
            text.push_str(&format!("[{layout}displays.\"{}\"]\n", dice.of(&NAMES)));
            for _ in 0..dice.below(4) {
                text.push_str(&format!("{}\n", dice.of(&WISHES)));
            }
        }
    }
    text
}

/// What the rest of the program keeps between two runs of the road.
#[derive(Default)]
struct Desk {
    plugged: BTreeMap<(usize, usize), usize>,
    kernels: [Refusals; GPUS],
    profile: Profile,
    seen: BTreeMap<String, (Option<Identity>, Option<String>)>,
    places: BTreeMap<String, Place>,
    away: BTreeMap<Who, Option<Place>>,
    lit: [Vec<(String, Assignment)>; GPUS],
    /// First choices of the last search.
    wished: BTreeMap<String, (Mode, Link)>,
}

/// How many of each kind of day's troubles there were, so that a day without any is noticed.
#[derive(Debug, Default)]
struct Tally {
    black: usize,
    refused: usize,
    given_up: usize,
    moved: usize,
    mirrors: usize,
}

impl Desk {
    fn present(&self) -> Vec<Gpu> {
        let connector = |gpu: usize, connector: usize| {
            let monitor = self.plugged.get(&(gpu, connector)).copied();
            let model = monitor.map(|monitor| MONITORS[monitor]).filter(|model| !model.is_empty());
            let identity =
                model.map(|model| Identity { make: "GSM".into(), model: model.into(), serial: None });
            Connector {
                name: name(gpu, connector),
                connected: monitor.is_some(),
                modes: monitor.map(modes).unwrap_or_default(),
                edid: model.map(|model| format!("edid:{model}")),
                monitor: identity,
                port: Some(format!("pci-{gpu}/{}", name(gpu, connector))),
                abilities: Abilities {
                    colorimetries: super::link::Colorimetry::NAMES.map(|(_, value)| value).to_vec(),
                    hdr_metadata: true,
                    depth: Some((8, 12)),
                    vrr: true,
                    converts: true,
                    monitor: MonitorColour {
                        bt2020_rgb: true,
                        dci_p3: true,
                        pq: true,
                        ..MonitorColour::default()
                    },
                    ..Abilities::default()
                },
                non_desktop: monitor == Some(7),
            }
        };
        let gpu = |id: usize| Gpu {
            id: id as u64,
            connectors: (0..CONNECTORS).map(|place| connector(id, place)).collect(),
        };
        (0..GPUS).map(gpu).collect()
    }

    fn follow(&mut self, present: &[Gpu]) -> usize {
        let connectors =
            present.iter().flat_map(|gpu| &gpu.connectors).filter(|connector| connector.connected);
        let there = connectors.map(|known| (known.name.clone(), (known.monitor.clone(), known.port.clone())));
        let (seen, there) = who(&self.seen, &there.collect());
        let moves = moves(&seen, &there);
        let moved = moves.arrive.len();
        for (connector, monitor) in moves.leave {
            let place = match there.contains_key(&connector) {
                true => self.places.get(&connector).copied(),
                false => self.places.remove(&connector),
            };
            self.away.insert(monitor, place);
            self.seen.remove(&connector);
        }
        for (connector, monitor) in moves.arrive {
            if let Some(Some(place)) = self.away.remove(&monitor) {
                self.places.insert(connector, place);
            }
        }
        moved
    }

    fn plan(&mut self, present: &[Gpu]) -> Plan {
        let mut known = Known::with_aliases(&[("left".to_owned(), "GSM Tall".to_owned())].into());
        for connector in present.iter().flat_map(|gpu| &gpu.connectors) {
            let (monitor, edid, port) =
                (connector.monitor.clone(), connector.edid.clone(), connector.port.clone());
            known.add(&connector.name, Seen { monitor, edid, port });
        }
        let (connected, able) = desktop(present);
        let mut wishes = self.profile.over(Wishes::default(), &known, &connected);
        keep_one_lit(&mut wishes, &able);
        plan(present, &wishes, &self.places)
    }

    /// Probe, plan, test, commit.
    fn road(&mut self, tally: &mut Tally) -> Plan {
        let present = self.present();
        tally.moved += self.follow(&present);
        let plan = self.plan(&present);
        for gpu in 0..GPUS {
            let lit = |display: &&super::plan::PlannedDisplay| {
                display.gpu == gpu as u64 && matches!(display.target, Target::Lit { .. })
            };
            let displays: Vec<_> = plan.displays.iter().filter(lit).collect();
            let requests: Vec<Request> = displays
                .iter()
                .map(|display| {
                    let Target::Lit { modes, link } = &display.target else { unreachable!() };
                    let current = self.lit[gpu].iter().find(|(name, _)| *name == display.name);
                    Request {
                        name: display.name.clone(),
                        modes: modes.clone(),
                        links: link.ladder(),
                        crtcs: (0..CRTCS[gpu]).collect(),
                        current: current.map(|(_, lit)| (lit.crtc, lit.mode, lit.link)),
                        settled: self.wished.get(&display.name) == Some(&(modes[0], *link)),
                    }
                })
                .collect();
            self.wished.retain(|name, _| !present[gpu].connectors.iter().any(|known| known.name == *name));
            self.wished.extend(
                requests.iter().map(|wanted| (wanted.name.clone(), (wanted.modes[0], wanted.links[0]))),
            );
            let outcome = fallback::search(&requests, &mut self.kernels[gpu]);
            tally.refused += outcome.failed.len();
            tally.given_up +=
                outcome.lit.iter().filter(|lit| lit.link != requests[lit.request].links[0]).count();
            tally.mirrors += displays.iter().filter(|display| display.mirror.is_some()).count();
            // What is lit is what the kernel accepts, each on a CRTC of its own.
            let accepted = self.kernels[gpu].clone().test(&outcome.lit);
            assert!(outcome.lit.is_empty() || accepted.is_ok(), "{accepted:?}");
            self.lit[gpu] =
                outcome.lit.into_iter().map(|lit| (requests[lit.request].name.clone(), lit)).collect();
        }
        for display in plan.displays.iter().filter(|display| display.place.width > 0) {
            self.places.insert(display.name.clone(), display.place);
        }
        for connector in
            present.iter().flat_map(|gpu| &gpu.connectors).filter(|connector| connector.connected)
        {
            self.seen.insert(connector.name.clone(), (connector.monitor.clone(), connector.port.clone()));
        }
        plan
    }

    /// Whether any monitor that is plugged in could show anything: its own modes, plain.
    fn could_show(&self) -> bool {
        self.plugged.iter().any(|((gpu, _), monitor)| {
            let mut kernel = self.kernels[*gpu].clone();
            let link = Link { bit_depth: Some(8), ..Link::default() };
            *monitor != 7
                && modes(*monitor)
                    .into_iter()
                    .any(|mode| kernel.test(&[Assignment { request: 0, crtc: 0, mode, link }]).is_ok())
        })
    }

    /// Whether the profile leaves that one to be lit: the one that stays on may be the one that can't.
    fn wanted_could_show(&self, plan: &Plan) -> bool {
        plan.displays.iter().any(|display| {
            let Target::Lit { modes, link } = &display.target else { return false };
            let mut kernel = self.kernels[display.gpu as usize].clone();
            let plain = link.ladder().pop().unwrap_or_default();
            modes.iter().any(|mode| {
                kernel.test(&[Assignment { request: 0, crtc: 0, mode: *mode, link: plain }]).is_ok()
            })
        })
    }
}

fn day(seed: u64, steps: usize) -> Tally {
    let mut dice = Dice(seed);
    let mut desk = Desk::default();
    let mut tally = Tally::default();
    let mut users = [Profile::default(), Profile::default()];
    let mut user = 0;
    for step in 0..steps {
        match dice.below(10) {
            0..=4 => {
                let at = (dice.below(GPUS), dice.below(CONNECTORS));
                let monitor = dice.below(MONITORS.len());
                // A monitor is in one socket at a time.
                desk.plugged.retain(|place, other| *place != at && *other != monitor);
                if dice.below(3) > 0 {
                    desk.plugged.insert(at, monitor);
                }
            }
            5 | 6 => {
                // A file that is no TOML leaves the last good one.
                if let (Some(profile), _) = parse(Path::new("displays.toml"), &edit(&mut dice)) {
                    users[user] = profile;
                }
            }
            7 => user = dice.below(2),
            _ => {
                let gpu = dice.below(GPUS);
                let kernel = &mut desk.kernels[gpu];
                match dice.below(8) {
                    0 => kernel.all = dice.below(4) == 0,
                    1 => drop(kernel.widths.insert(*dice.of(&[3840, 2560, 1920, 1366, 1024]))),
                    2 => kernel.colours = !kernel.colours,
                    3 => kernel.bits = !kernel.bits,
                    4 => kernel.vrr = !kernel.vrr,
                    5 => kernel.bandwidth = Some(50 + 10 * dice.below(80) as u64),
                    6 => kernel.bandwidth = None,
                    _ => *kernel = Refusals::default(),
                }
            }
        }
        desk.profile.clone_from(&users[user]);
        let plan = desk.road(&mut tally);
        let is_black = desk.lit.iter().all(Vec::is_empty);
        tally.black += usize::from(is_black);
        assert!(
            !is_black || !desk.wanted_could_show(&plan),
            "seed {seed}, step {step}: all black: {plan:#?}"
        );
        // Only a kernel, or sockets without monitors, may leave everything dark; never a wish.
        let wanted = plan.displays.iter().any(|display| matches!(display.target, Target::Lit { .. }));
        assert!(wanted || !desk.could_show(), "seed {seed}, step {step}: nothing is wanted: {plan:#?}");
        let before = (desk.lit.clone(), desk.places.clone());
        let again = desk.road(&mut Tally::default());
        assert_eq!(again, plan, "seed {seed}, step {step}: the same twice");
        assert_eq!(
            (&desk.lit, &desk.places),
            (&before.0, &before.1),
            "seed {seed}, step {step}: the same twice"
        );
    }
    tally
}

#[test]
fn ten_thousand_steps() {
    let tally = day(20_261_124, 10_000);
    println!("{tally:?}");
    // Each kind of trouble was there.
    assert!(
        tally.refused > 100 && tally.given_up > 100 && tally.moved > 100 && tally.mirrors > 50,
        "{tally:?}"
    );
    assert!(tally.black < 5_000, "{tally:?}");
}

#[test]
fn other_days() {
    for seed in 1..=20 {
        day(seed, 500);
    }
}
