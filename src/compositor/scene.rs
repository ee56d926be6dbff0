//! What an output shows now: its windows, layer surfaces and cursor, or the diagnostic screen.

use smithay::backend::renderer::utils::with_renderer_surface_state;
use smithay::desktop::{layer_map_for_output, LayerSurface, PopupManager};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{IsAlive, Logical, Physical, Point, Rectangle, Transform};
use smithay::wayland::compositor::get_children;
use smithay::wayland::dmabuf::get_dmabuf;
use smithay::wayland::seat::WaylandFocus;
use smithay::wayland::shell::wlr_layer::Layer;

use super::State;
use crate::input::pointer::CursorImage;
use crate::output::{Output, OutputId};
use crate::render::diagnostic::DiagnosticInfo;
use crate::render::scene::{Cursor, Item, ScanoutCandidate, Scene, View, BACKDROP};
use crate::shell::{root_surface, ShellWindow};

/// The root of a surface tree and its location on the output, in logical pixels.
pub struct PlacedSurface {
    pub surface: WlSurface,
    pub location: Point<i32, Logical>,
}

/// The visible surfaces of an output, front to back.
#[derive(Default)]
pub struct VisibleSurfaces {
    pub placed: Vec<PlacedSurface>,
    /// At least one of them is a window.
    pub has_window: bool,
    /// This many are in front of the backdrop that is drawn behind a window.
    pub before_backdrop: usize,
    pub has_background: bool,
}

impl VisibleSurfaces {
    /// Adds a surface at `origin`, below its popups. Popups are placed relative to `location`: the
    /// window's geometry starts there, inside its shadow.
    fn add(&mut self, surface: &WlSurface, location: Point<i32, Logical>, origin: Point<i32, Logical>) {
        for (popup, offset) in PopupManager::popups_for_surface(surface) {
            let location = location + offset - popup.geometry().loc;
            self.placed.push(PlacedSurface { surface: popup.wl_surface().clone(), location });
        }
        self.placed.push(PlacedSurface { surface: surface.clone(), location: origin });
    }

    fn add_layers(&mut self, output: &Output, layer: Layer) {
        let layers = layer_map_for_output(&output.wl_output);
        for surface in layers.layers_on(layer).rev() {
            if let Some(geometry) = layers.layer_geometry(surface) {
                self.add(LayerSurface::wl_surface(surface), geometry.loc, geometry.loc);
            }
        }
    }
}

impl State {
    /// Collects the visible surfaces of an output. A mirror has none: its source shows them.
    pub fn visible_surfaces(&self, output: &Output) -> VisibleSurfaces {
        let mut visible = VisibleSurfaces::default();
        if output.mirror.is_some() {
            return visible;
        }
        let pointer = &self.input.pointer;
        if let Some(icon) = pointer.drag_icon.as_ref().filter(|icon| icon.alive()) {
            if self.outputs.at(pointer.location).is_some_and(|under| under.id == output.id) {
                let location = output.local(pointer.location).to_i32_round();
                visible.placed.push(PlacedSurface { surface: icon.clone(), location });
            }
        }
        let windows = self.shell.visible_windows(output.id);
        let fullscreen = windows.last().is_some_and(|window| window.fullscreen);
        visible.add_layers(output, Layer::Overlay);
        if !fullscreen {
            visible.add_layers(output, Layer::Top);
        }
        for window in &windows {
            self.add_window(&mut visible, window);
        }
        visible.has_window = !windows.is_empty();
        visible.before_backdrop = visible.placed.len();
        if !fullscreen {
            visible.add_layers(output, Layer::Bottom);
            let before = visible.placed.len();
            visible.add_layers(output, Layer::Background);
            visible.has_background = visible.placed.len() > before;
        }
        visible
    }

    fn add_window(&self, visible: &mut VisibleSurfaces, window: &ShellWindow) {
        let location = self.shell.window_location(window, &self.outputs);
        if let (Some(location), Some(surface)) = (location, window.handle.wl_surface()) {
            visible.add(&surface, location, location - window.handle.geometry().loc);
        }
    }

