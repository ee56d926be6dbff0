//! The pixels read back from a monitor.

use std::io::{BufReader, BufWriter};
use std::path::Path;

use anyhow::{ensure, Context, Result};

/// An image with four bytes per pixel in the order R, G, B, A, and rows without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Screenshot {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    rgba: Vec<u8>,
}

impl std::fmt::Debug for Screenshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Screenshot({}x{})", self.width, self.height)
    }
}

impl Screenshot {
    /// Creates a screenshot from its pixels.
    ///
    /// # Errors
    /// If `rgba` does not have `width * height * 4` bytes.
    pub fn new(width: u32, height: u32, rgba: Vec<u8>) -> Result<Self> {
        let expected = width as usize * height as usize * 4;
        ensure!(rgba.len() == expected, "{width}x{height} needs {expected} bytes, not {}", rgba.len());
        Ok(Self { width, height, rgba })
    }

    /// Returns red, green and blue of a pixel; black outside the image.
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let at = (y as usize * self.width as usize + x as usize) * 4;
        match self.rgba.get(at..at + 3) {
            Some(pixel) if x < self.width => [pixel[0], pixel[1], pixel[2]],
            _ => [0; 3],
        }
    }

    /// Returns the fraction of pixels, from 0 to 1, for which `wanted` returns true.
    pub fn fraction(&self, wanted: impl Fn([u8; 3]) -> bool) -> f64 {
        let all = self.rgba.chunks_exact(4);
        let count = all.len().max(1);
        all.filter(|pixel| wanted([pixel[0], pixel[1], pixel[2]])).count() as f64 / count as f64
    }

    /// Reads a PNG with 8 bits per channel and no transparency.
    ///
    /// # Errors
    /// If the file cannot be read or has another format.
    pub fn load(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
        let mut reader = png::Decoder::new(BufReader::new(file)).read_info()?;
        let mut rgb = vec![0; reader.output_buffer_size().context("the image is too large")?];
        let info = reader.next_frame(&mut rgb)?;
        ensure!(info.color_type == png::ColorType::Rgb, "{}: {:?}", path.display(), info.color_type);
        let pixels = rgb.chunks_exact(3).take(info.width as usize * info.height as usize);
        let rgba = pixels.flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 0xff]).collect();
        Self::new(info.width, info.height, rgba)
    }

    /// Writes the image as PNG.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let file = std::fs::File::create(path).with_context(|| path.display().to_string())?;
        let mut encoder = png::Encoder::new(BufWriter::new(file), self.width, self.height);
        encoder.set_color(png::ColorType::Rgba);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        encoder.write_header()?.write_image_data(&self.rgba)?;
        Ok(())
    }
}
