//! What the client reports of pens (tablet-v2).

use wayland_client::{delegate_noop, event_created_child, Connection, Dispatch, QueueHandle};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_manager_v2::ZwpTabletManagerV2;
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_pad_v2::ZwpTabletPadV2;
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_seat_v2::{
    self, ZwpTabletSeatV2, EVT_PAD_ADDED_OPCODE, EVT_TABLET_ADDED_OPCODE, EVT_TOOL_ADDED_OPCODE,
};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_tool_v2::{self, ZwpTabletToolV2};
use wayland_protocols::wp::tablet::zv2::client::zwp_tablet_v2::ZwpTabletV2;

use crate::App;

/// The manager, and the object of the seat once both are known.
pub struct Tablet {
    manager: ZwpTabletManagerV2,
    seat: Option<ZwpTabletSeatV2>,
}

impl From<ZwpTabletManagerV2> for Tablet {
    fn from(manager: ZwpTabletManagerV2) -> Self {
        Self { manager, seat: None }
    }
}

impl App {
    /// Asks for the events of tablets, once the seat and the manager are bound.
    pub fn watch_tablets(&mut self, queue: &QueueHandle<Self>) {
        if let (Some(seat), Some(tablet)) = (&self.seat, &mut self.tablet) {
            tablet.seat.get_or_insert_with(|| tablet.manager.get_tablet_seat(seat, queue, ()));
        }
    }
}

delegate_noop!(App: ignore ZwpTabletManagerV2);
delegate_noop!(App: ignore ZwpTabletV2);
delegate_noop!(App: ignore ZwpTabletPadV2);

impl Dispatch<ZwpTabletSeatV2, ()> for App {
    fn event(
        _: &mut Self,
        _: &ZwpTabletSeatV2,
        _: zwp_tablet_seat_v2::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }

    event_created_child!(App, ZwpTabletSeatV2, [
        EVT_TABLET_ADDED_OPCODE => (ZwpTabletV2, ()),
        EVT_TOOL_ADDED_OPCODE => (ZwpTabletToolV2, ()),
        EVT_PAD_ADDED_OPCODE => (ZwpTabletPadV2, ()),
    ]);
}

impl Dispatch<ZwpTabletToolV2, ()> for App {
    fn event(
        app: &mut Self,
        _: &ZwpTabletToolV2,
        event: zwp_tablet_tool_v2::Event,
        (): &(),
        _: &Connection,
        queue: &QueueHandle<Self>,
    ) {
        use zwp_tablet_tool_v2::Event;
        match event {
            Event::ProximityIn { .. } => app.print(format_args!("pen in")),
            Event::ProximityOut => app.print(format_args!("pen out")),
            Event::Motion { x, y } => app.print(format_args!("pen at {x:.0} {y:.0}")),
            Event::Pressure { pressure } => app.print(format_args!("pen pressure {pressure}")),
            Event::Down { serial } => {
                app.print(format_args!("pen down"));
                app.open_menu(serial, queue);
            }
            Event::Up => app.print(format_args!("pen up")),
            Event::Button { button, .. } => app.print(format_args!("pen button {button}")),
            _ => {}
        }
    }
}
