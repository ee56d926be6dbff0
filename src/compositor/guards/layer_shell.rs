//! wlr-layer-shell: how many surfaces there are, and sizes that are negative as Smithay keeps them.

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

use super::{guard, Checked, Refused};
use crate::clients::objects::Counted;
use crate::compositor::State;

fn check_layer_shell(
    state: &mut State,
    client: &Client,
    shell: &ZwlrLayerShellV1,
    request: &zwlr_layer_shell_v1::Request,
    (): &(),
) -> Checked {
    match request {
        zwlr_layer_shell_v1::Request::GetLayerSurface { .. } => {
            state.count_object(client, shell, Counted::LayerSurface)
        }
        _ => Ok(()),
    }
}

fn check_layer_surface(
    _state: &mut State,
    _client: &Client,
    surface: &ZwlrLayerSurfaceV1,
    request: &zwlr_layer_surface_v1::Request,
    _data: &WlrLayerSurfaceUserData,
) -> Checked {
    match request {
        zwlr_layer_surface_v1::Request::SetSize { width, height }
            if (*width).max(*height) > i32::MAX as u32 =>
        {
            surface.post_error(zwlr_layer_surface_v1::Error::InvalidSize, "the size is too large");
            Err(Refused)
        }
        _ => Ok(()),
    }
}

guard!(ZwlrLayerShellV1, () => WlrLayerShellState, check check_layer_shell);
guard!(ZwlrLayerSurfaceV1, WlrLayerSurfaceUserData => WlrLayerShellState, check check_layer_surface, counted Counted::LayerSurface);
delegate_global_dispatch!(State: [ZwlrLayerShellV1: WlrLayerShellGlobalData] => WlrLayerShellState);
