//! Who has the keyboard, and what is under a point.

use geom_ipc::Event as IpcEvent;
use smithay::desktop::{layer_map_for_output, LayerSurface, WindowSurfaceType};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{IsAlive, Logical, Point, SERIAL_COUNTER};
use smithay::wayland::seat::WaylandFocus;
use smithay::wayland::shell::wlr_layer::{KeyboardInteractivity, Layer};

use super::windows::{root, ManagedWindow};
use crate::output::{Output, OutputId};
use crate::compositor::State;

/// A surface under a point, and the place of its origin in the layout.
pub type Under = (WlSurface, Point<f64, Logical>);

impl State {
    /// Windows that are seen on a display, front to back: dialogs, then the window itself.
    pub fn visible_windows(&self, id: OutputId) -> Vec<&ManagedWindow> {
        let here = |managed: &&ManagedWindow| managed.shown_on == Some(id);
        let stack: Vec<&ManagedWindow> = self.shell.windows.iter().filter(here).collect();
        let Some(top) = stack.last() else { return Vec::new() };
        // The window under the topmost dialogs.
        let mut base = *top;
        while let Some(parent) = base.parent() {
            match stack.iter().find(|managed| managed.is(&parent)) {
                Some(parent) => base = parent,
                None => break,
            }
        }
        let belongs = |managed: &ManagedWindow| {
            let mut next = managed.parent();
            while let Some(parent) = next {
                if base.is(&parent) {
                    return true;
                }
                next = stack.iter().find(|managed| managed.is(&parent)).and_then(|managed| managed.parent());
            }
            false
        };
        let mut seen: Vec<&ManagedWindow> =
            stack.iter().rev().copied().filter(|managed| belongs(managed)).collect();
        seen.push(base);
        seen
    }

    /// Gives a window the keyboard and puts it in front.
    pub fn focus_window(&mut self, surface: &WlSurface) {
        let Some(place) = self.shell.windows.iter().position(|managed| managed.is(surface)) else { return };
        let managed = self.shell.windows.remove(place);
        // Its dialogs stay above it.
        let (dialogs, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.shell.windows)
            .into_iter()
            .partition(|other| other.parent().is_some_and(|parent| managed.is(&parent)));
        self.shell.windows = others;
        let shown_on = managed.shown_on;
        self.shell.windows.push(managed);
        self.shell.windows.extend(dialogs);
        if let Some(id) = shown_on {
            self.shell.focused_output = Some(id);
            self.queue_redraw(id);
        }
        let target = self
            .shell
            .windows
            .last()
            .and_then(|managed| managed.window.wl_surface().map(|own| own.into_owned()));
        self.set_keyboard_focus(target);
    }

    /// Gives the keyboard to the frontmost window of the focused display, or of any.
    pub fn focus_top(&mut self) {
        let on =
            |managed: &&ManagedWindow| managed.shown_on.is_some() && managed.shown_on == self.shell.focused_output;
        let top = self.shell.windows.iter().rev().find(on).or(self.shell.windows.last());
        let target = top.and_then(|managed| managed.window.wl_surface().map(|own| own.into_owned()));
        self.set_keyboard_focus(target);
    }

    fn set_keyboard_focus(&mut self, target: Option<WlSurface>) {
        let target = self.exclusive_layer().or(target);
        for managed in &self.shell.windows {
            let active = target.as_ref().is_some_and(|target| managed.is(target));
            if managed.window.set_activated(active) {
                if let Some(toplevel) = managed.toplevel() {
                    toplevel.send_pending_configure();
                }
            }
        }
        let Some(keyboard) = self.seat.get_keyboard() else { return };
        if keyboard.current_focus() != target {
            let window =
                target.as_ref().and_then(|surface| self.window_of(surface)).map(|managed| managed.id);
            keyboard.set_focus(self, target, SERIAL_COUNTER.next_serial());
            self.publish_event(&IpcEvent::Focus { window });
        }
    }

