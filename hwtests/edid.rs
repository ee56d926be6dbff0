//! Our EDID decoder beside edid-decode, over EDIDs of real monitors; and over the same bytes cut and damaged.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{ensure, Context, Result};
use geom_compositor::display::edid::{Edid, Size, Source};

/// Where an EDID comes from, and its bytes.
pub fn corpus() -> Result<Vec<(String, Vec<u8>)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("hwtests/edid/corpus.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    text.lines()
        .map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line)?;
            let field = |name: &str| entry[name].as_str().with_context(|| name.to_owned());
            let digits = field("edid")?;
            let bytes: Result<Vec<u8>, _> = (0..digits.len() / 2)
                .map(|place| u8::from_str_radix(digits.get(2 * place..2 * place + 2).unwrap_or("?"), 16))
                .collect();
            Ok((field("path")?.to_owned(), bytes?))
        })
        .collect()
}

fn edid_decode(bytes: &[u8]) -> Result<String> {
    let mut child = Command::new("edid-decode")
        .args(["--skip-hex-dump", "--skip-sha", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("edid-decode; tools/packages.sh names its package")?;
    child.stdin.take().context("its input")?.write_all(bytes)?;
    Ok(String::from_utf8_lossy(&child.wait_with_output()?.stdout).into_owned())
}

/// The lines under a heading that are set further in than it.
fn section<'a>(text: &'a str, heading: &str) -> Option<Vec<&'a str>> {
    let mut lines = text.lines().skip_while(|line| line.trim() != heading);
    let depth = |line: &str| line.len() - line.trim_start().len();
    let head = depth(lines.next()?);
    Some(lines.take_while(|line| depth(line) > head).map(str::trim).collect())
}

fn after<'a>(text: &'a str, what: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.trim().strip_prefix(what)).map(str::trim).collect()
}

type Fields = BTreeMap<&'static str, String>;

/// What edid-decode says, in the words of [`ours`].
fn theirs(text: &str) -> Fields {
    let base = text.split("\nBlock 1").next().unwrap_or(text);
    let first = |what: &str| after(base, what).first().map(|value| (*value).to_owned()).unwrap_or_default();
    let quoted = |what: &str| -> Vec<String> {
        after(base, what).iter().map(|value| value.trim_matches('\'').trim().to_owned()).collect()
    };
    let mut fields = Fields::new();
    fields.insert("make", first("Manufacturer:"));
    fields.insert("product", first("Model:"));
    let number = first("Serial Number:");
    fields.insert("number", if number.is_empty() { "0".into() } else { number });
    fields.insert("name", quoted("Display Product Name:").concat());
    fields.insert("serial", quoted("Display Product Serial Number:").first().cloned().unwrap_or_default());
    fields.insert("size", first("Maximum image size:"));
    // `DTD  1:  3440x1440   59.972616 Hz  43:18    88.819 kHz    319.750000 MHz (797 mm x 334 mm)`
    let timing =
        base.lines().find(|line| line.split_whitespace().take(2).eq(["DTD", "1:"])).unwrap_or_default();
    let words: Vec<&str> = timing.split_whitespace().skip(2).collect();
    let before = |unit: &str| {
        let place = words.iter().position(|word| word.trim_start_matches('(').starts_with(unit));
        let value = place.and_then(|place| words.get(place.checked_sub(1)?)).copied().unwrap_or_default();
        value.parse::<f64>().unwrap_or_default()
    };
    fields.insert("preferred", words.first().copied().unwrap_or_default().to_owned());
    fields.insert("refresh", format!("{:.3}", before("Hz")));
    fields.insert("clock", format!("{:.3}", before("MHz")));
    let millimetres = timing.split_once('(').map(|(_, rest)| rest.split(')').next().unwrap_or_default());
    let millimetres = millimetres.unwrap_or_default();
    fields.insert(
        "millimetres",
        if millimetres.contains("mm x") { millimetres.to_owned() } else { String::new() },
    );
    let hdr = section(text, "HDR Static Metadata Data Block:").unwrap_or_default();
    let functions = [
        "Traditional gamma - SDR luminance range",
        "Traditional gamma - HDR luminance range",
        "SMPTE ST2084",
        "Hybrid Log-Gamma",
    ];
    fields.insert("hdr", functions.map(|function| if hdr.contains(&function) { "1" } else { "0" }).concat());
    // `146 (1181.103 cd/m^2)`. A most of 0 is none told (CTA-861-H, 7.5.13), and the least is a share of the most.
    let of = |what: &str| hdr.iter().find_map(|line| line.strip_prefix(what)).unwrap_or_default().trim();
    let most = of("Desired content max luminance:");
    let light = |what: &str| {
        let value = of(what);
        let untold = value.starts_with("0 (") && !what.contains("min") || most.starts_with("0 (");
        let value = value.split_once('(').and_then(|(_, rest)| rest.split_whitespace().next());
        value.filter(|_| !untold).map(str::to_owned).unwrap_or_default()
    };
    fields.insert("most light", light("Desired content max luminance:"));
    fields.insert("frame's light", light("Desired content max frame-average luminance:"));
    fields.insert("least light", light("Desired content min luminance:"));
    let colours = section(text, "Colorimetry Data Block:").unwrap_or_default();
    fields
        .insert("colorimetry", COLOURS.map(|name| if colours.contains(&name) { "1" } else { "0" }).concat());
    // Some blocks come twice, and some whole extensions.
    let first_of =
        |what: &str| after(text, what).first().map(|value| (*value).to_owned()).unwrap_or_default();
    let hdmi = text.contains("Vendor-Specific Data Block (HDMI), OUI 00-0C-03");
    fields.insert("address", if hdmi { first_of("Source physical address:") } else { String::new() });
    fields.insert("forum's TMDS", first_of("Maximum TMDS Character Rate:"));
    fields.insert("tile", first_of("Tile location:"));
    fields.insert("tile's size", first_of("Tile resolution:"));
    fields
}