    fn diagnostic_info(&self, output: &Output) -> DiagnosticInfo {
        let size = output.frame_geometry().map(|geometry| geometry.upright_size()).unwrap_or_default();
        DiagnosticInfo {
            title: self.options.window_title.clone(),
            display: output.name.clone(),
            mode: output.mode.map(|mode| mode.to_string()).unwrap_or_default(),
            address: self.clients.addresses().wayland.clone(),
            notices: self.notices.recent(),
            size: (size.w.unsigned_abs(), size.h.unsigned_abs()),
        }
    }

    fn cursor_on(&mut self, id: OutputId) -> Option<Cursor> {
        let pointer = &mut self.input.pointer;
        if !pointer.present {
            return None;
        }
        let output = self.outputs.at(pointer.location).filter(|under| under.id == id)?;
        let scale = output.scale;
        let location = output.local(pointer.location).to_physical(scale);
        let CursorImage { buffer, surface, hotspot } = pointer.image(scale)?;
        let position = ((location.x - hotspot.0).floor() as i32, (location.y - hotspot.1).floor() as i32);
        Some(Cursor { buffer, surface, position })
    }

    /// Returns the output whose content an output shows: its source if it is a mirror, or itself.
    pub fn content_of(&self, id: OutputId) -> Option<&Output> {
        let output = self.outputs.get(id)?;
        match output.mirror.as_deref() {
            Some(source) => Some(self.outputs.named(source).unwrap_or(output)),
            None => Some(output),
        }
    }

