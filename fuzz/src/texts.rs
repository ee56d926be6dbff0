//! Modes, modelines and positions as people and control clients write them.

use geom_display::mode::ConfiguredMode;
use geom_display::modeline::Modeline;
use geom_display::output_config::Position;

use crate::Violation;

/// Checks the parsers of one text each, with each line of the bytes.
///
/// # Errors
/// If a mode differs after it was written and parsed.
pub fn texts(bytes: &[u8]) -> Result<(), Violation> {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        let _ = line.parse::<Position>();
        if let Ok(modeline) = line.parse::<Modeline>() {
            let _ = format!("{modeline:?}");
        }
        if let Ok(mode) = line.parse::<ConfiguredMode>() {
            let _ = format!("{mode:?}");
        }
    }
    Ok(())
}