const COLOURS: [&str; 9] = [
    "xvYCC601",
    "xvYCC709",
    "sYCC601",
    "opYCC601",
    "opRGB",
    "BT2020cYCC",
    "BT2020YCC",
    "BT2020RGB",
    "ST2113RGB",
];

fn ours(edid: &Edid) -> Fields {
    let mut fields = Fields::new();
    fields.insert("make", edid.make.clone());
    fields.insert("product", edid.product.to_string());
    fields.insert("number", edid.serial_number.to_string());
    fields.insert("name", edid.name.clone().unwrap_or_default());
    fields.insert("serial", edid.serial.clone().unwrap_or_default());
    fields.insert(
        "size",
        match edid.size {
            Size::Centimetres { width, height } => format!("{width} cm x {height} cm"),
            _ => String::new(),
        },
    );
    let timing = edid.timings.iter().find(|timing| timing.source == Source::Base);
    let of = |say: &dyn Fn(&geom_compositor::display::edid::Timing) -> String, otherwise: &str| {
        timing.map_or_else(|| otherwise.to_owned(), say)
    };
    let interlaced =
        |timing: &geom_compositor::display::edid::Timing| if timing.interlaced { "i" } else { "" };
    fields.insert(
        "preferred",
        of(&|timing| format!("{}x{}{}", timing.width, timing.height, interlaced(timing)), ""),
    );
    fields.insert("refresh", of(&|timing| format!("{:.3}", timing.refresh()), "0.000"));
    fields.insert("clock", of(&|timing| format!("{:.3}", f64::from(timing.clock_khz) / 1000.0), "0.000"));
    let millimetres = timing.and_then(|timing| timing.millimetres);
    fields.insert(
        "millimetres",
        millimetres.map_or_else(String::new, |(width, height)| format!("{width} mm x {height} mm")),
    );
    let flags = |flags: &[bool]| flags.iter().map(|flag| if *flag { "1" } else { "0" }).collect::<String>();
    let hdr = edid.hdr;
    fields.insert(
        "hdr",
        hdr.map_or_else(|| "0000".into(), |hdr| flags(&[hdr.sdr, hdr.hdr_gamma, hdr.pq, hdr.hlg])),
    );
    let light = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.3}"));
    fields.insert("most light", light(hdr.and_then(|hdr| hdr.max_luminance)));
    fields.insert("frame's light", light(hdr.and_then(|hdr| hdr.max_frame_average)));
    fields.insert("least light", light(hdr.and_then(|hdr| hdr.min_luminance)));
    let colours = edid.colorimetry;
    fields.insert(
        "colorimetry",
        flags(&[
            colours.xvycc_601,
            colours.xvycc_709,
            colours.sycc_601,
            colours.opycc_601,
            colours.oprgb,
            colours.bt2020_cycc,
            colours.bt2020_ycc,
            colours.bt2020_rgb,
            colours.dci_p3,
        ]),
    );
    let address = edid.hdmi.map(|hdmi| hdmi.address.map(|part| format!("{part:x}")).join("."));
    fields.insert("address", address.unwrap_or_default());
    let tmds = edid.hdmi_forum.and_then(|forum| forum.max_tmds);
    fields.insert("forum's TMDS", tmds.map_or_else(String::new, |clock| format!("{clock} MHz")));
    let tile = edid.tile.as_ref();
    fields
        .insert("tile", tile.map_or_else(String::new, |tile| format!("{}, {}", tile.place.0, tile.place.1)));
    fields.insert(
        "tile's size",
        tile.map_or_else(String::new, |tile| format!("{}x{}", tile.size.0, tile.size.1)),
    );
    fields
}

