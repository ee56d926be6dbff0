//! The fuzzer's bytes as numbers and choices.

/// Bytes that are read from the front. Zeros follow the end.
pub struct Bytes<'a>(&'a [u8]);

/// Numbers at which arithmetic goes wrong.
const BOUNDARIES: [u32; 16] = [
    0,
    1,
    u32::MAX,
    1 << 31,
    (1 << 31) - 1,
    1 << 30,
    65535,
    65536,
    32767,
    32768,
    16384,
    (-2i32) as u32,
    (-32768i32) as u32,
    4096,
    1 << 24,
    255 << 8,
];

impl<'a> Bytes<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn word(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// Returns a number below `count`, or 0 if that is 0.
    pub fn below(&mut self, count: usize) -> usize {
        let number = match count {
            0..=256 => usize::from(self.byte()),
            _ => usize::from(self.byte()) << 8 | usize::from(self.byte()),
        };
        number % count.max(1)
    }

    /// Returns true in one of `count` cases; zeros are never among them.
    pub fn one_in(&mut self, count: u8) -> bool {
        self.byte() % count == count - 1
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.below(from.len())).copied()
    }

    /// Returns one that is near the end in most cases.
    pub fn pick_recent<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let last = from.len().checked_sub(1)?;
        let back = match self.byte() {
            0..128 => 0,
            128..192 => 1,
            byte => usize::from(byte - 192) * from.len() / 64,
        };
        from.get(last.saturating_sub(back)).copied()
    }

    /// Returns a number within a range in most cases, and otherwise any.
    pub fn within(&mut self, (low, high): (i32, i32)) -> u32 {
        match self.one_in(48) {
            true => self.number(),
            false => {
                let span = high.abs_diff(low).saturating_add(1) as usize;
                low.wrapping_add_unsigned(self.below(span) as u32) as u32
            }
        }
    }

    /// Returns a small number in most cases, and otherwise one at a boundary.
    pub fn number(&mut self) -> u32 {
        match self.byte() {
            0..160 => u32::from(self.byte() % 12),
            160..216 => u32::from(self.byte()),
            216..246 => self.pick(&BOUNDARIES).unwrap_or(0),
            _ => self.word(),
        }
    }
}