    /// Builds an output's scene from its visible surfaces and runs `draw` with it. Returns `None`
    /// if the output is disabled.
    pub fn with_scene<T>(
        &mut self,
        id: OutputId,
        visible: VisibleSurfaces,
        draw: impl FnOnce(&mut Self, &mut Scene<'_>) -> T,
    ) -> Option<T> {
        let geometry = self.outputs.get(id)?.frame_geometry()?;
        let content = self.content_of(id)?.id;
        let is_mirror = content != id;
        let cursor = self.cursor_on(content);
        let is_empty = !visible.has_window && !visible.has_background;
        let inherits = self.outputs.get_mut(content)?.keep_inherited_frame(is_empty);
        let output = self.outputs.get(content)?;
        let shows_diagnostics = self.config.diagnostic_screen && is_empty && !inherits;
        let diagnostic_info = shows_diagnostics.then(|| self.diagnostic_info(output));
        let source = output.frame_geometry()?;
        let (scale, transform, pixels) = (source.scale, source.transform, source.upright_size());
        let unresponsive = self.unresponsive_on(content);
        let identified = output.identified_until.is_some();
        let covered = unresponsive.is_some() || identified;
        let described_surfaces = self.described_surfaces(&visible);
        let candidate =
            self.scanout_candidate(output, &visible).filter(|_| !covered && described_surfaces.is_empty());
        // Items borrow these parts, so they are taken out of the output while it is drawn.
        let output = self.outputs.get_mut(content)?;
        let name = output.name.clone();
        let mut diagnostic = std::mem::take(&mut output.diagnostic);
        let mut backdrop = std::mem::take(&mut output.backdrop);
        backdrop.update((pixels.w, pixels.h), BACKDROP);
        let mut overlay = std::mem::take(&mut output.unresponsive_overlay);
        let mut label = std::mem::take(&mut output.label);
        let inherited = output.inherited_frame.take();

        let mut items: Vec<Item<'_>> = Vec::with_capacity(visible.placed.len() + 1);
        if identified {
            let buffer = label.buffer(&name, (pixels.w.unsigned_abs(), pixels.h.unsigned_abs()));
            items.extend(buffer.map(|buffer| Item::Memory { buffer, location: (0.0, 0.0).into() }));
        }
        if let Some(unresponsive) = &unresponsive {
            let area: Rectangle<i32, Physical> = unresponsive.area.to_f64().to_physical(scale).to_i32_round();
            overlay.update(&unresponsive.name, (area.size.w, area.size.h));
            let message = overlay.message((area.size.w, area.size.h)).filter(|_| unresponsive.asks);
            if let Some((buffer, (x, y))) = message {
                let location = area.loc.to_f64() + Point::from((x, y));
                items.push(Item::Memory { buffer, location });
            }
            items.push(Item::Solid { buffer: &overlay.dim, location: area.loc });
        }
        for (index, placed) in visible.placed.into_iter().enumerate() {
            if index == visible.before_backdrop && visible.has_window {
                items.push(Item::Solid { buffer: &backdrop, location: (0, 0).into() });
            }
            let location: Point<i32, Physical> = placed.location.to_physical_precise_round(scale);
            items.push(Item::Surface { surface: placed.surface, location });
        }
        if visible.has_window && !items.iter().any(|item| matches!(item, Item::Solid { .. })) {
            items.push(Item::Solid { buffer: &backdrop, location: (0, 0).into() });
        }
        if let Some(buffer) = diagnostic_info.and_then(|info| diagnostic.buffer(info)) {
            let center = |whole: i32, part: u32| f64::from((whole - part as i32) / 2);
            let location = (center(pixels.w, buffer.1 .0), center(pixels.h, buffer.1 .1)).into();
            items.push(Item::Memory { buffer, location });
        }
        items.extend(inherited.as_ref().map(Item::InheritedFrame));
        let mut scene = Scene {
            geometry,
            scale,
            items,
            cursor,
            cursor_plane_allowed: transform == Transform::Normal && !is_mirror,
            draws_cursor: true,
            scanout_candidate: candidate.filter(|_| !is_mirror),
            described_surfaces,
            view: is_mirror.then(|| View::new(pixels, geometry.upright_size())),
        };
        let result = draw(self, &mut scene);
        drop(scene);
        if let Some(output) = self.outputs.get_mut(content) {
            (output.diagnostic, output.backdrop) = (diagnostic, backdrop);
            (output.unresponsive_overlay, output.label) = (overlay, label);
            output.inherited_frame = inherited;
        }
        Some(result)
    }

    /// Returns the dma-buf of a client that covers the output alone, in framebuffer pixels.
    fn scanout_candidate(&self, output: &Output, visible: &VisibleSurfaces) -> Option<ScanoutCandidate> {
        let geometry = output.frame_geometry()?;
        if !self.config.direct_scanout || geometry.transform != Transform::Normal {
            return None;
        }
        let first = visible.placed.first().filter(|_| visible.has_window)?;
        let location: Point<i32, Physical> = first.location.to_physical_precise_round(geometry.scale);
        let size = geometry.size;
        if location != Point::default() || !get_children(&first.surface).is_empty() {
            return None;
        }
        with_renderer_surface_state(&first.surface, |state| {
            let buffer = state.buffer()?;
            let dmabuf = get_dmabuf(buffer).ok()?;
            let view = state.view()?;
            let pixels = state.buffer_size()?;
            let whole = view.src.loc == Point::default()
                && view.src.size == pixels.to_f64()
                && view.dst.to_f64().to_physical(geometry.scale).to_i32_round() == size;
            let own = state.buffer_transform() == Transform::Normal
                && smithay::backend::allocator::Buffer::size(dmabuf) == (size.w, size.h).into();
            let opaque = state.opaque_regions().is_some_and(|regions| {
                regions.iter().any(|region| region.contains_rect(Rectangle::from_size(view.dst)))
            }) || !smithay::backend::allocator::format::has_alpha(
                smithay::backend::allocator::Buffer::format(dmabuf).code,
            );
            (whole && own && opaque).then(|| ScanoutCandidate {
                dmabuf: dmabuf.clone(),
                buffer: buffer.clone(),
                commit: state.current_commit(),
            })
        })
        .flatten()
    }

    /// Returns the output that shows a surface.
    pub fn output_of(&self, surface: &WlSurface) -> Option<OutputId> {
        self.shell.output_of(surface, &self.outputs).or_else(|| {
            let (root, pointer) = (root_surface(surface), &self.input.pointer);
            let is_cursor = pointer.surface() == Some(&root) || pointer.drag_icon.as_ref() == Some(&root);
            is_cursor.then(|| self.outputs.at(pointer.location).map(|output| output.id)).flatten()
        })
    }
}
