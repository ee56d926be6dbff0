//! Draws a scene into a buffer: as it is, or by way of a shadow where its color are converted.

use std::io;

use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::backend::renderer::sync::SyncPoint;
use smithay::backend::renderer::{
    Bind, Color32F, ImportAll, ImportMem, Renderer as SmithayRenderer, Texture,
};

use crate::render::shadow_buffer::{ShadowBuffer, Damage, MemoryShadow};
use crate::render::drawable::Drawable;
use crate::render::renderer::Renderer;
use crate::render::scene::{Described, Pass, Scene, BACKGROUND};

/// A frame in a buffer.
pub struct Drawn {
    /// None where nothing changed.
    pub damage: Option<Damage>,
    pub sync: SyncPoint,
}

/// A picture for surfaces of one kind of color, and what its tracker needs to know.
pub struct LayerTarget<'a, T> {
    pub image: &'a mut T,
    pub tracker: &'a mut OutputDamageTracker,
    pub age: usize,
    pub described: Described,
}

/// Draws what is sRGB of a scene, and each kind of other color apart.
pub fn draw_apart<R, T>(
    renderer: &mut R,
    base: (&mut T, usize),
    tracker: &mut OutputDamageTracker,
    sheets: Vec<LayerTarget<'_, T>>,
    scene: &Scene<'_>,
) -> io::Result<Drawn>
where
    R: SmithayRenderer + ImportAll + ImportMem + Bind<T>,
    R::TextureId: Texture + Clone + Send + 'static,
    R::Error: Send + Sync + 'static,
{
    let (image, age) = base;
    let mut drawn = draw(renderer, image, tracker, age, scene, Pass::Base, BACKGROUND)?;
    for sheet in sheets {
        let LayerTarget { image, tracker, age, described } = sheet;
        let own = draw(renderer, image, tracker, age, scene, Pass::Only(described), Color32F::TRANSPARENT)?;
        drawn.damage = merge(drawn.damage, own.damage);
    }
    Ok(drawn)
}

/// Areas that changed in any of several.
fn merge(one: Option<Damage>, other: Option<Damage>) -> Option<Damage> {
    match (one, other) {
        (Some(mut one), Some(other)) => {
            one.extend(other);
            Some(one)
        }
        (one, other) => one.or(other),
    }
}

/// In memory, converted by the processor.
pub fn draw_converted(
    renderer: &mut PixmanRenderer,
    shadow: &mut MemoryShadow,
    drawable: &mut Drawable,
    tracker: &mut OutputDamageTracker,
    age: usize,
    scene: &Scene<'_>,
) -> io::Result<Drawn> {
    let (base, sheets) = shadow.sheets(&scene.kinds(), &scene.geometry)?;
    let drawn = draw_apart(renderer, base, tracker, sheets, scene)?;
    if let Some(damage) = &drawn.damage {
        shadow.convert(damage.clone(), age, drawable)?;
    }
    Ok(drawn)
}

pub fn draw_on_gpu(
    renderer: &mut Renderer,
    shadow: &mut Option<ShadowBuffer>,
    drawable: &mut Drawable,
    tracker: &mut OutputDamageTracker,
    age: usize,
    scene: &Scene<'_>,
) -> io::Result<Drawn> {
    match (renderer, shadow, drawable) {
        (Renderer::Pixman(renderer), Some(ShadowBuffer::Memory(shadow)), drawable) => {
            draw_converted(renderer.as_mut(), shadow, drawable, tracker, age, scene)
        }
        (
            Renderer::Gles { renderer, shader: Some(shader), .. },
            Some(ShadowBuffer::Gles(shadow)),
            Drawable::Gbm { dmabuf, .. },
        ) => shadow.draw(renderer, shader, dmabuf, tracker, age, scene),
        (Renderer::Pixman(renderer), None, Drawable::Dumb { image, .. } | Drawable::Memory(image)) => {
            draw(renderer.as_mut(), image, tracker, age, scene, Pass::Whole, BACKGROUND)
        }
        (Renderer::Gles { renderer, .. }, None, Drawable::Gbm { dmabuf, .. }) => {
            draw(renderer.as_mut(), dmabuf, tracker, age, scene, Pass::Whole, BACKGROUND)
        }
        _ => Err(io::Error::other("the buffer belongs to another renderer")),
    }
}

/// Whether a scene differs from what the tracker saw last.
pub fn changed_on_gpu(renderer: &mut Renderer, tracker: &mut OutputDamageTracker, scene: &Scene<'_>) -> bool {
    match renderer {
        Renderer::Pixman(renderer) => scene.changed(renderer.as_mut(), tracker),
        Renderer::Gles { renderer, .. } => scene.changed(renderer.as_mut(), tracker),
    }
}

pub fn draw<R, T>(
    renderer: &mut R,
    target: &mut T,
    tracker: &mut OutputDamageTracker,
    age: usize,
    scene: &Scene<'_>,
    pass: Pass,
    background: Color32F,
) -> io::Result<Drawn>
where
    R: SmithayRenderer + ImportAll + ImportMem + Bind<T>,
    R::TextureId: Texture + Clone + Send + 'static,
    R::Error: Send + Sync + 'static,
{
    let mut framebuffer = renderer.bind(target).map_err(io::Error::other)?;
    let result = scene.draw(renderer, &mut framebuffer, tracker, age, pass, background)?;
    Ok(Drawn { damage: result.damage.cloned(), sync: result.sync })
}
