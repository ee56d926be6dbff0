//! The base block (E-EDID 1.4, section 3).

use serde::Serialize;

use super::bytes::{bit, byte, le16, le32, text};
use super::timing::{detailed, Source};
use super::{checksum_is_valid, Colorimetry, Edid, ParseError};

/// Bytes of the base block that identify the monitor; with fewer, nothing is decoded.
pub const MIN_LENGTH: usize = 18;

const HEADER: [u8; 8] = [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0];

/// Bytes of the header that must be right.
const MIN_HEADER_BYTES: usize = 6;

/// The video input (3.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Video {
    /// An analog signal, as over VGA.
    Analog(Analog),
    /// A digital signal.
    Digital(Digital),
}

/// The sync types of an analog input (3.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Analog {
    /// Separate horizontal and vertical sync.
    pub separate_sync: bool,
    /// Composite sync on the horizontal line.
    pub composite_sync: bool,
    /// Composite sync on green.
    pub sync_on_green: bool,
}

/// A digital input (3.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Digital {
    /// Bits per primary color: 6, 8, 10, 12, 14 or 16. Since EDID 1.4.
    pub depth: Option<u8>,
    /// The interface standard. Since EDID 1.4.
    pub interface: Option<Interface>,
    /// Whether the monitor accepts YCbCr 4:4:4 in addition to RGB.
    pub ycbcr444: bool,
    /// Whether the monitor accepts YCbCr 4:2:2 in addition to RGB.
    pub ycbcr422: bool,
}

/// A digital interface standard (3.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// DVI.
    Dvi,
    /// HDMI-a.
    HdmiA,
    /// HDMI-b.
    HdmiB,
    /// MDDI.
    Mddi,
    /// DisplayPort.
    DisplayPort,
}

/// The size of the image (3.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// Width and height, rounded to centimeters.
    Centimeters {
        /// Horizontal size in cm.
        width: u8,
        /// Vertical size in cm.
        height: u8,
    },
    /// Aspect ratio: width divided by height.
    Aspect(f64),
    /// Variable, as of a projector, or not given.
    Variable,
}

/// Chromaticities of the primaries and of white: CIE 1931 x and y (3.7).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Chromaticity {
    /// The red primary.
    pub red: (f64, f64),
    /// The green primary.
    pub green: (f64, f64),
    /// The blue primary.
    pub blue: (f64, f64),
    /// The default white point.
    pub white: (f64, f64),
}

/// The display range limits (3.10.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RangeLimits {
    /// Lowest and highest vertical rate in Hz.
    pub vertical: (u16, u16),
    /// Lowest and highest horizontal rate in kHz.
    pub horizontal: (u16, u16),
    /// Highest pixel clock in MHz.
    pub clock: u16,
}

/// Decodes the base block. `problems` is not empty if the block is truncated.
pub fn parse(block: &[u8; 128], mut problems: Vec<String>) -> Result<Edid, ParseError> {
    let complete = problems.is_empty();
    // Some monitors lose the first byte in transfer.
    if block.get(..8) != Some(&HEADER) {
        let right = HEADER.iter().zip(block).filter(|(expected, found)| expected == found).count();
        if right < MIN_HEADER_BYTES {
            return Err(ParseError::Header);
        }
        problems.push("the header is damaged".into());
    }
    if complete && !checksum_is_valid(block) {
        problems.push("the base block's checksum is wrong".into());
    }
    let version = (byte(block, 18), byte(block, 19));
    let letters = u16::from_be_bytes([byte(block, 8), byte(block, 9)]);
    let week = byte(block, 16);
    let features = byte(block, 24);
    let mut edid = Edid {
        make: make(letters, &mut problems),
        product: le16(block, 10),
        name: None,
        serial: None,
        serial_number: le32(block, 12),
        texts: Vec::new(),
        week: (1..=54).contains(&week).then_some(week),
        year: 1990 + u16::from(byte(block, 17)),
        version,
        video: video(byte(block, 20), features, version),
        size: size(byte(block, 21), byte(block, 22), version),
        gamma: match byte(block, 23) {
            0xff => None,
            value => Some((f64::from(value) + 100.0) / 100.0),
        },
        chromaticity: chromaticity(block),
        srgb: bit(features, 2),
        range: None,
        timings: Vec::new(),
        codes: Vec::new(),
        hdr: None,
        colorimetry: Colorimetry::default(),
        hdmi: None,
        hdmi_forum: None,
        tile: None,
        product_id: None,
        native: None,
        extensions: Vec::new(),
        problems,
    };
    if version.0 != 1 {
        edid.problems.push(format!("EDID version {}.{} is unknown", version.0, version.1));
    }
    let mut displays = DisplayDescriptors::default();
    for bytes in block.get(54..126).unwrap_or_default().chunks(18) {
        if le16(bytes, 0) == 0 {
            displays.add(bytes);
            continue;
        }
        match detailed(bytes, Source::Base) {
            Some(timing) => edid.timings.push(timing),
            None => edid.problems.push("a detailed timing has no pixels".into()),
        }
    }
    displays.complete(&mut edid);
    Ok(edid)
}

