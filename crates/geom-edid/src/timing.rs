//! Detailed timings.

use serde::Serialize;

use super::bytes::{bit, byte, le16};

/// The block that a timing comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The base block.
    Base,
    /// A CTA-861 extension.
    Cta,
    /// A DisplayID extension.
    DisplayId,
}

/// A detailed timing: one video mode with all its parameters, in pixels and lines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
    /// The block that it comes from.
    pub source: Source,
    /// Pixel clock in kHz.
    pub clock_khz: u32,
    /// Active pixels of a line.
    pub width: u32,
    /// Horizontal front porch: pixels from the end of the active ones to the sync pulse.
    pub h_front: u32,
    /// Horizontal sync pulse width in pixels.
    pub h_sync: u32,
    /// Horizontal blanking in pixels, sync pulse and porches included.
    pub h_blank: u32,
    /// Active lines of a frame; of an interlaced mode, those of both fields.
    pub height: u32,
    /// Vertical front porch in lines.
    pub v_front: u32,
    /// Vertical sync pulse width in lines.
    pub v_sync: u32,
    /// Vertical blanking in lines, sync pulse and porches included; of an interlaced mode, per
    /// field.
    pub v_blank: u32,
    /// Whether the mode is interlaced.
    pub interlaced: bool,
    /// Whether the horizontal sync pulse is positive.
    pub h_positive: bool,
    /// Whether the vertical sync pulse is positive.
    pub v_positive: bool,
    /// Width and height of the image in millimeters.
    pub millimeters: Option<(u32, u32)>,
    /// Whether DisplayID marks this timing as the preferred one.
    pub preferred: bool,
}

impl Timing {
    /// Returns the vertical refresh rate in Hz: frames per second, or fields of an interlaced mode.
    pub fn refresh(&self) -> f64 {
        let lines = match self.interlaced {
            // Two fields of half the lines, each with half a line more.
            true => f64::from(self.height) / 2.0 + f64::from(self.v_blank) + 0.5,
            false => f64::from(self.height + self.v_blank),
        };
        let total = f64::from(self.width + self.h_blank) * lines;
        if total > 0.0 {
            f64::from(self.clock_khz) * 1000.0 / total
        } else {
            0.0
        }
    }
}

/// Decodes a detailed timing descriptor of 18 bytes (E-EDID 1.4, 3.10.2).
///
/// Returns `None` for a display descriptor and for a timing without pixels.
pub fn detailed(bytes: &[u8], source: Source) -> Option<Timing> {
    let clock = u32::from(le16(bytes, 0)) * 10;
    let at = |offset: usize| u32::from(byte(bytes, offset));
    // Eight low bits in one byte, four high ones in half of another.
    let split = |low: usize, high: usize, shift: u32| at(low) | (at(high) >> shift & 0xf) << 8;
    let (width, height) = (split(2, 4, 4), split(5, 7, 4));
    if clock == 0 || width == 0 || height == 0 {
        return None;
    }
    let flags = byte(bytes, 17);
    let interlaced = bit(flags, 7);
    let separate_sync = flags & 0x18 == 0x18;
    let digital_sync = bit(flags, 4);
    let size = (split(12, 14, 4), split(13, 14, 0));
    Some(Timing {
        source,
        clock_khz: clock,
        width,
        h_blank: split(3, 4, 0),
        h_front: at(8) | (at(11) >> 6 & 3) << 8,
        h_sync: at(9) | (at(11) >> 4 & 3) << 8,
        height: if interlaced { height * 2 } else { height },
        v_blank: split(6, 7, 0),
        v_front: at(10) >> 4 | (at(11) >> 2 & 3) << 4,
        v_sync: at(10) & 0xf | (at(11) & 3) << 4,
        interlaced,
        h_positive: digital_sync && bit(flags, 1),
        v_positive: separate_sync && bit(flags, 2),
        millimeters: (size.0 > 0 && size.1 > 0).then_some(size),
        preferred: false,
    })
}

/// Decodes a type I or type VII timing of 20 bytes (DisplayID 1.3, 4.4.1; 2.0, 4.3).
///
/// `clock_unit` is the unit of the pixel clock in kHz.
pub fn displayid(bytes: &[u8], clock_unit: u32) -> Option<Timing> {
    if bytes.len() < 20 {
        return None;
    }
    let clock = u32::from(le16(bytes, 0)) | u32::from(byte(bytes, 2)) << 16;
    let options = byte(bytes, 3);
    let field = |offset: usize| u32::from(le16(bytes, offset)) + 1;
    // The highest bit of a front porch is the polarity of the sync pulse.
    let front = |offset: usize| u32::from(le16(bytes, offset) & 0x7fff) + 1;
    let interlaced = bit(options, 4);
    let height = field(12);
    Some(Timing {
        source: Source::DisplayId,
        clock_khz: (clock + 1).saturating_mul(clock_unit),
        width: field(4),
        h_blank: field(6),
        h_front: front(8),
        h_sync: field(10),
        height: if interlaced { height * 2 } else { height },
        v_blank: field(14),
        v_front: front(16),
        v_sync: field(18),
        interlaced,
        h_positive: bit(byte(bytes, 9), 7),
        v_positive: bit(byte(bytes, 17), 7),
        millimeters: None,
        preferred: bit(options, 7),
    })
}
