//! The EDID decoder, compared with edid-decode over EDIDs of real monitors, and with the same EDIDs
//! truncated and damaged.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{ensure, Context, Result};
use geom_edid::{Edid, Size, Source, Timing};

use crate::support::edids::corpus;
use crate::support::harness::built_program;

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

/// The lines below a heading that are indented more than it.
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

/// The fields of [`decoded`], from the output of edid-decode.
fn reference(text: &str) -> Fields {
    let base = text.split("\nBlock 1").next().unwrap_or(text);
    let first = |what: &str| after(base, what).first().map(|value| (*value).to_owned()).unwrap_or_default();
    // Where the base block has none, an extension may.
    let in_blocks = |what: &str, read: fn(&[&str]) -> String| {
        let mut blocks = text.split("\nBlock ").map(|block| {
            let values = after(block, what);
            let values: Vec<&str> = values.iter().map(|value| value.trim_matches('\'').trim()).collect();
            read(&values)
        });
        blocks.find(|value| !value.is_empty()).unwrap_or_default()
    };
    let mut fields = Fields::new();
    fields.insert("make", first("Manufacturer:"));
    fields.insert("product", first("Model:"));
    let number = first("Serial Number:");
    fields.insert("number", if number.is_empty() { "0".into() } else { number });
    fields.insert("name", in_blocks("Display Product Name:", |values| values.concat()));
    let serial = |values: &[&str]| values.first().map(|value| (*value).to_owned()).unwrap_or_default();
    fields.insert("serial", in_blocks("Display Product Serial Number:", serial));
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
    let millimeters = timing.split_once('(').map(|(_, rest)| rest.split(')').next().unwrap_or_default());
    let millimeters = millimeters.unwrap_or_default();
    fields.insert(
        "millimeters",
        if millimeters.contains("mm x") { millimeters.to_owned() } else { String::new() },
    );
    let hdr = section(text, "HDR Static Metadata Data Block:").unwrap_or_default();
    let functions = [
        "Traditional gamma - SDR luminance range",
        "Traditional gamma - HDR luminance range",
        "SMPTE ST2084",
        "Hybrid Log-Gamma",
    ];
    fields.insert("hdr", functions.map(|function| if hdr.contains(&function) { "1" } else { "0" }).concat());
    // `146 (1181.103 cd/m^2)`. A maximum of 0 means unknown (CTA-861-H, 7.5.13), and the minimum is
    // a fraction of the maximum.
    let of = |what: &str| hdr.iter().find_map(|line| line.strip_prefix(what)).unwrap_or_default().trim();
    let maximum = of("Desired content max luminance:");
    let luminance = |what: &str| {
        let value = of(what);
        let is_unknown = value.starts_with("0 (") && !what.contains("min") || maximum.starts_with("0 (");
        let value = value.split_once('(').and_then(|(_, rest)| rest.split_whitespace().next());
        value.filter(|_| !is_unknown).map(str::to_owned).unwrap_or_default()
    };
    fields.insert("max luminance", luminance("Desired content max luminance:"));
    fields.insert("max frame average", luminance("Desired content max frame-average luminance:"));
    fields.insert("min luminance", luminance("Desired content min luminance:"));
    let colors = section(text, "Colorimetry Data Block:").unwrap_or_default();
    fields.insert(
        "colorimetry",
        COLORIMETRY.map(|name| if colors.contains(&name) { "1" } else { "0" }).concat(),
    );
    // Some blocks, and some whole extensions, occur twice.
    let first_of =
        |what: &str| after(text, what).first().map(|value| (*value).to_owned()).unwrap_or_default();
    let hdmi = text.contains("Vendor-Specific Data Block (HDMI), OUI 00-0C-03");
    fields.insert("address", if hdmi { first_of("Source physical address:") } else { String::new() });
    fields.insert("forum TMDS", first_of("Maximum TMDS Character Rate:"));
    fields.insert("tile", first_of("Tile location:"));
    fields.insert("tile size", first_of("Tile resolution:"));
    fields
}

