//! The visible surfaces of an output, and the one whose buffer a plane could show by itself.

use smithay::backend::allocator::{format::has_alpha, Buffer as _};
use smithay::backend::renderer::utils::{with_renderer_surface_state, SurfaceView};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Buffer, Logical, Physical, Point, Rectangle, Size, Transform};
use smithay::wayland::compositor::get_children;
use smithay::wayland::dmabuf::get_dmabuf;

use super::geometry::FrameGeometry;
use super::scene::ScanoutCandidate;

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
    /// Returns whether there is neither a window nor a background.
    pub fn is_empty(&self) -> bool {
        !self.has_window && !self.has_background
    }

    /// Returns the dma-buf of a client that covers the output alone, in framebuffer pixels.
    pub fn scanout_candidate(&self, geometry: &FrameGeometry) -> Option<ScanoutCandidate> {
        let first = self.placed.first().filter(|_| self.has_window)?;
        if !get_children(&first.surface).is_empty() {
            return None;
        }
        with_renderer_surface_state(&first.surface, |state| {
            let buffer = state.buffer()?;
            let dmabuf = get_dmabuf(buffer).ok()?;
            let view = state.view()?;
            let pixels = state.buffer_size()?;
            let is_whole = covers(geometry, first.location, &view, pixels)
                && state.buffer_transform() == Transform::Normal
                && dmabuf.size() == Size::<i32, Buffer>::from((geometry.size.w, geometry.size.h));
            let is_opaque = state.opaque_regions().is_some_and(|regions| {
                regions.iter().any(|region| region.contains_rect(Rectangle::from_size(view.dst)))
            }) || !has_alpha(dmabuf.format().code);
            (is_whole && is_opaque).then(|| ScanoutCandidate {
                surface: first.surface.clone(),
                dmabuf: dmabuf.clone(),
                buffer: buffer.clone(),
                commit: state.current_commit(),
            })
        })
        .flatten()
    }
}

/// Returns whether a surface shows its whole buffer on the whole framebuffer. `buffer` is the
/// buffer's size in the surface's logical pixels.
fn covers(
    geometry: &FrameGeometry,
    location: Point<i32, Logical>,
    view: &SurfaceView,
    buffer: Size<i32, Logical>,
) -> bool {
    let location: Point<i32, Physical> = location.to_physical_precise_round(geometry.scale);
    let shown: Size<i32, Physical> = view.dst.to_f64().to_physical(geometry.scale).to_i32_round();
    geometry.transform == Transform::Normal
        && location == Point::default()
        && view.src == Rectangle::from_size(buffer.to_f64())
        && shown == geometry.size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_unscaled_surface_covers_an_output() {
        let geometry = FrameGeometry { size: (200, 100).into(), scale: 2.0, transform: Transform::Normal };
        let rotated = FrameGeometry { transform: Transform::_180, ..geometry };
        let whole = SurfaceView {
            src: Rectangle::from_size((100.0, 50.0).into()),
            dst: (100, 50).into(),
            offset: Point::default(),
        };
        let part = SurfaceView { src: Rectangle::from_size((50.0, 50.0).into()), ..whole };
        let moved = SurfaceView { src: Rectangle::new((1.0, 0.0).into(), (100.0, 50.0).into()), ..whole };
        let small = SurfaceView { dst: (99, 50).into(), ..whole };
        let covers = |geometry: &FrameGeometry, at: (i32, i32), view: &SurfaceView| {
            covers(geometry, at.into(), view, (100, 50).into())
        };
        assert!(covers(&geometry, (0, 0), &whole));
        assert!(!covers(&geometry, (1, 0), &whole));
        assert!(!covers(&rotated, (0, 0), &whole));
        for view in [part, moved, small] {
            assert!(!covers(&geometry, (0, 0), &view), "{view:?}");
        }
    }
}
