//! What goes down the cable beside the mode: set, reset, given up, as the kernel's properties show it.

use std::collections::BTreeMap;

use anyhow::{ensure, Context, Result};
use geom_lab::keys::KeyCode;
use geom_lab::protocol::{Ending, GpuSpec};
use geom_lab::Machine;

use crate::identity::{command, display, edid, succeeds};
use crate::world::{lab_program, Bench, World, CONFIG, RED};

const PROPERTIES: &str = "/run/bin/geom-lab-properties";

/// A television of 1920x1080 that takes BT.2020 as PQ and HLG.
pub const HDR: &str = "PHL01EA";

/// A monitor of 48 to 144 Hz.
pub const VARYING: &str = "AOC2402";

/// Values by object and property: `connector 37 Colorspace`.
pub fn properties(machine: &Machine, log: &str, set: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut argv = vec![PROPERTIES];
    for set in set {
        argv.extend(["--set", set]);
    }
    machine.run(log, &argv)?;
    let text = std::fs::read_to_string(machine.folder().join(format!("{log}.log")))?;
    let pairs = text.lines().filter_map(|line| line.split_once(" = "));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// The values of a property, on one object after the other.
pub fn values<'a>(all: &'a BTreeMap<String, String>, property: &str) -> Vec<&'a str> {
    let named = all.iter().filter(|(name, _)| {
        name.split_once(' ')
            .is_some_and(|(_, rest)| rest.split_once(' ').is_some_and(|(_, name)| name == property))
    });
    named.map(|(_, value)| value.as_str()).collect()
}

/// Everything that colours a picture, on the first connector and CRTC.
pub fn expect(machine: &Machine, log: &str, expected: &[(&str, &str)]) -> Result<()> {
    let all = properties(machine, log, &[])?;
    for (property, value) in expected {
        let found = values(&all, property);
        let first = found.first().with_context(|| format!("{log}: no {property}"))?;
        ensure!(first == value, "{log}: {property} is {first}, not {value}");
    }
    Ok(())
}

const PLAIN: [(&str, &str); 9] = [
    ("Colorspace", "Default"),
    ("HDR_OUTPUT_METADATA", "0"),
    ("Broadcast RGB", "Automatic"),
    ("content type", "No Data"),
    ("GAMMA_LUT", "0"),
    ("DEGAMMA_LUT", "0"),
    ("CTM", "0"),
    ("VRR_ENABLED", "0"),
    ("scaling mode", "None"),
];

/// What a display server may leave behind.
fn leftovers() -> Vec<String> {
    let metadata = "00000000".to_owned() + "0200" + &"11".repeat(26);
    vec![
        "Colorspace=BT2020_YCC".into(),
        format!("HDR_OUTPUT_METADATA=@{metadata}"),
        "Broadcast RGB=Limited 16:235".into(),
        "content type=Game".into(),
        "max bpc=16".into(),
        "GAMMA_LUT=@negative".into(),
        "DEGAMMA_LUT=@negative".into(),
        "scaling mode=Center".into(),
    ]
}

pub fn bench(connectors: usize, monitors: &[&str]) -> Result<Bench> {
    let bench = Bench::new(&[GpuSpec::new("gpu0", connectors)])?;
    for (connector, monitor) in monitors.iter().enumerate() {
        bench.machine.set_monitor(&bench.gpus[0], connector, &edid(monitor)?)?;
    }
    bench.machine.install(&lab_program("geom-lab-properties")?, PROPERTIES)?;
    Ok(bench)
}

