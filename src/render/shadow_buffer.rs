//! Shadow buffers: an output's frame is drawn into one image, which is complete at any time, and
//! the areas that changed are converted from it into the scanout buffers.

use std::collections::VecDeque;
use std::io;

use geom_color::conversion::Conversion;
use geom_color::target::ColorTarget;
use smithay::reexports::pixman;
use smithay::utils::{Physical, Point, Rectangle, Size};

use crate::render::color_layers::Layer;
use crate::render::drawable::Drawable;
use crate::render::drawing::LayerTarget;
use crate::render::geometry::FrameGeometry;
use crate::render::gles_shadow::GlesShadow;
use crate::render::scene::SurfaceImageDescription;

/// Damaged areas of a frame, in its pixels.
pub type Damage = Vec<Rectangle<i32, Physical>>;

/// Frames whose damage is kept. Older buffers are converted whole.
const MAX_BUFFER_AGE: usize = 4;

/// The damage of the latest frames, newest first.
#[derive(Debug, Default)]
pub struct History(VecDeque<Damage>);

impl History {
    /// Adds the damage of a new frame.
    pub fn add(&mut self, damage: Damage) {
        self.0.push_front(damage);
        self.0.truncate(MAX_BUFFER_AGE);
    }

    /// Returns the areas to convert for a buffer of this size whose content is `age` frames old; 0
    /// for unknown content.
    pub fn missed(&self, age: usize, size: Size<i32, Physical>) -> Damage {
        let whole = Rectangle::from_size(size);
        if !(1..=self.0.len()).contains(&age) {
            return vec![whole];
        }
        self.0.iter().take(age).flatten().filter_map(|area| area.intersection(whole)).collect()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// The shadow buffer of an output: frames in sRGB, and their conversion to the color target.
pub enum ShadowBuffer {
    Memory(Box<MemoryShadow>),
    Gles(Box<GlesShadow>),
}

impl ShadowBuffer {
    /// Returns `None` if the target needs no conversion.
    ///
    /// # Errors
    /// If there is no memory for the image.
    pub fn new(target: ColorTarget, size: (u32, u32), by_gpu: bool) -> io::Result<Option<Self>> {
        if by_gpu {
            return Ok(GlesShadow::new(target, size).map(Box::new).map(Self::Gles));
        }
        Ok(MemoryShadow::new(target, size)?.map(Box::new).map(Self::Memory))
    }

    /// Returns whether it converts to this target.
    pub fn is_for(&self, target: &ColorTarget) -> bool {
        match self {
            Self::Memory(shadow) => shadow.target == *target,
            Self::Gles(shadow) => shadow.target == *target,
        }
    }

    /// Returns the bits per channel of the scanout buffers.
    pub fn bits(&self) -> u32 {
        match self {
            Self::Memory(shadow) => shadow.target.bits,
            Self::Gles(shadow) => shadow.target.bits,
        }
    }

    /// Draws and converts the next frame whole: earlier frames are not what they should be.
    pub fn forget(&mut self) {
        match self {
            Self::Memory(shadow) => shadow.forget(),
            Self::Gles(shadow) => shadow.forget(),
        }
    }

    /// Drops the images of surfaces with image descriptions: their damage trackers belong to
    /// another geometry.
    pub fn drop_layers(&mut self) {
        match self {
            Self::Memory(shadow) => shadow.layers.clear(),
            Self::Gles(shadow) => shadow.drop_layers(),
        }
    }
}

/// Returns whether [`Conversion`] writes buffers in this format. Pixman converts to the formats of
/// planes that have neither.
fn is_written_directly(format: pixman::FormatCode) -> bool {
    matches!(format, pixman::FormatCode::X8R8G8B8 | pixman::FormatCode::X2R10G10B10)
}

/// A shadow buffer in memory, for the software renderer.
pub struct MemoryShadow {
    target: ColorTarget,
    conversion: Conversion,
    image: pixman::Image<'static, 'static>,
    layers: Vec<Layer>,
    /// `image` is not the last frame of the damage tracker: it has to be drawn whole.
    stale: bool,
    history: History,
}

/// The image for sRGB surfaces with its age, and those for image descriptions.
type Targets<'a> =
    ((&'a mut pixman::Image<'static, 'static>, usize), Vec<LayerTarget<'a, pixman::Image<'static, 'static>>>);

impl MemoryShadow {
    /// Returns `None` if the target needs no conversion.
    ///
    /// # Errors
    /// If there is no memory for the image.
    pub fn new(target: ColorTarget, size: (u32, u32)) -> io::Result<Option<Self>> {
        let Some(conversion) = Conversion::new(&target) else { return Ok(None) };
        // With alpha, as it has holes at surfaces with image descriptions.
        let format = pixman::FormatCode::A8R8G8B8;
        let image = pixman::Image::new(format, size.0 as usize, size.1 as usize, true);
        let image = image.map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let history = History::default();
        Ok(Some(Self { target, conversion, image, layers: Vec::new(), stale: true, history }))
    }

    /// Returns the images to draw into; makes layers for these image descriptions, and drops
    /// others.
    ///
    /// # Errors
    /// If there is no memory for another image.
    pub fn targets(
        &mut self,
        descriptions: &[SurfaceImageDescription],
        geometry: &FrameGeometry,
    ) -> io::Result<Targets<'_>> {
        self.layers.retain(|layer| descriptions.contains(&layer.description));
        for description in descriptions {
            if !self.layers.iter().any(|layer| layer.description == *description) {
                let size = (self.image.width() as u32, self.image.height() as u32);
                self.layers.extend(Layer::new(*description, &self.target, geometry, size)?);
            }
        }
        let layers = self.layers.iter_mut().map(|layer| LayerTarget {
            image: &mut layer.image,
            tracker: &mut layer.tracker,
            age: usize::from(!std::mem::replace(&mut layer.stale, false)),
            description: layer.description,
        });
        let age = usize::from(!std::mem::replace(&mut self.stale, false));
        Ok(((&mut self.image, age), layers.collect()))
    }

    fn forget(&mut self) {
        self.stale = true;
        self.layers.iter_mut().for_each(|layer| layer.stale = true);
        self.history.clear();
    }

    /// Converts a frame, which changed `damage`, into a buffer whose content is `age` frames old; 0
    /// for unknown content.
    ///
    /// # Errors
    /// If the buffer is not in memory.
    pub fn convert(&mut self, damage: Damage, age: usize, to: &mut Drawable) -> io::Result<()> {
        self.history.add(damage);
        let image = to.image().ok_or(io::ErrorKind::Unsupported)?;
        let size = (self.image.width() as i32, self.image.height() as i32);
        let areas = self.history.missed(age, size.into());
        let is_direct = is_written_directly(image.format());
        for area in areas.iter().copied() {
            if is_direct {
                self.convert_area(area, image, area.loc);
                continue;
            }
            let (width, height) = (area.size.w.unsigned_abs(), area.size.h.unsigned_abs());
            let format = pixman::FormatCode::X8R8G8B8;
            let converted = pixman::Image::new(format, width as usize, height as usize, false);
            let mut converted = converted.map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
            self.convert_area(area, &mut converted, Point::default());
            let (from, at, size) = ((0, 0), (area.loc.x, area.loc.y), (area.size.w, area.size.h));
            image.composite32(pixman::Operation::Src, &converted, None, from, (0, 0), at, size);
        }
        to.copy_staged(&areas);
        Ok(())
    }

    /// Converts an area to the pixels of an image at this position, in a format of
    /// [`is_written_directly`].
    fn convert_area(
        &self,
        area: Rectangle<i32, Physical>,
        image: &mut pixman::Image<'static, 'static>,
        position: Point<i32, Physical>,
    ) {
        let from = pixels(&self.image);
        let layers: Vec<(&Layer, &[u8])> =
            self.layers.iter().map(|layer| (layer, pixels(&layer.image))).collect();
        let (stride, to_stride) = (self.image.stride(), image.stride());
        let to = pixels_mut(image);
        let length = area.size.w as usize * 4;
        for row in 0..area.size.h as usize {
            let line = area.loc.y as usize + row;
            let start = line * stride + area.loc.x as usize * 4;
            let to_start = (position.y as usize + row) * to_stride + position.x as usize * 4;
            let from = from.get(start..start + length);
            let (Some(from), Some(to)) = (from, to.get_mut(to_start..to_start + length)) else { continue };
            if self.layers.is_empty() {
                self.conversion.convert_row(from, to);
                continue;
            }
            for (column, (from, to)) in from.chunks_exact(4).zip(to.chunks_exact_mut(4)).enumerate() {
                let x = area.loc.x as usize + column;
                let pixel = [from[0], from[1], from[2], from[3]];
                let described = || layers.iter().find_map(|(layer, pixels)| layer.codes(pixels, x, line));
                let below = if pixel[3] == 255 { None } else { described() };
                match below {
                    Some(below) => to.copy_from_slice(&self.conversion.blend_over(pixel, below)),
                    None => self.conversion.convert_row(from, to),
                }
            }
        }
    }
}

/// Returns the bytes of an image.
pub fn pixels<'a>(image: &'a pixman::Image<'static, 'static>) -> &'a [u8] {
    // SAFETY: an image has stride * height bytes, and it is borrowed.
    unsafe { std::slice::from_raw_parts(image.data().cast::<u8>(), image.stride() * image.height()) }
}

