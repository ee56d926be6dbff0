//! The CTA-861 extension and its data blocks (CTA-861-H, section 7).

use serde::Serialize;

use super::bytes::{bit, byte};
use super::timing::{detailed, Source};
use super::Edid;

/// A mode by its number in CTA-861's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct VideoCode {
    pub code: u8,
    /// One that the panel has itself.
    pub native: bool,
    /// Only as YCbCr 4:2:0.
    pub only_420: bool,
}

/// Which light a monitor can make of which signal (7.5.13).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HdrStatic {
    /// Traditional gamma in the range of SDR, and of HDR.
    pub sdr: bool,
    pub hdr_gamma: bool,
    /// SMPTE ST 2084.
    pub pq: bool,
    /// ITU-R BT.2100 hybrid log-gamma.
    pub hlg: bool,
    /// Static metadata type 1.
    pub type1: bool,
    /// Desired content luminance in cd/m².
    pub max_luminance: Option<f64>,
    pub max_frame_average: Option<f64>,
    pub min_luminance: Option<f64>,
}

/// Colour encodings that are understood (7.5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Colorimetry {
    pub xvycc_601: bool,
    pub xvycc_709: bool,
    pub sycc_601: bool,
    pub opycc_601: bool,
    pub oprgb: bool,
    pub bt2020_cycc: bool,
    pub bt2020_ycc: bool,
    pub bt2020_rgb: bool,
    pub dci_p3: bool,
    pub ictcp: bool,
}

/// HDMI 1.4b's vendor block (HDMI 1.4b, 8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Hdmi {
    /// Of CEC: four numbers up to 15.
    pub address: [u8; 4],
    /// Bits of a colour beyond 8 that are taken.
    pub depth_10: bool,
    pub depth_12: bool,
    pub depth_16: bool,
    /// MHz; none where it is not told.
    pub max_tmds: Option<u16>,
}

/// The HDMI Forum's vendor block (HDMI 2.1, 10.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HdmiForum {
    pub version: u8,
    /// MHz; none up to 340.
    pub max_tmds: Option<u16>,
    pub scdc: bool,
    /// Fixed rate link, from 0 (none) to 6 (12 Gb/s on 4 lanes).
    pub frl: u8,
    pub depth_10_420: bool,
    pub depth_12_420: bool,
    pub depth_16_420: bool,
    pub low_latency: bool,
    /// Variable refresh, Hz from and to.
    pub vrr: Option<(u16, u16)>,
}

const HDMI: [u8; 3] = [0x03, 0x0c, 0x00];
const HDMI_FORUM: [u8; 3] = [0xd8, 0x5d, 0xc4];

/// Reads an extension block.
pub fn extend(edid: &mut Edid, number: usize, block: &[u8]) {
    // Where the detailed timings begin; before it are the data blocks, from revision 3 on.
    let timings = usize::from(byte(block, 2));
    let data = match timings {
        0 => block.get(4..127),
        end if end >= 4 => block.get(4..end.min(127).min(block.len())),
        _ => None,
    };
    if timings != 0 && !(4..=127).contains(&timings) {
        edid.problems.push(format!("block {number}: its timings begin at byte {timings}"));
    }
    if byte(block, 1) >= 3 {
        data_blocks(edid, number, data.unwrap_or_default());
    }
    if timings >= 4 {
        let places = block.get(timings..127.min(block.len())).unwrap_or_default();
        let found = places.chunks_exact(18).map_while(|bytes| detailed(bytes, Source::Cta));
        edid.timings.extend(found);
    }
}

/// Data blocks one after the other; DisplayID may hold them as well.
pub fn data_blocks(edid: &mut Edid, number: usize, mut rest: &[u8]) {
    while let Some((head, after)) = rest.split_first() {
        let length = usize::from(head & 0x1f);
        if after.len() < length {
            edid.problems.push(format!("block {number}: a data block of {length} bytes has {}", after.len()));
        }
        let (payload, next) = after.split_at(length.min(after.len()));
        match head >> 5 {
            2 => edid.codes.extend(payload.iter().filter_map(|value| video_code(*value))),
            3 => vendor(edid, payload),
            7 => extended(edid, number, payload),
            _ => {}
        }
        rest = next;
    }
}

