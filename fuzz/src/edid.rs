//! EDIDs of monitors, and of any device that is connected in place of one.

use geom_edid::{report, Edid};

use crate::Violation;

/// Checks the decoder and its report.
///
/// # Errors
/// If decoding is not deterministic, a value is invalid, or the output is not bounded by the input.
pub fn edid(bytes: &[u8]) -> Result<(), Violation> {
    let decoded = Edid::parse(bytes);
    if decoded != Edid::parse(bytes) {
        return Err("two results for the same bytes".into());
    }
    let Ok(edid) = decoded else { return Ok(()) };
    if let Some(timing) = edid.timings.iter().find(|timing| !timing.refresh().is_finite()) {
        return Err(format!("a refresh rate is not finite: {timing:?}"));
    }
    if edid.make.chars().count() != 3 {
        return Err(format!("the make is {:?}", edid.make));
    }
    // A problem or a timing takes at least two bytes of the EDID.
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
