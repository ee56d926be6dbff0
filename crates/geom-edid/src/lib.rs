//! Decoder for EDID, the data in which a monitor describes itself.
//!
//! Supports VESA Enhanced EDID 1.4 (base block), CTA-861-H (extension and its data blocks), HDMI
//! 1.4b and 2.1 (vendor-specific data blocks), and VESA DisplayID 1.3 and 2.0.
//!
//! Monitors send damaged and truncated EDIDs, and anything may be plugged in. So the decoder is
//! safe Rust, never panics, and reads whatever can be read: [`Edid::problems`] lists what is wrong
//! with the bytes. Only bytes that identify no monitor at all are refused, with [`ParseError`].
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bytes = std::fs::read("/sys/class/drm/card0-HDMI-A-1/edid")?;
//! let edid = geom_edid::Edid::parse(&bytes)?;
//! println!("{} {}", edid.make, edid.model());
//! print!("{}", geom_edid::report::describe(&edid));
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

mod base;
mod bytes;
mod cta;
mod displayid;
pub mod report;
mod timing;
mod video_codes;

use serde::Serialize;

pub use base::{Analog, Chromaticity, Digital, Interface, RangeLimits, Size, Video};
pub use cta::{Colorimetry, Hdmi, HdmiForum, HdrStatic, VideoCode};
pub use displayid::{NativePanel, Product, Tile};
pub use timing::{Source, Timing};
pub use video_codes::timing as timing_of_code;

/// Size of a block in bytes (E-EDID 1.4, 2.2.1).
pub const BLOCK: usize = 128;

/// Maximum number of blocks that are decoded: E-EDID counts extensions in one byte.
const MAX_BLOCKS: usize = 256;

/// A decoded EDID.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Edid {
    /// Manufacturer: three letters of the UEFI PNP registry.
    pub make: String,
    /// Product code: the manufacturer's number for the model.
    pub product: u16,
    /// Name of the model, from a display descriptor.
    pub name: Option<String>,
    /// Serial number as text, from a display descriptor.
    pub serial: Option<String>,
    /// Serial number as a number; 0 if unused.
    pub serial_number: u32,
    /// Other text of the manufacturer.
    pub texts: Vec<String>,
    /// Week of manufacture, from 1 to 54; `None` if only the year is given.
    pub week: Option<u8>,
    /// Year of manufacture, or of the model.
    pub year: u16,
    /// Version and revision of the base block.
    pub version: (u8, u8),
    /// The video input.
    pub video: Video,
    /// The size of the image, rounded; see [`Edid::millimeters`].
    pub size: Size,
    /// Exponent of the transfer characteristic, from 1.00 to 3.54.
    pub gamma: Option<f64>,
    /// Chromaticities of the primaries and of white.
    pub chromaticity: Chromaticity,
    /// Whether the default color space is sRGB.
    pub srgb: bool,
    /// The display range limits.
    pub range: Option<RangeLimits>,
    /// Detailed timings of all blocks, in their order.
    pub timings: Vec<Timing>,
    /// Video formats by Video Identification Code, in the monitor's order.
    pub codes: Vec<VideoCode>,
    /// HDR support.
    pub hdr: Option<HdrStatic>,
    /// Supported colorimetry standards.
    pub colorimetry: Colorimetry,
    /// The HDMI vendor-specific data block.
    pub hdmi: Option<Hdmi>,
    /// The HDMI Forum vendor-specific data block.
    pub hdmi_forum: Option<HdmiForum>,
    /// The tile that this connector drives, if the monitor is tiled.
    pub tile: Option<Tile>,
    /// Product identification in the DisplayID extension.
    pub product_id: Option<Product>,
    /// Display parameters in the DisplayID extension.
    pub native: Option<NativePanel>,
    /// Names of the extension blocks, in their order.
    pub extensions: Vec<String>,
    /// What is wrong with the bytes, as text.
    pub problems: Vec<String>,
}

