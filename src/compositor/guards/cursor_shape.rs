//! cursor-shape: a device for a pointer that is gone is inert. Smithay does not create it then,
//! and wayland-server panics. A device for a tool of a tablet is our own, as tablet-v2 is.

use smithay::input::pointer::{CursorIcon, CursorImageStatus, PointerHandle};
use smithay::reexports::wayland_protocols::wp::cursor_shape::v1::server::wp_cursor_shape_device_v1::{
    self, Shape, WpCursorShapeDeviceV1,
};
use smithay::reexports::wayland_protocols::wp::cursor_shape::v1::server::wp_cursor_shape_manager_v1::{
    self, WpCursorShapeManagerV1,
};
use smithay::reexports::wayland_protocols::wp::tablet::zv2::server::zwp_tablet_tool_v2::ZwpTabletToolV2;
use smithay::reexports::wayland_server::{
    delegate_dispatch, delegate_global_dispatch, Client, DataInit, Dispatch, DisplayHandle, Resource, WEnum,
    Weak,
};
use smithay::wayland::cursor_shape::{CursorShapeDeviceUserData, CursorShapeManagerState};

use crate::compositor::State;

/// A device whose requests do nothing.
struct Inert;

/// A device for a tool of a tablet.
struct OfTool(Weak<ZwpTabletToolV2>);

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
            wp_cursor_shape_manager_v1::Request::GetTabletToolV2 { cursor_shape_device, tablet_tool } => {
                data_init.init(cursor_shape_device, OfTool(tablet_tool.downgrade()));
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

impl Dispatch<WpCursorShapeDeviceV1, OfTool> for State {
    fn request(
        state: &mut Self,
        _client: &Client,
        _device: &WpCursorShapeDeviceV1,
        request: wp_cursor_shape_device_v1::Request,
        tool: &OfTool,
        _display: &DisplayHandle,
        _data_init: &mut DataInit<'_, Self>,
    ) {
        let wp_cursor_shape_device_v1::Request::SetShape { serial, shape: WEnum::Value(shape) } = request
        else {
            return;
        };
        // The device is inert once the tool is gone.
        let Ok(tool) = tool.0.upgrade() else { return };
        state.set_tool_cursor(&tool, serial, CursorImageStatus::Named(icon(shape)));
    }
}

/// Returns the icon of a shape. Both have the names of CSS.
fn icon(shape: Shape) -> CursorIcon {
    match shape {
        Shape::ContextMenu => CursorIcon::ContextMenu,
        Shape::Help => CursorIcon::Help,
        Shape::Pointer => CursorIcon::Pointer,
        Shape::Progress => CursorIcon::Progress,
        Shape::Wait => CursorIcon::Wait,
        Shape::Cell => CursorIcon::Cell,
        Shape::Crosshair => CursorIcon::Crosshair,
        Shape::Text => CursorIcon::Text,
        Shape::VerticalText => CursorIcon::VerticalText,
        Shape::Alias => CursorIcon::Alias,
        Shape::Copy => CursorIcon::Copy,
        Shape::Move => CursorIcon::Move,
        Shape::NoDrop => CursorIcon::NoDrop,
        Shape::NotAllowed => CursorIcon::NotAllowed,
        Shape::Grab => CursorIcon::Grab,
        Shape::Grabbing => CursorIcon::Grabbing,
        Shape::EResize => CursorIcon::EResize,
        Shape::NResize => CursorIcon::NResize,
        Shape::NeResize => CursorIcon::NeResize,
        Shape::NwResize => CursorIcon::NwResize,
        Shape::SResize => CursorIcon::SResize,
        Shape::SeResize => CursorIcon::SeResize,
        Shape::SwResize => CursorIcon::SwResize,
        Shape::WResize => CursorIcon::WResize,
        Shape::EwResize => CursorIcon::EwResize,
        Shape::NsResize => CursorIcon::NsResize,
        Shape::NeswResize => CursorIcon::NeswResize,
        Shape::NwseResize => CursorIcon::NwseResize,
        Shape::ColResize => CursorIcon::ColResize,
        Shape::RowResize => CursorIcon::RowResize,
        Shape::AllScroll => CursorIcon::AllScroll,
        Shape::ZoomIn => CursorIcon::ZoomIn,
        Shape::ZoomOut => CursorIcon::ZoomOut,
        Shape::DndAsk => CursorIcon::DndAsk,
        Shape::AllResize => CursorIcon::AllResize,
        _ => CursorIcon::Default,
    }
}

delegate_global_dispatch!(State: [WpCursorShapeManagerV1: ()] => CursorShapeManagerState);
delegate_dispatch!(State: [WpCursorShapeDeviceV1: CursorShapeDeviceUserData<State>] => CursorShapeManagerState);
