//! What the search for displays' settings costs: plan, EDID, conversion of colours. Part of `make bench`; prints figures, asserts none.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::time::{Duration, Instant};

use geom_compositor::config::profile::Profile;
use geom_compositor::display::colour::{Conversion, Look};
use geom_compositor::display::edid::{Edid, BLOCK};
use geom_compositor::display::identity::{Identity, Known};
use geom_compositor::display::link::{Abilities, ColorSpace};
use geom_compositor::display::mode::Mode;
use geom_compositor::display::plan::{plan, Connector, Gpu, Wish, Wishes};

/// The median time of one run, of so many.
fn median(runs: usize, mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[runs / 2]
}

/// 16 monitors on 4 GPUs, with 200 entries of a profile that name some of them, some others, and patterns.
fn plans() -> Duration {
    let modes = || {
        (0..30).map(|index| Mode { index, ..Mode::new(3840 - 100 * index as u16, 2160, 60_000) }).collect()
    };
    let connector = |gpu: usize, number: usize| Connector {
        name: format!("DP-{}", 4 * gpu + number),
        connected: true,
        modes: modes(),
        monitor: Some(Identity {
            make: "GSM".into(),
            model: format!("Model {number}"),
            serial: Some(format!("{gpu}")),
        }),
        edid: None,
        port: None,
        abilities: Abilities::default(),
        non_desktop: false,
    };
    let gpu = |gpu: usize| Gpu {
        id: gpu as u64,
        connectors: (0..4).map(|number| connector(gpu, number)).collect(),
    };
    let present: Vec<Gpu> = (0..4).map(gpu).collect();
    let entry = |number: usize| match number % 3 {
        0 => format!("GSM Model {} {}", number % 4, number % 5),
        1 => format!("GSM Model {number}*"),
        _ => format!("DP-{number}"),
    };
    let wish = Wish { scale: Some(1.5), ..Wish::default() };
    let displays: BTreeMap<String, Wish> = (0..)
        .map(|number| format!("{}{}", entry(number), " ".repeat(number / 500)))
        .zip(std::iter::repeat(wish))
        .take(200)
        .collect();
    let profile = Profile { displays, layouts: Vec::new(), night_light: None };
    let mut known = Known::default();
    let connectors: BTreeSet<String> = present
        .iter()
        .flat_map(|gpu| &gpu.connectors)
        .map(|connector| {
            known.add(&connector.name, connector.monitor.clone());
            connector.name.clone()
        })
        .collect();
    median(200, || {
        let wishes = profile.over(Wishes::default(), &known, &connectors);
        black_box(plan(&present, &wishes, &BTreeMap::new()));
    })
}

/// Blocks a second, over real monitors' EDIDs.
fn edids() -> f64 {
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

/// Of 1920x1080 pixels: a copy, and their conversion, for a photo-like picture and for a flat one.
fn conversions() -> (Duration, Duration, Duration) {
    let size = 1920 * 1080 * 4;
    let noise: Vec<u8> = (0..size as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let flat = vec![0x40u8; size];
    let mut to = vec![0u8; size];
    let conversion = Conversion::to(&Look { space: ColorSpace::Bt2020Pq, ..Look::default() });
    let copy = median(20, || black_box(&mut to).copy_from_slice(black_box(&noise)));
    let mut convert = |from: &[u8]| {
        median(20, || {
            if let Some(conversion) = &conversion {
                conversion.row(black_box(from), black_box(&mut to));
            }
        })
    };
    let (noisy, plain) = (convert(&noise), convert(&flat));
    (copy, noisy, plain)
}

fn main() {
    println!("plan of 16 monitors on 4 GPUs with 200 profile entries: {:.3} ms", plans().as_secs_f64() * 1e3);
    println!("EDID: {:.0} blocks a second", edids());
    let (copy, noisy, plain) = conversions();
    let times = |time: Duration| time.as_secs_f64() / copy.as_secs_f64();
    println!(
        "conversion of 1920x1080: {:.2} ms ({:.1} copies) where every pixel differs, {:.2} ms ({:.1} copies) where none does; a copy takes {:.2} ms",
        noisy.as_secs_f64() * 1e3, times(noisy), plain.as_secs_f64() * 1e3, times(plain), copy.as_secs_f64() * 1e3
    );
}
