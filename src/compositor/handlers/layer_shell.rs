//! wlr-layer-shell: panels, backgrounds, launchers, locks.

use smithay::output::Output;
use smithay::reexports::wayland_server::protocol::wl_output::WlOutput;
use smithay::wayland::shell::wlr_layer::{
    Layer, LayerSurface as WlrLayerSurface, WlrLayerShellHandler, WlrLayerShellState,
};
use smithay::wayland::shell::xdg::PopupSurface;

use crate::compositor::State;

impl WlrLayerShellHandler for State {
    fn shell_state(&mut self) -> &mut WlrLayerShellState {
        &mut self.protocols.layer_shell
    }

    fn new_layer_surface(
        &mut self,
        surface: WlrLayerSurface,
        output: Option<WlOutput>,
        _layer: Layer,
        namespace: String,
    ) {
        let output = output.as_ref().and_then(Output::from_resource);
        self.shell.add_layer_surface(surface, namespace, output.as_ref(), &self.outputs);
    }

    fn new_popup(&mut self, _parent: WlrLayerSurface, popup: PopupSurface) {
        self.shell.track_popup(popup, &self.outputs);
    }

    fn layer_destroyed(&mut self, surface: WlrLayerSurface) {
        self.with_shell(|shell, cx| shell.remove_layer_surface(&surface, cx.outputs));
    }
}
