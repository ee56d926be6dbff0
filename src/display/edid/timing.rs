//! Detailed timings.

use serde::Serialize;

use super::bytes::{bit, byte, le16};

/// The block that a timing comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Base,
    Cta,
    DisplayId,
}

/// One mode in all its numbers: pixels across, lines down.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
    pub source: Source,
    pub clock_khz: u32,
    /// Active pixels, then from their end: to the sync pulse, its length, and the whole blanking.
    pub width: u32,
    pub h_front: u32,
    pub h_sync: u32,
    pub h_blank: u32,
    /// Active lines of a frame; of an interlaced one, those of both fields.
    pub height: u32,
    pub v_front: u32,
    pub v_sync: u32,
    pub v_blank: u32,
    pub interlaced: bool,
    pub h_positive: bool,
    pub v_positive: bool,
    /// Millimetres of the picture.
    pub millimetres: Option<(u32, u32)>,
    /// Marked as the one that the monitor wants.
    pub preferred: bool,
}

impl Timing {
    /// Pictures a second; of an interlaced mode fields.
    pub fn refresh(&self) -> f64 {
        let lines = match self.interlaced {
            // Two fields of half the lines, and half a line more in each.
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

/// A detailed timing descriptor of 18 bytes (E-EDID 1.4, 3.10.2); none where it is a display descriptor or no timing.
pub fn detailed(bytes: &[u8], source: Source) -> Option<Timing> {
    let clock = u32::from(le16(bytes, 0)) * 10;
    let at = |place: usize| u32::from(byte(bytes, place));
    // Eight low bits in one byte, the high ones in half of another.
    let long = |low: usize, high: usize, shift: u32| at(low) | (at(high) >> shift & 0xf) << 8;
    let (width, height) = (long(2, 4, 4), long(5, 7, 4));
    if clock == 0 || width == 0 || height == 0 {
        return None;
    }
    let flags = byte(bytes, 17);
    let interlaced = bit(flags, 7);
    let separate = flags & 0x18 == 0x18;
    let digital = bit(flags, 4);
    let size = (long(12, 14, 4), long(13, 14, 0));
    Some(Timing {
        source,
        clock_khz: clock,
        width,
        h_blank: long(3, 4, 0),
        h_front: at(8) | (at(11) >> 6 & 3) << 8,
        h_sync: at(9) | (at(11) >> 4 & 3) << 8,
        height: if interlaced { height * 2 } else { height },
        v_blank: long(6, 7, 0),
        v_front: at(10) >> 4 | (at(11) >> 2 & 3) << 4,
        v_sync: at(10) & 0xf | (at(11) & 3) << 4,
        interlaced,
        h_positive: digital && bit(flags, 1),
        v_positive: separate && bit(flags, 2),
        millimetres: (size.0 > 0 && size.1 > 0).then_some(size),
        preferred: false,
    })
}

/// A type I or type VII timing of 20 bytes (DisplayID 1.3, 4.4.1; 2.0, 4.3); `unit` is the clock's in kHz.
pub fn displayid(bytes: &[u8], unit: u32) -> Option<Timing> {
    if bytes.len() < 20 {
        return None;
    }
    let clock = u32::from(le16(bytes, 0)) | u32::from(byte(bytes, 2)) << 16;
    let options = byte(bytes, 3);
    let field = |place: usize| u32::from(le16(bytes, place)) + 1;
    // The sync's polarity is the highest bit of its offset.
    let front = |place: usize| u32::from(le16(bytes, place) & 0x7fff) + 1;
    let interlaced = bit(options, 4);
    let height = field(12);
    Some(Timing {
        source: Source::DisplayId,
        clock_khz: (clock + 1).saturating_mul(unit),
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
        millimetres: None,
        preferred: bit(options, 7),
    })
}
