//! Rendering: scenes, cursors, color conversion, the diagnostic screen.

pub mod calibration_page;
pub mod color_layers;
pub mod color_shader;
pub mod cursor;
pub mod diagnostic;
pub mod drawable;
pub mod drawing;
pub mod geometry;
pub mod gles_shadow;
pub mod hole;
pub mod inherited_frame;
pub mod label;
pub mod offscreen;
pub mod own_content;
pub mod renderer;
pub mod robust_context;
pub mod scene;
pub mod shadow_buffer;
pub mod text;
pub mod texture_program;
pub mod unresponsive_overlay;
pub mod visible;

use smithay::backend::renderer::element::memory::MemoryRenderBuffer;
use smithay::utils::{Logical, Size};

/// An image in memory that the compositor draws itself, and its size in pixels.
#[derive(Debug, Clone)]
pub struct SizedBuffer(pub MemoryRenderBuffer, pub (u32, u32));

impl SizedBuffer {
    /// Returns the size, with one pixel for one logical pixel.
    fn logical_size(&self) -> Size<i32, Logical> {
        (self.1 .0 as i32, self.1 .1 as i32).into()
    }
}
