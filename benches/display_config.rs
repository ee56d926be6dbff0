//! The processor time of display configuration: the plan, parsing of EDIDs, and color conversion.
//! Part of `make bench`; prints times and asserts none.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::time::{Duration, Instant};

use geom_color::color_space::ColorSpace;
use geom_color::conversion::Conversion;
use geom_color::target::ColorTarget;
use geom_display::identity::{Identity, KnownOutputs};
use geom_display::mode::Mode;
use geom_display::output_config::{OutputConfig, OutputConfigs};
use geom_display::plan::{plan, ProbedConnector, ProbedGpu};
use geom_display::profile::UserProfile;
use geom_edid::{Edid, BLOCK};

/// Returns the median duration of a number of runs.
fn median(runs: usize, mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[runs / 2]
}

/// Returns the time of a plan for 16 monitors on 4 GPUs and a profile with 200 entries, of which
/// some match these monitors, some do not, and some are patterns.
fn time_plan() -> Duration {
    let modes = || {
        (0..30).map(|index| Mode { index, ..Mode::new(3840 - 100 * index as u16, 2160, 60_000) }).collect()
    };
    let connector = |gpu: usize, number: usize| ProbedConnector {
        name: format!("DP-{}", 4 * gpu + number),
        connected: true,
        modes: modes(),
        monitor: Some(Identity {
            make: "GSM".into(),
            model: format!("Model {number}"),
            serial: Some(format!("{gpu}")),
        }),
        ..ProbedConnector::default()
    };
    let gpu = |gpu: usize| ProbedGpu {
        id: gpu as u64,
        connectors: (0..4).map(|number| connector(gpu, number)).collect(),
    };
    let present: Vec<ProbedGpu> = (0..4).map(gpu).collect();
    let entry = |number: usize| match number % 3 {
        0 => format!("GSM Model {} {}", number % 4, number % 5),
        1 => format!("GSM Model {number}*"),
        _ => format!("DP-{number}"),
    };
    let config = OutputConfig { scale: Some(1.5), ..OutputConfig::default() };
    let outputs: BTreeMap<String, OutputConfig> = (0..)
        .map(|number| format!("{}{}", entry(number), " ".repeat(number / 500)))
        .zip(std::iter::repeat(config))
        .take(200)
        .collect();
    let profile = UserProfile { outputs, layouts: Vec::new(), night_light: None };
    let mut known = KnownOutputs::default();
    let connectors: BTreeSet<String> = present
        .iter()
        .flat_map(|gpu| &gpu.connectors)
        .map(|connector| {
            known.add(&connector.name, connector.monitor.clone());
            connector.name.clone()
        })
        .collect();
    median(200, || {
        let configs = profile.over(OutputConfigs::default(), &known, &connectors);
        black_box(plan(&present, &configs, &BTreeMap::new()));
    })
}

/// Returns the number of EDID blocks parsed per second, over the EDIDs of real monitors.
fn edid_blocks_per_second() -> f64 {
    let corpus = include_str!("../hwtests/edid/corpus.jsonl");
    let hexadecimal = corpus.lines().filter_map(|line| line.split("\"edid\": \"").nth(1)?.split('"').next());
    let bytes = |text: &str| -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect()
    };
    let all: Vec<Vec<u8>> = hexadecimal.map(bytes).collect();
    let blocks: usize = all.iter().map(|edid| edid.len().div_ceil(BLOCK)).sum();
    let time = median(20, || {
        for edid in &all {
            let _ = black_box(Edid::parse(edid));
        }
    });
    blocks as f64 / time.as_secs_f64()
}

/// Returns the times to copy a 1920x1080 image, to convert one with noise, and to convert one of a
/// single color.
fn time_conversions() -> (Duration, Duration, Duration) {
    let size = 1920 * 1080 * 4;
    let noise: Vec<u8> = (0..size as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let flat = vec![0x40u8; size];
    let mut to = vec![0u8; size];
    let conversion = Conversion::new(&ColorTarget { space: ColorSpace::Bt2020Pq, ..ColorTarget::default() });
    let copy = median(20, || black_box(&mut to).copy_from_slice(black_box(&noise)));
    let mut convert = |from: &[u8]| {
        median(20, || {
            if let Some(conversion) = &conversion {
                conversion.convert_row(black_box(from), black_box(&mut to));
            }
        })
    };
    let (noise, flat) = (convert(&noise), convert(&flat));
    (copy, noise, flat)
}

fn main() {
    println!(
        "plan of 16 monitors on 4 GPUs with 200 profile entries: {:.3} ms",
        time_plan().as_secs_f64() * 1e3
    );
    println!("EDID: {:.0} blocks a second", edid_blocks_per_second());
    let (copy, noise, flat) = time_conversions();
    let times = |time: Duration| time.as_secs_f64() / copy.as_secs_f64();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "conversion of 1920x1080: {:.2} ms ({:.1} copies) if every pixel differs, {:.2} ms ({:.1} copies) if \
         none does; a copy takes {:.2} ms",
        millis(noise),
        times(noise),
        millis(flat),
        times(flat),
        millis(copy)
    );
}
