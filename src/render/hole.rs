//! Holes in the sRGB pass of a frame, at surfaces with an image description: the pass leaves them
//! transparent, so that the surface's layer, converted by itself, can be put below what covers it.

use smithay::backend::renderer::element::{Element, Id, Kind, RenderElement};
use smithay::backend::renderer::utils::{CommitCounter, DamageSet, OpaqueRegions};
use smithay::backend::renderer::{Color32F, Frame, Renderer};
use smithay::utils::{Buffer, Physical, Point, Rectangle, Scale, Transform};

/// The area of an element, drawn transparent.
pub struct Hole<E>(pub E);

impl<E: Element> Element for Hole<E> {
    fn id(&self) -> &Id {
        self.0.id()
    }

    fn current_commit(&self) -> CommitCounter {
        self.0.current_commit()
    }

    fn src(&self) -> Rectangle<f64, Buffer> {
        self.0.src()
    }

    fn geometry(&self, scale: Scale<f64>) -> Rectangle<i32, Physical> {
        self.0.geometry(scale)
    }

    fn location(&self, scale: Scale<f64>) -> Point<i32, Physical> {
        self.0.location(scale)
    }

    fn transform(&self) -> Transform {
        self.0.transform()
    }

    fn damage_since(&self, scale: Scale<f64>, commit: Option<CommitCounter>) -> DamageSet<i32, Physical> {
        self.0.damage_since(scale, commit)
    }

    /// Opaque, so that nothing below it is drawn.
    fn opaque_regions(&self, scale: Scale<f64>) -> OpaqueRegions<i32, Physical> {
        OpaqueRegions::from_slice(&[Rectangle::from_size(self.0.geometry(scale).size)])
    }

    fn kind(&self) -> Kind {
        self.0.kind()
    }
}

impl<R: Renderer, E: Element> RenderElement<R> for Hole<E> {
    fn draw(
        &self,
        frame: &mut R::Frame<'_, '_>,
        _: Rectangle<f64, Buffer>,
        area: Rectangle<i32, Physical>,
        damage: &[Rectangle<i32, Physical>],
        _: &[Rectangle<i32, Physical>],
    ) -> Result<(), R::Error> {
        let areas: Vec<_> = damage
            .iter()
            .map(|damaged| Rectangle::new(damaged.loc + area.loc, damaged.size))
            .filter_map(|damaged| damaged.intersection(area))
            .collect();
        frame.clear(Color32F::TRANSPARENT, &areas)
    }
}
