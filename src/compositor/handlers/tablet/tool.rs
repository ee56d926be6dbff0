//! zwp_tablet_tool_v2: what a tool is, what it does, and its cursor.

use std::sync::{Mutex, PoisonError};

use smithay::backend::input::{TabletToolCapabilities, TabletToolDescriptor, TabletToolType};
use smithay::input::pointer::{CursorImageAttributes, CursorImageStatus};
use smithay::reexports::wayland_protocols::wp::tablet::zv2::server::zwp_tablet_seat_v2::ZwpTabletSeatV2;
use smithay::reexports::wayland_protocols::wp::tablet::zv2::server::zwp_tablet_tool_v2::{
    self, Capability, Type, ZwpTabletToolV2,
};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Client, DataInit, Dispatch, DisplayHandle, Resource};
use smithay::wayland::compositor::{get_role, give_role, with_states};
use smithay::wayland::seat::CURSOR_IMAGE_ROLE;

use super::SeatNumber;
use crate::compositor::State;
use crate::input::tablets::{PenAxes, Tool};

/// The user data of a tool's object.
#[derive(Debug, Clone, Copy)]
pub struct ToolData {
    seat: SeatNumber,
    /// The tool's number.
    tool: u64,
}

/// The values of the protocol's normalized axes.
const MAX: f64 = 65535.0;

const CAPABILITIES: [(TabletToolCapabilities, Capability); 6] = [
    (TabletToolCapabilities::TILT, Capability::Tilt),
    (TabletToolCapabilities::PRESSURE, Capability::Pressure),
    (TabletToolCapabilities::DISTANCE, Capability::Distance),
    (TabletToolCapabilities::ROTATION, Capability::Rotation),
    (TabletToolCapabilities::SLIDER, Capability::Slider),
    (TabletToolCapabilities::WHEEL, Capability::Wheel),
];

fn tool_type(kind: TabletToolType) -> Type {
    match kind {
        TabletToolType::Eraser => Type::Eraser,
        TabletToolType::Brush => Type::Brush,
        TabletToolType::Pencil => Type::Pencil,
        TabletToolType::Airbrush => Type::Airbrush,
        TabletToolType::Mouse => Type::Mouse,
        TabletToolType::Lens => Type::Lens,
        // The protocol has no others.
        TabletToolType::Pen | TabletToolType::Totem | TabletToolType::Unknown => Type::Pen,
    }
}

/// Splits a number of 64 bits into high and low word.
fn words(number: u64) -> (u32, u32) {
    ((number >> 32) as u32, number as u32)
}

/// Creates and describes a tool's object.
pub(super) fn create(
    client: &Client,
    display: &DisplayHandle,
    seat: &ZwpTabletSeatV2,
    number: SeatNumber,
    tool: &Tool,
) -> Option<ZwpTabletToolV2> {
    let data = ToolData { seat: number, tool: tool.id };
    let object = client.create_resource::<ZwpTabletToolV2, _, State>(display, seat.version(), data).ok()?;
    seat.tool_added(&object);
    let TabletToolDescriptor { hardware_serial, hardware_id_wacom, capabilities, .. } = tool.info;
    object._type(tool_type(tool.info.tool_type));
    if hardware_serial != 0 {
        let (high, low) = words(hardware_serial);
        object.hardware_serial(high, low);
    }
    if hardware_id_wacom != 0 {
        let (high, low) = words(hardware_id_wacom);
        object.hardware_id_wacom(high, low);
    }
    for (_, capability) in CAPABILITIES.into_iter().filter(|(flag, _)| capabilities.contains(*flag)) {
        object.capability(capability);
    }
    object.done();
    Some(object)
}

