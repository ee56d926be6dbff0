//! Color conversion by the GPU: a shader that draws a texture in the code values of another color
//! space.
//!
//! Smithay's custom shaders take one texture and numbers. This one needs LUTs too, so it calls GLES
//! directly.

use std::ffi::CStr;
use std::io;

use geom_color::glsl::ShaderLuts;
use geom_color::lut::LUT_3D_SIZE;
use smithay::backend::renderer::gles::{ffi, GlesFrame, GlesRenderer, GlesTexture};
use smithay::utils::{Physical, Rectangle, Size};

/// Computes the corners of an area from their index, so that no vertex buffer is needed.
const VERTICES: &CStr = c"#version 300 es
uniform vec4 area;
void main() {
    vec2 corner = vec2(float(gl_VertexID & 1), float(gl_VertexID >> 1));
    gl_Position = vec4(mix(area.xy, area.zw, corner), 0.0, 1.0);
}";

/// `side` is 0 for curves: the LUT's first row has the linearization, the second the encoding,
/// with `steps` entries each. A 3D LUT has a row for each red, and in each row all blues of the
/// first green, then of the next.
const FRAGMENTS: &CStr = c"#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
uniform sampler2D source;
uniform sampler2D table;
uniform int side;
uniform ivec2 steps;
uniform mat3 matrix;
uniform bool opaque;
out vec4 color;

vec3 entry(int row, int count, float place) {
    float at = clamp(place, 0.0, 1.0) * float(count - 1);
    int below = int(at);
    int above = min(below + 1, count - 1);
    return mix(texelFetch(table, ivec2(below, row), 0).rgb, texelFetch(table, ivec2(above, row), 0).rgb, at - float(below));
}

vec3 point(ivec3 at) {
    return texelFetch(table, ivec2(at.g * side + at.b, at.r), 0).rgb;
}

vec3 by_curves(vec3 signal) {
    vec3 linear = vec3(entry(0, steps.x, signal.r).r, entry(0, steps.x, signal.g).r, entry(0, steps.x, signal.b).r);
    vec3 root = sqrt(sqrt(max(matrix * linear, 0.0)));
    return vec3(entry(1, steps.y, root.r).r, entry(1, steps.y, root.g).g, entry(1, steps.y, root.b).b);
}

// Tetrahedral interpolation, so that grays stay on the diagonal: along the largest component first,
// along the smallest last.
vec3 by_grid(vec3 signal) {
    vec3 at = clamp(signal, 0.0, 1.0) * float(side - 1);
    ivec3 cell = min(ivec3(at), ivec3(side - 2));
    vec3 part = at - vec3(cell);
    ivec3 red = ivec3(1, 0, 0), green = ivec3(0, 1, 0), blue = ivec3(0, 0, 1);
    ivec3 first = part.r >= part.g ? (part.r >= part.b ? red : blue) : (part.g >= part.b ? green : blue);
    ivec3 last = part.r < part.g ? (part.r < part.b ? red : blue) : (part.g < part.b ? green : blue);
    float most = dot(part, vec3(first));
    float least = dot(part, vec3(last));
    float middle = part.r + part.g + part.b - most - least;
    return point(cell) * (1.0 - most) + point(cell + first) * (most - middle)
        + point(cell + 1 - last) * (middle - least) + point(cell + 1) * least;
}

void main() {
    vec4 seen = texelFetch(source, ivec2(gl_FragCoord.xy), 0);
    if (seen.a <= 0.0) {
        discard;
    }
    vec3 signal = opaque ? seen.rgb : seen.rgb / seen.a;
    color = vec4(side > 0 ? by_grid(signal) : by_curves(signal), opaque ? 1.0 : seen.a);
}";

/// The GLES program, in the context of one renderer; it is freed with that context.
#[derive(Debug)]
pub struct Shader {
    program: u32,
    area: i32,
    source: i32,
    table: i32,
    side: i32,
    steps: i32,
    matrix: i32,
    opaque: i32,
}

/// The LUTs of a conversion as a texture, and its matrix.
#[derive(Debug)]
pub struct LutTexture {
    texture: GlesTexture,
    side: i32,
    steps: [i32; 2],
    /// Column-major, as GLES expects it.
    matrix: [f32; 9],
}

/// A texture to convert, and how.
pub struct ShaderInput<'a> {
    pub texture: &'a GlesTexture,
    pub lut: &'a LutTexture,
    /// Every pixel with an alpha above 0 is opaque.
    pub opaque: bool,
}

