//! viewporter: surfaces cropped and scaled. Smithay applies it; nothing is decided here.

use smithay::delegate_viewporter;

use crate::compositor::State;

delegate_viewporter!(State);
