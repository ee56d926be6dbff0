//! Layer surfaces (wlr-layer-shell): panels, backgrounds, launchers, locks.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use smithay::desktop::{layer_map_for_output, LayerSurface, WindowSurfaceType};
use smithay::output::Output as WlOutput;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::IsAlive;
use smithay::wayland::compositor::with_states;
use smithay::wayland::shell::wlr_layer::{LayerSurface as WlrLayerSurface, LayerSurfaceData};
use tracing::{debug, info};

use super::focus::model::MappedLayer;
use super::windows::has_buffer;
use super::{Effect, Effects, Shell};
use crate::output::outputs::Outputs;
use crate::output::{Output, OutputId};

/// A layer surface that its client has unmapped by committing a null buffer.
pub(super) struct UnmappedLayer {
    layer: LayerSurface,
    /// The output that showed it.
    output: OutputId,
}

/// Whether a layer surface had a buffer at its last commit.
#[derive(Default)]
struct HasBuffer(Cell<bool>);

/// The place of a layer surface in the order in which all were put on outputs.
#[derive(Default)]
struct Age(Cell<u64>);

static LAST_AGE: AtomicU64 = AtomicU64::new(0);

/// Puts a layer surface on an output, in front of the others of its layer. Returns false if its
/// client has destroyed it, or it is on an output already.
fn put_on(layer: &LayerSurface, output: &Output) -> bool {
    layer.user_data().insert_if_missing(Age::default);
    if let Some(Age(age)) = layer.user_data().get() {
        age.set(LAST_AGE.fetch_add(1, Ordering::Relaxed));
    }
    let mapped = layer_map_for_output(output.wl_output()).map_layer(layer);
    mapped.inspect_err(|error| debug!(%error, "cannot map layer surface")).is_ok()
}

/// Returns the layer surfaces that have a buffer, of the outputs of the layout. While no output is
/// enabled, of all: what is typed must not go to the windows behind a lock.
pub(super) fn mapped_layers(outputs: &Outputs) -> Vec<MappedLayer<WlSurface>> {
    let mut mapped = Vec::new();
    let mut shown = outputs.in_layout();
    if shown.is_empty() {
        shown.extend(outputs.iter());
    }
    for output in shown {
        let layers = layer_map_for_output(output.wl_output());
        let with_buffer = layers.layers().filter(|layer| layer.alive() && has_buffer(layer.wl_surface()));
        mapped.extend(with_buffer.map(|layer| MappedLayer {
            surface: layer.wl_surface().clone(),
            output: output.id,
            layer: layer.layer(),
            interactivity: layer.cached_state().keyboard_interactivity,
            age: layer.user_data().get().map_or(0, |Age(age)| age.get()),
        }));
    }
    mapped
}

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
        put_on(&layer, output);
    }

    /// Removes a layer surface that its client destroyed.
    pub fn remove_layer_surface(&mut self, surface: &WlrLayerSurface, outputs: &Outputs) -> Effects {
        self.unmapped_layers.retain(|unmapped| unmapped.layer.layer_surface() != surface);
        let mut owner = None;
        for output in outputs.iter() {
            let mut layers = layer_map_for_output(output.wl_output());
            let layer = layers.layers().find(|layer| layer.layer_surface() == surface).cloned();
            if let Some(layer) = layer {
                layers.unmap_layer(&layer);
                owner = Some(output.id);
            }
        }
        owner.map(|id| self.layers_changed(id, outputs)).unwrap_or_default()
    }

    /// Handles a commit of a layer surface: unmaps it if it has no buffer any longer, and arranges
    /// the layer surfaces of its output again.
    pub fn commit_layer_surface(&mut self, surface: &WlSurface, outputs: &Outputs) -> Effects {
        let is_remapped = self.remap_layer_surface(surface, outputs);
        let mut owner = None;
        for output in outputs.iter() {
            let mut layers = layer_map_for_output(output.wl_output());
            let layer = layers.layer_for_surface(surface, WindowSurfaceType::TOPLEVEL).cloned();
            let Some(layer) = layer else { continue };
            if unmaps(&layer) {
                info!(namespace = layer.namespace(), display = output.name, "layer surface unmapped");
                layers.unmap_layer(&layer);
                drop(layers);
                self.unmapped_layers.push(UnmappedLayer { layer, output: output.id });
                return self.layers_changed(output.id, outputs);
            }
            let zone = layers.non_exclusive_zone();
            let rearranged = layers.arrange();
            if !is_initial_configure_sent(surface) {
                layer.layer_surface().send_configure();
            }
            let zone_changed = zone != layers.non_exclusive_zone();
            owner = Some((output.id, is_remapped || rearranged || zone_changed));
        }
        match owner {
            Some((id, true)) => self.layers_changed(id, outputs),
            Some(_) => vec![Effect::RefreshFocus],
            None => Effects::new(),
        }
    }

    /// Maps a layer surface again whose client commits after it had unmapped it: on the output that
    /// showed it, if that is still enabled. Returns whether it did.
    fn remap_layer_surface(&mut self, surface: &WlSurface, outputs: &Outputs) -> bool {
        let is_it = |unmapped: &UnmappedLayer| unmapped.layer.wl_surface() == surface;
        let Some(index) = self.unmapped_layers.iter().position(is_it) else { return false };
        let UnmappedLayer { layer, output } = self.unmapped_layers.swap_remove(index);
        let former = outputs.get(output).filter(|output| output.is_in_layout());
        let Some(output) = self.preferred_output(former, outputs) else {
            info!(namespace = layer.namespace(), "layer surface closed: no display is enabled");
            layer.layer_surface().send_close();
            return false;
        };
        info!(namespace = layer.namespace(), display = output.name, "layer surface mapped");
        put_on(&layer, output)
    }

    /// Moves the layer surfaces of an output to another one, which takes its place.
    pub fn move_layers(from: &Output, to: &Output) {
        let mut layers = layer_map_for_output(from.wl_output());
        for layer in layers.layers().cloned().collect::<Vec<_>>() {
            layers.unmap_layer(&layer);
            put_on(&layer, to);
        }
    }

    /// The layer surfaces of an output changed their arrangement.
    fn layers_changed(&self, id: OutputId, outputs: &Outputs) -> Effects {
        self.resize_windows(id, outputs);
        vec![Effect::RefreshFocus, Effect::Redraw(id)]
    }
}

/// Returns whether the current commit of a layer surface unmaps it: it removes the buffer. The
/// client then begins again with a commit without a buffer, which is to be configured as the first
/// one was. Smithay 0.7.0 resets that state only when the role is destroyed.
fn unmaps(layer: &LayerSurface) -> bool {
    let surface = layer.wl_surface();
    let has_buffer = has_buffer(surface);
    layer.user_data().insert_if_missing(HasBuffer::default);
    let had_buffer = layer.user_data().get::<HasBuffer>().is_some_and(|had| had.0.replace(has_buffer));
    if !had_buffer || has_buffer {
        return false;
    }
    with_states(surface, |states| {
        if let Some(data) = states.data_map.get::<LayerSurfaceData>() {
            let mut data = data.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            data.initial_configure_sent = false;
        }
    });
    true
}

fn is_initial_configure_sent(surface: &WlSurface) -> bool {
    with_states(surface, |states| {
        let data = states.data_map.get::<LayerSurfaceData>();
        let data = data.map(|data| data.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        data.is_none_or(|data| data.initial_configure_sent)
    })
}