/// Returns an error with the message of the shader compiler or linker.
fn log_error(what: &str, length: i32, read: impl FnOnce(i32, *mut ffi::types::GLchar)) -> io::Error {
    let mut log = vec![0u8; usize::try_from(length).unwrap_or(0).max(1)];
    read(length, log.as_mut_ptr().cast());
    io::Error::other(format!("{what}: {}", String::from_utf8_lossy(&log).trim_end_matches(['\0', '\n'])))
}

/// Compiles a shader.
///
/// # Safety
/// The context must be current.
unsafe fn compile(gl: &ffi::Gles2, kind: u32, source: &CStr) -> io::Result<u32> {
    // SAFETY: the caller guarantees the context; the source ends with NUL, and the log has the
    // length that is passed.
    unsafe {
        let shader = gl.CreateShader(kind);
        gl.ShaderSource(shader, 1, &source.as_ptr(), std::ptr::null());
        gl.CompileShader(shader);
        let mut good = 0;
        gl.GetShaderiv(shader, ffi::COMPILE_STATUS, &mut good);
        if good != 0 {
            return Ok(shader);
        }
        let mut length = 0;
        gl.GetShaderiv(shader, ffi::INFO_LOG_LENGTH, &mut length);
        let error = log_error("shader does not compile", length, |length, log| {
            gl.GetShaderInfoLog(shader, length, std::ptr::null_mut(), log);
        });
        gl.DeleteShader(shader);
        Err(error)
    }
}

impl Shader {
    /// Compiles the program in the renderer's context.
    ///
    /// # Errors
    /// If the context is older than GLES 3.0, or the driver refuses a shader.
    pub fn new(renderer: &mut GlesRenderer) -> io::Result<Self> {
        // SAFETY: the context is current; the strings end with NUL; objects made here are used only
        // here, or freed.
        let made = renderer.with_context(|gl| unsafe {
            let vertices = compile(gl, ffi::VERTEX_SHADER, VERTICES)?;
            let fragments = match compile(gl, ffi::FRAGMENT_SHADER, FRAGMENTS) {
                Ok(fragments) => fragments,
                Err(error) => {
                    gl.DeleteShader(vertices);
                    return Err(error);
                }
            };
            let program = gl.CreateProgram();
            gl.AttachShader(program, vertices);
            gl.AttachShader(program, fragments);
            gl.LinkProgram(program);
            // They are freed with the program.
            gl.DeleteShader(vertices);
            gl.DeleteShader(fragments);
            let mut good = 0;
            gl.GetProgramiv(program, ffi::LINK_STATUS, &mut good);
            if good == 0 {
                let mut length = 0;
                gl.GetProgramiv(program, ffi::INFO_LOG_LENGTH, &mut length);
                let error = log_error("shaders do not link", length, |length, log| {
                    gl.GetProgramInfoLog(program, length, std::ptr::null_mut(), log);
                });
                gl.DeleteProgram(program);
                return Err(error);
            }
            let uniform = |name: &CStr| gl.GetUniformLocation(program, name.as_ptr());
            Ok(Self {
                program,
                area: uniform(c"area"),
                source: uniform(c"source"),
                table: uniform(c"table"),
                side: uniform(c"side"),
                steps: uniform(c"steps"),
                matrix: uniform(c"matrix"),
                opaque: uniform(c"opaque"),
            })
        });
        made.map_err(io::Error::other)?
    }

