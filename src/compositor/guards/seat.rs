//! wl_seat: how many devices of it a client has, and a pointer that a client creates after the
//! seat's pointer entered one of its surfaces. Smithay sends it no `wl_pointer.enter`, as it does
//! for keyboards, so that its client takes the next buttons for those of no surface. That is so for
//! each mouse that is plugged in.

use smithay::input::SeatState;
use smithay::reexports::wayland_server::backend::ClientId as WaylandClientId;
use smithay::reexports::wayland_server::protocol::wl_keyboard::WlKeyboard;
use smithay::reexports::wayland_server::protocol::wl_pointer::WlPointer;
use smithay::reexports::wayland_server::protocol::wl_seat::{self, WlSeat};
use smithay::reexports::wayland_server::protocol::wl_touch::WlTouch;
use smithay::reexports::wayland_server::{
    delegate_global_dispatch, Client, DataInit, Dispatch, DisplayHandle,
};
use smithay::wayland::seat::{
    KeyboardUserData, PointerUserData, SeatGlobalData, SeatUserData, TouchUserData,
};

use super::guard;
use crate::clients::objects::Counted;
use crate::compositor::State;

type Data = SeatUserData<State>;

impl Dispatch<WlSeat, Data> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        seat: &WlSeat,
        request: wl_seat::Request,
        data: &Data,
        display: &DisplayHandle,
        data_init: &mut DataInit<'_, Self>,
    ) {
        let is_device = !matches!(request, wl_seat::Request::Release);
        if is_device && state.count_object(client, seat, Counted::SeatDevice).is_err() {
            return;
        }
        let is_pointer = matches!(request, wl_seat::Request::GetPointer { .. });
        <SeatState<Self> as Dispatch<WlSeat, Data, Self>>::request(
            state, client, seat, request, data, display, data_init,
        );
        if is_pointer {
            state.enter_new_pointer(client);
        }
    }

    fn destroyed(state: &mut Self, client: WaylandClientId, seat: &WlSeat, data: &Data) {
        <SeatState<Self> as Dispatch<WlSeat, Data, Self>>::destroyed(state, client, seat, data);
    }
}

delegate_global_dispatch!(State: [WlSeat: SeatGlobalData<State>] => SeatState<State>);
guard!(WlPointer, PointerUserData<State> => SeatState<State>; counted Counted::SeatDevice);
guard!(WlKeyboard, KeyboardUserData<State> => SeatState<State>; counted Counted::SeatDevice);
guard!(WlTouch, TouchUserData<State> => SeatState<State>; counted Counted::SeatDevice);
