//! wl_data_device: clipboard, and drag and drop.

use smithay::input::Seat;
use smithay::reexports::wayland_server::protocol::{wl_data_source::WlDataSource, wl_surface::WlSurface};
use smithay::wayland::selection::data_device::{
    ClientDndGrabHandler, DataDeviceHandler, DataDeviceState, ServerDndGrabHandler,
};
use smithay::wayland::selection::SelectionHandler;

use crate::compositor::State;

impl SelectionHandler for State {
    type SelectionUserData = ();
}

impl DataDeviceHandler for State {
    fn data_device_state(&self) -> &DataDeviceState {
        &self.protocols.data_device
    }
}

impl ClientDndGrabHandler for State {
    fn started(&mut self, _source: Option<WlDataSource>, icon: Option<WlSurface>, _seat: Seat<Self>) {
        self.input.pointer_mut().set_drag_icon(icon);
        self.redraw_under_pointer();
    }

    fn dropped(&mut self, _target: Option<WlSurface>, _validated: bool, _seat: Seat<Self>) {
        self.input.pointer_mut().set_drag_icon(None);
        self.redraw_under_pointer();
    }
}

impl ServerDndGrabHandler for State {}
