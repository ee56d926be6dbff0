//! The displays of applications whose connection ended by itself: their next window goes there.

use geom_ipc::{CloseReason, ConnectType};
use serde::{Deserialize, Serialize};
use tracing::debug;

use super::{ClientId, Clients};

/// The maximum number of remembered applications.
pub const MAX_PLACEMENTS: usize = 1024;

/// The maximum length of an app id or a display's name, in bytes. Windows with longer ones are not
/// remembered.
pub const MAX_PLACEMENT_NAME_BYTES: usize = 256;

/// Names of displays by app id, at most [`MAX_PLACEMENTS`]: the oldest ones are dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placements(
    /// App ids and displays, oldest first.
    Vec<(String, String)>,
);

impl Placements {
    /// Returns the display of an application.
    pub fn get(&self, app_id: &str) -> Option<&String> {
        self.0.iter().find_map(|(known, display)| (known == app_id).then_some(display))
    }

    /// Sets the display of an application, which becomes the newest one.
    pub fn insert(&mut self, app_id: String, display: String) {
        if app_id.len() > MAX_PLACEMENT_NAME_BYTES || display.len() > MAX_PLACEMENT_NAME_BYTES {
            return;
        }
        self.0.retain(|(known, _)| *known != app_id);
        if self.0.len() >= MAX_PLACEMENTS {
            self.0.remove(0);
        }
        self.0.push((app_id, display));
    }
}

impl Extend<(String, String)> for Placements {
    fn extend<T: IntoIterator<Item = (String, String)>>(&mut self, placements: T) {
        placements.into_iter().for_each(|(app_id, display)| self.insert(app_id, display));
    }
}

impl FromIterator<(String, String)> for Placements {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(placements: T) -> Self {
        let mut all = Self::default();
        all.extend(placements);
        all
    }
}

impl<const N: usize> From<[(String, String); N]> for Placements {
    fn from(placements: [(String, String); N]) -> Self {
        placements.into_iter().collect()
    }
}

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
        self.placements.extend(placements.0);
    }

    /// Renames a display in all placements: its monitor is at another connector now, or is away.
    pub fn rename_placements(&mut self, from: &str, to: &str) {
        for (_, display) in self.placements.0.iter_mut().filter(|(_, display)| *display == from) {
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
        debug!(client = %id, app_id, display = output, "placement saved");
        self.placements.insert(app_id, output);
        self.mark_unsaved();
    }
}