#[test]
fn another_program_s_colours_end_with_it() -> Result<()> {
    // The second monitor is not driven: what is left on its connector would be its next picture's.
    let bench = bench(2, &[HDR, HDR])?;
    let leftovers = leftovers();
    let leftovers: Vec<&str> = leftovers.iter().map(String::as_str).collect();
    let left = properties(&bench.machine, "left", &leftovers)?;
    ensure!(values(&left, "Colorspace") == ["BT2020_YCC"; 2], "nothing was left: {left:#?}");
    let world = bench.start("", &["-w", "Virtual-1"])?;
    world.client("red", &[])?;
    world.until_shows("Virtual-1", RED)?;
    expect(&world.machine, "taken", &PLAIN)?;
    expect(&world.machine, "depth", &[("max bpc", "8")])?;
    let all = properties(&world.machine, "both", &[])?;
    ensure!(values(&all, "Colorspace") == ["Default"; 2], "{all:#?}");
    ensure!(values(&all, "HDR_OUTPUT_METADATA") == ["0"; 2], "{all:#?}");
    world.finish()
}

const SET: [(&str, &str); 7] = [
    ("Colorspace", "BT2020_RGB"),
    ("Broadcast RGB", "Full"),
    ("content type", "Graphics"),
    ("max bpc", "12"),
    ("GAMMA_LUT", "0"),
    ("DEGAMMA_LUT", "0"),
    ("scaling mode", "Full aspect"),
];

/// Start, another VT and back, hotplug and exit.
#[test]
fn colours_come_and_go_with_us() -> Result<()> {
    let config = "[displays.Virtual-1]\ncolor_space = \"bt2020-pq\"\nbit_depth = 12\nrgb_range = \"full\"\ncontent_type = \"graphics\"\nscaling = \"aspect\"\n";
    let world = bench(1, &[HDR])?.start(config, &[])?;
    world.until_logged("mode set")?;
    expect(&world.machine, "start", &SET)?;
    let all = properties(&world.machine, "metadata", &[])?;
    let metadata =
        values(&all, "HDR_OUTPUT_METADATA").first().map(|text| (*text).to_owned()).context("none")?;
    // Static metadata type 1 with EOTF 2 (SMPTE ST 2084), and then the monitor's own primaries.
    ensure!(metadata.starts_with("000000000200") && metadata.len() == 64, "{metadata}");
    let link = display(&world, "told", "Virtual-1")?["link"].clone();
    ensure!(link["color_space"] == "bt2020-pq" && link["bit_depth"] == 12, "{link:#}");

    // On the way to another VT, which has a text console, ours are taken back; on return they are there again.
    let keyboard = world.machine.keyboard("keyboard")?;
    world.until_logged("input device added")?;
    keyboard.chord(&[KeyCode::KEY_LEFTCTRL, KeyCode::KEY_LEFTALT, KeyCode::KEY_F3])?;
    world.until_logged("session paused")?;
    expect(&world.machine, "away", &PLAIN)?;
    let leftovers = leftovers();
    let leftovers: Vec<&str> = leftovers.iter().map(String::as_str).collect();
    properties(&world.machine, "foreign", &leftovers)?;
    world.machine.activate_vt(crate::session::OWN)?;
    world.until_logged("session resumed")?;
    world.machine.until("its colours", |machine| Ok(expect(machine, "back", &SET).is_ok()))?;

    // A cable that is pulled takes its colours with it.
    world.machine.unplug("gpu0", 0)?;
    world.until_logged("monitor gone")?;
    world.machine.until("plain", |machine| Ok(expect(machine, "pulled", &PLAIN[..4]).is_ok()))?;
    world.machine.plug("gpu0", 0)?;
    world.machine.until("its colours", |machine| Ok(expect(machine, "again", &SET).is_ok()))?;

    // By hand, and back.
    succeeds(&world, "by-hand", &["set", "Virtual-1", "--color-space", "bt2020-hlg", "--bit-depth", "10"])?;
    let all = properties(&world.machine, "hlg", &[])?;
    ensure!(values(&all, "HDR_OUTPUT_METADATA")[0].starts_with("000000000300"), "{all:#?}");

    world.end()?;
    expect(&world.machine, "exit", &PLAIN)
}

