//! The GLES program that draws textures: clients' buffers, and what the compositor draws itself.
//!
//! Smithay 0.7's program computes texture coordinates in `mediump`. GPUs with 16 bits for that
//! (Adreno, Mali) have 11 significant bits from it, so that texels past 1024 are shown twice or not
//! at all. This program takes its place in every frame, if the GPU has `highp` in fragment shaders,
//! which GLES 2 does not require. Colors stay in `mediump`, which is exact for 10 bits.
//!
//! Smithay resets the program with each frame, and the damage tracker makes the frame. So
//! [`TextureElement`] sets it when an element is drawn.

use smithay::backend::renderer::element::{Element, Id, Kind, RenderElement, UnderlyingStorage};
use smithay::backend::renderer::gles::{ffi, GlesError, GlesFrame, GlesRenderer, GlesTexProgram};
use smithay::backend::renderer::pixman::{PixmanFrame, PixmanRenderer};
use smithay::backend::renderer::utils::{CommitCounter, DamageSet, OpaqueRegions};
use smithay::backend::renderer::Renderer;
use smithay::utils::{Buffer, Physical, Point, Rectangle, Scale, Transform};
use tracing::{debug, warn};

/// Smithay replaces the second line by the definitions of a variant.
const FRAGMENTS: &str = "#version 100
//_DEFINES_
#ifdef EXTERNAL
#extension GL_OES_EGL_image_external : require
#define SAMPLER samplerExternalOES
#else
#define SAMPLER sampler2D
#endif

varying highp vec2 v_coords;
uniform mediump SAMPLER tex;
uniform mediump float alpha;
#ifdef DEBUG_FLAGS
uniform mediump float tint;
#endif

void main() {
    mediump vec4 texel = texture2D(tex, v_coords);
#ifdef NO_ALPHA
    texel.a = 1.0;
#endif
    texel *= alpha;
#ifdef DEBUG_FLAGS
    texel = mix(texel, vec4(0.0, 1.0, 0.0, 1.0), 0.2 * tint);
#endif
    gl_FragColor = texel;
}
";

/// The program, in the user data of its context.
struct TextureProgram(GlesTexProgram);

/// Has a renderer draw textures with coordinates of high precision from now on. If its GPU has
/// none, or refuses the program, Smithay's program stays.
///
/// # Errors
/// If the context cannot be used.
pub fn install(renderer: &mut GlesRenderer) -> Result<(), GlesError> {
    if !has_highp(renderer)? {
        debug!("no high precision in fragment shaders; large textures may be shown without details");
        return Ok(());
    }
    match renderer.compile_custom_texture_shader(FRAGMENTS, &[]) {
        Ok(program) => {
            let data = renderer.egl_context().user_data();
            data.insert_if_missing_threadsafe(|| TextureProgram(program));
        }
        Err(error) => {
            warn!(%error, "the driver refuses the program for textures; using the one with medium precision");
        }
    }
    Ok(())
}

/// Returns whether fragment shaders have `highp` numbers (glGetShaderPrecisionFormat: a precision
/// of 0 means no).
fn has_highp(renderer: &mut GlesRenderer) -> Result<bool, GlesError> {
    renderer.with_context(|gl| {
        let (mut range, mut precision) = ([0; 2], 0);
        // SAFETY: the context is current, and the call writes two numbers and one.
        unsafe {
            gl.GetShaderPrecisionFormat(
                ffi::FRAGMENT_SHADER,
                ffi::HIGH_FLOAT,
                range.as_mut_ptr(),
                &mut precision,
            );
        }
        precision > 0
    })
}

/// A renderer whose frames may draw textures with another program than their own.
pub trait SelectProgram: Renderer {
    /// Selects the program for the textures that a frame draws from now on.
    fn select_program(frame: &mut Self::Frame<'_, '_>);
}

impl SelectProgram for PixmanRenderer {
    fn select_program(_: &mut PixmanFrame<'_, '_>) {}
}

impl SelectProgram for GlesRenderer {
    fn select_program(frame: &mut GlesFrame<'_, '_>) {
        let program = frame.egl_context().user_data().get::<TextureProgram>();
        if let Some(program) = program.map(|TextureProgram(program)| program.clone()) {
            frame.override_default_tex_program(program, Vec::new());
        }
    }
}

