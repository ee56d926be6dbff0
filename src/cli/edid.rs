//! `geom_compositor edid`: decodes EDIDs from files. It needs no running service.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use geom_edid::{report, Edid};
use serde::Serialize;

use super::error::Error;
use super::terminal::{self, field};

/// Bytes that are read of a file: an EDID has up to 32 KiB, and as text up to five characters per
/// byte.
const MAX_FILE_BYTES: u64 = 256 << 10;

/// The files and the format.
#[derive(Debug, Clone, Args)]
pub struct Files {
    /// Binary (/sys/class/drm/card0-HDMI-A-1/edid) or hexadecimal; "-" is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print JSON for programs: a list with an object per file
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Decoded {
    file: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    edid: Option<Edid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Decodes and prints all files.
///
/// # Errors
/// If a file cannot be read or decoded. The other files are printed nevertheless.
pub fn run(files: &Files) -> Result<(), Error> {
    let decoded: Vec<Decoded> = files
        .files
        .iter()
        .map(|file| match read(file) {
            Ok(edid) => Decoded { file: file.clone(), edid: Some(edid), error: None },
            Err(error) => Decoded { file: file.clone(), edid: None, error: Some(error) },
        })
        .collect();
    let mut out = io::stdout().lock();
    if files.json {
        writeln!(out, "{}", terminal::json(&decoded)?)?;
    } else {
        for (index, one) in decoded.iter().enumerate() {
            if decoded.len() > 1 {
                let space = if index > 0 { "\n" } else { "" };
                writeln!(out, "{space}{}:", field(&one.file.display().to_string()))?;
            }
            if let Some(edid) = &one.edid {
                write!(out, "{}", terminal::lines(&report::describe(edid)))?;
            }
        }
    }
    let errors: Vec<String> = decoded
        .iter()
        .filter_map(|one| Some(field(&format!("{}: {}", one.file.display(), one.error.as_ref()?))))
        .collect();
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Error::InvalidEdid(errors)),
    }
}

fn read(file: &Path) -> Result<Edid, String> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().take(MAX_FILE_BYTES).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes))
    };
    read.map_err(|error| error.to_string())?;
    let bytes = hexadecimal(&bytes).unwrap_or(bytes);
    Edid::parse(&bytes).map_err(|error| error.to_string())
}

/// Returns the bytes of a text of hexadecimal numbers, or `None` if it is another text.
fn hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.replace("0x", " ");
    let digits: Vec<u8> = text
        .chars()
        .filter(|character| !character.is_whitespace() && !matches!(character, ',' | ':'))
        .map(|character| character.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    if digits.is_empty() || digits.len() % 2 != 0 {
        return None;
    }
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_text_is_decoded() {
        let wanted = Some(vec![0x00, 0xff, 0x4c]);
        for text in ["00ff4c", "00 FF 4c\n", "0x00, 0xff, 0x4c", "00:ff:4c"] {
            assert_eq!(hexadecimal(text.as_bytes()), wanted, "{text}");
        }
        for text in ["", "00f", "no", "\u{ff}"] {
            assert_eq!(hexadecimal(text.as_bytes()), None, "{text}");
        }
    }
}
