//! tablet-v2: graphics tablets, their tools, and the buttons, rings and strips of their pads.
//!
//! Smithay has the protocol without pads. It also sends tool events to the first of a client's
//! objects only, no `removed` of a tablet, a wrong high word of serial numbers, and the pressure of
//! a touch one frame after it (docs/upstream/smithay.md).
//!
//! Each `zwp_tablet_seat_v2` of a client has its own objects of all devices. Their number follows
//! from those of devices and seat objects, which are both bounded.
//!
//! Source: tablet-v2.xml.

mod pad;
mod tool;

use smithay::reexports::wayland_protocols::wp::tablet::zv2::server::zwp_tablet_manager_v2::{
    self, ZwpTabletManagerV2,
};
use smithay::reexports::wayland_protocols::wp::tablet::zv2::server::zwp_tablet_seat_v2::{
    self, ZwpTabletSeatV2,
};
use smithay::reexports::wayland_protocols::wp::tablet::zv2::server::zwp_tablet_tool_v2::ZwpTabletToolV2;
use smithay::reexports::wayland_protocols::wp::tablet::zv2::server::zwp_tablet_v2::{self, ZwpTabletV2};
use smithay::reexports::wayland_server::backend::{ClientId, ObjectId};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource,
};

use self::pad::PadObjects;
pub use self::pad::PadUpdate;
use crate::clients::objects::Counted;
use crate::compositor::State;
use crate::input::tablets::{Pad, TabletInfo, Tablets, Tool};

/// Version 2 adds dials and bus types, which libinput's Rust interface does not have.
pub const VERSION: u32 = 1;

/// The global's user data.
pub struct Global;

/// The number of a `zwp_tablet_seat_v2`, the user data of it and of its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeatNumber(u64);

/// A `zwp_tablet_seat_v2` with its objects.
struct SeatObjects {
    number: SeatNumber,
    client: ClientId,
    /// Its objects may outlive it.
    seat: ZwpTabletSeatV2,
    /// By the device's name in /dev/input.
    tablets: Vec<(String, ZwpTabletV2)>,
    /// By the tool's number.
    tools: Vec<(u64, ZwpTabletToolV2)>,
    pads: Vec<PadObjects>,
}

/// The objects of all clients.
#[derive(Default)]
pub struct TabletObjects {
    seats: Vec<SeatObjects>,
    last_number: u64,
}

impl SeatObjects {
    fn tablet(&self, sysname: &str) -> Option<&ZwpTabletV2> {
        self.tablets.iter().find(|(known, _)| known == sysname).map(|(_, tablet)| tablet)
    }

    fn tool(&self, id: u64) -> Option<&ZwpTabletToolV2> {
        self.tools.iter().find(|(known, _)| *known == id).map(|(_, tool)| tool)
    }

    /// Returns the client that new objects are for. `None` if it ends or destroyed the seat object.
    fn client(&self) -> Option<Client> {
        self.seat.is_alive().then(|| self.seat.client()).flatten()
    }

    fn add_tablet(&mut self, display: &DisplayHandle, info: &TabletInfo) {
        let Some(client) = self.client() else { return };
        let version = self.seat.version();
        let created = client.create_resource::<ZwpTabletV2, _, State>(display, version, self.number);
        let Ok(tablet) = created else { return };
        self.seat.tablet_added(&tablet);
        tablet.name(info.name.clone());
        if info.vendor != 0 {
            tablet.id(info.vendor, info.product);
        }
        tablet.path(format!("/dev/input/{}", info.sysname));
        tablet.done();
        self.tablets.push((info.sysname.clone(), tablet));
    }

    fn add_tool(&mut self, display: &DisplayHandle, tool: &Tool) {
        let Some(client) = self.client() else { return };
        if let Some(object) = tool::create(&client, display, &self.seat, self.number, tool) {
            self.tools.push((tool.id, object));
        }
    }

    fn add_pad(&mut self, display: &DisplayHandle, pad: &Pad) {
        let Some(client) = self.client() else { return };
        self.pads.extend(PadObjects::create(&client, display, &self.seat, self.number, pad));
    }

    fn forget(&mut self, id: &ObjectId) {
        self.tablets.retain(|(_, tablet)| Resource::id(tablet) != *id);
        self.tools.retain(|(_, tool)| tool.id() != *id);
        self.pads.retain_mut(|pad| !pad.forget(id));
    }

    fn is_empty(&self) -> bool {
        self.tablets.is_empty() && self.tools.is_empty() && self.pads.is_empty()
    }
}

impl TabletObjects {
    /// Announces a tablet.
    pub fn add_tablet(&mut self, display: &DisplayHandle, info: &TabletInfo) {
        self.seats.iter_mut().for_each(|seat| seat.add_tablet(display, info));
    }

    /// A tablet is gone.
    pub fn remove_tablet(&mut self, sysname: &str) {
        for seat in &mut self.seats {
            let (gone, kept) =
                std::mem::take(&mut seat.tablets).into_iter().partition(|(known, _)| known == sysname);
            seat.tablets = kept;
            gone.iter().for_each(|(_, tablet)| tablet.removed());
        }
    }

