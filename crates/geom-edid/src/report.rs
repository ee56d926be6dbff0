//! An EDID as text, for people.

use std::fmt::Write;

use super::{Edid, Interface, Size, Source, Timing, Video};

/// Returns everything that was decoded, one line for each field.
pub fn describe(edid: &Edid) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: String| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{what:<24}{value}");
    };
    line("make", edid.make.clone());
    line("model", edid.model());
    line("serial", edid.any_serial().unwrap_or_else(|| "none".into()));
    line("product", format!("0x{:04X}, number {}", edid.product, edid.serial_number));
    let week = edid.week.map(|week| format!("week {week} of ")).unwrap_or_default();
    line("manufactured", format!("{week}{}", edid.year));
    line("EDID", format!("{}.{}", edid.version.0, edid.version.1));
    for other in &edid.texts {
        line("text", other.clone());
    }
    line("size", size(edid));
    line("input", input(&edid.video));
    if let Some(gamma) = edid.gamma {
        line("gamma", format!("{gamma:.2}"));
    }
    let point = |(x, y): (f64, f64)| format!("{x:.4} {y:.4}");
    let color = &edid.chromaticity;
    line("red, green", format!("{}, {}", point(color.red), point(color.green)));
    line("blue, white", format!("{}, {}", point(color.blue), point(color.white)));
    line("colorimetry", colorimetry(edid));
    line("HDR", hdr(edid));
    if let Some(range) = edid.range {
        let ((from, to), (low, high)) = (range.vertical, range.horizontal);
        line("range", format!("{from} to {to} Hz, {low} to {high} kHz, up to {} MHz", range.clock));
    }
    if let Some(preferred) = edid.preferred() {
        line("preferred mode", mode(preferred));
    }
    for timing in &edid.timings {
        line("timing", mode(timing));
    }
    if !edid.codes.is_empty() {
        let codes = edid.codes.iter().map(|code| {
            let marks = [(code.native, "*"), (code.only_420, "/420")];
            let marks: String = marks.iter().filter(|(set, _)| *set).map(|(_, mark)| *mark).collect();
            format!("{}{marks}", code.code)
        });
        line("CTA modes", codes.collect::<Vec<_>>().join(" "));
    }
    if let Some(hdmi) = edid.hdmi {
        let [first, second, third, fourth] = hdmi.address;
        let tmds = hdmi.max_tmds.map(|clock| format!(", TMDS up to {clock} MHz")).unwrap_or_default();
        line("HDMI", format!("address {first}.{second}.{third}.{fourth}{tmds}"));
    }
    if let Some(forum) = edid.hdmi_forum {
        let tmds = forum.max_tmds.map(|clock| format!(", TMDS up to {clock} MHz")).unwrap_or_default();
        let vrr = forum.vrr.map(|(from, to)| format!(", VRR {from} to {to} Hz")).unwrap_or_default();
        line("HDMI Forum", format!("FRL {}{tmds}{vrr}", forum.frl));
    }
    if let Some(tile) = &edid.tile {
        let ((across, down), (x, y), (width, height)) = (tile.tiles, tile.location, tile.size);
        line("tile", format!("{x},{y} of {across}x{down}, {width}x{height} pixels"));
    }
    if !edid.extensions.is_empty() {
        line("extensions", edid.extensions.join(", "));
    }
    for problem in &edid.problems {
        line("problem", problem.clone());
    }
    text
}

fn size(edid: &Edid) -> String {
    match (edid.millimeters(), edid.size) {
        (Some((width, height)), _) => format!("{width} mm x {height} mm"),
        (None, Size::Aspect(ratio)) => format!("aspect {ratio:.2}"),
        (None, _) => "variable".into(),
    }
}

fn input(video: &Video) -> String {
    let digital = match video {
        Video::Analog(_) => return "analog".into(),
        Video::Digital(digital) => digital,
    };
    let interface = digital.interface.map(|interface| match interface {
        Interface::Dvi => ", DVI",
        Interface::HdmiA | Interface::HdmiB => ", HDMI",
        Interface::Mddi => ", MDDI",
        Interface::DisplayPort => ", DisplayPort",
    });
    let depth = digital.depth.map(|depth| format!(", {depth} bits per color")).unwrap_or_default();
    format!("digital{}{depth}", interface.unwrap_or_default())
}

fn colorimetry(edid: &Edid) -> String {
    let supported = &edid.colorimetry;
    let all = [
        (edid.srgb, "sRGB"),
        (supported.xvycc_601, "xvYCC601"),
        (supported.xvycc_709, "xvYCC709"),
        (supported.sycc_601, "sYCC601"),
        (supported.opycc_601, "opYCC601"),
        (supported.oprgb, "opRGB"),
        (supported.bt2020_cycc, "BT2020cYCC"),
        (supported.bt2020_ycc, "BT2020YCC"),
        (supported.bt2020_rgb, "BT2020RGB"),
        (supported.dci_p3, "DCI-P3"),
        (supported.ictcp, "ICtCp"),
    ];
    let names: Vec<&str> = all.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    if names.is_empty() {
        "none given".into()
    } else {
        names.join(" ")
    }
}

fn hdr(edid: &Edid) -> String {
    let Some(hdr) = &edid.hdr else { return "no".into() };
    let eotfs = [(hdr.hdr_gamma, "gamma"), (hdr.pq, "PQ"), (hdr.hlg, "HLG")];
    let names: Vec<&str> = eotfs.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    let luminance = |value: Option<f64>| value.map_or("?".to_owned(), |value| format!("{value:.4}"));
    format!(
        "{}; {} to {} cd/m², frame average up to {} cd/m²",
        if names.is_empty() { "none".to_owned() } else { names.join(" ") },
        luminance(hdr.min_luminance),
        luminance(hdr.max_luminance),
        luminance(hdr.max_frame_average)
    )
}

fn mode(timing: &Timing) -> String {
    let source = match timing.source {
        Source::Base => "base block",
        Source::Cta => "CTA-861",
        Source::DisplayId => "DisplayID",
    };
    let interlaced = if timing.interlaced { "i" } else { "" };
    format!(
        "{}x{}{interlaced} at {:.3} Hz, {:.3} MHz ({source})",
        timing.width,
        timing.height,
        timing.refresh(),
        f64::from(timing.clock_khz) / 1000.0
    )
}
