//! Where a surface stands whose color are not ours: nothing is drawn there, so that its own picture can be put in later, below all that
//! is drawn above it.

use smithay::backend::renderer::element::{Element, Id, Kind, RenderElement};
use smithay::backend::renderer::utils::{CommitCounter, DamageSet, OpaqueRegions};
use smithay::backend::renderer::{Color32F, Frame, Renderer};
use smithay::utils::{Buffer, Physical, Point, Rectangle, Scale, Transform};

/// An element's place without its picture.
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

    /// Nothing below it is seen.
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
        place: Rectangle<i32, Physical>,
        damage: &[Rectangle<i32, Physical>],
        _: &[Rectangle<i32, Physical>],
    ) -> Result<(), R::Error> {
        let areas: Vec<_> = damage
            .iter()
            .map(|area| Rectangle::new(area.loc + place.loc, area.size))
            .filter_map(|area| area.intersection(place))
            .collect();
        frame.clear(Color32F::TRANSPARENT, &areas)
    }
}
