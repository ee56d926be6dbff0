//! The control protocol's frames, from either side.

use geom_ipc::{Frames, FromClient, FromServer, MAX_LINE};

use crate::Broken;

/// The first byte says how the stream is cut into reads, the rest is the stream.
///
/// # Errors
/// Where cuts change what is read, more is kept than is allowed, or a message is another one once it was written.
pub fn control_frames(bytes: &[u8]) -> Result<(), Broken> {
    let Some((cut, stream)) = bytes.split_first() else { return Ok(()) };
    let whole = lines(stream, stream.len().max(1))?;
    if lines(stream, usize::from(*cut) + 1)? != whole {
        return Err("the lines depend on how the stream is cut".into());
    }
    for line in &whole {
        request(line)?;
        message(line)?;
    }
    Ok(())
}

fn lines(stream: &[u8], cut: usize) -> Result<Vec<Vec<u8>>, Broken> {
    let mut frames = Frames::default();
    let mut lines = Vec::new();
    for part in stream.chunks(cut) {
        frames.extend(part);
        loop {
            match frames.next_line() {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => break,
                // The connection ends here, whatever follows.
                Err(_) => return Ok(lines),
            }
        }
        if frames.len() >= MAX_LINE {
            return Err(format!("{} bytes wait for their line's end", frames.len()));
        }
    }
    Ok(lines)
}

fn request(line: &[u8]) -> Result<(), Broken> {
    let Ok(read) = FromClient::parse(line) else { return Ok(()) };
    let written = serde_json::to_vec(&read).map_err(|error| error.to_string())?;
    match FromClient::parse(&written) {
        Ok(again) if again == read => Ok(()),
        other => Err(format!("{read:?} is {other:?} once it was written")),
    }
}

fn message(line: &[u8]) -> Result<(), Broken> {
    let Ok(read) = FromServer::parse(line) else { return Ok(()) };
    let written = read.to_line();
    match FromServer::parse(written.strip_suffix(b"\n").unwrap_or(&written)) {
        Ok(again) if again == read => Ok(()),
        other => Err(format!("{read:?} is {other:?} once it was written")),
    }
}
