//! viewporter: surfaces cropped and scaled. Smithay applies it; nothing is decided here.

use smithay::delegate_viewporter;

use crate::state::State;

delegate_viewporter!(State);