fn pixels_mut<'a>(image: &'a mut pixman::Image<'static, 'static>) -> &'a mut [u8] {
    // SAFETY: as in `pixels`, and the borrow is unique.
    unsafe { std::slice::from_raw_parts_mut(image.data().cast::<u8>(), image.stride() * image.height()) }
}

#[cfg(test)]
mod tests {
    use geom_color::color_space::ColorSpace;
    use smithay::utils::Transform;

    use super::*;

    fn area(x: i32, y: i32, width: i32, height: i32) -> Rectangle<i32, Physical> {
        Rectangle::new((x, y).into(), (width, height).into())
    }

    /// Returns how many pixels of the buffer are white, as all pixels of the shadow buffer are.
    fn white(buffer: &Drawable) -> usize {
        let Drawable::Memory(image) = buffer else { return 0 };
        pixels(image).chunks(4).filter(|pixel| pixel[..3] == [255; 3]).count()
    }

    /// As on planes without XRGB8888.
    #[test]
    fn red_stays_red_in_other_formats() -> io::Result<()> {
        let target = ColorTarget { space: ColorSpace::DisplayP3, ..ColorTarget::default() };
        let converted = |format| -> io::Result<Vec<u8>> {
            let mut shadow = MemoryShadow::new(target.clone(), (2, 2))?.expect("a conversion");
            pixels_mut(&mut shadow.image).copy_from_slice(&[0, 0, 0xff, 0xff].repeat(4));
            let image = pixman::Image::new(format, 2, 2, true).expect("memory");
            let mut buffer = Drawable::Memory(image);
            shadow.convert(Vec::new(), 0, &mut buffer)?;
            let Drawable::Memory(image) = &buffer else { panic!("in memory") };
            Ok(pixels(image)[image.stride()..][..4].to_vec())
        };
        let plain = converted(pixman::FormatCode::X8R8G8B8)?;
        assert!(plain[2] > 200 && plain[0] < 100, "{plain:?}");
        let swapped = converted(pixman::FormatCode::X8B8G8R8)?;
        assert_eq!(swapped[..3], [plain[2], plain[1], plain[0]]);
        let [low, high, ..] = converted(pixman::FormatCode::R5G6B5)?[..] else { panic!("4 bytes") };
        let short = u16::from_le_bytes([low, high]);
        assert!(short >> 11 > 25 && short & 0x1f < 12, "{short:04x}");
        Ok(())
    }

