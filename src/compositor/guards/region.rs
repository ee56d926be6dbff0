//! wl_region: how many rectangles one has. Smithay keeps them as a list, subtracts each from each
//! when the region is used, and does so for every frame.

use smithay::reexports::wayland_server::protocol::wl_region::{self, WlRegion};
use smithay::reexports::wayland_server::{Client, Resource};
use smithay::wayland::compositor::{CompositorState, RegionUserData};

use super::{guard, refuse, Checked, Refused};
use crate::clients::ClientData;
use crate::compositor::State;

fn check_region(
    state: &mut State,
    client: &Client,
    region: &WlRegion,
    request: &wl_region::Request,
    _data: &RegionUserData,
) -> Checked {
    let objects = &ClientData::of(client).objects;
    let id = region.id().protocol_id();
    match request {
        // Such a rectangle is empty. The protocol has no error for it, and Smithay asserts that it
        // does not get one.
        wl_region::Request::Add { width, height, .. }
        | wl_region::Request::Subtract { width, height, .. }
            if *width < 0 || *height < 0 =>
        {
            return Err(Refused);
        }
        wl_region::Request::Add { .. } | wl_region::Request::Subtract { .. } => {
            let result = objects.add_rectangle(id, &state.config.clients.objects);
            result.map_err(|over| refuse(region, &over))?;
        }
        wl_region::Request::Destroy => objects.remove_region(id),
        _ => {}
    }
    Ok(())
}

guard!(WlRegion, RegionUserData => CompositorState, check check_region);