/// A kernel that refuses each property in turn, and one without the bandwidth: it is told, and there is a picture.
#[test]
fn what_the_kernel_refuses_gives_way() -> Result<()> {
    let bench = bench(1, &[HDR])?;
    let debug = format!("/sys/kernel/debug/dri/{}", bench.gpus[0].card.trim_start_matches("card"));
    let world = bench.start("[displays.Virtual-1]\nmode = \"1920x1080@60\"\n", &[])?;
    world.client("red", &[])?;
    world.until_shows("Virtual-1", RED)?;
    let refuse = |bits: &str| world.machine.write(&format!("{debug}/lab_refuse_link"), bits);
    let link = |log: &str| Ok::<_, anyhow::Error>(display(&world, log, "Virtual-1")?["link"].clone());
    let before = link("before")?;
    for (bit, option, value, lost) in [
        ("1", "--color-space", "bt2020", "color_space bt2020, using srgb"),
        ("2", "--color-space", "bt2020-pq", "color_space bt2020-pq, using srgb"),
        ("8", "--rgb-range", "limited", "rgb_range"),
        ("16", "--content-type", "game", "content_type"),
        ("32", "--scaling", "full", "scaling"),
        ("4", "--bit-depth", "10", "10 bits of a colour, using 8"),
    ] {
        refuse(bit)?;
        let (ending, text) = command(&world, &format!("set-{bit}"), &["set", "Virtual-1", option, value])?;
        ensure!(ending == Some(Ending::Exited(1)) && text.contains(lost), "{option}: {ending:?}: {text}");
        world.until_shows("Virtual-1", RED)?;
        refuse("0")?;
        ensure!(link(&format!("after-{bit}"))? == before, "{option}");
    }
    // A mode that the kernel refuses whatever else is asked for.
    world.machine.write(&format!("{debug}/lab_refuse_size"), &(1280 << 16 | 720).to_string())?;
    let (ending, text) = command(&world, "set-size", &["set", "Virtual-1", "--mode", "1280x720"])?;
    ensure!(ending == Some(Ending::Exited(1)), "{ending:?}: {text}");
    world.until_shows("Virtual-1", RED)?;
    world.machine.write(&format!("{debug}/lab_refuse_size"), "0")?;
    // 1080p at 60 Hz takes 148.5 MHz at 8 bits of a colour: 12 are too many, 10 fit.
    world.machine.write(&format!("{debug}/lab_max_khz"), "190000")?;
    let wish = "[displays.Virtual-1]\nmode = \"1920x1080@60\"\nbit_depth = 12\n";
    world.machine.write(CONFIG, wish)?;
    world.until_logged("the kernel refuses 12 bits of a colour, using 10")?;
    let shown = display(&world, "fits", "Virtual-1")?;
    ensure!(shown["link"]["bit_depth"] == 10 && shown["mode"]["refresh"] == 60_000, "{shown:#}");
    ensure!(shown["complaints"][0] == "the kernel refuses 12 bits of a colour, using 10", "{shown:#}");
    world.finish()
}

/// sRGB's red as BT.2020 has it.
const RED_IN_BT2020: [u8; 3] = [208, 74, 35];

/// Blue lies half way between two codes.
fn shows_red_in_bt2020(world: &World) -> Result<()> {
    world.until_picture("Virtual-1", "sRGB's red as BT.2020 has it", |picture| {
        let near =
            |pixel: [u8; 3]| pixel.iter().zip(RED_IN_BT2020).all(|(one, other)| one.abs_diff(other) <= 1);
        picture.share(near) > 0.97
    })?;
    Ok(())
}

#[test]
fn pictures_are_converted_for_the_monitor() -> Result<()> {
    converted_pictures("pixman")
}

#[test]
fn pictures_are_converted_for_the_monitor_by_gles() -> Result<()> {
    converted_pictures("llvmpipe")
}

