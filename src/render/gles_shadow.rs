//! The shadow buffer in GPU memory, which a shader converts into the scanout buffer.

use std::io;

use geom_color::glsl::ShaderConversion;
use geom_color::target::ColorTarget;
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::gles::{GlesRenderer, GlesTexture};
use smithay::backend::renderer::{Bind, Color32F, Frame as _, Offscreen, Renderer as _};
use smithay::utils::{Physical, Size, Transform};

use crate::render::color_shader::{PreparedConversion, Shader, ShaderInput};
use crate::render::drawing::{draw_layers, Drawn, LayerTarget};
use crate::render::geometry::FrameGeometry;
use crate::render::scene::{Scene, SurfaceImageDescription};
use crate::render::shadow_buffer::History;

/// An image to draw into, and how it is converted.
struct ConvertedImage {
    texture: GlesTexture,
    conversion: PreparedConversion,
}

/// All surfaces with one image description.
struct Layer {
    description: SurfaceImageDescription,
    image: ConvertedImage,
    tracker: OutputDamageTracker,
    /// The image has to be drawn whole.
    stale: bool,
}

/// See [`ShadowBuffer`](crate::render::shadow_buffer::ShadowBuffer).
pub struct GlesShadow {
    pub target: ColorTarget,
    size: Size<i32, Physical>,
    conversion: ShaderConversion,
    /// The image for sRGB surfaces, made for the first frame.
    base: Option<ConvertedImage>,
    layers: Vec<Layer>,
    /// `base` is not the last frame of the damage tracker: it has to be drawn whole.
    stale: bool,
    history: History,
}

impl ConvertedImage {
    fn new(
        renderer: &mut GlesRenderer,
        shader: &Shader,
        (size, format): (Size<i32, Physical>, Fourcc),
        conversion: &ShaderConversion,
    ) -> io::Result<Self> {
        let texture = renderer.create_buffer(format, (size.w, size.h).into()).map_err(io::Error::other)?;
        Ok(Self { texture, conversion: shader.prepare(renderer, conversion)? })
    }
}

impl GlesShadow {
    /// Returns `None` if the target needs no conversion.
    pub fn new(target: ColorTarget, size: (u32, u32)) -> Option<Self> {
        let conversion = ShaderConversion::for_srgb(&target)?;
        let size = (size.0.try_into().ok()?, size.1.try_into().ok()?).into();
        let history = History::default();
        Some(Self { target, size, conversion, base: None, layers: Vec::new(), stale: true, history })
    }

    /// Draws and converts the next frame whole: earlier frames are not what they should be.
    pub fn forget(&mut self) {
        self.stale = true;
        self.layers.iter_mut().for_each(|layer| layer.stale = true);
        self.history.clear();
    }

    /// Drops the images of surfaces with image descriptions.
    pub fn drop_layers(&mut self) {
        self.layers.clear();
    }

    /// Makes layers for these image descriptions, and drops all others.
    fn update_layers(
        &mut self,
        renderer: &mut GlesRenderer,
        shader: &Shader,
        descriptions: &[SurfaceImageDescription],
        geometry: &FrameGeometry,
    ) -> io::Result<()> {
        self.layers.retain(|layer| descriptions.contains(&layer.description));
        for description in descriptions {
            if self.layers.iter().any(|layer| layer.description == *description) {
                continue;
            }
            let SurfaceImageDescription { description: image, perceptual } = description;
            let conversion = ShaderConversion::for_image(image, *perceptual, &self.target);
            let Some(conversion) = conversion else { continue };
            let mut make = |format| ConvertedImage::new(renderer, shader, (self.size, format), &conversion);
            let image = make(Fourcc::Abgr2101010).or_else(|_| make(Fourcc::Abgr8888))?;
            let tracker = geometry.damage_tracker();
            self.layers.push(Layer { description: *description, image, tracker, stale: true });
        }
        Ok(())
    }

    /// Draws a scene, and converts what changed into a buffer whose content is `age` frames old; 0
    /// for unknown content.
    ///
    /// # Errors
    /// If the renderer fails.
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
        self.update_layers(renderer, shader, &scene.image_descriptions(), &scene.geometry)?;
        let base = match &mut self.base {
            Some(base) => base,
            none => {
                let target = (self.size, Fourcc::Abgr8888);
                none.insert(ConvertedImage::new(renderer, shader, target, &self.conversion)?)
            }
        };
        let layers = self.layers.iter_mut().map(|layer| LayerTarget {
            image: &mut layer.image.texture,
            tracker: &mut layer.tracker,
            age: usize::from(!std::mem::replace(&mut layer.stale, false)),
            description: layer.description,
        });
        let base_age = usize::from(!std::mem::replace(&mut self.stale, false));
        let mut drawn = draw_layers::<_, GlesTexture>(
            renderer,
            (&mut base.texture, base_age),
            tracker,
            layers.collect(),
            scene,
        )?;
        let Some(damage) = &drawn.damage else { return Ok(drawn) };
        self.history.add(damage.clone());
        let areas = self.history.missed(age, self.size);
        // If layers overlap, the first one is above the others.
        let layers = self.layers.iter().rev().map(|layer| ShaderInput {
            texture: &layer.image.texture,
            conversion: &layer.image.conversion,
            opaque: true,
        });
        let base = ShaderInput { texture: &base.texture, conversion: &base.conversion, opaque: false };
        let inputs: Vec<ShaderInput<'_>> = layers.chain([base]).collect();
        let mut framebuffer = renderer.bind(target).map_err(io::Error::other)?;
        let mut frame =
            renderer.render(&mut framebuffer, self.size, Transform::Normal).map_err(io::Error::other)?;
        if !scene.described_surfaces.is_empty() {
            // A hole into which no layer draws would show an older frame of the buffer.
            frame.clear(Color32F::BLACK, &areas).map_err(io::Error::other)?;
        }
        shader.draw(&mut frame, self.size, &areas, &inputs)?;
        drawn.sync = frame.finish().map_err(io::Error::other)?;
        Ok(drawn)
    }
}