const COLORIMETRY: [&str; 9] = [
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

/// The fields that are compared, from our decoder.
fn decoded(edid: &Edid) -> Fields {
    let mut fields = Fields::new();
    fields.insert("make", edid.make.clone());
    fields.insert("product", edid.product.to_string());
    fields.insert("number", edid.serial_number.to_string());
    fields.insert("name", edid.name.clone().unwrap_or_default());
    fields.insert("serial", edid.serial.clone().unwrap_or_default());
    fields.insert(
        "size",
        match edid.size {
            Size::Centimeters { width, height } => format!("{width} cm x {height} cm"),
            _ => String::new(),
        },
    );
    let timing = edid.timings.iter().find(|timing| timing.source == Source::Base);
    let of =
        |say: &dyn Fn(&Timing) -> String, otherwise: &str| timing.map_or_else(|| otherwise.to_owned(), say);
    let interlaced = |timing: &Timing| if timing.interlaced { "i" } else { "" };
    fields.insert(
        "preferred",
        of(&|timing| format!("{}x{}{}", timing.width, timing.height, interlaced(timing)), ""),
    );
    fields.insert("refresh", of(&|timing| format!("{:.3}", timing.refresh()), "0.000"));
    fields.insert("clock", of(&|timing| format!("{:.3}", f64::from(timing.clock_khz) / 1000.0), "0.000"));
    let millimeters = timing.and_then(|timing| timing.millimeters);
    fields.insert(
        "millimeters",
        millimeters.map_or_else(String::new, |(width, height)| format!("{width} mm x {height} mm")),
    );
    let flags = |flags: &[bool]| flags.iter().map(|flag| if *flag { "1" } else { "0" }).collect::<String>();
    let hdr = edid.hdr;
    fields.insert(
        "hdr",
        hdr.map_or_else(|| "0000".into(), |hdr| flags(&[hdr.sdr, hdr.hdr_gamma, hdr.pq, hdr.hlg])),
    );
    let luminance = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.3}"));
    fields.insert("max luminance", luminance(hdr.and_then(|hdr| hdr.max_luminance)));
    fields.insert("max frame average", luminance(hdr.and_then(|hdr| hdr.max_frame_average)));
    fields.insert("min luminance", luminance(hdr.and_then(|hdr| hdr.min_luminance)));
    let colors = edid.colorimetry;
    fields.insert(
        "colorimetry",
        flags(&[
            colors.xvycc_601,
            colors.xvycc_709,
            colors.sycc_601,
            colors.opycc_601,
            colors.oprgb,
            colors.bt2020_cycc,
            colors.bt2020_ycc,
            colors.bt2020_rgb,
            colors.dci_p3,
        ]),
    );
    let address = edid.hdmi.map(|hdmi| hdmi.address.map(|part| format!("{part:x}")).join("."));
    fields.insert("address", address.unwrap_or_default());
    let tmds = edid.hdmi_forum.and_then(|forum| forum.max_tmds);
    fields.insert("forum TMDS", tmds.map_or_else(String::new, |clock| format!("{clock} MHz")));
    let tile = edid.tile.as_ref();
    fields.insert(
        "tile",
        tile.map_or_else(String::new, |tile| format!("{}, {}", tile.location.0, tile.location.1)),
    );
    fields.insert(
        "tile size",
        tile.map_or_else(String::new, |tile| format!("{}x{}", tile.size.0, tile.size.1)),
    );
    fields
}

#[test]
fn decoder_agrees_with_edid_decode() -> Result<()> {
    let (mut agreeing, mut all) = (0, 0);
    let mut differing = Vec::new();
    let corpus = corpus()?;
    ensure!(corpus.len() == 400, "{} EDIDs", corpus.len());
    for (path, bytes) in &corpus {
        let edid = Edid::parse(bytes).with_context(|| path.clone())?;
        let found = decoded(&edid);
        for (field, expected) in &reference(&edid_decode(bytes)?) {
            all += 1;
            let found = found.get(field).with_context(|| (*field).to_owned())?;
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

/// Truncated at each byte, and with flipped bits: an EDID or an error, and no panic.
#[test]
fn damaged_edids_do_not_panic() -> Result<()> {
    // Marsaglia, "Xorshift RNGs", 2003.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound.max(1) as u64) as usize
    };
    for (path, bytes) in corpus()? {
        for length in 0..bytes.len() {
            let cut = Edid::parse(&bytes[..length]);
            ensure!(cut.is_ok() == (length >= 18), "{path}: {length} bytes: {cut:?}");
            let reported = cut.map_or(true, |edid| !edid.problems.is_empty() || length % 128 == 0);
            ensure!(reported, "{path}: truncation after {length} bytes is not reported");
        }
        for _ in 0..50 {
            let mut damaged = bytes.clone();
            for _ in 0..=random(8) {
                let byte = random(damaged.len());
                damaged[byte] ^= 1 << random(8);
            }
            if let Ok(edid) = Edid::parse(&damaged) {
                ensure!(edid.make.chars().count() == 3, "{path}: {:?}", edid.make);
            }
        }
    }
    Ok(())
}

/// The command `edid` takes binary and hexadecimal files. A file that is no EDID does not affect
/// the others.
#[test]
fn edid_command_decodes_files() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (_, bytes) = corpus()?.into_iter().next().context("an EDID")?;
    let (binary, text, none) =
        (folder.path().join("binary"), folder.path().join("text"), folder.path().join("none"));
    std::fs::write(&binary, &bytes)?;
    std::fs::write(&text, bytes.iter().map(|byte| format!("{byte:02x} ")).collect::<String>())?;
    std::fs::write(&none, "no EDID")?;
    let compositor = built_program("geom_compositor")?;
    let run = |arguments: &[&Path]| Command::new(&compositor).arg("edid").args(arguments).output();
    let output = run(&[&binary])?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let make: Vec<&str> = stdout.lines().next().unwrap_or_default().split_whitespace().collect();
    ensure!(output.status.success() && make == ["make", "AOC"], "{stdout}");
    let output = run(&[Path::new("--json"), &binary, &none, &text])?;
    ensure!(output.status.code() == Some(1), "{}", output.status);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(errors.contains("none: 7 bytes"), "{errors}");
    let decoded: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
    ensure!(decoded.len() == 3 && decoded[0]["edid"] == decoded[2]["edid"], "{decoded:#?}");
    ensure!(decoded[0]["edid"]["name"] == "1970W" && decoded[1]["error"].is_string(), "{decoded:#?}");
    Ok(())
}