fn converted_pictures(renderer: &str) -> Result<()> {
    let world = bench(1, &[HDR])?.start("hardware_color = false\n", &["--renderer", renderer])?;
    let client = world.client("red", &["--fullscreen", "Virtual-1", "--animate", "small"])?;
    world.until_shows("Virtual-1", RED)?;
    succeeds(&world, "wide", &["set", "Virtual-1", "--color-space", "bt2020"])?;
    // All of it but the square that changes with each frame, for as long as that is: buffers take turns.
    for _ in 0..20 {
        shows_red_in_bt2020(&world)?;
    }
    // A picture for a person's own eyes is sRGB as before.
    succeeds(&world, "shot", &["screenshot", "Virtual-1", "/tmp/shot.png"])?;
    world.machine.run("copy", &["cp", "/tmp/shot.png", "/run/lab/shot.png"])?;
    let shot = geom_lab::Picture::load(&world.machine.folder().join("shot.png"))?;
    ensure!(shot.share(|pixel| pixel == RED) > 0.97, "the screenshot is not sRGB");
    // A cursor has to pass the same way.
    let pointer = world.machine.pointer("pointer")?;
    world.until_logged("input device added")?;
    pointer.motion(7, 5)?;
    shows_red_in_bt2020(&world)?;
    let all = properties(&world.machine, "planes", &[])?;
    ensure!(values(&all, "Colorspace") == ["BT2020_RGB"], "{all:#?}");
    succeeds(&world, "back", &["set", "Virtual-1", "--color-space", "srgb"])?;
    world.until_shows("Virtual-1", RED)?;
    world.machine.signal(&client, 15)?;
    world.finish()
}

/// 16-bit entries of four, as the kernel has them of a table.
fn table(hex: &str) -> Result<Vec<[f64; 3]>> {
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16))
        .collect::<std::result::Result<_, _>>()?;
    let words: Vec<f64> =
        bytes.chunks(2).map(|word| f64::from(u16::from_le_bytes([word[0], word[1]])) / 65_535.0).collect();
    Ok(words.chunks(4).map(|entry| [entry[0], entry[1], entry[2]]).collect())
}

fn look_up(table: &[[f64; 3]], colour: usize, place: f64) -> f64 {
    let place = place.clamp(0.0, 1.0) * (table.len() - 1) as f64;
    let below = place.floor() as usize;
    let next = (below + 1).min(table.len() - 1);
    table[below][colour] + (table[next][colour] - table[below][colour]) * place.fract()
}

/// What the CRTC makes of a colour by the tables that the kernel has.
fn through_hardware(all: &BTreeMap<String, String>, rgb: [u8; 3]) -> Result<[u8; 3]> {
    let blob = |name: &str| values(all, name).first().map(|text| (*text).to_owned()).context("no property");
    let (degamma, gamma) = (table(&blob("DEGAMMA_LUT")?)?, table(&blob("GAMMA_LUT")?)?);
    let ctm = blob("CTM")?;
    let cells = (0..9).map(|cell| {
        let bytes = u64::from_str_radix(&ctm[16 * cell..16 * cell + 16], 16)?.swap_bytes();
        let magnitude = (bytes & !(1 << 63)) as f64 / 4_294_967_296.0;
        Ok(if bytes >> 63 == 1 { -magnitude } else { magnitude })
    });
    let cells: Vec<f64> = cells.collect::<Result<_>>()?;
    let light: Vec<f64> =
        (0..3).map(|colour| look_up(&degamma, colour, f64::from(rgb[colour]) / 255.0)).collect();
    let mixed = |row: usize| (0..3).map(|column| cells[3 * row + column] * light[column]).sum::<f64>();
    Ok(std::array::from_fn(|row| (look_up(&gamma, row, mixed(row)) * 255.0).round() as u8))
}