    /// Announces a tool that is used for the first time.
    pub fn add_tool(&mut self, display: &DisplayHandle, tool: &Tool) {
        self.seats.iter_mut().for_each(|seat| seat.add_tool(display, tool));
    }

    /// A tool is no longer known.
    pub fn remove_tool(&mut self, id: u64) {
        for seat in &mut self.seats {
            let (gone, kept) =
                std::mem::take(&mut seat.tools).into_iter().partition(|(known, _)| *known == id);
            seat.tools = kept;
            gone.iter().for_each(|(_, tool)| tool.removed());
        }
    }

    /// Returns whether a surface's client gets the events of a tool on a tablet.
    pub fn accepts(&self, surface: &WlSurface, tool: u64, tablet: &str) -> bool {
        self.of_client(surface).any(|seat| seat.tool(tool).is_some() && seat.tablet(tablet).is_some())
    }

    /// Sends something about a tool and its tablet to a client, on each of its objects.
    pub fn send(
        &self,
        client: &ClientId,
        tool: u64,
        tablet: &str,
        send: impl Fn(&ZwpTabletToolV2, &ZwpTabletV2),
    ) {
        for seat in self.seats.iter().filter(|seat| seat.client == *client) {
            if let (Some(tool), Some(tablet)) = (seat.tool(tool), seat.tablet(tablet)) {
                send(tool, tablet);
            }
        }
    }

    /// Returns the objects of a surface's client; none if it ends.
    fn of_client(&self, surface: &WlSurface) -> impl Iterator<Item = &SeatObjects> {
        let client = surface.client().map(|client| client.id());
        self.seats.iter().filter(move |seat| Some(&seat.client) == client.as_ref())
    }

    fn bind(
        &mut self,
        display: &DisplayHandle,
        client: ClientId,
        seat: ZwpTabletSeatV2,
        number: SeatNumber,
        devices: &Tablets,
    ) {
        let (tablets, tools, pads) = (Vec::new(), Vec::new(), Vec::new());
        let mut objects = SeatObjects { number, client, seat, tablets, tools, pads };
        devices.all().iter().for_each(|tablet| objects.add_tablet(display, tablet));
        devices.tools().iter().for_each(|tool| objects.add_tool(display, tool));
        devices.pads.iter().for_each(|pad| objects.add_pad(display, pad));
        self.seats.push(objects);
    }

    /// A client destroyed an object, or ended. Returns whether it was the last one of a
    /// `zwp_tablet_seat_v2`.
    fn forget(&mut self, number: SeatNumber, id: &ObjectId) -> bool {
        let Some(position) = self.seats.iter().position(|seat| seat.number == number) else { return false };
        let Some(seat) = self.seats.get_mut(position) else { return false };
        seat.forget(id);
        let is_gone = seat.is_empty() && (seat.seat.id() == *id || !seat.seat.is_alive());
        if is_gone {
            self.seats.swap_remove(position);
        }
        is_gone
    }
}

impl State {
    /// A client destroyed an object of a `zwp_tablet_seat_v2`, or ended. The seat counts until all
    /// its objects are gone: one that is destroyed before them costs as much as one that is not.
    fn forget_tablet_object(&mut self, client: &ClientId, number: SeatNumber, id: &ObjectId) {
        if self.protocols.tablet.forget(number, id) {
            self.uncount_object(client, Counted::TabletSeat);
        }
    }
}

impl GlobalDispatch<ZwpTabletManagerV2, Global> for State {
    fn bind(
        _: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        manager: New<ZwpTabletManagerV2>,
        _: &Global,
        init: &mut DataInit<'_, Self>,
    ) {
        init.init(manager, ());
    }
}

impl Dispatch<ZwpTabletManagerV2, ()> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        manager: &ZwpTabletManagerV2,
        request: zwp_tablet_manager_v2::Request,
        (): &(),
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        // There is one seat, so it does not matter which object of it the client names.
        let zwp_tablet_manager_v2::Request::GetTabletSeat { tablet_seat, .. } = request else { return };
        if state.count_object(client, manager, Counted::TabletSeat).is_err() {
            return;
        }
        let objects = &mut state.protocols.tablet;
        objects.last_number += 1;
        let number = SeatNumber(objects.last_number);
        let seat = init.init(tablet_seat, number);
        objects.bind(display, client.id(), seat, number, &state.input.tablets);
        state.refresh_pads();
        // A tool may be on one of its surfaces already.
        state.refresh_pointer_focus();
    }
}

impl Dispatch<ZwpTabletSeatV2, SeatNumber> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &ZwpTabletSeatV2,
        _: zwp_tablet_seat_v2::Request,
        _: &SeatNumber,
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
    }

    fn destroyed(state: &mut Self, client: ClientId, seat: &ZwpTabletSeatV2, number: &SeatNumber) {
        state.forget_tablet_object(&client, *number, &seat.id());
    }
}

impl Dispatch<ZwpTabletV2, SeatNumber> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &ZwpTabletV2,
        _: zwp_tablet_v2::Request,
        _: &SeatNumber,
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
    }

    fn destroyed(state: &mut Self, client: ClientId, tablet: &ZwpTabletV2, number: &SeatNumber) {
        state.forget_tablet_object(&client, *number, &Resource::id(tablet));
    }
}
