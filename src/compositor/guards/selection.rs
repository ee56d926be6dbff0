//! Clipboard, drag and drop, primary selection: who may start a drag, how many types a source
//! offers, and devices of clients that have ended. Each type is an event to the client that gets
//! the offer, in one go: libwayland ends a client whose socket cannot take them.

use smithay::reexports::wayland_protocols::wp::primary_selection::zv1::server::zwp_primary_selection_device_manager_v1::{
    self, ZwpPrimarySelectionDeviceManagerV1,
};
use smithay::reexports::wayland_protocols::wp::primary_selection::zv1::server::zwp_primary_selection_device_v1::{
    self, ZwpPrimarySelectionDeviceV1,
};
use smithay::reexports::wayland_protocols::wp::primary_selection::zv1::server::zwp_primary_selection_source_v1::{
    self, ZwpPrimarySelectionSourceV1,
};
use smithay::reexports::wayland_server::protocol::wl_data_device::{self, WlDataDevice};
use smithay::reexports::wayland_server::protocol::wl_data_device_manager::{self, WlDataDeviceManager};
use smithay::reexports::wayland_server::protocol::wl_data_source::{self, WlDataSource};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::{
    delegate_global_dispatch, Client, DataInit, Dispatch, DisplayHandle, Resource,
};
use smithay::wayland::selection::data_device::{DataDeviceState, DataDeviceUserData, DataSourceUserData};
use smithay::wayland::selection::primary_selection::{
    PrimaryDeviceManagerGlobalData, PrimaryDeviceUserData, PrimarySelectionState, PrimarySourceUserData,
};

use super::{guard, Checked, Refused};
use crate::clients::libwayland::post_no_memory;
use crate::clients::objects::Counted;
use crate::clients::ClientData;
use crate::compositor::State;

/// How many devices of ended clients are freed for each new one: each costs a search.
const FREED_AT_ONCE: usize = 8;

/// Devices that were destroyed. Smithay keeps all that their clients did not release before they
/// ended, and each of them keeps the seat: they are released with the next new device.
#[derive(Default)]
pub struct EndedDevices {
    data: Vec<WlDataDevice>,
    primary: Vec<ZwpPrimarySelectionDeviceV1>,
}

/// Implements the dispatch of a kind of device, and of its manager.
macro_rules! devices {
    (
        $manager:ty, creates $create:path => $device:ty, $data:ty => $smithay:ty,
        ended $ended:ident, release $release:path $(, check $check:path)?
    ) => {
        impl Dispatch<$manager, ()> for State {
            fn request(
                state: &mut Self,
                client: &Client,
                manager: &$manager,
                request: <$manager as Resource>::Request,
                data: &(),
                display: &DisplayHandle,
                data_init: &mut DataInit<'_, Self>,
            ) {
                if matches!(&request, $create { .. }) {
                    if state.count_object(client, manager, Counted::DataDevice).is_err() {
                        return;
                    }
                    let ended = &mut state.protocols.ended_devices.$ended;
                    let freed = ended.split_off(ended.len().saturating_sub(FREED_AT_ONCE));
                    for device in freed {
                        let Some(data) = device.data::<$data>() else { continue };
                        <$smithay as Dispatch<$device, $data, Self>>::request(
                            state, client, &device, $release, data, display, data_init,
                        );
                    }
                }
                <$smithay as Dispatch<$manager, (), Self>>::request(
                    state, client, manager, request, data, display, data_init,
                );
            }
        }

        impl Dispatch<$device, $data> for State {
            fn request(
                state: &mut Self,
                client: &Client,
                device: &$device,
                request: <$device as Resource>::Request,
                data: &$data,
                display: &DisplayHandle,
                data_init: &mut DataInit<'_, Self>,
            ) {
                $(
                    if $check(state, client, &request).is_err() {
                        return;
                    }
                )?
                <$smithay as Dispatch<$device, $data, Self>>::request(
                    state, client, device, request, data, display, data_init,
                );
            }

            fn destroyed(state: &mut Self, client: ClientId, device: &$device, _data: &$data) {
                state.uncount_object(&client, Counted::DataDevice);
                state.protocols.ended_devices.$ended.push(device.clone());
            }
        }
    };
}

/// Smithay checks the serial of the press, but not whose press it was: serials can be guessed.
fn check_data_device(state: &mut State, client: &Client, request: &wl_data_device::Request) -> Checked {
    match request {
        wl_data_device::Request::StartDrag { serial, .. }
            if !state.input.presses.were_sent((*serial).into(), ClientData::of(client).id) =>
        {
            Err(Refused)
        }
        _ => Ok(()),
    }
}

/// Counts a type that a source offers.
fn count_type(client: &Client, source: &impl Resource, mime_type: &str) -> Checked {
    let objects = &ClientData::of(client).objects;
    objects.add_type(source.id().protocol_id(), mime_type).map_err(|limit| {
        post_no_memory(source, &format!("a source offers types of more than {limit} bytes"));
        Refused
    })
}

fn check_data_source(
    _state: &mut State,
    client: &Client,
    source: &WlDataSource,
    request: &wl_data_source::Request,
    _data: &DataSourceUserData,
) -> Checked {
    match request {
        wl_data_source::Request::Offer { mime_type } => count_type(client, source, mime_type)?,
        wl_data_source::Request::Destroy => {
            ClientData::of(client).objects.remove_source(source.id().protocol_id());
        }
        _ => {}
    }
    Ok(())
}

fn check_primary_source(
    _state: &mut State,
    client: &Client,
    source: &ZwpPrimarySelectionSourceV1,
    request: &zwp_primary_selection_source_v1::Request,
    _data: &PrimarySourceUserData,
) -> Checked {
    match request {
        zwp_primary_selection_source_v1::Request::Offer { mime_type } => {
            count_type(client, source, mime_type)?;
        }
        zwp_primary_selection_source_v1::Request::Destroy => {
            ClientData::of(client).objects.remove_source(source.id().protocol_id());
        }
        _ => {}
    }
    Ok(())
}

devices!(
    WlDataDeviceManager, creates wl_data_device_manager::Request::GetDataDevice
        => WlDataDevice, DataDeviceUserData => DataDeviceState,
    ended data, release wl_data_device::Request::Release, check check_data_device
);
devices!(
    ZwpPrimarySelectionDeviceManagerV1,
    creates zwp_primary_selection_device_manager_v1::Request::GetDevice
        => ZwpPrimarySelectionDeviceV1, PrimaryDeviceUserData => PrimarySelectionState,
    ended primary, release zwp_primary_selection_device_v1::Request::Destroy
);
guard!(WlDataSource, DataSourceUserData => DataDeviceState, check check_data_source);
guard!(ZwpPrimarySelectionSourceV1, PrimarySourceUserData => PrimarySelectionState, check check_primary_source);
delegate_global_dispatch!(State: [WlDataDeviceManager: ()] => DataDeviceState);
delegate_global_dispatch!(State: [ZwpPrimarySelectionDeviceManagerV1: PrimaryDeviceManagerGlobalData] => PrimarySelectionState);
