//! Where a display's picture is drawn before it is converted: one image, whole at any time, and what changed in it lately.

use std::collections::VecDeque;
use std::io;

use smithay::reexports::pixman;
use smithay::utils::{Physical, Rectangle, Size};
use geom_color::conversion::Conversion;
use geom_color::target::ColorTarget;

use crate::render::drawing::LayerTarget;
use crate::render::gles_shadow::GlesShadow;
use crate::render::color_layers::Layer;
use crate::gpu::buffer::Drawable;
use crate::render::geometry::FrameGeometry;
use crate::render::scene::Described;

/// Areas of a picture, in its pixels.
pub type Damage = Vec<Rectangle<i32, Physical>>;

/// Older buffers than this are converted whole.
const FRAMES: usize = 4;

/// What each frame changed, the newest first.
#[derive(Debug, Default)]
pub struct History(VecDeque<Damage>);

impl History {
    pub fn add(&mut self, damage: Damage) {
        self.0.push_front(damage);
        self.0.truncate(FRAMES);
    }

    /// What a buffer of this size has missed whose picture is `age` frames old; 0 for one without a picture of ours.
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

/// A picture in sRGB on its way to a monitor that wants its color otherwise.
pub enum ShadowBuffer {
    Memory(Box<MemoryShadow>),
    Gles(Box<GlesShadow>),
}

impl ShadowBuffer {
    /// None where pictures need no conversion.
    ///
    /// # Errors
    /// Without memory for it.
    pub fn new(of: ColorTarget, size: (u32, u32), by_gpu: bool) -> io::Result<Option<Self>> {
        if by_gpu {
            return Ok(GlesShadow::new(of, size).map(Box::new).map(Self::Gles));
        }
        Ok(MemoryShadow::new(of, size)?.map(Box::new).map(Self::Memory))
    }

    pub fn is_for(&self, look: &ColorTarget) -> bool {
        match self {
            Self::Memory(shadow) => shadow.of == *look,
            Self::Gles(shadow) => shadow.of == *look,
        }
    }

    /// Bits of a color in the buffers that it fills.
    pub fn bits(&self) -> u32 {
        match self {
            Self::Memory(shadow) => shadow.of.bits,
            Self::Gles(shadow) => shadow.of.bits,
        }
    }

    /// What is in it can't be built on.
    pub fn forget(&mut self) {
        match self {
            Self::Memory(shadow) => shadow.forget(),
            Self::Gles(shadow) => shadow.forget(),
        }
    }

