//! wlr-layer-shell: how many surfaces there are.

use smithay::reexports::wayland_protocols_wlr::layer_shell::v1::server::zwlr_layer_shell_v1::{
    self, ZwlrLayerShellV1,
};
use smithay::reexports::wayland_protocols_wlr::layer_shell::v1::server::zwlr_layer_surface_v1::ZwlrLayerSurfaceV1;
use smithay::reexports::wayland_server::{delegate_global_dispatch, Client};
use smithay::wayland::shell::wlr_layer::{
    WlrLayerShellGlobalData, WlrLayerShellState, WlrLayerSurfaceUserData,
};

use super::{guard, Checked};
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

guard!(ZwlrLayerShellV1, () => WlrLayerShellState, check check_layer_shell);
guard!(ZwlrLayerSurfaceV1, WlrLayerSurfaceUserData => WlrLayerShellState, counted Counted::LayerSurface);
delegate_global_dispatch!(State: [ZwlrLayerShellV1: WlrLayerShellGlobalData] => WlrLayerShellState);
