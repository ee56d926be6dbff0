//! What the compositor itself draws on an output, in front of the clients' surfaces and behind
//! them: targets of a calibration, the name, the overlay for unresponsive clients, the backdrop,
//! the diagnostic screen and the inherited frame.

use smithay::backend::renderer::element::solid::SolidColorBuffer;
use smithay::utils::{Logical, Physical, Point, Rectangle, Size, Transform};

use super::calibration_page::{CalibrationInfo, CalibrationPage};
use super::diagnostic::{DiagnosticInfo, DiagnosticScreen};
use super::geometry::FrameGeometry;
use super::inherited_frame::InheritedFrame;
use super::label::Label;
use super::scene::{Item, BACKDROP};
use super::unresponsive_overlay::{Choice, UnresponsiveOverlay};
use super::visible::VisibleSurfaces;

/// The buffers of an output's own content, each drawn again when it changes.
#[derive(Debug, Default)]
pub struct OwnContent {
    calibration: CalibrationPage,
    label: Label,
    unresponsive_overlay: UnresponsiveOverlay,
    backdrop: SolidColorBuffer,
    diagnostic: DiagnosticScreen,
    /// What the previous DRM master showed; present until there is a window.
    inherited_frame: Option<InheritedFrame>,
}

/// The window that the overlay for unresponsive clients covers.
#[derive(Debug, Clone, PartialEq)]
pub struct CoveredWindow {
    /// What the overlay calls it.
    pub name: String,
    /// In the output's logical pixels.
    pub area: Rectangle<i32, Logical>,
    /// The overlay offers to wait or to close.
    pub asks: bool,
}

/// Which parts of its own content an output shows now.
#[derive(Debug, Default)]
pub struct ShownContent {
    /// The output's name, in large letters.
    pub label: Option<String>,
    pub unresponsive: Option<CoveredWindow>,
    pub diagnostic: Option<DiagnosticInfo>,
    /// In front of everything.
    pub calibration: Option<CalibrationInfo>,
}

impl ShownContent {
    /// Returns whether something is in front of the surfaces.
    pub fn covers_surfaces(&self) -> bool {
        self.label.is_some() || self.unresponsive.is_some() || self.calibration.is_some()
    }
}

fn pixels(size: Size<i32, Physical>) -> (u32, u32) {
    (size.w.unsigned_abs(), size.h.unsigned_abs())
}

impl OwnContent {
    /// Shows the previous DRM master's frame until something else is to be drawn.
    pub fn inherit(&mut self, frame: InheritedFrame) {
        self.inherited_frame = Some(frame);
    }

    /// Drops the inherited frame. Returns whether there was one.
    pub fn drop_inherited_frame(&mut self) -> bool {
        self.inherited_frame.take().is_some()
    }

    /// Drops the inherited frame once it is of no use: something else is to be drawn, or the output
    /// is rotated and the frame is not. Returns whether it stays.
    pub fn keep_inherited_frame(&mut self, is_empty: bool, transform: Transform) -> bool {
        self.inherited_frame.take_if(|frame| !is_empty || frame.transform != transform);
        self.inherited_frame.is_some()
    }

    /// Returns the button of the overlay for unresponsive clients at a point of the window that it
    /// covers, in pixels.
    pub fn overlay_choice(&self, window: Size<i32, Physical>, at: Point<f64, Physical>) -> Option<Choice> {
        self.unresponsive_overlay.choice((window.w, window.h), (at.x, at.y))
    }

