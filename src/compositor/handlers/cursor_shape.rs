//! cursor-shape: clients set a cursor of the theme by its name.

use smithay::wayland::tablet_manager::TabletSeatHandler;

use crate::compositor::State;

// Required by the delegate: the protocol also has cursors for tablet tools.
impl TabletSeatHandler for State {}
