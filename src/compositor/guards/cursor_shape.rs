//! cursor-shape: a device for a pointer that is gone is inert. Smithay does not create it then,
//! and wayland-server panics.

use smithay::input::pointer::PointerHandle;
use smithay::reexports::wayland_protocols::wp::cursor_shape::v1::server::wp_cursor_shape_device_v1::{
    self, WpCursorShapeDeviceV1,
};
use smithay::reexports::wayland_protocols::wp::cursor_shape::v1::server::wp_cursor_shape_manager_v1::{
    self, WpCursorShapeManagerV1,
};
use smithay::reexports::wayland_server::{
    delegate_dispatch, delegate_global_dispatch, Client, DataInit, Dispatch, DisplayHandle,
};
use smithay::wayland::cursor_shape::{CursorShapeDeviceUserData, CursorShapeManagerState};

use crate::compositor::State;

/// A device whose requests do nothing.
struct Inert;

impl Dispatch<WpCursorShapeManagerV1, ()> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        manager: &WpCursorShapeManagerV1,
        request: wp_cursor_shape_manager_v1::Request,
        data: &(),
        display: &DisplayHandle,
        data_init: &mut DataInit<'_, Self>,
    ) {
        match request {
            wp_cursor_shape_manager_v1::Request::GetPointer { cursor_shape_device, pointer }
                if !state.has_pointer(PointerHandle::from_resource(&pointer)) =>
            {
                data_init.init(cursor_shape_device, Inert);
            }
            request => <CursorShapeManagerState as Dispatch<WpCursorShapeManagerV1, (), Self>>::request(
                state, client, manager, request, data, display, data_init,
            ),
        }
    }
}

impl State {
    /// Returns whether this is the pointer that the seat has now.
    fn has_pointer(&self, pointer: Option<PointerHandle<Self>>) -> bool {
        pointer.is_some() && pointer == self.seat.get_pointer()
    }
}

impl Dispatch<WpCursorShapeDeviceV1, Inert> for State {
    fn request(
        _state: &mut Self,
        _client: &Client,
        _device: &WpCursorShapeDeviceV1,
        _request: wp_cursor_shape_device_v1::Request,
        _data: &Inert,
        _display: &DisplayHandle,
        _data_init: &mut DataInit<'_, Self>,
    ) {
    }
}

delegate_global_dispatch!(State: [WpCursorShapeManagerV1: ()] => CursorShapeManagerState);
delegate_dispatch!(State: [WpCursorShapeDeviceV1: CursorShapeDeviceUserData<State>] => CursorShapeManagerState);
