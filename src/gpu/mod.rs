//! DRM devices: opening them, what they can, their properties, buffers and renderers, and the
//! commits that drive them.

pub mod buffer;
pub mod color_luts;
pub mod colorop;
pub mod commit;
pub mod connector_props;
pub mod device;
pub mod discovery;
pub mod drm_fd;
pub mod handoff;
pub mod lease;
pub mod objects;
pub mod renderer;
pub mod robust_context;
