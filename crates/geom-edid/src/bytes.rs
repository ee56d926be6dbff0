//! Bounded access to bytes: reads past the end give zero.

/// Returns a byte, or zero past the end.
pub fn byte(bytes: &[u8], offset: usize) -> u8 {
    bytes.get(offset).copied().unwrap_or(0)
}

/// Returns a little-endian number of 16 bits.
pub fn le16(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([byte(bytes, offset), byte(bytes, offset + 1)])
}

/// Returns a little-endian number of 32 bits.
pub fn le32(bytes: &[u8], offset: usize) -> u32 {
    u32::from(le16(bytes, offset)) | u32::from(le16(bytes, offset + 2)) << 16
}

/// Returns whether a bit of a byte is set.
pub fn bit(value: u8, number: u32) -> bool {
    value >> number & 1 != 0
}

/// Returns the text up to its line feed, trimmed; a byte that is not printable ASCII becomes a dot.
pub fn text(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let printable = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
    let text: String = line.iter().take_while(|byte| **byte != 0).map(printable).collect();
    text.trim().to_owned()
}
