//! wlr-layer-shell: panels, backgrounds, launchers, locks.

use smithay::delegate_layer_shell;
use smithay::desktop::{layer_map_for_output, LayerSurface, PopupKind, WindowSurfaceType};
use smithay::output::Output;
use smithay::reexports::wayland_server::protocol::{wl_output::WlOutput, wl_surface::WlSurface};
use smithay::wayland::compositor::with_states;
use smithay::wayland::shell::wlr_layer::{
    Layer, LayerSurface as WlrLayerSurface, LayerSurfaceData, WlrLayerShellHandler, WlrLayerShellState,
};
use smithay::wayland::shell::xdg::PopupSurface;
use tracing::{debug, info};

use crate::compositor::State;
use crate::output::OutputId;

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
        let wished = output.as_ref().and_then(Output::from_resource);
        let wished = wished.and_then(|output| self.outputs.of_wl_output(&output));
        let focused = || self.shell.focused_output.and_then(|id| self.outputs.get(id));
        let focused = || focused().filter(|output| output.is_in_layout());
        let Some(output) = wished.or_else(focused).or_else(|| self.outputs.in_layout().first().copied()) else {
            info!(namespace, "a layer surface is closed: no display is lit");
            surface.send_close();
            return;
        };
        info!(namespace, display = output.name, "layer surface");
        let layer = LayerSurface::new(surface, namespace);
        if let Err(error) = layer_map_for_output(&output.wl_output).map_layer(&layer) {
            debug!(%error, "a layer surface is gone already");
        }
    }

    fn new_popup(&mut self, _parent: WlrLayerSurface, popup: PopupSurface) {
        self.unconstrain_popup(&popup);
        if let Err(error) = self.shell.popups.track_popup(PopupKind::from(popup)) {
            debug!(%error, "a popup is gone already");
        }
    }

    fn layer_destroyed(&mut self, surface: WlrLayerSurface) {
        let mut found = None;
        for output in self.outputs.iter() {
            let mut layers = layer_map_for_output(&output.wl_output);
            let layer = layers.layers().find(|layer| *layer.layer_surface() == surface).cloned();
            if let Some(layer) = layer {
                layers.unmap_layer(&layer);
                found = Some(output.id);
            }
        }
        if let Some(id) = found {
            self.layers_changed(id);
        }
    }
}

impl State {
    /// A commit of a layer surface: its display is arranged again.
    pub fn layer_committed(&mut self, surface: &WlSurface) {
        let mut found = None;
        for output in self.outputs.iter() {
            let mut layers = layer_map_for_output(&output.wl_output);
            if layers.layer_for_surface(surface, WindowSurfaceType::TOPLEVEL).is_none() {
                continue;
            }
            let zone = layers.non_exclusive_zone();
            let moved = layers.arrange();
            let initial = with_states(surface, |states| {
                let data = states.data_map.get::<LayerSurfaceData>();
                let data = data.map(|data| data.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
                data.is_some_and(|data| !data.initial_configure_sent)
            });
            if initial {
                if let Some(layer) = layers.layer_for_surface(surface, WindowSurfaceType::TOPLEVEL) {
                    layer.layer_surface().send_configure();
                }
            }
            found = Some((output.id, moved || zone != layers.non_exclusive_zone()));
        }
        match found {
            Some((id, true)) => self.layers_changed(id),
            Some(_) => self.refresh_focus(),
            None => {}
        }
    }

    fn layers_changed(&mut self, id: OutputId) {
        self.refit_windows(id);
        self.refresh_focus();
        self.queue_redraw(id);
    }
}

delegate_layer_shell!(State);
