//! The state that a process leaves to the one after a crash.

use geom_compositor::internals::SavedClients;

use crate::Violation;

/// Checks JSON of the state of clients.
///
/// # Errors
/// If the state differs after it was written and parsed.
pub fn saved_state(bytes: &[u8]) -> Result<(), Violation> {
    let Ok(parsed) = serde_json::from_slice::<SavedClients>(bytes) else { return Ok(()) };
    let written = serde_json::to_vec(&parsed).map_err(|error| error.to_string())?;
    match serde_json::from_slice::<SavedClients>(&written) {
        Ok(again) if again == parsed => Ok(()),
        other => Err(format!("{parsed:?} is {other:?} after a round trip")),
    }
}
