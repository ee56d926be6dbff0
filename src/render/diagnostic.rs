//! The diagnostic output: what a display without clients shows, so that nobody has to guess.

use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::element::memory::MemoryRenderBuffer;
use smithay::utils::Transform;

use super::text::{block, letters, Line, Size};
use super::SizedBuffer;

/// What there is to say about a display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiagnosticInfo {
    /// What the service is called.
    pub title: Option<String>,
    pub display: String,
    pub mode: String,
    /// The Wayland socket's name.
    pub address: String,
    /// What went wrong lately, the latest last.
    pub notices: Vec<String>,
    /// In pixels as the viewer sees them.
    pub size: (u32, u32),
}

/// A drawn diagnostic output, drawn again when its diagnostic_info change.
#[derive(Debug, Default)]
pub struct DiagnosticScreen {
    diagnostic_info: Option<DiagnosticInfo>,
    picture: Option<SizedBuffer>,
}

const BRIGHT: [u8; 3] = [0xff, 0xff, 0xff];
const PLAIN: [u8; 3] = [0xa8, 0xb4, 0xc0];
const WARNING: [u8; 3] = [0xff, 0xb4, 0x54];

impl DiagnosticScreen {
    /// The picture of these diagnostic_info.
    pub fn picture(&mut self, diagnostic_info: DiagnosticInfo) -> Option<&SizedBuffer> {
        if self.diagnostic_info.as_ref() != Some(&diagnostic_info) {
            let magnification = (diagnostic_info.size.1 / 720).max(1);
            let block = block(&lines(&diagnostic_info, magnification), magnification);
            let size = (block.width as i32, block.height as i32);
            let buffer = MemoryRenderBuffer::from_slice(
                &block.argb,
                Fourcc::Argb8888,
                size,
                1,
                Transform::Normal,
                None,
            );
            self.picture = Some(SizedBuffer(buffer, (block.width, block.height)));
            self.diagnostic_info = Some(diagnostic_info);
        }
        self.picture.as_ref()
    }
}

fn lines(diagnostic_info: &DiagnosticInfo, magnification: u32) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |text: String, size: Size, color: [u8; 3]| {
        let most = letters(size, magnification, diagnostic_info.size.0.saturating_sub(32)).max(8);
        let mut rest: Vec<char> = text.chars().collect();
        loop {
            let next = rest.split_off(rest.len().min(most));
            lines.push(Line { text: rest.iter().collect(), size, color });
            if next.is_empty() {
                break;
            }
            rest = next;
        }
    };
    if let Some(title) = &diagnostic_info.title {
        add(title.clone(), Size::Medium, BRIGHT);
        add(String::new(), Size::Small, PLAIN);
    }
    add(diagnostic_info.display.clone(), Size::Large, BRIGHT);
    add(diagnostic_info.mode.clone(), Size::Medium, BRIGHT);
    add(String::new(), Size::Small, PLAIN);
    add(format!("geom_compositor {}", env!("CARGO_PKG_VERSION")), Size::Small, PLAIN);
    add(format!("WAYLAND_DISPLAY={}", diagnostic_info.address), Size::Small, PLAIN);
    if !diagnostic_info.notices.is_empty() {
        add(String::new(), Size::Small, PLAIN);
    }
    for notice in &diagnostic_info.notices {
        add(notice.clone(), Size::Small, WARNING);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic_info() -> DiagnosticInfo {
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
    fn long_troubles_are_wrapped() {
        let mut output = DiagnosticScreen::default();
        let width = output.picture(diagnostic_info()).map(|picture| picture.1 .0);
        assert!(width.is_some_and(|width| width <= 640), "{width:?}");
    }
}
