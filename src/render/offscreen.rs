//! Renders a scene into an offscreen buffer, for screenshots.

use std::io;

use geom_color::target::ColorTarget;
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::gles::{GlesRenderer, GlesTexture};
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::backend::renderer::sync::SyncPoint;
use smithay::backend::renderer::{Bind, ExportMem, ImportAll, ImportMem, Offscreen, Texture};
use smithay::reexports::pixman;
use smithay::utils::Rectangle;

use crate::render::color_shader::Shader;
use crate::render::drawable::Drawable;
use crate::render::drawing::{self, draw_converted};
use crate::render::gles_shadow::GlesShadow;
use crate::render::renderer::Renderer;
use crate::render::scene::{Pass, Scene, BACKGROUND};
use crate::render::shadow_buffer::{pixels, MemoryShadow};
use crate::render::texture_program::SelectProgram;

/// An image: red, green and blue, a byte each, row by row as the framebuffer has them.
pub struct RgbImage {
    pub width: u32,
    pub height: u32,
    pub rgb: Vec<u8>,
}

/// Draws with the renderer of a GPU.
///
/// # Errors
/// If the renderer fails.
pub fn draw_on_gpu(renderer: &mut Renderer, scene: &Scene<'_>) -> io::Result<RgbImage> {
    match renderer {
        Renderer::Pixman(renderer) => draw_in_software(renderer.as_mut(), scene),
        Renderer::Gles(gles) => match &gles.shader {
            Some(shader) if !scene.described_surfaces.is_empty() => {
                draw_shaded(&mut gles.renderer, shader, scene)
            }
            _ => draw::<GlesRenderer, GlesTexture>(&mut gles.renderer, scene, Fourcc::Abgr8888, [0, 1, 2]),
        },
    }
}

/// Draws in software.
///
/// # Errors
/// If the renderer fails.
pub fn draw_in_software(renderer: &mut PixmanRenderer, scene: &Scene<'_>) -> io::Result<RgbImage> {
    if !scene.described_surfaces.is_empty() {
        return draw_converted_to_srgb(renderer, scene);
    }
    draw::<PixmanRenderer, pixman::Image<'static, 'static>>(renderer, scene, Fourcc::Xrgb8888, [2, 1, 0])
}

/// Draws surfaces with image descriptions converted to sRGB.
fn draw_converted_to_srgb(renderer: &mut PixmanRenderer, scene: &Scene<'_>) -> io::Result<RgbImage> {
    let size = scene.geometry.pixels();
    let target = ColorTarget { has_color_layers: true, ..ColorTarget::default() };
    let mut shadow = MemoryShadow::new(target, size)?.ok_or(io::ErrorKind::Unsupported)?;
    let mut drawable = Drawable::memory(size)?;
    let mut tracker = scene.geometry.damage_tracker();
    draw_converted(renderer, &mut shadow, &mut drawable, &mut tracker, 0, scene)?;
    let Drawable::Memory(image) = &drawable else { return Err(io::ErrorKind::Unsupported.into()) };
    let rows = pixels(image).chunks(image.stride()).flat_map(|row| row.chunks_exact(4).take(size.0 as usize));
    Ok(RgbImage {
        width: size.0,
        height: size.1,
        rgb: rows.flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect(),
    })
}

/// As [`draw_converted_to_srgb`], by the GPU.
fn draw_shaded(renderer: &mut GlesRenderer, shader: &Shader, scene: &Scene<'_>) -> io::Result<RgbImage> {
    let size = scene.geometry.size;
    let target = ColorTarget { has_color_layers: true, ..ColorTarget::default() };
    let shadow = GlesShadow::new(target, scene.geometry.pixels());
    let mut shadow = shadow.ok_or(io::ErrorKind::Unsupported)?;
    let mut texture: GlesTexture =
        renderer.create_buffer(Fourcc::Abgr8888, (size.w, size.h).into()).map_err(io::Error::other)?;
    let mut tracker = scene.geometry.damage_tracker();
    let drawn = shadow.draw(renderer, shader, &mut texture, &mut tracker, 0, scene)?;
    read(renderer, &mut texture, &drawn.sync, Fourcc::Abgr8888, [0, 1, 2])
}

/// Draws without conversion. `order` says which byte of a pixel is red, green and blue.
fn draw<R, T>(renderer: &mut R, scene: &Scene<'_>, format: Fourcc, order: [usize; 3]) -> io::Result<RgbImage>
where
    R: SelectProgram + ImportAll + ImportMem + Offscreen<T> + Bind<T> + ExportMem,
    R::TextureId: Texture + Clone + Send + 'static,
    R::Error: Send + Sync + 'static,
{
    let size = scene.geometry.size;
    let mut target = renderer.create_buffer(format, (size.w, size.h).into()).map_err(io::Error::other)?;
    let mut tracker = scene.geometry.damage_tracker();
    let drawn = drawing::draw(renderer, &mut target, &mut tracker, 0, scene, Pass::Whole, BACKGROUND)?;
    read(renderer, &mut target, &drawn.sync, format, order)
}

/// Reads what was drawn into a target.
fn read<R, T>(
    renderer: &mut R,
    target: &mut T,
    sync: &SyncPoint,
    format: Fourcc,
    order: [usize; 3],
) -> io::Result<RgbImage>
where
    R: Bind<T> + ExportMem,
    R::Error: Send + Sync + 'static,
{
    renderer.wait(sync).map_err(io::Error::other)?;
    let framebuffer = renderer.bind(target).map_err(io::Error::other)?;
    let size = framebuffer.size();
    let region = Rectangle::from_size(size);
    let mapping = renderer.copy_framebuffer(&framebuffer, region, format).map_err(io::Error::other)?;
    let bytes = renderer.map_texture(&mapping).map_err(io::Error::other)?;
    let pixels = bytes.chunks_exact(4).take(size.w as usize * size.h as usize);
    let rgb = pixels.flat_map(|pixel| order.map(|byte| pixel.get(byte).copied().unwrap_or(0))).collect();
    Ok(RgbImage { width: size.w.unsigned_abs(), height: size.h.unsigned_abs(), rgb })
}