/// On hardware that can, nothing is converted by us: buffers are as programs made them, and the CRTC does the rest.
#[test]
fn hardware_converts_where_it_can() -> Result<()> {
    let world = bench(1, &[HDR])?.start("", &[])?;
    world.client("red", &["--fullscreen", "Virtual-1", "--animate", "small"])?;
    world.until_shows("Virtual-1", RED)?;
    expect(&world.machine, "before", &PLAIN)?;
    succeeds(&world, "wide", &["set", "Virtual-1", "--color-space", "bt2020"])?;
    world.until_shows("Virtual-1", RED)?;
    let all = properties(&world.machine, "wide-set", &[])?;
    ensure!(values(&all, "Colorspace") == ["BT2020_RGB"], "{:?}", values(&all, "Colorspace"));
    let shown = through_hardware(&all, RED)?;
    ensure!(shown.iter().zip(RED_IN_BT2020).all(|(one, other)| one.abs_diff(other) <= 1), "{shown:?}");
    ensure!(through_hardware(&all, [255; 3])? == [255; 3]);

    // A profile by matrix and curves is no more than that.
    let curve =
        lcms2::ToneCurve::new_parametric(4, &[2.4, 1.0 / 1.055, 0.055 / 1.055, 1.0 / 12.92, 0.04045])?;
    wide_profile(&world.machine, "p3.icc", &curve)?;
    succeeds(&world, "profile", &["set", "Virtual-1", "--color-space", "/tmp/p3.icc"])?;
    world.machine.until("the profile's red", |machine| {
        let shown = through_hardware(&properties(machine, "profile-set", &[])?, RED)?;
        Ok(shown.iter().zip([234, 51, 35]).all(|(one, other)| one.abs_diff(other) <= 1))
    })?;
    world.until_shows("Virtual-1", RED)?;
    succeeds(&world, "wide-again", &["set", "Virtual-1", "--color-space", "bt2020"])?;

    // Half the light, in the same tables; sRGB has the last of them alone.
    succeeds(&world, "dim", &["set", "Virtual-1", "--brightness", "0.5"])?;
    world.machine.until("half the light", |machine| {
        let all = properties(machine, "dim-set", &[])?;
        Ok(through_hardware(&all, [255; 3])? == [188; 3])
    })?;
    succeeds(&world, "back", &["set", "Virtual-1", "--color-space", "srgb"])?;
    world.machine.until("a gamma table alone", |machine| {
        let all = properties(machine, "srgb-set", &[])?;
        let gamma = values(&all, "GAMMA_LUT").first().map(|text| table(text)).context("none")??;
        Ok(values(&all, "CTM") == ["0"] && gamma.last().is_some_and(|last| (last[0] - 0.735).abs() < 0.001))
    })?;
    succeeds(&world, "warm", &["set", "Virtual-1", "--brightness", "1", "--white-point", "3400"])?;
    world.machine.until("a warm white", |machine| {
        let all = properties(machine, "warm-set", &[])?;
        let gamma = values(&all, "GAMMA_LUT").first().map(|text| table(text)).context("none")??;
        Ok(gamma.last().is_some_and(|white| white[0] == 1.0 && white[2] < 0.7))
    })?;
    let link = display(&world, "told", "Virtual-1")?["link"].clone();
    ensure!(link["white_point"] == 3400, "{link:#}");
    world.end()?;
    expect(&world.machine, "exit", &PLAIN)
}