/// Sends a tool's values.
pub(super) fn send_axes(tool: &ZwpTabletToolV2, axes: &PenAxes) {
    let PenAxes { pressure, distance, tilt, rotation, slider, wheel } = *axes;
    let scaled = |value: f64| (value.clamp(0.0, 1.0) * MAX).round() as u32;
    if let Some(pressure) = pressure {
        tool.pressure(scaled(pressure));
    }
    if let Some(distance) = distance {
        tool.distance(scaled(distance));
    }
    if let Some((x, y)) = tilt {
        tool.tilt(x, y);
    }
    if let Some(degrees) = rotation {
        tool.rotation(degrees);
    }
    if let Some(position) = slider {
        tool.slider((position.clamp(-1.0, 1.0) * MAX).round() as i32);
    }
    if let Some((degrees, clicks)) = wheel {
        tool.wheel(degrees, clicks);
    }
}

impl super::TabletObjects {
    /// Sends the client that a tool is on its position, and values of it.
    pub fn send_motion(&self, tool: &Tool, axes: &PenAxes) {
        let Some(at) = tool.location.map(|location| location - tool.origin) else { return };
        let Some(client) = &tool.client else { return };
        self.send(client, tool.id, &tool.tablet, |tool, _| {
            tool.motion(at.x, at.y);
            send_axes(tool, axes);
        });
    }
}

/// Gives a surface the role of a cursor, with its hotspot. Returns whether it may have it.
fn take_cursor_role(surface: &WlSurface, hotspot: (i32, i32)) -> bool {
    if give_role(surface, CURSOR_IMAGE_ROLE).is_err() && get_role(surface) != Some(CURSOR_IMAGE_ROLE) {
        return false;
    }
    with_states(surface, |states| {
        let attributes = || Mutex::new(CursorImageAttributes { hotspot: (0, 0).into() });
        states.data_map.insert_if_missing_threadsafe(attributes);
        if let Some(attributes) = states.data_map.get::<Mutex<CursorImageAttributes>>() {
            attributes.lock().unwrap_or_else(PoisonError::into_inner).hotspot = hotspot.into();
        }
    });
    true
}

impl State {
    /// Sets the cursor of a tool, if its client has the tool on a surface since the entry with this
    /// serial.
    pub(in crate::compositor) fn set_tool_cursor(
        &mut self,
        object: &ZwpTabletToolV2,
        serial: u32,
        status: CursorImageStatus,
    ) {
        if !self.is_tool_entry(object, serial) {
            return;
        }
        let Some(ToolData { tool: id, .. }) = object.data::<ToolData>().copied() else { return };
        let Some(tool) = self.input.tablets.tool_mut(id) else { return };
        tool.cursor = status;
        self.show_pen(id);
    }

    /// Returns whether a tool is on a surface of the object's client since the entry with this
    /// serial.
    fn is_tool_entry(&self, object: &ZwpTabletToolV2, serial: u32) -> bool {
        let data = object.data::<ToolData>().copied();
        let Some(tool) = data.and_then(|data| self.input.tablets.tool(data.tool)) else { return false };
        let is_on = tool.pen.surface().is_some_and(|surface| surface.id().same_client_as(&object.id()));
        is_on && tool.entered == serial
    }
}

impl Dispatch<ZwpTabletToolV2, ToolData> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        tool: &ZwpTabletToolV2,
        request: zwp_tablet_tool_v2::Request,
        _: &ToolData,
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        let zwp_tablet_tool_v2::Request::SetCursor { serial, surface, hotspot_x, hotspot_y } = request else {
            return;
        };
        // One of an earlier entry has no effect, not even on the surface.
        if !state.is_tool_entry(tool, serial) {
            return;
        }
        let status = match surface {
            None => CursorImageStatus::Hidden,
            Some(surface) if take_cursor_role(&surface, (hotspot_x, hotspot_y)) => {
                CursorImageStatus::Surface(surface)
            }
            Some(_) => {
                tool.post_error(zwp_tablet_tool_v2::Error::Role, "the surface has another role");
                return;
            }
        };
        state.set_tool_cursor(tool, serial, status);
    }

    fn destroyed(state: &mut Self, client: ClientId, tool: &ZwpTabletToolV2, data: &ToolData) {
        state.forget_tablet_object(&client, data.seat, &tool.id());
    }
}
