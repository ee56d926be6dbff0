//! The system's configuration and users' profiles.

use std::path::Path;

use geom_compositor::internals::{parse_config, profile};

use crate::Violation;

/// Checks both parsers with any text.
///
/// # Errors
/// If parsing is not deterministic, or the output is not bounded by the input.
pub fn config(bytes: &[u8]) -> Result<(), Violation> {
    let text = String::from_utf8_lossy(bytes);
    let path = Path::new("fuzz.toml");
    let (_, problems) = parse_config(path, &text);
    let (_, profile_problems) = profile::parse(path, &text);
    let again = (parse_config(path, &text).1, profile::parse(path, &text).1);
    let shown = |problems: &[_]| problems.iter().map(|problem| format!("{problem:?}")).collect::<Vec<_>>();
    if shown(&again.0) != shown(&problems) || shown(&again.1) != shown(&profile_problems) {
        return Err("two results for the same text".into());
    }
    let count = problems.len().max(profile_problems.len());
    // Each problem is about something in the text, or about the file.
    match count <= bytes.len() + 1 {
        true => Ok(()),
        false => Err(format!("{count} problems of {} bytes", bytes.len())),
    }
}
