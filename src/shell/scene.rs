//! What a display shows now: its windows, layers, cursor, or the diagnostic screen.

use smithay::backend::renderer::utils::with_renderer_surface_state;
use smithay::desktop::{layer_map_for_output, LayerSurface, PopupManager, WindowSurfaceType};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{IsAlive, Logical, Physical, Point, Rectangle, Transform};
use smithay::wayland::compositor::{get_children, with_states};
use smithay::wayland::dmabuf::get_dmabuf;
use smithay::wayland::seat::WaylandFocus;
use smithay::wayland::shell::wlr_layer::Layer;

use super::windows::Managed;
use crate::display::screen::Screen;
use crate::input::pointer::CursorImage;
use crate::render::diagnostic::Facts;
use crate::render::scene::{Cursor, Direct, Item, Scene, View, BACKDROP};
use crate::state::State;

/// A surface tree and its place on the display, in logical pixels.
pub struct Placed {
    pub surface: WlSurface,
    pub location: Point<i32, Logical>,
}

/// What is seen on a display, front to back, before pixels.
#[derive(Default)]
pub struct Seen {
    pub placed: Vec<Placed>,
    /// A window is among them.
    pub has_window: bool,
    /// So many are in front of the backdrop that goes behind a window.
    pub before_backdrop: usize,
    pub has_background: bool,
}

impl Seen {
    /// A surface at `origin`, below its popups, which stand relative to `location`: a window's
    /// geometry begins there, inside its shadow.
    fn add(&mut self, surface: &WlSurface, location: Point<i32, Logical>, origin: Point<i32, Logical>) {
        for (popup, offset) in PopupManager::popups_for_surface(surface) {
            let location = location + offset - popup.geometry().loc;
            self.placed.push(Placed { surface: popup.wl_surface().clone(), location });
        }
        self.placed.push(Placed { surface: surface.clone(), location: origin });
    }

    fn add_layers(&mut self, screen: &Screen, layer: Layer) {
        let layers = layer_map_for_output(&screen.output);
        for surface in layers.layers_on(layer).rev() {
            if let Some(geometry) = layers.layer_geometry(surface) {
                self.add(LayerSurface::wl_surface(surface), geometry.loc, geometry.loc);
            }
        }
    }
}

impl State {
    /// What is seen on a display, front to back.
    pub fn seen(&self, screen: &Screen) -> Seen {
        let mut seen = Seen::default();
        if screen.mirror.is_some() {
            // What it shows is seen on another.
            return seen;
        }
        if let Some(icon) = self.pointer.drag_icon.as_ref().filter(|icon| icon.alive()) {
            if self.screens.at(self.pointer.location).is_some_and(|under| under.name == screen.name) {
                let location = screen.local(self.pointer.location).to_i32_round();
                seen.placed.push(Placed { surface: icon.clone(), location });
            }
        }
        let windows = self.seen_windows(&screen.name);
        let fullscreen = windows.last().is_some_and(|managed| managed.fullscreen);
        seen.add_layers(screen, Layer::Overlay);
        if !fullscreen {
            seen.add_layers(screen, Layer::Top);
        }
        for managed in &windows {
            self.add_window(&mut seen, managed);
        }
        seen.has_window = !windows.is_empty();
        seen.before_backdrop = seen.placed.len();
        if !fullscreen {
            seen.add_layers(screen, Layer::Bottom);
            let before = seen.placed.len();
            seen.add_layers(screen, Layer::Background);
            seen.has_background = seen.placed.len() > before;
        }
        seen
    }

    fn add_window(&self, seen: &mut Seen, managed: &Managed) {
        if let (Some(location), Some(surface)) = (self.window_location(managed), managed.window.wl_surface())
        {
            seen.add(&surface, location, location - managed.window.geometry().loc);
        }
    }

    fn facts(&self, screen: &Screen) -> Facts {
        let size = screen
            .output
            .current_transform()
            .transform_size(screen.output.current_mode().map(|mode| mode.size).unwrap_or_default());
        Facts {
            title: self.options.window_title.clone(),
            display: screen.name.clone(),
            mode: screen.mode.map(|mode| mode.to_string()).unwrap_or_default(),
            address: self.clients.address().to_owned(),
            troubles: self.troubles.recent(),
            size: (size.w.unsigned_abs(), size.h.unsigned_abs()),
        }
    }

