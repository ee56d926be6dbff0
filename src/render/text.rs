//! Text from a built-in bitmap font: a device may have no font files.

use noto_sans_mono_bitmap::{get_raster, FontWeight, RasterHeight};

/// Sizes of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    Small,
    Medium,
    Large,
}

/// One line of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    pub size: Size,
    /// Red, green, blue.
    pub color: [u8; 3],
}

/// Drawn text: pre-multiplied ARGB8888, little endian (blue first).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub width: u32,
    pub height: u32,
    pub argb: Vec<u8>,
}

fn raster(size: Size) -> (RasterHeight, FontWeight) {
    match size {
        Size::Small => (RasterHeight::Size16, FontWeight::Regular),
        Size::Medium => (RasterHeight::Size24, FontWeight::Regular),
        Size::Large => (RasterHeight::Size32, FontWeight::Bold),
    }
}

/// The maximum of [`magnification`]: on larger displays, text is relatively smaller.
const MAX_MAGNIFICATION: u32 = 8;

/// Returns how many times as large text is drawn on a display or in a window of a size in pixels.
pub fn magnification(size: (u32, u32)) -> u32 {
    (size.1 / 720).min(size.0 / 480).clamp(1, MAX_MAGNIFICATION)
}

/// Returns how many letters fit a width in pixels.
pub fn letters(size: Size, magnification: u32, width: u32) -> usize {
    let (height, weight) = raster(size);
    let letter = noto_sans_mono_bitmap::get_raster_width(weight, height) as u32 * magnification.max(1);
    (width / letter.max(1)) as usize
}

/// Draws centered lines below each other, every pixel `magnification` times as wide and high.
pub fn block(lines: &[Line], magnification: u32) -> Block {
    let magnification = magnification.max(1) as usize;
    let metrics = |line: &Line| {
        let (height, weight) = raster(line.size);
        let letter = noto_sans_mono_bitmap::get_raster_width(weight, height);
        (letter * line.text.chars().count(), height.val() + height.val() / 4)
    };
    let width = lines.iter().map(|line| metrics(line).0).max().unwrap_or(0).max(1) * magnification;
    let height = lines.iter().map(|line| metrics(line).1).sum::<usize>().max(1) * magnification;
    let mut argb = vec![0; width * height * 4];
    let mut top = 0;
    for line in lines {
        let (line_width, line_height) = metrics(line);
        let (raster_height, weight) = raster(line.size);
        let mut left = (width / magnification - line_width) / 2;
        for character in line.text.chars() {
            let letter = get_raster(character, weight, raster_height)
                .or_else(|| get_raster('?', weight, raster_height));
            let Some(letter) = letter else { continue };
            for (y, row) in letter.raster().iter().enumerate() {
                for (x, strength) in row.iter().enumerate().filter(|(_, strength)| **strength > 0) {
                    for copy in 0..magnification * magnification {
                        let px = (left + x) * magnification + copy % magnification;
                        let py = (top + y) * magnification + copy / magnification;
                        let at = (py * width + px) * 4;
                        let scaled = |channel: u8| (u16::from(channel) * u16::from(*strength) / 255) as u8;
                        let [red, green, blue] = line.color.map(scaled);
                        if let Some(pixel) = argb.get_mut(at..at + 4) {
                            pixel.copy_from_slice(&[blue, green, red, *strength]);
                        }
                    }
                }
            }
            left += letter.width();
        }
        top += line_height;
    }
    Block { width: width as u32, height: height as u32, argb }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_drawn_and_magnified() {
        let line = |text: &str| Line { text: text.into(), size: Size::Small, color: [255, 0, 0] };
        let small = block(&[line("HDMI-A-1"), line("")], 1);
        let ink = small.argb.chunks(4).filter(|pixel| pixel[2] > 0).count();
        assert!(ink > 50, "{ink}");
        assert!(small.argb.chunks(4).all(|pixel| pixel[0] == 0 && pixel[2] <= pixel[3]));
        let large = block(&[line("HDMI-A-1"), line("")], 2);
        assert_eq!((large.width, large.height), (small.width * 2, small.height * 2));
    }

    #[test]
    fn unknown_letters_and_no_lines_do_not_panic() {
        block(&[], 0);
        block(&[Line { text: "\u{0}日本\u{10ffff}".into(), size: Size::Large, color: [1, 2, 3] }], 3);
    }
}