#[test]
fn real_monitors_are_read_as_edid_decode_reads_them() -> Result<()> {
    let (mut agreeing, mut all) = (0, 0);
    let mut differing = Vec::new();
    let corpus = corpus()?;
    ensure!(corpus.len() == 400, "{} EDIDs", corpus.len());
    for (path, bytes) in &corpus {
        let edid = Edid::parse(bytes).with_context(|| path.clone())?;
        let (mine, reference) = (ours(&edid), theirs(&edid_decode(bytes)?));
        for (field, expected) in &reference {
            all += 1;
            let found = mine.get(field).with_context(|| (*field).to_owned())?;
            if found == expected {
                agreeing += 1;
            } else {
                differing.push(format!("{path}: {field}: {found:?}, edid-decode {expected:?}"));
            }
        }
    }
    println!("{agreeing} of {all} fields agree");
    ensure!(differing.is_empty(), "{agreeing} of {all} fields agree:\n{}", differing.join("\n"));
    Ok(())
}

/// Cut at each byte, and with bits flipped: something sensible or an error, and no panic.
#[test]
fn damaged_bytes_are_survived() -> Result<()> {
    // Marsaglia, "Xorshift RNGs", 2003.
    let mut dice = 0x9e37_79b9_7f4a_7c15u64;
    let mut roll = |sides: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice % sides.max(1) as u64) as usize
    };
    for (path, bytes) in corpus()? {
        for length in 0..bytes.len() {
            let cut = Edid::parse(&bytes[..length]);
            ensure!(cut.is_ok() == (length >= 18), "{path}: {length} bytes: {cut:?}");
            let told = cut.map_or(true, |edid| !edid.problems.is_empty() || length % 128 == 0);
            ensure!(told, "{path}: nothing is said of a cut after {length} bytes");
        }
        for _ in 0..50 {
            let mut damaged = bytes.clone();
            for _ in 0..=roll(8) {
                let place = roll(damaged.len());
                damaged[place] ^= 1 << roll(8);
            }
            if let Ok(edid) = Edid::parse(&damaged) {
                ensure!(edid.make.chars().count() == 3, "{path}: {:?}", edid.make);
            }
        }
    }
    Ok(())
}

/// The command that people and programs use, on binary and hexadecimal files; one that is none spoils nothing.
#[test]
fn files_are_decoded() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_, bytes) = corpus()?.into_iter().next().context("an EDID")?;
    let (binary, text, none) =
        (folder.path().join("binary"), folder.path().join("text"), folder.path().join("none"));
    std::fs::write(&binary, &bytes)?;
    std::fs::write(&text, bytes.iter().map(|byte| format!("{byte:02x} ")).collect::<String>())?;
    std::fs::write(&none, "no EDID")?;
    let run = |arguments: &[&Path]| {
        Command::new(env!("CARGO_BIN_EXE_geom_compositor")).arg("edid").args(arguments).output()
    };
    let output = run(&[&binary])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && said.starts_with("make                    AOC\n"), "{said}");
    let output = run(&[Path::new("--json"), &binary, &none, &text])?;
    ensure!(output.status.code() == Some(1), "{}", output.status);
    ensure!(String::from_utf8_lossy(&output.stderr).contains("none: 7 bytes are too few"));
    let decoded: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
    ensure!(decoded.len() == 3 && decoded[0]["edid"] == decoded[2]["edid"], "{decoded:#?}");
    ensure!(decoded[0]["edid"]["name"] == "1970W" && decoded[1]["error"].is_string(), "{decoded:#?}");
    Ok(())
}
