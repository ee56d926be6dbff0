//! Cursor images: of the theme, of clients, and a built-in arrow if there is no theme.

use std::collections::HashMap;
use std::fs;

use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::element::memory::MemoryRenderBuffer;
use smithay::input::pointer::CursorIcon;
use smithay::utils::Transform;

use super::SizedBuffer;

/// A cursor image, for a cursor plane or a renderer.
#[derive(Debug, Clone)]
pub struct CursorBuffer {
    /// Differs between images with different pixels.
    pub serial: u64,
    pub width: u32,
    pub height: u32,
    /// The hot spot, from the top left corner.
    pub hotspot: (i32, i32),
    /// Pre-multiplied ARGB8888, rows without padding.
    pub argb: Vec<u8>,
    pub memory: SizedBuffer,
}

impl CursorBuffer {
    pub fn new(serial: u64, (width, height): (u32, u32), hotspot: (i32, i32), argb: Vec<u8>) -> Self {
        let size = (width as i32, height as i32);
        let memory =
            MemoryRenderBuffer::from_slice(&argb, Fourcc::Argb8888, size, 1, Transform::Normal, None);
        let memory = SizedBuffer(memory, (width, height));
        Self { serial, width, height, hotspot, argb, memory }
    }
}

/// A cursor theme: images by shape and size, loaded when they are first needed.
pub struct Theme {
    theme: xcursor::CursorTheme,
    size: u8,
    loaded: HashMap<(CursorIcon, u32), std::rc::Rc<CursorBuffer>>,
    serial: u64,
}

impl Theme {
    pub fn new(name: &str, size: u8) -> Self {
        Self { theme: xcursor::CursorTheme::load(name), size, loaded: HashMap::new(), serial: 0 }
    }

    /// Returns the image of a shape for an output's scale.
    pub fn buffer(&mut self, icon: CursorIcon, scale: f64) -> std::rc::Rc<CursorBuffer> {
        let pixels = (f64::from(self.size) * scale).round().max(1.0) as u32;
        if let Some(buffer) = self.loaded.get(&(icon, pixels)) {
            return buffer.clone();
        }
        self.serial += 1;
        let buffer =
            load(&self.theme, icon, pixels, self.serial).unwrap_or_else(|| arrow(pixels, self.serial));
        let buffer = std::rc::Rc::new(buffer);
        self.loaded.insert((icon, pixels), buffer.clone());
        buffer
    }
}

fn load(theme: &xcursor::CursorTheme, icon: CursorIcon, pixels: u32, serial: u64) -> Option<CursorBuffer> {
    let names =
        std::iter::once(icon.name()).chain(icon.alt_names().iter().copied()).chain(["default", "left_ptr"]);
    let path = names.into_iter().find_map(|name| theme.load_icon(name))?;
    let images = xcursor::parser::parse_xcursor(&fs::read(path).ok()?)?;
    let image = images.into_iter().min_by_key(|image| image.size.abs_diff(pixels))?;
    let expected = image.width as usize * image.height as usize * 4;
    if image.pixels_rgba.len() != expected || expected == 0 {
        return None;
    }
    // The file has little-endian ARGB words; the parser returns their bytes unchanged.
    let argb = image.pixels_rgba;
    Some(CursorBuffer::new(serial, (image.width, image.height), (image.xhot as i32, image.yhot as i32), argb))
}

/// Returns a black arrow with a white rim, for devices without a cursor theme.
fn arrow(pixels: u32, serial: u64) -> CursorBuffer {
    // Corners of the arrow in a square of side 24.
    const CORNERS: [(f64, f64); 7] =
        [(1.0, 1.0), (1.0, 19.0), (5.5, 15.0), (8.5, 22.0), (11.5, 20.7), (8.5, 14.0), (14.5, 14.0)];
    let side = pixels.max(8);
    let scale = f64::from(side) / 24.0;
    let inside = |x: f64, y: f64| {
        let mut odd = false;
        for (index, (x1, y1)) in CORNERS.iter().enumerate() {
            let (x2, y2) = CORNERS[(index + 1) % CORNERS.len()];
            if (*y1 > y) != (y2 > y) && x < (x2 - x1) * (y - y1) / (y2 - y1) + x1 {
                odd = !odd;
            }
        }
        odd
    };
    let mut argb = vec![0; side as usize * side as usize * 4];
    for (number, pixel) in argb.chunks_exact_mut(4).enumerate() {
        let center = |number: usize| (number as f64 + 0.5) / scale;
        let (x, y) = (center(number % side as usize), center(number / side as usize));
        let rim = 1.1;
        if inside(x, y) {
            let deep = [(-rim, 0.0), (rim, 0.0), (0.0, -rim), (0.0, rim)]
                .iter()
                .all(|(dx, dy)| inside(x + dx, y + dy));
            pixel.copy_from_slice(if deep { &[0, 0, 0, 255] } else { &[255; 4] });
        }
    }
    let hotspot = scale.round() as i32;
    CursorBuffer::new(serial, (side, side), (hotspot, hotspot), argb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_theme_has_a_built_in_cursor() {
        let mut theme = Theme::new("no such theme", 24);
        let buffer = theme.buffer(CursorIcon::Text, 2.0);
        assert!(buffer.argb.iter().any(|byte| *byte > 0));
        assert_eq!(theme.buffer(CursorIcon::Text, 2.0).serial, buffer.serial);
        assert_ne!(theme.buffer(CursorIcon::Text, 1.0).serial, buffer.serial);
    }
}