    /// Draws textures of the frame's size into areas of the frame, the lowest first.
    ///
    /// # Errors
    /// If the renderer cannot use its context.
    pub fn draw(
        &self,
        frame: &mut GlesFrame<'_, '_>,
        size: Size<i32, Physical>,
        areas: &[Rectangle<i32, Physical>],
        inputs: &[ShaderInput<'_>],
    ) -> io::Result<()> {
        // Pixels to clip space, -1 to 1. The first row of a framebuffer is the first in memory.
        let clip = |at: i32, all: i32| 2.0 * at as f32 / all.max(1) as f32 - 1.0;
        let drawn = frame.with_context(|gl| {
            // SAFETY: the frame's context is current; the named objects exist; changed state is
            // reset to what Smithay leaves between draws.
            unsafe {
                gl.UseProgram(self.program);
                gl.Uniform1i(self.source, 0);
                gl.Uniform1i(self.table, 1);
                gl.BlendFunc(ffi::SRC_ALPHA, ffi::ONE_MINUS_SRC_ALPHA);
                for input in inputs {
                    for (unit, texture) in
                        [(ffi::TEXTURE1, &input.lut.texture), (ffi::TEXTURE0, input.texture)]
                    {
                        gl.ActiveTexture(unit);
                        gl.BindTexture(ffi::TEXTURE_2D, texture.tex_id());
                        // The default filter uses mipmaps, without which a texture is incomplete.
                        gl.TexParameteri(ffi::TEXTURE_2D, ffi::TEXTURE_MIN_FILTER, ffi::NEAREST as i32);
                        gl.TexParameteri(ffi::TEXTURE_2D, ffi::TEXTURE_MAG_FILTER, ffi::NEAREST as i32);
                    }
                    gl.Uniform1i(self.side, input.lut.side);
                    gl.Uniform2i(self.steps, input.lut.steps[0], input.lut.steps[1]);
                    gl.UniformMatrix3fv(self.matrix, 1, ffi::FALSE, input.lut.matrix.as_ptr());
                    gl.Uniform1i(self.opaque, i32::from(input.opaque));
                    for area in areas {
                        let end = area.loc + area.size;
                        let (from, to) = (area.loc, end);
                        gl.Uniform4f(
                            self.area,
                            clip(from.x, size.w),
                            clip(from.y, size.h),
                            clip(to.x, size.w),
                            clip(to.y, size.h),
                        );
                        gl.DrawArrays(ffi::TRIANGLE_STRIP, 0, 4);
                    }
                }
                gl.BlendFunc(ffi::ONE, ffi::ONE_MINUS_SRC_ALPHA);
                gl.ActiveTexture(ffi::TEXTURE1);
                gl.BindTexture(ffi::TEXTURE_2D, 0);
                gl.ActiveTexture(ffi::TEXTURE0);
                gl.BindTexture(ffi::TEXTURE_2D, 0);
                gl.UseProgram(0);
            }
        });
        drawn.map_err(io::Error::other)
    }
}

impl LutTexture {
    /// Uploads the LUTs of a conversion.
    ///
    /// # Errors
    /// If the GPU has no memory for the texture.
    pub fn new(renderer: &mut GlesRenderer, luts: &ShaderLuts) -> io::Result<Self> {
        let mut matrix = [0.0; 9];
        let (width, height, side, steps, texels) = match luts {
            ShaderLuts::Curves { linear, matrix: rows, signal } => {
                for (index, cell) in matrix.iter_mut().enumerate() {
                    *cell = rows[index % 3][index / 3] as f32;
                }
                let width = linear.len().max(signal.len());
                let mut texels = vec![[0f32; 4]; 2 * width];
                for (texel, linear) in texels.iter_mut().zip(linear) {
                    texel[0] = *linear;
                }
                for (texel, signal) in texels.iter_mut().skip(width).zip(signal) {
                    texel[..3].copy_from_slice(signal);
                }
                (width, 2, 0, [linear.len() as i32, signal.len() as i32], texels)
            }
            ShaderLuts::Lut3d(points) => {
                let texels = points.iter().map(|[red, green, blue]| [*red, *green, *blue, 1.0]).collect();
                (LUT_3D_SIZE * LUT_3D_SIZE, LUT_3D_SIZE, LUT_3D_SIZE as i32, [0; 2], texels)
            }
        };
        debug_assert_eq!(texels.len(), width * height);
        let (width, height) = (width as i32, height as i32);
        // SAFETY: the context is current, and there are width * height texels of four floats.
        let texture = renderer.with_context(|gl| unsafe {
            let mut texture = 0;
            gl.GenTextures(1, &mut texture);
            gl.BindTexture(ffi::TEXTURE_2D, texture);
            let (internal, format) = (ffi::RGBA32F as i32, ffi::RGBA);
            let texels = texels.as_ptr().cast();
            gl.TexImage2D(ffi::TEXTURE_2D, 0, internal, width, height, 0, format, ffi::FLOAT, texels);
            let error = gl.GetError();
            gl.BindTexture(ffi::TEXTURE_2D, 0);
            if error == ffi::NO_ERROR {
                return Ok(texture);
            }
            gl.DeleteTextures(1, &texture);
            Err(io::Error::other(format!(
                "cannot upload the LUT of a color conversion: GLES error {error:#x}"
            )))
        });
        let texture = texture.map_err(io::Error::other)??;
        // SAFETY: the texture is of this renderer's context and of this format, and has no other
        // owner.
        let texture = unsafe {
            GlesTexture::from_raw(renderer, Some(ffi::RGBA32F), true, texture, (width, height).into())
        };
        Ok(Self { texture, side, steps, matrix })
    }
}
