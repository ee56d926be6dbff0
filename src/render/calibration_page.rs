//! What a display shows while its touchscreen is calibrated: a cross to touch, and what to do.

use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::element::memory::MemoryRenderBuffer;
use smithay::backend::renderer::element::solid::SolidColorBuffer;
use smithay::backend::renderer::Color32F;
use smithay::utils::{Physical, Point, Transform};

use super::scene::Item;
use super::text::{block, letters, magnification, Line, Size};
use super::SizedBuffer;

/// What the page says.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibrationInfo {
    /// Where the cross is, in fractions of width and height.
    pub target: (f64, f64),
    /// The number of the target, from 1.
    pub number: usize,
    pub targets: usize,
    /// Why the target is shown again.
    pub message: Option<&'static str>,
    /// The size of the upright image, in pixels.
    pub size: (i32, i32),
}

/// The page, drawn again when it changes.
#[derive(Debug, Default)]
pub struct CalibrationPage {
    info: Option<CalibrationInfo>,
    ground: SolidColorBuffer,
    horizontal: SolidColorBuffer,
    vertical: SolidColorBuffer,
    text: Option<SizedBuffer>,
}

const GROUND: Color32F = Color32F::new(0.04, 0.05, 0.07, 1.0);
const CROSS: Color32F = Color32F::new(1.0, 0.8, 0.2, 1.0);
const BRIGHT: [u8; 3] = [0xff, 0xff, 0xff];
const PLAIN: [u8; 3] = [0xa8, 0xb4, 0xc0];
const WARNING: [u8; 3] = [0xff, 0xb4, 0x54];

/// Where the middle of the text is, as a fraction of the height: away from all targets.
const TEXT_HEIGHT: f64 = 0.5;

/// Returns the length and the thickness of the bars of the cross, in pixels. Both are odd, so that
/// the cross has a pixel in its middle.
fn bars((width, height): (i32, i32)) -> (i32, i32) {
    let side = width.min(height);
    ((side / 10) | 1, (side / 200).max(2) | 1)
}

impl CalibrationPage {
    /// Returns the items of the page, front to back.
    pub fn items(&mut self, info: CalibrationInfo) -> Vec<Item<'_>> {
        if self.info.as_ref() != Some(&info) {
            self.draw(&info);
        }
        let (length, thickness) = bars(info.size);
        let at = |fraction: f64, size: i32| (fraction * f64::from(size)).floor() as i32;
        let middle = (at(info.target.0, info.size.0), at(info.target.1, info.size.1));
        let centered = |width: i32, height: i32| -> Point<i32, Physical> {
            (middle.0 - width / 2, middle.1 - height / 2).into()
        };
        let bar = |buffer, location| Item::Solid { buffer, location };
        let mut items = vec![
            bar(&self.horizontal, centered(length, thickness)),
            bar(&self.vertical, centered(thickness, length)),
        ];
        if let Some(buffer) = &self.text {
            let (width, height) = buffer.1;
            let left = (f64::from(info.size.0) - f64::from(width)) / 2.0;
            let top = f64::from(info.size.1) * TEXT_HEIGHT - f64::from(height) / 2.0;
            items.push(Item::Memory { buffer, location: (left.floor(), top.floor()).into() });
        }
        items.push(bar(&self.ground, (0, 0).into()));
        items
    }

    fn draw(&mut self, info: &CalibrationInfo) {
        let (length, thickness) = bars(info.size);
        self.ground.update(info.size, GROUND);
        self.horizontal.update((length, thickness), CROSS);
        self.vertical.update((thickness, length), CROSS);
        let size = (info.size.0.unsigned_abs(), info.size.1.unsigned_abs());
        let magnification = magnification(size);
        let columns = letters(Size::Medium, magnification, size.0.saturating_sub(32)).max(8);
        let line = |text: &str, color| Line {
            text: text.chars().take(columns).collect(),
            size: Size::Medium,
            color,
        };
        let mut lines = vec![
            line("Touch the middle of the cross", BRIGHT),
            line(&format!("{} of {}", info.number, info.targets), PLAIN),
        ];
        lines.extend(info.message.map(|message| line(message, WARNING)));
        let block = block(&lines, magnification);
        let pixels = (block.width as i32, block.height as i32);
        let format = Fourcc::Argb8888;
        let buffer = MemoryRenderBuffer::from_slice(&block.argb, format, pixels, 1, Transform::Normal, None);
        self.text = Some(SizedBuffer(buffer, (block.width, block.height)));
        self.info = Some(info.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middle_of_the_cross_is_the_target() {
        for size in [(640, 480), (1080, 1920), (3840, 2160)] {
            let mut page = CalibrationPage::default();
            let target = (0.1, 0.9);
            let info = CalibrationInfo { target, number: 4, targets: 6, message: Some("again"), size };
            let items = page.items(info);
            let expected = ((0.1 * f64::from(size.0)) as i32, (0.9 * f64::from(size.1)) as i32);
            let (length, thickness) = bars(size);
            let [Item::Solid { location, .. }, Item::Solid { location: vertical, .. }, Item::Memory { .. }, Item::Solid { .. }] =
                items.as_slice()
            else {
                panic!("{}", items.len());
            };
            assert_eq!((location.x + length / 2, location.y + thickness / 2), expected);
            assert_eq!((vertical.x + thickness / 2, vertical.y + length / 2), expected);
        }
    }

    #[test]
    fn text_fits_every_display() {
        for size in [(64, 64), (480, 272), (800, 32_767), (7680, 4320)] {
            let mut page = CalibrationPage::default();
            let message = Some("That was not on the cross");
            let info = CalibrationInfo { target: (0.5, 0.5), number: 1, targets: 6, message, size };
            page.items(info);
            let (width, height) = page.text.as_ref().map(|text| text.1).unwrap_or_default();
            assert!(height > 0 && (size.0 < 200 || width <= size.0.unsigned_abs()), "{size:?}: {width}");
        }
    }
}