/// Why bytes are not an EDID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Fewer bytes than identify a monitor.
    #[error("{0} bytes are too few to identify a monitor; an EDID has at least {BLOCK}")]
    TooShort(usize),
    /// All bytes are zero.
    #[error("all bytes are zero: the monitor did not answer")]
    Empty,
    /// The header is missing.
    #[error("the EDID header (00 ff ff ff ff ff ff 00) is missing")]
    Header,
}

impl Edid {
    /// Decodes the bytes that a monitor sent.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes identify no monitor. Everything else that is wrong is listed
    /// in [`Edid::problems`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.iter().all(|byte| *byte == 0) && !bytes.is_empty() {
            return Err(ParseError::Empty);
        }
        let mut problems = Vec::new();
        let mut first = [0; BLOCK];
        let length = bytes.len().min(BLOCK);
        if length < base::MIN_LENGTH {
            return Err(ParseError::TooShort(bytes.len()));
        }
        first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        if length < BLOCK {
            problems.push(format!("the base block is truncated after {length} bytes"));
        }
        let mut edid = base::parse(&first, problems)?;
        let extensions: Vec<&[u8]> = bytes.chunks(BLOCK).skip(1).take(MAX_BLOCKS - 1).collect();
        let declared = usize::from(first.get(126).copied().unwrap_or(0));
        if length == BLOCK && extensions.len() != declared && !overrides_count(&extensions) {
            edid.problems.push(format!(
                "the base block declares {declared} extension blocks, but there are {}",
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
            self.problems.push(format!("block {number} is truncated after {} bytes", block.len()));
        } else if !checksum_is_valid(block) {
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
            0xff => "vendor-specific",
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

    /// Returns the name of the model, or the product code as `0x1234` if it has none.
    pub fn model(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("0x{:04X}", self.product))
    }

    /// Returns the serial number: the text, or else the number if it is used.
    pub fn any_serial(&self) -> Option<String> {
        let number = (self.serial_number != 0).then(|| format!("0x{:08X}", self.serial_number));
        self.serial.clone().filter(|text| !text.is_empty()).or(number)
    }

    /// Returns the preferred mode: the timing that DisplayID marks, or else the first detailed
    /// timing of the base block.
    pub fn preferred(&self) -> Option<&Timing> {
        let marked = self.timings.iter().find(|timing| timing.preferred);
        marked.or_else(|| self.timings.iter().find(|timing| timing.source == Source::Base))
    }

    /// Returns the lowest refresh rate in Hz: that of HDMI's variable refresh rate, or else of the
    /// display range limits. 0 counts as not given.
    pub fn min_refresh(&self) -> Option<u16> {
        let hdmi = self.hdmi_forum.as_ref().and_then(|forum| forum.vrr).map(|(lowest, _)| lowest);
        hdmi.or(self.range.map(|range| range.vertical.0)).filter(|lowest| *lowest > 0)
    }

    /// Returns the width and height of the image in millimeters, if the monitor has a fixed size.
    pub fn millimeters(&self) -> Option<(u32, u32)> {
        let detailed = self.timings.iter().filter(|timing| timing.source == Source::Base);
        let mut detailed = detailed.filter_map(|timing| timing.millimeters);
        let rough = match self.size {
            Size::Centimeters { width, height } => Some((u32::from(width) * 10, u32::from(height) * 10)),
            _ => None,
        };
        // Some monitors give the aspect ratio in place of the size; no monitor measures 16 mm by 9
        // mm.
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

/// Returns whether an HDMI Forum EDID Extension Override Data Block overrides the number of blocks
/// (HDMI 2.1, 10.3.6).
fn overrides_count(extensions: &[&[u8]]) -> bool {
    extensions.first().is_some_and(|block| block.get(4..6) == Some(&[0xe2, 0x78]))
}

/// Returns whether the bytes of a block add up to 0 modulo 256 (E-EDID 1.4, 3.11).
fn checksum_is_valid(block: &[u8]) -> bool {
    block.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

#[cfg(test)]
mod tests;
