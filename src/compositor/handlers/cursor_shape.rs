//! cursor-shape: cursors by name.

use smithay::delegate_cursor_shape;
use smithay::wayland::tablet_manager::TabletSeatHandler;

use crate::compositor::State;

// The protocol's delegate asks for it: shapes may be set for tablet tools as well.
impl TabletSeatHandler for State {}

delegate_cursor_shape!(State);