    /// Returns the items of a scene, front to back: the visible surfaces, and what is shown in
    /// front of them and behind them.
    pub fn items(
        &mut self,
        geometry: &FrameGeometry,
        shown: ShownContent,
        visible: VisibleSurfaces,
    ) -> Vec<Item<'_>> {
        let (scale, size) = (geometry.scale, geometry.upright_size());
        let mut items: Vec<Item<'_>> = Vec::with_capacity(visible.placed.len() + 1);
        if let Some(info) = shown.calibration {
            items.extend(self.calibration.items(info));
        }
        if let Some(name) = &shown.label {
            let buffer = self.label.buffer(name, pixels(size));
            items.extend(buffer.map(|buffer| Item::Memory { buffer, location: (0.0, 0.0).into() }));
        }
        if let Some(window) = &shown.unresponsive {
            items.extend(overlay_items(&mut self.unresponsive_overlay, window, scale));
        }
        let has_window = visible.has_window;
        let mut surfaces = visible.placed.into_iter().map(|placed| Item::Surface {
            surface: placed.surface,
            location: placed.location.to_physical_precise_round(scale),
        });
        items.extend(surfaces.by_ref().take(visible.before_backdrop));
        if has_window {
            self.backdrop.update((size.w, size.h), BACKDROP);
            items.push(Item::Solid { buffer: &self.backdrop, location: (0, 0).into() });
        }
        items.extend(surfaces);
        if let Some(buffer) = shown.diagnostic.and_then(|info| self.diagnostic.buffer(info)) {
            let center = |whole: i32, part: u32| f64::from((whole - part as i32) / 2);
            let location = (center(size.w, buffer.1 .0), center(size.h, buffer.1 .1)).into();
            items.push(Item::Memory { buffer, location });
        }
        items.extend(self.inherited_frame.as_ref().map(Item::InheritedFrame));
        items
    }
}

/// Returns the overlay over a window: its message, and what dims the window.
fn overlay_items<'a>(
    overlay: &'a mut UnresponsiveOverlay,
    window: &CoveredWindow,
    scale: f64,
) -> impl Iterator<Item = Item<'a>> {
    let area: Rectangle<i32, Physical> = window.area.to_f64().to_physical(scale).to_i32_round();
    let size = (area.size.w, area.size.h);
    overlay.update(&window.name, size);
    let overlay = &*overlay;
    let message = overlay.message(size).filter(|_| window.asks).map(|(buffer, (x, y))| {
        let location = area.loc.to_f64() + Point::from((x, y));
        Item::Memory { buffer, location }
    });
    message.into_iter().chain([Item::Solid { buffer: &overlay.dim, location: area.loc }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry() -> FrameGeometry {
        FrameGeometry { size: (640, 480).into(), scale: 1.0, transform: Transform::Normal }
    }

    fn kinds(items: &[Item<'_>]) -> Vec<&'static str> {
        let kind = |item: &Item<'_>| match item {
            Item::Surface { .. } => "surface",
            Item::Memory { .. } => "memory",
            Item::Solid { .. } => "solid",
            Item::InheritedFrame(_) => "inherited",
        };
        items.iter().map(kind).collect()
    }

    #[test]
    fn backdrop_is_behind_a_window_that_is_dimmed() {
        let mut own = OwnContent::default();
        let window =
            |asks| CoveredWindow { name: "foot".into(), area: Rectangle::from_size((100, 100).into()), asks };
        let mut items = |label: bool, asks| {
            let shown = ShownContent {
                label: label.then(|| "DP-1".into()),
                unresponsive: Some(window(asks)),
                ..ShownContent::default()
            };
            assert!(shown.covers_surfaces());
            let visible = VisibleSurfaces { has_window: true, ..VisibleSurfaces::default() };
            kinds(&own.items(&geometry(), shown, visible))
        };
        assert_eq!(items(true, true), ["memory", "memory", "solid", "solid"]);
        // While the user waits, the overlay has no message.
        assert_eq!(items(false, false), ["solid", "solid"]);
    }

    #[test]
    fn output_without_windows_shows_the_diagnostic_screen_in_the_middle() {
        let mut own = OwnContent::default();
        let info = DiagnosticInfo {
            title: None,
            display: "DP-1".into(),
            mode: "640x480@60.00".into(),
            address: "wayland-1".into(),
            notices: Vec::new(),
            size: (640, 480),
        };
        let shown = ShownContent { diagnostic: Some(info), ..ShownContent::default() };
        assert!(!shown.covers_surfaces());
        match own.items(&geometry(), shown, VisibleSurfaces::default()).as_slice() {
            [Item::Memory { buffer, location }] => {
                assert!((location.x * 2.0 + f64::from(buffer.1 .0) - 640.0).abs() <= 1.0);
            }
            items => panic!("{:?}", kinds(items)),
        }
    }
}
