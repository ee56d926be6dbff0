//! The scene of an output: everything that a frame shows, front to back, independent of a renderer.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use geom_color::image_description::ImageDescription;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::renderer::damage::{OutputDamageTracker, RenderOutputResult};
use smithay::backend::renderer::element::memory::MemoryRenderBufferRenderElement;
use smithay::backend::renderer::element::solid::{SolidColorBuffer, SolidColorRenderElement};
use smithay::backend::renderer::element::surface::{
    render_elements_from_surface_tree, WaylandSurfaceRenderElement,
};
use smithay::backend::renderer::element::utils::{
    CropRenderElement, Relocate, RelocateRenderElement, RescaleRenderElement,
};
use smithay::backend::renderer::element::{Element as _, Id, Kind};
use smithay::backend::renderer::utils::{Buffer, CommitCounter};
use smithay::backend::renderer::{Color32F, ImportAll, ImportMem, Renderer, Texture};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::render_elements;
use smithay::utils::{Physical, Point, Rectangle, Size};
use tracing::warn;

use super::cursor::CursorBuffer;
use super::geometry::FrameGeometry;
use super::hole::Hole;
use super::inherited_frame::InheritedFrame;
use super::texture_program::{SelectProgram, TextureElement};
use super::SizedBuffer;
use geom_kms::Framebuffer;

/// The color behind everything.
pub const BACKGROUND: Color32F = Color32F::new(16.0 / 255.0, 20.0 / 255.0, 26.0 / 255.0, 1.0);
/// The color around a window that does not fill its output.
pub const BACKDROP: Color32F = Color32F::new(0.0, 0.0, 0.0, 1.0);

render_elements! {
    /// An element of a frame.
    pub Element<R> where R: ImportAll + ImportMem;
    Surface = WaylandSurfaceRenderElement<R>,
    Memory = MemoryRenderBufferRenderElement<R>,
    Solid = SolidColorRenderElement,
    Hole = Hole<WaylandSurfaceRenderElement<R>>,
}

/// An item of a scene; locations are in the output's pixels.
pub enum Item<'a> {
    /// A surface with its subsurfaces.
    Surface {
        surface: WlSurface,
        location: Point<i32, Physical>,
    },
    Memory {
        buffer: &'a SizedBuffer,
        location: Point<f64, Physical>,
    },
    Solid {
        buffer: &'a SolidColorBuffer,
        location: Point<i32, Physical>,
    },
    /// The frame of the previous DRM master, over the whole output.
    InheritedFrame(&'a InheritedFrame),
}

/// The cursor on an output.
pub struct Cursor {
    /// `None` for a client's surface that only a renderer can show.
    pub buffer: Option<Rc<CursorBuffer>>,
    pub surface: Option<WlSurface>,
    /// Top left corner, in the output's pixels.
    pub position: (i32, i32),
    /// The pixel that points, from the top left corner.
    pub hotspot: (i32, i32),
}

/// A candidate for direct scanout: the buffer covers the output, and nothing is above it.
pub struct ScanoutCandidate {
    pub surface: WlSurface,
    pub dmabuf: Dmabuf,
    /// Holding it keeps the client from drawing into it.
    pub buffer: Buffer,
    pub commit: CommitCounter,
}

/// How a mirror shows the frame of another output: as large as its aspect ratio allows, centered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Pixels of the mirror per pixel of the source.
    factor: f64,
    /// The area of the frame, in the mirror's pixels.
    area: Rectangle<i32, Physical>,
}

/// An element on a mirror.
pub type Mirrored<R> = CropRenderElement<RelocateRenderElement<RescaleRenderElement<Element<R>>>>;

impl View {
    /// Returns the view for these sizes, in pixels.
    pub fn new(source: Size<i32, Physical>, mirror: Size<i32, Physical>) -> Self {
        let ratio = |mirror: i32, source: i32| f64::from(mirror) / f64::from(source.max(1));
        let factor = ratio(mirror.w, source.w).min(ratio(mirror.h, source.h));
        let size: Size<i32, Physical> = source.to_f64().upscale(factor).to_i32_round();
        let corner = ((mirror.w - size.w) / 2, (mirror.h - size.h) / 2);
        Self { factor, area: Rectangle::new(corner.into(), size) }
    }

    /// Returns which point of the frame is at a point of the mirror; `None` outside the frame.
    pub fn seen_at(&self, point: Point<f64, Physical>) -> Option<Point<f64, Physical>> {
        let area = self.area.to_f64();
        area.contains(point).then(|| (point - area.loc).downscale(self.factor))
    }