/// Where the CRTC's tables are not to be used, the primary plane's own pipeline converts, and a cursor has to pass it.
#[test]
fn planes_convert_where_they_can() -> Result<()> {
    let bench = bench(1, &[HDR])?;
    // Another display server's leftovers, in each plane's own pipeline.
    properties(&bench.machine, "leftover", &["COLOR_PIPELINE=Color Pipeline"])?;
    let left = properties(&bench.machine, "left", &[])?;
    ensure!(values(&left, "COLOR_PIPELINE").iter().all(|value| *value != "Bypass"), "{left:#?}");
    let world = bench.start("hardware_color = \"planes\"\n", &[])?;
    world.client("red", &["--fullscreen", "Virtual-1", "--animate", "small"])?;
    world.until_shows("Virtual-1", RED)?;
    let bypassed = |log: &str| -> Result<bool> {
        let all = properties(&world.machine, log, &[])?;
        Ok(values(&all, "COLOR_PIPELINE").iter().all(|value| *value == "Bypass"))
    };
    ensure!(bypassed("started")?, "leftovers stay");
    let pointer = world.machine.pointer("pointer")?;
    world.until_logged("input device added")?;
    pointer.motion(7, 5)?;
    succeeds(&world, "wide", &["set", "Virtual-1", "--color-space", "bt2020"])?;
    world.machine.until("the plane's pipeline", |_| Ok(!bypassed("wide-set")?))?;
    let all = properties(&world.machine, "wide-on", &[])?;
    // The primary plane's alone, and of its four operations both curves and one of the matrices.
    let used = |value: &&&str| **value != "Bypass";
    ensure!(values(&all, "COLOR_PIPELINE").iter().filter(used).count() == 1, "{all:#?}");
    ensure!(values(&all, "CTM") == ["0"] && values(&all, "DEGAMMA_LUT") == ["0"], "{all:#?}");
    let chosen = all
        .iter()
        .filter(|(name, value)| name.starts_with("colorop") && name.ends_with("BYPASS") && *value == "0");
    ensure!(chosen.count() == 3, "{all:#?}");
    // 0.6274 of red's light is BT.2020's, in 31.32 bits.
    let matrix = values(&all, "DATA").into_iter().find(|data| data.len() == 2 * 96).context("a matrix")?;
    let first = u64::from_str_radix(&matrix[..16], 16)?.swap_bytes() as f64 / 2f64.powi(32);
    ensure!((first - 0.6274).abs() < 1e-3, "{first}");
    // Buffers stay sRGB, and the cursor is among them.
    world.until_shows("Virtual-1", RED)?;
    succeeds(&world, "back", &["set", "Virtual-1", "--color-space", "srgb"])?;
    world.machine.until("no pipeline", |_| bypassed("back-set"))?;
    succeeds(&world, "again", &["set", "Virtual-1", "--color-space", "bt2020"])?;
    world.machine.until("the plane's pipeline again", |_| Ok(!bypassed("again-set")?))?;
    world.end()?;
    ensure!(bypassed("exit")?, "a pipeline stays for the next program");
    Ok(())
}

