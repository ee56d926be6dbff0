//! Lines and messages of the control protocol, in both directions.

use geom_ipc::{ClientMessage, LineBuffer, ServerMessage, MAX_LINE};

use crate::Violation;

/// Checks a byte stream. The first byte is the size of a read minus 1; the rest is the stream.
///
/// # Errors
/// If the lines depend on the size of the reads, the buffer exceeds its limit, or a message differs
/// after it was written and parsed.
pub fn control_frames(bytes: &[u8]) -> Result<(), Violation> {
    let Some((size, stream)) = bytes.split_first() else { return Ok(()) };
    let whole = lines(stream, stream.len().max(1))?;
    if lines(stream, usize::from(*size) + 1)? != whole {
        return Err("the lines depend on the size of the reads".into());
    }
    for line in &whole {
        client_message(line)?;
        server_message(line)?;
    }
    Ok(())
}

fn lines(stream: &[u8], size: usize) -> Result<Vec<Vec<u8>>, Violation> {
    let mut buffer = LineBuffer::default();
    let mut lines = Vec::new();
    for part in stream.chunks(size) {
        buffer.extend(part);
        loop {
            match buffer.next_line() {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => break,
                // The connection ends here. What follows is not read.
                Err(_) => return Ok(lines),
            }
        }
        if buffer.len() >= MAX_LINE {
            return Err(format!("{} bytes of an incomplete line are buffered", buffer.len()));
        }
    }
    Ok(lines)
}

fn client_message(line: &[u8]) -> Result<(), Violation> {
    let Ok(parsed) = ClientMessage::parse(line) else { return Ok(()) };
    let written = serde_json::to_vec(&parsed).map_err(|error| error.to_string())?;
    match ClientMessage::parse(&written) {
        Ok(again) if again == parsed => Ok(()),
        other => Err(format!("{parsed:?} is {other:?} after a round trip")),
    }
}

fn server_message(line: &[u8]) -> Result<(), Violation> {
    let Ok(parsed) = ServerMessage::parse(line) else { return Ok(()) };
    let written = parsed.to_line();
    match ServerMessage::parse(written.strip_suffix(b"\n").unwrap_or(&written)) {
        Ok(again) if again == parsed => Ok(()),
        other => Err(format!("{parsed:?} is {other:?} after a round trip")),
    }
}
