//! The GPU time of color conversions, as ratios to a copy of the same pixels by the same means, and
//! their largest difference from the conversion on the CPU. Part of `make bench`; needs no monitor:
//! every EGL device is measured, llvmpipe among them. Prints figures and asserts none.

use std::time::{Duration, Instant};

use geom_color::color_space::ColorSpace;
use geom_color::conversion::{Conversion, ImageConversion};
use geom_color::glsl::ShaderConversion;
use geom_color::image_description::{ImageDescription, TransferFunction};
use geom_color::target::ColorTarget;
use geom_compositor::internals::color_shader::{PreparedConversion, Shader, ShaderInput};
use smithay::backend::allocator::Fourcc;
use smithay::backend::egl::{EGLContext, EGLDevice, EGLDisplay};
use smithay::backend::renderer::gles::{GlesRenderer, GlesTexture};
use smithay::backend::renderer::{Bind, ExportMem, Frame, ImportMem, Offscreen, Renderer};
use smithay::utils::{Rectangle, Size, Transform};

type Failure = Box<dyn std::error::Error>;

/// Width and height in pixels.
const SIZES: [(i32, i32); 2] = [(1920, 1080), (3840, 2160)];
const RUNS: usize = 15;

/// What a conversion makes of red, green and blue.
type Reference = Box<dyn Fn([u8; 3]) -> [u8; 3]>;

struct Case {
    name: &'static str,
    conversion: Option<ShaderConversion>,
    reference: Reference,
}

/// Returns a conversion of sRGB by formulas.
fn by_formulas(name: &'static str, space: ColorSpace) -> Option<Case> {
    let target = ColorTarget { space, ..ColorTarget::default() };
    let conversion = Conversion::new(&target)?;
    let reference = move |[red, green, blue]: [u8; 3]| {
        let mut to = [0; 4];
        conversion.convert_row(&[blue, green, red, 0], &mut to);
        [to[2], to[1], to[0]]
    };
    Some(Case { name, conversion: ShaderConversion::for_srgb(&target), reference: Box::new(reference) })
}

/// Returns the conversion of an HDR image by a 3D LUT.
fn by_grid() -> Option<Case> {
    let target = ColorTarget { space: ColorSpace::DisplayP3, ..ColorTarget::default() };
    let description = ImageDescription::new(geom_color::primaries::BT2020, TransferFunction::Pq);
    let conversion = ImageConversion::new(&description, true, &target)?;
    let reference = move |codes: [u8; 3]| {
        let codes = codes.map(|code| (u32::from(code) * 1023 + 127) / 255);
        conversion.convert(codes).map(|code| code as u8)
    };
    let conversion = ShaderConversion::for_image(&description, true, &target);
    Some(Case { name: "PQ image, 3D LUT", conversion, reference: Box::new(reference) })
}

/// Returns pixels in which all channels vary, red, green, blue and alpha.
fn image((width, height): (i32, i32)) -> Vec<u8> {
    (0..width * height)
        .flat_map(|at| [at * 7, at / width * 3, at / 251 * 5].map(|code| code as u8).into_iter().chain([255]))
        .collect()
}

/// Draws once and waits for the GPU.
fn draw(
    renderer: &mut GlesRenderer,
    shader: &Shader,
    conversion: &PreparedConversion,
    (source, target): (&GlesTexture, &mut GlesTexture),
    size: (i32, i32),
) -> Result<(), Failure> {
    let mut framebuffer = renderer.bind(target)?;
    let area = Size::from(size);
    let mut frame = renderer.render(&mut framebuffer, area, Transform::Normal)?;
    let input = ShaderInput { texture: source, conversion, opaque: true };
    shader.draw(&mut frame, area, &[Rectangle::from_size(area)], &[input])?;
    Ok(frame.finish()?.wait()?)
}

/// Returns the median time of a conversion, and the largest difference from its reference in codes
/// of 255.
fn measure(
    renderer: &mut GlesRenderer,
    shader: &Shader,
    case: &Case,
    source: (&GlesTexture, &[u8]),
    size: (i32, i32),
) -> Result<(Duration, u8), Failure> {
    let conversion = match &case.conversion {
        Some(conversion) => shader.prepare(renderer, conversion)?,
        None => shader.copy(renderer)?,
    };
    let mut target: GlesTexture = renderer.create_buffer(Fourcc::Abgr8888, size.into())?;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        draw(renderer, shader, &conversion, (source.0, &mut target), size)?;
        times.push(start.elapsed());
    }
    times.sort();
    let framebuffer = renderer.bind(&mut target)?;
    let mapping =
        renderer.copy_framebuffer(&framebuffer, Rectangle::from_size(size.into()), Fourcc::Abgr8888)?;
    let pixels = renderer.map_texture(&mapping)?;
    let difference = pixels.chunks_exact(4).zip(source.1.chunks_exact(4)).step_by(7).map(|(to, from)| {
        let expected = (case.reference)([from[0], from[1], from[2]]);
        to.iter().zip(expected).map(|(to, expected)| to.abs_diff(expected)).max().unwrap_or(0)
    });
    Ok((times[RUNS / 2], difference.max().unwrap_or(0)))
}

fn measure_device(device: EGLDevice) -> Result<(), Failure> {
    // SAFETY: nothing else in this program uses the device.
    let display = unsafe { EGLDisplay::new(device)? };
    // SAFETY: the context is used by this thread only.
    let mut renderer = unsafe { GlesRenderer::new(EGLContext::new(&display)?)? };
    let shader = Shader::new(&mut renderer)?;
    let copy = Case { name: "copy", conversion: None, reference: Box::new(|codes| codes) };
    let formulas = [
        by_formulas("display-p3", ColorSpace::DisplayP3),
        by_formulas("bt2020", ColorSpace::Bt2020),
        by_formulas("bt2020-pq", ColorSpace::Bt2020Pq),
        by_formulas("bt2020-hlg", ColorSpace::Bt2020Hlg),
        by_grid(),
    ];
    let cases: Vec<Case> = [copy].into_iter().chain(formulas.into_iter().flatten()).collect();
    for size in SIZES {
        let pixels = image(size);
        let texture = renderer.import_memory(&pixels, Fourcc::Abgr8888, size.into(), false)?;
        let mut copy = None;
        for case in &cases {
            let (time, difference) = measure(&mut renderer, &shader, case, (&texture, &pixels), size)?;
            let copy = *copy.get_or_insert(time);
            println!(
                "| {} | {}x{} | {:.2} | {:.2} | {difference} |",
                case.name,
                size.0,
                size.1,
                time.as_secs_f64() * 1e3,
                time.as_secs_f64() / copy.as_secs_f64(),
            );
        }
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    for device in EGLDevice::enumerate()? {
        let node = device.drm_device_path().map(|path| path.display().to_string());
        println!("\n{}", if device.is_software() { "llvmpipe".to_owned() } else { node.unwrap_or_default() });
        println!("| conversion | size | ms | ratio to the copy | difference, codes of 255 |");
        println!("|---|---|---|---|---|");
        if let Err(error) = measure_device(device) {
            println!("not measured: {error}");
        }
    }
    Ok(())
}
