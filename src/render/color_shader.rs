//! Color conversion by the GPU: a shader that draws a texture in the code values of another color
//! space.
//!
//! Smithay's custom shaders take one texture and numbers. This one needs LUTs too, so it calls GLES
//! directly.
//!
//! Curves that have a formula are computed: two powers for each channel take less time than two
//! look-ups with interpolation, each of which waits for memory. A 3D LUT is in half floats, which
//! are exact to an eighth of a code of 255 and half as much to read as floats.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::rc::Rc;

use geom_color::glsl::{Decode, ShaderConversion};
use geom_color::lut::LUT_3D_SIZE;
use smithay::backend::renderer::gles::{ffi, GlesFrame, GlesRenderer, GlesTexture};
use smithay::utils::{Physical, Rectangle, Size};

/// Computes the corners of an area from their index, so that no vertex buffer is needed.
const VERTICES: &str = "#version 300 es
uniform vec4 area;
void main() {
    vec2 corner = vec2(float(gl_VertexID & 1), float(gl_VertexID >> 1));
    gl_Position = vec4(mix(area.xy, area.zw, corner), 0.0, 1.0);
}";

/// Begins the source; the function `convert` of the conversion follows.
const BEGIN: &str = "#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp sampler3D;
uniform sampler2D source;
uniform bool opaque;
out vec4 color;
";

const END: &str = "
void main() {
    vec4 seen = texelFetch(source, ivec2(gl_FragCoord.xy), 0);
    if (seen.a <= 0.0) {
        discard;
    }
    vec3 signal = opaque ? seen.rgb : seen.rgb / seen.a;
    color = vec4(convert(clamp(signal, 0.0, 1.0)), opaque ? 1.0 : seen.a);
}";

/// The table's first row has the linearization, the second the encoding, with `steps` entries each.
const CURVES: &str = "
uniform sampler2D table;
uniform ivec2 steps;
uniform mat3 matrix;

vec3 entry(int row, int count, float place) {
    float at = clamp(place, 0.0, 1.0) * float(count - 1);
    int below = int(at);
    int above = min(below + 1, count - 1);
    return mix(texelFetch(table, ivec2(below, row), 0).rgb, texelFetch(table, ivec2(above, row), 0).rgb, at - float(below));
}

vec3 convert(vec3 signal) {
    vec3 linear = vec3(entry(0, steps.x, signal.r).r, entry(0, steps.x, signal.g).r, entry(0, steps.x, signal.b).r);
    vec3 root = sqrt(sqrt(max(matrix * linear, 0.0)));
    return vec3(entry(1, steps.y, root.r).r, entry(1, steps.y, root.g).g, entry(1, steps.y, root.b).b);
}
";

/// `decode` and `encode` come before.
const FORMULAS: &str = "
uniform mat3 matrix;
uniform vec3 gains;

vec3 convert(vec3 signal) {
    return encode(clamp(matrix * decode(signal), 0.0, 1.0) * gains);
}
";

/// Blue is the fastest axis of the texture, red the slowest. The interpolation is tetrahedral:
/// along the largest component first and along the smallest last, so that grays stay on the
/// diagonal. The texture unit's own would put the grays of HDR images up to 15 codes of 255 off.
const GRID: &str = "
uniform sampler3D grid;

vec3 point(ivec3 at) {
    return texelFetch(grid, at.bgr, 0).rgb;
}

vec3 convert(vec3 signal) {
    int side = textureSize(grid, 0).x;
    vec3 at = signal * float(side - 1);
    ivec3 cell = min(ivec3(at), ivec3(side - 2));
    vec3 part = at - vec3(cell);
    ivec3 red = ivec3(1, 0, 0), green = ivec3(0, 1, 0), blue = ivec3(0, 0, 1);
    ivec3 first = part.r >= part.g ? (part.r >= part.b ? red : blue) : (part.g >= part.b ? green : blue);
    ivec3 last = part.r < part.g ? (part.r < part.b ? red : blue) : (part.g < part.b ? green : blue);
    float most = max(max(part.r, part.g), part.b);
    float least = min(min(part.r, part.g), part.b);
    float middle = part.r + part.g + part.b - most - least;
    return point(cell) * (1.0 - most) + point(cell + first) * (most - middle)
        + point(cell + 1 - last) * (middle - least) + point(cell + 1) * least;
}
";

/// Shows the source unconverted: what other programs are compared with.
const COPY: &str = "
vec3 convert(vec3 signal) {
    return signal;
}
";