    fn cursor_on(&mut self, name: &str) -> Option<Cursor> {
        if !self.pointer.present {
            return None;
        }
        let screen = self.screens.at(self.pointer.location).filter(|under| under.name == name)?;
        let scale = screen.scale();
        let place = screen.local(self.pointer.location).to_physical(scale);
        let CursorImage { picture, surface, hotspot } = self.pointer.image(scale)?;
        let position = ((place.x - hotspot.0).floor() as i32, (place.y - hotspot.1).floor() as i32);
        Some(Cursor { picture, surface, position })
    }

    /// Runs `draw` with a display's scene.
    pub fn with_scene<T>(
        &mut self,
        name: &str,
        draw: impl FnOnce(&mut Self, &mut Scene<'_>) -> T,
    ) -> Option<T> {
        // A mirror shows another's picture.
        let mirror = self.screens.get(name)?;
        let source = mirror.mirror.clone();
        let shown_on = mirror.output.current_transform().transform_size(mirror.output.current_mode()?.size);
        let name = source.as_deref().unwrap_or(name);
        let cursor = self.cursor_on(name);
        let screen = self.screens.get(name)?;
        let seen = self.seen(screen);
        let is_empty = !seen.has_window && !seen.has_background;
        let tells = self.config.diagnostic_screen && is_empty && screen.inherited.is_none();
        let facts = tells.then(|| self.facts(screen));
        let scale = screen.scale();
        let transform = screen.output.current_transform();
        let mode = screen.output.current_mode()?;
        let pixels = transform.transform_size(mode.size);
        let hung = self.hung_on(name);
        let identified = screen.identified_until.is_some();
        let covered = hung.is_some() || identified;
        let described = self.described(&seen);
        let direct = self.direct_candidate(screen, &seen, scale).filter(|_| !covered && described.is_empty());
        // The parts that items borrow are taken out of the display for the time of drawing.
        let screen = self.screens.get_mut(name)?;
        let mut diagnostic = std::mem::take(&mut screen.diagnostic);
        let mut backdrop = std::mem::take(&mut screen.backdrop);
        backdrop.update((pixels.w, pixels.h), BACKDROP);
        let mut notice = std::mem::take(&mut screen.notice);
        let mut label = std::mem::take(&mut screen.label);
        let inherited = screen.inherited.take().filter(|before| is_empty && before.transform == transform);

        let mut items: Vec<Item<'_>> = Vec::with_capacity(seen.placed.len() + 1);
        if identified {
            let picture = label.picture(name, (pixels.w.unsigned_abs(), pixels.h.unsigned_abs()));
            items.extend(picture.map(|buffer| Item::Memory { buffer, location: (0.0, 0.0).into() }));
        }
        if let Some(hung) = &hung {
            let area: Rectangle<i32, Physical> = hung.area.to_f64().to_physical(scale).to_i32_round();
            notice.update(&hung.name, (area.size.w, area.size.h));
            if let Some((buffer, (x, y))) = notice.message((area.size.w, area.size.h)).filter(|_| hung.asks) {
                let location = area.loc.to_f64() + Point::from((x, y));
                items.push(Item::Memory { buffer, location });
            }
            items.push(Item::Solid { buffer: &notice.veil, location: area.loc });
        }
        for (index, placed) in seen.placed.into_iter().enumerate() {
            if index == seen.before_backdrop && seen.has_window {
                items.push(Item::Solid { buffer: &backdrop, location: (0, 0).into() });
            }
            let location: Point<i32, Physical> = placed.location.to_physical_precise_round(scale);
            items.push(Item::Surface { surface: placed.surface, location });
        }
        if seen.has_window && !items.iter().any(|item| matches!(item, Item::Solid { .. })) {
            items.push(Item::Solid { buffer: &backdrop, location: (0, 0).into() });
        }
        if let Some(buffer) = facts.and_then(|facts| diagnostic.picture(facts)) {
            let centre = |whole: i32, part: u32| f64::from((whole - part as i32) / 2);
            let location = (centre(pixels.w, buffer.1 .0), centre(pixels.h, buffer.1 .1)).into();
            items.push(Item::Memory { buffer, location });
        }
        items.extend(inherited.as_ref().map(Item::Before));
        let mut scene = Scene {
            scale,
            items,
            cursor,
            cursor_plane_allowed: transform == Transform::Normal && source.is_none(),
            draws_cursor: true,
            direct: direct.filter(|_| source.is_none()),
            described,
            view: source.as_ref().map(|_| View::new(pixels, shown_on)),
        };
        let result = draw(self, &mut scene);
        drop(scene);
        if let Some(screen) = self.screens.get_mut(name) {
            (screen.diagnostic, screen.backdrop) = (diagnostic, backdrop);
            (screen.notice, screen.label) = (notice, label);
            screen.inherited = inherited;
        }
        Some(result)
    }

    /// A client's buffer that covers the display alone, in the display's own pixels.
    fn direct_candidate(&self, screen: &Screen, seen: &Seen, scale: f64) -> Option<Direct> {
        let transform = screen.output.current_transform();
        if !self.config.direct_scanout || transform != Transform::Normal {
            return None;
        }
        let first = seen.placed.first().filter(|_| seen.has_window)?;
        let location: Point<i32, Physical> = first.location.to_physical_precise_round(scale);
        let size = screen.output.current_mode()?.size;
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
                && view.dst.to_f64().to_physical(scale).to_i32_round() == size;
            let own = state.buffer_transform() == Transform::Normal
                && smithay::backend::allocator::Buffer::size(dmabuf) == (size.w, size.h).into();
            let opaque = state.opaque_regions().is_some_and(|regions| {
                regions.iter().any(|region| region.contains_rect(Rectangle::from_size(view.dst)))
            }) || !smithay::backend::allocator::format::has_alpha(
                smithay::backend::allocator::Buffer::format(dmabuf).code,
            );
            (whole && own && opaque).then(|| Direct {
                dmabuf: dmabuf.clone(),
                buffer: buffer.clone(),
                commit: state.current_commit(),
            })
        })
        .flatten()
    }

    /// Every surface tree that is seen on a display, its cursor included.
    pub fn seen_surfaces(&self, screen: &Screen) -> Vec<WlSurface> {
        let mut surfaces: Vec<WlSurface> =
            self.seen(screen).placed.into_iter().map(|placed| placed.surface).collect();
        let under = self.screens.at(self.pointer.location).is_some_and(|under| under.name == screen.name);
        if under && self.pointer.present {
            surfaces.extend(self.pointer.surface().cloned());
        }
        surfaces
    }

    /// The display that a surface is seen on.
    pub fn display_of(&self, surface: &WlSurface) -> Option<String> {
        let mut root = super::windows::root(surface);
        if let Some(popup) = self.shell.popups.find_popup(&root) {
            root = smithay::desktop::find_popup_root_surface(&popup).ok()?;
        }
        if let Some(managed) = self.window_of(&root) {
            return managed.shown_on.clone();
        }
        if self.pointer.surface() == Some(&root) || self.pointer.drag_icon.as_ref() == Some(&root) {
            return self.screens.at(self.pointer.location).map(|screen| screen.name.clone());
        }
        let mut screens = self.screens.iter();
        let owner = screens.find(|screen| {
            layer_map_for_output(&screen.output)
                .layer_for_surface(&root, WindowSurfaceType::TOPLEVEL)
                .is_some()
        });
        owner.map(|screen| screen.name.clone())
    }

    /// Whether a commit of this surface can be seen at all.
    pub fn is_seen(&self, display: &str, surface: &WlSurface) -> bool {
        let root = super::windows::root(surface);
        match self.window_of(&root) {
            Some(_) => self.seen_windows(display).iter().any(|managed| managed.is(&root)),
            None => with_states(&root, |_| true),
        }
    }
}
