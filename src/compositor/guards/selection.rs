//! Clipboard, drag and drop, primary selection: who may start a drag, and how many types a source
//! offers. Each type is an event to the client that gets the offer, in one go: libwayland ends a
//! client whose socket cannot take them.

use smithay::reexports::wayland_protocols::wp::primary_selection::zv1::server::zwp_primary_selection_device_manager_v1::ZwpPrimarySelectionDeviceManagerV1;
use smithay::reexports::wayland_protocols::wp::primary_selection::zv1::server::zwp_primary_selection_device_v1::ZwpPrimarySelectionDeviceV1;
use smithay::reexports::wayland_protocols::wp::primary_selection::zv1::server::zwp_primary_selection_source_v1::{
    self, ZwpPrimarySelectionSourceV1,
};
use smithay::reexports::wayland_server::protocol::wl_data_device::{self, WlDataDevice};
use smithay::reexports::wayland_server::protocol::wl_data_device_manager::WlDataDeviceManager;
use smithay::reexports::wayland_server::protocol::wl_data_source::{self, WlDataSource};
use smithay::reexports::wayland_server::{delegate_dispatch, delegate_global_dispatch, Client, Resource};
use smithay::wayland::selection::data_device::{DataDeviceState, DataDeviceUserData, DataSourceUserData};
use smithay::wayland::selection::primary_selection::{
    PrimaryDeviceManagerGlobalData, PrimaryDeviceUserData, PrimarySelectionState, PrimarySourceUserData,
};

use super::{guard, Checked, Refused};
use crate::clients::libwayland::post_no_memory;
use crate::clients::ClientData;
use crate::compositor::State;

/// Smithay checks the serial of the press, but not whose press it was: serials can be guessed.
fn check_data_device(
    state: &mut State,
    client: &Client,
    _device: &WlDataDevice,
    request: &wl_data_device::Request,
    _data: &DataDeviceUserData,
) -> Checked {
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

guard!(WlDataDevice, DataDeviceUserData => DataDeviceState, check check_data_device);
guard!(WlDataSource, DataSourceUserData => DataDeviceState, check check_data_source);
guard!(ZwpPrimarySelectionSourceV1, PrimarySourceUserData => PrimarySelectionState, check check_primary_source);
delegate_global_dispatch!(State: [WlDataDeviceManager: ()] => DataDeviceState);
delegate_dispatch!(State: [WlDataDeviceManager: ()] => DataDeviceState);
delegate_global_dispatch!(State: [ZwpPrimarySelectionDeviceManagerV1: PrimaryDeviceManagerGlobalData] => PrimarySelectionState);
delegate_dispatch!(State: [ZwpPrimarySelectionDeviceManagerV1: ()] => PrimarySelectionState);
delegate_dispatch!(State: [ZwpPrimarySelectionDeviceV1: PrimaryDeviceUserData] => PrimarySelectionState);
