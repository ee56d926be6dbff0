//! wlr-layer-shell: how many surfaces there are, and sizes and margins that are negative as Smithay
//! keeps them or too large to be added.

use smithay::reexports::wayland_protocols_wlr::layer_shell::v1::server::zwlr_layer_shell_v1::{
    self, ZwlrLayerShellV1,
};
use smithay::reexports::wayland_protocols_wlr::layer_shell::v1::server::zwlr_layer_surface_v1::{
    self, ZwlrLayerSurfaceV1,
};
use smithay::reexports::wayland_server::{delegate_global_dispatch, Client, Resource};
use smithay::wayland::shell::wlr_layer::{
    WlrLayerShellGlobalData, WlrLayerShellState, WlrLayerSurfaceUserData,
};

use super::{can_be_added, guard, Checked, Refused, MAX_COORDINATE};
use crate::clients::objects::Counted;
use crate::compositor::State;

fn check_layer_surface(
    _state: &mut State,
    _client: &Client,
    surface: &ZwlrLayerSurfaceV1,
    request: &zwlr_layer_surface_v1::Request,
    _data: &WlrLayerSurfaceUserData,
) -> Checked {
    match request {
        zwlr_layer_surface_v1::Request::SetSize { width, height }
            if (*width).max(*height) > MAX_COORDINATE as u32 =>
        {
            surface.post_error(zwlr_layer_surface_v1::Error::InvalidSize, "the size is too large");
            Err(Refused)
        }
        // Smithay adds them to places and sizes of displays. The protocol has no error for them.
        zwlr_layer_surface_v1::Request::SetMargin { top, right, bottom, left }
            if !can_be_added(&[*top, *right, *bottom, *left]) =>
        {
            Err(Refused)
        }
        zwlr_layer_surface_v1::Request::SetExclusiveZone { zone } if !can_be_added(&[*zone]) => Err(Refused),
        _ => Ok(()),
    }
}

guard!(ZwlrLayerShellV1, () => WlrLayerShellState, creates zwlr_layer_shell_v1::Request::GetLayerSurface => Counted::LayerSurface);
guard!(ZwlrLayerSurfaceV1, WlrLayerSurfaceUserData => WlrLayerShellState, check check_layer_surface; counted Counted::LayerSurface);
delegate_global_dispatch!(State: [ZwlrLayerShellV1: WlrLayerShellGlobalData] => WlrLayerShellState);