/// The GLES programs of the conversions so far, in the context of one renderer; they are freed with
/// that context.
#[derive(Debug)]
pub struct Shader {
    programs: RefCell<HashMap<String, Rc<Program>>>,
    /// Ids of 3D textures that are not used any more.
    freed: Rc<RefCell<Vec<u32>>>,
}

/// A GLES program and the places of its uniforms, -1 for those that it does not have.
#[derive(Debug)]
struct Program {
    id: u32,
    area: i32,
    source: i32,
    table: i32,
    grid: i32,
    steps: i32,
    matrix: i32,
    gains: i32,
    exponent: i32,
    opaque: i32,
}

/// A conversion in the memory of a renderer.
#[derive(Debug)]
pub struct PreparedConversion {
    program: Rc<Program>,
    texture: Option<LutTexture>,
    steps: [i32; 2],
    /// Column-major, as GLES expects it.
    matrix: [f32; 9],
    gains: [f32; 3],
    exponent: f32,
}

/// The LUTs of a conversion.
#[derive(Debug)]
enum LutTexture {
    Table(GlesTexture),
    Grid(GridTexture),
}

/// A 3D texture. Smithay has a type for flat ones only.
#[derive(Debug)]
struct GridTexture {
    id: u32,
    /// Where ids of textures go that are not used any more: only the renderer can free them.
    freed: Rc<RefCell<Vec<u32>>>,
}

impl Drop for GridTexture {
    fn drop(&mut self) {
        self.freed.borrow_mut().push(self.id);
    }
}

