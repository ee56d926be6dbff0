//! zwp_tablet_pad_v2, and the groups, rings and strips of a pad. A pad follows the keyboard focus.

use smithay::reexports::wayland_protocols::wp::tablet::zv2::server::zwp_tablet_pad_group_v2::{
    self, ZwpTabletPadGroupV2,
};
use smithay::reexports::wayland_protocols::wp::tablet::zv2::server::zwp_tablet_pad_ring_v2::{
    self, ZwpTabletPadRingV2,
};
use smithay::reexports::wayland_protocols::wp::tablet::zv2::server::zwp_tablet_pad_strip_v2::{
    self, ZwpTabletPadStripV2,
};
use smithay::reexports::wayland_protocols::wp::tablet::zv2::server::zwp_tablet_pad_v2::{
    self, ButtonState, ZwpTabletPadV2,
};
use smithay::reexports::wayland_protocols::wp::tablet::zv2::server::zwp_tablet_seat_v2::ZwpTabletSeatV2;
use smithay::reexports::wayland_protocols::wp::tablet::zv2::server::zwp_tablet_v2::ZwpTabletV2;
use smithay::reexports::wayland_server::backend::{ClientId, ObjectId};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Client, DataInit, Dispatch, DisplayHandle, Resource};
use smithay::utils::SERIAL_COUNTER;

use super::{SeatNumber, TabletObjects};
use crate::compositor::State;
use crate::input::tablets::Pad;

/// What a pad does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PadUpdate {
    Button {
        number: u32,
        is_pressed: bool,
    },
    /// The angle of a finger on a ring, in degrees, or that it was lifted.
    Ring {
        number: u32,
        degrees: Option<f64>,
        is_finger: bool,
    },
    /// The position of a finger on a strip, from 0 to 1, or that it was lifted.
    Strip {
        number: u32,
        position: Option<f64>,
        is_finger: bool,
    },
    /// A group has another mode.
    Mode {
        group: usize,
        mode: u32,
    },
}

struct GroupObjects {
    group: ZwpTabletPadGroupV2,
    /// By their numbers on the pad.
    rings: Vec<(u32, ZwpTabletPadRingV2)>,
    strips: Vec<(u32, ZwpTabletPadStripV2)>,
}

/// A client's objects of a pad.
pub(super) struct PadObjects {
    sysname: String,
    pad: ZwpTabletPadV2,
    groups: Vec<GroupObjects>,
    /// The surface that it is on.
    entered: Option<WlSurface>,
}

impl PadObjects {
    /// Creates and describes a pad's objects.
    pub fn create(
        client: &Client,
        display: &DisplayHandle,
        seat: &ZwpTabletSeatV2,
        number: SeatNumber,
        pad: &Pad,
    ) -> Option<Self> {
        let version = seat.version();
        let object = client.create_resource::<ZwpTabletPadV2, _, State>(display, version, number).ok()?;
        seat.pad_added(&object);
        object.path(format!("/dev/input/{}", pad.sysname));
        if pad.buttons > 0 {
            object.buttons(pad.buttons);
        }
        let mut groups = Vec::with_capacity(pad.groups.len());
        for info in &pad.groups {
            let group =
                client.create_resource::<ZwpTabletPadGroupV2, _, State>(display, version, number).ok()?;
            object.group(&group);
            group.buttons(info.buttons.iter().flat_map(|button| button.to_ne_bytes()).collect());
            let (mut rings, mut strips) = (Vec::new(), Vec::new());
            for ring in &info.rings {
                let created =
                    client.create_resource::<ZwpTabletPadRingV2, _, State>(display, version, number).ok()?;
                group.ring(&created);
                rings.push((*ring, created));
            }
            for strip in &info.strips {
                let created =
                    client.create_resource::<ZwpTabletPadStripV2, _, State>(display, version, number).ok()?;
                group.strip(&created);
                strips.push((*strip, created));
            }
            if info.modes > 1 {
                group.modes(info.modes);
            }
            group.done();
            groups.push(GroupObjects { group, rings, strips });
        }
        object.done();
        Some(Self { sysname: pad.sysname.clone(), pad: object, groups, entered: None })
    }

    /// Forgets a destroyed object. Returns whether that was the pad's own.
    pub fn forget(&mut self, id: &ObjectId) -> bool {
        self.groups.retain_mut(|group| {
            group.rings.retain(|(_, ring)| ring.id() != *id);
            group.strips.retain(|(_, strip)| strip.id() != *id);
            group.group.id() != *id
        });
        self.pad.id() == *id
    }

