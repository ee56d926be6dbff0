//! Scanout: getting buffers of one display onto its CRTC.

pub mod canvas;
pub mod clock;
mod drawing;
mod gles;
pub mod layers;
pub mod picture;
pub mod planes;
pub mod redraw;
pub mod shader;
pub mod surface;
pub mod swapchain;