    #[test]
    fn buffer_gets_the_damage_of_the_frames_it_missed() -> io::Result<()> {
        let target = ColorTarget { space: ColorSpace::DisplayP3, ..ColorTarget::default() };
        let mut shadow = MemoryShadow::new(target, (8, 8))?.expect("a conversion");
        let geometry = FrameGeometry { size: (8, 8).into(), scale: 1.0, transform: Transform::Normal };
        let age =
            |shadow: &mut MemoryShadow| -> io::Result<usize> { Ok(shadow.targets(&[], &geometry)?.0 .1) };
        assert_eq!(age(&mut shadow)?, 0);
        assert_eq!(age(&mut shadow)?, 1);
        pixels_mut(&mut shadow.image).fill(0xff);
        let (mut first, mut second) = (Drawable::memory((8, 8))?, Drawable::memory((8, 8))?);
        // A new buffer is converted whole.
        shadow.convert(vec![area(0, 0, 1, 1)], 0, &mut first)?;
        assert_eq!(white(&first), 64);
        // A buffer that is two frames old: the damage of both, clipped to the buffer.
        shadow.convert(vec![area(6, 6, 9, 9)], 2, &mut second)?;
        assert_eq!(white(&second), 1 + 4);
        // Older than the history.
        shadow.convert(Vec::new(), 9, &mut second)?;
        assert_eq!(white(&second), 64);
        shadow.forget();
        assert_eq!(age(&mut shadow)?, 0);
        Ok(())
    }
}
