//! primary-selection: what is selected is pasted by the middle button.

use smithay::delegate_primary_selection;
use smithay::wayland::selection::primary_selection::{PrimarySelectionHandler, PrimarySelectionState};

use crate::compositor::State;

impl PrimarySelectionHandler for State {
    fn primary_selection_state(&self) -> &PrimarySelectionState {
        &self.protocols.primary_selection
    }
}

delegate_primary_selection!(State);
