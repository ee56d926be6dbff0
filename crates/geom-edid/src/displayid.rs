//! DisplayID in an extension block of an EDID (DisplayID 1.3 and 2.0).

use serde::Serialize;

use super::bytes::{byte, le16, le32};
use super::timing::displayid as timing;
use super::{checksum_is_valid, cta, Edid};

/// The tiled display topology: one of several tiles that form a monitor (DisplayID 1.3, 4.11; 2.0,
/// 4.9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tile {
    /// Whether all tiles are in one physical enclosure.
    pub one_enclosure: bool,
    /// Number of tiles, horizontally and vertically.
    pub tiles: (u8, u8),
    /// Column and row of this tile, from 0.
    pub location: (u8, u8),
    /// Width and height of this tile in pixels.
    pub size: (u32, u32),
    /// Vendor of the tiled monitor, the same for all of its tiles.
    pub vendor: String,
    /// Product code of the tiled monitor.
    pub product: u16,
    /// Serial number of the tiled monitor.
    pub serial: u32,
}

/// The product identification (DisplayID 1.3, 4.1; 2.0, 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Product {
    /// PNP ID; since DisplayID 2.0 the IEEE OUI, as `XX-XX-XX`.
    pub vendor: String,
    /// Product code.
    pub product: u16,
    /// Serial number.
    pub serial: u32,
    /// Product name.
    pub name: Option<String>,
}

/// The display parameters of the panel (DisplayID 1.3, 4.2; 2.0, 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct NativePanel {
    /// Width and height of the image in 0.1 mm.
    pub size: (u32, u32),
    /// Native pixel format: width and height in pixels.
    pub pixels: (u16, u16),
    /// Maximum luminance of the full panel, of 10 % of it, and minimum luminance, in cd/m².
    pub luminance: Option<(f64, f64, f64)>,
}

/// Decodes an extension block, which contains one section.
pub fn extend(edid: &mut Edid, number: usize, block: &[u8]) {
    let version = byte(block, 1);
    let length = usize::from(byte(block, 2));
    // The section's own checksum follows it, before the checksum of the block.
    let section = block.get(1..length + 6).unwrap_or_default();
    if section.is_empty() {
        edid.problems.push(format!("block {number}: a DisplayID section of {length} bytes does not fit"));
    } else if !checksum_is_valid(section) {
        edid.problems.push(format!("block {number}: the DisplayID section's checksum is wrong"));
    }
    let end = (length + 5).min(127).min(block.len());
    let mut rest = block.get(5..end).unwrap_or_default();
    while let [tag, revision, size, after @ ..] = rest {
        let size = usize::from(*size);
        // Three zeros are padding.
        if (*tag, *revision, size) == (0, 0, 0) {
            break;
        }
        if after.len() < size {
            let found = after.len();
            edid.problems
                .push(format!("block {number}: DisplayID block 0x{tag:02x} of {size} bytes has {found}"));
        }
        let (payload, next) = after.split_at(size.min(after.len()));
        data_block(edid, number, version, (*tag, *revision), payload);
        rest = next;
    }
}

fn data_block(edid: &mut Edid, number: usize, version: u8, (tag, revision): (u8, u8), payload: &[u8]) {
    match (version >= 0x20, tag) {
        (false, 0x00) => edid.product_id = Some(product(payload, vendor(payload, false))),
        (true, 0x20) => edid.product_id = Some(product(payload, vendor(payload, true))),
        (false, 0x01) if payload.len() >= 12 => {
            let size = (u32::from(le16(payload, 0)), u32::from(le16(payload, 2)));
            let pixels = (le16(payload, 4), le16(payload, 6));
            edid.native = Some(NativePanel { size, pixels, luminance: None });
        }
        (true, 0x21) if payload.len() >= 29 => {
            // The revision can select millimeters, for very large panels.
            let unit = if revision & 0x80 != 0 { 10 } else { 1 };
            let size = (u32::from(le16(payload, 0)) * unit, u32::from(le16(payload, 2)) * unit);
            let values = [21, 23, 25].map(|offset| half_float(le16(payload, offset)));
            let luminance = match values {
                [Some(full), Some(part), Some(min)] => Some((full, part, min)),
                _ => None,
            };
            edid.native = Some(NativePanel { size, pixels: (le16(payload, 4), le16(payload, 6)), luminance });
        }
        (false, 0x03) => edid.timings.extend(payload.chunks_exact(20).filter_map(|bytes| timing(bytes, 10))),
        (true, 0x22) => edid.timings.extend(payload.chunks_exact(20).filter_map(|bytes| timing(bytes, 1))),
        (false, 0x12) => edid.tile = tile(payload, false),
        (true, 0x28) => edid.tile = tile(payload, true),
        (_, 0x81) => cta::data_blocks(edid, number, payload),
        _ => {}
    }
}

/// Decodes a vendor: an IEEE OUI if `is_oui`, as since DisplayID 2.0, or else a PNP ID.
fn vendor(bytes: &[u8], is_oui: bool) -> String {
    let (first, second, third) = (byte(bytes, 0), byte(bytes, 1), byte(bytes, 2));
    if is_oui {
        return format!("{first:02X}-{second:02X}-{third:02X}");
    }
    let letters = [first, second, third].map(|byte| match byte {
        b'A'..=b'Z' => char::from(byte),
        _ => '.',
    });
    letters.iter().collect()
}

fn product(payload: &[u8], vendor: String) -> Product {
    let length = usize::from(byte(payload, 11));
    let name = payload.get(12..(12 + length).min(payload.len())).map(super::bytes::text);
    Product {
        vendor,
        product: le16(payload, 3),
        serial: le32(payload, 5),
        name: name.filter(|name| !name.is_empty()),
    }
}

fn tile(payload: &[u8], is_oui: bool) -> Option<Tile> {
    if payload.len() < 22 {
        return None;
    }
    let (counts, locations, high) = (byte(payload, 1), byte(payload, 2), byte(payload, 3));
    Some(Tile {
        one_enclosure: byte(payload, 0) & 0x80 != 0,
        // Counts are stored less one. Four low bits here, two high ones in the third byte.
        tiles: (1 + (counts >> 4 | high >> 2 & 0x30), 1 + (counts & 0xf | high & 0x30)),
        location: (locations >> 4 | (high >> 2 & 3) << 4, locations & 0xf | (high & 3) << 4),
        size: (u32::from(le16(payload, 4)) + 1, u32::from(le16(payload, 6)) + 1),
        vendor: vendor(payload.get(13..).unwrap_or_default(), is_oui),
        product: le16(payload, 16),
        serial: le32(payload, 18),
    })
}

/// Decodes an IEEE 754 binary16 number; `None` for NaN, infinity and negative numbers.
fn half_float(bits: u16) -> Option<f64> {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    match exponent {
        _ if bits & 0x8000 != 0 => None,
        0x1f => None,
        0 => Some(fraction * (-24f64).exp2()),
        _ => Some((1.0 + fraction / 1024.0) * f64::from(exponent - 15).exp2()),
    }
}
