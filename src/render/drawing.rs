//! Draws a scene into a buffer: directly, or through a shadow buffer if its colors are converted.

use std::io;

use geom_kms::dumb::DumbBuffer;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::gles::GlesRenderer;
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::backend::renderer::sync::SyncPoint;
use smithay::backend::renderer::{
    Bind, Color32F, ExportMem, ImportAll, ImportMem, Renderer as SmithayRenderer, Texture,
};
use smithay::utils::{Physical, Rectangle};

use crate::render::drawable::Drawable;
use crate::render::renderer::{Gles, Renderer};
use crate::render::scene::{Pass, Scene, SurfaceImageDescription, BACKGROUND};
use crate::render::shadow_buffer::{Damage, MemoryShadow, ShadowBuffer};
use crate::render::texture_program::SelectProgram;

/// The result of drawing a frame into a buffer.
pub struct Drawn {
    /// The damaged areas in the target's pixels; `None` if nothing changed.
    pub damage: Option<Damage>,
    pub sync: SyncPoint,
}

/// The image for surfaces with one image description, and what its damage tracker needs.
pub struct LayerTarget<'a, T> {
    pub image: &'a mut T,
    pub tracker: &'a mut OutputDamageTracker,
    pub age: usize,
    pub description: SurfaceImageDescription,
}

/// Draws the sRGB surfaces of a scene into `base`, and those of each image description into a
/// layer.
///
/// # Errors
/// If the renderer fails.
pub fn draw_layers<R, T>(
    renderer: &mut R,
    base: (&mut T, usize),
    tracker: &mut OutputDamageTracker,
    layers: Vec<LayerTarget<'_, T>>,
    scene: &Scene<'_>,
) -> io::Result<Drawn>
where
    R: SelectProgram + ImportAll + ImportMem + Bind<T>,
    R::TextureId: Texture + Clone + Send + 'static,
    R::Error: Send + Sync + 'static,
{
    let (image, age) = base;
    let mut drawn = draw(renderer, image, tracker, age, scene, Pass::Base, BACKGROUND)?;
    for layer in layers {
        let LayerTarget { image, tracker, age, description } = layer;
        let pass = Pass::Only(description);
        let layer = draw(renderer, image, tracker, age, scene, pass, Color32F::TRANSPARENT)?;
        drawn.damage = merge(drawn.damage, layer.damage);
    }
    Ok(drawn)
}

/// Returns the areas that are damaged in either.
fn merge(one: Option<Damage>, other: Option<Damage>) -> Option<Damage> {
    match (one, other) {
        (Some(mut one), Some(other)) => {
            one.extend(other);
            Some(one)
        }
        (one, other) => one.or(other),
    }
}

/// Draws in software, through a shadow buffer that the CPU converts.
///
/// # Errors
/// If the renderer fails, or there is no memory for a layer.
pub fn draw_converted(
    renderer: &mut PixmanRenderer,
    shadow: &mut MemoryShadow,
    drawable: &mut Drawable,
    tracker: &mut OutputDamageTracker,
    age: usize,
    scene: &Scene<'_>,
) -> io::Result<Drawn> {
    let (base, layers) = shadow.targets(&scene.image_descriptions(), &scene.geometry)?;
    let drawn = draw_layers(renderer, base, tracker, layers, scene)?;
    if let Some(damage) = &drawn.damage {
        shadow.convert(damage.clone(), age, drawable)?;
    }
    Ok(drawn)
}

/// Draws with the renderer of a GPU, through the shadow buffer if there is one.
///
/// # Errors
/// If the renderer fails, or the buffer belongs to another renderer.
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
        (Renderer::Gles(gles), shadow, drawable) => {
            let drawn = draw_with_gles(gles, shadow, drawable, tracker, age, scene)?;
            if let Drawable::Copied { dmabuf, buffer, .. } = drawable {
                read_back(&mut gles.renderer, dmabuf, buffer, &drawn)?;
            }
            Ok(drawn)
        }
        (Renderer::Pixman(renderer), None, drawable) => {
            let image = drawable.image().ok_or_else(wrong_buffer)?;
            let drawn = draw(renderer.as_mut(), image, tracker, age, scene, Pass::Whole, BACKGROUND)?;
            drawable.copy_staged(drawn.damage.as_deref().unwrap_or_default());
            Ok(drawn)
        }
        _ => Err(wrong_buffer()),
    }
}

