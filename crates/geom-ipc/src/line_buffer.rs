//! Splits a byte stream into lines of bounded length.

use crate::MAX_LINE;

/// The error that a line is longer than [`MAX_LINE`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message is longer than {MAX_LINE} bytes")]
pub struct LineTooLong;

/// Received bytes that do not form a whole line yet.
///
/// ```
/// let mut buffer = geom_ipc::LineBuffer::default();
/// buffer.extend(b"{\"id\":1}\n{\"id\"");
/// assert_eq!(buffer.next_line()?, Some(b"{\"id\":1}".to_vec()));
/// assert_eq!(buffer.next_line()?, None);
/// # Ok::<(), geom_ipc::LineTooLong>(())
/// ```
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    /// There is no newline before this index.
    searched: usize,
}

impl LineBuffer {
    /// Appends received bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the number of buffered bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether no bytes are buffered.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Removes and returns the next line without its newline, or `None` if it is incomplete.
    ///
    /// # Errors
    /// If the line is too long, whether it is complete or not. The stream can't be used after that.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, LineTooLong> {
        let unseen = self.bytes.get(self.searched..).unwrap_or_default();
        match unseen.iter().position(|byte| *byte == b'\n') {
            Some(index) if self.searched + index < MAX_LINE => {
                let rest = self.bytes.split_off(self.searched + index + 1);
                let mut line = std::mem::replace(&mut self.bytes, rest);
                line.pop();
                self.searched = 0;
                Ok(Some(line))
            }
            None if self.bytes.len() < MAX_LINE => {
                self.searched = self.bytes.len();
                Ok(None)
            }
            _ => Err(LineTooLong),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_stream_is_split(lines in prop::collection::vec("[a-z]{0,20}", 0..10), cut in 1usize..9) {
            let stream: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let mut buffer = LineBuffer::default();
            let mut found = Vec::new();
            for part in stream.as_bytes().chunks(cut) {
                buffer.extend(part);
                while let Ok(Some(line)) = buffer.next_line() {
                    found.push(String::from_utf8_lossy(&line).into_owned());
                }
            }
            prop_assert_eq!(found, lines);
            prop_assert!(buffer.is_empty());
        }
    }

    #[test]
    fn lines_over_the_limit_are_refused() {
        let mut buffer = LineBuffer::default();
        buffer.extend(&vec![b'x'; MAX_LINE - 1]);
        assert_eq!(buffer.next_line(), Ok(None));
        buffer.extend(b"x");
        assert_eq!(buffer.next_line(), Err(LineTooLong));
        let mut buffer = LineBuffer::default();
        buffer.extend(&vec![b'x'; MAX_LINE]);
        buffer.extend(b"\n");
        assert_eq!(buffer.next_line(), Err(LineTooLong));
    }
}