    /// A layer surface that takes the keyboard from everyone (a lock, a launcher).
    pub(super) fn exclusive_layer(&self) -> Option<WlSurface> {
        self.outputs.in_layout().into_iter().find_map(|output| {
            let layers = layer_map_for_output(&output.wl_output);
            let wants = |layer: &&LayerSurface| {
                layer.cached_state().keyboard_interactivity == KeyboardInteractivity::Exclusive
                    && matches!(layer.layer(), Layer::Top | Layer::Overlay)
                    && layer.alive()
                    && layers.layer_geometry(layer).is_some_and(|geometry| !geometry.is_empty())
            };
            let found = layers.layers().rev().find(wants).map(|layer| layer.wl_surface().clone());
            found
        })
    }

    /// A click or touch: focuses what is under it.
    pub fn focus_at(&mut self, point: Point<f64, Logical>) {
        let Some(output) = self.outputs.at(point) else { return };
        self.shell.focused_output = Some(output.id);
        let Some((surface, _)) = self.surface_under(point) else { return };
        let root = root(&surface);
        if self.window_of(&root).is_some() {
            let focused = self.seat.get_keyboard().and_then(|keyboard| keyboard.current_focus());
            if focused.as_ref() != Some(&root) {
                self.focus_window(&root);
            }
            return;
        }
        let Some(output) = self.outputs.at(point) else { return };
        let wants = {
            let layers = layer_map_for_output(&output.wl_output);
            let layer = layers.layer_for_surface(&root, WindowSurfaceType::TOPLEVEL);
            layer.is_some_and(LayerSurface::can_receive_keyboard_focus)
        };
        if wants {
            self.set_keyboard_focus(Some(root));
        }
    }

    /// The layout changed or a layer came or went: the keyboard goes where it belongs.
    pub fn refresh_focus(&mut self) {
        let current = self.seat.get_keyboard().and_then(|keyboard| keyboard.current_focus());
        let stays = current.filter(|surface| surface.alive());
        match stays {
            Some(surface) => self.set_keyboard_focus(Some(surface)),
            None => self.focus_top(),
        }
    }

    /// The surface that gets pointer and touch input at a place of the layout.
    pub fn surface_under(&self, point: Point<f64, Logical>) -> Option<Under> {
        let output = self.outputs.at(point)?;
        let local = output.local(point);
        let origin = output.geometry().loc.to_f64();
        let global =
            |(surface, location): (WlSurface, Point<i32, Logical>)| (surface, location.to_f64() + origin);
        let windows = self.visible_windows(output.id);
        let fullscreen = windows.last().is_some_and(|managed| managed.fullscreen);
        let above: &[Layer] = if fullscreen { &[Layer::Overlay] } else { &[Layer::Overlay, Layer::Top] };
        if let Some(found) = above.iter().find_map(|layer| layer_under(output, *layer, local)) {
            return Some(global(found));
        }
        for managed in windows {
            let Some(location) = self.window_location(managed) else { continue };
            let origin = location - managed.window.geometry().loc;
            let inside = managed.window.surface_under(local - origin.to_f64(), WindowSurfaceType::ALL);
            if let Some((surface, offset)) = inside {
                return Some(global((surface, offset + origin)));
            }
        }
        let below = [Layer::Bottom, Layer::Background];
        below.iter().find_map(|layer| layer_under(output, *layer, local)).map(global)
    }
}

fn layer_under(
    output: &Output,
    layer: Layer,
    local: Point<f64, Logical>,
) -> Option<(WlSurface, Point<i32, Logical>)> {
    let layers = layer_map_for_output(&output.wl_output);
    let found = layers.layers_on(layer).rev().find_map(|surface| {
        let place = layers.layer_geometry(surface)?.loc;
        let (found, offset) = surface.surface_under(local - place.to_f64(), WindowSurfaceType::ALL)?;
        Some((found, offset + place))
    });
    found
}