/// An element that is drawn with the program of high precision.
pub struct TextureElement<E>(pub E);

impl<E> TextureElement<E> {
    /// Wraps the elements of a frame.
    pub fn all(elements: Vec<E>) -> Vec<Self> {
        elements.into_iter().map(Self).collect()
    }
}

impl<E: Element> Element for TextureElement<E> {
    fn id(&self) -> &Id {
        self.0.id()
    }

    fn current_commit(&self) -> CommitCounter {
        self.0.current_commit()
    }

    fn location(&self, scale: Scale<f64>) -> Point<i32, Physical> {
        self.0.location(scale)
    }

    fn src(&self) -> Rectangle<f64, Buffer> {
        self.0.src()
    }

    fn transform(&self) -> Transform {
        self.0.transform()
    }

    fn geometry(&self, scale: Scale<f64>) -> Rectangle<i32, Physical> {
        self.0.geometry(scale)
    }

    fn damage_since(&self, scale: Scale<f64>, commit: Option<CommitCounter>) -> DamageSet<i32, Physical> {
        self.0.damage_since(scale, commit)
    }

    fn opaque_regions(&self, scale: Scale<f64>) -> OpaqueRegions<i32, Physical> {
        self.0.opaque_regions(scale)
    }

    fn alpha(&self) -> f32 {
        self.0.alpha()
    }

    fn kind(&self) -> Kind {
        self.0.kind()
    }
}

impl<R: SelectProgram, E: RenderElement<R>> RenderElement<R> for TextureElement<E> {
    fn draw(
        &self,
        frame: &mut R::Frame<'_, '_>,
        source: Rectangle<f64, Buffer>,
        area: Rectangle<i32, Physical>,
        damage: &[Rectangle<i32, Physical>],
        opaque: &[Rectangle<i32, Physical>],
    ) -> Result<(), R::Error> {
        R::select_program(frame);
        self.0.draw(frame, source, area, damage, opaque)
    }

    fn underlying_storage(&self, renderer: &mut R) -> Option<UnderlyingStorage<'_>> {
        self.0.underlying_storage(renderer)
    }
}

#[cfg(test)]
mod tests {
    use smithay::backend::allocator::Fourcc;
    use smithay::backend::egl::{EGLContext, EGLDevice, EGLDisplay};
    use smithay::backend::renderer::gles::GlesTexture;
    use smithay::backend::renderer::{Bind, ExportMem, Frame as _, ImportMem, Offscreen};

    use super::*;
    use crate::render::drawing;
    use crate::render::geometry::FrameGeometry;
    use crate::render::scene::{Item, Pass, Scene, BACKGROUND};
    use crate::render::SizedBuffer;
    use smithay::backend::renderer::element::memory::MemoryRenderBuffer;

    const SIZE: (i32, i32) = (320, 200);

    /// Returns Mesa's renderer on the CPU.
    fn llvmpipe() -> GlesRenderer {
        let mut devices = EGLDevice::enumerate().expect("EGL devices");
        let device = devices.find(EGLDevice::is_software).expect("Mesa's renderer on the CPU");
        // SAFETY: nothing else uses the display or the context.
        unsafe {
            let display = EGLDisplay::new(device).expect("a display");
            GlesRenderer::new(EGLContext::new(&display).expect("a context")).expect("a renderer")
        }
    }

