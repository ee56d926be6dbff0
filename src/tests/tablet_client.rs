//! What a client receives of graphics tablets (tablet-v2).

use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{event_created_child, Connection, Dispatch, QueueHandle};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_manager_v2::{self, ZwpTabletManagerV2};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_pad_group_v2::{
    self, ZwpTabletPadGroupV2, EVT_RING_OPCODE, EVT_STRIP_OPCODE,
};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_pad_ring_v2::{self, ZwpTabletPadRingV2};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_pad_strip_v2::{self, ZwpTabletPadStripV2};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_pad_v2::{self, ZwpTabletPadV2, EVT_GROUP_OPCODE};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_seat_v2::{
    self, ZwpTabletSeatV2, EVT_PAD_ADDED_OPCODE, EVT_TABLET_ADDED_OPCODE, EVT_TOOL_ADDED_OPCODE,
};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_tool_v2::{self, ZwpTabletToolV2};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_v2::{self, ZwpTabletV2};

use super::client::{TestClient, TestState};

/// The client's objects, and what has arrived.
#[derive(Default)]
pub struct Tablets {
    global: Option<(WlRegistry, u32)>,
    manager: Option<ZwpTabletManagerV2>,
    pub seat: Option<ZwpTabletSeatV2>,
    /// Names of tablets that are present.
    pub tablets: Vec<(ZwpTabletV2, String)>,
    pub tools: Vec<ZwpTabletToolV2>,
    pub pads: Vec<ZwpTabletPadV2>,
    /// The events of all tools: `frame`s, and what is in them.
    pub tool_events: Vec<String>,
    pub pad_events: Vec<String>,
    /// The surface that a tool is on, and the serial of its entry.
    pub tool_on: Option<(WlSurface, u32)>,
    /// The serials of touches of the tip.
    pub touched: Vec<u32>,
}

impl Tablets {
    pub fn offer(&mut self, registry: &WlRegistry, name: u32) {
        self.global = Some((registry.clone(), name));
    }

    /// Returns the events of tools that arrived since the last call.
    pub fn take_tool_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.tool_events)
    }
}

impl TestClient {
    /// Binds tablet-v2.
    pub fn bind_tablets(&mut self) {
        let queue = self.handle();
        let (registry, name) = self.tablets.global.clone().expect("zwp_tablet_manager_v2");
        self.tablets.manager = Some(registry.bind(name, 1, &queue, ()));
        self.tablets.seat = Some(self.tablet_seat());
    }

    /// Creates another object of the seat's tablets.
    pub fn tablet_seat(&self) -> ZwpTabletSeatV2 {
        let manager = self.tablets.manager.as_ref().expect("bound");
        manager.get_tablet_seat(self.devices.seat.as_ref().expect("wl_seat"), &self.handle(), ())
    }
}

impl Dispatch<ZwpTabletManagerV2, ()> for TestState {
    fn event(
        _: &mut Self,
        _: &ZwpTabletManagerV2,
        _: zwp_tablet_manager_v2::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }
}

impl Dispatch<ZwpTabletSeatV2, ()> for TestState {
    fn event(
        state: &mut Self,
        _: &ZwpTabletSeatV2,
        event: zwp_tablet_seat_v2::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            zwp_tablet_seat_v2::Event::TabletAdded { id } => state.tablets.tablets.push((id, String::new())),
            zwp_tablet_seat_v2::Event::ToolAdded { id } => state.tablets.tools.push(id),
            zwp_tablet_seat_v2::Event::PadAdded { id } => state.tablets.pads.push(id),
            _ => {}
        }
    }

    event_created_child!(TestState, ZwpTabletSeatV2, [
        EVT_TABLET_ADDED_OPCODE => (ZwpTabletV2, ()),
        EVT_TOOL_ADDED_OPCODE => (ZwpTabletToolV2, ()),
        EVT_PAD_ADDED_OPCODE => (ZwpTabletPadV2, ()),
    ]);
}

impl Dispatch<ZwpTabletV2, ()> for TestState {
    fn event(
        state: &mut Self,
        tablet: &ZwpTabletV2,
        event: zwp_tablet_v2::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let tablets = &mut state.tablets.tablets;
        match event {
            zwp_tablet_v2::Event::Name { name } => {
                tablets
                    .iter_mut()
                    .filter(|(known, _)| known == tablet)
                    .for_each(|known| known.1.clone_from(&name));
            }
            zwp_tablet_v2::Event::Removed => {
                tablets.retain(|(known, _)| known != tablet);
                tablet.destroy();
            }
            _ => {}
        }
    }
}