    /// Drops the images of surfaces with image descriptions: their damage trackers belong to another geometry.
    pub fn drop_layers(&mut self) {
        match self {
            Self::Memory(shadow) => shadow.layers.clear(),
            Self::Gles(shadow) => shadow.drop_layers(),
        }
    }
}

/// One in memory, for the software renderer.
pub struct MemoryShadow {
    of: ColorTarget,
    conversion: Conversion,
    image: pixman::Image<'static, 'static>,
    layers: Vec<Layer>,
    /// What is in it is not the tracker's last frame: it has to be drawn whole.
    stale: bool,
    history: History,
}

/// The image to draw into and its age, and more of them for other kinds of color.
type Sheets<'a> =
    ((&'a mut pixman::Image<'static, 'static>, usize), Vec<LayerTarget<'a, pixman::Image<'static, 'static>>>);

impl MemoryShadow {
    /// None where pictures need no conversion.
    ///
    /// # Errors
    /// Without memory for it.
    pub fn new(of: ColorTarget, size: (u32, u32)) -> io::Result<Option<Self>> {
        let Some(conversion) = Conversion::new(&of) else { return Ok(None) };
        // With alpha: pictures of other color are seen through it.
        let format = pixman::FormatCode::A8R8G8B8;
        let image = pixman::Image::new(format, size.0 as usize, size.1 as usize, true);
        let image = image.map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let history = History::default();
        Ok(Some(Self { of, conversion, image, layers: Vec::new(), stale: true, history }))
    }

    /// What to draw into, for these kinds of color and no others.
    ///
    /// # Errors
    /// Without memory for another image.
    pub fn sheets(&mut self, kinds: &[Described], geometry: &FrameGeometry) -> io::Result<Sheets<'_>> {
        self.layers.retain(|layer| kinds.contains(&layer.described));
        for kind in kinds {
            if !self.layers.iter().any(|layer| layer.described == *kind) {
                let size = (self.image.width() as u32, self.image.height() as u32);
                self.layers.extend(Layer::new(*kind, &self.of, geometry, size)?);
            }
        }
        let sheets = self.layers.iter_mut().map(|layer| LayerTarget {
            image: &mut layer.image,
            tracker: &mut layer.tracker,
            age: usize::from(!std::mem::replace(&mut layer.stale, false)),
            described: layer.described,
        });
        let age = usize::from(!std::mem::replace(&mut self.stale, false));
        Ok(((&mut self.image, age), sheets.collect()))
    }

    fn forget(&mut self) {
        self.stale = true;
        self.layers.iter_mut().for_each(|layer| layer.stale = true);
        self.history.clear();
    }

    /// Brings a buffer, whose picture is `age` frames old, to the picture that was drawn now and changed `damage`. An age of 0 is a
    /// buffer without a picture of ours.
    pub fn convert(&mut self, damage: Damage, age: usize, to: &mut Drawable) -> io::Result<()> {
        self.history.add(damage);
        let (Drawable::Dumb { image, .. } | Drawable::Memory(image)) = to else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let size = (self.image.width() as i32, self.image.height() as i32);
        let areas = self.history.missed(age, size.into());
        let from = pixels(&self.image);
        let layers: Vec<(&Layer, &[u8])> =
            self.layers.iter().map(|layer| (layer, pixels(&layer.image))).collect();
        let (stride, to_stride) = (self.image.stride(), image.stride());
        let to = pixels_mut(image);
        for area in areas {
            let bytes = area.loc.x as usize * 4..(area.loc.x + area.size.w) as usize * 4;
            for line in area.loc.y as usize..(area.loc.y + area.size.h) as usize {
                let from = from.get(line * stride + bytes.start..line * stride + bytes.end);
                let to = to.get_mut(line * to_stride + bytes.start..line * to_stride + bytes.end);
                let (Some(from), Some(to)) = (from, to) else { continue };
                if self.layers.is_empty() {
                    self.conversion.convert_row(from, to);
                    continue;
                }
                for (column, (from, to)) in from.chunks_exact(4).zip(to.chunks_exact_mut(4)).enumerate() {
                    let x = area.loc.x as usize + column;
                    let pixel = [from[0], from[1], from[2], from[3]];
                    let seen = || layers.iter().find_map(|(layer, pixels)| layer.codes(pixels, x, line));
                    let below = if pixel[3] == 255 { None } else { seen() };
                    match below {
                        Some(below) => to.copy_from_slice(&self.conversion.blend_over(pixel, below)),
                        None => self.conversion.convert_row(from, to),
                    }
                }
            }
        }
        Ok(())
    }
}

pub fn pixels<'a>(image: &'a pixman::Image<'static, 'static>) -> &'a [u8] {
    // SAFETY: an image has stride * height bytes, and it is borrowed.
    unsafe { std::slice::from_raw_parts(image.data().cast::<u8>(), image.stride() * image.height()) }
}

fn pixels_mut<'a>(image: &'a mut pixman::Image<'static, 'static>) -> &'a mut [u8] {
    // SAFETY: as in `pixels`, and nobody else has it.
    unsafe { std::slice::from_raw_parts_mut(image.data().cast::<u8>(), image.stride() * image.height()) }
}

#[cfg(test)]
mod tests {
    use smithay::utils::Transform;
    use geom_color::color_space::ColorSpace;

    use super::*;

    fn area(x: i32, y: i32, width: i32, height: i32) -> Rectangle<i32, Physical> {
        Rectangle::new((x, y).into(), (width, height).into())
    }

    /// The pixels of a buffer that are white in the shadow and have come over: of 8x8.
    fn white(buffer: &Drawable) -> usize {
        let Drawable::Memory(image) = buffer else { return 0 };
        pixels(image).chunks(4).filter(|pixel| pixel[..3] == [255; 3]).count()
    }

    #[test]
    fn a_buffer_gets_what_it_missed() -> io::Result<()> {
        let look = ColorTarget { space: ColorSpace::DisplayP3, ..ColorTarget::default() };
        let mut shadow = MemoryShadow::new(look, (8, 8))?.expect("a conversion");
        let geometry = FrameGeometry { size: (8, 8).into(), scale: 1.0, transform: Transform::Normal };
        let age = |shadow: &mut MemoryShadow| -> io::Result<usize> { Ok(shadow.sheets(&[], &geometry)?.0 .1) };
        assert_eq!(age(&mut shadow)?, 0);
        assert_eq!(age(&mut shadow)?, 1);
        pixels_mut(&mut shadow.image).fill(0xff);
        let (mut first, mut second) = (Drawable::memory((8, 8))?, Drawable::memory((8, 8))?);
        // New: whole, whatever changed.
        shadow.convert(vec![area(0, 0, 1, 1)], 0, &mut first)?;
        assert_eq!(white(&first), 64);
        // Two frames old: what both changed, and nothing beyond the edge.
        shadow.convert(vec![area(6, 6, 9, 9)], 2, &mut second)?;
        assert_eq!(white(&second), 1 + 4);
        // Older than is known.
        shadow.convert(Vec::new(), 9, &mut second)?;
        assert_eq!(white(&second), 64);
        shadow.forget();
        assert_eq!(age(&mut shadow)?, 0);
        Ok(())
    }
}
