//! What a monitor, or whatever is plugged in instead, says of itself.

use geom_compositor::display::edid::{report, Edid};

use crate::Broken;

/// # Errors
/// Where decoding says two things of the same bytes, or numbers are none.
pub fn edid(bytes: &[u8]) -> Result<(), Broken> {
    let decoded = Edid::parse(bytes);
    if decoded != Edid::parse(bytes) {
        return Err("the same bytes mean two things".into());
    }
    let Ok(edid) = decoded else { return Ok(()) };
    if let Some(timing) = edid.timings.iter().find(|timing| !timing.refresh().is_finite()) {
        return Err(format!("a refresh rate is no number: {timing:?}"));
    }
    if edid.make.chars().count() != 3 {
        return Err(format!("the make is {:?}", edid.make));
    }
    // Bounded by what was read: the least that a problem or a timing takes is two bytes.
    if edid.problems.len() > bytes.len() || edid.timings.len() > bytes.len() {
        return Err(format!(
            "{} problems and {} timings of {} bytes",
            edid.problems.len(),
            edid.timings.len(),
            bytes.len()
        ));
    }
    let text = report::describe(&edid);
    if text.lines().any(|line| line.contains(|character: char| character.is_control())) {
        return Err("the report has control characters".into());
    }
    Ok(())
}
