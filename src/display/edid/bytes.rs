//! Bounded looks at bytes.

/// A byte, or zero past the end.
pub fn byte(bytes: &[u8], place: usize) -> u8 {
    bytes.get(place).copied().unwrap_or(0)
}

/// Two bytes, the lower first.
pub fn le16(bytes: &[u8], place: usize) -> u16 {
    u16::from_le_bytes([byte(bytes, place), byte(bytes, place + 1)])
}

/// Four bytes, the lowest first.
pub fn le32(bytes: &[u8], place: usize) -> u32 {
    u32::from(le16(bytes, place)) | u32::from(le16(bytes, place + 2)) << 16
}

/// Whether a bit of a byte is set.
pub fn bit(value: u8, number: u32) -> bool {
    value >> number & 1 != 0
}

/// Text up to its line feed, without the spaces around it; what is no printable ASCII becomes a dot.
pub fn text(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let printable = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
    let text: String = line.iter().take_while(|byte| **byte != 0).map(printable).collect();
    text.trim().to_owned()
}
