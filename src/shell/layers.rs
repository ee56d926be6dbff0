//! Layer surfaces (wlr-layer-shell): panels, backgrounds, launchers, locks.

use smithay::desktop::{layer_map_for_output, LayerSurface, WindowSurfaceType};
use smithay::output::Output as WlOutput;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::compositor::with_states;
use smithay::wayland::shell::wlr_layer::{LayerSurface as WlrLayerSurface, LayerSurfaceData};
use tracing::{debug, info};

use super::{Effect, Effects, Shell};
use crate::output::outputs::Outputs;
use crate::output::{Output, OutputId};

impl Shell {
    /// Returns the output for something new: the requested one, or else the focused one, or else
    /// the leftmost one.
    pub fn preferred_output<'a>(
        &self,
        requested: Option<&'a Output>,
        outputs: &'a Outputs,
    ) -> Option<&'a Output> {
        let focused = || outputs.get(self.focused_output()?).filter(|output| output.is_in_layout());
        requested.or_else(focused).or_else(|| outputs.in_layout().first().copied())
    }

    /// Maps a layer surface on an output, or closes it if no output is enabled.
    pub fn add_layer_surface(
        &self,
        surface: WlrLayerSurface,
        namespace: String,
        requested: Option<&WlOutput>,
        outputs: &Outputs,
    ) {
        let requested = requested.and_then(|output| outputs.of_wl_output(output));
        let Some(output) = self.preferred_output(requested, outputs) else {
            info!(namespace, "layer surface closed: no display is enabled");
            surface.send_close();
            return;
        };
        info!(namespace, display = output.name, "layer surface mapped");
        let layer = LayerSurface::new(surface, namespace);
        if let Err(error) = layer_map_for_output(&output.wl_output).map_layer(&layer) {
            debug!(%error, "layer surface is already destroyed");
        }
    }

    /// Removes a layer surface that its client destroyed.
    pub fn remove_layer_surface(&self, surface: &WlrLayerSurface, outputs: &Outputs) -> Effects {
        let mut owner = None;
        for output in outputs.iter() {
            let mut layers = layer_map_for_output(&output.wl_output);
            let layer = layers.layers().find(|layer| layer.layer_surface() == surface).cloned();
            if let Some(layer) = layer {
                layers.unmap_layer(&layer);
                owner = Some(output.id);
            }
        }
        owner.map(|id| self.layers_changed(id, outputs)).unwrap_or_default()
    }

    /// Handles a commit of a layer surface: arranges the layer surfaces of its output again.
    pub fn commit_layer_surface(&self, surface: &WlSurface, outputs: &Outputs) -> Effects {
        let mut owner = None;
        for output in outputs.iter() {
            let mut layers = layer_map_for_output(&output.wl_output);
            if layers.layer_for_surface(surface, WindowSurfaceType::TOPLEVEL).is_none() {
                continue;
            }
            let zone = layers.non_exclusive_zone();
            let rearranged = layers.arrange();
            if !is_initial_configure_sent(surface) {
                if let Some(layer) = layers.layer_for_surface(surface, WindowSurfaceType::TOPLEVEL) {
                    layer.layer_surface().send_configure();
                }
            }
            owner = Some((output.id, rearranged || zone != layers.non_exclusive_zone()));
        }
        match owner {
            Some((id, true)) => self.layers_changed(id, outputs),
            Some(_) => vec![Effect::RefreshFocus],
            None => Effects::new(),
        }
    }

    /// The layer surfaces of an output changed their arrangement.
    fn layers_changed(&self, id: OutputId, outputs: &Outputs) -> Effects {
        self.resize_windows(id, outputs);
        vec![Effect::RefreshFocus, Effect::Redraw(id)]
    }
}

fn is_initial_configure_sent(surface: &WlSurface) -> bool {
    with_states(surface, |states| {
        let data = states.data_map.get::<LayerSurfaceData>();
        let data = data.map(|data| data.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        data.is_none_or(|data| data.initial_configure_sent)
    })
}