/// Decodes the manufacturer: three letters of five bits each (3.4.1).
fn make(letters: u16, problems: &mut Vec<String>) -> String {
    let letter = |shift: u32| {
        let number = (letters >> shift & 0x1f) as u8;
        if (1..=26).contains(&number) {
            Some(char::from(b'A' + number - 1))
        } else {
            None
        }
    };
    let make: Option<String> = [10, 5, 0].into_iter().map(letter).collect();
    make.unwrap_or_else(|| {
        problems.push(format!("manufacturer 0x{letters:04x} has invalid letters"));
        // As other decoders print it: with the ASCII characters around the alphabet.
        [10, 5, 0].map(|shift| char::from(b'@' + (letters >> shift & 0x1f) as u8)).iter().collect()
    })
}

fn video(input: u8, features: u8, version: (u8, u8)) -> Video {
    if !bit(input, 7) {
        return Video::Analog(Analog {
            separate_sync: bit(input, 3),
            composite_sync: bit(input, 2),
            sync_on_green: bit(input, 1),
        });
    }
    let since_1_4 = version >= (1, 4);
    let depth = input >> 4 & 7;
    Video::Digital(Digital {
        depth: (since_1_4 && (1..=6).contains(&depth)).then_some(4 + 2 * depth),
        interface: match input & 0xf {
            _ if !since_1_4 => None,
            1 => Some(Interface::Dvi),
            2 => Some(Interface::HdmiA),
            3 => Some(Interface::HdmiB),
            4 => Some(Interface::Mddi),
            5 => Some(Interface::DisplayPort),
            _ => None,
        },
        ycbcr444: since_1_4 && bit(features, 3),
        ycbcr422: since_1_4 && bit(features, 4),
    })
}

fn size(width: u8, height: u8, version: (u8, u8)) -> Size {
    match (width, height) {
        (0, 0) => Size::Variable,
        // Before 1.4, one zero meant the same as two.
        (0, _) | (_, 0) if version < (1, 4) => Size::Variable,
        (0, portrait) => Size::Aspect(100.0 / (f64::from(portrait) + 99.0)),
        (landscape, 0) => Size::Aspect((f64::from(landscape) + 99.0) / 100.0),
        (width, height) => Size::Centimeters { width, height },
    }
}

fn chromaticity(block: &[u8]) -> Chromaticity {
    let value = |high: usize, low: usize, shift: u32| {
        let bits = u16::from(byte(block, high)) << 2 | u16::from(byte(block, low) >> shift & 3);
        f64::from(bits) / 1024.0
    };
    Chromaticity {
        red: (value(27, 25, 6), value(28, 25, 4)),
        green: (value(29, 25, 2), value(30, 25, 0)),
        blue: (value(31, 26, 6), value(32, 26, 4)),
        white: (value(33, 26, 2), value(34, 26, 0)),
    }
}

/// The display descriptors of one block (3.10.3): name, serial number, text and range limits.
///
/// Monitors have them in the base block, or, where its four descriptors are taken, among the
/// detailed timings of a CTA-861 extension.
#[derive(Debug, Default)]
pub struct DisplayDescriptors {
    name: Option<String>,
    serial: Option<String>,
    texts: Vec<String>,
    range: Option<RangeLimits>,
}

impl DisplayDescriptors {
    /// Decodes a descriptor of 18 bytes that is no detailed timing.
    pub fn add(&mut self, bytes: &[u8]) {
        let words = || text(bytes.get(5..18).unwrap_or_default());
        match byte(bytes, 3) {
            0xff => self.serial = self.serial.take().or_else(|| Some(words())),
            0xfe => self.texts.push(words()),
            // Long names continue in a second descriptor.
            0xfc => self.name = Some(self.name.take().unwrap_or_default() + &words()),
            0xfd => self.range = range(bytes).or(self.range),
            _ => {}
        }
    }

    /// Adds to an EDID what the blocks before do not have.
    pub fn complete(self, edid: &mut Edid) {
        let is_empty = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
        if is_empty(&edid.name) {
            edid.name = self.name.or(edid.name.take());
        }
        if is_empty(&edid.serial) {
            edid.serial = self.serial.or(edid.serial.take());
        }
        edid.texts.extend(self.texts);
        edid.range = edid.range.or(self.range);
    }
}

fn range(bytes: &[u8]) -> Option<RangeLimits> {
    // Since 1.4, a flag adds 255 to each limit.
    let offsets = byte(bytes, 4);
    let raised = |offset: usize, number: u32| {
        u16::from(byte(bytes, offset)) + if bit(offsets, number) { 255 } else { 0 }
    };
    let limits = RangeLimits {
        vertical: (raised(5, 0), raised(6, 1)),
        horizontal: (raised(7, 2), raised(8, 3)),
        clock: u16::from(byte(bytes, 9)) * 10,
    };
    (limits.vertical.1 > 0).then_some(limits)
}
