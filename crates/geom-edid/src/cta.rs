//! The CTA-861 extension and its data blocks (CTA-861-H, section 7).

use serde::Serialize;

use super::base::DisplayDescriptors;
use super::bytes::{bit, byte, le16};
use super::timing::{detailed, Source};
use super::Edid;

/// A video format by its Video Identification Code (CTA-861-H, table 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct VideoCode {
    /// The Video Identification Code (VIC).
    pub code: u8,
    /// Whether the format is native to the panel.
    pub native: bool,
    /// Whether the format is supported in YCbCr 4:2:0 only.
    pub only_420: bool,
}

/// The HDR Static Metadata Data Block (7.5.13).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HdrStatic {
    /// EOTF: traditional gamma, SDR luminance range.
    pub sdr: bool,
    /// EOTF: traditional gamma, HDR luminance range.
    pub hdr_gamma: bool,
    /// EOTF: SMPTE ST 2084 (PQ).
    pub pq: bool,
    /// EOTF: ITU-R BT.2100 hybrid log-gamma.
    pub hlg: bool,
    /// Whether static metadata type 1 is supported.
    pub type1: bool,
    /// Desired content maximum luminance in cd/m².
    pub max_luminance: Option<f64>,
    /// Desired content maximum frame-average luminance in cd/m².
    pub max_frame_average: Option<f64>,
    /// Desired content minimum luminance in cd/m².
    pub min_luminance: Option<f64>,
}

/// The Colorimetry Data Block: supported colorimetry standards (7.5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Colorimetry {
    /// xvYCC601 (IEC 61966-2-4).
    pub xvycc_601: bool,
    /// xvYCC709 (IEC 61966-2-4).
    pub xvycc_709: bool,
    /// sYCC601 (IEC 61966-2-1/Amendment 1).
    pub sycc_601: bool,
    /// opYCC601 (IEC 61966-2-5).
    pub opycc_601: bool,
    /// opRGB (IEC 61966-2-5).
    pub oprgb: bool,
    /// BT.2020 constant luminance YcCbcCrc.
    pub bt2020_cycc: bool,
    /// BT.2020 YCbCr.
    pub bt2020_ycc: bool,
    /// BT.2020 RGB.
    pub bt2020_rgb: bool,
    /// DCI-P3 (SMPTE ST 2113).
    pub dci_p3: bool,
    /// ICtCp (ITU-R BT.2100).
    pub ictcp: bool,
}

/// The HDMI vendor-specific data block (HDMI 1.4b, 8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Hdmi {
    /// The CEC physical address: four numbers from 0 to 15.
    pub address: [u8; 4],
    /// Whether 10 bits per color are supported.
    pub depth_10: bool,
    /// Whether 12 bits per color are supported.
    pub depth_12: bool,
    /// Whether 16 bits per color are supported.
    pub depth_16: bool,
    /// Maximum TMDS clock in MHz; `None` if not given.
    pub max_tmds: Option<u16>,
}

/// The HDMI Forum vendor-specific data block (HDMI 2.1, 10.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HdmiForum {
    /// Version of the block.
    pub version: u8,
    /// Maximum TMDS character rate in MHz; `None` if it is at most 340.
    pub max_tmds: Option<u16>,
    /// Whether the Status and Control Data Channel is there.
    pub scdc: bool,
    /// Maximum fixed rate link, from 0 (none) to 6 (12 Gb/s on 4 lanes).
    pub frl: u8,
    /// Whether 10 bits per color are supported in YCbCr 4:2:0.
    pub depth_10_420: bool,
    /// Whether 12 bits per color are supported in YCbCr 4:2:0.
    pub depth_12_420: bool,
    /// Whether 16 bits per color are supported in YCbCr 4:2:0.
    pub depth_16_420: bool,
    /// Whether Auto Low-Latency Mode is supported.
    pub low_latency: bool,
    /// Lowest and highest rate of variable refresh in Hz.
    pub vrr: Option<(u16, u16)>,
}

const HDMI_OUI: [u8; 3] = [0x03, 0x0c, 0x00];
const HDMI_FORUM_OUI: [u8; 3] = [0xd8, 0x5d, 0xc4];

/// Decodes an extension block.
pub fn extend(edid: &mut Edid, number: usize, block: &[u8]) {
    // Offset of the detailed timings. The data blocks come before it, since revision 3.
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
        let descriptors = block.get(timings..127.min(block.len())).unwrap_or_default();
        let mut displays = DisplayDescriptors::default();
        for bytes in descriptors.chunks_exact(18) {
            match detailed(bytes, Source::Cta) {
                Some(timing) => edid.timings.push(timing),
                // A display descriptor, or padding, whose bytes are 0.
                None if le16(bytes, 0) == 0 => displays.add(bytes),
                None => {}
            }
        }
        displays.complete(edid);
    }
}

/// Decodes a collection of data blocks; DisplayID may contain one as well.
pub fn data_blocks(edid: &mut Edid, number: usize, mut rest: &[u8]) {
    while let Some((head, after)) = rest.split_first() {
        let length = usize::from(head & 0x1f);
        if after.len() < length {
            let found = after.len();
            edid.problems.push(format!("block {number}: a data block of {length} bytes has {found}"));
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

/// Decodes a Short Video Descriptor (7.5.1).
fn video_code(value: u8) -> Option<VideoCode> {
    let (code, native) = match value {
        0 | 128 | 254 | 255 => return None,
        129..=192 => (value & 0x7f, true),
        code => (code, false),
    };
    Some(VideoCode { code, native, only_420: false })
}

fn vendor(edid: &mut Edid, payload: &[u8]) {
    if payload.get(..3) == Some(&HDMI_OUI) && edid.hdmi.is_none() {
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
    } else if payload.get(..3) == Some(&HDMI_FORUM_OUI) {
        edid.hdmi_forum = Some(forum(payload.get(3..).unwrap_or_default()));
    }
}

/// Converts from units of 5 MHz; 0 means not given.
fn megahertz(value: u8) -> Option<u16> {
    (value > 0).then_some(u16::from(value) * 5)
}

/// Decodes the Sink Capability Data Structure (HDMI 2.1, table 10-6).
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

/// Decodes a block whose extended tag is in its first byte.
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
        // HDMI Forum Sink Capability Data Block: two reserved bytes, then as in the vendor block.
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
    let eotfs = byte(bytes, 0);
    // 50 cd/m² × 2^(value / 32) (7.5.13); 0 means not given.
    let luminance = |value: u8| (value > 0).then(|| 50.0 * (f64::from(value) / 32.0).exp2());
    let max_luminance = luminance(byte(bytes, 2));
    let min_value = bytes.get(4).copied();
    HdrStatic {
        sdr: bit(eotfs, 0),
        hdr_gamma: bit(eotfs, 1),
        pq: bit(eotfs, 2),
        hlg: bit(eotfs, 3),
        type1: bit(byte(bytes, 1), 0),
        max_luminance,
        max_frame_average: luminance(byte(bytes, 3)),
        min_luminance: max_luminance
            .zip(min_value)
            .map(|(max, value)| max * (f64::from(value) / 255.0).powi(2) / 100.0),
    }
}
