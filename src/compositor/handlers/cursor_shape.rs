//! cursor-shape: clients set a cursor of the theme by its name.

use smithay::wayland::tablet_manager::TabletSeatHandler;

use crate::compositor::State;

// Required by the delegate. Tools of tablets have devices of our own (guards::cursor_shape).
impl TabletSeatHandler for State {}
