//! The overlay over a window whose client is unresponsive: dims it, and offers to wait or to close.

use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::element::memory::MemoryRenderBuffer;
use smithay::backend::renderer::element::solid::SolidColorBuffer;
use smithay::backend::renderer::Color32F;
use smithay::utils::Transform;

use super::text::{block, magnification, Line, Size};
use super::SizedBuffer;

/// The buttons of the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Wait,
    Close,
}

const BRIGHT: [u8; 3] = [0xff, 0xff, 0xff];
const PLAIN: [u8; 3] = [0xd0, 0xd8, 0xe0];
/// The dimming color, pre-multiplied.
const DIM: Color32F = Color32F::new(0.0, 0.0, 0.0, 0.7);
const CHOICES: &str = "  Wait    Close  ";

/// An overlay, drawn again when its text changes.
#[derive(Debug, Default)]
pub struct UnresponsiveOverlay {
    name: String,
    magnification: u32,
    buffer: Option<SizedBuffer>,
    pub dim: SolidColorBuffer,
}

impl UnresponsiveOverlay {
    /// Updates the text to the program's name, for a window with this area in pixels.
    pub fn update(&mut self, name: &str, area: (i32, i32)) {
        self.dim.update(area, DIM);
        let magnification = magnification((area.0.max(0) as u32, area.1.max(0) as u32));
        if self.buffer.is_some() && self.name == name && self.magnification == magnification {
            return;
        }
        let line = |text: String, size, color| Line { text, size, color };
        let shown: String = name.chars().take(40).collect();
        let lines = [
            line(shown, Size::Large, BRIGHT),
            line("does not answer".into(), Size::Medium, PLAIN),
            line(String::new(), Size::Medium, PLAIN),
            line(CHOICES.into(), Size::Large, BRIGHT),
        ];
        let mut block = block(&lines, magnification);
        outline(&mut block.argb, block.width, block.height);
        let size = (block.width as i32, block.height as i32);
        let buffer =
            MemoryRenderBuffer::from_slice(&block.argb, Fourcc::Argb8888, size, 1, Transform::Normal, None);
        self.buffer = Some(SizedBuffer(buffer, (block.width, block.height)));
        (self.name, self.magnification) = (name.to_owned(), magnification);
    }

    /// Returns the message, and its top left corner in a window with this area in pixels.
    pub fn message(&self, area: (i32, i32)) -> Option<(&SizedBuffer, (f64, f64))> {
        let buffer = self.buffer.as_ref()?;
        let centered = |whole: i32, part: u32| f64::from((whole - part as i32) / 2);
        Some((buffer, (centered(area.0, buffer.1 .0), centered(area.1, buffer.1 .1))))
    }

    /// Returns the button at a point of the window.
    pub fn choice(&self, area: (i32, i32), at: (f64, f64)) -> Option<Choice> {
        let (buffer, (left, top)) = self.message(area)?;
        let (width, height) = (f64::from(buffer.1 .0), f64::from(buffer.1 .1));
        let (x, y) = (at.0 - left, at.1 - top);
        // The lower third with the buttons, and a margin for fingers above and below it.
        if !(0.0..width).contains(&x) || !(height * 0.6..height * 1.2).contains(&y) {
            return None;
        }
        Some(if x < width / 2.0 { Choice::Wait } else { Choice::Close })
    }
}

/// Draws frames around the two buttons.
fn outline(argb: &mut [u8], width: u32, height: u32) {
    let top = height * 2 / 3;
    let mut set = |x: u32, y: u32| {
        let at = (y as usize * width as usize + x as usize) * 4;
        if let Some(pixel) = argb.get_mut(at..at + 4) {
            pixel.copy_from_slice(&[0xe0, 0xd8, 0xd0, 0xff]);
        }
    };
    let half = width / 2;
    for (left, right) in [(0, half.saturating_sub(4)), (half + 4, width.saturating_sub(1))] {
        for x in left..=right {
            set(x, top);
            set(x, height.saturating_sub(1));
        }
        for y in top..height {
            set(left, y);
            set(right, y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client may declare a window of any size.
    #[test]
    fn message_is_bounded_whatever_the_size_of_the_window() {
        let mut overlay = UnresponsiveOverlay::default();
        for size in [0, 8 * 720, i32::MAX] {
            overlay.update("foot", (size, size));
            let (buffer, _) = overlay.message((size, size)).expect("a message");
            assert!(buffer.1 .0 < 8192 && buffer.1 .1 < 8192, "{:?}", buffer.1);
        }
    }

    #[test]
    fn buttons_are_hit_and_nothing_else() {
        let mut overlay = UnresponsiveOverlay::default();
        let area = (1024, 768);
        overlay.update("foot", area);
        let (buffer, (left, top)) = overlay.message(area).expect("a message");
        let buffer = buffer.1;
        let at = |x: f64, y: f64| {
            overlay.choice(area, (left + f64::from(buffer.0) * x, top + f64::from(buffer.1) * y))
        };
        assert_eq!(at(0.25, 0.9), Some(Choice::Wait));
        assert_eq!(at(0.75, 0.9), Some(Choice::Close));
        assert_eq!(at(0.5, 0.2), None);
        assert_eq!(at(1.5, 0.9), None);
    }
}