/// A texture to convert, and how.
pub struct ShaderInput<'a> {
    pub texture: &'a GlesTexture,
    pub conversion: &'a PreparedConversion,
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
unsafe fn compile(gl: &ffi::Gles2, kind: u32, source: &str) -> io::Result<u32> {
    let source = CString::new(source)?;
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

impl Program {
    /// Compiles and links a program.
    ///
    /// # Safety
    /// The context must be current.
    unsafe fn new(gl: &ffi::Gles2, fragments: &str) -> io::Result<Self> {
        // SAFETY: the caller guarantees the context; the strings end with NUL; objects made here
        // are used only here, or freed.
        unsafe {
            let vertices = compile(gl, ffi::VERTEX_SHADER, VERTICES)?;
            let fragments = match compile(gl, ffi::FRAGMENT_SHADER, fragments) {
                Ok(fragments) => fragments,
                Err(error) => {
                    gl.DeleteShader(vertices);
                    return Err(error);
                }
            };
            let id = gl.CreateProgram();
            gl.AttachShader(id, vertices);
            gl.AttachShader(id, fragments);
            gl.LinkProgram(id);
            // They are freed with the program.
            gl.DeleteShader(vertices);
            gl.DeleteShader(fragments);
            let mut good = 0;
            gl.GetProgramiv(id, ffi::LINK_STATUS, &mut good);
            if good == 0 {
                let mut length = 0;
                gl.GetProgramiv(id, ffi::INFO_LOG_LENGTH, &mut length);
                let error = log_error("shaders do not link", length, |length, log| {
                    gl.GetProgramInfoLog(id, length, std::ptr::null_mut(), log);
                });
                gl.DeleteProgram(id);
                return Err(error);
            }
            let uniform = |name: &std::ffi::CStr| gl.GetUniformLocation(id, name.as_ptr());
            Ok(Self {
                id,
                area: uniform(c"area"),
                source: uniform(c"source"),
                table: uniform(c"table"),
                grid: uniform(c"grid"),
                steps: uniform(c"steps"),
                matrix: uniform(c"matrix"),
                gains: uniform(c"gains"),
                exponent: uniform(c"exponent"),
                opaque: uniform(c"opaque"),
            })
        }
    }
}

impl Shader {
    /// Checks in the renderer's context that programs can be compiled.
    ///
    /// # Errors
    /// If the context is older than GLES 3.0, or the driver refuses a shader.
    pub fn new(renderer: &mut GlesRenderer) -> io::Result<Self> {
        let shader = Self { programs: RefCell::default(), freed: Rc::default() };
        shader.program(renderer, GRID)?;
        Ok(shader)
    }

    /// Returns the program with this function `convert`, compiled when it is first needed.
    fn program(&self, renderer: &mut GlesRenderer, convert: &str) -> io::Result<Rc<Program>> {
        if let Some(program) = self.programs.borrow().get(convert) {
            return Ok(program.clone());
        }
        let source = [BEGIN, convert, END].concat();
        // SAFETY: the context is current.
        let made = renderer.with_context(|gl| unsafe { Program::new(gl, &source) });
        let program = Rc::new(made.map_err(io::Error::other)??);
        self.programs.borrow_mut().insert(convert.to_owned(), program.clone());
        Ok(program)
    }

    /// Returns the conversion that changes nothing.
    ///
    /// # Errors
    /// If the renderer cannot use its context.
    pub fn copy(&self, renderer: &mut GlesRenderer) -> io::Result<PreparedConversion> {
        Ok(PreparedConversion::without_texture(self.program(renderer, COPY)?))
    }

    /// Uploads a conversion.
    ///
    /// # Errors
    /// If the GPU has no memory for its LUTs, or the driver refuses its program.
    pub fn prepare(
        &self,
        renderer: &mut GlesRenderer,
        conversion: &ShaderConversion,
    ) -> io::Result<PreparedConversion> {
        match conversion {
            ShaderConversion::Formulas { decode, matrix, gains, encode } => {
                let convert = [decode.source(), "\n", &encode.source(), FORMULAS].concat();
                let exponent = match decode {
                    Decode::Power(exponent) => *exponent as f32,
                    Decode::Srgb => 0.0,
                };
                Ok(PreparedConversion {
                    matrix: column_major(matrix),
                    gains: gains.map(|gain| gain as f32),
                    exponent,
                    ..PreparedConversion::without_texture(self.program(renderer, &convert)?)
                })
            }
            ShaderConversion::Curves { linear, matrix, signal } => Ok(PreparedConversion {
                texture: Some(LutTexture::Table(upload_table(renderer, linear, signal)?)),
                steps: [linear.len() as i32, signal.len() as i32],
                matrix: column_major(matrix),
                ..PreparedConversion::without_texture(self.program(renderer, CURVES)?)
            }),
            ShaderConversion::Lut3d(points) => {
                let id = upload_grid(renderer, points)?;
                let texture = LutTexture::Grid(GridTexture { id, freed: self.freed.clone() });
                Ok(PreparedConversion {
                    texture: Some(texture),
                    ..PreparedConversion::without_texture(self.program(renderer, GRID)?)
                })
            }
        }
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
                let freed = std::mem::take(&mut *self.freed.borrow_mut());
                if !freed.is_empty() {
                    gl.DeleteTextures(freed.len() as i32, freed.as_ptr());
                }
                gl.BlendFunc(ffi::SRC_ALPHA, ffi::ONE_MINUS_SRC_ALPHA);
                for input in inputs {
                    let PreparedConversion { program, steps, matrix, gains, .. } = input.conversion;
                    gl.UseProgram(program.id);
                    gl.Uniform1i(program.source, 0);
                    gl.Uniform1i(program.table, 1);
                    gl.Uniform1i(program.grid, 2);
                    match &input.conversion.texture {
                        Some(LutTexture::Table(table)) => bind_flat(gl, ffi::TEXTURE1, table),
                        Some(LutTexture::Grid(grid)) => {
                            gl.ActiveTexture(ffi::TEXTURE2);
                            gl.BindTexture(ffi::TEXTURE_3D, grid.id);
                        }
                        None => {}
                    }
                    bind_flat(gl, ffi::TEXTURE0, input.texture);
                    gl.Uniform2i(program.steps, steps[0], steps[1]);
                    gl.UniformMatrix3fv(program.matrix, 1, ffi::FALSE, matrix.as_ptr());
                    gl.Uniform3f(program.gains, gains[0], gains[1], gains[2]);
                    gl.Uniform1f(program.exponent, input.conversion.exponent);
                    gl.Uniform1i(program.opaque, i32::from(input.opaque));
                    for area in areas {
                        let end = area.loc + area.size;
                        let (from, to) = (area.loc, end);
                        gl.Uniform4f(
                            program.area,
                            clip(from.x, size.w),
                            clip(from.y, size.h),
                            clip(to.x, size.w),
                            clip(to.y, size.h),
                        );
                        gl.DrawArrays(ffi::TRIANGLE_STRIP, 0, 4);
                    }
                }
                gl.BlendFunc(ffi::ONE, ffi::ONE_MINUS_SRC_ALPHA);
                gl.ActiveTexture(ffi::TEXTURE2);
                gl.BindTexture(ffi::TEXTURE_3D, 0);
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

/// Binds a flat texture to a unit, for reads of single texels.
///
/// # Safety
/// The context of the texture must be current.
unsafe fn bind_flat(gl: &ffi::Gles2, unit: u32, texture: &GlesTexture) {
    // SAFETY: the caller guarantees the context.
    unsafe {
        gl.ActiveTexture(unit);
        gl.BindTexture(ffi::TEXTURE_2D, texture.tex_id());
        // The default filter uses mipmaps, without which a texture is incomplete.
        gl.TexParameteri(ffi::TEXTURE_2D, ffi::TEXTURE_MIN_FILTER, ffi::NEAREST as i32);
        gl.TexParameteri(ffi::TEXTURE_2D, ffi::TEXTURE_MAG_FILTER, ffi::NEAREST as i32);
    }
}

fn column_major(rows: &[[f64; 3]; 3]) -> [f32; 9] {
    std::array::from_fn(|index| rows[index % 3][index / 3] as f32)
}

impl PreparedConversion {
    fn without_texture(program: Rc<Program>) -> Self {
        Self { program, texture: None, steps: [0; 2], matrix: [0.0; 9], gains: [1.0; 3], exponent: 0.0 }
    }
}

/// Uploads the tables of curves, a row each.
fn upload_table(renderer: &mut GlesRenderer, linear: &[f32], signal: &[[f32; 3]]) -> io::Result<GlesTexture> {
    let width = linear.len().max(signal.len());
    let mut texels = vec![[0f32; 4]; 2 * width];
    for (texel, linear) in texels.iter_mut().zip(linear) {
        texel[0] = *linear;
    }
    for (texel, signal) in texels.iter_mut().skip(width).zip(signal) {
        texel[..3].copy_from_slice(signal);
    }
    let (width, height) = (width as i32, 2);
    // SAFETY: the context is current, and there are width * height texels of four floats.
    let texture = renderer.with_context(|gl| unsafe {
        upload(gl, ffi::TEXTURE_2D, || {
            let (internal, format) = (ffi::RGBA32F as i32, ffi::RGBA);
            let texels = texels.as_ptr().cast();
            gl.TexImage2D(ffi::TEXTURE_2D, 0, internal, width, height, 0, format, ffi::FLOAT, texels);
        })
    });
    let texture = texture.map_err(io::Error::other)??;
    // SAFETY: the texture is of this renderer's context and of this format, and has no other owner.
    Ok(unsafe { GlesTexture::from_raw(renderer, Some(ffi::RGBA32F), true, texture, (width, height).into()) })
}

/// Uploads the points of a 3D LUT. Returns the texture's id.
fn upload_grid(renderer: &mut GlesRenderer, points: &[[f32; 3]]) -> io::Result<u32> {
    let texels: Vec<[f32; 4]> = points.iter().map(|[red, green, blue]| [*red, *green, *blue, 1.0]).collect();
    if texels.len() != LUT_3D_SIZE.pow(3) {
        return Err(io::Error::other(format!("a 3D LUT has {} points", texels.len())));
    }
    let side = LUT_3D_SIZE as i32;
    // SAFETY: the context is current, and there are side * side * side texels of four floats.
    let texture = renderer.with_context(|gl| unsafe {
        upload(gl, ffi::TEXTURE_3D, || {
            let (internal, format) = (ffi::RGBA16F as i32, ffi::RGBA);
            let texels = texels.as_ptr().cast();
            gl.TexImage3D(ffi::TEXTURE_3D, 0, internal, side, side, side, 0, format, ffi::FLOAT, texels);
            gl.TexParameteri(ffi::TEXTURE_3D, ffi::TEXTURE_MIN_FILTER, ffi::NEAREST as i32);
            gl.TexParameteri(ffi::TEXTURE_3D, ffi::TEXTURE_MAG_FILTER, ffi::NEAREST as i32);
        })
    });
    texture.map_err(io::Error::other)?
}

/// Makes a texture and has its content uploaded while it is bound.
///
/// # Safety
/// The context must be current.
unsafe fn upload(gl: &ffi::Gles2, target: u32, content: impl FnOnce()) -> io::Result<u32> {
    // SAFETY: the caller guarantees the context.
    unsafe {
        let mut texture = 0;
        gl.GenTextures(1, &mut texture);
        gl.BindTexture(target, texture);
        content();
        let error = gl.GetError();
        gl.BindTexture(target, 0);
        if error == ffi::NO_ERROR {
            return Ok(texture);
        }
        gl.DeleteTextures(1, &texture);
        Err(io::Error::other(format!("cannot upload the LUT of a color conversion: GLES error {error:#x}")))
    }
}
