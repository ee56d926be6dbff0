//! Who a monitor is and what it can do, from its EDID: safe Rust over bytes that nobody vouches for.
//!
//! VESA Enhanced EDID 1.4 (base block), CTA-861-H (extension and its data blocks), HDMI 1.4b and 2.1 (vendor blocks), VESA
//! DisplayID 1.3 and 2.0. What is wrong with the bytes is said in [`Edid::problems`]; what can be read is read all the same.

mod base;
mod bytes;
mod cta;
mod displayid;
pub mod report;
mod timing;

use serde::Serialize;

pub use base::{Analog, Chromaticity, Digital, Interface, RangeLimits, Size, Video};
pub use cta::{Colorimetry, Hdmi, HdmiForum, HdrStatic, VideoCode};
pub use displayid::{NativePanel, Product, Tile};
pub use timing::{Source, Timing};

/// A block's size in bytes (E-EDID 1.4, 2.2.1).
pub const BLOCK: usize = 128;

/// The most blocks that are read: E-EDID's extension count has a byte.
const BLOCKS: usize = 256;

/// An EDID, decoded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Edid {
    /// Three letters, registered by UEFI's PNP registry.
    pub make: String,
    /// The vendor's number for the model.
    pub product: u16,
    /// The model's name, where the EDID has one.
    pub name: Option<String>,
    /// The serial number as text.
    pub serial: Option<String>,
    /// The serial number as a number; 0 where it is not used.
    pub serial_number: u32,
    /// Other text of the vendor's.
    pub texts: Vec<String>,
    /// Week of manufacture from 1 to 54; none where only the year is told.
    pub week: Option<u8>,
    /// Year of manufacture, or of the model.
    pub year: u16,
    /// Version and revision of the base block.
    pub version: (u8, u8),
    pub video: Video,
    pub size: Size,
    /// The transfer characteristic's exponent, from 1.00 to 3.54.
    pub gamma: Option<f64>,
    pub chromaticity: Chromaticity,
    /// Its default colour space is sRGB.
    pub srgb: bool,
    pub range: Option<RangeLimits>,
    /// Detailed timings of all blocks, in their order.
    pub timings: Vec<Timing>,
    /// Modes by number (CTA-861, table 3), in the monitor's order.
    pub codes: Vec<VideoCode>,
    pub hdr: Option<HdrStatic>,
    pub colorimetry: Colorimetry,
    pub hdmi: Option<Hdmi>,
    pub hdmi_forum: Option<HdmiForum>,
    pub tile: Option<Tile>,
    /// Who it is by its DisplayID.
    pub product_id: Option<Product>,
    pub native: Option<NativePanel>,
    /// Blocks beside the base block, by what they are.
    pub extensions: Vec<String>,
    /// What is wrong with the bytes, in words.
    pub problems: Vec<String>,
}

/// No EDID at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotEdid {
    #[error("{0} bytes are too few to name a monitor; an EDID has {BLOCK} or more")]
    TooShort(usize),
    #[error("all bytes are zero: the monitor answered nothing")]
    Empty,
    #[error("it does not begin as an EDID does (00 ff ff ff ff ff ff 00)")]
    Header,
}

impl Edid {
    /// Decodes what a monitor sent.
    ///
    /// # Errors
    /// Where the bytes name no monitor. Anything less is told in [`Edid::problems`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NotEdid> {
        if bytes.iter().all(|byte| *byte == 0) && !bytes.is_empty() {
            return Err(NotEdid::Empty);
        }
        let mut problems = Vec::new();
        let mut first = [0; BLOCK];
        let there = bytes.len().min(BLOCK);
        if there < base::IDENTITY {
            return Err(NotEdid::TooShort(bytes.len()));
        }
        first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        if there < BLOCK {
            problems.push(format!("the base block is cut off after {there} bytes"));
        }
        let mut edid = base::parse(&first, problems)?;
        let extensions: Vec<&[u8]> = bytes.chunks(BLOCK).skip(1).take(BLOCKS - 1).collect();
        let declared = usize::from(first.get(126).copied().unwrap_or(0));
        if there == BLOCK && extensions.len() != declared && !overrides_count(&extensions) {
            edid.problems.push(format!(
                "the base block announces {declared} extension blocks, and there are {}",
                extensions.len()
            ));
        }
        for (index, block) in extensions.iter().enumerate() {
            edid.extend(index + 1, block);
        }
        Ok(edid)
    }

    fn extend(&mut self, number: usize, block: &[u8]) {
        if block.len() < BLOCK {
            self.problems.push(format!("block {number} is cut off after {} bytes", block.len()));
        } else if !checks(block) {
            self.problems.push(format!("block {number}: the checksum is wrong"));
        }
        let tag = block.first().copied().unwrap_or(0);
        let name = match tag {
            0x02 => "CTA-861",
            0x10 => "VTB-EXT",
            0x40 => "DI-EXT",
            0x50 => "LS-EXT",
            0x70 => "DisplayID",
            0xf0 => "block map",
            0xff => "of the vendor",
            _ => "unknown",
        };
        self.extensions.push(match name {
            "unknown" => format!("unknown (0x{tag:02x})"),
            known => known.to_owned(),
        });
        match tag {
            0x02 => cta::extend(self, number, block),
            0x70 => displayid::extend(self, number, block),
            _ => {}
        }
    }

    /// The model as a person knows it: its name, or the vendor's number.
    pub fn model(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("0x{:04X}", self.product))
    }

    /// What tells it from others of its model: the text, or the number where that is used.
    pub fn any_serial(&self) -> Option<String> {
        let number = (self.serial_number != 0).then(|| format!("0x{:08X}", self.serial_number));
        self.serial.clone().filter(|text| !text.is_empty()).or(number)
    }

    /// The mode that the monitor wants: the one that its DisplayID marks, or its first detailed timing.
    pub fn preferred(&self) -> Option<&Timing> {
        let marked = self.timings.iter().find(|timing| timing.preferred);
        marked.or_else(|| self.timings.iter().find(|timing| timing.source == Source::Base))
    }

    /// Millimetres of the picture, where the monitor has a fixed size.
    pub fn millimetres(&self) -> Option<(u32, u32)> {
        let detailed = self.timings.iter().filter(|timing| timing.source == Source::Base);
        let mut detailed = detailed.filter_map(|timing| timing.millimetres);
        let rough = match self.size {
            Size::Centimetres { width, height } => Some((u32::from(width) * 10, u32::from(height) * 10)),
            _ => None,
        };
        // Some monitors give the aspect ratio as if it were a size: 16 by 9 is no monitor's.
        let exact = detailed.next().filter(|size| *size != (16, 9) && *size != (160, 90));
        match (exact, rough) {
            (Some((width, height)), Some((about, _))) if width.abs_diff(about) <= about / 10 + 10 => {
                Some((width, height))
            }
            (Some(exact), None) => Some(exact),
            (_, rough) => rough,
        }
    }
}

/// Whether an HDMI Forum EDID Extension Override Data Block says how many blocks there are (HDMI 2.1, 10.3.6).
fn overrides_count(extensions: &[&[u8]]) -> bool {
    extensions.first().is_some_and(|block| block.get(4..6) == Some(&[0xe2, 0x78]))
}

/// Whether a block's bytes add up to nothing (E-EDID 1.4, 3.11).
fn checks(block: &[u8]) -> bool {
    block.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

#[cfg(test)]
mod tests;
