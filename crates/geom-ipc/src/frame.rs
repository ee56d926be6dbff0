//! Lines out of a stream of bytes, bounded.

use crate::MAX_LINE;

/// A line grew over [`MAX_LINE`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message is longer than {MAX_LINE} bytes")]
pub struct TooLong;

/// Bytes that arrived and are not yet a whole line.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Up to here there is no newline.
    searched: usize,
}

impl Frames {
    /// Adds bytes as they were read.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next whole line without its newline; none where more bytes have to come.
    ///
    /// # Errors
    /// Where the line is too long, ended or not. There is no way to go on after that.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let unseen = self.bytes.get(self.searched..).unwrap_or_default();
        match unseen.iter().position(|byte| *byte == b'\n') {
            Some(place) if self.searched + place < MAX_LINE => {
                let rest = self.bytes.split_off(self.searched + place + 1);
                let mut line = std::mem::replace(&mut self.bytes, rest);
                line.pop();
                self.searched = 0;
                Ok(Some(line))
            }
            None if self.bytes.len() < MAX_LINE => {
                self.searched = self.bytes.len();
                Ok(None)
            }
            _ => Err(TooLong),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However a stream is cut, its lines are the same.
        #[test]
        fn cuts_do_not_matter(lines in prop::collection::vec("[a-z]{0,20}", 0..10), cut in 1usize..9) {
            let stream: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for part in stream.as_bytes().chunks(cut) {
                frames.extend(part);
                while let Ok(Some(line)) = frames.next_line() {
                    found.push(String::from_utf8_lossy(&line).into_owned());
                }
            }
            prop_assert_eq!(found, lines);
            prop_assert!(frames.is_empty());
        }
    }

    #[test]
    fn endless_lines_are_refused() {
        let mut frames = Frames::default();
        frames.extend(&vec![b'x'; MAX_LINE - 1]);
        assert_eq!(frames.next_line(), Ok(None));
        frames.extend(b"x");
        assert_eq!(frames.next_line(), Err(TooLong));
        let mut frames = Frames::default();
        frames.extend(&vec![b'x'; MAX_LINE]);
        frames.extend(b"\n");
        assert_eq!(frames.next_line(), Err(TooLong));
    }
}