/// A short video descriptor (7.5.1).
fn video_code(value: u8) -> Option<VideoCode> {
    let (code, native) = match value {
        0 | 128 | 254 | 255 => return None,
        129..=192 => (value & 0x7f, true),
        code => (code, false),
    };
    Some(VideoCode { code, native, only_420: false })
}

fn vendor(edid: &mut Edid, payload: &[u8]) {
    if payload.get(..3) == Some(&HDMI) && edid.hdmi.is_none() {
        let flags = byte(payload, 5);
        let address =
            [byte(payload, 3) >> 4, byte(payload, 3) & 0xf, byte(payload, 4) >> 4, byte(payload, 4) & 0xf];
        edid.hdmi = Some(Hdmi {
            address,
            depth_10: bit(flags, 4),
            depth_12: bit(flags, 5),
            depth_16: bit(flags, 6),
            max_tmds: megahertz(byte(payload, 6)),
        });
    } else if payload.get(..3) == Some(&HDMI_FORUM) {
        edid.hdmi_forum = Some(forum(payload.get(3..).unwrap_or_default()));
    }
}

/// In units of 5 MHz; none for 0.
fn megahertz(value: u8) -> Option<u16> {
    (value > 0).then_some(u16::from(value) * 5)
}

/// The Sink Capability Data Structure (HDMI 2.1, table 10-6).
fn forum(sink: &[u8]) -> HdmiForum {
    let vrr =
        (u16::from(byte(sink, 5) & 0x3f), u16::from(byte(sink, 5) & 0xc0) << 2 | u16::from(byte(sink, 6)));
    HdmiForum {
        version: byte(sink, 0),
        max_tmds: megahertz(byte(sink, 1)),
        scdc: bit(byte(sink, 2), 7),
        frl: byte(sink, 3) >> 4,
        depth_10_420: bit(byte(sink, 3), 0),
        depth_12_420: bit(byte(sink, 3), 1),
        depth_16_420: bit(byte(sink, 3), 2),
        low_latency: bit(byte(sink, 4), 1),
        vrr: (vrr.0 > 0).then_some(vrr),
    }
}

/// Blocks with a tag of their own in their first byte.
fn extended(edid: &mut Edid, number: usize, payload: &[u8]) {
    let Some((tag, rest)) = payload.split_first() else {
        edid.problems.push(format!("block {number}: an extended data block is empty"));
        return;
    };
    match tag {
        5 => edid.colorimetry = colorimetry(rest),
        6 => edid.hdr = Some(hdr(rest)),
        14 => {
            let only = rest.iter().filter_map(|value| video_code(*value));
            edid.codes.extend(only.map(|code| VideoCode { only_420: true, ..code }));
        }
        // HDMI Forum Sink Capability Data Block: two reserved bytes, then as the vendor block.
        0x79 => edid.hdmi_forum = Some(forum(rest.get(2..).unwrap_or_default())),
        _ => {}
    }
}

fn colorimetry(bytes: &[u8]) -> Colorimetry {
    let (first, second) = (byte(bytes, 0), byte(bytes, 1));
    Colorimetry {
        xvycc_601: bit(first, 0),
        xvycc_709: bit(first, 1),
        sycc_601: bit(first, 2),
        opycc_601: bit(first, 3),
        oprgb: bit(first, 4),
        bt2020_cycc: bit(first, 5),
        bt2020_ycc: bit(first, 6),
        bt2020_rgb: bit(first, 7),
        dci_p3: bit(second, 7),
        ictcp: bit(second, 6),
    }
}

fn hdr(bytes: &[u8]) -> HdrStatic {
    let functions = byte(bytes, 0);
    // 50 cd/m² times two to the power of a 32nd (7.5.13); 0 is not told.
    let luminance = |value: u8| (value > 0).then(|| 50.0 * (f64::from(value) / 32.0).exp2());
    let max_luminance = luminance(byte(bytes, 2));
    let least = bytes.get(4).copied();
    HdrStatic {
        sdr: bit(functions, 0),
        hdr_gamma: bit(functions, 1),
        pq: bit(functions, 2),
        hlg: bit(functions, 3),
        type1: bit(byte(bytes, 1), 0),
        max_luminance,
        max_frame_average: luminance(byte(bytes, 3)),
        min_luminance: max_luminance
            .zip(least)
            .map(|(most, value)| most * (f64::from(value) / 255.0).powi(2) / 100.0),
    }
}