    /// Returns the elements of the frame as the mirror shows them.
    pub fn of<R>(&self, elements: Vec<Element<R>>) -> Vec<Mirrored<R>>
    where
        R: Renderer + ImportAll + ImportMem,
        R::TextureId: Clone + Send + 'static,
    {
        let mirrored = |element| {
            let scaled = RescaleRenderElement::from_element(element, (0, 0).into(), self.factor);
            let moved = RelocateRenderElement::from_element(scaled, self.area.loc, Relocate::Relative);
            // Elements may extend beyond the frame.
            CropRenderElement::from_element(moved, 1.0, self.area)
        };
        elements.into_iter().filter_map(mirrored).collect()
    }
}

/// The image description that a client sets for a surface (color-management), and how to convert
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SurfaceImageDescription {
    pub description: ImageDescription,
    /// Luminance beyond that of the display is compressed (perceptual intent); else it is clipped.
    pub perceptual: bool,
}

/// The part of a scene that is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pass {
    /// All of it, without color conversion.
    Whole,
    /// Everything in sRGB, with holes at surfaces with image descriptions.
    Base,
    /// Surfaces with this image description.
    Only(SurfaceImageDescription),
}

/// What a frame of an output shows.
pub struct Scene<'a> {
    /// The geometry of the output that it is drawn on; a mirror's differs from that of its source.
    pub geometry: FrameGeometry,
    /// Framebuffer pixels per logical pixel of the items.
    pub scale: f64,
    /// Front to back, without the cursor.
    pub items: Vec<Item<'a>>,
    pub cursor: Option<Cursor>,
    /// The output is not rotated, so that a cursor plane shows the cursor upright.
    pub cursor_plane_allowed: bool,
    /// The cursor is drawn; false if a plane shows it.
    pub draws_cursor: bool,
    pub scanout_candidate: Option<ScanoutCandidate>,
    /// How a mirror shows it.
    pub view: Option<View>,
    /// Surfaces with an image description other than sRGB.
    pub described_surfaces: Vec<(Id, SurfaceImageDescription)>,
}

