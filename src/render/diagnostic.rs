//! The diagnostic screen: what an output without windows shows, for the person in front of it.

use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::element::memory::MemoryRenderBuffer;
use smithay::utils::Transform;

use super::text::{block, letters, magnification, Line, Size};
use super::SizedBuffer;

/// What the diagnostic screen of an output says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiagnosticInfo {
    /// The title that the configuration gives to the device.
    pub title: Option<String>,
    pub display: String,
    pub mode: String,
    /// The name of the Wayland socket.
    pub address: String,
    /// The latest notices, oldest first.
    pub notices: Vec<String>,
    /// The size of the upright image, in pixels.
    pub size: (u32, u32),
}

/// A diagnostic screen, drawn again when its text changes.
#[derive(Debug, Default)]
pub struct DiagnosticScreen {
    info: Option<DiagnosticInfo>,
    buffer: Option<SizedBuffer>,
}

const BRIGHT: [u8; 3] = [0xff, 0xff, 0xff];
const PLAIN: [u8; 3] = [0xa8, 0xb4, 0xc0];
const WARNING: [u8; 3] = [0xff, 0xb4, 0x54];

/// Longer lines are hard to read.
const MAX_COLUMNS: usize = 120;

impl DiagnosticScreen {
    /// Returns the buffer that shows the screen.
    pub fn buffer(&mut self, info: DiagnosticInfo) -> Option<&SizedBuffer> {
        if self.info.as_ref() != Some(&info) {
            let magnification = magnification(info.size);
            let block = block(&lines(&info, magnification), magnification);
            let size = (block.width as i32, block.height as i32);
            let buffer = MemoryRenderBuffer::from_slice(
                &block.argb,
                Fourcc::Argb8888,
                size,
                1,
                Transform::Normal,
                None,
            );
            self.buffer = Some(SizedBuffer(buffer, (block.width, block.height)));
            self.info = Some(info);
        }
        self.buffer.as_ref()
    }
}

fn lines(info: &DiagnosticInfo, magnification: u32) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |text: String, size: Size, color: [u8; 3]| {
        let columns = letters(size, magnification, info.size.0.saturating_sub(32)).clamp(8, MAX_COLUMNS);
        let mut rest: Vec<char> = text.chars().collect();
        loop {
            let next = rest.split_off(rest.len().min(columns));
            lines.push(Line { text: rest.iter().collect(), size, color });
            if next.is_empty() {
                break;
            }
            rest = next;
        }
    };
    if let Some(title) = &info.title {
        add(title.clone(), Size::Medium, BRIGHT);
        add(String::new(), Size::Small, PLAIN);
    }
    add(info.display.clone(), Size::Large, BRIGHT);
    add(info.mode.clone(), Size::Medium, BRIGHT);
    add(String::new(), Size::Small, PLAIN);
    add(format!("geom_compositor {}", env!("CARGO_PKG_VERSION")), Size::Small, PLAIN);
    add(format!("WAYLAND_DISPLAY={}", info.address), Size::Small, PLAIN);
    if !info.notices.is_empty() {
        add(String::new(), Size::Small, PLAIN);
    }
    for notice in &info.notices {
        add(notice.clone(), Size::Small, WARNING);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> DiagnosticInfo {
        DiagnosticInfo {
            title: Some("Lobby".into()),
            display: "HDMI-A-1".into(),
            mode: "1920x1080@60.00".into(),
            address: "wayland-1".into(),
            notices: vec!["x".repeat(500)],
            size: (640, 480),
        }
    }

    #[test]
    fn long_notices_are_wrapped() {
        let mut screen = DiagnosticScreen::default();
        let width = screen.buffer(info()).map(|buffer| buffer.1 .0);
        assert!(width.is_some_and(|width| width <= 640), "{width:?}");
    }

    /// Letters that fit the height of a tall display were too wide for it, and took a second to
    /// draw.
    #[test]
    fn letters_fit_a_tall_display() {
        for size in [(800, 32_768), (1080, 3840), (32_768, 32_768)] {
            let mut screen = DiagnosticScreen::default();
            let drawn = screen.buffer(DiagnosticInfo { size, ..info() }).map(|buffer| buffer.1);
            assert!(drawn.is_some_and(|drawn| drawn.0 <= size.0.min(10_000)), "{size:?}: {drawn:?}");
        }
    }
}
