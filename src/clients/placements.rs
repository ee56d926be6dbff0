//! The displays of applications whose connection ended by itself: their next window goes there.

use std::collections::BTreeMap;

use geom_ipc::{CloseReason, ConnectType};
use tracing::debug;

use super::{ClientId, Clients};

/// The maximum number of remembered applications.
const MAX_PLACEMENTS: usize = 1024;

/// Names of displays by app id.
pub type Placements = BTreeMap<String, String>;

impl Clients {
    /// Returns the display that was saved for an application.
    #[cfg(test)]
    pub fn placement(&self, app_id: &str) -> Option<&str> {
        self.placements.get(app_id).map(String::as_str)
    }

    /// Returns all saved displays, by app id.
    pub fn placements(&self) -> &Placements {
        &self.placements
    }

    /// Adds placements that the previous process saved.
    pub fn add_placements(&mut self, placements: Placements) {
        self.placements.extend(placements);
    }

    /// Renames a display in all placements: its monitor is at another connector now, or is away.
    pub fn rename_placements(&mut self, from: &str, to: &str) {
        for display in self.placements.values_mut().filter(|display| *display == from) {
            to.clone_into(display);
        }
        self.mark_unsaved();
    }

    /// Saves the display of a window that is destroyed because its client's connection ended,
    /// unless that was ordered. Windows that the client destroys itself are not saved.
    pub fn save_placement(
        &mut self,
        id: ClientId,
        app_id: String,
        output: String,
        connect_type: ConnectType,
    ) {
        let was_ordered =
            matches!(self.close_reason(id), Some(CloseReason::Requested | CloseReason::Shutdown));
        let is_kept = connect_type.contains(ConnectType::KEEP_CONNECTION_OPEN);
        if !is_kept || was_ordered || !self.has_ended(id) {
            return;
        }
        if self.placements.len() < MAX_PLACEMENTS || self.placements.contains_key(&app_id) {
            debug!(client = %id, app_id, display = output, "placement saved");
            self.placements.insert(app_id, output);
            self.mark_unsaved();
        }
    }
}
