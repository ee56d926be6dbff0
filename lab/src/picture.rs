//! A picture read back from a monitor.

use std::io::{BufReader, BufWriter};
use std::path::Path;

use anyhow::{ensure, Context, Result};

/// Four bytes a pixel, red first, rows without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    rgba: Vec<u8>,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{})", self.width, self.height)
    }
}

impl Picture {
    pub fn new(width: u32, height: u32, rgba: Vec<u8>) -> Result<Self> {
        let expected = width as usize * height as usize * 4;
        ensure!(rgba.len() == expected, "{width}x{height} takes {expected} bytes, there are {}", rgba.len());
        Ok(Self { width, height, rgba })
    }

    /// Red, green and blue at a place; black outside.
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let at = (y as usize * self.width as usize + x as usize) * 4;
        match self.rgba.get(at..at + 3) {
            Some(pixel) if x < self.width => [pixel[0], pixel[1], pixel[2]],
            _ => [0; 3],
        }
    }

    /// The share of pixels, from 0 to 1, for which `wanted` holds.
    pub fn share(&self, wanted: impl Fn([u8; 3]) -> bool) -> f64 {
        let all = self.rgba.chunks_exact(4);
        let count = all.len().max(1);
        all.filter(|pixel| wanted([pixel[0], pixel[1], pixel[2]])).count() as f64 / count as f64
    }

    /// Reads a PNG of 8 bits a colour without transparency.
    pub fn load(path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
        let mut reader = png::Decoder::new(BufReader::new(file)).read_info()?;
        let mut rgb = vec![0; reader.output_buffer_size().context("too large a picture")?];
        let info = reader.next_frame(&mut rgb)?;
        ensure!(info.color_type == png::ColorType::Rgb, "{}: {:?}", path.display(), info.color_type);
        let pixels = rgb.chunks_exact(3).take(info.width as usize * info.height as usize);
        let rgba = pixels.flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 0xff]).collect();
        Self::new(info.width, info.height, rgba)
    }

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