    /// Enters a surface with a tablet, or none.
    fn enter(&mut self, target: Option<(&WlSurface, &ZwpTabletV2)>, pad: &Pad, time: u32) {
        if self.entered.as_ref() == target.map(|(surface, _)| surface) {
            return;
        }
        if let Some(left) = self.entered.take().filter(|left| left.client().is_some()) {
            self.pad.leave(SERIAL_COUNTER.next_serial().into(), &left);
        }
        let Some((surface, tablet)) = target else { return };
        self.pad.enter(SERIAL_COUNTER.next_serial().into(), tablet, surface);
        for (group, info) in self.groups.iter().zip(&pad.groups) {
            group.group.mode_switch(time, SERIAL_COUNTER.next_serial().into(), info.mode);
        }
        self.entered = Some(surface.clone());
    }

    fn send(&self, update: PadUpdate, time: u32) {
        match update {
            PadUpdate::Button { number, is_pressed } => {
                let state = if is_pressed { ButtonState::Pressed } else { ButtonState::Released };
                self.pad.button(time, number, state);
            }
            PadUpdate::Ring { number, degrees, is_finger } => {
                let mut rings = self.groups.iter().flat_map(|group| &group.rings);
                let Some((_, ring)) = rings.find(|(known, _)| *known == number) else { return };
                if is_finger {
                    ring.source(zwp_tablet_pad_ring_v2::Source::Finger);
                }
                match degrees {
                    Some(degrees) => ring.angle(degrees),
                    None => ring.stop(),
                }
                ring.frame(time);
            }
            PadUpdate::Strip { number, position, is_finger } => {
                let mut strips = self.groups.iter().flat_map(|group| &group.strips);
                let Some((_, strip)) = strips.find(|(known, _)| *known == number) else { return };
                if is_finger {
                    strip.source(zwp_tablet_pad_strip_v2::Source::Finger);
                }
                match position {
                    Some(position) => strip.position((position.clamp(0.0, 1.0) * 65535.0).round() as u32),
                    None => strip.stop(),
                }
                strip.frame(time);
            }
            PadUpdate::Mode { group, mode } => {
                if let Some(group) = self.groups.get(group) {
                    group.group.mode_switch(time, SERIAL_COUNTER.next_serial().into(), mode);
                }
            }
        }
    }
}

impl TabletObjects {
    /// Announces a pad.
    pub fn add_pad(&mut self, display: &DisplayHandle, pad: &Pad) {
        self.seats.iter_mut().for_each(|seat| seat.add_pad(display, pad));
    }

    /// A pad is gone.
    pub fn remove_pad(&mut self, sysname: &str) {
        for seat in &mut self.seats {
            let (gone, kept) =
                std::mem::take(&mut seat.pads).into_iter().partition(|pad| pad.sysname == sysname);
            seat.pads = kept;
            gone.iter().for_each(|pad: &PadObjects| pad.pad.removed());
        }
    }

    /// Puts a pad, with the tablet that it is on, on the surface with the keyboard focus, if its
    /// client knows both.
    pub fn focus_pad(&mut self, pad: &Pad, tablet: Option<&str>, focus: Option<&WlSurface>, time: u32) {
        let client = focus.and_then(Resource::client).map(|client| client.id());
        for seat in &mut self.seats {
            let is_own = client.as_ref() == Some(&seat.client);
            let tablet = tablet.and_then(|tablet| seat.tablet(tablet)).cloned();
            let target = focus.filter(|_| is_own).zip(tablet.as_ref());
            let objects = seat.pads.iter_mut().filter(|objects| objects.sysname == pad.sysname);
            objects.for_each(|objects| objects.enter(target, pad, time));
        }
    }

    /// Sends what a pad does to the client whose surface it is on.
    pub fn send_pad(&self, sysname: &str, update: PadUpdate, time: u32) {
        let pads = self.seats.iter().flat_map(|seat| &seat.pads);
        let entered = pads.filter(|pad| pad.sysname == sysname && pad.entered.is_some());
        entered.for_each(|pad| pad.send(update, time));
    }
}

/// Implements the dispatch of an interface whose requests need no answer: the descriptions that
/// clients set are for compositors that show them.
macro_rules! dispatch {
    ($interface:ty, $request:ty) => {
        impl Dispatch<$interface, SeatNumber> for State {
            fn request(
                _: &mut Self,
                _: &Client,
                _: &$interface,
                _: $request,
                _: &SeatNumber,
                _: &DisplayHandle,
                _: &mut DataInit<'_, Self>,
            ) {
            }

            fn destroyed(state: &mut Self, client: ClientId, object: &$interface, number: &SeatNumber) {
                state.forget_tablet_object(&client, *number, &object.id());
            }
        }
    };
}

dispatch!(ZwpTabletPadV2, zwp_tablet_pad_v2::Request);
dispatch!(ZwpTabletPadGroupV2, zwp_tablet_pad_group_v2::Request);
dispatch!(ZwpTabletPadRingV2, zwp_tablet_pad_ring_v2::Request);
dispatch!(ZwpTabletPadStripV2, zwp_tablet_pad_strip_v2::Request);