/// A refresh that varies while a window has the display for itself.
#[test]
fn vrr_comes_and_goes_with_the_window() -> Result<()> {
    let world = bench(1, &[VARYING])?
        .start("[displays.\"*\"]\nmode = \"1920x1080@60\"\nvrr = \"fullscreen\"\n", &[])?;
    world.until_logged("mode set")?;
    expect(&world.machine, "before", &[("vrr_capable", "1"), ("VRR_ENABLED", "0")])?;
    let red = world.client("red", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    world.machine.until("a varying refresh", |machine| {
        Ok(expect(machine, "window", &[("VRR_ENABLED", "1")]).is_ok())
    })?;
    world.machine.signal(&red, 15)?;
    world
        .machine
        .until("a steady one", |machine| Ok(expect(machine, "no-window", &[("VRR_ENABLED", "0")]).is_ok()))?;
    world.finish()
}

/// Makes a profile of Display P3's primaries and a curve, at /tmp in the guest.
fn wide_profile(machine: &geom_lab::Machine, name: &str, curve: &lcms2::ToneCurve) -> Result<()> {
    let point = |x, y| lcms2::CIExyY { x, y, Y: 1.0 };
    let triple =
        lcms2::CIExyYTRIPLE { Red: point(0.68, 0.32), Green: point(0.265, 0.69), Blue: point(0.15, 0.06) };
    let profile = lcms2::Profile::new_rgb(&point(0.3127, 0.329), &triple, &[curve, curve, curve])?;
    std::fs::write(machine.folder().join(name), profile.icc()?)?;
    machine.run("copy", &["cp", &format!("/run/lab/{name}"), &format!("/tmp/{name}")])?;
    Ok(())
}

/// An ICC profile of the monitor: a file that is none is told, a sound one is applied, and taken back.
#[test]
fn an_icc_profile_is_applied() -> Result<()> {
    icc_profile("pixman")
}

#[test]
fn an_icc_profile_is_applied_by_gles() -> Result<()> {
    icc_profile("llvmpipe")
}

fn icc_profile(renderer: &str) -> Result<()> {
    let bench = bench(1, &[HDR])?;
    bench.machine.write("/tmp/none.icc", "no profile")?;
    // A wide one, of a simple power: sRGB's red is not its whole red.
    wide_profile(&bench.machine, "wide.icc", &lcms2::ToneCurve::new(2.2))?;
    let world = bench.start(
        "hardware_color = false\n[displays.Virtual-1]\ncolor_space = \"/tmp/none.icc\"\n",
        &["--renderer", renderer],
    )?;
    world.client("red", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    let shown = display(&world, "none", "Virtual-1")?;
    ensure!(
        shown["complaints"][0].as_str().is_some_and(|text| text.contains("it is no ICC profile")),
        "{shown:#}"
    );
    succeeds(&world, "wide", &["set", "Virtual-1", "--color-space", "/tmp/wide.icc"])?;
    world.until_picture("Virtual-1", "red as the monitor has it", |picture| {
        let [red, green, blue] = picture.pixel(500, 500);
        red.abs_diff(235) <= 3 && green.abs_diff(53) <= 8 && blue.abs_diff(41) <= 8
    })?;
    let shown = display(&world, "shown", "Virtual-1")?;
    ensure!(shown["link"]["color_space"] == "/tmp/wide.icc", "{shown:#}");
    succeeds(&world, "back", &["set", "Virtual-1", "--color-space", "srgb"])?;
    world.until_shows("Virtual-1", RED)?;
    world.finish()
}

/// A film in colours of its own on a display that the hardware converts for: while it is there we convert everything, and then the hardware
/// does again.
#[test]
fn a_film_has_colours_of_its_own() -> Result<()> {
    film("pixman")
}

#[test]
fn a_film_has_colours_of_its_own_by_gles() -> Result<()> {
    film("llvmpipe")
}

fn film(renderer: &str) -> Result<()> {
    let world =
        bench(1, &[HDR])?.start("[displays.\"*\"]\ncolor_space = \"bt2020\"\n", &["--renderer", renderer])?;
    world.client("red", &["--fullscreen", "Virtual-1"])?;
    world.until_shows("Virtual-1", RED)?;
    let by_hardware =
        |log: &str| -> Result<bool> { Ok(values(&properties(&world.machine, log, &[])?, "CTM") != ["0"]) };
    ensure!(by_hardware("before")?, "the hardware does not convert");
    // sRGB's red, as Display P3 has it.
    let film = world.client(
        "film",
        &["--fullscreen", "Virtual-1", "--color", "ea3323", "--colors", "display-p3", "--animate", "small"],
    )?;
    world.machine.until_logged(&film, "described")?;
    let near = |picture: &geom_lab::Picture| {
        let near =
            |pixel: [u8; 3]| pixel.iter().zip(RED_IN_BT2020).all(|(one, other)| one.abs_diff(other) <= 2);
        picture.share(near) > 0.97
    };
    for _ in 0..10 {
        world.until_picture("Virtual-1", "the film's red as BT.2020 has it", near)?;
    }
    world.machine.until("no conversion of the hardware's", |_| Ok(!by_hardware("meanwhile")?))?;
    world.machine.signal(&film, 15)?;
    world.until_shows("Virtual-1", RED)?;
    world.machine.until("the hardware's conversion", |_| by_hardware("after"))?;
    world.finish()
}