    fn random_pixels((width, height): (i32, i32), seed: u64) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = (width * height) as usize;
        // Premultiplied.
        let pixel = |_| {
            let alpha = random.u8(..);
            let [red, green, blue] = std::array::from_fn(|_| random.u8(..=alpha));
            [blue, green, red, alpha]
        };
        (0..count).flat_map(pixel).collect()
    }

    fn buffer(size: (i32, i32), seed: u64) -> SizedBuffer {
        let pixels = random_pixels(size, seed);
        let memory =
            MemoryRenderBuffer::from_slice(&pixels, Fourcc::Argb8888, size, 1, Transform::Normal, None);
        SizedBuffer(memory, (size.0 as u32, size.1 as u32))
    }

    fn read(renderer: &mut GlesRenderer, target: &mut GlesTexture) -> Vec<u8> {
        let framebuffer = renderer.bind(target).expect("a target");
        let area = Rectangle::from_size(SIZE.into());
        let mapping = renderer.copy_framebuffer(&framebuffer, area, Fourcc::Abgr8888).expect("a copy");
        renderer.map_texture(&mapping).expect("pixels").to_vec()
    }

    /// Returns the number of the program that the context used last.
    fn used(renderer: &mut GlesRenderer) -> i32 {
        let used = renderer.with_context(|gl| {
            let mut program = 0;
            // SAFETY: the context is current, and the call writes one number.
            unsafe { gl.GetIntegerv(ffi::CURRENT_PROGRAM, &mut program) };
            program
        });
        used.expect("a context")
    }

    /// Draws a scene of two overlapping images. Returns its pixels, and the program that drew them.
    fn draw_scene(renderer: &mut GlesRenderer, transform: Transform) -> (Vec<u8>, i32) {
        let buffers = [buffer((90, 70), 1), buffer((300, 150), 2)];
        let item = |(buffer, location)| Item::Memory { buffer, location };
        let geometry = FrameGeometry { size: SIZE.into(), scale: 1.0, transform };
        let scene = Scene {
            geometry,
            scale: 1.0,
            items: buffers.iter().zip([(33.0, 21.0).into(), (5.0, 9.0).into()]).map(item).collect(),
            cursor: None,
            cursor_plane_allowed: false,
            draws_cursor: false,
            scanout_candidate: None,
            view: None,
            described_surfaces: Vec::new(),
        };
        let mut target: GlesTexture =
            renderer.create_buffer(Fourcc::Abgr8888, SIZE.into()).expect("a texture");
        let mut tracker = geometry.damage_tracker();
        drawing::draw(renderer, &mut target, &mut tracker, 0, &scene, Pass::Whole, BACKGROUND)
            .expect("a frame");
        let used = used(renderer);
        (read(renderer, &mut target), used)
    }

    /// Returns the number of the installed program.
    fn installed(renderer: &mut GlesRenderer) -> i32 {
        let TextureProgram(program) =
            renderer.egl_context().user_data().get::<TextureProgram>().expect("it is installed");
        let program = program.clone();
        let texture = renderer
            .import_memory(&random_pixels((4, 4), 3), Fourcc::Argb8888, (4, 4).into(), false)
            .expect("a texture");
        let mut target: GlesTexture =
            renderer.create_buffer(Fourcc::Abgr8888, SIZE.into()).expect("a texture");
        let mut framebuffer = renderer.bind(&mut target).expect("a target");
        let mut frame = renderer.render(&mut framebuffer, SIZE.into(), Transform::Normal).expect("a frame");
        let all = Rectangle::from_size((4, 4).into());
        let (from, to) = (Rectangle::from_size((4.0, 4.0).into()), all);
        frame
            .render_texture_from_to(
                &texture,
                from,
                to,
                &[all],
                &[],
                Transform::Normal,
                1.0,
                Some(&program),
                &[],
            )
            .expect("it draws");
        let _ = frame.finish().expect("a frame");
        drop(framebuffer);
        used(renderer)
    }

    #[test]
    fn scenes_are_drawn_with_coordinates_of_high_precision_and_look_the_same() {
        let mut renderer = llvmpipe();
        for transform in [Transform::Normal, Transform::_90, Transform::Flipped] {
            let (before, smithays) = draw_scene(&mut renderer, transform);
            install(&mut renderer).expect("a context");
            let ours = installed(&mut renderer);
            assert_ne!(ours, smithays, "{transform:?}");
            let (after, used) = draw_scene(&mut renderer, transform);
            assert_eq!(used, ours, "{transform:?}");
            assert!(before == after, "{transform:?}: the pixels differ");
            assert!(before.chunks(4).any(|pixel| pixel != &before[..4]), "something is drawn");
            // The next one starts with Smithay's program again.
            renderer = llvmpipe();
        }
    }

    /// What no emulator shows: the precision of the coordinates, in every variant.
    #[test]
    fn coordinates_are_declared_with_high_precision() {
        assert!(FRAGMENTS.contains("varying highp vec2 v_coords;"));
        assert!(!FRAGMENTS.contains("precision mediump float"), "no default that applies to others");
    }
}
