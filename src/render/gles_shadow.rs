//! A display's picture in the GPU's memory before a shader converts it.

use std::io;

use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::gles::{GlesRenderer, GlesTexture};
use smithay::backend::renderer::{Bind, Color32F, Frame as _, Offscreen, Renderer as _};
use smithay::utils::{Physical, Size, Transform};
use geom_color::target::ColorTarget;
use geom_color::glsl::ShaderLuts;

use crate::render::shadow_buffer::History;
use crate::render::drawing::{draw_apart, Drawn, LayerTarget};
use crate::render::color_shader::{Part, Shader, Table};
use crate::render::geometry::FrameGeometry;
use crate::render::scene::{Described, Scene};

/// A picture and how it is converted.
struct Own {
    picture: GlesTexture,
    table: Table,
}

/// All surfaces of one kind of color.
struct Layer {
    described: Described,
    own: Own,
    tracker: OutputDamageTracker,
    stale: bool,
}

/// See [`ShadowBuffer`](crate::render::shadow_buffer::ShadowBuffer).
pub struct GlesShadow {
    pub of: ColorTarget,
    size: Size<i32, Physical>,
    shading: ShaderLuts,
    /// Made when it is first drawn.
    base: Option<Own>,
    layers: Vec<Layer>,
    /// What is in it is not the tracker's last frame.
    stale: bool,
    history: History,
}

impl Own {
    fn new(
        renderer: &mut GlesRenderer,
        size: Size<i32, Physical>,
        format: Fourcc,
        shading: &ShaderLuts,
    ) -> io::Result<Self> {
        let picture = renderer.create_buffer(format, (size.w, size.h).into()).map_err(io::Error::other)?;
        Ok(Self { picture, table: Table::new(renderer, shading)? })
    }
}

impl GlesShadow {
    /// None where pictures need no conversion.
    pub fn new(of: ColorTarget, size: (u32, u32)) -> Option<Self> {
        let shading = ShaderLuts::for_srgb(&of)?;
        let size = (size.0.try_into().ok()?, size.1.try_into().ok()?).into();
        let history = History::default();
        Some(Self { of, size, shading, base: None, layers: Vec::new(), stale: true, history })
    }

    /// What is in it can't be built on.
    pub fn forget(&mut self) {
        self.stale = true;
        self.layers.iter_mut().for_each(|layer| layer.stale = true);
        self.history.clear();
    }

    /// Drops the images of surfaces with image descriptions.
    pub fn drop_layers(&mut self) {
        self.layers.clear();
    }

    /// Pictures for these kinds of color and no others.
    fn layers(
        &mut self,
        renderer: &mut GlesRenderer,
        kinds: &[Described],
        geometry: &FrameGeometry,
    ) -> io::Result<()> {
        self.layers.retain(|layer| kinds.contains(&layer.described));
        for kind in kinds {
            if self.layers.iter().any(|layer| layer.described == *kind) {
                continue;
            }
            let Some(shading) = ShaderLuts::for_image(&kind.description, kind.perceptual, &self.of) else {
                continue;
            };
            let own = Own::new(renderer, self.size, Fourcc::Abgr2101010, &shading)
                .or_else(|_| Own::new(renderer, self.size, Fourcc::Abgr8888, &shading))?;
            let tracker = geometry.damage_tracker();
            self.layers.push(Layer { described: *kind, own, tracker, stale: true });
        }
        Ok(())
    }

    /// Draws a scene and brings a target of ours, whose picture is `age` frames old, to it. An age of 0 is a target without one.
    ///
    /// # Errors
    /// The renderer's.
    pub fn draw<T>(
        &mut self,
        renderer: &mut GlesRenderer,
        shader: &Shader,
        target: &mut T,
        tracker: &mut OutputDamageTracker,
        age: usize,
        scene: &Scene<'_>,
    ) -> io::Result<Drawn>
    where
        GlesRenderer: Bind<T>,
    {
        self.layers(renderer, &scene.kinds(), &scene.geometry)?;
        let base = match &mut self.base {
            Some(base) => base,
            none => none.insert(Own::new(renderer, self.size, Fourcc::Abgr8888, &self.shading)?),
        };
        let sheets = self.layers.iter_mut().map(|layer| LayerTarget {
            image: &mut layer.own.picture,
            tracker: &mut layer.tracker,
            age: usize::from(!std::mem::replace(&mut layer.stale, false)),
            described: layer.described,
        });
        let base_age = usize::from(!std::mem::replace(&mut self.stale, false));
        let mut drawn = draw_apart::<_, GlesTexture>(
            renderer,
            (&mut base.picture, base_age),
            tracker,
            sheets.collect(),
            scene,
        )?;
        let Some(damage) = &drawn.damage else { return Ok(drawn) };
        self.history.add(damage.clone());
        let areas = self.history.missed(age, self.size);
        // The first of them is the one that is seen where several stand in each other's place.
        let layers = self.layers.iter().rev().map(|layer| Part {
            picture: &layer.own.picture,
            table: &layer.own.table,
            opaque: true,
        });
        let parts: Vec<Part<'_>> =
            layers.chain([Part { picture: &base.picture, table: &base.table, opaque: false }]).collect();
        let mut framebuffer = renderer.bind(target).map_err(io::Error::other)?;
        let mut frame =
            renderer.render(&mut framebuffer, self.size, Transform::Normal).map_err(io::Error::other)?;
        if !scene.described.is_empty() {
            // Where nothing is drawn into a hole the buffer has an older picture.
            frame.clear(Color32F::BLACK, &areas).map_err(io::Error::other)?;
        }
        shader.draw(&mut frame, self.size, &areas, &parts)?;
        drawn.sync = frame.finish().map_err(io::Error::other)?;
        Ok(drawn)
    }
}
