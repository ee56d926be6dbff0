//! What an output shows now: its windows, layer surfaces and cursor, or the diagnostic screen.

use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::Transform;

use super::State;
use crate::output::{Output, OutputId};
use crate::render::diagnostic::DiagnosticInfo;
use crate::render::own_content::ShownContent;
use crate::render::scene::{Scene, View};
use crate::render::visible::VisibleSurfaces;
use crate::shell::root_surface;

impl State {
    /// Collects the visible surfaces of an output. A mirror has none: its source shows them.
    pub fn visible_surfaces(&self, output: &Output) -> VisibleSurfaces {
        let drag_icon = self.input.pointer().drag_icon_on(output, &self.outputs);
        self.shell.visible_surfaces(output, &self.outputs, drag_icon)
    }

    fn diagnostic_info(&self, output: &Output) -> DiagnosticInfo {
        let size = output.frame_geometry().map(|geometry| geometry.upright_size()).unwrap_or_default();
        DiagnosticInfo {
            title: self.options.window_title.clone(),
            display: output.name.clone(),
            mode: output.state().mode.map(|mode| mode.to_string()).unwrap_or_default(),
            address: self.clients.addresses().wayland.clone(),
            notices: self.notices.recent(),
            size: (size.w.unsigned_abs(), size.h.unsigned_abs()),
        }
    }

    /// Decides what of its own content an output shows.
    fn shown_content(&mut self, id: OutputId, visible: &VisibleSurfaces) -> Option<ShownContent> {
        let output = self.outputs.get_mut(id)?;
        let is_empty = visible.is_empty();
        let inherits = output.own_content.keep_inherited_frame(is_empty, output.state().transform);
        let output = self.outputs.get(id)?;
        let shows_diagnostics = self.config.diagnostic_screen && is_empty && !inherits;
        Some(ShownContent {
            label: output.is_identified().then(|| output.name.clone()),
            unresponsive: self.unresponsive_on(id).map(|window| window.covered),
            diagnostic: shows_diagnostics.then(|| self.diagnostic_info(output)),
            calibration: output
                .frame_geometry()
                .and_then(|geometry| self.calibration_on(id, geometry.upright_size())),
        })
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
        let content = self.outputs.content_of(id)?.id;
        let source = self.outputs.get(content)?.frame_geometry()?;
        let is_mirror = content != id;
        let shown = self.shown_content(content, &visible)?;
        let described_surfaces = self.described_surfaces(&visible);
        let may_scan_out = self.config.direct_scanout
            && !is_mirror
            && !shown.covers_surfaces()
            && described_surfaces.is_empty();
        let scanout_candidate = may_scan_out.then(|| visible.scanout_candidate(&source)).flatten();
        let cursor = self.input.pointer_mut().cursor_on(content, &self.outputs);
        // Items borrow it, so it is taken out of the output while they are drawn.
        let mut own_content = std::mem::take(&mut self.outputs.get_mut(content)?.own_content);
        let mut scene = Scene {
            geometry,
            scale: source.scale,
            items: own_content.items(&source, shown, visible),
            cursor,
            cursor_plane_allowed: source.transform == Transform::Normal && !is_mirror,
            draws_cursor: true,
            scanout_candidate,
            described_surfaces,
            view: is_mirror.then(|| View::new(source.upright_size(), geometry.upright_size())),
        };
        let result = draw(self, &mut scene);
        drop(scene);
        if let Some(output) = self.outputs.get_mut(content) {
            output.own_content = own_content;
        }
        Some(result)
    }

    /// Returns the output that shows a surface.
    pub fn output_of(&self, surface: &WlSurface) -> Option<OutputId> {
        self.shell
            .output_of(surface, &self.outputs)
            .or_else(|| self.input.pointer().output_of(&root_surface(surface), &self.outputs))
    }
}