impl Scene<'_> {
    /// Returns the roots of the surface trees in this scene, its cursor's included.
    pub fn surfaces(&self) -> Vec<WlSurface> {
        let items = self.items.iter().filter_map(|item| match item {
            Item::Surface { surface, .. } => Some(surface),
            _ => None,
        });
        let cursor = self.cursor.as_ref().and_then(|cursor| cursor.surface.as_ref());
        items.chain(cursor).cloned().collect()
    }

    /// Returns the elements that a renderer draws, front to back.
    fn elements<R>(&self, renderer: &mut R, pass: Pass) -> Vec<Element<R>>
    where
        R: Renderer + ImportAll + ImportMem,
        R::TextureId: Clone + Send + 'static,
    {
        let mut elements = Vec::with_capacity(self.items.len() + 1);
        if let Some(cursor) = self.cursor.as_ref().filter(|_| self.draws_cursor) {
            let location = Point::<i32, Physical>::from(cursor.position);
            match (&cursor.buffer, &cursor.surface) {
                (Some(cursor), _) => self.memory(renderer, &cursor.memory, location.to_f64(), &mut elements),
                (None, Some(surface)) => {
                    self.surface(renderer, surface, location, Kind::Cursor, &mut elements)
                }
                (None, None) => {}
            }
        }
        for item in &self.items {
            match item {
                Item::Surface { surface, location } => {
                    self.surface(renderer, surface, *location, Kind::Unspecified, &mut elements);
                }
                Item::Memory { buffer, location } => self.memory(renderer, buffer, *location, &mut elements),
                Item::InheritedFrame(inherited) => {
                    self.memory(renderer, inherited.buffer(), (0.0, 0.0).into(), &mut elements)
                }
                Item::Solid { buffer, location } => {
                    let solid =
                        SolidColorRenderElement::from_buffer(buffer, *location, 1.0, 1.0, Kind::Unspecified);
                    elements.push(solid.into());
                }
            }
        }
        if pass == Pass::Whole {
            return elements;
        }
        let description = |element: &Element<R>| {
            let found = self.described_surfaces.iter().find(|(id, _)| id == element.id());
            found.map(|(_, description)| *description)
        };
        let passed =
            elements.into_iter().filter_map(|element| match (description(&element), pass, element) {
                (Some(_), Pass::Base, Element::Surface(surface)) => Some(Element::Hole(Hole(surface))),
                (None, Pass::Base, element) => Some(element),
                (Some(own), Pass::Only(wanted), element) if own == wanted => Some(element),
                _ => None,
            });
        passed.collect()
    }

    /// Draws a pass of the scene, on a mirror as that shows it.
    ///
    /// # Errors
    /// If the renderer fails.
    pub fn draw<'t, R>(
        &self,
        renderer: &mut R,
        framebuffer: &mut R::Framebuffer<'_>,
        tracker: &'t mut OutputDamageTracker,
        age: usize,
        pass: Pass,
        background: Color32F,
    ) -> io::Result<RenderOutputResult<'t>>
    where
        R: SelectProgram + ImportAll + ImportMem,
        R::TextureId: Texture + Clone + Send + 'static,
        R::Error: Send + Sync + 'static,
    {
        let elements = self.elements(renderer, pass);
        let drawn = match self.view {
            Some(view) => {
                let elements = TextureElement::all(view.of(elements));
                tracker.render_output(renderer, framebuffer, age, &elements, background)
            }
            None => {
                let elements = TextureElement::all(elements);
                tracker.render_output(renderer, framebuffer, age, &elements, background)
            }
        };
        drawn.map_err(|error| io::Error::other(error.to_string()))
    }

    /// Returns whether it differs from the last frame of a damage tracker.
    pub fn changed<R>(&self, renderer: &mut R, tracker: &mut OutputDamageTracker) -> bool
    where
        R: Renderer + ImportAll + ImportMem,
        R::TextureId: Texture + Clone + Send + 'static,
    {
        let elements = self.elements(renderer, Pass::Whole);
        let damage = match self.view {
            Some(view) => tracker.damage_output(1, &view.of(elements)),
            None => tracker.damage_output(1, &elements),
        };
        damage.map_or(true, |(damage, _)| damage.is_some())
    }

    /// Returns whether there is a cursor and it is drawn into the frame.
    pub fn has_drawn_cursor(&self) -> bool {
        self.draws_cursor && self.cursor.is_some()
    }

    /// Returns the framebuffer of the previous DRM master if nothing but a cursor is drawn over it.
    pub fn inherited_framebuffer(&self) -> Option<&Arc<Framebuffer>> {
        match self.items.as_slice() {
            [Item::InheritedFrame(inherited)] if self.view.is_none() => Some(inherited.shown.framebuffer()),
            _ => None,
        }
    }

    /// Returns the image descriptions of all surfaces, each once.
    pub fn image_descriptions(&self) -> Vec<SurfaceImageDescription> {
        let mut descriptions: Vec<SurfaceImageDescription> = Vec::new();
        for (_, description) in &self.described_surfaces {
            if !descriptions.contains(description) {
                descriptions.push(*description);
            }
        }
        descriptions
    }

    fn surface<R>(
        &self,
        renderer: &mut R,
        surface: &WlSurface,
        location: Point<i32, Physical>,
        kind: Kind,
        elements: &mut Vec<Element<R>>,
    ) where
        R: Renderer + ImportAll + ImportMem,
        R::TextureId: Clone + Send + 'static,
    {
        let tree: Vec<WaylandSurfaceRenderElement<R>> =
            render_elements_from_surface_tree(renderer, surface, location, self.scale, 1.0, kind);
        elements.extend(tree.into_iter().map(Element::Surface));
    }

    fn memory<R>(
        &self,
        renderer: &mut R,
        buffer: &SizedBuffer,
        location: Point<f64, Physical>,
        elements: &mut Vec<Element<R>>,
    ) where
        R: Renderer + ImportAll + ImportMem,
        R::TextureId: Clone + Send + 'static,
    {
        // The compositor's buffers have the output's pixels: undo the scale that elements apply.
        let pixels = buffer.logical_size();
        let source = Rectangle::from_size(pixels.to_f64());
        let size = pixels.to_f64().downscale(self.scale).to_i32_round();
        let made = MemoryRenderBufferRenderElement::from_buffer(
            renderer,
            location,
            &buffer.0,
            None,
            Some(source),
            Some(size),
            Kind::Unspecified,
        );
        match made {
            Ok(element) => elements.push(Element::Memory(element)),
            Err(error) => warn!(%error, "cannot upload a buffer to the renderer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_shows_the_whole_frame_centered() {
        for (source, mirror, factor, area) in [
            ((1920, 1080), (1920, 1080), 1.0, (0, 0, 1920, 1080)),
            ((1920, 1080), (1280, 1024), 2.0 / 3.0, (0, 152, 1280, 720)),
            ((800, 600), (1920, 1080), 1.8, (240, 0, 1440, 1080)),
        ] {
            let view = View::new(source.into(), mirror.into());
            assert!((view.factor - factor).abs() < 1e-9);
            let (x, y, width, height) = area;
            assert_eq!(view.area, Rectangle::new((x, y).into(), (width, height).into()));
            // The centers coincide, and the bars show nothing.
            let middle = view.seen_at((f64::from(mirror.0) / 2.0, f64::from(mirror.1) / 2.0).into());
            let middle = middle.expect("the middle");
            assert!((middle.x - f64::from(source.0) / 2.0).abs() < 0.5, "{middle:?}");
            let corner = view.seen_at((0.0, 0.0).into());
            assert_eq!(corner.is_some(), (x, y) == (0, 0));
        }
    }
}