impl Dispatch<ZwpTabletToolV2, ()> for TestState {
    fn event(
        state: &mut Self,
        tool: &ZwpTabletToolV2,
        event: zwp_tablet_tool_v2::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use zwp_tablet_tool_v2::Event;
        let tablets = &mut state.tablets;
        let text = match event {
            Event::Type { tool_type } => format!("type {:?}", tool_type.into_result().expect("a type")),
            Event::HardwareSerial { hardware_serial_hi, hardware_serial_lo } => {
                format!("serial {hardware_serial_hi:x} {hardware_serial_lo:x}")
            }
            Event::HardwareIdWacom { hardware_id_hi, hardware_id_lo } => {
                format!("id {hardware_id_hi:x} {hardware_id_lo:x}")
            }
            Event::Capability { capability } => format!("{:?}", capability.into_result().expect("one")),
            Event::Done => "done".into(),
            Event::Removed => {
                tablets.tools.retain(|known| known != tool);
                tool.destroy();
                "removed".into()
            }
            Event::ProximityIn { serial, surface, .. } => {
                tablets.tool_on = Some((surface, serial));
                "in".into()
            }
            Event::ProximityOut => {
                tablets.tool_on = None;
                "out".into()
            }
            Event::Down { serial } => {
                tablets.touched.push(serial);
                "down".into()
            }
            Event::Up => "up".into(),
            Event::Motion { x, y } => format!("motion {x} {y}"),
            Event::Pressure { pressure } => format!("pressure {pressure}"),
            Event::Distance { distance } => format!("distance {distance}"),
            Event::Tilt { tilt_x, tilt_y } => format!("tilt {tilt_x} {tilt_y}"),
            Event::Rotation { degrees } => format!("rotation {degrees}"),
            Event::Slider { position } => format!("slider {position}"),
            Event::Wheel { degrees, clicks } => format!("wheel {degrees} {clicks}"),
            Event::Button { button, state, .. } => {
                format!("button {button:x} {}", state.into_result().expect("a state") as u32)
            }
            Event::Frame { .. } => "frame".into(),
            _ => return,
        };
        tablets.tool_events.push(text);
    }
}

impl Dispatch<ZwpTabletPadV2, ()> for TestState {
    fn event(
        state: &mut Self,
        pad: &ZwpTabletPadV2,
        event: zwp_tablet_pad_v2::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use zwp_tablet_pad_v2::Event;
        let text = match event {
            Event::Buttons { buttons } => format!("buttons {buttons}"),
            Event::Enter { .. } => "enter".into(),
            Event::Leave { .. } => "leave".into(),
            Event::Button { button, state, .. } => {
                format!("button {button} {}", state.into_result().expect("a state") as u32)
            }
            Event::Removed => {
                state.tablets.pads.retain(|known| known != pad);
                "removed".into()
            }
            Event::Done => "done".into(),
            _ => return,
        };
        state.tablets.pad_events.push(text);
    }

    event_created_child!(TestState, ZwpTabletPadV2, [
        EVT_GROUP_OPCODE => (ZwpTabletPadGroupV2, ()),
    ]);
}

impl Dispatch<ZwpTabletPadGroupV2, ()> for TestState {
    fn event(
        state: &mut Self,
        _: &ZwpTabletPadGroupV2,
        event: zwp_tablet_pad_group_v2::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use zwp_tablet_pad_group_v2::Event;
        let text = match event {
            Event::Buttons { buttons } => format!("group of {}", buttons.len() / 4),
            Event::Modes { modes } => format!("modes {modes}"),
            Event::ModeSwitch { mode, .. } => format!("mode {mode}"),
            _ => return,
        };
        state.tablets.pad_events.push(text);
    }

    event_created_child!(TestState, ZwpTabletPadGroupV2, [
        EVT_RING_OPCODE => (ZwpTabletPadRingV2, ()),
        EVT_STRIP_OPCODE => (ZwpTabletPadStripV2, ()),
    ]);
}

impl Dispatch<ZwpTabletPadRingV2, ()> for TestState {
    fn event(
        state: &mut Self,
        _: &ZwpTabletPadRingV2,
        event: zwp_tablet_pad_ring_v2::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use zwp_tablet_pad_ring_v2::Event;
        let text = match event {
            Event::Angle { degrees } => format!("angle {degrees}"),
            Event::Stop => "ring stop".into(),
            _ => return,
        };
        state.tablets.pad_events.push(text);
    }
}

impl Dispatch<ZwpTabletPadStripV2, ()> for TestState {
    fn event(
        state: &mut Self,
        _: &ZwpTabletPadStripV2,
        event: zwp_tablet_pad_strip_v2::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let zwp_tablet_pad_strip_v2::Event::Position { position } = event {
            state.tablets.pad_events.push(format!("strip {position}"));
        }
    }
}
