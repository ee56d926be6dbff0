//! Scanout: getting buffers of one display onto its CRTC.

pub mod canvas;
pub mod clock;
pub mod layers;
pub mod picture;
pub mod planes;
pub mod redraw;
pub mod surface;
pub mod swapchain;