fn wrong_buffer() -> io::Error {
    io::Error::other("the buffer belongs to another renderer")
}

fn draw_with_gles(
    gles: &mut Gles,
    shadow: &mut Option<ShadowBuffer>,
    drawable: &mut Drawable,
    tracker: &mut OutputDamageTracker,
    age: usize,
    scene: &Scene<'_>,
) -> io::Result<Drawn> {
    let Gles { renderer, shader, .. } = gles;
    match (shadow, shader, drawable) {
        (
            Some(ShadowBuffer::Gles(shadow)),
            Some(shader),
            Drawable::Gbm { dmabuf, .. } | Drawable::Copied { dmabuf, .. },
        ) => shadow.draw(renderer, shader, dmabuf, tracker, age, scene),
        (None, _, Drawable::Gbm { dmabuf, .. } | Drawable::Copied { dmabuf, .. }) => {
            draw(renderer, dmabuf, tracker, age, scene, Pass::Whole, BACKGROUND)
        }
        _ => Err(wrong_buffer()),
    }
}

/// Copies what was drawn from the renderer's memory into a buffer of another device. That waits for
/// the GPU.
fn read_back(
    renderer: &mut GlesRenderer,
    source: &mut Dmabuf,
    target: &mut DumbBuffer,
    drawn: &Drawn,
) -> io::Result<()> {
    let Some(damage) = &drawn.damage else { return Ok(()) };
    renderer.wait(&drawn.sync).map_err(io::Error::other)?;
    let framebuffer = renderer.bind(source).map_err(io::Error::other)?;
    let (pitch, (width, height)) = (target.pitch(), target.size());
    let whole = Rectangle::from_size((width as i32, height as i32).into());
    let areas = damage.iter().filter_map(|area| area.intersection(whole));
    for area in areas.filter(|area| !area.is_empty()) {
        let region = Rectangle::new((area.loc.x, area.loc.y).into(), (area.size.w, area.size.h).into());
        let mapping = renderer.copy_framebuffer(&framebuffer, region, Fourcc::Abgr8888);
        let mapping = mapping.map_err(io::Error::other)?;
        let pixels = renderer.map_texture(&mapping).map_err(io::Error::other)?;
        let rows = pixels.chunks_exact(area.size.w as usize * 4);
        let skipped = area.loc.x as usize * 4;
        for (to, from) in target.pixels().chunks_mut(pitch).skip(area.loc.y as usize).zip(rows) {
            let to = to.get_mut(skipped..).unwrap_or_default();
            for (to, from) in to.chunks_exact_mut(4).zip(from.chunks_exact(4)) {
                // From red, green, blue to blue, green, red.
                to.copy_from_slice(&[from[2], from[1], from[0], 0xff]);
            }
        }
    }
    Ok(())
}

/// Returns whether a scene differs from the last frame of the damage tracker.
pub fn changed_on_gpu(renderer: &mut Renderer, tracker: &mut OutputDamageTracker, scene: &Scene<'_>) -> bool {
    match renderer {
        Renderer::Pixman(renderer) => scene.changed(renderer.as_mut(), tracker),
        Renderer::Gles(gles) => scene.changed(&mut gles.renderer, tracker),
    }
}

/// Draws a pass of a scene into a target whose content is `age` frames old; 0 for unknown content.
///
/// # Errors
/// If the renderer fails.
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
    R: SelectProgram + ImportAll + ImportMem + Bind<T>,
    R::TextureId: Texture + Clone + Send + 'static,
    R::Error: Send + Sync + 'static,
{
    let mut framebuffer = renderer.bind(target).map_err(io::Error::other)?;
    let result = scene.draw(renderer, &mut framebuffer, tracker, age, pass, background)?;
    // Damage is in the upright image.
    let (transform, upright) = (scene.geometry.transform.invert(), scene.geometry.upright_size());
    let in_target = |area: &Rectangle<i32, Physical>| transform.transform_rect_in(*area, &upright);
    let damage = result.damage.map(|damage| damage.iter().map(in_target).collect());
    Ok(Drawn { damage, sync: result.sync })
}
